"""Writes a trained network as the files that Warmline runs."""
def export(*a): return {}

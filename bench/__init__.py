"""Measures Warmline beside its peers, in one run on one machine."""

"""Proof that delivery loses nothing and repeats nothing: the real processes while everything around them breaks."""

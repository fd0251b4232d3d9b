"""Measures how well messages are understood, on what nothing was learnt from: ``python -m bench.evaluation``."""

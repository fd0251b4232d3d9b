"""Throws generated hostile payloads at the real application and looks at every page afterwards.

`python -m bench.hostile --payloads 10000` throws so many; the tests throw a few hundred of the same.
"""

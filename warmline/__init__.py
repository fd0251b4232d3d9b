"""Warmline: commands, settings, supervisor and wiring. The only package that reads the environment."""

__version__ = "0.1.0"

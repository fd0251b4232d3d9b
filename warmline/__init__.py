"""Warmline: commands, settings, supervisor and wiring. The only package that reads the environment."""

"""The words of the learning queue."""
from __future__ import annotations

WORDS: dict[str, tuple[str, str]] = {}

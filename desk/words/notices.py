"""The words of notices and how agents are reached."""
from __future__ import annotations

WORDS: dict[str, tuple[str, str]] = {}

"""The words of the managers' log."""
from __future__ import annotations

WORDS: dict[str, tuple[str, str]] = {}

"""The words of transfer, grades, presence and snoozing at the desk."""
from __future__ import annotations

WORDS: dict[str, tuple[str, str]] = {}

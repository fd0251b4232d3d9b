"""The words of the settings and the audit log."""
from __future__ import annotations

WORDS: dict[str, tuple[str, str]] = {}

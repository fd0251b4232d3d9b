"""The clock. Everything outside this package is handed the time."""
from __future__ import annotations

from datetime import datetime, timezone


def now() -> datetime:
    """The time, aware and in UTC."""
    return datetime.now(timezone.utc)

"""Slows down whoever sends too much: a token bucket a sender, kept in this process."""
from __future__ import annotations

import math
from collections import OrderedDict
from datetime import datetime

KEPT = 20_000
BURST = 2  # of a bucket's rate: it is full, and what it gains meanwhile: the most that passes it within a minute


class TokenBuckets:
    """A bucket a key: ``per_minute`` tokens that fill up again at that rate.

    A full bucket is the same as none, so the least recently used are forgotten beyond some thousands.
    """

    def __init__(self, per_minute: int, kept: int = KEPT) -> None:
        self._size = float(per_minute)
        self._per_second = per_minute / 60
        self._kept = kept
        self._buckets: OrderedDict[str, tuple[float, datetime]] = OrderedDict()

    def take(self, key: str, now: datetime) -> int:
        """Take a token: 0 where there was one, else the seconds to wait for the next, rounded up."""
        tokens, since = self._buckets.pop(key, (self._size, now))
        tokens = min(self._size, tokens + max(0.0, (now - since).total_seconds()) * self._per_second)
        wait = 0 if tokens >= 1 else max(1, math.ceil((1 - tokens) / self._per_second))
        self._buckets[key] = (tokens if wait else tokens - 1, now)
        if len(self._buckets) > self._kept:
            self._buckets.popitem(last=False)
        return wait

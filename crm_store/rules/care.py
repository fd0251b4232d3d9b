"""When a customer may be written to unasked, which variant they get, and what the variants' results are worth.

All times of day are the shop's. Nobody is written to at night, more than once a week or more than three times in thirty
days, and a part of those who would be written to never are: without them nobody knows what the writing does.
"""
from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from zoneinfo import ZoneInfo

from crm_store.rules.figures import share, wilson

KINDS = ("birthday", "delivered", "points_expiring", "win_back", "follow_up")
PURPOSES = {"birthday": "marketing", "points_expiring": "marketing", "win_back": "marketing",
            "delivered": "service", "follow_up": "service"}
ARMS = ("a", "b", "control")
QUIET_FROM, QUIET_UNTIL = time(20, 0), time(9, 30)
CAPS = ((timedelta(days=7), 1), (timedelta(days=30), 3))
MID_TALK = timedelta(minutes=30)
"""Who wrote so lately is in the middle of something: they are written to later."""
ANSWERS_WITHIN = {"wechat": timedelta(hours=48)}
"""Channels that take a message only for so long after the customer's last."""
COMES_BACK_WITHIN = timedelta(days=14)
STALE = timedelta(days=1)
"""An occasion that could not be taken for so long, at night or for want of a channel, is let go."""


def is_quiet(now: datetime, zone: ZoneInfo) -> bool:
    """Whether it is night in the shop."""
    local = now.astimezone(zone).time()
    return local >= QUIET_FROM or local < QUIET_UNTIL


def is_too_often(written_at: Sequence[datetime], now: datetime) -> bool:
    """Whether a customer who was written to at these times was written to often enough."""
    return any(sum(now - at < within for at in written_at) >= most for within, most in CAPS)


def arm_of(kind: str, customer_id: int, control_percent: int, *, has_b: bool) -> str:
    """The variant a customer gets of a campaign: always the same, and independent of every other campaign."""
    digest = hashlib.sha256(f"{kind}:{customer_id}".encode()).digest()
    if int.from_bytes(digest[:4], "big") % 100 < control_percent:
        return "control"
    return "b" if has_b and digest[4] % 2 else "a"


@dataclass(frozen=True)
class ArmResult:
    """How many got a variant, and how many of them came back within fourteen days."""

    customers: int
    came_back: int

    @property
    def rate(self) -> float | None:
        """The share that came back; None of nobody."""
        return share(self.came_back, self.customers)


def difference(one: ArmResult, other: ArmResult) -> tuple[float, float, float] | None:
    """The difference of two shares with its 95 % interval, low and high; None where a group is empty.

    Source: R. G. Newcombe, "Interval estimation for the difference between independent proportions", Statistics in
    Medicine 17 (1998), method 10: made of the two Wilson intervals, honest for small groups too.
    """
    mine, theirs = wilson(one.came_back, one.customers), wilson(other.came_back, other.customers)
    if mine is None or theirs is None or one.rate is None or other.rate is None:
        return None
    between = one.rate - other.rate
    low = between - ((one.rate - mine[0]) ** 2 + (theirs[1] - other.rate) ** 2) ** 0.5
    high = between + ((mine[1] - one.rate) ** 2 + (other.rate - theirs[0]) ** 2) ** 0.5
    return between, low, high

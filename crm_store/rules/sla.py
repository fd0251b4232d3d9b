"""SLA arithmetic: which policy matches, when a promise is due, when to warn, and the verdict."""
from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol, TypeVar

from crm_store.rules.calendar import ZERO, Schedule

WARNING_PERCENTS = (50, 75, 90)
LEAD_FROM_PERCENT = 75
LEVELS = ("front_line", "experts", "management")


class Matching(Protocol):
    """What of a policy decides whether it matches a ticket."""

    position: Any
    ticket_kind: Any
    grade: Any
    tier_code: Any


Policy = TypeVar("Policy", bound=Matching)


def match_policy(policies: Iterable[Policy], *, kind: str, grade: str | None, tier: str | None) -> Policy | None:
    """The first policy in the managers' order that matches; null in a policy matches all, guests have no tier."""
    for policy in sorted(policies, key=lambda p: p.position):
        if (policy.ticket_kind in (None, kind) and policy.grade in (None, grade) and policy.tier_code in (None, tier)):
            return policy
    return None


@dataclass(frozen=True)
class Stretch:
    """The running stretch of a promise: it started (or went on) at ``since`` with ``elapsed`` already used."""

    since: datetime
    target: timedelta
    elapsed: timedelta = ZERO

    def due_at(self, schedule: Schedule) -> datetime:
        """When the promise is due."""
        return schedule.add(self.since, max(self.target - self.elapsed, ZERO))

    def elapsed_at(self, at: datetime, schedule: Schedule) -> timedelta:
        """How much of the promise's time is used at ``at``."""
        return self.elapsed + schedule.between(self.since, at)

    def warning_at(self, percent: int, schedule: Schedule) -> datetime:
        """When ``percent`` of the time is used; a share used up before this stretch counts as reached at its start."""
        return schedule.add(self.since, max(self.target * percent / 100 - self.elapsed, ZERO))

    def next_warning(self, warned: int, schedule: Schedule) -> tuple[int, datetime] | None:
        """The lowest warning not yet given, and when it is to be given; None after the last."""
        for percent in WARNING_PERCENTS:
            if percent > warned:
                return percent, self.warning_at(percent, schedule)
        return None


def whole_second(at: datetime) -> datetime:
    """The second that a time falls in; promises are reckoned in whole seconds, so that no pause loses a fraction."""
    return at.replace(microsecond=0)


def is_breached(due_at: datetime, at: datetime) -> bool:
    """Whether a promise still open at ``at`` is broken. Kept exactly when due is kept."""
    return at > due_at


def level_above(level: str) -> str:
    """One level up the escalation chain; management stays management."""
    return LEVELS[min(LEVELS.index(level) + 1, len(LEVELS) - 1)]

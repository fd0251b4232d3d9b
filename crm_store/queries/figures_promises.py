"""How promises were kept: the verdicts of a period with the working time that each took."""
from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any, NamedTuple

import numpy as np
import sqlalchemy as sa
from sqlalchemy import select
from sqlalchemy.orm import Session

from crm_store.models import BusinessCalendar, Conversation, SlaClock, SlaPolicy, Ticket
from crm_store.queries.figures import Scope, bucket_of, conversations_in, hour_of, in_period, unix_seconds
from crm_store.rules.calendar import DAY, BusinessHours
from crm_store.rules.figures import median, percentile, working_seconds

VERDICT_AT = sa.func.coalesce(SlaClock.breached_at, SlaClock.met_at, type_=SlaClock.met_at.type)
DECIDED = ("met", "breached")


class Verdict(NamedTuple):
    """One promise that was kept or broken in the period. ``seconds`` is None while a broken one has no answer.

    ``hour`` is the local hour at which the promise was made, ``agent_id`` the keeper of its ticket.
    """

    promise: str
    kept: bool
    bucket: int
    hour: int
    policy_id: int
    agent_id: int | None
    conversation_id: int
    seconds: int | None


KNOWN = len(Verdict._fields) - 1  # what a row of the query begins with


@dataclass(frozen=True)
class Kept:
    """How a group of promises was kept. The times are working seconds of those that were answered."""

    kept: int
    broken: int
    median: float | None
    p90: float | None

    @property
    def total(self) -> int:
        """How many promises."""
        return self.kept + self.broken


def verdicts(session: Session, scope: Scope) -> list[Verdict]:
    """The promises that were kept or broken in the period, as the clocks say."""
    period, started = scope.period, sa.func.coalesce(SlaClock.resumed_at, SlaClock.met_at, type_=SlaClock.met_at.type)
    rows = session.execute(
        select(SlaClock.promise, (SlaClock.state == "met").label("kept"), bucket_of(VERDICT_AT, period).label("bucket"),
               hour_of(SlaClock.started_at, period).label("hour"), SlaClock.policy_id,
               sa.func.coalesce(Ticket.keeper_id, Ticket.assignee_id).label("agent_id"), Ticket.conversation_id,
               SlaClock.elapsed_seconds, unix_seconds(started).label("resumed"),
               unix_seconds(SlaClock.met_at).label("met"),
               sa.case((SlaClock.around_the_clock, None), else_=SlaClock.calendar_id).label("calendar_id"))
        .join(Ticket, Ticket.id == SlaClock.ticket_id).join(Conversation, Conversation.id == Ticket.conversation_id)
        .where(SlaClock.state.in_(DECIDED), in_period(VERDICT_AT, period), *conversations_in(scope))
        .order_by(SlaClock.id)).all()
    return [Verdict._make((*row[:KNOWN], seconds)) for row, seconds in zip(rows, _used(session, rows), strict=True)]


def kept_before(session: Session, scope: Scope) -> dict[str, Kept]:
    """How each promise was kept in the period before; without times."""
    period = scope.period
    rows = session.execute(
        select(SlaClock.promise, SlaClock.state, sa.func.count().label("count"))
        .join(Ticket, Ticket.id == SlaClock.ticket_id).join(Conversation, Conversation.id == Ticket.conversation_id)
        .where(SlaClock.state.in_(DECIDED), VERDICT_AT >= period.before_since, VERDICT_AT < period.since,
               *conversations_in(scope))
        .group_by(SlaClock.promise, SlaClock.state))
    counted = {(row.promise, row.state): row.count for row in rows}
    return {promise: Kept(counted.get((promise, "met"), 0), counted.get((promise, "breached"), 0), None, None)
            for promise, _ in counted}


def kept_by(found: Iterable[Verdict], key: Callable[[Verdict], Any]) -> dict[Any, Kept]:
    """The verdicts in groups, and how each group was kept."""
    groups: dict[Any, list[Verdict]] = {}
    for verdict in found:
        groups.setdefault(key(verdict), []).append(verdict)
    return {name: _kept(group) for name, group in groups.items()}


def policy_names(session: Session) -> dict[int, str]:
    """The names of all policies by id, in the managers' order."""
    return dict(session.execute(select(SlaPolicy.id, SlaPolicy.name).order_by(SlaPolicy.position)).all())


def _kept(group: list[Verdict]) -> Kept:
    kept = sum(verdict.kept for verdict in group)
    seconds = sorted(verdict.seconds for verdict in group if verdict.seconds is not None)
    return Kept(kept, len(group) - kept, median(seconds), percentile(seconds, 90))


def _used(session: Session, rows: list[Any]) -> list[int | None]:
    """The working seconds each clock had used when it was met: what was used before its last stretch, and that."""
    used: list[int | None] = [None] * len(rows)
    for calendar_id in {row.calendar_id for row in rows}:
        places = [place for place, row in enumerate(rows) if row.calendar_id == calendar_id and row.met is not None]
        if not places:
            continue
        starts = np.array([rows[place].resumed for place in places], dtype=np.int64)
        ends = np.array([rows[place].met for place in places], dtype=np.int64)
        if calendar_id is None:
            worked = np.maximum(ends - starts, 0)
        else:
            worked = working_seconds(starts, ends, _stretches(session, calendar_id, int(starts.min()), int(ends.max())))
        for place, seconds in zip(places, worked, strict=True):
            used[place] = rows[place].elapsed_seconds + int(seconds)
    return used


def _stretches(session: Session, calendar_id: int, first: int, last: int) -> list[Any]:
    calendar = session.execute(select(BusinessCalendar).where(BusinessCalendar.id == calendar_id)).scalar_one()
    days = [datetime.fromtimestamp(at, timezone.utc).date() for at in (first, last)]
    return BusinessHours.of(calendar).open_stretches(days[0] - 2 * DAY, days[1] + 2 * DAY)

"""Tells agents things at the desk and on the ways they chose beside it, each once."""
from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from crm_store.models import Notification, SupportAgent, Team
from crm_store.services.deliveries import queue_deliveries

AT_ONCE = 1000  # rows of one statement: as many as psycopg2 sends, and counts, at once


@dataclass(frozen=True)
class Notice:
    """Something to tell agents: see :func:`notify` for what its parts mean."""

    agent_ids: Iterable[int | None]
    kind: str
    key: str
    conversation_id: int | None = None
    data: Mapping[str, Any] = field(default_factory=dict)


def notify(session: Session, agent_ids: Iterable[int | None], *, kind: str, key: str, now: datetime,
           conversation_id: int | None = None, data: Mapping[str, Any] | None = None) -> int:
    """Leave a notification for each agent; one that was left before (same key and agent) is not left again.

    What goes out by e-mail and webhook is queued in the same unit of work: it is lost and repeated as little as the
    notification itself.

    Args:
        session: the unit of work.
        agent_ids: who is told; None and doubles are left out.
        kind: what happened, such as "sla_warned".
        key: names the event, so that nobody is told of it twice.
        now: when.
        conversation_id: where to look.
        data: what the page needs to say it in the agent's language.

    Returns:
        How many were told for the first time.
    """
    return notify_all(session, [Notice(agent_ids, kind, key, conversation_id, data or {})], now=now)


def notify_all(session: Session, notices: Iterable[Notice], *, now: datetime) -> int:
    """Leave many notices in one statement; how many agents were told for the first time.

    Args:
        session: the unit of work.
        notices: what is told to whom; what was told before is not told again.
        now: when.
    """
    make = postgresql.insert if session.get_bind().dialect.name == "postgresql" else sqlite.insert
    insert = make(Notification.__table__).on_conflict_do_nothing()
    told = {notice.key: [
        {"agent_id": agent_id, "kind": notice.kind, "conversation_id": notice.conversation_id,
         "data": dict(notice.data), "created_at": now, "idempotency_key": f"{notice.key}:{agent_id}"}
        for agent_id in dict.fromkeys(notice.agent_ids) if agent_id is not None] for notice in notices}
    rows = [row for of_notice in told.values() for row in of_notice]
    done = sum(int(session.execute(insert, rows[start:start + AT_ONCE]).rowcount)
               for start in range(0, len(rows), AT_ONCE))
    if done:
        queue_deliveries(session, told, now)
    return done


def leads_for(session: Session, team_id: int | None) -> list[int]:
    """The active leads of a team; where it has none, its managers; then any lead; then any manager or admin."""
    agents = session.execute(
        select(SupportAgent.id, SupportAgent.role, SupportAgent.team_id)
        .where(SupportAgent.active.is_(True), SupportAgent.role != "agent").order_by(SupportAgent.id)
    ).all()
    for role, own_team in (("lead", True), ("manager", True), ("lead", False), ("manager", False), ("admin", False)):
        found = [a.id for a in agents if a.role == role and (not own_team or a.team_id == team_id)]
        if found:
            return found
    return []


def team_of_level(session: Session, level: str) -> int | None:
    """The first team that works on a level of the escalation chain."""
    found: int | None = session.execute(
        select(Team.id).where(Team.level == level).order_by(Team.id).limit(1)).scalar_one_or_none()
    return found

"""Tells agents things at the desk, each once."""
from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from crm_store.models import Notification, SupportAgent, Team


def notify(session: Session, agent_ids: Iterable[int | None], *, kind: str, key: str, now: datetime,
           conversation_id: int | None = None, data: Mapping[str, Any] | None = None) -> int:
    """Leave a notification for each agent; one that was left before (same key and agent) is not left again.

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
    told = [
        {"agent_id": agent_id, "kind": kind, "conversation_id": conversation_id, "data": dict(data or {}),
         "created_at": now, "idempotency_key": f"{key}:{agent_id}"}
        for agent_id in dict.fromkeys(agent_ids) if agent_id is not None
    ]
    if not told:
        return 0
    insert = postgresql.insert if session.get_bind().dialect.name == "postgresql" else sqlite.insert
    done = session.execute(insert(Notification.__table__).values(told).on_conflict_do_nothing())
    return int(done.rowcount)


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

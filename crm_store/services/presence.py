"""Notes which colleague looks at a conversation and who types in it, so that two do not answer at once.

A look counts for a while and is renewed while the page is open. Nobody is asked who was there: a row that is not
renewed counts no more, and an agent's next look elsewhere takes their old rows away.
"""
from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy import select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from crm_store.models import Presence, SupportAgent

LOOKS_FOR = timedelta(seconds=50)
TYPES_FOR = timedelta(seconds=8)
NOTED_APART = timedelta(seconds=10)  # what was noted less long ago, and still holds, is not noted again
TYPING_RENEWED = timedelta(seconds=4)  # before it runs out


@dataclass(frozen=True)
class Present:
    """A colleague who has a conversation open until ``until`` or their next look; they type while ``typing_until``."""

    agent_id: int
    name: str
    until: datetime
    typing_until: datetime | None


def presence_is_noted(session: Session, agent_id: int, conversation_id: int, typing: bool, now: datetime) -> bool:
    """Whether :func:`note_presence` would change nothing that matters; any session will do."""
    row = session.execute(
        select(Presence.seen_at, Presence.typing_until)
        .where(Presence.agent_id == agent_id, Presence.conversation_id == conversation_id)).one_or_none()
    if row is None or row.seen_at <= now - LOOKS_FOR:
        return False
    typed = row.typing_until is not None and row.typing_until > now
    if typing:
        return typed and row.typing_until > now + TYPING_RENEWED
    return not typed and row.seen_at > now - NOTED_APART


def note_presence(session: Session, agent_id: int, conversation_id: int, typing: bool, now: datetime) -> None:
    """An agent has a conversation open, and types in it or not; check access before.

    Their rows that count no more are taken away in the same unit of work.
    """
    session.execute(sa.delete(Presence).where(Presence.agent_id == agent_id, Presence.seen_at <= now - LOOKS_FOR)
                    .execution_options(synchronize_session=False))
    insert = postgresql.insert if session.get_bind().dialect.name == "postgresql" else sqlite.insert
    values = {"seen_at": now, "typing_until": now + TYPES_FOR if typing else None}
    session.execute(
        insert(Presence.__table__).values(agent_id=agent_id, conversation_id=conversation_id, **values)
        .on_conflict_do_update(index_elements=["agent_id", "conversation_id"], set_=values))


def forget_presence(session: Session, agent_id: int, conversation_id: int) -> None:
    """An agent has closed a conversation."""
    session.execute(sa.delete(Presence).where(Presence.agent_id == agent_id,
                                              Presence.conversation_id == conversation_id)
                    .execution_options(synchronize_session=False))


def others_present(session: Session, agent_id: int, conversation_id: int, now: datetime) -> list[Present]:
    """The colleagues who have a conversation open now, those who type first; check access before."""
    rows = session.execute(
        select(Presence.agent_id, SupportAgent.name, Presence.seen_at, Presence.typing_until)
        .join(SupportAgent, SupportAgent.id == Presence.agent_id)
        .where(Presence.conversation_id == conversation_id, Presence.agent_id != agent_id,
               Presence.seen_at > now - LOOKS_FOR)
        .order_by(Presence.agent_id)).all()
    found = [Present(row.agent_id, row.name, row.seen_at + LOOKS_FOR,
                     row.typing_until if row.typing_until and row.typing_until > now else None) for row in rows]
    return sorted(found, key=lambda present: present.typing_until is None)

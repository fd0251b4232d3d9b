"""Agents' corrections: those of a conversation for whoever reads it, and all of them for the next training."""
from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy import select
from sqlalchemy.orm import Session

from crm_store.models import Conversation, Correction, Customer, Message, SupportAgent
from crm_store.rules.text import language_of


@dataclass(frozen=True)
class Corrected:
    """What holds of a field of a message, and who said so when."""

    value: str
    agent_name: str
    at: datetime


@dataclass(frozen=True)
class Lesson:
    """A customer's message as it was written, with what an agent said of it. ``valence`` is what the bot read."""

    message_id: int
    text: str
    language: str
    field: str
    value: str
    valence: str | None


def corrections_of(session: Session, conversation_id: int) -> dict[int, dict[str, Corrected]]:
    """The corrections of a conversation by message and field. Check access before."""
    rows = session.execute(
        select(Correction, SupportAgent.name).join(SupportAgent, SupportAgent.id == Correction.agent_id)
        .join(Message, Message.id == Correction.message_id).where(Message.conversation_id == conversation_id)).all()
    found: dict[int, dict[str, Corrected]] = {}
    for correction, name in rows:
        found.setdefault(correction.message_id, {})[correction.field] = Corrected(
            correction.value, name, correction.corrected_at)
    return found


def lessons(session: Session) -> list[Lesson]:
    """Every correction with its message, the oldest correction first; nothing of customers who were erased."""
    rows = session.execute(
        select(Correction, Message, Conversation.language).join(Message, Message.id == Correction.message_id)
        .join(Conversation, Conversation.id == Message.conversation_id)
        .outerjoin(Customer, Customer.id == Conversation.customer_id)
        .where(sa.or_(Customer.id.is_(None), Customer.erased_at.is_(None)))
        .order_by(Correction.corrected_at, Correction.id)).all()
    return [
        Lesson(message.id, message.text, language_of(message.text) or language, correction.field, correction.value,
               message.valence)
        for correction, message, language in rows]

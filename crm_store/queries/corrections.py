"""What people said of messages: the corrections of a conversation, and all there is for the next training."""
from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy import select
from sqlalchemy.orm import Session

from crm_store.models import Conversation, Correction, Customer, Label, Message, SupportAgent
from crm_store.rules.text import language_of


@dataclass(frozen=True)
class Corrected:
    """What holds of a field of a message, and who said so when."""

    value: str
    agent_name: str
    at: datetime


@dataclass(frozen=True)
class Lesson:
    """A customer's message as it was written, with what people say of it. ``valence`` is what the bot read.

    ``value`` is None where a label says that nothing is to be learnt of the field. ``label_id`` and ``said_at`` tell
    which label it is from and of when; an agent's correction has no ``label_id``.
    """

    message_id: int
    text: str
    language: str
    field: str
    value: str | None
    valence: str | None
    said_at: datetime
    label_id: int | None = None


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
    """Every correction and then every label, the oldest first: of two about one text, the later one holds.

    Nothing of customers who were erased is among them.
    """
    corrections = session.execute(_of_the_living(Correction, Correction.corrected_at)).all()
    labels = session.execute(_of_the_living(Label, Label.labelled_at)).all()
    found = [_lesson(message, language, correction.field, correction.value, correction.corrected_at)
             for correction, message, language in corrections]
    for label, message, language in labels:
        found += [_lesson(message, language, field, value, label.labelled_at, label.id)
                  for field, value in (("anger", label.anger), ("intent", label.intent))]
    return found


def _of_the_living(model: Any, said_at: Any) -> Any:
    return (
        select(model, Message, Conversation.language).join(Message, Message.id == model.message_id)
        .join(Conversation, Conversation.id == Message.conversation_id)
        .outerjoin(Customer, Customer.id == Conversation.customer_id)
        .where(sa.or_(Customer.id.is_(None), Customer.erased_at.is_(None))).order_by(said_at, model.id))


def _lesson(message: Message, language: str, field: str, value: str | None, said_at: datetime,
            label_id: int | None = None) -> Lesson:
    return Lesson(message.id, message.text, language_of(message.text) or language, field, value, message.valence,
                  said_at, label_id)

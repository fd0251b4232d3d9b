"""Keeps what agents correct in the bot's reading of a message; the next training learns from it."""
from __future__ import annotations

from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from crm_store.errors import NotFound
from crm_store.models import Correction, Message, SupportAgent
from crm_store.models.corrections import ANGER_VALUES
from crm_store.rules.intents import INTENTS
from crm_store.services import audit
from crm_store.services.locking import lock_conversation

VALUES = {"anger": ANGER_VALUES, "intent": INTENTS}


def correct_message(session: Session, conversation_id: int, message_id: int, agent: SupportAgent, field: str,
                    value: str | None, now: datetime) -> Correction | None:
    """Write down what a customer's message is, instead of what was said of it before; the bot's reading itself stays.

    Saying the same again changes nothing. Naming the intent that the bot read withdraws the correction of it.

    Args:
        session: the unit of work.
        conversation_id: where the message is; check access before.
        message_id: which message, written by the customer: what a button says is no reading.
        agent: who says so.
        field: "anger" or "intent".
        value: "angry" or "calm", or the name of an intent; None takes the correction back.
        now: when.

    Returns:
        The correction that holds now, or None.

    Raises:
        ValueError: no such field or value.
        NotFound: there is no such conversation, or no such message in it.
    """
    if field not in VALUES or (value is not None and value not in VALUES[field]):
        raise ValueError(f"no such field or value: {field!r}, {value!r}")
    conversation = lock_conversation(session, conversation_id)
    message = _typed_message(session, conversation_id, message_id)
    found: Correction | None = session.execute(
        select(Correction).where(Correction.message_id == message_id, Correction.field == field)
        .execution_options(populate_existing=True)).scalar_one_or_none()
    if field == "intent" and value == message.intent:
        value = None
    former = found.value if found else None
    if former == value:
        return found
    conversation.updated_at = max(conversation.updated_at, now)
    audit.record(session, actor_kind="agent", actor_id=agent.id, action="correct", object_kind="message",
                 object_id=message_id, data={"field": field, "from": former, "to": value}, now=now)
    if value is None:
        session.delete(found)
        session.flush()
        return None
    if found is None:
        found = Correction(message_id=message_id, field=field, was=_reading(message, field))
        session.add(found)
    found.value, found.agent_id, found.corrected_at = value, agent.id, now
    session.flush()
    return found


def _typed_message(session: Session, conversation_id: int, message_id: int) -> Message:
    message: Message | None = session.execute(
        select(Message).where(Message.id == message_id, Message.conversation_id == conversation_id,
                              Message.direction == "incoming", Message.payload.is_(None))).scalar_one_or_none()
    if message is None:
        raise NotFound(message_id=message_id)
    return message


def _reading(message: Message, field: str) -> str | None:
    if field == "intent":
        intent: str | None = message.intent
        return intent
    return None if message.anger is None else f"{message.anger:.4f}"

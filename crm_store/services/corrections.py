"""Keeps what people say a message is, against the bot's reading of it; the next training learns from it."""
from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from crm_store.errors import NotAllowed, NotFound
from crm_store.models import Correction, Label, Message, SupportAgent
from crm_store.models.corrections import ANGER_VALUES
from crm_store.rules.intents import INTENTS
from crm_store.rules.learning import text_key
from crm_store.services import audit
from crm_store.services.access import SEES_ALL
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


def label_message(session: Session, conversation_id: int, message_id: int, agent: SupportAgent, *,
                  intent: str | None, anger: str | None, now: datetime) -> Label:
    """Decide what the text of a customer's message teaches, wherever it was written: the last word on it.

    Saying the same again changes nothing. A label that changes waits for the next training again.

    Args:
        session: the unit of work.
        conversation_id: where the message is; check access before.
        message_id: which message, written by the customer.
        agent: who decides.
        intent: what it is about, by an intent's name; None teaches nothing about it.
        anger: "angry" or "calm"; None teaches nothing about it. Where both are None the text is not worth learning.
        now: when.

    Raises:
        ValueError: no such intent or anger.
        NotFound: there is no such message in that conversation.
        NotAllowed: a manager decided otherwise, and the one who asks is none.
    """
    for field, value in (("intent", intent), ("anger", anger)):
        if value is not None and value not in VALUES[field]:
            raise ValueError(f"no such field or value: {field!r}, {value!r}")
    message = _typed_message(session, conversation_id, message_id)
    label, is_new = _label_for(session, message, agent, now)
    former = None if is_new else _said(label)
    if former == (intent, anger):
        return label
    _check_may_overrule(label, agent)
    label.message_id, label.intent, label.anger = message_id, intent, anger
    label.agent_id, label.labelled_at, label.exported_at = agent.id, now, None
    _record_label(session, agent, message_id, former, (intent, anger), now)
    session.flush()
    return label


def withdraw_label(session: Session, conversation_id: int, message_id: int, agent: SupportAgent, now: datetime) -> None:
    """Forget what was decided of the text of a message; nothing happens where nothing was.

    Raises:
        NotFound: there is no such message in that conversation.
        NotAllowed: a manager decided it, and the one who asks is none.
    """
    label = _label_of(session, text_key(_typed_message(session, conversation_id, message_id).text))
    if label is None:
        return
    _check_may_overrule(label, agent)
    _record_label(session, agent, message_id, _said(label), None, now)
    session.delete(label)
    session.flush()


def mark_exported(session: Session, labels: Iterable[tuple[int, datetime]], now: datetime) -> None:
    """Note that the training data has these labels, given by id and time; one that changed meanwhile still waits."""
    table = Label.__table__
    wanted = [{"label": label_id, "at": labelled_at, "now": now} for label_id, labelled_at in labels]
    if wanted:
        session.connection().execute(
            sa.update(table).where(table.c.id == sa.bindparam("label"), table.c.labelled_at == sa.bindparam("at"),
                                   table.c.exported_at.is_(None)).values(exported_at=sa.bindparam("now")), wanted)


def _label_of(session: Session, key: str) -> Label | None:
    found: Label | None = session.execute(
        select(Label).where(Label.key == key).with_for_update(of=Label)
        .execution_options(populate_existing=True)).scalar_one_or_none()
    return found


def _label_for(session: Session, message: Message, agent: SupportAgent, now: datetime) -> tuple[Label, bool]:
    """The label of the message's text, held until the unit of work ends, and whether it was made just now."""
    key = text_key(message.text)
    label = _label_of(session, key)
    if label is not None:
        return label, False
    label = Label(key=key, message_id=message.id, agent_id=agent.id, labelled_at=now)
    try:
        with session.begin_nested():
            session.add(label)
    except IntegrityError:  # a colleague labelled the same text at the same moment
        found = _label_of(session, key)
        if found is None:
            raise
        return found, False
    return label, True


def _check_may_overrule(label: Label, agent: SupportAgent) -> None:
    if label.agent_id != agent.id and label.agent.role in SEES_ALL and agent.role not in SEES_ALL:
        raise NotAllowed(message_id=label.message_id)


def _said(label: Label) -> tuple[str | None, str | None]:
    return label.intent, label.anger


def _record_label(session: Session, agent: SupportAgent, message_id: int, former: tuple[str | None, str | None] | None,
                  said: tuple[str | None, str | None] | None, now: datetime) -> None:
    audit.record(session, actor_kind="agent", actor_id=agent.id, action="label", object_kind="message",
                 object_id=message_id, data={"from": _told(former), "to": _told(said)}, now=now)


def _told(said: tuple[str | None, str | None] | None) -> dict[str, str | None] | None:
    return None if said is None else {"intent": said[0], "anger": said[1]}


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

"""Writes what Warmline itself says to a customer, and the notes it leaves for agents."""
from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy import select
from sqlalchemy.orm import Session

from crm_store.models import Conversation, Message

TOLD_AGAIN_AFTER = timedelta(minutes=1)
DROPPED_FROM = 1000  # positions of replies that were dropped, clear of those that were said


def tell_customer(
    session: Session, conversation: Conversation, text: str, now: datetime, *, buttons: Sequence[dict[str, str]] = (),
    in_reply_to_id: int | None = None,
) -> Message:
    """Queue a message of Warmline itself to the customer; it never counts as a human's answer.

    Args:
        session: the unit of work.
        conversation: whose customer is told; its row is locked.
        text: what is said, in the customer's language.
        now: when.
        buttons: quick replies, each with a title and a payload.
        in_reply_to_id: the customer's message it answers, where it answers one.
    """
    message = Message(
        conversation_id=conversation.id, identity_id=conversation.identity_id, direction="outgoing", author="system",
        text=text, buttons=list(buttons), created_at=now, delivery_state="queued", in_reply_to_id=in_reply_to_id,
        position=0 if in_reply_to_id is None else next_position(session, in_reply_to_id),
    )
    conversation.updated_at = now
    session.add(message)
    return message


def said_lately(session: Session, conversation_id: int, text: str, now: datetime) -> bool:
    """Whether this was the last thing that was said to the customer, within a minute: several files, one answer."""
    last = session.execute(
        select(Message.text, Message.created_at)
        .where(Message.conversation_id == conversation_id, Message.direction == "outgoing")
        .order_by(Message.id.desc()).limit(1)).one_or_none()
    return last is not None and last.text == text and now - last.created_at < TOLD_AGAIN_AFTER


def leave_note(session: Session, conversation: Conversation, text: str, now: datetime,
               agent_id: int | None = None) -> Message:
    """Add a note that agents see and customers never do."""
    note = Message(
        conversation_id=conversation.id, identity_id=conversation.identity_id, direction="note",
        author="system" if agent_id is None else "agent", agent_id=agent_id, text=text, buttons=[], created_at=now,
        position=0,
    )
    conversation.updated_at = now
    session.add(note)
    return note


def next_position(session: Session, message_id: int) -> int:
    """The first free position among the replies to a message."""
    last = session.execute(
        select(sa.func.max(Message.position))
        .where(Message.in_reply_to_id == message_id, Message.position < DROPPED_FROM)
    ).scalar_one()
    return 0 if last is None else last + 1

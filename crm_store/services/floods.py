"""Holds back what one sender writes faster than it can be answered, and gives it to the bot together.

Of the messages that are held back the first waits for its turn with the bot ("first", and "taken" once its turn has
begun); those after it ("more") are read with it and need no turn of their own. The sender's row is locked while a
message is stored, so it makes no difference how many processes take messages in.
"""
from __future__ import annotations

from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy import bindparam, select
from sqlalchemy.orm import Session

from crm_store.models import ChannelIdentity, Conversation, Message
from crm_store.rules import flood
from crm_store.services.system_messages import tell_customer
from crm_store.wording import say

REQUEST_HUMAN = "/request_human"
MOST_READ = 500  # of the messages that are held back together
READ = sa.or_(Message.held.is_(None), Message.held.in_(("first", "taken")))
"""The condition that holds for messages the bot reads, by themselves or as the first of many."""

_NTH_BEFORE = (
    select(Message.created_at)
    .where(Message.conversation_id == bindparam("conversation"), Message.direction == "incoming")
    .order_by(Message.id.desc()).limit(1).offset(bindparam("back"))
)
_WAITING = (
    select(Message)
    .where(Message.conversation_id == bindparam("conversation"), Message.held == "first",
           sa.text("messages.direction = 'incoming' AND messages.handled_at IS NULL"))
    .order_by(Message.id.desc()).limit(1)
)


def hold_back(session: Session, conversation: Conversation, identity: ChannelIdentity, message: Message, *,
              last_at: datetime | None, a_minute: int, now: datetime) -> None:
    """Hold a message back that was just stored, if it is one too many; the sender is asked once to slow down.

    Who presses the button that asks for a person gets through while the bot has the conversation.

    Args:
        session: the unit of work; the sender's row is locked.
        conversation: the message's.
        identity: who sent it.
        message: the message.
        last_at: when they wrote before.
        a_minute: how many of their messages are answered one by one in a minute.
        now: when it came.
    """
    with_the_bot = conversation.status == "pending"
    if not flood.may_flood(last_at, now) or (with_the_bot and message.payload == REQUEST_HUMAN):
        return
    nth_before_at = session.execute(
        _NTH_BEFORE, {"conversation": conversation.id, "back": a_minute}).scalar_one_or_none()
    if not flood.is_flood(nth_before_at, now):
        return
    first = session.execute(_WAITING, {"conversation": conversation.id}).scalar_one_or_none()
    if first is None:
        message.held, message.next_attempt_at = "first", flood.read_at(now, now)
    else:
        message.held, message.handled_at = "more", now
        first.next_attempt_at = flood.read_at(first.created_at, now)
    if with_the_bot and flood.tells_again(identity.slowed_at, now):
        tell_customer(session, conversation, say("slow_down", conversation.language), now)
        identity.slowed_at = now
    session.flush()


def take_held(session: Session, conversation_id: int, message_id: int, text: str,
              payload: str | None) -> tuple[str, str | None]:
    """Begin the turn of the first message that was held back: what is read of it and those after it.

    What comes from now on waits for the next turn; taken again, the turn is the same.

    Returns:
        The text, and the payload where it is the only message.
    """
    session.execute(sa.update(Message).where(Message.id == message_id, Message.held == "first").values(held="taken")
                    .execution_options(synchronize_session="fetch"))
    mine: Any = (Message.conversation_id == conversation_id, Message.direction == "incoming", Message.id > message_id)
    following = session.execute(
        select(sa.func.min(Message.id)).where(*mine, Message.held.in_(("first", "taken")))).scalar_one()
    if following is not None:
        mine = (*mine, Message.id < following)
    newest = session.execute(select(Message.text).where(*mine, Message.held == "more").order_by(Message.id.desc())
                             .limit(MOST_READ)).scalars().all()
    return (flood.read_together([text, *reversed(newest)]), None) if newest else (text, payload)

"""Blocks a sender: what they write is kept and not answered, until the block ends by itself or somebody ends it.

A block is of one person on one channel, by the id the channel gave them; never of an address, which an office shares.
"""
from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

import sqlalchemy as sa
from sqlalchemy import select
from sqlalchemy.orm import Session

from crm_store.errors import InvalidMessage, NotAllowed, NotFound, WrongState
from crm_store.models import Block, ChannelIdentity, Conversation, Message, SupportAgent
from crm_store.rules.text import clean_text
from crm_store.services import audit
from crm_store.services.locking import lock_conversation
from crm_store.services.system_messages import leave_note, tell_customer
from crm_store.wording import say

REASON_LIMIT = 300
NO_END = datetime(9999, 12, 31, tzinfo=timezone.utc)


def running(now: datetime) -> Any:
    """The SQL condition on ``Block`` that holds for blocks that are not over."""
    return sa.and_(Block.ended_at.is_(None), sa.or_(Block.until_at.is_(None), Block.until_at > now))


def block_sender(session: Session, conversation_id: int, agent: SupportAgent, *, reason: str, until: datetime | None,
                 everywhere: bool, now: datetime) -> list[Block]:
    """Block whoever a conversation is with. Check access to it before.

    Args:
        session: the unit of work.
        conversation_id: the conversation that is the reason.
        agent: who blocks them.
        reason: why; colleagues read it, the customer does not.
        until: when it ends by itself; None for no end.
        everywhere: on every channel that their customer is linked on, not only on this one.
        now: when.

    Returns:
        The new blocks: one a channel on which they were not blocked already.

    Raises:
        InvalidMessage: the reason is empty or too long, or the end is not to come.
        WrongState: they are blocked already.
        NotFound: there is no such conversation.
    """
    try:
        reason = clean_text(reason, REASON_LIMIT)
    except InvalidMessage as error:
        raise InvalidMessage(**{**error.data, "field": "reason"}) from error
    if until is not None and not now < until < NO_END:
        raise InvalidMessage(field="until", reason="invalid")
    new = [each for each in _senders(session, conversation_id, everywhere) if block_of(session, each, now) is None]
    conversation = lock_conversation(session, conversation_id)  # after the senders, as a message that comes in does
    if not new:
        raise WrongState(conversation_id=conversation_id)
    blocks = [Block(identity_id=identity.id, conversation_id=conversation_id, reason=reason, blocked_by_id=agent.id,
                    created_at=now, until_at=until, held=0) for identity in new]
    session.add_all(blocks)
    for identity in new:
        identity.blocked_until = until or NO_END
        audit.record(session, actor_kind="agent", actor_id=agent.id, action="block", object_kind="channel_identity",
                     object_id=identity.id, now=now,
                     data={"conversation_id": conversation_id, "until": until.isoformat() if until else None})
    said = say("note_blocked", agent.interface_language, name=agent.name, reason=reason)
    leave_note(session, conversation, said, now)
    session.flush()
    return blocks


def end_block(session: Session, block_id: int, agent: SupportAgent, now: datetime) -> Block:
    """End a block before its time. Check access to its conversation before.

    Raises:
        NotAllowed: an agent ends a block of somebody else's, which is their lead's to end.
        WrongState: it is over.
        NotFound: there is no such block.
    """
    found = session.get(Block, block_id)
    if found is None:
        raise NotFound(block_id=block_id)
    if found.blocked_by_id != agent.id and not agent.is_at_least("lead"):
        raise NotAllowed(block_id=block_id)
    identity = session.execute(_locked(ChannelIdentity.id == found.identity_id)).scalar_one()
    conversation = lock_conversation(session, found.conversation_id)
    block: Block = session.get(Block, block_id, populate_existing=True)
    if block.ended_at is not None or (block.until_at is not None and block.until_at <= now):
        raise WrongState(block_id=block_id)
    block.ended_at, block.ended_by_id, identity.blocked_until = now, agent.id, None
    audit.record(session, actor_kind="agent", actor_id=agent.id, action="unblock", object_kind="channel_identity",
                 object_id=identity.id, data={"conversation_id": conversation.id}, now=now)
    leave_note(session, conversation, say("note_unblocked", agent.interface_language, name=agent.name), now)
    session.flush()
    return block


def block_of(session: Session, identity: ChannelIdentity, now: datetime) -> Block | None:
    """The block that a sender is under, whose row is locked; one that is over needs nobody to end it.

    It goes with the conversation that was its reason, where that is forgotten.
    """
    if identity.blocked_until is None or identity.blocked_until <= now:
        return None
    block: Block | None = session.execute(
        select(Block).where(Block.identity_id == identity.id, running(now)).order_by(Block.id.desc()).limit(1)
    ).scalar_one_or_none()
    if block is None:
        identity.blocked_until = None
    return block


def hold_blocked(session: Session, block: Block, conversation: Conversation, message: Message, now: datetime) -> None:
    """Keep what a blocked sender wrote, unanswered and counted; they are told so once."""
    message.held, message.handled_at = "blocked", now
    block.held += 1
    if block.told_at is None:
        block.told_at = now
        tell_customer(session, conversation, say("blocked", conversation.language), now)
    session.flush()


def _senders(session: Session, conversation_id: int, everywhere: bool) -> list[ChannelIdentity]:
    """Who is to be blocked, locked in the order of their ids."""
    of_the_talk = session.execute(
        select(ChannelIdentity.id, ChannelIdentity.customer_id)
        .join(Conversation, Conversation.identity_id == ChannelIdentity.id)
        .where(Conversation.id == conversation_id)).one_or_none()
    if of_the_talk is None:
        raise NotFound(conversation_id=conversation_id)
    wanted = ChannelIdentity.id == of_the_talk.id
    if everywhere and of_the_talk.customer_id is not None:
        wanted = sa.or_(wanted, ChannelIdentity.customer_id == of_the_talk.customer_id)
    return list(session.execute(_locked(wanted)).scalars())


def _locked(wanted: Any) -> Any:
    return (select(ChannelIdentity).where(wanted).order_by(ChannelIdentity.id)
            .with_for_update(key_share=True).execution_options(populate_existing=True))

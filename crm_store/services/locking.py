"""Locks a conversation: whoever reads it to decide a write holds its row until the unit of work ends."""
from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import bindparam, select
from sqlalchemy.orm import Session

from crm_store.errors import NotFound
from crm_store.models import Conversation

# Built once: every turn of every conversation runs it several times.
_CONVERSATION = (
    select(Conversation).where(Conversation.id == bindparam("conversation_id"))
    .with_for_update(key_share=True).execution_options(populate_existing=True)
)


def lock_conversation(session: Session, conversation_id: int) -> Conversation:
    """The conversation as it is now, locked against every other writer until the unit of work ends.

    The lock also covers its tickets and their clocks: everything that changes those takes it first. On SQLite the unit
    of work holds the only write lock already.

    Raises:
        NotFound: there is no such conversation, or what was said in it was erased.
    """
    conversation = session.execute(_CONVERSATION, {"conversation_id": conversation_id}).scalar_one_or_none()
    if conversation is None or conversation.erased_at is not None:
        raise NotFound(conversation_id=conversation_id)
    found: Conversation = conversation
    return found


def still_there(session: Session, conversation_ids: Collection[int]) -> set[int]:
    """Which of the conversations were not erased; they cannot be until the unit of work ends, whoever else writes."""
    return set(session.execute(
        select(Conversation.id).where(Conversation.id.in_(conversation_ids), Conversation.erased_at.is_(None))
        .order_by(Conversation.id).with_for_update(read=True, key_share=True)).scalars())

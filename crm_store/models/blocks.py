"""Who is not served for a while, because of what they did."""
from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.orm import relationship

from crm_store.database import UtcDateTime
from crm_store.models.base import Base, Id, reference


class Block(Base):
    """One sender on one channel is not served from ``created_at`` until ``until_at``, or until somebody ends it.

    Beside it ``ChannelIdentity.blocked_until`` says the same, so that looking costs nothing. ``held`` counts what they
    wrote meanwhile.
    """

    __tablename__ = "blocks"
    id = sa.Column(Id, primary_key=True)
    identity_id = reference("channel_identities.id", ondelete="CASCADE")
    conversation_id = reference("conversations.id", ondelete="CASCADE")  # where whoever blocked them looked
    reason = sa.Column(sa.String(300), nullable=False)
    blocked_by_id = reference("support_agents.id")
    created_at = sa.Column(UtcDateTime, nullable=False)
    until_at = sa.Column(UtcDateTime)  # null: until somebody ends it
    ended_at = sa.Column(UtcDateTime)
    ended_by_id = reference("support_agents.id", nullable=True)
    told_at = sa.Column(UtcDateTime)
    held = sa.Column(sa.Integer, nullable=False, default=0)
    identity = relationship("ChannelIdentity")
    conversation = relationship("Conversation")
    blocked_by = relationship("SupportAgent", foreign_keys=[blocked_by_id])
    ended_by = relationship("SupportAgent", foreign_keys=[ended_by_id])

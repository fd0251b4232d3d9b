"""Which colleague looks at which conversation, and who types."""
from __future__ import annotations

import sqlalchemy as sa

from crm_store.database import UtcDateTime
from crm_store.models.base import Base, Id


class Presence(Base):
    """An agent who has a conversation open; a row that is not renewed counts no more, nobody has to take it away."""

    __tablename__ = "presence"
    agent_id = sa.Column(Id, sa.ForeignKey("support_agents.id"), primary_key=True)
    conversation_id = sa.Column(Id, sa.ForeignKey("conversations.id"), primary_key=True, index=True)
    seen_at = sa.Column(UtcDateTime, nullable=False)
    typing_until = sa.Column(UtcDateTime)  # null while they only read

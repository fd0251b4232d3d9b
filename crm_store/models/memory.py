"""What customers said about themselves and wanted remembered."""
from __future__ import annotations

import sqlalchemy as sa

from crm_store.database import UtcDateTime
from crm_store.models.base import Base, Id, one_of, reference
from crm_store.rules.memory import FACT_KINDS


class Fact(Base):
    """One thing a customer said of themselves and agreed to have kept, in their words, with where they said it."""

    __tablename__ = "facts"
    id = sa.Column(Id, primary_key=True)
    customer_id = reference("customers.id")
    kind = sa.Column(sa.String(10), nullable=False)
    what = sa.Column(sa.String(200), nullable=False)
    conversation_id = reference("conversations.id")
    message_id = reference("messages.id", nullable=True)
    channel = sa.Column(sa.String(20), nullable=False)
    said_at = sa.Column(UtcDateTime, nullable=False)
    confirmed_at = sa.Column(UtcDateTime, nullable=False)
    __table_args__ = (sa.UniqueConstraint("customer_id", "kind", "what"), one_of("kind", "kind", FACT_KINDS))

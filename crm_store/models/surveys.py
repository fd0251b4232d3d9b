"""Whether customers would recommend the shop."""
from __future__ import annotations

import sqlalchemy as sa

from crm_store.database import UtcDateTime
from crm_store.models.base import Base, Id, reference


class Recommendation(Base):
    """One asking of a customer how likely they are to recommend the shop, 0 to 10; ``score`` is null until answered.

    ``agent_id`` and ``policy_id`` are whose conversation it was asked after and which promise its ticket had.
    """

    __tablename__ = "recommendations"
    id = sa.Column(Id, primary_key=True)
    customer_id = reference("customers.id", index=False)
    conversation_id = reference("conversations.id")
    agent_id = reference("support_agents.id", nullable=True)
    policy_id = reference("sla_policies.id", nullable=True, index=False)
    asked_at = sa.Column(UtcDateTime, nullable=False)
    answered_at = sa.Column(UtcDateTime, index=True)
    score = sa.Column(sa.Integer)
    __table_args__ = (
        sa.CheckConstraint("score BETWEEN 0 AND 10", name="score"),
        sa.Index("ix_recommendations_customer_id_asked_at", "customer_id", "asked_at"),
    )

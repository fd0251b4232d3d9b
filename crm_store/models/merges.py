"""Two records of one person that were put together."""
from __future__ import annotations

import sqlalchemy as sa

from crm_store.database import UtcDateTime
from crm_store.models.base import Base, Id, reference


class Merge(Base):
    """One record merged into another: ``moved`` holds the ids of what went over, by table, so that it can go back."""

    __tablename__ = "merges"
    id = sa.Column(Id, primary_key=True)
    kept_id = reference("customers.id")
    gone_id = reference("customers.id")
    agent_id = reference("support_agents.id", index=False)
    merged_at = sa.Column(UtcDateTime, nullable=False)
    moved = sa.Column(sa.JSON, nullable=False)
    undone_at = sa.Column(UtcDateTime)
    undone_by_id = reference("support_agents.id", nullable=True, index=False)

"""Searches of the log that people keep."""
from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.orm import relationship

from crm_store.database import UtcDateTime
from crm_store.models.base import Base, Id, reference


class SavedSearch(Base):
    """A search under a name. A shared one is opened by all who may search, and changed by its owner alone."""

    __tablename__ = "saved_searches"
    id = sa.Column(Id, primary_key=True)
    owner_id = reference("support_agents.id")
    name = sa.Column(sa.String(80), nullable=False)
    query = sa.Column(sa.Text, nullable=False)  # as in an address: words=退款&rating=1, percent-encoded
    shared = sa.Column(sa.Boolean, nullable=False, default=False)
    created_at = sa.Column(UtcDateTime, nullable=False)
    changed_at = sa.Column(UtcDateTime, nullable=False)
    owner = relationship("SupportAgent")
    __table_args__ = (sa.UniqueConstraint("owner_id", "name"),)

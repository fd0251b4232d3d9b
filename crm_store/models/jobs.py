"""What runs by itself at certain times, and how far it has come."""
from __future__ import annotations

import sqlalchemy as sa

from crm_store.database import UtcDateTime
from crm_store.models.base import Base


class Job(Base):
    """One job: for which day of the shop it was last finished, and who is at it now."""

    __tablename__ = "jobs"
    name = sa.Column(sa.String(40), primary_key=True)
    done_for = sa.Column(sa.Date)
    done_at = sa.Column(UtcDateTime)
    reviewed_year = sa.Column(sa.Integer)  # of the nightly job: the yearly review of tiers that was last finished
    worker = sa.Column(sa.String(40))
    worker_until = sa.Column(UtcDateTime)
    report = sa.Column(sa.JSON, nullable=False, default=dict)  # of the last finished run: how many of what

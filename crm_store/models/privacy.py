"""Erasures with their proof, the tombstones they leave, copies of data that may be fetched, and periods of keeping."""
from __future__ import annotations

import sqlalchemy as sa

from crm_store.database import UtcDateTime
from crm_store.models.base import Base, Id, one_of, reference

ERASURE_STATES = ("asked", "cancelled", "erased", "proven")
ASKED_BY = ("customer", "agent", "tombstone")
TOMBSTONE_KINDS = ("customer", "identity")
PERIODS = ("guests", "conversations", "attachments", "audit_log")


class Erasure(Base):
    """The erasure of one person: asked for, carried out, proven. It holds no personal data itself.

    ``customer_id`` is the empty row that is left of the customer; None of a guest. ``report`` says what was done once
    that is over; ``files`` are files still to be deleted, by names that say nothing, relative to the data folder.
    """

    __tablename__ = "erasures"
    id = sa.Column(Id, primary_key=True)
    customer_id = reference("customers.id", nullable=True)
    identity_id = reference("channel_identities.id", nullable=True)
    state = sa.Column(sa.String(10), nullable=False, default="asked", index=True)
    asked_by = sa.Column(sa.String(10), nullable=False)
    asked_at = sa.Column(UtcDateTime, nullable=False)
    due_at = sa.Column(UtcDateTime, nullable=False)
    agent_id = reference("support_agents.id", nullable=True)
    erased_at = sa.Column(UtcDateTime)
    proven_at = sa.Column(UtcDateTime)
    files = sa.Column(sa.JSON, nullable=False, default=list)
    report = sa.Column(sa.JSON)
    signature = sa.Column(sa.String(64))
    __table_args__ = (one_of("state", "state", ERASURE_STATES), one_of("asked_by", "asked_by", ASKED_BY))


class Tombstone(Base):
    """A keyed hash of who was erased, so that a restored backup or an import that brings them back is noticed."""

    __tablename__ = "tombstones"
    id = sa.Column(Id, primary_key=True)
    kind = sa.Column(sa.String(10), nullable=False)
    hash = sa.Column(sa.String(64), nullable=False)
    erased_at = sa.Column(UtcDateTime, nullable=False)
    __table_args__ = (sa.UniqueConstraint("kind", "hash"), one_of("kind", "kind", TOMBSTONE_KINDS))


class DataCopy(Base):
    """A copy of their data that a customer may fetch once by a link; only the hash of the link's token is stored."""

    __tablename__ = "data_copies"
    id = sa.Column(Id, primary_key=True)
    customer_id = reference("customers.id")
    identity_id = reference("channel_identities.id")
    token_hash = sa.Column(sa.String(64), nullable=False, unique=True)
    created_at = sa.Column(UtcDateTime, nullable=False)
    expires_at = sa.Column(UtcDateTime, nullable=False)
    fetched_at = sa.Column(UtcDateTime)


class RetentionPeriod(Base):
    """How many days something is kept, where that differs from the default; None is for ever."""

    __tablename__ = "retention_periods"
    name = sa.Column(sa.String(20), primary_key=True)
    days = sa.Column(sa.Integer)
    changed_at = sa.Column(UtcDateTime, nullable=False)
    __table_args__ = (one_of("name", "name", PERIODS), sa.CheckConstraint("days >= 1", name="days"))

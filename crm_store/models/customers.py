"""Customers, who they are on each channel, what they allow, and what they suggest."""
from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.orm import relationship

from crm_store.database import UtcDateTime
from crm_store.models.base import Base, Id, one_of, reference

LANGUAGES = ("zh", "en")
CHANNELS = ("web", "http", "telegram", "wechat")
FEEDBACK_STATUSES = ("new", "planned", "done", "declined")
CONSENT_PURPOSES = ("service", "marketing", "memory")


class Customer(Base):
    """A person the shop knows. ``tier_code`` is kept up to date by the points services."""

    __tablename__ = "customers"
    id = sa.Column(Id, primary_key=True)
    number = sa.Column(sa.String(20), nullable=False, unique=True)
    name = sa.Column(sa.String(120), nullable=False)
    language = sa.Column(sa.String(2), nullable=False, default="zh")
    phone = sa.Column(sa.String(20), unique=True)
    email = sa.Column(sa.String(200), unique=True)
    city = sa.Column(sa.String(80))
    address = sa.Column(sa.String(300))
    tier_code = sa.Column(sa.String(20), sa.ForeignKey("tiers.code"), nullable=False, default="silver")
    tier_since_at = sa.Column(UtcDateTime)
    created_at = sa.Column(UtcDateTime, nullable=False)
    erased_at = sa.Column(UtcDateTime)
    birthday = sa.Column(sa.Date)
    tone = sa.Column(sa.String(10))  # how they want to be spoken to; null is the shop's own way
    merged_into_id = sa.Column(Id, index=True)  # this record is empty: the person is that one
    tier = relationship("Tier")
    __table_args__ = (one_of("language", "language", LANGUAGES),)


class ChannelIdentity(Base):
    """A person's id on one channel: a guest until ``customer_id`` is set by linking."""

    __tablename__ = "channel_identities"
    id = sa.Column(Id, primary_key=True)
    channel = sa.Column(sa.String(20), nullable=False)
    external_id = sa.Column(sa.String(200), nullable=False)
    customer_id = reference("customers.id", nullable=True)
    linked_at = sa.Column(UtcDateTime)
    language = sa.Column(sa.String(2))
    unreachable_since = sa.Column(UtcDateTime)  # they blocked the shop on this channel
    blocked_until = sa.Column(UtcDateTime)  # the shop blocked them; without an end it is the end of time
    slowed_at = sa.Column(UtcDateTime)  # when they were last asked to write slower
    created_at = sa.Column(UtcDateTime, nullable=False)
    customer = relationship("Customer")
    __table_args__ = (sa.UniqueConstraint("channel", "external_id"), one_of("channel", "channel", CHANNELS))


class LinkCode(Base):
    """A one-time code that links a channel identity to a customer; only its hash is stored."""

    __tablename__ = "link_codes"
    id = sa.Column(Id, primary_key=True)
    identity_id = reference("channel_identities.id")
    customer_id = reference("customers.id", nullable=True)  # null: the phone was unknown, and nobody may tell
    code_hash = sa.Column(sa.String(200), nullable=False)
    attempts = sa.Column(sa.Integer, nullable=False, default=0)
    created_at = sa.Column(UtcDateTime, nullable=False)
    expires_at = sa.Column(UtcDateTime, nullable=False)
    used_at = sa.Column(UtcDateTime)


class Consent(Base):
    """One decision of a customer about one purpose; the newest counts."""

    __tablename__ = "consents"
    id = sa.Column(Id, primary_key=True)
    customer_id = reference("customers.id")
    purpose = sa.Column(sa.String(20), nullable=False)
    granted = sa.Column(sa.Boolean, nullable=False)
    channel = sa.Column(sa.String(20), nullable=False)
    decided_at = sa.Column(UtcDateTime, nullable=False)
    __table_args__ = (one_of("purpose", "purpose", CONSENT_PURPOSES),)


class Feedback(Base):
    """A suggestion or praise, kept as it was said, with what became of it and what its author was told."""

    __tablename__ = "feedback"
    id = sa.Column(Id, primary_key=True)
    customer_id = reference("customers.id", nullable=True)
    conversation_id = reference("conversations.id")
    text = sa.Column(sa.Text, nullable=False)
    topic = sa.Column(sa.String(20), nullable=False, default="other", server_default="other")
    status = sa.Column(sa.String(10), nullable=False, default="new", server_default="new")
    answer = sa.Column(sa.Text)
    answered_by_id = reference("support_agents.id", nullable=True, index=False)
    answered_at = sa.Column(UtcDateTime)
    created_at = sa.Column(UtcDateTime, nullable=False)
    idempotency_key = sa.Column(sa.String(200), nullable=False, unique=True)
    __table_args__ = (one_of("status", "status", FEEDBACK_STATUSES),
                      sa.Index("ix_feedback_status_topic", "status", "topic"))

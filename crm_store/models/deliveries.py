"""How agents and other programs are told beside the desk, and every notice that is sent that way."""
from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.orm import relationship

from crm_store.database import UtcDateTime
from crm_store.models.base import Base, Id, one_of, reference

NOTICE_KINDS = (
    "assigned", "complaint", "transferred", "transferred_away", "taken_over", "nobody_free", "grade_raised",
    "low_rating", "sla_warned", "sla_breached", "woken",
)
DELIVERY_OUTCOMES = ("queued", "failed", "sent", "given_up", "skipped")
DELIVERY_ERRORS = (
    "refused", "timed_out", "no_answer", "not_resolved", "not_public", "address_refused", "mail_refused",
    "server_refused", "interrupted", "unforeseen", "seen", "switched_off", "no_address", "not_set_up",
)


class NotificationPreference(Base):
    """How one agent wants to be told beside the desk; no row: not at all."""

    __tablename__ = "notification_preferences"
    agent_id = sa.Column(Id, sa.ForeignKey("support_agents.id"), primary_key=True, autoincrement=False)
    email = sa.Column(sa.String(254))
    email_kinds = sa.Column(sa.JSON, nullable=False, default=list)
    updated_at = sa.Column(UtcDateTime, nullable=False)


class Webhook(Base):
    """A program of the shop that is told by signed HTTP requests."""

    __tablename__ = "webhooks"
    id = sa.Column(Id, primary_key=True)
    name = sa.Column(sa.String(80), nullable=False)
    url = sa.Column(sa.String(500), nullable=False, unique=True)
    secret = sa.Column(sa.String(80), nullable=False)  # signs, so it cannot be kept as a hash
    kinds = sa.Column(sa.JSON, nullable=False, default=list)  # empty: every kind
    active = sa.Column(sa.Boolean, nullable=False, default=True)
    created_at = sa.Column(UtcDateTime, nullable=False)
    updated_at = sa.Column(UtcDateTime, nullable=False)


class NotificationDelivery(Base):
    """One notice on its way to one target. Once an event, way and target, whoever else is told of the same event.

    ``failed`` is tried again at ``next_attempt_at``; ``given_up`` is not; ``skipped`` was not needed any more.
    """

    __tablename__ = "notification_deliveries"
    id = sa.Column(Id, primary_key=True)
    public_id = sa.Column(sa.String(32), nullable=False, unique=True)  # the same at every attempt
    notification_id = reference("notifications.id", nullable=True, ondelete="CASCADE")  # none for a test
    shop_event_id = reference("shop_events.id", nullable=True, ondelete="CASCADE")  # of an event that is no notice
    order_key = sa.Column(sa.String(40))  # those with the same one reach a target one after the other
    event_key = sa.Column(sa.String(200), nullable=False)
    adapter = sa.Column(sa.String(20), nullable=False)
    target_id = sa.Column(Id, nullable=False)  # the agent or the webhook
    lane = sa.Column(sa.String(40), nullable=False)  # those that wait for the same server
    kind = sa.Column(sa.String(30), nullable=False)
    state = sa.Column(sa.String(10), nullable=False, default="queued")
    attempts = sa.Column(sa.Integer, nullable=False, default=0)
    created_at = sa.Column(UtcDateTime, nullable=False)
    next_attempt_at = sa.Column(UtcDateTime)  # none when nothing is to be done any more
    sent_at = sa.Column(UtcDateTime)
    response_status = sa.Column(sa.Integer)
    last_error = sa.Column(sa.String(200))  # one of DELIVERY_ERRORS, and after a colon what is known of it
    notification = relationship("Notification")
    shop_event = relationship("ShopEvent")
    __table_args__ = (
        one_of("state", "state", DELIVERY_OUTCOMES),
        sa.UniqueConstraint("event_key", "adapter", "target_id"),
        sa.Index("ix_notification_deliveries_next_attempt_at_lane", "next_attempt_at", "lane"),
        sa.Index("ix_notification_deliveries_lane_order_key", "lane", "order_key"),
        sa.Index("ix_notification_deliveries_adapter_target_id", "adapter", "target_id"),
    )

"""Tickets, escalations, and the SLA: policies, calendars, clocks and events."""
from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.orm import relationship

from crm_store.database import UtcDateTime
from crm_store.models.base import Base, Id, one_of, reference
from crm_store.models.staff import LEVELS

TICKET_KINDS = ("complaint", "handoff", "request")
TICKET_STATUSES = ("open", "waiting", "resolved")
REQUEST_TYPES = ("return", "refund", "cancel", "change", "privacy")
GRADES = ("ordinary", "complex", "major")
REASONS = ("asked", "anger", "major_complaint", "stuck", "system")
PROMISES = ("first_response", "next_response", "resolution", "follow_up")
CLOCK_STATES = ("running", "paused", "met", "breached", "cancelled")


class Ticket(Base):
    """A piece of work. ``number`` is what the customer reads: C and digits."""

    __tablename__ = "tickets"
    id = sa.Column(Id, primary_key=True)
    number = sa.Column(sa.String(20), nullable=False, unique=True)
    kind = sa.Column(sa.String(12), nullable=False)
    request_type = sa.Column(sa.String(12))
    conversation_id = reference("conversations.id")
    customer_id = reference("customers.id", nullable=True)
    order_id = reference("orders.id", nullable=True)
    status = sa.Column(sa.String(12), nullable=False, default="open", index=True)
    stage = sa.Column(sa.String(12), nullable=False, default="received")  # received, taken_up, proposal, resolved
    grade = sa.Column(sa.String(12))
    level = sa.Column(sa.String(20), nullable=False, default="front_line")
    reason = sa.Column(sa.String(20))
    category = sa.Column(sa.String(20))
    summary = sa.Column(sa.Text, nullable=False)
    wish = sa.Column(sa.Text)
    language = sa.Column(sa.String(2), nullable=False)
    keeper_id = reference("support_agents.id", nullable=True)
    assignee_id = reference("support_agents.id", nullable=True)
    cycle = sa.Column(sa.Integer, nullable=False, default=1)
    opened_at = sa.Column(UtcDateTime, nullable=False)
    resolved_at = sa.Column(UtcDateTime)
    resolution_cause = sa.Column(sa.String(60))
    idempotency_key = sa.Column(sa.String(200), nullable=False, unique=True)
    conversation = relationship("Conversation")
    customer = relationship("Customer")
    order = relationship("Order")
    assignee = relationship("SupportAgent", foreign_keys=[assignee_id])
    keeper = relationship("SupportAgent", foreign_keys=[keeper_id])
    clocks = relationship("SlaClock", back_populates="ticket", order_by="SlaClock.id")
    __table_args__ = (
        one_of("kind", "kind", TICKET_KINDS), one_of("status", "status", TICKET_STATUSES),
        one_of("request_type", "request_type", REQUEST_TYPES), one_of("grade", "grade", GRADES),
        one_of("level", "level", LEVELS), one_of("reason", "reason", REASONS),
    )


class Escalation(Base):
    """The recorded decision that a human is needed, with its reason; one a message at most."""

    __tablename__ = "escalations"
    id = sa.Column(Id, primary_key=True)
    conversation_id = reference("conversations.id")
    ticket_id = reference("tickets.id")
    message_id = sa.Column(Id, sa.ForeignKey("messages.id"), nullable=True, unique=True)
    reason = sa.Column(sa.String(20), nullable=False)
    anger = sa.Column(sa.Float)
    decided_at = sa.Column(UtcDateTime, nullable=False)
    __table_args__ = (one_of("reason", "reason", REASONS),)


class BusinessCalendar(Base):
    """When the desk works: weekly intervals in a time zone, public holidays of a country, own closing days.

    ``weekly`` maps "0" (Monday) to "6" to a list of ["09:00", "12:00"] pairs, local time, end not included.
    """

    __tablename__ = "business_calendars"
    id = sa.Column(Id, primary_key=True)
    name = sa.Column(sa.String(80), nullable=False, unique=True)
    time_zone = sa.Column(sa.String(60), nullable=False)
    weekly = sa.Column(sa.JSON, nullable=False)
    holidays = sa.Column(sa.String(10))  # a country code, or null for none
    closing_days = sa.Column(sa.JSON, nullable=False, default=list)  # ["2026-12-31"]


class SlaPolicy(Base):
    """Promises for the tickets it matches. Null in a match column matches all; the lowest position wins."""

    __tablename__ = "sla_policies"
    id = sa.Column(Id, primary_key=True)
    name = sa.Column(sa.String(80), nullable=False, unique=True)
    position = sa.Column(sa.Integer, nullable=False, unique=True)
    ticket_kind = sa.Column(sa.String(12))
    grade = sa.Column(sa.String(12))
    tier_code = sa.Column(sa.String(20), sa.ForeignKey("tiers.code"))
    first_response_seconds = sa.Column(sa.Integer)
    next_response_seconds = sa.Column(sa.Integer)
    resolution_seconds = sa.Column(sa.Integer)
    follow_up_seconds = sa.Column(sa.Integer)
    around_the_clock = sa.Column(sa.Boolean, nullable=False, default=False)
    calendar_id = reference("business_calendars.id")
    active = sa.Column(sa.Boolean, nullable=False, default=True)
    calendar = relationship("BusinessCalendar")


class SlaClock(Base):
    """One running promise. The verdict is a function of these times alone, never of when somebody looked.

    ``elapsed_seconds`` is the working time that had passed when the clock was last paused, ``resumed_at`` the start of
    the stretch that runs now.
    """

    __tablename__ = "sla_clocks"
    id = sa.Column(Id, primary_key=True)
    ticket_id = reference("tickets.id", index=False)
    policy_id = reference("sla_policies.id")
    promise = sa.Column(sa.String(20), nullable=False)
    cycle = sa.Column(sa.Integer, nullable=False, default=1)
    state = sa.Column(sa.String(12), nullable=False, default="running")
    target_seconds = sa.Column(sa.Integer, nullable=False)
    elapsed_seconds = sa.Column(sa.Integer, nullable=False, default=0)
    around_the_clock = sa.Column(sa.Boolean, nullable=False, default=False)
    calendar_id = reference("business_calendars.id")
    started_at = sa.Column(UtcDateTime, nullable=False)
    resumed_at = sa.Column(UtcDateTime)
    paused_at = sa.Column(UtcDateTime)
    due_at = sa.Column(UtcDateTime, nullable=False)
    warned_percent = sa.Column(sa.Integer, nullable=False, default=0)
    next_event_at = sa.Column(UtcDateTime)  # the next warning or the due time; null when nothing is to come
    met_at = sa.Column(UtcDateTime)
    breached_at = sa.Column(UtcDateTime)
    ticket = relationship("Ticket", back_populates="clocks")
    policy = relationship("SlaPolicy")
    calendar = relationship("BusinessCalendar")
    __table_args__ = (
        sa.UniqueConstraint("ticket_id", "promise", "cycle"),
        sa.Index("ix_sla_clocks_next_event_at", "next_event_at"),
        one_of("promise", "promise", PROMISES), one_of("state", "state", CLOCK_STATES),
    )


class SlaEvent(Base):
    """Something that happened to a clock: started, warned, paused, resumed, met, breached, cancelled."""

    __tablename__ = "sla_events"
    id = sa.Column(Id, primary_key=True)
    clock_id = reference("sla_clocks.id")
    kind = sa.Column(sa.String(20), nullable=False)
    occurrence = sa.Column(sa.Integer, nullable=False, default=0)  # percent for warnings, a count for pauses
    occurred_at = sa.Column(UtcDateTime, nullable=False)
    __table_args__ = (sa.UniqueConstraint("clock_id", "kind", "occurrence"),)


class Notification(Base):
    """Something an agent must be told; shown live at the desk until seen. The key keeps it from being told twice."""

    __tablename__ = "notifications"
    id = sa.Column(Id, primary_key=True)
    agent_id = reference("support_agents.id")
    kind = sa.Column(sa.String(30), nullable=False)
    conversation_id = reference("conversations.id", nullable=True)
    data = sa.Column(sa.JSON, nullable=False, default=dict)
    created_at = sa.Column(UtcDateTime, nullable=False)
    seen_at = sa.Column(UtcDateTime)
    idempotency_key = sa.Column(sa.String(200), nullable=False, unique=True)

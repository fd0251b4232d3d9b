"""Tiers, the points ledger and rewards."""
from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.orm import relationship

from crm_store.database import UtcDateTime
from crm_store.models.base import Base, Id, one_of, reference

ENTRY_KINDS = ("earn", "spend", "expire", "reverse", "grant", "move")


class Tier(Base):
    """A membership level, from what is spent in 365 days (fen), with its anger thresholds."""

    __tablename__ = "tiers"
    code = sa.Column(sa.String(20), primary_key=True)
    rank = sa.Column(sa.Integer, nullable=False, unique=True)
    name_zh = sa.Column(sa.String(40), nullable=False)
    name_en = sa.Column(sa.String(40), nullable=False)
    minimum_spend_fen = sa.Column(sa.Integer, nullable=False)
    multiplier = sa.Column(sa.Numeric(4, 2, asdecimal=False), nullable=False)
    benefits_zh = sa.Column(sa.Text, nullable=False)
    benefits_en = sa.Column(sa.Text, nullable=False)
    anger_route = sa.Column(sa.Float, nullable=False)
    anger_watch = sa.Column(sa.Float, nullable=False)


class PointsEntry(Base):
    """One line of the ledger, never changed. ``points`` is signed; an entry above zero is a lot that can be spent.

    A ``reverse`` undoes another entry: below zero it takes back what a returned order earned, above zero it is what a
    cancelled redemption had spent, as a new lot with the expiry of the old one, which ``origin_id`` names. A ``move``
    takes a lot to another record of the same person, or brings it from there, with its expiry and origin.
    """

    __tablename__ = "points_entries"
    id = sa.Column(Id, primary_key=True)
    customer_id = reference("customers.id", index=False)
    kind = sa.Column(sa.String(10), nullable=False)
    points = sa.Column(sa.Integer, nullable=False)
    order_id = reference("orders.id", nullable=True)
    reward_id = reference("rewards.id", nullable=True)
    ticket_id = reference("tickets.id", nullable=True, index=False)  # of a grant: the case it makes good
    origin_id = reference("points_entries.id", nullable=True, index=False)  # the lot these points were earned in
    reason = sa.Column(sa.String(200))
    expires_at = sa.Column(UtcDateTime)  # lots only
    created_at = sa.Column(UtcDateTime, nullable=False)
    idempotency_key = sa.Column(sa.String(200), nullable=False, unique=True)
    order = relationship("Order")
    reward = relationship("Reward")
    __table_args__ = (
        one_of("kind", "kind", ENTRY_KINDS),
        sa.Index("ix_points_entries_customer_id_id", "customer_id", "id"),
    )


class PointsAllocation(Base):
    """How much of which lot a spending, expiring or reversing entry took."""

    __tablename__ = "points_allocations"
    entry_id = sa.Column(Id, sa.ForeignKey("points_entries.id"), primary_key=True)
    lot_id = sa.Column(Id, sa.ForeignKey("points_entries.id"), primary_key=True, index=True)
    points = sa.Column(sa.Integer, nullable=False)
    __table_args__ = (sa.CheckConstraint("points > 0", name="points"),)


class Reward(Base):
    """Something points can be spent on."""

    __tablename__ = "rewards"
    id = sa.Column(Id, primary_key=True)
    code = sa.Column(sa.String(40), nullable=False, unique=True)
    name_zh = sa.Column(sa.String(120), nullable=False)
    name_en = sa.Column(sa.String(120), nullable=False)
    cost_points = sa.Column(sa.Integer, nullable=False)
    stock = sa.Column(sa.Integer, nullable=False)
    minimum_tier = sa.Column(sa.String(20), sa.ForeignKey("tiers.code"), nullable=False)
    kind = sa.Column(sa.String(20), nullable=False)
    active = sa.Column(sa.Boolean, nullable=False, default=True)
    __table_args__ = (sa.CheckConstraint("stock >= 0", name="stock"),)


class Redemption(Base):
    """A reward a customer got for points, with the code to use it."""

    __tablename__ = "redemptions"
    id = sa.Column(Id, primary_key=True)
    customer_id = reference("customers.id")
    reward_id = reference("rewards.id")
    entry_id = reference("points_entries.id")
    code = sa.Column(sa.String(20), nullable=False, unique=True)
    created_at = sa.Column(UtcDateTime, nullable=False)
    used_at = sa.Column(UtcDateTime)
    cancelled_at = sa.Column(UtcDateTime)
    reward = relationship("Reward")

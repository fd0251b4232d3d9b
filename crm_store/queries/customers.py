"""What the desk and the bot know of a customer: the card beside a conversation, and what is still open."""
from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime, timedelta

import sqlalchemy as sa
from sqlalchemy import select
from sqlalchemy.orm import Session

from crm_store.errors import NotFound
from crm_store.models import ChannelIdentity, Consent, Conversation, Customer, Message, Order, Ticket, Tier
from crm_store.models.customers import CONSENT_PURPOSES
from crm_store.queries.orders import orders_of
from crm_store.queries.points import debts_of, expiring, lots_of, points_expiring, tier_standing
from crm_store.rules.personal_data import mask_address, mask_email, mask_phone
from crm_store.rules.points import SHOP_ZONE, balance_of

MOOD_PERIOD = timedelta(days=30)
UNDER_WAY = ("packed", "shipped")


@dataclass(frozen=True)
class OrderLine:
    """One order on the card; the amount is in fen."""

    number: str
    status: str
    total_fen: int
    placed_at: datetime


@dataclass(frozen=True)
class ComplaintLine:
    """One complaint on the card."""

    number: str
    status: str
    stage: str
    grade: str | None
    summary: str
    opened_at: datetime
    resolved_at: datetime | None


@dataclass(frozen=True)
class IdentityLine:
    """One channel on which the customer is known."""

    id: int
    channel: str
    external_id: str
    linked_at: datetime | None


@dataclass(frozen=True)
class CustomerCard:
    """A customer as an agent sees them. Phone, e-mail and address are masked; ``mood`` is the worst anger a day."""

    id: int
    number: str
    name: str
    language: str
    city: str | None
    tier: Tier
    spend_365_fen: int
    next_tier: Tier | None
    gap_fen: int
    points: int
    expiring: list[tuple[date, int]]
    phone: str | None
    email: str | None
    address: str | None
    created_at: datetime
    orders: list[OrderLine]
    complaints: list[ComplaintLine]
    open_complaints: int
    mood: list[tuple[date, float]]
    consents: dict[str, bool | None]
    identities: list[IdentityLine]


@dataclass(frozen=True)
class OpenMatters:
    """What the bot mentions by itself. ``expiring_points``: the last day on which points count, and how many."""

    open_complaints: list[Ticket]
    parcels_under_way: list[Order]
    expiring_points: list[tuple[date, int]]


def customer_card(
    session: Session, customer_id: int, now: datetime, *, orders: int = 5, complaints: int = 10,
) -> CustomerCard:
    """Everything the desk shows of a customer.

    Args:
        session: a session to read with.
        customer_id: whose card.
        now: the time of the balances.
        orders: how many orders at most, the newest.
        complaints: how many complaints at most, the newest.

    Raises:
        NotFound: there is no such customer.
    """
    customer = session.get(Customer, customer_id)
    if customer is None:
        raise NotFound(customer_id=customer_id)
    standing = tier_standing(session, customer_id, now)
    tickets = session.execute(
        select(Ticket.number, Ticket.status, Ticket.stage, Ticket.grade, Ticket.summary, Ticket.opened_at,
               Ticket.resolved_at)
        .where(Ticket.customer_id == customer_id, Ticket.kind == "complaint")
        .order_by(Ticket.opened_at.desc(), Ticket.id.desc()).limit(complaints))
    lots = lots_of(session, customer_id)
    known_as = session.execute(
        select(ChannelIdentity).where(ChannelIdentity.customer_id == customer_id).order_by(ChannelIdentity.id)
    ).scalars()
    return CustomerCard(
        id=customer.id, number=customer.number, name=customer.name, language=customer.language, city=customer.city,
        tier=standing.tier, spend_365_fen=standing.spend_fen, next_tier=standing.next_tier, gap_fen=standing.gap_fen,
        points=balance_of(lots, debts_of(session, customer_id), now), expiring=expiring(lots, now),
        phone=mask_phone(customer.phone),
        email=mask_email(customer.email), address=mask_address(customer.address), created_at=customer.created_at,
        orders=_order_lines(session, customer_id, orders),
        complaints=[ComplaintLine(*ticket) for ticket in tickets],
        open_complaints=len(_open_complaints(session, Ticket.customer_id == customer_id)),
        mood=mood_of(session, customer_id, now), consents=consents_of(session, customer_id),
        identities=[IdentityLine(each.id, each.channel, each.external_id, each.linked_at) for each in known_as],
    )


def _order_lines(session: Session, customer_id: int, limit: int) -> list[OrderLine]:
    found = session.execute(
        select(Order.number, Order.status, Order.total_fen, Order.placed_at).where(Order.customer_id == customer_id)
        .order_by(Order.placed_at.desc(), Order.id.desc()).limit(limit))
    return [OrderLine(*order) for order in found]


def mood_of(session: Session, customer_id: int, now: datetime) -> list[tuple[date, float]]:
    """The worst anger a day (shop time) over the last 30 days, oldest first; days without a reading are left out."""
    readings = session.execute(
        select(Message.created_at, Message.anger)
        .join(Conversation, Conversation.id == Message.conversation_id)
        .where(Conversation.customer_id == customer_id, Message.direction == "incoming", Message.anger.is_not(None),
               Message.created_at > now - MOOD_PERIOD, Message.created_at <= now)
    )
    worst: dict[date, float] = {}
    for at, anger in readings:
        day = at.astimezone(SHOP_ZONE).date()
        worst[day] = max(anger, worst.get(day, 0.0))
    return sorted(worst.items())


def consents_of(session: Session, customer_id: int) -> dict[str, bool | None]:
    """What the customer's newest decision about each purpose is; None where they never decided."""
    granted: dict[str, bool | None] = dict.fromkeys(CONSENT_PURPOSES)
    decided = session.execute(
        select(Consent.purpose, Consent.granted).where(Consent.customer_id == customer_id)
        .order_by(Consent.decided_at, Consent.id)
    )
    for purpose, decision in decided:
        granted[purpose] = decision
    return granted


def open_matters(session: Session, customer_id: int | None, identity_id: int, now: datetime) -> OpenMatters:
    """What is still open for whoever writes: for a guest only the complaints they made on this channel.

    Args:
        session: a session to read with.
        customer_id: the linked customer, or None for a guest.
        identity_id: the channel identity that writes.
        now: the time from which points are about to lapse.
    """
    if customer_id is None:
        mine = Ticket.conversation_id.in_(
            select(Conversation.id).where(Conversation.identity_id == identity_id, Conversation.customer_id.is_(None)))
        return OpenMatters(_open_complaints(session, mine), [], [])
    return OpenMatters(
        open_complaints=_open_complaints(session, Ticket.customer_id == customer_id),
        parcels_under_way=_under_way(session, customer_id),
        expiring_points=points_expiring(session, customer_id, now),
    )


def _open_complaints(session: Session, whose: sa.sql.ColumnElement[bool]) -> list[Ticket]:
    return list(session.execute(
        select(Ticket).where(whose, Ticket.kind == "complaint", Ticket.status != "resolved")
        .order_by(Ticket.opened_at.desc(), Ticket.id.desc())
    ).scalars())


def _under_way(session: Session, customer_id: int) -> list[Order]:
    orders: Iterable[Order] = orders_of(session, customer_id, limit=20)
    return [order for order in orders if order.status in UNDER_WAY]

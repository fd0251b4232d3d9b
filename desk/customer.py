"""The customer pane: the card of whoever a conversation is with, masked for who looks."""
from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from crm_store.models import Conversation, Customer, SupportAgent
from crm_store.queries.customers import CustomerCard, customer_card
from crm_store.queries.points import points_expiring
from crm_store.rules.personal_data import mask
from crm_store.services.access import visible_to
from desk.rendering import Reader

SEES_PERSONAL_DATA = ("manager", "admin")
MOOD_DAYS = 30
CHART_HEIGHT = 40
EXTERNAL_ID_SHOWN = 4
OTHERS_SHOWN = 5


@dataclass(frozen=True)
class MoodBar:
    """One day of the mood chart, in the chart's units; ``height`` 0 is a day without a message."""

    day: date
    anger: float | None
    band: str
    x: int
    y: float
    height: float


@dataclass(frozen=True)
class OtherTalk:
    """Another conversation of the same customer, on whichever channel."""

    id: int
    channel: str
    status: str
    at: datetime


@dataclass(frozen=True)
class CustomerView:
    """The right pane."""

    card: CustomerCard
    expiring: list[tuple[date, int]]
    mood: list[MoodBar]
    days: int
    peak: str
    masked: bool
    others: list[OtherTalk]


def card_for(session: Session, agent: SupportAgent, conversation: Conversation, now: datetime) -> CustomerCard | None:
    """The card of a conversation's customer, or None for a guest; check access to the conversation before.

    Phone, e-mail, address and channel ids are masked below managers.
    """
    customer: Customer | None = conversation.customer
    if customer is None or customer.erased_at is not None:
        return None
    card = customer_card(session, customer.id, now)
    if agent.role in SEES_PERSONAL_DATA:
        return replace(card, phone=customer.phone, email=customer.email, address=customer.address)
    return replace(
        card, complaints=[replace(line, summary=mask(line.summary)) for line in card.complaints],
        identities=[replace(line, external_id=_shortened(line.external_id)) for line in card.identities])


def _shortened(external_id: str) -> str:
    return external_id[:EXTERNAL_ID_SHOWN] + "…" if len(external_id) > EXTERNAL_ID_SHOWN else "…"


def customer_pane(session: Session, agent: SupportAgent, conversation: Conversation,
                  reader: Reader) -> CustomerView | None:
    """The card as it reads, with the chart of the customer's mood."""
    card = card_for(session, agent, conversation, reader.now)
    if card is None:
        return None
    angers = [anger for _, anger in card.mood]
    return CustomerView(
        card=card, expiring=points_expiring(session, card.id, reader.now), mood=_bars(card, reader),
        days=len(angers), peak=f"{max(angers):.2f}" if angers else "–", masked=agent.role not in SEES_PERSONAL_DATA,
        others=_others(session, agent, conversation))


def _others(session: Session, agent: SupportAgent, conversation: Conversation) -> list[OtherTalk]:
    """The customer's other conversations that this agent may see, the latest first."""
    found = session.execute(
        select(Conversation.id, Conversation.channel, Conversation.status, Conversation.updated_at)
        .where(Conversation.customer_id == conversation.customer_id, Conversation.id != conversation.id,
               visible_to(agent))
        .order_by(Conversation.updated_at.desc(), Conversation.id.desc()).limit(OTHERS_SHOWN))
    return [OtherTalk(*row) for row in found]


def _bars(card: CustomerCard, reader: Reader) -> list[MoodBar]:
    read = dict(card.mood)
    today = reader.local(reader.now).date()
    bars = []
    for index in range(MOOD_DAYS):
        day = today - timedelta(days=MOOD_DAYS - 1 - index)
        anger = read.get(day)
        height = 0.0 if anger is None else round(max(2.0, anger * CHART_HEIGHT), 1)
        bars.append(MoodBar(day, anger, reader.mood(anger, card.tier.code).band, index * 10,
                            round(CHART_HEIGHT - height, 1), height))
    return bars

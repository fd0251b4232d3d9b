"""The customer pane: the card of whoever a conversation is with, masked for who looks."""
from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session, selectinload

from crm_store.models import Consent, Conversation, Customer, Escalation, Fact, SlaClock, SupportAgent, Ticket
from crm_store.queries.blocks import BlockRow, running_block
from crm_store.queries.customers import CustomerCard, customer_card
from crm_store.rules.personal_data import mask
from crm_store.services.access import visible_to
from crm_store.services.counter import CAN_COME_BACK
from crm_store.services.memory import facts_of
from crm_store.services.privacy import consent_history
from crm_store.services.tickets import UNSOLVED
from desk.panes import clocks_shown
from desk.rendering import Reader
from desk.value_view import Shown, value_shown

SEES_PERSONAL_DATA = ("manager", "admin")
MOOD_DAYS = 30
CHART_HEIGHT = 40
EXTERNAL_ID_SHOWN = 4
OTHERS_SHOWN = 8


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
    """Another conversation of the same customer or guest, on whichever channel; ``reason`` of the last handover."""

    id: int
    channel: str
    status: str
    at: datetime
    reason: str | None


@dataclass(frozen=True)
class OpenTicket:
    """A ticket that is not solved, with the promises that matter. ``stage`` is of a complaint.

    ``here``: it was opened in the conversation that is shown.
    """

    id: int
    number: str
    kind: str
    grade: str | None
    status: str
    stage: str | None
    opened_at: datetime
    clocks: list[SlaClock]
    here: bool


@dataclass(frozen=True)
class CustomerView:
    """The right pane. ``card`` is None of a guest, whose channel and first message stand for it."""

    card: CustomerCard | None
    channel: str
    external_id: str
    since: datetime
    tickets: list[OpenTicket]
    expiring: list[tuple[date, int]]
    mood: list[MoodBar]
    days: int
    peak: str
    masked: bool
    decisions: list[Consent]
    others: list[OtherTalk]
    facts: Collection[Fact] = ()
    can_come_back: Collection[str] = CAN_COME_BACK
    block: BlockRow | None = None
    value: Shown | None = None
    may_unblock: bool = False
    unreachable_since: datetime | None = None


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


def shown_id(agent: SupportAgent, external_id: str) -> str:
    """A channel's id of a person, shortened below managers."""
    return external_id if agent.role in SEES_PERSONAL_DATA else _shortened(external_id)


def customer_pane(session: Session, agent: SupportAgent, conversation: Conversation, reader: Reader) -> CustomerView:
    """The card as it reads, with the chart of the customer's mood and what else there is of them."""
    card = card_for(session, agent, conversation, reader.now)
    masked = agent.role not in SEES_PERSONAL_DATA
    identity = conversation.identity
    angers = [anger for _, anger in card.mood] if card else []
    block = running_block(session, identity.id, reader.now)
    return CustomerView(
        card=card, channel=conversation.channel, since=identity.created_at,
        external_id=_shortened(identity.external_id) if masked else identity.external_id,
        tickets=_open_tickets(session, conversation),
        expiring=card.expiring if card else [],
        mood=_bars(card, reader) if card else [], days=len(angers), peak=f"{max(angers):.2f}" if angers else "–",
        masked=masked, decisions=consent_history(session, card.id) if card else [],
        others=_others(session, agent, conversation), block=block,
        value=value_shown(session, card.id, reader) if card else None,
        may_unblock=block is not None and (block.by_id == agent.id or agent.is_at_least("lead")),
        unreachable_since=identity.unreachable_since, facts=facts_of(session, card.id) if card else ())


def _same_person(conversation: Conversation) -> Any:
    """The conversations of the customer, or of the guest on this channel."""
    if conversation.customer_id is not None:
        return Conversation.customer_id == conversation.customer_id
    return (Conversation.identity_id == conversation.identity_id) & Conversation.customer_id.is_(None)


def _open_tickets(session: Session, conversation: Conversation) -> list[OpenTicket]:
    found = session.execute(
        select(Ticket).join(Conversation, Conversation.id == Ticket.conversation_id)
        .where(_same_person(conversation), Ticket.status.in_(UNSOLVED)).options(selectinload(Ticket.clocks))
        .order_by(Ticket.id.desc())).scalars()
    return [OpenTicket(ticket.id, ticket.number, ticket.kind, ticket.grade, ticket.status,
                       ticket.stage if ticket.kind == "complaint" else None, ticket.opened_at, clocks_shown([ticket]),
                       ticket.conversation_id == conversation.id)
            for ticket in found]


def _others(session: Session, agent: SupportAgent, conversation: Conversation) -> list[OtherTalk]:
    """The person's other conversations that this agent may see, the latest first."""
    reason = (select(Escalation.reason).where(Escalation.conversation_id == Conversation.id)
              .order_by(Escalation.id.desc()).limit(1).correlate(Conversation).scalar_subquery())
    found = session.execute(
        select(Conversation.id, Conversation.channel, Conversation.status, Conversation.updated_at, reason)
        .where(_same_person(conversation), Conversation.id != conversation.id, visible_to(agent))
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

"""The agents' queue: what waits for a human, by what is due next."""
from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy import select
from sqlalchemy.orm import Session, aliased

from crm_store.models import Conversation, Customer, CustomerValue, Escalation, Message, SlaClock, SupportAgent, Ticket
from crm_store.rules.text import excerpt
from crm_store.services.access import visible_to
from crm_store.services.tickets import UNSOLVED

VIEWS = ("all", "mine", "due", "snoozed")
DUE_WITHIN = timedelta(minutes=30)
LAST_TEXT_LENGTH = 120


@dataclass(frozen=True)
class QueueRow:
    """One conversation that waits for a human. ``due_at`` and ``promise`` are of its next promise not kept yet.

    ``anger`` is of the latest message, ``reason_anger`` of the one for which the ticket shown was handed over.
    ``snoozed_until`` is null of a conversation that waits for its customer.
    """

    conversation_id: int
    ticket_number: str | None
    kind: str | None
    grade: str | None
    reason: str | None
    reason_anger: float | None
    customer_name: str | None
    tier: str | None
    channel: str
    language: str
    anger: float | None
    valence: str | None
    due_at: datetime | None
    promise: str | None
    breached: bool
    assignee_id: int | None
    assignee_name: str | None
    last_text: str
    last_at: datetime | None
    status: str
    version: int
    snoozed_until: datetime | None = None


@dataclass(frozen=True)
class QueueCounts:
    """How many conversations each view of the queue shows."""

    mine: int
    all: int
    due: int
    snoozed: int = 0


@dataclass(frozen=True)
class QueueFilter:
    """What of a view is wanted; None wants all. Reason and grade are those of the ticket that is shown."""

    language: str | None = None
    team_id: int | None = None
    reason: str | None = None
    grade: str | None = None
    unassigned: bool = False


EVERYTHING = QueueFilter()

# Building aliases costs more than running the statement: they are built once.
_CLOCK, _TICKET, _LAST = aliased(SlaClock), aliased(Ticket), aliased(Message)
_ANY_CLOCK, _ANY_TICKET, _ANY_MESSAGE = aliased(SlaClock), aliased(Ticket), aliased(Message)

_WAITS = sa.or_(
    Conversation.status.in_(("open", "snoozed")),
    sa.exists().where(Ticket.conversation_id == Conversation.id, Ticket.status.in_(UNSOLVED)).correlate(Conversation))
_AWAKE = Conversation.status != "snoozed"
_WORTH = sa.case(  # without a promise nobody is put before who has waited longer
    (_CLOCK.due_at.is_not(None), sa.func.coalesce(CustomerValue.worth_fen, CustomerValue.spent_fen, 0)), else_=0)

_SOONEST_CLOCK = (  # the conversation's promise not kept yet that is due first
    select(_ANY_CLOCK.id).join(_ANY_TICKET, _ANY_TICKET.id == _ANY_CLOCK.ticket_id)
    .where(_ANY_TICKET.conversation_id == Conversation.id, _ANY_TICKET.status.in_(UNSOLVED),
           _ANY_CLOCK.met_at.is_(None), _ANY_CLOCK.state.in_(("running", "breached")))
    .order_by(_ANY_CLOCK.due_at, _ANY_CLOCK.id).limit(1).correlate(Conversation).scalar_subquery())
_LATEST_TICKET = (
    select(sa.func.max(_ANY_TICKET.id))
    .where(_ANY_TICKET.conversation_id == Conversation.id, _ANY_TICKET.status.in_(UNSOLVED))
    .correlate(Conversation).scalar_subquery())
_ANGER_BEHIND = (
    select(Escalation.anger).where(Escalation.ticket_id == _TICKET.id).order_by(Escalation.id.desc()).limit(1)
    .correlate(_TICKET).scalar_subquery())
_LATEST_MESSAGE = (
    select(_ANY_MESSAGE.id)
    .where(_ANY_MESSAGE.conversation_id == Conversation.id, _ANY_MESSAGE.direction == "incoming")
    .order_by(_ANY_MESSAGE.id.desc()).limit(1).correlate(Conversation).scalar_subquery())
_LATEST_VALENCE = (
    select(_ANY_MESSAGE.valence)
    .where(_ANY_MESSAGE.conversation_id == Conversation.id, _ANY_MESSAGE.direction == "incoming",
           _ANY_MESSAGE.valence.is_not(None))
    .order_by(_ANY_MESSAGE.id.desc()).limit(1).correlate(Conversation).scalar_subquery())
_QUEUE = (
    select(Conversation.id, Conversation.channel, Conversation.language, Conversation.anger, Conversation.status,
           Conversation.version, Conversation.assignee_id, Conversation.snoozed_until,
           Customer.name, Customer.tier_code, SupportAgent.name.label("assignee_name"),
           _CLOCK.due_at, _CLOCK.promise, _CLOCK.state, _TICKET.number, _TICKET.kind, _TICKET.grade, _TICKET.reason,
           _ANGER_BEHIND.label("reason_anger"), _LAST.text, _LAST.created_at.label("last_at"),
           _LATEST_VALENCE.label("valence"))
    .outerjoin(Customer, Customer.id == Conversation.customer_id)
    .outerjoin(CustomerValue, CustomerValue.customer_id == Conversation.customer_id)
    .outerjoin(SupportAgent, SupportAgent.id == Conversation.assignee_id)
    .outerjoin(_CLOCK, _CLOCK.id == _SOONEST_CLOCK)
    .outerjoin(_TICKET, _TICKET.id == sa.func.coalesce(_CLOCK.ticket_id, _LATEST_TICKET))
    .outerjoin(_LAST, _LAST.id == _LATEST_MESSAGE)
    .where(_WAITS))


def queue_for(session: Session, agent: SupportAgent, *, now: datetime, view: str = "all",
              only: QueueFilter = EVERYTHING, limit: int = 200) -> list[QueueRow]:
    """What an agent may work on, the next due first and what has no promise last.

    A conversation waits for a human while one owns it, or while it has an unsolved ticket. It is shown with the ticket
    whose promise is due next. What is snoozed is out of the way until it wakes or a promise is due. Of those due at the
    very same time, who is worth more to the shop comes first: that breaks ties and overtakes no promise.

    Args:
        session: any session.
        agent: who looks; they see what :mod:`crm_store.services.access` lets them.
        now: the time to judge by.
        view: "all", "mine" (assigned to the agent), "due" (due within 30 minutes, or broken) or "snoozed" (the next to
            wake first, those that wait for their customer last).
        only: what of the view is wanted.
        limit: the most rows.
    """
    query = _QUEUE.where(visible_to(agent), _in_view(view, agent, now), *_wanted(only))
    order: tuple[Any, ...] = (_CLOCK.due_at.is_(None), _CLOCK.due_at, sa.desc(_WORTH), Conversation.id)
    if view == "snoozed":
        order = (Conversation.snoozed_until.is_(None), Conversation.snoozed_until, Conversation.id)
    return [_row(row, now) for row in session.execute(query.order_by(*order).limit(limit)).all()]


def queue_counts(session: Session, agent: SupportAgent, now: datetime) -> QueueCounts:
    """The numbers beside the names of the views."""
    row = session.execute(
        select(*(sa.func.count(sa.case((_in_view(view, agent, now), 1))).label(view) for view in VIEWS))
        .select_from(Conversation).outerjoin(_CLOCK, _CLOCK.id == _SOONEST_CLOCK)
        .where(_WAITS, visible_to(agent))
    ).one()
    return QueueCounts(**row)


def _in_view(view: str, agent: SupportAgent, now: datetime) -> Any:
    if view == "due":
        return _CLOCK.due_at <= now + DUE_WITHIN
    if view == "snoozed":
        return Conversation.status == "snoozed"
    return sa.and_(_AWAKE, Conversation.assignee_id == agent.id) if view == "mine" else _AWAKE


def _wanted(only: QueueFilter) -> list[Any]:
    conditions = [column == value for column, value in (
        (Conversation.language, only.language), (Conversation.team_id, only.team_id),
        (_TICKET.reason, only.reason), (_TICKET.grade, only.grade)) if value is not None]
    return [*conditions, Conversation.assignee_id.is_(None)] if only.unassigned else conditions


def _row(row: Any, now: datetime) -> QueueRow:
    (conversation_id, channel, language, anger, status, version, assignee_id, snoozed_until, name, tier, assignee_name,
     due_at, promise, state, number, kind, grade, reason, reason_anger, text, last_at, valence) = row
    return QueueRow(
        conversation_id=conversation_id, ticket_number=number, kind=kind, grade=grade, reason=reason,
        reason_anger=reason_anger, customer_name=name, tier=tier, channel=channel, language=language, anger=anger,
        valence=valence, due_at=due_at, promise=promise,
        breached=state == "breached" or (due_at is not None and due_at < now), assignee_id=assignee_id,
        assignee_name=assignee_name, last_text=excerpt(text or "", LAST_TEXT_LENGTH), last_at=last_at, status=status,
        version=version, snoozed_until=snoozed_until,
    )

"""The agents' queue: what waits for a human, by what is due next."""
from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy import select
from sqlalchemy.orm import Session, aliased

from crm_store.models import Conversation, Customer, Escalation, Message, SlaClock, SupportAgent, Ticket
from crm_store.rules.text import excerpt
from crm_store.services.access import visible_to
from crm_store.services.tickets import UNSOLVED

VIEWS = ("all", "mine", "due")
DUE_WITHIN = timedelta(minutes=30)
LAST_TEXT_LENGTH = 120


@dataclass(frozen=True)
class QueueRow:
    """One conversation that waits for a human. ``due_at`` and ``promise`` are of its next promise not kept yet.

    ``anger`` is of the latest message, ``reason_anger`` of the one for which the ticket shown was handed over.
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


@dataclass(frozen=True)
class QueueCounts:
    """How many conversations each view of the queue shows."""

    mine: int
    all: int
    due: int


def queue_for(session: Session, agent: SupportAgent, *, now: datetime, view: str = "all",
              limit: int = 200) -> list[QueueRow]:
    """What an agent may work on, the next due first and what has no promise last.

    A conversation waits for a human while one owns it, or while it has an unsolved ticket. It is shown with the ticket
    whose promise is due next.

    Args:
        session: any session.
        agent: who looks; they see what :mod:`crm_store.services.access` lets them.
        now: the time to judge by.
        view: "all", "mine" (assigned to the agent) or "due" (due within 30 minutes, or broken).
        limit: the most rows.
    """
    soonest = _soonest_clock()
    clock, ticket, last = aliased(SlaClock), aliased(Ticket), aliased(Message)
    query = (
        select(Conversation, Customer.name, Customer.tier_code, SupportAgent.name.label("assignee_name"),
               clock.due_at, clock.promise, clock.state, ticket.number, ticket.kind, ticket.grade, ticket.reason,
               _anger_behind(ticket).label("reason_anger"), last.text,
               last.created_at.label("last_at"), _latest_valence().label("valence"))
        .outerjoin(Customer, Customer.id == Conversation.customer_id)
        .outerjoin(SupportAgent, SupportAgent.id == Conversation.assignee_id)
        .outerjoin(clock, clock.id == soonest)
        .outerjoin(ticket, ticket.id == sa.func.coalesce(clock.ticket_id, _latest_ticket()))
        .outerjoin(last, last.id == _latest_message())
        .where(_waits(), visible_to(agent))
        .order_by(clock.due_at.is_(None), clock.due_at, Conversation.id).limit(limit)
    )
    if view == "mine":
        query = query.where(Conversation.assignee_id == agent.id)
    elif view == "due":
        query = query.where(clock.due_at <= now + DUE_WITHIN)
    return [_row(row, now) for row in session.execute(query).all()]


def queue_counts(session: Session, agent: SupportAgent, now: datetime) -> QueueCounts:
    """The numbers beside the names of the views."""
    clock = aliased(SlaClock)
    row = session.execute(
        select(sa.func.count(), sa.func.count(sa.case((Conversation.assignee_id == agent.id, 1))),
               sa.func.count(sa.case((clock.due_at <= now + DUE_WITHIN, 1))))
        .select_from(Conversation).outerjoin(clock, clock.id == _soonest_clock())
        .where(_waits(), visible_to(agent))
    ).one()
    return QueueCounts(all=row[0], mine=row[1], due=row[2])


def _waits() -> Any:
    unsolved = sa.exists().where(Ticket.conversation_id == Conversation.id, Ticket.status.in_(UNSOLVED)).correlate(
        Conversation)
    return sa.or_(Conversation.status.in_(("open", "snoozed")), unsolved)


def _soonest_clock() -> Any:
    """The conversation's promise not kept yet that is due first."""
    clock, ticket = aliased(SlaClock), aliased(Ticket)
    return (
        select(clock.id).join(ticket, ticket.id == clock.ticket_id)
        .where(ticket.conversation_id == Conversation.id, ticket.status.in_(UNSOLVED), clock.met_at.is_(None),
               clock.state.in_(("running", "breached")))
        .order_by(clock.due_at, clock.id).limit(1).correlate(Conversation).scalar_subquery()
    )


def _anger_behind(ticket: Any) -> Any:
    return (select(Escalation.anger).where(Escalation.ticket_id == ticket.id).order_by(Escalation.id.desc()).limit(1)
            .correlate(ticket).scalar_subquery())


def _latest_ticket() -> Any:
    ticket = aliased(Ticket)
    return (select(sa.func.max(ticket.id)).where(ticket.conversation_id == Conversation.id,
                                                 ticket.status.in_(UNSOLVED))
            .correlate(Conversation).scalar_subquery())


def _latest_message() -> Any:
    message = aliased(Message)
    return (
        select(message.id).where(message.conversation_id == Conversation.id, message.direction == "incoming")
        .order_by(message.id.desc()).limit(1).correlate(Conversation).scalar_subquery()
    )


def _latest_valence() -> Any:
    message = aliased(Message)
    return (
        select(message.valence)
        .where(message.conversation_id == Conversation.id, message.direction == "incoming",
               message.valence.is_not(None))
        .order_by(message.id.desc()).limit(1).correlate(Conversation).scalar_subquery()
    )


def _row(row: Any, now: datetime) -> QueueRow:
    conversation = row.Conversation
    return QueueRow(
        conversation_id=conversation.id, ticket_number=row.number, kind=row.kind, grade=row.grade, reason=row.reason,
        reason_anger=row.reason_anger, customer_name=row.name, tier=row.tier_code, channel=conversation.channel,
        language=conversation.language,
        anger=conversation.anger, valence=row.valence, due_at=row.due_at, promise=row.promise,
        breached=row.state == "breached" or (row.due_at is not None and row.due_at < now),
        assignee_id=conversation.assignee_id, assignee_name=row.assignee_name,
        last_text=excerpt(row.text or "", LAST_TEXT_LENGTH), last_at=row.last_at, status=conversation.status,
        version=conversation.version,
    )

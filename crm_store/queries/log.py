"""The managers' log: every conversation, searched by words and by what happened in it."""
from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy import select
from sqlalchemy.orm import Session

from crm_store.models import (
    Conversation,
    Customer,
    Escalation,
    Message,
    Rating,
    SlaClock,
    SupportAgent,
    Ticket,
)
from crm_store.rules.text import excerpt

MOST_PER_PAGE = 200
EXCERPT_LENGTH = 160
WORDS_LIMIT = 8


@dataclass(frozen=True)
class LogRow:
    """One conversation in the log, with the newest message that holds the words, or the newest of all."""

    conversation_id: int
    customer_id: int | None
    customer_name: str | None
    channel: str
    language: str
    status: str
    assignee_id: int | None
    assignee_name: str | None
    anger: float | None
    created_at: datetime
    updated_at: datetime
    messages: int
    excerpt: str
    tickets: tuple[str, ...]
    reasons: tuple[str, ...]
    grade: str | None
    breached: bool
    rating: int | None


@dataclass(frozen=True)
class LogPage:
    """One page of the log. ``total`` counts all that was found, ``pages`` is at least 1."""

    rows: tuple[LogRow, ...]
    total: int
    page: int
    per_page: int
    pages: int


def search_log(
    session: Session, *, words: str | None = None, channel: str | None = None, intent: str | None = None,
    anger_at_least: float | None = None, reason: str | None = None, agent_id: int | None = None,
    grade: str | None = None, breached: bool | None = None, rating: int | None = None, since: datetime | None = None,
    until: datetime | None = None, page: int = 1, per_page: int = 50,
) -> LogPage:
    """Conversations that fit every filter given, the latest changed first. For managers: check the role before.

    Args:
        session: any session.
        words: separated by blanks; each must occur in a message (letters in either case) or be the customer's name,
            number or a ticket's number. ``%`` and ``_`` mean themselves.
        channel: "web", "http" or "telegram".
        intent: of any message.
        anger_at_least: of any message, 0 to 1.
        reason: of any escalation.
        agent_id: the assignee, or whoever wrote to the customer.
        grade: of any complaint.
        breached: whether a promise was broken.
        rating: 1 to 5, of any episode.
        since: the first change to look at, included.
        until: the last, not included.
        page: from 1.
        per_page: at most 200.
    """
    page, per_page = max(page, 1), min(max(per_page, 1), MOST_PER_PAGE)
    wanted = _storable(words or "").split()[:WORDS_LIMIT]
    conditions = [_holds(word) for word in wanted]
    if channel is not None:
        conditions.append(Conversation.channel == channel)
    if intent is not None:
        conditions.append(_message_where(Message.intent == intent))
    if anger_at_least is not None:
        conditions.append(_message_where(Message.anger >= anger_at_least))
    if reason is not None:
        conditions.append(_exists(Escalation.conversation_id == Conversation.id, Escalation.reason == reason))
    if agent_id is not None:
        conditions.append(sa.or_(Conversation.assignee_id == agent_id,
                                 _message_where(Message.agent_id == agent_id, Message.direction == "outgoing")))
    if grade is not None:
        conditions.append(_exists(Ticket.conversation_id == Conversation.id, Ticket.grade == grade))
    if breached is not None:
        conditions.append(_breached() if breached else ~_breached())
    if rating is not None:
        conditions.append(_exists(Rating.conversation_id == Conversation.id, Rating.score == rating))
    if since is not None:
        conditions.append(Conversation.updated_at >= since)
    if until is not None:
        conditions.append(Conversation.updated_at < until)

    total = session.execute(select(sa.func.count()).select_from(Conversation).where(*conditions)).scalar_one()
    found = session.execute(
        select(Conversation, Customer.name, SupportAgent.name.label("assignee_name"), _breached().label("breached"))
        .outerjoin(Customer, Customer.id == Conversation.customer_id)
        .outerjoin(SupportAgent, SupportAgent.id == Conversation.assignee_id)
        .where(*conditions).order_by(Conversation.updated_at.desc(), Conversation.id.desc())
        .offset((page - 1) * per_page).limit(per_page)
    ).all()
    return LogPage(rows=tuple(_rows(session, found, wanted)), total=total, page=page, per_page=per_page,
                   pages=max(1, -(-total // per_page)))


def escape_like(text: str) -> str:
    """A text in which every character means itself to LIKE, with the backslash as its escape."""
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")


def _storable(words: str) -> str:
    """What a database can be asked for: NUL and lone surrogates occur in no message."""
    return words.replace("\x00", "").encode("utf-8", "replace").decode()


def _contains(column: Any, word: str) -> Any:
    return column.ilike(f"%{escape_like(word)}%", escape="\\")


def _holds(word: str) -> Any:
    """The word occurs in a message or a ticket's number, or in who the customer is."""
    return sa.or_(
        _message_where(_contains(Message.text, word)),
        _exists(Ticket.conversation_id == Conversation.id, _contains(Ticket.number, word)),
        _exists(Customer.id == Conversation.customer_id,
                sa.or_(_contains(Customer.name, word), _contains(Customer.number, word))),
    )


def _message_where(*conditions: Any) -> Any:
    return _exists(Message.conversation_id == Conversation.id, *conditions)


def _exists(*conditions: Any) -> Any:
    return sa.exists().where(*conditions).correlate(Conversation)


def _breached() -> Any:
    return _exists(SlaClock.ticket_id == Ticket.id, Ticket.conversation_id == Conversation.id,
                   SlaClock.state == "breached")


def _rows(session: Session, found: list[Any], words: list[str]) -> list[LogRow]:
    ids = [row.Conversation.id for row in found]
    if not ids:
        return []
    counts = dict(session.execute(
        select(Message.conversation_id, sa.func.count()).where(Message.conversation_id.in_(ids))
        .group_by(Message.conversation_id)).all())
    texts = _texts(session, ids, words)
    tickets: dict[int, list[Any]] = {}
    for ticket in session.execute(
            select(Ticket.conversation_id, Ticket.number, Ticket.grade).where(Ticket.conversation_id.in_(ids))
            .order_by(Ticket.id)).all():
        tickets.setdefault(ticket.conversation_id, []).append(ticket)
    reasons: dict[int, list[str]] = {}
    for escalation in session.execute(
            select(Escalation.conversation_id, Escalation.reason).where(Escalation.conversation_id.in_(ids))
            .order_by(Escalation.id)).all():
        reasons.setdefault(escalation.conversation_id, []).append(escalation.reason)
    scores = dict(session.execute(
        select(Rating.conversation_id, Rating.score).where(Rating.conversation_id.in_(ids)).order_by(Rating.id)).all())
    return [
        LogRow(
            conversation_id=c.id, customer_id=c.customer_id, customer_name=row.name, channel=c.channel,
            language=c.language, status=c.status, assignee_id=c.assignee_id, assignee_name=row.assignee_name,
            anger=c.anger, created_at=c.created_at, updated_at=c.updated_at, messages=counts.get(c.id, 0),
            excerpt=excerpt(texts.get(c.id, ""), EXCERPT_LENGTH),
            tickets=tuple(ticket.number for ticket in tickets.get(c.id, ())),
            reasons=tuple(dict.fromkeys(reasons.get(c.id, ()))),
            grade=next((ticket.grade for ticket in reversed(tickets.get(c.id, [])) if ticket.grade), None),
            breached=bool(row.breached), rating=scores.get(c.id),
        )
        for row in found for c in (row.Conversation,)
    ]


def _texts(session: Session, ids: list[int], words: list[str]) -> dict[int, str]:
    """For each conversation the newest message that holds any of the words, or the newest of all."""
    newest = select(sa.func.max(Message.id)).where(Message.conversation_id.in_(ids)).group_by(Message.conversation_id)
    texts = dict(session.execute(
        select(Message.conversation_id, Message.text).where(Message.id.in_(newest))).all())
    if words:
        matching = newest.where(sa.or_(*(_contains(Message.text, word) for word in words)))
        texts.update(session.execute(
            select(Message.conversation_id, Message.text).where(Message.id.in_(matching))).all())
    return texts

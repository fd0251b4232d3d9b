"""One conversation as agents read it: messages, notes and SLA events in the order they happened."""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from crm_store.models import Escalation, Message, SlaClock, SlaEvent, SupportAgent, Ticket

SHOWN_EVENTS = ("warned", "breached", "met", "paused", "resumed")

# Columns, not objects: loading objects costs more than the statement.
_OF_A_MESSAGE = (
    Message.id, Message.created_at, Message.direction, Message.author, Message.agent_id, Message.text, Message.buttons,
    Message.payload, Message.in_reply_to_id, Message.delivery_state, Message.dropped_reason, Message.intent,
    Message.anger, Message.valence, Message.understood, Message.held, Message.edited_at)


@dataclass(frozen=True)
class ThreadRow:
    """One line of a thread.

    ``kind`` is "message", "note", "escalation" or "sla". A message or note has an id, an author and a text; what was
    understood in a customer's message comes with it. An escalation has its reason and anger in ``data``; an SLA event
    its ticket, promise, event and percent.
    """

    kind: str
    at: datetime
    id: int
    direction: str | None = None
    author: str | None = None
    agent_id: int | None = None
    agent_name: str | None = None
    text: str = ""
    buttons: Sequence[Mapping[str, str]] = ()
    payload: str | None = None
    in_reply_to_id: int | None = None
    delivery_state: str | None = None
    dropped_reason: str | None = None
    intent: str | None = None
    anger: float | None = None
    valence: str | None = None
    understood: Mapping[str, Any] | None = None
    data: Mapping[str, Any] | None = None
    edited_at: datetime | None = None
    held: str | None = None


@dataclass(frozen=True)
class ThreadPage:
    """Lines of a thread, oldest first. ``earlier`` is the id of a message before which there is more, or None."""

    rows: list[ThreadRow]
    earlier: int | None


def thread(session: Session, conversation_id: int) -> list[ThreadRow]:
    """Everything of a conversation, oldest first: also what was dropped, marked as such. Check access before."""
    return thread_page(session, conversation_id).rows


def thread_page(session: Session, conversation_id: int, *, before: int | None = None,
                limit: int | None = None) -> ThreadPage:
    """The newest messages of a conversation with what happened from the first of them on. Check access before.

    Args:
        session: a session to read with.
        conversation_id: which conversation.
        before: the id of a message of the conversation; only what came before it. None begins at the end.
        limit: the most messages and notes.
    """
    newest = _messages(session, conversation_id, before, None if limit is None else limit + 1)
    cut = limit is not None and len(newest) > limit
    messages = newest[:limit][::-1]
    until = _at(session, conversation_id, before)
    since = messages[0].at if cut else None
    events = [row for row in (*_escalations(session, conversation_id), *_sla_events(session, conversation_id))
              if (since is None or row.at >= since) and (until is None or row.at < until)]
    return ThreadPage(sorted([*messages, *events], key=_order), messages[0].id if cut else None)


def latest_escalation(session: Session, conversation_id: int) -> Escalation | None:
    """Why a human was needed the last time; None where none was."""
    found: Escalation | None = session.execute(
        select(Escalation).where(Escalation.conversation_id == conversation_id)
        .order_by(Escalation.decided_at.desc(), Escalation.id.desc()).limit(1)).scalar_one_or_none()
    return found


def _at(session: Session, conversation_id: int, message_id: int | None) -> datetime | None:
    if message_id is None:
        return None
    at: datetime | None = session.execute(
        select(Message.created_at).where(Message.conversation_id == conversation_id, Message.id == message_id)
    ).scalar_one_or_none()
    return at


def _order(row: ThreadRow) -> tuple[datetime, bool, int, bool]:
    """By time; at the same time by id, a handover right after the message that caused it, SLA events last."""
    is_escalation = row.kind == "escalation"
    cause = (row.data or {}).get("message_id") or 0 if is_escalation else row.id
    return row.at, row.kind == "sla", cause, is_escalation


def _messages(session: Session, conversation_id: int, before: int | None, limit: int | None) -> list[ThreadRow]:
    """The newest first."""
    query = (select(*_OF_A_MESSAGE, SupportAgent.name.label("agent_name"))
             .outerjoin(SupportAgent, SupportAgent.id == Message.agent_id)
             .where(Message.conversation_id == conversation_id).order_by(Message.id.desc()).limit(limit))
    found = session.execute(query if before is None else query.where(Message.id < before)).all()
    return [
        ThreadRow(
            kind="note" if message.direction == "note" else "message", at=message.created_at, id=message.id,
            direction=message.direction, author=message.author, agent_id=message.agent_id,
            agent_name=message.agent_name,
            text=message.text, buttons=tuple(message.buttons), payload=message.payload,
            in_reply_to_id=message.in_reply_to_id, delivery_state=message.delivery_state,
            dropped_reason=message.dropped_reason, intent=message.intent, anger=message.anger,
            valence=message.valence, understood=message.understood, held=message.held, edited_at=message.edited_at,
        )
        for message in found
    ]


def _escalations(session: Session, conversation_id: int) -> list[ThreadRow]:
    found = session.execute(
        select(Escalation, Ticket.number).join(Ticket, Ticket.id == Escalation.ticket_id)
        .where(Escalation.conversation_id == conversation_id)).all()
    return [
        ThreadRow(kind="escalation", at=escalation.decided_at, id=escalation.id, anger=escalation.anger,
                  data={"reason": escalation.reason, "ticket": number, "anger": escalation.anger,
                        "message_id": escalation.message_id})
        for escalation, number in found
    ]


def _sla_events(session: Session, conversation_id: int) -> list[ThreadRow]:
    found = session.execute(
        select(SlaEvent, SlaClock.promise, Ticket.number)
        .join(SlaClock, SlaClock.id == SlaEvent.clock_id).join(Ticket, Ticket.id == SlaClock.ticket_id)
        .where(Ticket.conversation_id == conversation_id, SlaEvent.kind.in_(SHOWN_EVENTS))).all()
    return [
        ThreadRow(kind="sla", at=event.occurred_at, id=event.id,
                  data={"event": event.kind, "promise": promise, "ticket": number,
                        "percent": event.occurrence if event.kind == "warned" else None})
        for event, promise, number in found
    ]

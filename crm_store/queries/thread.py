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


def thread(session: Session, conversation_id: int) -> list[ThreadRow]:
    """Everything of a conversation, oldest first: also what was dropped, marked as such. Check access before."""
    rows = [*_messages(session, conversation_id), *_escalations(session, conversation_id),
            *_sla_events(session, conversation_id)]
    return sorted(rows, key=_order)


def _order(row: ThreadRow) -> tuple[datetime, bool, int, bool]:
    """By time; at the same time by id, a handover right after the message that caused it, SLA events last."""
    is_escalation = row.kind == "escalation"
    cause = (row.data or {}).get("message_id") or 0 if is_escalation else row.id
    return row.at, row.kind == "sla", cause, is_escalation


def _messages(session: Session, conversation_id: int) -> list[ThreadRow]:
    found = session.execute(
        select(Message, SupportAgent.name).outerjoin(SupportAgent, SupportAgent.id == Message.agent_id)
        .where(Message.conversation_id == conversation_id).order_by(Message.id)).all()
    return [
        ThreadRow(
            kind="note" if message.direction == "note" else "message", at=message.created_at, id=message.id,
            direction=message.direction, author=message.author, agent_id=message.agent_id, agent_name=name,
            text=message.text, buttons=tuple(message.buttons), payload=message.payload,
            in_reply_to_id=message.in_reply_to_id, delivery_state=message.delivery_state,
            dropped_reason=message.dropped_reason, intent=message.intent, anger=message.anger,
            valence=message.valence, understood=message.understood,
        )
        for message, name in found
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

"""Opens and reopens tickets and gives them their numbers."""
from __future__ import annotations

import secrets
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from crm_store.models import Conversation, Ticket

FIRST_NUMBER = 1000
UNSOLVED = ("open", "waiting")


def open_ticket(session: Session, conversation: Conversation, *, kind: str, summary: str, idempotency_key: str,
                now: datetime, **details: Any) -> Ticket:
    """A new ticket of a conversation, numbered C and 1000 plus its id, so that no two ever share a number.

    A conversation that a human resolved while the bot was still at it is open again with the bot, as if the customer
    had just written: otherwise nobody could answer the ticket.

    Args:
        session: the unit of work.
        conversation: which it belongs to; its row is locked.
        kind: "complaint", "handoff" or "request".
        summary: what it is about, for agents.
        idempotency_key: of what it comes from, such as a message; unique.
        now: when.
        **details: further columns of ``Ticket``.
    """
    ticket = Ticket(
        number=f"~{secrets.token_hex(9)}", kind=kind, conversation_id=conversation.id,
        customer_id=conversation.customer_id, language=conversation.language, summary=summary, opened_at=now,
        idempotency_key=idempotency_key, status="open", cycle=1, **details,
    )
    session.add(ticket)
    if conversation.status == "resolved":
        conversation.status, conversation.resolved_at = "pending", None
        conversation.version += 1
    session.flush()
    ticket.number = f"C{FIRST_NUMBER + ticket.id}"
    return ticket


def reopen_ticket(ticket: Ticket) -> None:
    """Open a resolved ticket again, in its next cycle; its earlier verdicts stay."""
    ticket.status, ticket.stage, ticket.cycle = "open", "received", ticket.cycle + 1
    ticket.resolved_at = ticket.resolution_cause = None


def ticket_by_key(session: Session, idempotency_key: str) -> Ticket | None:
    """The ticket that came from this key, if it was opened before."""
    found: Ticket | None = session.execute(
        select(Ticket).where(Ticket.idempotency_key == idempotency_key)).scalar_one_or_none()
    return found


def unsolved_tickets(session: Session, conversation_id: int) -> list[Ticket]:
    """A conversation's open and waiting tickets, oldest first, as they are now."""
    return list(session.execute(
        select(Ticket).where(Ticket.conversation_id == conversation_id, Ticket.status.in_(UNSOLVED))
        .order_by(Ticket.id).execution_options(populate_existing=True)
    ).scalars())

"""Records what customers ask to have done: returns, refunds, cancellations, changes, privacy."""
from __future__ import annotations

from datetime import datetime

from sqlalchemy.orm import Session

from crm_store.models import Ticket
from crm_store.models.tickets import REQUEST_TYPES
from crm_store.services import audit, sla
from crm_store.services.locking import lock_conversation
from crm_store.services.notices import team_of_level
from crm_store.services.tickets import open_ticket, ticket_by_key


def record_request(session: Session, *, conversation_id: int, message_id: int, request_type: str, order_id: int | None,
                   detail: str, now: datetime) -> Ticket:
    """Open a request ticket for the front line; the same message and type again give the ticket they opened.

    Args:
        session: the unit of work.
        conversation_id: where it was asked.
        message_id: the customer's message that completed it.
        request_type: "return", "refund", "cancel", "change" or "privacy".
        order_id: the order it is about; the caller has checked that it is the customer's.
        detail: what exactly, for agents.
        now: when.

    Raises:
        NotFound: there is no such conversation.
        ValueError: the type is none of the five.
    """
    if request_type not in REQUEST_TYPES:
        raise ValueError(f"no type of request: {request_type}")
    key = f"request:{request_type}:message:{message_id}"
    conversation = lock_conversation(session, conversation_id)
    earlier = ticket_by_key(session, key)
    if earlier is not None:
        return earlier
    ticket = open_ticket(session, conversation, kind="request", request_type=request_type, order_id=order_id,
                         summary=detail, idempotency_key=key, now=now)
    sla.start_clocks(session, ticket, now)
    conversation.team_id = conversation.team_id or team_of_level(session, ticket.level)
    conversation.updated_at = now
    audit.record(session, actor_kind="customer", actor_id=conversation.customer_id, action="record_request",
                 object_kind="ticket", object_id=ticket.id,
                 data={"type": request_type, "order_id": order_id, "message_id": message_id}, now=now)
    session.flush()
    return ticket

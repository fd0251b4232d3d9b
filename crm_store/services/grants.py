"""Makes good with points what went wrong in a case, within what an agent's role allows."""
from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy import select
from sqlalchemy.orm import Session

from crm_store.errors import NotAllowed, NotFound
from crm_store.models import PointsEntry, SupportAgent, Ticket
from crm_store.rules.points import grant_limit
from crm_store.services.access import access_conversation
from crm_store.services.audit import record
from crm_store.services.ledger import entry_of, lock_customer
from crm_store.services.points import grant_points

REASON_LENGTH = 200


def grant_for_case(
    session: Session, *, agent: SupportAgent, ticket_id: int, points: int, reason: str, idempotency_key: str,
    now: datetime,
) -> PointsEntry:
    """Grant points for a case. All grants for it together stay within the limit of who grants the last of them.

    The same key again changes nothing. See :func:`crm_store.services.counter.make_good`, which tells the customer.

    Args:
        session: the unit of work.
        agent: who grants; they must be able to see the case's conversation.
        ticket_id: the case, of a customer the shop knows.
        points: how many.
        reason: why, for the ledger; 1 to 200 characters.
        idempotency_key: names this grant.
        now: when.

    Raises:
        NotFound: there is no such case, or they may not see it, or its customer is unknown.
        NotAllowed: over the limit; ``limit`` and ``granted`` (before) are points.
        ValueError: the reason is empty or too long, or ``points`` is not above zero.
        KeyReused: the key stands for another grant.
    """
    reason = reason.strip()
    if not 0 < len(reason) <= REASON_LENGTH:
        raise ValueError(f"a reason has 1 to {REASON_LENGTH} characters")
    ticket = session.get(Ticket, ticket_id)
    if ticket is None or ticket.customer_id is None:
        raise NotFound(ticket_id=ticket_id)
    access_conversation(session, agent, ticket.conversation_id)
    lock_customer(session, ticket.customer_id, living=True)
    key = f"ticket:{ticket.id}:{idempotency_key}"
    again = entry_of(session, f"grant:{ticket.customer_id}:{key}") is not None
    granted = int(session.execute(
        select(sa.func.coalesce(sa.func.sum(PointsEntry.points), 0))
        .where(PointsEntry.customer_id == ticket.customer_id, PointsEntry.kind == "grant",
               PointsEntry.ticket_id == ticket.id)).scalar_one())
    limit = grant_limit(agent.role)
    if not again and limit is not None and granted + points > limit:
        raise NotAllowed(limit=limit, granted=granted)
    entry = grant_points(session, customer_id=ticket.customer_id, points=points, reason=reason, idempotency_key=key,
                         ticket_id=ticket.id, now=now)
    if not again:
        record(session, actor_kind="agent", actor_id=agent.id, action="grant_points", object_kind="customer",
               object_id=ticket.customer_id, data={"points": points, "ticket": ticket.number}, now=now)
        session.flush()
    return entry

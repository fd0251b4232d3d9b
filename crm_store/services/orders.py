"""Keeps in the audit log who asked for an order that is not theirs."""
from __future__ import annotations

from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from crm_store.models import Order
from crm_store.queries.orders import normalise_order_number
from crm_store.services.audit import record


def note_refused_order(session: Session, *, number: str, customer_id: int | None, now: datetime,
                       conversation_id: int | None = None) -> bool:
    """Write down that somebody was refused an order that exists: another customer's, or one whose digits they missed.

    Args:
        session: the unit of work, to be committed.
        number: the order number as it was typed.
        customer_id: who asked; None for a guest.
        now: when.
        conversation_id: where.

    Returns:
        Whether there was anything to write down: a number that no order has is a slip.
    """
    wanted = normalise_order_number(number)
    order = session.execute(select(Order).where(Order.number == wanted)).scalar_one_or_none() if wanted else None
    if order is None or (customer_id is not None and order.customer_id == customer_id):
        return False
    record(session, actor_kind="customer", actor_id=customer_id, action="refuse_order", object_kind="order",
           object_id=order.id, data={"conversation_id": conversation_id} if conversation_id else {}, now=now)
    session.flush()
    return True

"""What care did: how many of each variant came back, beside those who were not written to."""
from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy import select
from sqlalchemy.orm import Session

from crm_store.models import CareMessage, Conversation, Message, Order
from crm_store.queries.figures import unix_seconds
from crm_store.rules.care import ARMS, COMES_BACK_WITHIN, ArmResult

WITHIN = int(COMES_BACK_WITHIN.total_seconds())


def care_results(session: Session, since: datetime, now: datetime) -> dict[str, dict[str, ArmResult]]:
    """By campaign and variant: the customers decided about since then, and how many wrote or bought within 14 days.

    Occasions younger than fourteen days do not count yet: their customers may still come back.

    Args:
        session: a session to read with.
        since: the earliest decision that counts.
        now: when.
    """
    at = CareMessage.decided_at
    came_back = sa.or_(*(
        sa.exists().where(*theirs, then > at, unix_seconds(then) <= unix_seconds(at) + WITHIN) for theirs, then in (
            ((Message.conversation_id == Conversation.id, Conversation.customer_id == CareMessage.customer_id,
              Message.direction == "incoming"), Message.created_at),
            ((Order.customer_id == CareMessage.customer_id,), Order.placed_at))))
    rows = session.execute(
        select(CareMessage.kind, CareMessage.arm, sa.func.count(),
               sa.func.sum(sa.case((came_back, 1), else_=0)))
        .where(at >= since, at <= now - COMES_BACK_WITHIN).group_by(CareMessage.kind, CareMessage.arm)).all()
    results = {kind: dict.fromkeys(ARMS, ArmResult(0, 0)) for kind, *_ in rows}
    for kind, arm, customers, back in rows:
        results[kind][arm] = ArmResult(customers, int(back))
    return results


def care_sent(session: Session, since: datetime) -> dict[str, int]:
    """How many messages each campaign sent since then."""
    return dict(session.execute(
        select(CareMessage.kind, sa.func.count()).where(CareMessage.decided_at >= since, CareMessage.arm != "control")
        .group_by(CareMessage.kind)).all())

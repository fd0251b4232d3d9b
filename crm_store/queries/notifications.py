"""What an agent has not been told yet."""
from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy import select
from sqlalchemy.orm import Session

from crm_store.models import Notification


def notifications_for(session: Session, agent_id: int, *, after_id: int = 0, unseen_only: bool = True,
                      limit: int = 50) -> list[Notification]:
    """An agent's notifications with an id above ``after_id``, oldest first."""
    query = select(Notification).where(Notification.agent_id == agent_id, Notification.id > after_id)
    if unseen_only:
        query = query.where(Notification.seen_at.is_(None))
    return list(session.execute(query.order_by(Notification.id).limit(limit)).scalars())


def mark_seen(session: Session, agent_id: int, notification_ids: Iterable[int], now: datetime) -> None:
    """Note that an agent has seen some of their own notifications; the first time counts."""
    session.execute(
        sa.update(Notification)
        .where(Notification.id.in_(list(notification_ids)), Notification.agent_id == agent_id,
               Notification.seen_at.is_(None))
        .values(seen_at=now).execution_options(synchronize_session=False))

"""What an agent has not been told yet, and what was sent beside the desk."""
from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy import select
from sqlalchemy.orm import Session

from crm_store.models import Notification, NotificationDelivery, SupportAgent, Webhook
from crm_store.services.deliveries import EMAIL, WAITING, WEBHOOK

DELIVERIES_A_PAGE = 50


@dataclass(frozen=True)
class WebhookRow:
    """A webhook and how it has been doing."""

    webhook: Webhook
    waiting: int
    given_up: int
    last_sent_at: datetime | None


@dataclass(frozen=True)
class DeliveryRow:
    """A delivery and the name of its target."""

    delivery: NotificationDelivery
    target: str


@dataclass(frozen=True)
class DeliveryPage:
    """One page of the delivery log, newest first."""

    rows: list[DeliveryRow]
    page: int
    more: bool


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


def webhooks_with_state(session: Session) -> list[WebhookRow]:
    """Every webhook, with what waits for it, what was given up, and when something last reached it."""
    outcomes = session.execute(
        select(NotificationDelivery.target_id, NotificationDelivery.state, sa.func.count().label("count"),
               sa.func.max(NotificationDelivery.sent_at).label("last"))
        .where(NotificationDelivery.adapter == WEBHOOK)
        .group_by(NotificationDelivery.target_id, NotificationDelivery.state)).all()
    counts = {(row.target_id, row.state): row.count for row in outcomes}
    last = {row.target_id: row.last for row in outcomes if row.state == "sent"}
    return [
        WebhookRow(webhook, sum(counts.get((webhook.id, state), 0) for state in WAITING),
                   counts.get((webhook.id, "given_up"), 0), last.get(webhook.id))
        for webhook in session.execute(select(Webhook).order_by(Webhook.id)).scalars()]


def delivery_log(session: Session, *, state: str | None = None, page: int = 1) -> DeliveryPage:
    """What was sent, or is to be, newest first; of one state where it is given."""
    query = select(NotificationDelivery, sa.func.coalesce(Webhook.name, SupportAgent.name).label("target")).outerjoin(
        Webhook, sa.and_(NotificationDelivery.adapter == WEBHOOK, Webhook.id == NotificationDelivery.target_id)
    ).outerjoin(
        SupportAgent, sa.and_(NotificationDelivery.adapter == EMAIL,
                              SupportAgent.id == NotificationDelivery.target_id))
    if state is not None:
        query = query.where(NotificationDelivery.state == state)
    found = session.execute(query.order_by(NotificationDelivery.id.desc()).limit(DELIVERIES_A_PAGE + 1)
                            .offset((page - 1) * DELIVERIES_A_PAGE)).all()
    return DeliveryPage([DeliveryRow(row[0], row.target or "") for row in found[:DELIVERIES_A_PAGE]], page,
                        len(found) > DELIVERIES_A_PAGE)

"""Tells the shop's own programs what happened: written in the unit of work that makes it happen, sent by webhooks.

An event that no webhook wants is not written. Events of the same customer, or of the same conversation of a guest,
reach a webhook in the order in which they were written; each at least once, under an id that stays the same.
"""
from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from crm_store.models import ShopEvent, Webhook
from crm_store.services.deliveries import queue_events


@dataclass(frozen=True)
class Event:
    """Something to tell the shop.

    Attributes:
        kind: one of ``EVENT_KINDS``.
        customer_id: whose it is.
        data: numbers and codes, nothing personal.
        conversation_id: where it happened.
    """

    kind: str
    customer_id: int | None
    data: dict[str, Any] = field(default_factory=dict)
    conversation_id: int | None = None


def tell_shop(session: Session, events: Iterable[Event], now: datetime) -> None:
    """Write events and queue them for the webhooks that want them.

    Args:
        session: the unit of work in which it happened.
        events: what happened, oldest first.
        now: when.
    """
    told = list(events)
    if not told:
        return
    hooks = session.execute(
        select(Webhook.id, Webhook.kinds).where(Webhook.active.is_(True)).order_by(Webhook.id)).all()
    wanted = [event for event in told if any(not hook.kinds or event.kind in hook.kinds for hook in hooks)]
    if not wanted:
        return
    written = [ShopEvent(kind=event.kind, customer_id=event.customer_id, conversation_id=event.conversation_id,
                         data=event.data, created_at=now) for event in wanted]
    session.add_all(written)
    session.flush()
    queue_events(session, written, hooks, now)

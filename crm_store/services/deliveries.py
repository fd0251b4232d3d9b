"""Queues notices for the ways beside the desk, hands each to one sender at a time, and keeps what came of it.

A delivery is claimed for some minutes and its attempt counted before anything is sent. Who dies between the sending and
the note leaves it to the next one, who sends it again under the same public id: at least once, never silently lost.
"""
from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy import select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session, aliased

from crm_store.errors import NotFound, WrongState
from crm_store.models import (
    Customer,
    Notification,
    NotificationDelivery,
    NotificationPreference,
    Order,
    ShopEvent,
    SupportAgent,
    Ticket,
    Webhook,
)
from crm_store.rules.personal_data import mask
from crm_store.services import audit

EMAIL, WEBHOOK = "email", "webhook"
TEST = "test"
WAITING = ("queued", "failed")
AT_ONCE = ("sla_breached", TEST)  # sent by e-mail without waiting whether the agent sees it at the desk
MAIL_FROM_PERCENT = 75  # warnings below stay at the desk
LEASE = timedelta(minutes=3)  # longer than any sending takes
MOST_ATTEMPTS = 6
FIRST_DELAY = timedelta(seconds=30)
DELAY_GROWS = 3  # six attempts within about an hour: 30 s, 90 s, 4.5, 13.5 and 40.5 min apart
JITTER = 0.2
PUT_OFF = timedelta(seconds=60)  # of the others that wait for a server that is down
TOO_OLD = timedelta(days=1)
KEPT = timedelta(days=30)
TESTS_APART = timedelta(minutes=1)
ERROR_LENGTH = 200
ROWS_AT_ONCE = 1000  # of one statement; SQLite takes 32,766 values


@dataclass(frozen=True)
class Outgoing:
    """A delivery in the hands of a sender.

    Attributes:
        id: the delivery's row.
        public_id: names it to the target, the same at every attempt.
        attempt: which attempt this is, from 1.
        adapter: "email" or "webhook".
        target_id: the agent or the webhook.
        kind: what happened, such as "sla_breached".
        at: when it happened.
        address: where it goes: an e-mail address or a URL.
        secret: signs a webhook's request.
        name: the agent's.
        language: the agent's, "zh" or "en".
        event_id: the notification, or the shop's event; None for a test.
        conversation_id: where to look.
        ticket: the ticket's number.
        data: what else is known of it, personal data masked.
    """

    id: int
    public_id: str
    attempt: int
    adapter: str
    target_id: int
    kind: str
    at: datetime
    address: str = field(repr=False)
    secret: str = field(default="", repr=False)
    name: str = ""
    language: str = "zh"
    event_id: int | str | None = None
    conversation_id: int | None = None
    ticket: str | None = None
    data: Mapping[str, Any] = field(default_factory=dict)


def queue_deliveries(session: Session, told: Mapping[str, Sequence[Mapping[str, Any]]], now: datetime) -> None:
    """Queue what just became notifications for the agents' e-mails and the shop's webhooks.

    Args:
        session: the unit of work that inserted the notifications.
        told: by the key of each event, the rows that were inserted, or would have been where they were there before.
        now: when they were inserted.
    """
    hooks = session.execute(
        select(Webhook.id, Webhook.kinds).where(Webhook.active.is_(True)).order_by(Webhook.id)).all()
    agents = {row["agent_id"] for rows in told.values() for row in rows}
    chosen: dict[int, list[str]] = dict(session.execute(
        select(NotificationPreference.agent_id, NotificationPreference.email_kinds)
        .where(NotificationPreference.email.is_not(None), NotificationPreference.agent_id.in_(agents))).all())
    if not hooks and not chosen:
        return
    inserted = _inserted(session, [row["idempotency_key"] for rows in told.values() for row in rows], now)
    queued = []
    for key, rows in told.items():
        new = [row for row in rows if row["idempotency_key"] in inserted]
        if not new:
            continue
        kind, first = new[0]["kind"], min(inserted[row["idempotency_key"]] for row in new)
        queued += [_row(WEBHOOK, hook.id, first, key, kind, now)
                   for hook in hooks if not hook.kinds or kind in hook.kinds]
        queued += [_row(EMAIL, row["agent_id"], inserted[row["idempotency_key"]], key, kind, now)
                   for row in new if kind in chosen.get(row["agent_id"], ()) and _worth_a_mail(row)]
    _insert(session, queued)


def queue_events(session: Session, events: Sequence[ShopEvent], hooks: Sequence[Any], now: datetime) -> None:
    """Queue events of the shop for the webhooks that want them; ``hooks`` are their ids and kinds.

    Those of the same customer, or of the same conversation of a guest, reach a webhook one after the other.
    """
    _insert(session, [
        _row(WEBHOOK, hook.id, None, f"event:{event.id}", event.kind, now)
        | {"shop_event_id": event.id, "order_key": order_key(event)}
        for event in events for hook in hooks if not hook.kinds or event.kind in hook.kinds])


def order_key(event: ShopEvent) -> str:
    """Names those events that reach a webhook one after the other."""
    return (f"conversation:{event.conversation_id}" if event.customer_id is None else f"customer:{event.customer_id}")


def queue_test(session: Session, adapter: str, target_id: int, now: datetime) -> None:
    """Queue a delivery that only shows that the way works; one a minute is enough."""
    last = session.execute(
        select(sa.func.max(NotificationDelivery.created_at)).where(
            NotificationDelivery.adapter == adapter, NotificationDelivery.target_id == target_id,
            NotificationDelivery.kind == TEST)).scalar_one()
    if last is not None and now - last < TESTS_APART:
        return
    _insert(session, [_row(adapter, target_id, None, f"{TEST}:{secrets.token_hex(8)}", TEST, now)])


def lanes_waiting(session: Session, now: datetime, mail_delay: timedelta) -> list[str]:
    """The lanes in which something may be sent now."""
    return list(session.execute(
        select(NotificationDelivery.lane).where(*_due(now, mail_delay)).distinct()
        .order_by(NotificationDelivery.lane)).scalars())


def claim_delivery(session: Session, lane: str, now: datetime, mail_delay: timedelta) -> Outgoing | None:
    """Take the oldest delivery of a lane that is due, for the length of a lease; None where there is none.

    What need not be sent any more is marked so on the way: it was seen at the desk, the webhook is switched off, the
    agent has left or has no address.

    Args:
        session: the unit of work; commit it before sending.
        lane: which lane.
        now: when.
        mail_delay: how long an agent may take to see a notice at the desk before it is sent by e-mail.
    """
    while True:
        delivery = session.execute(
            select(NotificationDelivery).where(NotificationDelivery.lane == lane, *_due(now, mail_delay))
            .order_by(NotificationDelivery.id).limit(1).with_for_update(skip_locked=True, of=NotificationDelivery)
        ).scalar_one_or_none()
        if delivery is None:
            return None
        if delivery.attempts >= MOST_ATTEMPTS:
            _settle(delivery, "given_up", "interrupted")
        else:
            outgoing = _outgoing(session, delivery)
            if isinstance(outgoing, Outgoing):
                delivery.attempts, delivery.next_attempt_at = outgoing.attempt, now + LEASE
                session.flush()
                return outgoing
            _settle(delivery, "skipped", outgoing)
        session.flush()


def note_sent(session: Session, delivery_id: int, now: datetime, status: int | None = None) -> None:
    """The target has it; also where another sender has taken it meanwhile."""
    delivery = _locked(session, delivery_id)
    if delivery.state in WAITING:
        delivery.sent_at, delivery.response_status = now, status
        _settle(delivery, "sent", None)


def note_off(session: Session, delivery_id: int) -> None:
    """Nothing is sent in this way on this server."""
    delivery = _locked(session, delivery_id)
    if delivery.state in WAITING:
        _settle(delivery, "skipped", "not_set_up")


def note_failure(session: Session, delivery_id: int, attempt: int, reason: str, now: datetime, *, jitter: float,
                 status: int | None = None, permanent: bool = False, target_down: bool = False) -> str:
    """An attempt failed: try again later, or give up after the sixth, after a day, or where it can never succeed.

    Args:
        session: the unit of work.
        delivery_id: which delivery.
        attempt: which attempt; nothing happens where another one has begun.
        reason: what went wrong: one of ``DELIVERY_ERRORS``, and after a colon more, without addresses and secrets.
        now: when.
        jitter: between 0 and 1; spreads the attempts.
        status: the status of a response, where there was one.
        permanent: trying again cannot help.
        target_down: the server answers nobody; what else waits for it is put off a little too.

    Returns:
        The delivery's state.
    """
    delivery = _locked(session, delivery_id)
    if delivery.state not in WAITING or delivery.attempts != attempt:
        return str(delivery.state)
    delivery.response_status = status
    if permanent or attempt >= MOST_ATTEMPTS or now - delivery.created_at > TOO_OLD:
        _settle(delivery, "given_up", reason)
    else:
        delivery.state, delivery.last_error = "failed", reason[:ERROR_LENGTH]
        delivery.next_attempt_at = now + delay_after(attempt, jitter)
    session.flush()
    if target_down:
        until = now + min(PUT_OFF, delay_after(attempt, jitter))
        session.execute(
            sa.update(NotificationDelivery)
            .where(NotificationDelivery.lane == delivery.lane, NotificationDelivery.id != delivery.id,
                   NotificationDelivery.state.in_(WAITING), NotificationDelivery.next_attempt_at < until)
            .values(next_attempt_at=until).execution_options(synchronize_session=False))
    return str(delivery.state)


def delay_after(attempt: int, jitter: float) -> timedelta:
    """How long to wait after an attempt, from 1; ``jitter`` (0 to 1) makes it up to a fifth shorter or longer."""
    grown: float = DELAY_GROWS ** (attempt - 1) * (1 + JITTER * (2 * jitter - 1))
    return FIRST_DELAY * grown


def send_again(session: Session, delivery_id: int, agent: SupportAgent, now: datetime) -> NotificationDelivery:
    """Queue a delivery that has come to its end once more, under the same public id.

    Raises:
        NotFound: there is no such delivery.
        WrongState: it still waits.
    """
    delivery = _locked(session, delivery_id)
    if delivery.state in WAITING:
        raise WrongState(state=delivery.state)
    delivery.state, delivery.attempts, delivery.next_attempt_at = "queued", 0, now
    delivery.created_at = now  # an old one would be given up at its first failure
    delivery.sent_at = delivery.response_status = delivery.last_error = None
    audit.record(session, actor_kind="agent", actor_id=agent.id, action="send_again", object_kind="delivery",
                 object_id=delivery.id, data={"adapter": delivery.adapter, "kind": delivery.kind}, now=now)
    session.flush()
    return delivery


def forget_deliveries(session: Session, now: datetime) -> int:
    """Take out of the log what came to its end a month ago; how many."""
    done = session.execute(
        sa.delete(NotificationDelivery)
        .where(NotificationDelivery.state.not_in(WAITING), NotificationDelivery.created_at < now - KEPT)
        .execution_options(synchronize_session=False))
    unsent = sa.exists().where(NotificationDelivery.shop_event_id == ShopEvent.id)
    session.execute(sa.delete(ShopEvent).where(ShopEvent.created_at < now - KEPT, ~unsent)
                    .execution_options(synchronize_session=False))
    return int(done.rowcount)


def _due(now: datetime, mail_delay: timedelta) -> tuple[Any, ...]:
    before = aliased(NotificationDelivery)
    return (
        ~sa.exists().where(NotificationDelivery.order_key.is_not(None), before.lane == NotificationDelivery.lane,
                           before.order_key == NotificationDelivery.order_key, before.id < NotificationDelivery.id,
                           before.state.in_(WAITING)),
        NotificationDelivery.next_attempt_at <= now, NotificationDelivery.state.in_(WAITING),
        sa.or_(NotificationDelivery.adapter != EMAIL, NotificationDelivery.kind.in_(AT_ONCE),
               NotificationDelivery.created_at <= now - mail_delay))


def _row(adapter: str, target_id: int, notification_id: int | None, key: str, kind: str,
         now: datetime) -> dict[str, Any]:
    return {"public_id": secrets.token_hex(16), "notification_id": notification_id, "shop_event_id": None,
            "order_key": None, "event_key": key,
            "adapter": adapter, "target_id": target_id, "kind": kind, "state": "queued", "attempts": 0,
            "lane": EMAIL if adapter == EMAIL else f"{adapter}:{target_id}", "created_at": now, "next_attempt_at": now}


def _worth_a_mail(row: Mapping[str, Any]) -> bool:
    return bool(row["kind"] != "sla_warned" or row["data"].get("percent", 100) >= MAIL_FROM_PERCENT)


def _inserted(session: Session, keys: Sequence[str], now: datetime) -> dict[str, int]:
    """Of these notifications those that are of now, not of an earlier telling, with their ids."""
    found: dict[str, int] = {}
    for start in range(0, len(keys), ROWS_AT_ONCE):
        found.update(session.execute(
            select(Notification.idempotency_key, Notification.id)
            .where(Notification.idempotency_key.in_(keys[start:start + ROWS_AT_ONCE]),
                   Notification.created_at == now)).all())
    return found


def _insert(session: Session, rows: list[dict[str, Any]]) -> None:
    insert = postgresql.insert if session.get_bind().dialect.name == "postgresql" else sqlite.insert
    for start in range(0, len(rows), ROWS_AT_ONCE):
        session.execute(insert(NotificationDelivery.__table__).values(rows[start:start + ROWS_AT_ONCE])
                        .on_conflict_do_nothing())


def _locked(session: Session, delivery_id: int) -> NotificationDelivery:
    delivery: NotificationDelivery | None = session.execute(
        select(NotificationDelivery).where(NotificationDelivery.id == delivery_id)
        .with_for_update(of=NotificationDelivery).execution_options(populate_existing=True)).scalar_one_or_none()
    if delivery is None:
        raise NotFound(delivery_id=delivery_id)
    return delivery


def _settle(delivery: NotificationDelivery, state: str, error: str | None) -> None:
    delivery.state, delivery.next_attempt_at = state, None
    delivery.last_error = error[:ERROR_LENGTH] if error else None


def _outgoing(session: Session, delivery: NotificationDelivery) -> Outgoing | str:
    """What to send, or why nothing is to be sent."""
    target = _webhook(session, delivery) if delivery.adapter == WEBHOOK else _mailbox(session, delivery)
    if isinstance(target, str):
        return target
    event_id, happened, data = _told(session, delivery)
    return Outgoing(
        id=delivery.id, public_id=delivery.public_id, attempt=delivery.attempts + 1, adapter=delivery.adapter,
        target_id=delivery.target_id, kind=delivery.kind, at=happened.created_at, event_id=event_id,
        conversation_id=None if happened is delivery else happened.conversation_id,
        ticket=_ticket_number(session, data),
        data={name: mask(value) if isinstance(value, str) else value for name, value in data.items()}, **target)


def _told(session: Session, delivery: NotificationDelivery) -> tuple[int | str | None, Any, Mapping[str, Any]]:
    """The event's id, what happened, and what is known of it."""
    event = delivery.shop_event
    if event is None:
        notice = delivery.notification
        return (notice.id, notice, notice.data) if notice else (None, delivery, {})
    number = None if event.customer_id is None else session.execute(
        select(Customer.number).where(Customer.id == event.customer_id)).scalar_one()
    data = {**event.data, "customer": number}
    if "order_id" in data:
        data["order"] = session.execute(
            select(Order.number).where(Order.id == data.pop("order_id"))).scalar_one_or_none()
    return f"event-{event.id}", event, data


def _webhook(session: Session, delivery: NotificationDelivery) -> dict[str, str] | str:
    webhook = session.get(Webhook, delivery.target_id)
    if webhook is None or not webhook.active:
        return "switched_off"
    return {"address": webhook.url, "secret": webhook.secret}


def _mailbox(session: Session, delivery: NotificationDelivery) -> dict[str, str] | str:
    agent, chosen = (session.get(model, delivery.target_id) for model in (SupportAgent, NotificationPreference))
    if agent is None or not agent.active or chosen is None or not chosen.email:
        return "no_address"
    if delivery.kind not in AT_ONCE and delivery.notification.seen_at is not None:
        return "seen"
    return {"address": chosen.email, "name": agent.name, "language": agent.interface_language}


def _ticket_number(session: Session, data: Mapping[str, Any]) -> str | None:
    if data.get("ticket"):
        return str(data["ticket"])
    ticket = session.get(Ticket, data["ticket_id"]) if isinstance(data.get("ticket_id"), int) else None
    return ticket.number if ticket else None

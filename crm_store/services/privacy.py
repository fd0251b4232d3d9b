"""Consents by purpose, and a customer's data for themselves."""
from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime
from typing import Any

from sqlalchemy import inspect, or_, select
from sqlalchemy.orm import Session

from crm_store.errors import NotFound
from crm_store.models import (
    Attachment,
    Base,
    ChannelIdentity,
    Consent,
    Conversation,
    Customer,
    DataCopy,
    Erasure,
    Feedback,
    LinkCode,
    Message,
    Order,
    OrderItem,
    PointsEntry,
    Product,
    Rating,
    Redemption,
    Shipment,
    Ticket,
)
from crm_store.models.customers import CHANNELS, CONSENT_PURPOSES
from crm_store.queries.corrections import corrections_of
from crm_store.queries.customers import consents_of
from crm_store.queries.points import points_balance
from crm_store.services.audit import record
from crm_store.services.customers import records_of

__all__ = [
    "about_customer",
    "consent_history",
    "consented",
    "conversations_of",
    "current_consents",
    "export_customer",
    "set_consent",
]

current_consents = consents_of
OF_CUSTOMER = ("number", "name", "language", "phone", "email", "city", "address", "birthday", "tone", "tier_code",
               "tier_since_at", "created_at")


def set_consent(
    session: Session, customer_id: int, purpose: str, granted: bool, channel: str, now: datetime,
) -> Consent:
    """Write down a customer's decision about a purpose. Deciding the same again adds nothing.

    Args:
        session: the unit of work.
        customer_id: who decides.
        purpose: "service", "marketing" or "memory".
        granted: whether they allow it.
        channel: where they said so.
        now: when.

    Raises:
        ValueError: no such purpose or channel.
        NotFound: no such customer, or they were erased.
    """
    if purpose not in CONSENT_PURPOSES or channel not in CHANNELS:
        raise ValueError(f"no such purpose or channel: {purpose!r}, {channel!r}")
    customer = session.execute(
        select(Customer).where(Customer.id == customer_id).with_for_update(key_share=True)).scalar_one_or_none()
    if customer is None or customer.erased_at is not None:
        raise NotFound(customer_id=customer_id)
    newest = session.execute(
        select(Consent).where(Consent.customer_id == customer_id, Consent.purpose == purpose)
        .order_by(Consent.decided_at.desc(), Consent.id.desc()).limit(1)
    ).scalar_one_or_none()
    if newest is not None and newest.granted == granted:
        found: Consent = newest
        return found
    consent = Consent(customer_id=customer_id, purpose=purpose, granted=granted, channel=channel, decided_at=now)
    session.add(consent)
    session.flush()
    record(session, actor_kind="customer", actor_id=customer_id, action="set_consent", object_kind="customer",
           object_id=customer_id, data={"purpose": purpose, "granted": granted, "channel": channel}, now=now)
    return consent


def consented(session: Session, customer_id: int, purpose: str) -> bool:
    """Whether a customer allows something now: never deciding is no, and nobody erased is written to."""
    granted = session.execute(
        select(Consent.granted).join(Customer, Customer.id == Consent.customer_id)
        .where(Consent.customer_id == customer_id, Consent.purpose == purpose, Customer.erased_at.is_(None))
        .order_by(Consent.decided_at.desc(), Consent.id.desc()).limit(1)).scalar_one_or_none()
    return bool(granted)


def consent_history(session: Session, customer_id: int, limit: int = 20) -> list[Consent]:
    """What a customer decided, on which channel and when, newest first."""
    return _rows(session, select(Consent).where(Consent.customer_id == customer_id)
                 .order_by(Consent.decided_at.desc(), Consent.id.desc()).limit(limit))


def export_customer(session: Session, customer_id: int, now: datetime) -> dict[str, Any]:
    """Everything held about a customer, ready for JSON; notes of agents to each other and what was never sent excepted.

    Times are ISO 8601 in UTC, amounts in fen. The export is in the audit log.

    Raises:
        NotFound: there is no such customer, or they were erased.
    """
    about = about_customer(session, customer_id, now)
    record(session, actor_kind="customer", actor_id=customer_id, action="export", object_kind="customer",
           object_id=customer_id, now=now)
    return {**about, "conversations": list(conversations_of(session, customer_id))}


def about_customer(session: Session, customer_id: int, now: datetime) -> dict[str, Any]:
    """What is held about a customer beside their conversations.

    Raises:
        NotFound: there is no such customer, or they were erased.
    """
    customer = session.get(Customer, customer_id)
    if customer is None or customer.erased_at is not None:
        raise NotFound(customer_id=customer_id)
    records = records_of(session, customer_id)
    orders = _rows(session, select(Order).where(Order.customer_id == customer_id).order_by(Order.id))
    order_ids = [order.id for order in orders]
    items = session.execute(
        select(OrderItem, Product.sku).join(Product, Product.id == OrderItem.product_id)
        .where(OrderItem.order_id.in_(order_ids)).order_by(OrderItem.id)).all()
    shipments = _rows(session, select(Shipment).where(Shipment.order_id.in_(order_ids)).order_by(Shipment.id))
    talks = select(Conversation.id).where(Conversation.customer_id == customer_id)
    return {
        "exported_at": now.isoformat(),
        "customer": _fields(customer, *OF_CUSTOMER),
        "identities": [_fields(each, "channel", "external_id", "linked_at", "created_at") for each in _rows(
            session, select(ChannelIdentity).where(ChannelIdentity.customer_id == customer_id)
            .order_by(ChannelIdentity.id))],
        "consents": [_fields(each, "purpose", "granted", "channel", "decided_at") for each in _rows(
            session, select(Consent).where(Consent.customer_id == customer_id).order_by(Consent.id))],
        "orders": [
            _fields(order, "number", "status", "phone", "address", "total_fen", "placed_at", "paid_at", "completed_at",
                    "returned_at", "refunded_at", "refunded_fen", "note")
            | {"items": [_fields(item, "quantity", "price_fen") | {"sku": sku} for item, sku in items
                         if item.order_id == order.id],
               "shipments": [_fields(each, "carrier_zh", "tracking_number", "shipped_at", "delivered_at", "events")
                             for each in shipments if each.order_id == order.id]}
            for order in orders],
        "points": {
            "balance": points_balance(session, customer_id, now),
            "entries": [_fields(each, "kind", "points", "reason", "expires_at", "created_at") for each in _rows(
                session, select(PointsEntry).where(PointsEntry.customer_id == customer_id).order_by(PointsEntry.id))],
            "redemptions": [_fields(each, "code", "created_at") for each in _rows(
                session, select(Redemption).where(Redemption.customer_id == customer_id).order_by(Redemption.id))]},
        "tickets": [_fields(each, "number", "kind", "status", "stage", "category", "summary", "wish", "opened_at",
                            "resolved_at") for each in _rows(
            session, select(Ticket).where(Ticket.customer_id == customer_id).order_by(Ticket.id))],
        "ratings": [_fields(each, "score", "created_at") for each in _rows(
            session, select(Rating).where(Rating.conversation_id.in_(talks)).order_by(Rating.id))],
        "feedback": [_fields(each, "text", "topic", "status", "answer", "created_at", "answered_at") for each in _rows(
            session, select(Feedback).where(Feedback.customer_id == customer_id).order_by(Feedback.id))],
        "merged_records": [_fields(each, *OF_CUSTOMER) for each in _rows(session, select(Customer).where(
            Customer.id.in_(records), Customer.id != customer_id).order_by(Customer.id))],
        "other": _other_rows(session, records),
    }


def conversations_of(session: Session, customer_id: int) -> Iterator[dict[str, Any]]:
    """A customer's conversations with what was said, one after the other."""
    talks = _rows(session, select(Conversation).where(Conversation.customer_id == customer_id)
                  .order_by(Conversation.id))
    for talk in talks:
        messages = _rows(session, select(Message).where(
            Message.conversation_id == talk.id, Message.direction != "note", Message.dropped_reason.is_(None))
            .order_by(Message.id))
        sent = _rows(session, select(Attachment).where(Attachment.message_id.in_([each.id for each in messages]))
                     .order_by(Attachment.id))
        yield (_fields(talk, "channel", "status", "language", "created_at", "resolved_at")
               | {"messages": _messages(session, talk.id, messages)}
               | ({"attachments": [_fields(each, "name", "kind", "size", "created_at") for each in sent]}
                  if sent else {}))


def _other_rows(session: Session, records: list[int]) -> dict[str, list[dict[str, Any]]]:
    """Rows about a customer in every table that is not told of above, whatever comes to be kept there."""
    told = {model.__tablename__ for model in (
        ChannelIdentity, Consent, Conversation, Feedback, Order, PointsEntry, Redemption, Ticket, DataCopy, Erasure,
        LinkCode)}
    found = {}
    for table in Base.metadata.sorted_tables:
        whose = [key.parent.in_(records) for key in table.foreign_keys if key.column.table.name == "customers"]
        if not whose or table.name in told:
            continue
        rows = session.execute(select(table).where(or_(*whose))).mappings().all()
        if rows:
            found[table.name] = [{str(name): _plain(value) for name, value in row.items()} for row in rows]
    return found


def _plain(value: Any) -> Any:
    if isinstance(value, (str, int, float, bool, list, dict)) or value is None:
        return value
    return value.isoformat() if isinstance(value, (date, datetime)) else str(value)


def _messages(session: Session, conversation_id: int, messages: list[Message]) -> list[dict[str, Any]]:
    corrected = corrections_of(session, conversation_id)
    return [
        _fields(each, "direction", "author", "text", "created_at", "intent", "anger")
        | {f"corrected_{field}": said.value for field, said in corrected.get(each.id, {}).items()}
        for each in messages if each.conversation_id == conversation_id]


def _rows(session: Session, statement: Any) -> list[Any]:
    return list(session.execute(statement).scalars())


def _fields(row: object, *names: str) -> dict[str, Any]:
    known = inspect(row).mapper.column_attrs.keys()
    assert set(names) <= set(known)
    values = {name: getattr(row, name) for name in names}
    return {name: value.isoformat() if isinstance(value, date) else value for name, value in values.items()}

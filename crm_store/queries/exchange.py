"""Gives the shop's data in the formats in which it is imported, some rows at a time; importing it changes nothing."""
from __future__ import annotations

import csv
import io
import json
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy import select
from sqlalchemy.orm import Session

from crm_store.database import Store
from crm_store.models import Customer, KnowledgeArticle, Order, OrderItem, PointsEntry, Product, Shipment
from crm_store.rules.exchange_columns import KINDS, LISTED
from crm_store.rules.spreadsheets import defuse
from crm_store.services.exchange_points import own_key
from crm_store.services.knowledge import questions_of

ROWS_AT_ONCE = 500
CSV_BEGINS = "\ufeff"  # without this mark Excel takes UTF-8 for something else
Record = dict[str, Any]


def heading(kind: str) -> str:
    """The first line of a CSV file."""
    return CSV_BEGINS + _csv_line(column.name for column in KINDS[kind] if column.name != "updated_at")


def csv_row(kind: str, record: Record) -> str:
    """A record as a line of CSV; nothing in it is run by a spreadsheet."""
    between = LISTED if kind == "orders" else "\n"
    return _csv_line(_cell(record.get(column.name), between) for column in KINDS[kind] if column.name != "updated_at")


def json_row(_kind: str, record: Record) -> str:
    """A record as a line of JSON."""
    return json.dumps(record, ensure_ascii=False) + "\n"


ROWS: Mapping[str, Callable[[str, Record], str]] = {"csv": csv_row, "jsonl": json_row}


def exported(store: Store, kind: str, form: str, after: int = 0, limit: int | None = None,
             counted: Callable[[int], None] = lambda count: None) -> Iterator[str]:
    """A file of one kind, some hundred rows at a time, each read in a session of its own.

    Args:
        store: the CRM store.
        kind: what.
        form: "csv" or "jsonl".
        after: go on after this cursor.
        limit: how many rows at most.
        counted: is told how many rows were given each time.
    """
    if form == "csv":
        yield heading(kind)
    left = limit
    while left is None or left > 0:
        with store.read() as session:
            found = records(session, kind, after, ROWS_AT_ONCE if left is None else min(left, ROWS_AT_ONCE))
        if not found:
            return
        yield "".join(ROWS[form](kind, record) for _, record in found)
        counted(len(found))
        after = found[-1][0]
        left = None if left is None else left - len(found)


def cursor_after(session: Session, kind: str, after: int, limit: int) -> int | None:
    """Where the next ``limit`` rows end; None where none are left after them."""
    column, conditions = _IDS[kind]
    ids = session.execute(select(column).where(column > after, *conditions).order_by(column)
                          .offset(limit - 1).limit(2)).scalars().all()
    return int(ids[0]) if len(ids) == 2 else None


def records(session: Session, kind: str, after: int, limit: int) -> list[tuple[int, Record]]:
    """The next rows of a kind after a cursor, each with its own cursor."""
    return _RECORDS[kind](session, after, limit)


def _customers(session: Session, after: int, limit: int) -> list[tuple[int, Record]]:
    found = session.execute(
        select(Customer).where(Customer.id > after, Customer.erased_at.is_(None)).order_by(Customer.id).limit(limit))
    return [(each.id, {
        "number": each.number, "name": each.name, "language": each.language, "phone": each.phone, "email": each.email,
        "city": each.city, "address": each.address, "birthday": each.birthday and each.birthday.isoformat(),
        "tier": each.tier_code, "created_at": _time(each.created_at)})
        for each in found.scalars()]


def _products(session: Session, after: int, limit: int) -> list[tuple[int, Record]]:
    found = session.execute(select(Product).where(Product.id > after).order_by(Product.id).limit(limit))
    return [(each.id, {
        "sku": each.sku, "name_zh": each.name_zh, "name_en": each.name_en, "price_yuan": _yuan(each.price_fen),
        "category": each.category, "aliases": list(each.aliases)}) for each in found.scalars()]


def _orders(session: Session, after: int, limit: int) -> list[tuple[int, Record]]:
    rows = session.execute(
        select(Order, Customer.number).outerjoin(Customer, Customer.id == Order.customer_id)
        .where(Order.id > after, Customer.erased_at.is_(None)).order_by(Order.id).limit(limit)).all()
    ids = [order.id for order, _ in rows]
    items, parcels = defaultdict(list), defaultdict(list)
    for item, sku in session.execute(
            select(OrderItem, Product.sku).join(Product, Product.id == OrderItem.product_id)
            .where(OrderItem.order_id.in_(ids)).order_by(OrderItem.id)):
        items[item.order_id].append({"sku": sku, "quantity": item.quantity, "price_yuan": _yuan(item.price_fen)})
    for parcel in session.execute(
            select(Shipment).where(Shipment.order_id.in_(ids)).order_by(Shipment.id)).scalars():
        parcels[parcel.order_id].append(parcel)
    return [(order.id, {
        "number": order.number, "customer_number": number, "status": order.status, "phone": order.phone,
        "address": order.address, "total_yuan": _yuan(order.total_fen), "placed_at": _time(order.placed_at),
        "paid_at": _time(order.paid_at), "completed_at": _time(order.completed_at),
        "returned_at": _time(order.returned_at), "refunded_at": _time(order.refunded_at),
        "refunded_yuan": _yuan(order.refunded_fen), "note": order.note, "items": items[order.id],
        **_of_parcels(parcels[order.id])}) for order, number in rows]


def _of_parcels(parcels: Sequence[Shipment]) -> Record:
    return {
        "tracking_number": [each.tracking_number for each in parcels],
        "carrier_zh": [each.carrier_zh for each in parcels], "carrier_en": [each.carrier_en for each in parcels],
        "shipped_at": [_time(each.shipped_at) for each in parcels],
        "expected_at": [_time(each.expected_at) for each in parcels],
        "delivered_at": [_time(each.delivered_at) for each in parcels]}


def _points(session: Session, after: int, limit: int) -> list[tuple[int, Record]]:
    rows = session.execute(
        select(PointsEntry, Customer.number).join(Customer, Customer.id == PointsEntry.customer_id)
        .where(PointsEntry.id > after, Customer.erased_at.is_(None)).order_by(PointsEntry.id).limit(limit))
    return [(entry.id, {
        "key": own_key(entry.idempotency_key, number, entry.customer_id), "customer_number": number,
        "points": entry.points, "reason": entry.reason, "at": _time(entry.created_at),
        "expires_at": _time(entry.expires_at)})
        for entry, number in rows]


def _articles(session: Session, after: int, limit: int) -> list[tuple[int, Record]]:
    found = session.execute(
        select(KnowledgeArticle).where(KnowledgeArticle.id > after).order_by(KnowledgeArticle.id).limit(limit))
    return [(each.id, {
        "slug": each.slug, "intent": each.intent, "title_zh": each.title_zh, "title_en": each.title_en,
        "body_zh": each.body_zh, "body_en": each.body_en, "questions_zh": questions_of(session, each, "zh"),
        "questions_en": questions_of(session, each, "en"), "published": each.published}) for each in found.scalars()]


def _erased(model: Any) -> Any:
    return sa.exists().where(Customer.id == model.customer_id, Customer.erased_at.is_not(None))


_RECORDS: Mapping[str, Callable[[Session, int, int], list[tuple[int, Record]]]] = {
    "customers": _customers, "products": _products, "orders": _orders, "points": _points, "articles": _articles}
_IDS: Mapping[str, tuple[Any, tuple[Any, ...]]] = {
    "customers": (Customer.id, (Customer.erased_at.is_(None),)), "products": (Product.id, ()),
    "orders": (Order.id, (~_erased(Order),)), "points": (PointsEntry.id, (~_erased(PointsEntry),)),
    "articles": (KnowledgeArticle.id, ())}


def _time(at: datetime | None) -> str | None:
    return at.isoformat().replace("+00:00", "Z") if at else None


def _yuan(fen: int) -> str:
    return f"{fen // 100}.{fen % 100:02}"


def _cell(value: Any, between: str) -> Any:
    """A value as it stands in a cell; several have ``between`` between them."""
    if isinstance(value, list):
        if value and isinstance(value[0], dict):
            return "; ".join(f"{each['sku']}*{each['quantity']}@{each['price_yuan']}" for each in value)
        return defuse(between.join("" if each is None else each for each in value))
    if isinstance(value, bool):
        return "yes" if value else "no"
    return defuse(value) if isinstance(value, str) else value


def _csv_line(cells: Any) -> str:
    line = io.StringIO()
    csv.writer(line).writerow(cells)
    return line.getvalue()

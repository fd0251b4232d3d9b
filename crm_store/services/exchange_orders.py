"""Brings in orders with their items, payments, parcels and returns; what they earn goes through the ledger, once.

Orders and the points they bring are stored in one unit of work. An order that has brought points keeps its customer and
its amount, and can only be returned or refunded.
"""
from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import zip_longest
from typing import Any

import sqlalchemy as sa
from sqlalchemy import select

from crm_store.models import Customer, Order, OrderItem, PointsEntry, Product, Shipment
from crm_store.rules.exchange_columns import UNPAID_STATUSES
from crm_store.rules.exchange_files import Row
from crm_store.services.exchange_rows import (
    Batch,
    Decided,
    Values,
    customers_by_number,
    decide,
    found_by,
    insert_all,
    update_all,
)
from crm_store.services.settling import settle_many
from crm_store.services.shop_events import Event, tell_shop

OWN = ("status", "phone", "address", "placed_at", "paid_at", "completed_at", "returned_at", "refunded_at", "note")
ORDER_COLUMNS = ("customer_id", "total_fen", "refunded_fen", *OWN)
PARCEL = ("carrier_zh", "carrier_en", "tracking_number", "shipped_at", "expected_at", "delivered_at")
NEEDED = ("status", "phone", "address", "total_yuan", "placed_at", "items")
AFTER_EARNING = ("completed", "returning", "returned")
NEEDS: dict[str, str] = {"completed": "completed_at", "returned": "returned_at"}  # what a status cannot be without


def store_orders(batch: Batch) -> None:
    """Create and change orders, and settle what that means for points and tiers."""
    session, rows = batch.session, list(batch.rows)
    customers = customers_by_number(batch, rows, "customer_number")
    products = found_by(session, Product, Product.sku,
                        [sku for row in rows for sku, _, _ in row.values.get("items", ())])
    stored = found_by(session, Order, Order.number, [row.key for row in rows], lock=batch.write)
    _add_what_belongs(batch, stored)
    earned = set(session.execute(
        select(PointsEntry.order_id).where(PointsEntry.order_id.in_([each["id"] for each in stored.values()]),
                                           PointsEntry.kind == "earn")).scalars())
    parcels = found_by(session, Shipment, Shipment.tracking_number, {
        number for row in rows for number in row.values.get("tracking_number") or ()})

    def values_of(row: Row, known: Values | None) -> Values:
        values = {name: row.values[name] for name in OWN if name in row.values}
        if "customer_number" in row.values:
            number = row.values["customer_number"]
            values["customer_id"] = customers[number]["id"] if number else None
        for name in ("total", "refunded"):
            if f"{name}_yuan" in row.values:
                values[f"{name}_fen"] = row.values[f"{name}_yuan"] or 0
        if "items" in row.values:
            values["items"] = sorted((products[sku]["id"], pieces, price) for sku, pieces, price in row.values["items"])
        if "tracking_number" in row.values:
            values["parcels"] = _parcels(row, known)
        return values

    erased = set(session.execute(select(Customer.id).where(
        Customer.id.in_({each["customer_id"] for each in stored.values()}), Customer.erased_at.is_not(None))).scalars())
    for row in batch.left(rows):  # a row that names nobody would write phone and address back
        if row.key in stored and stored[row.key]["customer_id"] in erased:
            batch.refuse(row, "number", "erased")
    for row in batch.left(rows):
        _check(batch, row, stored.get(row.key), customers, products, parcels, earned)
    decided = decide(batch, "orders", batch.left(rows), stored, values_of, NEEDED, {
        "customer_id": None, "paid_at": None, "completed_at": None, "returned_at": None, "refunded_at": None,
        "refunded_fen": 0, "note": None, "parcels": []})
    if batch.write:
        _write(batch, decided)


def _check(batch: Batch, row: Row, known: Values | None, customers: dict[str, Values], products: dict[str, Values],
           parcels: dict[str, Values], earned: set[int]) -> None:
    """Refuse what cannot be, for the whole order as it would be."""
    values, before = row.values, known or {}
    unknown = [sku for sku, _, _ in values.get("items", ()) if sku not in products]
    if unknown:
        return batch.refuse(row, "items", "unknown_sku", sku=unknown[0])
    status = values.get("status", before.get("status"))
    paid_at = values.get("paid_at", before.get("paid_at"))
    if status is not None and status not in UNPAID_STATUSES and paid_at is None:
        return batch.refuse(row, "paid_at", "needs", status=status)
    needed = NEEDS.get(str(status))
    if needed and values.get(needed, before.get(needed)) is None:
        return batch.refuse(row, needed, "needs", status=status)
    total = values.get("total_yuan", before.get("total_fen")) or 0
    refunded = values.get("refunded_yuan", before.get("refunded_fen", 0)) or 0
    if refunded > total:
        return batch.refuse(row, "refunded_yuan", "too_much")
    if refunded and values.get("refunded_at", before.get("refunded_at")) is None:
        return batch.refuse(row, "refunded_at", "needs", status="refunded_yuan")
    if known is not None and known["id"] in earned:
        number = values.get("customer_number")
        moved = "customer_number" in values and (customers[number]["id"] if number else None) != known["customer_id"]
        if moved or total != known["total_fen"] or status not in AFTER_EARNING:
            column = "customer_number" if moved else "total_yuan" if total != known["total_fen"] else "status"
            return batch.refuse(row, column, "has_earned")
        if refunded < known["refunded_fen"]:
            return batch.refuse(row, "refunded_yuan", "has_earned")
        if known["status"] == "returned" and status != "returned":
            return batch.refuse(row, "status", "has_earned")
    return _check_parcels(batch, row, known, parcels)


def _check_parcels(batch: Batch, row: Row, known: Values | None, parcels: dict[str, Values]) -> None:
    numbers = row.values.get("tracking_number") or ()
    seen: dict[str, str] = batch.memory.setdefault("tracking_number", {})
    for column in PARCEL:
        there = row.values.get(column)
        if there is not None and len(there) != len(numbers):
            return batch.refuse(row, column, "parcels", there=len(there), wanted=len(numbers))
    if None in numbers or len(set(numbers)) < len(numbers):
        return batch.refuse(row, "tracking_number", "twice_in_file")
    for number in numbers:
        owner = parcels.get(number)
        if owner is not None and (known is None or owner["order_id"] != known["id"]):
            return batch.refuse(row, "tracking_number", "taken")
        if seen.setdefault(number, row.key) != row.key:
            return batch.refuse(row, "tracking_number", "twice_in_file")
        stays = known is not None and any(each["tracking_number"] == number for each in known["parcels"])
        at = numbers.index(number)
        for column in ("carrier_zh", "shipped_at"):
            given = row.values.get(column)
            if not stays and (given is None or given[at] is None):
                return batch.refuse(row, column, "needed_when_new")
    return None


def _add_what_belongs(batch: Batch, stored: dict[str, Values]) -> None:
    """Give orders that are known their items and parcels, as rows would give them."""
    ids = [each["id"] for each in stored.values()]
    lines, parcels = defaultdict(list), defaultdict(list)
    for item in batch.session.execute(
            select(OrderItem.order_id, OrderItem.product_id, OrderItem.quantity, OrderItem.price_fen)
            .where(OrderItem.order_id.in_(ids))):
        lines[item.order_id].append((item.product_id, item.quantity, item.price_fen))
    for parcel in batch.session.execute(
            select(Shipment.__table__).where(Shipment.order_id.in_(ids)).order_by(Shipment.id)).mappings():
        parcels[parcel["order_id"]].append({name: parcel[name] for name in PARCEL})
    for each in stored.values():
        each["items"], each["parcels"] = sorted(lines[each["id"]]), parcels[each["id"]]


def _parcels(row: Row, known: Values | None) -> list[Values]:
    """The parcels that a row gives; what it does not say of one stays as it is."""
    numbers = row.values["tracking_number"] or ()
    there = {each["tracking_number"]: each for each in known["parcels"]} if known else {}
    given = {name: row.values[name] or () for name in PARCEL if name in row.values}
    found = []
    for parcel in zip_longest(*given.values()) if numbers else ():
        said = dict(zip(given, parcel, strict=True))
        whole = {name: None for name in PARCEL} | there.get(said["tracking_number"], {}) | said
        whole["carrier_zh"] = whole["carrier_zh"] or there.get(said["tracking_number"], {}).get("carrier_zh")
        whole["carrier_en"] = whole["carrier_en"] or whole["carrier_zh"]
        found.append(whole)
    return found


def _write(batch: Batch, decided: Decided) -> None:
    session = batch.session
    insert_all(session, Order, [{"number": row.key, **{name: values[name] for name in ORDER_COLUMNS}}
                                for row, values in decided.new])
    ids = {number: each["id"] for number, each in found_by(
        session, Order, Order.number, [row.key for row, _ in decided.new]).items()} if decided.new else {}
    update_all(session, Order, [whole for _, whole, _ in decided.changed], ORDER_COLUMNS)
    items = [(ids[row.key], values["items"]) for row, values in decided.new]
    items += [(whole["id"], whole["items"]) for _, whole, differs in decided.changed if "items" in differs]
    replaced = [whole["id"] for _, whole, differs in decided.changed if "items" in differs]
    _replace_items(batch, items, replaced)
    insert_all(session, Shipment, [{"order_id": ids[row.key], "events": [], **parcel}
                                   for row, values in decided.new for parcel in values["parcels"]])
    for _, whole, differs in decided.changed:
        if "parcels" in differs:
            _change_parcels(batch, whole["id"], whole["parcels"])
    settle_many(session, [*ids.values(), *(whole["id"] for _, whole, _ in decided.changed)], batch.now)
    returned = {ids[row.key]: values for row, values in decided.new if values["status"] == "returned"}
    returned |= {whole["id"]: whole for _, whole, differs in decided.changed if differs.get("status") == "returned"}
    _tell_returned(batch, returned)


def _tell_returned(batch: Batch, returned: dict[int, Values]) -> None:
    points = dict(batch.session.execute(
        select(PointsEntry.order_id, sa.func.sum(PointsEntry.points))
        .where(PointsEntry.order_id.in_(returned), PointsEntry.kind == "reverse").group_by(PointsEntry.order_id)).all())
    tell_shop(batch.session, [Event("order.returned", values["customer_id"], {
        "order_id": order_id, "points_taken_back": -int(points.get(order_id) or 0), "source": "import"})
        for order_id, values in returned.items() if values["customer_id"] is not None], batch.now)


def _replace_items(batch: Batch, items: Iterable[tuple[int, Sequence[Any]]], replaced: list[int]) -> None:
    if replaced:
        batch.session.execute(sa.delete(OrderItem).where(OrderItem.order_id.in_(replaced))
                              .execution_options(synchronize_session=False))
    insert_all(batch.session, OrderItem, [
        {"order_id": order_id, "product_id": product, "quantity": pieces, "price_fen": price}
        for order_id, found in items for product, pieces, price in found])


def _change_parcels(batch: Batch, order_id: int, parcels: list[Values]) -> None:
    """A parcel that a row leaves out is gone; one that it names keeps what happened to it."""
    kept = {each.tracking_number: each for each in batch.session.execute(
        select(Shipment).where(Shipment.order_id == order_id)).scalars()}
    for parcel in parcels:
        shipment = kept.pop(parcel["tracking_number"], None)
        if shipment is None:
            batch.session.add(Shipment(order_id=order_id, events=[], **parcel))
            continue
        for name in PARCEL:
            setattr(shipment, name, parcel[name])
    for shipment in kept.values():
        batch.session.delete(shipment)
    batch.session.flush()

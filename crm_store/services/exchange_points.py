"""Brings in points: opening balances and adjustments, as entries of the ledger, each once; never a balance."""
from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy import select

from crm_store.models import Customer, PointsEntry
from crm_store.queries.points import lots_of, points_balance
from crm_store.rules.exchange_files import Row
from crm_store.rules.points import expiry_of, take_oldest
from crm_store.services.exchange_rows import Batch, Values, customers_by_number, found_by
from crm_store.services.ledger import add_lot, add_taking, write_off_lapsed
from crm_store.services.settling import in_debt
from crm_store.services.shop_events import Event, tell_shop

IMPORTED = "import:points:"  # before the shop's key, so that no file can pose as an order or a redemption
KEY_LENGTH = 200  # of the column


def store_points(batch: Batch) -> None:
    """Add entries that are new. One that is known changes nothing, and is never changed."""
    customers = customers_by_number(batch, batch.rows, "customer_number")
    known = found_by(batch.session, PointsEntry, PointsEntry.idempotency_key, [
        form for row in batch.left(batch.rows) for form in (_key_of(row, customers), row.key)])
    fresh: dict[int, list[Row]] = defaultdict(list)
    for row in batch.left(batch.rows):
        customer = customers[row.values["customer_number"]]
        customer_id = customer["id"]
        entry = known.get(_key_of(row, customers)) or known.get(row.key)
        if entry is not None:
            theirs = entry["customer_id"] in (customer_id, customer["record_id"])
            if theirs and entry["points"] == row.values["points"]:
                batch.outcomes[row.line] = "unchanged"
            else:
                batch.refuse(row, "key", "key_reused")
        elif (row.values.get("at") or batch.now) > batch.now:
            batch.refuse(row, "at", "in_the_future")
        else:
            fresh[customer_id].append(replace(row, key=_key_of(row, customers)))
    if batch.write:
        _write(batch, fresh)
    else:
        _look(batch, fresh)


def own_key(stored: str, number: str, record_id: int) -> str:
    """The shop's own key of an entry."""
    if not stored.startswith(IMPORTED):
        return stored
    return stored.removeprefix(IMPORTED).replace(f"<{record_id}>", number)


def _key_of(row: Row, customers: Mapping[str, Values]) -> str:
    """What the ledger keeps of the shop's key. It is never changed, so the customer's number must not stand in it."""
    number = row.values["customer_number"]
    hidden = IMPORTED + row.key.replace(number, f"<{customers[number]['record_id']}>")
    return hidden if len(hidden) <= KEY_LENGTH else IMPORTED + row.key


def _look(batch: Batch, fresh: dict[int, list[Row]]) -> None:
    """Whether there is enough to take away, going through the file in its order."""
    balances: dict[int, int] = batch.memory.setdefault("balances", {})
    added: dict[int, int] = batch.memory.setdefault("added", defaultdict(int))
    for customer_id, rows in fresh.items():
        for row in rows:
            points = row.values["points"]
            if points < 0:
                there = balances.setdefault(customer_id, points_balance(batch.session, customer_id, batch.now))
                if there + added[customer_id] + points < 0:
                    batch.refuse(row, "points", "not_enough", there=max(0, there + added[customer_id]))
                    continue
            if points < 0 or _lasts(row, batch.now):
                added[customer_id] += points
            batch.outcomes[row.line] = "created"


def _write(batch: Batch, fresh: dict[int, list[Row]]) -> None:
    session, ids = batch.session, sorted(fresh)
    session.execute(select(Customer.id).where(Customer.id.in_(ids)).order_by(Customer.id)
                    .with_for_update(key_share=True)).all()
    write_off_lapsed(session, ids, batch.now)
    owing = in_debt(session, set(ids))
    simple = {each for each in ids if each not in owing and all(row.values["points"] > 0 for row in fresh[each])}
    _add_many(batch, [(customer_id, row) for customer_id in ids if customer_id in simple for row in fresh[customer_id]])
    for customer_id in ids:
        if customer_id not in simple:
            for row in fresh[customer_id]:
                _add_one(batch, customer_id, row)


def _add_many(batch: Batch, rows: list[tuple[int, Row]]) -> None:
    if not rows:
        return
    entries = [{"customer_id": customer_id, "kind": "grant", **_entry(row, batch.now)} for customer_id, row in rows]
    batch.session.execute(sa.insert(PointsEntry.__table__), entries)
    tell_shop(batch.session, [Event("points.earned", each["customer_id"], {"points": each["points"], "reason": "grant"})
                              for each in entries], batch.now)
    write_off_lapsed(batch.session, sorted({each["customer_id"] for each in entries
                                            if each["expires_at"] <= batch.now}), batch.now)
    batch.outcomes.update((row.line, "created") for _, row in rows)


def _add_one(batch: Batch, customer_id: int, row: Row) -> None:
    entry = _entry(row, batch.now)
    points = entry.pop("points")
    key = entry.pop("idempotency_key")
    if points > 0:
        add_lot(batch.session, customer_id, kind="grant", points=points, key=key, now=batch.now, **entry)
    else:
        takes, missing = take_oldest(lots_of(batch.session, customer_id), -points)
        if missing:
            batch.refuse(row, "points", "not_enough", there=-points - missing)
            return
        add_taking(batch.session, customer_id, kind="spend", points=-points, takes=takes, key=key, now=batch.now,
                   reason=entry["reason"])
    batch.outcomes[row.line] = "created"


def _entry(row: Row, now: datetime) -> dict[str, Any]:
    at = row.values.get("at") or now
    return {"points": row.values["points"], "idempotency_key": row.key, "reason": row.values.get("reason"),
            "created_at": at, "expires_at": row.values.get("expires_at") or expiry_of(at)}


def _lasts(row: Row, now: datetime) -> bool:
    return bool(_entry(row, now)["expires_at"] > now)

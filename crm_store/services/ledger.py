"""Writes entries of the points ledger: lots that come in, takings from lots, and the writing off of what has lapsed.

Whoever writes a customer's ledger first locks the customer's row and writes off what has lapsed, so entries stand in
the order in which things happened, whenever the clock of the service got round to them. Entries and allocations are
only ever added; the database refuses to change or delete them.
"""
from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy import select
from sqlalchemy.orm import Session

from crm_store.errors import NotFound
from crm_store.models import Customer, PointsAllocation, PointsEntry
from crm_store.queries.points import debts_of
from crm_store.rules.points import Take, expiry_of, repay
from crm_store.services.shop_events import Event, tell_shop


def lock_customer(session: Session, customer_id: int, *, living: bool = False) -> Customer:
    """The customer as they are now; nobody else writes their ledger until the unit of work ends.

    Args:
        session: the unit of work.
        customer_id: whose ledger.
        living: one whose data was erased does not count.

    Raises:
        NotFound: there is no such customer.
    """
    customer: Customer | None = session.execute(
        select(Customer).where(Customer.id == customer_id)
        .with_for_update(key_share=True).execution_options(populate_existing=True)
    ).scalar_one_or_none()
    if customer is None or (living and customer.erased_at is not None):
        raise NotFound(customer_id=customer_id)
    return customer


def entry_of(session: Session, key: str) -> PointsEntry | None:
    """The entry with this idempotency key."""
    found: PointsEntry | None = session.execute(
        select(PointsEntry).where(PointsEntry.idempotency_key == key)).scalar_one_or_none()
    return found


def add_lot(
    session: Session, customer_id: int, *, kind: str, points: int, key: str, created_at: datetime, now: datetime,
    expires_at: datetime | None = None, **about: Any,
) -> PointsEntry:
    """Write an entry above zero. It fills debts before anything else; what of it has lapsed by now is written off.

    Args:
        session: the unit of work; the customer is locked.
        customer_id: whose points.
        kind: of the entry.
        points: how many, above zero.
        key: the idempotency key.
        created_at: when they were earned.
        now: when this happens.
        expires_at: when they lapse, where that does not follow from ``created_at``.
        **about: other columns of the entry.
    """
    write_off_lapsed(session, [customer_id], now)
    debts = debts_of(session, customer_id)
    entry = PointsEntry(customer_id=customer_id, kind=kind, points=points, created_at=created_at, idempotency_key=key,
                        expires_at=expires_at or expiry_of(created_at), **about)
    session.add(entry)
    session.flush()
    session.add_all(PointsAllocation(entry_id=take.entry, lot_id=entry.id, points=take.points)
                    for take in repay(debts, points))
    session.flush()
    if entry.expires_at <= now:
        write_off_lapsed(session, [customer_id], now)
    tell_shop(session, [Event("points.earned", customer_id, _about(entry, points))], now)
    return entry


def add_taking(
    session: Session, customer_id: int, *, kind: str, points: int, takes: Iterable[Take], key: str, now: datetime,
    **about: Any,
) -> PointsEntry:
    """Write an entry below zero and which lots it takes from; ``points`` is above zero, the customer is locked."""
    entry = PointsEntry(customer_id=customer_id, kind=kind, points=-points, created_at=now, idempotency_key=key,
                        **about)
    session.add(entry)
    session.flush()
    session.add_all(PointsAllocation(entry_id=entry.id, lot_id=take.lot, points=take.points) for take in takes)
    session.flush()
    if kind == "spend":
        tell_shop(session, [Event("points.spent", customer_id, _about(entry, points))], now)
    return entry


def write_off_lapsed(session: Session, customer_ids: Sequence[int], now: datetime) -> int:
    """Write off what has lapsed of these customers, who are locked; how many points.

    Each entry bears the time at which its points lapsed, not that of the writing.
    """
    taken = taken_of_lot()
    lapsed = session.execute(
        select(PointsEntry.id, PointsEntry.customer_id, PointsEntry.points - taken, PointsEntry.expires_at)
        .where(PointsEntry.customer_id.in_(customer_ids), PointsEntry.points > 0, PointsEntry.expires_at <= now,
               PointsEntry.points > taken)
        .order_by(PointsEntry.customer_id, PointsEntry.expires_at, PointsEntry.id)).all()
    if not lapsed:
        return 0
    keys = {f"expire:{lot}": (lot, int(left)) for lot, _, left, _ in lapsed}
    session.execute(sa.insert(PointsEntry.__table__), [
        {"customer_id": customer_id, "kind": "expire", "points": -int(left), "created_at": expires_at,
         "idempotency_key": f"expire:{lot}"} for lot, customer_id, left, expires_at in lapsed])
    written = session.execute(
        select(PointsEntry.id, PointsEntry.idempotency_key).where(PointsEntry.idempotency_key.in_(keys))).all()
    session.execute(sa.insert(PointsAllocation.__table__), [
        {"entry_id": entry_id, "lot_id": keys[key][0], "points": keys[key][1]} for entry_id, key in written])
    return sum(left for _, left in keys.values())


def _about(entry: PointsEntry, points: int) -> dict[str, Any]:
    """What the shop is told of an entry."""
    return {"points": points, "reason": entry.kind, **({"order_id": entry.order_id} if entry.order_id else {})}


def taken_of_lot() -> Any:
    """SQL: how much of the lot ``PointsEntry`` has been taken."""
    return (select(sa.func.coalesce(sa.func.sum(PointsAllocation.points), 0))
            .where(PointsAllocation.lot_id == PointsEntry.id).correlate(PointsEntry).scalar_subquery())

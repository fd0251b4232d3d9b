"""Brings ledger and tiers in line with many orders at once: what :func:`points.settle_order` does, in a few statements.

Only what is simple is done here: lots of customers who owe nothing. Returns, refunds and the lots of customers with a
debt go through the verbs of :mod:`crm_store.services.points`, one by one. Both ways give the same entries; a test holds
them together.
"""
from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy import select
from sqlalchemy.orm import Session

from crm_store.models import AuditEntry, Customer, Order, PointsAllocation, PointsEntry, Tier
from crm_store.queries.points import SPENT_STATUSES, tiers
from crm_store.rules.points import expiry_of, points_for
from crm_store.rules.tiers import SPEND_PERIOD, raised
from crm_store.services.ledger import write_off_lapsed
from crm_store.services.points import earn_points_for_order, take_back_points_for_return
from crm_store.services.shop_events import Event, tell_shop
from crm_store.services.tiers import change_since, raise_tier

AT_ONCE = 1000


@dataclass(frozen=True)
class _Spending:
    """What decides the tiers of some customers: their orders and how their tiers changed."""

    orders: dict[int, list[Any]]
    changes: dict[int, list[tuple[datetime, str]]]
    ladder: Sequence[Tier]

    def fen(self, customer_id: int, at: datetime) -> int:
        """As :func:`crm_store.queries.points.spend_of`."""
        return sum(_kept_fen(order, at) for order in self.orders[customer_id] if _counts(order, at))

    def tier(self, customer: Customer, at: datetime) -> Tier:
        """As :func:`crm_store.services.tiers.tier_at`."""
        later = [code for since, code in self.changes[customer.id] if since > at]
        code = later[0] if later else customer.tier_code
        held = next((tier for tier in self.ladder if tier.code == code), self.ladder[0])
        return raised(held, self.fen(customer.id, at), self.ladder)


def settle_many(session: Session, order_ids: Sequence[int], now: datetime) -> None:
    """Settle these orders; doing it again changes nothing.

    Args:
        session: the unit of work.
        order_ids: orders that were paid, completed, returned or refunded, or may have been.
        now: when.
    """
    orders = _ids_in(session, Order, Order.id, order_ids, Order.customer_id.is_not(None))
    if not orders:
        return
    customers = {each.id: each for each in _ids_in(
        session, Customer, Customer.id, {order.customer_id for order in orders}, lock=True)}
    write_off_lapsed(session, sorted(customers), now)
    spending = _spending(session, sorted(customers))
    credited = set(_column_in(session, PointsEntry.order_id, PointsEntry.order_id, order_ids,
                              PointsEntry.kind == "earn"))
    due = [order for order in orders if order.status == "completed" and order.id not in credited]
    owing = in_debt(session, {order.customer_id for order in due})
    due.sort(key=lambda order: (order.customer_id, order.completed_at or now, order.id))
    lots = [_lot(order, spending.tier(customers[order.customer_id], min(order.completed_at or now, now)), now)
            for order in due if order.customer_id not in owing]
    _add_lots(session, [lot for lot in lots if lot["points"] > 0], now)
    for order in due:
        if order.customer_id in owing:
            earn_points_for_order(session, order, now)
    for customer in sorted(customers.values(), key=lambda each: each.id):
        if spending.tier(customer, now).rank > _rank(spending.ladder, customer.tier_code):
            raise_tier(session, customer, now)
    for order in orders:
        if order.status == "returned" or order.refunded_fen:
            take_back_points_for_return(session, order, now)


def _lot(order: Order, tier: Tier, now: datetime) -> dict[str, Any]:
    earned_at = min(order.completed_at or now, now)
    return {"customer_id": order.customer_id, "kind": "earn", "points": points_for(order.total_fen, tier.multiplier),
            "order_id": order.id, "expires_at": expiry_of(earned_at), "created_at": earned_at,
            "idempotency_key": f"earn:order:{order.id}"}


def _add_lots(session: Session, lots: list[dict[str, Any]], now: datetime) -> None:
    if not lots:
        return
    session.execute(sa.insert(PointsEntry.__table__), lots)
    tell_shop(session, [Event("points.earned", lot["customer_id"], {"points": lot["points"], "reason": "earn",
                                                                    "order_id": lot["order_id"]}) for lot in lots], now)
    lapsed = sorted({lot["customer_id"] for lot in lots if lot["expires_at"] <= now})
    if lapsed:
        write_off_lapsed(session, lapsed, now)


def _spending(session: Session, customer_ids: list[int]) -> _Spending:
    orders: dict[int, list[Any]] = defaultdict(list)
    changes: dict[int, list[tuple[datetime, str]]] = defaultdict(list)
    for start in range(0, len(customer_ids), AT_ONCE):
        ids = customer_ids[start:start + AT_ONCE]
        for row in session.execute(
                select(Order.customer_id, Order.status, Order.paid_at, Order.returned_at, Order.refunded_at,
                       Order.refunded_fen, Order.total_fen)
                .where(Order.customer_id.in_(ids), Order.paid_at.is_not(None))):
            orders[row.customer_id].append(row)
        for key, created_at, data in session.execute(
                select(AuditEntry.object_id, AuditEntry.created_at, AuditEntry.data)
                .where(AuditEntry.object_kind == "customer", AuditEntry.object_id.in_([str(each) for each in ids]),
                       AuditEntry.action == "set_tier").order_by(AuditEntry.id)):
            changes[int(key)].append((change_since(created_at, data), data["from"]))
    return _Spending(orders, changes, tiers(session))


def _counts(order: Any, at: datetime) -> bool:
    returned_later = order.status == "returned" and order.returned_at is not None and order.returned_at > at
    return at - SPEND_PERIOD < order.paid_at <= at and (order.status in SPENT_STATUSES or returned_later)


def _kept_fen(order: Any, at: datetime) -> int:
    if order.refunded_at is None or order.refunded_at > at:
        return int(order.total_fen)
    return int(order.total_fen - order.refunded_fen) if order.refunded_fen > 0 else 0


def in_debt(session: Session, customer_ids: set[int]) -> set[int]:
    """Those of the customers from whom returns still have points to take back."""
    taken = (select(sa.func.coalesce(sa.func.sum(PointsAllocation.points), 0))
             .where(PointsAllocation.entry_id == PointsEntry.id).correlate(PointsEntry).scalar_subquery())
    return set(_column_in(session, PointsEntry.customer_id, PointsEntry.customer_id, customer_ids,
                          PointsEntry.kind == "reverse", PointsEntry.points < 0, -PointsEntry.points > taken))


def _rank(ladder: Sequence[Tier], code: str) -> int:
    return next((int(tier.rank) for tier in ladder if tier.code == code), 0)


def _ids_in(session: Session, model: Any, column: Any, wanted: Any, *conditions: Any, lock: bool = False) -> list[Any]:
    ids, found = sorted(set(wanted)), []
    for start in range(0, len(ids), AT_ONCE):
        query = (select(model).where(column.in_(ids[start:start + AT_ONCE]), *conditions).order_by(model.id)
                 .execution_options(populate_existing=True))
        found += session.execute(query.with_for_update(key_share=True) if lock else query).scalars().all()
    return found


def _column_in(session: Session, selected: Any, column: Any, wanted: Any, *conditions: Any) -> list[Any]:
    ids, found = sorted(set(wanted)), []
    for start in range(0, len(ids), AT_ONCE):
        found += session.execute(
            select(selected).where(column.in_(ids[start:start + AT_ONCE]), *conditions)).scalars().all()
    return found

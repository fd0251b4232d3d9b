"""A shop to test points, tiers, orders and linking on: customers, orders, rewards on the small desk."""
from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from itertools import count
from typing import Any

import sqlalchemy as sa
from sqlalchemy import select

from crm_store.models import AuditEntry, Customer, Order, PointsAllocation, PointsEntry, Reward, Tier
from crm_store.services.points import (
    earn_points_for_order,
    expire_points,
    grant_points,
    points_balance,
    redeem_reward,
    take_back_points_for_return,
)
from tests.crm.conftest import Desk

MULTIPLIERS = {"silver": "1", "gold": "1.2", "platinum": "1.5"}
PAID = ("paid", "packed", "shipped", "delivered", "completed", "returning", "returned", "cancelled")


class Loyalty:
    """The desk's store with the multipliers of the demo shop, and short ways to buy, return and redeem."""

    def __init__(self, desk: Desk) -> None:
        self.store, self.now, self.do, self.ask, self.all = desk.store, desk.now, desk.do, desk.ask, desk.all
        self.desk = desk
        self._count = count(1)
        with self.store.write() as session:
            for code, multiplier in MULTIPLIERS.items():
                session.execute(sa.update(Tier).where(Tier.code == code).values(multiplier=multiplier))

    def customer(self, tier: str = "silver", **more: Any) -> int:
        number = next(self._count)
        with self.store.write() as session:
            customer = Customer(**{
                "number": f"T{number}", "name": f"客户{number}", "tier_code": tier,
                "created_at": self.now - timedelta(days=900), "phone": f"139{number:08}", **more})
            session.add(customer)
            session.flush()
            return int(customer.id)

    def order(self, customer: int | None, fen: int = 10_000, *, at: datetime | None = None, status: str = "completed",
              **more: Any) -> int:
        placed_at, number = at or self.now, next(self._count)
        with self.store.write() as session:
            order = Order(**{
                "number": f"WL20261101{number:03}", "customer_id": customer, "status": status, "phone": "13800138000",
                "address": "-", "total_fen": fen, "placed_at": placed_at,
                "paid_at": placed_at if status in PAID else None,
                "completed_at": placed_at if status == "completed" else None, **more})
            session.add(order)
            session.flush()
            return int(order.id)

    def reward(self, cost: int = 100, stock: int = 100, *, tier: str = "silver", active: bool = True) -> int:
        code = f"R{next(self._count)}"
        with self.store.write() as session:
            reward = Reward(code=code, name_zh=code, name_en=code, cost_points=cost, stock=stock, minimum_tier=tier,
                            kind="coupon", active=active)
            session.add(reward)
            session.flush()
            return int(reward.id)

    def earn(self, customer: int, fen: int, at: datetime | None = None) -> PointsEntry:
        return self.credit(self.order(customer, fen, at=at), at or self.now)

    def credit(self, order_id: int, at: datetime) -> Any:
        return self.do(lambda session: earn_points_for_order(session, session.get(Order, order_id), at))

    def give_back(self, order_id: int, at: datetime) -> Any:
        def work(session: Any) -> Any:
            order = session.get(Order, order_id)
            order.status, order.returned_at = "returned", at
            session.flush()
            return take_back_points_for_return(session, order, at)

        return self.do(work)

    def grant(self, customer: int, points: int, at: datetime | None = None) -> PointsEntry:
        entry: PointsEntry = self.do(grant_points, customer_id=customer, points=points, reason="-",
                                     idempotency_key=f"g{next(self._count)}", now=at or self.now)
        return entry

    def redeem(self, customer: int, reward: int, key: str | None = None, at: datetime | None = None) -> Any:
        return self.do(redeem_reward, customer_id=customer, reward_id=reward, now=at or self.now,
                       idempotency_key=key or f"k{next(self._count)}")

    def expire(self, at: datetime) -> Any:
        return self.do(expire_points, at)[0]

    def balance(self, customer: int, at: datetime | None = None) -> int:
        return int(self.ask(points_balance, customer, at or self.now))

    def tier(self, customer: int) -> str:
        (found,) = self.all(Customer, Customer.id == customer)
        return str(found.tier_code)

    def audit(self, action: str) -> list[dict[str, Any]]:
        return [entry.data for entry in self.all(AuditEntry, AuditEntry.action == action)]

    def check_ledger(self, customer: int, at: datetime | None = None) -> None:
        """What holds of every ledger, whatever happened."""
        entries = self.all(PointsEntry, PointsEntry.customer_id == customer)
        with self.store.read() as session:
            rows: list[Any] = session.execute(select(PointsAllocation).where(
                PointsAllocation.entry_id.in_([entry.id for entry in entries]))).scalars().all()
            taken = [(row.entry_id, row.lot_id, row.points) for row in rows]
        by_id = {entry.id: entry for entry in entries}
        left = {entry.id: entry.points for entry in entries if entry.points > 0}
        owed = {entry.id: -entry.points for entry in entries if entry.points < 0}
        for entry_id, lot_id, points in taken:
            if lot_id in by_id:
                left[lot_id] -= points
                owed[entry_id] -= points
        assert all(rest >= 0 for rest in [*left.values(), *owed.values()])
        assert all(not rest or by_id[key].kind == "reverse" for key, rest in owed.items()), "only returns leave debts"
        assert sum(entry.points for entry in entries) == sum(left.values()) - sum(owed.values())
        assert not (sum(left.values()) and sum(owed.values())), "points to spend and a debt at the same time"
        at = at or self.now
        lapsed = sum(rest for key, rest in left.items() if by_id[key].expires_at and by_id[key].expires_at <= at)
        assert self.balance(customer, at) == sum(entry.points for entry in entries) - lapsed


def sorted_kinds(entries: list[PointsEntry]) -> list[tuple[str, int]]:
    """Kind and points of entries, in the order of the ledger."""
    return [(entry.kind, entry.points) for entry in sorted(entries, key=lambda entry: entry.id)]


def outcomes(results: list[Any], kind: Callable[[Any], bool]) -> int:
    """How many results are of a kind."""
    return sum(1 for result in results if kind(result))

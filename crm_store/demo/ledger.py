"""Keeps the demo shop's points book in memory, by the same rules as the services, and gives its rows to insert."""
from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from datetime import datetime
from typing import Any

from crm_store.rules.points import Debt, Lot, Take, balance_of, expiry_of, lapsed, repay, take_back, take_oldest

Row = dict[str, Any]


class PointsBook:
    """Every customer's ledger. What happens must be told in the order in which it happened."""

    def __init__(self, first_id: int) -> None:
        """Entries are numbered from ``first_id``."""
        self.entries: list[Row] = []
        self.allocations: list[Row] = []
        self._next_id = first_id
        self._lots: dict[int, dict[int, Lot]] = defaultdict(dict)
        self._debts: dict[int, dict[int, Debt]] = defaultdict(dict)
        self._earned: dict[int, tuple[int, int]] = {}  # order: lot, points
        self._lapsed: dict[int, int] = defaultdict(int)  # lot: points

    def balance(self, customer_id: int, at: datetime) -> int:
        """What a customer has at a time."""
        return balance_of(self._lots[customer_id].values(), self._debts[customer_id].values(), at)

    def give(self, customer_id: int, kind: str, points: int, at: datetime, key: str, *, order_id: int | None = None,
             reason: str | None = None) -> None:
        """Points come in: what lapsed before goes first, and debts are filled."""
        if points <= 0:
            return
        self.write_off(customer_id, at)
        expires_at = expiry_of(at)
        lot = self._write(customer_id, kind, points, at, key, order_id=order_id, reason=reason, expires_at=expires_at)
        self._lots[customer_id][lot] = Lot(lot, points, expires_at)
        if order_id is not None:
            self._earned[order_id] = (lot, points)
        for take in repay(self._debts[customer_id].values(), points):
            assert take.entry is not None
            debt = self._debts[customer_id][take.entry]
            self._debts[customer_id][take.entry] = replace(debt, left=debt.left - take.points)
            self._allocate(customer_id, take.entry, replace(take, lot=lot))

    def spend(self, customer_id: int, points: int, at: datetime, key: str, reward_id: int) -> int:
        """Spend points on a reward.

        Returns:
            The entry's id.

        Raises:
            ValueError: the balance is too small.
        """
        if self.balance(customer_id, at) < points:
            raise ValueError("the balance is too small")
        self.write_off(customer_id, at)
        takes, _missing = take_oldest(self._lots[customer_id].values(), points)
        return self._take(customer_id, "spend", points, at, key, takes, reward_id=reward_id)

    def take_back(self, customer_id: int, order_id: int, at: datetime) -> None:
        """Take back what an order earned and has not lapsed."""
        if order_id not in self._earned:
            return
        self.write_off(customer_id, at)
        lot, points = self._earned[order_id]
        points -= self._lapsed[lot]
        if points > 0:
            takes, debt = take_back(self._lots[customer_id].values(), lot, points)
            key = f"reverse:order:{order_id}"
            entry = self._take(customer_id, "reverse", points, at, key, takes, order_id=order_id)
            self._debts[customer_id][entry] = Debt(entry, debt)

    def write_off(self, customer_id: int, at: datetime) -> None:
        """Write off what has lapsed by a time."""
        for lot in lapsed(self._lots[customer_id].values(), at):
            assert lot.expires_at is not None
            self._lapsed[lot.key] += lot.left
            self._take(customer_id, "expire", lot.left, lot.expires_at, f"expire:{lot.key}",
                       [Take(lot.left, lot=lot.key)])

    def _take(self, customer_id: int, kind: str, points: int, at: datetime, key: str, takes: list[Take],
              **about: Any) -> int:
        entry = self._write(customer_id, kind, -points, at, key, **about)
        for take in takes:
            self._allocate(customer_id, entry, take)
        return entry

    def _allocate(self, customer_id: int, entry: int, take: Take) -> None:
        assert take.lot is not None
        self.allocations.append({"entry_id": entry, "lot_id": take.lot, "points": take.points})
        lot = self._lots[customer_id][take.lot]
        self._lots[customer_id][take.lot] = replace(lot, left=lot.left - take.points)

    def _write(self, customer_id: int, kind: str, points: int, at: datetime, key: str, **about: Any) -> int:
        row = {"id": self._next_id, "customer_id": customer_id, "kind": kind, "points": points, "created_at": at,
               "idempotency_key": key, "order_id": None, "reward_id": None, "reason": None, "expires_at": None}
        self.entries.append(row | about)
        self._next_id += 1
        return self._next_id - 1

"""Any course of events keeps the ledger right: earning, spending, cancelling, returning, lapsing, whoever looks when.

Two customers do the same; what lapses is written off at once for one of them and for the other only when they do
something or at night. Their ledgers must not differ in the end.
"""
from __future__ import annotations

from collections import Counter
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import select

from crm_store.errors import InsufficientPoints, KeyReused, OutOfStock
from crm_store.models import Order, PointsAllocation, PointsEntry, Redemption, Reward
from crm_store.services.ledger import lock_customer, write_off_lapsed
from crm_store.services.nightly import run_nightly
from crm_store.services.points import grant_points, settle_order
from crm_store.services.redemptions import cancel_redemption, use_code
from tests.crm.conftest import Desk
from tests.crm.loyalty import Loyalty

DAY = timedelta(days=1)
COSTS, STOCK = (40, 150, 450), 4
picks = st.integers(0, 99)
waits = st.sampled_from((0, 0, 45, 380)).map(lambda days: days * DAY)


class TwoLedgers(RuleBasedStateMachine):
    """What may happen to two customers, to both alike; ``prompt`` is looked at as soon as something lapses."""

    def __init__(self, shop: Loyalty) -> None:
        super().__init__()
        self.shop, self.at = shop, shop.now
        self.prompt, self.late = self.customers = shop.customer(), shop.customer()
        self.rewards = {cost: [shop.reward(cost, STOCK) for _ in self.customers] for cost in COSTS}
        self.orders: list[list[int]] = []
        self.wishes: list[tuple[str, int]] = []
        self.codes: list[list[str]] = []
        self.grants: list[tuple[int, datetime]] = []
        self.seen: dict[Any, Any] = {}

    @initialize(fen=st.integers(30_000, 90_000), cancelled=st.booleans())
    def a_first_order(self, fen: int, cancelled: bool) -> None:
        self.an_order_completes(fen, 0 * DAY)
        if cancelled:
            self.points_are_spent(COSTS[1])
            self.cancel(0)

    @rule()
    def the_month_ends(self) -> None:
        """To the very moment at which the next points lapse."""
        coming = [entry.expires_at for entry in self.entries(self.prompt)
                  if entry.points > 0 and entry.expires_at > self.at]
        self.at = min(coming, default=self.at)
        before = self.balances()
        self.write_off(self.prompt)
        assert self.balances() == before, "writing off changes no balance"

    @rule(fen=st.integers(50, 120_000), late=waits)
    def an_order_completes(self, fen: int, late: timedelta) -> None:
        self.orders.append([self.shop.order(customer, fen, at=self.at) for customer in self.customers])
        self.at += late
        self.settle(self.orders[-1])

    @rule(fen=st.integers(100, 400))
    def points_are_granted(self, fen: int) -> None:
        before = self.balances()
        self.grants.append((fen, self.at))
        self.grant(len(self.grants) - 1)
        assert self.balances() == [each + fen for each in before]

    @rule(cost=st.sampled_from(COSTS))
    def points_are_spent(self, cost: int) -> None:
        before, stock = self.balances()[0], self.stock()[self.rewards[cost][0]]
        key = f"wish-{len(self.wishes)}"
        if stock == 0 or before < cost:
            for customer, reward in zip(self.customers, self.rewards[cost], strict=True):
                with pytest.raises(OutOfStock if stock == 0 else InsufficientPoints):
                    self.shop.redeem(customer, reward, key, self.at)
            assert self.balances()[0] == before
            return
        self.wishes.append((key, cost))
        self.codes.append([redemption.code for redemption in self.redeem(len(self.wishes) - 1)])
        assert self.balances()[0] == before - cost >= 0

    @precondition(lambda self: self.codes)
    @rule(pick=picks, wait=waits)
    def a_redemption_is_cancelled_or_used(self, pick: int, wait: timedelta) -> None:
        self.at += wait
        at = pick % len(self.codes)
        if pick >= 80:
            for customer, code in zip(self.customers, self.codes[at], strict=True):
                self.shop.do(use_code, customer_id=customer, code=code, now=self.at)
        (before, _), cost = self.balances(), self.wishes[at][1]
        self.cancel(at)
        assert before <= self.balances()[0] <= before + cost

    @precondition(lambda self: self.orders)
    @rule(pick=picks, percent=st.sampled_from((1, 33, 50, 99, 100, 100)), wait=waits)
    def an_order_comes_back(self, pick: int, percent: int, wait: timedelta) -> None:
        self.at += wait
        self.come_back(pick, percent)

    @precondition(lambda self: self.orders or self.grants)
    @rule(pick=picks)
    def everything_is_told_again(self, pick: int) -> None:
        before = self.rows()
        if self.orders:
            self.settle(self.orders[pick % len(self.orders)])
        if self.grants:
            self.grant(pick % len(self.grants))
        if self.wishes:
            self.redeem(pick % len(self.wishes))
            with pytest.raises(KeyReused):
                self.shop.redeem(self.prompt, self.rewards[self.wishes[0][1]][0] + 10**6, self.wishes[0][0], self.at)
        assert self.without_lapses(self.rows()) == self.without_lapses(before)

    @rule()
    def the_night_passes(self) -> None:
        before = self.balances()
        assert run_nightly(self.shop.store, lambda: self.at, again=True) is not None
        assert self.balances() == before, "what was told is settled; the night only writes off"
        rows = self.rows()
        assert run_nightly(self.shop.store, lambda: self.at, again=True) is not None
        assert self.rows() == rows, "a second run finds nothing to do"

    @invariant()
    def the_books_are_right(self) -> None:
        rows = self.rows()
        assert {key: rows.get(key) for key in self.seen} == self.seen, "an entry was changed or deleted"
        self.seen = rows
        for customer in self.customers:
            self.shop.check_ledger(customer, self.at)
        assert self.balances()[0] == self.balances()[1]
        self.check_stock()
        for customer in self.customers:
            self.check_lots(customer, rows)

    def teardown(self) -> None:
        run_nightly(self.shop.store, lambda: self.at, again=True)
        told = [Counter((entry.kind, entry.points, entry.created_at, entry.expires_at)
                        for entry in self.entries(customer)) for customer in self.customers]
        assert told[0] == told[1], "it matters when somebody looks"

    def come_back(self, pick: int, percent: int) -> None:
        before, pair = self.balances(), self.orders[pick % len(self.orders)]

        def change(session: Any) -> None:
            for key in pair:
                order = session.get(Order, key)
                if percent == 100:
                    order.status, order.returned_at = "returned", order.returned_at or self.at
                else:
                    order.refunded_fen = max(order.refunded_fen, order.total_fen * percent // 100)
                    order.refunded_at = self.at

        self.shop.do(change)
        self.settle(pair)
        assert self.balances()[0] <= before[0]

    def settle(self, pair: list[int]) -> None:
        for key in pair:
            self.shop.do(lambda session, key=key: settle_order(session, session.get(Order, key), self.at))

    def redeem(self, wish: int) -> list[Redemption]:
        key, cost = self.wishes[wish]
        return [self.shop.redeem(customer, reward, key, self.at)
                for customer, reward in zip(self.customers, self.rewards[cost], strict=True)]

    def grant(self, number: int) -> None:
        for customer in self.customers:
            self.shop.do(grant_points, customer_id=customer, points=self.grants[number][0], reason="-",
                         idempotency_key=f"grant-{number}", now=self.at)

    def cancel(self, at: int) -> None:
        for customer, code in zip(self.customers, self.codes[at], strict=True):
            self.shop.do(cancel_redemption, customer_id=customer, code=code, now=self.at)

    def write_off(self, customer: int) -> None:
        def work(session: Any) -> None:
            lock_customer(session, customer)
            write_off_lapsed(session, [customer], self.at)

        self.shop.do(work)

    def balances(self) -> list[int]:
        return [self.shop.balance(customer, self.at) for customer in self.customers]

    def stock(self) -> dict[int, int]:
        ids = [reward for pair in self.rewards.values() for reward in pair]
        return {reward.id: reward.stock for reward in self.shop.all(Reward, Reward.id.in_(ids))}

    def entries(self, customer: int) -> list[PointsEntry]:
        return self.shop.all(PointsEntry, PointsEntry.customer_id == customer)

    def rows(self) -> dict[Any, Any]:
        """Every entry and allocation of both, by its key."""
        with self.shop.store.read() as session:
            entries = session.execute(select(PointsEntry.__table__)
                                      .where(PointsEntry.customer_id.in_(self.customers))).all()
            of = [entry.id for entry in entries]
            allocations = session.execute(select(PointsAllocation.__table__)
                                          .where(PointsAllocation.entry_id.in_(of))).all()
        return {entry.id: tuple(entry) for entry in entries} | {
            (each.entry_id, each.lot_id): tuple(each) for each in allocations}

    def without_lapses(self, rows: dict[Any, Any]) -> set[Any]:
        return {key for key, row in rows.items() if isinstance(key, int) and "expire" not in row}

    def check_stock(self) -> None:
        taken = Counter(redemption.reward_id for redemption in self.shop.all(
            Redemption, Redemption.customer_id.in_(self.customers), Redemption.cancelled_at.is_(None)))
        assert all(0 <= stock == STOCK - taken[reward] for reward, stock in self.stock().items())

    def check_lots(self, customer: int, rows: dict[Any, Any]) -> None:
        """Points come back with their old expiry, and of an order no more goes than it brought."""
        entries = {entry.id: entry for entry in self.entries(customer)}
        for entry in entries.values():
            if entry.origin_id is not None:
                assert entry.expires_at == entries[entry.origin_id].expires_at
        gone: Counter[int] = Counter()
        for key, row in rows.items():
            if isinstance(key, tuple) and key[1] in entries and entries[key[0]].kind == "expire":
                gone[entries[key[1]].origin_id or key[1]] += row[2]
        for lot in entries.values():
            if lot.kind == "earn":
                back = -sum(entry.points for entry in entries.values()
                            if entry.kind == "reverse" and entry.order_id == lot.order_id)
                assert back + gone[lot.id] <= lot.points, "more was taken back than the order had brought"


def test_any_course_of_events_keeps_both_ledgers_right_and_alike(desk: Desk) -> None:
    examples = 12 if desk.store.engine.dialect.name == "sqlite" else 2
    shop = Loyalty(desk)
    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        lambda: TwoLedgers(shop),
        settings=settings(max_examples=examples, stateful_step_count=16, deadline=None, derandomize=True,
                          suppress_health_check=list(HealthCheck), phases=[Phase.generate]))

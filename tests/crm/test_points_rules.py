"""The pure rules of points: what an order earns, when points lapse, what is taken from which lot."""
from __future__ import annotations

from datetime import datetime, timedelta, timezone
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crm_store.rules.points import (
    SHOP_ZONE,
    Debt,
    Lot,
    balance_of,
    expiry_of,
    lapsed,
    oldest_first,
    points_for,
    repay,
    take_back,
    take_oldest,
)

START = datetime(2026, 1, 1, tzinfo=timezone.utc)
moments = st.integers(0, 20 * 365 * 24 * 3600).map(lambda seconds: START + timedelta(seconds=seconds))
lots = st.lists(st.tuples(st.integers(0, 500), st.one_of(st.none(), st.integers(-30, 400))), max_size=8).map(
    lambda made: [Lot(key, left, None if days is None else START + timedelta(days=days))
                  for key, (left, days) in enumerate(made, 1)])


@pytest.mark.parametrize(("fen", "multiplier", "points"), [
    (69900, 1, 699), (69999, 1, 699), (99, 1, 0), (0, 1.5, 0), (69900, Decimal("1.20"), 838), (69900, 1.2, 838),
    (10000, 1.5, 150), (100, 1.2, 1), (500, 1.2, 6),
])
def test_an_order_earns_a_point_a_yuan_times_the_multiplier_rounded_down(
    fen: int, multiplier: float, points: int,
) -> None:
    assert points_for(fen, multiplier) == points


@pytest.mark.parametrize(("earned", "lapses"), [
    ("2026-03-01T00:00+08:00", "2027-04-01T00:00+08:00"), ("2026-03-31T23:59+08:00", "2027-04-01T00:00+08:00"),
    ("2026-12-31T23:59+08:00", "2028-01-01T00:00+08:00"), ("2026-01-15T12:00+08:00", "2027-02-01T00:00+08:00"),
    ("2026-02-28T16:00+00:00", "2027-04-01T00:00+08:00"),  # the first of March in the shop's time zone
    ("2024-02-29T12:00+08:00", "2025-03-01T00:00+08:00"),
])
def test_points_lapse_when_the_twelfth_month_after_ends_by_the_shops_calendar(earned: str, lapses: str) -> None:
    at = expiry_of(datetime.fromisoformat(earned))
    assert at == datetime.fromisoformat(lapses)
    assert at.tzinfo is timezone.utc


@given(moments)
def test_points_live_twelve_to_thirteen_months_and_lapse_at_a_month_end(earned_at: datetime) -> None:
    lapses_at = expiry_of(earned_at)
    local = lapses_at.astimezone(SHOP_ZONE)
    assert (local.day, local.hour, local.minute) == (1, 0, 0)
    assert timedelta(days=365) <= lapses_at - earned_at <= timedelta(days=366 + 31)


@given(lots, st.integers(0, 3000))
def test_taking_uses_up_the_oldest_lots_first_and_says_what_was_missing(held: list[Lot], points: int) -> None:
    takes, missing = take_oldest(held, points)
    assert sum(take.points for take in takes) + missing == points
    assert missing == max(0, points - sum(lot.left for lot in held))
    in_order = oldest_first(held)
    assert [take.lot for take in takes] == [lot.key for lot in in_order[:len(takes)]]
    for take, lot in zip(takes[:-1], in_order, strict=False):
        assert take.points == lot.left, "a lot was left half used before the next was touched"
    assert all(take.points > 0 for take in takes)


@given(lots.filter(bool), st.data())
def test_a_return_takes_from_its_own_lot_first_and_leaves_a_debt_only_when_all_lots_are_empty(
    held: list[Lot], data: st.DataObject,
) -> None:
    own = data.draw(st.sampled_from(held))
    points = data.draw(st.integers(1, 3000))
    takes, debt = take_back(held, own.key, points)
    assert sum(take.points for take in takes) + debt == points
    assert sum(take.points for take in takes if take.lot == own.key) == min(own.left, points)
    assert debt == max(0, points - sum(lot.left for lot in held))


@given(st.lists(st.integers(1, 300), max_size=5), st.integers(0, 1000))
def test_new_points_fill_the_oldest_debts_first(owed: list[int], points: int) -> None:
    debts = [Debt(key, left) for key, left in enumerate(owed, 1)]
    takes = repay(debts, points)
    assert sum(take.points for take in takes) == min(points, sum(owed))
    assert [take.entry for take in takes] == [debt.key for debt in debts[:len(takes)]]


@given(lots, st.integers(0, 400))
def test_what_has_lapsed_does_not_count(held: list[Lot], days: int) -> None:
    now = START + timedelta(days=days)
    alive = [lot for lot in held if lot.expires_at is None or lot.expires_at > now]
    assert balance_of(held, [], now) == sum(lot.left for lot in alive)
    assert {lot.key for lot in lapsed(held, now)} == {lot.key for lot in held if lot.left and lot not in alive}

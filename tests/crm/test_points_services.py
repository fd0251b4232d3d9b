"""The points ledger in the store: earning, returning, redeeming, lapsing; by property and by many at once."""
from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from crm_store.errors import InsufficientPoints, NotFound, OutOfStock, TierTooLow, WrongState
from crm_store.models import Order, PointsEntry, Redemption, Reward
from crm_store.services.points import (
    earn_points_for_order,
    grant_points,
    points_expiring,
    points_history,
    rewards_for,
    take_back_points_for_return,
)
from tests.crm.conftest import Desk
from tests.crm.loyalty import Loyalty, outcomes, sorted_kinds

DAY = timedelta(days=1)
THREADS = 32


@pytest.fixture
def loyalty(desk: Desk) -> Loyalty:
    return Loyalty(desk)


@pytest.fixture
def sqlite_loyalty(sqlite_desk: Desk) -> Loyalty:
    return Loyalty(sqlite_desk)


def test_an_order_earns_once_however_often_it_is_told(loyalty: Loyalty) -> None:
    customer = loyalty.customer()
    order = loyalty.order(customer, 69_900)
    first, again = loyalty.credit(order, loyalty.now), loyalty.credit(order, loyalty.now + DAY)
    assert first.id == again.id and first.points == 699
    assert first.expires_at == datetime(2027, 11, 30, 16, 0, tzinfo=timezone.utc)
    assert loyalty.balance(customer) == 699
    loyalty.check_ledger(customer)


def test_points_count_from_the_day_the_order_was_completed(loyalty: Loyalty) -> None:
    customer, completed_at = loyalty.customer(), loyalty.now - 40 * DAY
    entry = loyalty.credit(loyalty.order(customer, 10_000, at=completed_at), loyalty.now)
    assert entry.created_at == completed_at
    assert entry.expires_at == datetime(2027, 10, 31, 16, 0, tzinfo=timezone.utc)


def test_guests_and_tiny_orders_earn_nothing_and_open_orders_are_refused(sqlite_loyalty: Loyalty) -> None:
    shop = sqlite_loyalty
    assert shop.credit(shop.order(None, 69_900), shop.now) is None
    assert shop.credit(shop.order(shop.customer(), 99), shop.now) is None
    assert shop.all(PointsEntry) == []
    delivered = shop.order(shop.customer(), 69_900, status="delivered")
    with pytest.raises(WrongState):
        shop.credit(delivered, shop.now)
    with pytest.raises(WrongState):
        shop.do(lambda session: take_back_points_for_return(session, session.get(Order, delivered), shop.now))


def test_a_return_takes_back_what_the_order_earned_once(loyalty: Loyalty) -> None:
    customer = loyalty.customer()
    loyalty.earn(customer, 20_000)
    order = loyalty.order(customer, 30_000)
    loyalty.credit(order, loyalty.now)
    first, again = loyalty.give_back(order, loyalty.now), loyalty.give_back(order, loyalty.now)
    assert (first.id, first.points) == (again.id, -300)
    assert loyalty.balance(customer) == 200
    loyalty.check_ledger(customer)


def test_returning_what_was_spent_leaves_a_debt_that_the_next_points_fill(loyalty: Loyalty) -> None:
    customer, reward = loyalty.customer(), loyalty.reward(cost=250)
    order = loyalty.order(customer, 30_000)
    loyalty.credit(order, loyalty.now)
    loyalty.redeem(customer, reward)
    loyalty.give_back(order, loyalty.now + DAY)
    assert loyalty.balance(customer) == -250
    loyalty.check_ledger(customer)
    with pytest.raises(InsufficientPoints) as refused:
        loyalty.redeem(customer, reward)
    assert refused.value.data == {"balance": -250, "cost": 250}
    loyalty.earn(customer, 40_000)
    assert loyalty.balance(customer) == 150
    loyalty.check_ledger(customer)


def test_a_return_never_takes_back_what_has_lapsed(loyalty: Loyalty) -> None:
    customer, earned_at = loyalty.customer(), loyalty.now - 500 * DAY
    order = loyalty.order(customer, 30_000, at=earned_at)
    loyalty.credit(order, earned_at)
    loyalty.earn(customer, 10_000)
    assert loyalty.give_back(order, loyalty.now) is None
    assert loyalty.balance(customer) == 100
    loyalty.check_ledger(customer)


def test_an_order_that_earned_nothing_gives_nothing_back(sqlite_loyalty: Loyalty) -> None:
    order = sqlite_loyalty.order(sqlite_loyalty.customer(), 30_000, status="delivered")
    assert sqlite_loyalty.give_back(order, sqlite_loyalty.now) is None


def test_redeeming_spends_the_oldest_points_and_gives_a_code(loyalty: Loyalty) -> None:
    customer, reward = loyalty.customer(), loyalty.reward(cost=150, stock=2)
    loyalty.earn(customer, 10_000, at=loyalty.now - 60 * DAY)
    loyalty.earn(customer, 10_000, at=loyalty.now - 5 * DAY)
    redemption = loyalty.redeem(customer, reward)
    assert redemption.code.startswith("WR") and len(redemption.code) == 12
    left = loyalty.ask(points_expiring, customer, loyalty.now, timedelta(days=800))
    assert [points for _, points in left] == [50], "the older lot went first"
    assert loyalty.all(Reward)[0].stock == 1
    assert loyalty.balance(customer) == 50
    loyalty.check_ledger(customer)


def test_the_same_wish_spends_once_and_another_customers_key_is_their_own(loyalty: Loyalty) -> None:
    one, other, reward = loyalty.customer(), loyalty.customer(), loyalty.reward(cost=100)
    for customer in (one, other):
        loyalty.earn(customer, 30_000)
    first, again = loyalty.redeem(one, reward, "message:7"), loyalty.redeem(one, reward, "message:7")
    assert first.code == again.code
    assert loyalty.redeem(other, reward, "message:7").code != first.code
    assert (loyalty.balance(one), loyalty.balance(other)) == (200, 200)
    assert len(loyalty.all(Redemption)) == 2


def test_each_refusal_has_its_reason_and_changes_nothing(loyalty: Loyalty) -> None:
    customer = loyalty.customer()
    loyalty.earn(customer, 10_000)
    cases: list[tuple[int, type[Exception]]] = [
        (loyalty.reward(cost=101), InsufficientPoints), (loyalty.reward(stock=0), OutOfStock),
        (loyalty.reward(tier="gold"), TierTooLow), (loyalty.reward(active=False), NotFound), (10**6, NotFound)]
    for reward, problem in cases:
        with pytest.raises(problem):
            loyalty.redeem(customer, reward)
    with pytest.raises(NotFound):
        loyalty.redeem(10**6, cases[0][0])
    assert loyalty.balance(customer) == 100
    assert loyalty.all(Redemption) == []
    assert [reward.stock for reward in loyalty.all(Reward)] == [100, 0, 100, 100]


def test_a_tier_reached_just_now_opens_its_rewards(loyalty: Loyalty) -> None:
    customer, reward = loyalty.customer(), loyalty.reward(cost=10, tier="gold")
    loyalty.grant(customer, 50)
    loyalty.order(customer, 200_000, status="paid")
    assert reward in [each.id for each in loyalty.ask(rewards_for, customer, loyalty.now)]
    assert loyalty.redeem(customer, reward).reward_id == reward
    assert loyalty.tier(customer) == "gold"


def test_rewards_on_offer_are_in_stock_within_the_tier_and_cheapest_first(sqlite_loyalty: Loyalty) -> None:
    shop = sqlite_loyalty
    dear, cheap = shop.reward(cost=900), shop.reward(cost=50)
    gold = shop.reward(cost=70, tier="gold")
    shop.reward(stock=0)
    shop.reward(active=False)
    assert [each.id for each in shop.ask(rewards_for, shop.customer(), shop.now)] == [cheap, dear]
    assert [each.id for each in shop.ask(rewards_for, shop.customer(tier="platinum"), shop.now)] == [cheap, gold, dear]


def test_lapsed_points_are_gone_at_once_and_written_off_whenever_somebody_looks(loyalty: Loyalty) -> None:
    customer, reward = loyalty.customer(), loyalty.reward(cost=100)
    earned_at = loyalty.now - 500 * DAY
    lot = loyalty.credit(loyalty.order(customer, 30_000, at=earned_at), earned_at)
    loyalty.redeem(customer, reward, at=earned_at + DAY)
    assert loyalty.balance(customer, lot.expires_at - timedelta(seconds=1)) == 200
    assert loyalty.balance(customer, lot.expires_at) == 0, "nobody has looked yet, and still"
    with pytest.raises(InsufficientPoints):
        loyalty.redeem(customer, reward)
    assert loyalty.expire(lot.expires_at - timedelta(seconds=1)) == 0
    assert loyalty.expire(loyalty.now) == 200
    assert loyalty.expire(loyalty.now) == 0
    newest = loyalty.ask(points_history, customer, 1)[0]
    assert (newest.kind, newest.points, newest.created_at) == ("expire", -200, lot.expires_at)
    loyalty.check_ledger(customer)


def test_points_about_to_lapse_are_told_by_their_last_day(sqlite_loyalty: Loyalty) -> None:
    shop = sqlite_loyalty
    customer = shop.customer()
    soon, later = datetime(2025, 11, 5, 2, tzinfo=timezone.utc), datetime(2026, 3, 5, 2, tzinfo=timezone.utc)
    for at in (soon, soon + DAY, later):
        shop.earn(customer, 10_000, at=at)
    expiring = shop.ask(points_expiring, customer, shop.now)
    assert [(day.isoformat(), points) for day, points in expiring] == [("2026-11-30", 200)]
    assert shop.ask(points_expiring, customer, shop.now, timedelta(days=5)) == []


def test_history_is_newest_first_with_what_it_was_for(sqlite_loyalty: Loyalty) -> None:
    shop = sqlite_loyalty
    customer, reward = shop.customer(), shop.reward(cost=40)
    shop.earn(customer, 10_000)
    shop.redeem(customer, reward)
    spent, earned = shop.ask(points_history, customer, 5)
    assert (spent.kind, spent.points, spent.reward.id) == ("spend", -40, reward)
    assert (earned.kind, earned.order.customer_id) == ("earn", customer)
    assert len(shop.ask(points_history, customer, 1)) == 1


def test_grants_are_above_zero_have_a_reason_and_count_once(sqlite_loyalty: Loyalty) -> None:
    shop = sqlite_loyalty
    customer = shop.customer()
    given_twice = [shop.do(grant_points, customer_id=customer, points=30, reason="抱歉", idempotency_key="case:1",
                           now=shop.now) for _ in range(2)]
    assert given_twice[0].id == given_twice[1].id and given_twice[0].reason == "抱歉"
    assert shop.balance(customer) == 30
    with pytest.raises(ValueError, match="above zero"):
        shop.grant(customer, 0)


STEPS = st.lists(st.tuples(
    st.sampled_from(("earn", "earn", "spend", "return", "grant", "expire", "again")),
    st.integers(0, 400), st.integers(1, 600)), min_size=1, max_size=14)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(STEPS)
def test_any_course_of_events_keeps_the_ledger_right(
    sqlite_loyalty: Loyalty, steps: list[tuple[str, int, int]],
) -> None:
    shop, at = sqlite_loyalty, sqlite_loyalty.now
    customer, orders, last = shop.customer(), [], None
    for what, days, amount in steps:
        at += days * DAY / 4
        before = shop.balance(customer, at)
        if what == "earn":
            orders.append(shop.order(customer, amount * 100, at=at))
            last = orders[-1]
            earned = shop.credit(last, at)
            assert shop.balance(customer, at) == before + earned.points
        elif what == "spend":
            reward = shop.reward(cost=amount)
            if before >= amount:
                shop.redeem(customer, reward, at=at)
                assert shop.balance(customer, at) == before - amount >= 0, "spending never goes below zero"
            else:
                with pytest.raises(InsufficientPoints):
                    shop.redeem(customer, reward, at=at)
                assert shop.balance(customer, at) == before
        elif what == "return" and orders:
            order = orders.pop(amount % len(orders))
            shop.give_back(order, at)
            assert shop.balance(customer, at) <= before
        elif what == "grant":
            shop.grant(customer, amount, at=at)
            assert shop.balance(customer, at) == before + amount
        elif what == "expire":
            shop.expire(at)
            assert shop.balance(customer, at) == before, "writing off changes no balance"
        elif what == "again" and last in orders:
            shop.credit(last, at)
            assert shop.balance(customer, at) == before
        shop.check_ledger(customer, at)
    kinds = sorted_kinds(shop.all(PointsEntry, PointsEntry.customer_id == customer))
    assert all((points > 0) == (kind in ("earn", "grant")) for kind, points in kinds)


def test_many_redemptions_at_once_never_overspend(loyalty: Loyalty) -> None:
    customer = loyalty.customer()
    rewards = [loyalty.reward(cost=100) for _ in range(4)]  # locking a reward alone would not be enough
    loyalty.earn(customer, 75_000, at=loyalty.now - 30 * DAY)
    loyalty.earn(customer, 30_000)
    works = [lambda reward=reward: loyalty.redeem(customer, reward) for reward in rewards * (THREADS // 4)]
    results = loyalty.desk.at_once(works)
    assert outcomes(results, lambda result: isinstance(result, Redemption)) == 10
    assert outcomes(results, lambda result: isinstance(result, InsufficientPoints)) == THREADS - 10
    assert loyalty.balance(customer) == 50
    assert sum(reward.stock for reward in loyalty.all(Reward)) == 390
    assert len({result.code for result in results if isinstance(result, Redemption)}) == 10
    loyalty.check_ledger(customer)


def test_many_customers_at_once_never_take_more_than_the_stock(loyalty: Loyalty) -> None:
    reward = loyalty.reward(cost=100, stock=5)
    customers = [loyalty.customer() for _ in range(THREADS)]
    for customer in customers:
        loyalty.grant(customer, 100)
    works = [lambda customer=customer: loyalty.redeem(customer, reward) for customer in customers]
    results = loyalty.desk.at_once(works)
    assert outcomes(results, lambda result: isinstance(result, Redemption)) == 5
    assert outcomes(results, lambda result: isinstance(result, OutOfStock)) == THREADS - 5
    assert loyalty.all(Reward)[0].stock == 0
    assert sum(loyalty.balance(customer) for customer in customers) == (THREADS - 5) * 100


def test_the_same_wish_many_times_at_once_spends_once(loyalty: Loyalty) -> None:
    customer, reward = loyalty.customer(), loyalty.reward(cost=100)
    loyalty.earn(customer, 100_000)
    results = loyalty.desk.at_once([lambda: loyalty.redeem(customer, reward, "message:1")] * THREADS)
    assert {result.code for result in results} == {results[0].code}
    assert loyalty.balance(customer) == 900
    assert len(loyalty.all(Redemption)) == 1


def test_earning_returning_and_lapsing_at_once_count_once(loyalty: Loyalty) -> None:
    customer, earned_at = loyalty.customer(), loyalty.now - 500 * DAY
    loyalty.earn(customer, 20_000, at=earned_at)
    credited, returned = loyalty.order(customer, 30_000), loyalty.order(customer, 50_000)
    loyalty.credit(returned, loyalty.now)

    def set_returned(session: Any) -> None:
        session.get(Order, returned).status = "returned"

    loyalty.do(set_returned)
    works = [
        lambda: loyalty.do(lambda session: earn_points_for_order(session, session.get(Order, credited), loyalty.now)),
        lambda: loyalty.do(lambda s: take_back_points_for_return(s, s.get(Order, returned), loyalty.now)),
        lambda: loyalty.expire(loyalty.now),
    ] * 8
    results = loyalty.desk.at_once(works)
    assert outcomes(results, lambda result: isinstance(result, Exception)) == 0, results
    assert loyalty.balance(customer) == 300
    kinds = sorted_kinds(loyalty.all(PointsEntry, PointsEntry.customer_id == customer))
    assert sorted(kinds) == [("earn", 200), ("earn", 300), ("earn", 500), ("expire", -200), ("reverse", -500)]
    loyalty.check_ledger(customer)

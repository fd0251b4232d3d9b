"""Tiers: by the money of 365 days; up at once, down one step at the yearly review."""
from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crm_store.errors import NotFound
from crm_store.rules.tiers import after_review, gap_to_next, last_review, raised, tier_for
from crm_store.services.points import tier_standing
from crm_store.services.tiers import review_tiers
from tests.crm.conftest import Desk
from tests.crm.loyalty import Loyalty

DAY = timedelta(days=1)


@dataclass(frozen=True)
class Step:
    rank: int
    minimum_spend_fen: int


SILVER, GOLD, PLATINUM = LADDER = (Step(0, 0), Step(1, 200_000), Step(2, 800_000))
amounts, steps = st.integers(0, 2_000_000), st.sampled_from(LADDER)


@pytest.fixture
def loyalty(desk: Desk) -> Loyalty:
    return Loyalty(desk)


@pytest.mark.parametrize(("fen", "tier"), [
    (0, SILVER), (199_999, SILVER), (200_000, GOLD), (799_999, GOLD), (800_000, PLATINUM), (10**9, PLATINUM)])
def test_a_tier_begins_exactly_at_its_minimum(fen: int, tier: Step) -> None:
    assert tier_for(fen, LADDER[::-1]) == tier


def test_without_tiers_there_is_no_answer() -> None:
    with pytest.raises(ValueError, match="no tiers"):
        tier_for(1, ())


@given(amounts, steps)
def test_spending_never_lowers_a_tier_and_lifts_it_at_once(fen: int, current: Step) -> None:
    assert raised(current, fen, LADDER).rank == max(current.rank, tier_for(fen, LADDER).rank)


@given(amounts, steps)
def test_a_review_takes_one_step_down_at_most_and_only_below_the_minimum(fen: int, current: Step) -> None:
    expected = current.rank - (1 if fen < current.minimum_spend_fen else 0)
    assert after_review(current, fen, LADDER).rank == expected


@given(amounts, steps)
def test_spending_the_gap_reaches_the_next_tier_and_a_fen_less_does_not(fen: int, current: Step) -> None:
    following, gap = gap_to_next(fen, current, LADDER)
    if following is None:
        assert (current, gap) == (PLATINUM, 0)
        return
    assert tier_for(fen + gap, LADDER).rank >= following.rank
    if gap:
        assert tier_for(fen + gap - 1, LADDER).rank < following.rank


def test_the_review_is_when_the_year_begins_in_the_shop() -> None:
    moment = datetime(2026, 12, 31, 16, 0, tzinfo=timezone.utc)  # midnight in Shanghai
    assert last_review(moment) == moment
    assert last_review(moment - timedelta(seconds=1)) == datetime(2025, 12, 31, 16, 0, tzinfo=timezone.utc)


def test_standing_counts_paid_orders_of_365_days_that_were_not_returned(loyalty: Loyalty) -> None:
    customer, now = loyalty.customer(), loyalty.now
    loyalty.order(customer, 50_000, at=now - DAY)
    loyalty.order(customer, 30_000, at=now - DAY, status="paid")
    loyalty.order(customer, 70_000, at=now - 366 * DAY)  # too long ago
    loyalty.order(customer, 90_000, at=now - DAY, status="returned")
    loyalty.order(customer, 90_000, at=now - DAY, status="cancelled")
    loyalty.order(customer, 90_000, at=now - DAY, status="unpaid")
    loyalty.order(loyalty.customer(), 500_000, at=now - DAY)
    standing = loyalty.ask(tier_standing, customer, now)
    assert (standing.tier.code, standing.spend_fen) == ("silver", 80_000)
    assert (standing.next_tier.code, standing.gap_fen) == ("gold", 120_000)


def test_standing_shows_a_tier_just_reached_and_keeps_one_that_spending_no_longer_reaches(loyalty: Loyalty) -> None:
    rising, resting = loyalty.customer(), loyalty.customer(tier="platinum")
    loyalty.order(rising, 200_000, at=loyalty.now - DAY, status="paid")
    assert loyalty.ask(tier_standing, rising, loyalty.now).tier.code == "gold"
    top = loyalty.ask(tier_standing, resting, loyalty.now)
    assert (top.tier.code, top.next_tier, top.gap_fen) == ("platinum", None, 0)
    with pytest.raises(NotFound):
        loyalty.ask(tier_standing, 10**6, loyalty.now)


def test_completing_an_order_lifts_the_tier_first_and_earns_by_it(loyalty: Loyalty) -> None:
    customer = loyalty.customer()
    entry = loyalty.earn(customer, 250_000)
    assert entry.points == 3000
    assert loyalty.tier(customer) == "gold"
    assert loyalty.audit("set_tier") == [{"from": "silver", "to": "gold"}]


def test_the_review_judges_by_the_turn_of_the_year_whenever_it_runs_and_only_once(loyalty: Loyalty) -> None:
    new_year = datetime(2026, 12, 31, 16, 0, tzinfo=timezone.utc)
    fallen, kept, late = (loyalty.customer(tier="platinum") for _ in range(3))
    loyalty.order(kept, 900_000, at=new_year - 10 * DAY)
    loyalty.order(late, 900_000, at=new_year + 10 * DAY)
    assert loyalty.do(review_tiers, new_year + 40 * DAY)[0] == 2
    assert [loyalty.tier(customer) for customer in (fallen, kept, late)] == ["gold", "platinum", "gold"]
    assert loyalty.do(review_tiers, new_year + 50 * DAY)[0] == 0
    assert loyalty.do(review_tiers, new_year + 366 * DAY)[0] == 2, "the next year takes the next step"
    assert loyalty.tier(fallen) == "silver"

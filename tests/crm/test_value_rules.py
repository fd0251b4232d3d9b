"""The rules of customer value: scores, segments, stages, and models that find what they were drawn from."""
from __future__ import annotations

from datetime import date, timedelta
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crm_store.rules.value import (
    RISKS,
    SCORES,
    SEGMENTS,
    STAGES,
    Facts,
    facts_of,
    quintile_borders,
    risk_of,
    score_of,
    segment_of,
    stage_of,
)
from crm_store.rules.value_model import (
    Buying,
    Model,
    Spending,
    enough_to_learn,
    expected_purchases,
    expected_spend,
    fit_buying,
    fit_spending,
    judge,
    p_alive,
)

TODAY = date(2026, 11, 18)
DAYS = st.dates(date(2020, 1, 1), TODAY)
SCORE = st.sampled_from(SCORES)
PARAMETER = st.floats(0.05, 20)
BUYING = st.builds(Buying, PARAMETER, st.floats(1, 500), PARAMETER, PARAMETER)
SPENDING = st.builds(Spending, st.floats(0.5, 20), st.floats(1.1, 20), st.floats(100, 1e6))
ORDERS = st.lists(st.tuples(DAYS, st.integers(0, 10_000_000)), max_size=30)
BUYER = ORDERS.map(facts_of).filter(lambda facts: facts is not None)


@settings(max_examples=40)
@given(ORDERS, st.randoms(use_true_random=False))
def test_facts_do_not_depend_on_the_order_of_orders(orders: list[tuple[date, int]], dice: Any) -> None:
    facts = facts_of(orders)
    mixed = list(orders)
    dice.shuffle(mixed)
    assert facts_of(mixed) == facts
    kept = [(day, fen) for day, fen in orders if fen]
    assert (facts is None) == (not kept)
    if facts is not None:
        assert facts.purchases == len({day for day, _ in kept})
        assert facts.spent_fen == sum(fen for _, fen in kept) and facts.returns == len(orders) - len(kept)
        assert (facts.rhythm_days is None) == (facts.purchases == 1)
        assert facts.rhythm_days is None or 1 <= facts.rhythm_days <= (facts.last_on - facts.first_on).days


@given(st.lists(st.integers(0, 50), min_size=1, max_size=200))
def test_scores_rise_with_the_value_and_equal_values_score_alike(values: list[int]) -> None:
    borders = quintile_borders(values)
    ordered = sorted(values)
    scores = [score_of(value, borders) for value in ordered]
    assert scores == sorted(scores) and set(scores) <= set(SCORES)
    assert scores[0] == 1
    assert len({(value, score_of(value, borders)) for value in values}) == len(set(values))
    for score in SCORES:  # nobody is put lower than where their fifth begins
        assert scores.count(score) == 0 or scores.index(score) >= (score - 1) * len(values) / 5


def test_a_hundred_different_values_fall_into_fifths() -> None:
    borders = quintile_borders(range(100))
    assert [sum(score_of(value, borders) == score for value in range(100)) for score in SCORES] == [20] * 5


def test_every_combination_of_scores_has_one_segment_and_every_segment_is_used() -> None:
    found = {segment_of(recency, frequency, monetary, purchases)
             for recency in SCORES for frequency in SCORES for monetary in SCORES for purchases in (1, 5)}
    assert found == set(SEGMENTS)


@given(SCORE, SCORE, SCORE, SCORE, SCORE, st.integers(2, 50))
def test_a_segment_never_gets_worse_by_coming_later_more_often_or_for_more(
        recency: int, frequency: int, monetary: int, later: int, more: int, purchases: int) -> None:
    rank = ("lost", "hibernating", "at_risk", "fading", "attention", "promising", "loyal", "champions")
    before = segment_of(recency, frequency, monetary, purchases)
    after = segment_of(max(recency, later), max(frequency, more), max(monetary, more), purchases)
    assert rank.index(after) >= rank.index(before)


@settings(max_examples=40)
@given(BUYER, st.integers(1, 400), st.lists(st.integers(0, 3000), min_size=2, max_size=6))
def test_stages_only_go_on_with_silence(facts: Facts, usual: int, silences: list[int]) -> None:
    stages = [stage_of(facts, usual, facts.last_on + timedelta(days=days)) for days in sorted(silences)]
    places = [STAGES.index(stage) for stage in stages]
    assert places == sorted(places)
    assert ("new" in stages) <= (facts.purchases == 1) and ("active" in stages) <= (facts.purchases > 1)


def test_a_stage_is_told_by_ones_own_rhythm_where_there_is_one() -> None:
    every = {days: Facts(8, TODAY - timedelta(days=1000), TODAY - timedelta(days=75), days, 1, 0)
             for days in (7, 32, 120)}
    assert {days: stage_of(facts, 45, TODAY) for days, facts in every.items()} == {
        7: "dormant", 32: "cooling", 120: "active"}
    few = Facts(3, TODAY - timedelta(days=1000), TODAY - timedelta(days=75), 7, 1, 0)
    assert stage_of(few, 120, TODAY) == "active", "three purchases are no rhythm yet"


@given(st.none() | st.floats(0, 1), st.sampled_from(STAGES))
def test_a_risk_has_one_of_three_words(alive: float | None, stage: str) -> None:
    assert risk_of(alive, stage) in RISKS


@settings(max_examples=25)
@given(BUYING, SPENDING, st.lists(BUYER, min_size=1, max_size=5), st.integers(0, 400))
def test_churn_is_a_probability_that_rises_with_silence_and_worth_is_never_below_nothing(
        buying: Buying, spending: Spending, buyers: list[Facts], days: int) -> None:
    model = Model(30, [1, 2, 3, 4], [1, 2, 3, 4], [1, 2, 3, 4], buying, spending)
    now, later = judge(buyers, model, TODAY), judge(buyers, model, TODAY + timedelta(days=days))
    for one, then in zip(now, later, strict=True):
        assert one.alive is not None and then.alive is not None
        assert one.expected_purchases is not None and one.worth_fen is not None
        assert 0 <= then.alive <= one.alive <= 1
        assert one.expected_purchases >= 0 and one.worth_fen >= 0 and one.segment in SEGMENTS
    alone = [judge([each], model, TODAY)[0] for each in buyers]
    assert alone == now, "it does not matter with whom one is judged"


def test_without_a_model_nothing_is_made_up() -> None:
    (judged,) = judge([Facts(1, TODAY, TODAY, None, 100, 0)], Model(45), TODAY)
    assert (judged.segment, judged.recency, judged.alive, judged.expected_purchases, judged.worth_fen) == (None,) * 5
    assert judged.stage == "new" and judge([], Model(45), TODAY) == []
    assert not enough_to_learn(99, 99, 900) and not enough_to_learn(500, 49, 900) and not enough_to_learn(500, 99, 89)
    assert enough_to_learn(100, 50, 90)


def numbers(*values: float) -> Any:
    return np.array(values, dtype=float)


def test_the_formulas_give_what_their_authors_published() -> None:
    """Customer 1 of CDNOW, in weeks and dollars.

    BG/NBD: r 0.243, alpha 4.414, a 0.793, b 2.426, who came twice, last in week 30.43 of 38.86, is expected 1.226 times
    in the next 39 weeks (Fader, Hardie & Lee, *Implementing the BG/NBD Model in Excel*). For who came back, MBG/NBD
    with ``b - 1`` is BG/NBD with ``b``. Gamma-Gamma: p 6.25, q 3.74, gamma 15.44; a population mean of 35.2, and 24.66
    for who spent 22.35 on average twice.
    """
    bg_nbd = Buying(0.243, 4.414, 0.793, 2.426 - 1)
    who = numbers(2), numbers(30.43), numbers(38.86)
    assert expected_purchases(bg_nbd, *who, 39) == pytest.approx(1.226, abs=5e-4)
    assert p_alive(bg_nbd, *who) == pytest.approx(0.7266, abs=5e-4)
    gamma_gamma = Spending(6.25, 3.74, 15.44)
    assert expected_spend(gamma_gamma, numbers(2), numbers(22.35)) == pytest.approx(24.66, abs=0.01)
    assert expected_spend(gamma_gamma, numbers(0), numbers(0)) == pytest.approx(35.2, abs=0.05)


@settings(max_examples=40)
@given(BUYING, st.integers(0, 40), st.floats(1, 700), st.floats(0, 700))
def test_more_days_ahead_are_more_purchases(buying: Buying, x: int, t_x: float, silence: float) -> None:
    who = numbers(x), numbers(t_x if x else 0), numbers(t_x + silence)
    expected = [float(expected_purchases(buying, *who, days)[0]) for days in (1e-6, 30, 365, 3650)]
    assert expected[0] == pytest.approx(0, abs=1e-3)
    assert all(later >= earlier - 1e-9 for earlier, later in pairwise(expected))


def drawn(by: Buying, count: int, seed: int, ahead: float = 0) -> tuple[Any, Any, Any, Any]:
    """Buyers as the model has them: ``x``, ``t_x``, ``age``, and how often they came in the days ``ahead``."""
    dice = np.random.default_rng(seed)
    age = np.floor(dice.uniform(60, 730, count))
    rate, leaves = dice.gamma(by.r, 1 / by.alpha, count), dice.beta(by.a, by.b, count)
    x, t_x, later = np.zeros(count), np.zeros(count), np.zeros(count)
    for place in range(count):
        at = 0.0
        while dice.random() >= leaves[place]:
            at += dice.exponential(1 / max(rate[place], 1e-9))
            if at > age[place] + ahead:
                break
            if at > age[place]:
                later[place] += 1
            else:
                x[place], t_x[place] = x[place] + 1, at
    return x, t_x, age, later


def test_buying_is_recovered_from_who_was_drawn_by_it() -> None:
    """Within a fifth for a rate and a chance, which 20,000 buyers tell; the parameters themselves are worse known."""
    true = Buying(0.8, 60.0, 0.9, 2.5)
    x, t_x, age, _ = drawn(true, 20_000, seed=2)
    found = fit_buying(x, t_x, age)
    assert found is not None
    assert found.r / found.alpha == pytest.approx(true.r / true.alpha, rel=0.05)
    assert found.a / (found.a + found.b) == pytest.approx(true.a / (true.a + true.b), rel=0.05)
    assert (found.r, found.alpha, found.a, found.b) == pytest.approx((0.8, 60, 0.9, 2.5), rel=0.2)
    assert fit_buying(x, t_x, age) == found, "the same every time"


def test_spending_is_recovered_from_who_was_drawn_by_it() -> None:
    dice = np.random.default_rng(3)
    purchases = dice.integers(1, 9, 20_000).astype(float)
    mean = dice.gamma(6 * purchases, 1 / dice.gamma(4, 1 / 12_000, 20_000)) / purchases
    found = fit_spending(purchases, mean)
    assert found is not None
    assert (found.p, found.q, found.gamma) == pytest.approx((6, 4, 12_000), rel=0.15)
    assert found.p * found.gamma / (found.q - 1) == pytest.approx(6 * 12_000 / 3, rel=0.03)


def test_what_is_expected_happens_which_the_mean_rate_cannot_say() -> None:
    """Held out: fitted on what they did until now, compared with the year after, by how much they came before."""
    true = Buying(0.8, 60.0, 0.9, 2.5)
    x, t_x, age, later = drawn(true, 8_000, seed=5, ahead=365)
    by = fit_buying(x, t_x, age)
    assert by is not None
    expected = expected_purchases(by, x, t_x, age, 365)
    naive = (x + 1) / age * 365  # everybody goes on as before
    assert expected.sum() == pytest.approx(later.sum(), rel=0.05)
    assert naive.sum() > 2 * later.sum()
    for low, high in ((0, 0), (1, 2), (3, 6), (7, 1000)):
        group = (x >= low) & (x <= high)
        assert expected[group].sum() == pytest.approx(later[group].sum(), rel=0.1)
    assert np.abs(expected - later).mean() < 0.6 * np.abs(naive - later).mean()
    alive = p_alive(by, x, t_x, age)
    came = [float((later[(alive >= low) & (alive < low + 0.25)] > 0).mean()) for low in (0.0, 0.25, 0.5, 0.75)]
    assert came == sorted(came)


def test_hopeless_data_give_a_model_or_none_but_never_nonsense() -> None:
    same = np.full(200, 3.0), np.full(200, 90.0), np.full(200, 90.0)
    for x, t_x, age in (same, (np.zeros(200), np.zeros(200), np.zeros(200)),
                        (np.zeros(200), np.zeros(200), np.full(200, 400.0))):
        by = fit_buying(x, t_x, age)
        assert by is None or (np.isfinite(expected_purchases(by, x, t_x, age, 365)).all()
                              and (p_alive(by, x, t_x, age) <= 1).all())
    spending = fit_spending(np.full(200, 3.0), np.full(200, 5_000.0))
    assert spending is None or float(expected_spend(spending, numbers(3), numbers(5_000))[0]) == pytest.approx(
        5_000, rel=0.01)

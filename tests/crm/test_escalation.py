"""When a human is needed, as a pure rule."""
from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crm_store.rules.escalation import Thresholds, band, reason_to_escalate

SILVER, PLATINUM = Thresholds(0.80, 0.50), Thresholds(0.70, 0.40)
angers = st.one_of(st.none(), st.floats(0, 1))


def reason(*newest_first: float | None, **more: Any) -> str | None:
    facts = {"intent": "greet", "thresholds": SILVER, "misunderstood_in_a_row": 0, "forms_abandoned": 0, **more}
    return reason_to_escalate(angers=newest_first, **facts)


@pytest.mark.parametrize(("anger", "silver", "platinum"), [
    (None, "unknown", "unknown"), (0.0, "calm", "calm"), (0.39, "calm", "calm"), (0.40, "calm", "watch"),
    (0.50, "watch", "watch"), (0.70, "watch", "route"), (0.80, "route", "route"), (1.0, "route", "route"),
])
def test_bands(anger: float | None, silver: str, platinum: str) -> None:
    assert (band(anger, SILVER), band(anger, PLATINUM)) == (silver, platinum)


@pytest.mark.parametrize(("newest_first", "expected"), [
    ([0.8], "anger"), ([0.79], None), ([0.5, 0.5], "anger"), ([0.5, 0.1, 0.5], "anger"), ([0.5, 0.1, 0.1, 0.5], None),
    ([0.5, None, 0.5], "anger"), ([0.5, None, None], None), ([None, None, None], None), ([], None),
    ([0.1, 0.9], None),  # the earlier one was routed when it came
])
def test_anger_routes_at_once_or_after_two_of_three_watched(newest_first: list[float | None],
                                                            expected: str | None) -> None:
    assert reason(*newest_first) == expected


@pytest.mark.parametrize(("facts", "expected"), [
    ({"intent": "request_human"}, "asked"), ({"misunderstood_in_a_row": 2}, None),
    ({"misunderstood_in_a_row": 3}, "stuck"), ({"forms_abandoned": 1}, None), ({"forms_abandoned": 2}, "stuck"),
    ({"intent": None}, None),
])
def test_the_other_reasons_work_without_a_sentiment_model(facts: dict[str, Any], expected: str | None) -> None:
    assert reason(None, **facts) == expected


@given(st.lists(angers, max_size=5), st.integers(0, 5), st.integers(0, 3))
def test_who_asks_gets_a_person_whatever_else_holds(newest_first: list[float | None], misunderstood: int,
                                                    abandoned: int) -> None:
    more = {"misunderstood_in_a_row": misunderstood, "forms_abandoned": abandoned}
    assert reason(*newest_first, intent="request_human", **more) == "asked"


@given(st.lists(angers, min_size=1, max_size=5), st.floats(0, 1))
def test_more_anger_never_turns_a_person_away(newest_first: list[float | None], higher: float) -> None:
    if reason(*newest_first) == "anger":
        angrier = [None if a is None else max(a, higher) for a in newest_first]
        assert reason(*angrier) == "anger"
    if reason(*newest_first) is not None:
        assert reason(*newest_first, thresholds=PLATINUM) is not None

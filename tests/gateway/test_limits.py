from __future__ import annotations

from datetime import datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from gateway.limits import TokenBuckets


def test_a_bucket_fills_up_again(now: datetime) -> None:
    buckets = TokenBuckets(60)
    assert [buckets.take("ada", now) for _ in range(60)] == [0] * 60
    assert buckets.take("ada", now) == 1
    assert buckets.take("ada", now + timedelta(seconds=1)) == 0
    assert buckets.take("ada", now + timedelta(seconds=1)) == 1
    assert buckets.take("ada", now + timedelta(hours=1)) == 0


def test_buckets_are_kept_by_key(now: datetime) -> None:
    buckets = TokenBuckets(1)
    assert buckets.take("ada", now) == 0 and buckets.take("bob", now) == 0
    assert buckets.take("ada", now) == 60


def test_only_the_most_recent_are_remembered(now: datetime) -> None:
    buckets = TokenBuckets(1, kept=10)
    for number in range(100):
        buckets.take(str(number), now)
    assert len(buckets._buckets) == 10 and buckets.take("99", now) == 60 and buckets.take("0", now) == 0


@given(st.lists(st.floats(0, 30), min_size=1, max_size=200), st.integers(1, 120))
def test_never_more_than_a_bucket_and_its_refill_get_through(pauses: list[float], rate: int) -> None:
    buckets, at, through = TokenBuckets(rate), datetime.fromisoformat("2026-11-18T10:00:00+00:00"), 0
    began = at
    for pause in pauses:
        at += timedelta(seconds=pause)
        wait = buckets.take("ada", at)
        through += wait == 0
        assert wait >= 0
    assert through <= rate + (at - began).total_seconds() * rate / 60 + 1e-6


@given(st.integers(1, 600), st.floats(0, 100))
def test_who_waits_as_long_as_told_gets_through(rate: int, pause: float) -> None:
    buckets, at = TokenBuckets(rate), datetime.fromisoformat("2026-11-18T10:00:00+00:00")
    while not (wait := buckets.take("ada", at)):
        pass
    assert buckets.take("ada", at + timedelta(seconds=wait)) == 0


def test_a_clock_that_goes_back_gives_nothing_away(now: datetime) -> None:
    buckets = TokenBuckets(1)
    buckets.take("ada", now)
    assert buckets.take("ada", now - timedelta(hours=1)) > 0

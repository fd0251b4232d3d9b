"""Working time: sums and differences agree, in any zone, over any week, over holidays and changes of the clocks."""
from __future__ import annotations

from datetime import date, datetime, timedelta, timezone
from types import SimpleNamespace
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crm_store.errors import EmptyCalendar
from crm_store.rules.calendar import BusinessHours
from crm_store.rules.sla import WARNING_PERCENTS, Stretch, is_breached, level_above, match_policy

ZONES = ("Asia/Shanghai", "America/New_York", "Europe/London", "Australia/Lord_Howe", "America/St_Johns", "UTC")
HOUR = timedelta(hours=1)


def hours(weekly: dict[str, list[list[str]]] | None = None, **columns: Any) -> BusinessHours:
    row = {"time_zone": "Asia/Shanghai", "weekly": weekly or {str(d): [["09:00", "18:00"]] for d in range(5)},
           "holidays": None, "closing_days": [], **columns}
    return BusinessHours.of(SimpleNamespace(**row))


def at(text: str, zone: str = "Asia/Shanghai") -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone))


def clock(minute: int) -> str:
    return f"{minute // 60:02}:{minute % 60:02}"


@st.composite
def intervals(draw: st.DrawFn) -> list[list[str]]:
    ends = sorted(draw(st.lists(st.integers(0, 1440), unique=True, max_size=8)))
    return [[clock(a), clock(b)] for a, b in zip(ends[::2], ends[1::2], strict=False)]


@st.composite
def calendars(draw: st.DrawFn) -> BusinessHours:
    weekly = {str(day): draw(intervals()) for day in range(7)}
    if not any(weekly.values()):
        weekly["2"] = [["00:30", "24:00"]]
    return hours(weekly, time_zone=draw(st.sampled_from(ZONES)), holidays=draw(st.sampled_from([None, "CN", "US"])),
                 closing_days=draw(st.lists(st.dates(date(2026, 1, 1), date(2026, 12, 31)).map(str), max_size=5)))


times = st.integers(0, 364 * 24 * 3600 * 1000).map(
    lambda milliseconds: datetime(2026, 1, 1, tzinfo=timezone.utc) + timedelta(milliseconds=milliseconds))
durations = st.timedeltas(timedelta(0), timedelta(hours=60)).map(lambda d: timedelta(seconds=d // timedelta(seconds=1)))


@given(calendars(), times, durations)
def test_the_working_time_between_start_and_due_is_the_target(calendar: BusinessHours, start: datetime,
                                                              target: timedelta) -> None:
    due = calendar.add(start, target)
    assert due >= start
    assert calendar.between(start, due) == target
    if target:
        just_before = due - timedelta(microseconds=1)
        assert calendar.between(start, just_before) < target  # due is the earliest such time


@given(calendars(), times, durations, durations)
def test_adding_in_two_steps_is_adding_at_once_and_more_is_later(calendar: BusinessHours, start: datetime,
                                                                one: timedelta, two: timedelta) -> None:
    assert calendar.add(calendar.add(start, one), two) == calendar.add(start, one + two)
    if two:
        assert calendar.add(start, one + two) > calendar.add(start, one) or not one


@given(calendars(), times, times, times)
def test_stretches_add_up_and_never_exceed_real_time(calendar: BusinessHours, a: datetime, b: datetime,
                                                     c: datetime) -> None:
    a, b, c = sorted((a, b, c))
    assert calendar.between(a, b) + calendar.between(b, c) == calendar.between(a, c)
    assert timedelta(0) <= calendar.between(a, c) <= c - a
    assert calendar.between(c, a) == timedelta(0)


@given(calendars(), times)
def test_the_next_opening_is_open_and_nothing_is_open_before_it(calendar: BusinessHours, start: datetime) -> None:
    opening = calendar.next_opening(start)
    assert opening >= start and calendar.is_open(opening)
    assert calendar.between(start, opening) == timedelta(0)
    assert calendar.is_open(start) == (opening == start)


@given(calendars(), times, st.integers(1, 40 * 3600))
def test_warnings_come_in_order_before_due(calendar: BusinessHours, start: datetime, seconds: int) -> None:
    stretch = Stretch(start, timedelta(seconds=seconds))
    moments = [stretch.warning_at(percent, calendar) for percent in WARNING_PERCENTS] + [stretch.due_at(calendar)]
    assert moments == sorted(moments)
    for percent, moment in zip(WARNING_PERCENTS, moments[:-1], strict=True):
        assert stretch.elapsed_at(moment, calendar) == timedelta(seconds=seconds) * percent / 100


@given(calendars(), times, st.integers(1, 20 * 3600), durations)
def test_a_pause_takes_no_working_time(calendar: BusinessHours, start: datetime, seconds: int,
                                       paused_for: timedelta) -> None:
    target = timedelta(seconds=seconds)
    pause = calendar.add(start, target / 2)
    resumed = pause + paused_for
    due = Stretch(resumed, target, calendar.between(start, pause)).due_at(calendar)
    assert calendar.between(start, pause) + calendar.between(resumed, due) == target


@pytest.mark.parametrize(("start", "working", "due"), [
    ("2026-11-18 10:00", 2 * HOUR, "2026-11-18 12:00"),
    ("2026-11-18 17:00", 2 * HOUR, "2026-11-19 10:00"),
    ("2026-11-18 17:00", HOUR, "2026-11-18 18:00"),  # due at closing time, not at the next opening
    ("2026-11-20 17:30", HOUR, "2026-11-23 09:30"),  # a weekend between
    ("2026-11-21 12:00", HOUR, "2026-11-23 10:00"),
    ("2026-11-18 03:00", timedelta(0), "2026-11-18 03:00"),
])
def test_adding(start: str, working: timedelta, due: str) -> None:
    assert hours().add(at(start), working) == at(due)


def test_several_intervals_a_day() -> None:
    calendar = hours({"2": [["13:30", "18:00"], ["09:00", "12:00"]], "3": [["00:00", "24:00"]]})
    assert calendar.add(at("2026-11-18 11:00"), 2 * HOUR) == at("2026-11-18 14:30")
    assert calendar.between(at("2026-11-18 00:00"), at("2026-11-20 00:00")) == 31.5 * HOUR
    assert [calendar.is_open(at(f"2026-11-18 {time}")) for time in ("09:00", "12:00", "13:00", "17:59", "18:00")] == [
        True, False, False, True, False]


def test_chinese_holidays_and_the_days_worked_in_exchange() -> None:
    calendar = hours(holidays="CN")
    assert not calendar.is_open(at("2026-02-17 10:00"))  # Spring Festival, a Tuesday
    assert calendar.is_open(at("2026-02-14 10:00"))  # a Saturday worked in exchange, at Monday's hours
    assert not calendar.is_open(at("2026-02-14 18:00"))
    assert not calendar.is_open(at("2026-02-07 10:00"))  # another Saturday
    assert calendar.add(at("2026-02-14 17:00"), 2 * HOUR) == at("2026-02-24 10:00")
    saturdays = hours({"0": [["09:00", "18:00"]], "5": [["10:00", "11:00"]]}, holidays="CN")
    assert saturdays.between(at("2026-02-14 00:00"), at("2026-02-15 00:00")) == HOUR  # its own hours where it has any


def test_years_whose_chinese_holidays_are_not_announced_yet_are_estimated() -> None:
    calendar = hours({str(day): [["09:00", "18:00"]] for day in range(7)}, holidays="CN")
    assert not calendar.is_open(at("2027-10-01 10:00"))
    assert calendar.is_open(at("2027-10-20 10:00"))


def test_other_countries_and_own_closing_days() -> None:
    calendar = hours(time_zone="America/New_York", holidays="US", closing_days=["2026-12-31"])
    assert not calendar.is_open(at("2026-11-26 10:00", "America/New_York"))
    assert not calendar.is_open(at("2026-12-31 10:00", "America/New_York"))
    assert calendar.is_open(at("2026-12-30 10:00", "America/New_York"))


@pytest.mark.parametrize(("day", "real"), [("2026-03-08", 23), ("2026-11-01", 25), ("2026-03-09", 24)])
def test_a_day_around_the_change_of_the_clocks_is_as_long_as_it_really_is(day: str, real: int) -> None:
    calendar = hours({str(weekday): [["00:00", "24:00"]] for weekday in range(7)}, time_zone="America/New_York")
    start = at(f"{day} 00:00", "America/New_York")
    end = datetime.combine(start.date() + timedelta(days=1), start.timetz())
    assert calendar.between(start, end) == real * HOUR


def test_an_hour_that_the_clocks_skip_is_not_worked() -> None:
    calendar = hours({"6": [["01:00", "02:30"], ["02:45", "05:00"]]}, time_zone="America/New_York")
    day = (at("2026-03-08 00:00", "America/New_York"), at("2026-03-09 00:00", "America/New_York"))
    assert calendar.between(*day) == 3 * HOUR  # 01:00 to 02:00 and 03:00 to 05:00


@pytest.mark.parametrize("weekly", [{}, {"0": []}])
def test_an_empty_calendar_is_refused(weekly: dict[str, list[list[str]]]) -> None:
    with pytest.raises(EmptyCalendar):
        BusinessHours.of(SimpleNamespace(time_zone="UTC", weekly=weekly, holidays=None, closing_days=None))


def test_a_calendar_that_never_opens_again_is_told_apart_from_waiting_forever() -> None:
    every_monday = [str(date(2026, 1, 5) + timedelta(weeks=n)) for n in range(200)]
    calendar = hours({"0": [["09:00", "10:00"]]}, closing_days=every_monday)
    start = at("2026-01-01 00:00")
    for act in (lambda: calendar.add(start, HOUR), lambda: calendar.next_opening(start)):
        with pytest.raises(EmptyCalendar):
            act()


@pytest.mark.parametrize("columns", [
    {"weekly": {"0": [["18:00", "09:00"]]}}, {"weekly": {"0": [["9", "10"]]}}, {"time_zone": "Asia/Nowhere"},
    {"closing_days": ["tomorrow"]},
])
def test_what_cannot_be_read_is_refused(columns: dict[str, Any]) -> None:
    with pytest.raises((ValueError, KeyError)):
        hours(**columns)


def test_a_promise_kept_exactly_when_due_is_kept() -> None:
    due = at("2026-11-18 12:00")
    assert not is_breached(due, due) and is_breached(due, due + timedelta(microseconds=1))


def test_levels_end_at_management() -> None:
    assert [level_above(level) for level in ("front_line", "experts", "management")] == [
        "experts", "management", "management"]


def policy(position: int, kind: str | None = None, grade: str | None = None, tier: str | None = None) -> Any:
    return SimpleNamespace(position=position, ticket_kind=kind, grade=grade, tier_code=tier)


def test_the_first_policy_in_order_matches_whatever_order_they_come_in() -> None:
    policies = [policy(3), policy(1, "complaint", "major", "gold"), policy(2, "complaint", "major")]

    def found(kind: str, grade: str | None, tier: str | None) -> Any:
        matched = match_policy(policies, kind=kind, grade=grade, tier=tier)
        return matched and matched.position

    assert found("complaint", "major", "gold") == 1
    assert found("complaint", "major", None) == 2  # a guest has no tier
    assert found("complaint", "ordinary", "gold") == 3
    assert match_policy(policies[1:], kind="handoff", grade=None, tier="gold") is None

"""Business hours: adds and measures working time over weekly intervals, holidays and time zones."""
from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta, timezone
from functools import lru_cache
from typing import Any, Protocol
from zoneinfo import ZoneInfo

from crm_store.errors import EmptyCalendar

DAY = timedelta(days=1)
ZERO = timedelta(0)
LONGEST_CLOSURE_DAYS = 800  # a calendar closed for longer than two years and more never opens again
# What a calendar raises that cannot be read or never opens again; a zone that does not exist is a KeyError.
UNUSABLE = (EmptyCalendar, ValueError, KeyError, TypeError, AttributeError, OverflowError)
ANY_YEAR = 2026  # to see whether the holidays of a country are known at all
Interval = tuple[datetime, datetime]


class Schedule(Protocol):
    """Time that counts towards a promise."""

    def add(self, start: datetime, working: timedelta) -> datetime:
        """The earliest time at which ``working`` has passed since ``start``."""

    def between(self, start: datetime, end: datetime) -> timedelta:
        """How much time counted from ``start`` to ``end``."""


class AroundTheClock:
    """Every minute counts."""

    def add(self, start: datetime, working: timedelta) -> datetime:
        """``start`` plus ``working``."""
        return start + working

    def between(self, start: datetime, end: datetime) -> timedelta:
        """The time from ``start`` to ``end``, zero where ``end`` is earlier."""
        return max(end - start, ZERO)


@dataclass(frozen=True)
class BusinessHours:
    """When a desk works: intervals of local time a weekday, in a time zone, less holidays and closing days.

    ``weekly`` maps 0 (Monday) to 6 to intervals ``(start, end)`` in minutes after local midnight, end not included,
    1440 being the end of the day. A weekend day that is worked in exchange for a holiday (调休) has its own intervals
    where it has any, otherwise those of the first weekday that has.

    Where clocks are put back, an interval begins and ends at the first of two equal local times; where they are put
    forward, the missing hour does not count.
    """

    time_zone: str
    weekly: Mapping[int, tuple[tuple[int, int], ...]]
    holidays: str | None = None
    closing_days: frozenset[date] = field(default_factory=frozenset)
    _known_days: dict[date, tuple[Interval, ...]] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not any(self.weekly.values()):
            raise EmptyCalendar()

    @classmethod
    def of(cls, row: Any) -> BusinessHours:
        """The hours that a ``BusinessCalendar`` row describes.

        Raises:
            EmptyCalendar: no weekday has an interval.
            ValueError: a time or date cannot be read, or no holidays of the country are known.
            KeyError: there is no such time zone.
        """
        return _hours(row.time_zone, json.dumps(row.weekly), row.holidays, tuple(row.closing_days or ()))

    @property
    def zone(self) -> ZoneInfo:
        """The time zone that the hours are told in."""
        return ZoneInfo(self.time_zone)

    def add(self, start: datetime, working: timedelta) -> datetime:
        """The earliest time at which ``working`` has passed since ``start``, in UTC.

        It may be the very end of an interval: what is due then is due at closing time, not at the next opening.

        Raises:
            EmptyCalendar: the desk does not open any more.
        """
        if working <= ZERO:
            return start.astimezone(timezone.utc)
        left = working
        for opens, closes in self._open_from(start):
            if left <= closes - opens:
                return opens + left
            left -= closes - opens
        raise EmptyCalendar()

    def between(self, start: datetime, end: datetime) -> timedelta:
        """How much working time lies between two times; zero where ``end`` is not after ``start``."""
        total = ZERO
        if end <= start:
            return total
        last = end.astimezone(self.zone).date() + DAY
        for opens, closes in self._intervals(start.astimezone(self.zone).date() - DAY, last):
            total += max(min(closes, end) - max(opens, start), ZERO)
        return total

    def open_stretches(self, first: date, last: date) -> list[Interval]:
        """The stretches in which the desk works that begin on these local days, both included; UTC, in order."""
        return list(self._intervals(first, last))

    def why(self, day: date) -> str:
        """Why a local day is not like its weekday: "closing_day", "holiday", "exchange" (调休); "" where it is."""
        if day in self.closing_days:
            return "closing_day"
        off, worked = _public_holidays(self.holidays, day.year) if self.holidays else ((), ())
        return "holiday" if day in off else "exchange" if day in worked else ""

    def is_open(self, at: datetime) -> bool:
        """Whether the desk works at this time."""
        day = at.astimezone(self.zone).date()
        return any(opens <= at < closes for opens, closes in self._intervals(day - DAY, day + DAY))

    def next_opening(self, at: datetime) -> datetime:
        """``at`` itself where the desk is open then, otherwise the start of the next interval, in UTC.

        Raises:
            EmptyCalendar: the desk does not open any more.
        """
        for opens, _closes in self._open_from(at):
            return opens
        raise EmptyCalendar()

    def _open_from(self, start: datetime) -> Iterator[Interval]:
        """The open stretches from ``start`` on, the first cut to begin there; ends after a very long closure."""
        start = start.astimezone(timezone.utc)
        day, closed = start.astimezone(self.zone).date() - DAY, 0
        while closed <= LONGEST_CLOSURE_DAYS:
            found = False
            for opens, closes in self._known_day(day):
                if closes > start:
                    found = True
                    yield max(opens, start), closes
            closed = 0 if found else closed + 1
            day += DAY

    def _intervals(self, first: date, last: date) -> Iterator[Interval]:
        for number in range((last - first).days + 1):
            yield from self._known_day(first + number * DAY)

    def _known_day(self, day: date) -> tuple[Interval, ...]:
        """The open stretches of a day, worked out once."""
        known = self._known_days.get(day)
        if known is None:
            known = self._known_days[day] = tuple(self._day(day))
        return known

    def _day(self, day: date) -> Iterator[Interval]:
        """The open stretches that begin on a local day, in UTC and in order, none overlapping."""
        zone, earliest = self.zone, None
        for start, end in self._local(day):
            opens, closes = _to_utc(day, start, zone), _to_utc(day, end, zone)
            if earliest is not None and opens < earliest:
                opens = earliest  # only where a change of the clocks pushed one interval into the next
            if opens < closes:
                yield opens, closes
                earliest = closes

    def _local(self, day: date) -> tuple[tuple[int, int], ...]:
        if day in self.closing_days:
            return ()
        if self.holidays:
            off, worked = _public_holidays(self.holidays, day.year)
            if day in off:
                return ()
            if day in worked:
                return self.weekly.get(day.weekday()) or next(
                    (self.weekly[weekday] for weekday in range(5) if self.weekly.get(weekday)), ())
        return self.weekly.get(day.weekday(), ())


@lru_cache(maxsize=64)
def _hours(time_zone: str, weekly: str, holidays: str | None, closing_days: tuple[str, ...]) -> BusinessHours:
    """One object for each content, so that the days it knows serve every clock that runs by it."""
    by_day = {int(day): _merged(_minutes(pair) for pair in pairs) for day, pairs in json.loads(weekly).items()}
    ZoneInfo(time_zone)
    if holidays:
        _public_holidays(holidays, ANY_YEAR)
    return BusinessHours(time_zone, by_day, holidays, frozenset(date.fromisoformat(day) for day in closing_days))


def _minutes(pair: Sequence[str]) -> tuple[int, int]:
    start, end = (_minute(text) for text in pair)
    if not start < end:
        raise ValueError(f"an interval must end after it starts: {pair[0]} to {pair[1]}")
    return start, end


def _minute(text: str) -> int:
    if text == "24:00":
        return 24 * 60
    at = time.fromisoformat(text)
    return at.hour * 60 + at.minute


def _merged(intervals: Iterator[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    merged: list[tuple[int, int]] = []
    for start, end in sorted(intervals):
        if merged and start <= merged[-1][1]:
            merged[-1] = merged[-1][0], max(end, merged[-1][1])
        else:
            merged.append((start, end))
    return tuple(merged)


def _to_utc(day: date, minute: int, zone: ZoneInfo) -> datetime:
    local = datetime.combine(day, time(), zone) if minute < 24 * 60 else datetime.combine(day + DAY, time(), zone)
    if 0 < minute < 24 * 60:
        local = datetime.combine(day, time(minute // 60, minute % 60), zone)
    at = local.astimezone(timezone.utc)
    if at.astimezone(zone).replace(tzinfo=None) == local.replace(tzinfo=None):
        return at
    return _end_of_gap(at, zone)


def _end_of_gap(at: datetime, zone: ZoneInfo) -> datetime:
    """The moment the clocks were put forward, for a local time they skipped (found to the second by halving)."""
    low, high = at - DAY, at
    after = high.astimezone(zone).utcoffset()
    while high - low > timedelta(seconds=1):
        middle = low + (high - low) / 2
        if middle.astimezone(zone).utcoffset() == after:
            high = middle
        else:
            low = middle
    return high.replace(microsecond=0)


@lru_cache(maxsize=256)
def _public_holidays(country: str, year: int) -> tuple[frozenset[date], frozenset[date]]:
    """Days off and weekend days worked in exchange, of one country in one year.

    China's are announced a year ahead: ``chinesecalendar`` knows the announced ones, ``holidays`` estimates the rest.
    """
    if country == "CN":
        from chinese_calendar import constants

        off = frozenset(day for day in constants.holidays if day.year == year)
        if off:
            return off, frozenset(day for day in constants.workdays if day.year == year)
    import holidays

    try:
        days = holidays.country_holidays(country, years=year)
    except NotImplementedError as error:
        raise ValueError(f"no public holidays are known of {country}") from error
    return frozenset(days), frozenset(getattr(days, "weekend_workdays", ()))

"""The arithmetic of the figures: periods of local days, shares with their intervals, percentiles, working time."""
from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, timezone, tzinfo

import numpy as np
import numpy.typing as npt

from crm_store.rules.calendar import Interval

DAY = timedelta(days=1)
DAY_SECONDS = 86_400
LONGEST_DAYS = 400
EARLIEST, LATEST = date(2000, 1, 1), date(2100, 1, 1)
DAILY_UP_TO, WEEKLY_UP_TO = 31, 217  # days of a period drawn by the day, by the week; longer ones by four weeks
Z_95 = 1.959964
Seconds = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Offset:
    """What is added to UTC to get local time, in seconds, until ``until`` (Unix seconds; None is for ever)."""

    until: int | None
    seconds: int


@dataclass(frozen=True)
class Period:
    """Whole local days from ``start`` to ``end``, both included, and as many before them to compare with."""

    start: date
    end: date
    zone: tzinfo

    @property
    def days(self) -> int:
        """How many days it has."""
        return (self.end - self.start).days + 1

    @property
    def before(self) -> date:
        """The first day of the period before."""
        return self.start - self.days * DAY

    @property
    def since(self) -> datetime:
        """When it begins, UTC."""
        return midnight(self.start, self.zone)

    @property
    def until(self) -> datetime:
        """When it ends, UTC, not included."""
        return midnight(self.end + DAY, self.zone)

    @property
    def before_since(self) -> datetime:
        """When the period before begins, UTC."""
        return midnight(self.before, self.zone)

    def buckets(self) -> list[tuple[date, date]]:
        """The days, weeks or four weeks that it is drawn by: first and last day of each; the last may be short."""
        size = 1 if self.days <= DAILY_UP_TO else 7 if self.days <= WEEKLY_UP_TO else 28
        firsts = [self.start + number * DAY for number in range(0, self.days, size)]
        return [(first, min(first + (size - 1) * DAY, self.end)) for first in firsts]

    def offsets(self) -> list[Offset]:
        """The offsets of local time from the period before to the end of this one, in order."""
        return offsets_between(self.before_since, self.until, self.zone)

    @property
    def zero(self) -> int:
        """Local midnight of the first day, as seconds of a clock without zones: what buckets are counted from."""
        return int(datetime.combine(self.start, time(), timezone.utc).timestamp())


class PeriodTooLong(ValueError):
    """A period may have at most 400 days."""


def period_between(start: date, end: date, zone: tzinfo) -> Period:
    """The period from one local day to another, in either order.

    Raises:
        PeriodTooLong: it has more than 400 days.
        ValueError: a day is before 2000 or after 2099.
    """
    start, end = min(start, end), max(start, end)
    if not (EARLIEST <= start and end < LATEST):
        raise ValueError("the days must lie between 2000 and 2099")
    period = Period(start, end, zone)
    if period.days > LONGEST_DAYS:
        raise PeriodTooLong(period.days)
    return period


def last_days(count: int, now: datetime, zone: tzinfo) -> Period:
    """The last ``count`` local days, today included."""
    today = now.astimezone(zone).date()
    return Period(today - (count - 1) * DAY, today, zone)


def midnight(day: date, zone: tzinfo) -> datetime:
    """When a local day begins, in UTC."""
    return datetime.combine(day, time(), zone).astimezone(timezone.utc)


def offsets_between(start: datetime, end: datetime, zone: tzinfo) -> list[Offset]:
    """The offsets of a zone between two times, each with the second at which the next begins."""
    found: list[Offset] = []
    at, last = start, _offset(start, zone)
    while at < end:
        following = min(at + DAY, end)
        if _offset(following, zone) != last:
            found.append(Offset(_change(at, following, zone), last))
            last = _offset(following, zone)
        at = following
    return [*found, Offset(None, last)]


def _offset(at: datetime, zone: tzinfo) -> int:
    return int((at.astimezone(zone).utcoffset() or timedelta(0)).total_seconds())


def _change(low: datetime, high: datetime, zone: tzinfo) -> int:
    before, first, last = _offset(low, zone), int(low.timestamp()), int(high.timestamp())
    while last - first > 1:
        middle = (first + last) // 2
        if _offset(datetime.fromtimestamp(middle, timezone.utc), zone) == before:
            first = middle
        else:
            last = middle
    return last


def share(part: int, whole: int) -> float | None:
    """A part of a whole, 0 to 1; None of nothing."""
    return part / whole if whole else None


def wilson(part: int, whole: int, z: float = Z_95) -> tuple[float, float] | None:
    """The interval in which a share lies with 95 % confidence, after Wilson; None of nothing.

    Unlike the simple one it stays within 0 to 1 and is honest about few answers: 3 of 3 is 0.44 to 1.
    """
    if whole <= 0:
        return None
    observed = part / whole
    spread = z * math.sqrt(observed * (1 - observed) / whole + z * z / (4 * whole * whole))
    middle, scale = observed + z * z / (2 * whole), 1 + z * z / whole
    low, high = (middle - spread) / scale, (middle + spread) / scale
    return max(0.0, min(low, observed)), min(1.0, max(high, observed))  # rounding may not shut the share itself out


def percentile(values: Sequence[float], percent: float) -> float | None:
    """The smallest value that at least ``percent`` of the values do not exceed (nearest rank); None of nothing."""
    if not len(values):
        return None
    ranked = sorted(values)
    return ranked[max(0, math.ceil(percent / 100 * len(ranked)) - 1)]


def median(values: Sequence[float]) -> float | None:
    """The value in the middle, or halfway between the two there; None of nothing."""
    if not len(values):
        return None
    ranked, half = sorted(values), len(values) // 2
    return ranked[half] if len(ranked) % 2 else (ranked[half - 1] + ranked[half]) / 2


def working_seconds(starts: Seconds, ends: Seconds, stretches: Sequence[Interval]) -> Seconds:
    """How many seconds of each span from a start to an end lie in the stretches, which are in order and apart.

    The same as :meth:`crm_store.rules.calendar.BusinessHours.between` for many spans at once. Unix seconds.
    """
    if not stretches:
        return np.zeros(len(starts), dtype=np.int64)
    opens = np.array([int(opens.timestamp()) for opens, _ in stretches], dtype=np.int64)
    closes = np.array([int(closes.timestamp()) for _, closes in stretches], dtype=np.int64)
    before = np.concatenate(([0], np.cumsum(closes - opens)))

    def worked(at: Seconds) -> Seconds:
        """Working seconds from the first stretch to each time."""
        index = np.searchsorted(opens, at, side="right") - 1
        known = np.maximum(index, 0)
        inside = np.clip(np.minimum(at, closes[known]) - opens[known], 0, None)
        return np.where(index < 0, 0, before[known] + inside)

    return np.asarray(np.maximum(worked(ends) - worked(starts), 0), dtype=np.int64)

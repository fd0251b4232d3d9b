"""What all figures of a page share: what was read for them, the cells of their tables, the log behind a number."""
from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from functools import cached_property
from typing import Any
from urllib.parse import urlencode

from sqlalchemy.orm import Session

from crm_store.queries import figures, figures_promises
from crm_store.queries.figures import Scope
from crm_store.queries.figures_promises import Kept, Verdict
from crm_store.rules.escalation import Thresholds
from crm_store.rules.figures import share, wilson
from desk.charts import Chart, Series, stacked_bars
from desk.rendering import Reader

LOGS = "/manage/logs"


@dataclass(frozen=True)
class Cell:
    """A cell of a table: ``value`` as programs read it, ``text`` as people do, ``bar`` a share to draw behind it."""

    value: Any
    text: str
    link: str | None = None
    bar: float | None = None
    number: bool = True


@dataclass(frozen=True)
class Figure:
    """One figure: a table, with a chart of the same where one says more at a glance."""

    name: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    chart: Chart | None = None


@dataclass
class Board:
    """What all figures of a page share: whose they are, what they are about, and what was read for several of them."""

    session: Session
    scope: Scope
    reader: Reader
    promise: str
    teams: Mapping[int, str]
    agents: Mapping[int, str]
    filters: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def read(self) -> list[figures.Read]:
        """The messages of both periods."""
        return figures.messages_read(self.session, self.scope)

    @cached_property
    def verdicts(self) -> list[Verdict]:
        """The promises of the period."""
        return figures_promises.verdicts(self.session, self.scope)

    @cached_property
    def kept_before(self) -> dict[str, Kept]:
        """The promises of the period before."""
        return figures_promises.kept_before(self.session, self.scope)

    @cached_property
    def volume(self) -> figures.Counts:
        """The conversations that began in both periods."""
        return figures.volume(self.session, self.scope)

    @cached_property
    def scores(self) -> figures.Counts:
        """The ratings of both periods."""
        return figures.scores(self.session, self.scope)

    @cached_property
    def handovers(self) -> tuple[figures.Counts, dict[str, int]]:
        """The conversations handed over in the period."""
        return figures.handovers(self.session, self.scope)

    @cached_property
    def backlog(self) -> list[figures.Waiting]:
        """What is in human hands now."""
        return figures.backlog_now(self.session, self.scope, self.reader.now)

    @cached_property
    def limits(self) -> Thresholds:
        """From which anger on the log is asked for angry and for upset messages, so that none of any tier is missed."""
        return figures.lowest_thresholds(self.session)

    @cached_property
    def buckets(self) -> list[tuple[date, date]]:
        """The days or weeks that charts are drawn by."""
        return self.scope.period.buckets()

    @cached_property
    def policies(self) -> dict[int, str]:
        """The names of the policies."""
        return figures_promises.policy_names(self.session)

    @property
    def of_people(self) -> bool:
        """Only conversations that people have: what the bot settles alone belongs to no team and no agent."""
        return self.scope.team_id is not None or self.scope.agent_id is not None

    def say(self, key: str, **values: Any) -> str:
        """One of the desk's words."""
        return self.reader.say(key, **values)

    def log(self, days: tuple[date, date] | None = None, **more: Any) -> str:
        """The address of the conversations behind a number: on these days or in the whole period."""
        first, last = days or (self.scope.period.start, self.scope.period.end)
        return f"{LOGS}?" + urlencode({**self.filters, "since": first, "until": last, **more})

    def days(self, bucket: tuple[date, date]) -> str:
        """How a bucket reads."""
        first, last = (self.reader.day(day) for day in bucket)  # type: ignore[arg-type]
        return first if first == last else f"{first} – {last}"

    def chart(self, series: Iterable[tuple[str, str, Callable[[int], float], Callable[[tuple[date, date]], str]]], *,
              say: Callable[[float], str] | None = None, whole: bool = True) -> Chart:
        """Stacked bars over the period; a series has a name, a word, a value for a bucket and a link for its days."""
        return stacked_bars(
            [self.reader.day(first) for first, _ in self.buckets],  # type: ignore[arg-type]
            [self.days(bucket) for bucket in self.buckets],
            [Series(name, label, [value(place) for place in range(len(self.buckets))],
                    [link(bucket) for bucket in self.buckets]) for name, label, value, link in series],
            say=say or number, whole=whole)

    def label(self, text: str, link: str | None = None) -> Cell:
        """A cell with words."""
        return Cell(text, text, link, number=False)

    def count(self, value: int, link: str | None = None, of: int | None = None) -> Cell:
        """A cell with how many; a bar shows its share of ``of``."""
        return Cell(value, number(value), link if value else None, share(value, of) if of else None)

    def share(self, part: int, whole: int, *, bar: bool = False) -> Cell:
        """A cell with a share."""
        value = share(part, whole)
        return Cell(None if value is None else round(value, 4), percent(value), bar=value if bar else None)

    def interval(self, part: int, whole: int) -> Cell:
        """A cell with the interval of a share."""
        found = wilson(part, whole)
        if found is None:
            return Cell(None, "–")
        return Cell(f"{found[0]:.4f}–{found[1]:.4f}", f"{found[0] * 100:.0f}–{found[1] * 100:.0f} %")

    def time(self, seconds: float | None) -> Cell:
        """A cell with a length of working time; programs read seconds."""
        return Cell(None if seconds is None else round(seconds), self.lasted(seconds))

    def lasted(self, seconds: float | None) -> str:
        """A length of working time as it reads: minutes, then hours."""
        if seconds is None:
            return "–"
        minutes = round(seconds / 60)
        if minutes < 1:
            return self.say("fig_below_a_minute") if seconds else self.say("fig_minutes", m=0)
        if minutes < 60:
            return self.say("fig_minutes", m=minutes)
        return self.say("hours", h=minutes // 60, m=f"{minutes % 60:02}")

    def intent(self, name: str | None) -> str:
        """An intent as it reads."""
        return self.reader.known("intent", name) if name else self.say("fig_nothing_read")

    def agent(self, agent_id: int | None) -> str:
        """The name of an agent."""
        return self.agents.get(agent_id or 0) or self.say("fig_somebody" if agent_id else "fig_nobody")


def number(value: float) -> str:
    """A count as it reads."""
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:,.1f}"


def percent(value: float | None) -> str:
    """A share as it reads."""
    return "–" if value is None else f"{value * 100:.1f} %"

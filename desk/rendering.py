"""Renders pages: templates that escape everything, in the reader's language, time zone and by the reader's clock."""
from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta, timezone, tzinfo
from functools import cached_property
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from sqlalchemy import select
from sqlalchemy.orm import Session
from starlette.requests import HTTPConnection, Request
from starlette.responses import HTMLResponse

from crm_store.models import Tier
from crm_store.queries.calendar import shop_time_zone
from crm_store.rules.escalation import DEFAULT_THRESHOLDS, Thresholds, band
from desk.deps import deps_of
from desk.wording import LANGUAGES, say, say_if_known, words_for_scripts

LANGUAGE_COOKIE = "warmline_language"
THEME_COOKIE = "warmline_theme"
THEMES = ("system", "light", "dark")
HERE = Path(__file__).parent
SOON = timedelta(minutes=15)
MINUS = "\N{MINUS SIGN}"
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")

CONSOLE_PAGES = {
    "logs": "lead", "figures": "lead", "learning": "lead", "feedback": "lead", "blocks": "lead", "value": "manager",
    "care": "manager", "settings": "manager", "privacy": "admin"}
"""The pages of the console, each with the lowest role that may open it."""

_templates = Environment(loader=FileSystemLoader(HERE / "templates"), autoescape=True, undefined=StrictUndefined,
                         trim_blocks=True, lstrip_blocks=True)


def pages_for(agent: Any) -> list[str]:
    """The pages of the console that this agent may open."""
    return [name for name, lowest in CONSOLE_PAGES.items() if agent.is_at_least(lowest)]


_templates.globals["pages_for"] = pages_for


@dataclass(frozen=True)
class Due:
    """How a deadline reads: what is left, and whether it is "ok", "soon" or "late"."""

    text: str
    state: str
    title: str
    iso: str


@dataclass(frozen=True)
class Mood:
    """How anger reads: "calm", "watch", "route" or "unknown", with its word and number."""

    band: str
    word: str
    number: str


@dataclass(frozen=True)
class Reader:
    """Who reads: their language, the desk's time zone, the time, and what counts as angry for each tier."""

    language: str
    now: datetime
    zone: tzinfo = timezone.utc
    thresholds: Mapping[str, Thresholds] = field(default_factory=dict)
    tiers: Mapping[str, str] = field(default_factory=dict)

    def say(self, key: str, **values: Any) -> str:
        """One of the desk's words."""
        return say(key, self.language, **values)

    def known(self, prefix: str, value: str | None) -> str:
        """The word for a stored value; the value itself where there is none."""
        return say_if_known(prefix, value, self.language)

    @cached_property
    def zone_name(self) -> str:
        """The desk's zone as the IANA names it."""
        return str(self.zone)

    def tier(self, code: str | None) -> str:
        """The name of a tier."""
        return self.tiers.get(code or "", code or "")

    def local(self, at: datetime) -> datetime:
        """A time in the desk's zone."""
        return at.astimezone(self.zone)

    @cached_property
    def today(self) -> date:
        """The day in the desk's zone."""
        return self.local(self.now).date()

    def clock(self, at: datetime) -> str:
        """The hour where it is today, with the day before it otherwise."""
        local = self.local(at)
        hour = f"{local.hour:02}:{local.minute:02}"
        return hour if local.date() == self.today else f"{self.day(at)} {hour}"

    def day(self, at: datetime) -> str:
        """A day, with its year where it is not this one."""
        local = self.local(at) if isinstance(at, datetime) else at
        this_year = local.year == self.today.year
        if self.language == "zh":
            return f"{local.month}月{local.day}日" if this_year else f"{local.year}年{local.month}月{local.day}日"
        return f"{local.day} {MONTHS[local.month - 1]}" + ("" if this_year else f" {local.year}")

    def moment(self, at: datetime) -> str:
        """A time in full, for titles."""
        return f"{self.local(at):%Y-%m-%d %H:%M:%S %Z}"

    def span(self, length: timedelta) -> str:
        """A length of time at a glance: 11:20 below an hour, then hours, then days."""
        seconds = int(abs(length.total_seconds()))
        minutes, hours = seconds // 60, seconds // 3600
        if hours < 1:
            return f"{minutes:02}:{seconds % 60:02}"
        if hours < 24:
            return self.say("hours", h=hours, m=f"{minutes % 60:02}")
        return self.say("days", d=hours // 24, h=hours % 24)

    def due(self, at: datetime | None) -> Due:
        """A deadline as it reads now."""
        if at is None:
            return Due("–", "none", self.say("no_due"), "")
        left = at - self.now
        late = left <= timedelta(0)
        state = "late" if late else "soon" if left <= SOON else "ok"
        title = self.say("overdue_since" if late else "due_at", at=self.clock(at))
        return Due((MINUS if late else "") + self.span(left), state, title, at.isoformat())

    @cached_property
    def _moods(self) -> Mapping[str, str]:
        return {name: self.say(f"mood_{name}") for name in ("calm", "watch", "route", "unknown")}

    def mood(self, anger: float | None, tier: str | None = None) -> Mood:
        """Anger, read by the thresholds of a tier."""
        name = band(anger, self.thresholds.get(tier or "", DEFAULT_THRESHOLDS))
        return Mood(name, self._moods[name], "" if anger is None else f"{anger:.2f}")

    def money(self, fen: int) -> str:
        """An amount in yuan, without the fen where there are none."""
        return f"¥{fen // 100:,}" if fen % 100 == 0 else f"¥{fen / 100:,.2f}"


def reader_for(session: Session, language: str, now: datetime) -> Reader:
    """A reader with what the store knows of zones and tiers."""
    name = Tier.name_zh if language == "zh" else Tier.name_en
    tiers = session.execute(select(Tier.code, Tier.anger_route, Tier.anger_watch, name.label("name"))).all()
    return Reader(
        language, now, ZoneInfo(shop_time_zone(session)),
        {tier.code: Thresholds(tier.anger_route, tier.anger_watch) for tier in tiers},
        {tier.code: tier.name for tier in tiers})


def language_of(connection: HTTPConnection, agent: Any = None) -> str:
    """The interface's language: as switched, else the agent's own, else the browser's, else Chinese."""
    chosen = connection.cookies.get(LANGUAGE_COOKIE)
    if chosen in LANGUAGES:
        return chosen
    agent = agent or getattr(connection.state, "agent", None)
    if agent is not None:
        return "en" if agent.interface_language == "en" else "zh"
    for part in connection.headers.get("accept-language", "").lower().split(","):
        if part.strip()[:2] in LANGUAGES:
            return part.strip()[:2]
    return "zh"


def theme_of(connection: HTTPConnection) -> str:
    """Whether the pages are light or dark in this browser, or as its system is."""
    chosen = connection.cookies.get(THEME_COOKIE, "")
    return chosen if chosen in THEMES else "system"


def part(template: str, reader: Reader, **context: Any) -> str:
    """A template rendered for a reader."""
    return _templates.get_template(template).render(r=reader, t=reader.say, **context)


def page(request: Request, template: str, *, language: str, reader: Reader | None = None, status_code: int = 200,
         headers: Mapping[str, str] | None = None, **context: Any) -> HTMLResponse:
    """A whole page. ``context`` names at least ``agent``, None where nobody is logged in."""
    reader = reader or Reader(language, deps_of(request).clock())
    html = part(template, reader, language=language, theme=theme_of(request), path=request.url.path,
                query=request.url.query,
                script_words=json.dumps(words_for_scripts(language), ensure_ascii=False), **context)
    return HTMLResponse(html, status_code=status_code, headers=dict(headers or {}),
                        media_type="text/html; charset=utf-8")

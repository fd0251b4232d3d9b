"""What a setting would mean: which policy would match and by when, a calendar's next days, an article as it reads."""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast

from sqlalchemy.orm import Session

from crm_store.errors import EmptyCalendar
from crm_store.models.tickets import GRADES, TICKET_KINDS
from crm_store.queries import settings as lists
from crm_store.rules.calendar import UNUSABLE, AroundTheClock, BusinessHours
from crm_store.rules.sla import match_policy
from crm_store.services import shop_settings_sla as promises
from crm_store.services.shop_settings import InvalidSettings, Snapshot
from desk.rendering import Reader
from desk.settings_areas import DAYS
from desk.settings_forms import Filled, show_hours, show_length

WHY = {"closing_day": "set_closed_day", "holiday": "set_public_holiday", "exchange": "set_exchange_day", "": None}


@dataclass(frozen=True)
class Trial:
    """What was asked of the policies, and the answer: the policy, and (promise, target, due) of what it promises."""

    kind: str
    grade: str
    tier: str
    asked: bool
    policy: Any
    dues: list[tuple[str, str, datetime]]


@dataclass(frozen=True)
class Day:
    """A day of a calendar as it reads."""

    day: str
    weekday: str
    hours: str
    why: str | None
    today: bool


def policy_list(session: Session, parameters: Mapping[str, str], reader: Reader) -> dict[str, Any]:
    """What the list of policies needs besides its rows."""
    found = lists.policies(session)
    return {"hidden": {key: above.name for key, above in promises.hidden_by(found).items()},
            "order": promises.order_version(found), "trial": try_policies(session, found, parameters, reader),
            "kinds": TICKET_KINDS, "grades": GRADES, "tiers": lists.tiers(session)}


def try_policies(session: Session, found: list[Any], parameters: Mapping[str, str], reader: Reader) -> Trial:
    """Which active policy a ticket would get, and when its promises would be due if it began now."""
    kind, grade, tier = (parameters.get(name, "") for name in ("kind", "grade", "tier"))
    kind = kind if kind in TICKET_KINDS else "handoff"
    grade = grade if grade in GRADES and kind == "complaint" else ""
    tier = tier if tier in {each.code for each in lists.tiers(session)} else ""
    policy = match_policy((each for each in found if each.active), kind=kind, grade=grade or None, tier=tier or None)
    return Trial(kind, grade, tier, "kind" in parameters, policy, _dues(policy, reader) if policy else [])


def _dues(policy: Any, reader: Reader) -> list[tuple[str, str, datetime]]:
    """What a policy promises, and when that would be due; nothing where its calendar cannot be used."""
    targets = [(name.removesuffix("_seconds"), getattr(policy, name)) for name in promises.TARGETS]
    try:
        schedule = AroundTheClock() if policy.around_the_clock else BusinessHours.of(policy.calendar)
        return [(promise, show_length(seconds, reader), schedule.add(reader.now, timedelta(seconds=seconds)))
                for promise, seconds in targets if seconds is not None]
    except UNUSABLE:
        return []


def days(stored: Snapshot, filled: Filled | None, reader: Reader) -> list[Day]:
    """The next 14 days of the calendar that was typed or, before that, of the one that is stored."""
    values = filled.values if filled is not None else stored
    if not values or (filled is not None and filled.problems):
        return []
    try:
        columns = promises.check_calendar(values, reader.now)
        coming = lists.coming_days(SimpleNamespace(**columns), reader.now)
        zone = BusinessHours.of(SimpleNamespace(**columns)).zone
    except InvalidSettings as error:
        if filled is not None:
            filled.refuse(error)
        return []
    except EmptyCalendar:
        return []
    found = []
    for each in coming:
        hours = [[f"{start.astimezone(zone):%H:%M}", _closing(end.astimezone(zone), each.day)]
                 for start, end in each.intervals]
        why, day = WHY[each.why], cast(Any, each.day)
        found.append(Day(reader.day(day), reader.say(DAYS[each.day.weekday()]),
                         show_hours(hours, reader) or reader.say("set_closed"), reader.say(why) if why else None,
                         each.day == reader.now.astimezone(zone).date()))
    return found


def article(filled: Filled | None) -> list[tuple[str, str, list[str]]]:
    """An article in both languages: language, title, paragraphs."""
    if filled is None or "body_zh" not in filled.values:
        return []
    return [(language, filled.values[f"title_{language}"],
             [line for line in filled.values[f"body_{language}"].splitlines() if line.strip()])
            for language in ("zh", "en")]


def _closing(end: datetime, day: Any) -> str:
    return "24:00" if end.date() > day else f"{end:%H:%M}"

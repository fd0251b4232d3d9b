"""Changes the promises: SLA policies and their order, and the business calendars they count by.

A clock that runs keeps the target and the due time it was given. What a policy or calendar says now is read when a
clock starts; a calendar also when a promise that was paused goes on.
"""
from __future__ import annotations

import re
import zoneinfo
from collections.abc import Sequence
from datetime import date, datetime
from functools import lru_cache
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import holidays
from sqlalchemy import select
from sqlalchemy.orm import Session

from crm_store.errors import EmptyCalendar, NotFound
from crm_store.models import BusinessCalendar, SlaPolicy, SupportAgent, Tier
from crm_store.models.tickets import GRADES, PROMISES, TICKET_KINDS
from crm_store.rules.calendar import BusinessHours
from crm_store.services.shop_settings import (
    ChangedMeanwhile,
    Checked,
    InvalidSettings,
    Refusal,
    Snapshot,
    Values,
    changes,
    fields_of,
    flush,
    keep,
    record_change,
    require_role,
    taken,
    to_change,
    version_of,
)

NAME_LIMIT = 80
SHORTEST_PROMISE_SECONDS, LONGEST_PROMISE_SECONDS = 60, 90 * 86_400
INTERVALS_A_DAY = 6
CLOSING_DAYS = 400
YEARS = range(2000, 2101)
TARGETS = tuple(f"{promise}_seconds" for promise in PROMISES)
POLICY_FIELDS = ("name", "ticket_kind", "grade", "tier_code", *TARGETS, "around_the_clock", "calendar_id", "active")
WEEK = tuple(f"weekly_{day}" for day in range(7))
HOUR = re.compile(r"([01]\d|2[0-3]):[0-5]\d|24:00")


def policy_snapshot(policy: SlaPolicy) -> Snapshot:
    """A policy's fields, without its place in the order."""
    return fields_of(policy, POLICY_FIELDS)


def calendar_snapshot(calendar: BusinessCalendar) -> Snapshot:
    """A calendar's fields, a field a weekday: ``weekly_0`` (Monday) to ``weekly_6``."""
    weekly = {f"weekly_{day}": [list(pair) for pair in calendar.weekly.get(str(day), ())] for day in range(7)}
    return {"name": calendar.name, "time_zone": calendar.time_zone, **weekly, "holidays": calendar.holidays,
            "closing_days": list(calendar.closing_days or ())}


def in_order(session: Session, *, lock: bool = False) -> list[SlaPolicy]:
    """All policies in the managers' order."""
    wanted = select(SlaPolicy).order_by(SlaPolicy.position, SlaPolicy.id)
    if lock:  # in the order of ids, so that two who move at once wait for each other and never for good
        session.execute(select(SlaPolicy.id).order_by(SlaPolicy.id).with_for_update(key_share=True)).all()
    return list(session.execute(wanted.execution_options(populate_existing=lock)).scalars())


def covers(above: Any, below: Any) -> bool:
    """Whether ``above`` matches everything that ``below`` matches, so that ``below`` after it never applies."""
    return bool(above.active and all(getattr(above, name) in (None, getattr(below, name))
                                     for name in ("ticket_kind", "grade", "tier_code")))


def hidden_by(policies: Sequence[Any]) -> dict[int, Any]:
    """The active policies that can never apply, by id, each with the earlier one that is always taken instead."""
    found: dict[int, Any] = {}
    for number, policy in enumerate(policies):
        above = next((other for other in policies[:number] if covers(other, policy)), None)
        if above is not None and policy.active:
            found[policy.id] = above
    return found


def order_version(policies: Sequence[Any]) -> str:
    """A name for exactly this order."""
    return version_of({"order": [policy.id for policy in policies]})


def save_policy(session: Session, agent: SupportAgent, key: int | None, values: Values, version: str | None,
                now: datetime) -> SlaPolicy:
    """Create (``key`` None) or change an SLA policy. A new one comes before the first that would hide it.

    Raises:
        InvalidSettings: a field cannot be accepted.
        ChangedMeanwhile: it was changed since ``version`` was read.
        NotFound: there is no such policy.
        NotAllowed: the agent is no manager.
    """
    require_role(agent, "manager")
    policy, before = to_change(session, SlaPolicy, key, version, policy_snapshot)
    checked = _check_policy(session, values, key)
    for name, value in checked.items():
        setattr(policy, name, value)
    if key is None:
        _insert_in_order(session, policy)
    keep(session, agent, "sla_policy", policy, before, policy_snapshot, now)
    return policy


def move_policy(session: Session, agent: SupportAgent, key: int, up: bool, version: str, now: datetime) -> None:
    """Move a policy one place up or down; at either end it stays.

    Raises:
        ChangedMeanwhile: the order is not the one that ``version`` names any more.
        NotFound: there is no such policy.
        NotAllowed: the agent is no manager.
    """
    require_role(agent, "manager")
    policies = in_order(session, lock=True)
    place = next((number for number, policy in enumerate(policies) if policy.id == key), None)
    if place is None:
        raise NotFound()
    if version != order_version(policies):
        raise ChangedMeanwhile(snapshot={})
    target = place - 1 if up else place + 1
    if not 0 <= target < len(policies):
        return
    policies.insert(target, policies.pop(place))
    _number(session, policies)
    record_change(session, agent, "move", "sla_policy", key, changes({"position": place + 1}, {"position": target + 1}),
                  now)


def save_calendar(session: Session, agent: SupportAgent, key: int | None, values: Values, version: str | None,
                  now: datetime) -> BusinessCalendar:
    """Create (``key`` None) or change a business calendar.

    Raises:
        InvalidSettings: a field cannot be accepted, or the calendar would never open.
        ChangedMeanwhile: it was changed since ``version`` was read.
        NotFound: there is no such calendar.
        NotAllowed: the agent is no manager.
    """
    require_role(agent, "manager")
    calendar, before = to_change(session, BusinessCalendar, key, version, calendar_snapshot)
    checked = check_calendar(values, now)
    if taken(session, BusinessCalendar.name, checked["name"], key):
        raise InvalidSettings(problems={"name": Refusal("taken")})
    for name, value in checked.items():
        setattr(calendar, name, value)
    keep(session, agent, "business_calendar", calendar, before, calendar_snapshot, now)
    return calendar


def check_calendar(values: Values, now: datetime) -> dict[str, Any]:
    """The columns of a calendar that opens.

    Raises:
        InvalidSettings: a field cannot be accepted, or the calendar would never open.
    """
    checked = Checked(values)
    columns: dict[str, Any] = {
        "name": checked.text("name", NAME_LIMIT), "time_zone": checked.one_of("time_zone", time_zones()),
        "weekly": {name[-1]: _intervals(checked, name) for name in WEEK},
        "holidays": checked.one_of("holidays", holiday_countries(), optional=True),
        "closing_days": _closing_days(checked)}
    if not checked.problems:
        try:
            BusinessHours.of(SimpleNamespace(**columns)).next_opening(now)
        except EmptyCalendar:
            checked.refuse("weekly_0", "never_opens")
    checked.done()
    return columns


@lru_cache(maxsize=1)
def time_zones() -> tuple[str, ...]:
    """The time zones there are, by place; and UTC."""
    places = (name for name in zoneinfo.available_timezones() if "/" in name and not name.startswith("Etc/"))
    return (*sorted(places), "UTC")


@lru_cache(maxsize=1)
def holiday_countries() -> tuple[str, ...]:
    """The countries whose public holidays are known, by their two letters."""
    return tuple(sorted(code for code in holidays.list_supported_countries() if re.fullmatch("[A-Z]{2}", code)))


def _check_policy(session: Session, values: Values, key: int | None) -> dict[str, Any]:
    checked = Checked(values)
    tiers = session.execute(select(Tier.code)).scalars().all()
    calendars = session.execute(select(BusinessCalendar.id)).scalars().all()
    columns: dict[str, Any] = {
        "name": checked.text("name", NAME_LIMIT),
        "ticket_kind": checked.one_of("ticket_kind", TICKET_KINDS, optional=True),
        "grade": checked.one_of("grade", GRADES, optional=True),
        "tier_code": checked.one_of("tier_code", tiers, optional=True),
        **{name: checked.whole(name, SHORTEST_PROMISE_SECONDS, LONGEST_PROMISE_SECONDS, optional=True,
                               reason="promise_out_of_range") for name in TARGETS},
        "around_the_clock": checked.flag("around_the_clock"),
        "calendar_id": checked.one_of("calendar_id", calendars), "active": checked.flag("active")}
    if columns["grade"] is not None and columns["ticket_kind"] != "complaint":
        checked.refuse("grade", "grade_of_complaints")
    if all(values.get(name) is None for name in TARGETS):
        checked.refuse("first_response_seconds", "no_promise")
    if columns["name"] and taken(session, SlaPolicy.name, columns["name"], key):
        checked.refuse("name", "taken")
    checked.done()
    return columns


def _insert_in_order(session: Session, policy: SlaPolicy) -> None:
    policies = in_order(session, lock=True)
    place = next((number for number, other in enumerate(policies) if covers(other, policy)), len(policies))
    policies.insert(place, policy)
    _number(session, policies)


def _number(session: Session, policies: Sequence[SlaPolicy]) -> None:
    """Give the policies the places 1, 2, 3 …; no two ever have the same on the way, as the database wants it."""
    lowest = min([0, *(policy.position for policy in policies if policy.position is not None)])
    for number, policy in enumerate(policies, 1):
        policy.position = lowest - number
    session.add_all(policies)
    flush(session, "name")
    for number, policy in enumerate(policies, 1):
        policy.position = number
    session.flush()


def _intervals(checked: Checked, name: str) -> list[list[str]]:
    """A weekday's intervals in order; none may end before it starts or reach into the next."""
    pairs = sorted([list(pair) for pair in checked.values.get(name) or ()])
    if any(len(pair) != 2 or not all(HOUR.fullmatch(str(at)) for at in pair) for pair in pairs):
        checked.refuse(name, "not_hours")
        return []
    if len(pairs) > INTERVALS_A_DAY:
        checked.refuse(name, "too_many", limit=INTERVALS_A_DAY)
    if any(start >= end for start, end in pairs):
        checked.refuse(name, "hours_backwards")
    elif any(former[1] > later[0] for former, later in pairwise(pairs)):
        checked.refuse(name, "hours_overlap")
    return pairs


def _closing_days(checked: Checked) -> list[str]:
    days = sorted(set(checked.values.get("closing_days") or ()))
    for day in days:
        try:
            if date.fromisoformat(day).year not in YEARS:
                raise ValueError(day)
        except (TypeError, ValueError):
            checked.refuse("closing_days", "not_a_date", given=str(day)[:20])
    if len(days) > CLOSING_DAYS:
        checked.refuse("closing_days", "too_many", limit=CLOSING_DAYS)
    return days


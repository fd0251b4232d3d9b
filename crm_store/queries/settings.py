"""What there is to set: the lists of the settings, and how many of each."""
from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy import select
from sqlalchemy.orm import Session, joinedload

from crm_store.models import (
    BusinessCalendar,
    Conversation,
    KnowledgeArticle,
    Macro,
    Reward,
    SlaPolicy,
    SupportAgent,
    Team,
    Tier,
)
from crm_store.rules.calendar import BusinessHours, Interval

COUNTED = {"policies": SlaPolicy, "calendars": BusinessCalendar, "tiers": Tier, "rewards": Reward, "macros": Macro,
           "articles": KnowledgeArticle, "teams": Team, "agents": SupportAgent}


class OpenDay(NamedTuple):
    """A day of a calendar: its open stretches, and why it is not like every week ("" where it is)."""

    day: date
    intervals: list[Interval]
    why: str


def counts(session: Session) -> dict[str, int]:
    """How many there are of everything that can be set."""
    return {name: int(session.execute(select(sa.func.count()).select_from(model)).scalar_one())
            for name, model in COUNTED.items()}


def policies(session: Session) -> list[SlaPolicy]:
    """The SLA policies in the managers' order."""
    return _all(session, select(SlaPolicy).order_by(SlaPolicy.position).options(joinedload(SlaPolicy.calendar)))


def calendars(session: Session) -> list[BusinessCalendar]:
    """The business calendars, the first one first: its time zone is the shop's."""
    return _all(session, select(BusinessCalendar).order_by(BusinessCalendar.id))


def tiers(session: Session) -> list[Tier]:
    """The tiers from the lowest to the highest."""
    return _all(session, select(Tier).order_by(Tier.rank))


def rewards(session: Session) -> list[Reward]:
    """The rewards, those that can be had first, the cheapest first."""
    return _all(session, select(Reward).order_by(Reward.active.desc(), Reward.cost_points, Reward.id))


def macros(session: Session) -> list[Macro]:
    """The macros as agents see them, after the phrases that answer an emotion."""
    return _all(session, select(Macro).order_by(Macro.emotion.is_(None).desc(), Macro.emotion, Macro.id))


def articles(session: Session) -> list[KnowledgeArticle]:
    """The articles by what they are about."""
    return _all(session, select(KnowledgeArticle).order_by(KnowledgeArticle.intent, KnowledgeArticle.slug))


def teams(session: Session) -> list[tuple[Team, int]]:
    """The teams, each with how many active agents it has."""
    members = (select(sa.func.count()).where(SupportAgent.team_id == Team.id, SupportAgent.active.is_(True))
               .scalar_subquery())
    return [(row[0], int(row[1])) for row in session.execute(select(Team, members).order_by(Team.id)).all()]


def agents(session: Session) -> list[tuple[SupportAgent, int]]:
    """The agents, those who may enter first, each with how many conversations they have open."""
    held = (select(sa.func.count()).where(Conversation.assignee_id == SupportAgent.id, Conversation.status == "open")
            .scalar_subquery())
    found = session.execute(
        select(SupportAgent, held).options(joinedload(SupportAgent.team))
        .order_by(SupportAgent.active.desc(), SupportAgent.name, SupportAgent.id)).all()
    return [(row[0], int(row[1])) for row in found]


def coming_days(calendar: Any, now: datetime, count: int = 14) -> list[OpenDay]:
    """The next days of a calendar, today first.

    Args:
        calendar: what has the columns of ``BusinessCalendar``.
        now: which day is today.
        count: how many days.

    Raises:
        EmptyCalendar: it never opens.
    """
    hours = BusinessHours.of(calendar)
    first = now.astimezone(hours.zone).date()
    days = [first + timedelta(days=number) for number in range(count)]
    return [OpenDay(day, hours.open_stretches(day, day), hours.why(day)) for day in days]


def _all(session: Session, wanted: Any) -> list[Any]:
    return list(session.execute(wanted).scalars())

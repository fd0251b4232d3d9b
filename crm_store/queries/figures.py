"""The managers' figures: what happened in a period, each figure one grouped query. Check the role before.

Everything is counted by buckets of the period (days, weeks or four weeks), ``BEFORE`` being the whole period before.
"""
from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy import select
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import Session
from sqlalchemy.sql.functions import FunctionElement

from crm_store.models import (
    Conversation,
    Customer,
    Escalation,
    Message,
    Rating,
    SlaClock,
    SlaPolicy,
    SupportAgent,
    Team,
    Ticket,
    Tier,
)
from crm_store.rules.escalation import DEFAULT_THRESHOLDS, Thresholds
from crm_store.rules.figures import DAY_SECONDS, Period

BEFORE = -1
BOT = "bot"
OUTCOMES = (BOT, "resolved", "open", "snoozed", "pending")
BANDS = ("route", "watch", "calm", "unknown")
GUEST_TIER = "silver"
LOW_CONFIDENCE = 0.5
HUMAN_WORK = ("handoff", "complaint")
AGES = tuple(timedelta(hours=hours) for hours in (1, 4, 24, 72))
"""The limits between the ages of what is open."""

Counts = dict[tuple[int, str], int]
"""How many of each kind fell into each bucket."""


@dataclass(frozen=True)
class Scope:
    """What the figures are about: a period, and the conversations that count.

    A team's conversations are those it was given and those that one of its members has; an agent's those they have or
    wrote in.
    """

    period: Period
    channel: str | None = None
    language: str | None = None
    team_id: int | None = None
    agent_id: int | None = None


@dataclass(frozen=True)
class Read:
    """Messages of a bucket that read alike; ``unsure`` of them with a confidence below ``LOW_CONFIDENCE``.

    How many of those before the period were unsure is not counted.
    """

    bucket: int
    band: str
    intent: str | None
    messages: int
    unsure: int


@dataclass(frozen=True)
class Calmed:
    """Conversations handed over in one mood and resolved in another: bands as ``crm_store.rules.escalation`` has."""

    at_handover: str
    at_end: str
    conversations: int


@dataclass(frozen=True)
class Scored:
    """How many gave a score; ``name`` is whose or what for, an agent's id or a reason."""

    name: int | str | None
    score: int
    count: int


@dataclass(frozen=True)
class Waiting:
    """Conversations in human hands now, by team, status and age: the index of the first of ``AGES`` not reached."""

    team_id: int | None
    status: str
    age: int
    conversations: int


class unix_seconds(FunctionElement):  # type: ignore[misc]
    """A stored time as whole Unix seconds."""

    type = sa.BigInteger()
    inherit_cache = True


@compiles(unix_seconds)
def _unix_seconds(element: Any, compiler: Any, **kw: Any) -> str:
    return f"CAST(floor(extract(epoch FROM {compiler.process(element.clauses, **kw)})) AS BIGINT)"


@compiles(unix_seconds, "sqlite")
def _unix_seconds_sqlite(element: Any, compiler: Any, **kw: Any) -> str:
    return f"CAST(strftime('%s', {compiler.process(element.clauses, **kw)}) AS INTEGER)"


class rarely(FunctionElement):  # type: ignore[misc]
    """A condition that few rows fulfil: SQLite, which keeps no statistics, then begins with it."""

    type = sa.Boolean()
    inherit_cache = True


@compiles(rarely)
def _rarely(element: Any, compiler: Any, **kw: Any) -> str:
    return str(compiler.process(element.clauses, **kw))


@compiles(rarely, "sqlite")
def _rarely_sqlite(element: Any, compiler: Any, **kw: Any) -> str:
    return f"likelihood({compiler.process(element.clauses, **kw)}, 0.01)"


def changed_since(at: datetime) -> Any:
    """The conversation was changed since a time: only such a one holds messages from then on, and that is indexed."""
    return rarely(Conversation.updated_at >= at)


def local_seconds(column: Any, period: Period) -> Any:
    """A time as seconds of the local day count that ``period.zero`` belongs to."""
    at, offsets = unix_seconds(column), period.offsets()
    last = offsets[-1].seconds
    if len(offsets) == 1:
        return at + last
    return at + sa.case(*((at < each.until, each.seconds) for each in offsets[:-1]), else_=last)


def bucket_of(column: Any, period: Period) -> Any:
    """The index of the bucket that a time of the period lies in; ``BEFORE`` where it lies before."""
    first, last = period.buckets()[0]
    size = ((last - first).days + 1) * DAY_SECONDS
    return sa.case((column < period.since, BEFORE), else_=(local_seconds(column, period) - period.zero) / size)


def hour_of(column: Any, period: Period) -> Any:
    """The local hour of a time, 0 to 23."""
    return local_seconds(column, period) % DAY_SECONDS / 3600


def in_period(column: Any, period: Period, *, before: bool = False) -> Any:
    """The time lies in the period, or in it and the one before."""
    return sa.and_(column >= (period.before_since if before else period.since), column < period.until)


def conversations_in(scope: Scope) -> list[Any]:
    """The conditions on ``Conversation`` of a scope, its period left out."""
    conditions: list[Any] = []
    if scope.channel is not None:
        conditions.append(Conversation.channel == scope.channel)
    if scope.language is not None:
        conditions.append(Conversation.language == scope.language)
    if scope.team_id is not None:
        members = select(SupportAgent.id).where(SupportAgent.team_id == scope.team_id).scalar_subquery()
        conditions.append(sa.or_(Conversation.team_id == scope.team_id, Conversation.assignee_id.in_(members)))
    if scope.agent_id is not None:
        wrote = sa.exists().where(
            Message.conversation_id == Conversation.id, Message.agent_id == scope.agent_id,
            Message.direction == "outgoing").correlate(Conversation)
        conditions.append(sa.or_(Conversation.assignee_id == scope.agent_id, wrote))
    return conditions


def settled_by_bot() -> Any:
    """The conversation never had a human owner, and nothing in it waits for one."""
    complained = sa.exists().where(
        Ticket.conversation_id == Conversation.id, Ticket.kind.in_(HUMAN_WORK)).correlate(Conversation)
    return sa.and_(Conversation.version == 1, ~complained)


def volume(session: Session, scope: Scope) -> Counts:
    """Conversations that began, by what has become of them: "bot" alone, or the status that people left them in."""
    bucket = bucket_of(Conversation.created_at, scope.period).label("bucket")
    outcome = sa.case((settled_by_bot(), BOT), else_=Conversation.status).label("outcome")
    return _counts(session.execute(
        select(bucket, outcome, sa.func.count().label("count")).select_from(Conversation)
        .where(in_period(Conversation.created_at, scope.period, before=True), *conversations_in(scope))
        .group_by(bucket, outcome)))


def handovers(session: Session, scope: Scope) -> tuple[Counts, dict[str, int]]:
    """Conversations handed over, by reason: by bucket, and in the whole period. Each counts once for each reason."""
    bucket = bucket_of(Escalation.decided_at, scope.period).label("bucket")
    distinct = sa.func.count(Escalation.conversation_id.distinct()).label("count")
    within = [in_period(Escalation.decided_at, scope.period), *conversations_in(scope)]
    joined = select(Escalation.reason, distinct).join(Conversation, Conversation.id == Escalation.conversation_id)
    by_bucket = _counts(session.execute(
        select(bucket, Escalation.reason, distinct).join(Conversation, Conversation.id == Escalation.conversation_id)
        .where(*within).group_by(bucket, Escalation.reason)))
    return by_bucket, dict(session.execute(joined.where(*within).group_by(Escalation.reason)).all())


def messages_read(session: Session, scope: Scope) -> list[Read]:
    """Customers' typed messages that were handled: how angry they read for the customer's tier, and about what."""
    bucket, band = bucket_of(Message.created_at, scope.period).label("bucket"), _band(session, Message.anger)
    unsure = sa.case((Message.created_at < scope.period.since, 0),  # spares reading the JSON of the period before
                     (Message.understood["confidence"].as_float() < LOW_CONFIDENCE, 1), else_=0)
    rows = session.execute(
        select(bucket, band.label("band"), Message.intent, sa.func.count().label("messages"),
               sa.func.sum(unsure).label("unsure"))
        .select_from(Conversation).join(Message, Message.conversation_id == Conversation.id)
        .outerjoin(Customer, Customer.id == Conversation.customer_id)
        .where(changed_since(scope.period.before_since), Message.direction == "incoming",
               Message.payload.is_(None), Message.handled_at.is_not(None),
               in_period(Message.created_at, scope.period, before=True), *conversations_in(scope))
        .group_by(sa.literal_column("bucket"), sa.literal_column("band"), Message.intent))
    return [Read(row.bucket, row.band, row.intent, row.messages, row.unsure) for row in rows]


def calmed(session: Session, scope: Scope) -> list[Calmed]:
    """Conversations handed over in the period and resolved since: the mood at the handover and at the end."""
    first = (select(sa.func.min(Escalation.id).label("id")).where(in_period(Escalation.decided_at, scope.period))
             .group_by(Escalation.conversation_id).subquery())
    start = _band(session, Escalation.anger).label("at_handover")
    end = _band(session, Conversation.anger).label("at_end")
    rows = session.execute(
        select(start, end, sa.func.count().label("count")).select_from(first)
        .join(Escalation, Escalation.id == first.c.id)
        .join(Conversation, Conversation.id == Escalation.conversation_id)
        .outerjoin(Customer, Customer.id == Conversation.customer_id)
        .where(Conversation.status == "resolved", *conversations_in(scope))
        .group_by(sa.literal_column("at_handover"), sa.literal_column("at_end")))
    return [Calmed(row.at_handover, row.at_end, row.count) for row in rows]


def scores(session: Session, scope: Scope) -> Counts:
    """Ratings given, by score ("1" to "5")."""
    bucket = bucket_of(Rating.created_at, scope.period).label("bucket")
    rows = session.execute(
        select(bucket, Rating.score, sa.func.count().label("count"))
        .join(Conversation, Conversation.id == Rating.conversation_id)
        .where(in_period(Rating.created_at, scope.period, before=True), *conversations_in(scope))
        .group_by(bucket, Rating.score))
    return {(row.bucket, str(row.score)): row.count for row in rows}


def scores_of_agents(session: Session, scope: Scope) -> list[Scored]:
    """Ratings given, by the agent who had the conversation."""
    return _scored(session, scope, Rating.agent_id, select(Rating.agent_id, Rating.score, sa.func.count()))


def scores_of_reasons(session: Session, scope: Scope) -> list[Scored]:
    """Ratings given, by the reasons for which the conversation had been handed over."""
    wanted = (select(Escalation.reason, Rating.score, sa.func.count(Rating.id.distinct()))
              .join(Escalation, sa.and_(Escalation.conversation_id == Rating.conversation_id,
                                        Escalation.decided_at <= Rating.created_at)))
    return _scored(session, scope, Escalation.reason, wanted)


def scores_of_policies(session: Session, scope: Scope) -> list[Scored]:
    """Ratings given, by the SLA policy of the latest promise that was running before."""
    latest = (select(SlaClock.policy_id).join(Ticket, Ticket.id == SlaClock.ticket_id)
              .where(Ticket.conversation_id == Rating.conversation_id, SlaClock.started_at <= Rating.created_at)
              .order_by(SlaClock.id.desc()).limit(1).correlate(Rating).scalar_subquery())
    name = select(SlaPolicy.name).where(SlaPolicy.id == latest).correlate(Rating).scalar_subquery().label("policy")
    rows = session.execute(
        select(name, Rating.score, sa.func.count()).select_from(Rating)
        .join(Conversation, Conversation.id == Rating.conversation_id)
        .where(in_period(Rating.created_at, scope.period), *conversations_in(scope))
        .group_by(sa.literal_column("policy"), Rating.score))
    return [Scored(*row) for row in rows]


def backlog_now(session: Session, scope: Scope, now: datetime) -> list[Waiting]:
    """Open and waiting conversations in human hands now, by team and by how long their oldest ticket is open."""
    oldest = (select(sa.func.min(Ticket.opened_at)).where(
        Ticket.conversation_id == Conversation.id, Ticket.status != "resolved").correlate(Conversation)
        .scalar_subquery())
    since = sa.func.coalesce(oldest, Conversation.created_at, type_=Conversation.created_at.type)
    age = sa.case(*((since > now - limit, number) for number, limit in enumerate(AGES)), else_=len(AGES)).label("age")
    rows = session.execute(
        select(Conversation.team_id, Conversation.status, age, sa.func.count().label("count"))
        .where(Conversation.status.in_(("open", "snoozed")), *conversations_in(scope))
        .group_by(Conversation.team_id, Conversation.status, sa.literal_column("age")))
    return [Waiting(row.team_id, row.status, row.age, row.count) for row in rows]


def backlog_over_time(session: Session, scope: Scope) -> list[int]:
    """Complaints and handoffs that were open at the end of each bucket, from when they were opened and resolved."""
    period, buckets = scope.period, len(scope.period.buckets())
    opened = sa.case((Ticket.opened_at < period.since, BEFORE), else_=bucket_of(Ticket.opened_at, period))
    resolved = sa.case((Ticket.resolved_at < period.until, bucket_of(Ticket.resolved_at, period)), else_=buckets)
    rows = session.execute(
        select(opened.label("opened"), resolved.label("closed"), sa.func.count().label("count"))
        .join(Conversation, Conversation.id == Ticket.conversation_id)
        .where(Ticket.kind.in_(HUMAN_WORK), Ticket.opened_at < period.until,
               sa.or_(Ticket.resolved_at.is_(None), Ticket.resolved_at >= period.since), *conversations_in(scope))
        .group_by(sa.literal_column("opened"), sa.literal_column("closed"))).all()
    return [sum(row.count for row in rows if row.opened <= number < row.closed) for number in range(buckets)]


def teams_and_agents(session: Session, team_id: int | None = None) -> tuple[dict[int, str], dict[int, str]]:
    """The names of teams and of the agents in them, by id; of one team where it is given."""
    teams, agents = select(Team.id, Team.name).order_by(Team.id), select(SupportAgent.id, SupportAgent.name)
    if team_id is not None:
        teams, agents = teams.where(Team.id == team_id), agents.where(SupportAgent.team_id == team_id)
    return (dict(session.execute(teams).all()),
            dict(session.execute(agents.order_by(SupportAgent.name, SupportAgent.id)).all()))


def lowest_thresholds(session: Session) -> Thresholds:
    """The anger from which a message of any tier reads as angry, and as upset."""
    route, watch = session.execute(select(sa.func.min(Tier.anger_route), sa.func.min(Tier.anger_watch))).one()
    return DEFAULT_THRESHOLDS if route is None else Thresholds(route=float(route), watch=float(watch))


def _band(session: Session, anger: Any) -> Any:
    """The band that an anger lies in, for the tier of the joined ``Customer``; guests are as Silver."""
    tiers = session.execute(select(Tier.code, Tier.anger_route, Tier.anger_watch)).all()
    own = {tier.code: tier for tier in tiers}

    def limit(name: str, default: float) -> Any:
        guest = getattr(own.get(GUEST_TIER), f"anger_{name}", default)
        cases = [(Customer.tier_code == tier.code, getattr(tier, f"anger_{name}")) for tier in tiers]
        return sa.case(*cases, else_=guest) if cases else guest

    return sa.case((anger.is_(None), "unknown"), (anger >= limit("route", DEFAULT_THRESHOLDS.route), "route"),
                   (anger >= limit("watch", DEFAULT_THRESHOLDS.watch), "watch"), else_="calm")


def _scored(session: Session, scope: Scope, name: Any, wanted: Any) -> list[Scored]:
    rows = session.execute(
        wanted.join(Conversation, Conversation.id == Rating.conversation_id)
        .where(in_period(Rating.created_at, scope.period), *conversations_in(scope))
        .group_by(name, Rating.score).order_by(name, Rating.score))
    return [Scored(*row) for row in rows]


def _counts(rows: Any) -> Counts:
    return {(int(bucket), kind): int(count) for bucket, kind, count in rows}

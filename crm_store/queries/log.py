"""The managers' log: every conversation, searched by words and by what happened in it."""
from __future__ import annotations

import functools
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any
from zoneinfo import ZoneInfo

import sqlalchemy as sa
from sqlalchemy import select
from sqlalchemy.dialects import postgresql
from sqlalchemy.orm import Session

from crm_store.models import (
    Conversation,
    Customer,
    Escalation,
    Message,
    Rating,
    SlaClock,
    SupportAgent,
    Ticket,
)
from crm_store.models.search import asked_words
from crm_store.queries.calendar import shop_time_zone
from crm_store.queries.figures import settled_by_bot, unix_seconds
from crm_store.rules.figures import Offset, offsets_between
from crm_store.rules.search_words import Wanted, snippet, wanted_in

MOST_PER_PAGE = 200
MOST_COUNTED = 1000
PAGES_AHEAD = 4
SNIPPET_LENGTH = 160
SORTS = ("newest", "relevance")
FEW = 5000
"""Up to so many messages a word is looked up at once; one in more is looked for in the newest conversations instead."""

_MANY = {
    "sqlite": sa.text("SELECT count(*) FROM (SELECT 1 FROM message_words WHERE words MATCH :asked LIMIT :most)"),
    "postgresql": sa.text("SELECT count(*) FROM (SELECT 1 FROM message_words WHERE words @@ CAST(:asked AS tsquery) "
                          "LIMIT :most) AS first"),
}
_HITS = {
    "sqlite": sa.text("SELECT conversation_id, count(*) FROM message_words WHERE words MATCH :asked GROUP BY 1"),
    "postgresql": sa.text("SELECT conversation_id, count(*) FROM message_words "
                          "WHERE words @@ CAST(:asked AS tsquery) GROUP BY 1"),
}
_HOLDS = {  # CROSS JOIN: the few messages of a conversation first; FTS5 keeps the words in its table _content
    "sqlite": "EXISTS (SELECT 1 FROM messages AS m CROSS JOIN message_words_content AS w "
              "WHERE m.conversation_id = conversations.id AND w.id = m.id AND {stand})",
    "postgresql": "EXISTS (SELECT 1 FROM message_words AS w WHERE w.conversation_id = conversations.id AND {stand} "
                  "OFFSET 0)",  # looked at for each conversation, whatever PostgreSQL thinks of how rare a phrase is
}
_BEST = {
    "sqlite": "SELECT max(m.id) FROM messages AS m CROSS JOIN message_words_content AS w "
              "WHERE m.conversation_id IN :ids AND w.id = m.id AND {stand} GROUP BY m.conversation_id",
    "postgresql": "SELECT max(w.message_id) FROM message_words AS w "
                  "WHERE w.conversation_id IN :ids AND {stand} GROUP BY w.conversation_id",
}
_IN_ONE = {
    "sqlite": "SELECT m.id FROM messages AS m CROSS JOIN message_words_content AS w "
              "WHERE m.conversation_id = :id AND w.id = m.id AND {stand}",
    "postgresql": "SELECT w.message_id FROM message_words AS w WHERE w.conversation_id = :id AND {stand}",
}


@dataclass(frozen=True)
class LogFilter:
    """What a conversation must fit; None asks for nothing.

    Attributes:
        words: as :func:`crm_store.rules.search_words.wanted_in` reads them; each must stand in a message or note, or in
            the customer's name or number or a ticket's number.
        channel: "web", "http", "telegram" or "wechat".
        language: "zh" or "en".
        status: of the conversation now.
        intent: of any message.
        anger_at_least: of any message, 0 to 1.
        anger_at_most: of every message that could be read; at least one could.
        anger_unknown: whether the mood of a typed message could not be read.
        reason: of any escalation.
        agent_id: the assignee, or whoever wrote to the customer.
        team_id: the team it was given to, or that of the assignee.
        grade: of any complaint.
        breached: whether a promise was broken.
        promise: of which kind the promise is; without ``breached`` one was made, with False it was also kept.
        rating: 1 to 5, of any episode.
        cause: the outcome with which a ticket was resolved.
        by_bot: whether the bot settled it alone.
        hour: 0 to 23 on the shop's clock: when it began, or, with ``breached`` or ``promise``, when that was promised.
        since: the first moment of the period, included.
        until: the last, not included.
        dates: what lies in the period. "begun": the beginning of the conversation. "active": any part of the
            conversation, and whatever is asked of messages, escalations, promises' verdicts and ratings.
    """

    words: str | None = None
    channel: str | None = None
    language: str | None = None
    status: str | None = None
    intent: str | None = None
    anger_at_least: float | None = None
    anger_at_most: float | None = None
    anger_unknown: bool | None = None
    reason: str | None = None
    agent_id: int | None = None
    team_id: int | None = None
    grade: str | None = None
    breached: bool | None = None
    promise: str | None = None
    rating: int | None = None
    cause: str | None = None
    by_bot: bool | None = None
    hour: int | None = None
    since: datetime | None = None
    until: datetime | None = None
    dates: str = "active"


@dataclass(frozen=True)
class LogRow:
    """One conversation in the log, with a snippet of the newest message that holds a word, or of the newest of all."""

    conversation_id: int
    customer_id: int | None
    customer_name: str | None
    customer_number: str | None
    channel: str
    language: str
    status: str
    assignee_id: int | None
    assignee_name: str | None
    anger: float | None
    created_at: datetime
    updated_at: datetime
    resolved_at: datetime | None
    messages: int
    text: str
    excerpt: str
    tickets: tuple[str, ...]
    reasons: tuple[str, ...]
    grade: str | None
    cause: str | None
    breached: bool
    rating: int | None


@dataclass(frozen=True)
class LogPage:
    """One page of the log.

    ``total`` counts what was found, up to ``MOST_COUNTED`` or, where words are common, some pages ahead; ``more`` says
    that there is more. ``pages`` is at least 1.
    """

    rows: tuple[LogRow, ...]
    total: int
    more: bool
    page: int
    per_page: int
    pages: int


@dataclass
class _Plan:
    """How a filter is looked up: conditions, and what the rare words leave of the conversations, with their scores.

    ``walks``: some words are so common that conversations are looked at one by one, the newest first.
    """

    conditions: list[Any] = field(default_factory=list)
    scores: dict[int, float] | None = None
    walks: bool = False


def search_log(session: Session, *, page: int = 1, per_page: int = 50, sort: str = "newest",
               **asked: Any) -> LogPage:
    """Conversations that fit every condition. For managers: check the role before, and limit what the session sees.

    Args:
        session: any session.
        page: from 1.
        per_page: at most 200.
        sort: "newest": the latest changed first. "relevance": first where the rarer words stand in more messages; where
            all words are common they tell nothing, and the newest come first.
        **asked: what a :class:`LogFilter` has.
    """
    page, per_page = max(page, 1), min(max(per_page, 1), MOST_PER_PAGE)
    wanted = wanted_in(_storable(asked.get("words") or ""))
    plan = _plan(session, LogFilter(**asked), wanted)
    most = min(MOST_COUNTED, (page + PAGES_AHEAD) * per_page) if plan.walks else MOST_COUNTED
    newest = (select(Conversation.id).where(*plan.conditions)
              .order_by(Conversation.updated_at.desc(), Conversation.id.desc()))
    if sort == "relevance" and plan.scores:
        ids = sorted(session.execute(newest).scalars(), key=lambda found: -plan.scores[found])  # type: ignore[index]
    else:
        ids = list(session.execute(newest.limit(most + 1)).scalars())
    counted = ids[:most]
    shown = counted[(page - 1) * per_page:page * per_page]
    return LogPage(rows=log_rows(session, shown, wanted), total=len(counted), more=len(ids) > len(counted), page=page,
                   per_page=per_page, pages=max(1, -(-len(counted) // per_page)))


def found_in_log(session: Session, batch: int, **asked: Any) -> Iterator[list[int]]:
    """The ids of all conversations that fit, the latest begun first, ``batch`` at a time, each read as it is asked for.

    Args:
        session: any session; it is used until the last batch.
        batch: how many ids at a time.
        **asked: what a :class:`LogFilter` has.
    """
    plan = _plan(session, LogFilter(**asked), wanted_in(_storable(asked.get("words") or "")))
    following = select(Conversation.id).where(*plan.conditions).order_by(Conversation.id.desc()).limit(batch)
    ids = list(session.execute(following).scalars())
    while ids:
        yield ids
        ids = list(session.execute(following.where(Conversation.id < ids[-1])).scalars())


def escape_like(text: str) -> str:
    """A text in which every character means itself to LIKE, with the backslash as its escape."""
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")


def _storable(words: str) -> str:
    """What a database can be asked for: NUL and lone surrogates occur in no message."""
    return words.replace("\x00", "").encode("utf-8", "replace").decode()


def _dialect(session: Session) -> str:
    return str(session.get_bind().dialect.name)


def _plan(session: Session, asked: LogFilter, wanted: Sequence[Wanted]) -> _Plan:
    plan = _Plan(_conditions(session, asked))
    if not wanted and _storable(asked.words or "").strip():
        plan.conditions.append(sa.false())
    for number, thing in enumerate(wanted):
        _look_up(session, thing, number, plan)
    if plan.scores is not None:
        plan.conditions.append(_among(session, Conversation.id, plan.scores))
    return plan


def _look_up(session: Session, thing: Wanted, number: int, plan: _Plan) -> None:
    """Narrow the scores where the thing is rare, add a condition where it is common."""
    dialect = _dialect(session)
    asked = {"asked": asked_words([thing], dialect)}
    many = session.execute(_MANY[dialect], {**asked, "most": FEW + 1}).scalar_one()
    named = _named(session, thing)
    if many > FEW or len(named) > FEW:
        holds = _statement(_HOLDS, dialect, [thing], f"asked_{number}")
        plan.conditions.append(sa.or_(holds, _among(session, Conversation.id, named)) if named else holds)
        plan.walks = True
        return
    share = {found: times / many for found, times in session.execute(_HITS[dialect], asked)}
    share.update({found: share.get(found, 0) + 1 for found in named})
    plan.scores = share if plan.scores is None else {
        found: score + share[found] for found, score in plan.scores.items() if found in share}


def _statement(statements: dict[str, str], dialect: str, things: Sequence[Wanted], name: str = "asked") -> Any:
    """The statement, with any of the things standing in the words ``w``.

    To look into the few messages of one conversation, the index is the slow way: it would be opened for each. SQLite
    reads their words instead, and ``coalesce`` keeps PostgreSQL from its index.
    """
    if dialect == "postgresql":
        stand = f"coalesce(w.words @@ CAST(:{name} AS tsquery), false)"
        return sa.text(statements[dialect].format(stand=stand)).bindparams(**{name: asked_words(things, dialect)})
    values = {f"{name}_{number}": f" {' '.join(thing.words)}{'' if thing.open_end else ' '}"
              for number, thing in enumerate(things)}
    stand = " OR ".join(f"instr(' ' || w.c0 || ' ', :{each}) > 0" for each in values)
    return sa.text(statements[dialect].format(stand=f"({stand})")).bindparams(**values)


def _named(session: Session, thing: Wanted) -> list[int]:
    """Conversations of customers who are called so, or with a ticket of that number."""
    typed = thing.typed
    plain = typed.isascii()
    who = [_contains(Customer.name, typed)] + ([_contains(Customer.number, typed)] if plain else [])
    found = list(session.execute(
        select(Conversation.id).where(Conversation.customer_id.in_(select(Customer.id).where(sa.or_(*who))))
        .limit(FEW + 1)).scalars())
    if plain:
        found += session.execute(
            select(Ticket.conversation_id).where(_contains(Ticket.number, typed)).limit(FEW + 1)).scalars()
    return found


def _contains(column: Any, word: str) -> Any:
    pattern = f"%{escape_like(word)}%"
    return column.like(pattern, escape="\\") if word.upper() == word.lower() else column.ilike(pattern, escape="\\")


def _among(session: Session, column: Any, ids: Iterable[int]) -> Any:
    """The column is one of many ids, given as one value."""
    if _dialect(session) == "sqlite":
        values = sa.func.json_each(json.dumps(list(ids))).table_valued("value")
        return column.in_(select(values.c.value))
    return column == sa.func.any(sa.bindparam(None, list(ids), type_=postgresql.ARRAY(sa.BigInteger)))


def _conditions(session: Session, asked: LogFilter) -> list[Any]:
    dated = asked if asked.dates == "active" else LogFilter()
    conditions: list[Any] = [
        *(column == value for column, value in (
            (Conversation.channel, asked.channel), (Conversation.language, asked.language),
            (Conversation.status, asked.status)) if value is not None),
        *_message_conditions(asked, dated), *_desk_conditions(asked, dated)]
    if asked.by_bot is not None:
        conditions.append(settled_by_bot() if asked.by_bot else ~settled_by_bot())
    about_promises = asked.breached is not None or asked.promise is not None
    if about_promises:
        conditions += _promise_conditions(session, asked, dated)
    elif asked.hour is not None:
        conditions.append(_at_hour(session, Conversation.created_at, asked))
    if asked.since is not None:
        touched = Conversation.updated_at if asked.dates == "active" else Conversation.created_at
        conditions.append(touched >= asked.since)
    if asked.until is not None:
        conditions.append(Conversation.created_at < asked.until)
    return conditions


def _message_conditions(asked: LogFilter, dated: LogFilter) -> list[Any]:
    conditions = []
    within = _within(Message.created_at, dated)
    if asked.intent is not None:
        conditions.append(_has(Message, Message.intent == asked.intent, *within))
    if asked.anger_at_least is not None:
        conditions.append(_has(Message, Message.anger >= asked.anger_at_least, *within))
    if asked.anger_at_most is not None:
        conditions += [_has(Message, Message.anger.is_not(None), *within),
                       ~_has(Message, Message.anger > asked.anger_at_most, *within)]
    if asked.anger_unknown is not None:
        unread = _has(Message, Message.direction == "incoming", Message.payload.is_(None), Message.anger.is_(None),
                      Message.handled_at.is_not(None), *within)
        conditions.append(unread if asked.anger_unknown else ~unread)
    return conditions


def _desk_conditions(asked: LogFilter, dated: LogFilter) -> list[Any]:
    """What people had to do with it."""
    conditions = []
    if asked.reason is not None:
        conditions.append(_has(Escalation, Escalation.reason == asked.reason, *_within(Escalation.decided_at, dated)))
    if asked.agent_id is not None:
        wrote = _has(Message, Message.agent_id == asked.agent_id, Message.direction == "outgoing")
        conditions.append(sa.or_(Conversation.assignee_id == asked.agent_id, wrote))
    if asked.team_id is not None:
        members = select(SupportAgent.id).where(SupportAgent.team_id == asked.team_id)
        conditions.append(sa.or_(Conversation.team_id == asked.team_id, Conversation.assignee_id.in_(members)))
    if asked.grade is not None:
        conditions.append(_has(Ticket, Ticket.grade == asked.grade))
    if asked.cause is not None:
        conditions.append(_has(Ticket, Ticket.resolution_cause == asked.cause, *_within(Ticket.resolved_at, dated)))
    if asked.rating is not None:
        conditions.append(_has(Rating, Rating.score == asked.rating, *_within(Rating.created_at, dated)))
    return conditions


def _promise_conditions(session: Session, asked: LogFilter, dated: LogFilter) -> list[Any]:
    which = [SlaClock.promise == asked.promise] if asked.promise is not None else []
    if asked.hour is not None:
        which.append(_at_hour(session, SlaClock.started_at, asked))
    broken = _promised(SlaClock.state == "breached", *which, *_within(SlaClock.breached_at, dated))
    if asked.breached is None:
        return [_promised(SlaClock.state != "cancelled", *which)]
    if asked.breached:
        return [broken]
    if not which:
        return [~broken]
    return [_promised(SlaClock.state == "met", *which, *_within(SlaClock.met_at, dated)), ~broken]


def _within(column: Any, dated: LogFilter) -> list[Any]:
    return [*([column >= dated.since] if dated.since is not None else []),
            *([column < dated.until] if dated.until is not None else [])]


def _has(model: Any, *conditions: Any) -> Any:
    return sa.exists().where(model.conversation_id == Conversation.id, *conditions).correlate(Conversation)


def _promised(*conditions: Any) -> Any:
    return _has(Ticket, SlaClock.ticket_id == Ticket.id, *conditions)


def _at_hour(session: Session, column: Any, asked: LogFilter) -> Any:
    """The time lies in this hour of the shop's day."""
    *earlier, last = _offsets(shop_time_zone(session))
    shift = sa.case(*((unix_seconds(column) < each.until, each.seconds) for each in earlier),
                    else_=last.seconds) if earlier else last.seconds
    return (unix_seconds(column) + shift) % 86_400 / 3600 == asked.hour


@functools.cache
def _offsets(zone: str) -> list[Offset]:
    """How far a zone is from UTC over all the years that a log can have."""
    return offsets_between(datetime(2020, 1, 1, tzinfo=timezone.utc), datetime(2060, 1, 1, tzinfo=timezone.utc),
                           ZoneInfo(zone))


def log_rows(session: Session, ids: Sequence[int], wanted: Sequence[Wanted] = ()) -> tuple[LogRow, ...]:
    """The rows of these conversations, in this order; check access before.

    Args:
        session: any session.
        ids: which conversations.
        wanted: what the snippets are to show.
    """
    if not ids:
        return ()
    found = {row.Conversation.id: row for row in session.execute(
        select(Conversation, Customer.name, Customer.number, SupportAgent.name.label("assignee_name"),
               _promised(SlaClock.state == "breached").label("breached"))
        .outerjoin(Customer, Customer.id == Conversation.customer_id)
        .outerjoin(SupportAgent, SupportAgent.id == Conversation.assignee_id)
        .where(Conversation.id.in_(ids)))}
    counts = dict(session.execute(
        select(Message.conversation_id, sa.func.count()).where(Message.conversation_id.in_(ids))
        .group_by(Message.conversation_id)).all())
    texts = _texts(session, ids, wanted)
    tickets: dict[int, list[Any]] = {}
    for ticket in session.execute(
            select(Ticket.conversation_id, Ticket.number, Ticket.grade, Ticket.resolution_cause)
            .where(Ticket.conversation_id.in_(ids)).order_by(Ticket.id)).all():
        tickets.setdefault(ticket.conversation_id, []).append(ticket)
    reasons: dict[int, list[str]] = {}
    for escalation in session.execute(
            select(Escalation.conversation_id, Escalation.reason).where(Escalation.conversation_id.in_(ids))
            .order_by(Escalation.id)).all():
        reasons.setdefault(escalation.conversation_id, []).append(escalation.reason)
    scores = dict(session.execute(
        select(Rating.conversation_id, Rating.score).where(Rating.conversation_id.in_(ids)).order_by(Rating.id)).all())
    return tuple(
        LogRow(
            conversation_id=c.id, customer_id=c.customer_id, customer_name=row.name, customer_number=row.number,
            channel=c.channel, language=c.language, status=c.status, assignee_id=c.assignee_id,
            assignee_name=row.assignee_name, anger=c.anger, created_at=c.created_at, updated_at=c.updated_at,
            resolved_at=c.resolved_at, messages=counts.get(c.id, 0), text=texts.get(c.id, ""),
            excerpt=snippet(texts.get(c.id, ""), wanted, SNIPPET_LENGTH),
            tickets=tuple(ticket.number for ticket in tickets.get(c.id, ())),
            reasons=tuple(dict.fromkeys(reasons.get(c.id, ()))), grade=_last(tickets.get(c.id, ()), "grade"),
            cause=_last(tickets.get(c.id, ()), "resolution_cause"), breached=bool(row.breached),
            rating=scores.get(c.id),
        )
        for row in (found[each] for each in ids if each in found) for c in (row.Conversation,))


def _last(rows: Sequence[Any], name: str) -> str | None:
    return next((getattr(row, name) for row in reversed(rows) if getattr(row, name)), None)


def _texts(session: Session, ids: Sequence[int], wanted: Sequence[Wanted]) -> dict[int, str]:
    """For each conversation the newest message that holds any of the words, or the newest of all."""
    newest = select(sa.func.max(Message.id)).where(Message.conversation_id.in_(ids)).group_by(Message.conversation_id)
    texts = dict(session.execute(
        select(Message.conversation_id, Message.text).where(Message.id.in_(newest))).all())
    if wanted:
        dialect = _dialect(session)
        best = session.execute(
            _statement(_BEST, dialect, wanted).bindparams(sa.bindparam("ids", list(ids), expanding=True))
        ).scalars().all()
        texts.update(session.execute(
            select(Message.conversation_id, Message.text).where(Message.id.in_(best))).all())
    return texts


def hits_in(session: Session, conversation_id: int, wanted: Sequence[Wanted]) -> set[int]:
    """The ids of a conversation's messages in which any of the things stands; check access before."""
    found = _statement(_IN_ONE, _dialect(session), wanted).bindparams(id=conversation_id)
    return set(session.execute(found).scalars())

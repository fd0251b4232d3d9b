"""The SLA clock is right by construction: whoever looks, how often, at once or after a crash, the record is the same.

``WARMLINE_EXAMPLES=2000 pytest tests/crm/test_sla_properties.py`` searches longer, with other examples on every run.
"""
from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone
from types import SimpleNamespace
from typing import Any
from zoneinfo import ZoneInfo

import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select
from sqlalchemy.orm import Session

from crm_store.errors import CrmError
from crm_store.models import Conversation, Message, Notification, SlaClock, SlaEvent, SupportAgent, Ticket
from crm_store.rules.calendar import BusinessHours
from crm_store.rules.sla import Stretch, whole_second
from crm_store.services.complaints import file_complaint, raise_grade
from crm_store.services.handoff import (
    claim_conversation,
    escalate_conversation,
    hand_back_conversation,
    reply_to_customer,
    resolve_conversation,
    snooze_conversation,
)
from crm_store.services.sla import next_event, tick
from tests.crm.conftest import HOUR, MINUTE, Desk

LONGER = int(os.environ.get("WARMLINE_EXAMPLES", "0"))
INSTANT = timedelta(microseconds=1)
SECOND = timedelta(seconds=1)


def bounded(examples: int) -> settings:
    """So many examples, the same on every run; more and others where they are asked for."""
    return settings(max_examples=LONGER or examples, derandomize=not LONGER, deadline=None,
                    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])


# Calendars

CHANGES = {  # a local day on which the clocks are changed
    "Europe/Berlin": ("2026-03-29", "2026-10-25"), "America/New_York": ("2026-03-08", "2026-11-01"),
    "Australia/Lord_Howe": ("2026-04-05", "2026-10-04"), "Asia/Shanghai": ("2026-02-14", "2026-10-10"),  # 调休
}


def text(minute: int) -> str:
    return f"{minute // 60:02}:{minute % 60:02}"


@st.composite
def days(draw: st.DrawFn) -> list[list[str]]:
    edges = sorted(draw(st.lists(st.integers(0, 96).map(lambda quarter: quarter * 15), unique=True, max_size=6)))
    return [[text(a), text(b)] for a, b in zip(edges[::2], edges[1::2], strict=False)]


@st.composite
def calendars_and_starts(draw: st.DrawFn) -> tuple[BusinessHours, datetime]:
    """A calendar, and a time near a day on which its clocks change or near China's holidays."""
    zone = draw(st.sampled_from(sorted(CHANGES)))
    weekly = {str(day): draw(days()) for day in range(7)}
    if not any(weekly.values()):
        weekly["6"] = [["01:00", "03:30"]]
    near = date.fromisoformat(draw(st.sampled_from(CHANGES[zone])))
    closing = draw(st.lists(st.integers(-3, 10).map(lambda n: str(near + timedelta(n))), max_size=3))
    hours = BusinessHours.of(SimpleNamespace(
        time_zone=zone, weekly=weekly, holidays="CN" if zone == "Asia/Shanghai" else None, closing_days=closing))
    midnight = datetime(near.year, near.month, near.day, tzinfo=ZoneInfo(zone)).astimezone(timezone.utc)
    return hours, midnight + timedelta(seconds=draw(st.integers(-3 * 86400, 2 * 86400)))


targets = st.integers(1, 40 * 3600).map(lambda seconds: timedelta(seconds=seconds))


@bounded(60)
@given(calendars_and_starts(), targets, targets, st.integers(0, 3 * 86400))
def test_due_never_moves_back_and_lies_in_open_hours(made: tuple[BusinessHours, datetime], target: timedelta,
                                                     more: timedelta, later: int) -> None:
    hours, start = made
    due = hours.add(start, target)
    assert hours.add(start + timedelta(seconds=later), target) >= due
    assert hours.add(start, target + more) > due
    assert hours.between(start, due) == target
    assert hours.is_open(due - INSTANT)  # open until then: inside hours, or the very moment of closing


@bounded(60)
@given(calendars_and_starts(), targets, st.lists(st.tuples(st.integers(0, 86_400_000), st.integers(0, 200_000_000)),
                                                 max_size=6))
def test_pauses_anywhere_leave_exactly_the_target(made: tuple[BusinessHours, datetime], target: timedelta,
                                                  pauses: list[tuple[int, int]]) -> None:
    hours, at = made
    elapsed, worked = timedelta(0), timedelta(0)
    since = whole_second(at)
    for ran, paused in pauses:
        stop = whole_second(since + timedelta(milliseconds=ran))
        if stop > Stretch(since, target, elapsed).due_at(hours):
            break
        worked += hours.between(since, stop)
        elapsed = timedelta(seconds=round(Stretch(since, target, elapsed).elapsed_at(stop, hours).total_seconds()))
        since = whole_second(stop + timedelta(milliseconds=paused))
    due = Stretch(since, target, elapsed).due_at(hours)
    assert worked + hours.between(since, due) == target


# Histories

@dataclass(frozen=True)
class Step:
    """What somebody does, ``after`` the step before, and how the worker looks in between."""

    after: timedelta
    act: str
    number: int
    looks: tuple[tuple[float, str], ...]  # the share of the time since the step before, and how


ACTS = ("write", "write", "reply", "reply", "snooze", "snooze_until", "resolve", "hand_back", "ask", "rate", "raise",
        "claim")
gaps = st.one_of(st.integers(0, 20 * 60_000), st.integers(0, 4 * 3_600_000), st.integers(0, 50 * 3_600_000)).map(
    lambda milliseconds: timedelta(milliseconds=milliseconds))
looks = st.lists(st.tuples(st.floats(0, 1), st.sampled_from(["once", "twice", "at_once", "crash", "one_by_one"])),
                 max_size=2).map(lambda found: tuple(sorted(found)))
steps = st.builds(Step, gaps, st.sampled_from(ACTS), st.integers(0, 3), looks)
histories = st.lists(steps, min_size=2, max_size=9)
Worker = Callable[[datetime, datetime, Step], None]


class Crash(Exception):
    """The worker dies before it commits."""


class Player:
    """Plays one history in a conversation of its own, with one kind of worker beside it."""

    def __init__(self, desk: Desk, sender: str, complaint: bool) -> None:
        self.desk, self.sender = desk, sender
        received = desk.write("太差了", sender=sender)
        self.id = int(received.conversation.id)
        if complaint:
            desk.do(file_complaint, conversation_id=self.id, message_id=received.message.id, what="太差了", wish=None,
                    now=desk.now)
        else:
            desk.do(escalate_conversation, conversation_id=self.id, reason="asked", now=desk.now)

    def play(self, history: Sequence[Step], worker: Worker) -> tuple[Any, Any]:
        at = self.desk.now
        for step in history:
            before, at = at, at + step.after
            worker(before, at, step)
            try:
                self.act(step, at)
            except CrmError:
                pass  # refused, as it would be by everybody else's plan
        end = at + 400 * HOUR
        worker(at, end, history[-1])
        self._tick(end)
        kept = self.desk.do(self._record)
        self.desk.do(self._lay_aside)
        return kept

    # workers

    def never(self, before: datetime, after: datetime, step: Step) -> None:
        """Nobody looks until the very end."""

    def always(self, before: datetime, after: datetime, step: Step) -> None:
        """Somebody looks at every moment: what is to come is found the instant it comes."""
        while (coming := self.desk.ask(next_event)) is not None and (at := max(coming + INSTANT, before)) < after:
            assert self._tick(at)

    def sometimes(self, before: datetime, after: datetime, step: Step) -> None:
        """Workers look now and then: twice, two at once, one that dies first, one clock at a time."""
        for share, how in step.looks:
            at = before + (after - before) * share
            if how == "at_once":
                found = self.desk.at_once([lambda at=at: self._tick(at) for _ in range(2)])
                assert not [each for each in found if isinstance(each, Exception)], found
            if how == "crash":
                self._crash(at)
            if how == "one_by_one":
                while self._tick(at, limit=1):
                    pass
            self._tick(at)
            if how == "twice":
                assert self._tick(at) == []

    def _tick(self, at: datetime, **more: Any) -> Any:
        return self.desk.do(tick, at, **more)

    def _crash(self, at: datetime) -> None:
        try:
            with self.desk.store.write() as session:
                tick(session, at)
                raise Crash
        except Crash:
            pass

    # steps

    def act(self, step: Step, at: datetime) -> None:
        if step.act in ("write", "rate"):
            pressed = f'/rate{{"score": {1 + step.number}}}' if step.act == "rate" else None
            self.desk.write("在吗", sender=self.sender, at=at, payload=pressed)
        else:
            self.desk.do(self._act, step, at)

    def _act(self, session: Session, step: Step, at: datetime) -> None:
        owner = session.get(Conversation, self.id).assignee_id
        agent = session.execute(select(SupportAgent).where(
            SupportAgent.id == owner if owner else SupportAgent.login == "wang")).scalar_one()
        if step.act == "reply":
            reply_to_customer(session, self.id, agent, "您好", at)
        elif step.act == "claim":
            claim_conversation(session, self.id, agent, at)
        elif step.act == "snooze":
            snooze_conversation(session, self.id, agent, at)
        elif step.act == "snooze_until":
            snooze_conversation(session, self.id, agent, at, until=at + (0.3 + step.number * 7.1) * HOUR)
        elif step.act == "resolve":
            resolve_conversation(session, self.id, agent, at)
        elif step.act == "hand_back":
            hand_back_conversation(session, self.id, agent, at)
        elif step.act == "ask":
            escalate_conversation(session, conversation_id=self.id, reason="asked", now=at)
        else:
            for ticket_id in session.execute(select(Ticket.id).where(
                    Ticket.conversation_id == self.id, Ticket.kind == "complaint")).scalars():
                raise_grade(session, ticket_id, ("complex", "major")[step.number % 2], at)

    # what is kept

    def _record(self, session: Session) -> tuple[Any, Any]:
        conversation = session.get(Conversation, self.id)
        tickets = session.execute(
            select(Ticket).where(Ticket.conversation_id == self.id).order_by(Ticket.id)).scalars().all()
        names = {ticket.id: (position, ticket.kind) for position, ticket in enumerate(tickets)}
        clocks = session.execute(
            select(SlaClock).where(SlaClock.ticket_id.in_(names)).order_by(SlaClock.id)).scalars().all()
        clock_names = {clock.id: (names[clock.ticket_id], clock.promise, clock.cycle) for clock in clocks}
        events = session.execute(select(SlaEvent).where(SlaEvent.clock_id.in_(clock_names))).scalars().all()
        notices = session.execute(
            select(Notification).where(Notification.conversation_id == self.id)).scalars().all()
        told = Counter(_notice(notice, clock_names) for notice in notices)
        assert not told or max(told.values()) == 1, told
        breaches = sum(clock.breached_at is not None for clock in clocks)
        said = session.execute(select(Message.text).where(Message.conversation_id == self.id)).scalars()
        assert sum(each.startswith("抱歉，我们没能") for each in said) <= breaches
        record = {
            "conversation": (conversation.status, conversation.team_id, conversation.assignee_id,
                             conversation.snoozed_until),
            "tickets": [(ticket.status, ticket.level, ticket.stage, ticket.grade, ticket.cycle) for ticket in tickets],
            "clocks": [(*clock_names[clock.id], clock.state, clock.started_at, clock.due_at, clock.met_at,
                        clock.breached_at, clock.paused_at, clock.elapsed_seconds, clock.target_seconds,
                        clock.warned_percent) for clock in clocks],
            "events": sorted((clock_names[event.clock_id], event.occurred_at, event.kind, event.occurrence)
                             for event in events),
            "told": sorted((each for each in told if each[0] != "sla_warned"), key=repr),
        }
        ups = sum(event.kind == "breached" for event in events)
        assert ups == breaches
        return record, {each for each in told if each[0] == "sla_warned"}

    def _lay_aside(self, session: Session) -> None:
        """Let this conversation be of no consequence to the next."""
        ids = [ticket.id for ticket in session.execute(
            select(Ticket).where(Ticket.conversation_id == self.id)).scalars()]
        session.execute(sa.update(SlaClock).where(SlaClock.ticket_id.in_(ids)).values(
            next_event_at=None, state="cancelled").execution_options(synchronize_session=False))
        session.execute(sa.update(Conversation).where(Conversation.id == self.id).values(
            status="resolved", snoozed_until=None).execution_options(synchronize_session=False))


def _notice(notice: Notification, clock_names: dict[int, Any]) -> tuple[Any, ...]:
    """What was told to whom, without the numbers that differ from conversation to conversation."""
    key = notice.idempotency_key.split(":")
    if key[0] == "sla":
        return notice.kind, clock_names[int(key[1])], notice.data.get("percent"), notice.data.get("level"), \
            notice.agent_id
    return notice.kind, ":".join(key[2:]), None, None, notice.agent_id


def last_words(told: set[Any]) -> set[Any]:
    """Of each clock the last warning."""
    last = {clock: max(percent for _, other, percent, *_ in told if other == clock) for _, clock, *_ in told}
    return {each for each in told if last[each[1]] == each[2]}


@bounded(15)
@given(histories, st.booleans())
def test_the_record_is_the_same_however_the_worker_looks(desk: Desk, history: list[Step], complaint: bool) -> None:
    kept = {}
    for how in ("always", "never", "sometimes"):
        player = Player(desk, f"{how} {next(desk._ids)}", complaint)
        kept[how] = player.play(history, getattr(player, how))
    record, warned = kept["always"]
    for how in ("never", "sometimes"):
        assert kept[how][0] == record, how
        assert kept[how][1] <= warned
        broken = {each[1] for each in record["told"] if each[0] == "sla_breached"}
        for told in last_words(warned):
            assert told in kept[how][1] or told[1] in broken, (how, told)


@bounded(20)
@given(st.lists(st.tuples(st.integers(0, 30 * 60_000), st.sampled_from(["write", "reply"])), min_size=1, max_size=8))
def test_the_verdict_on_an_answer_is_that_of_its_time(sqlite_desk: Desk, words: list[tuple[int, str]]) -> None:
    """A model of one page: the first response by 15 minutes after the handover, met by the first reply or broken."""
    desk = sqlite_desk
    player = Player(desk, f"answered {next(desk._ids)}", complaint=False)
    at, answered = desk.now, None
    for milliseconds, act in words:
        at += timedelta(milliseconds=milliseconds)
        player.act(Step(timedelta(0), act, 0, ()), at)
        answered = answered or (at if act == "reply" else None)
    (first,) = desk.all(SlaClock, SlaClock.promise == "first_response", SlaClock.state != "cancelled",
                        SlaClock.ticket_id == sa.select(Ticket.id).where(
                            Ticket.conversation_id == player.id).scalar_subquery())
    due = desk.now + 15 * MINUTE
    late = answered is not None and answered > due
    assert first.met_at == answered
    assert (first.breached_at == due) if late else (answered is None or first.state == "met")
    desk.do(player._lay_aside)

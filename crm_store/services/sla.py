"""Runs the SLA clocks: starts, pauses and settles them, warns, and moves a ticket up when a promise is broken.

The verdict on a promise is a function of when things happened. Whatever changes a clock, a person or the worker's tick,
first brings its conversation up to date with the same function (:func:`catch_up`): all that was to happen until then
happens, in its order and each at its own time. So whoever looks first, and how often, makes no difference.

A promise is kept in whole seconds: its start, its pauses and its going on are cut to the second they fall in, so that
nothing is lost by rounding, however often a clock is paused. Everything that changes a clock holds the lock of its
conversation.
"""
from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from typing import TypeVar

import sqlalchemy as sa
from sqlalchemy import bindparam, select
from sqlalchemy.orm import Session, contains_eager, joinedload

from crm_store.models import Conversation, Customer, SlaClock, SlaEvent, SlaPolicy, Ticket
from crm_store.rules.calendar import UNUSABLE, AroundTheClock, BusinessHours, Schedule
from crm_store.rules.sla import Stretch, is_breached, match_policy, whole_second
from crm_store.services.progress import tell_of_broken_promises
from crm_store.services.sla_news import News, SlaHappening
from crm_store.services.tickets import unsolved_tickets

log = logging.getLogger(__name__)

RESPONSES = ("first_response", "next_response")
UNSETTLED = ("running", "paused", "breached")
RETRY = timedelta(minutes=5)  # until a calendar that could not be used is asked again
Answer = TypeVar("Answer")

# Built once: everything that changes a clock runs it.
_ANYTHING_DUE = (
    select(SlaClock.__table__.c.id).join(Ticket.__table__, Ticket.__table__.c.id == SlaClock.__table__.c.ticket_id)
    .where(Ticket.__table__.c.conversation_id == bindparam("conversation_id"),
           SlaClock.__table__.c.next_event_at < bindparam("now")).limit(1)
)


def policy_for(session: Session, ticket: Ticket) -> SlaPolicy | None:
    """The first active policy, in the managers' order, that matches the ticket and its customer's tier."""
    tier = None
    if ticket.customer_id is not None:
        tier = session.execute(
            select(Customer.tier_code).where(Customer.id == ticket.customer_id)).scalar_one_or_none()
    policies = session.execute(
        select(SlaPolicy).where(SlaPolicy.active.is_(True)).options(joinedload(SlaPolicy.calendar))).scalars()
    return match_policy(policies, kind=ticket.kind, grade=ticket.grade, tier=tier)


def start_clocks(session: Session, ticket: Ticket, now: datetime) -> list[SlaClock]:
    """Start the first response and the resolution of the ticket's cycle; clocks that run already stay.

    Returns:
        The clocks of this cycle. None where no policy matches or it makes no such promise.
    """
    catch_up(session, _conversation_of(session, ticket), now)
    running = list(session.execute(
        select(SlaClock).where(SlaClock.ticket_id == ticket.id, SlaClock.cycle == ticket.cycle,
                               SlaClock.promise.in_(("first_response", "resolution")))).scalars())
    if running:
        return running
    policy = policy_for(session, ticket)
    if policy is None:
        return []
    return [clock for promise in ("first_response", "resolution")
            if (clock := _start(session, ticket, policy, promise, ticket.cycle, now)) is not None]


def clocks_of(session: Session, tickets: Iterable[Ticket]) -> list[SlaClock]:
    """All clocks of these tickets as they are now, with their calendars."""
    ids = [ticket.id for ticket in tickets]
    if not ids:
        return []
    return list(session.execute(
        select(SlaClock).where(SlaClock.ticket_id.in_(ids)).options(joinedload(SlaClock.calendar))
        .order_by(SlaClock.id).execution_options(populate_existing=True)
    ).scalars())


def pause_resolution(session: Session, ticket: Ticket, now: datetime) -> None:
    """Stop the ticket's resolution clock while it waits for the customer; one that is broken stays broken."""
    catch_up(session, _conversation_of(session, ticket), now)
    for clock in clocks_of(session, [ticket]):
        if clock.promise == "resolution" and clock.state == "running":
            clock.elapsed_seconds = _elapsed(clock, now)
            clock.state, clock.paused_at = "paused", whole_second(now)
            clock.resumed_at = clock.next_event_at = None
            _note_counted(session, clock, "paused", now)


def resume_resolution(session: Session, ticket: Ticket, now: datetime) -> None:
    """Let the ticket's paused resolution clock go on; what is left of its time decides when it is due."""
    for clock in clocks_of(session, [ticket]):
        if clock.promise == "resolution" and clock.state == "paused":
            _resume(clock, now)
            _note_counted(session, clock, "resumed", now)


def meet(session: Session, clock: SlaClock, at: datetime) -> None:
    """The promise was answered at ``at``, to which its conversation was caught up: met, unless it was broken before."""
    if clock.met_at is not None or clock.state == "cancelled":
        return
    clock.met_at, clock.next_event_at = at, None
    if clock.state != "breached":
        clock.state = "met"
        _note(session, clock, "met", 0, at)


def cancel(session: Session, clock: SlaClock, at: datetime) -> None:
    """The promise need not be kept any more; if it was broken before ``at``, it stays so."""
    if clock.state in ("running", "paused"):
        clock.state, clock.next_event_at = "cancelled", None
        _note(session, clock, "cancelled", 0, at)


def customer_wrote(session: Session, conversation: Conversation, now: datetime) -> None:
    """A customer wrote while a human owns the conversation: waiting ends, and the next response is promised.

    The promise runs from the oldest message without a human answer, by the policy that matches the ticket now; until
    the first response it is the first response that is promised.
    """
    catch_up(session, conversation, now, tell_customers=True)
    tickets = unsolved_tickets(session, conversation.id)
    end_waiting(session, conversation, tickets, now)
    clocks = clocks_of(session, tickets)
    for ticket in tickets:
        of_ticket = [clock for clock in clocks if clock.ticket_id == ticket.id]
        if _unanswered(ticket, of_ticket):
            continue
        policy = policy_for(session, ticket)
        if policy is not None:
            count = sum(1 for clock in of_ticket if clock.promise == "next_response")
            _start(session, ticket, policy, "next_response", count + 1, now)


def end_waiting(session: Session, conversation: Conversation, tickets: Sequence[Ticket], now: datetime) -> None:
    """Wake a snoozed conversation and let its tickets' resolution clocks go on.

    They go on from ``now``, or from the time until which the conversation was snoozed if that came first: whether the
    worker had looked by then makes no difference.
    """
    catch_up(session, conversation, now)
    if conversation.status == "snoozed":
        conversation.status, conversation.snoozed_until = "open", None
    for ticket in tickets:
        if ticket.status == "waiting":
            ticket.status = "open"
            resume_resolution(session, ticket, now)


def human_answered(session: Session, tickets: Sequence[Ticket], now: datetime) -> None:
    """A human wrote to the customer: every response promised for these tickets is answered.

    A follow-up that is still owed in the same conversation is kept by it as well.
    """
    if not tickets:
        return
    conversation = _conversation_of(session, tickets[0])
    catch_up(session, conversation, now)
    clocks = clocks_of(session, tickets)
    for ticket in tickets:
        for clock in _unanswered(ticket, [clock for clock in clocks if clock.ticket_id == ticket.id]):
            meet(session, clock, now)
    _keep_follow_ups(session, conversation, now)


def follow_up_done(session: Session, conversation: Conversation, now: datetime) -> bool:
    """A human wrote after the resolution: the follow-up is kept. False where none was promised and open."""
    catch_up(session, conversation, now)
    return _keep_follow_ups(session, conversation, now)


def ticket_resolved(session: Session, ticket: Ticket, now: datetime) -> None:
    """Settle the clocks of a ticket that was resolved at ``now``, and start its follow-up where one is promised.

    Responses that nobody gave are cancelled, or broken if they were due before: only a human's message meets them.
    """
    catch_up(session, _conversation_of(session, ticket), now)
    for clock in clocks_of(session, [ticket]):
        if clock.promise == "resolution" and clock.cycle == ticket.cycle:
            meet(session, clock, now)
        else:
            cancel(session, clock, now)
    policy = policy_for(session, ticket)
    if policy is not None:
        _start(session, ticket, policy, "follow_up", ticket.cycle, now)


def ticket_reopened(session: Session, ticket: Ticket, now: datetime) -> None:
    """Start the clocks of the new cycle; a follow-up that has not happened is not needed any more."""
    catch_up(session, _conversation_of(session, ticket), now)
    for clock in clocks_of(session, [ticket]):
        cancel(session, clock, now)
    start_clocks(session, ticket, now)


def tighten_clocks(session: Session, ticket: Ticket, now: datetime) -> None:
    """Promise again after the grade rose: from ``now`` on each open clock is given at most its new target.

    What was broken before stays broken, and no promise becomes broken by the change itself.
    """
    policy = policy_for(session, ticket)
    if policy is None:
        return
    catch_up(session, _conversation_of(session, ticket), now)
    for clock in clocks_of(session, [ticket]):
        target = getattr(policy, f"{clock.promise}_seconds")
        if clock.state not in ("running", "paused") or target is None:
            continue
        running = clock.state == "running"
        elapsed = _elapsed(clock, now) if running else clock.elapsed_seconds
        clock.target_seconds = elapsed + min(max(clock.target_seconds - elapsed, 0), target)
        clock.policy_id, clock.around_the_clock, clock.calendar = policy.id, policy.around_the_clock, policy.calendar
        clock.elapsed_seconds = elapsed
        if running:
            _run_from(clock, now)


def catch_up(session: Session, conversation: Conversation, now: datetime, *, tell_customers: bool = False) -> None:
    """Let happen what was to happen in a conversation before ``now``: waking, warnings, broken promises.

    Args:
        session: the unit of work.
        conversation: its row is locked.
        now: the time to look at.
        tell_customers: whether the customer hears of a broken promise; not where a human is about to act.
    """
    session.flush()
    if _wakes(conversation, now) or session.execute(
            _ANYTHING_DUE, {"conversation_id": conversation.id, "now": now}).first():
        _look_at(session, [conversation], now, tell_customers=tell_customers)


def tick(session: Session, now: datetime, limit: int = 100) -> list[SlaHappening]:
    """Look at every clock that has something to come by ``now``: warn, give verdicts, wake snoozed conversations.

    Running it twice, late, or in two workers at once changes nothing about what is recorded: each event carries the
    time it happened. Where several things happened to a clock since the last look, people are told of the last one.
    What a calendar that cannot be used holds up is put off, and the others go on; verdicts need no calendar.

    Args:
        session: the unit of work; commit it, and call again while it returns something.
        now: the time to look at.
        limit: the most clocks to look at in this unit of work.

    Returns:
        What happened since somebody last looked, oldest first.
    """
    due = session.execute(
        select(Ticket.conversation_id).join(SlaClock, SlaClock.ticket_id == Ticket.id)
        .where(SlaClock.next_event_at < now).order_by(SlaClock.next_event_at).limit(limit)
    ).scalars().all()
    sleeping = session.execute(
        select(Conversation.id).where(Conversation.snoozed_until <= now, Conversation.status == "snoozed")
        .order_by(Conversation.snoozed_until).limit(limit)
    ).scalars().all()
    wanted = sorted({*due, *sleeping})
    if not wanted:
        return []
    conversations = session.execute(
        select(Conversation).where(Conversation.id.in_(wanted)).order_by(Conversation.id)
        .with_for_update(key_share=True, skip_locked=True).execution_options(populate_existing=True)
    ).scalars().all()
    return _look_at(session, conversations, now, tell_customers=True)


def next_event(session: Session) -> datetime | None:
    """When the next warning, verdict or waking is to come, over all conversations; None where nothing is."""
    moments = session.execute(select(
        select(sa.func.min(SlaClock.next_event_at)).scalar_subquery(),
        select(sa.func.min(Conversation.snoozed_until)).scalar_subquery())).one()
    return min((at for at in moments if at is not None), default=None)


def schedule_of(clock: SlaClock) -> Schedule:
    """The time that counts for a clock."""
    return AroundTheClock() if clock.around_the_clock else BusinessHours.of(clock.calendar)


def _look_at(session: Session, conversations: Sequence[Conversation], now: datetime, *,
             tell_customers: bool) -> list[SlaHappening]:
    """Catch these conversations up, whose rows are locked, and write what was found."""
    found = session.execute(
        select(SlaClock).join(Ticket, Ticket.id == SlaClock.ticket_id)
        .where(Ticket.conversation_id.in_([conversation.id for conversation in conversations]),
               SlaClock.state.in_(UNSETTLED))
        .options(joinedload(SlaClock.calendar), contains_eager(SlaClock.ticket)).order_by(SlaClock.id)
        .execution_options(populate_existing=True)
    ).scalars().all()
    clocks: dict[Conversation, list[SlaClock]] = {conversation: [] for conversation in conversations}
    by_id = {conversation.id: conversation for conversation in conversations}
    for clock in found:
        clocks[by_id[clock.ticket.conversation_id]].append(clock)
    news, waiting = News(session, now), _waiting(session, [each for each in conversations if _wakes(each, now)])
    for conversation in conversations:
        _replay(news, conversation, clocks[conversation], waiting, now)
    if tell_customers:
        tell_of_broken_promises(session, news.broken, clocks, now)
    return news.write()


def _waiting(session: Session, conversations: Sequence[Conversation]) -> list[Ticket]:
    """The tickets of these conversations that wait for the customer."""
    if not conversations:
        return []
    return list(session.execute(
        select(Ticket).where(Ticket.conversation_id.in_([each.id for each in conversations]),
                             Ticket.status == "waiting")).scalars())


def _replay(news: News, conversation: Conversation, clocks: Sequence[SlaClock], waiting: Sequence[Ticket],
            now: datetime) -> None:
    """Let everything happen to a conversation that lies before ``now``, in the order of time."""
    while True:
        due = min((clock for clock in clocks if clock.next_event_at is not None and clock.next_event_at < now),
                  key=lambda clock: (clock.next_event_at, clock.id), default=None)
        if _wakes(conversation, now) and (due is None or conversation.snoozed_until <= due.next_event_at):
            _wake(news, conversation, clocks, waiting)
        elif due is not None:
            _step(news, conversation, due, now)
        else:
            return


def _step(news: News, conversation: Conversation, clock: SlaClock, now: datetime) -> None:
    """The next thing that a clock had to come: a warning, or being broken."""
    try:
        warning = _stretch(clock).next_warning(clock.warned_percent, schedule_of(clock))
    except UNUSABLE:
        log.exception("the calendar of an SLA clock cannot be used; its warnings wait", extra=_named(clock))
        if not is_breached(clock.due_at, now):
            clock.next_event_at = min(clock.due_at, now + RETRY)
            news.postponed(conversation, clock)
            return
        warning = None
    if warning is not None and warning[1] < now and warning[1] <= clock.due_at:
        clock.warned_percent = warning[0]
        clock.next_event_at = _next_event_at(clock)
        news.warned(conversation, clock.ticket, clock, *warning)
    elif is_breached(clock.due_at, now):
        clock.state, clock.breached_at, clock.next_event_at = "breached", clock.due_at, None
        news.breached(conversation, clock.ticket, clock)
    else:
        clock.next_event_at = clock.due_at if warning is None else min(warning[1], clock.due_at)


def _wakes(conversation: Conversation, now: datetime) -> bool:
    return (conversation.status == "snoozed" and conversation.snoozed_until is not None
            and conversation.snoozed_until <= now)


def _wake(news: News, conversation: Conversation, clocks: Sequence[SlaClock], waiting: Sequence[Ticket]) -> None:
    """What was to wait until a time goes on from that time."""
    at = conversation.snoozed_until
    conversation.status, conversation.snoozed_until = "open", None
    for ticket in waiting:
        if ticket.conversation_id == conversation.id:
            ticket.status = "open"
    for clock in clocks:
        if clock.promise == "resolution" and clock.state == "paused":
            _resume(clock, at)
            news.resumed(clock, at)
    news.woken(conversation, at)


def _conversation_of(session: Session, ticket: Ticket) -> Conversation:
    found: Conversation = session.get(Conversation, ticket.conversation_id)
    return found


def _unanswered(ticket: Ticket, clocks: Sequence[SlaClock]) -> list[SlaClock]:
    """The responses of the ticket's present cycle that no human has given yet; earlier cycles stay as they are."""
    since = max((clock.started_at for clock in clocks
                 if clock.promise == "first_response" and clock.cycle == ticket.cycle), default=None)
    return [clock for clock in clocks
            if clock.promise in RESPONSES and clock.state != "cancelled" and clock.met_at is None
            and (since is None or clock.started_at >= since)]


def _keep_follow_ups(session: Session, conversation: Conversation, now: datetime) -> bool:
    owed = list(session.execute(
        select(SlaClock).join(Ticket, Ticket.id == SlaClock.ticket_id)
        .where(Ticket.conversation_id == conversation.id, Ticket.status == "resolved",
               SlaClock.promise == "follow_up", SlaClock.met_at.is_(None), SlaClock.state.in_(("running", "breached")))
        .options(joinedload(SlaClock.calendar)).execution_options(populate_existing=True)
    ).scalars())
    for clock in owed:
        meet(session, clock, now)
    return bool(owed)


def _start(session: Session, ticket: Ticket, policy: SlaPolicy, promise: str, cycle: int,
           now: datetime) -> SlaClock | None:
    target = getattr(policy, f"{promise}_seconds")
    if target is None:
        return None
    clock = SlaClock(
        ticket_id=ticket.id, policy_id=policy.id, promise=promise, cycle=cycle, state="running", target_seconds=target,
        elapsed_seconds=0, around_the_clock=policy.around_the_clock, calendar=policy.calendar,
        started_at=whole_second(now), warned_percent=0,
    )
    _run_from(clock, now)
    session.add(clock)
    session.flush()
    _note(session, clock, "started", 0, clock.started_at)
    return clock


def _resume(clock: SlaClock, now: datetime) -> None:
    clock.state, clock.paused_at = "running", None
    _run_from(clock, now)


def _run_from(clock: SlaClock, now: datetime) -> None:
    """Let a clock run from ``now`` on, with what it has used of its time: when it is due, and what comes first."""
    clock.resumed_at = whole_second(now)
    clock.due_at = _reckon(clock, _stretch(clock).due_at)
    clock.next_event_at = _next_event_at(clock)


def _stretch(clock: SlaClock) -> Stretch:
    return Stretch(since=clock.resumed_at, target=timedelta(seconds=clock.target_seconds),
                   elapsed=timedelta(seconds=clock.elapsed_seconds))


def _next_event_at(clock: SlaClock) -> datetime:
    warning = _reckon(clock, lambda schedule: _stretch(clock).next_warning(clock.warned_percent, schedule))
    due_at: datetime = clock.due_at
    return due_at if warning is None else min(warning[1], due_at)


def _elapsed(clock: SlaClock, now: datetime) -> int:
    """How many seconds of its time a running clock has used."""
    used = _reckon(clock, lambda schedule: _stretch(clock).elapsed_at(whole_second(now), schedule))
    target: int = clock.target_seconds
    return min(round(used.total_seconds()), target)


def _reckon(clock: SlaClock, ask: Callable[[Schedule], Answer]) -> Answer:
    """What the clock's calendar answers; around the clock where it cannot be used.

    A calendar that was broken by an edit must stop neither a handover nor an agent; rather too early than never.
    """
    try:
        return ask(schedule_of(clock))
    except UNUSABLE:
        log.exception("the calendar of an SLA clock cannot be used; it runs around the clock", extra=_named(clock))
        return ask(AroundTheClock())


def _named(clock: SlaClock) -> dict[str, object]:
    return {"clock_id": clock.id, "ticket_id": clock.ticket_id, "calendar_id": clock.calendar_id}


def _note(session: Session, clock: SlaClock, kind: str, occurrence: int, at: datetime) -> None:
    session.add(SlaEvent(clock_id=clock.id, kind=kind, occurrence=occurrence, occurred_at=at))


def _note_counted(session: Session, clock: SlaClock, kind: str, at: datetime) -> None:
    before = session.execute(
        select(sa.func.count()).select_from(SlaEvent).where(SlaEvent.clock_id == clock.id, SlaEvent.kind == kind)
    ).scalar_one()
    _note(session, clock, kind, before + 1, at)

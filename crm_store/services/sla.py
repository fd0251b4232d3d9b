"""Runs the SLA clocks: starts, pauses and settles them, warns, and moves a ticket up when a promise is broken.

The verdict on a promise is a function of when things happened. Whoever looks first, a late answer or the worker's
tick, settles the clock with the same function and reaches the same verdict with the same times.

Everything that changes a clock holds the lock of its conversation.
"""
from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy import select
from sqlalchemy.orm import Session, joinedload

from crm_store.models import Conversation, Customer, SlaClock, SlaEvent, SlaPolicy, Ticket
from crm_store.rules.calendar import AroundTheClock, BusinessHours, Schedule
from crm_store.rules.sla import LEAD_FROM_PERCENT, Stretch, is_breached, level_above, match_policy
from crm_store.services.notices import leads_for, notify, team_of_level
from crm_store.services.tickets import unsolved_tickets

RESPONSES = ("first_response", "next_response")


@dataclass(frozen=True)
class SlaHappening:
    """Something the tick found to have happened. ``percent`` is set on warnings; ``at`` is when it happened."""

    kind: str  # "warned", "breached" or "woken"
    conversation_id: int
    ticket_id: int | None
    clock_id: int | None
    promise: str | None
    percent: int | None
    at: datetime


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
    for clock in clocks_of(session, [ticket]):
        if clock.promise == "resolution" and clock.state == "running":
            settle(session, clock, now)
            if clock.state == "running":
                clock.elapsed_seconds = _seconds(_stretch(clock).elapsed_at(now, schedule_of(clock)))
                clock.state, clock.paused_at, clock.resumed_at, clock.next_event_at = "paused", now, None, None
                _note_counted(session, clock, "paused", now)


def resume_resolution(session: Session, ticket: Ticket, now: datetime) -> None:
    """Let the ticket's paused resolution clock go on; what is left of its time decides when it is due."""
    for clock in clocks_of(session, [ticket]):
        if clock.promise == "resolution" and clock.state == "paused":
            clock.state, clock.paused_at, clock.resumed_at = "running", None, now
            clock.due_at = _stretch(clock).due_at(schedule_of(clock))
            _plan(clock)
            _note_counted(session, clock, "resumed", now)


def meet(session: Session, clock: SlaClock, at: datetime) -> None:
    """The promise was answered at ``at``: met if not after it was due, otherwise broken at the time it was due."""
    if clock.met_at is not None or clock.state == "cancelled":
        return
    if clock.state == "paused":
        clock.state = "met"
    else:
        settle(session, clock, at)
        if clock.state == "running":
            clock.state = "met"
    clock.met_at, clock.next_event_at = at, None
    if clock.state == "met":
        _note(session, clock, "met", 0, at)


def cancel(session: Session, clock: SlaClock, at: datetime) -> None:
    """The promise need not be kept any more; if it was broken before ``at``, it stays so."""
    if clock.state not in ("running", "paused"):
        return
    settle(session, clock, at)
    if clock.state in ("running", "paused"):
        clock.state, clock.next_event_at = "cancelled", None
        _note(session, clock, "cancelled", 0, at)


def settle(session: Session, clock: SlaClock, at: datetime) -> bool:
    """Give the verdict on a running clock that is still unanswered at ``at``; True where it was broken just now.

    A broken promise moves its ticket up one level and is told to the assignee and the leads of both levels.
    """
    if clock.state != "running" or not is_breached(clock.due_at, at):
        return False
    clock.state, clock.breached_at, clock.next_event_at = "breached", clock.due_at, None
    _note(session, clock, "breached", 0, clock.due_at)
    _move_up(session, clock, at)
    return True


def customer_wrote(session: Session, conversation: Conversation, now: datetime) -> None:
    """A customer wrote while a human owns the conversation: waiting ends, and the next response is promised.

    The promise runs from the oldest message without a human answer; until the first response it is the first response
    that is promised.
    """
    tickets = unsolved_tickets(session, conversation.id)
    end_waiting(session, conversation, tickets, now)
    clocks = clocks_of(session, tickets)
    for ticket in tickets:
        of_ticket = [clock for clock in clocks if clock.ticket_id == ticket.id]
        answers = [clock for clock in of_ticket if clock.promise in RESPONSES and clock.state != "cancelled"]
        if not answers or any(clock.met_at is None for clock in answers):
            continue
        first = max((clock for clock in answers if clock.promise == "first_response"), key=lambda c: c.id, default=None)
        policy = session.execute(
            select(SlaPolicy).where(SlaPolicy.id == (first or answers[-1]).policy_id)).scalar_one()
        count = sum(1 for clock in of_ticket if clock.promise == "next_response")
        _start(session, ticket, policy, "next_response", count + 1, now)


def end_waiting(session: Session, conversation: Conversation, tickets: Sequence[Ticket], now: datetime) -> None:
    """Wake a snoozed conversation and let its tickets' resolution clocks go on.

    They go on from ``now``, or from the time until which the conversation was snoozed if that came first: whether the
    worker had looked by then makes no difference.
    """
    at = min(now, conversation.snoozed_until or now)
    if conversation.status == "snoozed":
        conversation.status, conversation.snoozed_until = "open", None
    for ticket in tickets:
        if ticket.status == "waiting":
            ticket.status = "open"
            resume_resolution(session, ticket, at)


def human_answered(session: Session, tickets: Sequence[Ticket], now: datetime) -> None:
    """A human wrote to the customer: every response promised for these tickets is answered."""
    for clock in clocks_of(session, tickets):
        if clock.promise in RESPONSES and clock.met_at is None:
            meet(session, clock, now)


def follow_up_done(session: Session, conversation: Conversation, now: datetime) -> bool:
    """A human wrote after the resolution: the follow-up is kept. False where none was promised and open."""
    open_clocks = list(session.execute(
        select(SlaClock).join(Ticket, Ticket.id == SlaClock.ticket_id)
        .where(Ticket.conversation_id == conversation.id, Ticket.status == "resolved",
               SlaClock.promise == "follow_up", SlaClock.met_at.is_(None), SlaClock.state.in_(("running", "breached")))
        .options(joinedload(SlaClock.calendar)).execution_options(populate_existing=True)
    ).scalars())
    for clock in open_clocks:
        meet(session, clock, now)
    return bool(open_clocks)


def ticket_resolved(session: Session, ticket: Ticket, now: datetime) -> None:
    """Settle the clocks of a ticket that was resolved at ``now``, and start its follow-up where one is promised.

    Responses that nobody gave are cancelled, or broken if they were due before: only a human's message meets them.
    """
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
    for clock in clocks_of(session, [ticket]):
        cancel(session, clock, now)
    start_clocks(session, ticket, now)


def tighten_clocks(session: Session, ticket: Ticket, now: datetime) -> None:
    """Promise again after the grade rose: from ``now`` on each running clock is given at most its new target.

    What was broken before stays broken, and no promise becomes broken by the change itself.
    """
    policy = policy_for(session, ticket)
    if policy is None:
        return
    for clock in clocks_of(session, [ticket]):
        target = getattr(policy, f"{clock.promise}_seconds")
        if clock.state != "running" or target is None:
            continue
        settle(session, clock, now)
        if clock.state != "running":
            continue
        elapsed = _seconds(_stretch(clock).elapsed_at(now, schedule_of(clock)))
        left = min(clock.target_seconds - elapsed, target)
        clock.policy_id, clock.around_the_clock, clock.calendar = policy.id, policy.around_the_clock, policy.calendar
        clock.elapsed_seconds, clock.resumed_at, clock.target_seconds = elapsed, now, elapsed + max(left, 0)
        clock.due_at = _stretch(clock).due_at(schedule_of(clock))
        _plan(clock)


def tick(session: Session, now: datetime, limit: int = 500) -> list[SlaHappening]:
    """Look at every clock that has something to come by ``now``: warn, give verdicts, wake snoozed conversations.

    Running it twice, late, or in two workers at once changes nothing about what is recorded: each event carries the
    time it happened. Where several things happened to a clock since the last look, people are told of the last one.

    Args:
        session: the unit of work; commit it, and call again while it returns something.
        now: the time to look at.
        limit: the most clocks to look at in this unit of work.

    Returns:
        What happened since somebody last looked, oldest first.
    """
    due = session.execute(
        select(SlaClock.id, Ticket.conversation_id).join(Ticket, Ticket.id == SlaClock.ticket_id)
        .where(SlaClock.next_event_at < now, SlaClock.state == "running").order_by(SlaClock.next_event_at).limit(limit)
    ).all()
    sleeping = session.execute(
        select(Conversation.id).where(Conversation.status == "snoozed", Conversation.snoozed_until <= now)
        .order_by(Conversation.id).limit(limit)
    ).scalars().all()
    wanted = sorted({row.conversation_id for row in due} | set(sleeping))
    if not wanted:
        return []
    conversations = session.execute(
        select(Conversation).where(Conversation.id.in_(wanted)).order_by(Conversation.id)
        .with_for_update(key_share=True, skip_locked=True).execution_options(populate_existing=True)
    ).scalars().all()
    locked = {conversation.id: conversation for conversation in conversations}
    happened: list[SlaHappening] = []
    clocks = session.execute(
        select(SlaClock).join(Ticket, Ticket.id == SlaClock.ticket_id)
        .where(SlaClock.id.in_([row.id for row in due if row.conversation_id in locked]))
        .options(joinedload(SlaClock.calendar), joinedload(SlaClock.ticket))
        .order_by(SlaClock.id).execution_options(populate_existing=True)
    ).scalars().all()
    for clock in clocks:
        happened += _look_at(session, clock, locked[clock.ticket.conversation_id], now)
    for conversation in conversations:
        if conversation.status == "snoozed" and conversation.snoozed_until and conversation.snoozed_until <= now:
            happened.append(_wake(session, conversation, now))
    session.flush()
    return sorted(happened, key=lambda h: h.at)


def schedule_of(clock: SlaClock) -> Schedule:
    """The time that counts for a clock."""
    return AroundTheClock() if clock.around_the_clock else BusinessHours.of(clock.calendar)


def _start(session: Session, ticket: Ticket, policy: SlaPolicy, promise: str, cycle: int,
           now: datetime) -> SlaClock | None:
    target = getattr(policy, f"{promise}_seconds")
    if target is None:
        return None
    clock = SlaClock(
        ticket_id=ticket.id, policy_id=policy.id, promise=promise, cycle=cycle, state="running", target_seconds=target,
        elapsed_seconds=0, around_the_clock=policy.around_the_clock, calendar=policy.calendar, started_at=now,
        resumed_at=now, warned_percent=0,
    )
    clock.due_at = _stretch(clock).due_at(schedule_of(clock))
    _plan(clock)
    session.add(clock)
    session.flush()
    _note(session, clock, "started", 0, now)
    return clock


def _stretch(clock: SlaClock) -> Stretch:
    return Stretch(since=clock.resumed_at, target=timedelta(seconds=clock.target_seconds),
                   elapsed=timedelta(seconds=clock.elapsed_seconds))


def _plan(clock: SlaClock) -> None:
    warning = _stretch(clock).next_warning(clock.warned_percent, schedule_of(clock))
    clock.next_event_at = clock.due_at if warning is None else warning[1]


def _seconds(duration: timedelta) -> int:
    return round(duration.total_seconds())


def _note(session: Session, clock: SlaClock, kind: str, occurrence: int, at: datetime) -> None:
    session.add(SlaEvent(clock_id=clock.id, kind=kind, occurrence=occurrence, occurred_at=at))


def _note_counted(session: Session, clock: SlaClock, kind: str, at: datetime) -> None:
    before = session.execute(
        select(sa.func.count()).select_from(SlaEvent).where(SlaEvent.clock_id == clock.id, SlaEvent.kind == kind)
    ).scalar_one()
    _note(session, clock, kind, before + 1, at)


def _look_at(session: Session, clock: SlaClock, conversation: Conversation, now: datetime) -> list[SlaHappening]:
    """Record the warnings and the breach that lie before ``now``, each at its own time; tell of the last."""
    happened: list[SlaHappening] = []
    if clock.state != "running":
        return happened
    schedule, stretch = schedule_of(clock), _stretch(clock)
    while (warning := stretch.next_warning(clock.warned_percent, schedule)) and warning[1] < now:
        clock.warned_percent = warning[0]
        _note(session, clock, "warned", warning[0], warning[1])
        happened.append(SlaHappening("warned", conversation.id, clock.ticket_id, clock.id, clock.promise, *warning))
    if settle(session, clock, now):
        happened.append(SlaHappening("breached", conversation.id, clock.ticket_id, clock.id, clock.promise, None,
                                     clock.due_at))
        return happened
    clock.next_event_at = clock.due_at if warning is None else warning[1]
    if happened:
        _warn(session, clock, conversation, now)
    return happened


def _warn(session: Session, clock: SlaClock, conversation: Conversation, now: datetime) -> None:
    told = [conversation.assignee_id or clock.ticket.assignee_id]
    if clock.warned_percent >= LEAD_FROM_PERCENT or told == [None]:
        told += leads_for(session, conversation.team_id)
    notify(session, told, kind="sla_warned", key=f"sla:{clock.id}:warned:{clock.warned_percent}", now=now,
           conversation_id=conversation.id, data=_told(clock, percent=clock.warned_percent))


def _move_up(session: Session, clock: SlaClock, now: datetime) -> None:
    ticket = session.execute(select(Ticket).where(Ticket.id == clock.ticket_id)).scalar_one()
    conversation = session.execute(select(Conversation).where(Conversation.id == ticket.conversation_id)).scalar_one()
    told = [conversation.assignee_id or ticket.assignee_id, *leads_for(session, conversation.team_id)]
    level = level_above(ticket.level)
    if level != ticket.level:
        ticket.level = level
        conversation.team_id = team_of_level(session, level) or conversation.team_id
        told += leads_for(session, conversation.team_id)
    conversation.updated_at = max(conversation.updated_at, now)
    notify(session, told, kind="sla_breached", key=f"sla:{clock.id}:breached", now=now,
           conversation_id=conversation.id, data={**_told(clock), "level": level})


def _told(clock: SlaClock, **more: object) -> dict[str, object]:
    return {"ticket_id": clock.ticket_id, "promise": clock.promise, "due_at": clock.due_at.isoformat(), **more}


def _wake(session: Session, conversation: Conversation, now: datetime) -> SlaHappening:
    woken_at: datetime = conversation.snoozed_until
    end_waiting(session, conversation, unsolved_tickets(session, conversation.id), now)
    conversation.updated_at = now
    notify(session, [conversation.assignee_id], kind="woken", now=now, conversation_id=conversation.id,
           key=f"woken:{conversation.id}:{woken_at.isoformat()}")
    return SlaHappening("woken", conversation.id, None, None, None, None, woken_at)

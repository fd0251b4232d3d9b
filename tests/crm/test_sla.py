"""SLA clocks: the verdict depends on when things happened, never on when somebody looked."""
from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from crm_store.models import Message, Notification, SlaClock, SlaEvent, SlaPolicy, Ticket
from crm_store.services.complaints import file_complaint, raise_grade
from crm_store.services.handoff import (
    add_note,
    claim_conversation,
    escalate_conversation,
    hand_back_conversation,
    reply_to_customer,
    resolve_conversation,
    snooze_conversation,
)
from crm_store.services.sla import start_clocks, tick
from tests.crm.conftest import HOUR, MINUTE, Desk

SECOND = timedelta(seconds=1)


def handed_over(desk: Desk, *, sender: str = "visitor", at: datetime | None = None) -> int:
    """A conversation handed over at 10:00 in Shanghai: first response by 10:15, assigned to Wang."""
    received = desk.write("转人工", sender=sender, at=at)
    desk.do(escalate_conversation, conversation_id=received.conversation.id, reason="asked", now=at or desk.now)
    return int(received.conversation.id)


def clock(desk: Desk, promise: str, cycle: int = 1) -> SlaClock:
    (found,) = desk.all(SlaClock, SlaClock.promise == promise, SlaClock.cycle == cycle)
    return found


def reply(desk: Desk, conversation_id: int, at: datetime, login: str = "wang") -> None:
    desk.do(reply_to_customer, conversation_id, desk.agent(login), "您好", at)


def verdicts(desk: Desk) -> list[tuple[Any, ...]]:
    """What will be reported of every clock."""
    return [(c.promise, c.cycle, c.state, c.started_at, c.due_at, c.met_at, c.breached_at)
            for c in desk.all(SlaClock)]


def happened(desk: Desk, *kinds: str) -> list[tuple[str, int, datetime]]:
    return [(e.kind, e.occurrence, e.occurred_at) for e in desk.all(SlaEvent) if e.kind in kinds]


def test_a_first_response_in_time_is_met(desk: Desk) -> None:
    conversation_id = handed_over(desk)
    reply(desk, conversation_id, desk.now + 15 * MINUTE)  # exactly when due
    first = clock(desk, "first_response")
    assert (first.state, first.met_at, first.breached_at) == ("met", desk.now + 15 * MINUTE, None)
    assert desk.do(tick, desk.now + 16 * MINUTE) == []


def test_neither_the_bot_nor_a_note_nor_a_system_message_answers(desk: Desk) -> None:
    conversation_id = handed_over(desk)
    desk.do(add_note, conversation_id, desk.agent("wang"), "看一下", desk.now + MINUTE)
    desk.answer(desk.turn(conversation_id))
    assert clock(desk, "first_response").met_at is None


def test_the_time_before_the_handover_never_counts(desk: Desk) -> None:
    received = desk.write("你好")
    desk.do(escalate_conversation, conversation_id=received.conversation.id, reason="asked", now=desk.now + 3 * HOUR)
    first = clock(desk, "first_response")
    assert (first.started_at, first.due_at) == (desk.now + 3 * HOUR, desk.now + 3 * HOUR + 15 * MINUTE)


@pytest.mark.parametrize("looks", [[], [20], [16, 17, 18, 19, 20], [1, 8, 12, 14, 15, 16, 20], [600]])
def test_a_late_answer_is_a_breach_whoever_looked_and_when(desk: Desk, looks: list[int]) -> None:
    conversation_id = handed_over(desk)
    for minutes in [m for m in looks if m <= 20]:
        desk.do(tick, desk.now + minutes * MINUTE)
    reply(desk, conversation_id, desk.now + 20 * MINUTE)
    for minutes in [m for m in looks if m > 20]:
        desk.do(tick, desk.now + minutes * MINUTE)
    first = clock(desk, "first_response")
    assert (first.state, first.breached_at, first.met_at) == (
        "breached", desk.now + 15 * MINUTE, desk.now + 20 * MINUTE)
    assert happened(desk, "breached") == [("breached", 0, desk.now + 15 * MINUTE)]
    assert desk.all(Ticket)[0].level == "experts"


def test_an_answer_that_is_never_given_is_a_breach_at_the_due_time(desk: Desk) -> None:
    handed_over(desk)
    assert desk.do(tick, desk.now + 15 * MINUTE) and clock(desk, "first_response").state == "running"
    (breach,) = desk.do(tick, desk.now + 15 * MINUTE + SECOND)
    assert (breach.kind, breach.promise, breach.at) == ("breached", "first_response", desk.now + 15 * MINUTE)
    assert clock(desk, "first_response").breached_at == desk.now + 15 * MINUTE


def test_warnings_come_once_each_and_to_the_right_people(desk: Desk) -> None:
    handed_over(desk)
    wang, lead, expert_lead = (desk.agent(login).id for login in ("wang", "lead", "expert_lead"))
    told: list[tuple[Any, ...]] = []
    for tenths in range(0, 200, 5):
        at = desk.now + tenths * MINUTE / 10
        told += [(h.kind, h.percent, h.at - desk.now) for h in desk.do(tick, at) if h.promise == "first_response"]
    assert told == [("warned", 50, 7.5 * MINUTE), ("warned", 75, 11.25 * MINUTE), ("warned", 90, 13.5 * MINUTE),
                    ("breached", None, 15 * MINUTE)]
    notes = [(n.kind, n.data.get("percent"), n.agent_id) for n in desk.all(Notification) if n.kind != "assigned"]
    assert notes == [("sla_warned", 50, wang), ("sla_warned", 75, wang), ("sla_warned", 75, lead),
                     ("sla_warned", 90, wang), ("sla_warned", 90, lead),
                     ("sla_breached", None, wang), ("sla_breached", None, lead), ("sla_breached", None, expert_lead)]


def test_a_worker_that_was_down_catches_up_and_tells_only_the_last(desk: Desk) -> None:
    handed_over(desk)
    found = desk.do(tick, desk.now + HOUR)
    assert [(h.kind, h.percent) for h in found] == [("warned", 50), ("warned", 75), ("warned", 90), ("breached", None)]
    assert happened(desk, "warned", "breached") == [
        ("warned", 50, desk.now + 7.5 * MINUTE), ("warned", 75, desk.now + 11.25 * MINUTE),
        ("warned", 90, desk.now + 13.5 * MINUTE), ("breached", 0, desk.now + 15 * MINUTE)]
    assert {n.kind for n in desk.all(Notification)} == {"assigned", "sla_breached"}
    before = verdicts(desk)
    assert desk.do(tick, desk.now + HOUR) == [] and verdicts(desk) == before


def test_workers_at_once_do_it_once(desk: Desk) -> None:
    for number in range(4):
        handed_over(desk, sender=f"visitor {number}")
    results = desk.at_once([lambda: desk.do(tick, desk.now + HOUR) for _ in range(4)])
    assert [r for r in results if isinstance(r, Exception)] == []
    assert sum(len(r) for r in results) == 4 * 4
    assert len(happened(desk, "breached")) == 4


def test_workers_and_answers_at_once_agree(desk: Desk) -> None:
    ids = [handed_over(desk, sender=f"visitor {number}") for number in range(3)]
    owners = {c: desk.conversation(c).assignee_id for c in ids}
    agents = {a.id: a for a in map(desk.agent, ("wang", "li", "chen", "lead", "expert_lead", "boss"))}
    at = desk.now + 20 * MINUTE
    results = desk.at_once([
        *(lambda c=c: desk.do(reply_to_customer, c, agents[owners[c]], "您好", at) for c in ids),
        *(lambda: desk.do(tick, at) for _ in range(2))])
    assert [r for r in results if isinstance(r, Exception)] == []
    firsts = desk.all(SlaClock, SlaClock.promise == "first_response")
    assert {(c.state, c.breached_at, c.met_at) for c in firsts} == {("breached", desk.now + 15 * MINUTE, at)}
    assert {t.level for t in desk.all(Ticket)} == {"experts"}


def test_a_small_limit_only_takes_more_ticks(desk: Desk) -> None:
    for number in range(3):
        handed_over(desk, sender=f"visitor {number}")
    counts = []
    while found := desk.do(tick, desk.now + HOUR, limit=1):
        counts.append(len(found))
    assert sum(counts) == 3 * 4


def test_each_breach_moves_the_ticket_one_level_up_and_no_further_than_management(desk: Desk) -> None:
    conversation_id = handed_over(desk)
    levels = []
    for hours in (1, 12, 49):
        desk.do(tick, desk.now + hours * HOUR)
        levels.append(desk.all(Ticket)[0].level)
    assert levels == ["experts", "experts", "management"]  # the resolution is due after 24 working hours, at 48
    reply(desk, conversation_id, desk.now + 49 * HOUR)
    desk.write("?", at=desk.now + 49 * HOUR)
    desk.do(tick, desk.now + 60 * HOUR)
    assert clock(desk, "next_response").state == "breached"
    assert desk.all(Ticket)[0].level == "management"
    assert desk.conversation(conversation_id).team_id == desk.agent("boss").team_id


def test_the_next_response_runs_from_the_oldest_unanswered_message(desk: Desk) -> None:
    conversation_id = handed_over(desk)
    desk.write("在吗", at=desk.now + MINUTE)
    reply(desk, conversation_id, desk.now + 2 * MINUTE)
    assert desk.all(SlaClock, SlaClock.promise == "next_response") == []  # the first response answered both
    desk.write("还没好", at=desk.now + 10 * MINUTE)
    desk.write("喂", at=desk.now + 20 * MINUTE)
    following = clock(desk, "next_response")
    assert (following.started_at, following.due_at) == (desk.now + 10 * MINUTE, desk.now + 25 * MINUTE)
    reply(desk, conversation_id, desk.now + 24 * MINUTE)
    reply(desk, conversation_id, desk.now + 60 * MINUTE)
    assert (clock(desk, "next_response").state, clock(desk, "next_response").met_at) == ("met", desk.now + 24 * MINUTE)
    desk.write("好的", at=desk.now + 70 * MINUTE)
    assert clock(desk, "next_response", 2).due_at == desk.now + 85 * MINUTE
    reply(desk, conversation_id, desk.now + 90 * MINUTE)
    assert clock(desk, "next_response", 2).state == "breached"
    desk.write("?", at=desk.now + 95 * MINUTE)
    assert clock(desk, "next_response", 3).state == "running"


def test_a_message_to_the_bot_promises_no_next_response(desk: Desk) -> None:
    conversation_id = handed_over(desk)
    reply(desk, conversation_id, desk.now)
    desk.do(hand_back_conversation, conversation_id, desk.agent("wang"), desk.now)
    desk.write("订单呢", at=desk.now + MINUTE)
    assert desk.all(SlaClock, SlaClock.promise == "next_response") == []


def test_the_resolution_stands_still_while_the_customer_is_waited_for(desk: Desk) -> None:
    conversation_id, wang = handed_over(desk), desk.agent("wang")
    reply(desk, conversation_id, desk.now)
    due = clock(desk, "resolution").due_at
    desk.do(snooze_conversation, conversation_id, wang, desk.now + HOUR)
    resolution = clock(desk, "resolution")
    assert (resolution.state, resolution.elapsed_seconds, resolution.next_event_at) == ("paused", 3600, None)
    assert desk.do(tick, desk.now + 300 * HOUR) == []
    desk.write("在", at=desk.now + 4 * HOUR)  # 14:00, three working hours later
    resolution = clock(desk, "resolution")
    assert (resolution.state, resolution.due_at) == ("running", due + 3 * HOUR)
    desk.do(resolve_conversation, conversation_id, wang, due + 3 * HOUR)
    assert clock(desk, "resolution").state == "met"
    assert [k for k, _n, _at in happened(desk, "paused", "resumed")] == ["paused", "resumed"]


@pytest.mark.parametrize("tick_first", [True, False])
def test_a_conversation_snoozed_until_a_time_wakes_at_that_time_whoever_looks(desk: Desk, tick_first: bool) -> None:
    conversation_id, wang = handed_over(desk), desk.agent("wang")
    reply(desk, conversation_id, desk.now)
    due = clock(desk, "resolution").due_at
    desk.do(snooze_conversation, conversation_id, wang, desk.now, until=desk.now + HOUR)
    if tick_first:
        assert desk.do(tick, desk.now + HOUR - SECOND) == []
        (woken,) = desk.do(tick, desk.now + 2 * HOUR)
        assert (woken.kind, woken.at) == ("woken", desk.now + HOUR)
        assert any(n.kind == "woken" for n in desk.all(Notification))
    desk.write("在", at=desk.now + 3 * HOUR)
    assert desk.conversation(conversation_id).status == "open"
    assert clock(desk, "resolution").due_at == due + HOUR


def test_pausing_too_late_does_not_undo_a_breach(desk: Desk) -> None:
    conversation_id, wang = handed_over(desk), desk.agent("wang")
    due = clock(desk, "resolution").due_at
    desk.do(snooze_conversation, conversation_id, wang, due + SECOND)
    assert (clock(desk, "resolution").state, clock(desk, "resolution").breached_at) == ("breached", due)


def complain(desk: Desk, text: str = "太差了", *, tier: str | None = None, sender: str = "visitor",
             at: datetime | None = None) -> Ticket:
    if tier:
        desk.customer(sender, tier=tier)
    received = desk.write(text, sender=sender, at=at)
    ticket: Ticket = desk.do(file_complaint, conversation_id=received.conversation.id, message_id=received.message.id,
                             what=text, wish="退款", now=at or desk.now)
    return ticket


@pytest.mark.parametrize(("text", "tier", "minutes"), [
    ("太差了", None, 120), ("太差了", "gold", 120), ("损失了 600 元", "silver", 60), ("损失了 600 元", "platinum", 30),
    ("锅爆炸了", None, 15), ("锅爆炸了", "platinum", 7.5),
])
def test_the_first_policy_that_matches_makes_the_promise(sqlite_desk: Desk, text: str, tier: str | None,
                                                         minutes: float) -> None:
    complain(sqlite_desk, text, tier=tier)
    assert clock(sqlite_desk, "first_response").due_at == sqlite_desk.now + minutes * MINUTE


def test_a_resolved_complaint_is_followed_up(desk: Desk) -> None:
    ticket, wang = complain(desk), desk.agent("wang")
    desk.do(claim_conversation, ticket.conversation_id, wang, desk.now)
    reply(desk, ticket.conversation_id, desk.now)
    desk.do(resolve_conversation, ticket.conversation_id, wang, desk.now + HOUR)
    follow_up = clock(desk, "follow_up")
    assert (follow_up.state, follow_up.started_at, follow_up.target_seconds) == (
        "running", desk.now + HOUR, 48 * 3600)
    reply(desk, ticket.conversation_id, desk.now + 20 * HOUR)
    assert (clock(desk, "follow_up").state, clock(desk, "follow_up").met_at) == ("met", desk.now + 20 * HOUR)
    assert desk.conversation(ticket.conversation_id).status == "resolved"


def test_a_follow_up_that_never_comes_is_a_breach(desk: Desk) -> None:
    ticket, wang = complain(desk), desk.agent("wang")
    desk.do(claim_conversation, ticket.conversation_id, wang, desk.now)
    desk.do(resolve_conversation, ticket.conversation_id, wang, desk.now)
    due = clock(desk, "follow_up").due_at
    desk.do(tick, due + SECOND)
    assert (clock(desk, "follow_up").state, clock(desk, "follow_up").breached_at) == ("breached", due)


def test_a_handoff_is_not_followed_up(desk: Desk) -> None:
    conversation_id = handed_over(desk)
    desk.do(resolve_conversation, conversation_id, desk.agent("wang"), desk.now)
    assert desk.all(SlaClock, SlaClock.promise == "follow_up") == []


@pytest.mark.parametrize(("minutes", "state"), [(10, "cancelled"), (20, "breached")])
def test_resolving_without_a_word_meets_no_response(desk: Desk, minutes: int, state: str) -> None:
    conversation_id = handed_over(desk)
    desk.do(resolve_conversation, conversation_id, desk.agent("wang"), desk.now + minutes * MINUTE)
    assert (clock(desk, "first_response").state, clock(desk, "first_response").met_at) == (state, None)
    assert clock(desk, "resolution").state == "met"


def test_editing_a_policy_rewrites_no_verdict_and_no_running_promise(desk: Desk) -> None:
    conversation_id = handed_over(desk)
    reply(desk, conversation_id, desk.now + 10 * MINUTE)
    before = verdicts(desk)
    with desk.store.write() as session:
        session.query(SlaPolicy).update({"first_response_seconds": 1, "resolution_seconds": 1})
    assert not [h for h in desk.do(tick, desk.now + 5 * HOUR) if h.kind == "breached"]
    assert verdicts(desk) == before


def test_starting_the_clocks_twice_starts_them_once(desk: Desk) -> None:
    ticket = complain(desk)
    with desk.store.write() as session:
        again = start_clocks(session, session.get(Ticket, ticket.id), desk.now + HOUR)
        assert [c.started_at for c in again] == [desk.now, desk.now]
    assert len(desk.all(SlaClock)) == 2


def test_an_inactive_policy_promises_nothing(desk: Desk) -> None:
    with desk.store.write() as session:
        session.query(SlaPolicy).update({"active": False})
    complain(desk)
    assert desk.all(SlaClock) == []


def test_promises_in_business_hours_run_overnight_and_over_holidays(desk: Desk) -> None:
    eve = datetime(2026, 2, 14, 12, 50, tzinfo=timezone.utc)  # 20:50 of a Saturday worked in exchange
    handed_over(desk, at=eve)
    assert clock(desk, "first_response").due_at == datetime(2026, 2, 24, 1, 5, tzinfo=timezone.utc)


def test_a_raised_grade_promises_again_from_now(desk: Desk) -> None:
    ticket = complain(desk)
    desk.do(raise_grade, ticket.id, "major", desk.now + 30 * MINUTE)
    assert clock(desk, "first_response").due_at == desk.now + 45 * MINUTE
    desk.do(raise_grade, ticket.id, "complex", desk.now + 31 * MINUTE)
    assert desk.all(Ticket)[0].grade == "major"
    assert clock(desk, "first_response").due_at == desk.now + 45 * MINUTE
    desk.do(tick, desk.now + 46 * MINUTE)
    assert clock(desk, "first_response").state == "breached"


def test_a_raised_grade_does_not_undo_a_breach(desk: Desk) -> None:
    ticket = complain(desk)
    desk.do(raise_grade, ticket.id, "major", desk.now + 3 * HOUR)
    assert (clock(desk, "first_response").state, clock(desk, "first_response").breached_at) == (
        "breached", desk.now + 2 * HOUR)


def test_a_breach_of_one_ticket_leaves_other_tickets_alone(desk: Desk) -> None:
    handed_over(desk)
    complain(desk, sender="another")
    desk.do(tick, desk.now + HOUR)
    levels = {t.kind: t.level for t in desk.all(Ticket)}
    assert levels == {"handoff": "experts", "complaint": "front_line"}
    assert desk.all(Message, Message.author == "agent") == []

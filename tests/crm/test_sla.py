"""SLA clocks: the verdict depends on when things happened, never on when somebody looked."""
from __future__ import annotations

from datetime import date, datetime, timedelta, timezone
from typing import Any

import pytest
import sqlalchemy as sa

from crm_store.models import (
    BusinessCalendar,
    Message,
    Notification,
    SlaClock,
    SlaEvent,
    SlaPolicy,
    SupportAgent,
    Ticket,
)
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
from crm_store.services.sla import next_event, start_clocks, tick
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


def apologies(desk: Desk, conversation_id: int) -> list[str]:
    """What Warmline itself said of broken promises."""
    return [m.text for m in desk.all(Message, Message.conversation_id == conversation_id, Message.author == "system")
            if m.text.startswith(("抱歉，我们没能", "I am sorry: we did not"))]


def test_a_customer_whose_promise_is_broken_is_told_once_who_has_it_now_and_by_when(desk: Desk) -> None:
    conversation_id = handed_over(desk)
    desk.do(tick, desk.now + 15 * MINUTE)
    assert apologies(desk, conversation_id) == []
    for seconds in (1, 2, 3600):
        desk.do(tick, desk.now + 15 * MINUTE + seconds * SECOND)
    number = desk.all(Ticket)[0].number
    assert apologies(desk, conversation_id) == [
        f"抱歉，我们没能在约定的 10:15 前联系您（工单 {number}）。"
        "工单已升级到我们的专家组。最迟 11月20日 10:00 前给您解决。"]
    assert clock(desk, "first_response").met_at is None  # it is no answer of a human


def test_it_is_told_in_english_to_whoever_writes_english(sqlite_desk: Desk) -> None:
    desk = sqlite_desk
    conversation_id = int(desk.write("I want to talk to a person").conversation.id)
    desk.do(escalate_conversation, conversation_id=conversation_id, reason="asked", now=desk.now, language="en")
    desk.do(tick, desk.now + 16 * MINUTE)
    number = desk.all(Ticket)[0].number
    assert apologies(desk, conversation_id) == [
        f"I am sorry: we did not get back to you by 10:15 as promised (ticket {number}). Our expert team has it now. "
        "It is to be solved by 10:00 on 20 November at the latest."]


def test_a_silence_is_broken_once_and_not_again_until_somebody_has_spoken(sqlite_desk: Desk) -> None:
    desk = sqlite_desk
    desk.customer("visitor")  # not a guest, who would have left
    conversation_id = handed_over(desk)
    desk.do(tick, desk.now + 16 * MINUTE)
    due = clock(desk, "resolution").due_at
    desk.do(tick, due + SECOND)
    assert len(apologies(desk, conversation_id)) == 1
    assert desk.all(Ticket)[0].level == "management"


def test_a_second_broken_promise_is_told_where_somebody_spoke_meanwhile(sqlite_desk: Desk) -> None:
    desk = sqlite_desk
    desk.customer("visitor")
    conversation_id = handed_over(desk)
    desk.do(tick, desk.now + 16 * MINUTE)
    desk.write("在吗", at=desk.now + 20 * MINUTE)
    desk.do(tick, clock(desk, "resolution").due_at + SECOND)
    number = desk.all(Ticket)[0].number
    assert apologies(desk, conversation_id)[1:] == [
        f"抱歉，我们没能在约定的 10:00 前解决您的问题（工单 {number}）。工单已升级到我们的管理层。同事会尽快联系您。"]


def test_nobody_apologises_while_a_human_is_there_or_as_one_answers(sqlite_desk: Desk) -> None:
    desk = sqlite_desk
    desk.customer("visitor")
    conversation_id = handed_over(desk)
    reply(desk, conversation_id, desk.now + 16 * MINUTE)  # late, and nobody had looked
    assert apologies(desk, conversation_id) == []
    due = clock(desk, "resolution").due_at
    reply(desk, conversation_id, due - 5 * MINUTE)
    desk.do(tick, due + SECOND)
    assert clock(desk, "resolution").state == "breached"
    assert apologies(desk, conversation_id) == []


def test_a_customer_who_asks_after_the_promise_was_broken_hears_it_at_once(sqlite_desk: Desk) -> None:
    desk = sqlite_desk
    conversation_id = handed_over(desk)
    desk.write("有人吗", at=desk.now + 15 * MINUTE + SECOND)
    assert len(apologies(desk, conversation_id)) == 1
    desk.do(tick, desk.now + HOUR)
    assert len(apologies(desk, conversation_id)) == 1


@pytest.mark.parametrize(("hours", "linked", "told"), [(0, False, 1), (2, False, 0), (2, True, 1)])
def test_a_guest_who_left_the_page_is_not_written_to(sqlite_desk: Desk, hours: int, linked: bool, told: int) -> None:
    desk = sqlite_desk
    if linked:
        desk.customer("visitor")
    conversation_id = handed_over(desk)
    desk.do(tick, desk.now + 16 * MINUTE + hours * HOUR)
    assert len(apologies(desk, conversation_id)) == told


def test_a_resolved_conversation_hears_nothing_of_its_follow_up(sqlite_desk: Desk) -> None:
    desk = sqlite_desk
    desk.customer("visitor")
    ticket, wang = complain(desk), desk.agent("wang")
    desk.do(claim_conversation, ticket.conversation_id, wang, desk.now)
    desk.do(resolve_conversation, ticket.conversation_id, wang, desk.now)
    desk.do(tick, clock(desk, "follow_up").due_at + SECOND)
    assert clock(desk, "follow_up").state == "breached" and apologies(desk, ticket.conversation_id) == []


def test_the_agent_is_reminded_of_a_follow_up_before_it_is_due(sqlite_desk: Desk) -> None:
    desk = sqlite_desk
    ticket, wang = complain(desk), desk.agent("wang")
    desk.do(claim_conversation, ticket.conversation_id, wang, desk.now)
    desk.do(resolve_conversation, ticket.conversation_id, wang, desk.now)
    follow_up = clock(desk, "follow_up")
    desk.do(tick, follow_up.next_event_at + SECOND)
    told = [(n.kind, n.agent_id, n.data["promise"], n.data["percent"]) for n in desk.all(Notification)
            if n.kind == "sla_warned"]
    assert told == [("sla_warned", wang.id, "follow_up", 50)]


def test_a_follow_up_is_kept_by_a_message_after_the_customer_wrote_again(desk: Desk) -> None:
    ticket, wang = complain(desk), desk.agent("wang")
    desk.do(claim_conversation, ticket.conversation_id, wang, desk.now)
    desk.do(resolve_conversation, ticket.conversation_id, wang, desk.now + HOUR)
    desk.write("转人工", at=desk.now + 2 * HOUR)
    desk.do(escalate_conversation, conversation_id=ticket.conversation_id, reason="asked", now=desk.now + 2 * HOUR)
    reply(desk, ticket.conversation_id, desk.now + 3 * HOUR)
    assert (clock(desk, "follow_up").state, clock(desk, "follow_up").met_at) == ("met", desk.now + 3 * HOUR)


def test_after_a_raised_grade_the_next_response_is_promised_by_the_new_grade(sqlite_desk: Desk) -> None:
    desk = sqlite_desk
    ticket = complain(desk)
    desk.do(claim_conversation, ticket.conversation_id, desk.agent("wang"), desk.now)
    reply(desk, ticket.conversation_id, desk.now)
    desk.do(raise_grade, ticket.id, "major", desk.now + MINUTE)
    desk.write("在吗", at=desk.now + HOUR)
    assert clock(desk, "next_response").due_at == desk.now + HOUR + 30 * MINUTE


def test_a_paused_resolution_is_tightened_too(sqlite_desk: Desk) -> None:
    desk = sqlite_desk
    ticket = complain(desk)
    with desk.store.write() as session:
        session.query(SlaPolicy).filter(SlaPolicy.grade == "major").update({"resolution_seconds": 3 * 3600})
    desk.do(snooze_conversation, claimed(desk, ticket), desk.agent("wang"), desk.now + HOUR)
    desk.do(raise_grade, ticket.id, "major", desk.now + 2 * HOUR)
    desk.write("在", at=desk.now + 4 * HOUR)
    assert clock(desk, "resolution").due_at == desk.now + 7 * HOUR


def claimed(desk: Desk, ticket: Ticket) -> int:
    desk.do(claim_conversation, ticket.conversation_id, desk.agent("wang"), desk.now)
    return int(ticket.conversation_id)


def test_a_grade_raised_after_a_broken_promise_takes_no_step_out_of_the_chain(sqlite_desk: Desk) -> None:
    levels = []
    for looked in (True, False):
        desk = sqlite_desk
        ticket = complain(desk, sender=f"looked {looked}")
        if looked:
            desk.do(tick, desk.now + 3 * HOUR)
        desk.do(raise_grade, ticket.id, "complex", desk.now + 3 * HOUR)
        desk.do(tick, desk.now + 3 * HOUR + SECOND)
        levels.append(desk.all(Ticket, Ticket.id == ticket.id)[0].level)
    assert levels == ["experts", "experts"]


def test_promises_broken_together_are_told_in_the_order_they_were_broken(desk: Desk) -> None:
    """Nobody looked for days: the level each breach raised to is as if somebody had looked all the time."""
    conversation_id = handed_over(desk)
    reply(desk, conversation_id, desk.now)
    desk.write("在吗", at=desk.now + MINUTE)
    desk.do(tick, desk.now + 100 * HOUR)
    told = {(n.data["promise"], n.data["level"]) for n in desk.all(Notification) if n.kind == "sla_breached"}
    assert told == {("next_response", "experts"), ("resolution", "management")}


def test_a_late_answer_records_the_warnings_that_nobody_saw(desk: Desk) -> None:
    conversation_id = handed_over(desk)
    reply(desk, conversation_id, desk.now + 12 * MINUTE)
    assert happened(desk, "warned") == [
        ("warned", 50, desk.now + 7.5 * MINUTE), ("warned", 75, desk.now + 11.25 * MINUTE)]


def test_ten_pauses_lose_no_second(desk: Desk) -> None:
    conversation_id, wang = handed_over(desk), desk.agent("wang")
    reply(desk, conversation_id, desk.now)
    due, at, waited = clock(desk, "resolution").due_at, desk.now, timedelta(0)
    for number in range(10):
        at += timedelta(seconds=61, milliseconds=370)
        desk.do(snooze_conversation, conversation_id, wang, at)
        back = at + timedelta(seconds=90, milliseconds=450 + number)
        desk.write("在", at=back)
        waited += back.replace(microsecond=0) - at.replace(microsecond=0)
        at = back
    assert clock(desk, "resolution").due_at == due + waited


def break_calendar(desk: Desk, **columns: Any) -> None:
    """Another calendar for the handoffs that was edited into nonsense."""
    with desk.store.write() as session:
        broken = BusinessCalendar(**{
            "name": "broken", "time_zone": "Asia/Nowhere", "weekly": {"0": [["09:00", "18:00"]]}, "holidays": None,
            "closing_days": [], **columns})
        session.add(broken)
        session.flush()
        session.query(SlaClock).filter(SlaClock.promise == "first_response", SlaClock.ticket_id == 1).update(
            {"calendar_id": broken.id})


BROKEN: list[dict[str, Any]] = [
    {}, {"time_zone": "UTC", "weekly": {}}, {"time_zone": "UTC", "weekly": {"0": [["soon", "later"]]}},
    {"time_zone": "UTC", "weekly": [1]}, {"time_zone": "UTC", "holidays": "XX"},
    {"time_zone": "UTC", "weekly": {"0": [["09:00", "10:00"]]},
     "closing_days": [str(date(2026, 11, 2) + timedelta(weeks=n)) for n in range(150)]},
]


@pytest.mark.parametrize("columns", BROKEN)
def test_a_calendar_edited_into_nonsense_stops_no_other_clock_and_no_verdict(
        sqlite_desk: Desk, columns: dict[str, Any], caplog: pytest.LogCaptureFixture) -> None:
    desk = sqlite_desk
    for sender in ("one", "two"):
        handed_over(desk, sender=sender)
    break_calendar(desk, **columns)
    found = desk.do(tick, desk.now + 8 * MINUTE)
    assert [(h.kind, h.ticket_id) for h in found] == [("warned", 2), ("postponed", 1)]
    assert "cannot be used" in caplog.text and caplog.records[-1].clock_id == 1
    assert desk.do(tick, desk.now + 8 * MINUTE) == []
    desk.do(tick, desk.now + 16 * MINUTE)
    firsts = desk.all(SlaClock, SlaClock.promise == "first_response")
    assert {(c.state, c.breached_at) for c in firsts} == {("breached", desk.now + 15 * MINUTE)}


def test_a_calendar_that_is_mended_warns_again(sqlite_desk: Desk) -> None:
    desk = sqlite_desk
    handed_over(desk)
    break_calendar(desk)
    desk.do(tick, desk.now + 8 * MINUTE)
    with desk.store.write() as session:
        session.query(BusinessCalendar).filter(BusinessCalendar.name == "broken").update(
            {"time_zone": "Asia/Shanghai", "weekly": {str(day): [["09:00", "21:00"]] for day in range(7)}})
    found = desk.do(tick, desk.now + 13 * MINUTE + SECOND)
    assert [(h.kind, h.percent, h.at) for h in found] == [
        ("warned", 50, desk.now + 7.5 * MINUTE), ("warned", 75, desk.now + 11.25 * MINUTE)]


def test_complaints_pauses_and_answers_go_on_with_a_broken_calendar(sqlite_desk: Desk) -> None:
    desk = sqlite_desk
    with desk.store.write() as session:
        session.query(BusinessCalendar).update({"time_zone": "Asia/Nowhere"})
    ticket = complain(desk)
    assert clock(desk, "first_response").due_at == desk.now + 2 * HOUR  # around the clock: rather too early than never
    desk.do(snooze_conversation, claimed(desk, ticket), desk.agent("wang"), desk.now + HOUR)
    desk.write("在", at=desk.now + 2 * HOUR)
    assert clock(desk, "resolution").due_at == desk.now + 25 * HOUR
    reply(desk, ticket.conversation_id, desk.now + 2 * HOUR)
    assert clock(desk, "first_response").state == "met"


def test_a_look_takes_as_many_statements_for_fifty_clocks_as_for_one(desk: Desk) -> None:
    statements: list[str] = []
    sa.event.listen(desk.store.engine, "before_cursor_execute",
                    lambda _c, _cursor, statement, *_more: statements.append(statement))
    counts = []
    for at, number in ((desk.now, 1), (desk.now + HOUR, 50)):
        for each in range(number):
            handed_over(desk, sender=f"visitor {number} {each}", at=at)
        snoozed = handed_over(desk, sender=f"snoozed {number}", at=at)
        (agent,) = desk.all(SupportAgent, SupportAgent.id == (desk.conversation(snoozed).assignee_id or 1))
        desk.do(snooze_conversation, snoozed, agent, at, until=at + 5 * MINUTE)
        statements.clear()
        found = desk.do(tick, at + 16 * MINUTE)
        assert sum(each.kind == "breached" for each in found) == number + 1
        counts.append(len(statements))
    assert counts[1] <= counts[0] + 6, counts


def test_the_next_event_is_the_first_of_warnings_due_times_and_wakings(desk: Desk) -> None:
    assert desk.ask(next_event) is None
    conversation_id = handed_over(desk)
    assert desk.ask(next_event) == desk.now + 7.5 * MINUTE
    desk.do(snooze_conversation, conversation_id, desk.agent("wang"), desk.now, until=desk.now + MINUTE)
    assert desk.ask(next_event) == desk.now + MINUTE

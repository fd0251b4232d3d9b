"""Control passes between the bot and humans in one transaction, to one owner at a time."""
from __future__ import annotations

from datetime import datetime, timezone
from itertools import count
from typing import Any

import pytest
from sqlalchemy.orm import Session

from crm_store.database import Store
from crm_store.errors import AlreadyClaimed, InvalidMessage, NotFound, NotOwner, StaleVersion, WrongState
from crm_store.models import AuditEntry, Escalation, Message, Notification, SlaClock, SupportAgent, Ticket
from crm_store.services.complaints import file_complaint
from crm_store.services.dispatch import postpone_turn
from crm_store.services.handoff import (
    Handoff,
    add_note,
    claim_conversation,
    escalate_conversation,
    hand_back_conversation,
    reply_to_customer,
    resolve_conversation,
    snooze_conversation,
    take_over_conversation,
)
from crm_store.services.messages import replies_to
from crm_store.services.sla import tick
from tests.crm.conftest import HOUR, MINUTE, Desk


def escalate(desk: Desk, text: str = "转人工", *, sender: str = "visitor", reason: str = "asked",
             at: datetime | None = None, **more: object) -> Handoff:
    received = desk.write(text, sender=sender, at=at)
    result: Handoff = desk.do(escalate_conversation, conversation_id=received.conversation.id, reason=reason,
                              now=at or desk.now, message_id=received.message.id, **more)
    return result


def test_a_handover_writes_everything_it_promises(desk: Desk) -> None:
    handoff = escalate(desk, "你们太过分了", reason="anger", anger=0.93, summary="退款拖了三周")
    conversation, ticket = desk.conversation(handoff.conversation.id), desk.all(Ticket)[0]
    wang = desk.agent("wang")
    assert (conversation.status, conversation.version, conversation.assignee_id) == ("open", 2, wang.id)
    assert conversation.team_id == wang.team_id
    assert (ticket.kind, ticket.status, ticket.reason, ticket.level) == ("handoff", "open", "anger", "front_line")
    assert (ticket.assignee_id, ticket.keeper_id, ticket.summary) == (wang.id, wang.id, "退款拖了三周")
    assert ticket.number == f"C{1000 + ticket.id}"
    due = {clock.promise: clock.due_at for clock in desk.all(SlaClock)}
    assert due == {"first_response": desk.now + 15 * MINUTE,  # 24 working hours at 12 a day: two days later
                   "resolution": desk.now + 48 * HOUR}
    (escalation,) = desk.all(Escalation)
    assert (escalation.reason, escalation.anger, escalation.ticket_id) == ("anger", 0.93, ticket.id)
    (note,) = desk.all(Message, Message.direction == "note")
    assert "愤怒" in note.text and "0.93" in note.text and "退款拖了三周" in note.text
    assert handoff.notice is not None and handoff.due_at == desk.now + 15 * MINUTE
    (notice,) = desk.all(Message, Message.author == "system", Message.direction == "outgoing")
    assert (notice.id, notice.position, notice.delivery_state) == (handoff.notice.id, 0, "queued")
    assert ticket.number in notice.text and "10:15" in notice.text and "抱歉" in notice.text
    assert [(n.agent_id, n.kind) for n in desk.all(Notification)] == [(wang.id, "assigned")]
    (entry,) = desk.all(AuditEntry)
    assert (entry.action, entry.object_id) == ("escalate", str(conversation.id))


def test_escalating_the_same_message_again_or_at_once_changes_nothing(desk: Desk) -> None:
    received = desk.write("转人工")

    def escalate_it() -> Handoff:
        handoff: Handoff = desk.do(escalate_conversation, conversation_id=received.conversation.id, reason="asked",
                                   now=desk.now, message_id=received.message.id, expected_version=1)
        return handoff

    results = desk.at_once([escalate_it for _ in range(6)])
    assert [r for r in results if isinstance(r, Exception)] == []
    assert len({(r.ticket.id, r.due_at, r.notice.id) for r in results}) == 1
    desk.do(hand_back_conversation, received.conversation.id, desk.agent("wang"), desk.now)
    assert escalate_it().ticket.id == results[0].ticket.id  # the message was decided on: the bot keeps what it got back
    assert desk.conversation(received.conversation.id).status == "pending"
    for model in (Ticket, Escalation):
        assert len(desk.all(model)) == 1
    assert len(desk.ask(replies_to, received.message.id)) == 1


def test_escalating_an_open_conversation_gives_its_ticket(desk: Desk) -> None:
    first = escalate(desk)
    second = escalate(desk, "快点")
    assert first.ticket and second.ticket
    assert (second.ticket.id, second.due_at, second.notice) == (first.ticket.id, first.due_at, None)
    assert desk.conversation(first.conversation.id).version == 2


def test_a_decision_on_an_old_version_is_refused(desk: Desk) -> None:
    received = desk.write()
    desk.do(claim_conversation, received.conversation.id, desk.agent("wang"), desk.now)
    desk.do(hand_back_conversation, received.conversation.id, desk.agent("wang"), desk.now)
    with pytest.raises(StaleVersion) as refused:
        desk.do(escalate_conversation, conversation_id=received.conversation.id, reason="asked", now=desk.now,
                expected_version=1)
    assert refused.value.data["version"] == 3
    with pytest.raises(NotFound):
        desk.do(escalate_conversation, conversation_id=999, reason="asked", now=desk.now)
    with pytest.raises(ValueError, match="bored"):
        desk.do(escalate_conversation, conversation_id=received.conversation.id, reason="bored", now=desk.now)


def test_who_gets_it(desk: Desk) -> None:
    def assignee(sender: str, text: str = "转人工", **more: object) -> str | None:
        handoff = escalate(desk, text, sender=sender, **more)
        conversation = desk.conversation(handoff.conversation.id)
        names = {desk.agent(login).id: login for login in ("wang", "li", "chen", "lead", "expert_lead", "boss")}
        return names.get(conversation.assignee_id)

    assert assignee("1") == "wang"  # nobody has any: the first
    assert assignee("2") == "li"  # fewest open
    assert assignee("3", "a person please") == "lead"  # li speaks no English, and the lead has fewer than wang
    assert assignee("4", "a person please") == "wang"  # the lead is at capacity
    assert assignee("5", "a person please") == "chen"  # so is wang: the next level
    assert assignee("6") == "li"
    assert assignee("7") == "expert_lead"
    assert assignee("8") == "boss"
    assert assignee("9") is None


def test_nobody_free_leaves_it_in_the_queue_and_tells_the_lead(desk: Desk) -> None:
    desk.away("wang", "li", "chen", "lead", "expert_lead", "boss")
    handoff = escalate(desk)
    assert desk.conversation(handoff.conversation.id).assignee_id is None
    assert [(n.agent_id, n.kind) for n in desk.all(Notification)] == [(desk.agent("lead").id, "nobody_free")]
    assert handoff.due_at == desk.now + 15 * MINUTE


def test_capacity_is_respected_even_at_once(desk: Desk) -> None:
    desk.away("chen", "lead", "expert_lead", "boss")
    received = [desk.write("转人工", sender=f"visitor {n}") for n in range(6)]
    results = desk.at_once([
        lambda r=r: desk.do(escalate_conversation, conversation_id=r.conversation.id, reason="asked", now=desk.now,
                            message_id=r.message.id) for r in received])
    assert [r for r in results if isinstance(r, Exception)] == []
    owners = [desk.conversation(r.conversation.id).assignee_id for r in received]
    wang, li = desk.agent("wang").id, desk.agent("li").id
    assert sorted(owners, key=str) == sorted([wang, wang, li, li, None, None], key=str)


def test_a_major_complaint_goes_to_management(desk: Desk) -> None:
    received = desk.write("锅炸伤了我的手")
    complaint = desk.do(file_complaint, conversation_id=received.conversation.id, message_id=received.message.id,
                        what="锅爆炸, 我受伤了", wish="赔偿", now=desk.now)
    handoff = desk.do(escalate_conversation, conversation_id=received.conversation.id, reason="major_complaint",
                      now=desk.now, message_id=received.message.id, ticket=complaint)
    assert (handoff.ticket.id, handoff.ticket.kind) == (complaint.id, "complaint")
    assert handoff.due_at == desk.now + 15 * MINUTE
    boss = desk.agent("boss")
    conversation = desk.conversation(received.conversation.id)
    assert (conversation.assignee_id, conversation.team_id) == (boss.id, boss.team_id)
    assert len(desk.all(Ticket)) == 1


@pytest.mark.parametrize(("at", "language", "said"), [
    (datetime(2026, 11, 18, 2, 0, tzinfo=timezone.utc), "zh", ["10:15 前"]),
    (datetime(2026, 11, 18, 12, 50, tzinfo=timezone.utc), "zh", ["11月19日 09:05"]),  # open now, due tomorrow
    (datetime(2026, 11, 18, 14, 0, tzinfo=timezone.utc), "zh", ["非工作时间", "11月19日 09:00", "11月19日 09:15"]),
    (datetime(2026, 11, 18, 14, 0, tzinfo=timezone.utc), "en", ["closed", "opens at 09:00 on 19 November",
                                                               "by 09:15 on 19 November"]),
    (datetime(2026, 11, 18, 23, 0, tzinfo=timezone.utc), "en", ["opens at 09:00", "by 09:15."]),
])
def test_the_customer_is_told_who_comes_by_when(sqlite_desk: Desk, at: datetime, language: str,
                                                said: list[str]) -> None:
    handoff = escalate(sqlite_desk, at=at, language=language)
    assert handoff.notice and handoff.ticket
    for words in [*said, handoff.ticket.number]:
        assert words in handoff.notice.text
    assert handoff.notice.text.isascii() == (language == "en")


def test_without_any_policy_or_agent_the_customer_still_hears_and_keeps_a_number(store: Store, now: datetime) -> None:
    empty = Desk(store, now, count(1))
    handoff = escalate(empty, "a person", reason="system")
    assert handoff.due_at is None and handoff.ticket and handoff.notice
    assert handoff.ticket.number in handoff.notice.text and "sorry" in handoff.notice.text
    assert empty.conversation(handoff.conversation.id).status == "open"


def test_of_many_who_claim_at_once_one_gets_it_and_the_others_read_who(desk: Desk) -> None:
    desk.away("wang", "li", "chen", "lead", "expert_lead", "boss")
    conversation_id = escalate(desk).conversation.id
    agents = [desk.agent(login) for login in ("wang", "li", "chen", "lead", "expert_lead", "boss")]
    results = desk.at_once([lambda a=a: desk.do(claim_conversation, conversation_id, a, desk.now) for a in agents])
    refused = [r for r in results if isinstance(r, AlreadyClaimed)]
    assert len(refused) == 5
    owner = next(a for a in agents if a.id == desk.conversation(conversation_id).assignee_id)
    assert {r.data["owner_name"] for r in refused} == {owner.name}
    assert desk.conversation(conversation_id).version == 3


def test_claiming_ones_own_conversation_is_no_change(desk: Desk) -> None:
    conversation_id = escalate(desk).conversation.id
    for _ in range(2):
        desk.do(claim_conversation, conversation_id, desk.agent("wang"), desk.now)
    assert desk.conversation(conversation_id).version == 2
    assert desk.all(Ticket)[0].stage == "taken_up"


def test_only_the_owner_writes_to_the_customer(desk: Desk) -> None:
    conversation_id = escalate(desk).conversation.id
    desk.do(claim_conversation, conversation_id, desk.agent("wang"), desk.now)
    for act in (lambda: desk.do(reply_to_customer, conversation_id, desk.agent("li"), "我来", desk.now),
                lambda: desk.do(resolve_conversation, conversation_id, desk.agent("li"), desk.now),
                lambda: desk.do(hand_back_conversation, conversation_id, desk.agent("li"), desk.now),
                lambda: desk.do(snooze_conversation, conversation_id, desk.agent("li"), desk.now)):
        with pytest.raises(NotOwner) as refused:
            act()
        assert refused.value.data["owner_name"] == "Wang"
    message = desk.do(reply_to_customer, conversation_id, desk.agent("wang"), " 您好\u200b ", desk.now)
    assert (message.text, message.author, message.delivery_state) == ("您好", "agent", "queued")


def test_what_is_only_offered_to_one_agent_goes_to_whoever_claims_first(desk: Desk) -> None:
    conversation_id = escalate(desk).conversation.id
    assert desk.conversation(conversation_id).assignee_id == desk.agent("wang").id
    desk.do(claim_conversation, conversation_id, desk.agent("li"), desk.now)
    assert desk.conversation(conversation_id).assignee_id == desk.agent("li").id
    with pytest.raises(AlreadyClaimed) as refused:
        desk.do(claim_conversation, conversation_id, desk.agent("wang"), desk.now)
    assert refused.value.data["owner_name"] == "Li"


def test_nobody_writes_while_the_bot_owns_it(desk: Desk) -> None:
    conversation_id = desk.write().conversation.id
    with pytest.raises(NotOwner) as refused:
        desk.do(reply_to_customer, conversation_id, desk.agent("wang"), "您好", desk.now)
    assert refused.value.data["owner_name"] is None
    assert desk.all(Message, Message.author == "agent") == []


def test_two_agents_replying_to_an_unassigned_conversation_at_once_are_not_both_heard(desk: Desk) -> None:
    desk.away("wang", "li", "chen", "lead", "expert_lead", "boss")
    conversation_id = escalate(desk).conversation.id
    results = desk.at_once([
        lambda a=a: desk.do(reply_to_customer, conversation_id, desk.agent(a), "我来", desk.now)
        for a in ("wang", "li")])
    assert sum(isinstance(r, NotOwner) for r in results) == 1
    assert len(desk.all(Message, Message.author == "agent")) == 1


@pytest.mark.parametrize("text", ["", " \u200b", "x" * 4001, None])
def test_an_agents_text_is_checked_like_a_customers(sqlite_desk: Desk, text: str) -> None:
    conversation_id = escalate(sqlite_desk).conversation.id
    for service in (reply_to_customer, add_note):
        with pytest.raises(InvalidMessage):
            sqlite_desk.do(service, conversation_id, sqlite_desk.agent("wang"), text, sqlite_desk.now)


def test_taking_over_is_recorded_and_the_former_owner_told(desk: Desk) -> None:
    conversation_id = escalate(desk).conversation.id
    li = desk.agent("li")
    desk.do(take_over_conversation, conversation_id, li, desk.now)
    conversation, ticket = desk.conversation(conversation_id), desk.all(Ticket)[0]
    assert (conversation.assignee_id, conversation.version) == (li.id, 3)
    assert (ticket.assignee_id, ticket.keeper_id) == (li.id, desk.agent("wang").id)  # the first stays the keeper
    assert any(n.kind == "taken_over" and n.agent_id == desk.agent("wang").id for n in desk.all(Notification))
    assert [e.actor_id for e in desk.all(AuditEntry, AuditEntry.action == "take_over")] == [li.id]
    assert any("Li" in m.text for m in desk.all(Message, Message.direction == "note"))
    desk.do(take_over_conversation, conversation_id, li, desk.now)
    assert desk.conversation(conversation_id).version == 3


def test_taking_over_from_the_bot_opens_a_ticket_with_clocks(desk: Desk) -> None:
    conversation_id = desk.write().conversation.id
    desk.do(take_over_conversation, conversation_id, desk.agent("chen"), desk.now)
    assert desk.conversation(conversation_id).status == "open"
    (ticket,) = desk.all(Ticket)
    assert (ticket.kind, ticket.assignee_id, ticket.reason) == ("handoff", desk.agent("chen").id, None)
    assert {clock.promise for clock in desk.all(SlaClock)} == {"first_response", "resolution"}


def test_notes_are_not_for_customers(desk: Desk) -> None:
    received = desk.write()
    note = desk.do(add_note, received.conversation.id, desk.agent("li"), "小心", desk.now)
    assert (note.direction, note.author, note.delivery_state) == ("note", "agent", None)


def test_resolving_closes_everything_and_asks_for_a_rating(desk: Desk) -> None:
    conversation_id, wang = escalate(desk).conversation.id, desk.agent("wang")
    desk.do(reply_to_customer, conversation_id, wang, "好了", desk.now + MINUTE)
    desk.do(resolve_conversation, conversation_id, wang, desk.now + 2 * MINUTE, cause="refunded")
    conversation, ticket = desk.conversation(conversation_id), desk.all(Ticket)[0]
    assert (conversation.status, conversation.resolved_at, conversation.version) == (
        "resolved", desk.now + 2 * MINUTE, 3)
    assert (ticket.status, ticket.stage, ticket.resolution_cause) == ("resolved", "resolved", "refunded")
    assert {(clock.promise, clock.state) for clock in desk.all(SlaClock)} == {
        ("first_response", "met"), ("resolution", "met")}
    question = desk.all(Message, Message.author == "system")[-1]
    assert [b["payload"] for b in question.buttons] == [f'/rate{{"score": {n}}}' for n in (5, 4, 3, 2, 1)]
    for act in (lambda: desk.do(resolve_conversation, conversation_id, wang, desk.now),
                lambda: desk.do(claim_conversation, conversation_id, wang, desk.now),
                lambda: desk.do(take_over_conversation, conversation_id, wang, desk.now),
                lambda: desk.do(hand_back_conversation, conversation_id, wang, desk.now),
                lambda: desk.do(reply_to_customer, conversation_id, wang, "还有", desk.now)):
        with pytest.raises(WrongState):
            act()


def test_handing_back_gives_the_bot_the_next_message(desk: Desk) -> None:
    handoff = escalate(desk)
    conversation_id, wang = handoff.conversation.id, desk.agent("wang")
    desk.do(add_note, conversation_id, wang, "已退款", desk.now)
    desk.do(hand_back_conversation, conversation_id, wang, desk.now)
    conversation, ticket = desk.conversation(conversation_id), desk.all(Ticket)[0]
    assert (conversation.status, conversation.version, conversation.assignee_id) == ("pending", 3, None)
    assert (ticket.status, ticket.resolution_cause) == ("resolved", "handed_back")
    assert any(m.text == "已退款" for m in desk.all(Message, Message.direction == "note"))
    desk.answer(desk.turn(conversation_id), "嗯")
    desk.write("谢谢")
    assert desk.turn(conversation_id).mode == "turn"
    with pytest.raises(NotOwner):
        desk.do(hand_back_conversation, conversation_id, wang, desk.now)


def test_a_reopened_conversation_handed_over_again_goes_back_to_its_agent_in_a_new_cycle(desk: Desk) -> None:
    conversation_id, li = escalate(desk).conversation.id, desk.agent("li")
    desk.do(take_over_conversation, conversation_id, li, desk.now)
    desk.do(reply_to_customer, conversation_id, li, "好了", desk.now)
    desk.do(resolve_conversation, conversation_id, li, desk.now)
    later = desk.now + 24 * HOUR
    handoff = escalate(desk, "又坏了", reason="anger", at=later)
    assert handoff.conversation.id == conversation_id
    assert desk.conversation(conversation_id).assignee_id == li.id
    (ticket,) = desk.all(Ticket)
    assert (ticket.status, ticket.cycle, ticket.reason, ticket.summary) == ("open", 2, "anger", "转人工\n又坏了")
    states = [(c.promise, c.cycle, c.state) for c in desk.all(SlaClock)]
    assert states == [("first_response", 1, "met"), ("resolution", 1, "met"), ("first_response", 2, "running"),
                      ("resolution", 2, "running")]
    assert handoff.due_at == later + 15 * MINUTE


def test_snoozing_until_the_customer_writes(desk: Desk) -> None:
    conversation_id, wang = escalate(desk).conversation.id, desk.agent("wang")
    desk.do(snooze_conversation, conversation_id, wang, desk.now)
    assert desk.conversation(conversation_id).status == "snoozed"
    assert desk.all(Ticket)[0].status == "waiting"
    with pytest.raises(WrongState):
        desk.do(snooze_conversation, conversation_id, wang, desk.now, until=desk.now)
    desk.write("在", at=desk.now + HOUR)
    assert desk.conversation(conversation_id).status == "open"
    assert desk.all(Ticket)[0].status == "open"
    assert desk.conversation(conversation_id).version == 2  # its owner never changed


def test_a_decision_that_comes_after_a_human_resolved_it_opens_nothing(desk: Desk) -> None:
    received, wang = desk.write(), desk.agent("wang")
    conversation_id = received.conversation.id
    desk.do(take_over_conversation, conversation_id, wang, desk.now)
    desk.do(resolve_conversation, conversation_id, wang, desk.now)
    said = len(desk.all(Message))
    late: Handoff = desk.do(escalate_conversation, conversation_id=conversation_id, reason="system", now=desk.now,
                            message_id=received.message.id)
    assert (late.ticket, late.notice) == (None, None)
    assert (desk.conversation(conversation_id).status, len(desk.all(Message))) == ("resolved", said)
    with pytest.raises(StaleVersion):
        desk.do(escalate_conversation, conversation_id=conversation_id, reason="asked", now=desk.now,
                message_id=received.message.id, expected_version=1)


def test_a_message_that_was_being_read_when_it_was_handed_back_is_answered_by_the_bot(desk: Desk) -> None:
    conversation_id, wang = escalate(desk).conversation.id, desk.agent("wang")
    desk.answer(desk.turn(conversation_id))
    received = desk.write("发票呢")
    reading = desk.turn(conversation_id)
    assert reading.mode == "read"
    desk.do(hand_back_conversation, conversation_id, wang, desk.now)
    desk.answer(reading)
    turn = desk.turn(conversation_id)
    assert (turn.message_id, turn.mode) == (received.message.id, "turn")
    desk.answer(turn, "发票在订单里")
    assert [m.text for m in desk.ask(replies_to, received.message.id)] == ["发票在订单里"]


@pytest.mark.parametrize("given_up", ["silent", "unreachable"])
def test_a_bot_that_has_no_answer_after_the_hand_back_calls_a_person_again(desk: Desk, given_up: str) -> None:
    handed = escalate(desk)
    conversation_id = handed.conversation.id
    desk.do(hand_back_conversation, conversation_id, desk.agent("wang"), desk.now)
    if given_up == "silent":
        desk.answer(desk.turn(conversation_id))
    else:
        desk.do(postpone_turn, desk.turn(conversation_id).message_id, desk.now + HOUR)
    assert desk.conversation(conversation_id).status == "open"
    assert [(e.reason, e.message_id is None) for e in desk.all(Escalation)] == [("asked", False), ("system", True)]


@pytest.mark.parametrize(("service", "direction"), [(reply_to_customer, "outgoing"), (add_note, "note")])
def test_what_is_sent_again_under_its_key_is_stored_once(desk: Desk, service: Any, direction: str) -> None:
    conversation_id, wang, li = escalate(desk).conversation.id, desk.agent("wang"), desk.agent("li")
    desk.do(claim_conversation, conversation_id, wang, desk.now)

    def send(text: str = "您好", key: str = "k1", agent: Any = wang) -> Message:
        message: Message = desk.do(service, conversation_id, agent, text, desk.now, key)
        return message

    results = desk.at_once([send] * 5)
    assert [r for r in results if isinstance(r, Exception)] == [] and len({r.id for r in results}) == 1
    assert send("再说一次", "k2").id != results[0].id
    desk.do(take_over_conversation, conversation_id, li, desk.now)
    assert send().id == results[0].id  # the answer to the first try was lost, and a colleague has it by now
    assert send(agent=li).id != results[0].id  # a key is the agent's own
    for text, key in (("别的", "k1"), ("您好", "k\0"), ("您好", ""), ("您好", "k" * 81)):
        with pytest.raises(InvalidMessage) as refused:
            send(text, key)
        assert refused.value.data["field"] == "idempotency_key"
    assert [m.text for m in desk.all(Message, Message.author == "agent", Message.direction == direction)] == [
        "您好", "再说一次", "您好"]
    with pytest.raises(InvalidMessage):  # one key names one writing, whether it is sent or kept
        desk.do(add_note if service is reply_to_customer else reply_to_customer, conversation_id, li, "您好", desk.now,
                "k1")


def test_a_customer_who_names_a_message_like_an_agents_blocks_nothing(desk: Desk) -> None:
    conversation_id, wang = escalate(desk).conversation.id, desk.agent("wang")
    sent = desk.do(reply_to_customer, conversation_id, wang, "您好", desk.now, "key")
    received = desk.write("我", message_id=sent.channel_message_id)
    assert received.duplicate and received.message.id == sent.id
    desk.write("我", message_id="key")
    assert desk.do(reply_to_customer, conversation_id, wang, "您好", desk.now, "key").id == sent.id


def answer(session: Session, conversation_id: int, agent: SupportAgent, now: datetime) -> None:
    reply_to_customer(session, conversation_id, agent, "我来处理", now)


@pytest.mark.parametrize("verb", [claim_conversation, take_over_conversation, answer])
def test_a_promise_broken_before_the_owner_changed_is_told_to_whom_it_concerned(desk: Desk, verb: Any) -> None:
    conversation = escalate(desk).conversation
    late = desk.now + 20 * MINUTE
    desk.do(verb, conversation.id, desk.agent("li"), late)
    desk.do(tick, late)
    told = {notice.agent_id for notice in desk.all(Notification, Notification.kind == "sla_breached")}
    assert told == {desk.agent(login).id for login in ("wang", "lead", "expert_lead")}
    assert desk.conversation(conversation.id).assignee_id == desk.agent("li").id

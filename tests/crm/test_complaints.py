"""Complaints and requests: graded by rule, opened once, told to the customer at every step."""
from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select

from crm_store.errors import InvalidMessage, NotFound, NotOwner, WrongState
from crm_store.models import AuditEntry, Message, Notification, Order, SlaClock, Ticket
from crm_store.rules.complaints import GRADES, grade_complaint, higher_grade, loss_in, mentions
from crm_store.services.complaints import (
    change_grade,
    complaints_in,
    complaints_of,
    file_complaint,
    next_promise,
    propose_solution,
    raise_grade,
)
from crm_store.services.handoff import (
    claim_conversation,
    hand_back_conversation,
    reply_to_customer,
    resolve_conversation,
    take_over_conversation,
)
from crm_store.services.requests import record_request
from tests.crm.conftest import HOUR, Desk


@pytest.mark.parametrize("text", [
    "用了你们的锅烫伤了手", "孩子吃了过敏住院了", "充电器冒烟起火", "充電器漏電, 我觸電了",
    "我要打12315", "我要打１２３１５", "工商局见", "去消协投诉你们", "我会找记者", "我的律師會聯繫你們", "准备起诉",
    "The kettle burned my hand", "my son had an ALLERGIC reaction", "it caught fire",
    "I’ll talk to my lawyer", "see you in court", "I will sue you", "going to the press with this",
    "我损失了 6000 元", "要求赔偿1.2万", "I lost ¥5,001 because of you", "赔我８０００块",
])
def test_major(text: str) -> None:
    assert grade_complaint(text=text).grade == "major"
    assert grade_complaint(text=text).level == "management"


@pytest.mark.parametrize(("text", "facts"), [
    ("损失了 501 元", {}), ("I lost 600 yuan", {}), ("太慢了", {"complained_lately": True}),
    ("太慢了", {"tier": "platinum"}), ("太慢了", {"loss_fen": 50_001}), ("快递员态度差还骂人", {}),
    ("The courier was late and my refund is missing", {}),
])
def test_complex(text: str, facts: dict[str, Any]) -> None:
    assert grade_complaint(text=text, **facts).grade == "complex"
    assert grade_complaint(text=text, **facts).level == "experts"


@pytest.mark.parametrize(("text", "facts"), [
    ("太慢了", {}), ("快递送来就坏了", {}), ("损失了 500 元", {}), ("太慢了", {"loss_fen": 50_000, "tier": "gold"}),
    ("买了 6000 元的冰箱, 不好看", {}), ("press the button does nothing", {}), ("I issued a request", {}),
    ("订单 WL20261012315 没到", {}), ("3千克的包裹丢了, 损失大", {}), ("I'm sick of waiting", {}), ("", {}),
])
def test_ordinary(text: str, facts: dict[str, Any]) -> None:
    assert grade_complaint(text=text, **facts).grade == "ordinary"


@given(st.text(max_size=80), st.integers(0, 10**7), st.integers(0, 10**7), st.booleans(),
       st.sampled_from([None, "silver", "gold", "platinum"]))
def test_worse_facts_never_lower_a_grade(text: str, loss: int, more: int, lately: bool, tier: str | None) -> None:
    base = grade_complaint(text=text, loss_fen=loss, complained_lately=lately, tier=tier).grade
    for worse in (grade_complaint(text=text, loss_fen=loss + more, complained_lately=lately, tier=tier),
                  grade_complaint(text=text, loss_fen=loss, complained_lately=True, tier=tier),
                  grade_complaint(text=text, loss_fen=loss, complained_lately=lately, tier="platinum"),
                  grade_complaint(text=text + " 律师", loss_fen=loss, complained_lately=lately, tier=tier)):
        assert GRADES.index(worse.grade) >= GRADES.index(base)


@given(st.text(max_size=200))
def test_any_text_can_be_read_for_a_loss(text: str) -> None:
    loss = loss_in(f"损失 {text}")
    assert loss is None or loss >= 0


@pytest.mark.parametrize(("text", "fen"), [
    ("损失1,234.5元", 123_450), ("损失¥99", 9_900), ("损失 2 千", 200_000), ("赔偿 10 和 300 元", 30_000),
    ("1000 元", None), ("损失 " + "9" * 400 + " 元", None), ("lost 5k", 500_000), ("lost 5kg", None),
])
def test_losses(text: str, fen: int | None) -> None:
    assert loss_in(text) == fen


def test_words_are_whole_in_english_and_anywhere_in_chinese() -> None:
    assert mentions("they SUE us", ["sue"]) and not mentions("pursue, issue", ["sue"])
    assert mentions("请我的律师来", ["律师"])


def test_a_grade_only_rises() -> None:
    assert [higher_grade(a, b) for a, b in (("major", "ordinary"), (None, "complex"), ("complex", "complex"))] == [
        "major", "complex", "complex"]


def file(desk: Desk, what: str = "太慢了", *, sender: str = "visitor", at: Any = None, **more: Any) -> Ticket:
    received = desk.write(what, sender=sender, at=at)
    ticket: Ticket = desk.do(file_complaint, conversation_id=received.conversation.id, message_id=received.message.id,
                             what=what, wish="退款", now=at or desk.now, **more)
    return ticket


def test_a_complaint_opens_a_ticket_with_clocks_while_the_bot_keeps_the_dialogue(desk: Desk) -> None:
    ticket = file(desk)
    assert (ticket.kind, ticket.grade, ticket.level, ticket.status, ticket.stage, ticket.wish) == (
        "complaint", "ordinary", "front_line", "open", "received", "退款")
    assert ticket.number == f"C{1000 + ticket.id}" and ticket.customer_id is None
    assert {c.promise: c.due_at - desk.now for c in desk.all(SlaClock)}["first_response"] == 2 * HOUR
    conversation = desk.conversation(ticket.conversation_id)
    assert (conversation.status, conversation.version) == ("pending", 1)
    assert conversation.assignee_id == ticket.assignee_id == desk.agent("wang").id
    assert desk.ask(next_promise, ticket) == desk.now + 2 * HOUR


def test_a_complex_complaint_goes_to_the_experts(desk: Desk) -> None:
    ticket = file(desk, "I lost 600 yuan")
    assert ticket.assignee_id == desk.agent("chen").id
    assert desk.conversation(ticket.conversation_id).team_id == desk.agent("chen").team_id


def test_the_same_message_files_once_even_at_once(desk: Desk) -> None:
    received = desk.write("太慢了")
    results = desk.at_once([
        lambda: desk.do(file_complaint, conversation_id=received.conversation.id, message_id=received.message.id,
                        what="太慢了", wish=None, now=desk.now) for _ in range(4)])
    assert [r for r in results if isinstance(r, Exception)] == []
    assert len({r.id for r in results}) == len(desk.all(Ticket)) == 1
    assert len(desk.all(SlaClock)) == 2


def test_ticket_numbers_never_clash(desk: Desk) -> None:
    received = [desk.write(sender=f"visitor {n}") for n in range(6)]
    results = desk.at_once([
        lambda r=r: desk.do(file_complaint, conversation_id=r.conversation.id, message_id=r.message.id, what="慢",
                            wish=None, now=desk.now) for r in received])
    assert [r for r in results if isinstance(r, Exception)] == []
    assert len({t.number for t in desk.all(Ticket)}) == 6


def test_complaining_again_within_30_days_is_complex(desk: Desk) -> None:
    desk.customer("lilei")
    first = file(desk, sender="lilei")
    again = file(desk, sender="lilei", at=desk.now + timedelta(days=30) - timedelta(seconds=1))
    later = file(desk, sender="lilei", at=desk.now + timedelta(days=62))
    other = file(desk, sender="somebody else")
    assert [t.grade for t in (first, again, later, other)] == ["ordinary", "complex", "ordinary", "ordinary"]


def test_only_the_customers_own_order_is_put_on_the_ticket(desk: Desk) -> None:
    owner, other = desk.customer("owner"), desk.customer("other")
    with desk.store.write() as session:
        for number, customer_id in (("WL20261101001", owner), ("WL20261101002", other)):
            session.add(Order(number=number, customer_id=customer_id, status="paid", phone="1", address="-",
                              total_fen=1, placed_at=desk.now))
    assert file(desk, sender="owner", order_number="WL20261101001").order_id is not None
    assert file(desk, sender="owner", order_number="WL20261101002").order_id is None
    assert file(desk, sender="guest", order_number="WL20261101001").order_id is None


def test_a_customers_complaints_are_theirs_alone(desk: Desk) -> None:
    owner, other = desk.customer("owner"), desk.customer("other")
    first, second, guest = (file(desk, sender=s) for s in ("owner", "owner", "guest"))
    assert [t.id for t in desk.ask(complaints_of, owner)] == [second.id, first.id]
    assert desk.ask(complaints_of, other) == []
    assert [t.id for t in desk.ask(complaints_in, guest.conversation_id)] == [guest.id]


def test_the_customer_hears_of_every_step(desk: Desk) -> None:
    ticket, wang = file(desk), desk.agent("wang")
    conversation_id = ticket.conversation_id
    desk.do(claim_conversation, conversation_id, wang, desk.now)
    desk.do(reply_to_customer, conversation_id, wang, "我们退您 20 元", desk.now)
    for _ in range(2):
        desk.do(propose_solution, ticket.id, wang, desk.now)
    assert desk.all(Ticket)[0].stage == "proposal"
    desk.do(resolve_conversation, conversation_id, wang, desk.now)
    told = [m.text for m in desk.all(Message, Message.author == "system", Message.direction == "outgoing")]
    assert len(told) == 3 and all(ticket.number in text for text in told)
    assert "受理" in told[0] and "Wang" in told[0] and "方案" in told[1] and "处理完毕" in told[2]
    assert not any(grade in text for text in told for grade in ("ordinary", "普通"))
    with pytest.raises(WrongState):
        desk.do(propose_solution, ticket.id, wang, desk.now)


def test_an_agent_changes_a_grade_only_with_a_reason(desk: Desk) -> None:
    ticket, boss = file(desk, "律师"), desk.agent("boss")
    talk = ticket.conversation_id
    assert (ticket.grade, ticket.assignee_id) == ("major", boss.id)
    for grade, reason, field in (("ordinary", " \u200b ", "reason"), ("ordinary", "x" * 501, "reason"),
                                 ("ordinary", None, "reason"), ("terrible", "because", "grade"), (None, "x", "grade")):
        with pytest.raises(InvalidMessage) as refused:
            desk.do(change_grade, talk, ticket.id, boss, grade, reason, desk.now)
        assert refused.value.data["field"] == field
    for _ in range(2):
        desk.do(change_grade, talk, ticket.id, boss, "ordinary", " 开玩笑的 ", desk.now)
    assert (desk.all(Ticket)[0].grade, desk.all(Ticket)[0].level) == ("ordinary", "management")
    (entry,) = desk.all(AuditEntry, AuditEntry.action == "change_grade")
    assert (entry.actor_id, entry.data) == (boss.id, {"from": "major", "to": "ordinary", "reason": "开玩笑的"})
    (note,) = desk.all(Message, Message.direction == "note")
    assert note.agent_id == boss.id and note.text == f"投诉 {ticket.number} 等级：重大 → 普通。\n开玩笑的"
    with pytest.raises(NotFound):
        desk.do(raise_grade, 999, "major", desk.now)


def test_only_who_has_a_complaint_or_directs_its_team_changes_its_grade(desk: Desk) -> None:
    ticket = file(desk)
    talk, wang, li = ticket.conversation_id, desk.agent("wang"), desk.agent("li")

    def change(login: str, grade: str) -> str:
        changed: Ticket = desk.do(change_grade, talk, ticket.id, desk.agent(login), grade, "看过了", desk.now)
        return str(changed.grade)

    with pytest.raises(NotOwner) as refused:
        change("li", "complex")  # the bot has the conversation, Wang the complaint
    assert refused.value.data["owner_name"] is None
    assert change("wang", "complex") == "complex"
    desk.do(take_over_conversation, talk, wang, desk.now)
    for login in ("li", "lead"):  # a complex complaint is with the experts, but its owner with the front line
        if login == "li":
            with pytest.raises(NotOwner, match="else"):
                change(login, "ordinary")
        else:
            assert change(login, "ordinary") == "ordinary"
    assert change("boss", "complex") == "complex"
    with pytest.raises(NotFound):
        desk.do(change_grade, talk + 1, ticket.id, desk.agent("boss"), "major", "x", desk.now)
    with pytest.raises(NotFound):
        desk.do(change_grade, talk, 2**62, desk.agent("boss"), "major", "x", desk.now)
    desk.do(resolve_conversation, talk, wang, desk.now)
    with pytest.raises(WrongState):
        change("wang", "major")
    assert len(desk.all(AuditEntry, AuditEntry.action == "change_grade")) == 3
    assert li.id not in {m.agent_id for m in desk.all(Message)}


def test_a_higher_grade_tightens_the_clocks_and_a_lower_one_takes_nothing_back(desk: Desk) -> None:
    ticket, wang = file(desk), desk.agent("wang")
    talk = ticket.conversation_id
    desk.do(take_over_conversation, talk, wang, desk.now)
    desk.do(change_grade, talk, ticket.id, wang, "complex", "两个部门", desk.now)

    def due() -> Any:
        return next(c.due_at - desk.now for c in desk.all(SlaClock) if c.promise == "first_response")

    assert due() == HOUR
    assert {(n.agent_id, n.kind) for n in desk.all(Notification, Notification.kind == "grade_raised")} == {
        (desk.agent("expert_lead").id, "grade_raised")}
    desk.do(change_grade, talk, ticket.id, wang, "ordinary", "其实不难", desk.now)
    (lowered,) = desk.all(Ticket)
    assert (due(), lowered.grade, lowered.level) == (HOUR, "ordinary", "experts")


def test_a_complaint_raised_to_major_leaves_the_bot_at_once(desk: Desk) -> None:
    ticket, boss = file(desk), desk.agent("boss")
    talk = ticket.conversation_id
    turn = desk.turn(talk)
    desk.do(change_grade, talk, ticket.id, desk.agent("wang"), "major", "客户受伤了", desk.now)
    conversation = desk.conversation(talk)
    assert (conversation.status, conversation.version, conversation.assignee_id) == ("open", 2, boss.id)
    first = next(c for c in desk.all(SlaClock) if c.promise == "first_response")
    assert first.due_at == desk.now + HOUR / 4
    desk.answer(turn, "还有什么可以帮您")
    assert [m.delivery_state for m in desk.all(Message, Message.author == "bot")] == ["dropped"]
    notice = desk.all(Message, Message.author == "system", Message.direction == "outgoing")[-1]
    assert ticket.number in notice.text and "10:15" in notice.text


def test_a_complaint_whose_first_response_was_given_is_raised_without_promising_the_past(desk: Desk) -> None:
    ticket, wang = file(desk), desk.agent("wang")
    talk = ticket.conversation_id
    desk.do(take_over_conversation, talk, wang, desk.now)
    desk.do(reply_to_customer, talk, wang, "我看一下", desk.now)
    desk.do(hand_back_conversation, talk, wang, desk.now)
    desk.do(change_grade, talk, ticket.id, desk.agent("boss"), "major", "客户受伤了", desk.now + 5 * HOUR)
    notice = desk.all(Message, Message.author == "system", Message.direction == "outgoing")[-1]
    assert "尽快" in notice.text and ":" not in notice.text


def test_a_complaint_filed_while_a_human_has_the_conversation_is_theirs(desk: Desk) -> None:
    received, li = desk.write("锅炸了, 我受伤了"), desk.agent("li")
    desk.do(take_over_conversation, received.conversation.id, li, desk.now)
    ticket = desk.do(file_complaint, conversation_id=received.conversation.id, message_id=received.message.id,
                     what="锅炸了, 我受伤了", wish=None, now=desk.now)
    assert (ticket.assignee_id, ticket.keeper_id, ticket.level) == (li.id, li.id, "management")
    told = {n.agent_id for n in desk.all(Notification, Notification.kind == "complaint")}
    assert told == {li.id, desk.agent("boss").id}


def test_a_complaint_filed_by_a_turn_that_a_human_overtook_and_resolved_opens_the_conversation_again(
        desk: Desk) -> None:
    received, li = desk.write("太慢了"), desk.agent("li")
    talk, turn = received.conversation.id, desk.turn(received.conversation.id)
    desk.do(take_over_conversation, talk, li, desk.now)
    desk.do(resolve_conversation, talk, li, desk.now)
    desk.do(file_complaint, conversation_id=talk, message_id=received.message.id, what="太慢了", wish=None,
            now=desk.now)
    desk.answer(turn, "已登记")
    conversation = desk.conversation(talk)
    assert (conversation.status, conversation.resolved_at, conversation.version) == ("pending", None, 4)
    assert [m.delivery_state for m in desk.all(Message, Message.author == "bot")] == ["dropped"]
    desk.do(take_over_conversation, talk, desk.agent("wang"), desk.now)
    desk.do(resolve_conversation, talk, desk.agent("wang"), desk.now)
    assert {t.status for t in desk.all(Ticket)} == {"resolved"}


def test_a_request_is_recorded_once_a_message_and_type(desk: Desk) -> None:
    received = desk.write("退货")

    def ask(request_type: str) -> Any:
        return desk.do(record_request, conversation_id=received.conversation.id, message_id=received.message.id,
                       request_type=request_type, order_id=None, detail="退货: 颜色不对", now=desk.now)

    first, again, other = ask("return"), ask("return"), ask("cancel")
    assert (first.id, first.kind, first.request_type, first.number) == (again.id, "request", "return", again.number)
    assert other.id != first.id
    with desk.store.read() as session:
        assert len(session.execute(select(Ticket)).scalars().all()) == 2
    with pytest.raises(ValueError, match="gift"):
        ask("gift")
    with pytest.raises(NotFound):
        desk.do(record_request, conversation_id=999, message_id=1, request_type="return", order_id=None, detail="",
                now=desk.now)

"""Whole turns through the door, the policies, the actions and the store; a test says how each message reads."""
from __future__ import annotations

import asyncio

import aiohttp
import pytest
import sqlalchemy as sa

from bot.channel import Knock, TurnFailed
from crm_store.models import (
    Consent,
    DataCopy,
    DialogueTracker,
    Erasure,
    Escalation,
    Feedback,
    Message,
    Redemption,
    SupportAgent,
    Ticket,
)
from crm_store.services.handoff import resolve_conversation, take_over_conversation
from tests.bot.talking import Talk


def rows(talk: Talk, model: type) -> list:
    with talk.store.read() as session:
        found = list(session.scalars(sa.select(model).order_by(sa.inspect(model).primary_key[0])))
        session.expunge_all()  # what was read stays readable
        return found


def last_message(talk: Talk) -> Message:
    return [message for message in rows(talk, Message) if message.direction == "incoming"][-1]


# ---------------------------------------------------------------------- orders


def test_a_customer_is_told_at_once_and_the_parcel_comes_first(talk: Talk) -> None:
    heard = talk.say("我的快递到哪了", "ask_order_status")
    assert heard.actions == ["validate_order_status_form", "action_order_status"]
    parcel, waiting = heard.text.index("WL20261112003"), heard.text.index("WL20261117001")
    assert parcel < waiting and "已到达杭州转运中心" in heard.text


def test_a_guest_gets_the_status_and_nothing_more(talk: Talk) -> None:
    assert "订单号" in talk.say("我的快递呢", "ask_order_status", sender="guest").text
    assert "后四位" in talk.say("WL20261112003", "inform", sender="guest").text
    heard = talk.say("8000", "inform", sender="guest")
    assert "运输中" in heard.text
    assert "SF1384620957123" not in heard.text and "水壶" not in heard.text


def test_number_and_digits_may_come_in_one_message(talk: Talk) -> None:
    talk.say("查订单", "ask_order_status", sender="guest")
    assert "运输中" in talk.say("20261112003 手机尾号 8000", "inform", sender="guest").text


def test_a_wrong_tail_and_an_unknown_number_read_alike_and_guessing_ends(talk: Talk) -> None:
    talk.say("查订单", "ask_order_status", sender="guest")
    wrong = talk.say("WL20261112003 1111", "inform", sender="guest").text
    assert talk.say("WL20261112999 8000", "inform", sender="guest").text == wrong
    for tail in ("1112", "1113"):
        talk.say(f"WL20261112003 {tail}", "inform", sender="guest")
    assert "转人工" in str(talk.say("WL20261112003 1114", "inform", sender="guest").replies)
    talk.say("查订单", "ask_order_status", sender="guest")
    assert "运输中" not in talk.say("WL20261112003 8000", "inform", sender="guest").text


def test_a_customer_never_sees_anothers_order(talk: Talk) -> None:
    heard = talk.say("WL20261101009 到哪了", "ask_order_status")
    assert "没有找到订单 WL20261101009" in heard.text and "加湿器" not in heard.text


def test_a_bare_order_number_means_its_status(talk: Talk) -> None:
    talk.say("你好", "greet")
    assert "恒温电热水壶" in talk.say("wl-20261112003", "inform").text


def test_no_the_other_order_after_a_status(talk: Talk) -> None:
    talk.say("WL20261112003 到哪了", "ask_order_status")
    heard = talk.say("不是这个，另一个订单", "inform")
    assert '/inform{"order_number": "WL20261112003"}' not in heard.payloads
    chosen = next(payload for payload in heard.payloads if "WL20261117001" in payload)
    assert "WL20261117001" in talk.say("那个", payload=chosen).text


def test_cancel_inside_a_form_ends_it(talk: Talk) -> None:
    talk.say("查订单", "ask_order_status", sender="guest")
    assert "先不办了" in talk.say("取消", "cancel_order", sender="guest").text


# ---------------------------------------------------------------------- requests


def test_return_with_correction_and_ticket(talk: Talk) -> None:
    heard = talk.say("我想退货", "request_return")
    assert "WL20261112003" in heard.text  # the latest that can be returned, offered instead of asked for
    assert '/inform{"order_number": "WL20261117001"}' not in heard.payloads  # not shipped yet
    talk.say("是的", "affirm")
    heard = talk.say("不对，是另一个订单", "inform")
    assert heard.payloads == ['/inform{"order_number": "WL20261020002"}']
    talk.say("毯子那个", "inform")
    heard = talk.say("起球，退货退款", "inform")
    (ticket,) = rows(talk, Ticket)
    assert ticket.number in heard.text and "12:0" in heard.text
    assert (ticket.kind, ticket.request_type, ticket.summary) == ("request", "return", "起球，退货退款")
    with talk.store.read() as session:
        assert session.get(Ticket, ticket.id).order.number == "WL20261020002"


def test_a_reason_given_at_once_is_not_asked_for_again(talk: Talk) -> None:
    talk.say("水壶太小了想退", "request_return")
    heard = talk.say("是", "affirm")
    assert heard.actions == ["validate_request_form", "action_record_request"]
    assert rows(talk, Ticket)[0].summary == "水壶太小了想退"


def test_what_the_state_of_the_order_rules_out_is_said_with_a_way_on(talk: Talk) -> None:
    heard = talk.say("取消 WL20261112003", "cancel_order")
    assert "已经发出" in heard.text and "/request_return" in heard.payloads
    heard = talk.say("退货 WL20261117001", "request_return")
    assert "还没发出" in heard.text and "/cancel_order" in heard.payloads
    assert rows(talk, Ticket) == []


def test_the_same_request_twice_gives_no_second_ticket(talk: Talk) -> None:
    for _ in range(2):
        talk.say("取消 WL20261117001，买错了", "cancel_order")
    (ticket,) = rows(talk, Ticket)
    heard = talk.say("取消 WL20261117001", "cancel_order")
    assert ticket.number in heard.text


def test_a_correction_right_behind_the_ticket(talk: Talk) -> None:
    talk.say("水壶太小了想退", "request_return")
    talk.say("是", "affirm")
    talk.say("不对，是另一个订单", "inform")
    talk.say("第一个", "inform")
    first, second = rows(talk, Ticket)
    assert first.number in second.summary


# ---------------------------------------------------------------------- complaints


def test_complaint_with_a_question_in_between(talk: Talk) -> None:
    heard = talk.say("快递员把箱子摔坏了", "file_complaint")
    assert "跟哪笔订单有关" in heard.text  # what happened has been said already
    talk.say("第一个", "inform")
    heard = talk.say("你们运费怎么算？", "ask_delivery")
    assert "《" in heard.text and heard.text.index("《") < heard.text.index("您希望我们怎么处理")
    heard = talk.say("赔偿", payload='/inform{"complaint_wish": "compensation"}')
    (ticket,) = rows(talk, Ticket)
    assert (ticket.kind, ticket.summary, ticket.wish) == ("complaint", "快递员把箱子摔坏了", "赔偿")
    assert ticket.number in heard.text and heard.status == "pending"
    assert ticket.number in talk.say("我的投诉怎么样了", "ask_complaint_status").text


def test_a_refund_is_an_answer_to_what_one_wants_and_no_new_topic(talk: Talk) -> None:
    talk.say("快递员把箱子摔坏了", "file_complaint")
    talk.say("跳过", "out_of_scope")
    talk.say("我要退款", "request_return")
    (ticket,) = rows(talk, Ticket)
    assert (ticket.kind, ticket.wish, ticket.order_id) == ("complaint", "我要退款", None)


@pytest.mark.parametrize(("wish", "intent"), [("我想拿回货款", "ask_refund_status"), ("要退款", "inform")])
def test_what_one_wants_may_be_said_before_it_is_asked(talk: Talk, wish: str, intent: str) -> None:
    talk.say("快递员把箱子摔坏了", "file_complaint")
    heard = talk.say(wish, intent)
    assert "跟哪笔订单有关" in heard.text and "没有进行中" not in heard.text
    talk.say("跳过", "inform")
    assert rows(talk, Ticket)[0].wish == wish


def test_inside_a_form_nothing_is_offered_that_its_own_yes_would_take(talk: Talk) -> None:
    talk.say("取消订单", "cancel_order")
    heard = talk.say("我有多少积分？", "ask_points_balance")
    assert "1,280" in heard.text and "/affirm" not in heard.payloads


def test_what_became_of_an_angry_conversation_is_told_as_its_complaint(talk: Talk) -> None:
    talk.say("你们这群骗子！！", "file_complaint", anger=0.93)
    (ticket,) = rows(talk, Ticket)
    with talk.store.write() as session:
        agent = session.scalars(sa.select(SupportAgent).limit(1)).one()
        take_over_conversation(session, ticket.conversation_id, agent, talk.now)
        resolve_conversation(session, ticket.conversation_id, agent, talk.now)
    heard = talk.say("我的投诉怎么样了", "ask_complaint_status")
    assert ticket.number in heard.text and "处理完毕" in heard.text


def test_the_order_and_the_reason_may_be_left_out_by_a_button(talk: Talk) -> None:
    assert "/deny" in talk.say("快递员态度差", "file_complaint").payloads
    assert "您希望我们怎么处理" in talk.say("与订单无关", payload="/deny").text
    talk.say("道歉", "inform")
    assert talk.say("取消 WL20261117001", "cancel_order").payloads == ["/deny"]
    talk.say("跳过", payload="/deny")
    complaint, request = rows(talk, Ticket)
    assert complaint.order_id is None and request.summary == "（未说明原因）"


def test_a_major_complaint_goes_to_a_person_without_another_question(talk: Talk) -> None:
    heard = talk.say("水壶漏电把我电伤了", "file_complaint", sender="guest", anger=0.3)
    assert heard.status == "open"
    (ticket,) = rows(talk, Ticket)
    assert (ticket.kind, ticket.grade, ticket.reason) == ("complaint", "major", "major_complaint")
    assert [(one.reason, one.ticket_id) for one in rows(talk, Escalation)] == [("major_complaint", ticket.id)]
    assert len(heard.replies) == 1 and ticket.number in heard.text


def test_a_guest_links_and_the_complaint_goes_on_where_it_was(talk: Talk) -> None:
    talk.say("快递员态度很差，还骂人", "file_complaint", sender="guest")
    talk.say("13800138000", "inform", sender="guest")
    (to, code, language), = talk.outbox.sent
    assert (to, language) == ("13800138000", "zh")
    heard = talk.say(code, "inform", sender="guest")
    assert "李雷" in heard.text and "跟哪笔订单有关" in heard.text
    talk.say("跳过", "deny", sender="guest")
    talk.say("道歉", "inform", sender="guest")
    assert rows(talk, Ticket)[0].summary == "快递员态度很差，还骂人"


def test_no_open_complaint_offers_to_file_one(talk: Talk) -> None:
    assert "/affirm" in talk.say("投诉进度", "ask_complaint_status").payloads
    assert "发生了什么" in talk.say("好", "affirm").text


# ---------------------------------------------------------------------- points


def test_points_to_reward_to_code(talk: Talk) -> None:
    assert "1,280" in talk.say("我有多少积分", "ask_points_balance").text
    heard = talk.say("看看", "affirm")
    assert "1. 10 元优惠券 · 200 积分，剩 1,080" in heard.text and "还差 620" in heard.text
    heard = talk.say("马克杯", "inform")
    assert "800 积分" in heard.text and "还剩 480" in heard.text
    heard = talk.say("确认", "affirm")
    (redemption,) = rows(talk, Redemption)
    assert redemption.code in heard.text and "480" in heard.text


@pytest.mark.parametrize(("wish", "reason"), [("羊毛盖毯", "铂金卡"), ("香薰蜡烛", "换完了"), ("100元券", "还差 620")])
def test_a_reward_is_refused_with_the_reason(talk: Talk, wish: str, reason: str) -> None:
    talk.say("积分兑换", "redeem_points")
    assert reason in talk.say(wish, "inform").text
    assert rows(talk, Redemption) == []


def test_no_at_the_confirmation_spends_nothing(talk: Talk) -> None:
    talk.say("换马克杯", "redeem_points")
    assert "没有兑换" in talk.say("不换了", "deny").text
    assert rows(talk, Redemption) == []


def test_an_offer_holds_for_one_message(talk: Talk) -> None:
    talk.say("我有多少积分", "ask_points_balance")
    talk.say("谢谢", "thank")
    assert "还有什么需要" in talk.say("好的", "affirm").text


def test_a_question_while_linking_is_answered(talk: Talk) -> None:
    talk.say("积分", "ask_points_balance", sender="guest")
    heard = talk.say("i was charged twice", "ask_payment", sender="guest", confidence=0.95, language="en")
    assert "“" in heard.text and "phone number" in heard.text.split("“")[-1]


def test_linking_says_the_same_for_a_phone_nobody_has(talk: Talk) -> None:
    talk.say("积分", "ask_points_balance", sender="g1")
    known = talk.say("13800138000", "inform", sender="g1").text
    talk.say("积分", "ask_points_balance", sender="g2")
    assert talk.say("13911112222", "inform", sender="g2").text == known
    assert len(talk.outbox.sent) == 1


def test_wrong_codes_end_with_a_way_out_and_the_form_they_interrupted_is_taken_up_again(talk: Talk) -> None:
    talk.say("查订单", "ask_order_status", sender="guest")
    talk.say("我的积分呢", "ask_points_balance", sender="guest")
    talk.say("13800138000", "inform", sender="guest")
    code = talk.outbox.sent[-1][1]
    wrong = "000000" if code != "000000" else "111111"
    assert "不对" in talk.say(wrong, "inform", sender="guest").text
    heard = talk.say(code, "inform", sender="guest")
    assert "1,280" in heard.text  # what they wanted when they had to link
    assert "WL20261112003" in heard.text  # and what they had wanted before: now it is known whose orders to look at


def test_no_code_is_kept_in_the_tracker_slots(talk: Talk) -> None:
    talk.say("积分", "ask_points_balance", sender="guest")
    talk.say("13800138000", "inform", sender="guest")
    talk.say(talk.outbox.sent[-1][1], "inform", sender="guest")
    assert '"name":"link_code","value":"' + talk.outbox.sent[-1][1] not in rows(talk, DialogueTracker)[0].events


# ---------------------------------------------------------------------- a person is needed


@pytest.mark.parametrize("intent", ["request_human"])
def test_asking_for_a_person_inside_a_form(talk: Talk, intent: str) -> None:
    talk.say("我要投诉", "file_complaint")
    heard = talk.say("别废话，转人工", intent)
    assert heard.status == "open" and heard.actions == ["action_hand_over"]
    assert rows(talk, Escalation)[0].reason == "asked"


def test_anger_inside_a_form_fills_no_slot(talk: Talk) -> None:
    talk.say("我要投诉", "file_complaint")
    heard = talk.say("你们这群骗子！！", "file_complaint", anger=0.93)
    assert heard.status == "open" and rows(talk, Escalation)[0].reason == "anger"
    tracker = asyncio.run(talk.keeper._trackers.retrieve("1"))
    assert tracker.active_loop_name is None and tracker.get_slot("complaint_what") is None


def test_the_tier_lowers_the_threshold(talk: Talk) -> None:
    assert talk.say("还没到", "ask_order_status", sender="guest", anger=0.72).status == "pending"
    assert talk.say("还没到", "ask_order_status", sender="ann", anger=0.72).status == "open"


def test_two_of_three_above_watch(talk: Talk) -> None:
    assert talk.say("还没到", "ask_order_status", anger=0.5).status == "pending"
    assert talk.say("积分", "ask_points_balance", anger=0.1).status == "pending"
    assert talk.say("到底什么时候到", "ask_order_status", anger=0.5).status == "open"


def test_between_watch_and_route_a_person_is_offered(talk: Talk) -> None:
    heard = talk.say("怎么还没到", "ask_order_status", anger=0.6)
    assert heard.status == "pending" and "/request_human" in heard.payloads


def test_three_messages_not_understood_in_a_row(talk: Talk) -> None:
    for text in ("asdf", "qwer"):
        assert talk.say(text, "out_of_scope").status == "pending"
    assert talk.say("zxcv", "out_of_scope").status == "open"
    assert rows(talk, Escalation)[0].reason == "stuck"


def test_an_understood_message_in_between_starts_the_count_anew(talk: Talk) -> None:
    for intent in ("out_of_scope", "out_of_scope", "thank", "out_of_scope"):
        assert talk.say("…", intent).status == "pending"


def test_the_same_form_stopped_twice(talk: Talk) -> None:
    talk.say("我要投诉", "file_complaint")
    assert "先不办了" in talk.say("算了", "deny").text
    talk.say("我要投诉", "file_complaint")
    assert talk.say("还是算了吧", "deny").status == "open"
    assert rows(talk, Escalation)[0].reason == "stuck"


def test_three_answers_in_a_row_that_a_form_cannot_use_bring_a_person(talk: Talk) -> None:
    talk.say("水壶太小了想退", "request_return")
    for text in ("嗯？", "啥"):
        assert talk.say(text, "out_of_scope").status == "pending"
    heard = talk.say("啊", "out_of_scope")
    assert heard.status == "open" and len(heard.replies) == 1
    (escalation,) = rows(talk, Escalation)
    assert escalation.reason == "stuck"
    assert any("水壶太小了想退" in note.text for note in rows(talk, Message) if note.direction == "note")


def test_a_used_answer_in_between_starts_the_count_of_wrong_ones_anew(talk: Talk) -> None:
    talk.say("快递员态度差", "file_complaint")
    for text in ("嗯？", "啥"):
        talk.say(text, "out_of_scope")
    talk.say("跳过", "inform")
    assert talk.say("嗯", "out_of_scope").status == "pending"


# ---------------------------------------------------------------------- other things


def test_no_marketing_at_once(talk: Talk) -> None:
    assert "不会再" in talk.say("别再给我发广告短信了", "manage_privacy").text
    (consent,) = rows(talk, Consent)
    assert (consent.purpose, consent.granted) == ("marketing", False)


def test_erasure_tells_what_is_lost_and_takes_typed_words_only(talk: Talk) -> None:
    heard = talk.say("delete all my data", "manage_privacy", sender="ann", language="en")
    assert "6,000 points" in heard.text and "confirm erasure" in heard.text
    for text, intent in (("yes", "affirm"), ("please do it", "out_of_scope")):
        assert "confirm erasure" in talk.say(text, intent, sender="ann", language="en").text
        assert not rows(talk, Erasure)
    heard = talk.say("Confirm erasure!", "affirm", sender="ann", language="en")
    (erasure,) = rows(talk, Erasure)
    assert (erasure.state, erasure.asked_by) == ("asked", "customer") and erasure.due_at > talk.now
    assert "keep my data" in heard.text
    assert "already" in talk.say("erase my data", "manage_privacy", sender="ann", language="en").text
    assert "stays" in talk.say("keep my data", "manage_privacy", sender="ann", language="en").text
    assert rows(talk, Erasure)[0].state == "cancelled"


def test_no_leaves_everything_as_it_is(talk: Talk) -> None:
    assert "1,280 积分" in talk.say("注销我的账号，删除所有信息", "manage_privacy").text
    assert "保留" in talk.say("算了", "deny").text
    assert not rows(talk, Erasure)


def test_a_copy_is_a_link_for_the_linked_customer_alone(talk: Talk) -> None:
    heard = talk.say("把我的数据导出一份", "manage_privacy")
    (copy,) = rows(talk, DataCopy)
    assert "/my-data/" in heard.text and copy.token_hash not in heard.text
    assert "/my-data/" not in talk.say("把我的数据导出一份", "manage_privacy", sender="stranger").text
    assert len(rows(talk, DataCopy)) == 1


def test_feedback_is_kept_as_it_was_said(talk: Talk) -> None:
    talk.say("包装很用心，点赞", "give_feedback")
    assert [one.text for one in rows(talk, Feedback)] == ["包装很用心，点赞"]


def test_greeting_mentions_a_parcel_once(talk: Talk) -> None:
    assert "WL20261112003" in talk.say("你好", "greet").text
    assert "WL20261112003" not in talk.say("你好", "greet").text


def test_each_message_is_answered_in_its_language(talk: Talk) -> None:
    assert "您" in talk.say("谢谢你好", "greet", language="zh").text
    assert "How can I help" in talk.say("hello", "greet", language="en").text


def test_typed_commands_are_words(talk: Talk) -> None:
    talk.say("我要投诉", "file_complaint")
    talk.keeper.script = None
    for text in ("/restart", " \u200b/restart", "/session_start", "//back"):
        data = asyncio.run(talk.keeper._read(Knock(1, 9, text, None, "turn", {})))
        assert data["intent"]["name"] is None and not data["text"].startswith("/")


def test_the_same_message_again_runs_nothing(talk: Talk) -> None:
    talk.say("换马克杯", "redeem_points")
    heard = talk.say("确认", "affirm")
    message = last_message(talk)
    talk.actions_here.calls.clear()
    again = asyncio.run(talk.keeper.answer(Knock(message.conversation_id, message.id, message.text, None, "turn", {})))
    assert talk.actions_here.calls == []
    assert [reply["text"] for reply in again["replies"]] == [reply["text"] for reply in heard.replies]
    assert len(rows(talk, Redemption)) == 1


def test_a_turn_whose_tracker_was_lost_spends_nothing_twice(talk: Talk) -> None:
    talk.say("换马克杯", "redeem_points")
    before = rows(talk, DialogueTracker)[0].events
    talk.say("确认", "affirm")
    with talk.store.write() as session:
        session.execute(sa.update(DialogueTracker).values(events=before))
    message = last_message(talk)
    again = asyncio.run(talk.keeper.answer(Knock(message.conversation_id, message.id, message.text, None, "turn",
                                                 {"message_id": message.id, "language": "zh"})))
    (redemption,) = rows(talk, Redemption)
    assert redemption.code in again["replies"][0]["text"]


def test_an_unreachable_actions_server_fails_the_turn_and_saves_nothing(talk: Talk) -> None:
    talk.say("你好", "greet")
    before = rows(talk, DialogueTracker)[0].events
    talk.actions_here.broken = aiohttp.ClientConnectionError("refused")
    with pytest.raises(TurnFailed):
        talk.say("我的快递到哪了", "ask_order_status")
    assert rows(talk, DialogueTracker)[0].events == before
    talk.actions_here.broken = None
    knock = Knock(1, rows(talk, Message)[-1].id, "我的快递到哪了", None, "turn", {"language": "zh", "message_id": 3})
    assert "WL20261112003" in str(asyncio.run(talk.keeper.answer(knock))["replies"])


def test_a_failing_action_brings_an_apology_and_a_person(talk: Talk, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("the ledger is on fire")

    monkeypatch.setattr("actions.points.points_balance", fail)
    heard = talk.say("我有多少积分", "ask_points_balance")
    assert heard.status == "open" and rows(talk, Escalation)[0].reason == "system"
    assert "抱歉" in heard.text


def test_a_failure_inside_a_form_leaves_no_form_behind(talk: Talk, monkeypatch: pytest.MonkeyPatch) -> None:
    talk.say("取消订单", "cancel_order")

    def fail(*_: object, **__: object) -> None:
        raise RuntimeError

    monkeypatch.setattr("actions.requests.chosen_order", fail)
    assert talk.say("第一个", "inform").status == "open"
    assert asyncio.run(talk.keeper._trackers.retrieve("1")).active_loop_name is None


def test_a_hundred_turns_leave_a_small_tracker_and_remember_the_form(talk: Talk) -> None:
    for at in range(30):
        talk.say("谢谢", "thank")
        if at == 20:
            talk.say("我要投诉", "file_complaint")
            talk.say("快递员把箱子摔坏了", "inform")
    (row,) = rows(talk, DialogueTracker)
    assert len(row.events) < 20_000
    tracker = asyncio.run(talk.keeper._trackers.retrieve("1"))
    assert tracker.active_loop_name == "complaint_form" and tracker.get_slot("complaint_what") == "快递员把箱子摔坏了"
    assert "跟哪笔订单有关" in talk.say("谢谢", "thank").text


def test_reading_alone_answers_nothing(talk: Talk) -> None:
    talk.say("转人工", "request_human")
    heard = talk.say("快点", "out_of_scope")
    assert heard.replies == [] and heard.actions == [] and heard.understood["intent"] == "out_of_scope"

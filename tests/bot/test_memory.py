"""The bot remembers what a customer agreed to, tells it, forgets it, and speaks as they like."""
from __future__ import annotations

from crm_store.models import Customer, Fact, Ticket
from tests.bot.talking import Talk
from tests.bot.test_turns import rows


def test_a_fact_is_offered_kept_told_and_forgotten(talk: Talk) -> None:
    heard = talk.say("我对坚果过敏", "out_of_scope")
    assert "要我记住您对坚果过敏吗" in heard.text and heard.payloads == ["/affirm", "/deny"]
    assert rows(talk, Fact) == [], "only a yes keeps it"
    assert "记住了：您对坚果过敏" in talk.say("好的", "affirm").text
    (fact,) = rows(talk, Fact)
    assert (fact.kind, fact.what) == ("allergy", "坚果")
    assert "您对坚果过敏" in talk.say("你记得我什么", "ask_capabilities").text
    assert "忘掉了：坚果" in talk.say("忘掉它", "deny").text
    assert rows(talk, Fact) == []
    assert "没有让我记住" in talk.say("你记得我什么", "inform").text


def test_a_no_keeps_nothing_and_a_later_yes_is_to_nothing(talk: Talk) -> None:
    talk.say("我不喜欢香菜", "inform")
    talk.say("不用", "deny")
    talk.say("好", "affirm")
    assert rows(talk, Fact) == []
    talk.say("我不喜欢香菜", "inform")
    talk.say("谢谢", "thank")
    talk.say("好", "affirm")
    assert rows(talk, Fact) == []


def test_a_no_in_words_of_forgetting_forgets_nothing_that_was_kept_before(talk: Talk) -> None:
    talk.say("我对坚果过敏", "inform")
    talk.say("记住吧", "affirm")
    talk.say("我不喜欢香菜", "inform")
    talk.say("不用记住", "deny")
    assert [fact.what for fact in rows(talk, Fact)] == ["坚果"]


def test_a_customer_is_greeted_by_the_name_they_go_by(talk: Talk) -> None:
    assert "要我记住叫您雷哥吗" in talk.say("以后叫我雷哥吧", "inform").text
    talk.say("好", "affirm")
    assert talk.say("你好", "greet").text.startswith("雷哥，您好")


def test_a_name_is_heard_also_where_it_sounds_like_a_wish_for_a_call(talk: Talk) -> None:
    assert "要我记住叫您小雷吗" in talk.say("以后叫我小雷", "request_human").text
    assert "叫您Ann" in talk.say("call me Ann", "request_human").text


def test_a_complaint_is_never_taken_for_something_to_remember(talk: Talk) -> None:
    heard = talk.say("我对坚果过敏", "file_complaint")
    assert "记住" not in heard.text and "validate_complaint_form" in heard.actions


def test_who_wants_it_short_gets_it_short(talk: Talk) -> None:
    assert "😊" in talk.say("谢谢", "thank").text
    assert "长话短说" in talk.say("说话简短一点", "give_feedback").text
    assert [each.tone for each in rows(talk, Customer) if each.tone] == ["brisk"]
    assert talk.say("谢谢", "thank").text == "不客气"
    talk.say("热情一点", "give_feedback")
    assert "😊" in talk.say("谢谢", "thank").text


def test_in_the_middle_of_a_form_it_is_done_and_the_question_asked_again(talk: Talk) -> None:
    talk.say("我对坚果过敏", "inform")
    talk.say("记住吧", "affirm")
    talk.say("退货 WL20261112003", "request_return")
    for said, intent, done in (("说话简短一点", "give_feedback", "长话短说"),
                               ("你记得我什么", "ask_capabilities", "您对坚果过敏"),
                               ("忘掉坚果", "inform", "忘掉了：坚果")):
        heard = talk.say(said, intent)
        assert done in heard.text and "什么原因" in heard.text
    assert rows(talk, Fact) == []
    heard = talk.say("我不吃这种，买错了", "inform")
    (ticket,) = rows(talk, Ticket)
    assert ticket.summary == "我不吃这种，买错了" and "要我记住" not in heard.text


def test_forget_it_in_a_form_is_about_the_form(talk: Talk) -> None:
    talk.say("退货 WL20261112003", "request_return")
    talk.say("我对坚果过敏", "inform")
    talk.say("记住：我对坚果过敏", "inform")
    talk.say("记住吧", "affirm")
    talk.say("取消 WL20261117001", "cancel_order")
    assert "忘掉" not in talk.say("忘掉它", "deny").text and len(rows(talk, Fact)) == 1


def test_a_guest_is_asked_who_they_are(talk: Talk) -> None:
    heard = talk.say("我对坚果过敏", "inform", sender="guest")
    assert "确认一下您是谁" in heard.text
    assert rows(talk, Fact) == []


def test_forget_it_said_of_something_else_forgets_nothing(talk: Talk) -> None:
    talk.say("我对坚果过敏", "out_of_scope")
    talk.say("好的", "affirm")
    for number in range(3):
        talk.say(f"在吗{number}", "greet")
    assert "忘掉" not in talk.say("forget it", "deny", language="en").text
    assert len(rows(talk, Fact)) == 1
    assert "who you are" not in talk.say("forget it", "deny", sender="guest", language="en").text

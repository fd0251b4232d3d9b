"""What a sentence asks of the memory; facts are kept with their source, once, and forgotten at a word."""
from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crm_store.errors import InvalidMessage, NotFound
from crm_store.models import Customer, Fact
from crm_store.rules.memory import Wish, brisk, is_about, wish_in
from crm_store.services.memory import facts_of, forget_fact, forget_facts, goes_by, keep_fact, set_tone
from crm_store.services.privacy import set_consent
from tests.crm.conftest import Desk


@pytest.mark.parametrize(("text", "wish"), [
    ("以后叫我王姐吧", Wish("note", "name", "王姐")), ("叫我小李就行", Wish("note", "name", "小李")),
    ("Call me Max", Wish("note", "name", "Max")), ("please call me Ann Lee.", Wish("note", "name", "Ann Lee")),
    ("我对坚果过敏", Wish("note", "allergy", "坚果")), ("I'm allergic to nuts.", Wish("note", "allergy", "nuts")),
    ("请记住我对花生过敏！", Wish("note", "allergy", "花生")),
    ("I have a peanut allergy", Wish("note", "allergy", "peanut")),
    ("我吃素", Wish("note", "diet", "吃素")), ("i'm vegan", Wish("note", "diet", "vegan")),
    ("我不喜欢香菜", Wish("note", "dislike", "香菜")), ("记住我喜欢无糖的", Wish("note", "like", "无糖的")),
    ("以后快递放门口", Wish("note", "delivery", "快递放门口")),
    ("please remember that my dog is called Max", Wish("note", "other", "my dog is called Max")),
    ("忘掉我对坚果过敏这件事", Wish("forget", "named", "我对坚果过敏")), ("forget it", Wish("forget", "last")),
    ("忘掉它", Wish("forget", "last")), ("忘了吧", Wish("forget", "last")),
    ("forget everything", Wish("forget", "all")),
    ("忘掉你记住的全部", Wish("forget", "all")),
    ("forget that I'm allergic to nuts", Wish("forget", "named", "I'm allergic to nuts")),
    ("你记得我什么？", Wish("recall")), ("What do you remember about me?", Wish("recall")),
    ("说话简短一点", Wish("tone", "brisk")), ("别啰嗦", Wish("tone", "brisk")),
    ("be more friendly please", Wish("tone", "warm")),
])
def test_a_sentence_asks_something_of_the_memory(text: str, wish: Wish) -> None:
    assert wish_in(text) == wish


@pytest.mark.parametrize("text", [
    "", " ", "我的快递到哪了", "我对花生过敏，吃了你们的饼干进医院了", "这个含坚果吗？我对坚果过敏吗", "忘记密码了",
    "I forgot my password", "forget my order", "简单点说怎么退货？", "我不喜欢这个颜色", "I hate this", "我讨厌你们",
    "我不吃这一套", "don't forget me",
    "call me back", "please call me tomorrow", "叫我等三天", "你叫我怎么办", "叫我去门店",
    "我喜欢你们的茶", "are you allergic to nuts?", "x" * 500, "删掉我的账号",
])
def test_other_sentences_ask_nothing_of_it(text: str) -> None:
    assert wish_in(text) is None


@given(st.text(max_size=200))
def test_any_text_can_be_read(text: str) -> None:
    wish = wish_in(text)
    assert wish is None or wish.do in ("note", "forget", "recall", "tone")
    assert brisk(text) or not text.strip() or text


@pytest.mark.parametrize(("fact", "what", "about"), [
    ("坚果", "我对坚果过敏", True), ("花生和坚果", "坚果", True), ("nuts", "I'm allergic to nuts", True),
    ("peanut butter", "my peanut allergy", True), ("坚果", "我对花生过敏", False), ("nuts", "that I like milk", False),
    ("香菜", "我不喜欢香菜", True), ("快递放门口", "放门口的事", True)])
def test_forgetting_names_a_fact(fact: str, what: str, about: bool) -> None:
    assert is_about(fact, what) is about


@pytest.mark.parametrize(("text", "short"), [
    ("李雷，您好！有什么可以帮您？", "李雷，您好！有什么可以帮您？"), ("不客气 😊", "不客气"),
    ("好的。还有什么需要我做的吗？", "好的。"), ("All right. Is there anything else I can do?", "All right."),
    ("😊", "😊"), ("Hello Ann, good to see you. How can I help?", "Hello Ann, good to see you. How can I help?"),
    ("Goodbye, and take care! I'm here whenever you need me.", "Goodbye, and take care!"),
    ("再见，祝您生活愉快！有事随时找我。", "再见，祝您生活愉快！"),
    ("我是小暖 😊 查订单都可以说。", "我是小暖。查订单都可以说。"),
    ("I'm Nuan 😊 I can help.", "I'm Nuan. I can help."), ("有需要随时找我们的同事。", "有需要随时找我们的同事。")])
def test_a_brisk_answer_has_no_pleasantries_and_is_never_empty(text: str, short: str) -> None:
    assert brisk(text) == short


class Rememberer:
    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.customer = desk.customer("lei")

    def keep(self, what: str = "坚果", kind: str = "allergy", **more: Any) -> Any:
        message = self.desk.write(f"我对{what}过敏", sender="lei").message.id
        return self.desk.do(keep_fact, **{"customer_id": self.customer, "kind": kind, "what": what,
                                          "message_id": message, "now": self.desk.now, **more})

    def facts(self) -> list[str]:
        return [fact.what for fact in self.desk.ask(facts_of, self.customer)]

    def forget(self, which: str, what: str = "") -> Any:
        return self.desk.do(forget_facts, customer_id=self.customer, which=which, what=what, now=self.desk.now)


def test_a_fact_is_kept_once_with_its_source_and_forgotten(desk: Desk) -> None:
    one = Rememberer(desk)
    first = one.keep()
    assert one.keep().id == first.id
    assert (first.channel, first.said_at, first.conversation_id) == ("web", desk.now, 1)
    one.keep("花生")
    one.keep("牛奶")
    assert one.forget("named", "我对花生过敏") == ["花生"]
    assert one.forget("named", "芒果") == []
    assert one.forget("last") == ["牛奶"]
    assert one.facts() == ["坚果"]
    assert one.forget("all") == ["坚果"] and one.facts() == []


def test_one_goes_by_one_name(sqlite_desk: Desk) -> None:
    one = Rememberer(sqlite_desk)

    def called() -> str:
        return str(sqlite_desk.ask(lambda session: goes_by(session, session.get(Customer, one.customer))))

    assert called() == "李雷"
    for name in ("小李", "雷哥"):
        one.keep(name, "name")
        assert called() == name
    assert one.facts() == ["雷哥"]
    one.forget("last")
    assert called() == "李雷"


def test_who_does_not_want_to_be_remembered_is_not(sqlite_desk: Desk) -> None:
    one = Rememberer(sqlite_desk)
    sqlite_desk.do(set_consent, one.customer, "memory", False, "web", sqlite_desk.now)
    assert one.keep() is None and one.facts() == []


def test_a_fact_is_said_by_the_customer_themself(sqlite_desk: Desk) -> None:
    one, other = Rememberer(sqlite_desk), sqlite_desk.customer("ann")
    foreign = sqlite_desk.write("我对虾过敏", sender="ann").message.id
    for more in ({"message_id": foreign}, {"message_id": 10**6}, {"customer_id": 10**6}):
        with pytest.raises(NotFound):
            one.keep("虾", **more)
    for more in ({"kind": "x"}, {"what": " "}, {"what": "x" * 81}):
        with pytest.raises(InvalidMessage):
            one.keep(**more)
    fact = one.keep()
    with pytest.raises(NotFound):
        sqlite_desk.do(forget_fact, sqlite_desk.agent("wang"), customer_id=other, fact_id=fact.id, now=sqlite_desk.now)
    sqlite_desk.do(forget_fact, sqlite_desk.agent("wang"), customer_id=one.customer, fact_id=fact.id,
                   now=sqlite_desk.now)
    assert sqlite_desk.all(Fact) == []


def test_thirty_facts_are_enough(sqlite_desk: Desk) -> None:
    one = Rememberer(sqlite_desk)
    kept = [one.keep(f"食物{number}") for number in range(32)]
    assert [each is None for each in kept] == [False] * 30 + [True] * 2


def test_the_tone_is_kept(sqlite_desk: Desk) -> None:
    one = Rememberer(sqlite_desk)
    for tone in ("brisk", "brisk", None, "warm"):
        sqlite_desk.do(set_tone, customer_id=one.customer, tone=tone, now=sqlite_desk.now)
        assert sqlite_desk.all(Customer, Customer.id == one.customer)[0].tone == tone
    with pytest.raises(InvalidMessage):
        sqlite_desk.do(set_tone, customer_id=one.customer, tone="rude", now=sqlite_desk.now)

"""What is worth a look, for whom, each text once; and what is decided of it, by whom."""
from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest

from crm_store.errors import NotAllowed, NotFound
from crm_store.models import AuditEntry, Conversation, Customer, Label, Message
from crm_store.queries.corrections import lessons
from crm_store.queries.learning import BORDERLINE, LOW_CONFIDENCE, Look, Tally, labelled, tally, worth_a_look
from crm_store.rules.learning import text_key
from crm_store.services.corrections import correct_message, label_message, mark_exported, withdraw_label
from crm_store.services.dispatch import Reply
from crm_store.services.handoff import escalate_conversation
from tests.crm.conftest import HOUR, MINUTE, Desk


def read(desk: Desk, text: str, sender: str = "visitor", reply: Any = "好的", **understood: Any) -> tuple[int, int]:
    """A message that the bot has read: its conversation's id and its own."""
    received = desk.write(text, sender=sender)
    desk.answer(desk.turn(received.conversation.id), reply, **understood)
    return int(received.conversation.id), int(received.message.id)


def asked_back(desk: Desk, text: str, *intents: str, sender: str = "visitor") -> tuple[int, int]:
    """A message after which the bot asked which of the intents is meant."""
    received = desk.write(text, sender=sender)
    buttons = [{"title": intent, "payload": f"/{intent}" + json.dumps({"about": received.message.id})}
               for intent in intents]
    desk.answer(desk.turn(received.conversation.id), Reply("哪一个？", buttons), intent=intents[0])
    return int(received.conversation.id), int(received.message.id)


def looks(desk: Desk, login: str = "boss", **asked: Any) -> dict[str, Look]:
    return {look.text: look for look in desk.ask(worth_a_look, desk.agent(login), **asked).rows}


def label(desk: Desk, ids: tuple[int, int], login: str = "boss", intent: str | None = None, anger: str | None = None,
          minutes: int = 1) -> Label:
    found: Label = desk.do(label_message, *ids, desk.agent(login), intent=intent, anger=anger,
                           now=desk.now + minutes * MINUTE)
    return found


def labels(desk: Desk) -> list[tuple[str | None, str | None]]:
    return [(each.intent, each.anger) for each in desk.all(Label)]


@pytest.mark.parametrize(("one", "other", "same"), [
    ("我的 包裹！", "我的包裹", True), ("ＡＢＣ", "abc?", True), ("打13800138000", "打13900139000", True),
    ("？？？", "???", True),
    ("😡", "😡 😡", False), ("退货", "退款", False), ("不行", "行", False), ("\ud800", "x", False)])
def test_texts_are_the_same_whatever_their_dress(one: str, other: str, same: bool) -> None:
    assert (text_key(one) == text_key(other)) is same
    assert len(text_key(one)) == 64


def test_every_kind_is_found_and_what_was_understood_is_not(desk: Desk) -> None:
    read(desk, "fine", "a", intent="ask_order_status", confidence=0.9, anger=0.2)
    read(desk, "no idea", "b", intent="out_of_scope", confidence=0.9)
    read(desk, "hardly", "c", intent="ask_product", confidence=LOW_CONFIDENCE - 0.01)
    read(desk, "just enough", "d", intent="ask_product", confidence=LOW_CONFIDENCE)
    asked_back(desk, "which of both", "ask_product", "ask_promotion", sender="e")
    read(desk, "nearly angry", "f", anger=0.8 - BORDERLINE + 0.01)
    read(desk, "clearly angry", "g", anger=0.95)
    read(desk, "unknown mood", "h", anger=None)
    stuck = read(desk, "lost", "i")
    desk.do(escalate_conversation, conversation_id=stuck[0], message_id=stuck[1], reason="stuck", now=desk.now)
    wrong = read(desk, "misread", "j", intent="thank")
    desk.do(correct_message, *wrong, desk.agent("wang"), "intent", "file_complaint", desk.now)
    found = looks(desk)
    assert {text: look.kinds for text, look in found.items()} == {
        "no idea": ("out_of_scope",), "hardly": ("unsure",), "which of both": ("asked_back",),
        "nearly angry": ("anger",), "lost": ("stuck",), "misread": ("corrected",)}
    assert [look.message_id for look in found.values()] == sorted(
        (look.message_id for look in found.values()), reverse=True), "the newest first"
    for kind, text in (("out_of_scope", "no idea"), ("unsure", "hardly"), ("asked_back", "which of both"),
                       ("anger", "nearly angry"), ("stuck", "lost"), ("corrected", "misread")):
        assert set(looks(desk, kind=kind)) == {text}
    told, = found["misread"].said
    assert (told.field, told.value, told.agent_name) == ("intent", "file_complaint", "Wang")
    assert found["misread"].suggestions[:2] == ("file_complaint", "thank")


def test_the_mood_is_borderline_by_the_customers_tier(desk: Desk) -> None:
    desk.customer("vip", tier="platinum")
    read(desk, "for platinum", "vip", anger=0.62)
    read(desk, "for silver", "plain", anger=0.62)
    assert set(looks(desk, kind="anger")) == {"for platinum"}


def test_the_same_text_appears_once_with_its_count_and_its_newest_conversation(desk: Desk) -> None:
    read(desk, "我的包裹飞走了", "a", intent="out_of_scope")
    read(desk, "我的包裹，飞走了！", "b", intent="ask_product", confidence=0.3)
    newest = read(desk, "我的 包裹飞走了", "c", intent="out_of_scope")
    read(desk, "something else", "d", intent="out_of_scope")
    found = desk.ask(worth_a_look, desk.agent("boss"))
    assert found.total == 2 and not found.is_cut
    look = found.rows[1]
    assert (look.count, look.message_id, look.conversation_id) == (3, newest[1], newest[0])
    assert look.kinds == ("out_of_scope", "unsure") and look.suggestions == ("ask_product", "out_of_scope")


def test_what_was_asked_and_pressed_and_said_next_is_suggested(desk: Desk) -> None:
    ids = asked_back(desk, "那个", "ask_refund_status", "ask_order_status", sender="a")
    assert looks(desk)["那个"].options == ("ask_refund_status", "ask_order_status")
    assert looks(desk)["那个"].pressed is None
    pressed = desk.write("查订单", sender="a", payload=f'/ask_order_status{{"about": {ids[1]}}}')
    assert pressed.message.payload
    desk.answer(desk.turn(ids[0]), "在路上", intent="ask_order_status")
    look = looks(desk)["那个"]
    assert look.pressed == "ask_order_status" and look.suggestions == ("ask_order_status", "ask_refund_status")
    assert "查订单" not in looks(desk), "a button is no text"

    read(desk, "它飞了", "b", intent="out_of_scope", ranking=["out_of_scope", "ask_delivery", "no_such"])
    read(desk, "唉", "b", intent="greet")
    read(desk, "我要退货", "b", intent="request_return")
    assert looks(desk)["它飞了"].suggestions == ("request_return", "ask_delivery", "out_of_scope")


def test_filters_and_pages(desk: Desk) -> None:
    for number in range(5):
        read(desk, f"什么{number}", f"zh{number}", intent="out_of_scope")
    desk.now += 2 * HOUR
    read(desk, "what", "en", intent="ask_product", confidence=0.1)
    assert set(looks(desk, language="en")) == {"what"} == set(looks(desk, intent="ask_product"))
    assert set(looks(desk, since=desk.now - HOUR)) == {"what"}
    assert len(looks(desk, until=desk.now - HOUR)) == 5
    assert looks(desk, since=desk.now + HOUR) == {}
    page = desk.ask(worth_a_look, desk.agent("boss"), page=2, per_page=4)
    assert (page.total, page.pages, page.page, len(page.rows)) == (6, 2, 2, 2)
    assert desk.ask(worth_a_look, desk.agent("boss"), page=-3, per_page=4).page == 1
    assert desk.ask(worth_a_look, desk.agent("boss"), page=10**6, per_page=4).page == 2


def test_leads_see_their_own_teams_only_and_nobody_who_was_erased(desk: Desk) -> None:
    ids = read(desk, "ours", "a", intent="out_of_scope")
    customer = desk.customer("known")
    read(desk, "secret", "known", intent="out_of_scope")
    with desk.store.write() as session:
        talk = session.get(Conversation, ids[0])
        talk.assignee_id, talk.claimed_at, talk.status = desk.agent("wang").id, desk.now, "open"
        talk.team_id = desk.agent("wang").team_id
        session.get(Customer, customer).erased_at = desk.now
    assert set(looks(desk, "lead")) == {"ours"} == set(looks(desk))
    assert looks(desk, "expert_lead") == {}
    label(desk, ids, "lead", intent="ask_product")
    assert len(desk.ask(labelled, desk.agent("boss"))[0]) == 1
    assert desk.ask(labelled, desk.agent("expert_lead"))[0] == []


def test_personal_data_is_masked_as_it_is_learnt(desk: Desk) -> None:
    ids = read(desk, "打 13800138000", intent="out_of_scope")
    assert set(looks(desk)) == {"打 138********"}
    label(desk, ids, intent="account_help")
    assert [row.text for row in desk.ask(labelled, desk.agent("boss"))[0]] == ["打 138********"]


def test_a_label_settles_the_text_wherever_it_is_written(desk: Desk) -> None:
    ids = read(desk, "飞走了", "a", intent="out_of_scope")
    label(desk, ids, intent="ask_order_status", anger="calm")
    read(desk, "飞走了！", "b", intent="out_of_scope")
    assert looks(desk) == {}
    again = read(desk, "飞走了？", "c", intent="out_of_scope")
    label(desk, again, minutes=2)
    assert labels(desk) == [(None, None)], "one label a text, the last word holds"
    assert desk.ask(tally) == Tally(0, 0, 1)
    desk.do(withdraw_label, *ids, desk.agent("boss"), desk.now + 3 * MINUTE)
    desk.do(withdraw_label, *ids, desk.agent("boss"), desk.now + 4 * MINUTE)
    assert labels(desk) == [] and set(looks(desk)) == {"飞走了？"}
    boss = desk.agent("boss").id
    said = {"intent": "ask_order_status", "anger": "calm"}
    nothing = {"intent": None, "anger": None}
    assert [(entry.actor_id, entry.object_id, entry.data) for entry in desk.all(
        AuditEntry, AuditEntry.action == "label")] == [
        (boss, str(ids[1]), {"from": None, "to": said}), (boss, str(again[1]), {"from": said, "to": nothing}),
        (boss, str(ids[1]), {"from": nothing, "to": None})]


def test_a_lead_does_not_overrule_a_manager(desk: Desk) -> None:
    ids = read(desk, "飞走了", intent="out_of_scope")
    label(desk, ids, "lead", intent="ask_delivery")
    label(desk, ids, "boss", intent="ask_order_status")
    for act in (lambda: label(desk, ids, "lead", intent="ask_delivery"),
                lambda: desk.do(withdraw_label, *ids, desk.agent("lead"), desk.now)):
        with pytest.raises(NotAllowed):
            act()
    label(desk, ids, "lead", intent="ask_order_status", minutes=5)
    kept, = desk.all(Label)
    assert (kept.intent, kept.agent_id) == ("ask_order_status", desk.agent("boss").id)


@pytest.mark.parametrize(("intent", "anger"), [("no_such", None), ("", None), (None, "furious"), (None, "")])
def test_nothing_else_can_be_said(sqlite_desk: Desk, intent: str | None, anger: str | None) -> None:
    ids = read(sqlite_desk, "x", intent="out_of_scope")
    with pytest.raises(ValueError, match="no such field or value"):
        label(sqlite_desk, ids, intent=intent, anger=anger)
    assert labels(sqlite_desk) == []


def test_only_what_a_customer_typed_there_is_labelled(desk: Desk) -> None:
    ids, other = read(desk, "a", intent="out_of_scope"), read(desk, "b", "other", intent="out_of_scope")
    answer, = desk.all(Message, Message.conversation_id == ids[0], Message.author == "bot")
    for wrong in ((ids[0], answer.id), (ids[0], other[1]), (ids[0], 10**9)):
        for act in (lambda wrong=wrong: label(desk, wrong, intent="greet"),
                    lambda wrong=wrong: desk.do(withdraw_label, *wrong, desk.agent("boss"), desk.now)):
            with pytest.raises(NotFound):
                act()
    assert labels(desk) == []


def test_managers_who_label_the_same_text_at_once_leave_one_label(desk: Desk) -> None:
    each = [read(desk, "飞走了", sender, intent="out_of_scope") for sender in "abcd"]
    values = ("ask_delivery", "ask_order_status", "greet", None)
    boss = desk.agent("boss")
    said = desk.at_once([lambda ids=ids, value=value: desk.do(
        label_message, *ids, boss, intent=value, anger=None, now=desk.now).intent
        for ids, value in zip(each, values, strict=True)])
    assert sorted(map(str, said)) == sorted(map(str, values))
    assert len(desk.all(Label)) == 1


def test_labels_are_the_last_lessons_and_know_what_was_exported(desk: Desk) -> None:
    ids = read(desk, "飞走了", intent="out_of_scope", valence="negative")
    first = label(desk, ids, intent="ask_order_status")
    desk.do(correct_message, *ids, desk.agent("wang"), "intent", "thank", desk.now + HOUR)
    found = desk.ask(lessons)
    assert [(each.field, each.value, each.label_id) for each in found] == [
        ("intent", "thank", None), ("anger", None, first.id), ("intent", "ask_order_status", first.id)]
    desk.do(mark_exported, [(first.id, first.labelled_at + timedelta(seconds=1))], desk.now)
    assert desk.ask(tally) == Tally(1, 0, 0), "it changed since it was read"
    desk.do(mark_exported, [(first.id, first.labelled_at)], desk.now + HOUR)
    desk.do(mark_exported, [], desk.now)
    assert desk.ask(tally) == Tally(0, 1, 0)
    assert desk.ask(labelled, desk.agent("boss"))[0][0].exported_at == desk.now + HOUR
    label(desk, ids, intent="ask_delivery", minutes=9)
    assert desk.ask(tally) == Tally(1, 0, 0), "another word waits again"

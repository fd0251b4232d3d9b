"""The learning queue: a text the bot did not understand is labelled on the page and becomes a training example."""
from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from bot.channel import understood
from bot.training.encoder_data import UNKNOWN, Shares, gather
from crm_store.models import AuditEntry, Customer, Label, Message
from crm_store.services.dispatch import Reply, complete_turn, next_turn
from crm_store.services.messages import receive_message
from gateway.bot_client import _answer
from tests.desk.conftest import Desk
from tests.warmline.test_corrections import a_small_world, examples
from warmline.corrections import training_examples, write_corrections


def shown(html: str) -> list[int]:
    return [int(number) for number in re.findall(r'id="look-(\d+)"', html)]


def page(desk: Desk, login: str = "ling", **query: str) -> str:
    answer = desk.client(login).get("/manage/learning", params=query)
    assert answer.status_code == 200, answer.text
    return str(answer.text)


def misunderstood(desk: Desk, text: str = "我的包裹飞走了吗", sender: str = "a", **more: Any) -> tuple[int, int]:
    return desk.says(sender, text, **{"intent": "out_of_scope", **more})


def label(desk: Desk, message: int, login: str = "ling", **form: str) -> Any:
    return desk.client(login).post(f"/manage/learning/{message}", data=form)


def labels(desk: Desk) -> list[tuple[int, str | None, str | None]]:
    with desk.store.read() as session:
        return [(each.message_id, each.intent, each.anger)
                for each in session.execute(select(Label).order_by(Label.id)).scalars()]


def test_a_misunderstood_message_labelled_on_the_page_is_a_training_example(desk: Desk, tmp_path: Path) -> None:
    _, message = misunderstood(desk, "我的包裹 13800138000 飞走了吗")
    html = page(desk)
    assert shown(html) == [message] and "13800138000" not in html
    answer = label(desk, message, intent="查订单 / Where an order is", mood="angry", verdict="learn")
    assert answer.status_code == 303 and answer.headers["location"].startswith("/manage/learning?")
    assert shown(page(desk)) == []

    write_corrections(desk.store, tmp_path, desk.clock())
    text = "我的包裹 138******** 飞走了吗"
    assert examples(tmp_path) == [(text, "ask_order_status")]
    corpora = tmp_path / "corpora"
    a_small_world(corpora, tmp_path)
    (tmp_path / "data/nlu/zh/more.yml").write_text("- intent: ask_order_status\n  examples: |\n    - 查\n", "utf8")
    learnt = gather(corpora, tmp_path, Shares(public=0, calm=0, requests=0, beyond=0, repeat=1, examples=1,
                                              kept_back=0), 1)
    order = learnt.intents.index("ask_order_status")
    assert {(row.angry, row.intent) for row in learnt.train if row.text == text} == {(1, UNKNOWN), (UNKNOWN, order)}


def test_every_way_of_saying_an_intent_is_understood(lite: Desk) -> None:
    for number, said in enumerate(("ask_order_status", "查订单", "Where an order is", " where AN order is ",
                                   "查订单 / Where an order is")):
        _, message = misunderstood(lite, f"句子{number}", f"s{number}")
        assert label(lite, message, intent=said).status_code == 303, said
    assert {intent for _, intent, _ in labels(lite)} == {"ask_order_status"}


def test_a_suggestion_is_one_press_and_typing_counts_before_it(lite: Desk) -> None:
    _, first = misunderstood(lite, "一")
    _, second = misunderstood(lite, "二", "b")
    label(lite, first, pick="ask_delivery", mood="calm", intent="")
    label(lite, second, pick="ask_delivery", mood="", intent="查订单", verdict="")
    assert labels(lite) == [(first, "ask_delivery", "calm"), (second, "ask_order_status", None)]


def test_what_is_not_worth_learning_never_comes_back(lite: Desk) -> None:
    _, message = misunderstood(lite, "哈哈哈")
    assert label(lite, message, verdict="dismiss", intent="greet", mood="angry").status_code == 303
    assert labels(lite) == [(message, None, None)]
    misunderstood(lite, "哈哈哈！", "b")
    assert shown(page(lite)) == []
    done = page(lite, show="done")
    assert "不值得学" in done and "哈哈哈" in done


@pytest.mark.parametrize("form", [
    {}, {"intent": "no such thing"}, {"pick": "<script>"}, {"mood": "furious", "pick": "greet"}, {"mood": ""},
    {"verdict": "learn"}, {"intent": "\x00"}, {"intent": "x" * 5000}, {"pick": "'; DROP TABLE labels; --"}])
def test_what_cannot_be_accepted_is_refused(lite: Desk, form: dict[str, str]) -> None:
    _, message = misunderstood(lite)
    assert label(lite, message, **form).status_code == 422
    assert labels(lite) == []


def test_the_way_back_keeps_the_filters_and_leads_nowhere_else(lite: Desk) -> None:
    _, message = misunderstood(lite)
    answer = lite.client("ling").post(
        f"/manage/learning/{message}?kind=out_of_scope&since=&page=2&next=https://evil.test&done=1&language=%0d%0aX:1",
        data={"pick": "greet"})
    assert answer.headers["location"] == (
        f"/manage/learning?kind=out_of_scope&language=%0D%0AX%3A1&since=&page=2&done={message}")
    html = lite.client("ling").get(answer.headers["location"]).text
    assert f'action="/manage/learning/{message}/undo?' in html
    undone = lite.client("ling").post(f"/manage/learning/{message}/undo?kind=out_of_scope", data={})
    assert undone.headers["location"] == "/manage/learning?kind=out_of_scope"
    assert labels(lite) == [] and shown(page(lite)) == [message]


@pytest.mark.parametrize("query", [
    {"kind": "' OR 1=1"}, {"language": "fr"}, {"intent": "<script>alert(1)</script>"}, {"since": "2026-02-30"},
    {"until": "9999-12-31"}, {"since": "0001-01-01"}, {"kind": "\x00"}, {"intent": "x" * 5000}])
def test_a_filter_that_cannot_be_read_is_named_and_breaks_nothing(lite: Desk, query: dict[str, str]) -> None:
    misunderstood(lite)
    html = page(lite, **query)
    assert 'role="alert"' in html and "<script>alert" not in html


def test_the_filters_narrow_and_an_emptied_date_stays_empty(lite: Desk) -> None:
    _, old = misunderstood(lite, "很久以前")
    lite.clock.move(days=40)
    _, new = misunderstood(lite, "what now", "b")
    assert shown(page(lite)) == [new], "the last 30 days"
    assert shown(page(lite, since="")) == [new, old]
    assert shown(page(lite, since="", language="zh")) == [old]
    assert shown(page(lite, since="", until="2026-11-20")) == [old]
    assert shown(page(lite, kind="corrected")) == []
    assert shown(page(lite, page="99999999", since="")) == [new, old]


def test_an_agents_correction_waits_to_be_confirmed_and_is_preselected(lite: Desk) -> None:
    conversation, message = lite.says("a", "你们真行", intent="thank")
    lite.client("wang").post(f"/api/conversations/{conversation}/messages/{message}/correction",
                             json={"angry": True, "intent": "file_complaint"})
    html = page(lite, kind="corrected")
    assert shown(html) == [message] and "王敏" in html
    assert re.search(r'value="angry" checked', html)
    assert re.findall(r'name="pick" value="(\w+)"', html) == ["file_complaint", "thank"]
    label(lite, message, pick="file_complaint", mood="angry")
    assert shown(page(lite)) == []


@pytest.mark.parametrize(("login", "seen", "status"), [
    ("zhang", True, 303), ("eva", False, 404), ("ling", True, 303), ("root", True, 303)])
def test_leads_see_and_label_what_their_team_has(desk: Desk, login: str, seen: bool, status: int) -> None:
    """Eva leads the other team."""
    conversation = desk.escalated("a", "气死我了", intent="out_of_scope", assignee="wang")
    with desk.store.read() as session:
        message = session.execute(select(Message.id).where(
            Message.conversation_id == conversation, Message.direction == "incoming")).scalar_one()
    assert shown(page(desk, login)) == ([message] if seen else [])
    assert label(desk, message, login, mood="angry").status_code == status
    assert desk.client(login).post(f"/manage/learning/{message}/undo").status_code == status
    assert labels(desk) == []


@pytest.mark.parametrize("login", ["wang", None])
def test_agents_and_strangers_learn_nothing(lite: Desk, login: str | None) -> None:
    _, message = misunderstood(lite)
    client = lite.client(login)
    expected = 403 if login else 303
    assert client.get("/manage/learning").status_code == expected
    assert client.get("/manage/learning/examples/intents_zh.yml").status_code == expected
    for path in (f"/manage/learning/{message}", f"/manage/learning/{message}/undo"):
        assert client.post(path, data={"pick": "greet"}).status_code == (403 if login else 401)
    assert labels(lite) == []


@pytest.mark.parametrize("forged", ["0", "-1", str(2**63), "9" * 40, "abc", "1.5", "%00"])
def test_a_forged_id_is_no_message(lite: Desk, forged: str) -> None:
    misunderstood(lite)
    for path in (f"/manage/learning/{forged}", f"/manage/learning/{forged}/undo"):
        assert lite.client("root").post(path, data={"pick": "greet"}).status_code == 404
    assert lite.client("root").get("/manage/learning", params={"done": forged}).status_code == 200
    assert labels(lite) == []


def test_the_bots_words_and_buttons_are_not_labelled(lite: Desk) -> None:
    conversation, _ = misunderstood(lite)
    with lite.store.read() as session:
        reply = session.execute(select(Message.id).where(
            Message.conversation_id == conversation, Message.author == "bot")).scalars().first()
    assert label(lite, reply, pick="greet").status_code == 404


def test_another_site_cannot_label(lite: Desk) -> None:
    _, message = misunderstood(lite)
    for path in (f"/manage/learning/{message}", f"/manage/learning/{message}/undo"):
        answer = lite.client("ling").post(path, data={"pick": "greet"}, headers={"Sec-Fetch-Site": "cross-site"})
        assert answer.status_code == 403
    assert labels(lite) == []


def test_a_lead_cannot_overrule_a_manager(lite: Desk) -> None:
    _, message = misunderstood(lite)
    label(lite, message, "ling", pick="greet")
    assert label(lite, message, "zhang", pick="thank").status_code == 403
    assert lite.client("zhang").post(f"/manage/learning/{message}/undo").status_code == 403
    assert labels(lite) == [(message, "greet", None)]


def test_what_customers_write_stays_text(lite: Desk) -> None:
    _, message = misunderstood(lite, "<img src=x onerror=alert(1)>\"'><script>alert(2)</script>")
    html = page(lite)
    assert "<img src=x" not in html and "<script>alert" not in html and "&lt;img src=x" in html
    label(lite, message, pick="greet")
    done = page(lite, show="done")
    assert "<img src=x" not in done and "<script>alert" not in done and "&lt;img src=x" in done


def test_the_downloads_are_what_the_command_writes(lite: Desk, tmp_path: Path) -> None:
    lite.app.state.desk = dataclasses.replace(
        lite.app.state.desk, examples=lambda: training_examples(lite.store, tmp_path).files)
    _, message = misunderstood(lite, "[飞走](x) {了}\n- intent: evil")
    label(lite, message, pick="ask_order_status", mood="angry")
    client = lite.client("ling")
    got = {name: client.get(f"/manage/learning/examples/{name}")
           for name in ("intents_zh.yml", "moods_zh.jsonl", "intents_en.yml", "moods_en.jsonl")}
    write_corrections(lite.store, tmp_path, lite.clock())
    folder = tmp_path / "data/corrections"
    assert got["intents_zh.yml"].text == (folder / "nlu/zh/corrections.yml").read_text(encoding="utf8")
    assert got["moods_zh.jsonl"].text == (folder / "zh.jsonl").read_text(encoding="utf8")
    assert json.loads(got["moods_zh.jsonl"].text)["angry"] == 1
    assert (got["intents_en.yml"].status_code, got["intents_en.yml"].text) == (200, "")
    assert got["intents_zh.yml"].headers["content-disposition"] == 'attachment; filename="warmline_intents_zh.yml"'
    assert examples(tmp_path) == [("飞走 (x) {了} - intent: evil", "ask_order_status")]
    with lite.store.read() as session:
        entries = session.execute(select(AuditEntry).where(AuditEntry.action == "export")).scalars().all()
        assert {(entry.object_kind, entry.object_id) for entry in entries} == {
            ("training_examples", name) for name in got}


@pytest.mark.parametrize("name", ["passwords", "..%2f..%2fetc%2fpasswd", "nlu", "intents_fr.yml", "intents_zh.yml%00"])
def test_no_other_file_is_given(lite: Desk, name: str) -> None:
    assert lite.client("root").get(f"/manage/learning/examples/{name}").status_code == 404


def test_leads_do_not_get_every_teams_words(lite: Desk) -> None:
    assert lite.client("zhang").get("/manage/learning/examples/intents_zh.yml").status_code == 403
    assert "/manage/learning/examples/" not in page(lite, "zhang") and "/manage/learning/examples/" in page(lite)


def test_the_page_says_how_far_the_labels_are(lite: Desk, tmp_path: Path) -> None:
    _, first = misunderstood(lite, "一")
    _, second = misunderstood(lite, "二", "b")
    _, third = misunderstood(lite, "三", "c")
    label(lite, first, pick="greet")
    write_corrections(lite.store, tmp_path, lite.clock())
    label(lite, second, pick="greet")
    label(lite, third, verdict="dismiss")
    html = lite.client("root").get("/manage/learning").text
    assert "1 wait to be exported" in html and "1 exported" in html and "1 not worth learning" in html
    done = lite.client("root").get("/manage/learning?show=done").text
    assert [state for state in re.findall(r"<td>(Waiting|Exported|Not worth learning)", done)] == [
        "Not worth learning", "Waiting", "Exported"]


def test_the_page_links_to_the_conversation_and_speaks_both_languages(lite: Desk) -> None:
    conversation, _ = misunderstood(lite)
    assert f'href="/manage/logs/{conversation}"' in page(lite)
    english = lite.client("root").get("/manage/learning").text
    assert "Not understood" in english and "1 text to label" in english and "None of the shop" in english


def test_who_was_erased_is_neither_shown_nor_learnt(lite: Desk, tmp_path: Path) -> None:
    customer = lite.customer("李雷")
    _, message = misunderstood(lite, "我的秘密", customer_id=customer)
    label(lite, message, pick="greet")
    with lite.store.write() as session:
        session.get(Customer, customer).erased_at = lite.clock()
    assert "我的秘密" not in page(lite) + page(lite, show="done")
    assert training_examples(lite.store, tmp_path).files == {}


def test_what_the_bot_thought_likeliest_travels_to_the_page(lite: Desk) -> None:
    ranking = [{"name": name, "confidence": 0.1} for name in ("out_of_scope", "ask_delivery", "ask_store", "greet")]
    told = json.loads(json.dumps(understood({"intent": ranking[0], "intent_ranking": ranking})))
    answer = _answer({"replies": [], "understood": told})
    with lite.store.write() as session:
        conversation = receive_message(session, channel="web", external_id="a", text="它飞走了", channel_message_id="1",
                                       now=lite.clock()).conversation.id
    with lite.store.write() as session:
        turn = next_turn(session, conversation, lite.clock())
        assert turn is not None
        complete_turn(session, turn, replies=[Reply("好的")], understood=answer.understood, now=lite.clock())
    assert re.findall(r'name="pick" value="(\w+)"', page(lite)) == ["ask_delivery", "ask_store", "out_of_scope"]

"""An agent corrects what the bot read: by the API, on the page, and only where they may look."""
from __future__ import annotations

import re
from typing import Any

import pytest
from sqlalchemy import select

from crm_store.models import AuditEntry, Correction, Message
from crm_store.rules.intents import INTENTS
from tests.desk.conftest import Desk


def message_of(desk: Desk, conversation: int) -> int:
    with desk.store.read() as session:
        return int(session.execute(select(Message.id).where(
            Message.conversation_id == conversation, Message.direction == "incoming")).scalars().first())


def path(desk: Desk, conversation: int) -> str:
    return f"/api/conversations/{conversation}/messages/{message_of(desk, conversation)}/correction"


def corrections(desk: Desk) -> list[tuple[str, str]]:
    with desk.store.read() as session:
        return [(each.field, each.value) for each in session.execute(
            select(Correction).order_by(Correction.id)).scalars()]


def test_what_is_said_is_told_back_and_shown_in_both_languages(desk: Desk) -> None:
    conversation = desk.escalated("a", assignee="wang")
    client = desk.client("wang")
    answer = client.post(path(desk, conversation), json={"angry": False, "intent": "request_human"})
    assert answer.status_code == 200
    assert answer.json() == {"message_id": message_of(desk, conversation),
                             "corrected": {"angry": False, "intent": "request_human"}}
    read = client.get(f"/api/conversations/{conversation}").json()
    assert read["messages"][0]["corrected"] == {"angry": False, "intent": "request_human"}
    assert (read["messages"][0]["anger"], read["messages"][0]["understood"]["intent"]) == (0.94, "ask_refund_status")
    assert read["messages"][-1]["corrected"] == {"angry": None, "intent": None}
    chinese = client.get(f"/desk/parts/conversations/{conversation}").text
    assert "退款进度" in chinese and "→ 要人工客服" in chinese and "→ 不愤怒" in chinese
    assert "王敏 10:00 更正" in chinese and "已更正" in chinese
    english = desk.client("root").get(f"/desk/parts/conversations/{conversation}").text
    assert "→ Talk to a person" in english and "→ Not angry" in english and "corrected by 王敏, 10:00" in english
    with desk.store.read() as session:
        entries = session.execute(select(AuditEntry).where(AuditEntry.action == "correct")).scalars().all()
        assert {entry.actor_id for entry in entries} == {desk.agent("wang").id} and len(entries) == 2


def test_a_field_left_out_stays_and_null_takes_it_back(lite: Desk) -> None:
    conversation = lite.escalated("a")
    client, target = lite.client("wang"), path(lite, conversation)
    client.post(target, json={"angry": True})
    client.post(target, json={"intent": "file_complaint"})
    assert corrections(lite) == [("anger", "angry"), ("intent", "file_complaint")]
    assert client.post(target, json={"angry": None}).json()["corrected"] == {"angry": None, "intent": "file_complaint"}
    assert corrections(lite) == [("intent", "file_complaint")]


@pytest.mark.parametrize(("login", "status"), [("wang", 200), ("lee", 404), ("zhang", 200), ("eva", 404), ("ling", 200),
                                               ("root", 200), (None, 401)])
def test_only_who_may_see_the_conversation_corrects_in_it(desk: Desk, login: str | None, status: int) -> None:
    """Lee is a colleague, Eva leads another team."""
    conversation = desk.escalated("a", assignee="wang")
    answer = desk.client(login).post(path(desk, conversation), json={"angry": False})
    assert answer.status_code == status
    assert corrections(desk) == ([("anger", "calm")] if status == 200 else [])


def test_a_message_is_corrected_in_its_own_conversation_only(lite: Desk) -> None:
    own, lees = lite.escalated("a", assignee="wang"), lite.escalated("b", assignee="lee")
    target = f"/api/conversations/{own}/messages/{message_of(lite, lees)}/correction"
    for message in (target, target.replace(f"/{message_of(lite, lees)}/", "/0/"),
                    target.replace(f"/{message_of(lite, lees)}/", f"/{'9' * 30}/"),
                    target.replace(f"/{message_of(lite, lees)}/", "/x/")):
        assert lite.client("wang").post(message, json={"angry": False}).status_code == 404, message
    assert corrections(lite) == []


def test_another_site_cannot_make_the_browser_correct(lite: Desk) -> None:
    conversation = lite.escalated("a")
    answer = lite.client("wang").post(path(lite, conversation), json={"angry": False},
                                      headers={"Origin": "https://evil.test"})
    assert answer.status_code == 403 and answer.json()["error"] == "cross_site"
    assert corrections(lite) == []


@pytest.mark.parametrize(("body", "field"), [
    ({}, None), ({"angry": "furious"}, "angry"), ({"intent": "no_such"}, "intent"), ({"intent": ""}, "intent"),
    ({"intent": ["greet"]}, "intent"), ({"angry": True, "by": 3}, "by")])
def test_what_cannot_be_accepted_is_named(lite: Desk, body: Any, field: str | None) -> None:
    conversation = lite.escalated("a")
    answer = lite.client("wang").post(path(lite, conversation), json=body)
    assert answer.status_code == 422 and answer.json().get("field") == field
    assert corrections(lite) == []


def test_the_page_offers_it_on_what_customers_typed_and_the_log_does_not(lite: Desk) -> None:
    conversation = lite.escalated("a", assignee="zhang")
    client = lite.client("zhang")
    page = client.get(f"/desk?conversation={conversation}").text
    assert re.findall(r'data-correct="(\d+)"', page) == [str(message_of(lite, conversation))]
    offered = page.partition('<select name="intent" aria-labelledby="correct-intent"')[2].partition("</select>")[0]
    assert set(re.findall(r'<option value="(\w+)"', offered)) == set(INTENTS)
    assert "data-correct" not in client.get(f"/manage/logs/{conversation}").text
    with lite.store.write() as session:
        session.get(Message, message_of(lite, conversation)).payload = "/request_human"
    assert "data-correct" not in client.get(f"/desk?conversation={conversation}").text


def test_why_a_conversation_reached_a_human_is_shown_with_the_number(lite: Desk) -> None:
    conversation = lite.escalated("a", anger=0.94)
    client = lite.client("lee")
    pane = client.get(f"/desk/parts/conversations/{conversation}").text
    assert re.search(r'class="why[^>]*>Handed over · Angry · <span class="num">anger 0\.94</span>', pane)
    queue = client.get("/desk/parts/queue").text
    assert re.search(r'<span class="reason">Angry <span class="num">0\.94</span></span>', queue)
    lite.says("a", "谢谢，没事了", reply=None, anger=0.03)
    assert ">Angry <span" in client.get("/desk/parts/queue").text, "the reason stays what it was"

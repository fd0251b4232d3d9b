"""The JSON API: who may do what to which conversation, and what comes of it."""
from __future__ import annotations

import itertools
import threading
from typing import Any

import pytest
from sqlalchemy import select

from crm_store.models import AuditEntry, Message
from crm_store.services.messages import history
from tests.desk.conftest import Desk

ACTIONS = ("claim", "takeover", "reply", "note", "resolve", "handback", "snooze")
BODIES: dict[str, dict[str, Any]] = {"reply": {"text": "您好"}, "note": {"text": "记一下"}}
HOSTILE_IDS = ("0", "-1", "abc", "1e3", "1.0", "9" * 30, "9" * 5000, "9223372036854775808", "%00", "1%20OR%201=1",
               "1;drop", "..%2f..", "<script>", "１２", "0x10", "null")


def texts(desk: Desk, conversation: int) -> list[tuple[str, str]]:
    with desk.store.read() as session:
        return [(m.direction, m.text) for m in session.execute(
            select(Message).where(Message.conversation_id == conversation).order_by(Message.id)).scalars()]


def audit(desk: Desk, action: str) -> list[AuditEntry]:
    with desk.store.read() as session:
        found = session.execute(select(AuditEntry).where(AuditEntry.action == action)).scalars().all()
        session.expunge_all()
        return list(found)


def test_nobody_gets_in_without_a_session(lite: Desk) -> None:
    conversation = lite.escalated("a")
    stranger = lite.client()
    for method, path in [("GET", "/api/me"), ("GET", "/api/queue"), ("GET", f"/api/conversations/{conversation}"),
                         ("POST", "/api/logout"), ("POST", "/api/me/availability"),
                         *(("POST", f"/api/conversations/{conversation}/{action}") for action in ACTIONS)]:
        answer = stranger.request(method, path, json={} if method == "POST" else None)
        assert answer.status_code == 401, path
        assert answer.json() == {"error": "not_logged_in", "message": "Please log in."}
        assert answer.headers["www-authenticate"] == "Bearer"
    for path in ("/desk", f"/desk?conversation={conversation}", "/manage", "/manage/logs",
                 f"/manage/logs/{conversation}", "/desk/parts/queue", "/desk/parts/notices",
                 f"/desk/parts/conversations/{conversation}"):
        assert stranger.get(path).headers["location"].startswith("/desk/login?next="), path
        assert stranger.get(path, headers={"X-Part": "live"}).status_code == 401, path
    assert stranger.get("/desk/stream").status_code == 401


@pytest.mark.parametrize("login, seen", [
    ("wang", {"own", "free"}), ("lee", {"lees", "free"}), ("zhang", {"own", "lees", "free"}), ("eva", {"free"}),
    ("ling", {"own", "lees", "free"}), ("root", {"own", "lees", "free"})])
def test_each_role_reaches_its_own_and_nothing_else(desk: Desk, login: str, seen: set[str]) -> None:
    """Eva leads another team, so that what 一线 has is a stranger's to her."""
    conversations = {"own": desk.escalated("a", assignee="wang"), "lees": desk.escalated("b", assignee="lee"),
                     "free": desk.escalated("c")}
    client = desk.client(login)
    queue = {row["conversation_id"] for row in client.get("/api/queue").json()["conversations"]}
    for name, conversation in conversations.items():
        expected = 200 if name in seen else 404
        for path in (f"/api/conversations/{conversation}", f"/desk?conversation={conversation}",
                     f"/desk/parts/conversations/{conversation}"):
            assert client.get(path).status_code == expected, (name, path)
        assert (conversation in queue) is (name in seen), name
        if expected == 404:
            for path in (f"/api/conversations/{conversation}/takeover", f"/api/conversations/{conversation}/note"):
                answer = client.post(path, json={"text": "x"} if path.endswith("note") else None)
                assert answer.status_code == 404, (name, path)
            assert client.get(f"/desk/stream?conversation={conversation}").status_code == 404
        log = client.get(f"/manage/logs/{conversation}").status_code
        assert log == (403 if login in ("wang", "lee") else expected), name
    assert client.get("/manage/logs").status_code == (403 if login in ("wang", "lee") else 200)
    assert client.get("/manage").status_code == (403 if login in ("wang", "lee") else 303)


@pytest.mark.parametrize("hostile", HOSTILE_IDS, ids=range(len(HOSTILE_IDS)))
def test_hostile_ids_are_simply_not_found(lite: Desk, hostile: str) -> None:
    client = lite.client("ling")
    for path in (f"/api/conversations/{hostile}", f"/desk/parts/conversations/{hostile}", f"/manage/logs/{hostile}"):
        assert client.get(path).status_code == 404, path
    for action in ACTIONS:
        assert client.post(f"/api/conversations/{hostile}/{action}",
                           json=BODIES.get(action)).status_code in (404, 405), action
    assert client.get("/desk", params={"conversation": hostile}).status_code in (200, 404)
    assert client.post(f"/desk/notices/{hostile}/seen").status_code in (204, 404)


def test_a_conversation_reads_as_the_contract_says_and_the_look_is_recorded_once(desk: Desk) -> None:
    customer = desk.customer("李雷", phone="13800138000", email="lilei@example.com", address="上海市徐汇区天平路 12 号")
    conversation = desk.escalated("a", customer_id=customer, buttons=({"title": "好", "payload": "/affirm"},))
    answer = desk.client("wang").get(f"/api/conversations/{conversation}").json()
    assert set(answer) == {"conversation", "messages", "customer", "tickets"}
    told = answer["conversation"]
    assert (told["id"], told["status"], told["owner"], told["assignee"]) == (conversation, "open", "human", None)
    first = answer["messages"][0]
    assert (first["direction"], first["author"], first["anger"]) == ("incoming", "customer", 0.94)
    assert first["understood"] == {"intent": "ask_refund_status", "confidence": 0.97, "language": "zh",
                                   "articles": [{"slug": "refund-times", "score": 0.83}]}
    assert [m["direction"] for m in answer["messages"]].count("note") == 1
    ticket, = answer["tickets"]
    assert ticket["kind"] == "handoff" and ticket["reason"] == "anger"
    assert {clock["promise"]: clock["state"] for clock in ticket["clocks"]}["first_response"] == "running"
    assert answer["customer"]["name"] == "李雷" and answer["customer"]["phone"] == "138****8000"
    assert "天平路" not in str(answer["customer"]) and "lilei@" not in str(answer["customer"])
    assert desk.client("ling").get(f"/api/conversations/{conversation}").json()["customer"]["phone"] == "13800138000"
    again = desk.client("wang")
    again.get(f"/api/conversations/{conversation}")
    again.get(f"/desk?conversation={conversation}")
    assert len(audit(desk, "look")) == 2
    desk.clock.move(minutes=11)
    again.get(f"/desk/parts/conversations/{conversation}")
    assert len(audit(desk, "look")) == 3


def test_a_guest_has_no_card(lite: Desk) -> None:
    conversation = lite.escalated("a")
    client = lite.client("wang")
    assert client.get(f"/api/conversations/{conversation}").json()["customer"] is None
    assert f"Guest {conversation}" in lite.client("lee").get(f"/desk?conversation={conversation}").text


def test_the_queue_is_ordered_by_due_time_and_counted(desk: Desk) -> None:
    later = desk.escalated("b", reason="asked", assignee="wang")
    desk.clock.move(minutes=5)
    latest = desk.escalated("c")
    client = desk.client("wang")
    answer = client.get("/api/queue").json()
    assert [row["conversation_id"] for row in answer["conversations"]] == [later, latest]
    assert answer["counts"] == {"mine": 1, "all": 2, "due": 2}
    assert answer["conversations"][0]["promise"] == "first_response"
    mine = client.get("/api/queue", params={"view": "mine"}).json()
    assert [row["conversation_id"] for row in mine["conversations"]] == [later]
    assert client.get("/api/queue", params={"view": "x' OR 1=1"}).json()["field"] == "view"
    assert client.get("/api/queue", params={"limit": "99999999999999999999"}).status_code == 422


def test_of_many_who_claim_at_once_one_gets_it_and_the_others_read_who(desk: Desk) -> None:
    conversation = desk.escalated("a")
    clients = [desk.client(login) for login in ("wang", "lee", "zhang", "ling", "root", "eva")]
    start, answers = threading.Barrier(len(clients)), []

    def claim(client: Any) -> None:
        start.wait()
        answers.append(client.post(f"/api/conversations/{conversation}/claim"))

    threads = [threading.Thread(target=claim, args=(client,)) for client in clients]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answer.status_code for answer in answers) == [200] + [409] * 5
    winner = next(a for a in answers if a.status_code == 200).json()["conversation"]["assignee"]["name"]
    for answer in answers:
        if answer.status_code == 409:
            assert answer.json()["owner"] == winner and winner in answer.json()["message"]
            assert answer.json()["error"] == "already_claimed"


def test_only_the_owner_replies_and_the_others_read_who_it_is(desk: Desk) -> None:
    conversation = desk.escalated("a", assignee="wang")
    for login, action in itertools.product(("lee", "zhang", "ling"), ("reply", "resolve", "handback", "snooze")):
        answer = desk.client(login).post(f"/api/conversations/{conversation}/{action}", json=BODIES.get(action))
        assert answer.status_code == 409, (login, action)
        assert answer.json()["owner"] == "王敏" and answer.json()["error"] == "not_owner"
    assert not [text for direction, text in texts(desk, conversation) if text == "您好"]
    answer = desk.client("wang").post(f"/api/conversations/{conversation}/reply", json={"text": " 您好 "})
    assert answer.status_code == 201
    assert answer.json()["message"]["text"] == "您好" and answer.json()["message"]["agent"]["name"] == "王敏"
    ticket = desk.client("wang").get(f"/api/conversations/{conversation}").json()["tickets"][0]
    assert {c["promise"]: c["state"] for c in ticket["clocks"]}["first_response"] == "met"


def test_what_the_bot_has_is_taken_over_before_it_is_answered(lite: Desk) -> None:
    conversation, _ = lite.says("a", "你好")
    client = lite.client("wang")
    refused = client.post(f"/api/conversations/{conversation}/reply", json={"text": "您好"})
    assert refused.status_code == 409 and refused.json()["owner"] is None
    assert client.get(f"/api/conversations/{conversation}").json()["conversation"]["owner"] == "bot"
    taken = client.post(f"/api/conversations/{conversation}/takeover").json()["conversation"]
    assert taken["owner"] == "human" and taken["assignee"]["name"] == "王敏" and taken["version"] == 2
    assert client.post(f"/api/conversations/{conversation}/reply", json={"text": "您好"}).status_code == 201


def test_a_lead_takes_over_from_a_colleague_who_is_told(lite: Desk) -> None:
    conversation = lite.escalated("a", assignee="wang")
    answer = lite.client("zhang").post(f"/api/conversations/{conversation}/takeover")
    assert answer.json()["conversation"]["assignee"]["name"] == "张伟"
    assert len(audit(lite, "take_over")) == 1
    wang = lite.client("wang")
    assert "张伟" in wang.get("/desk/parts/notices").text
    notice = wang.get("/desk/parts/notices").text.split('data-notice="')[1].split('"')[0]
    assert lite.client("lee").post(f"/desk/notices/{notice}/seen").status_code == 204
    assert "张伟" in wang.get("/desk/parts/notices").text, "a colleague cannot put my notices away"
    wang.post(f"/desk/notices/{notice}/seen")
    assert "张伟" not in wang.get("/desk/parts/notices").text


def test_a_note_is_never_sent(desk: Desk) -> None:
    conversation = desk.escalated("a", assignee="wang")
    answer = desk.client("zhang").post(f"/api/conversations/{conversation}/note", json={"text": "别告诉客户"})
    assert answer.status_code == 201
    assert answer.json()["message"]["direction"] == "note" and answer.json()["message"]["delivery_state"] is None
    with desk.store.read() as session:
        identity = session.execute(select(Message.identity_id)).scalars().first()
        assert "别告诉客户" not in [message.text for message in history(session, identity)]
    assert ("note", "别告诉客户") in texts(desk, conversation)


def test_resolving_closes_the_tickets_and_asks_for_a_rating(desk: Desk) -> None:
    conversation = desk.escalated("a", assignee="wang")
    client = desk.client("wang")
    answer = client.post(f"/api/conversations/{conversation}/resolve", json={"cause": "compensated"})
    assert answer.json()["conversation"]["status"] == "resolved"
    read = client.get(f"/api/conversations/{conversation}").json()
    assert [ticket["status"] for ticket in read["tickets"]] == ["resolved"]
    assert len(read["messages"][-1]["buttons"]) == 5
    again = client.post(f"/api/conversations/{conversation}/resolve")
    assert again.status_code == 409 and again.json()["error"] == "wrong_state"
    assert client.post(f"/api/conversations/{conversation}/claim").status_code == 409
    assert audit(desk, "resolve")[0].data == {"cause": "compensated"}


def test_handing_back_gives_it_to_the_bot_and_snoozing_waits(lite: Desk) -> None:
    conversation = lite.escalated("a", assignee="wang")
    client = lite.client("wang")
    assert client.post(f"/api/conversations/{conversation}/snooze").json()["conversation"]["status"] == "snoozed"
    assert client.post(f"/api/conversations/{conversation}/snooze",
                       json={"until": "2026-11-18T12:00:00"}).json()["field"] == "until"
    assert client.post(f"/api/conversations/{conversation}/snooze",
                       json={"until": "2020-01-01T00:00:00Z"}).status_code == 409
    told = client.post(f"/api/conversations/{conversation}/handback").json()["conversation"]
    assert (told["status"], told["owner"], told["assignee"]) == ("pending", "bot", None)


@pytest.mark.parametrize("body, field, error", [
    ({"text": ""}, "text", "invalid"), ({"text": " \n "}, "text", "empty"), ({"text": "\u200b\u202e"}, "text", "empty"),
    ({"text": "x" * 4001}, "text", "too_long"), ({}, "text", "invalid"), ({"text": 5, "more": 1}, "more", "invalid"),
    ({"text": None}, "text", "invalid"), ({"text": ["x"]}, "text", "invalid"), ([], "text", "invalid"),
    ("text", None, "invalid")])
def test_a_text_that_cannot_be_accepted_is_named(lite: Desk, body: Any, field: str | None, error: str) -> None:
    conversation = lite.escalated("a", assignee="wang")
    for action in ("reply", "note"):
        answer = lite.client("wang").post(f"/api/conversations/{conversation}/{action}", json=body)
        assert answer.status_code == 422, answer.text
        assert answer.json().get("field") == field and answer.json()["error"] == error
        assert answer.json()["message"]


@pytest.mark.parametrize("content", [b"{", b"\xff\xfe", b"[" * 20_000, b'"\\ud800"', b'{"text": "\\ud800"}', b"null"],
    ids=["cut", "no text", "deep", "lone", "lone text", "null"])
def test_a_body_that_cannot_be_read_is_refused(lite: Desk, content: bytes) -> None:
    conversation = lite.escalated("a", assignee="wang")
    answer = lite.client("wang").post(f"/api/conversations/{conversation}/reply", content=content,
                                      headers={"Content-Type": "application/json"})
    assert answer.status_code in (400, 422) and set(answer.json()) <= {"error", "message", "field"}


def test_refusals_speak_the_readers_language(lite: Desk) -> None:
    conversation = lite.escalated("a", assignee="wang")
    client = lite.client("lee")
    assert "has this conversation" in client.post(
        f"/api/conversations/{conversation}/reply", json={"text": "x"}).json()["message"]
    client.post("/desk/language", data={"language": "zh", "back": "/desk"})
    assert "正在处理" in client.post(
        f"/api/conversations/{conversation}/reply", json={"text": "x"}).json()["message"]


def test_availability_is_the_agents_own(lite: Desk) -> None:
    client = lite.client("wang")
    assert client.post("/api/me/availability", json={"available": True}).json()["agent"]["available"] is True
    assert client.get("/api/me").json()["agent"]["available"] is True
    assert lite.client("lee").get("/api/me").json()["agent"]["available"] is False
    assert client.post("/desk/availability", data={"available": "false"}).status_code == 303
    assert client.get("/api/me").json()["agent"]["available"] is False


def test_the_process_is_nudged_after_every_change_and_only_then(lite: Desk) -> None:
    conversation = lite.escalated("a")
    client = lite.client("wang")
    lite.nudges.clear()
    client.get(f"/api/conversations/{conversation}")
    client.post(f"/api/conversations/{conversation}/reply", json={"text": ""})
    assert not lite.nudges
    client.post(f"/api/conversations/{conversation}/reply", json={"text": "您好"})
    assert len(lite.nudges) == 1


def test_the_api_describes_itself(lite: Desk) -> None:
    described = lite.client().get("/api/openapi.json").json()
    paths = described["paths"]
    for action in ACTIONS:
        answers = paths[f"/api/conversations/{{conversation_id}}/{action}"]["post"]["responses"]
        assert {"401", "403", "404", "409", "422"} <= set(answers)
        assert answers["409"]["content"]["application/json"]["schema"]["$ref"].endswith("ProblemOut")
    assert described["components"]["schemas"]["TextIn"]["properties"]["text"]["maxLength"] == 4000
    assert not [path for path in paths if path.startswith(("/desk", "/manage"))]

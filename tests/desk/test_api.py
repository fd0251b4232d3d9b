"""The JSON API: who may do what to which conversation, and what comes of it."""
from __future__ import annotations

import itertools
import json
import threading
from typing import Any

import pytest
from sqlalchemy import select

from crm_store.models import AuditEntry, Message, SupportAgent, Team, Ticket
from crm_store.services.complaints import file_complaint
from crm_store.services.messages import history
from tests.desk.conftest import Desk

ACTIONS = ("claim", "takeover", "reply", "note", "resolve", "handback", "snooze", "transfer")
BODIES: dict[str, dict[str, Any]] = {
    "reply": {"text": "您好"}, "note": {"text": "记一下"}, "transfer": {"to_agent_id": 2}}
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
    for path in (f"/api/conversations/{hostile}", f"/desk/parts/conversations/{hostile}", f"/manage/logs/{hostile}",
                 f"/api/conversations/{hostile}/transfer"):
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
    assert answer["counts"] == {"mine": 1, "all": 2, "due": 2, "snoozed": 0}
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
    for never in ("9999-12-31T23:00:00Z", "9999-12-31T23:00:00-12:00"):  # no page could show it
        assert client.post(f"/api/conversations/{conversation}/snooze", json={"until": never}).status_code == 409
    assert client.get("/desk?view=snoozed").status_code == 200
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
    assert described["components"]["schemas"]["WritingIn"]["properties"]["text"]["maxLength"] == 4000
    assert not [path for path in paths if path.startswith(("/desk", "/manage"))]


def team_id(desk: Desk, name: str) -> int:
    with desk.store.read() as session:
        return int(session.execute(select(Team.id).where(Team.name == name)).scalar_one())


def complaint(desk: Desk, sender: str, what: str = "太慢了") -> tuple[int, int]:
    conversation, message = desk.says(sender, what)
    with desk.store.write() as session:
        ticket = file_complaint(session, conversation_id=conversation, message_id=message, what=what, wish=None,
                                now=desk.clock())
        return conversation, int(ticket.id)


def test_a_reply_sent_again_under_its_key_is_stored_once(desk: Desk) -> None:
    conversation = desk.escalated("a", assignee="wang")
    client, path = desk.client("wang"), f"/api/conversations/{conversation}/reply"
    body = {"text": "您好", "idempotency_key": "3f0c1d2e-1"}
    first, again = client.post(path, json=body), client.post(path, json=body)
    assert (first.status_code, again.status_code) == (201, 201)
    assert first.json()["message"]["id"] == again.json()["message"]["id"]
    other = client.post(path, json={**body, "text": "别的"})
    assert other.status_code == 422 and other.json()["field"] == "idempotency_key"
    for key in ("", "short", "k" * 81, "with\u0000nul", "lone\ud800surrogate", ["x"]):
        refused = client.post(path, content=json.dumps({"text": "您好", "idempotency_key": key}),
                              headers={"Content-Type": "application/json"})
        assert refused.status_code in (400, 422), key
    assert [text for direction, text in texts(desk, conversation) if direction == "outgoing"].count("您好") == 1


def test_a_conversation_is_passed_on_to_a_colleague_who_is_told(desk: Desk) -> None:
    conversation = desk.escalated("a", assignee="wang")
    client, lee = desk.client("wang"), desk.agent("lee")
    told = client.get(f"/api/conversations/{conversation}/transfer").json()
    assert {team["name"]: team["level"] for team in told["teams"]} == {"一线": "front_line", "Experts": "experts"}
    assert "王敏" not in {agent["name"] for agent in told["agents"]}
    target = next(agent for agent in told["agents"] if agent["id"] == lee.id)
    assert target == {"id": lee.id, "name": "Lee Park", "role": "agent", "team_id": lee.team_id, "team_name": "一线",
                      "languages": ["zh", "en"], "available": False, "open_count": 0, "capacity": 6, "free": False}
    answer = client.post(f"/api/conversations/{conversation}/transfer",
                         json={"to_agent_id": lee.id, "note": "<b>客户</b>要英文"})
    assert answer.status_code == 200
    assert answer.json()["conversation"]["assignee"] == {"id": lee.id, "name": "Lee Park"}
    assert answer.json()["conversation"]["version"] == 4
    again = client.post(f"/api/conversations/{conversation}/transfer", json={"to_agent_id": lee.id})
    assert again.status_code == 409 and again.json()["owner"] == "Lee Park"
    late = client.post(f"/api/conversations/{conversation}/reply", json={"text": "还有"})
    assert late.status_code == 409 and late.json()["error"] == "not_owner"
    assert texts(desk, conversation)[-1] == ("note", "王敏 passed this on to Lee Park.\n<b>客户</b>要英文")
    page = desk.client("lee").get(f"/desk?conversation={conversation}").text
    assert "<b>客户" not in page and "&lt;b&gt;客户" in page


def test_a_conversation_is_passed_on_to_a_team_and_waits_there(desk: Desk) -> None:
    conversation = desk.escalated("a", assignee="wang")
    answer = desk.client("zhang").post(f"/api/conversations/{conversation}/transfer",
                                       json={"to_team_id": team_id(desk, "Experts")})
    assert answer.status_code == 200
    assert (answer.json()["conversation"]["status"], answer.json()["conversation"]["assignee"]) == ("open", None)
    late = desk.client("wang").post(f"/api/conversations/{conversation}/reply", json={"text": "还有"})
    assert late.status_code == 409 and late.json()["owner"] == "Experts" and "Experts" in late.json()["message"]
    assert desk.client("wang").post(f"/api/conversations/{conversation}/claim").status_code == 200


@pytest.mark.parametrize("login, status", [("wang", 200), ("lee", 409), ("zhang", 200), ("eva", 409), ("ling", 200),
                                           ("root", 200)])
def test_who_passes_a_conversation_on(lite: Desk, login: str, status: int) -> None:
    conversation = lite.escalated("a", assignee="wang")
    path = f"/api/conversations/{conversation}/transfer"
    client = lite.client(login)
    assert client.get(path).status_code == (404 if status == 409 else 200)
    answer = client.post(path, json={"to_team_id": team_id(lite, "Experts")})
    assert answer.status_code == status, answer.text
    if status == 409:
        assert answer.json()["owner"] == "王敏" and not audit(lite, "transfer")


@pytest.mark.parametrize("body, field", [
    ({}, "to_agent_id"), ({"to_agent_id": 2, "to_team_id": 1}, "to_agent_id"), ({"to_agent_id": None}, "to_agent_id"),
    ({"to_agent_id": 999}, "to_agent_id"), ({"to_team_id": 999}, "to_team_id"), ({"to_agent_id": 0}, "to_agent_id"),
    ({"to_agent_id": -1}, "to_agent_id"), ({"to_agent_id": 2**63}, "to_agent_id"),
    ({"to_agent_id": "2"}, "to_agent_id"), ({"to_team_id": 2**63 - 1}, "to_team_id"),
    ({"to_team_id": True}, "to_team_id"), ({"to_team_id": 1.5}, "to_team_id"),
    ({"to_agent_id": 2, "note": "x" * 1001}, "note"), ({"to_agent_id": 2, "note": None}, "note"),
    ({"to_agent_id": 2, "assignee": 3}, "assignee")])
def test_a_target_that_is_none_is_named(lite: Desk, body: dict[str, Any], field: str) -> None:
    conversation = lite.escalated("a", assignee="wang")
    answer = lite.client("wang").post(f"/api/conversations/{conversation}/transfer", json=body)
    assert answer.status_code == 422 and answer.json()["field"] == field, answer.text
    assert not audit(lite, "transfer")


def test_what_the_bot_has_what_is_resolved_and_who_has_left_are_no_transfer(lite: Desk) -> None:
    pending, _ = lite.says("b", "你好")
    client, lee = lite.client("ling"), lite.agent("lee").id
    refused = client.post(f"/api/conversations/{pending}/transfer", json={"to_agent_id": lee})
    assert refused.status_code == 409 and refused.json()["owner"] is None
    conversation = lite.escalated("a", assignee="wang")
    with lite.store.write() as session:
        session.get(SupportAgent, lee).active = False
    gone = client.post(f"/api/conversations/{conversation}/transfer", json={"to_agent_id": lee})
    assert gone.status_code == 422 and gone.json()["field"] == "to_agent_id"
    assert lee not in {a["id"] for a in client.get(f"/api/conversations/{conversation}/transfer").json()["agents"]}
    lite.client("wang").post(f"/api/conversations/{conversation}/resolve")
    over = client.post(f"/api/conversations/{conversation}/transfer", json={"to_team_id": 1})
    assert over.status_code == 409 and over.json()["error"] == "wrong_state"


def test_a_grade_is_changed_with_a_reason_by_who_has_the_complaint_or_leads(desk: Desk) -> None:
    conversation, ticket = complaint(desk, "a")
    path = f"/api/conversations/{conversation}/tickets/{ticket}/grade"
    wang = desk.client("wang")
    body = {"grade": "complex", "reason": "两个部门 <script>"}
    assert wang.post(path, json=body).status_code == 409  # the bot has it
    wang.post(f"/api/conversations/{conversation}/takeover")
    answer = wang.post(path, json=body)
    assert answer.status_code == 200
    assert (answer.json()["ticket"]["id"], answer.json()["ticket"]["grade"]) == (ticket, "complex")
    assert answer.json()["conversation"]["version"] == 2
    assert ("note", f"投诉 {answer.json()['ticket']['number']} 等级：普通 → 复杂。\n两个部门 <script>") in texts(
        desk, conversation)
    read = wang.get(f"/api/conversations/{conversation}").json()["tickets"]
    assert [(t["id"], t["grade"]) for t in read] == [(ticket, "complex")]
    for login, status in (("lee", 404), ("zhang", 200), ("ling", 200)):
        assert desk.client(login).post(path, json={**body, "grade": "ordinary"}).status_code == status, login
    (first, second) = audit(desk, "change_grade")
    assert first.data == {"from": "ordinary", "to": "complex", "reason": "两个部门 <script>"}
    assert second.actor_id == desk.agent("zhang").id
    wang.post(f"/api/conversations/{conversation}/resolve")
    assert wang.post(path, json=body).status_code == 409


def test_a_complaint_raised_to_major_leaves_the_bot(lite: Desk) -> None:
    conversation, ticket = complaint(lite, "a")
    answer = lite.client("ling").post(f"/api/conversations/{conversation}/tickets/{ticket}/grade",
                                      json={"grade": "major", "reason": "客户受伤"}).json()
    assert (answer["conversation"]["owner"], answer["conversation"]["version"]) == ("human", 2)


@pytest.mark.parametrize("body, field", [
    ({"grade": "complex"}, "reason"), ({"grade": "complex", "reason": ""}, "reason"),
    ({"grade": "complex", "reason": " \u200b\n"}, "reason"), ({"grade": "complex", "reason": "x" * 501}, "reason"),
    ({"grade": "terrible", "reason": "x"}, "grade"), ({"reason": "x"}, "grade"),
    ({"grade": None, "reason": "x"}, "grade"),
    ({"grade": "complex", "reason": "x", "clock": 1}, "clock")])
def test_a_grade_that_cannot_be_accepted_is_named(lite: Desk, body: dict[str, Any], field: str) -> None:
    conversation, ticket = complaint(lite, "a")
    answer = lite.client("ling").post(f"/api/conversations/{conversation}/tickets/{ticket}/grade", json=body)
    assert answer.status_code == 422 and answer.json()["field"] == field, answer.text
    assert not audit(lite, "change_grade")


def test_only_a_complaint_of_this_conversation_has_a_grade(lite: Desk) -> None:
    conversation, ticket = complaint(lite, "a")
    handed_over = lite.escalated("b")
    with lite.store.read() as session:
        handoff_ticket = session.execute(select(Ticket.id).where(Ticket.kind == "handoff")).scalar_one()
    client, body = lite.client("ling"), {"grade": "major", "reason": "x"}
    for talk, number in ((handed_over, ticket), (handed_over, handoff_ticket), (conversation, 999), (999, ticket),
                         *((conversation, hostile) for hostile in HOSTILE_IDS)):
        assert client.post(f"/api/conversations/{talk}/tickets/{number}/grade", json=body).status_code == 404, number
    assert lite.client().post(f"/api/conversations/{conversation}/tickets/{ticket}/grade", json=body).status_code == 401
    assert not audit(lite, "change_grade")


def test_a_proposal_goes_to_the_customer_once_and_is_told_once(desk: Desk) -> None:
    conversation, ticket = complaint(desk, "a")
    path = f"/api/conversations/{conversation}/tickets/{ticket}/proposal"
    wang, body = desk.client("wang"), {"text": "退您 30 元 <script>", "idempotency_key": "0123456789abcdef"}
    refused = wang.post(path, json=body)
    assert refused.status_code == 409 and refused.json()["owner"] is None  # the bot has it
    wang.post(f"/api/conversations/{conversation}/takeover")
    first, again = wang.post(path, json=body), wang.post(path, json=body)
    assert first.status_code == again.status_code == 201
    assert first.json()["message"]["id"] == again.json()["message"]["id"]
    assert (first.json()["ticket"]["id"], first.json()["ticket"]["stage"]) == (ticket, "proposal")
    other = wang.post(path, json={"text": "或者退您 40 元"})
    assert other.status_code == 201 and other.json()["ticket"]["stage"] == "proposal"
    told = [text for direction, text in texts(desk, conversation) if direction == "outgoing"]
    assert told.count(body["text"]) == told.count("或者退您 40 元") == 1
    assert sum("已有处理方案" in text for text in told) == 1
    assert [entry.object_id for entry in audit(desk, "propose_solution")] == [str(ticket)]
    assert wang.post(path, json={**body, "text": "不同"}).status_code == 422
    refused = desk.client("lee").post(path, json={"text": "x"})
    assert refused.status_code == 409 and refused.json()["owner"] == "王敏"
    wang.post(f"/api/conversations/{conversation}/resolve")
    before = texts(desk, conversation)
    assert wang.post(path, json={"text": "还有"}).status_code == 409
    assert texts(desk, conversation) == before, "what is refused sends nothing"


@pytest.mark.parametrize("body, field", [
    ({}, "text"), ({"text": ""}, "text"), ({"text": " \u200b\n"}, "text"), ({"text": "x" * 4001}, "text"),
    ({"text": None}, "text"), ({"text": "x", "idempotency_key": "short"}, "idempotency_key"),
    ({"text": "x", "stage": "proposal"}, "stage")])
def test_a_proposal_that_cannot_be_accepted_is_named(lite: Desk, body: dict[str, Any], field: str) -> None:
    conversation, ticket = complaint(lite, "a")
    client = lite.client("wang")
    client.post(f"/api/conversations/{conversation}/takeover")
    answer = client.post(f"/api/conversations/{conversation}/tickets/{ticket}/proposal", json=body)
    assert answer.status_code == 422 and answer.json()["field"] == field, answer.text
    assert not audit(lite, "propose_solution")


def test_only_a_complaint_of_this_conversation_gets_a_proposal(lite: Desk) -> None:
    conversation, ticket = complaint(lite, "a")
    handed_over = lite.escalated("b", assignee="ling")
    with lite.store.read() as session:
        handoff_ticket = session.execute(select(Ticket.id).where(Ticket.kind == "handoff")).scalar_one()
    client, before = lite.client("ling"), texts(lite, handed_over)
    client.post(f"/api/conversations/{conversation}/takeover")
    for talk, number in ((handed_over, ticket), (handed_over, handoff_ticket), (conversation, 999), (999, ticket),
                         *((conversation, hostile) for hostile in HOSTILE_IDS)):
        answer = client.post(f"/api/conversations/{talk}/tickets/{number}/proposal", json={"text": "x"})
        assert answer.status_code in (404, 405), number
    assert texts(lite, handed_over) == before and not audit(lite, "propose_solution")

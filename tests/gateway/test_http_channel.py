from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from sqlalchemy import func, select
from sqlalchemy.exc import OperationalError

from crm_store.models import ChannelIdentity, Conversation, Message
from crm_store.services.handoff import (
    escalate_conversation,
    reply_to_customer,
    resolve_conversation,
    take_over_conversation,
)
from gateway.http_channel import PATH
from tests.gateway.conftest import HTTP_TOKEN, BotDouble, Gateway, Records

BUTTON = {"title": "查积分", "payload": '/ask_points_balance{"which":"mine"}'}


def raw(gateway: Gateway, content: bytes, token: str | None = HTTP_TOKEN) -> httpx.Response:
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token is not None else {})
    return httpx.post(gateway.base + PATH, content=content, headers=headers, timeout=20)


def count_of(records: Records, model: Any) -> int:
    with records.store.read() as session:
        return int(session.execute(select(func.count()).select_from(model)).scalar_one())


def test_a_message_and_its_answer(gateway_on_each: Gateway, bot: BotDouble) -> None:
    bot.answer = lambda body: ["早上好", {"text": "还有什么？", "buttons": [BUTTON]}]
    answer = gateway_on_each.post("你好")
    assert answer.status_code == 200
    body = answer.json()
    assert body["owner"] == "bot" and body["conversation_id"] == gateway_on_each.records.conversation().id
    assert [(r["text"], r["buttons"]) for r in body["replies"]] == [("早上好", []), ("还有什么？", [BUTTON])]
    assert body["understood"] == {"intent": "greet", "confidence": 0.93, "language": "zh",
                                  "sentiment": {"anger": 0.1, "valence": "neutral"}}
    for reply in body["replies"]:
        stored = gateway_on_each.records.one(Message, Message.id == reply["id"])
        assert stored.delivery_state == "delivered" and stored.delivered_at == gateway_on_each.records.clock()


def test_anger_that_could_not_be_measured_is_null(gateway: Gateway, bot: BotDouble) -> None:
    bot.answer = lambda body: {"replies": [{"text": "好"}], "understood": {
        "intent": "greet", "confidence": 0.9, "language": "zh", "sentiment": None, "entities": [], "articles": []}}
    assert gateway.post().json()["understood"]["sentiment"] is None


def test_the_same_message_again_gets_the_same_answer_and_runs_nothing(gateway_on_each: Gateway, bot: BotDouble) -> None:
    first = gateway_on_each.post("你好", message_id="same").json()
    again = gateway_on_each.post("你好", message_id="same").json()
    other_text = gateway_on_each.post("something else", message_id="same").json()
    assert first == again == other_text
    assert len(bot.knocks) == 1 and count_of(gateway_on_each.records, Message) == 2


def test_the_same_message_many_times_at_once(gateway_on_each: Gateway, bot: BotDouble) -> None:
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: gateway_on_each.post("你好", message_id="same"), range(8)))
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.text for answer in answers}) == 1 and len(bot.knocks) == 1


def test_the_same_message_id_of_another_sender_is_another_message(gateway: Gateway) -> None:
    one, other = (gateway.post("你好", sender=sender, message_id="same").json() for sender in ("ada", "bob"))
    assert one["conversation_id"] != other["conversation_id"]


def test_two_messages_of_one_sender_at_once_are_answered_one_after_the_other(
        gateway_on_each: Gateway, bot: BotDouble) -> None:
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda n: gateway_on_each.post(f"message {n}"), range(6)))
    assert all(answer.status_code == 200 for answer in answers)
    assert [answer.json()["replies"][0]["text"] for answer in answers] == [f"re: message {n}" for n in range(6)]
    assert not bot.overlapped
    ids = [knock["message_id"] for knock in bot.knocks]
    assert ids == sorted(ids)
    assert count_of(gateway_on_each.records, Conversation) == count_of(gateway_on_each.records, ChannelIdentity) == 1


def test_a_bot_that_is_down_keeps_the_message_and_answers_once_later(gateway_on_each: Gateway, bot: BotDouble) -> None:
    records = gateway_on_each.records
    bot.stop()
    answer = gateway_on_each.post("几点营业", message_id="late")
    assert answer.status_code == 202
    assert answer.json() == {"conversation_id": records.conversation().id, "owner": "bot", "status": "stored"}
    assert gateway_on_each.poll().json()["messages"] == []
    bot.start()
    records.clock.advance(seconds=6)
    again = gateway_on_each.post("几点营业", message_id="late")
    while again.status_code == 202:  # the attempt that was under way when the bot came back
        records.clock.advance(seconds=6)
        again = gateway_on_each.post("几点营业", message_id="late")
    assert [reply["text"] for reply in again.json()["replies"]] == ["re: 几点营业"]
    (polled,) = gateway_on_each.poll().json()["messages"]
    assert polled["text"] == "re: 几点营业" and polled["author"] == "bot" and polled["in_reply_to"]
    assert len(bot.knocks) == 1


def test_a_slow_bot_answers_later(sqlite_records: Records, bot: BotDouble) -> None:
    running = Gateway(sqlite_records, bot, bot_timeout=2)
    go_on = threading.Event()
    bot.before = lambda body: go_on.wait(10) and None  # type: ignore[func-returns-value]
    try:
        assert running.post("慢", message_id="slow").status_code == 202
        go_on.set()
        sqlite_records.clock.advance(seconds=6)
        again = running.post("慢", message_id="slow")
        while again.status_code == 202:
            sqlite_records.clock.advance(seconds=6)
            again = running.post("慢", message_id="slow")
        assert again.json()["replies"][0]["text"] == "re: 慢" and set(bot.ran.values()) == {1}
    finally:
        running.close()


def test_a_human_who_owns_it_answers_by_polling(gateway_on_each: Gateway, bot: BotDouble) -> None:
    records = gateway_on_each.records
    conversation_id = gateway_on_each.post("你好").json()["conversation_id"]
    agent = records.agent()
    records.do(take_over_conversation, conversation_id, agent, records.clock())
    answer = gateway_on_each.post("有人吗").json()
    assert answer["owner"] == "human" and answer["replies"] == [] and answer["understood"]["intent"] == "greet"
    reply = records.do(reply_to_customer, conversation_id, agent, "我是王敏", records.clock())
    polled = gateway_on_each.poll(after=reply.id - 1).json()
    assert polled["owner"] == "human"
    (message,) = polled["messages"]
    assert (message["author"], message["agent"], message["text"]) == ("agent", "王敏", "我是王敏")
    assert records.one(Message, Message.id == reply.id).delivery_state == "delivered"
    assert gateway_on_each.poll(after=reply.id).json()["messages"] == []


def test_the_notice_of_a_handover_is_the_answer(gateway: Gateway, bot: BotDouble) -> None:
    records = gateway.records
    bot.before = lambda body: records.do(
        escalate_conversation, conversation_id=body["conversation_id"], reason="asked", now=records.clock(),
        message_id=body["message_id"]) and None
    bot.answer = lambda body: []
    answer = gateway.post("转人工").json()
    assert answer["owner"] == "human"
    (reply,) = answer["replies"]
    assert "工单号" in reply["text"]


def test_a_rating_needs_no_bot(gateway: Gateway, bot: BotDouble) -> None:
    records = gateway.records
    conversation_id = gateway.post("你好").json()["conversation_id"]
    agent = records.agent()
    records.do(take_over_conversation, conversation_id, agent, records.clock())
    records.do(resolve_conversation, conversation_id, agent, records.clock())
    question = gateway.poll().json()["messages"][-1]
    assert len(question["buttons"]) == 5
    heard = len(bot.knocks)
    answer = gateway.post("", payload=question["buttons"][0]["payload"])
    assert answer.status_code == 200 and answer.json()["understood"] is None
    assert len(answer.json()["replies"]) == 1 and len(bot.knocks) == heard


def test_polling_gives_a_page_at_a_time(gateway: Gateway) -> None:
    for number in range(5):
        gateway.post(str(number))
    first = gateway.poll(limit=3).json()
    rest = gateway.poll(limit=3, after=first["messages"][-1]["id"]).json()
    assert [m["text"] for m in first["messages"] + rest["messages"]] == [f"re: {n}" for n in range(5)]
    assert first["more"] and not rest["more"]


def test_polling_shows_nobody_elses_messages(gateway: Gateway) -> None:
    gateway.post("你好", sender="ada")
    assert gateway.poll("bob").json() == {"conversation_id": None, "owner": "bot", "messages": [], "more": False}


# What must not come in


@pytest.mark.parametrize("token", [
    None, "wrong", HTTP_TOKEN + "x", HTTP_TOKEN[:-1], "ключ".encode().decode("latin-1")])
def test_a_wrong_token_is_refused_before_anything_is_read(gateway: Gateway, token: str | None) -> None:
    answer = raw(gateway, b"{", token.encode("latin-1") if token else token)  # type: ignore[arg-type]
    assert answer.status_code == 401 and answer.json()["error"] == "unauthorized"
    assert answer.headers["www-authenticate"] == "Bearer"
    assert count_of(gateway.records, Message) == 0


def test_polling_needs_the_token_too(gateway: Gateway) -> None:
    assert httpx.get(gateway.base + PATH).status_code == 401


def test_without_a_token_of_its_own_the_channel_is_closed(sqlite_records: Records, bot: BotDouble) -> None:
    running = Gateway(sqlite_records, bot, http_token="")
    try:
        assert raw(running, b"{}", None).status_code == 401
        answer = httpx.post(running.base + PATH, content=b"{}", headers={"Authorization": "Basic Og=="})
        assert answer.status_code == 401
    finally:
        running.close()


@pytest.mark.parametrize(("text", "field"), [
    ("", "text"), (" \n\t ", "text"), ("\u200b\u200d\ufeff", "text"), ("\u0000\u0007", "text"), ("\ud800", "text"),
    ("\u3000\u2800", "text"), (None, "text"), (5, "text"), (["a"], "text"), ({"a": 1}, "text"), (True, "text"),
])
def test_a_text_that_says_nothing_is_refused(gateway: Gateway, text: Any, field: str) -> None:
    answer = gateway.post(text)
    assert answer.status_code == 422, answer.text
    assert answer.json()["field"] == field and answer.json()["error"] and answer.json()["message"]
    assert count_of(gateway.records, Message) == 0


@pytest.mark.parametrize("fields", [
    {"sender": ""}, {"sender": "  "}, {"sender": "a\nb"}, {"sender": "a\u0000"}, {"sender": "\udc00"},
    {"sender": "s" * 201}, {"sender": 7}, {"sender": None}, {"message_id": "x" * 201}, {"message_id": "a\u0007b"},
    {"message_id": "\ud83d"},
    {"message_id": " "}, {"message_id": 12}, {"message_id": ["m"]}, {"payload": 5}, {"payload": {"a": 1}},
])
def test_ids_nobody_can_keep_are_refused(gateway: Gateway, fields: dict[str, Any]) -> None:
    body = {"sender": "ada", "message_id": "m1", "text": "你好", **fields}
    answer = raw(gateway, json.dumps(body).encode())
    assert answer.status_code == 422, answer.text
    assert answer.json()["field"] == next(iter(fields))
    assert count_of(gateway.records, ChannelIdentity) == 0


@pytest.mark.parametrize("field", ["sender", "message_id", "text"])
def test_a_missing_field_is_named(gateway: Gateway, field: str) -> None:
    body = {"sender": "ada", "message_id": "m1", "text": "你好"}
    del body[field]
    answer = raw(gateway, json.dumps(body).encode())
    assert answer.status_code == 422 and answer.json()["field"] == field and answer.json()["error"] == "missing"


@pytest.mark.parametrize("content", [
    b"", b"{", b"[]", b"null", b'"text"', b"\xff\xfe\x00", b'{"sender": "a", "sender"', b"[" * 30_000,
    b'{"a":' * 9_000, b"\x00", "{“sender”: 1}".encode(), b'{"text": ' + b"9" * 9_000 + b"}",
])
def test_what_is_no_json_object_is_refused(gateway: Gateway, content: bytes) -> None:
    answer = raw(gateway, content)
    assert answer.status_code == 422 and answer.json()["error"] in ("invalid_json", "missing")


@pytest.mark.parametrize("text", [
    "a" * 4001, "退" * 4001, "😀" * 4001, "a" * 100_000, "退款" * 50_000, "\u200b" * 90_000 + "a",
])
def test_a_text_too_long_is_refused(gateway: Gateway, text: str) -> None:
    answer = gateway.post(text)
    assert answer.status_code == 413 and answer.json()["error"] == "too_long"
    assert count_of(gateway.records, Message) == 0


@pytest.mark.parametrize("text", ["a" * 4000, "退" * 4000, "😀" * 4000])
def test_the_longest_text_is_taken(gateway: Gateway, text: str) -> None:
    assert gateway.post(text).status_code == 200
    assert gateway.records.one(Message, Message.direction == "incoming").text == text


@pytest.mark.parametrize("size", [70_000, 2_000_000])
def test_a_huge_body_is_refused_announced_or_not(gateway: Gateway, size: int) -> None:
    assert raw(gateway, b" " * size).status_code == 413

    def trickle() -> Any:
        for _ in range(0, min(size, 900_000), 10_000):
            yield b" " * 10_000

    answer = httpx.post(gateway.base + PATH, content=trickle(), headers={"Authorization": f"Bearer {HTTP_TOKEN}"})
    assert answer.status_code == 413


@pytest.mark.parametrize(("text", "kept"), [
    ("\u202e\u2066dlrow\u2069\u202c hello", "dlrow hello"), ("re\u200bfund\ufeff please", "refund please"),
    ("a\u0000b\u0008c\x1b[31m", "abc[31m"), ("ok \ud800 then", "ok  then"), ("عايز أرجع الطلب", "عايز أرجع الطلب"),
    ("👩‍👩‍👧‍👦", "👩‍👩‍👧‍👦"), ("😡😡😡", "😡😡😡"), ("line one\r\nline two", "line one\nline two"),
    ("<script>alert(1)</script>", "<script>alert(1)</script>"),
    ("'; DROP TABLE messages; --", "'; DROP TABLE messages; --"),
    ("{{7*7}} ${7*7} %s", "{{7*7}} ${7*7} %s"), ("e\u0301", "é"), ("/restart", "/restart"),
    ("/session_start", "/session_start"), ("/inform{}", "/inform{}"),
    ('/inform{"order_number": "WL20261018004"}', '/inform{"order_number": "WL20261018004"}'),
    ("\u200b/restart", "/restart"),
])
def test_strange_text_is_text(gateway: Gateway, bot: BotDouble, text: str, kept: str) -> None:
    answer = gateway.post(text)
    assert answer.status_code == 200, answer.text
    (knock,) = bot.knocks
    assert knock["text"] == kept and knock["payload"] is None and knock["mode"] == "turn"
    assert answer.json()["replies"][0]["text"] == f"re: {kept}"
    assert count_of(gateway.records, Message) == 2


@pytest.mark.parametrize("sender", [
    "<b>ada</b>", "'; DROP TABLE customers; --", "../../etc/passwd", "用户 😀", "x" * 200])
def test_strange_senders_are_only_names(gateway: Gateway, sender: str) -> None:
    assert gateway.post("你好", sender=sender).status_code == 200
    assert gateway.records.one(ChannelIdentity).external_id == sender
    assert len(gateway.poll(sender).json()["messages"]) == 1


def test_a_button_counts_only_if_it_was_offered(gateway: Gateway, bot: BotDouble) -> None:
    bot.answer = lambda body: [{"text": "?", "buttons": [BUTTON]}]
    for payload in ("/restart", "/ask_points_balance", '/rate{"score": 5}', "x" * 600, "\ud800", "/" * 500, ""):
        assert gateway.post("按下", sender="bob", payload=payload).status_code == 200
    assert {knock["payload"] for knock in bot.knocks} == {None}
    gateway.post("你好")
    gateway.post("查积分", payload=BUTTON["payload"])
    assert bot.knocks[-1]["payload"] == BUTTON["payload"]
    gateway.post("", payload=BUTTON["payload"])
    assert bot.knocks[-1]["payload"] == BUTTON["payload"] and bot.knocks[-1]["text"] == "查积分"
    gateway.post("查积分", payload=BUTTON["payload"], sender="eve")  # it was offered to somebody else
    assert bot.knocks[-1]["payload"] is None


def test_an_empty_text_with_a_button_nobody_offered_is_refused(gateway: Gateway) -> None:
    assert gateway.post("", payload="/restart").status_code == 422


def test_a_sender_who_sends_too_much_waits_and_nobody_else(sqlite_records: Records, bot: BotDouble) -> None:
    running = Gateway(sqlite_records, bot, http_rate=3)
    try:
        assert [running.post().status_code for _ in range(4)] == [200, 200, 200, 429]
        refused = running.post()
        assert refused.json()["error"] == "rate_limited" and refused.headers["retry-after"] == "20"
        assert running.post(sender="bob").status_code == 200
        sqlite_records.clock.advance(seconds=20)
        assert running.post().status_code == 200
    finally:
        running.close()


@pytest.mark.parametrize("query", [{"after": -1}, {"after": "x"}, {"after": 2**63}, {"limit": 0}, {"limit": 201},
                                   {"sender": ""}, {"sender": "s" * 201}, {"sender": "a\u0000"}])
def test_a_poll_with_a_wrong_question_is_refused(gateway: Gateway, query: dict[str, Any]) -> None:
    answer = gateway.poll(**{"sender": "ada", **query})
    assert answer.status_code == 422 and answer.json()["field"] == next(iter(query))


def test_a_store_that_is_away_is_said_and_the_message_can_be_sent_again(
        gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: Any) -> Any:
        raise OperationalError("INSERT", {}, Exception("database is locked"))

    with monkeypatch.context() as broken:
        broken.setattr("gateway.http_channel.receive_message", lambda *_, **__: away())
        answer = gateway.post("你好", message_id="m")
    assert answer.status_code == 503 and answer.json()["error"] == "unavailable" and "retry-after" in answer.headers
    assert "INSERT" not in answer.text and "locked" not in answer.text
    assert gateway.post("你好", message_id="m").status_code == 200


def test_the_description_of_the_api_knows_the_channel(gateway: Gateway) -> None:
    described = httpx.get(f"{gateway.base}/api/openapi.json").json()
    post = described["paths"][PATH]["post"]
    assert set(post["responses"]) == {"200", "202", "401", "413", "422", "429", "503"}
    assert set(described["paths"][PATH]["get"]["responses"]) == {"200", "401", "422", "503"}
    schema = post["requestBody"]["content"]["application/json"]["schema"]
    assert schema["required"] == ["sender", "message_id", "text"]
    assert post["security"] and described["components"]["securitySchemes"]
    assert not [path for path in described["paths"] if path.startswith("/api/chat")]

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from crm_store.models import ChannelIdentity, Conversation, Customer, Message
from crm_store.services.handoff import escalate_conversation, reply_to_customer, take_over_conversation
from gateway.chat_words import WORDS
from gateway.visitors import COOKIE, customer_number_in
from gateway.web_chat import sign_customer
from tests.gateway.conftest import SECRET, BotDouble, Gateway, Records

MESSAGES, STREAM = "/api/chat/messages", "/api/chat/stream"


def say(client: httpx.Client, text: Any = "你好", message_id: Any = "w1", **more: Any) -> httpx.Response:
    headers = more.pop("headers", {})
    body = {"message_id": message_id, "text": text, **more}
    return client.post(MESSAGES, content=json.dumps(body).encode(),
                       headers={"Content-Type": "application/json", **headers})


@contextmanager
def listening(client: httpx.Client, **query: Any) -> Iterator[Iterator[tuple[str, dict[str, Any], str]]]:
    """The events of a stream as (event, data, id)."""
    headers = query.pop("headers", {})
    with client.stream("GET", STREAM, params=query, headers=headers) as answer:
        assert answer.status_code == 200, answer.status_code
        assert answer.headers["content-type"].startswith("text/event-stream")
        assert "no-store" in answer.headers["cache-control"]

        def events() -> Iterator[tuple[str, dict[str, Any], str]]:
            fields: dict[str, str] = {}
            for line in answer.iter_lines():
                name, _, value = line.partition(": ")
                if line:
                    fields[name] = value
                elif "data" in fields:
                    yield fields["event"], json.loads(fields["data"]), fields.get("id", "")
                    fields = {}

        yield events()


def until(events: Iterator[tuple[str, dict[str, Any], str]], wanted: str, **fields: Any) -> dict[str, Any]:
    """The next event of a kind whose data has these fields."""
    for event, data, number in events:
        if event == wanted and all(data[name] == value for name, value in fields.items()):
            assert event != "message" or int(number) == data["id"]
            return data
    raise AssertionError("the stream ended")


def wait_for_answer(client: httpx.Client, text: str) -> list[dict[str, Any]]:
    """The whole chat, once it has this message."""
    with listening(client) as events:
        until(events, "message", text=text)
    messages: list[dict[str, Any]] = client.get(MESSAGES).json()["messages"]
    return messages


def sign_in(client: httpx.Client, records: Records, number: str = "WLC00001") -> httpx.Response:
    return client.get("/", params={"customer": sign_customer(SECRET, number, records.clock())})


# The page


def test_the_page_runs_nothing_but_its_own_script(gateway: Gateway) -> None:
    answer = gateway.client().get("/")
    assert answer.status_code == 200 and answer.headers["content-type"].startswith("text/html")
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy and "script-src 'self'" in policy and "unsafe" not in policy
    assert answer.headers["x-content-type-options"] == "nosniff" and answer.headers["cache-control"] == "no-store"
    assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\son\w+=|\sstyle=|javascript:", answer.text)


def test_the_page_is_sent_in_the_browsers_language(gateway: Gateway) -> None:
    wanted = {"en-GB,en;q=0.9": "en", "zh-CN": "zh", "fr,en;q=0.5": "en", "fr": "zh", "": "zh"}
    for accepted, language in wanted.items():
        page = gateway.client(**{"Accept-Language": accepted}).get("/").text
        assert f'data-language="{language}"' in page


def test_every_file_of_the_page_is_there(gateway: Gateway) -> None:
    client = gateway.client()
    files = re.findall(r'(?:src|href)="(/[^"]+)"', client.get("/").text)
    assert {Path(file.split("?")[0]).name for file in files} == {
        "tokens.css", "dark.css", "chat.css", "chat.js", "icon.svg"}
    for file in files:
        answer = client.get(file)
        assert answer.status_code == 200 and "immutable" in answer.headers["cache-control"]
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert client.get(file.split("?")[0]).headers["cache-control"] == "no-cache"


def test_files_outside_are_not_served(gateway: Gateway) -> None:
    for path in ("/chat/static/../web_chat.py", "/chat/static/%2e%2e/web_chat.py", "/chat/static/..%2fdeps.py"):
        assert gateway.client().get(path).status_code == 404


def test_the_scripts_are_small_and_put_no_data_into_markup(gateway: Gateway, folder: Path) -> None:
    client, transferred = gateway.client(**{"Accept-Encoding": "identity"}), 0
    addresses = ["/widget.js"] + [f"/chat/static/{path.name}" for path in (folder / "static").glob("*.js")]
    assert len(addresses) == 3
    for address in addresses:
        plain = client.get(address)
        assert plain.headers["vary"] == "Accept-Encoding" and "content-encoding" not in plain.headers
        assert len(plain.content) <= 20_000, address
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function",
                             plain.text)
        packed = client.get(address, headers={"Accept-Encoding": "gzip"})
        assert packed.headers["content-encoding"] == "gzip" and packed.text == plain.text
        transferred += int(packed.headers["content-length"])
    assert transferred <= 20_000  # of everything together, and of the widget twice


def test_the_page_says_everything_in_both_languages(folder: Path) -> None:
    script = (folder / "static" / "chat.js").read_text(encoding="utf8")
    assert set(WORDS["zh"]) == set(WORDS["en"]) and all(WORDS["zh"].values()) and all(WORDS["en"].values())
    said = set(re.findall(r"say\(\"(\w+)\"", script))
    assert len(said) > 20 and said <= set(WORDS["zh"])
    for key in said:
        chinese, english = (set(re.findall(r"{\w+}", str(WORDS[language][key]))) for language in ("zh", "en"))
        assert chinese == english, key


# Visitors


def test_a_visitor_is_known_by_a_random_cookie(gateway: Gateway) -> None:
    answer = gateway.client().get("/")
    cookie = answer.headers["set-cookie"]
    assert cookie.startswith(f"{COOKIE}=") and "HttpOnly" in cookie and "SameSite=lax" in cookie and "Path=/" in cookie
    assert "Secure" not in cookie
    other = gateway.client().get("/")
    assert answer.cookies[COOKIE] != other.cookies[COOKIE] and len(answer.cookies[COOKIE]) >= 32


def test_behind_tls_the_cookie_is_secure(sqlite_records: Records, bot: BotDouble) -> None:
    running = Gateway(sqlite_records, bot, secure_cookies=True)
    try:
        assert "Secure" in running.client().get("/").headers["set-cookie"]
    finally:
        running.close()


def test_a_visitor_stays_the_same(gateway: Gateway) -> None:
    client = gateway.client()
    client.get("/")
    visitor = client.cookies[COOKIE]
    client.get("/")
    say(client)
    assert client.cookies[COOKIE] == visitor
    assert gateway.records.one(ChannelIdentity).external_id == visitor


@pytest.mark.parametrize("value", ["short", "x" * 500, "a b", "' OR 1=1 --" + "x" * 30, "../" * 12])
def test_a_cookie_that_is_none_of_ours_is_replaced(gateway: Gateway, value: str) -> None:
    answer = httpx.get(gateway.base + "/", headers={"Cookie": f"{COOKIE}={value}"})
    assert answer.status_code == 200 and answer.cookies[COOKIE] != value


def test_a_message_without_a_cookie_gets_one(gateway: Gateway) -> None:
    client = gateway.client()
    assert say(client).status_code == 202
    assert wait_for_answer(client, "re: 你好")[0]["text"] == "你好"


def test_visitors_see_only_their_own(gateway: Gateway) -> None:
    ada, bob = gateway.client(), gateway.client()
    say(ada, "ada's secret")
    wait_for_answer(ada, "re: ada's secret")
    assert bob.get(MESSAGES).json()["messages"] == []
    say(bob, "hello")
    assert "secret" not in json.dumps(wait_for_answer(bob, "re: hello"))


# Signing in


def test_a_signed_link_makes_the_visitor_a_customer(gateway_on_each: Gateway) -> None:
    records, client = gateway_on_each.records, gateway_on_each.client()
    client.get("/")
    planted = client.cookies[COOKIE]
    say(client, "asked as a guest")
    wait_for_answer(client, "re: asked as a guest")
    answer = sign_in(client, records)
    assert answer.status_code == 303 and answer.headers["location"] == "/"
    customer = records.one(Customer, Customer.number == "WLC00001")
    identity = records.one(ChannelIdentity)
    assert identity.customer_id == customer.id and records.one(Conversation).customer_id == customer.id
    told = client.get(MESSAGES).json()
    assert told["customer"] == "李雷" and told["messages"][0]["text"] == "asked as a guest"
    assert client.cookies[COOKIE] == identity.external_id != planted
    old = httpx.get(gateway_on_each.base + MESSAGES, headers={"Cookie": f"{COOKIE}={planted}"}).json()
    assert old["messages"] == [] and not old["known"]  # whoever planted the cookie sees nothing


def test_signing_in_again_changes_nothing(gateway: Gateway) -> None:
    client = gateway.client()
    sign_in(client, gateway.records)
    visitor = client.cookies[COOKIE]
    sign_in(client, gateway.records)
    assert client.cookies[COOKIE] == visitor and len(gateway.records.all(ChannelIdentity)) == 1


def test_another_customer_on_the_same_machine_starts_anew(gateway: Gateway) -> None:
    client = gateway.client()
    sign_in(client, gateway.records)
    say(client, "李雷的秘密")
    wait_for_answer(client, "re: 李雷的秘密")
    visitor = client.cookies[COOKIE]
    sign_in(client, gateway.records, "WLC00002")
    assert client.cookies[COOKIE] != visitor
    told = client.get(MESSAGES).json()
    assert told["messages"] == [] and told["customer"] == "Ann <b>Miller</b>"
    owners = {identity.external_id: identity.customer_id for identity in gateway.records.all(ChannelIdentity)}
    assert owners[visitor] != owners[client.cookies[COOKIE]]


def forged(records: Records) -> list[str]:
    token = sign_customer(SECRET, "WLC00001", records.clock())
    number, stamp, signature = token.split(".")
    other = sign_customer(SECRET, "WLC00002", records.clock()).split(".")[0]
    return [
        sign_customer("another secret", "WLC00001", records.clock()), f"{other}.{stamp}.{signature}",
        f"{number}.{stamp}.{signature[:-2]}AA", f"{number}.{stamp}", number, "", "WLC00001", "." * 20, "x" * 5000,
        "\u0000",
        sign_customer(SECRET, "WLC00001", records.clock() - timedelta(days=31)),
        sign_customer(SECRET, "WLC00001", records.clock() + timedelta(hours=1)),
        sign_customer(SECRET, "NOBODY", records.clock()),
    ]


def test_a_forged_or_old_link_signs_nobody_in(gateway: Gateway) -> None:
    for token in forged(gateway.records):
        client = gateway.client()
        answer = client.get("/", params={"customer": token})
        assert answer.status_code == 303 and answer.headers["location"] == "/?link=expired", token[:60]
        assert client.get(MESSAGES).json()["customer"] is None
    assert gateway.records.all(ChannelIdentity) == []


def test_a_link_is_good_for_thirty_days(records: Records) -> None:
    token = sign_customer(SECRET, "WLC00001", records.clock())
    assert customer_number_in(SECRET, token, records.clock() + timedelta(days=29, hours=23)) == "WLC00001"
    assert customer_number_in(SECRET, token, records.clock() + timedelta(days=30, seconds=2)) is None
    assert customer_number_in("", sign_customer("", "WLC00001", records.clock()), records.clock()) is None


# Messages


def test_a_message_is_stored_answered_and_delivered(gateway_on_each: Gateway, bot: BotDouble) -> None:
    client = gateway_on_each.client()
    stored = say(client, "几点营业", "w1").json()
    again = say(client, "几点营业", "w1").json()
    assert not stored["duplicate"] and again == {**stored, "duplicate": True}
    mine, answer = wait_for_answer(client, "re: 几点营业")
    assert (mine["id"], mine["author"], mine["message_id"]) == (stored["id"], "customer", "w1")
    assert (answer["author"], answer["in_reply_to"], answer["agent"]) == ("bot", stored["id"], None)
    assert answer["at"].endswith("Z") and len(bot.knocks) == 1
    kept = gateway_on_each.records.one(Message, Message.id == answer["id"])
    assert kept.delivery_state == "delivered" and kept.delivered_at is not None


def test_fetching_marks_delivered(gateway: Gateway) -> None:
    client = gateway.client()
    stored = say(client).json()
    agent = gateway.records.agent()
    gateway.records.do(take_over_conversation, stored["conversation_id"], agent, gateway.records.clock())
    reply = gateway.records.do(reply_to_customer, stored["conversation_id"], agent, "我在", gateway.records.clock())
    told = client.get(MESSAGES, params={"after": reply.id - 1}).json()
    assert [message["text"] for message in told["messages"]] == ["我在"]
    assert gateway.records.one(Message, Message.id == reply.id).delivery_state == "delivered"


def test_the_language_of_the_page_counts_where_the_text_has_none(gateway: Gateway) -> None:
    say(gateway.client(), "👋", language="en")
    assert gateway.records.one(Conversation).language == "en"


@pytest.mark.parametrize(("body", "status", "field"), [
    ({"text": "hi"}, 422, "message_id"), ({"message_id": "a"}, 422, "text"),
    ({"message_id": "a", "text": ""}, 422, "text"),
    ({"message_id": "a", "text": " \u200b"}, 422, "text"), ({"message_id": "a", "text": 1}, 422, "text"),
    ({"message_id": "a\n", "text": "hi"}, 422, "message_id"),
    ({"message_id": "x" * 201, "text": "hi"}, 422, "message_id"),
    ({"message_id": "\ud800", "text": "hi"}, 422, "message_id"), ({"message_id": "a", "text": "x" * 4001}, 413, "text"),
    ({"message_id": "a", "text": "x" * 100_000}, 413, None), ({"message_id": "a", "text": "\ud800"}, 422, "text"),
    ({"message_id": "a", "text": "hi", "payload": []}, 422, "payload"),
])
def test_what_cannot_be_accepted_is_refused(
        gateway: Gateway, body: dict[str, Any], status: int, field: str | None) -> None:
    answer = gateway.client().post(MESSAGES, content=json.dumps(body), headers={"Content-Type": "application/json"})
    assert answer.status_code == status and answer.json().get("field") == field
    assert gateway.records.all(ChannelIdentity) == []


@pytest.mark.parametrize("text", [
    "<img src=x onerror=alert(1)>", "'; DROP TABLE messages; --", "/restart", "😀", "\u202eabc"])
def test_strange_text_is_text(gateway: Gateway, bot: BotDouble, text: str) -> None:
    client = gateway.client()
    assert say(client, text).status_code == 202
    kept = text.replace("\u202e", "")
    mine, _ = wait_for_answer(client, f"re: {kept}")
    assert mine["text"] == kept and bot.knocks[0]["payload"] is None


@pytest.mark.parametrize("headers", [
    {"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"}, {"Origin": "https://evil.example"},
    {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site", "Origin": "http://127.0.0.1"},
])
def test_other_sites_cannot_write_for_a_visitor(gateway: Gateway, headers: dict[str, str]) -> None:
    client = gateway.client()
    client.get("/")
    answer = say(client, headers=headers)
    assert answer.status_code == 403 and answer.json()["error"] == "cross_site"
    assert gateway.records.all(Message) == []


def test_our_own_page_can_write(gateway: Gateway) -> None:
    client = gateway.client()
    client.get("/")
    told = {"Sec-Fetch-Site": "same-origin", "Origin": gateway.base}
    assert say(client, message_id="a", headers=told).status_code == 202
    assert say(client, message_id="b", headers={"Origin": gateway.base}).status_code == 202


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""])
def test_what_a_form_can_send_is_refused(gateway: Gateway, kind: str) -> None:
    assert say(gateway.client(), headers={"Content-Type": kind}).status_code == 415


def test_a_visitor_who_sends_too_much_waits(sqlite_records: Records, bot: BotDouble) -> None:
    running = Gateway(sqlite_records, bot, chat_rate=2)
    try:
        client = running.client()
        client.get("/")
        assert [say(client, message_id=str(n)).status_code for n in range(3)] == [202, 202, 429]
        refused = say(client, message_id="4")
        assert refused.headers["retry-after"] == "30"
        other = running.client()
        other.get("/")
        assert say(other).status_code == 202
        statuses = {say(running.client(), message_id="x").status_code for _ in range(30)}  # each a new visitor
        assert statuses == {202, 429}
    finally:
        running.close()


def test_the_proxy_is_believed_only_where_it_is_trusted(sqlite_records: Records, bot: BotDouble) -> None:
    def statuses(running: Gateway) -> list[int]:
        try:
            return [say(running.client(), headers={"X-Forwarded-For": f"6.6.6.6, 10.0.0.{n}"}).status_code
                    for n in range(11)]
        finally:
            running.close()

    assert statuses(Gateway(sqlite_records, bot, chat_rate=1, trusted_proxy="127.0.0.1")) == [202] * 11
    assert statuses(Gateway(sqlite_records, bot, chat_rate=1))[-1] == 429


# The stream


def test_a_visitor_nobody_knows_has_no_stream(gateway: Gateway) -> None:
    client = gateway.client()
    client.get("/")
    assert client.get(STREAM).status_code == 204


def test_the_stream_brings_answers_as_they_come(gateway_on_each: Gateway) -> None:
    client, sender = gateway_on_each.client(), gateway_on_each.client()
    say(client, "first", "w1")
    sender.cookies = client.cookies
    with listening(client) as events:
        until(events, "message", text="re: first")
        say(sender, "second", "w2")
        assert until(events, "message", text="second")["message_id"] == "w2"
        until(events, "message", text="re: second")


def test_the_stream_tells_that_somebody_types(gateway: Gateway) -> None:
    client, sender = gateway.client(), gateway.client()
    say(client, "first", "w1")
    sender.cookies = client.cookies
    with listening(client) as events:
        until(events, "message", text="re: first")
        say(sender, "second", "w2")
        assert until(events, "typing") == {"author": "bot"}


def test_a_stream_goes_on_after_the_last_message_seen(gateway: Gateway) -> None:
    client = gateway.client()
    for number in range(3):
        say(client, str(number), f"w{number}")
        messages = wait_for_answer(client, f"re: {number}")
    seen = messages[3]["id"]
    for query in ({"after": seen}, {"headers": {"Last-Event-ID": str(seen)}},
                  {"after": 0, "headers": {"Last-Event-ID": str(seen)}}):
        with listening(client, **query) as events:
            rest = [next(events), next(events)]
        assert [data["id"] for _, data, _ in rest] == [message["id"] for message in messages[4:]], query


@pytest.mark.parametrize("last", ["x", "-5", "9" * 40, "1; DROP", "²"])
def test_a_last_event_id_that_is_none_starts_from_the_beginning(gateway: Gateway, last: str) -> None:
    client = gateway.client()
    say(client, "first")
    wait_for_answer(client, "re: first")
    with listening(client, headers={"Last-Event-ID": last.encode()}) as events:
        assert next(events)[1]["text"] == "first"


def test_the_stream_tells_who_owns_the_conversation(gateway_on_each: Gateway) -> None:
    records, client = gateway_on_each.records, gateway_on_each.client()
    stored = say(client, "转人工").json()
    with listening(client) as events:
        assert until(events, "state") == {"owner": "bot", "assignee": None, "due_at": None, "ticket": None}
        until(events, "message", text="re: 转人工")
        handoff = records.do(escalate_conversation, conversation_id=stored["conversation_id"], reason="asked",
                             now=records.clock(), message_id=None)
        until(events, "message", author="system")
        told = until(events, "state")
        assert told["owner"] == "human" and told["ticket"] == handoff.ticket.number
        assert told["due_at"] == "2026-11-18T02:15:00.000Z"
        agent = records.agent("wangmin" if told["assignee"] == "王敏" else "lina")
        records.clock.advance(minutes=5)
        records.do(reply_to_customer, stored["conversation_id"], agent, "我来帮您", records.clock())
        assert until(events, "message", author="agent")["agent"] == agent.name
        assert until(events, "state") == {**told, "due_at": None}
    page = client.get(MESSAGES).json()
    assert page["owner"] == "human" and page["assignee"] == agent.name and page["due_at"] is None


def test_a_broken_promise_still_tells_when_it_was_due(gateway: Gateway) -> None:
    records, client = gateway.records, gateway.client()
    stored = say(client).json()
    records.do(escalate_conversation, conversation_id=stored["conversation_id"], reason="asked", now=records.clock())
    records.clock.advance(hours=1)
    assert client.get(MESSAGES).json()["due_at"] == "2026-11-18T02:15:00.000Z"


def test_notes_and_dropped_replies_are_never_shown(gateway: Gateway, bot: BotDouble) -> None:
    records, client = gateway.records, gateway.client()
    bot.before = lambda body: body["text"] == "first" and records.do(
        take_over_conversation, body["conversation_id"], records.agent(), records.clock()) and None
    say(client, "first")
    with listening(client) as events:
        until(events, "state", owner="human")
    gateway_messages = client.get(MESSAGES).json()["messages"]
    assert [message["author"] for message in gateway_messages] == ["customer"]
    assert {message.direction for message in records.all(Message)} >= {"note", "incoming"}


def test_signing_in_ends_the_streams_of_the_old_cookie(gateway: Gateway) -> None:
    client, other = gateway.client(), gateway.client()
    say(client, "first")
    other.cookies = client.cookies
    with listening(client) as events:
        until(events, "message", text="re: first")
        fresh = gateway.client()
        fresh.cookies.set(COOKIE, other.cookies[COOKIE])
        sign_in(fresh, gateway.records)
        for _ in events:
            pass  # ends by itself


def test_one_visitor_opens_only_so_many_streams(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.web_chat.STREAMS_A_VISITOR", 1)
    client, other = gateway.client(), gateway.client()
    say(client, "first")
    other.cookies = client.cookies
    with listening(client) as events:
        until(events, "message", text="re: first")
        assert other.get(STREAM).status_code == 429

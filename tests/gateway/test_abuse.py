"""Whoever abuses a channel neither drowns the bot and the agents nor gets in; whoever is angry gets through once."""
from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from bench.telegram_double import Double, make_app
from crm_store.models import Block, Conversation, Escalation, Message, Ticket
from crm_store.rules import flood
from crm_store.services.blocks import block_sender
from crm_store.services.handoff import escalate_conversation
from crm_store.wording import SENTENCES
from gateway.telegram import SECRET_HEADER, webhook_path, webhook_secret
from gateway.telegram_words import words
from tests.gateway.conftest import HTTP_TOKEN, BotDouble, Gateway, Records, Threaded
from tests.gateway.telegram_bench import BOT, CHAT, OTHER, OTHER_TOKEN, SECRET, TOKEN, telegram_bench
from tests.gateway.test_chat_attachments import wait_for

A_MINUTE = 4
SLOW_DOWN, BLOCKED = SENTENCES["slow_down"]["zh"], SENTENCES["blocked"]["zh"]


@pytest.fixture
def double() -> Double:
    return Double()


@pytest.fixture
def served(double: Double) -> Iterator[Threaded]:
    server = Threaded(make_app(double))
    yield server
    server.stop()


def angry_reaches_a_person(records: Records, bot: BotDouble) -> None:
    """Let the bot hand over what is angry, as the real one does."""
    def before(body: dict[str, Any]) -> None:
        if "骗子" in body["text"] and body["mode"] == "turn":
            records.do(escalate_conversation, conversation_id=body["conversation_id"], reason="anger", anger=0.95,
                       now=records.clock(), message_id=body["message_id"])

    bot.before = before
    bot.answer = lambda body: [] if "骗子" in body["text"] else [f"re: {body['text']}"]


@pytest.mark.anyio
async def test_a_flood_on_telegram_loses_nothing_and_drowns_nobody(records: Records, bot: BotDouble, served: Threaded,
                                                                   double: Double) -> None:
    angry_reaches_a_person(records, bot)
    async with telegram_bench(records, bot, served, double, chat_rate=A_MINUTE) as bench:
        for number in range(A_MINUTE + 20):
            double.say(BOT, CHAT, f"在吗 {number}")
        await bench.turn()
        assert sorted(bench.texts()) == sorted([SLOW_DOWN, *(f"re: 在吗 {number}" for number in range(A_MINUTE))])
        double.say(BOT, CHAT, "骗子！叫人来")
        double.say(BOT, CHAT, "在吗 99")
        await bench.turn()
        assert len(bot.knocks) == A_MINUTE
        records.clock.advance(seconds=flood.QUIET.total_seconds())
        await bench.dispatcher.scan()
        await bench.dispatcher.idle()
        await bench.deliver()
        assert [knock["text"] for knock in bot.knocks[A_MINUTE:]] == ["骗子！叫人来"]
        said = bench.texts()
        assert records.one(Ticket).number in said[-1]
        for number in range(60):  # and goes on
            records.clock.advance(seconds=1)
            double.say(BOT, CHAT, f"骗子 {number}")
            await bench.fetch()
            await bench.dispatcher.scan()
            await bench.dispatcher.idle()
        double.say(BOT, CHAT, "/human")
        await bench.turn()
    assert bench.texts() == said
    assert len(records.all(Escalation)) == len(records.all(Ticket)) == 1
    assert records.conversation().status == "open" and len(bot.knocks) <= 2 * A_MINUTE + 6
    assert len(records.all(Message, Message.direction == "incoming")) == A_MINUTE + 20 + 2 + 60 + 1


@pytest.mark.anyio
async def test_commands_in_a_flood_are_not_answered_but_human_is(sqlite_records: Records, bot: BotDouble,
                                                                 served: Threaded, double: Double) -> None:
    async with telegram_bench(sqlite_records, bot, served, double, chat_rate=A_MINUTE) as bench:
        for _ in range(A_MINUTE + 10):
            double.say(BOT, CHAT, "/help")
        await bench.turn()
        assert len(bench.texts()) == A_MINUTE + 1 and SLOW_DOWN in bench.texts()
        for _ in range(5):
            double.say(BOT, CHAT, "/human")
        await bench.turn()
    assert len(bench.texts()) == A_MINUTE + 2 and sqlite_records.one(Ticket).number in bench.texts()[-1]


@pytest.mark.anyio
async def test_a_blocked_sender_is_told_once_whatever_they_send(records: Records, bot: BotDouble, served: Threaded,
                                                                double: Double) -> None:
    async with telegram_bench(records, bot, served, double) as bench:
        double.say(BOT, CHAT, "买粉")
        await bench.turn()
        records.do(block_sender, records.conversation().id, records.agent(), reason="广告", until=None,
                   everywhere=False, now=records.clock())
        for text in ("买粉", "/human", "/start", "/language en", "/help"):
            double.say(BOT, CHAT, text)
        double.say(BOT, CHAT, None, photo=[{"file_id": "x"}], caption="买粉")
        double.say(BOT, CHAT + 1, "你好")
        await bench.turn()
    assert bench.texts() == ["re: 买粉", BLOCKED] and bench.texts(CHAT + 1) == ["re: 你好"]
    assert records.one(Block).held == 6 and records.all(Escalation) == []
    assert [knock["text"] for knock in bot.knocks] == ["买粉", "你好"]


@pytest.mark.anyio
async def test_one_bots_secret_opens_no_other_and_the_same_chat_is_another_person(
        sqlite_records: Records, bot: BotDouble, served: Threaded, double: Double) -> None:
    async with telegram_bench(sqlite_records, bot, served, double, tokens=(TOKEN, OTHER_TOKEN)) as bench:
        app = FastAPI()
        app.include_router(bench.telegram.router())
        update = double.say(BOT, CHAT, "hi")
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://warmline.test") as client:
            forged = [webhook_secret(SECRET, OTHER), webhook_secret("guessed", BOT), "", SECRET, "x" * 100_000,
                      "\u00e9".encode("latin-1").decode("latin-1")]
            for secret in forged:
                answer = await client.post(webhook_path(BOT), json=update, headers={SECRET_HEADER: secret.encode()})
                assert answer.status_code == 403, secret[:20]
            for bot_id in ("0", "-1", "9" * 400, "x", "%00", "١"):
                answer = await client.post(f"/api/channels/telegram/{bot_id}", json=update,
                                           headers={SECRET_HEADER: webhook_secret(SECRET, bot_id)})
                assert answer.status_code in (403, 404)
            for bot_id in (BOT, OTHER, BOT, OTHER):  # the very same update of both, and again
                answer = await client.post(webhook_path(bot_id), json=update,
                                           headers={SECRET_HEADER: webhook_secret(SECRET, bot_id)})
                assert answer.status_code == 204
        await bench.dispatcher.idle()
    assert len(sqlite_records.all(Conversation)) == 2 and len(bot.knocks) == 2


@pytest.mark.anyio
async def test_updates_out_of_order_keep_what_was_said_last(sqlite_records: Records, bot: BotDouble, served: Threaded,
                                                            double: Double) -> None:
    async with telegram_bench(sqlite_records, bot, served, double) as bench:
        bot.status = 503
        said = double.say(BOT, CHAT, "one")
        first = double.edit(BOT, CHAT, said["message"]["message_id"], "two")
        double.bots[BOT].updates.clear()
        last = {**first, "update_id": first["update_id"] + 1,
                "edited_message": {**first["edited_message"], "text": "three",
                                   "edit_date": first["edited_message"]["edit_date"] + 5}}
        for update in (last, said, first, last, said):
            await bench.telegram.take(BOT, update, polled=False)
        await bench.dispatcher.idle()
    incoming = sqlite_records.all(Message, Message.direction == "incoming")
    assert [message.text for message in incoming] == ["three"]


def test_a_flood_by_http_is_kept_and_answered_together(sqlite_records: Records, bot: BotDouble) -> None:
    """A process refuses what its bucket does not let through; what several let through together is held."""
    processes = [Gateway(sqlite_records, bot, http_rate=A_MINUTE) for _ in range(3)]
    try:
        for which, process in enumerate(processes[:2]):
            for number in range(A_MINUTE):
                assert process.post(f"hi {number}", message_id=f"{which}-{number}").status_code == 200
            assert process.post("one too many").status_code == 429
        last = processes[2]
        answer = last.post("by another process", message_id="held")
        assert (answer.status_code, answer.json()["status"]) == (202, "stored")
        assert last.post("by another process", message_id="held").status_code == 202
        assert len(bot.knocks) == 2 * A_MINUTE
        sqlite_records.clock.advance(seconds=flood.QUIET.total_seconds())
        wait_for(lambda: not sqlite_records.all(Message, Message.handled_at.is_(None),
                                                Message.direction == "incoming"))
        answer = last.post("by another process", message_id="held")
        assert answer.json()["replies"][0]["text"] == "re: by another process"
    finally:
        for process in processes:
            process.close()
    assert any(text in SENTENCES["slow_down"].values() for text in sqlite_records.said())


def test_a_blocked_sender_by_http_is_stored_and_told_once(gateway: Gateway, bot: BotDouble) -> None:
    records = gateway.records
    conversation = gateway.post("spam").json()["conversation_id"]
    records.do(block_sender, conversation, records.agent(), reason="spam", until=None, everywhere=False,
               now=records.clock())
    for _ in range(3):
        answer = gateway.post("spam")
        assert (answer.status_code, answer.json()["status"]) == (202, "stored")
    said = [message["text"] for message in gateway.poll().json()["messages"]]
    assert said == ["re: spam", BLOCKED]
    assert len(bot.knocks) == 1 and gateway.post("hi", sender="another").status_code == 200


@pytest.mark.parametrize("body", [b"[" * 60_000, b'{"a":' * 9_000 + b"1" + b"}" * 9_000,
                                  b'{"sender":' + b"[" * 5_000 + b"]" * 5_000 + b"}"])
@pytest.mark.parametrize("path", ["/api/channels/http/messages", "/api/chat/messages"])
def test_deep_json_is_refused_not_fallen_over(gateway: Gateway, path: str, body: bytes) -> None:
    answer = httpx.post(gateway.base + path, content=body, timeout=30, headers={
        "Authorization": f"Bearer {HTTP_TOKEN}", "Content-Type": "application/json"})
    assert answer.status_code == 422


def test_the_words_are_there_in_both_languages() -> None:
    assert words("with_a_person", "zh") != words("with_a_person", "en")
    for sentence in ("slow_down", "blocked", "note_blocked", "note_unblocked"):
        assert set(SENTENCES[sentence]) == {"zh", "en"}

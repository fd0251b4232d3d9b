"""What goes out to Telegram arrives once and in order, or the desk sees why not."""
from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from datetime import timedelta

import httpx
import pytest
from telegram.error import BadRequest, Forbidden, InvalidToken, NetworkError, RetryAfter, TimedOut

from bench.telegram_double import Double, Fault, make_app
from crm_store.models import ChannelIdentity, Message
from crm_store.services import delivery as services
from crm_store.services.handoff import claim_conversation, escalate_conversation, reply_to_customer
from gateway import delivery
from gateway.channel import NotSent, Refused, Unknown, Unreachable
from gateway.delivery import Pace
from gateway.telegram_client import TelegramBotClient, outcome_of
from tests.conftest import free_port
from tests.gateway.conftest import BotDouble, Records, Threaded
from tests.gateway.telegram_bench import BOT, CHAT, OTHER_TOKEN, TOKEN, Bench, telegram_bench

pytestmark = pytest.mark.anyio


@pytest.fixture
def double() -> Double:
    return Double()


@pytest.fixture
def served(double: Double) -> Iterator[Threaded]:
    server = Threaded(make_app(double))
    yield server
    server.stop()


def outgoing(records: Records) -> list[tuple[str, str | None]]:
    return [(each.delivery_state, each.dropped_reason)
            for each in records.all(Message, Message.direction == "outgoing")]


async def say(bench: Bench, text: str = "你好") -> None:
    """Somebody writes and the bot answers; nothing is delivered yet."""
    bench.double.say(BOT, CHAT, text)
    await bench.fetch()
    await bench.dispatcher.idle()


async def test_retry_after_is_honoured_for_the_whole_bot_and_is_no_failure(
        sqlite_records: Records, bot: BotDouble, served: Threaded, double: Double) -> None:
    double.faults = [Fault("sendMessage", 429, retry_after=7)]
    async with telegram_bench(sqlite_records, bot, served, double) as bench:
        await say(bench)
        await bench.deliver()
        assert bench.texts() == [] and outgoing(sqlite_records) == [("queued", None)]
        assert sqlite_records.one(Message, Message.direction == "outgoing").next_attempt_at == \
            sqlite_records.clock() + timedelta(seconds=7)
        sqlite_records.clock.advance(seconds=6)
        await bench.deliver()
        assert len([call for call in double.calls if call[1] == "sendMessage"]) == 1
        bench.clients[0].pace._held = 0.0
        sqlite_records.clock.advance(seconds=1)
        await bench.deliver()
    assert bench.texts() == ["re: 你好"] and outgoing(sqlite_records) == [("delivered", None)]


async def test_a_server_that_fails_is_tried_again_in_order(records: Records, bot: BotDouble, served: Threaded,
                                                           double: Double) -> None:
    bot.answer = lambda body: ["one", "two"]
    double.faults = [Fault("sendMessage", 500), Fault("sendMessage", 502, raw=b"<html>"), Fault("sendMessage", 503)]
    async with telegram_bench(records, bot, served, double) as bench:
        await say(bench)
        for _ in range(4):
            await bench.deliver()
            records.clock.advance(seconds=10)
    assert bench.texts() == ["one", "two"] and outgoing(records) == [("delivered", None)] * 2


async def test_an_answer_that_does_not_come_is_sent_once_more(sqlite_records: Records, bot: BotDouble,
                                                              served: Threaded, double: Double) -> None:
    """The stated choice: rather twice than never, and no third time."""
    async with telegram_bench(sqlite_records, bot, served, double, timeout=0.3) as bench:
        await say(bench)
        await say(bench, "再见")
        double.faults = [Fault("sendMessage", delay=1.0)]
        await bench.deliver()
        assert outgoing(sqlite_records) == [("queued", None)] * 2
        sqlite_records.clock.advance(seconds=5)
        await bench.deliver()
        assert bench.texts() == ["re: 你好", "re: 你好", "re: 再见"]
        await say(bench, "喂")
        double.faults = [Fault("sendMessage", delay=1.0), Fault("sendMessage", delay=1.0)]
        for _ in range(4):
            await bench.deliver()
            sqlite_records.clock.advance(minutes=5)
    assert bench.texts()[3:] == ["re: 喂", "re: 喂"] and outgoing(sqlite_records)[-1] == ("failed", "unknown")


async def test_a_process_that_dies_between_sending_and_noting(sqlite_records: Records, bot: BotDouble,
                                                              served: Threaded, double: Double) -> None:
    async with telegram_bench(sqlite_records, bot, served, double) as bench:
        await say(bench)
        double.faults = [Fault("sendMessage", delay=60.0)]
        await bench.delivery.look()
        while not bench.texts():
            await asyncio.sleep(0.01)
        bench.delivery._serving.cancel()
        await bench.delivery.idle()
    async with telegram_bench(sqlite_records, bot, served, double) as bench:
        await bench.deliver()
        assert len(bench.texts()) == 1  # its lease is still running
        sqlite_records.clock.advance(minutes=2)
        await bench.deliver()
    assert bench.texts() == ["re: 你好"] * 2 and outgoing(sqlite_records) == [("delivered", None)]


async def test_two_processes_send_each_message_once(records: Records, bot: BotDouble, served: Threaded,
                                                    double: Double) -> None:
    bot.answer = lambda body: [f"{body['text']} {i}" for i in range(3)]
    async with telegram_bench(records, bot, served, double) as one, \
            telegram_bench(records, bot, served, double) as other:
        for chat in range(1, 6):
            double.say(BOT, chat, "hi")
        await one.fetch()
        await one.dispatcher.idle()
        await asyncio.gather(one.deliver(), other.deliver())
        await asyncio.gather(one.deliver(), other.deliver())
    for chat in range(1, 6):
        assert double.texts(BOT, chat) == ["hi 0", "hi 1", "hi 2"]


async def test_a_blocked_bot_marks_the_customer_unreachable(records: Records, bot: BotDouble, served: Threaded,
                                                            double: Double) -> None:
    bot.answer = lambda body: ["one", "two"]
    async with telegram_bench(records, bot, served, double) as bench:
        await say(bench)
        double.blocked.add((BOT, CHAT))
        await bench.deliver()
        assert outgoing(records) == [("failed", "unreachable")] * 2
        assert records.one(ChannelIdentity).unreachable_since == records.clock()
        assert len([call for call in double.calls if call[1] == "sendMessage"]) == 1
        (note,) = records.all(Message, Message.direction == "note")
        assert "停用" in note.text
        double.blocked.clear()
        await say(bench, "回来了")
        await bench.deliver()
    assert records.one(ChannelIdentity).unreachable_since is None and bench.texts() == ["one", "two"]


async def test_a_dead_letter_is_sent_again_by_an_agent(sqlite_records: Records, bot: BotDouble, served: Threaded,
                                                       double: Double) -> None:
    double.faults = [Fault("sendMessage", 400)]
    async with telegram_bench(sqlite_records, bot, served, double) as bench:
        await say(bench)
        await bench.deliver()
        assert outgoing(sqlite_records) == [("failed", "refused")]
        message = sqlite_records.one(Message, Message.direction == "outgoing")
        sqlite_records.do(services.send_again, message.id, sqlite_records.agent(), sqlite_records.clock())
        await bench.deliver()
    assert bench.texts() == ["re: 你好"] and outgoing(sqlite_records) == [("delivered", None)]


async def test_a_long_reply_arrives_in_pieces_and_none_twice(sqlite_records: Records, bot: BotDouble, served: Threaded,
                                                             double: Double) -> None:
    long = "😀" * 3000
    bot.answer = lambda body: [{"text": long, "buttons": [{"title": "OK", "payload": "/ok"}]}]
    async with telegram_bench(sqlite_records, bot, served, double) as bench:
        await say(bench)
        await bench.clients[0].send(CHAT, "warm up")
        await bench.delivery.look()
        double.faults = [Fault("sendMessage", 500)]
        await bench.delivery.idle()
        sqlite_records.clock.advance(seconds=10)
        await bench.deliver()
    sent = double.sent(BOT, CHAT)[1:]
    assert "".join(each["text"] for each in sent) == long and len(sent) == 2
    assert "reply_markup" not in sent[0] and "reply_markup" in sent[1]


async def test_what_an_agent_writes_has_their_name(sqlite_records: Records, bot: BotDouble, served: Threaded,
                                                   double: Double) -> None:
    async with telegram_bench(sqlite_records, bot, served, double) as bench:
        await say(bench)
        conversation, agent, now = sqlite_records.conversation(), sqlite_records.agent(), sqlite_records.clock()
        sqlite_records.do(escalate_conversation, conversation_id=conversation.id, reason="asked", now=now)
        sqlite_records.do(claim_conversation, conversation.id, agent, now)
        sqlite_records.do(reply_to_customer, conversation.id, agent, "<b>我来处理</b>", now)
        await bench.deliver()
    assert bench.texts()[-1] == "王敏：<b>我来处理</b>"


async def test_without_a_bot_of_this_id_it_is_given_up_visibly(sqlite_records: Records, bot: BotDouble,
                                                               served: Threaded, double: Double) -> None:
    async with telegram_bench(sqlite_records, bot, served, double) as bench:
        await say(bench)
    async with telegram_bench(sqlite_records, bot, served, double, tokens=(OTHER_TOKEN,)) as bench:
        await bench.deliver()
    assert outgoing(sqlite_records) == [("failed", "not_set_up")]


async def test_a_telegram_that_cannot_be_reached_is_surely_not_sent() -> None:
    client = TelegramBotClient(TOKEN, f"http://127.0.0.1:{free_port()}", timeout=5.0)
    assert await client.send(CHAT, "hi") == NotSent("no_answer")
    await client.close()


def caused(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(("error", "outcome"), [
    (Forbidden("bot was blocked by the user"), Unreachable()),
    (BadRequest("chat not found"), Refused("refused: BadRequest: chat not found")),
    (InvalidToken("x"), NotSent("token_refused")),
    (RetryAfter(5), delivery.RetryAfter(5.0)), (RetryAfter(10**6), delivery.RetryAfter(3600.0)),
    (NetworkError("Internal Server Error (500)"), NotSent("server_error")),
    (NetworkError("Gateway Timeout (504)"), Unknown("unclear: NetworkError")),
    (caused(NetworkError("x"), httpx.ConnectError("x")), NotSent("no_answer")),
    (caused(NetworkError("x"), httpx.ReadError("x")), Unknown("timed_out: ReadError")),
    (caused(TimedOut(), httpx.ConnectTimeout("x")), NotSent("no_answer")),
    (caused(TimedOut(), httpx.PoolTimeout("x")), NotSent("no_answer")),
    (caused(TimedOut(), httpx.ReadTimeout("x")), Unknown("timed_out: ReadTimeout")),
])
def test_an_error_tells_what_became_of_the_message(error: Exception, outcome: object) -> None:
    assert outcome_of(error) == outcome  # type: ignore[arg-type]


async def test_the_pace_is_kept() -> None:
    seconds, waits = [0.0], []

    async def sleep(wait: float) -> None:
        waits.append(wait)
        seconds[0] += wait

    pace = Pace(30, 1.0, lambda: seconds[0], sleep)
    for chat in ("a", "b", "c", "a"):
        await pace.ready(chat)
    assert waits == pytest.approx([1 / 30, 1 / 30, 1 - 2 / 30])
    pace.hold(10)
    await pace.ready("d")
    assert seconds[0] == pytest.approx(11)


async def test_buttons_carry_which_one_they_are(sqlite_records: Records, bot: BotDouble, served: Threaded,
                                                double: Double) -> None:
    bot.answer = lambda body: [{"text": "?", "buttons": [{"title": "长" * 40, "payload": "/a" + "b" * 400}] * 3}]
    async with telegram_bench(sqlite_records, bot, served, double) as bench:
        await say(bench)
        await bench.deliver()
    (call,) = [call[2] for call in double.calls if call[1] == "sendMessage"]
    rows = json.loads(call["reply_markup"])["inline_keyboard"]
    assert len(rows) == 3 and all(len(row[0]["callback_data"].encode()) <= 64 for row in rows)

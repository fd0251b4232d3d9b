"""Messages go out when they are queued, not when somebody looks; what came of them is noted though the store fails."""
from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Iterator
from datetime import datetime, timedelta, timezone
from typing import Any

import anyio
import pytest
from sqlalchemy.exc import OperationalError

from bench.telegram_double import Double, Fault, make_app
from crm_store.models import Message, MessageDelivery
from crm_store.services import delivery as services
from crm_store.services.handoff import claim_conversation, escalate_conversation, reply_to_customer
from gateway import delivery
from gateway.telegram import MOST_ERRANDS
from tests.gateway.conftest import BotDouble, Records, Threaded
from tests.gateway.telegram_bench import BOT, CHAT, Bench, telegram_bench

pytestmark = pytest.mark.anyio
SOON = 60  # seconds within which something happens that nobody looks for


@pytest.fixture
def double() -> Double:
    return Double()


@pytest.fixture
def served(double: Double) -> Iterator[Threaded]:
    server = Threaded(make_app(double))
    yield server
    server.stop()


@pytest.fixture(autouse=True)
def nobody_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    """After the first look."""
    monkeypatch.setattr(delivery, "LOOK_SECONDS", 3600.0)


@contextlib.asynccontextmanager
async def delivering(bench: Bench) -> AsyncIterator[None]:
    """The loop of the delivery, which has looked once."""
    first, look = asyncio.Event(), bench.delivery.look

    async def looked() -> None:
        await look()
        first.set()

    bench.delivery.look = looked  # type: ignore[method-assign]
    running = asyncio.create_task(bench.delivery.run())
    await first.wait()
    try:
        yield
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def until(bench: Bench, texts: list[str]) -> None:
    """Wait until these were said."""
    with anyio.fail_after(SOON):
        while bench.texts() != texts:
            await anyio.sleep(0.01)


def calls(double: Double, method: str) -> int:
    return sum(call[1] == method for call in double.calls)


def now() -> datetime:
    return datetime.now(timezone.utc)


async def test_an_answer_goes_out_when_it_is_there(sqlite_records: Records, bot: BotDouble, served: Threaded,
                                                   double: Double) -> None:
    async with telegram_bench(sqlite_records, bot, served, double) as bench, delivering(bench):
        for number in range(5):
            double.say(BOT, CHAT, f"{number}")
        await bench.fetch()
        await until(bench, [f"re: {number}" for number in range(5)])


async def test_what_an_agent_and_a_command_say_goes_out_at_once(sqlite_records: Records, bot: BotDouble,
                                                                served: Threaded, double: Double) -> None:
    async with telegram_bench(sqlite_records, bot, served, double) as bench, delivering(bench):
        double.say(BOT, CHAT, "hi")
        await bench.fetch()
        await until(bench, ["re: hi"])
        conversation, agent = sqlite_records.conversation(), sqlite_records.agent()
        sqlite_records.do(escalate_conversation, conversation_id=conversation.id, reason="asked", now=now())
        sqlite_records.do(claim_conversation, conversation.id, agent, now())
        sqlite_records.do(reply_to_customer, conversation.id, agent, "我来处理", now())
        bench.deps.bell.queued()  # as the desk rings it
        with anyio.fail_after(SOON):
            while "王敏：我来处理" not in bench.texts():
                await anyio.sleep(0.01)
        said = len(bench.texts())
        double.say(BOT, CHAT, "/help")
        await bench.fetch()
        with anyio.fail_after(SOON):
            while len(bench.texts()) == said:
                await anyio.sleep(0.01)


async def test_it_comes_back_when_a_message_is_due_again(sqlite_records: Records, bot: BotDouble, served: Threaded,
                                                         double: Double, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(services, "FIRST_DELAY", timedelta(seconds=0.05))
    monkeypatch.setattr(services, "UNKNOWN_DELAY", timedelta(seconds=0.05))
    double.faults = [Fault("sendMessage", 500), Fault("sendMessage", 500, cut=True)]
    async with telegram_bench(sqlite_records, bot, served, double, clock=now) as bench, delivering(bench):
        double.say(BOT, CHAT, "hi")
        await bench.fetch()
        await until(bench, ["re: hi"])
    assert calls(double, "sendMessage") == 3


async def test_what_was_taken_is_not_sent_again_because_the_store_was_away(
        sqlite_records: Records, bot: BotDouble, served: Threaded, double: Double,
        monkeypatch: pytest.MonkeyPatch) -> None:
    failures = iter(range(2))
    note_sent = services.note_sent

    def away(*arguments: Any, **named: Any) -> None:
        if next(failures, None) is not None:
            raise OperationalError("UPDATE", {}, Exception("the server closed the connection"))
        note_sent(*arguments, **named)

    monkeypatch.setattr(services, "note_sent", away)
    monkeypatch.setattr(delivery, "NOTE_AGAIN_SECONDS", (0.0, 0.0, 0.0))
    async with telegram_bench(sqlite_records, bot, served, double) as bench:
        double.say(BOT, CHAT, "hi")
        await bench.turn()
        assert next(failures, None) is None and bench.texts() == ["re: hi"]
    (message,) = sqlite_records.all(Message, Message.direction == "outgoing")
    assert message.delivery_state == "delivered" and message.attempts == 1


async def test_a_message_in_doubt_waits_until_telegram_answers_again(sqlite_records: Records, bot: BotDouble,
                                                                     served: Threaded, double: Double) -> None:
    double.faults = [Fault("sendMessage", 500, cut=True)]
    async with telegram_bench(sqlite_records, bot, served, double) as bench:
        double.say(BOT, CHAT, "hi")
        await bench.turn()
        assert bench.texts() == []
        for _ in range(3):
            double.faults = [Fault("sendChatAction", 500, cut=True)]
            sqlite_records.clock.advance(minutes=1)
            await bench.deliver()
            assert calls(double, "sendMessage") == 1 and double.faults == []
        sqlite_records.clock.advance(minutes=1)
        await bench.deliver()
    assert bench.texts() == ["re: hi"]
    (kept,) = _deliveries(sqlite_records)
    assert kept.unknowns == 0 and kept.pieces_sent == 1


async def test_typing_is_shown_as_long_as_the_bot_is_at_it(sqlite_records: Records, bot: BotDouble, served: Threaded,
                                                           double: Double) -> None:
    thinking, go_on = threading.Event(), threading.Event()

    def think(_: Any) -> None:
        thinking.set()
        assert go_on.wait(SOON)

    bot.before = think
    async with telegram_bench(sqlite_records, bot, served, double) as bench:
        double.say(BOT, CHAT, "hi")
        await bench.fetch()
        await asyncio.to_thread(thinking.wait, SOON)
        assert calls(double, "sendChatAction") == 1
        for shown in (2, 3):
            await bench.telegram.type_on()
            await bench.telegram.idle()
            assert calls(double, "sendChatAction") == shown
        go_on.set()
        await bench.dispatcher.idle()
        await bench.telegram.type_on()
        await bench.telegram.idle()
        assert calls(double, "sendChatAction") == 3


async def test_a_look_that_fails_ends_no_loop(sqlite_records: Records, bot: BotDouble, served: Threaded, double: Double,
                                              monkeypatch: pytest.MonkeyPatch) -> None:
    failed = threading.Event()

    def failing(*_: Any, **__: Any) -> list[int]:
        failed.set()
        raise ZeroDivisionError

    async with telegram_bench(sqlite_records, bot, served, double) as bench:
        double.say(BOT, CHAT, "hi")
        await bench.fetch()
        await bench.dispatcher.idle()
        with monkeypatch.context() as patched:
            patched.setattr(services, "lanes_waiting", failing)
            running = asyncio.create_task(bench.delivery.run())
            assert await asyncio.to_thread(failed.wait, SOON)
        bench.delivery.told(None, None)
        await until(bench, ["re: hi"])
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_courtesies_stay_within_their_number(sqlite_records: Records, bot: BotDouble, served: Threaded,
                                                   double: Double) -> None:
    go_on = threading.Event()

    def think(_: Any) -> None:
        assert go_on.wait(SOON)

    bot.before = think
    async with telegram_bench(sqlite_records, bot, served, double) as bench:
        for chat in range(3):
            double.say(BOT, CHAT + chat, "hi")
        await bench.fetch()
        shown, busy = calls(double, "sendChatAction"), {asyncio.Future() for _ in range(MOST_ERRANDS + 2)}
        bench.telegram._errands |= busy
        await bench.telegram.type_on()
        bench.telegram._errands -= busy
        await bench.telegram.idle()
        assert calls(double, "sendChatAction") == shown == 3
        go_on.set()
        await bench.dispatcher.idle()


async def test_what_an_outage_left_goes_out_without_a_second_wait(
        sqlite_records: Records, bot: BotDouble, served: Threaded, double: Double,
        monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(services, "LANES_AT_ONCE", 2)
    chats = [CHAT + number for number in range(5)]
    async with telegram_bench(sqlite_records, bot, served, double) as bench:
        for chat in chats:
            double.say(BOT, chat, "hi")
        await bench.fetch()
        await bench.dispatcher.idle()
        async with delivering(bench):
            with anyio.fail_after(SOON):
                while any(bench.texts(chat) != ["re: hi"] for chat in chats):
                    await anyio.sleep(0.01)


def _deliveries(records: Records) -> list[MessageDelivery]:
    with records.store.read() as session:
        return list(session.query(MessageDelivery))

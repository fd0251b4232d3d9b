"""A link that the shop makes opens the bot as a customer: once, within the hour, for nobody else."""
from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Iterator
from datetime import datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.telegram_double import Double, make_app
from crm_store.models import ChannelIdentity, Customer, LinkCode, Message
from crm_store.services.customers import confirm_link, start_linking
from gateway.deep_links import MARK, Refused, Vouched, is_link, make_link_token, read_link_token
from gateway.telegram_words import words
from tests.gateway.conftest import SECRET, BotDouble, Records, Threaded
from tests.gateway.telegram_bench import BOT, CHAT, Bench, telegram_bench

pytestmark = pytest.mark.anyio
NOW = datetime.fromisoformat("2026-11-18T02:00:00+00:00")


@pytest.fixture
def double() -> Double:
    return Double()


@pytest.fixture
def served(double: Double) -> Iterator[Threaded]:
    server = Threaded(make_app(double))
    yield server
    server.stop()


def token_of(records: Records, number: str = "WLC00001") -> str:
    return make_link_token(SECRET, records.one(Customer, Customer.number == number).id, records.clock())


async def start(bench: Bench, token: str, chat: int = CHAT) -> str:
    """Open a link; what the bot says to it."""
    said = len(bench.texts(chat))
    bench.double.say(BOT, chat, f"/start {token}")
    await bench.fetch()
    await bench.deliver()
    return "\n".join(bench.texts(chat)[said:])


def linked(records: Records) -> dict[str, int | None]:
    return {each.external_id: each.customer_id for each in records.all(ChannelIdentity)}


@given(st.integers(1, 2**63 - 1))
@settings(max_examples=20, deadline=None)
def test_a_token_is_what_telegram_takes_and_says_whom_it_is_for(customer_id: int) -> None:
    token = make_link_token(SECRET, customer_id, NOW)
    assert re.fullmatch(r"[A-Za-z0-9_-]{1,64}", token) and is_link(token)
    read = read_link_token(SECRET, token, NOW + timedelta(minutes=59))
    assert isinstance(read, Vouched) and read.customer_id == customer_id
    assert read_link_token(SECRET, token, NOW + timedelta(hours=1)) == Refused("expired")
    assert read_link_token("another secret", token, NOW) == Refused("forged")
    assert read_link_token("", token, NOW) == Refused("forged")


@given(st.integers(0, 52), st.characters(codec="ascii", categories=("L", "N")))
@settings(max_examples=40, deadline=None)
def test_a_changed_token_opens_nothing(at: int, sign: str) -> None:
    token = make_link_token(SECRET, 1, NOW)
    index = min(len(MARK) + at, len(token) - 2)  # the last sign holds bits that are not read
    changed = token[:index] + sign + token[index + 1:]
    assert changed == token or read_link_token(SECRET, changed, NOW) == Refused("forged")


@pytest.mark.parametrize("argument", ["", "x" * 59, "=" * 8, "你好", "\x00", "a" * 5000, "_-" * 25, "\ud800"])
def test_nonsense_is_forged(argument: str) -> None:
    assert read_link_token(SECRET, MARK + argument, NOW) == Refused("forged")


async def test_a_link_links_its_customer_and_is_not_kept(records: Records, bot: BotDouble, served: Threaded,
                                                         double: Double, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    token = token_of(records)
    async with telegram_bench(records, bot, served, double) as bench:
        assert await start(bench, token) == words("linked", "zh", name="李雷")
        customer_id = records.one(Customer, Customer.number == "WLC00001").id
        assert linked(records) == {f"{BOT}:{CHAT}": customer_id}
        assert await start(bench, token) == words("linked", "zh", name="李雷")  # opened again by the same person
    assert records.all(Message)[0].text == "/start"
    written = " ".join(each.text for each in records.all(Message)) + caplog.text
    assert token not in written and token[len(MARK):] not in written
    assert len(records.all(LinkCode)) == 1 and bot.knocks == []


async def test_a_replayed_expired_forged_or_foreign_link_gets_a_polite_answer(
        sqlite_records: Records, bot: BotDouble, served: Threaded, double: Double,
        caplog: pytest.LogCaptureFixture) -> None:
    refused = words("link_refused", "zh")
    used, late = token_of(sqlite_records), token_of(sqlite_records)
    async with telegram_bench(sqlite_records, bot, served, double) as bench:
        await start(bench, used)
        assert await start(bench, used, 2002) == refused  # by somebody else
        assert await start(bench, token_of(sqlite_records, "WLC00002")) == refused  # this chat is another customer's
        assert await start(bench, make_link_token("another shop", 1, sqlite_records.clock()), 2003) == refused
        assert await start(bench, make_link_token(SECRET, 2**62, sqlite_records.clock()), 2004) == refused
        sqlite_records.clock.advance(hours=1)
        assert await start(bench, late, 2005) == refused
        assert await start(bench, MARK + "x" * 50, 2006) == refused
        assert await start(bench, "summer") == words("welcome", "zh", shop="暖家客服")
    assert [each for each in linked(sqlite_records).values() if each is not None] == [1]
    reasons = [each.args[0] for each in caplog.records if each.name == "gateway.telegram_inbox"]  # type: ignore[index]
    assert reasons == ["used or not theirs", "used or not theirs", "forged", "used or not theirs", "expired", "forged"]
    assert used[len(MARK):] not in caplog.text and late[len(MARK):] not in caplog.text


async def test_a_link_that_several_open_at_once_links_one(records: Records, bot: BotDouble, served: Threaded,
                                                          double: Double) -> None:
    token = token_of(records)
    async with telegram_bench(records, bot, served, double) as bench:
        updates = [double.say(BOT, chat, f"/start {token}") for chat in range(1, 7)]
        await asyncio.gather(*(bench.telegram.take(BOT, update, polled=False) for update in updates))
        await bench.telegram.idle()
    assert sum(each is not None for each in linked(records).values()) == 1 and len(linked(records)) == 6


async def test_a_code_that_was_sent_is_not_disturbed_by_a_link(sqlite_records: Records, bot: BotDouble,
                                                               served: Threaded, double: Double) -> None:
    async with telegram_bench(sqlite_records, bot, served, double) as bench:
        await start(bench, token_of(sqlite_records))
    identity, now = sqlite_records.one(ChannelIdentity), sqlite_records.clock()
    assert sqlite_records.do(confirm_link, identity_id=identity.id, code="123456", now=now).problem == "invalid_code"
    assert sqlite_records.do(start_linking, identity_id=identity.id, phone="1", now=now).code is None

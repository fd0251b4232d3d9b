"""Each channel as its customers see it, so that one test can hold all of them to the contract of gateway/channel.py.

A new channel is a new :class:`Door` here.
"""
from __future__ import annotations

import contextlib
import json
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Iterator
from itertools import count
from typing import Any, ClassVar

import httpx
from fastapi import FastAPI

from bench.telegram_double import Double
from bench.telegram_double import make_app as telegram_api
from bench.wechat_double import WechatDouble
from bench.wechat_double import make_app as wechat_api
from gateway.app import mount_gateway
from gateway.channel import PushedChannel
from gateway.delivery import Delivery, Pace
from gateway.dispatch import Dispatcher
from gateway.telegram import SECRET_HEADER, Telegram, webhook_path, webhook_secret
from gateway.telegram_client import TelegramBotClient
from gateway.visitors import COOKIE
from gateway.wechat import PATH as WECHAT_PATH
from gateway.wechat import Wechat
from gateway.wechat_client import WechatClient
from gateway.wechat_envelope import Account
from tests.gateway.conftest import HTTP_TOKEN, SECRET, BotDouble, Records, Threaded, make_deps

ADA, BEN = "ada", "ben"


class Door(ABC):
    """One channel before the bot's double. ``at`` is a bot or an account of it, 0 or 1; a person may be at both."""

    name: str

    def __init__(self, records: Records, bot: BotDouble) -> None:
        self.records = records
        self.deps = make_deps(records, bot.url)
        self.app = FastAPI()
        self.numbers = count(1)

    @abstractmethod
    async def say(self, text: str, person: str = ADA, at: int = 0, number: int | None = None) -> bool:
        """Write something; the same ``number`` again is the same message. Whether the channel acknowledges it."""

    @abstractmethod
    async def read(self, person: str = ADA, at: int = 0) -> list[str]:
        """What the person has read so far, in order, as the channel shows it."""

    @abstractmethod
    async def offered(self, person: str = ADA, at: int = 0) -> list[tuple[str, str]]:
        """The buttons that came last: what is on each, and what the channel sends when it is pressed."""

    @abstractmethod
    async def press(self, sends: str, person: str = ADA, at: int = 0) -> None:
        """Press a button, or claim to have pressed one."""

    @abstractmethod
    async def send_strange(self) -> list[str]:
        """Send something of a kind nobody knows; what the person is told about it."""

    @abstractmethod
    def measure(self, text: str) -> int:
        """How long a piece is as the channel counts."""

    limit: int

    def marks_up(self, sent: str) -> bool:
        """Whether the channel would make something else of a text than it says."""
        return False

    async def turn(self) -> None:
        """Have the bot answer, and send what is due."""
        await self.dispatcher.idle()

    async def close(self) -> None:
        """End everything."""
        await self.client.aclose()
        await self.dispatcher.idle()
        await self.deps.bot.close()
        self.deps.transactions.close()

    def open(self) -> None:
        """Put the channel into the application."""
        self.dispatcher = mount_gateway(self.app, self.deps)
        self.client = httpx.AsyncClient(transport=httpx.ASGITransport(self.app, raise_app_exceptions=False),
                                        base_url="http://desk")

    def next(self, number: int | None) -> int:
        return next(self.numbers) + 1000 if number is None else number


class WebDoor(Door):
    name, limit = "web", 1_000_000

    def measure(self, text: str) -> int:
        return len(text)

    def cookie(self, person: str, at: int) -> dict[str, str]:
        return {"Cookie": f"{COOKIE}={f'{person}-{at}'.ljust(40, '_')}"}

    async def _post(self, body: dict[str, Any], person: str, at: int) -> httpx.Response:
        return await self.client.post("/api/chat/messages", content=json.dumps(body).encode(), headers={
            "Content-Type": "application/json", **self.cookie(person, at)})

    async def say(self, text: str, person: str = ADA, at: int = 0, number: int | None = None) -> bool:
        answer = await self._post({"text": text, "message_id": f"m{self.next(number)}"}, person, at)
        return answer.is_success

    async def _said(self, person: str, at: int) -> list[dict[str, Any]]:
        answer = await self.client.get("/api/chat/messages", headers=self.cookie(person, at))
        assert answer.headers["content-type"] == "application/json" and "nosniff" in answer.headers.values()
        return [each for each in answer.json()["messages"] if each["author"] != "customer"]

    async def read(self, person: str = ADA, at: int = 0) -> list[str]:
        return [each["text"] for each in await self._said(person, at)]

    async def offered(self, person: str = ADA, at: int = 0) -> list[tuple[str, str]]:
        return [(each["title"], each["payload"]) for each in (await self._said(person, at))[-1]["buttons"]]

    async def press(self, sends: str, person: str = ADA, at: int = 0) -> None:
        await self._post({"text": "pressed", "payload": sends, "message_id": f"m{self.next(None)}"}, person, at)

    async def send_strange(self) -> list[str]:
        answer = await self._post({"sticker": 1, "message_id": "s"}, ADA, 0)
        assert 400 <= answer.status_code < 500
        return [answer.json()["message"]]


class HttpDoor(Door):
    name, limit = "http", 1_000_000

    def measure(self, text: str) -> int:
        return len(text)

    async def _post(self, body: dict[str, Any]) -> httpx.Response:
        return await self.client.post("/api/channels/http/messages", content=json.dumps(body).encode(), headers={
            "Authorization": f"Bearer {HTTP_TOKEN}", "Content-Type": "application/json"})

    async def say(self, text: str, person: str = ADA, at: int = 0, number: int | None = None) -> bool:
        answer = await self._post({"sender": f"{person}@{at}", "text": text, "message_id": f"m{self.next(number)}"})
        return answer.is_success

    async def _said(self, person: str, at: int) -> list[dict[str, Any]]:
        answer = await self.client.get("/api/channels/http/messages", params={"sender": f"{person}@{at}"},
                                       headers={"Authorization": f"Bearer {HTTP_TOKEN}"})
        assert answer.headers["content-type"] == "application/json" and "nosniff" in answer.headers.values()
        said: list[dict[str, Any]] = answer.json()["messages"]
        return said

    async def read(self, person: str = ADA, at: int = 0) -> list[str]:
        return [each["text"] for each in await self._said(person, at)]

    async def offered(self, person: str = ADA, at: int = 0) -> list[tuple[str, str]]:
        return [(each["title"], each["payload"]) for each in (await self._said(person, at))[-1]["buttons"]]

    async def press(self, sends: str, person: str = ADA, at: int = 0) -> None:
        await self._post({"sender": f"{person}@{at}", "text": "pressed", "payload": sends,
                          "message_id": f"m{self.next(None)}"})

    async def send_strange(self) -> list[str]:
        answer = await self._post({"sender": f"{ADA}@0", "message_id": "s", "sticker": 1})
        assert 400 <= answer.status_code < 500
        return [answer.json()["message"]]


class PushedDoor(Door):
    """A channel that messages are pushed to."""

    channel: PushedChannel

    @abstractmethod
    def leave(self, person: str = ADA) -> None:
        """Have the channel reach the person no more."""

    def open(self) -> None:
        super().open()
        self.channel = self.make(self.dispatcher)
        self.app.include_router(self.channel.router())
        self.delivery = Delivery(self.deps, [self.channel.adapter])

    @abstractmethod
    def make(self, dispatcher: Dispatcher) -> PushedChannel:
        """The channel before the double of its API."""

    async def turn(self) -> None:
        await super().turn()
        await self.delivery.look()
        await self.delivery.idle()

    async def close(self) -> None:
        await self.channel.close()
        await super().close()


class TelegramDoor(PushedDoor):
    name, limit = "telegram", 4096
    tokens = ("700000001:the-token-of-the-first-bot", "700000002:the-token-of-the-second-bot")
    bots = (700000001, 700000002)
    chats: ClassVar = {ADA: 1001, BEN: 1002}

    def __init__(self, records: Records, bot: BotDouble, double: Double, base: str) -> None:
        super().__init__(records, bot)
        self.double, self.base = double, base
        self.said: dict[tuple[int, int], dict[str, Any]] = {}
        for token in self.tokens:
            double.bot(token)

    def make(self, dispatcher: Dispatcher) -> PushedChannel:
        clients = [TelegramBotClient(token, self.base, pace=Pace(1e6, 0.0, time.monotonic)) for token in self.tokens]
        return Telegram(self.deps, dispatcher, clients, SECRET)

    async def _hook(self, update: dict[str, Any], at: int) -> bool:
        answer = await self.client.post(webhook_path(self.bots[at]), content=json.dumps(update).encode(), headers={
            SECRET_HEADER: webhook_secret(SECRET, self.bots[at]), "Content-Type": "application/json"})
        return answer.is_success

    async def say(self, text: str, person: str = ADA, at: int = 0, number: int | None = None) -> bool:
        key = (at, self.next(number))
        if key not in self.said:
            self.said[key] = self.double.say(self.bots[at], self.chats[person], text)
        return await self._hook(self.said[key], at)

    async def read(self, person: str = ADA, at: int = 0) -> list[str]:
        return self.double.texts(self.bots[at], self.chats[person])

    async def offered(self, person: str = ADA, at: int = 0) -> list[tuple[str, str]]:
        keyboard = self.double.sent(self.bots[at], self.chats[person])[-1]["reply_markup"]["inline_keyboard"]
        return [(row[0]["text"], row[0]["callback_data"]) for row in keyboard]

    async def press(self, sends: str, person: str = ADA, at: int = 0) -> None:
        assert await self._hook(self.double.press(self.bots[at], self.chats[person], 2, sends), at)

    async def send_strange(self) -> list[str]:
        assert await self._hook(self.double.say(self.bots[0], self.chats[ADA], None, hologram={"value": 3}), 0)
        await self.turn()
        return await self.read()

    def measure(self, text: str) -> int:
        return len(text.encode("utf-16-le")) // 2

    def leave(self, person: str = ADA) -> None:
        self.double.blocked.add((self.bots[0], self.chats[person]))

    def marks_up(self, sent: str) -> bool:
        return any("parse_mode" in call[2] for call in self.double.calls)


class WechatDoor(PushedDoor):
    name, limit = "wechat", 2048
    accounts = (Account("wx0000000000000001", "the-secret-of-the-first", "TokenOne", "a" * 43),
                Account("wx0000000000000002", "the-secret-of-the-second", "TokenTwo", "b" * 43))

    def __init__(self, records: Records, bot: BotDouble, double: WechatDouble, base: str) -> None:
        super().__init__(records, bot)
        self.double, self.base = double, base
        for each in self.accounts:
            double.account(each.app_id, each.secret, each.token, each.aes_key)

    def make(self, dispatcher: Dispatcher) -> PushedChannel:
        clients = [WechatClient(each, self.base, pace=Pace(1e6, 0.0, time.monotonic)) for each in self.accounts]
        return Wechat(self.deps, dispatcher, clients)

    async def _post(self, person: str, at: int, kind: str, **fields: str) -> bool:
        app_id = self.accounts[at].app_id
        query, body = self.double.posted(app_id, f"o-{person}", self.deps.clock(), kind, **fields)
        answer = await self.client.post(f"{WECHAT_PATH}/{app_id}", params=query, content=body)
        return answer.is_success

    async def say(self, text: str, person: str = ADA, at: int = 0, number: int | None = None) -> bool:
        return await self._post(person, at, "text", Content=text, MsgId=str(self.next(number)))

    async def read(self, person: str = ADA, at: int = 0) -> list[str]:
        return self.double.texts(self.accounts[at].app_id, f"o-{person}")

    async def offered(self, person: str = ADA, at: int = 0) -> list[tuple[str, str]]:
        menu = self.double.sent(self.accounts[at].app_id, f"o-{person}")[-1]["msgmenu"]
        return [(each["content"], each["id"]) for each in menu["list"]]

    async def press(self, sends: str, person: str = ADA, at: int = 0) -> None:
        assert await self._post(person, at, "text", Content="pressed", bizmsgmenuid=sends)

    async def send_strange(self) -> list[str]:
        assert await self._post(ADA, 0, "hologram")
        await self.turn()
        return await self.read()

    def measure(self, text: str) -> int:
        return len(text.encode())

    def leave(self, person: str = ADA) -> None:
        self.double.accounts[self.accounts[0].app_id].strangers.add(f"o-{person}")

    def marks_up(self, sent: str) -> bool:
        return "<a" in sent.lower()


@contextlib.contextmanager
def _telegram(records: Records, bot: BotDouble) -> Iterator[Door]:
    double = Double()
    server = Threaded(telegram_api(double))
    yield TelegramDoor(records, bot, double, server.base)
    server.stop()


@contextlib.contextmanager
def _wechat(records: Records, bot: BotDouble) -> Iterator[Door]:
    double = WechatDouble()
    server = Threaded(wechat_api(double))
    yield WechatDoor(records, bot, double, server.base)
    server.stop()


DOORS: dict[str, Callable[[Records, BotDouble], contextlib.AbstractContextManager[Door]]] = {
    "web": lambda records, bot: contextlib.nullcontext(WebDoor(records, bot)),
    "http": lambda records, bot: contextlib.nullcontext(HttpDoor(records, bot)),
    "telegram": _telegram,
    "wechat": _wechat,
}


@contextlib.asynccontextmanager
async def door_of(name: str, records: Records, bot: BotDouble) -> AsyncIterator[Door]:
    """A channel, open."""
    with DOORS[name](records, bot) as door:
        door.open()
        try:
            yield door
        finally:
            await door.close()

"""The Telegram channel before the double of the Bot API, with the bot double behind it, a step at a time."""
from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from bench.telegram_double import Double
from gateway.delivery import Delivery, Pace
from gateway.deps import GatewayDeps
from gateway.dispatch import Dispatcher
from gateway.telegram import Telegram
from gateway.telegram_client import TelegramBotClient
from tests.gateway.conftest import BotDouble, Records, Threaded, make_deps

TOKEN, BOT, CHAT = "700000001:the-token-of-the-first-bot", 700000001, 1001
OTHER_TOKEN, OTHER = "700000002:the-token-of-the-second-bot", 700000002
SECRET = "the-secret-of-the-webhooks"


@dataclass
class Bench:
    """The channel in this event loop, without its own loops."""

    deps: GatewayDeps
    dispatcher: Dispatcher
    telegram: Telegram
    delivery: Delivery
    clients: Sequence[TelegramBotClient]
    double: Double
    slept: list[float] = field(default_factory=list)

    async def fetch(self) -> None:
        """Poll every bot once."""
        for client in self.clients:
            await self.telegram.poll_once(client, timeout=0)
        await self.telegram.idle()

    async def deliver(self) -> None:
        """Send everything that is due."""
        await self.delivery.look()
        await self.delivery.idle()

    async def turn(self) -> None:
        """Poll, have the bot answer, deliver."""
        await self.fetch()
        await self.dispatcher.idle()
        await self.deliver()

    def texts(self, chat_id: int = CHAT, bot_id: int = BOT) -> list[str]:
        return self.double.texts(bot_id, chat_id)


@contextlib.asynccontextmanager
async def telegram_bench(records: Records, bot: BotDouble, served: Threaded, double: Double, *,
                         tokens: Sequence[str] = (TOKEN,), timeout: float = 10.0, **more: Any) -> AsyncIterator[Bench]:
    """The channel with these bots; may be left and entered again, as a restart."""
    deps = make_deps(records, bot.url, **more)
    dispatcher = Dispatcher(deps)
    clients = [TelegramBotClient(token, served.base, timeout=timeout, pace=Pace(1e6, 0.0, time.monotonic))
               for token in tokens]
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    for token in tokens:
        double.bot(token)
    telegram = Telegram(deps, dispatcher, clients, SECRET, sleep, polling=True)
    try:
        yield Bench(deps, dispatcher, telegram, Delivery(deps, [telegram.adapter]), clients, double, slept)
    finally:
        await telegram.close()
        await dispatcher.idle()
        await deps.bot.close()
        deps.transactions.close()

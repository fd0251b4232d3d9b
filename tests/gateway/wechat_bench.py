"""The WeChat channel before the double of WeChat's API, with the bot double behind it, a step at a time."""
from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any

import httpx
from fastapi import FastAPI

from bench.wechat_double import WechatDouble
from gateway.delivery import Delivery, Pace
from gateway.deps import GatewayDeps
from gateway.dispatch import Dispatcher
from gateway.wechat import PATH, Wechat
from gateway.wechat_client import WechatClient
from gateway.wechat_envelope import Account
from tests.gateway.conftest import BotDouble, Records, Threaded, make_deps

APP, OTHER_APP, PERSON = "wx0000000000000001", "wx0000000000000002", "oPerson-one_1"
ACCOUNT = Account(APP, "the-secret-of-the-first-account", "TokenOne", "a" * 43)
OTHER_ACCOUNT = Account(OTHER_APP, "the-secret-of-the-second-account", "TokenTwo", "b" * 43)
PLAIN_ACCOUNT = Account(APP, "the-secret-of-the-first-account", "TokenOne")


@dataclass
class Bench:
    """The channel in this event loop, without its own loops."""

    deps: GatewayDeps
    dispatcher: Dispatcher
    wechat: Wechat
    delivery: Delivery
    clients: Sequence[WechatClient]
    double: WechatDouble
    http: httpx.AsyncClient

    async def post(self, query: dict[str, str], body: bytes, app_id: str = APP) -> httpx.Response:
        """What WeChat's servers do."""
        return await self.http.post(f"{PATH}/{app_id}", params=query, content=body,
                                    headers={"Content-Type": "text/xml"})

    async def say(self, text: str, person: str = PERSON, app_id: str = APP, **fields: str) -> None:
        """Somebody writes, and it is taken."""
        await self.happen("text", person, app_id, Content=text, **fields)

    async def happen(self, kind: str, person: str = PERSON, app_id: str = APP, **fields: str) -> None:
        """Somebody does something, and it is taken."""
        answer = await self.post(*self.double.posted(app_id, person, self.deps.clock(), kind, **fields), app_id)
        assert (answer.status_code, answer.text) == (200, "success")

    async def deliver(self) -> None:
        """Send everything that is due."""
        await self.delivery.look()
        await self.delivery.idle()

    async def turn(self) -> None:
        """Have the bot answer, and deliver."""
        await self.wechat.idle()
        await self.dispatcher.idle()
        await self.deliver()

    def texts(self, person: str = PERSON, app_id: str = APP) -> list[str]:
        return self.double.texts(app_id, person)


@contextlib.asynccontextmanager
async def wechat_bench(records: Records, bot: BotDouble, served: Threaded, double: WechatDouble, *,
                       accounts: Sequence[Account] = (ACCOUNT,), timeout: float = 10.0,
                       **more: Any) -> AsyncIterator[Bench]:
    """The channel with these accounts; may be left and entered again, as a restart."""
    deps = make_deps(records, bot.url, **more)
    dispatcher = Dispatcher(deps)
    clients = [WechatClient(account, served.base, timeout=timeout, pace=Pace(1e6, 0.0, time.monotonic))
               for account in accounts]
    for account in accounts:
        double.account(account.app_id, account.secret, account.token, account.aes_key)
    wechat = Wechat(deps, dispatcher, clients)
    app = FastAPI()
    app.include_router(wechat.router())
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://desk") as http:
        try:
            yield Bench(deps, dispatcher, wechat, Delivery(deps, [wechat.adapter]), clients, double, http)
        finally:
            await wechat.close()
            await dispatcher.idle()
            await deps.bot.close()
            deps.transactions.close()

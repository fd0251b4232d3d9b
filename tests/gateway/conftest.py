"""A bot that speaks the door's HTTP and does as it is told, the gateway in front of it, and a desk behind."""
from __future__ import annotations

import asyncio
import contextlib
import json
import secrets
import tempfile
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from fastapi import FastAPI
from sqlalchemy import select
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from crm_store.attachment_files import AttachmentFiles
from crm_store.database import Store
from crm_store.live import Broadcast, watch_store
from crm_store.models import BusinessCalendar, Conversation, Customer, Message, SlaPolicy, SupportAgent, Team, Tier
from gateway.app import GatewayDeps, mount_gateway
from gateway.bot_client import BotClient
from gateway.dispatch import Dispatcher
from tests.conftest import free_port

BOT_TOKEN = "the-bot's-token"
HTTP_TOKEN = "the-http-channel's-token"
SECRET = "the-secret-that-signs"
CALM = {"anger": 0.1, "valence": "neutral"}


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Threaded:
    """An ASGI app served on loopback by a thread of its own."""

    def __init__(self, app: Any, port: int | None = None) -> None:
        self.port = port or free_port()
        config = uvicorn.Config(app, host="127.0.0.1", port=self.port, log_level="error", access_log=False,
                                timeout_graceful_shutdown=1, ws="none", proxy_headers=False)
        self.server = uvicorn.Server(config)
        self.thread = threading.Thread(target=lambda: asyncio.run(self.server.serve()), daemon=True)
        started = threading.Event()
        startup = self.server.startup

        async def announced(*arguments: Any, **named: Any) -> None:
            await startup(*arguments, **named)
            started.set()

        self.server.startup = announced  # type: ignore[method-assign]
        self.thread.start()
        assert started.wait(60)

    @property
    def base(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def stop(self) -> None:
        self.server.should_exit = True
        self.thread.join(20)
        assert not self.thread.is_alive()


@dataclass
class BotDouble:
    """The bot's door. Like the real one, it answers a message id it knows as before and runs nothing.

    Attributes:
        status: other than 200, that is all it says.
        before: called with each request before it is answered, in a thread, so that it may wait or write to the store.
        answer: makes the reply texts to a request, or the whole answer.
        knocks: every request, in order.
        ran: how often each message id was really run.
    """

    status: int = 200
    before: Callable[[dict[str, Any]], None] = lambda body: None
    answer: Callable[[dict[str, Any]], Any] = lambda body: [f"re: {body['text']}"]
    knocks: list[dict[str, Any]] = field(default_factory=list)
    ran: Counter[int] = field(default_factory=Counter)
    together: int = 0
    most_together: int = 0
    overlapped: bool = False
    _known: dict[int, Any] = field(default_factory=dict)
    _inside: Counter[int] = field(default_factory=Counter)
    server: Threaded | None = None

    @property
    def url(self) -> str:
        assert self.server is not None
        return self.server.base

    def start(self) -> None:
        """Serve; after a stop, on the same port."""
        app = Starlette(routes=[Route("/webhooks/warmline/messages", self._knock, methods=["POST"])])
        self.server = Threaded(app, self.server.port if self.server else None)

    def stop(self) -> None:
        assert self.server is not None
        self.server.stop()

    async def _knock(self, request: Request) -> JSONResponse:
        if request.headers.get("authorization") != f"Bearer {BOT_TOKEN}":
            return JSONResponse({"error": "unauthorized"}, 401)
        body = json.loads(await request.body())
        self.knocks.append(body)
        conversation = body["conversation_id"]
        self.together += 1
        self.most_together = max(self.most_together, self.together)
        self.overlapped |= self._inside[conversation] > 0
        self._inside[conversation] += 1
        try:
            await asyncio.get_running_loop().run_in_executor(None, self.before, body)
            if self.status != 200:
                return JSONResponse({"error": "as told"}, self.status)
            if body["message_id"] not in self._known:
                self.ran[body["message_id"]] += 1
                self._known[body["message_id"]] = self._said(body)
            return JSONResponse(self._known[body["message_id"]])
        finally:
            self._inside[conversation] -= 1
            self.together -= 1

    def _said(self, body: dict[str, Any]) -> Any:
        said = self.answer(body) if body["mode"] == "turn" else []
        if isinstance(said, dict):
            return said
        return {"replies": [{"text": each, "buttons": []} if isinstance(each, str) else each for each in said],
                "understood": {"intent": "greet", "confidence": 0.93, "language": "zh", "sentiment": CALM,
                               "entities": [], "articles": []}}


@pytest.fixture
def bot() -> Iterator[BotDouble]:
    double = BotDouble()
    double.start()
    yield double
    double.stop()


class SetClock:
    """The time as the test says it is."""

    def __init__(self, now: datetime) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now

    def advance(self, **duration: float) -> None:
        self.now += timedelta(**duration)


@pytest.fixture
def clock(now: datetime) -> SetClock:
    return SetClock(now)


def furnish(store: Store, now: datetime) -> None:
    """Two agents with a calendar and the promise of 15 minutes, and two customers."""
    with store.write() as session:
        session.add(Tier(code="silver", rank=0, name_zh="银卡", name_en="Silver", minimum_spend_fen=0, multiplier=1,
                         benefits_zh="-", benefits_en="-", anger_route=0.8, anger_watch=0.5))
        team = Team(name="front line", level="front_line")
        calendar = BusinessCalendar(name="desk", time_zone="Asia/Shanghai", holidays="CN", closing_days=[],
                                    weekly={str(day): [["09:00", "21:00"]] for day in range(7)})
        session.add_all([team, calendar])
        session.flush()
        for login, name in (("wangmin", "王敏"), ("lina", "李娜")):
            session.add(SupportAgent(login=login, name=name, password_hash="-", role="agent", team_id=team.id,
                                     languages=["zh", "en"], capacity=50, created_at=now))
        session.add(SlaPolicy(name="handoff", position=0, ticket_kind="handoff", calendar_id=calendar.id,
                              first_response_seconds=900, next_response_seconds=900, resolution_seconds=86400))
        for number, name in (("WLC00001", "李雷"), ("WLC00002", "Ann <b>Miller</b>")):
            session.add(Customer(number=number, name=name, language="zh", tier_code="silver", created_at=now))


@dataclass
class Records:
    """Looks into a store, and does to it what the desk would."""

    store: Store
    clock: SetClock

    def all(self, model: Any, *conditions: Any) -> list[Any]:
        with self.store.read() as session:
            found = list(session.execute(select(model).where(*conditions).order_by(model.id)).scalars())
            session.expunge_all()
            return found

    def one(self, model: Any, *conditions: Any) -> Any:
        (found,) = self.all(model, *conditions)
        return found

    def said(self, *conditions: Any) -> list[str]:
        """What went out to customers, in order."""
        return [message.text for message in self.all(Message, Message.direction == "outgoing",
                                                     Message.delivery_state != "dropped", *conditions)]

    def do(self, service: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        """One service in a unit of work of its own."""
        with self.store.write() as session:
            return service(session, *arguments, **named)

    def agent(self, login: str = "wangmin") -> SupportAgent:
        return self.one(SupportAgent, SupportAgent.login == login)

    def conversation(self) -> Conversation:
        return self.one(Conversation)


@pytest.fixture
def records(store: Store, clock: SetClock) -> Records:
    """A furnished store on each database."""
    furnish(store, clock())
    return Records(store, clock)


@pytest.fixture
def sqlite_records(sqlite_store: Store, clock: SetClock) -> Records:
    """A furnished store on SQLite, for what does not depend on the database."""
    furnish(sqlite_store, clock())
    return Records(sqlite_store, clock)


def make_deps(records: Records, bot_url: str, **more: Any) -> GatewayDeps:
    """What the gateway is given; to be made inside the event loop."""
    timeout = more.get("bot_timeout", 10.0)
    folder = Path(tempfile.gettempdir(), f"warmline-{secrets.token_hex(8)}")  # made by whoever writes to it
    return GatewayDeps(**{
        "store": records.store, "broadcast": Broadcast(), "nudge": asyncio.Event(), "clock": records.clock,
        "bot": BotClient(bot_url, BOT_TOKEN, timeout), "secret": SECRET, "http_token": HTTP_TOKEN,
        "files": AttachmentFiles(folder),
        "http_rate": 10_000, "chat_rate": 10_000, **more})


@contextlib.asynccontextmanager
async def dispatching(records: Records, bot: BotDouble, **more: Any) -> AsyncIterator[Dispatcher]:
    """A dispatcher in this event loop, without its own scan."""
    deps = make_deps(records, bot.url, **more)
    try:
        yield Dispatcher(deps)
    finally:
        await deps.bot.close()
        deps.transactions.close()


class Gateway:
    """The gateway as a service of its own, with all of its loops, and clients for it."""

    def __init__(self, records: Records, bot: BotDouble, **more: Any) -> None:
        self.records, self.bot = records, bot
        self.numbers = count(1)
        self.clients: list[httpx.Client] = []
        self.settings = more
        self.server = Threaded(self._app())
        self.base = self.server.base

    def _app(self) -> FastAPI:
        @contextlib.asynccontextmanager
        async def lifespan(app: FastAPI) -> AsyncIterator[None]:
            self.deps = make_deps(self.records, self.bot.url, **self.settings)
            self.dispatcher = mount_gateway(app, self.deps)
            loops = [asyncio.create_task(self.dispatcher.run()),
                     asyncio.create_task(watch_store(self.records.store, self.deps.broadcast, self.deps.nudge, 0.05))]
            yield
            for loop in loops:
                loop.cancel()
            await asyncio.gather(*loops, return_exceptions=True)
            self.deps.transactions.close()

        return FastAPI(lifespan=lifespan, openapi_url="/api/openapi.json")

    def stop(self) -> None:
        self.server.stop()

    def start(self) -> None:
        """Serve again on the same port, as a new process."""
        self.server = Threaded(self._app(), self.server.port)

    def client(self, **headers: str) -> httpx.Client:
        """A client with cookies of its own."""
        client = httpx.Client(base_url=self.base, timeout=20, headers=headers, trust_env=False)
        self.clients.append(client)
        return client

    def post(self, text: Any = "你好", *, sender: Any = "ada", message_id: Any = None, **more: Any) -> httpx.Response:
        """A message by the HTTP channel."""
        body = {"sender": sender, "message_id": message_id or f"m{next(self.numbers)}", "text": text, **more}
        return httpx.post(f"{self.base}/api/channels/http/messages", content=json.dumps(body).encode(), timeout=30,
                          headers={"Authorization": f"Bearer {HTTP_TOKEN}", "Content-Type": "application/json"})

    def poll(self, sender: str = "ada", **query: Any) -> httpx.Response:
        return httpx.get(f"{self.base}/api/channels/http/messages", params={"sender": sender, **query}, timeout=30,
                         headers={"Authorization": f"Bearer {HTTP_TOKEN}"})

    def close(self) -> None:
        for client in self.clients:
            client.close()
        self.server.stop()


@pytest.fixture
def gateway(sqlite_records: Records, bot: BotDouble) -> Iterator[Gateway]:
    """The gateway on SQLite."""
    running = Gateway(sqlite_records, bot)
    yield running
    running.close()


@pytest.fixture
def gateway_on_each(records: Records, bot: BotDouble) -> Iterator[Gateway]:
    """The gateway on each database."""
    running = Gateway(records, bot)
    yield running
    running.close()


@pytest.fixture
def folder() -> Path:
    """Where the gateway's sources are."""
    return Path(__file__).resolve().parents[2] / "gateway"

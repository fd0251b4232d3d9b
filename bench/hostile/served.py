"""The real application on loopback, with a bot that repeats what it is told, and everything it logs."""
from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import uvicorn
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from bench.processes import free_ports
from crm_store.database import Store
from crm_store.demo import load_demo_shop
from crm_store.schema import migrate
from warmline.clock import now
from warmline.http_server import PatientProtocol
from warmline.service import make_app
from warmline.settings import ROOT, Settings

PASSWORD = "a password for the bench alone"
ROLES = {"agent": "wangmin", "lead": "zhaolei", "manager": "manager", "admin": "admin"}
BOT = "700000001:the-token-of-a-bot-of-the-bench"
TOKEN = "a-token-for-the-bench-alone"
MANY = 10**6


class Served:
    """An ASGI app in a thread of its own."""

    def __init__(self, app: Any, port: int) -> None:
        config = uvicorn.Config(app, host="127.0.0.1", port=port, log_config=None, access_log=False, ws="none",
                                proxy_headers=False, timeout_graceful_shutdown=1, http=PatientProtocol)
        self._server = uvicorn.Server(config)
        self._started = threading.Event()
        startup = self._server.startup

        async def announced(*arguments: Any, **named: Any) -> None:
            await startup(*arguments, **named)
            self._started.set()

        self._server.startup = announced  # type: ignore[method-assign]
        self._thread = threading.Thread(target=lambda: asyncio.run(self._server.serve()), daemon=True)

    def __enter__(self) -> Served:
        self._thread.start()
        if not self._started.wait(120):
            raise RuntimeError("the application did not start")
        return self

    def __exit__(self, *_: object) -> None:
        self._server.should_exit = True
        self._thread.join(30)


class Errors(logging.Handler):
    """Every error that is logged, by where it comes from and its last line."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.found: Counter[str] = Counter()

    def emit(self, record: logging.LogRecord) -> None:
        what = f"{type(record.exc_info[1]).__name__}: {record.exc_info[1]}" if record.exc_info else ""
        where = ""
        trace = record.exc_info[2] if record.exc_info else None
        while trace is not None:
            code = trace.tb_frame.f_code
            if str(ROOT) in code.co_filename and ".venv" not in code.co_filename:
                where = f" in {Path(code.co_filename).name}:{trace.tb_lineno}"
            trace = trace.tb_next
        self.found[f"{record.name}: {record.getMessage()[:120]} {what[:200]}{where}"] += 1


@dataclass
class Shop:
    """The running application and who may use it. ``agents``: a client logged in with each role."""

    app: FastAPI
    base: str
    store: Store
    settings: Settings
    errors: Errors
    agents: dict[str, httpx.Client] = field(default_factory=dict)

    def client(self, **headers: str) -> httpx.Client:
        """A client with cookies of its own."""
        kept = httpx.Limits(keepalive_expiry=1.0)  # shorter than the server's: nothing is sent into what just closed
        return httpx.Client(base_url=self.base, timeout=60, headers=headers, trust_env=False, follow_redirects=False,
                            limits=kept)

    def log_in(self, role: str) -> httpx.Client:
        """A client logged in with a role, anew where it is no longer."""
        known = self.agents.get(role)
        if known is not None and known.get("/api/me").status_code == 200:
            return known
        client = self.client()
        answer = client.post("/api/login", json={"login": ROLES[role], "password": PASSWORD})
        if answer.status_code != 200:
            raise RuntimeError(f"{role} can no longer log in: {answer.text}")
        self.agents[role] = client
        return client


async def _repeat(request: Request) -> JSONResponse:
    """The bot: says what it was told, also as a button."""
    asked = await request.json()
    text = asked["text"]
    said = [{"text": text, "buttons": [{"title": text[:60], "payload": "/x" + text[:400]}]}]
    return JSONResponse({
        "replies": said if asked["mode"] == "turn" else [],
        "understood": {"intent": text[:60], "confidence": 0.5, "language": "en",
                       "sentiment": {"anger": 0.1, "valence": "neutral"}, "entities": [{"value": text}],
                       "articles": [{"slug": text, "score": 0.5}], "ranking": [text]}})


@contextlib.contextmanager
def running_shop(folder: Path, **more: Any) -> Iterator[Shop]:
    """The service over a store of its own in ``folder``, filled with the demo shop, until the block ends."""
    port, bot_port, nobody = free_ports(3)
    settings = Settings(
        database_url=f"sqlite:///{folder / 'warmline.db'}", host="127.0.0.1", port=port, bot_port=bot_port,
        secret=TOKEN, http_token=TOKEN, bot_token=TOKEN, telegram_token=BOT, telegram_mode="webhook",
        telegram_secret=TOKEN,
        telegram_api=f"http://127.0.0.1:{nobody}", data_folder=folder, http_rate=MANY, chat_rate=MANY, **more)
    migrate(settings.database_url)
    store = Store(settings.database_url)
    with store.write() as session:
        load_demo_shop(session, folder=ROOT / "data", now=now(), password=PASSWORD)
    errors, root = Errors(), logging.getLogger()
    root.addHandler(errors)
    app = make_app(settings, store)
    bot = Starlette(routes=[Route("/webhooks/warmline/messages", _repeat, methods=["POST"])])
    try:
        with Served(bot, bot_port), Served(app, port):
            shop = Shop(app, f"http://127.0.0.1:{port}", store, settings, errors)
            for role in ROLES:
                shop.log_in(role)
            yield shop
            for client in shop.agents.values():
                client.close()
    finally:
        root.removeHandler(errors)
        store.close()

"""Health for load balancers and people: `/healthz` says the process is alive, `/readyz` asks every part."""
from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

import httpx
from sqlalchemy import text
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from crm_store.database import Store
from warmline.settings import Settings

ASK_EVERY = 2.0
PART_TIMEOUT = 5.0


class Health:
    """Asks each part whether it works, at most every two seconds however often it is asked itself."""

    def __init__(self, settings: Settings, store: Store) -> None:
        self._settings = settings
        self._store = store
        self._client = httpx.AsyncClient(timeout=PART_TIMEOUT)
        self._asked_at = -ASK_EVERY
        self._parts: dict[str, str] = {}
        self._lock = asyncio.Lock()

    async def parts(self) -> dict[str, str]:
        """Each part with "ok" or what is wrong with it."""
        async with self._lock:
            if time.monotonic() - self._asked_at >= ASK_EVERY:
                checks: dict[str, Callable[[], Awaitable[None]]] = {
                    "database": self._database, "actions": self._actions, "bot": self._bot}
                answers = await asyncio.gather(*(self._ask(check) for check in checks.values()))
                self._parts = dict(zip(checks, answers, strict=True))
                self._asked_at = time.monotonic()
            return self._parts

    @staticmethod
    async def _ask(check: Callable[[], Awaitable[None]]) -> str:
        try:
            await check()
        except httpx.HTTPError as error:
            return f"unreachable ({type(error).__name__})"
        except Exception as error:
            return type(error).__name__ if not str(error) else str(error).splitlines()[0][:100]
        return "ok"

    async def _database(self) -> None:
        def query() -> None:
            with self._store.read() as session:
                session.execute(text("SELECT 1 FROM conversations LIMIT 1"))

        await run_in_threadpool(query)

    async def _actions(self) -> None:
        (await self._client.get(f"{self._settings.actions_url}/health")).raise_for_status()

    async def _bot(self) -> None:
        answer = await self._client.post(f"{self._settings.bot_url}/model/parse", json={"text": "hello"},
                                         params={"token": self._settings.bot_token})
        answer.raise_for_status()
        if answer.json().get("sentiment") is None:
            raise RuntimeError("the encoder does not run; anger is unknown")

    async def close(self) -> None:
        """Close the HTTP client."""
        await self._client.aclose()

    def routes(self) -> list[Route]:
        """The two addresses."""
        async def healthz(_: Request) -> JSONResponse:
            return JSONResponse({"status": "alive"})

        async def readyz(_: Request) -> JSONResponse:
            parts = await self.parts()
            ready = all(state == "ok" for state in parts.values())
            return JSONResponse({"status": "ready" if ready else "not ready", "parts": parts},
                                status_code=200 if ready else 503)

        return [Route("/healthz", healthz), Route("/readyz", readyz)]

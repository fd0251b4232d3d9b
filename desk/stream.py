"""What is live at the desk: a stream of server-sent events that say where to look again."""
from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator

from fastapi import APIRouter, Depends, Request, Response
from sse_starlette import EventSourceResponse
from starlette.concurrency import run_in_threadpool

from crm_store.errors import NotFound
from crm_store.live import QUEUE, Broadcast, LiveEvent
from crm_store.models import SupportAgent
from crm_store.services.access import access_conversation
from desk import auth
from desk.api import named_id
from desk.deps import DeskDeps, deps_of
from desk.routing import PageRoute

router = APIRouter(route_class=PageRoute, include_in_schema=False)

CHECK_SECONDS = 20.0
PING_SECONDS = 15
RETRY_MS = 2000


@router.get("/desk/stream")
def stream(request: Request, conversation: str = "", deps: DeskDeps = Depends(deps_of),
           agent: SupportAgent = Depends(auth.current_agent)) -> Response:
    """Events "queue", "conversation", "presence" and "notice" as they happen; they carry ids only, what they mean is
    fetched with access. A notice is told to its agent only.

    "ready" comes first, once nothing can be missed any more; "ended" when the session is over. Session and access are
    looked at again and again, however much happens: who lost the conversation hears of it no more.
    """
    topics = [QUEUE]
    key = named_id(conversation)
    if key is not None:
        with deps.store.read() as session:
            access_conversation(session, agent, key)
        topics.append(f"conversation:{key}")
    return EventSourceResponse(_events(request, deps.broadcast, topics, key, agent.id), ping=PING_SECONDS,
                               headers={"X-Accel-Buffering": "no"})


async def _events(request: Request, broadcast: Broadcast, topics: list[str],
                  key: int | None, agent_id: int) -> AsyncIterator[dict[str, str | int]]:
    loop, sees = asyncio.get_running_loop(), True
    async with broadcast.subscribe(*topics) as events:
        yield {"event": "ready", "data": "{}", "retry": RETRY_MS}
        check_at = loop.time() + CHECK_SECONDS
        upcoming = asyncio.ensure_future(events.__anext__())
        try:
            while True:
                done, _ = await asyncio.wait({upcoming}, timeout=max(0.0, check_at - loop.time()))
                if loop.time() >= check_at:
                    agent = await run_in_threadpool(auth.find_agent, request)
                    if agent is None:
                        yield {"event": "ended", "data": "{}"}
                        return
                    sees = key is None or await run_in_threadpool(_sees, deps_of(request), agent, key)
                    check_at = loop.time() + CHECK_SECONDS
                if not done:
                    continue
                event = upcoming.result()
                upcoming = asyncio.ensure_future(events.__anext__())
                if _concerns(event, agent_id) if event.topic == QUEUE else sees:
                    yield _told(event)
        finally:
            upcoming.cancel()


def _sees(deps: DeskDeps, agent: SupportAgent, conversation_id: int) -> bool:
    with deps.store.read() as session, contextlib.suppress(NotFound):
        access_conversation(session, agent, conversation_id)
        return True
    return False


def _concerns(event: LiveEvent, agent_id: int) -> bool:
    return event.data.get("kind") != "notice" or agent_id in event.data["agent_ids"]


def _told(event: LiveEvent) -> dict[str, str | int]:
    if event.topic == QUEUE:
        return {"event": "notice" if event.data.get("kind") == "notice" else "queue", "data": "{}"}
    told = {"conversation_id": event.data.get("conversation_id")}
    told |= {"author": event.data["author"]} if "author" in event.data else {}
    name = "presence" if event.data.get("kind") == "presence" else "conversation"
    return {"event": name, "data": json.dumps(told)}

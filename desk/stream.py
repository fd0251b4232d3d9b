"""What is live at the desk: a stream of server-sent events that say where to look again."""
from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

from fastapi import APIRouter, Depends, Request, Response
from sse_starlette import EventSourceResponse
from starlette.concurrency import run_in_threadpool

from crm_store.live import QUEUE, Broadcast
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
    """Events "queue" and "conversation" as they happen; they carry ids only, what they mean is fetched with access.

    "ready" comes first, once nothing can be missed any more; "ended" when the session is over.
    """
    topics = [QUEUE]
    key = named_id(conversation)
    if key is not None:
        with deps.store.read() as session:
            access_conversation(session, agent, key)
        topics.append(f"conversation:{key}")
    return EventSourceResponse(_events(request, deps.broadcast, topics), ping=PING_SECONDS,
                               headers={"X-Accel-Buffering": "no"})


async def _events(request: Request, broadcast: Broadcast, topics: list[str]) -> AsyncIterator[dict[str, str | int]]:
    async with broadcast.subscribe(*topics) as events:
        yield {"event": "ready", "data": "{}", "retry": RETRY_MS}
        upcoming = asyncio.ensure_future(events.__anext__())
        try:
            while True:
                done, _ = await asyncio.wait({upcoming}, timeout=CHECK_SECONDS)
                if not done:
                    if await run_in_threadpool(auth.find_agent, request) is None:
                        yield {"event": "ended", "data": "{}"}
                        return
                    continue
                event = upcoming.result()
                upcoming = asyncio.ensure_future(events.__anext__())
                name = "queue" if event.topic == QUEUE else "conversation"
                told = {"conversation_id": event.data.get("conversation_id")} if name == "conversation" else {}
                told |= {"author": event.data["author"]} if "author" in event.data and told else {}
                yield {"event": name, "data": json.dumps(told)}
        finally:
            upcoming.cancel()

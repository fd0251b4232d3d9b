"""The stream: what happens is told within a second, to those who may know, while their session lasts."""
from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from sqlalchemy import select

from crm_store.live import QUEUE, watch_store
from crm_store.models import Conversation, Ticket
from crm_store.services.handoff import escalate_conversation
from desk import stream
from tests.desk.conftest import Desk

PATIENCE = 20.0


class Stream:
    """A client of the stream that speaks to the application itself, because a stream never ends."""

    def __init__(self, desk: Desk, token: str, query: str = "") -> None:
        self.chunks: asyncio.Queue[str] = asyncio.Queue()
        self.status: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self.headers: dict[str, str] = {}
        self.scope = {
            "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "GET", "scheme": "http",
            "path": "/desk/stream", "raw_path": b"/desk/stream", "query_string": query.encode(), "root_path": "",
            "headers": [(b"host", b"desk.test"), (b"cookie", f"warmline_session={token}".encode())],
            "client": ("127.0.0.1", 1), "server": ("desk.test", 80)}
        self.gone = asyncio.Event()
        self.task = asyncio.ensure_future(desk.app(self.scope, self.receive, self.send))

    async def receive(self) -> dict[str, Any]:
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Any) -> None:
        if message["type"] == "http.response.start":
            self.headers = {name.decode().lower(): value.decode() for name, value in message["headers"]}
            self.status.set_result(message["status"])
        elif message.get("body"):
            self.chunks.put_nowait(message["body"].decode())

    async def next(self) -> tuple[str, str]:
        """The next event: its name and data."""
        while True:
            chunk = await asyncio.wait_for(self.chunks.get(), PATIENCE)
            fields = dict(line.split(": ", 1) for line in chunk.splitlines() if ": " in line and line[0] != ":")
            if "event" in fields:
                return fields["event"], fields["data"]

    async def close(self) -> None:
        self.gone.set()
        await asyncio.wait_for(self.task, PATIENCE)


@contextlib.asynccontextmanager
async def streaming(desk: Desk, login: str, query: str = "") -> AsyncIterator[Stream]:
    token = (await asyncio.to_thread(desk.client, login)).cookies["warmline_session"]
    opened = Stream(desk, token, query)
    try:
        yield opened
    finally:
        await opened.close()


def run(test: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(test(), 60))  # type: ignore[arg-type]


def test_an_escalation_reaches_the_queue_of_an_open_desk(desk: Desk) -> None:
    conversation, message = desk.says("a", "马上叫你们经理来！", anger=0.94)

    def escalate() -> None:
        with desk.store.write() as session:
            escalate_conversation(session, conversation_id=conversation, message_id=message, reason="anger",
                                  anger=0.94, now=desk.clock())

    async def test() -> None:
        nudge = asyncio.Event()
        watching = asyncio.ensure_future(watch_store(desk.store, desk.broadcast, nudge, interval=0.1))
        async with streaming(desk, "wang", f"conversation={conversation}") as opened:
            assert await opened.status == 200
            assert opened.headers["content-type"].startswith("text/event-stream")
            assert "default-src 'none'" in opened.headers["content-security-policy"]
            assert opened.headers["cache-control"] in ("no-store", "no-cache")
            assert (await opened.next())[0] == "ready"
            desk.clock.move(seconds=1)
            await asyncio.to_thread(escalate)
            nudge.set()
            told: list[tuple[str, str]] = []
            while not {"queue", "conversation"} <= {name for name, _ in told}:
                told.append(await opened.next())
            for name, data in told:
                assert "马上" not in data
                assert name != "queue" or data == "{}", "others' conversations are nobody's business"
        watching.cancel()

    run(test)


def test_the_stream_tells_of_the_open_conversation_only(lite: Desk) -> None:
    mine, other = lite.escalated("a"), lite.escalated("b")

    async def test() -> None:
        async with streaming(lite, "wang", f"conversation={mine}") as opened:
            assert (await opened.next())[0] == "ready"
            lite.broadcast.publish(f"conversation:{other}", {"kind": "message", "conversation_id": other})
            lite.broadcast.publish(f"conversation:{mine}", {"kind": "message", "conversation_id": mine,
                                                            "author": "customer"})
            lite.broadcast.publish(QUEUE, {"kind": "state", "conversation_id": other})
            assert await opened.next() == ("conversation", f'{{"conversation_id": {mine}, "author": "customer"}}')
            assert await opened.next() == ("queue", "{}")
        for _ in range(100):
            if not lite.broadcast.subscribers(QUEUE):
                break
            await asyncio.sleep(0.01)
        assert lite.broadcast.subscribers(QUEUE) == 0, "who has gone is no longer told"

    run(test)


def test_the_stream_ends_with_the_session(lite: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "CHECK_SECONDS", 0.05)

    async def test() -> None:
        async with streaming(lite, "wang") as opened:
            assert (await opened.next())[0] == "ready"
            lite.clock.move(hours=3)
            assert (await opened.next())[0] == "ended"
            await asyncio.wait_for(opened.task, PATIENCE)

    run(test)


def test_the_stream_of_a_busy_desk_ends_with_the_session_too(lite: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "CHECK_SECONDS", 0.05)

    async def test() -> None:
        async with streaming(lite, "wang") as opened:
            assert (await opened.next())[0] == "ready"
            lite.clock.move(hours=3)
            until = asyncio.get_running_loop().time() + PATIENCE
            name = ""
            while name != "ended" and asyncio.get_running_loop().time() < until:  # there is never silence
                lite.broadcast.publish(QUEUE, {})
                name, _ = await opened.next()
            assert name == "ended"
            await asyncio.wait_for(opened.task, PATIENCE)

    run(test)


def test_who_lost_the_conversation_hears_of_it_no_more(lite: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "CHECK_SECONDS", 0.0)
    conversation = lite.escalated("a", assignee="wang")
    topic, said = f"conversation:{conversation}", {"kind": "message", "conversation_id": conversation}

    async def test() -> None:
        async with streaming(lite, "wang", f"conversation={conversation}") as opened:
            assert (await opened.next())[0] == "ready"
            lite.broadcast.publish(topic, said)
            assert (await opened.next())[0] == "conversation"
            await asyncio.to_thread(give_away)
            lite.broadcast.publish(topic, said)
            lite.broadcast.publish(QUEUE, {})
            assert await opened.next() == ("queue", "{}")

    def give_away() -> None:
        with lite.store.write() as session:
            found = session.get(Conversation, conversation)
            found.assignee_id = lite.agent("eva").id
            for ticket in session.execute(select(Ticket)).scalars():
                ticket.keeper_id = None

    run(test)


def test_nobody_listens_to_what_they_may_not_see(lite: Desk) -> None:
    conversation = lite.escalated("a", assignee="wang")

    async def test() -> None:
        for token, expected in (("", 401), ("wrong", 401)):
            opened = Stream(lite, token)
            assert await opened.status == expected
            await opened.close()
        async with streaming(lite, "lee", f"conversation={conversation}") as opened:
            assert await opened.status == 404

    run(test)


def test_a_notice_is_told_to_its_agent_only(lite: Desk) -> None:
    wang, lee = lite.agent("wang").id, lite.agent("lee").id

    async def test() -> None:
        async with streaming(lite, "wang") as opened:
            assert (await opened.next())[0] == "ready"
            lite.broadcast.publish(QUEUE, {"kind": "notice", "agent_ids": [lee]})
            lite.broadcast.publish(QUEUE, {"kind": "state", "conversation_id": 1})
            lite.broadcast.publish(QUEUE, {"kind": "notice", "agent_ids": [lee, wang]})
            assert [await opened.next(), await opened.next()] == [("queue", "{}"), ("notice", "{}")]

    run(test)

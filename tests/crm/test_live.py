"""Open pages hear of what was committed, once each, from any thread and across processes."""
from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from crm_store import live
from crm_store.live import BACKLOG, Broadcast, LiveEvent, StoreWatch, watch_store
from crm_store.models import Message, Notification
from crm_store.models.search import INDEX_TABLE
from crm_store.services.dispatch import lease_conversation
from crm_store.services.handoff import add_note, take_over_conversation
from tests.crm.conftest import Desk

SOON = 10  # seconds that a busy machine may need; what is waited for comes by an event, not by time


async def take(events: AsyncIterator[LiveEvent], count: int) -> list[LiveEvent]:
    return [await asyncio.wait_for(events.__anext__(), SOON) for _ in range(count)]


def test_subscribers_get_their_topics_from_any_thread() -> None:
    async def run() -> None:
        broadcast = Broadcast()
        async with broadcast.subscribe("a", "b") as both, broadcast.subscribe("b") as one:
            thread = threading.Thread(target=lambda: [broadcast.publish(t, {"n": n}) for n, t in enumerate("abcb")])
            thread.start()
            assert [(e.topic, e.data["n"]) for e in await take(both, 3)] == [("a", 0), ("b", 1), ("b", 3)]
            assert [e.data["n"] for e in await take(one, 2)] == [1, 3]
            thread.join()
        assert broadcast.subscribers("a") == broadcast.subscribers("b") == 0
        broadcast.publish("a", {})

    asyncio.run(run())


def test_a_subscriber_that_does_not_keep_up_loses_the_oldest() -> None:
    async def run() -> None:
        broadcast = Broadcast()
        async with broadcast.subscribe("a") as events:
            for n in range(BACKLOG + 5):
                broadcast.publish("a", {"n": n})
            await asyncio.sleep(0)
            assert (await take(events, 1))[0].data["n"] == 5

    asyncio.run(run())


def test_publishing_to_a_loop_that_has_ended_harms_nobody() -> None:
    broadcast = Broadcast()

    async def leave() -> None:
        await broadcast.subscribe("a").__aenter__()

    asyncio.run(leave())
    broadcast.publish("a", {})


def seen(watch: StoreWatch) -> list[tuple[str, Any]]:
    return [(e.topic, e.data.get("message_id", e.data["kind"])) for e in watch.look()]


def test_a_watch_finds_each_message_and_change_once(desk: Desk) -> None:
    desk.write("before")
    watch = StoreWatch(desk.store)
    assert watch.look() == [] == watch.look()
    received = desk.write("new", at=desk.now + timedelta(seconds=1))
    c, i = received.conversation.id, received.conversation.identity_id
    assert seen(watch) == [
        (f"conversation:{c}", received.message.id), (f"identity:{i}", received.message.id),
        (f"conversation:{c}", "state"), (f"identity:{i}", "state"), ("queue", "state")]
    assert watch.look() == []


def test_customers_hear_nothing_of_notes_and_dropped_replies(desk: Desk) -> None:
    received = desk.write()
    c, i = received.conversation.id, received.conversation.identity_id
    turn = desk.turn(c)
    watch = StoreWatch(desk.store)
    watch.look()
    desk.do(take_over_conversation, c, desk.agent("wang"), desk.now)
    desk.answer(turn, "too late")
    note = desk.do(add_note, c, desk.agent("wang"), "secret", desk.now)
    events = seen(watch)
    assert (f"conversation:{c}", note.id) in events
    assert [event for event in events if event[0] == f"identity:{i}" and event[1] != "state"] == []
    (dropped,) = desk.all(Message, Message.delivery_state == "dropped")
    assert dropped.id not in [event[1] for event in events]


def test_a_lease_is_no_news(desk: Desk) -> None:
    conversation_id = desk.write().conversation.id
    watch = StoreWatch(desk.store)
    watch.look()
    desk.do(lease_conversation, conversation_id, "worker", desk.now)
    assert watch.look() == []


def test_an_id_that_commits_late_is_still_found(desk: Desk) -> None:
    first = desk.write("one")
    watch = StoreWatch(desk.store)
    watch.look()
    last = desk.write("three").message.id
    with desk.store.write() as session:  # as if the message before it had been committed later
        if session.get_bind().dialect.name == "postgresql":  # its index refers to the message
            session.execute(sa.text(f"DELETE FROM {INDEX_TABLE} WHERE message_id = :id"), {"id": last})
        else:
            session.execute(sa.text(f"DELETE FROM {INDEX_TABLE} WHERE rowid = :id"), {"id": last})
        session.execute(sa.update(Message).where(Message.id == last).values(id=last + 1))
    assert (f"conversation:{first.conversation.id}", last + 1) in seen(watch)
    with desk.store.write() as session:
        session.add(Message(id=last, conversation_id=first.conversation.id, identity_id=first.conversation.identity_id,
                            direction="incoming", author="customer", text="two", created_at=desk.now))
    assert (f"conversation:{first.conversation.id}", last) in seen(watch)
    assert watch.look() == []


def told(watch: StoreWatch) -> list[tuple[str, Any]]:
    return [(e.topic, e.data["agent_ids"]) for e in watch.look() if e.data["kind"] == "notice"]


def tell(desk: Desk, notice_id: int, login: str) -> int:
    agent_id = desk.agent(login).id
    with desk.store.write() as session:
        session.add(Notification(id=notice_id, agent_id=agent_id, kind="sla_warned", created_at=desk.now,
                                 idempotency_key=f"told:{notice_id}"))
    return int(agent_id)


def test_a_notice_alone_is_told_once_to_whom_it_is_for(desk: Desk) -> None:
    tell(desk, 1, "wang")
    watch = StoreWatch(desk.store)
    watch.look()
    wang, li = tell(desk, 2, "wang"), tell(desk, 5, "li")
    assert told(watch) == [("queue", sorted([wang, li]))]
    assert told(watch) == []
    tell(desk, 4, "wang")  # its id was handed out before the one that was seen
    assert told(watch) == [("queue", [wang])]
    with desk.store.write() as session:
        session.execute(sa.update(Notification).values(seen_at=desk.now))
    assert told(watch) == []


def test_a_notice_that_is_deleted_makes_no_old_one_new(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "NOTICES_KEPT", 3)
    for notice_id in range(1, 6):
        tell(desk, notice_id, "wang")
    watch = StoreWatch(desk.store)
    watch.look()
    with desk.store.write() as session:
        session.execute(sa.delete(Notification).where(Notification.id == 5))
    assert told(watch) == []
    wang = tell(desk, 7, "wang")
    assert told(watch) == [("queue", [wang])] and told(watch) == []


def test_a_nudge_publishes_at_once(sqlite_desk: Desk) -> None:
    conversation_id = sqlite_desk.write().conversation.id

    async def run() -> list[LiveEvent]:
        broadcast, nudge = Broadcast(), asyncio.Event()
        async with broadcast.subscribe(f"conversation:{conversation_id}") as events:
            watching = asyncio.create_task(watch_store(sqlite_desk.store, broadcast, nudge, interval=3600))
            first = asyncio.create_task(take(events, 1))
            for n in range(200):  # the watch begins where things stand at its first look; write until it hears
                if first.done():
                    break
                await asyncio.to_thread(sqlite_desk.write, f"message {n}")
                nudge.set()
                await asyncio.wait([first], timeout=0.05)
            found = await asyncio.wait_for(first, SOON)
            watching.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await watching
            return found

    (event,) = asyncio.run(run())
    assert event.data["kind"] in ("message", "state")


def test_a_store_that_cannot_be_read_is_tried_again(sqlite_desk: Desk, monkeypatch: pytest.MonkeyPatch,
                                                    caplog: pytest.LogCaptureFixture) -> None:
    looks: list[int] = []

    async def run() -> None:
        nudge, enough = asyncio.Event(), asyncio.Event()
        loop = asyncio.get_running_loop()

        def look(_watch: StoreWatch) -> list[LiveEvent]:
            looks.append(1)
            if len(looks) == 1:
                loop.call_soon_threadsafe(nudge.set)
                raise sa.exc.OperationalError("select", {}, Exception("locked"))
            loop.call_soon_threadsafe(enough.set)
            return []

        monkeypatch.setattr(StoreWatch, "look", look)
        broadcast = Broadcast()
        async with broadcast.subscribe("queue"):
            watching = asyncio.create_task(watch_store(sqlite_desk.store, broadcast, nudge, interval=3600))
            await asyncio.wait_for(enough.wait(), SOON)
        watching.cancel()

    asyncio.run(run())
    assert len(looks) == 2
    assert "could not be watched" in caplog.text


def test_while_nobody_listens_a_nudge_costs_nothing_and_who_comes_misses_nothing(
        sqlite_desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[int] = []
    look = StoreWatch.look

    def counted(watch: StoreWatch) -> list[LiveEvent]:
        found = look(watch)
        looks.append(1)
        return found

    monkeypatch.setattr(StoreWatch, "look", counted)

    async def run() -> None:
        nudge, broadcast = asyncio.Event(), Broadcast()
        watching = asyncio.create_task(watch_store(sqlite_desk.store, broadcast, nudge, interval=3600))
        while not looks:
            await asyncio.sleep(0)
        message = await asyncio.to_thread(sqlite_desk.write, "你好")
        for _ in range(20):
            nudge.set()
            await asyncio.sleep(0)
        assert len(looks) == 1
        async with broadcast.subscribe(f"conversation:{message.conversation.id}") as events:
            nudge.set()
            (event, *_) = await take(events, 1)
            assert event.data["kind"] in ("message", "state")
        watching.cancel()

    asyncio.run(run())

"""Tells open pages what happened, inside one process and across processes by watching the store."""
from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError

from crm_store.database import Store
from crm_store.models import Conversation, Message, Notification, Presence
from crm_store.services.presence import LOOKS_FOR

log = logging.getLogger(__name__)

QUEUE = "queue"
BACKLOG = 1000  # events a slow subscriber may be behind before it loses the oldest
BATCH = 1000
GAP_LOOKS = 40  # how many looks a message id that was skipped may still turn up (a transaction that commits late)
UNHEARD_SECONDS = 5.0  # how often the store is looked at while nobody listens
NOTICES_KEPT = 200  # how many notice ids are known again: a lower one may be committed after a higher one
CHANGES_OVERLAP = timedelta(seconds=10)  # how late the commit of a change may be seen


@dataclass(frozen=True)
class LiveEvent:
    """Something that happened, under the topic it was published with."""

    topic: str
    data: Mapping[str, Any]


@dataclass(eq=False)
class _Subscriber:
    topics: frozenset[str]
    loop: asyncio.AbstractEventLoop
    queue: asyncio.Queue[LiveEvent]

    def put(self, event: LiveEvent) -> None:
        if self.queue.full():
            self.queue.get_nowait()
        self.queue.put_nowait(event)


class Broadcast:
    """Passes events to whoever subscribed to their topic. Publishing is safe from any thread and never waits."""

    def __init__(self) -> None:
        """Start without subscribers."""
        self._lock = threading.Lock()
        self._subscribers: dict[str, set[_Subscriber]] = {}

    @property
    def has_subscribers(self) -> bool:
        """Whether anybody would hear what is published now."""
        return bool(self._subscribers)

    def publish(self, topic: str, data: Mapping[str, Any]) -> None:
        """Give an event to every subscriber of ``topic`` there is now."""
        with self._lock:
            subscribers = list(self._subscribers.get(topic, ()))
        event = LiveEvent(topic, data)
        for subscriber in subscribers:
            with contextlib.suppress(RuntimeError):  # its loop has ended
                subscriber.loop.call_soon_threadsafe(subscriber.put, event)

    @asynccontextmanager
    async def subscribe(self, *topics: str) -> AsyncIterator[AsyncIterator[LiveEvent]]:
        """An iterator over the events of these topics, from now until the block ends.

        It never ends by itself. A subscriber that does not keep up loses the oldest events: events are a reason to
        look at the store, never the only copy of something.
        """
        subscriber = _Subscriber(frozenset(topics), asyncio.get_running_loop(), asyncio.Queue(BACKLOG))
        with self._lock:
            for topic in subscriber.topics:
                self._subscribers.setdefault(topic, set()).add(subscriber)
        try:
            yield _events(subscriber.queue)
        finally:
            with self._lock:
                for topic in subscriber.topics:
                    self._subscribers[topic].discard(subscriber)
                    if not self._subscribers[topic]:
                        del self._subscribers[topic]

    def subscribers(self, topic: str) -> int:
        """How many subscribe to a topic now."""
        with self._lock:
            return len(self._subscribers.get(topic, ()))


async def _events(queue: asyncio.Queue[LiveEvent]) -> AsyncIterator[LiveEvent]:
    while True:
        yield await queue.get()


@dataclass
class StoreWatch:
    """Finds what is new since the last look, each once: messages, changed conversations, notices, who comes and types.

    Message ids are handed out before their transactions commit, so a lower id may turn up after a higher one: ids that
    were skipped are looked for again for a while.
    """

    store: Store
    last_message_id: int = -1
    changed_since: datetime | None = None
    gaps: dict[int, int] = field(default_factory=dict)
    seen_changes: dict[int, tuple[datetime, int]] = field(default_factory=dict)
    present: dict[tuple[int, int], tuple[datetime, datetime | None]] = field(default_factory=dict)
    told: frozenset[int] = frozenset()
    told_from: int = 0

    def look(self) -> list[LiveEvent]:
        """Everything new since the last look; the first look only notes where things stand."""
        with self.store.read() as session:
            if self.last_message_id < 0:
                self.last_message_id = session.execute(select(sa.func.max(Message.id))).scalar_one() or 0
                self.changed_since = session.execute(select(sa.func.max(Conversation.updated_at))).scalar_one()
                if self.changed_since is not None:
                    self._changes(session)
                self._presence(session)
                self._notices(session)
                return []
            return (self._messages(session) + self._changes(session) + self._presence(session)
                    + self._notices(session))

    def _messages(self, session: Any) -> list[LiveEvent]:
        rows = session.execute(
            select(Message.id, Message.conversation_id, Message.identity_id, Message.direction, Message.author)
            .where(sa.or_(Message.id > self.last_message_id, Message.id.in_(list(self.gaps))),
                   sa.or_(Message.delivery_state.is_(None), Message.delivery_state != "dropped"))
            .order_by(Message.id).limit(BATCH)
        ).all()
        self.gaps = {gap: looks - 1 for gap, looks in self.gaps.items() if looks > 1}
        found: list[LiveEvent] = []
        for row in rows:
            self.gaps.pop(row.id, None)
            skipped = range(max(self.last_message_id + 1, row.id - BATCH), row.id)
            self.gaps.update(dict.fromkeys(skipped, GAP_LOOKS))
            self.last_message_id = max(self.last_message_id, row.id)
            data = {"kind": "message", "conversation_id": row.conversation_id, "message_id": row.id,
                    "direction": row.direction, "author": row.author}
            found.append(LiveEvent(f"conversation:{row.conversation_id}", data))
            if row.direction != "note":
                found.append(LiveEvent(f"identity:{row.identity_id}", data))
        return found

    def _changes(self, session: Any) -> list[LiveEvent]:
        query = select(Conversation.id, Conversation.identity_id, Conversation.status, Conversation.version,
                       Conversation.assignee_id, Conversation.updated_at)
        if self.changed_since is not None:
            query = query.where(Conversation.updated_at >= self.changed_since - CHANGES_OVERLAP)
        rows = session.execute(query.order_by(Conversation.updated_at)).all()
        found: list[LiveEvent] = []
        for row in rows:
            state = (row.updated_at, row.version)
            if self.seen_changes.get(row.id) == state:
                continue
            data = {"kind": "state", "conversation_id": row.id, "status": row.status, "version": row.version,
                    "assignee_id": row.assignee_id}
            found += [LiveEvent(topic, data) for topic in (f"conversation:{row.id}", f"identity:{row.identity_id}",
                                                           QUEUE)]
        if rows:
            self.changed_since = max(self.changed_since or rows[-1].updated_at, rows[-1].updated_at)
        self.seen_changes = {row.id: (row.updated_at, row.version) for row in rows}
        return found

    def _notices(self, session: Any) -> list[LiveEvent]:
        """Whom something is told that they have not been told before."""
        rows = session.execute(
            select(Notification.id, Notification.agent_id).where(Notification.id > self.told_from)
            .order_by(Notification.id.desc()).limit(NOTICES_KEPT)).all()
        agents = sorted({row.agent_id for row in rows if row.id not in self.told})
        self.told = frozenset(row.id for row in rows)
        if len(rows) == NOTICES_KEPT:
            self.told_from = rows[-1].id - 1
        return [LiveEvent(QUEUE, {"kind": "notice", "agent_ids": agents})] if agents else []

    def _presence(self, session: Any) -> list[LiveEvent]:
        """Whose conversations were opened or closed, and where somebody began or ended to type.

        A look that is merely renewed is nothing new, unless the one before had run out.
        """
        rows = session.execute(
            select(Presence.agent_id, Presence.conversation_id, Presence.seen_at, Presence.typing_until)).all()
        now_present = {(row.agent_id, row.conversation_id): (row.seen_at, row.typing_until) for row in rows}
        changed = {key[1] for key in now_present.keys() ^ self.present.keys()}
        for key in now_present.keys() & self.present.keys():
            (seen_at, typing), (before, typed) = now_present[key], self.present[key]
            if typing != typed or seen_at > before + LOOKS_FOR:
                changed.add(key[1])
        self.present = now_present
        return [LiveEvent(f"conversation:{conversation_id}", {"kind": "presence", "conversation_id": conversation_id})
                for conversation_id in sorted(changed)]


async def watch_store(store: Store, broadcast: Broadcast, nudge: asyncio.Event, interval: float = 0.5) -> None:
    """Publish what is committed to the store, at once after a nudge and otherwise every ``interval`` seconds.

    Topics: ``conversation:{id}``, ``identity:{id}`` (what its customer may know) and ``queue``. Runs until cancelled;
    a store that cannot be read is tried again. While nobody listens it is looked at only now and then, so that there
    is never much to catch up with.
    """
    watch = StoreWatch(store)
    looked_at = float("-inf")
    while True:
        nudge.clear()
        now = asyncio.get_running_loop().time()
        if broadcast.has_subscribers or now - looked_at >= UNHEARD_SECONDS:
            looked_at = now
            try:
                for event in await asyncio.to_thread(watch.look):
                    broadcast.publish(event.topic, event.data)
            except SQLAlchemyError:
                log.warning("the store could not be watched; trying again", exc_info=True)
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(nudge.wait(), interval)

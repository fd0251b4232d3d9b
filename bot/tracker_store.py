"""Keeps what the dialogue engine needs for the next turn in the CRM store: one row a conversation, bounded."""
from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Sequence
from datetime import datetime, timezone
from typing import Any

import sqlalchemy as sa
from rasa.core.brokers.broker import EventBroker
from rasa.core.tracker_store import TrackerStore
from rasa.shared.core.constants import ACTION_LISTEN_NAME, ACTION_SESSION_START_NAME, SESSION_START_METADATA_SLOT
from rasa.shared.core.domain import Domain
from rasa.shared.core.events import (
    ActionExecuted,
    ActiveLoop,
    AllSlotsReset,
    Event,
    Restarted,
    SessionStarted,
    SlotSet,
    UserUttered,
    deserialise_events,
)
from rasa.shared.core.trackers import DialogueStateTracker
from sqlalchemy.dialects import postgresql, sqlite

from bot.turn import running_turn
from crm_store.database import Store, UtcDateTime
from crm_store.models import Conversation, DialogueTracker

TURNS_KEPT = 3  # rules look back one turn, the escalation policy three; every turn more is replayed at every message
RANKING_KEPT = 3


class CrmTrackerStore(TrackerStore):  # type: ignore[misc]
    """Trackers in the table ``dialogue_trackers``.

    Rasa replays every event of a conversation at every turn, so a tracker that only grew would make a customer of
    years wait. What is kept are the last turns, and before them the slots and the active form as they stood: replaying
    that gives the state that replaying everything would give. The conversation itself is in ``messages``.
    """

    def __init__(
        self, domain: Domain | None, host: str | None = None, event_broker: EventBroker | None = None,
        store: Store | None = None, **kwargs: Any,
    ) -> None:
        """Open the store.

        Args:
            domain: Rasa's domain.
            host: the database URL; Rasa passes ``url`` of endpoints.yml under this name.
            event_broker: unused, events stay in the store.
            store: an open store, instead of ``host``.
            **kwargs: further keys of endpoints.yml; there are none.
        """
        super().__init__(domain, event_broker)
        if store is None:
            if not host:
                raise ValueError("endpoints.yml: tracker_store needs url, the database")
            store = Store(host)
        self.store = store

    async def retrieve(self, sender_id: str) -> DialogueStateTracker | None:
        """The tracker of a conversation, or None where it has not begun; read once a turn."""
        turn = running_turn()
        if turn is not None and sender_id in turn.trackers:
            return turn.trackers[sender_id]
        events = await asyncio.to_thread(self._read, sender_id)
        tracker = None
        if events is not None:
            tracker = DialogueStateTracker.from_events(sender_id, deserialise_events(json.loads(events)),
                                                       self.domain.slots)
        if turn is not None:
            turn.trackers[sender_id] = tracker
        return tracker

    async def save(self, tracker: DialogueStateTracker) -> None:
        """Keep the tracker, unless the turn failed: then the message comes again and finds the state before it."""
        turn = running_turn()
        if turn is not None and turn.failure is not None:
            return
        if not any(isinstance(event, UserUttered) for event in tracker.events):
            return  # nothing has been said, there is nothing to remember
        kept = bounded([event for event in tracker.events if not is_start_metadata(event)])
        at = datetime.fromtimestamp(kept[-1].timestamp, tz=timezone.utc)
        await asyncio.to_thread(self._write, tracker.sender_id, serialised(kept), at)

    async def keys(self) -> Iterable[str]:
        """The ids of every conversation that has a tracker."""
        return await asyncio.to_thread(self._keys)

    def _read(self, sender_id: str) -> str | None:
        with self.store.read() as session:
            found = session.scalar(sa.select(DialogueTracker.events).where(DialogueTracker.sender_id == sender_id))
            return None if found is None else str(found)

    def _write(self, sender_id: str, events: str, at: datetime) -> None:
        """Keep it, unless the conversation was erased meanwhile: nothing of it may come back."""
        row = sa.select(sa.literal(sender_id), sa.literal(events), sa.literal(at, UtcDateTime))
        if sender_id.isdecimal():
            row = row.where(Conversation.id == int(sender_id), Conversation.erased_at.is_(None)).with_for_update(
                read=True, key_share=True)
        else:
            row = row.where(sa.true())
        insert = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}[self.store.engine.dialect.name](
            DialogueTracker.__table__)
        self.store.execute(
            insert.from_select(["sender_id", "events", "updated_at"], row).on_conflict_do_update(
                index_elements=["sender_id"],
                set_={"events": insert.excluded.events, "updated_at": insert.excluded.updated_at}))

    def _keys(self) -> list[str]:
        with self.store.read() as session:
            return [str(key) for key in session.scalars(sa.select(DialogueTracker.sender_id))]


def is_start_metadata(event: Event) -> bool:
    """Whether the event only repeats the context of the first message, which goes out of date at once."""
    return isinstance(event, SlotSet) and event.key == SESSION_START_METADATA_SLOT


def bounded(events: Sequence[Event], turns: int = TURNS_KEPT) -> list[Event]:
    """The last ``turns`` turns, preceded by what the events before them amount to: slots and active form.

    The cut is at the boundary of a turn, which is the ``action_listen`` before a customer's message.
    """
    starts = [at for at, event in enumerate(events) if isinstance(event, UserUttered)]
    if len(starts) <= turns:
        return list(events)
    cut = starts[-turns]
    if cut and isinstance(events[cut - 1], ActionExecuted) and events[cut - 1].action_name == ACTION_LISTEN_NAME:
        cut -= 1
    at = events[cut].timestamp
    slots: dict[str, Any] = {}
    form: str | None = None
    for event in events[:cut]:
        if isinstance(event, SlotSet):
            slots[event.key] = event.value
        elif isinstance(event, ActiveLoop):
            form = event.name
        elif isinstance(event, (Restarted, AllSlotsReset)):
            slots = {}
            form = None if isinstance(event, Restarted) else form
    before: list[Event] = [ActionExecuted(ACTION_SESSION_START_NAME, timestamp=at), SessionStarted(timestamp=at)]
    before += [SlotSet(name, value, timestamp=at) for name, value in slots.items() if value is not None]
    if form is not None:
        before.append(ActiveLoop(form, timestamp=at))
    return before + list(events[cut:])


def serialised(events: Sequence[Event]) -> str:
    """The events as JSON, without what only the turn they belong to needed."""
    rows = [event.as_dict() for event in events]
    latest = max((at for at, row in enumerate(rows) if row["event"] == "user"), default=-1)
    for at, row in enumerate(rows):
        if row["event"] == "user":
            row["parse_data"] = trimmed(row["parse_data"], whole=at == latest)
            row["metadata"] = row["parse_data"]["metadata"]
        else:
            row.pop("metadata", None)
        for name in ("use_text_for_featurization", "action_text", "hide_rule_turn", "confidence", "input_channel"):
            if row.get(name) in (None, False) or name == "confidence":
                row.pop(name, None)
    return json.dumps(rows, ensure_ascii=False, separators=(",", ":"))


def trimmed(parse_data: dict[str, Any], *, whole: bool) -> dict[str, Any]:
    """What was understood, without the tail of the ranking and, for older messages, without their context."""
    kept = {key: value for key, value in parse_data.items() if key not in ("text_tokens", "metadata", "intent_ranking")}
    metadata = parse_data.get("metadata") or {}
    if whole:
        kept["intent_ranking"] = (parse_data.get("intent_ranking") or [])[:RANKING_KEPT]
        kept["metadata"] = metadata
    else:
        kept.pop("articles", None)
        kept["metadata"] = {key: metadata[key] for key in ("message_id", "language") if key in metadata}
    return kept

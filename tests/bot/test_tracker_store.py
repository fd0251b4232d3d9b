"""The tracker store: what it keeps replays to the same state, and it stays small."""
from __future__ import annotations

import asyncio
import json
import threading
from datetime import datetime, timezone
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rasa.shared.core.domain import Domain
from rasa.shared.core.events import (
    ActionExecuted,
    ActiveLoop,
    BotUttered,
    Event,
    SlotSet,
    UserUttered,
    deserialise_events,
)
from rasa.shared.core.trackers import DialogueStateTracker

from bot.tracker_store import TURNS_KEPT, CrmTrackerStore, bounded, serialised
from bot.turn import Turn, turn_running
from crm_store.database import Store
from crm_store.models import Conversation, DialogueTracker
from crm_store.services.messages import receive_message

DOMAIN = Domain.from_dict({
    "intents": ["a", "b"], "forms": {"one_form": {"required_slots": ["x"]}, "two_form": {"required_slots": ["y"]}},
    "slots": {name: {"type": "any", "mappings": [{"type": "custom"}]} for name in ("x", "y")},
})
between = st.one_of(
    st.builds(SlotSet, st.sampled_from(["x", "y"]), st.sampled_from([None, "1", 2, {"n": 3}])),
    st.builds(ActiveLoop, st.sampled_from([None, "one_form", "two_form"])),
    st.builds(BotUttered, st.text(max_size=5)),
    st.builds(ActionExecuted, st.sampled_from(["one_form", "utter_x"])),
)


def turn(at: int, events: list[Event]) -> list[Event]:
    message = UserUttered(f"text {at}", {"name": "a"}, message_id=str(at),
                          parse_data={"intent": {"name": "a"}, "entities": [], "text": f"text {at}", "language": "zh"},
                          metadata={"message_id": at, "language": "zh", "customer": {"name": "李雷"}})
    return [message, *events, ActionExecuted("action_listen")]


def state(events: list[Event]) -> Any:
    tracker = DialogueStateTracker.from_events("1", events, DOMAIN.slots)
    loop = tracker.active_loop
    return (tracker.current_slot_values(), loop.name if loop else None, tracker.latest_action_name,
            tracker.latest_message.text if tracker.latest_message else None, tracker.followup_action)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(between, max_size=6), min_size=1, max_size=20))
def test_what_is_kept_replays_to_the_same_state(turns: list[list[Event]]) -> None:
    events = [ActionExecuted("action_listen"), *(event for at, one in enumerate(turns) for event in turn(at, one))]
    kept = deserialise_events(json.loads(serialised(bounded(events))))
    assert state(kept) == state(events)
    assert sum(isinstance(event, UserUttered) for event in kept) == min(len(turns), TURNS_KEPT)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.lists(between, max_size=6), min_size=1, max_size=20))
def test_keeping_turn_by_turn_is_keeping_at_once(turns: list[list[Event]]) -> None:
    kept: list[Event] = [ActionExecuted("action_listen")]
    for at, one in enumerate(turns):
        kept = bounded([*kept, *turn(at, one)])
    assert state(kept) == state([event for at, one in enumerate(turns) for event in turn(at, one)])


def test_only_the_newest_message_keeps_its_context() -> None:
    rows = json.loads(serialised([*turn(1, []), *turn(2, [])]))
    older, newest = (row for row in rows if row["event"] == "user")
    assert older["metadata"] == {"message_id": 1, "language": "zh"}
    assert newest["metadata"]["customer"] == {"name": "李雷"}


NOW = datetime(2026, 11, 18, tzinfo=timezone.utc)


@pytest.fixture
def talk(store: Store) -> str:
    """The id of a conversation."""
    with store.write() as session:
        return str(receive_message(session, channel="web", external_id="x", text="hi", channel_message_id="1",
                                   now=NOW).conversation.id)


def test_saved_and_read_again(store: Store, talk: str) -> None:
    trackers = CrmTrackerStore(DOMAIN, store=store)
    for sender in (talk, "a shell"):
        for x in ("1", "2"):
            asyncio.run(trackers.save(
                DialogueStateTracker.from_events(sender, turn(1, [SlotSet("x", x)]), DOMAIN.slots)))
            found = asyncio.run(trackers.retrieve(sender))
            assert found is not None and found.get_slot("x") == x
    assert asyncio.run(trackers.retrieve("8")) is None and set(asyncio.run(trackers.keys())) == {talk, "a shell"}


def test_a_failed_turn_is_not_saved(sqlite_store: Store) -> None:
    store = CrmTrackerStore(DOMAIN, store=sqlite_store)
    for failure in ("no actions server", None):
        with turn_running(Turn("a shell", "1")) as running:
            if failure is not None:
                running.fail(failure)
            asyncio.run(store.save(DialogueStateTracker.from_events("a shell", turn(1, []), DOMAIN.slots)))
        assert (asyncio.run(store.retrieve("a shell")) is None) == (failure is not None)


def test_a_conversation_in_which_nothing_was_said_is_not_stored(store: Store, talk: str) -> None:
    trackers = CrmTrackerStore(DOMAIN, store=store)
    asyncio.run(trackers.save(DialogueStateTracker(talk, DOMAIN.slots)))
    assert asyncio.run(trackers.retrieve(talk)) is None


def test_a_turn_that_was_under_way_brings_no_erased_conversation_back(store: Store, talk: str) -> None:
    trackers = CrmTrackerStore(DOMAIN, store=store)
    tracker = DialogueStateTracker.from_events(talk, turn(1, []), DOMAIN.slots)
    asyncio.run(trackers.save(tracker))
    assert asyncio.run(trackers.keys()) == [talk]
    with store.write() as session:
        session.get(Conversation, int(talk)).erased_at = NOW
        session.query(DialogueTracker).delete()
    asyncio.run(trackers.save(tracker))
    assert asyncio.run(trackers.keys()) == []


def test_what_is_saved_while_it_is_erased_waits_and_is_not_there_afterwards(store: Store, talk: str) -> None:
    trackers = CrmTrackerStore(DOMAIN, store=store)
    tracker = DialogueStateTracker.from_events(talk, turn(1, []), DOMAIN.slots)
    saving = threading.Thread(target=lambda: asyncio.run(trackers.save(tracker)))
    with store.write() as session:
        session.get(Conversation, int(talk), with_for_update=True).erased_at = NOW
        session.flush()
        saving.start()
        saving.join(0.3)
        assert saving.is_alive()
    saving.join(10)
    assert not saving.is_alive() and asyncio.run(trackers.keys()) == []

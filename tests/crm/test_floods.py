"""Whoever writes faster than anybody can answer is heard, but drowns neither the bot nor the agents."""
from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import func, select

from crm_store.database import Store
from crm_store.models import ChannelIdentity, Conversation, Escalation, Message, Ticket
from crm_store.rules import flood
from crm_store.services.dispatch import (
    Reply,
    Turn,
    complete_turn,
    conversations_waiting,
    next_turn,
    postpone_turn,
    turn_context,
)
from crm_store.services.handoff import escalate_conversation
from crm_store.services.messages import Received, receive_message
from crm_store.wording import SENTENCES
from tests.crm.conftest import Desk

SLOW_DOWN = set(SENTENCES["slow_down"].values())
SECOND = timedelta(seconds=1)
A_MINUTE = 5


class Sender:
    """Somebody who writes, and the bot that answers."""

    def __init__(self, store: Store, now: datetime, name: str = "guest") -> None:
        self.store, self.now, self.name = store, now, name
        self.ids: Iterator[int] = count(1)

    def writes(self, text: str = "在吗", *, seconds: float = 0.5, payload: str | None = None,
               key: str | None = None) -> Received:
        self.now += SECOND * seconds
        with self.store.write() as session:
            return receive_message(session, channel="telegram", external_id=self.name, text=text, payload=payload,
                                   channel_message_id=key or f"m{next(self.ids)}", now=self.now, a_minute=A_MINUTE)

    def floods(self, messages: int, text: str = "在吗 {}") -> list[Received]:
        return [self.writes(text.format(number)) for number in range(messages)]

    def turn(self) -> Turn | None:
        with self.store.write() as session:
            for conversation_id in conversations_waiting(session, self.now):
                return next_turn(session, conversation_id, self.now)
        return None

    def answered(self, reply: str = "好的。") -> list[str]:
        """The texts of all turns that are due, each answered."""
        read = []
        while (turn := self.turn()) is not None:
            read.append(turn.text)
            with self.store.write() as session:
                complete_turn(session, turn, replies=[Reply(reply)], understood=None, now=self.now)
        return read

    def told(self) -> list[str]:
        with self.store.read() as session:
            return list(session.execute(select(Message.text).where(
                Message.direction == "outgoing", Message.author == "system").order_by(Message.id)).scalars())


@pytest.fixture
def sender(desk: Desk) -> Sender:
    return Sender(desk.store, desk.now)


@given(st.lists(st.text(st.characters(blacklist_characters="\n"), min_size=1, max_size=60), min_size=1, max_size=30))
def test_what_is_read_together_was_written_in_that_order_and_is_short(texts: list[str]) -> None:
    read = flood.read_together(texts).split("\n")
    assert [text for text in dict.fromkeys(texts) if text in read] == read
    assert 0 < len("\n".join(read)) <= flood.READ_AT_ONCE


def test_what_calls_for_a_person_is_read_alone() -> None:
    spam = [f"在吗 {number}" for number in range(40)]
    assert flood.read_together([*spam[:20], "转人工！", *spam[20:]]) == "转人工！"
    assert flood.read_together([*spam, "I want to talk to a HUMAN"]) == "I want to talk to a HUMAN"
    assert flood.read_together(["hm", "hm", "hm"]) == "hm"
    assert flood.read_together(["x" * 1000]) == "x" * 1000


@given(st.integers(0, 600), st.integers(0, 600))
def test_nobody_waits_longer_than_promised(first: int, later: int) -> None:
    now = datetime.fromisoformat("2026-11-18T02:00:00+00:00")
    came = now + timedelta(seconds=first)
    assert flood.read_at(came, came + SECOND * later) <= came + flood.HELD_AT_MOST
    assert flood.read_at(came, came) == came + flood.QUIET


def test_as_many_as_a_minute_may_have_are_answered_one_by_one(sender: Sender) -> None:
    assert not any(received.held for received in sender.floods(A_MINUTE))
    assert sender.answered() == [f"在吗 {number}" for number in range(A_MINUTE)]
    assert sender.writes("one too many").message.held == "first"
    sender.now += flood.WINDOW
    assert not sender.writes("later").held


def test_a_flood_is_kept_and_read_together_when_it_calms_down(sender: Sender) -> None:
    sender.floods(A_MINUTE + 20)
    assert len(sender.answered()) == A_MINUTE
    assert sender.told() == [SENTENCES["slow_down"]["zh"]]
    sender.now += flood.QUIET
    assert sender.answered() == ["\n".join(f"在吗 {number}" for number in range(A_MINUTE, A_MINUTE + 20))]
    with sender.store.read() as session:
        assert session.execute(select(func.count()).where(Message.direction == "incoming")).scalar_one() == 25
        assert session.execute(select(func.count()).where(
            Message.direction == "incoming", Message.handled_at.is_(None))).scalar_one() == 0
        assert session.execute(select(func.count()).where(Message.author == "bot")).scalar_one() == A_MINUTE + 1


def test_a_flood_without_end_is_read_twice_a_minute_and_told_once(sender: Sender) -> None:
    turns = 0
    for number in range(240):  # two minutes, two a second
        sender.writes(f"在吗 {number}")
        turns += len(sender.answered())
    assert A_MINUTE + 2 <= turns <= A_MINUTE + 4
    assert len([text for text in sender.told() if text in SLOW_DOWN]) == 1


def test_the_same_again_is_neither_counted_nor_held(sender: Sender) -> None:
    sender.writes(key="one")
    for _ in range(50):
        assert sender.writes(key="one").duplicate
    assert not sender.writes("two").held


@pytest.mark.parametrize("cry", ["转人工！！", "I want a human NOW", "你们这群骗子，我要投诉"])
def test_whoever_floods_and_cries_reaches_a_person_exactly_once(sender: Sender, cry: str) -> None:
    sender.floods(A_MINUTE + 10)
    sender.writes(cry)
    sender.floods(10, "spam {}")
    sender.answered()
    sender.now += flood.QUIET
    turn = sender.turn()
    assert turn is not None and turn.text == cry and turn.mode == "turn"
    with sender.store.write() as session:  # as the bot does with what it reads
        escalate_conversation(session, conversation_id=turn.conversation_id, reason="asked", now=sender.now,
                              message_id=turn.message_id)
        complete_turn(session, turn, replies=[], understood=None, now=sender.now)
    told = sender.told()
    assert "H" in told[-1] or "工单" in told[-1]
    for number in range(80):
        sender.writes(f"{cry} {number}")
        turn = sender.turn()
        if turn is not None:
            assert turn.mode == "read"
            with sender.store.write() as session:
                complete_turn(session, turn, replies=[], understood=None, now=sender.now)
    assert sender.told() == told  # nobody asks a customer to slow down whom a person is to read
    with sender.store.read() as session:
        assert session.execute(select(func.count()).select_from(Escalation)).scalar_one() == 1
        assert session.execute(select(func.count()).select_from(Ticket)).scalar_one() == 1
        conversation = session.execute(select(Conversation)).scalar_one()
        assert conversation.status == "open"
        assert session.execute(select(func.count()).where(
            Message.conversation_id == conversation.id, Message.direction == "incoming")).scalar_one() == 106


def test_the_button_that_asks_for_a_person_is_never_held(sender: Sender) -> None:
    sender.writes("在吗")
    turn = sender.turn()
    assert turn is not None
    with sender.store.write() as session:
        complete_turn(session, turn, now=sender.now, understood=None,
                      replies=[Reply("?", [{"title": "转人工客服", "payload": "/request_human"}])])
    sender.floods(A_MINUTE + 3)
    assert not sender.writes("转人工客服", payload="/request_human").held
    assert sender.writes("在吗").held


def test_what_comes_while_the_bot_reads_waits_for_the_next_turn(sender: Sender) -> None:
    sender.floods(A_MINUTE + 2)
    sender.answered()
    sender.now += flood.QUIET
    turn = sender.turn()
    assert turn is not None
    assert sender.writes("late").message.held == "first"
    again = sender.turn()
    assert again is not None and (again.message_id, again.text) == (turn.message_id, turn.text)
    with sender.store.write() as session:
        postpone_turn(session, turn.message_id, sender.now)  # the bot was away
    sender.now += flood.QUIET
    assert sender.answered() == [turn.text, "late"]


def test_what_was_only_read_with_others_counts_not_as_anger_nobody_knows(sender: Sender) -> None:
    sender.floods(A_MINUTE + 20)
    sender.answered()
    sender.now += flood.QUIET
    sender.answered()
    sender.now += flood.WINDOW
    received = sender.writes("还在吗")
    with sender.store.write() as session:
        session.execute(Message.__table__.update().where(Message.__table__.c.held == "taken").values(anger=0.6))
        assert turn_context(session, received.conversation.id, sender.now)["angers"][0] == 0.6


def test_many_workers_let_no_more_through_than_one(desk: Desk) -> None:
    with ThreadPoolExecutor(8) as pool:
        def write(number: int) -> None:
            with desk.store.write() as session:
                receive_message(session, channel="telegram", external_id="guest", text=f"在吗 {number}",
                                channel_message_id=f"m{number}", now=desk.now, a_minute=A_MINUTE)
        list(pool.map(write, range(40)))
    with desk.store.read() as session:
        held = dict(session.execute(select(Message.held, func.count()).where(Message.direction == "incoming")
                                    .group_by(Message.held)).all())
        assert held == {None: A_MINUTE, "first": 1, "more": 40 - A_MINUTE - 1}
        told = session.execute(select(func.count()).where(Message.text.in_(SLOW_DOWN))).scalar_one()
        assert told == 1
        assert session.execute(select(func.count()).select_from(ChannelIdentity)).scalar_one() == 1


def test_a_flood_of_one_holds_back_nobody_else(desk: Desk) -> None:
    Sender(desk.store, desk.now, "loud").floods(A_MINUTE + 5)
    assert not Sender(desk.store, desk.now, "calm").writes().held

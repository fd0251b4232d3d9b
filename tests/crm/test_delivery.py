"""Messages are handed to their channel in order, each once as far as can be known, and given up where agents see it."""
from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

import pytest
from sqlalchemy import select

from crm_store.database import Store
from crm_store.errors import NotFound, WrongState
from crm_store.models import AuditEntry, ChannelIdentity, Conversation, Message, SupportAgent, Team
from crm_store.services import delivery
from crm_store.services.delivery import LEASE, MOST_FAILURES, Parcel, delay_after
from crm_store.services.messages import receive_message
from crm_store.services.system_messages import tell_customer

TELEGRAM = ("telegram",)


class Lane:
    """One person on Telegram, and what the shop says to them."""

    def __init__(self, store: Store, now: datetime) -> None:
        self.store, self.now = store, now
        self.identity_id, self.conversation_id = self.person("1:1")

    def person(self, address: str, channel: str = "telegram") -> tuple[int, int]:
        with self.store.write() as session:
            received = receive_message(session, channel=channel, external_id=address, text="你好",
                                       channel_message_id="1", now=self.now)
            return received.conversation.identity_id, received.conversation.id

    def say(self, text: str, conversation_id: int | None = None) -> int:
        with self.store.write() as session:
            conversation = session.get(Conversation, conversation_id or self.conversation_id)
            message = tell_customer(session, conversation, text, self.now)
            session.flush()
            return int(message.id)

    def claim(self) -> Parcel | None:
        with self.store.write() as session:
            return delivery.claim_message(session, self.identity_id, self.now)

    def claimed(self) -> Parcel:
        parcel = self.claim()
        assert parcel is not None
        return parcel

    def do(self, service: Callable[..., object], *arguments: object, **named: object) -> None:
        with self.store.write() as session:
            service(session, *arguments, **named)

    def sent(self, parcel: Parcel, *, last: bool = True) -> None:
        self.do(delivery.note_sent, parcel, "77", self.now, last=last)

    def waiting(self) -> list[int]:
        with self.store.read() as session:
            return delivery.lanes_waiting(session, TELEGRAM, self.now)

    def message(self, message_id: int) -> Message:
        with self.store.read() as session:
            found: Message = session.get(Message, message_id)
            session.expunge(found)
            return found

    def notes(self) -> list[str]:
        with self.store.read() as session:
            return list(session.execute(select(Message.text).where(Message.direction == "note")).scalars())


@pytest.fixture
def lane(store: Store, now: datetime) -> Lane:
    return Lane(store, now)


def test_messages_of_a_person_go_out_in_order_and_one_at_a_time(lane: Lane) -> None:
    first, second = lane.say("one"), lane.say("two")
    assert lane.waiting() == [lane.identity_id]
    parcel = lane.claimed()
    assert (parcel.message_id, parcel.address, parcel.text, parcel.attempt) == (first, "1:1", "one", 1)
    assert lane.claim() is None and lane.waiting() == []
    lane.sent(parcel)
    assert lane.message(first).delivery_state == "delivered" and lane.message(first).delivered_at == lane.now
    assert lane.claimed().message_id == second


def test_other_channels_and_other_people_do_not_wait(lane: Lane) -> None:
    other, conversation = lane.person("1:2")
    _, web = lane.person("ada", "web")
    lane.say("one"), lane.say("two", conversation), lane.say("three", web)
    assert lane.waiting() == [lane.identity_id, other]
    with lane.store.read() as session:
        assert delivery.lanes_waiting(session, TELEGRAM, lane.now, besides=[lane.identity_id]) == [other]
        assert delivery.lanes_waiting(session, TELEGRAM, lane.now, most=1) == [lane.identity_id]
    lane.claimed()
    assert lane.waiting() == [other]


def test_the_pieces_of_a_long_message_follow_each_other(lane: Lane) -> None:
    message_id = lane.say("long")
    lane.sent(lane.claimed(), last=False)
    parcel = lane.claimed()
    assert (parcel.message_id, parcel.pieces_sent) == (message_id, 1)
    lane.sent(parcel)
    assert lane.message(message_id).delivery_state == "delivered" and lane.claim() is None


def test_a_failure_is_tried_again_later_and_later_and_then_given_up_visibly(lane: Lane) -> None:
    message_id, following = lane.say("one"), lane.say("two")
    for failures in range(1, MOST_FAILURES + 1):
        lane.do(delivery.note_failure, lane.claimed(), "server_error", lane.now)
        if failures < MOST_FAILURES:
            assert lane.claim() is None  # the second one does not overtake it
            lane.now += delay_after(failures)
    given_up = lane.message(message_id)
    assert (given_up.delivery_state, given_up.dropped_reason) == ("failed", "server_error")
    assert lane.notes() == ["消息没有送达：渠道的服务器出错。「one」"]
    assert lane.claimed().message_id == following


def test_delays_grow_to_ten_minutes() -> None:
    assert [delay_after(each).total_seconds() for each in (1, 2, 3, 9, 10, 1000)] == [2, 4, 8, 512, 600, 600]


def test_what_the_channel_puts_off_is_no_failure_but_ends_after_a_day(lane: Lane) -> None:
    message_id = lane.say("one")
    for _ in range(30):
        lane.do(delivery.note_put_off, lane.claimed(), "retry_after", lane.now + timedelta(minutes=30), lane.now)
        lane.now += timedelta(minutes=30)
    assert lane.message(message_id).delivery_state == "queued"
    lane.now += timedelta(hours=10)
    lane.do(delivery.note_put_off, lane.claimed(), "retry_after", lane.now + timedelta(minutes=30), lane.now)
    assert lane.message(message_id).dropped_reason == "too_late"


def test_what_may_have_arrived_is_sent_once_more_and_no_third_time(lane: Lane) -> None:
    message_id = lane.say("one")
    lane.do(delivery.note_unknown, lane.claimed(), "timed_out", lane.now)
    lane.now += timedelta(seconds=5)
    lane.do(delivery.note_unknown, lane.claimed(), "timed_out", lane.now)
    lane.now += timedelta(days=1)
    assert lane.claim() is None
    assert (lane.message(message_id).delivery_state, lane.message(message_id).dropped_reason) == ("failed", "unknown")
    assert "客户可能已经看到" in lane.notes()[0]


def test_a_process_that_dies_while_sending_leaves_it_to_be_sent_once_more(lane: Lane) -> None:
    message_id = lane.say("one")
    lane.claimed()
    lane.now += LEASE
    assert lane.claimed().attempt == 2
    lane.now += LEASE
    assert lane.claim() is None and lane.message(message_id).dropped_reason == "unknown"


def test_what_is_known_of_one_piece_does_not_count_for_the_next(lane: Lane) -> None:
    message_id = lane.say("long")
    for last in (False, False, True):
        lane.do(delivery.note_unknown, lane.claimed(), "timed_out", lane.now)
        lane.now += timedelta(seconds=5)
        lane.sent(lane.claimed(), last=last)
    assert lane.message(message_id).delivery_state == "delivered"


def test_whoever_was_overtaken_notes_nothing(lane: Lane) -> None:
    message_id = lane.say("one")
    late = lane.claimed()
    lane.now += LEASE
    parcel = lane.claimed()
    for service, more in ((delivery.note_failure, ("x", lane.now)), (delivery.note_refused, ("x", lane.now)),
                          (delivery.note_unknown, ("x", lane.now)), (delivery.note_put_off, ("x", lane.now, lane.now))):
        lane.do(service, late, *more)
    lane.sent(late)
    assert lane.message(message_id).delivery_state == "queued" and lane.claim() is None
    lane.sent(parcel)
    assert lane.message(message_id).delivery_state == "delivered"


def test_who_blocks_the_shop_is_unreachable_and_gets_nothing_more_until_they_write(lane: Lane) -> None:
    first, second = lane.say("one"), lane.say("two")
    lane.claimed()
    lane.do(delivery.note_unreachable, lane.identity_id, lane.now)
    lane.do(delivery.note_unreachable, lane.identity_id, lane.now + timedelta(hours=1))
    assert [lane.message(each).dropped_reason for each in (first, second)] == ["unreachable"] * 2
    with lane.store.read() as session:
        assert session.get(ChannelIdentity, lane.identity_id).unreachable_since == lane.now
    assert len(lane.notes()) == 1 and lane.waiting() == []
    lane.do(delivery.note_reachable, lane.identity_id)
    with lane.store.read() as session:
        assert session.get(ChannelIdentity, lane.identity_id).unreachable_since is None


def test_an_agent_sends_again_what_was_given_up_but_not_the_pieces_that_arrived(lane: Lane) -> None:
    with lane.store.write() as session:
        team = Team(name="front line", level="front_line")
        session.add(team)
        session.flush()
        agent = SupportAgent(login="wang", name="王敏", password_hash="-", role="agent", team_id=team.id,
                             languages=["zh"], capacity=1, created_at=lane.now)
        session.add(agent)
        session.flush()
        agent_id = agent.id
    message_id = lane.say("long")
    lane.sent(lane.claimed(), last=False)
    lane.do(delivery.note_refused, lane.claimed(), "refused: BadRequest", lane.now)
    assert lane.message(message_id).dropped_reason == "refused"
    lane.now += timedelta(days=3)
    with lane.store.write() as session:
        delivery.send_again(session, message_id, session.get(SupportAgent, agent_id), lane.now)
    parcel = lane.claimed()
    assert parcel.pieces_sent == 1 and lane.message(message_id).dropped_reason is None
    lane.do(delivery.note_failure, parcel, "server_error", lane.now)
    assert lane.message(message_id).delivery_state == "queued"  # a new day has begun for it
    with lane.store.write() as session:
        assert session.execute(select(AuditEntry.action)).scalars().all() == ["send_again"]
        agent = session.get(SupportAgent, agent_id)
        with pytest.raises(WrongState):
            delivery.send_again(session, message_id, agent, lane.now)
        for nothing in (0, -1, 10**9, 1):  # the last one is the customer's own
            with pytest.raises(NotFound):
                delivery.send_again(session, nothing, agent, lane.now)

"""One worker at a time takes a conversation's messages to the bot, in order, and what comes back is stored once."""
from __future__ import annotations

from datetime import timedelta

import pytest
import sqlalchemy as sa

from crm_store.errors import NotFound
from crm_store.models import Conversation, Escalation, Message
from crm_store.services.dispatch import (
    Reply,
    Turn,
    conversations_waiting,
    lease_conversation,
    next_turn,
    postpone_turn,
    release_conversation,
    renew_lease,
    turn_context,
)
from crm_store.services.handoff import (
    claim_conversation,
    escalate_conversation,
    hand_back_conversation,
    take_over_conversation,
)
from crm_store.services.messages import replies_to
from tests.crm.conftest import Desk

SECOND, MINUTE = timedelta(seconds=1), timedelta(minutes=1)


def texts(desk: Desk, message_id: int) -> list[str]:
    return [message.text for message in desk.ask(replies_to, message_id)]


def test_of_many_who_lease_at_once_one_gets_it(desk: Desk) -> None:
    conversation_id = desk.write().conversation.id
    got = desk.at_once([lambda n=n: desk.do(lease_conversation, conversation_id, f"worker {n}", desk.now)
                        for n in range(8)])
    assert sorted(got) == [False] * 7 + [True]


def test_a_lease_is_kept_renewed_released_and_runs_out(desk: Desk) -> None:
    conversation_id = desk.write().conversation.id
    assert desk.do(lease_conversation, conversation_id, "one", desk.now)
    assert not desk.do(lease_conversation, conversation_id, "two", desk.now + 29 * SECOND)
    assert not desk.do(renew_lease, conversation_id, "two", desk.now)
    assert desk.do(renew_lease, conversation_id, "one", desk.now + 20 * SECOND)
    desk.do(release_conversation, conversation_id, "two")
    assert not desk.do(lease_conversation, conversation_id, "two", desk.now + 49 * SECOND)
    assert desk.do(lease_conversation, conversation_id, "two", desk.now + 50 * SECOND)
    assert not desk.do(renew_lease, conversation_id, "one", desk.now + 50 * SECOND)
    desk.do(release_conversation, conversation_id, "two")
    assert desk.do(lease_conversation, conversation_id, "three", desk.now + 50 * SECOND)


def test_what_waits_is_due_unhandled_and_unleased_the_oldest_first(desk: Desk) -> None:
    ids = [desk.write(sender=f"visitor {n}").conversation.id for n in range(4)]
    desk.write("again", sender="visitor 0")
    assert desk.ask(conversations_waiting, desk.now) == ids
    assert desk.ask(conversations_waiting, desk.now, limit=2) == ids[:2]
    desk.do(lease_conversation, ids[1], "worker", desk.now)
    desk.answer(desk.turn(ids[2]), "hi")
    desk.do(postpone_turn, desk.turn(ids[3]).message_id, desk.now)
    assert desk.ask(conversations_waiting, desk.now) == [ids[0]]
    assert desk.ask(conversations_waiting, desk.now + MINUTE) == [ids[0], ids[1], ids[3]]


def test_a_postponed_first_message_holds_back_the_ones_after_it(desk: Desk) -> None:
    first = desk.write("one")
    desk.write("two")
    desk.do(postpone_turn, first.message.id, desk.now)
    assert desk.ask(next_turn, first.conversation.id, desk.now) is None
    assert desk.ask(conversations_waiting, desk.now) == []
    assert desk.turn(first.conversation.id, desk.now + SECOND).text == "one"


def test_turns_come_in_order_and_end(desk: Desk) -> None:
    conversation_id = desk.write("one").conversation.id
    desk.write("two")
    for text in ("one", "two"):
        turn = desk.turn(conversation_id)
        assert turn.text == text
        desk.answer(turn, f"re {text}")
    assert desk.ask(next_turn, conversation_id, desk.now) is None
    assert desk.ask(conversations_waiting, desk.now) == []


def test_a_turn_stores_what_was_understood_and_the_replies_in_order(desk: Desk) -> None:
    received = desk.write("我的订单呢")
    buttons = [{"title": "是", "payload": "/affirm", "extra": "not kept"}]
    desk.answer(desk.turn(received.conversation.id), "一", Reply("二", buttons), intent="ask_order_status",
                language="en", anger=0.25, valence="neutral", entities=[{"entity": "date", "value": "today"}],
                articles=[{"slug": "delivery", "score": 0.8}])
    first, second = desk.ask(replies_to, received.message.id)
    assert (first.text, first.position, first.author, first.delivery_state) == ("一", 0, "bot", "queued")
    assert (second.text, second.position, second.buttons) == ("二", 1, [{"title": "是", "payload": "/affirm"}])
    (message,) = desk.all(Message, Message.id == received.message.id)
    assert (message.handled_at, message.intent, message.anger, message.valence) == (
        desk.now, "ask_order_status", 0.25, "neutral")
    assert message.understood == {
        "intent": "ask_order_status", "confidence": 0.9, "language": "en",
        "entities": [{"entity": "date", "value": "today"}], "articles": [{"slug": "delivery", "score": 0.8}]}
    conversation = desk.conversation(received.conversation.id)
    assert (conversation.language, conversation.anger) == ("en", 0.25)


def test_anger_that_could_not_be_read_is_unknown_not_calm(desk: Desk) -> None:
    received = desk.write("!!!")
    desk.answer(desk.turn(received.conversation.id), "嗯", anger=0.9)
    desk.write("???")
    desk.answer(desk.turn(received.conversation.id), "嗯", anger=None)
    assert desk.all(Message, Message.direction == "incoming")[1].anger is None
    assert desk.conversation(received.conversation.id).anger is None


def test_completing_a_turn_twice_or_at_once_stores_the_replies_once(desk: Desk) -> None:
    received = desk.write()
    turn = desk.turn(received.conversation.id)
    results = desk.at_once([lambda: desk.answer(turn, "一", "二") for _ in range(4)])
    assert results == [None] * 4
    desk.answer(turn, "三", "四", "五")
    assert texts(desk, received.message.id) == ["一", "二"]


@pytest.mark.parametrize("change", ["escalated", "claimed", "taken_over", "taken_over_and_handed_back"])
def test_replies_of_a_bot_that_lost_the_conversation_are_dropped(desk: Desk, change: str) -> None:
    received = desk.write()
    conversation_id, wang = received.conversation.id, desk.agent("wang")
    turn = desk.turn(conversation_id)
    if change == "escalated":
        desk.do(escalate_conversation, conversation_id=conversation_id, reason="asked", now=desk.now,
                message_id=received.message.id)
    elif change == "claimed":
        desk.do(claim_conversation, conversation_id, wang, desk.now)
    else:
        desk.do(take_over_conversation, conversation_id, wang, desk.now)
    if change == "taken_over_and_handed_back":
        desk.do(hand_back_conversation, conversation_id, wang, desk.now)
    desk.answer(turn, "一", "二", intent="ask_refund_status")

    dropped = desk.all(Message, Message.delivery_state == "dropped")
    assert [(m.text, m.position, m.dropped_reason) for m in dropped] == [
        ("一", 1000, "lost_ownership"), ("二", 1001, "lost_ownership")]
    assert "一" not in texts(desk, received.message.id)
    (message,) = desk.all(Message, Message.id == received.message.id)
    assert (message.handled_at, message.intent) == (desk.now, "ask_refund_status")


def test_takeover_against_the_bots_answer_never_lets_both_through(desk: Desk) -> None:
    for round_number in range(10):
        received = desk.write(sender=f"visitor {round_number}")
        conversation_id, turn = received.conversation.id, desk.turn(received.conversation.id)
        results = desk.at_once([
            lambda turn=turn: desk.answer(turn, "bot"),
            lambda c=conversation_id: desk.do(take_over_conversation, c, desk.agent("wang"), desk.now)])
        assert [r for r in results if isinstance(r, Exception)] == []
        (reply,) = desk.all(Message, Message.conversation_id == conversation_id, Message.author == "bot")
        (note,) = desk.all(Message, Message.conversation_id == conversation_id, Message.direction == "note")
        assert (reply.id < note.id) == (reply.delivery_state == "queued")


def test_a_human_owned_conversation_is_read_and_not_answered(desk: Desk) -> None:
    received = desk.write()
    desk.do(claim_conversation, received.conversation.id, desk.agent("wang"), desk.now)
    turn = desk.turn(received.conversation.id)
    assert turn.mode == "read"
    desk.answer(turn, intent="greet", anger=0.4)
    (message,) = desk.all(Message, Message.direction == "incoming")
    assert (message.intent, message.anger, message.handled_at) == ("greet", 0.4, desk.now)
    assert desk.all(Message, Message.author == "bot") == []


def test_a_bot_with_nothing_to_say_hands_over_instead_of_silence(desk: Desk) -> None:
    received = desk.write()
    desk.answer(desk.turn(received.conversation.id), Reply("  "))
    assert desk.conversation(received.conversation.id).status == "open"
    (escalation,) = desk.all(Escalation)
    assert escalation.reason == "system"
    assert len(texts(desk, received.message.id)) == 1


@pytest.mark.parametrize(("anger", "empathy"), [(0.49, False), (0.5, True), (0.79, True), (0.8, False), (None, False)])
def test_between_watch_and_route_the_bot_is_kind_and_offers_a_person(sqlite_desk: Desk, anger: float | None,
                                                                     empathy: bool) -> None:
    received = sqlite_desk.write("怎么这么慢")
    second_reply = Reply("二", [{"title": "是", "payload": "/affirm"}])
    sqlite_desk.answer(sqlite_desk.turn(received.conversation.id), "一", second_reply, anger=anger)
    first, second = sqlite_desk.ask(replies_to, received.message.id)
    assert (first.text != "一") == empathy and first.text.endswith("一")
    assert [b["payload"] for b in second.buttons] == ["/affirm"] + ["/request_human"] * empathy
    again = sqlite_desk.write("好")
    assert sqlite_desk.turn(again.conversation.id).context["offered"] is empathy


def test_who_asks_something_of_the_memory_is_not_comforted(sqlite_desk: Desk) -> None:
    received = sqlite_desk.write("你还记得我什么")
    sqlite_desk.answer(sqlite_desk.turn(received.conversation.id), "一", anger=0.6)
    assert [reply.text for reply in sqlite_desk.ask(replies_to, received.message.id)] == ["一"]


def test_a_person_is_offered_once(sqlite_desk: Desk) -> None:
    received = sqlite_desk.write("so slow")
    offer = Reply("Sorry?", [{"title": "Yes, a person", "payload": "/request_human"}])
    sqlite_desk.answer(sqlite_desk.turn(received.conversation.id), offer, anger=0.6)
    (reply,) = sqlite_desk.ask(replies_to, received.message.id)
    assert [b["title"] for b in reply.buttons] == ["Yes, a person"]
    assert "frustrating" in reply.text


def test_the_context_of_a_guest_and_of_a_platinum_customer(sqlite_desk: Desk) -> None:
    guest = sqlite_desk.write("hello", sender="guest")
    context = sqlite_desk.turn(guest.conversation.id).context
    assert context == {
        "conversation_id": guest.conversation.id, "identity_id": guest.conversation.identity_id,
        "message_id": guest.message.id, "version": 1, "channel": "web", "language": "en", "customer": None,
        "thresholds": {"route": 0.80, "watch": 0.50}, "angers": [], "offered": False}
    customer_id = sqlite_desk.customer("ann", tier="platinum", name="Ann", language="en")
    ann = sqlite_desk.write("hello", sender="ann")
    context = sqlite_desk.turn(ann.conversation.id).context
    assert context["customer"] == {"id": customer_id, "number": "WLC00002", "name": "Ann", "tier": "platinum",
                                   "tone": None, "language": "en"}
    assert context["thresholds"] == {"route": 0.70, "watch": 0.40}


def test_the_context_tells_recent_anger_since_the_last_handover(sqlite_desk: Desk) -> None:
    conversation_id = sqlite_desk.write().conversation.id
    for anger in (0.1, 0.2, 0.3):
        sqlite_desk.answer(sqlite_desk.turn(conversation_id), "嗯", anger=anger)
        sqlite_desk.write()
    turn = sqlite_desk.turn(conversation_id)
    assert turn.context["angers"] == [0.3, 0.2]
    sqlite_desk.do(escalate_conversation, conversation_id=conversation_id, reason="anger", now=sqlite_desk.now,
                   message_id=turn.message_id)
    sqlite_desk.answer(turn)
    sqlite_desk.do(hand_back_conversation, conversation_id, sqlite_desk.agent("wang"), sqlite_desk.now)
    sqlite_desk.write()
    assert sqlite_desk.turn(conversation_id).context["angers"] == []


def test_the_context_of_a_conversation_without_unhandled_messages_is_about_the_newest(sqlite_desk: Desk) -> None:
    received = sqlite_desk.write()
    sqlite_desk.answer(sqlite_desk.turn(received.conversation.id), "嗯")
    assert sqlite_desk.ask(turn_context, received.conversation.id, sqlite_desk.now)["message_id"] == received.message.id
    with pytest.raises(NotFound):
        sqlite_desk.ask(turn_context, 999, sqlite_desk.now)


def test_a_turn_is_tried_again_later_and_later_and_then_given_up(desk: Desk) -> None:
    received = desk.write("在吗")
    message_id, at, waits = received.message.id, desk.now, []
    for _ in range(7):
        desk.do(postpone_turn, message_id, at)
        (message,) = desk.all(Message, Message.id == message_id)
        waits.append((message.next_attempt_at - at).total_seconds())
        at = message.next_attempt_at
    assert waits == [0.5, 1, 2, 4, 5, 5, 5]
    desk.do(postpone_turn, message_id, desk.now + timedelta(seconds=119))
    assert desk.conversation(received.conversation.id).status == "pending"
    for _ in range(2):
        desk.do(postpone_turn, message_id, desk.now + 2 * MINUTE)
    assert desk.conversation(received.conversation.id).status == "open"
    (escalation,) = desk.all(Escalation)
    assert (escalation.reason, escalation.message_id) == ("system", message_id)
    assert len(texts(desk, message_id)) == 1
    assert desk.ask(conversations_waiting, desk.now + 3 * MINUTE) == []


def test_giving_up_reading_for_a_human_escalates_nothing(desk: Desk) -> None:
    received = desk.write()
    desk.do(claim_conversation, received.conversation.id, desk.agent("wang"), desk.now)
    desk.do(postpone_turn, received.message.id, desk.now + 2 * MINUTE)
    assert desk.all(Escalation) == []
    assert desk.all(Message, Message.direction == "incoming")[0].handled_at == desk.now + 2 * MINUTE


def test_an_attempt_that_handed_over_and_was_lost_does_not_block_the_next(desk: Desk) -> None:
    received = desk.write()
    conversation_id = received.conversation.id
    desk.do(escalate_conversation, conversation_id=conversation_id, reason="asked", now=desk.now,
            message_id=received.message.id)
    desk.do(postpone_turn, received.message.id, desk.now)  # the answer of the bot never arrived
    desk.do(hand_back_conversation, conversation_id, desk.agent("wang"), desk.now)
    turn: Turn = desk.turn(conversation_id, desk.now + MINUTE)
    assert turn.mode == "turn"
    desk.answer(turn, "又是我")
    notice, reply = desk.ask(replies_to, received.message.id)
    assert (notice.position, reply.position, reply.text) == (0, 1, "又是我")


def test_the_waiting_list_uses_the_partial_index(sqlite_desk: Desk) -> None:
    sqlite_desk.write()
    seen: list[str] = []
    @sa.event.listens_for(sqlite_desk.store.engine, "before_cursor_execute")
    def note(_connection: object, _cursor: object, statement: str, _parameters: object, *_rest: object) -> None:
        seen.append(statement)

    sqlite_desk.ask(conversations_waiting, sqlite_desk.now)
    (query,) = [statement for statement in seen if statement.startswith("SELECT")]
    with sqlite_desk.store.engine.connect() as connection:
        now = sqlite_desk.now.isoformat()
        plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {query}", (now, now, 9, 0)).all()
    assert any("ix_messages_unhandled" in str(row) for row in plan)


def test_a_turn_costs_few_statements(sqlite_desk: Desk) -> None:
    conversation_id = sqlite_desk.write().conversation.id
    sqlite_desk.answer(sqlite_desk.turn(conversation_id), "嗯")
    seen: list[str] = []

    @sa.event.listens_for(sqlite_desk.store.engine, "before_cursor_execute")
    def note(_connection: object, _cursor: object, statement: str, *_rest: object) -> None:
        seen.append(statement)

    sqlite_desk.write("again")
    received, seen[:] = len(seen), []
    turn = sqlite_desk.turn(conversation_id)
    fetched, seen[:] = len(seen), []
    sqlite_desk.answer(turn, "一", "二")
    assert received <= 8 and fetched <= 3 and len(seen) <= 8, (received, fetched, seen)
    assert sqlite_desk.all(Conversation)[0].status == "pending"

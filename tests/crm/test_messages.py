"""Messages come in once each, in the right conversation, and go out in order."""
from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from crm_store.errors import InvalidMessage
from crm_store.models import ChannelIdentity, Conversation, Message
from crm_store.services.dispatch import Reply
from crm_store.services.handoff import add_note, claim_conversation, escalate_conversation, resolve_conversation
from crm_store.services.messages import history, mark_delivered, outgoing_after, receive_message, replies_to
from tests.crm.conftest import Desk

BUTTONS = [{"title": "好的", "payload": "/affirm"}, {"title": "50 元券", "payload": '/inform{"reward": 3}'}]


def test_a_first_message_makes_a_guest_and_a_conversation_with_the_bot(desk: Desk) -> None:
    received = desk.write("  Where is my order?  ", language_hint="zh")
    assert received.message.text == "Where is my order?"
    assert not received.duplicate
    (conversation,) = desk.all(Conversation)
    assert (conversation.status, conversation.version, conversation.language) == ("pending", 1, "en")
    assert conversation.customer_id is None and conversation.last_customer_message_at == desk.now
    (identity,) = desk.all(ChannelIdentity)
    assert (identity.channel, identity.external_id, identity.customer_id) == ("web", "visitor", None)


@pytest.mark.parametrize(("text", "hint", "language"), [
    ("订单呢", "en", "zh"), ("123", "en", "en"), ("123", None, "zh"), ("?", "fr", "zh"),
])
def test_the_first_guess_of_the_language(sqlite_desk: Desk, text: str, hint: str | None, language: str) -> None:
    assert sqlite_desk.write(text, language_hint=hint).conversation.language == language


def test_a_linked_customer_brings_their_name_and_language(sqlite_desk: Desk) -> None:
    customer_id = sqlite_desk.customer("ann", language="en")
    received = sqlite_desk.write("123", sender="ann")
    assert (received.conversation.customer_id, received.conversation.language) == (customer_id, "en")


def test_the_same_message_again_changes_nothing(desk: Desk) -> None:
    first = desk.write("hello", message_id="a")
    again = desk.write("something else", message_id="a", at=desk.now + timedelta(hours=1))
    assert again.duplicate and again.message.id == first.message.id and again.message.text == "hello"
    assert len(desk.all(Message)) == 1
    assert not desk.write("hello", message_id="a", sender="another visitor").duplicate


def test_the_same_message_many_times_at_once_is_stored_once(desk: Desk) -> None:
    results = desk.at_once([lambda: desk.write("hello", message_id="a") for _ in range(8)])
    assert [r for r in results if isinstance(r, Exception)] == []
    assert sorted(r.duplicate for r in results) == [False] + [True] * 7
    assert len({r.message.id for r in results}) == 1
    assert [len(desk.all(model)) for model in (Message, Conversation, ChannelIdentity)] == [1, 1, 1]


def test_many_messages_of_a_new_visitor_at_once_share_one_conversation(desk: Desk) -> None:
    results = desk.at_once([lambda n=n: desk.write(f"message {n}", message_id=f"id{n}") for n in range(8)])
    assert [r for r in results if isinstance(r, Exception)] == []
    assert len(desk.all(Message)) == 8
    assert len(desk.all(Conversation)) == 1


@pytest.mark.parametrize(("change", "field", "reason"), [
    ({"channel": "fax"}, "channel", "invalid"),
    ({"channel": None}, "channel", "invalid"),
    ({"external_id": ""}, "external_id", "empty"),
    ({"external_id": "x" * 201}, "external_id", "too_long"),
    ({"external_id": "a\x00b"}, "external_id", "invalid"),
    ({"external_id": "a\ud800b"}, "external_id", "invalid"),
    ({"external_id": 7}, "external_id", "invalid"),
    ({"channel_message_id": " "}, "channel_message_id", "empty"),
    ({"channel_message_id": "x" * 201}, "channel_message_id", "too_long"),
    ({"channel_message_id": None}, "channel_message_id", "invalid"),
    ({"text": " \n\t "}, "text", "empty"),
    ({"text": "\u200b\u202e\x00"}, "text", "empty"),
    ({"text": "\ud800"}, "text", "empty"),
    ({"text": None}, "text", "invalid"),
    ({"text": "好" * 4001}, "text", "too_long"),
    ({"text": "", "payload": "/never_offered"}, "text", "empty"),
])
def test_what_cannot_be_accepted_is_refused_and_leaves_nothing(sqlite_desk: Desk, change: dict[str, Any], field: str,
                                                               reason: str) -> None:
    arguments = {"channel": "web", "external_id": "visitor", "text": "hello", "channel_message_id": "1", **change}
    with pytest.raises(InvalidMessage) as refused:
        sqlite_desk.do(receive_message, now=sqlite_desk.now, **arguments)
    assert (refused.value.data["field"], refused.value.data["reason"]) == (field, reason)
    assert sqlite_desk.all(Message) == []


def test_a_text_of_exactly_the_limit_is_accepted(desk: Desk) -> None:
    assert len(desk.write("好" * 4000).message.text) == 4000


def test_what_people_paste_survives_both_databases(desk: Desk) -> None:
    text = "'; DROP TABLE messages; --  %_\\ 👩‍👩‍👧 <script>alert(1)</script> 繁體"
    assert desk.write(text).message.text == text
    assert desk.all(Message)[0].text == text


def answered_with_buttons(desk: Desk) -> int:
    conversation_id = int(desk.write("换积分").conversation.id)
    desk.answer(desk.turn(conversation_id), Reply("要哪个?", BUTTONS))
    return conversation_id


@pytest.mark.parametrize(("text", "payload", "kept", "shown"), [
    ("50 元券", '/inform{"reward": 3}', '/inform{"reward": 3}', "50 元券"),
    ("随便", '/inform{"reward":3}', '/inform{"reward": 3}', "随便"),
    ("", "/affirm", "/affirm", "好的"),
    ("/affirm", None, "/affirm", "好的"),
    ("50 元券", '/inform{"reward": 4}', None, "50 元券"),
    ("x", "/deny", None, "x"),
    ("/deny", None, None, "/deny"),
    ("x", "/inform{", None, "x"),
    ("x", "/" + "a" * 600, None, "x"),
])
def test_a_payload_counts_only_where_it_was_offered(sqlite_desk: Desk, text: str, payload: str | None,
                                                    kept: str | None, shown: str) -> None:
    answered_with_buttons(sqlite_desk)
    message = sqlite_desk.write(text, payload=payload).message
    assert (message.payload, message.text) == (kept, shown)


def test_a_button_offered_to_somebody_else_does_not_count(sqlite_desk: Desk) -> None:
    answered_with_buttons(sqlite_desk)
    assert sqlite_desk.write("好的", payload="/affirm", sender="stranger").message.payload is None


def test_a_button_of_long_ago_does_not_count(sqlite_desk: Desk) -> None:
    conversation_id = answered_with_buttons(sqlite_desk)
    for _ in range(8):
        sqlite_desk.write()
        sqlite_desk.answer(sqlite_desk.turn(conversation_id), "嗯")
    assert sqlite_desk.write("好的", payload="/affirm").message.payload is None


def resolved(desk: Desk) -> int:
    """A conversation that Wang resolved now."""
    conversation_id = int(desk.write("转人工").conversation.id)
    desk.do(escalate_conversation, conversation_id=conversation_id, reason="asked", now=desk.now)
    desk.do(resolve_conversation, conversation_id, desk.agent("wang"), desk.now)
    return conversation_id


def test_who_writes_within_72_hours_reopens_the_same_conversation_with_the_bot(desk: Desk) -> None:
    conversation_id = resolved(desk)
    before = desk.conversation(conversation_id)
    again = desk.write("还有问题", at=desk.now + timedelta(hours=72))
    assert again.conversation.id == conversation_id
    after = desk.conversation(conversation_id)
    assert (after.status, after.version, after.resolved_at) == ("pending", before.version + 1, None)
    assert after.assignee_id == desk.agent("wang").id
    turn = desk.turn(conversation_id)  # the first message was never handled, and is not forgotten
    assert (turn.mode, turn.text) == ("turn", "转人工")


def test_who_writes_later_begins_a_new_conversation(desk: Desk) -> None:
    conversation_id = resolved(desk)
    again = desk.write("还有问题", at=desk.now + timedelta(hours=72, seconds=1))
    assert again.conversation.id != conversation_id
    assert desk.conversation(conversation_id).status == "resolved"


def test_outgoing_messages_are_read_in_order_without_notes_and_dropped_ones(desk: Desk) -> None:
    received = desk.write("你好")
    conversation_id, identity_id = received.conversation.id, received.conversation.identity_id
    desk.answer(desk.turn(conversation_id), "一", "二")
    second = desk.write("转人工")
    turn = desk.turn(conversation_id)
    desk.do(escalate_conversation, conversation_id=conversation_id, reason="asked", now=desk.now,
            message_id=second.message.id)
    desk.answer(turn, "太晚了")
    desk.do(add_note, conversation_id, desk.agent("wang"), "内部", desk.now)

    assert [m.text for m in desk.ask(replies_to, received.message.id)] == ["一", "二"]
    (notice,) = desk.ask(replies_to, second.message.id)
    assert notice.author == "system"
    said = desk.ask(outgoing_after, identity_id, 0)
    assert [m.text for m in said] == ["一", "二", notice.text]
    assert [m.id for m in desk.ask(outgoing_after, identity_id, said[0].id, limit=1)] == [said[1].id]
    assert [m.text for m in desk.ask(history, identity_id)] == ["你好", "一", "二", "转人工", notice.text]
    assert [m.text for m in desk.ask(history, identity_id, limit=2)] == ["转人工", notice.text]


def test_delivery_is_noted_once(desk: Desk) -> None:
    received = desk.write("你好")
    desk.answer(desk.turn(received.conversation.id), "一")
    (reply,) = desk.ask(replies_to, received.message.id)
    assert (reply.delivery_state, reply.delivered_at) == ("queued", None)
    for minutes in (1, 2):
        desk.do(mark_delivered, [reply.id], desk.now + timedelta(minutes=minutes))
    (reply,) = desk.ask(replies_to, received.message.id)
    assert (reply.delivery_state, reply.delivered_at) == ("delivered", desk.now + timedelta(minutes=1))
    desk.do(mark_delivered, [], desk.now)


def test_one_sender_on_two_channels_is_two_identities(desk: Desk) -> None:
    desk.write(message_id="1")
    desk.do(receive_message, channel="http", external_id="visitor", text="hi", channel_message_id="1", now=desk.now)
    assert len(desk.all(ChannelIdentity)) == len(desk.all(Conversation)) == 2


def test_messages_to_an_owned_conversation_stay_with_its_human(desk: Desk) -> None:
    conversation_id = int(desk.write("转人工").conversation.id)
    desk.do(claim_conversation, conversation_id, desk.agent("wang"), desk.now)
    assert desk.write("在吗").conversation.id == conversation_id
    assert desk.turn(conversation_id).mode == "read"

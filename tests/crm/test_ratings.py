"""Every resolved episode is rated by a button; a bad rating goes back to the lead."""
from __future__ import annotations

from datetime import timedelta

import pytest

from crm_store.models import Message, Notification, Rating, SlaClock, Ticket
from crm_store.services.dispatch import conversations_waiting
from crm_store.services.handoff import (
    claim_conversation,
    escalate_conversation,
    reply_to_customer,
    resolve_conversation,
)
from crm_store.services.messages import replies_to
from crm_store.services.ratings import score_in
from tests.crm.conftest import MINUTE, Desk


def resolved(desk: Desk, *, language: str = "zh") -> int:
    received = desk.write("转人工" if language == "zh" else "a person please")
    conversation_id = int(received.conversation.id)
    desk.do(escalate_conversation, conversation_id=conversation_id, reason="asked", now=desk.now,
            message_id=received.message.id)
    desk.answer(desk.turn(conversation_id))
    desk.do(reply_to_customer, conversation_id, desk.agent("wang"), "好了", desk.now)
    desk.do(resolve_conversation, conversation_id, desk.agent("wang"), desk.now)
    return conversation_id


def rate(desk: Desk, score: int, minutes: int = 1) -> Message:
    return desk.write(f"{score}", payload=f'/rate{{"score": {score}}}', at=desk.now + minutes * MINUTE).message


@pytest.mark.parametrize("score", [3, 4, 5])
def test_a_good_rating_is_kept_and_thanked_for_and_the_conversation_stays_resolved(desk: Desk, score: int) -> None:
    conversation_id = resolved(desk)
    message = rate(desk, score)
    (rating,) = desk.all(Rating)
    assert (rating.score, rating.agent_id, rating.episode_resolved_at) == (score, desk.agent("wang").id, desk.now)
    assert desk.conversation(conversation_id).status == "resolved"
    (thanks,) = desk.ask(replies_to, message.id)
    assert "感谢" in thanks.text
    assert desk.ask(conversations_waiting, desk.now + MINUTE) == []  # no turn for the bot


@pytest.mark.parametrize("score", [1, 2])
def test_a_bad_rating_reopens_with_the_lead(desk: Desk, score: int) -> None:
    conversation_id = resolved(desk)
    version = desk.conversation(conversation_id).version
    message = rate(desk, score)
    conversation, (ticket,), lead = desk.conversation(conversation_id), desk.all(Ticket), desk.agent("lead")
    assert (conversation.status, conversation.assignee_id, conversation.version) == ("open", lead.id, version + 1)
    assert (ticket.status, ticket.assignee_id, ticket.cycle, ticket.keeper_id) == (
        "open", lead.id, 2, desk.agent("wang").id)
    (first,) = desk.all(SlaClock, SlaClock.cycle == 2, SlaClock.promise == "first_response")
    assert (first.state, first.due_at) == ("running", desk.now + 16 * MINUTE)
    (answer,) = desk.ask(replies_to, message.id)
    assert ticket.number in answer.text and "10:16" in answer.text
    assert [n.agent_id for n in desk.all(Notification, Notification.kind == "low_rating")] == [lead.id]
    assert any(str(score) in m.text for m in desk.all(Message, Message.direction == "note"))
    desk.do(claim_conversation, conversation_id, lead, desk.now)


def test_an_episode_is_rated_once(desk: Desk) -> None:
    resolved(desk)
    rate(desk, 4)
    second = rate(desk, 1, 2)
    assert [r.score for r in desk.all(Rating)] == [4]
    assert len(desk.ask(replies_to, second.id)) == 1


def test_the_same_press_again_is_a_duplicate(desk: Desk) -> None:
    resolved(desk)
    pressed = {"payload": '/rate{"score": 5}', "message_id": "press"}
    results = desk.at_once([lambda: desk.write("5", **pressed) for _ in range(4)])
    assert [r for r in results if isinstance(r, Exception)] == []
    assert sorted(r.duplicate for r in results) == [False, True, True, True]
    assert len(desk.all(Rating)) == 1


def test_every_episode_is_rated(desk: Desk) -> None:
    conversation_id = resolved(desk)
    rate(desk, 1)
    later, lead = desk.now + timedelta(hours=1), desk.agent("lead")
    desk.do(resolve_conversation, conversation_id, lead, later)
    rate(desk, 5, 90)
    assert [(r.score, r.episode_resolved_at) for r in desk.all(Rating)] == [(1, desk.now), (5, later)]


def test_a_rating_counts_even_after_the_72_hours(desk: Desk) -> None:
    conversation_id = resolved(desk)
    message = rate(desk, 5, 60 * 24 * 10)
    assert message.conversation_id == conversation_id and len(desk.all(Rating)) == 1


def test_words_that_look_like_a_rating_are_not_one_where_none_was_asked(desk: Desk) -> None:
    message = desk.write('/rate{"score": 1}').message
    assert message.payload is None and desk.all(Rating) == []


def test_a_rating_pressed_after_the_conversation_went_on_is_left_to_the_bot(desk: Desk) -> None:
    conversation_id = resolved(desk)
    desk.write("还有个问题")
    message = rate(desk, 1)
    assert desk.all(Rating) == [] and message.handled_at is None
    assert desk.conversation(conversation_id).status == "pending"


@pytest.mark.parametrize(("payload", "score"), [
    ('/rate{"score": 5}', 5), ('/rate{"score":1}', 1), ('/rate{"score": 6}', None), ('/rate{"score": 0}', None),
    ("/rate", None), ('/rate{"score": 5}x', None), ("/affirm", None),
])
def test_scores(payload: str, score: int | None) -> None:
    assert score_in(payload) == score

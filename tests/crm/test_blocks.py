"""Whoever is blocked is kept out of the queue and not answered, is told so once, and comes back by themselves."""
from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete, func, select

from crm_store.errors import InvalidMessage, NotAllowed, NotFound, WrongState
from crm_store.models import AuditEntry, Block, ChannelIdentity, Conversation, Message, SlaClock
from crm_store.queries.blocks import blocks_page, running_block
from crm_store.services.blocks import block_sender, end_block
from crm_store.services.dispatch import next_turn
from crm_store.services.handoff import escalate_conversation, resolve_conversation
from crm_store.services.retention import keep_periods
from crm_store.wording import SENTENCES
from tests.crm.conftest import HOUR, Desk

TOLD = SENTENCES["blocked"]["zh"]


def block(desk: Desk, conversation: int, login: str = "wang", **more: Any) -> list[Block]:
    asked = {"reason": "广告", "until": None, "everywhere": False, "now": desk.now, **more}
    return desk.do(block_sender, conversation, desk.agent(login), **asked)


def outgoing(desk: Desk) -> list[str]:
    return [message.text for message in desk.all(Message, Message.direction == "outgoing")]


def test_a_blocked_sender_is_kept_counted_told_once_and_not_answered(desk: Desk) -> None:
    conversation = desk.write("买粉加我", sender="spam").conversation.id
    block(desk, conversation)
    for _ in range(3):
        received = desk.write("买粉加我！", sender="spam")
        assert received.message.held == "blocked" and received.message.handled_at == desk.now
    assert outgoing(desk) == [TOLD]
    (kept,) = desk.all(Block)
    assert (kept.held, kept.told_at) == (3, desk.now)
    turn = desk.ask(next_turn, conversation, desk.now)
    assert turn is not None and turn.text == "买粉加我"  # what came before is still answered
    assert not desk.write("你好", sender="somebody else").held


def test_a_block_goes_with_the_conversation_that_was_its_reason(desk: Desk, tmp_path: Path) -> None:
    customer = desk.customer("spam")
    talk = desk.write("买粉加我", sender="spam").conversation.id
    block(desk, talk)

    def resolve(session: Any) -> None:
        session.get(Conversation, talk).status = "resolved"
        session.get(Conversation, talk).resolved_at = desk.now

    desk.do(resolve)
    later = desk.now + timedelta(days=2000)
    assert keep_periods(desk.store, tmp_path, later)["conversations"] == 1 and not desk.all(Block)
    received = desk.write("我的订单呢", sender="spam", at=later)
    assert not received.held and received.conversation.customer_id == customer
    (identity,) = desk.all(ChannelIdentity)
    assert identity.blocked_until is None


def test_who_was_blocked_in_a_forgotten_conversation_may_be_blocked_in_another(desk: Desk) -> None:
    talk = desk.write("买粉加我", sender="spam").conversation.id
    block(desk, talk)
    desk.do(lambda session: session.execute(delete(Block)))
    assert len(block(desk, talk)) == 1 and desk.write("x", sender="spam").held


def test_a_block_ends_by_itself(desk: Desk) -> None:
    conversation = desk.write("x", sender="spam").conversation.id
    block(desk, conversation, until=desk.now + HOUR)
    assert desk.write("x", sender="spam", at=desk.now + HOUR - timedelta(seconds=1)).held
    assert not desk.write("x", sender="spam", at=desk.now + HOUR).held
    assert desk.ask(running_block, desk.conversation(conversation).identity_id, desk.now + HOUR) is None
    block(desk, conversation, now=desk.now + HOUR)  # and may begin anew
    assert desk.write("x", sender="spam", at=desk.now + 2 * HOUR).held


def test_a_blocked_sender_enters_no_queue_and_starts_no_clock(desk: Desk) -> None:
    received = desk.write("叫经理来", sender="spam")
    conversation = received.conversation.id
    desk.do(escalate_conversation, conversation_id=conversation, reason="asked", now=desk.now,
            message_id=received.message.id)
    wang = desk.agent("wang")
    desk.do(resolve_conversation, conversation, wang, desk.now)
    clocks = len(desk.all(SlaClock))
    block(desk, conversation)
    desk.write("叫经理来", sender="spam", at=desk.now + HOUR)
    assert desk.conversation(conversation).status == "resolved" and len(desk.all(SlaClock)) == clocks
    desk.write("叫经理来", sender="spam", at=desk.now + 100 * HOUR)
    assert len(desk.all(Conversation)) == 1


def test_who_has_never_written_begins_a_conversation_that_waits_for_nobody(desk: Desk) -> None:
    customer = desk.customer("web-one")
    conversation = desk.write("x", sender="web-one").conversation.id
    with desk.store.write() as session:
        session.add(ChannelIdentity(channel="web", external_id="web-two", customer_id=customer, created_at=desk.now))
    assert len(block(desk, conversation, everywhere=True)) == 2
    received = desk.write("x", sender="web-two")
    assert received.held and received.conversation.status == "pending"
    assert desk.ask(next_turn, received.conversation.id, desk.now) is None


def test_only_this_channel_is_blocked_unless_all_are_wanted(desk: Desk) -> None:
    customer = desk.customer("web-one")
    conversation = desk.write("x", sender="web-one").conversation.id
    with desk.store.write() as session:
        session.add(ChannelIdentity(channel="web", external_id="web-two", customer_id=customer, created_at=desk.now))
    assert len(block(desk, conversation)) == 1
    assert not desk.write("x", sender="web-two").held
    assert [each.identity_id for each in block(desk, conversation, everywhere=True)] == [
        desk.all(ChannelIdentity, ChannelIdentity.external_id == "web-two")[0].id]
    with pytest.raises(WrongState):
        block(desk, conversation, everywhere=True)


def test_everywhere_never_means_other_guests(desk: Desk) -> None:
    conversation = desk.write("x", sender="guest one").conversation.id
    desk.write("x", sender="guest two")
    assert len(block(desk, conversation, everywhere=True)) == 1
    assert not desk.write("x", sender="guest two").held


def test_who_blocked_and_why_is_in_the_thread_and_in_the_audit_log(desk: Desk) -> None:
    conversation = desk.write("x", sender="spam").conversation.id
    (blocked,) = block(desk, conversation, reason="  反复发广告 ")
    desk.do(end_block, blocked.id, desk.agent("lead"), desk.now)
    notes = [message.text for message in desk.all(Message, Message.direction == "note")]
    wang, lead = desk.agent("wang"), desk.agent("lead")
    assert notes == [f"{wang.name} 屏蔽了这位客户：反复发广告", f"{lead.name} 解除了屏蔽。"]
    entries = desk.all(AuditEntry, AuditEntry.object_kind == "channel_identity")
    assert [(entry.action, entry.actor_id) for entry in entries] == [("block", wang.id), ("unblock", lead.id)]
    assert not desk.write("x", sender="spam").held


def test_only_who_blocked_or_a_lead_ends_it_and_only_once(desk: Desk) -> None:
    (blocked,) = block(desk, desk.write("x", sender="spam").conversation.id)
    with pytest.raises(NotAllowed):
        desk.do(end_block, blocked.id, desk.agent("li"), desk.now)
    desk.do(end_block, blocked.id, desk.agent("wang"), desk.now)
    with pytest.raises(WrongState):
        desk.do(end_block, blocked.id, desk.agent("lead"), desk.now)
    with pytest.raises(NotFound):
        desk.do(end_block, 2**62, desk.agent("lead"), desk.now)


@pytest.mark.parametrize("asked", [
    {"reason": ""}, {"reason": " \n"}, {"reason": "x" * 301}, {"reason": "\x00\ud800"}, {"until": timedelta(0)},
    {"until": -HOUR}])
def test_what_makes_no_sense_blocks_nobody(desk: Desk, asked: dict[str, Any]) -> None:
    conversation = desk.write("x", sender="spam").conversation.id
    if "until" in asked:
        asked = {"until": desk.now + asked["until"]}
    with pytest.raises(InvalidMessage) as refused:
        block(desk, conversation, **asked)
    assert refused.value.data["field"] in asked
    assert desk.all(Block) == []


def test_of_many_who_block_at_once_one_does(desk: Desk) -> None:
    conversation = desk.write("x", sender="spam").conversation.id
    outcomes = desk.at_once([lambda: block(desk, conversation), lambda: block(desk, conversation, "li"),
                             lambda: desk.write("y", sender="spam"), lambda: desk.write("z", sender="spam")])
    assert sum(isinstance(each, list) for each in outcomes[:2]) == 1
    assert sum(isinstance(each, WrongState) for each in outcomes[:2]) == 1
    assert len(desk.all(Block)) == 1


def test_a_forgotten_person_takes_their_block_along(desk: Desk) -> None:
    conversation = desk.write("x", sender="spam").conversation.id
    block(desk, conversation)
    with desk.store.write() as session:
        for table in (Message, Conversation, ChannelIdentity):
            session.execute(table.__table__.delete())
        assert session.execute(select(func.count()).select_from(Block)).scalar_one() == 0


def test_the_list_shows_each_what_they_may_see(desk: Desk) -> None:
    conversation = desk.write("x", sender="spam").conversation.id
    block(desk, conversation, until=desk.now + HOUR)
    for login, seen in (("lead", 1), ("boss", 1)):
        found = desk.ask(blocks_page, desk.agent(login), desk.now, over=False, page=1)
        assert found.total == len(found.rows) == seen
    assert desk.ask(blocks_page, desk.agent("boss"), desk.now, over=True, page=1).rows == []
    (over,) = desk.ask(blocks_page, desk.agent("boss"), desk.now + HOUR, over=True, page=1).rows
    assert (over.reason, over.by, over.state) == ("广告", desk.agent("wang").name, "over")

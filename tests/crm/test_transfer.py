"""A conversation passes from one owner to the next: one writer before, one after, and no promise gets more time."""
from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import OperationalError

from crm_store.errors import InvalidMessage, NotFound, NotOwner, WrongState
from crm_store.models import AuditEntry, Conversation, Message, Notification, SlaClock, SupportAgent, Team, Ticket
from crm_store.queries.transfer import transfer_targets
from crm_store.services.access import access_conversation
from crm_store.services.complaints import file_complaint
from crm_store.services.handoff import (
    claim_conversation,
    escalate_conversation,
    hand_back_conversation,
    reply_to_customer,
    resolve_conversation,
    snooze_conversation,
    take_over_conversation,
)
from crm_store.services.sla import tick
from crm_store.services.transfer import transfer_conversation
from tests.crm.conftest import HOUR, MINUTE, Desk

EVERYBODY = ("wang", "li", "chen", "lead", "expert_lead", "boss")


def claimed(desk: Desk, login: str = "wang", *, sender: str = "visitor") -> int:
    """A conversation that an agent has, at version 2 or 3."""
    received = desk.write("转人工", sender=sender)
    desk.do(escalate_conversation, conversation_id=received.conversation.id, reason="asked", now=desk.now,
            message_id=received.message.id)
    desk.do(claim_conversation, received.conversation.id, desk.agent(login), desk.now)
    return int(received.conversation.id)


def transfer(desk: Desk, conversation_id: int, by: str, **target: Any) -> Conversation:
    passed: Conversation = desk.do(transfer_conversation, conversation_id, desk.agent(by), desk.now, **target)
    return passed


def team(desk: Desk, level: str) -> Team:
    (found,) = desk.all(Team, Team.level == level)
    return found


def notices(desk: Desk) -> list[tuple[str, int]]:
    return [(n.kind, n.agent_id) for n in desk.all(Notification) if n.kind != "assigned"]


def test_a_colleague_has_it_at_once_and_the_former_owner_writes_no_more(desk: Desk) -> None:
    conversation_id, wang, chen = claimed(desk), desk.agent("wang"), desk.agent("chen")
    before = [(c.promise, c.due_at, c.state) for c in desk.all(SlaClock)]
    transfer(desk, conversation_id, "wang", to_agent_id=chen.id, note=" 客户要英文\u200b ")
    conversation, (ticket,) = desk.conversation(conversation_id), desk.all(Ticket)
    assert (conversation.assignee_id, conversation.version, conversation.status) == (chen.id, 3, "open")
    assert conversation.claimed_at == desk.now and conversation.team_id == chen.team_id
    assert (ticket.assignee_id, ticket.keeper_id, ticket.level) == (chen.id, wang.id, "experts")
    assert [(c.promise, c.due_at, c.state) for c in desk.all(SlaClock)] == before
    note = desk.all(Message, Message.direction == "note")[-1]
    assert (note.agent_id, note.text) == (wang.id, "Wang 转给 Chen。\n客户要英文")
    assert notices(desk) == [("transferred", chen.id)]
    (entry,) = desk.all(AuditEntry, AuditEntry.action == "transfer")
    assert (entry.actor_id, entry.data) == (wang.id, {
        "from": wang.id, "to_agent": chen.id, "to_team": chen.team_id, "version": 3})
    for act in (reply_to_customer, lambda *a: claim_conversation(a[0], a[1], a[2], a[4]),
                lambda *a: resolve_conversation(a[0], a[1], a[2], a[4])):
        with pytest.raises(NotOwner) as refused:
            desk.do(act, conversation_id, wang, "还有一句", desk.now)
        assert refused.value.data["owner_name"] == "Chen"
    desk.do(reply_to_customer, conversation_id, chen, "Hello", desk.now)
    assert desk.ask(access_conversation, wang, conversation_id).id == conversation_id  # the keeper still sees it


def test_in_a_team_it_is_offered_to_whoever_is_free(desk: Desk) -> None:
    conversation_id, experts = claimed(desk), team(desk, "experts")
    transfer(desk, conversation_id, "wang", to_team_id=experts.id)
    expert_lead = desk.agent("expert_lead")  # Chen speaks no Chinese
    conversation = desk.conversation(conversation_id)
    assert (conversation.assignee_id, conversation.claimed_at, conversation.team_id, conversation.version) == (
        expert_lead.id, None, experts.id, 3)
    assert notices(desk) == [("transferred", expert_lead.id)]
    desk.do(claim_conversation, conversation_id, desk.agent("li"), desk.now)  # an offer is for whoever comes first
    assert desk.conversation(conversation_id).assignee_id == desk.agent("li").id


def test_where_nobody_is_free_it_waits_in_the_teams_queue_and_its_lead_is_told(desk: Desk) -> None:
    conversation_id, experts = claimed(desk), team(desk, "experts")
    desk.away("expert_lead")
    transfer(desk, conversation_id, "wang", to_team_id=experts.id)
    conversation = desk.conversation(conversation_id)
    assert (conversation.assignee_id, conversation.claimed_at, conversation.team_id) == (None, None, experts.id)
    assert notices(desk) == [("nobody_free", desk.agent("expert_lead").id)]
    assert desk.all(Ticket)[0].assignee_id is None
    assert "experts" in desk.all(Message, Message.direction == "note")[-1].text


def test_a_late_word_of_who_gave_it_away_does_not_take_it_back_from_the_team(desk: Desk) -> None:
    conversation_id, wang = claimed(desk), desk.agent("wang")
    desk.away(*EVERYBODY)
    transfer(desk, conversation_id, "lead", to_team_id=team(desk, "experts").id)
    for login in ("wang", "lead"):
        for act in (lambda s, c, a, n: reply_to_customer(s, c, a, "还有一句", n), snooze_conversation,
                    resolve_conversation, hand_back_conversation):
            with pytest.raises(NotOwner) as refused:
                desk.do(act, conversation_id, desk.agent(login), desk.now)
            assert refused.value.data["owner_name"] == "experts"
    assert ("transferred_away", wang.id) in notices(desk)
    desk.do(claim_conversation, conversation_id, wang, desk.now)  # but they can claim it like everybody
    desk.do(reply_to_customer, conversation_id, wang, "我又接手了", desk.now)
    transfer(desk, conversation_id, "wang", to_team_id=team(desk, "experts").id)
    desk.do(reply_to_customer, conversation_id, desk.agent("chen"), "Hello", desk.now)
    assert desk.conversation(conversation_id).assignee_id == desk.agent("chen").id


def test_ones_own_team_gives_it_to_somebody_else(desk: Desk) -> None:
    conversation_id = claimed(desk)
    transfer(desk, conversation_id, "wang", to_team_id=team(desk, "front_line").id)
    assert desk.conversation(conversation_id).assignee_id == desk.agent("li").id


@pytest.mark.parametrize(("by", "allowed"), [
    ("wang", True), ("li", False), ("chen", False), ("lead", True), ("expert_lead", False), ("boss", True)])
def test_who_may(desk: Desk, by: str, allowed: bool) -> None:
    conversation_id = claimed(desk)
    if allowed:
        assert transfer(desk, conversation_id, by, to_agent_id=desk.agent("li").id).version == 3
        return
    with pytest.raises(NotOwner) as refused:
        transfer(desk, conversation_id, by, to_agent_id=desk.agent("li").id)
    assert refused.value.data["owner_name"] == "Wang"
    assert desk.conversation(conversation_id).version == 2
    assert desk.all(AuditEntry, AuditEntry.action == "transfer") == []


def test_passing_on_what_nobody_has_claimed_makes_an_agent_its_keeper_and_a_lead_not(desk: Desk) -> None:
    desk.away(*EVERYBODY)
    received = [desk.write("转人工", sender=f"visitor {n}") for n in range(2)]
    for each in received:
        desk.do(escalate_conversation, conversation_id=each.conversation.id, reason="asked", now=desk.now)
    transfer(desk, received[0].conversation.id, "li", to_agent_id=desk.agent("chen").id)
    transfer(desk, received[1].conversation.id, "lead", to_agent_id=desk.agent("chen").id)
    first, second = desk.all(Ticket)
    assert (first.keeper_id, first.assignee_id) == (desk.agent("li").id, desk.agent("chen").id)
    assert (second.keeper_id, second.assignee_id) == (desk.agent("chen").id, desk.agent("chen").id)
    assert [t.stage for t in (first, second)] == ["taken_up", "received"]


def test_what_the_bot_has_or_what_is_resolved_is_not_passed_on(desk: Desk) -> None:
    pending = desk.write(sender="somebody").conversation.id
    with pytest.raises(NotOwner) as refused:
        transfer(desk, pending, "boss", to_agent_id=desk.agent("li").id)
    assert refused.value.data["owner_name"] is None
    resolved = claimed(desk)
    desk.do(resolve_conversation, resolved, desk.agent("wang"), desk.now)
    for target in ({"to_agent_id": desk.agent("li").id}, {"to_team_id": desk.agent("li").team_id}):
        with pytest.raises(WrongState):
            transfer(desk, resolved, "wang", **target)
    with pytest.raises(NotFound):
        transfer(desk, 999, "boss", to_agent_id=desk.agent("li").id)


@pytest.mark.parametrize(("target", "field"), [
    ({}, "to_agent_id"), ({"to_agent_id": 1, "to_team_id": 1}, "to_agent_id"), ({"to_agent_id": 999}, "to_agent_id"),
    ({"to_agent_id": 0}, "to_agent_id"), ({"to_team_id": -1}, "to_team_id"), ({"to_team_id": 2**62}, "to_team_id"),
    ({"to_agent_id": 2, "note": "x" * 1001}, "note")])
def test_a_target_that_is_none_is_refused_and_nothing_happens(desk: Desk, target: dict[str, Any], field: str) -> None:
    conversation_id = claimed(desk)
    with pytest.raises(InvalidMessage) as refused:
        transfer(desk, conversation_id, "wang", **target)
    assert refused.value.data["field"] == field
    assert (desk.conversation(conversation_id).version, notices(desk)) == (2, [])


def test_a_colleague_who_left_or_who_has_it_already_is_refused(desk: Desk) -> None:
    conversation_id, li = claimed(desk), desk.agent("li")
    with desk.store.write() as session:
        session.get(SupportAgent, li.id).active = False
    with pytest.raises(InvalidMessage):
        transfer(desk, conversation_id, "wang", to_agent_id=li.id)
    with pytest.raises(WrongState):
        transfer(desk, conversation_id, "boss", to_agent_id=desk.agent("wang").id)
    with pytest.raises(WrongState):
        transfer(desk, conversation_id, "wang", to_agent_id=desk.agent("wang").id)


def test_an_offer_can_be_made_certain(desk: Desk) -> None:
    received = desk.write("转人工")
    desk.do(escalate_conversation, conversation_id=received.conversation.id, reason="asked", now=desk.now)
    wang = desk.agent("wang")
    assert desk.conversation(received.conversation.id).assignee_id == wang.id
    passed = transfer(desk, received.conversation.id, "lead", to_agent_id=wang.id)
    assert (passed.assignee_id, passed.claimed_at, passed.version) == (wang.id, desk.now, 3)


def test_the_promises_and_a_wait_go_on_unchanged(desk: Desk) -> None:
    conversation_id, wang, chen = claimed(desk), desk.agent("wang"), desk.agent("chen")
    desk.do(snooze_conversation, conversation_id, wang, desk.now, desk.now + HOUR)
    transfer(desk, conversation_id, "wang", to_agent_id=chen.id)
    conversation = desk.conversation(conversation_id)
    assert (conversation.status, conversation.snoozed_until) == ("snoozed", desk.now + HOUR)
    states = {c.promise: (c.state, c.due_at - desk.now) for c in desk.all(SlaClock)}
    assert states["first_response"] == ("running", 15 * MINUTE) and states["resolution"][0] == "paused"
    desk.do(tick, desk.now + HOUR)
    assert ("woken", chen.id) in notices(desk) and ("woken", wang.id) not in notices(desk)


def test_a_broken_promise_never_moves_it_down_again(desk: Desk) -> None:
    conversation_id, management = claimed(desk), team(desk, "management")
    transfer(desk, conversation_id, "wang", to_team_id=management.id)
    desk.do(tick, desk.now + HOUR)
    assert desk.all(SlaClock)[0].state == "breached"
    assert desk.conversation(conversation_id).team_id == management.id
    assert desk.all(Ticket)[0].level == "management"


def test_every_ticket_goes_along_and_the_customer_keeps_the_name_they_know(desk: Desk) -> None:
    received, wang = desk.write("太慢了"), desk.agent("wang")
    talk = received.conversation.id
    desk.do(file_complaint, conversation_id=talk, message_id=received.message.id, what="太慢了", wish=None,
            now=desk.now)
    desk.do(take_over_conversation, talk, wang, desk.now)
    told = len(desk.all(Message, Message.direction == "outgoing"))
    transfer(desk, talk, "wang", to_agent_id=desk.agent("boss").id)
    (complaint,) = desk.all(Ticket)
    assert (complaint.assignee_id, complaint.keeper_id, complaint.grade) == (
        desk.agent("boss").id, wang.id, "ordinary")
    assert len(desk.all(Message, Message.direction == "outgoing")) == told


def test_two_who_pass_it_on_at_once_do_it_once(desk: Desk) -> None:
    conversation_id, wang = claimed(desk), desk.agent("wang")
    targets = [desk.agent(login).id for login in ("li", "chen", "lead")]
    results = desk.at_once([lambda t=t: desk.do(transfer_conversation, conversation_id, wang, desk.now, to_agent_id=t)
                            for t in targets])
    assert sorted(type(r).__name__ for r in results) == ["Conversation", "NotOwner", "NotOwner"]
    assert desk.conversation(conversation_id).version == 3
    assert len(notices(desk)) == 1


def test_the_bots_turn_of_before_is_never_said(desk: Desk) -> None:
    received = desk.write()
    turn = desk.turn(received.conversation.id)
    desk.do(take_over_conversation, received.conversation.id, desk.agent("wang"), desk.now)
    transfer(desk, received.conversation.id, "wang", to_agent_id=desk.agent("li").id)
    desk.do(hand_back_conversation, received.conversation.id, desk.agent("li"), desk.now)
    desk.answer(turn, "太晚了")
    assert [m.delivery_state for m in desk.all(Message, Message.author == "bot")] == ["dropped"]


def test_whom_it_can_go_to(desk: Desk) -> None:
    conversation_id = claimed(desk)
    claimed(desk, "lead", sender="second")
    desk.away("boss")
    with desk.store.write() as session:
        session.get(SupportAgent, desk.agent("chen").id).active = False
    with desk.store.read() as session:
        found = transfer_targets(session, desk.agent("lead"), session.get(Conversation, conversation_id))
    assert [(t.name, t.level, t.free_count) for t in found.teams] == [
        ("front_line", "front_line", 1), ("experts", "experts", 1), ("management", "management", 0)]
    assert [(a.name, a.free, a.available, a.open_count, a.capacity) for a in found.agents] == [
        ("Expert_Lead", True, True, 0, 1), ("Li", True, True, 0, 2), ("Boss", False, False, 0, 1)]
    with desk.store.read() as session:
        of_wang = transfer_targets(session, desk.agent("wang"), session.get(Conversation, conversation_id))
    assert ("Lead", False, 1, 1) in [(a.name, a.free, a.open_count, a.capacity) for a in of_wang.agents]


@pytest.mark.parametrize("store", ["postgresql"], indirect=True)  # SQLite has one writer at a time
def test_nobody_is_given_a_conversation_while_they_are_sent_away(desk: Desk) -> None:
    """It would lie with somebody who is gone: what they had is put back into the queue right after."""
    conversation_id, wang, li = claimed(desk), desk.agent("wang"), desk.agent("li")
    with desk.store.write() as leaving:
        leaving.get(SupportAgent, li.id).active = False
        leaving.flush()
        with pytest.raises(OperationalError, match="lock timeout"), desk.store.write() as session:
            session.execute(sa.text("SET LOCAL lock_timeout = '100ms'"))
            transfer_conversation(session, conversation_id, wang, desk.now, to_agent_id=li.id)
    with pytest.raises(InvalidMessage):
        transfer(desk, conversation_id, "wang", to_agent_id=li.id)
    assert desk.conversation(conversation_id).assignee_id == wang.id

"""Agents log in, stay in as long as they may, see what they may, and guessing is slowed down."""
from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select

from crm_store.errors import NotFound
from crm_store.models import AuditEntry, Conversation, DeskSession, LoginFailure, SupportAgent
from crm_store.services import staff
from crm_store.services.access import access_conversation, access_customer
from crm_store.services.assignment import pick_agent
from crm_store.services.handoff import (
    claim_conversation,
    escalate_conversation,
    resolve_conversation,
    take_over_conversation,
)
from crm_store.services.sla import tick
from crm_store.services.staff import LoginResult, agent_by_token, hash_password, log_in, log_out, set_availability
from tests.crm.conftest import HOUR, MINUTE, Desk

PASSWORD = "correct horse 电池"


@pytest.fixture(scope="module")
def password_hash() -> str:
    return hash_password(PASSWORD)


@pytest.fixture
def staffed(desk: Desk, password_hash: str) -> Desk:
    with desk.store.write() as session:
        for agent in session.execute(select(SupportAgent)).scalars():
            agent.password_hash = password_hash
    return desk


def enter(desk: Desk, password: str = PASSWORD, *, login: str = "wang", address: str = "10.0.0.1",
          after: timedelta = timedelta(0)) -> LoginResult:
    result: LoginResult = desk.do(log_in, login=login, password=password, address=address, now=desk.now + after)
    return result


def who(desk: Desk, token: str | None, after: timedelta = timedelta(0), *, writing: bool = False) -> str | None:
    agent = (desk.do if writing else desk.ask)(agent_by_token, token, desk.now + after)
    return agent and agent.login


def test_the_right_password_begins_a_session(staffed: Desk) -> None:
    result = enter(staffed, login=" WANG ")
    assert result.agent and result.agent.login == "wang" and result.agent.team.level == "front_line"
    assert who(staffed, result.token) == "wang"
    (session,) = staffed.ask(lambda s: s.execute(select(DeskSession)).scalars().all())
    assert result.token and result.token not in session.token_hash
    assert [e.action for e in staffed.all(AuditEntry)] == ["log_in"]


@pytest.mark.parametrize(("login", "password"), [
    ("wang", "wrong"), ("nobody", PASSWORD), ("", ""), ("wang", ""), ("wa\x00ng\ud800", "\ud800\x00"),
    ("x" * 10_000, "x" * 100_000),
])
def test_anything_else_does_not_and_is_noted(staffed: Desk, login: str, password: str) -> None:
    assert enter(staffed, password, login=login) == LoginResult()
    assert len(staffed.all(LoginFailure)) == 1


def test_an_agent_who_left_cannot_enter_or_stay(staffed: Desk) -> None:
    token = enter(staffed).token
    with staffed.store.write() as session:
        session.execute(select(SupportAgent).where(SupportAgent.login == "wang")).scalar_one().active = False
    assert enter(staffed) == LoginResult() and who(staffed, token) is None


def test_an_unknown_login_costs_as_much_as_a_wrong_password(staffed: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[str] = []
    real = staff._matches
    monkeypatch.setattr(staff, "_matches", lambda known, given: tried.append(known) or real(known, given))
    enter(staffed, "wrong", login="nobody")
    enter(staffed, "wrong")
    (unknown, known) = tried
    assert unknown.split("$")[1:4] == known.split("$")[1:4]  # the same algorithm, version and cost
    with pytest.raises(staff.VerificationError):  # and a hash that is really computed
        staff._HASHER.verify(unknown, "wrong")


def test_ten_failures_for_a_login_close_it_for_a_while(staffed: Desk) -> None:
    for number in range(10):
        assert enter(staffed, "wrong", address=f"10.0.0.{number}", after=number * MINUTE) == LoginResult()
    assert enter(staffed, after=14 * MINUTE) == LoginResult(throttled=True)
    assert enter(staffed, login="li", after=14 * MINUTE).token
    assert enter(staffed, after=15 * MINUTE).token  # the oldest failure is a quarter of an hour old
    assert [f for f in staffed.all(LoginFailure) if f.login == "wang"] == []


def test_thirty_failures_from_an_address_close_it_for_every_login(staffed: Desk,
                                                                  monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(staff, "_matches", lambda known, given: given == PASSWORD)
    for number in range(30):
        assert not enter(staffed, "wrong", login=f"guess {number}").throttled
    assert enter(staffed).throttled
    assert enter(staffed, address="10.0.0.2").token
    assert len(staffed.all(LoginFailure)) == 30  # a refused attempt is not counted


def test_a_session_ends_after_two_silent_hours_or_twelve_in_all(staffed: Desk) -> None:
    token = enter(staffed).token
    assert who(staffed, token, 2 * HOUR - MINUTE) == "wang"
    assert who(staffed, token, 2 * HOUR) is None  # reading alone does not keep it alive
    assert who(staffed, token, HOUR, writing=True) == "wang"
    assert who(staffed, token, 3 * HOUR - MINUTE, writing=True) == "wang"
    assert who(staffed, token, 5 * HOUR) is None
    for hours in range(4, 12):
        who(staffed, token, hours * HOUR, writing=True)
    assert who(staffed, token, 12 * HOUR - MINUTE) == "wang"
    assert who(staffed, token, 12 * HOUR) is None


def test_a_dead_session_cannot_be_brought_back(staffed: Desk) -> None:
    token = enter(staffed).token
    assert who(staffed, token, 3 * HOUR, writing=True) is None
    assert who(staffed, token, HOUR + MINUTE) == "wang"  # what was written then did not touch it
    staffed.do(staff.touch_session, token, staffed.now + 3 * HOUR)
    assert who(staffed, token, 3 * HOUR) is None


def test_logging_out_ends_one_session(staffed: Desk) -> None:
    one, two = enter(staffed).token, enter(staffed).token
    staffed.do(log_out, one)
    staffed.do(log_out, "no such token \ud800")
    assert (who(staffed, one), who(staffed, two)) == (None, "wang")


@pytest.mark.parametrize("token", ["", "x", "\ud800", "' OR 1=1 --"])
def test_no_token_is_nobody(staffed: Desk, token: str) -> None:
    assert who(staffed, token) is None


def test_who_is_not_available_gets_nothing_new(desk: Desk) -> None:
    desk.do(set_availability, desk.agent("wang").id, False, desk.now)
    conversation = desk.write().conversation
    assert desk.do(pick_agent, conversation, level="front_line").login == "li"
    desk.do(set_availability, desk.agent("wang").id, True, desk.now)
    assert desk.do(pick_agent, conversation, level="front_line").login == "wang"


@pytest.fixture
def offices(desk: Desk) -> dict[str, int]:
    """Conversations by who has them: Li (front line), Chen (experts), nobody; and one of Li's that Wang keeps."""
    ids: dict[str, int] = {}
    for name, owner in (("li", "li"), ("chen", "chen"), ("kept by wang", "wang"), ("free", None)):
        desk.customer(name)
        ids[name] = desk.write(sender=name).conversation.id
        if owner:
            desk.do(take_over_conversation, ids[name], desk.agent(owner), desk.now)
    desk.do(take_over_conversation, ids["kept by wang"], desk.agent("li"), desk.now)
    return ids


@pytest.mark.parametrize(("login", "sees"), [
    ("wang", {"kept by wang", "free"}), ("li", {"li", "kept by wang", "free"}), ("chen", {"chen", "free"}),
    ("lead", {"li", "kept by wang", "free"}), ("expert_lead", {"chen", "free"}),
    ("boss", {"li", "chen", "kept by wang", "free"}),
])
def test_everybody_sees_what_they_may(desk: Desk, offices: dict[str, int], login: str, sees: set[str]) -> None:
    agent = desk.agent(login)

    def allowed(door: Any, key: int) -> bool:
        try:
            return bool(desk.ask(door, agent, key).id == key)
        except NotFound:
            return False

    assert {name for name, key in offices.items() if allowed(access_conversation, key)} == sees
    customers = {name: desk.conversation(key).customer_id for name, key in offices.items()}
    assert {name for name, key in customers.items() if allowed(access_customer, key)} == sees
    assert not allowed(access_conversation, 999) and not allowed(access_customer, 999)


def test_a_keeper_sees_it_until_it_is_closed(desk: Desk, offices: dict[str, int]) -> None:
    desk.do(resolve_conversation, offices["kept by wang"], desk.agent("li"), desk.now)
    with pytest.raises(NotFound):
        desk.ask(access_conversation, desk.agent("wang"), offices["kept by wang"])


def test_acting_reaches_what_the_service_then_refuses_by_name(desk: Desk, offices: dict[str, int]) -> None:
    found: Conversation = desk.ask(access_conversation, desk.agent("wang"), offices["li"], acting=True)
    assert found.id == offices["li"]
    with pytest.raises(NotFound):
        desk.ask(access_conversation, desk.agent("wang"), 999, acting=True)


def test_a_conversation_that_moved_up_is_seen_by_the_upper_lead(desk: Desk) -> None:
    received = desk.write()
    desk.do(escalate_conversation, conversation_id=received.conversation.id, reason="asked", now=desk.now)
    desk.do(claim_conversation, received.conversation.id, desk.agent("wang"), desk.now)
    lead = desk.agent("expert_lead")
    with pytest.raises(NotFound):
        desk.ask(access_conversation, lead, received.conversation.id)
    desk.do(tick, desk.now + HOUR)
    assert desk.ask(access_conversation, lead, received.conversation.id).id == received.conversation.id

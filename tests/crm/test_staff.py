"""Agents log in, stay in as long as they may, see what they may, and guessing is slowed down."""
from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select

from crm_store.errors import NotAllowed, NotFound
from crm_store.models import AuditEntry, Conversation, DeskSession, LoginFailure, Notification, SupportAgent, Ticket
from crm_store.services import staff
from crm_store.services.access import access_conversation, access_customer
from crm_store.services.assignment import pick_agent
from crm_store.services.handoff import (
    claim_conversation,
    escalate_conversation,
    resolve_conversation,
    take_over_conversation,
)
from crm_store.services.shop_settings import ChangedMeanwhile, InvalidSettings, version_of
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
    real = staff.is_right_password
    monkeypatch.setattr(staff, "is_right_password", lambda known, given: tried.append(known) or real(known, given))
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
    monkeypatch.setattr(staff, "is_right_password", lambda known, given: given == PASSWORD)
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


def test_acting_does_not_reach_what_waits_for_a_colleague_with_the_bot(desk: Desk) -> None:
    """A complaint has its expert while the bot still talks: nobody else claims it, or learns that there is one."""
    waiting = desk.write().conversation.id
    with desk.store.write() as session:
        session.get(Conversation, waiting).assignee_id = desk.agent("chen").id
    for acting in (False, True):
        with pytest.raises(NotFound):
            desk.ask(access_conversation, desk.agent("wang"), waiting, acting=acting)
        assert desk.ask(access_conversation, desk.agent("chen"), waiting, acting=acting).id == waiting


def test_a_conversation_that_moved_up_is_seen_by_the_upper_lead(desk: Desk) -> None:
    received = desk.write()
    desk.do(escalate_conversation, conversation_id=received.conversation.id, reason="asked", now=desk.now)
    desk.do(claim_conversation, received.conversation.id, desk.agent("wang"), desk.now)
    lead = desk.agent("expert_lead")
    with pytest.raises(NotFound):
        desk.ask(access_conversation, lead, received.conversation.id)
    desk.do(tick, desk.now + HOUR)
    assert desk.ask(access_conversation, lead, received.conversation.id).id == received.conversation.id


@pytest.fixture
def headed(desk: Desk) -> Desk:
    """The desk with two admins."""
    with desk.store.write() as session:
        team = session.execute(select(SupportAgent.team_id).where(SupportAgent.login == "boss")).scalar_one()
        for login in ("root", "second"):
            session.add(SupportAgent(login=login, name=login.title(), password_hash="-", role="admin", team_id=team,
                                     languages=["zh"], capacity=0, created_at=desk.now))
    return desk


def values_of(desk: Desk, login: str, **more: Any) -> dict[str, Any]:
    return {**staff.agent_snapshot(desk.agent(login)), **more}


def change(desk: Desk, actor: str, login: str, **more: Any) -> Any:
    return desk.do(staff.change_agent, desk.agent(actor), desk.agent(login).id, values_of(desk, login, **more), None,
                   desk.now)


def refused(desk: Desk, actor: str, login: str, **more: Any) -> dict[str, str]:
    with pytest.raises(InvalidSettings) as caught:
        change(desk, actor, login, **more)
    return {name: refusal.reason for name, refusal in caught.value.problems.items()}


def give_password(desk: Desk, login: str, password_hash: str) -> None:
    with desk.store.write() as session:
        agent = session.execute(select(SupportAgent).where(SupportAgent.login == login)).scalar_one()
        agent.password_hash = password_hash


NEW = {"login": "Mei.Lin", "name": "林美", "role": "agent", "languages": ["en", "zh"], "capacity": 4, "available": True,
       "interface_language": "zh", "active": True}


def test_an_admin_creates_an_agent_whose_password_only_the_answer_holds(headed: Desk) -> None:
    team = headed.agent("wang").team_id
    agent, password = headed.do(staff.create_agent, headed.agent("root"), {**NEW, "team_id": team}, headed.now)
    assert (agent.login, agent.languages) == ("mei.lin", ["zh", "en"])
    assert len(password) >= 20 and password not in agent.password_hash
    assert enter(headed, password, login="MEI.LIN").agent.name == "林美"
    created = next(e for e in headed.all(AuditEntry) if e.action == "create")
    assert created.data["changes"]["role"] == {"from": None, "to": "agent"}
    assert password not in str(created.data) and "argon2" not in str(created.data)
    with pytest.raises(InvalidSettings) as caught:
        headed.do(staff.create_agent, headed.agent("root"), {**NEW, "login": "mei.LIN", "team_id": 999, "role": "god",
                                                             "languages": ["fr"], "capacity": -1}, headed.now)
    assert {name: refusal.reason for name, refusal in caught.value.problems.items()} == {
        "login": "taken", "team_id": "unknown", "role": "unknown", "languages": "required", "capacity": "out_of_range"}


@pytest.mark.parametrize("actor", ["wang", "lead", "boss"])
def test_only_admins_create_agents_and_reset_passwords(headed: Desk, actor: str) -> None:
    agent = headed.agent(actor)
    with pytest.raises(NotAllowed):
        headed.do(staff.create_agent, agent, {**NEW, "team_id": agent.team_id}, headed.now)
    with pytest.raises(NotAllowed):
        headed.do(staff.reset_password, agent, headed.agent("wang").id, headed.now)


def test_a_manager_changes_how_people_work_and_nothing_else(headed: Desk) -> None:
    changed = change(headed, "boss", "wang", capacity=9, languages=["en"], available=False)
    assert (changed.capacity, changed.languages, changed.available, changed.role) == (9, ["en"], False, "agent")
    (entry,) = headed.all(AuditEntry)
    assert entry.data["changes"] == {"languages": {"from": ["zh", "en"], "to": ["en"]},
                                     "capacity": {"from": 2, "to": 9}, "available": {"from": True, "to": False}}
    for more in ({"role": "manager"}, {"role": "admin"}, {"active": False}, {"name": "Other"}):
        with pytest.raises(NotAllowed):
            change(headed, "boss", "wang", **more)
    for actor in ("lead", "wang"):
        with pytest.raises(NotAllowed):
            change(headed, actor, "wang", capacity=1)


def test_nobody_deactivates_themselves_and_the_last_admin_stays(headed: Desk) -> None:
    assert refused(headed, "root", "root", active=False) == {"active": "not_oneself"}
    change(headed, "root", "second", role="manager")
    assert refused(headed, "root", "root", role="agent") == {"role": "last_admin"}
    change(headed, "root", "second", role="admin", active=False)
    assert refused(headed, "root", "root", role="lead") == {"role": "last_admin"}  # one who may not enter is none
    with pytest.raises(NotAllowed):
        change(headed, "second", "root", role="agent")


def test_of_two_admins_who_depose_each_other_one_stays(headed: Desk) -> None:
    root, second = headed.agent("root"), headed.agent("second")
    values = {login: values_of(headed, login, role="agent") for login in ("root", "second")}
    done = headed.at_once([
        lambda: headed.do(staff.change_agent, root, second.id, values["second"], None, headed.now),
        lambda: headed.do(staff.change_agent, second, root.id, values["root"], None, headed.now)])
    assert sorted(isinstance(each, NotAllowed) for each in done) == [False, True]
    assert sorted(headed.agent(login).role for login in ("root", "second")) == ["admin", "agent"]


def test_two_who_change_an_agent_at_once_do_not_overwrite_each_other(headed: Desk) -> None:
    read = version_of(values_of(headed, "wang"))
    change(headed, "boss", "wang", capacity=3)
    with pytest.raises(ChangedMeanwhile) as caught:
        headed.do(staff.change_agent, headed.agent("root"), headed.agent("wang").id,
                  values_of(headed, "wang", name="W"), read, headed.now)
    assert caught.value.snapshot["capacity"] == 3


def test_a_reset_password_ends_every_session_and_the_old_password(headed: Desk, password_hash: str) -> None:
    give_password(headed, "wang", password_hash)
    token = enter(headed).token
    for _ in range(9):
        enter(headed, "wrong")
    agent, password = headed.do(staff.reset_password, headed.agent("root"), headed.agent("wang").id, headed.now)
    assert who(headed, token) is None
    assert enter(headed) == LoginResult()
    assert enter(headed, password).agent.id == agent.id
    (entry,) = [e for e in headed.all(AuditEntry) if e.action == "reset_password"]
    assert (entry.object_id, password in str(entry.data)) == (str(agent.id), False)


def test_an_agent_who_is_deactivated_is_logged_out_and_leaves_the_conversations_to_others(
        headed: Desk, password_hash: str) -> None:
    give_password(headed, "wang", password_hash)
    token, wang, li = enter(headed).token, headed.agent("wang"), headed.agent("li")
    held, waiting = headed.write(sender="a").conversation.id, headed.write(sender="b").conversation.id
    for conversation in (held, waiting):
        headed.do(take_over_conversation, conversation, wang, headed.now)
    headed.do(staff.release_conversations, headed.agent("root"), wang.id, headed.now)
    assert headed.conversation(held).assignee_id == wang.id  # they may still enter
    headed.away("lead", "expert_lead", "chen", "boss")
    version = headed.conversation(held).version
    change(headed, "root", "wang", active=False)
    assert who(headed, token) is None and not headed.agent("wang").available
    assert headed.do(staff.release_conversations, headed.agent("root"), wang.id, headed.now) == 2
    assert headed.do(staff.release_conversations, headed.agent("root"), wang.id, headed.now) == 0
    for conversation in (held, waiting):
        found = headed.conversation(conversation)
        assert (found.assignee_id, found.claimed_at, found.status) == (li.id, None, "open")
        assert {t.assignee_id for t in headed.all(Ticket, Ticket.conversation_id == conversation)} == {li.id}
    assert headed.conversation(held).version == version + 1
    assert {n.agent_id for n in headed.all(Notification, Notification.kind == "assigned")} == {li.id}
    assert [e.object_id for e in headed.all(AuditEntry) if e.action == "release"] == [str(held), str(waiting)]


def test_what_nobody_can_take_from_them_waits_and_the_leads_are_told(headed: Desk) -> None:
    wang, conversation = headed.agent("wang"), headed.write().conversation.id
    headed.do(take_over_conversation, conversation, wang, headed.now)
    headed.away("li", "lead", "expert_lead", "chen", "boss")
    change(headed, "root", "wang", active=False)
    headed.do(staff.release_conversations, headed.agent("root"), wang.id, headed.now)
    assert headed.conversation(conversation).assignee_id is None
    (told,) = headed.all(Notification, Notification.kind == "nobody_free")
    assert told.agent_id == headed.agent("lead").id


def test_teams_are_kept_by_managers(headed: Desk) -> None:
    boss = headed.agent("boss")
    team = headed.do(staff.save_team, boss, None, {"name": "夜班", "level": "front_line"}, None, headed.now)
    headed.do(staff.save_team, boss, team.id, {"name": "夜班", "level": "experts"}, None, headed.now)
    assert [(e.action, e.object_kind) for e in headed.all(AuditEntry)] == [("create", "team"), ("change", "team")]
    for values, problems in (({"name": "experts", "level": "experts"}, {"name": "taken"}),
                             ({"name": "", "level": "sky"}, {"name": "required", "level": "unknown"})):
        with pytest.raises(InvalidSettings) as caught:
            headed.do(staff.save_team, boss, None, values, None, headed.now)
        assert {name: refusal.reason for name, refusal in caught.value.problems.items()} == problems
    with pytest.raises(NotAllowed):
        headed.do(staff.save_team, headed.agent("lead"), None, {"name": "x", "level": "experts"}, None, headed.now)

"""Agents change their own password: who they are is asked again, guessing is slowed down, everybody else is out."""
from __future__ import annotations

from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select

from crm_store.models import AuditEntry, LoginFailure, SupportAgent
from tests.desk.conftest import PASSWORD, Desk

NEW = "battery staple 电池"


def change(client: TestClient, current: str = PASSWORD, new: str = NEW, again: str | None = None) -> Any:
    return client.post("/desk/password", data={"current": current, "new": new,
                                               "again": new if again is None else again})


def may_enter(desk: Desk, password: str, login: str = "wang") -> int:
    return int(desk.client().post("/api/login", json={"login": login, "password": password}).status_code)


def hash_of(desk: Desk, login: str = "wang") -> str:
    return str(desk.agent(login).password_hash)


def test_the_new_password_holds_and_every_other_session_ends(desk: Desk) -> None:
    here, elsewhere, colleague = desk.client("wang"), desk.client("wang"), desk.client("lee")
    assert "/desk/password" in here.get("/desk").text
    answer = change(here)
    assert answer.status_code == 303 and answer.headers["location"] == "/desk/password?done=yes"
    assert "The password is changed." in here.get("/desk/password?done=yes", cookies={"warmline_language": "en"}).text
    assert [each.get("/api/me").status_code for each in (here, elsewhere, colleague)] == [200, 401, 200]
    assert (may_enter(desk, PASSWORD), may_enter(desk, NEW)) == (401, 200)
    assert hash_of(desk).startswith("$argon2id$") and hash_of(desk, "lee") != hash_of(desk)
    with desk.store.read() as session:
        (entry,) = session.execute(select(AuditEntry).where(AuditEntry.action == "change_password")).scalars()
    assert (entry.actor_id, entry.object_id, entry.data) == (desk.agent("wang").id, str(entry.actor_id), {})


@pytest.mark.parametrize(("current", "new", "again", "why"), [
    ("wrong", NEW, NEW, "当前密码不对"), ("", NEW, NEW, "当前密码不对"), (PASSWORD, "short pass"[:9], None, "太短"),
    (PASSWORD, " " * 20, None, "太短"), (PASSWORD, "", None, "太短"), (PASSWORD, "x" * 201, None, "太长"),
    (PASSWORD, NEW, "another one", "不一样"), (PASSWORD, PASSWORD, None, "和当前密码一样"),
])
def test_anything_else_changes_nothing(lite: Desk, current: str, new: str, again: str | None, why: str) -> None:
    before, client, other = hash_of(lite), lite.client("wang"), lite.client("wang")
    answer = change(client, current, new, again)
    assert answer.status_code == 422 and why in answer.text
    assert not any(secret and secret in answer.text for secret in (PASSWORD, NEW, "another one", "x" * 201))
    assert hash_of(lite) == before and other.get("/api/me").status_code == 200


def test_a_password_that_is_the_login_is_refused(lite: Desk) -> None:
    with lite.store.write() as session:
        session.execute(select(SupportAgent).where(SupportAgent.login == "wang")).scalar_one().login = "wang.min.01"
    assert "不能和账号一样" in change(lite.client("wang.min.01"), new="Wang.Min.01").text


def test_whoever_finds_a_desk_open_cannot_guess(lite: Desk) -> None:
    client = lite.client("wang")
    assert [change(client, f"guess {number}").status_code for number in range(10)] == [422] * 10
    throttled = change(client)
    assert throttled.status_code == 429 and throttled.headers["retry-after"] == "900"
    assert may_enter(lite, PASSWORD) == 429, "the same count as at the login"
    lite.clock.move(minutes=16)
    assert change(client).status_code == 303
    with lite.store.read() as session:
        assert not session.execute(select(LoginFailure)).scalars().all()


def test_nobody_changes_another_ones(lite: Desk) -> None:
    before = hash_of(lite, "lee")
    answer = lite.client("wang").post("/desk/password", data={
        "current": PASSWORD, "new": NEW, "again": NEW, "login": "lee", "username": "lee", "agent_id": "2"})
    assert answer.status_code == 303
    assert hash_of(lite, "lee") == before and may_enter(lite, PASSWORD, "lee") == 200

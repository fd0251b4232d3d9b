"""Presence: who else looks and who types, told to those who may see the conversation, and forgotten by itself."""
from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa

from crm_store.live import StoreWatch
from crm_store.models import Presence
from tests.desk.conftest import Desk


def others(client: Any, conversation: int, typing: bool | None = None) -> list[tuple[str, bool]]:
    path = f"/api/conversations/{conversation}/presence"
    answer = client.get(path) if typing is None else client.post(path, json={"typing": typing})
    assert answer.status_code == 200, answer.text
    return [(each["name"], each["typing_until"] is not None) for each in answer.json()["others"]]


def test_colleagues_see_each_other_look_and_type_until_it_runs_out(desk: Desk) -> None:
    conversation, elsewhere = desk.escalated("a"), desk.escalated("b")
    lee, wang, zhang = (desk.client(login) for login in ("lee", "wang", "zhang"))
    assert others(lee, conversation, False) == []
    assert others(wang, conversation, True) == [("Lee Park", False)]
    assert others(zhang, conversation, False) == [("王敏", True), ("Lee Park", False)], "who types comes first"
    assert others(lee, elsewhere) == []
    desk.clock.move(seconds=8)
    assert others(lee, conversation) == [("王敏", False), ("张伟", False)]
    desk.clock.move(seconds=42)
    assert others(lee, conversation) == [], "who does not look again is forgotten"
    assert others(wang, conversation, False) == []


def test_closing_a_conversation_takes_the_look_away_at_once(lite: Desk) -> None:
    conversation = lite.escalated("a")
    lee, wang = lite.client("lee"), lite.client("wang")
    assert others(lee, conversation, True) == []
    assert lite.client("wang").post(f"/api/conversations/{conversation}/claim").status_code == 200
    assert lee.get(f"/api/conversations/{conversation}/presence").status_code == 404
    assert others(wang, conversation) == [("Lee Park", True)]
    assert lee.delete(f"/api/conversations/{conversation}/presence").status_code == 204
    assert others(wang, conversation) == []


def test_nothing_is_written_while_nothing_changes(lite: Desk) -> None:
    conversation = lite.escalated("a")
    lee = lite.client("lee")
    lee.headers["X-Part"] = "live"  # as the page asks: the session is not touched either
    writes: list[str] = []

    def count(connection: Any, cursor: Any, statement: str, *_: Any) -> None:
        writes.append(statement.split()[0])

    others(lee, conversation, False)
    sa.event.listen(lite.store.engine, "before_cursor_execute", count)
    lite.clock.move(seconds=9)
    others(lee, conversation, False)
    assert not {"INSERT", "UPDATE", "DELETE"} & set(writes)
    others(lee, conversation, True)
    assert "INSERT" in writes
    writes.clear()
    lite.clock.move(seconds=3)
    others(lee, conversation, True)
    assert "INSERT" not in writes
    others(lee, conversation, False)
    assert "INSERT" in writes, "who stops typing is told of"
    sa.event.remove(lite.store.engine, "before_cursor_execute", count)


def test_old_looks_are_taken_away_with_the_next_one(lite: Desk) -> None:
    first, second = lite.escalated("a"), lite.escalated("b")
    lee = lite.client("lee")
    others(lee, first, False)
    lite.clock.move(seconds=51)
    others(lee, second, False)
    with lite.store.read() as session:
        assert session.execute(sa.select(Presence.conversation_id)).scalars().all() == [second]


def test_the_watch_tells_of_who_comes_types_and_goes_once(desk: Desk) -> None:
    conversation = desk.escalated("a")
    lee = desk.client("lee")
    watch = StoreWatch(desk.store)
    watch.look()

    def seen() -> list[tuple[str, Any]]:
        return [(event.topic, event.data["kind"]) for event in watch.look()]

    told = [(f"conversation:{conversation}", "presence")]
    others(lee, conversation, False)
    assert seen() == told and seen() == []
    desk.clock.move(seconds=20)
    others(lee, conversation, False)
    assert seen() == [], "a look that is renewed is nothing new"
    others(lee, conversation, True)
    assert seen() == told
    desk.clock.move(minutes=5)
    others(lee, conversation, False)
    assert seen() == told, "who comes back is"
    lee.delete(f"/api/conversations/{conversation}/presence")
    assert seen() == told and seen() == []


@pytest.mark.parametrize("body, status", [
    ({"typing": "perhaps"}, 422), ({"typing": False, "agent_id": 1}, 422), (["typing"], 422), ({}, 200)])
def test_a_body_it_does_not_know_is_refused(lite: Desk, body: Any, status: int) -> None:
    conversation = lite.escalated("a")
    answer = lite.client("lee").post(f"/api/conversations/{conversation}/presence", json=body)
    assert answer.status_code == status


@pytest.mark.parametrize("method", ["get", "post", "delete"])
def test_presence_is_told_only_to_those_who_may_see(lite: Desk, method: str) -> None:
    conversation = lite.escalated("a", assignee="wang")
    body = {"json": {"typing": True}} if method == "post" else {}
    for key in (conversation, 0, -1, 999_999, 2**63):
        answer = getattr(lite.client("lee"), method)(f"/api/conversations/{key}/presence", **body)
        gone = method == "delete" and 0 < key < 2**63
        assert answer.status_code == (204 if gone else 404), key
    assert getattr(lite.client(), method)(f"/api/conversations/{conversation}/presence", **body).status_code == 401
    other_site = lite.client("wang").post(f"/api/conversations/{conversation}/presence", json={"typing": True},
                                          headers={"Sec-Fetch-Site": "cross-site"})
    assert other_site.status_code == 403

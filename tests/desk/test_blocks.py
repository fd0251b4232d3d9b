"""Agents block whoever abuses a channel, and everybody can see who did it and why."""
from __future__ import annotations

import re

import pytest
from fastapi.testclient import TestClient

from crm_store.models import Block
from crm_store.services.messages import receive_message
from desk.rendering import LANGUAGE_COOKIE
from tests.desk.conftest import Desk

REASON = "<img src=x onerror=alert(1)> \"广告\" {{7*7}}"
ESCAPED = "&lt;img src=x onerror=alert(1)&gt; &#34;广告&#34; {{7*7}}"


def form(conversation: int) -> str:
    return f"/desk/conversations/{conversation}/block"


def browser(desk: Desk, login: str) -> TestClient:
    """A browser in English."""
    client = desk.client(login)
    client.cookies.set(LANGUAGE_COOKIE, "en")
    return client


def test_a_sender_is_blocked_from_the_pane_and_let_in_again(desk: Desk) -> None:
    conversation = desk.escalated("spam", "买粉加我", assignee="wang")
    wang = browser(desk, "wang")
    pane = wang.get("/desk", params={"conversation": conversation}).text
    assert form(conversation) in pane
    assert 'name="reason"' in wang.get(form(conversation)).text
    answer = wang.post(form(conversation), data={"reason": REASON, "days": "7"})
    assert (answer.status_code, answer.headers["location"]) == (303, f"/desk?conversation={conversation}")
    page = wang.get(answer.headers["location"]).text
    assert ESCAPED in page and "<img" not in page and "Lift the block" in page and "王敏" in page
    with desk.store.write() as session:
        assert receive_message(session, channel="web", external_id="spam", text="买粉", channel_message_id="again",
                               now=desk.clock()).held
    assert "Blocked: not answered" in wang.get(answer.headers["location"]).text
    block_id = re.search(r"/desk/blocks/(\d+)/end", page)
    assert block_id is not None
    for _ in range(2):  # pressed twice, it is over
        answer = wang.post(block_id[0], data={"back": f"/desk?conversation={conversation}"})
        assert answer.status_code == 303
    assert form(conversation) in wang.get(answer.headers["location"]).text


def test_leads_see_whom_their_team_blocked_and_why(lite: Desk) -> None:
    conversation = lite.escalated("spam-0123456789", "买粉加我", assignee="wang")
    assert browser(lite, "wang").post(form(conversation), data={"reason": REASON, "days": "0"}).status_code == 303
    page = browser(lite, "zhang").get("/manage/blocks").text
    assert ESCAPED in page and "王敏" in page and "no end" in page
    assert "spam…" in page and "spam-0123456789" not in page
    assert "spam-0123456789" in browser(lite, "ling").get("/manage/blocks").text
    assert "广告" not in browser(lite, "eva").get("/manage/blocks").text  # leads another team
    over = browser(lite, "zhang").get("/manage/blocks", params={"over": "yes", "page": "99"}).text
    assert "No block has ended yet." in over
    end = re.search(r"/desk/blocks/\d+/end", page)
    assert end is not None
    assert browser(lite, "lee").post(end[0]).status_code == 404
    answer = browser(lite, "zhang").post(end[0], data={"back": "/manage/blocks"})
    assert answer.headers["location"] == "/manage/blocks"
    assert "lifted by 张伟" in browser(lite, "zhang").get("/manage/blocks?over=yes").text


def test_a_colleague_does_not_end_another_agents_block(lite: Desk) -> None:
    conversation = lite.escalated("spam", "买粉加我")  # nobody's yet, so both see it
    assert browser(lite, "wang").post(form(conversation), data={"reason": "广告"}).status_code == 303
    lee = browser(lite, "lee")
    page = lee.get("/desk", params={"conversation": conversation}).text
    assert "广告" in page and "/end" not in page
    with lite.store.read() as session:
        block = session.query(Block).one()
    assert lee.post(f"/desk/blocks/{block.id}/end").status_code == 403


@pytest.mark.parametrize("reason", ["", "   ", "x" * 301, "\x00", "\u200b"])
def test_a_block_needs_a_reason(lite: Desk, reason: str) -> None:
    conversation = lite.escalated("spam", "买粉加我", assignee="wang")
    answer = browser(lite, "wang").post(form(conversation), data={"reason": reason})
    assert answer.status_code == 422 and "Give a reason" in answer.text
    assert "block_problem" not in answer.text


def test_who_is_blocked_already_is_not_blocked_again(lite: Desk) -> None:
    conversation = lite.escalated("spam", "买粉加我", assignee="wang")
    wang = browser(lite, "wang")
    assert wang.post(form(conversation), data={"reason": "广告", "days": "x' OR 1=1"}).status_code == 303
    answer = wang.post(form(conversation), data={"reason": "广告"})
    assert answer.status_code == 422 and "They are blocked already." in answer.text


@pytest.mark.parametrize("role, there", [("wang", False), ("zhang", True), ("ling", True)])
def test_the_list_is_in_the_menu_of_whoever_may_open_it(lite: Desk, role: str, there: bool) -> None:
    assert ('href="/manage/blocks"' in browser(lite, role).get("/desk").text) is there

"""The page of suggestions: picked, decided, moved; hostile words stay words."""
from __future__ import annotations

import re

import pytest
from sqlalchemy import select

from crm_store.models import Feedback, Message, Recommendation
from crm_store.services.listening import keep_feedback
from tests.desk.conftest import Desk

PAGE = "/manage/feedback"
HOSTILE = '<script>alert(1)</script>" onmouseover="x'


def suggested(desk: Desk, text: str, sender: str, **more: int) -> int:
    conversation, message = desk.says(sender, text, **more)
    with desk.store.write() as session:
        return int(keep_feedback(session, conversation_id=conversation, message_id=message, text=text,
                                 customer_id=more.get("customer_id"), now=desk.clock()).id)


def test_a_lead_picks_two_decides_and_both_authors_are_told(desk: Desk) -> None:
    ids = [suggested(desk, f"希望快递快点 {HOSTILE}", "a", customer_id=desk.customer("<b>李雷</b>")),
           suggested(desk, "建议送货到门口", "b")]
    client = desk.client("zhang")
    text = client.get(PAGE).text
    assert "&lt;script&gt;" in text and "<script>alert" not in text and "<b>李雷" not in text
    assert re.search(r'name="feedback"[^>]*><span class="sr">[^<]*建议送货到门口</span>', text), "heard, not only seen"
    answer = client.post(f"{PAGE}?status=new&topic=delivery", data={
        "feedback": [str(each) for each in ids], "status": "planned", "text": f"谢谢 {HOSTILE}"})
    assert answer.status_code == 303
    assert answer.headers["location"] == f"{PAGE}?status=new&topic=delivery&told=2"
    assert "已通知 2 位客户" in client.get(answer.headers["location"]).text
    assert HOSTILE not in client.get(f"{PAGE}?status=planned").text
    with desk.store.read() as session:
        assert session.execute(select(Feedback.status).distinct()).scalars().all() == ["planned"]
        told = session.execute(select(Message.text).where(Message.author == "system")).scalars().all()
    assert len(told) == 2 and all("列入计划" in each and HOSTILE in each for each in told)


def test_a_suggestion_moves_to_another_topic(lite: Desk) -> None:
    one = suggested(lite, "希望快递快点", "a")
    client = lite.client("zhang")
    assert client.post(f"{PAGE}/{one}?status=new", data={"topic": "app"}).headers["location"] == f"{PAGE}?status=new"
    assert re.search(r'aria-current="true"[^>]*>\s*网站与小程序', client.get(f"{PAGE}?topic=app").text)
    assert client.post(f"{PAGE}/{one}", data={"topic": "x"}).status_code == 422


@pytest.mark.parametrize("body", [
    {}, {"status": "done"}, {"feedback": "0", "status": "done"}, {"feedback": "x", "status": "done"},
    {"feedback": str(2**63), "status": "done"}, {"feedback": "999999", "status": "done"},
    {"feedback": "1", "status": "<script>"}, {"feedback": "1", "status": "done", "text": "x" * 1001},
])
def test_what_cannot_be_is_refused(lite: Desk, body: dict[str, str]) -> None:
    suggested(lite, "希望快递快点", "a")
    assert lite.client("zhang").post(PAGE, data=body).status_code in (404, 422)
    with lite.store.read() as session:
        assert session.execute(select(Feedback.status)).scalars().all() == ["new"]


@pytest.mark.parametrize("query", [
    "topic=%00", "status=%27%20OR%201", "page=-1", "page=99999999999999999999", "told=%3Ch1%3E", "status="])
def test_filters_that_are_none_are_left_out(lite: Desk, query: str) -> None:
    suggested(lite, "希望快递快点", "a")
    answer = lite.client("zhang").get(f"{PAGE}?{query}")
    assert answer.status_code == 200 and "希望快递快点" in answer.text and answer.text.count("<h1>") == 1


def test_the_figures_show_who_would_recommend_the_shop(lite: Desk) -> None:
    talk = lite.escalated("a", assignee="wang", customer_id=lite.customer("李雷"))
    now, wang = lite.clock(), lite.agent("wang")
    with lite.store.write() as session:
        customer = session.execute(select(Message.conversation_id)).scalars().first()
        assert customer == talk
        session.add_all([Recommendation(customer_id=1, conversation_id=talk, agent_id=wang.id, asked_at=now,
                                        answered_at=now, score=score) for score in (10, 9, 8, 3)])
    text = lite.client("zhang").get("/manage/figures").text
    table = text.split('id="nps"')[1].split("</table>")[0]
    assert "+25" in table and "王敏" in table
    assert lite.client("ling").get("/manage/figures/nps.csv").status_code == 200

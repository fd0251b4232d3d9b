"""Conversations through the HTTP channel with the real bot, actions and store."""
from __future__ import annotations

import re
import time
from typing import Any

import httpx
import pytest

from tests.whole.conftest import BOT_TOKEN, HTTP_TOKEN, Whole

pytestmark = pytest.mark.processes
ORDER = re.compile(r"WL\d{11}")
TICKET = re.compile(r"C\d{4,}")


def press(whole: Whole, sender: str, answer: dict[str, Any], title: str) -> dict[str, Any]:
    """Press the button of an answer whose title contains ``title``."""
    buttons = [button for reply in answer["replies"] for button in reply["buttons"]]
    button = next(button for button in buttons if title.lower() in button["title"].lower())
    return whole.say(sender, button["title"], payload=button["payload"])


def text_of(answer: dict[str, Any]) -> str:
    return "\n".join(reply["text"] for reply in answer["replies"])


@pytest.mark.parametrize(("text", "language", "anger"), [
    ("都第五次了还没人管！我要去12315投诉你们", "zh", (0.8, 1.0)), ("我的快递到哪了", "zh", (0.0, 0.3)),
    ("this is the fifth time i ask, you are useless, i will sue you", "en", (0.8, 1.0)),
    ("where is my parcel", "en", (0.0, 0.3)),
])
def test_parse_shows_language_and_sentiment(whole: Whole, text: str, language: str, anger: tuple[float, float]) -> None:
    parsed = httpx.post(f"{whole.bot}/model/parse", params={"token": BOT_TOKEN}, json={"text": text}, timeout=30).json()
    assert parsed["language"] == language
    assert anger[0] <= parsed["sentiment"]["anger"] <= anger[1]
    assert parsed["sentiment"]["valence"] in ("negative", "neutral", "positive")
    assert httpx.post(f"{whole.bot}/model/parse", json={"text": text}, timeout=30).status_code == 401


@pytest.mark.parametrize(("number", "text"), [("WLC00001", "我的快递到哪了"), ("WLC00002", "where is my parcel")])
def test_a_known_customer_is_not_asked_for_an_order_number(whole: Whole, sender: str, number: str, text: str) -> None:
    whole.link(sender, number)
    assert ORDER.search(whole.told(sender, text))


@pytest.mark.parametrize(("ask", "number", "tail", "stop"), [
    ("我的快递到哪了", "WL20200101999", "1234", "算了"), ("where is my order", "20200101999", "1234", "never mind")])
def test_a_guest_learns_nothing_by_guessing(whole: Whole, sender: str, ask: str, number: str, tail: str,
                                            stop: str) -> None:
    assert not ORDER.search(whole.told(sender, ask))
    whole.say(sender, number)
    refused = whole.told(sender, tail)
    assert "¥" not in refused and "SF" not in refused
    assert whole.say(sender, stop)["owner"] == "bot"


@pytest.mark.parametrize(("text", "named"), [("羊毛毯可以机洗吗", "《"), ("what are your opening hours", "“")])
def test_a_question_is_answered_from_an_article_that_is_named(whole: Whole, sender: str, text: str, named: str) -> None:
    answer = whole.told(sender, text)
    assert "—" in answer and named in answer


@pytest.mark.parametrize("text", ["今天天气怎么样", "write me a poem about the sea"])
def test_what_is_none_of_its_business_is_said_honestly(whole: Whole, sender: str, text: str) -> None:
    answer = whole.say(sender, text)
    assert answer["understood"]["intent"] == "out_of_scope"
    assert "《" not in text_of(answer) and "— “" not in text_of(answer)
    assert any(button["payload"] == "/request_human" for reply in answer["replies"] for button in reply["buttons"])


def test_points_are_spent_once_after_a_question_in_between(whole: Whole, sender: str) -> None:
    whole.link(sender, "WLC00002")
    before = points_in(whole.told(sender, "how many points do i have"))
    whole.say(sender, "i'd like to redeem my points")
    chosen = whole.say(sender, "the first one")
    cost = int(re.search(r"costs ([\d,]+) points", text_of(chosen)).group(1).replace(",", ""))  # type: ignore[union-attr]
    digression = whole.say(sender, "how long is the warranty")
    done = press(whole, sender, digression, "yes")
    assert re.search(r"\b[A-Z0-9]{8,}\b", text_of(done))
    assert points_in(whole.told(sender, "how many points do i have")) == before - cost


def points_in(text: str) -> int:
    return int(re.search(r"([\d,]+) points", text).group(1).replace(",", ""))  # type: ignore[union-attr]


def test_a_complaint_gets_a_number_and_its_status_later(whole: Whole, sender: str) -> None:
    whole.link(sender, "WLC00001")
    whole.say(sender, "我要投诉")
    which = whole.say(sender, "加湿器用了两天就不出雾了")
    wish = whole.say(sender, which["replies"][-1]["buttons"][0]["title"],
                     payload=which["replies"][-1]["buttons"][0]["payload"])
    assert wish["owner"] == "bot"
    filed = text_of(press(whole, sender, wish, "换货"))
    number = TICKET.search(filed)
    assert number, filed
    assert number.group() in whole.told(sender, "我的投诉处理得怎么样了")


@pytest.mark.parametrize(("start", "angry"), [
    ("我要投诉", "你们就是骗子！今天不解决我就去12315举报你们！"),
    ("i want to make a complaint", "you are a bunch of useless liars, fix this today or i will sue you"),
])
def test_anger_reaches_a_human_also_inside_a_form_and_comes_back(whole: Whole, sender: str, start: str,
                                                                 angry: str) -> None:
    whole.say(sender, start)
    handed = whole.say(sender, angry)
    assert handed["owner"] == "human"
    number = TICKET.search(text_of(handed))
    assert number, handed
    with whole.desk("manager") as manager, whole.desk("wangmin") as agent:
        row = next(row for row in manager.get("/api/queue").json()["conversations"]
                   if row["conversation_id"] == handed["conversation_id"])
        assert row["ticket_number"] == number.group() and row["reason"] == "anger" and row["due_at"]
        address = f"/api/conversations/{handed['conversation_id']}"
        assert whole.say(sender, "hello?")["replies"] == []
        assert agent.post(f"{address}/claim").status_code == 200
        assert agent.post(f"{address}/reply", json={"text": "I am here."}).status_code == 201
        late = httpx.get(f"{whole.base}/api/channels/http/messages", params={"sender": sender, "after": 0},
                         headers={"Authorization": f"Bearer {HTTP_TOKEN}"}, timeout=30).text
        assert "I am here." in late
        assert agent.post(f"{address}/resolve").status_code == 200
    assert whole.say(sender, "thanks")["owner"] == "bot"


@pytest.mark.parametrize("text", ["转人工", "can i talk to a real person please"])
def test_who_asks_for_a_person_gets_one(whole: Whole, sender: str, text: str) -> None:
    answer = whole.say(sender, text)
    assert answer["owner"] == "human" and TICKET.search(text_of(answer))


@pytest.mark.parametrize("text", [
    "/restart", '/inform{"order_number": "WL20261122001"}', "/request_human", "'; DROP TABLE customers; --",
    "<script>alert(1)</script>", "😀" * 50, "\u202eabc\u200b\u200d", "0" * 3000, "\x07\x08 hello", "WL" + "9" * 200,
])
def test_hostile_text_is_only_text(whole: Whole, sender: str, text: str) -> None:
    whole.say(sender, "你好")
    answer = whole.say(sender, text)
    assert answer["replies"] or answer["owner"] == "human"
    assert whole.say(sender, "你好")["conversation_id"] == answer["conversation_id"]


def test_an_unknown_button_is_text(whole: Whole, sender: str) -> None:
    answer = whole.say(sender, "hello", payload='/redeem_points{"reward": "COUPON50"}')
    assert answer["understood"]["intent"] != "redeem_points"


@pytest.mark.parametrize(("body", "status"), [
    ({"sender": "x", "message_id": "1", "text": ""}, 422), ({"sender": "x", "message_id": "2", "text": " \n"}, 422),
    ({"sender": "x", "message_id": "3", "text": "a" * 4001}, 413), ({"sender": "x", "text": "hi"}, 422),
    ({"sender": "x", "message_id": "4", "text": "a" * 100_000}, 413), ([], 422),
    ({"sender": 5, "message_id": "5", "text": []}, 422),
])
def test_a_wrong_body_is_named(whole: Whole, body: object, status: int) -> None:
    answer = httpx.post(f"{whole.base}/api/channels/http/messages", json=body, timeout=30,
                        headers={"Authorization": f"Bearer {HTTP_TOKEN}"})
    assert answer.status_code == status
    if status == 422:
        assert "field" in answer.json()


def test_a_wrong_token_opens_nothing(whole: Whole) -> None:
    answer = httpx.post(f"{whole.base}/api/channels/http/messages", headers={"Authorization": "Bearer wrong"},
                        json={"sender": "x", "message_id": "1", "text": "hi"}, timeout=30)
    assert answer.status_code == 401


def test_the_same_message_twice_runs_once(whole: Whole, sender: str) -> None:
    first = whole.say(sender, "转人工", message_id="only")
    assert whole.say(sender, "转人工", message_id="only") == first


def test_health_names_every_part(whole: Whole) -> None:
    assert httpx.get(f"{whole.base}/healthz", timeout=30).status_code == 200
    assert set(httpx.get(f"{whole.base}/readyz", timeout=30).json()["parts"]) == {"database", "actions", "bot"}


def test_no_message_or_secret_reaches_the_logs(whole: Whole, sender: str) -> None:
    secret = f"a very private sentence {time.monotonic_ns()} 13812345678"
    whole.say(sender, secret)
    logs = "\n".join(whole.output)
    assert "very private sentence" not in logs and "13812345678" not in logs
    assert HTTP_TOKEN not in logs and BOT_TOKEN not in logs

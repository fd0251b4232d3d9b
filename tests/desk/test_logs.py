"""The managers' log: found by words and by what happened, and nothing else of anybody."""
from __future__ import annotations

import re

import pytest

from tests.desk.conftest import Desk


def found(html: str) -> set[int]:
    return {int(number) for number in re.findall(r'href="/manage/logs/(\d+)\?', html)}


@pytest.fixture
def three(desk: Desk) -> dict[str, int]:
    """An angry one about a refund, a calm one with LIKE's own characters, an English one on another channel."""
    conversations = {
        "refund": desk.escalated("a", "退款拖了三周", customer_id=desk.customer("李雷"), assignee="wang"),
        "percent": desk.says("b", "打 100%_折\\吗", anger=0.1, intent="ask_promotion")[0],
        "english": desk.escalated("c", "Where is my Parcel", reason="asked", anger=0.3, channel="http",
                                  intent="request_human"),
    }
    desk.clock.move(minutes=1)
    return conversations


@pytest.mark.parametrize("query, expected", [
    ({}, {"refund", "percent", "english"}), ({"words": "退款"}, {"refund"}), ({"words": "parcel WHERE"}, {"english"}),
    ({"words": "%"}, {"percent"}), ({"words": "_"}, {"percent"}), ({"words": "\\"}, {"percent"}),
    ({"words": "100%_折\\吗"}, {"percent"}), ({"words": "1%0"}, set()), ({"words": "李雷"}, {"refund"}),
    ({"words": "' OR '1'='1"}, set()), ({"words": "'; DROP TABLE messages; --"}, set()), ({"words": "\x00"}, None),
    ({"channel": "http"}, {"english"}), ({"intent": "ask_promotion"}, {"percent"}), ({"reason": "asked"}, {"english"}),
    ({"anger": "0.9"}, {"refund"}), ({"anger": "0,05"}, {"refund", "percent", "english"}),
    ({"breached": "yes"}, set()), ({"breached": "no"}, {"refund", "percent", "english"}), ({"rating": "5"}, set()),
    ({"since": "2026-11-18"}, {"refund", "percent", "english"}), ({"since": "2026-11-19"}, set()),
    ({"until": "2026-11-18"}, {"refund", "percent", "english"}), ({"until": "2026-11-17"}, set()),
    ({"grade": "major"}, set()), ({"words": "退款", "channel": "http"}, set()),
])
def test_every_condition_finds_what_it_says(desk: Desk, three: dict[str, int], query: dict[str, str],
                                            expected: set[str] | None) -> None:
    answer = desk.client("ling").get("/manage/logs", params=query)
    assert answer.status_code == 200
    assert "无法识别" not in answer.text
    if expected is not None:
        assert found(answer.text) == {three[name] for name in expected}


@pytest.mark.parametrize("name", ["channel", "intent", "reason", "grade", "agent", "anger", "breached", "rating",
                                  "since", "until"])
@pytest.mark.parametrize("value", ["' OR 1=1 --", "%", "1e999", "nan", "-1", "9" * 400, "<script>", "2026-02-30",
                                   "0001-01-01", "9999-12-31", "\x00", "\ufffd"], ids=range(12))
def test_a_condition_that_cannot_be_read_is_named_and_breaks_nothing(lite: Desk, name: str, value: str) -> None:
    lite.says("a", "你好")
    answer = lite.client("root").get("/manage/logs", params={name: value, "page": value})
    assert answer.status_code == 200
    if "9" * 5 not in value and not value[:1].isdigit() and (name, value) != ("intent", "nan"):
        assert name in answer.text.split('role="alert"')[1]
    assert "<script>" not in answer.text


def test_a_lead_finds_what_the_team_has_and_no_more(desk: Desk, three: dict[str, int]) -> None:
    """Eva leads the experts: of these she may see only what nobody has."""
    answer = desk.client("eva").get("/manage/logs")
    assert found(answer.text) == {three["percent"], three["english"]}
    assert "2 conversations" in answer.text
    assert found(desk.client("eva").get("/manage/logs", params={"words": "退款"}).text) == set()
    assert found(desk.client("zhang").get("/manage/logs", params={"words": "退款"}).text) == {three["refund"]}


def test_what_was_searched_for_is_marked(lite: Desk) -> None:
    conversation = lite.escalated("a", "我的退款呢<b>", reason="asked")
    answer = lite.client("ling").get("/manage/logs", params={"words": "退款 <b>"})
    assert "我的<mark>退款</mark>呢<mark>&lt;b&gt;</mark>" in answer.text
    assert f"/manage/logs/{conversation}?words=%E9%80%80%E6%AC%BE+%3Cb%3E" in answer.text


def test_personal_data_is_masked_below_managers(lite: Desk) -> None:
    conversation = lite.escalated("a", "我的电话 13800138000，邮箱 lilei@example.com", assignee="wang",
                                  customer_id=lite.customer("李雷", phone="13800138000"))
    for login, shown in (("zhang", False), ("ling", True), ("root", True)):
        client = lite.client(login)
        for path in ("/manage/logs?words=%E7%94%B5%E8%AF%9D", f"/manage/logs/{conversation}"):
            text = client.get(path).text
            assert "我的" in text
            assert ("13800138000" in text) is shown, (login, path)
            assert ("lilei@example.com" in text) is shown, (login, path)


def test_pages_of_results_keep_the_search(lite: Desk) -> None:
    for number in range(52):
        lite.says(f"s{number}", "退款")
    client = lite.client("ling")
    first = client.get("/manage/logs", params={"words": "退款"}).text
    assert len(found(first)) == 50 and 'rel="next" href="/manage/logs?words=%E9%80%80%E6%AC%BE&amp;page=2"' in first
    second = client.get("/manage/logs", params={"words": "退款", "page": "2"}).text
    assert len(found(second)) == 2 and not found(first) & found(second) and 'rel="prev"' in second
    assert client.get("/manage/logs", params={"page": "9" * 9}).status_code == 200

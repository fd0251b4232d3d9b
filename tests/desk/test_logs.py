"""The managers' log: found by words and by what happened, and nothing else of anybody."""
from __future__ import annotations

import re
from datetime import timedelta
from html import unescape
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import select

from crm_store.models import AuditEntry, Conversation, Message, SavedSearch
from crm_store.services.handoff import reply_to_customer, resolve_conversation
from crm_store.services.messages import receive_message
from crm_store.services.sla import tick
from desk.log_search import read_search
from desk.rendering import Reader
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


EVERYTHING = {"refund", "percent", "english"}
QUERIES: tuple[tuple[dict[str, str], set[str]], ...] = (
    ({}, EVERYTHING), ({"words": "退款"}, {"refund"}), ({"words": "parcel WHERE"}, {"english"}),
    ({"words": "%"}, set()), ({"words": "100%_折\\吗"}, {"percent"}), ({"words": "1%0"}, set()),
    ({"words": "李雷"}, {"refund"}), ({"words": "' OR '1'='1"}, set()), ({"words": "\x00"}, EVERYTHING),
    ({"words": "'; DROP TABLE messages; --"}, set()), ({"words": "三週"}, {"refund"}), ({"words": "parc"}, {"english"}),
    ({"channel": "http"}, {"english"}), ({"intent": "ask_promotion"}, {"percent"}), ({"reason": "asked"}, {"english"}),
    ({"anger": "0.9"}, {"refund"}), ({"anger": "0,05"}, EVERYTHING), ({"anger_to": "0.1"}, {"percent"}),
    ({"anger": "0.2", "anger_to": "0.5"}, {"english"}), ({"unread": "yes"}, set()), ({"unread": "no"}, EVERYTHING),
    ({"breached": "yes"}, set()), ({"breached": "no"}, EVERYTHING),
    ({"promise": "first_response"}, {"refund", "english"}),
    ({"promise": "follow_up"}, set()), ({"promise": "first_response", "breached": "no"}, set()),
    ({"rating": "5"}, set()), ({"cause": "solved"}, set()), ({"since": "2026-11-18"}, EVERYTHING),
    ({"since": "2026-11-19"}, set()), ({"until": "2026-11-18"}, EVERYTHING), ({"until": "2026-11-17"}, set()),
    ({"status": "pending"}, {"percent"}), ({"status": "open"}, {"refund", "english"}), ({"language": "en"}, set()),
    ({"by_bot": "yes"}, {"percent"}), ({"by_bot": "no"}, {"refund", "english"}), ({"hour": "10"}, EVERYTHING),
    ({"hour": "2"}, set()), ({"hour": "10", "promise": "first_response"}, {"refund", "english"}),
    ({"grade": "major"}, set()), ({"words": "退款", "channel": "http"}, set()), ({"words": "退款", "sort": "relevance"},
                                                                           {"refund"}),
)


def test_every_condition_finds_what_it_says(desk: Desk, three: dict[str, int]) -> None:
    client = desk.client("ling")
    team = desk.agent("wang").team_id
    for query, expected in (*QUERIES, ({"agent": str(desk.agent("wang").id)}, {"refund"}),
                            ({"team": str(team)}, {"refund"} | {"english"}), ({"team": "99"}, set())):
        answer = client.get("/manage/logs", params=query)
        assert answer.status_code == 200 and "无法识别" not in answer.text, query
        if query != {"team": str(team)}:  # which team an escalation is given to is not of interest here
            assert found(answer.text) == {three[name] for name in expected}, query
    by_team = found(client.get("/manage/logs", params={"team": str(team)}).text)
    assert three["refund"] in by_team and three["percent"] not in by_team


def test_links_from_the_figures_find_what_happened_in_their_days(desk: Desk) -> None:
    """Rated, broken and resolved on the second day; begun on the first."""
    talk = desk.escalated("a", "退款", customer_id=desk.customer("李雷"), assignee="wang", anger=0.9)
    other = desk.says("b", "别的", anger=None)[0]
    desk.clock.move(days=1)
    with desk.store.write() as session:
        while tick(session, desk.clock()):
            pass
        wang = desk.agent("wang")
        reply_to_customer(session, talk, wang, "处理好了", desk.clock())
        resolve_conversation(session, talk, wang, desk.clock(), cause="explained")
    with desk.store.write() as session:
        receive_message(session, channel="web", external_id="a", text="5", payload='/rate{"score": 5}',
                        channel_message_id="rating", now=desk.clock())
    client, first, second = desk.client("ling"), "2026-11-18", "2026-11-19"

    def of(day: str, **more: str) -> set[int]:
        return found(client.get("/manage/logs", params={"since": day, "until": day, **more}).text)

    assert of(first) == {talk, other} and of(second) == {talk} and of("2026-11-20") == set()
    assert of(first, dates="begun") == {talk, other} and of(second, dates="begun") == set()
    for asked in ({"rating": "5"}, {"cause": "explained"}):
        assert (of(first, **asked), of(second, **asked)) == (set(), {talk}), asked
    for asked in ({"reason": "anger"}, {"anger": "0.9"}, {"breached": "yes", "promise": "first_response"}):
        assert (of(first, **asked), of(second, **asked)) == ({talk}, set()), asked
    assert of(second, breached="yes", promise="resolution") == set()
    assert of(second, breached="no", promise="first_response") == set()
    assert of(first, by_bot="yes") == {other} and of(second, by_bot="no") == set()
    assert of(first, unread="yes") == {other} and of(first, unread="no") == {talk}
    assert of(first, hour="10") == {talk, other} and of(first, breached="yes", hour="10") == {talk}
    assert of(first, breached="yes", hour="11") == set()


FIELDS = tuple(read_search({}, Reader("zh", now=None)).given)  # type: ignore[arg-type]
HOSTILE = ("' OR 1=1 --", "%", "1e999", "nan", "-1", "9" * 400, "<script>alert(1)</script>", "2026-02-30", "0001-01-01",
           "9999-12-31", "\x00", "\ufffd", '"', '"退', "NEAR(a b", "a:b* OR", "{a}^", "&|!<->", "\ud800", "😡" * 99,
           "a" * 10_000, "退" * 3000)


def test_nothing_that_is_asked_breaks_the_page(lite: Desk) -> None:
    """Every parameter with every nasty value; what is not understood is named."""
    lite.says("a", "你好")
    client = lite.client("root")
    for value in HOSTILE:
        sent = value.encode("utf-8", "replace").decode()
        for name in (*FIELDS, "page", "saved", "not_saved", "nonsense"):
            answer = client.get("/manage/logs", params={name: sent})
            assert answer.status_code == 200, (name, value)
            assert "<script>" not in answer.text
        every = client.get("/manage/logs", params=dict.fromkeys(FIELDS, sent[:250]))
        assert every.status_code == 200
    raw = client.get("/manage/logs?words=%00%ff%ed%a0%80&channel=%c0%af&sort[]=x&words=b")
    assert raw.status_code == 200
    for name in ("channel", "intent", "agent", "anger", "hour", "since", "dates", "sort", "by_bot", "team", "promise"):
        answer = client.get("/manage/logs", params={name: "' OR 1=1 --"})
        assert name in answer.text.split('role="alert"')[1].split("</p>")[0]
    with lite.store.read() as session:
        assert len(session.execute(select(Conversation)).all()) == 1


def test_only_leads_and_above_get_in(lite: Desk) -> None:
    talk = lite.says("a", "你好")[0]
    for path in ("/manage", "/manage/logs", f"/manage/logs/{talk}", "/manage/logs/export.csv"):
        assert lite.client("wang").get(path).status_code == 403, path
        assert lite.client().get(path).status_code == 303, path
    assert lite.client("wang").post("/manage/logs/saved", data={"name": "x", "query": "words=a"}).status_code == 403
    for key in ("0", "-1", str(2**63), "x", "99"):
        assert lite.client("ling").get(f"/manage/logs/{key}").status_code == 404, key


def test_a_lead_finds_what_the_team_has_and_no_more(desk: Desk, three: dict[str, int]) -> None:
    """Eva leads the experts: of these she may see only what nobody has."""
    answer = desk.client("eva").get("/manage/logs")
    assert found(answer.text) == {three["percent"], three["english"]}
    assert "2 conversations" in answer.text
    assert found(desk.client("eva").get("/manage/logs", params={"words": "退款"}).text) == set()
    assert found(desk.client("zhang").get("/manage/logs", params={"words": "退款"}).text) == {three["refund"]}
    assert desk.client("eva").get(f"/manage/logs/{three['refund']}").status_code == 404


def test_what_was_searched_for_is_marked(lite: Desk) -> None:
    conversation = lite.escalated("a", "我的退款呢<b>，訂單 Refunds", reason="asked")
    answer = lite.client("ling").get("/manage/logs", params={"words": "退款 b 订单 REFUND"})
    assert ("我的<mark>退款</mark>呢&lt;<mark>b</mark>&gt;，<mark>訂單</mark> <mark>Refunds</mark>") in answer.text
    assert f"/manage/logs/{conversation}?words=%E9%80%80" in answer.text and "#hit-1" in answer.text


def test_the_snippet_is_of_the_hit_and_not_of_the_beginning(lite: Desk) -> None:
    lite.says("a", "很长的话" * 60 + "关键词在这里" + "后面也很长" * 60)
    html = lite.client("zhang").get("/manage/logs", params={"words": "关键词"}).text
    said = re.search(r'<td class="said" dir="auto">(.*?)</td>', html)
    assert said and said[1].startswith("…") and said[1].endswith("…") and "<mark>关键词</mark>在这里" in said[1]


def test_personal_data_is_masked_below_managers(lite: Desk) -> None:
    conversation = lite.escalated("a", "我的电话 13800138000，邮箱 lilei@example.com", assignee="wang",
                                  customer_id=lite.customer("李雷", phone="13800138000"))
    for login, shown in (("zhang", False), ("ling", True), ("root", True)):
        client = lite.client(login)
        for path in ("/manage/logs?words=%E6%88%91%E7%9A%84", f"/manage/logs/{conversation}?words=%E6%88%91%E7%9A%84"):
            text = client.get(path).text
            assert re.search(r"<mark[^>]*>我的</mark>", text)
            assert ("13800138000" in text) is shown, (login, path)
            assert ("lilei@example.com" in text) is shown, (login, path)


def test_pages_of_results_keep_the_search(lite: Desk) -> None:
    for number in range(52):
        lite.says(f"s{number}", "退款", reply=None)
    client = lite.client("ling")
    first = client.get("/manage/logs", params={"words": "退款"}).text
    assert len(found(first)) == 50 and 'rel="next" href="/manage/logs?words=%E9%80%80%E6%AC%BE&amp;page=2"' in first
    second = client.get("/manage/logs", params={"words": "退款", "page": "2"}).text
    assert len(found(second)) == 2 and not found(first) & found(second) and 'rel="prev"' in second
    assert client.get("/manage/logs", params={"page": "9" * 9}).status_code == 200


def test_conditions_are_said_and_can_be_taken_away(lite: Desk) -> None:
    wang = lite.agent("wang")
    html = unescape(lite.client("eva").get("/manage/logs", params={
        "words": "<i>", "breached": "yes", "promise": "follow_up", "agent": str(wang.id), "hour": "9",
        "rating": "x"}).text)
    shown = html.split('class="conditions"')[1].split("</ul>")[0]
    assert "Promise: Late" in shown and "Which promise: Follow-up" in shown and "王敏" in shown and "09:00" in shown
    assert 'href="/manage/logs?words=%3Ci%3E&promise=follow_up' in shown and "rating" not in shown


def many(lite: Desk, count: int) -> int:
    """A conversation with very many messages, a word in one of the first and in one of the last."""
    talk, message = lite.says("long", "开头")
    with lite.store.write() as session:
        first = session.get(Message, message)
        session.add_all(Message(
            conversation_id=talk, identity_id=first.identity_id, direction="incoming", author="customer",
            text="关键词" if place in (5, count - 5) else f"第{place}句", buttons=[], position=0,
            handled_at=lite.clock(), created_at=lite.clock() + timedelta(seconds=place), attempts=0)
            for place in range(count))
    return talk


def test_a_long_thread_is_read_part_by_part(lite: Desk) -> None:
    talk = many(lite, 2000)
    client = lite.client("ling")
    lines = re.compile(r'<li class="m (?:in|out)')

    def read(**query: Any) -> str:
        answer = client.get(f"/manage/logs/{talk}", params=query)
        assert answer.status_code == 200
        return answer.text

    last, first = read(), read(part=1)
    assert len(lines.findall(last)) == 2 and "第1999句" in last and 'rel="next"' not in last and 'rel="prev"' in last
    assert len(lines.findall(first)) == 200 and "开头" in first and 'rel="prev"' not in first
    everything = [line for part in range(1, 12) for line in re.findall(r'data-key="(m\d+)"', read(part=part))]
    assert len(everything) == len(set(everything)) == 2002
    hit = read(words="关键词")
    assert '<mark id="hit-1">关键词</mark>' in hit and "开头" in hit and 'href="#hit-1"' in hit
    assert "part=10#hit-1" in hit and '<mark id="hit-1">' in read(words="关键词", part=10)
    for odd in ("0", "-1", "x", "9" * 30):
        assert client.get(f"/manage/logs/{talk}", params={"part": odd}).status_code == 200
    assert "消息中没有关键词" in read(words="不在其中")


def test_marks_in_the_reader_hide_no_markup(lite: Desk) -> None:
    talk = lite.says("a", "<img src=x onerror=alert(1)> 退款 退款")[0]
    html = lite.client("ling").get(f"/manage/logs/{talk}", params={"words": "img 退款"}).text
    assert "<img" not in html and '&lt;<mark id="hit-1">img</mark> src' in html
    assert html.count('id="hit-1"') == 1 and "<mark>退款</mark>" in html


def test_searches_are_kept_shared_renamed_and_deleted(lite: Desk) -> None:
    ling, zhang, eva = (lite.client(login) for login in ("ling", "zhang", "eva"))
    hostile = "<b>周报</b>"
    answer = zhang.post("/manage/logs/saved", data={"name": f"  {hostile} ", "query": "words=退款&rating=1&evil=<x>",
                                                    "shared": "yes"})
    assert answer.status_code == 303
    (saved,) = rows(lite)
    assert (saved.name, saved.query, saved.shared) == (hostile, "words=%E9%80%80%E6%AC%BE&rating=1", True)
    assert answer.headers["location"] == f"/manage/logs?{saved.query}&saved={saved.id}"
    page = eva.get(answer.headers["location"]).text
    assert "&lt;b&gt;周报&lt;/b&gt;" in page and "<b>周报" not in page and "Shared by 张伟" in page
    assert f'action="/manage/logs/saved/{saved.id}"' not in page

    target = f"/manage/logs/saved/{saved.id}"
    assert eva.post(target, data={"name": "mine"}).status_code == 403
    assert eva.post(target, data={"delete": "yes"}).status_code == 403
    assert zhang.post(target, data={"name": "自己的"}).status_code == 303
    assert rows(lite)[0].name == "自己的" and not rows(lite)[0].shared
    assert "自己的" not in eva.get("/manage/logs").text and eva.post(target, data={"delete": "yes"}).status_code == 404
    assert ling.post(target, data={"delete": "yes"}).status_code == 404
    zhang.post(target, data={"name": "自己的", "shared": "yes"})
    assert ling.post(target, data={"name": "x"}).status_code == 403
    assert ling.post(target, data={"delete": "yes"}).status_code == 303 and rows(lite) == []
    with lite.store.read() as session:
        actions = session.execute(select(AuditEntry.action).where(AuditEntry.object_kind == "saved_search")
                                  .order_by(AuditEntry.id)).scalars().all()
    assert actions == ["save_search", "rename_search", "rename_search", "delete_search"]


def rows(lite: Desk) -> list[SavedSearch]:
    with lite.store.read() as session:
        return list(session.execute(select(SavedSearch).order_by(SavedSearch.id)).scalars())


@pytest.mark.parametrize(("name", "query", "why"), [
    ("", "words=a", "saved_name_bad"), ("\u200b", "words=a", "saved_name_bad"), ("x" * 81, "words=a", "saved_name_bad"),
    ("ok", "", "saved_nothing"), ("ok", "nonsense=1", "saved_nothing"), ("ok", "words=%00", "saved_nothing")])
def test_a_search_that_cannot_be_kept_says_why(lite: Desk, name: str, query: str, why: str) -> None:
    client = lite.client("eva")
    answer = client.post("/manage/logs/saved", data={"name": name, "query": query})
    assert answer.status_code == 303 and answer.headers["location"].endswith(f"not_saved={why}")
    assert 'role="alert"' in client.get(answer.headers["location"]).text and rows(lite) == []


def test_saved_searches_have_their_limits(lite: Desk) -> None:
    client = lite.client("eva")
    for key in ("0", "-1", str(2**63), "x"):
        assert client.post(f"/manage/logs/saved/{key}", data={"name": "x"}).status_code == 404, key
    with lite.store.write() as session:
        session.add_all(SavedSearch(owner_id=lite.agent("eva").id, name=f"n{number}", query="words=a", shared=False,
                                    created_at=lite.clock(), changed_at=lite.clock()) for number in range(100))
    full = client.post("/manage/logs/saved", data={"name": "one more", "query": "words=b"})
    assert full.headers["location"].endswith("not_saved=saved_too_many")
    assert client.post("/manage/logs/saved", data={"name": "n7", "query": "words=new"}).status_code == 303
    assert {row.name: row.query for row in rows(lite)}["n7"] == "words=new" and len(rows(lite)) == 100
    taken = client.post(f"/manage/logs/saved/{rows(lite)[0].id}", data={"name": "n8"})
    assert taken.headers["location"].endswith("not_saved=saved_taken")
    assert client.post("/manage/logs/saved", data={"name": "x", "query": "a" * 1_000_000}).status_code == 413
    other = {"origin": "http://elsewhere.test"}
    assert client.post("/manage/logs/saved", data={"name": "x", "query": "words=a"}, headers=other).status_code == 403


def test_an_empty_log_is_friendly(lite: Desk) -> None:
    client = lite.client("eva")
    assert "There are no conversations yet." in client.get("/manage/logs").text
    assert "Words are found by their beginning." in client.get("/manage/logs", params={"words": "x"}).text


def test_the_page_asks_the_store_a_fixed_number_of_times(lite: Desk) -> None:
    for number in range(30):
        lite.says(f"s{number}", "退款")
    client, seen = lite.client("zhang"), []

    @sa.event.listens_for(lite.store.engine, "before_cursor_execute")
    def note(_connection: object, _cursor: object, statement: str, *_rest: object) -> None:
        seen.append(statement)

    client.get("/manage/logs", params={"words": "退款"})
    assert 0 < len([statement for statement in seen if statement.startswith(("SELECT", "WITH"))]) <= 24

"""The figures' page: who sees what, what cannot be read, the way to the log, and the exports."""
from __future__ import annotations

import csv
import io
import re
from html import unescape
from typing import Any

import pytest
from sqlalchemy import select, update

from crm_store.models import AuditEntry, Conversation, Rating, SlaPolicy, SupportAgent, Team
from crm_store.services.handoff import reply_to_customer, resolve_conversation
from desk.charts import LEFT, Series, nice_step, stacked_bars
from desk.figures_board import Board, Figure
from desk.figures_view import FIGURES
from tests.desk.conftest import Desk

PAGE = "/manage/figures"
XSS = "<script>alert(1)</script>"


@pytest.fixture
def busy(desk: Desk) -> dict[str, int]:
    """One with the bot, one answered by Wang, one that waits and is late, one on another channel in another team."""
    said = {"bot": desk.says("a", "什么时候发货")[0], "answered": desk.escalated("b", assignee="wang")}
    with desk.store.write() as session:
        agent = session.execute(select(SupportAgent).where(SupportAgent.login == "wang")).scalar_one()
        reply_to_customer(session, said["answered"], agent, "马上处理", desk.clock())
        resolve_conversation(session, said["answered"], agent, desk.clock())
        session.add(Rating(conversation_id=said["answered"], episode_resolved_at=desk.clock(), score=5,
                           agent_id=agent.id, created_at=desk.clock()))
    said["late"] = desk.escalated("c", reason="asked", anger=0.3, intent="request_human")
    said["other"] = desk.escalated("d", reason="stuck", anger=0.1, channel="http", intent="out_of_scope",
                                   assignee="eva")
    with desk.store.write() as session:
        experts = session.execute(select(Team.id).where(Team.name == "Experts")).scalar_one()
        session.execute(update(Conversation).where(Conversation.id == said["other"]).values(team_id=experts)
                        .execution_options(synchronize_session=False))
        eva = session.execute(select(SupportAgent).where(SupportAgent.login == "eva")).scalar_one()
        desk.clock.move(minutes=30)
        reply_to_customer(session, said["other"], eva, "looking into it", desk.clock())
    return said


def rows_of(desk: Desk, name: str, login: str = "ling", **query: Any) -> list[list[str]]:
    answer = desk.client(login).get(f"{PAGE}/{name}.csv", params=query)
    assert answer.status_code == 200, answer.text
    assert answer.text.startswith("\ufeff")
    return list(csv.reader(io.StringIO(answer.text[1:])))


def test_agents_may_not_see_figures_and_nobody_without_a_login(desk: Desk) -> None:
    for path in (PAGE, f"{PAGE}/volume.csv"):
        assert desk.client("wang").get(path).status_code == 403
        answer = desk.client().get(path)
        assert answer.status_code == 303 and "/desk/login" in answer.headers["location"]


def test_nobody_waits_for_a_figure_that_is_exported(lite: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    real = FIGURES["volume"]

    def slow(board: Board) -> Figure:
        lite.says("meanwhile", "在吗")  # SQLite has one writer at a time
        return real(board)

    monkeypatch.setitem(FIGURES, "volume", slow)
    assert lite.client("ling").get(f"{PAGE}/volume.csv").status_code == 200


def test_an_empty_shop_looks_sensible(lite: Desk) -> None:
    for language in ("zh", "en"):
        client = lite.client("ling")
        client.cookies.set("warmline_language", language)
        for query in ({}, {"days": "1"}, {"days": "400"}, {"since": "2026-11-18", "until": "2026-11-18"}):
            answer = client.get(PAGE, params=query)
            assert answer.status_code == 200 and "None" not in answer.text.replace("None of", "")
            assert {"zh": "这段时间没有数据", "en": "Nothing in this period"}[language] in answer.text


def test_the_page_tells_what_happened(desk: Desk, busy: dict[str, int]) -> None:
    text = desk.client("ling").get(PAGE).text
    assert "1 / 4" in text and "25.0 %" in text  # the bot alone
    assert "style=" not in text and "<script" not in text.split("<main")[1]
    assert rows_of(desk, "volume", days="7")[-1][1:] == ["4", "1", "1", "2"]
    assert {tuple(row) for row in rows_of(desk, "reasons")[1:]} == {
        ("情绪激动", "1"), ("要求人工", "1"), ("机器人未解决", "1")}
    assert rows_of(desk, "agents")[1:] == [["王敏", "1", "1.0", "0", "0", "0"], ["Eva Stone", "1", "0.0", "1", "1800",
                                                                               "1800"]]
    assert rows_of(desk, "hours", promise="first_response")[1][0] == "10:00"
    assert ["5 分", "1", "1.0"] in rows_of(desk, "ratings")
    assert rows_of(desk, "ratings_by_agent")[1] == ["王敏", "5.0", "1", "1.0", "0.2065–1.0000"]
    assert ["与本店无关", "1", "1", "0", "0", "0", "1"] in rows_of(desk, "failed_intents")


def test_numbers_lead_to_as_many_conversations(desk: Desk, busy: dict[str, int]) -> None:
    """Every piece of the charts that count conversations, and every link of their tables, keeps its word."""
    client = desk.client("ling")
    text = client.get(PAGE, params={"days": "7"}).text
    followed = 0
    for panel in ("volume", "reasons", "breaches"):
        section = text.split(f'id="{panel}"')[1].split("</section>")[0]
        for link, number in re.findall(r'<a href="([^"]+)" tabindex="-1"><rect[^>]*><title>[^<]*: ([0-9]+)</title>',
                                       section):
            found = client.get(unescape(link)).text
            assert len(set(re.findall(r'href="/manage/logs/(\d+)\?', found))) == int(number), link
            followed += 1
    assert followed >= 7


def test_a_lead_sees_the_own_team_only(desk: Desk, busy: dict[str, int]) -> None:
    assert rows_of(desk, "reasons", "zhang")[1:] == rows_of(desk, "reasons", team=str(desk.agent("zhang").team_id))[1:]
    assert {row[0] for row in rows_of(desk, "reasons", "eva")[1:]} == {"Bot got stuck"}
    text = desk.client("eva").get(PAGE).text
    assert "王敏" not in text and "Lee Park" not in text and 'name="team"' not in text
    assert f"team={desk.agent('eva').team_id}" in text
    for query in ({"team": desk.agent("wang").team_id}, {"agent": desk.agent("wang").id}, {"team": "9999"}):
        assert desk.client("eva").get(PAGE, params=query).status_code == 404
        assert desk.client("eva").get(f"{PAGE}/volume.csv", params=query).status_code == 404
    assert desk.client("eva").get(PAGE, params={"team": desk.agent("eva").team_id}).status_code == 200


def test_filters_narrow_every_figure(desk: Desk, busy: dict[str, int]) -> None:
    assert [row[1] for row in rows_of(desk, "reasons", channel="http")[1:]] == ["1"]
    assert rows_of(desk, "reasons", language="en")[1:] == []
    assert [row[0] for row in rows_of(desk, "agents", agent=str(desk.agent("wang").id))[1:]] == ["王敏"]
    assert rows_of(desk, "volume", until="2026-11-17", days="7")[-1][1] == "0"


@pytest.mark.parametrize("name", ["days", "since", "until", "channel", "language", "team", "agent", "promise"])
def test_what_cannot_be_read_is_named_and_breaks_nothing(lite: Desk, name: str) -> None:
    client = lite.client("root")
    for value in ("' OR 1=1 --", "-1", "9" * 400, XSS, "2026-02-30", "\x00", b"\xed\xa0\x80", "nan", str(2**63)):
        answer = client.get(PAGE, params={name: value})
        assert answer.status_code == 200, value
        assert name in answer.text.split('role="alert"')[1] and "<script>alert" not in answer.text
    assert client.get(f"{PAGE}/volume.csv", params={name: XSS}).status_code == 200


@pytest.mark.parametrize("query", [{"days": "401"}, {"since": "2025-01-01"}, {"since": "2020-01-01",
                                                                            "until": "2026-11-01"}])
def test_a_period_that_is_too_long_is_refused_politely(lite: Desk, query: dict[str, str]) -> None:
    answer = lite.client("root").get(PAGE, params=query)
    assert answer.status_code == 200 and "At most 400 days" in answer.text
    assert "20 Oct to 18 Nov" in answer.text


@pytest.mark.parametrize("query, period", [
    ({"since": "2026-11-10", "until": "2026-11-12"}, "10 Nov to 12 Nov, compared with the 3 days"),
    ({"since": "2026-11-12", "until": "2026-11-10"}, "10 Nov to 12 Nov"),
    ({"since": "2026-11-17", "until": "2027-12-31"}, "17 Nov to 18 Nov"),
    ({"until": "2026-11-12"}, "14 Oct to 12 Nov"), ({"days": "1"}, "18 Nov, compared with the day before"),
    ({"since": "1999-01-01", "until": "1999-01-03"}, "20 Oct to 18 Nov"), ({}, "20 Oct to 18 Nov")])
def test_periods(lite: Desk, query: dict[str, str], period: str) -> None:
    assert period in lite.client("root").get(PAGE, params=query).text


def test_every_figure_exports_with_its_filters_and_is_recorded(desk: Desk, busy: dict[str, int]) -> None:
    client = desk.client("ling")
    page = client.get(PAGE, params={"days": "7", "channel": "web"}).text
    for name in FIGURES:
        assert f"/manage/figures/{name}.csv?days=7&amp;channel=web" in page
        answer = client.get(f"{PAGE}/{name}.csv", params={"days": "7", "channel": "web"})
        assert answer.status_code == 200 and answer.headers["content-type"] == "text/csv; charset=utf-8"
        assert f'filename="warmline-{name.replace("_", "-")}-2026-11-12-2026-11-18.csv"' in answer.headers[
            "content-disposition"]
    with desk.store.read() as session:
        entries = session.execute(select(AuditEntry).where(AuditEntry.action == "export")).scalars().all()
    assert [entry.object_id for entry in entries] == list(FIGURES)
    assert entries[0].data == {"channel": "web", "since": "2026-11-12", "until": "2026-11-18"}
    assert entries[0].actor_id == desk.agent("ling").id


@pytest.mark.parametrize("name", ["unknown", "__class__", "..", "volume.csv", "%00", "x" * 2000])
def test_a_figure_that_there_is_not_is_missing(lite: Desk, name: str) -> None:
    assert lite.client("ling").get(f"{PAGE}/{name}.csv").status_code == 404


@pytest.mark.parametrize("hostile", ['=HYPERLINK("http://x")', "+1", "-1+1", "@SUM(1)", " =1", "\t=1", "＝1", XSS])
def test_names_are_harmless_on_the_page_and_in_spreadsheets(lite: Desk, hostile: str) -> None:
    lite.escalated("a", assignee="wang")
    with lite.store.write() as session:
        agent = session.execute(select(SupportAgent).where(SupportAgent.login == "wang")).scalar_one()
        reply_to_customer(session, 1, agent, "好", lite.clock())
        session.execute(update(SupportAgent).values(name=hostile))
        session.execute(update(SlaPolicy).where(SlaPolicy.position == 1).values(name=hostile))
    for name in ("agents", "policies"):
        (_, row) = rows_of(lite, name)
        assert row[0] == (hostile if hostile == XSS else f"'{hostile}")
    assert "<script>alert" not in lite.client("ling").get(PAGE).text


def test_no_customer_is_named(desk: Desk, busy: dict[str, int]) -> None:
    desk.says("e", "我是王小明 13800138000", customer_id=desk.customer("王小明", phone="13800138000"))
    client = desk.client("ling")
    everything = client.get(PAGE).text + "".join(client.get(f"{PAGE}/{name}.csv").text for name in FIGURES)
    assert "王小明" not in everything and "13800138000" not in everything


def test_the_promise_that_is_chosen(desk: Desk, busy: dict[str, int]) -> None:
    text = desk.client("root").get(PAGE, params={"promise": "resolution"}).text
    assert re.search(r'aria-current="true">Resolution<', text)
    assert [row[0] for row in rows_of(desk, "agents", promise="resolution")[1:]] == ["王敏"]
    assert [row[0] for row in rows_of(desk, "agents", promise="follow_up")[1:]] == []


def test_a_conversation_begun_a_period_ago_is_the_change(desk: Desk) -> None:
    desk.says("a", "你好")
    desk.clock.move(days=7)
    for sender in "bcd":
        desk.says(sender, "你好")
    assert "▲ +200 %" in desk.client("root").get(PAGE, params={"days": "7"}).text


def test_bars_stand_on_the_axis_and_fit_below_the_top() -> None:
    series = [Series("a", "A", [3, 0, 7], ["/a", None, "/c"]), Series("none", "None", [0, 0, 0], [None] * 3),
              Series("b", "B", [1, 0, 2], [None] * 3)]
    chart = stacked_bars(["x", "y", "z"], ["X", "Y", "Z"], series, say=lambda value: f"{value:g}")
    assert [each.name for each in chart.series] == ["a", "b"] and not chart.empty
    assert [piece.title for piece in chart.pieces] == ["X · A: 3", "X · B: 1", "Z · A: 7", "Z · B: 2"]
    low, high = chart.pieces[2:]
    assert low.y + low.height == pytest.approx(chart.base) and high.y + high.height == pytest.approx(low.y)
    assert high.y >= min(line.at for line in chart.lines) and all(piece.x >= LEFT for piece in chart.pieces)
    assert [text for _, _, text in chart.totals] == ["4", "9"]


@pytest.mark.parametrize("highest, step", [(0, 1), (1, 1), (4, 1), (5, 2), (9, 3), (40, 10), (41, 20), (1234, 500)])
def test_an_axis_of_counts_has_no_fractions(highest: float, step: float) -> None:
    assert nice_step(highest) == step
    assert 0 < nice_step(0.3, whole=False) < 0.3


def test_nothing_to_draw_is_an_empty_chart() -> None:
    assert stacked_bars([], [], [], say=str).empty

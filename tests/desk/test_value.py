"""Customer value in the customer pane and in the console: what is shown, to whom, to click and to take along."""
from __future__ import annotations

import csv
import html
import io
import re
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from fastapi.testclient import TestClient
from sqlalchemy import select

from crm_store.models import AuditEntry, Customer, Order
from crm_store.queries.value import UNKNOWN, Wanted, customers_by_value, group_of
from crm_store.rules.value import RISKS, SEGMENTS, STAGES
from crm_store.services.value import judge_values, learn_from_values, recount_values
from desk.value_view import RISK_WORDS, SEGMENT_WORDS, STAGE_WORDS
from tests.desk.conftest import Desk

PAGE, LIST, CSV = "/manage/value", "/manage/value/customers", "/manage/value/customers.csv"
XSS = "<script>alert(1)</script>"
DAY = timedelta(days=1)


def bought(desk: Desk, customer: int, *days_ago: float, fen: int = 30_000) -> None:
    with desk.store.write() as session:
        start = session.execute(select(sa.func.count(Order.id))).scalar_one()
        for place, days in enumerate(days_ago):
            at = desk.clock() - days * DAY
            session.add(Order(number=f"WLT{start + place}", customer_id=customer, status="completed", phone="-",
                              address="-", total_fen=fen, placed_at=at, paid_at=at))


def work_out(desk: Desk) -> None:
    for step in (recount_values, learn_from_values, judge_values):
        with desk.store.write() as session:
            step(session, desk.clock())


@pytest.fixture
def crowd(lite: Desk) -> list[int]:
    """120 buyers, of whom most came back."""
    customers = list(range(1001, 1121))
    with lite.store.write() as session:
        session.execute(sa.insert(Customer.__table__), [
            {"id": key, "number": f"WLC{key}", "name": f"客户{key}", "language": "zh", "tier_code": "silver",
             "created_at": lite.clock()} for key in customers])
    with lite.store.write() as session:
        session.execute(sa.insert(Order.__table__), [
            {"number": f"WLC{customer}-{each}", "customer_id": customer, "status": "completed", "phone": "-",
             "address": "-", "total_fen": 5_000 + 700 * place, "refunded_fen": 0,
             "placed_at": lite.clock() - (10 + place + 25 * each) * DAY}
            for place, customer in enumerate(customers) for each in range(1 + place % 6)])
    work_out(lite)
    return customers


def browser(desk: Desk, login: str = "ling", language: str = "en") -> TestClient:
    client = desk.client(login)
    client.cookies.set("warmline_language", language)
    return client


def of_the_list(answer: Any) -> list[str]:
    return re.findall(r"/manage/logs\?words=(WLC\d+)", answer.text)


def test_there_is_a_word_for_every_segment_stage_and_risk() -> None:
    assert set(SEGMENT_WORDS) == {*SEGMENTS, UNKNOWN}
    assert set(STAGE_WORDS) == set(STAGES) and set(RISK_WORDS) == set(RISKS)


def test_the_pane_says_the_segment_the_stage_and_why(lite: Desk) -> None:
    customer = lite.customer("李雷", phone="13800138000")
    bought(lite, customer, 171, 139, 107, 75)
    conversation = lite.escalated("a", assignee="wang", customer_id=customer)
    path = f"/desk/parts/conversations/{conversation}"
    wang = browser(lite, "wang")
    assert 'id="value"' not in wang.get(path).text, "not counted yet"
    work_out(lite)
    pane = html.unescape(wang.get(path).text)
    pane = pane[pane.index('id="value"'):]
    assert "Buys every 32 days, last 75 days ago." in pane
    assert "Cooling" in pane and "Medium" in pane and "too little data; judged by the silence" in pane
    assert "¥1,200" in pane and "Not compared yet" in pane
    wang = browser(lite, "wang", "zh")
    assert "平常每 32 天购买一次，上次是 75 天前。" in html.unescape(wang.get(path).text)


def test_the_pane_counts_few_purchases_by_the_shops_rhythm(lite: Desk) -> None:
    for name, days, said in (("one", (0,), "Bought once, today; customers here usually return after 45 days."),
                             ("two", (40, 1), "Bought 2 times, last yesterday; customers here usually return")):
        customer = lite.customer(name)
        bought(lite, customer, *days)
        conversation = lite.escalated(name, assignee="wang", customer_id=customer)
        work_out(lite)
        assert said in html.unescape(browser(lite, "wang").get(f"/desk/parts/conversations/{conversation}").text)


def test_the_pane_of_an_erased_customer_or_of_a_guest_has_no_value(lite: Desk) -> None:
    customer = lite.customer("李雷")
    bought(lite, customer, 5)
    work_out(lite)
    conversation = lite.escalated("a", assignee="wang", customer_id=customer)
    guest = lite.escalated("b", assignee="wang")
    with lite.store.write() as session:
        session.get(Customer, customer).erased_at = lite.clock()
    for each in (conversation, guest):
        assert 'id="value"' not in browser(lite, "wang").get(f"/desk/parts/conversations/{each}").text
    assert of_the_list(browser(lite).get(LIST)) == []


def test_the_page_shows_segments_stages_and_the_grid_without_names(lite: Desk, crowd: list[int]) -> None:
    assert "客户价值" in browser(lite, language="zh").get(PAGE).text
    ling = browser(lite)
    answer = ling.get(PAGE)
    assert answer.status_code == 200 and "客户1007" not in answer.text
    assert ("MBG/NBD r=" in answer.text) and ("120" in answer.text)
    links = set(re.findall(r'href="(/manage/value/customers\?[^"]+)"', answer.text))
    assert len([link for link in links if "recency=" in link]) == 25
    with lite.store.read() as session:
        everybody = group_of(session).customers
    for what, count in (("segment", None), ("stage", None), ("recency", 25)):
        found = [html.unescape(link) for link in links if link.split("?")[1].startswith(what)
                 and ("risk=" not in link)]
        assert count is None or len(found) == count
        total = 0
        for link in found:
            shown = re.search(r"([\d,]+) (?:位客户|customers?)", ling.get(link).text)
            assert shown is not None, link
            total += int(shown[1])
        assert total == everybody == 120, what


def test_an_empty_shop_and_a_small_one_say_so(lite: Desk) -> None:
    ling = browser(lite)
    assert "Nobody has bought anything yet" in ling.get(PAGE).text
    assert "No customer is like that." in ling.get(LIST).text
    for place in range(3):
        bought(lite, lite.customer(f"c{place}"), 5)
    work_out(lite)
    page = html.unescape(ling.get(PAGE).text)
    assert "Too little data to estimate churn and future worth" in page and "there are 3 buyers" in page
    assert "RFM grid" not in page and "Not compared yet" in page


def test_the_list_is_filtered_paged_and_leads_to_the_log(lite: Desk, crowd: list[int]) -> None:
    ling = browser(lite)
    with lite.store.read() as session:
        numbers = dict(session.execute(select(Customer.id, Customer.number)).all())
        wanted = Wanted(risk="high")
        today = lite.clock().date()
        expected = [numbers[each.customer_id] for each in customers_by_value(session, today, wanted, limit=None)]
    assert expected
    found = [number for page in range(1, 5) for number in of_the_list(ling.get(LIST, params={
        "risk": "high", "page": page}))[:50]]
    assert found[:len(expected)] == expected
    first = of_the_list(ling.get(LIST))
    assert len(first) == 50 and "Page 1 of 3" in ling.get(LIST).text
    assert len(of_the_list(ling.get(LIST, params={"page": "3"}))) == 20
    assert of_the_list(ling.get(LIST, params={"page": "99"})) == of_the_list(ling.get(LIST, params={"page": "3"}))
    assert ling.get("/manage/logs", params={"words": first[0]}).status_code == 200


@pytest.mark.parametrize("query", [
    {"segment": "x"}, {"stage": XSS}, {"risk": "' OR 1=1"}, {"recency": "6"}, {"weight": "0"}, {"recency": "9" * 39},
    {"weight": "-1"}, {"segment": "\x00"}, {"page": str(2**63)}, {"page": "-1"}, {"unknown": "1"}])
def test_what_cannot_be_read_is_left_out_and_named(lite: Desk, query: dict[str, str]) -> None:
    bought(lite, lite.customer(XSS), 5)
    work_out(lite)
    answer = browser(lite).get(LIST, params=query)
    assert answer.status_code == 200 and XSS not in answer.text and html.escape(XSS) in answer.text
    (name,) = query
    if name in ("page", "unknown"):
        assert 'role="alert"' not in answer.text
    else:
        assert f"left out: {name}" in answer.text


def test_the_list_and_its_export_say_the_same_and_are_recorded(desk: Desk) -> None:
    for place, name in enumerate(("李雷", "=HYPERLINK(1)", "韩梅梅")):
        bought(desk, desk.customer(name), 5 + 400 * place, fen=10_050 * (place + 1))
    work_out(desk)
    ling = browser(desk)
    answer = ling.get(CSV, params={"stage": "new", "risk": "nonsense"})
    assert answer.headers["content-disposition"] == 'attachment; filename="warmline-value-2026-11-18.csv"'
    assert answer.text.startswith("\ufeff")
    heads, *rows = csv.reader(io.StringIO(answer.text[1:]))
    assert heads[:4] == ["Number", "Customer", "Segment", "Stage of life"] and len(rows) == 1
    assert rows[0][1:5] == ["李雷", "Not compared yet", "New", "Low"]
    assert rows[0][5:] == ["", "1", "0", "2026-11-13", "2026-11-13", "100.5", ""]
    rows = list(csv.reader(io.StringIO(ling.get(CSV).text[1:])))[1:]
    assert [row[1] for row in rows] == ["韩梅梅", "'=HYPERLINK(1)", "李雷"], "the most spent first, formulas disarmed"
    ling.get(LIST, params={"stage": "new"})
    with desk.store.read() as session:
        told = session.execute(select(AuditEntry.action, AuditEntry.data).where(
            AuditEntry.object_kind == "customer_value").order_by(AuditEntry.id)).all()
    assert [tuple(each) for each in told] == [
        ("export", {"stage": "new"}), ("export", {}), ("look", {"stage": "new", "page": 1})]


@pytest.mark.parametrize("path", [PAGE, LIST, CSV])
def test_only_managers_see_it(lite: Desk, path: str) -> None:
    bought(lite, lite.customer("李雷"), 5)
    work_out(lite)
    for login, status in (("wang", 403), ("zhang", 403), ("ling", 200), ("root", 200)):
        answer = lite.client(login).get(path)
        assert answer.status_code == status
        assert status == 200 or "李雷" not in answer.text
    assert lite.client().get(path).headers["location"].startswith("/desk/login")
    assert "/manage/value" not in lite.client("zhang").get("/manage/logs").text

"""The log's export: everything that was found, to whoever may see it, and nothing that a spreadsheet would run."""
from __future__ import annotations

import csv
import io
import json
from typing import Any

import pytest
from sqlalchemy import select

from crm_store.models import AuditEntry
from desk.downloads import harmless
from tests.desk.conftest import Desk


def table(answer: Any) -> list[dict[str, str]]:
    assert answer.status_code == 200 and answer.content.startswith(b"\xef\xbb\xbf")
    return list(csv.DictReader(io.StringIO(answer.content.decode("utf-8-sig"), newline="")))


def lines(answer: Any) -> list[dict[str, Any]]:
    assert answer.status_code == 200
    return [json.loads(line) for line in answer.content.decode().splitlines()]


def audited(desk: Desk) -> list[tuple[str, dict[str, Any]]]:
    with desk.store.read() as session:
        return [(entry.action, entry.data) for entry in session.execute(
            select(AuditEntry).where(AuditEntry.object_kind == "log").order_by(AuditEntry.id)).scalars()]


def test_conversations_and_messages_as_csv_and_jsonl(desk: Desk) -> None:
    talk = desk.escalated("a", '退款, "三周"\n第二行', customer_id=desk.customer("李雷"), assignee="wang")
    desk.says("b", "别的")
    client = desk.client("root")
    answer = client.get("/manage/logs/export.csv", params={"words": "退款"})
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert answer.headers["content-disposition"] == 'attachment; filename="conversations-20261118-1000.csv"'
    (row,) = table(answer)
    assert (row["Conversation"], row["Customer"], row["Agent"], row["Channel"], row["Begun"], row["Anger"]) == (
        str(talk), "李雷", "王敏", "Web", "2026-11-18 10:00:00", "0.94")
    (record,) = lines(client.get("/manage/logs/export.jsonl", params={"words": "退款"}))
    assert record["conversation"] == talk and record["begun_at"] == "2026-11-18T10:00:00+08:00"
    assert record["reasons"] == ["anger"] and record["breached"] is False and record["customer"] == "李雷"
    said = lines(client.get("/manage/logs/export.jsonl", params={"words": "退款", "rows": "messages"}))
    assert said[0]["text"] == '退款, "三周"\n第二行' and said[0]["intent"] == "ask_refund_status"
    assert {each["conversation"] for each in said} == {talk} and "note" in {each["direction"] for each in said}
    in_table = table(client.get("/manage/logs/export.csv", params={"words": "退款", "rows": "messages"}))
    assert [each["Text"] for each in in_table] == [each["text"] for each in said]
    assert table(client.get("/manage/logs/export.csv", params={"words": "不在"})) == []
    assert len(lines(client.get("/manage/logs/export.jsonl"))) == 2
    assert client.get("/manage/logs/export.pdf").status_code == 404
    assert client.get("/manage/logs/export.csv", params={"rows": "secrets"}).status_code == 422


def test_an_export_is_in_the_audit_log_with_its_filter_and_its_rows(lite: Desk) -> None:
    for sender in "abc":
        lite.says(sender, "退款")
    lite.client("zhang").get("/manage/logs/export.csv", params={"words": "退款", "rating": "x", "rows": "messages"})
    asked, done = audited(lite)
    assert asked == ("export_log", {"filter": {"words": "退款"}, "rows_of": "messages", "kind": "csv"})
    assert done == ("exported_log", {"filter": {"words": "退款"}, "rows_of": "messages", "rows": 6, "complete": True})


def test_an_export_holds_what_may_be_seen_masked_as_it_is_seen(lite: Desk) -> None:
    theirs = lite.escalated("a", "电话 13800138000", assignee="wang", customer_id=lite.customer("李雷"))
    free = lite.says("b", "邮箱 a@example.com")[0]

    def ids(login: str, **more: str) -> set[int]:
        answer = lite.client(login).get("/manage/logs/export.jsonl", params=more)
        return {each["conversation"] for each in lines(answer)}

    assert ids("eva") == ids("eva", rows="messages") == {free} and ids("zhang") == ids("ling") == {theirs, free}
    for rows in ("conversations", "messages"):
        for kind in ("csv", "jsonl"):
            path = f"/manage/logs/export.{kind}?rows={rows}"
            for login, shown in (("zhang", False), ("ling", True)):
                text = lite.client(login).get(path).text
                assert ("13800138000" in text) is (shown and rows == "messages"), (login, path)
                assert ("a@example.com" in text) is (shown and rows == "messages"), (login, path)
    assert lite.client("wang").get("/manage/logs/export.csv").status_code == 403
    assert lite.client().get("/manage/logs/export.csv").status_code == 303


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "  =1", "＝1",
                                  "\n=cmd|' /C calc'!A0"])
def test_no_cell_is_a_formula(text: str) -> None:
    assert harmless(text) == "'" + text
    assert harmless("退款 = 1") == "退款 = 1" and harmless("") == ""


def test_formulas_in_names_and_texts_stay_texts(lite: Desk) -> None:
    lite.says("a", "=HYPERLINK(\"http://evil\")", customer_id=lite.customer("@李雷"), reply="-1")
    client = lite.client("ling")
    (row,) = table(client.get("/manage/logs/export.csv"))
    assert "'@李雷" in row.values() and "'-1" in row.values()
    texts = [each["内容"] for each in table(client.get("/manage/logs/export.csv", params={"rows": "messages"}))]
    assert texts == ["'=HYPERLINK(\"http://evil\")", "'-1"]
    assert lines(client.get("/manage/logs/export.jsonl"))[0]["customer"] == "@李雷"


def test_a_long_export_is_read_batch_by_batch(lite: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("desk.log_export.CONVERSATIONS_AT_ONCE", 2)
    monkeypatch.setattr("desk.log_export.MESSAGES_AT_ONCE", 3)
    talks = [lite.says(f"s{number}", "退款")[0] for number in range(5)]
    client = lite.client("ling")
    assert [each["conversation"] for each in lines(client.get("/manage/logs/export.jsonl"))] == talks[::-1]
    said = lines(client.get("/manage/logs/export.jsonl", params={"rows": "messages"}))
    assert [each["conversation"] for each in said] == [talk for talk in talks[::-1] for _ in range(2)]


def test_nothing_that_is_asked_breaks_an_export(lite: Desk) -> None:
    lite.says("a", "你好")
    client = lite.client("ling")
    for value in ('"', "NEAR(", "' OR 1=1 --", "\x00", "😡" * 50, "a" * 10_000, "9" * 40, "9999-12-31"):
        for name in ("words", "since", "agent", "hour", "kind"):
            assert client.get("/manage/logs/export.csv", params={name: value}).status_code == 200, (name, value)

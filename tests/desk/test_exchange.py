"""The shop's data in and out by hand and by programs: who may, what is shown, and what cannot be guessed or broken."""
from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select

from crm_store.database import Store
from crm_store.models import AuditEntry, Customer, ExchangeToken, Import
from crm_store.services.exchange_tokens import create_token, revoke_token
from desk import exchange_api
from tests.desk.conftest import Clock, Desk, make_desk, open_shop

CUSTOMERS = "number,name,phone\nC1,李雷,13800138000\nC2,=cmd|' /C calc'!A0,\n"
EVIL = "<script>pwn()</script>"


@pytest.fixture
def desk(sqlite_store: Store, now: Any, tmp_path: Path) -> Iterator[Desk]:
    open_shop(sqlite_store, now)
    desk = make_desk(sqlite_store, Clock(now))
    desk.app.state.desk = replace(desk.app.state.desk, uploads=tmp_path / "uploads")
    yield desk


def token(desk: Desk, *, read: bool = True, write: bool = True) -> str:
    with desk.store.write() as session:
        return create_token(session, desk.agent("root"), name="shop", may_read=read, may_write=write,
                            now=desk.clock())[1]


def program(desk: Desk, text: str) -> TestClient:
    client = desk.client()
    client.headers["Authorization"] = f"Bearer {text}"
    return client


def send(client: TestClient, body: str | bytes, kind: str = "customers", type_: str = "text/csv", **query: str) -> Any:
    return client.post(f"/api/exchange/{kind}", content=body, headers={"Content-Type": type_}, params=query)


def upload(client: TestClient, body: str | bytes, kind: str = "customers", name: str = "c.csv", **more: str) -> Any:
    return client.post("/manage/exchange", data={"kind": kind, **more}, files={"file": (name, body)})


def numbers(desk: Desk) -> list[str]:
    with desk.store.read() as session:
        return list(session.execute(select(Customer.number).order_by(Customer.number)).scalars())


def actions(desk: Desk) -> list[str]:
    with desk.store.read() as session:
        return list(session.execute(select(AuditEntry.action).order_by(AuditEntry.id)).scalars())


def test_a_program_brings_data_and_fetches_the_same(desk: Desk) -> None:
    client = program(desk, token(desk))
    tried = send(client, CUSTOMERS, dry_run="1")
    assert tried.status_code == 200 and tried.json()["counts"] == {"created": 2} and numbers(desk) == []
    assert send(client, CUSTOMERS).json()["counts"] == {"created": 2} and numbers(desk) == ["C1", "C2"]
    fetched = client.get("/api/exchange/customers?format=csv")
    assert "'=cmd|" in fetched.text
    assert send(client, fetched.content).json()["counts"] == {"unchanged": 2}
    lines = client.get("/api/exchange/customers").text
    assert [json.loads(line)["number"] for line in lines.splitlines()] == ["C1", "C2"]
    assert send(client, lines, type_="application/jsonl").json()["counts"] == {"unchanged": 2}
    assert send(client, '{"number": "C3", "name": "Han"}', type_="application/json").json()["counts"] == {"created": 1}
    assert {"import_done", "export_data", "create_token"} <= set(actions(desk))


def test_a_fetch_goes_on_where_the_last_one_ended(desk: Desk) -> None:
    client = program(desk, token(desk))
    send(client, "number,name\n" + "".join(f"C{n:03},N\n" for n in range(25)))
    path, seen = "/api/exchange/customers?limit=10", list[str]()
    while path:
        answer = client.get(path)
        seen += [json.loads(line)["number"] for line in answer.text.splitlines()]
        path = answer.headers.get("link", "")[1:].partition(">")[0]
    assert seen == [f"C{n:03}" for n in range(25)]
    for bad in ("limit=0", "limit=10001", "limit=x", "after=-1", f"after={2**63}", "format=xml"):
        assert client.get(f"/api/exchange/customers?{bad}").status_code == 422, bad


def test_wrong_rows_are_named_in_the_language_asked_for_and_nothing_is_stored(desk: Desk) -> None:
    client = program(desk, token(desk))
    answer = send(client, "number,name,phone\nC1,A,1.38E+10\nC2,B,\n")
    assert answer.status_code == 422 and numbers(desk) == []
    (error,) = answer.json()["errors"]
    assert (error["line"], error["column"], error["code"]) == (2, "phone", "phone")
    assert "13800138000" in error["message"]
    client.headers["Accept-Language"] = "zh"
    assert "第 2 行" in send(client, "number,name,phone\nC1,A,1.38E+10\n").json()["errors"][0]["message"]
    assert send(client, "number,name,phone\nC1,A,x\nC2,B,\n", skip_wrong="1").status_code == 200
    assert numbers(desk) == ["C2"]


@pytest.mark.parametrize("authorization", ["", "Bearer", "Bearer x", "Bearer wlx_000000000000_x", "Basic d2x4",
                                           "Bearer wlx__", "Bearer " + "w" * 5000, "Bearer wlx_\u00e9_\u00e9"])
def test_nobody_without_a_token_gets_in(desk: Desk, authorization: str) -> None:
    client = desk.client()
    for method in ("GET", "POST"):
        answer = client.request(method, "/api/exchange/customers", content="number,name\nC1,A\n", headers={
            "Authorization": authorization.encode("latin-1"), "Content-Type": "text/csv"})
        assert answer.status_code == 401 and answer.headers["WWW-Authenticate"] == "Bearer"
    assert numbers(desk) == []


def test_a_token_is_only_what_it_was_made_for_and_ends_when_it_is_revoked(desk: Desk) -> None:
    reads, writes = token(desk, write=False), token(desk, read=False)
    assert program(desk, writes).get("/api/exchange/customers").status_code == 403
    assert send(program(desk, reads), CUSTOMERS).status_code == 403 and numbers(desk) == []
    assert program(desk, reads[:-1] + ("a" if reads[-1] != "a" else "b")).get(
        "/api/exchange/customers").status_code == 401
    for path in ("/api/queue", "/manage/exchange", "/desk"):
        assert program(desk, reads).get(path).status_code in (401, 303)
    with desk.store.read() as session:
        first = session.execute(select(ExchangeToken).order_by(ExchangeToken.id)).scalars().first()
        assert reads not in (first.token_hash, first.prefix) and first.used_at == desk.clock()
    with desk.store.write() as session:
        revoke_token(session, first.id, desk.agent("root"), desk.clock())
    assert program(desk, reads).get("/api/exchange/customers").status_code == 401


def test_an_agents_session_is_no_token(desk: Desk) -> None:
    assert desk.client("root").get("/api/exchange/customers").status_code == 401


@pytest.mark.parametrize(("type_", "headers"), [
    ("application/zip", {}), ("", {}), ("multipart/form-data", {}), ("text/csv", {"Content-Encoding": "gzip"})])
def test_only_plain_files_are_taken(desk: Desk, type_: str, headers: dict[str, str]) -> None:
    answer = program(desk, token(desk)).post("/api/exchange/customers", content=b"x",
                                             headers={"Content-Type": type_, **headers})
    assert answer.status_code == 415


@pytest.mark.parametrize("body", [b"PK\x03\x04rest", b"\x1f\x8b\x08rest", b"7z\xbc\xaf\x27\x1c", b"Rar!\x1a\x07",
                                  b"\xd0\xcf\x11\xe0\xa1\xb1"])
def test_no_archive_is_taken(desk: Desk, body: bytes) -> None:
    answer = send(program(desk, token(desk)), body)
    assert answer.status_code == 422 and answer.json()["code"] == "archive"
    assert upload(desk.client("ling"), body).status_code == 422


def test_a_file_that_is_too_large_is_refused_announced_or_not(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchange_api, "FILE_LIMIT", 100_000)
    client = program(desk, token(desk))
    body = b"number,name\n" + b"x" * 200_000
    for content in (body, iter([body[at:at + 9_000] for at in range(0, len(body), 9_000)])):
        assert client.post("/api/exchange/customers", content=content,
                           headers={"Content-Type": "text/csv"}).status_code == 413
    assert client.post("/api/exchange/customers", content=b"{" + b" " * 70_000 + b"}",
                       headers={"Content-Type": "application/json"}).status_code == 413


def test_unknown_kinds_zones_and_paths(desk: Desk) -> None:
    client = program(desk, token(desk))
    for kind in ("agents", "0", "-1", "%00", "customers'--"):
        assert client.get(f"/api/exchange/{kind}").status_code == 404
        assert send(client, CUSTOMERS, kind=kind).status_code == 404
    assert send(client, CUSTOMERS, time_zone="../../etc/passwd").status_code == 422
    assert send(client, CUSTOMERS, time_zone="Mars/Olympus").status_code == 422


def test_a_manager_uploads_looks_and_stores(desk: Desk, tmp_path: Path) -> None:
    client = desk.client("ling")
    file = "编号;姓名;手机;星座\nC1;李雷;13800138000;1\nC2;韩;;2\n".encode("gb18030")
    place = upload(client, file).headers["location"]
    shown = client.get(place).text
    assert "李雷" in shown and "星座" in shown and numbers(desk) == []
    assert next((tmp_path / "uploads").iterdir()).stat().st_mode & 0o077 == 0
    assert client.post(f"{place}/store").headers["location"] == place
    assert numbers(desk) == ["C1", "C2"] and not list((tmp_path / "uploads").iterdir())
    assert client.post(f"{place}/store").status_code == 409
    assert "store_import" in actions(desk) and "import_done" in actions(desk)


def test_the_same_file_brought_again_does_not_disturb_who_reads_it(desk: Desk, tmp_path: Path) -> None:
    boss = desk.client("ling")
    upload(boss, CUSTOMERS)
    with desk.store.write() as session:  # as an import that is under way
        session.get(Import, 1).state = "running"
    with (tmp_path / "uploads" / "1").open("rb") as reading:
        first = reading.read(10)
        assert upload(boss, CUSTOMERS).headers["location"].endswith("/1")
        assert first + reading.read() == CUSTOMERS.encode()
        assert not same_file(reading, tmp_path / "uploads" / "1")


def same_file(reading: Any, path: Path) -> bool:
    return os.fstat(reading.fileno()).st_ino == path.stat().st_ino


def test_a_file_with_errors_is_shown_with_them_and_not_stored(desk: Desk, tmp_path: Path) -> None:
    client = desk.client("ling")
    place = upload(client, f"number,name,phone\nC1,A,{EVIL}\n", name=f"{EVIL}.csv").headers["location"]
    shown = client.get(place).text
    assert EVIL not in shown and "第 2 行" in shown
    assert client.post(f"{place}/store").status_code == 409 and numbers(desk) == []
    assert upload(client, "", kind="customers").status_code == 422
    assert upload(client, CUSTOMERS, kind="agents").status_code == 422
    assert client.post("/manage/exchange", data={"kind": "customers"}).status_code == 422


def test_what_stands_in_a_file_is_only_text_on_the_page(desk: Desk) -> None:
    client = desk.client("ling")
    place = upload(client, f'number,name,"{EVIL}"\nC1,{EVIL},{EVIL}\n').headers["location"]
    shown = client.get(place).text
    assert EVIL not in shown and "&lt;script&gt;" in shown


def test_exports_are_for_managers_and_in_the_audit_log(desk: Desk) -> None:
    send(program(desk, token(desk)), CUSTOMERS)
    for login, status in (("wang", 403), ("zhang", 403), ("ling", 200), ("root", 200)):
        answer = desk.client(login).get("/manage/exchange/export/customers.csv")
        assert answer.status_code == status and ("13800138000" in answer.text) == (status == 200)
    with desk.store.read() as session:
        noted = session.execute(select(AuditEntry).where(AuditEntry.action == "export_data")).scalars().all()
        assert [entry.data["rows"] for entry in noted] == [2, 2] and all(entry.data["complete"] for entry in noted)
    assert desk.client("ling").get("/manage/exchange/export/agents.csv").status_code == 404


def test_only_an_admin_makes_and_ends_tokens_and_sees_one_once(desk: Desk) -> None:
    assert desk.client("ling").post("/manage/exchange/tokens", data={"name": "x", "scope": "read"}).status_code == 403
    admin = desk.client("root")
    made = admin.post("/manage/exchange/tokens", data={"name": EVIL, "scope": ["read", "write"]}).text
    text = made.partition('id="secret">')[2].partition("<")[0]
    assert text.startswith("wlx_") and EVIL not in made
    assert text not in admin.get("/manage/exchange/tokens").text
    assert program(desk, text).get("/api/exchange/customers").status_code == 200
    for body in ({"name": "", "scope": "read"}, {"name": "x"}, {"name": "x" * 81, "scope": "read"}):
        assert admin.post("/manage/exchange/tokens", data=body).status_code == 422
    assert admin.post("/manage/exchange/tokens/1/revoke").status_code == 303
    assert program(desk, text).get("/api/exchange/customers").status_code == 401
    assert text not in str([row for row in _everything(desk)])


def _everything(desk: Desk) -> list[Any]:
    with desk.store.read() as session:
        return [each.data for each in session.execute(select(AuditEntry)).scalars()] + [
            each.errors for each in session.execute(select(Import)).scalars()]

"""The privacy page: for admins, with a number typed twice, a copy to take along and the proof."""
from __future__ import annotations

import io
import json
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import select

from crm_store.models import AuditEntry, Customer, Erasure, Message
from crm_store.services.eraser import Eraser, erasure_key
from crm_store.services.erasure import ask_erasure, signature_of
from crm_store.services.privacy import set_consent
from tests.desk.conftest import Desk

KEY = erasure_key("secret")
PAGE = "/manage/privacy"


@pytest.fixture
def admins(lite: Desk, tmp_path: Path) -> Desk:
    """A desk that can erase."""
    lite.app.state.desk = replace(lite.app.state.desk, eraser=Eraser(lite.store, tmp_path / "data", KEY))
    return lite


def person(desk: Desk, name: str = "<b>欧阳若曦</b>") -> tuple[int, str]:
    customer = desk.customer(name, phone="13912345678")
    desk.says("visitor", "我的毛毯破了", customer_id=customer)
    with desk.store.read() as session:
        return customer, session.get(Customer, customer).number


def audited(desk: Desk, action: str) -> list[AuditEntry]:
    with desk.store.read() as session:
        return list(session.execute(select(AuditEntry).where(AuditEntry.action == action)).scalars())


@pytest.mark.parametrize("language", ["zh", "en"])
def test_the_page_says_who_it_is_escaped_and_the_look_is_written_down(admins: Desk, language: str) -> None:
    customer, number = person(admins)
    browser = admins.client("root")
    browser.post("/desk/language", data={"language": language})
    shown = browser.get(PAGE, params={"number": f" {number} "}).text
    assert "&lt;b&gt;欧阳若曦" in shown and "<b>欧阳若曦" not in shown
    assert [entry.object_id for entry in audited(admins, "look") if entry.object_kind == "customer"] == [str(customer)]
    for unknown in ("WLC99999", "\x00", "x" * 500, "' OR 1=1"):
        assert browser.get(PAGE, params={"number": unknown}).status_code == 200


def test_an_admin_takes_a_copy_along(admins: Desk) -> None:
    customer, number = person(admins)
    sent = admins.client("root").post(f"{PAGE}/copy", data={"number": number})
    with zipfile.ZipFile(io.BytesIO(sent.content)) as archive:
        assert json.loads(archive.read("data.json"))["customer"]["phone"] == "13912345678"
    assert [(entry.actor_kind, entry.object_id) for entry in audited(admins, "export")] == [("agent", str(customer))]


def test_the_number_of_a_merged_record_leads_to_the_person(admins: Desk) -> None:
    customer, number = person(admins)
    gone = admins.customer("第二份", phone="13700000001")
    with admins.store.write() as session:
        session.get(Customer, gone).merged_into_id = customer
        old = session.get(Customer, gone).number
    browser = admins.client("root")
    assert number in browser.get(PAGE, params={"number": old}).text
    sent = browser.post(f"{PAGE}/copy", data={"number": old})
    with zipfile.ZipFile(io.BytesIO(sent.content)) as archive:
        told = json.loads(archive.read("data.json"))
    assert told["customer"]["number"] == number
    assert [each["phone"] for each in told["merged_records"]] == ["13700000001"]


def test_erasing_takes_the_number_twice_and_gives_a_proof(admins: Desk) -> None:
    _, number = person(admins)
    browser = admins.client("root")
    for typed in ("", "WLC", number.lower()):
        assert browser.post(f"{PAGE}/erase", data={"number": number, "typed": typed}).status_code == 422
    assert browser.post(f"{PAGE}/erase", data={"number": "X1", "typed": "X1"}).status_code == 404
    assert browser.post(f"{PAGE}/erase", data={"number": number, "typed": number}).headers["location"] == (
        f"{PAGE}?done=erased")
    with admins.store.read() as session:
        assert session.execute(select(Message)).first() is None
        (erasure,) = session.execute(select(Erasure)).scalars()
    proof = browser.get(f"{PAGE}/{erasure.id}/report").json()
    assert proof["signature"] == signature_of(proof["report"], KEY) and number not in json.dumps(proof)
    assert browser.post(f"{PAGE}/erase", data={"number": number, "typed": number}).status_code == 404
    assert f"{PAGE}/{erasure.id}/report" in browser.get(PAGE).text


def test_an_erasure_is_called_off_once(admins: Desk) -> None:
    customer, number = person(admins)
    with admins.store.write() as session:
        asked = ask_erasure(session, customer, asked_by="customer", now=admins.clock()).id
    browser = admins.client("root")
    assert f'value="{asked}"' in browser.get(PAGE, params={"number": number}).text
    assert browser.post(f"{PAGE}/cancel", data={"erasure": asked}).status_code == 303
    assert browser.post(f"{PAGE}/cancel", data={"erasure": asked}).status_code == 409
    for forged in (0, -1, 2**63, 999):
        assert browser.post(f"{PAGE}/cancel", data={"erasure": forged}).status_code == 404
        assert browser.get(f"{PAGE}/{forged}/report").status_code == 404


def test_periods_are_saved_and_nonsense_is_refused(admins: Desk) -> None:
    browser = admins.client("root")
    assert browser.post(f"{PAGE}/periods", data={"guests": "90", "audit_log": ""}).status_code == 303
    assert 'value="90"' in browser.get(PAGE).text
    for nonsense in ("1", "-5", "9999999", "abc", "1e3", "٩٠"):
        assert browser.post(f"{PAGE}/periods", data={"guests": nonsense}).status_code == 422
    assert len(audited(admins, "set_period")) == 2


def test_the_pane_tells_what_was_decided_when_and_where(lite: Desk) -> None:
    customer = lite.customer("李雷")
    conversation = lite.escalated("visitor", customer_id=customer)
    before = lite.client("wang").get(f"/desk/parts/conversations/{conversation}").text
    with lite.store.write() as session:
        set_consent(session, customer, "marketing", True, "telegram", lite.clock())
        set_consent(session, customer, "marketing", False, "web", lite.clock())
    pane = lite.client("wang").get(f"/desk/parts/conversations/{conversation}").text
    assert pane.count("Telegram") == before.count("Telegram") + 1

"""Erasure and the copy of a person's data reach what other parts keep: merged records, imports, care, memory."""
from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import pytest

from crm_store.models import ChannelIdentity, Customer, Fact, Feedback, Message, PointsEntry, RowVersion
from crm_store.queries.exchange import exported
from crm_store.services.eraser import Eraser
from crm_store.services.erasure import ask_erasure
from crm_store.services.memory import keep_fact
from crm_store.services.merging import merge_customers
from crm_store.services.privacy import export_customer
from crm_store.services.traces import find_traces, needles
from tests.crm.conftest import HOUR, Desk
from tests.crm.exchange_shop import KEY, all_of, bringer, codes

NUMBER = "WLC424242"


@pytest.fixture
def eraser(desk: Desk, tmp_path: Path) -> Eraser:
    return Eraser(desk.store, tmp_path, KEY)


def erase(desk: Desk, eraser: Eraser, customer: int) -> Any:
    asked = desk.do(ask_erasure, customer, asked_by="agent", now=desk.now, due_at=desk.now)
    return eraser.erase(asked.id, desk.now)


def number(desk: Desk, customer: int) -> None:
    desk.do(lambda session: setattr(session.get(Customer, customer), "number", NUMBER))


def test_what_care_memory_and_blocks_know_of_a_customer_goes(desk: Desk, eraser: Eraser) -> None:
    customer, other = desk.customer("visitor"), desk.customer("second")
    desk.do(merge_customers, desk.agent("boss"), kept_id=customer, gone_id=other, now=desk.now)

    def more(session: Any) -> None:
        for each in (customer, other):
            record = session.get(Customer, each)
            record.birthday, record.tone = desk.now.date(), "brisk"
        identity = session.query(ChannelIdentity).first()
        identity.blocked_until, identity.slowed_at = desk.now + HOUR, desk.now

    desk.do(more)
    assert erase(desk, eraser, customer).state == "proven"
    for record in desk.all(Customer):
        assert (record.birthday, record.tone, record.merged_into_id) == (None, None, None) and record.erased_at
    assert {(each.blocked_until, each.slowed_at) for each in desk.all(ChannelIdentity)} == {(None, None)}


def test_imports_keep_no_number_of_whom_is_erased(desk: Desk, eraser: Eraser) -> None:
    customer, bring = desk.customer("visitor"), bringer(desk.store, desk.now)
    number(desk, customer)
    assert bring("customers", f"number,name,updated_at\n{NUMBER},Li Lei,2026-11-02\n").state == "done"
    points = f"key,customer_number,points\n2026-opening-{NUMBER},{NUMBER},500\n"
    for counts in ({"created": 1}, {"unchanged": 1}):
        assert bring("points", points).counts == counts
    assert f"2026-opening-{NUMBER}" in "".join(exported(desk.store, "points", "csv")), "under the shop's own key"
    done = erase(desk, eraser, customer)
    assert done.report["searched"]["found"] == {}
    assert desk.all(PointsEntry) and all_of(desk.store, RowVersion)
    guesses = [hashlib.sha256(f"{prefix}{NUMBER}".encode()).hexdigest() for prefix in ("", "version:")]
    assert desk.ask(find_traces, needles([NUMBER, *guesses])) == []


def test_an_order_that_names_nobody_brings_no_address_back(desk: Desk, eraser: Eraser) -> None:
    customer, bring = desk.customer("visitor"), bringer(desk.store, desk.now)
    number(desk, customer)
    bring("products", "sku,name_zh,name_en,price_yuan,category\nA,甲,A,1,x\n")
    head = "number,status,phone,address,total_yuan,placed_at,items"
    row = "O1,unpaid,13800138000,街 1 号,1,2026-11-01,A@1"
    assert bring("orders", f"{head},customer_number\n{row},{NUMBER}\n").state == "done"
    erase(desk, eraser, customer)
    for file in (f"{head}\n{row}\n", f"{head},customer_number\n{row},\n"):
        assert codes(bring("orders", file)) == [(2, "number", "erased")]
    assert desk.ask(find_traces, needles(["13800138000", "街 1 号"])) == []


def test_points_of_a_record_that_was_merged_are_known_again(desk: Desk) -> None:
    kept, gone, bring = desk.customer("visitor"), desk.customer("second"), bringer(desk.store, desk.now)
    number(desk, gone)
    file = f"key,customer_number,points\nopening-{NUMBER},{NUMBER},500\n"
    bring("points", file)
    desk.do(merge_customers, desk.agent("boss"), kept_id=kept, gone_id=gone, now=desk.now)
    assert bring("points", file).counts == {"unchanged": 1}


def test_a_copy_tells_of_merged_records_memory_and_answers(desk: Desk) -> None:
    customer, other = desk.customer("visitor", name="Li Lei"), desk.customer("second", name="李雷雷")
    talk = desk.write("我对花生过敏", sender="second").conversation.id
    message = desk.all(Message)[0].id
    desk.do(keep_fact, customer_id=other, kind="allergy", what="花生", message_id=message, now=desk.now)

    def more(session: Any) -> None:
        session.get(Customer, customer).birthday = desk.now.date()
        session.add(Feedback(customer_id=customer, conversation_id=talk, text="Mint, please", topic="products",
                             status="planned", answer="In spring", answered_at=desk.now, created_at=desk.now,
                             idempotency_key="f"))

    desk.do(more)
    desk.do(merge_customers, desk.agent("boss"), kept_id=customer, gone_id=other, now=desk.now)
    told = desk.do(export_customer, customer, desk.now)
    assert told["customer"]["birthday"] == desk.now.date().isoformat()
    assert [each["name"] for each in told["merged_records"]] == ["李雷雷"]
    assert told["feedback"][0]["answer"] == "In spring"
    assert [each["what"] for each in told["other"]["facts"]] == ["花生"] and len(told["other"]["merges"]) == 1
    assert len(desk.all(Fact)) == 1


def test_files_that_wait_to_be_stored_go_with_an_erasure_and_after_a_day(sqlite_desk: Desk, tmp_path: Path) -> None:
    desk, eraser = sqlite_desk, Eraser(sqlite_desk.store, tmp_path, KEY)
    (tmp_path / "exchange").mkdir()

    def upload(hours: int) -> Path:
        path = tmp_path / "exchange" / f"{hours}"
        path.write_text("number,name\n")
        os.utime(path, ((desk.now - hours * HOUR).timestamp(),) * 2)
        return path

    old, young = upload(25), upload(23)
    eraser.look(desk.now)
    assert not old.exists() and young.exists()
    assert erase(desk, eraser, desk.customer("visitor")).report["deleted_files"]["uploads"] == 1
    assert not young.exists()

"""Files of the shop as people and programs write them: what is read, what is refused and how that is said."""
from __future__ import annotations

import io
from datetime import date, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crm_store.database import Store
from crm_store.errors import CrmError
from crm_store.models import (
    Customer,
    Import,
    KnowledgeArticle,
    Order,
    OrderItem,
    PointsEntry,
    Product,
    Shipment,
)
from crm_store.queries.exchange import exported
from crm_store.rules.exchange_columns import KINDS, CellError, fen, moment
from crm_store.rules.exchange_files import ExchangeFile, FileError, Row
from crm_store.rules.exchange_words import ERRORS, about, say_error
from crm_store.rules.spreadsheets import defuse, is_formula, restore
from crm_store.services import exchange
from crm_store.services.exchange import store_import
from tests.crm.exchange_shop import KEY, ORDER, ZONE, Bring, all_of, bringer, codes, open_shop, order


@pytest.fixture
def shop(sqlite_store: Store, now: datetime) -> Store:
    return open_shop(sqlite_store, now)


@pytest.fixture
def bring(shop: Store, now: datetime) -> Bring:
    return bringer(shop, now)


def test_ten_thousand_wrong_rows_are_counted_and_the_first_are_told(shop: Store, bring: Bring) -> None:
    report = bring("customers", "number,name,phone\n" + "".join(f"C{n},x,nope\n" for n in range(10_000)), dry=True)
    assert report.counts == {"wrong": 10_000} and report.errors_total == 10_000
    assert len(report.errors) == exchange.ERRORS_KEPT and report.errors[0].line == 2


@pytest.mark.parametrize(("encoding", "delimiter"), [
    ("utf-8", ","), ("utf-8-sig", ";"), ("gb18030", "\t"), ("utf-16", ","), ("gb18030", ",")])
def test_files_are_read_as_spreadsheets_write_them(bring: Bring, shop: Store, encoding: str, delimiter: str) -> None:
    rows = [["客户编号", "姓名", "地址"], ["C9", "李雷𠮷", '"一号\n""二""楼"']]
    text = "\r\n".join(delimiter.join(row) for row in rows)
    assert bring("customers", text.encode(encoding)).counts == {"created": 1}
    assert all_of(shop, Customer)[-1].address == '一号\n"二"楼' and all_of(shop, Customer)[-1].name == "李雷𠮷"


@pytest.mark.parametrize(("body", "code"), [
    (b"", "empty"), (b"\n\n", "empty"), (b"PK\x03\x04", "archive"), (b"\x1f\x8b\x08", "archive"),
    (b"number,name\xff\n", "encoding"), (b"number,number,name\n", "heading_twice"), (b"name\nA\n", "heading_missing"),
    (b"number,name\nC9,\"A\n", "quote"), (b"number,name\nC9," + b"x" * 200_000 + b"\n", "cell_too_long"),
    (b"number,name\nC9," + b"x" * 2_000_000, "line_too_long"),
    (b"number," + b"x," * 100_000 + b"\n", "too_many_columns"),
    (b"a,b\n1,2\n", "heading_missing")])
def test_files_that_cannot_be_read_say_why_and_store_nothing(shop: Store, bring: Bring, body: bytes, code: str) -> None:
    with pytest.raises(FileError) as refused:
        bring("customers", body)
    assert refused.value.code == code and not all_of(shop, Import)
    assert all(say_error(refused.value, language) for language in ("zh", "en"))


@pytest.mark.parametrize(("row", "column", "code"), [
    ("C9,A\x00B,", "name", "control"), ("C9,A", None, "width"), ("C9,A,,", None, "width"),
    (",A,", "number", "required"),
    ("C 9,A,", "number", "number"), (f"{'C' * 21},A,", "number", "too_long"), (f"C9,{'x' * 121},", "name", "too_long"),
    ("C9,\u200b,", "name", "required"), ("C9,A,123", "phone", "phone"), ("C9,A,0x1234567", "phone", "phone")])
def test_a_cell_that_cannot_be_is_named(bring: Bring, row: str, column: str | None, code: str) -> None:
    assert codes(bring("customers", f"number,name,phone\n{row}\n")) == [(2, column, code)]


@pytest.mark.parametrize("line", [
    "[]", "{", "1", '{"number": "C9", "name": NaN}', '{"number": "C9", "name": {"a": 1}}', "{" * 100_000,
    '{"number": "C9", "name": ["x"]}', '{"number": 1e5, "name": "x"}', '{"number": ' + "9" * 5000 + "}",
    '{"name": "x"}', '{"number": null, "name": "x"}'])
def test_json_that_cannot_be_is_named(bring: Bring, line: str) -> None:
    report = bring("customers", '{"number": "C8", "name": "x"}\n' + line + "\n", dry=True)
    assert report.counts == {"created": 1, "wrong": 1} and {error.line for error in report.errors} == {2}


def test_json_keeps_what_it_leaves_out_and_empties_what_is_null(shop: Store, bring: Bring) -> None:
    bring("customers", '{"number": "C1", "city": "武汉", "email": "a@example.com", "odd\\ud800": 1}')
    report = bring("customers", '{"number": "C1", "city": null, "name": "\\ud800雷"}')
    ours = all_of(shop, Customer)[0]
    assert report.counts == {"updated": 1} and (ours.city, ours.email, ours.name) == (None, "a@example.com", "雷")


def test_the_same_one_twice_and_what_belongs_to_another_is_refused(bring: Bring) -> None:
    bring("customers", "number,phone\nC1,13800138000\n")
    report = bring("customers", "number,phone\nC2,13800138000\nC3,13900139000\nC4,13900139000\nC3,13700137000\n")
    assert codes(report) == [(2, "phone", "taken"), (4, "phone", "twice_in_file"), (5, None, "same_key")]


@pytest.mark.parametrize(("text", "amount"), [
    ("39.9", 3990), ("¥1,234.50", 123450), ("０.１", 10), ("12元", 1200), ("0.10", 10), ("100.5000", 10050)])
def test_money_is_exact(text: str, amount: int) -> None:
    assert fen(text, ZONE) == amount


@pytest.mark.parametrize("text", ["-1", "1.005", "1e3", "1,23", "nan", "39.9.1", "9" * 13, "99999999999", "٣"])
def test_what_is_no_amount_is_refused(text: str) -> None:
    if text == "٣":  # an Arabic digit is a digit to Python, not to a shop's file
        assert not text.isascii()
    with pytest.raises(CellError):
        fen(text, ZONE)


@pytest.mark.parametrize("text", [
    "2026-11-26T21:13:00+08:00", "2026-11-26T13:13:00Z", "2026-11-26 21:13", "2026/11/26 21:13:00", "2026.11.26 21:13",
    "2026年11月26日 21:13", "2026年11月26日 21时13分", "２０２６-11-26 21:13", "2026-11-26 13:13+0000"])
def test_times_are_read_in_several_forms_in_the_zone_that_was_named(text: str) -> None:
    assert moment(text, ZONE).isoformat() == "2026-11-26T13:13:00+00:00"


@pytest.mark.parametrize("text", ["26.11.2026", "2026-13-01", "2026-02-30", "45987", "0001-01-01", "2026-11-26 25:00",
                                  "2026-11-26T21:13:00+99:00", "9999-12-31T23:59:59-12:00"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(CellError):
        moment(text, ZONE)


@pytest.mark.parametrize("text", ["1990-05-20", "1990/5/20", "1990年5月20日", "1990-05-20 00:00:00", "１９９０.5.20"])
def test_birthdays_come_in_as_days(shop: Store, bring: Bring, text: str) -> None:
    assert bring("customers", f"number,生日\nC1,{text}\n").counts == {"updated": 1}
    assert all_of(shop, Customer)[0].birthday == date(1990, 5, 20)
    assert bring("customers", f"number,birthday\nC1,{text}\n").counts == {"unchanged": 1}
    for wrong in ("1990-02-30", "20.5.1990", "1890-01-01", "33013", "1990-05-20 12:00"):
        assert codes(bring("customers", f"number,birthday\nC1,{wrong}\n")) == [(2, "birthday", "day")]


@pytest.mark.parametrize(("row", "column", "code"), [
    (order("O1", done=""), "completed_at", "needs"), (order("O1", status="已完成", done=""), "completed_at", "needs"),
    (order("O1", status="lost"), "status", "choice"), (order("O1").replace("A*1", "B*1"), "items", "unknown_sku"),
    (order("O1").replace("A*1@", "A*0@"), "items", "items"), (order("O1").replace("A*1@", "A"), "items", "items"),
    (order("O1", parcel="Z1|Z2"), "carrier_zh", "parcels")])
def test_an_order_that_cannot_be_is_refused(bring: Bring, row: str, column: str, code: str) -> None:
    assert codes(bring("orders", ORDER + row)) == [(2, column, code)]


def test_no_key_of_a_file_poses_as_an_order_or_a_redemption(shop: Store, bring: Bring) -> None:
    bring("points", "key,customer_number,points\nearn:order:1,C1,5\n")
    assert all_of(shop, PointsEntry)[0].idempotency_key == "import:points:earn:order:1"


def test_articles_come_in_with_their_questions(shop: Store, bring: Bring) -> None:
    file = ("slug,intent,title_zh,title_en,body_zh,body_en,questions_zh\n"
            "a-b,greet,甲,A,你好啊朋友。,Hello my friend.,\"问一\n问二\"\n")
    assert bring("articles", file).counts == {"created": 1} and bring("articles", file).counts == {"unchanged": 1}
    assert codes(bring("articles", "slug,intent\nA B,greet\nx,nope\n")) == [
        (2, "slug", "slug"), (3, "intent", "intent")]
    assert all_of(shop, KnowledgeArticle)[0].published


@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_what_goes_out_comes_in_and_changes_nothing(shop: Store, bring: Bring, form: str) -> None:
    bring("customers", "number,name,birthday,address\nC9,=1+1,1990-05-20,\"'=2\n|x\"\nC8,@x,,'plain\n")
    bring("orders", ORDER + order("O1", parcel="Z1") + order("O2", customer="", status="paid", done=""))
    bring("points", "key,customer_number,points\nk1,C1,5\nk2,C1,-2\n")
    bring("articles", "slug,intent,title_zh,title_en,body_zh,body_en,questions_en\na,greet,甲,A,-甲乙丙丁,+Abcd,-q\n")
    before = {model: [tuple(row.__dict__[c.name] for c in model.__table__.columns) for row in all_of(shop, model)]
              for model in (Customer, Product, Order, OrderItem, Shipment, PointsEntry, KnowledgeArticle)}
    for kind in KINDS:
        text = "".join(exported(shop, kind, form))
        report = bring(kind, text)
        assert report.state == "done" and set(report.counts) == {"unchanged"} and not report.ignored, (kind, report)
        assert form == "jsonl" or not any(is_formula(cell) for line in text.splitlines()[1:] for cell in line.split(",")
                                          if cell and not cell.lstrip("-").isdigit())
    assert before == {model: [tuple(row.__dict__[c.name] for c in model.__table__.columns)
                              for row in all_of(shop, model)] for model in before}


@given(st.text(alphabet="'=+-@ \t＝x|", max_size=6))
@settings(max_examples=200)
def test_defusing_is_undone_and_leaves_no_formula(text: str) -> None:
    assert restore(defuse(text)) == text
    assert not is_formula(defuse(text))


@given(st.binary(max_size=200) | st.text(max_size=200).map(
    lambda text: b"number,name\n" + text.encode("utf8", "replace")))
@settings(max_examples=100)
def test_no_file_breaks_the_reading(body: bytes) -> None:
    try:
        rows = list(ExchangeFile(io.BytesIO(body), "customers"))
    except FileError as error:
        assert error.code in ERRORS
    else:
        assert all(isinstance(row, Row) or all(each.code in ERRORS for each in row) for row in rows)


def test_every_column_is_explained_in_both_languages() -> None:
    assert all(about(kind, column.name, language) for kind, columns in KINDS.items() for column in columns
               for language in ("zh", "en"))


def test_an_import_that_is_over_is_not_stored_again(shop: Store, bring: Bring, now: datetime) -> None:
    report = bring("customers", "number,name\nC9,A\n")
    with pytest.raises(CrmError):
        store_import(shop, io.BytesIO(b"number,name\nC9,A\n"), report.import_id or 0, KEY, lambda: now)

"""Orders: their numbers however they are typed, the latest ones, and one for a guest who knows the phone's digits."""
from __future__ import annotations

import re
import time
from datetime import date, timedelta

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from crm_store.models import Order, OrderItem, Product, Shipment
from crm_store.queries.orders import normalise_order_number, order_for, orders_of
from tests.crm.conftest import Desk
from tests.crm.loyalty import Loyalty


@pytest.fixture
def loyalty(desk: Desk) -> Loyalty:
    return Loyalty(desk)


@pytest.mark.parametrize("typed", [
    "WL20261018004", "20261018004", "WL-20261018-004", "wl 2026 1018 004", "wl20261018 004", "  wl:20261018004\n",
    "ＷＬ２０２６１０１８００４", "２０２６１０１８００４", "我的订单WL20261018004到哪了", "订单号：20261018004，谢谢",
    "where is WL-2026-10-18-004?",
    "W L 2026 10 18 004", "WL_20261018_004", "#WL20261018004#", "wl\u200b2026\u200b1018\u200b004", "Wl20261018－004",
    "（20261018004）", "电话13800138000 单号20261018004", "WL20261338004 不对，是 WL20261018004", "20261018-004",
    "WL—20261018—004",
])
def test_a_number_is_understood_however_it_is_typed(typed: str) -> None:
    assert normalise_order_number(typed) == "WL20261018004"


@pytest.mark.parametrize("typed", [
    "", " ", "hello", "WL", "WL2026", "2026101800", "202610180045", "13800138000", "WL20261318004", "WL20260230001",
    "310101202610180041", "C1023", "a20261018004", "XWL20261018004", "2026-10-18 300块", "SF20261018004123",
    "WL２０２６",
    "WL19991018004", "2026年10月18日买的，花了400", "'; DROP TABLE orders; --", "\x00\x00", "WL2026101800Ⅳ", "²⁰²⁶",
    "WL20261018\ud800004",
])
def test_other_text_is_no_order_number(typed: str) -> None:
    assert normalise_order_number(typed) is None


@given(st.one_of(st.text(), st.none(), st.text(alphabet="WLwl20261018 -０１２٣۴\u200b\ud800﷽", max_size=60)))
@example("﷽" * 5000)
@example("WL2026" * 2000)
def test_whatever_is_sent_it_never_raises_and_gives_a_well_formed_number_or_none(text: str | None) -> None:
    number = normalise_order_number(text)
    assert number is None or re.fullmatch(r"WL20\d{9}", number, re.ASCII)


@given(st.dates(min_value=date(2000, 1, 1), max_value=date(2099, 12, 31)), st.integers(0, 999))
def test_every_number_the_shop_gives_is_read_back(day: date, count: int) -> None:
    number = f"WL{day:%Y%m%d}{count:03}"
    for typed in (number, number[2:], number.lower(), f"{number[:10]}-{number[10:]}", f"单号{number}。"):
        assert normalise_order_number(typed) == number


def test_reading_long_hostile_text_takes_no_time() -> None:
    started = time.process_time()
    for text in ("WL" * 200_000, "20" * 200_000, "W L" + " " * 200_000, "2026-" * 100_000, "WL 2026 10 18 " * 50_000):
        normalise_order_number(text)
    assert time.process_time() - started < 2


def test_a_customers_latest_orders_come_first_with_items_and_parcels(loyalty: Loyalty) -> None:
    customer, now = loyalty.customer(), loyalty.now
    made = [loyalty.order(customer, at=now - timedelta(days=days)) for days in (9, 1, 5)]
    loyalty.order(loyalty.customer(), at=now)
    with loyalty.store.write() as session:
        product = Product(sku="S", name_zh="毯子", name_en="Blanket", price_fen=100, category="-")
        session.add(product)
        session.flush()
        session.add(OrderItem(order_id=made[1], product_id=product.id, quantity=2, price_fen=100))
        session.add(Shipment(order_id=made[1], carrier_zh="中通", carrier_en="ZTO", tracking_number="Z1",
                             shipped_at=now))
    orders = loyalty.ask(orders_of, customer, limit=2)
    assert [order.id for order in orders] == [made[1], made[2]]
    assert orders[0].items[0].product.name_en == "Blanket", "readable after the session has ended"
    assert [parcel.tracking_number for parcel in orders[0].shipments] == ["Z1"]


def test_a_customer_finds_their_own_order_and_nobody_elses(loyalty: Loyalty) -> None:
    one, other = loyalty.customer(), loyalty.customer()
    loyalty.order(one)
    (order,) = loyalty.all(Order)
    assert loyalty.ask(order_for, number=f"单号 {order.number}", customer_id=one).id == order.id
    assert loyalty.ask(order_for, number=order.number, customer_id=other) is None
    assert loyalty.ask(order_for, number=order.number) is None


@pytest.mark.parametrize(("tail", "found"), [
    ("8000", True), ("８０００", True), (" 80 00 ", True), ("8001", False), ("000", False), ("13800138000", False),
    ("", False), ("%", False), ("____", False), ("8000' OR 1=1", False), ("²⁰²⁶", False),
])
def test_a_guest_needs_the_phones_last_four_digits(loyalty: Loyalty, tail: str, found: bool) -> None:
    loyalty.order(loyalty.customer())
    (order,) = loyalty.all(Order)
    assert (loyalty.ask(order_for, number=order.number, phone_tail=tail) is not None) is found
    assert loyalty.ask(order_for, number="WL20200101001", phone_tail=tail) is None


def test_a_customer_may_ask_for_another_order_with_its_digits_like_any_guest(loyalty: Loyalty) -> None:
    loyalty.order(None)
    (order,) = loyalty.all(Order)
    asked = loyalty.ask(order_for, number=order.number, customer_id=loyalty.customer(), phone_tail="8000")
    assert asked is not None and asked.customer_id is None

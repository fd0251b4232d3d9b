"""What the finder finds in a message, in both languages, and that nothing it is sent confuses its offsets."""
from __future__ import annotations

import time
from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.nlu import finder as finder_module
from bot.nlu.finder import MOST_FOUND, PRIORITY, EntityFinder, Product, read_products
from bot.nlu.numerals import parse_number

TODAY = date(2026, 11, 18)  # a Wednesday
FINDER = EntityFinder([
    Product("KE-1", ("电热水壶", "水壶", "kettle", "electric kettle")),
    Product("KE-2", ("玻璃养生壶", "glass kettle")),
    Product("BL-1", ("羊毛毯", "毯子", "wool blanket", "blanket")),
    Product("MU-1", ("马克杯", "mug")),
    Product("BR-1", ("toothbrush",)),
    Product("BE-1", ("pastry tray", "berry")),
])


def found(text: str) -> list[tuple[str, str, object]]:
    return [(entity.entity, entity.text, entity.value) for entity in FINDER.find(text, TODAY)]


@pytest.mark.parametrize(("text", "entity", "typed", "value"), [
    ("WL20261018004", "order_number", "WL20261018004", "WL20261018004"),
    ("我的订单wl20261018004到哪了", "order_number", "wl20261018004", "WL20261018004"),
    ("20261018004这单走到哪儿了", "order_number", "20261018004", "WL20261018004"),
    ("when is 20261018004 coming", "order_number", "20261018004", "WL20261018004"),
    ("wl-20261018-004", "order_number", "wl-20261018-004", "WL20261018004"),
    ("WL 2026 1018 004", "order_number", "WL 2026 1018 004", "WL20261018004"),
    ("ＷＬ２０２６１０１８００４", "order_number", "ＷＬ２０２６１０１８００４", "WL20261018004"),
    ("單號２０２６１０１８００４", "order_number", "２０２６１０１８００４", "WL20261018004"),
    ("C1024到哪步了", "complaint_number", "C1024", "C1024"),
    ("case c1300 please", "complaint_number", "c1300", "C1300"),
    ("投诉编号是3307", "complaint_number", "3307", "C3307"),
    ("my complaint number is 1024", "complaint_number", "1024", "C1024"),
    ("13800138000", "phone", "13800138000", "13800138000"),
    ("電話138-0013-8000", "phone", "138-0013-8000", "13800138000"),
    ("call +86 138 0013 8000", "phone", "+86 138 0013 8000", "13800138000"),
    ("8613800138000", "phone", "8613800138000", "13800138000"),
    ("手機 0912345678", "phone", "0912345678", "0912345678"),
    ("尾号1234", "phone_tail", "1234", "1234"),
    ("手机后四位是５５２１", "phone_tail", "５５２１", "5521"),
    ("last four digits are 9087", "phone_tail", "9087", "9087"),
    ("it ends in 4412", "phone_tail", "4412", "4412"),
    ("发我邮箱 Lihua.88@Example.com 谢谢", "email", "Lihua.88@Example.com", "lihua.88@example.com"),
    ("SF1390022718845 这个件", "tracking_number", "SF1390022718845", "SF1390022718845"),
    ("tracking jt 5012345678901", "tracking_number", "jt 5012345678901", "JT5012345678901"),
    ("773012345678901查不到", "tracking_number", "773012345678901", "773012345678901"),
    ("两个水壶", "product", "水壶", "KE-1"),
    ("玻璃养生壶呢", "product", "玻璃养生壶", "KE-2"),
    ("Electric  Kettles", "product", "Kettles", "KE-1"),
    ("the electric kettles leak", "product", "electric kettles", "KE-1"),
    ("glass kettle", "product", "glass kettle", "KE-2"),
    ("WOOL BLANKET", "product", "WOOL BLANKET", "BL-1"),
    ("這個mug有沒有蓋", "product", "mug", "MU-1"),
    ("two toothbrushes", "product", "toothbrushes", None),
    ("berries", "product", "berries", "BE-1"),
    ("¥699", "amount", "¥699", 699.0),
    ("￥1,299.00", "amount", "￥1,299.00", 1299.0),
    ("1,299.00", "amount", "1,299.00", 1299.0),
    ("赔我两百块", "amount", "两百块", 200.0),
    ("好的，三百块", "amount", "三百块", 300.0),
    ("RMB 450 和运费", "amount", "RMB 450", 450.0),
    ("总共五百九，没错吧", "amount", "五百九", 590.0),
    ("花了1200，还没到", "amount", "1200", 1200.0),
    ("好，300分", "points", "300分", 300),
    ("五百點換什麼", "points", "五百點", 500),
    ("积分还有3400", "points", "3400", 3400),
    ("SF 1415 9265 3589 7", "tracking_number", "SF 1415 9265 3589 7", "SF1415926535897"),
    ("兩百五十元", "amount", "兩百五十元", 250.0),
    ("3千元", "amount", "3千元", 3000.0),
    ("1.2万元", "amount", "1.2万元", 12000.0),
    ("8块5", "amount", "8块5", 8.5),
    ("五百多块", "amount", "五百多块", 500.0),
    ("500 yuan", "amount", "500 yuan", 500.0),
    ("500rmb", "amount", "500rmb", 500.0),
    ("$20", "amount", "$20", 20.0),
    ("two hundred and fifty bucks", "amount", "two hundred and fifty bucks", 250.0),
    ("损失了800", "amount", "800", 800.0),
    ("500积分", "points", "500积分", 500),
    ("一千分", "points", "一千分", 1000),
    ("2千積分", "points", "2千積分", 2000),
    ("1,000 points", "points", "1,000 points", 1000),
    ("five hundred points", "points", "five hundred points", 500),
    ("200 pts", "points", "200 pts", 200),
    ("swap 5k points for something", "points", "5k points", 5000),
    ("use 300 of my points", "points", "300 of my points", 300),
    ("250 membership points vanished", "points", "250 membership points", 250),
    ("my points: 420, why", "points", "420", 420),
    ("my points balance is only 1,250", "points", "1,250", 1250),
    ("I was charged 199 plus shipping", "amount", "199", 199.0),
    ("it cost me about 45.5", "amount", "45.5", 45.5),
    ("you still owe me 320", "amount", "320", 320.0),
    ("上周三买的", "date", "上周三", "2026-11-11"),
    ("上禮拜三買的", "date", "上禮拜三", "2026-11-11"),
    ("周三下的单", "date", "周三", "2026-11-18"),
    ("周五之前能到吗", "date", "周五", "2026-11-20"),
    ("周二再送吧", "date", "周二", "2026-11-24"),
    ("周二送来的", "date", "周二", "2026-11-17"),
    ("下周一", "date", "下周一", "2026-11-23"),
    ("昨天", "date", "昨天", "2026-11-17"),
    ("大前天", "date", "大前天", "2026-11-15"),
    ("10月18号", "date", "10月18号", "2026-10-18"),
    ("十月十八日", "date", "十月十八日", "2026-10-18"),
    ("1月5号", "date", "1月5号", "2027-01-05"),
    ("2月5号", "date", "2月5号", "2026-02-05"),
    ("去年12月1日", "date", "去年12月1日", "2025-12-01"),
    ("上个月15号", "date", "上个月15号", "2026-10-15"),
    ("三天前", "date", "三天前", "2026-11-15"),
    ("两个月前", "date", "两个月前", "2026-09-18"),
    ("2026-10-18", "date", "2026-10-18", "2026-10-18"),
    ("2026年10月18日", "date", "2026年10月18日", "2026-10-18"),
    ("last Wednesday", "date", "last Wednesday", "2026-11-11"),
    ("by friday", "date", "friday", "2026-11-20"),
    ("since monday", "date", "monday", "2026-11-16"),
    ("Oct 18", "date", "Oct 18", "2026-10-18"),
    ("18th of October 2025", "date", "18th of October 2025", "2025-10-18"),
    ("yesterday", "date", "yesterday", "2026-11-17"),
    ("the day before yesterday", "date", "the day before yesterday", "2026-11-16"),
    ("3 days ago", "date", "3 days ago", "2026-11-15"),
    ("two weeks ago", "date", "two weeks ago", "2026-11-04"),
    ("31/10/2026", "date", "31/10/2026", "2026-10-31"),
])
def test_one_detail(text: str, entity: str, typed: str, value: object) -> None:
    assert found(text) == [(entity, typed, "BR-1" if value is None else value)]


@pytest.mark.parametrize("text", [
    "20261399004",  # the thirteenth month
    "20260230001",  # 30 February
    "WL2026101800",
    "身份证110101199003071234",
    "银行卡6222021234567890123",
    "23800138000",
    "订单尾号5521",
    "一块儿走",
    "凑一块用",
    "2单元",
    "元旦",
    "十分感谢",
    "8点30分",
    "三分之一",
    "10分钟",
    "打5分",
    "1.8米的床",
    "五号",
    "2号楼",
    "2月30号",
    "每周三",
    "目前天气",
    "24/7",
    "8/10",
    "smuggle",
    "muggy",
    "a@b",
    "in may",
    "C919x",
])
def test_no_detail(text: str) -> None:
    assert found(text) == []


def test_twelve_digits_are_a_parcel_even_where_eleven_of_them_look_like_something_else() -> None:
    assert found("120261018004") == [("tracking_number", "120261018004", "120261018004")]
    assert found("138001380001") == [("tracking_number", "138001380001", "138001380001")]


def test_several_details_come_in_order_and_the_sharper_one_wins_an_overlap() -> None:
    assert found("上周三买的毯子WL20261018004花了两百块，电话13800138000") == [
        ("date", "上周三", "2026-11-11"), ("product", "毯子", "BL-1"),
        ("order_number", "WL20261018004", "WL20261018004"), ("amount", "两百块", 200.0),
        ("phone", "13800138000", "13800138000")]
    assert found("20261018 100元") == [("date", "20261018", "2026-10-18"), ("amount", "100元", 100.0)]
    assert found("it cost 20 points") == [("points", "20 points", 20)]
    assert found("I paid 12 times") == found("a refund 50% off") == found("lost 24 towels") == []
    assert found("100积分值多少元") == [("points", "100积分", 100)]


def test_a_day_without_a_reference_keeps_its_words() -> None:
    (day,) = FINDER.find("上週三買的")
    assert (day.entity, day.value, day.text) == ("date", "上週三", "上週三")


PIECES = st.sampled_from([
    "WL", "2026", "1018", "004", "13800138000", "C", "12", " ", "-", "元", "块", "两百", "积分", "分", "¥", "上周",
    "三", "10月", "18号", "kettle", "水壶", "last ", "friday", "@a.com", "尾号", "\ud83d", "😀", "１２", "1,299.00",
    "k", "points", "\u200d", "İ", "ß", "ﬁ", "訂單", "\n", "ago", " days "])

@settings(deadline=None)
@given(st.one_of(st.text(st.characters(blacklist_categories=()), max_size=60),
                 st.lists(PIECES, max_size=14).map("".join)))
def test_entities_lie_inside_the_text_in_order_and_never_overlap(text: str) -> None:
    end = 0
    for entity in FINDER.find(text, TODAY):
        assert end <= entity.start < entity.end <= len(text)
        assert entity.text == text[entity.start:entity.end]
        assert entity.entity in PRIORITY
        end = entity.end


FLOODS = ["1", "一百", "1 ", "a@b.", "-", "1,", "\ud800", "a-", "损失", "last ", "one hundred ", "😡", "请問我的訂單",
          "WL2026", "我的订单WL20261018004到哪了，花了两百块 "]
LETTER = "您好，我上周买了一个电热水壶，订单WL20261018004。 I paid 200 yuan on Monday, call me on 13800138000. "


@pytest.mark.parametrize("flood", FLOODS)
def test_a_flood_is_searched_nearly_as_fast_as_a_letter_of_its_length(flood: str) -> None:
    text, letter = ((piece * 4000)[:4000] for piece in (flood, LETTER))
    FINDER.find(text[:100])
    took = [(_seconds(text), _seconds(letter)) for _ in range(3)]
    times = min(flooded for flooded, _ in took) / min(ordinary for _, ordinary in took)
    assert times < 4, f"{times:.1f} times as long"


def _seconds(text: str) -> float:
    started = time.process_time()
    FINDER.find(text, TODAY)
    return time.process_time() - started


def test_a_flood_costs_no_more_than_the_longest_message() -> None:
    text = "订单WL20261018004。" * 8_000
    assert len(text) > 100_000
    entities = FINDER.find(text, TODAY)
    assert {entity.value for entity in entities} == {"WL20261018004"}
    assert MOST_FOUND < len(entities) <= 2 * MOST_FOUND
    assert entities == sorted(entities, key=lambda entity: entity.start)


def test_details_at_both_ends_of_a_long_message_are_found() -> None:
    text = "订单WL20261018004。" + "说来话长" * 20_000 + "电话13800138000"
    first, last = FINDER.find(text)
    assert (first.value, last.value) == ("WL20261018004", "13800138000")
    assert text[last.start:last.end] == last.text == "13800138000"


def test_what_customers_wrote_is_not_kept_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    finder = EntityFinder(FINDER.products)
    monkeypatch.setattr(finder_module, "_WORDS_KEPT", len(finder._pipeline.vocab.strings) + 20)
    for number in range(100):
        assert finder.find(f"C{number + 1000} kettle")[0].value == f"C{number + 1000}"
    assert len(finder._pipeline.vocab.strings) < len(EntityFinder(FINDER.products)._pipeline.vocab.strings) + 40


def test_the_products_of_the_demo_shop_are_read_and_found() -> None:
    path = Path(__file__).parents[2] / "data/demo/products.json"
    finder = EntityFinder(read_products(path))
    assert len(finder.products) == len({product.sku for product in finder.products}) >= 30
    for product in finder.products:
        for name in product.names:
            whole = [entity for entity in finder.find(name) if (entity.start, entity.end) == (0, len(name))]
            assert [entity.entity for entity in whole] == ["product"], name


@pytest.mark.parametrize(("text", "value"), [
    ("0", 0), ("12", 12), ("1,299.50", "1299.50"), ("十", 10), ("十八", 18), ("二十", 20), ("两百", 200),
    ("两百五", 250), ("一百零五", 105), ("三千五", 3500), ("一千零五十", 1050), ("一万两千", 12000), ("一万二", 12000),
    ("二零二六", 2026), ("俩", 2), ("3千", 3000), ("3千五", 3500), ("1.2万", 12000), ("five hundred", 500),
    ("a thousand", 1000), ("twenty-five", 25), ("two thousand three hundred and one", 2301), ("", None), ("万", None),
    ("一一百", None), ("many", None), ("1五", None),
])
def test_numbers(text: str, value: object) -> None:
    assert parse_number(text) == (None if value is None else Decimal(str(value)))


@given(st.integers(1, 99_999))
def test_a_number_written_in_chinese_is_read_back(number: int) -> None:
    assert parse_number(_in_chinese(number)) == number


def _in_chinese(number: int) -> str:
    digits, units = "零一二三四五六七八九", ["", "十", "百", "千", "万"]
    written, zero = "", False
    for power in range(4, -1, -1):
        digit = number // 10 ** power % 10
        if digit:
            written += ("零" if zero and written else "") + digits[digit] + units[power]
        zero = not digit
    return written


@settings(deadline=None)
@given(st.text("零一二两三四五六七八九十百千万0123456789.,kw ", max_size=14))
def test_anything_that_looks_like_a_number_is_one_or_is_not(text: str) -> None:
    value = parse_number(text)
    assert value is None or value >= 0

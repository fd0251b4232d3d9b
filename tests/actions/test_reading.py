"""Reading short answers: what people really type, in both languages."""
from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actions.reading import (
    asks_something,
    code_in,
    day_in,
    email_in,
    likeness,
    means_latest,
    named_in,
    phone_in,
    phone_tail_in,
    position_in,
    says_never_mind,
    says_no,
    says_skip,
    says_yes,
    wants_other_one,
    wants_resend,
)


@pytest.mark.parametrize("text", ["算了", "算了吧。", "还是算了", "不用了", "先不办了", "不退了", "取消操作", "停",
    "never mind",
                                  "Nevermind!", "forget it", "cancel this", "stop", "please stop", "leave it",
    "不想填了"])
def test_calling_it_off(text: str) -> None:
    assert says_never_mind(text)


@pytest.mark.parametrize("text", ["取消订单", "不对，是另一个订单",
    "上周三下的那单到现在没发，我不想要了，给我退款算了吧真的受不了你们",
                                  "is there a stop at the door", "好的", "cancel my order WL20261018004 please now"])
def test_not_calling_it_off(text: str) -> None:
    assert not says_never_mind(text)


@pytest.mark.parametrize("text", ["不对，是另一个订单", "另一笔", "换一个", "不是这个", "说错了",
    "no, the other order", "not that one",
                                  "another one", "wrong order"])
def test_the_other_one(text: str) -> None:
    assert wants_other_one(text)


@pytest.mark.parametrize("text", ["是", "是的", "好的", "好呀", "嗯嗯", "确认", "ok", "Yes please", "yep", "sure!",
    "对，就是这个"])
def test_yes(text: str) -> None:
    assert says_yes(text) and not says_no(text)


@pytest.mark.parametrize("text", ["不", "不是", "不要了", "不用", "没有", "no", "Nope", "no thanks",
    "no, thank you", "don't"])
def test_no(text: str) -> None:
    assert says_no(text) and not says_yes(text)


@pytest.mark.parametrize("text", ["跳过", "没有订单", "跟订单没关系", "skip", "not about an order",
    "rather not say", "没什么原因"])
def test_skip(text: str) -> None:
    assert says_skip(text)


@pytest.mark.parametrize(("text", "position"), [
    ("第二个", 1), ("第2笔", 1), ("2", 1), ("２", 1), ("选三", 2), ("the second one", 1), ("3rd please", 2),
    ("第一个", 0),
    ("one", 0), ("第九个", None), ("0", None), ("20", None), ("两百块", None), ("两个包裹只到了一个", None), ("",
    None),
])
def test_a_place_in_a_list(text: str, position: int | None) -> None:
    assert position_in(text, 4) == position


@pytest.mark.parametrize(("text", "phone"), [
    ("13800138000", "13800138000"), ("手机 138 0013 8000", "13800138000"), ("+86-13800138000", "13800138000"),
    ("１３８００１３８０００", "13800138000"), ("+44 7700 900123", "+447700900123"), ("WL20261018004", None),
    ("482913", None),
    ("1380013800", None), ("138001380001", None),
])
def test_phone(text: str, phone: str | None) -> None:
    assert phone_in(text) == phone


@pytest.mark.parametrize(("text", "tail"), [("8000", "8000"), ("尾号8000", "8000"), ("13800138000", "8000"),
                                            ("ends in 8000", "8000"), ("80001", None), ("800", None)])
def test_phone_tail(text: str, tail: str | None) -> None:
    assert phone_tail_in(text) == tail


@pytest.mark.parametrize(("text", "code"), [("482913", "482913"), ("验证码 482 913", "482913"), ("４８２９１３",
    "482913"),
                                            ("48-29-13", "482913"), ("13800138000", None), ("48291", None)])
def test_code(text: str, code: str | None) -> None:
    assert code_in(text) == code


def test_other_details() -> None:
    assert email_in("我的邮箱 anna@example.com") == "anna@example.com" and email_in("anna at example") is None
    assert day_in("10月18号买的") == (10, 18) and day_in("上周") is None
    assert wants_resend("没收到，重发") and wants_resend("please resend") and not wants_resend("482913")
    assert means_latest("最近那个") and means_latest("my last order") and not means_latest("毯子")


@pytest.mark.parametrize("text", ["运费多少", "怎么退货", "能不能换", "do you ship to Tibet", "how long?", "到了吗"])
def test_a_question(text: str) -> None:
    assert asks_something(text)


@pytest.mark.parametrize("text", ["快递员把箱子摔坏了", "it leaks", "我要退款"])
def test_no_question(text: str) -> None:
    assert not asks_something(text)


def test_the_longer_name_wins() -> None:
    assert named_in("羊毛盖毯那个", [["盖毯"], ["羊毛盖毯"], ["水壶"]]) == [1]
    assert named_in("the kettle", [["Electric kettle", "kettle"], ["blanket"]]) == [0]
    assert named_in("什么", [["盖毯"]]) == []


@given(st.text(max_size=80))
def test_nothing_that_is_typed_breaks_the_reading(text: str) -> None:
    for read in (says_never_mind, says_yes, says_no, says_skip, wants_other_one, wants_resend, means_latest,
                 asks_something, phone_in, phone_tail_in, code_in, email_in, day_in):
        read(text)
    position_in(text, 4)
    assert 0 <= likeness(text, "退货规则") <= 1

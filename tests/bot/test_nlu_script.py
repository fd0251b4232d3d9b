"""Folding a text moves no character; the language of a message is the one its writer reads."""
from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.nlu.script import detect_language, fold, simplify

ANY_TEXT = st.text(st.characters(blacklist_categories=()), max_size=80)  # lone surrogates too


@given(ANY_TEXT)
def test_folding_and_simplifying_keep_every_offset(text: str) -> None:
    assert len(fold(text)) == len(simplify(text)) == len(text)
    for index, character in enumerate(text):
        assert fold(text)[index] == fold(character)


@given(ANY_TEXT)
def test_folded_text_can_be_encoded_and_folding_it_again_changes_nothing(text: str) -> None:
    folded = fold(text)
    folded.encode("utf8")
    assert fold(folded) == folded


@pytest.mark.parametrize(("typed", "folded"), [
    ("ＷＬ２０２６１０１８００４", "wl20261018004"),
    ("請問我的訂單", "请问我的订单"),
    ("138—0013–8000", "138-0013-8000"),
    ("￥６９９", "¥699"),
    ("二〇二六", "二零二六"),
    ("MUG\tBlanket\n", "mug blanket "),
    ("a\ud800b", "a\ufffdb"),
])
def test_folding(typed: str, folded: str) -> None:
    assert fold(typed) == folded


def test_simplifying_leaves_everything_but_traditional_characters_alone() -> None:
    assert simplify("WL訂單　Ａ 😀 貨到付款?") == "WL订单　Ａ 😀 货到付款?"


@pytest.mark.parametrize(("text", "hint", "language"), [
    ("我的快递到哪了", None, "zh"),
    ("請問我的訂單到哪裡了", "en", "zh"),
    ("where is my parcel", "zh", "en"),
    ("hello", "zh", "en"),
    ("查一下 my order please", None, "zh"),
    ("track一下我的order", "en", "zh"),
    ("coupon怎么领", None, "zh"),
    ("is the 羊毛毯 in stock again", "zh", "en"),
    ("how do you say 你好", None, "en"),
    ("ok", "zh", "zh"),
    ("ok", "en", "en"),
    ("rengong", None, "zh"),
    ("fapiao please", None, "en"),
    ("WL20261018004", "en", "en"),
    ("WL20261018004", "zh", "zh"),
    ("WL20261018004", None, "zh"),
    ("C1024", "en", "en"),
    ("jane@example.com", "zh", "zh"),
    ("13800138000", "en", "en"),
    ("👍", "en", "en"),
    ("👍", None, "zh"),
    ("？？？", "en", "en"),
    ("", None, "zh"),
    ("", "en", "en"),
    ("88", "fr", "zh"),
    ("où est mon colis", "zh", "en"),
    ("где моя посылка", "zh", "en"),
    ("订单WL20261018004到哪了", "en", "zh"),
])
def test_language(text: str, hint: str | None, language: str) -> None:
    assert detect_language(text, hint) == language


@given(ANY_TEXT, st.sampled_from([None, "zh", "en", "de", ""]))
def test_any_text_has_a_language(text: str, hint: str | None) -> None:
    assert detect_language(text, hint) in ("zh", "en")

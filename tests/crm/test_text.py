"""What people type is cleaned without losing what they said."""
from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crm_store.errors import InvalidMessage
from crm_store.rules.text import clean_text, excerpt, language_of


@pytest.mark.parametrize(("raw", "clean"), [
    (" a\r\nb\rc\u2028d ", "a\nb\nc\nd"),
    ("a\tb", "a b"),
    ("e\u0301", "é"),
    ("e\u200b\u0301", "é"),
    ("a\x00b\x1bc\x7f", "abc"),
    ("\u202eabc\u202c\u2066d\u2069", "abcd"),
    ("a\ud83dx", "ax"),
    ("\U000e0041hi", "hi"),
    ("re\u200dfund", "refund"),
    ("👩\u200d👩\u200d👧", "👩\u200d👩\u200d👧"),
    ("👩\u200d\u200d👧\u200d", "👩\u200d👧"),
    ("❤\ufe0f\u200d🔥", "❤\ufe0f\u200d🔥"),
    ("\ufeff１２３", "１２３"),
    ("😀", "😀"),
])
def test_cleaning(raw: str, clean: str) -> None:
    assert clean_text(raw) == clean


@given(st.text(alphabet=st.characters(), max_size=200))
def test_cleaning_twice_changes_nothing_and_both_databases_can_store_it(raw: str) -> None:
    try:
        clean = clean_text(raw)
    except InvalidMessage as refused:
        assert refused.data["reason"] == "empty"
        return
    assert clean_text(clean) == clean == clean.strip()
    assert unicodedata.is_normalized("NFC", clean)
    assert "\x00" not in clean and clean.encode()


@given(st.text(alphabet=st.characters(categories=("Lo", "Ll", "Nd")), min_size=1, max_size=50))
def test_letters_and_digits_are_never_lost(raw: str) -> None:
    visible = unicodedata.normalize("NFC", raw)
    if not any(c in visible for c in "\u115f\u1160\u17b4\u17b5\u3164\uffa0"):
        assert clean_text(raw) == visible


@pytest.mark.parametrize("raw", ["", "  \n", "\u200b\u200d\ufeff", "\u3164\u2800", "\ufe0f"])
def test_what_shows_nothing_is_empty(raw: str) -> None:
    with pytest.raises(InvalidMessage) as refused:
        clean_text(raw)
    assert refused.value.data == {"field": "text", "reason": "empty"}


def test_the_limit_counts_what_is_kept() -> None:
    assert len(clean_text(" " * 9 + "x" * 10 + "\u200b" * 9, limit=10)) == 10
    with pytest.raises(InvalidMessage) as refused:
        clean_text("x" * 11, limit=10)
    assert refused.value.data == {"field": "text", "reason": "too_long", "limit": 10}


@pytest.mark.parametrize(("text", "language"), [
    ("订单 order", "zh"), ("訂單", "zh"), ("order", "en"), ("123 😀", None),
])
def test_the_first_guess_of_a_language(text: str, language: str | None) -> None:
    assert language_of(text) == language


@given(st.text(max_size=100), st.integers(2, 40))
def test_an_excerpt_is_one_short_line(text: str, length: int) -> None:
    short = excerpt(text, length)
    assert len(short) <= length and "\n" not in short

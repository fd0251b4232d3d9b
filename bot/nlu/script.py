"""What script and language a text is written in, and folding it for comparison without moving a character."""
from __future__ import annotations

import re
from collections.abc import Callable

from opencc import OpenCC

_DASHES = "‐‑‒–—―−﹣⁃"
_QUOTES = "‘’ʼ＇`´"
_ONE_TO_ONE = {**{ord(dash): "-" for dash in _DASHES}, **{ord(quote): "'" for quote in _QUOTES},
               0x3000: " ", 0xFFE5: "¥", 0x3007: "零"}

# Latin that says nothing about the language of the person who writes it.
_NEUTRAL_WORDS = frozenset({"ok", "okk", "okay", "k", "lol", "haha", "hmm", "vip", "app", "emoji", "qq"})
_PINYIN = frozenset({"rengong", "jifen", "fapiao", "nihao", "xiexie", "kefu", "tuikuan", "tuihuo", "kuaidi", "dingdan",
                     "tousu", "youhuiquan", "zaima", "haode", "bucuo", "shenme", "duoshao"})
_CODES = re.compile(r"\S+@\S+|https?://\S+|www\.\S+|[A-Za-z]+[-# ]?\d[\w-]*")
_LATIN_WORD = re.compile(r"[A-Za-zÀ-ÖØ-öø-ÿ]+(?:'[A-Za-z]+)?")
_HAN = re.compile(r"[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0002fa1f]")

# A Han character carries most of an English word: below this many a word it is only a quoted name.
_HAN_PER_WORD = 0.7


class _CharacterMap(dict[int, str]):
    """A table for ``str.translate`` that is filled as characters are met, each once."""

    def __init__(self, convert: Callable[[str], str]) -> None:
        super().__init__()
        self._convert = convert

    def __missing__(self, code: int) -> str:
        converted = self._convert(chr(code))
        self[code] = converted if len(converted) == 1 else chr(code)
        return self[code]


_opencc = OpenCC("t2s")


def _simplified(character: str) -> str:
    return str(_opencc.convert(character)) if _HAN.match(character) else character


def _folded(character: str) -> str:
    code = ord(character)
    if 0xFF01 <= code <= 0xFF5E and code not in _ONE_TO_ONE:
        character = chr(code - 0xFEE0)
    elif code in _ONE_TO_ONE:
        return _ONE_TO_ONE[code]
    elif 0xD800 <= code <= 0xDFFF:  # a lone surrogate cannot be encoded, so nothing downstream could read it
        return "\ufffd"
    elif character.isspace():
        return " "
    return _simplified(character).lower()


_SIMPLIFIED = _CharacterMap(_simplified)
_FOLDED = _CharacterMap(_folded)


def simplify(text: str) -> str:
    """Traditional characters as Simplified ones, every other character as it is; the length never changes."""
    return text.translate(_SIMPLIFIED)


def fold(text: str) -> str:
    """The text as it is compared: Simplified, half-width, lower case, plain dashes and spaces.

    Every character becomes exactly one, so an offset in the folded text is the same offset in the text as typed. Lone
    surrogates become U+FFFD.
    """
    return text.translate(_FOLDED)


def letters_and_digits(text: str) -> str:
    """What is left of a text to tell whether two are the same: no case, script variant, blank or sign counts.

    A text without a letter or a digit is all that it is.
    """
    return "".join(sign for sign in fold(text) if sign.isalnum()) or text.strip()


def detect_language(text: str, hint: str | None = None) -> str:
    """The language to answer ``text`` in.

    Chinese when Han characters carry more than a trivial share of it, English when letters of another script do.
    Order numbers, digits and emoji say nothing: then the hint decides, and without one the shop's first language.

    Args:
        text: The message as typed.
        hint: The language the conversation had so far, "zh" or "en".

    Returns:
        "zh" or "en".
    """
    fallback = hint if hint in ("zh", "en") else "zh"
    words_only = _CODES.sub(" ", fold(text[:4000]))
    han = len(_HAN.findall(words_only))
    words = _LATIN_WORD.findall(words_only)
    if han:
        return "zh" if han >= _HAN_PER_WORD * len(words) else "en"
    if words:
        if all(word in _PINYIN for word in words):
            return "zh"
        return fallback if all(word in _NEUTRAL_WORDS for word in words) else "en"
    return "en" if any(character.isalpha() for character in words_only) else fallback

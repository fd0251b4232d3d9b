"""Reading numbers as people write them in Chinese and English: 两百五, 3千, 1.2万, five hundred."""
from __future__ import annotations

import re
from decimal import Decimal

_DIGITS = {"零": 0, "一": 1, "二": 2, "两": 2, "俩": 2, "三": 3, "仨": 3, "四": 4, "五": 5, "六": 6, "七": 7, "八": 8,
           "九": 9, "壹": 1, "贰": 2, "叁": 3, "肆": 4, "伍": 5, "陆": 6, "柒": 7, "捌": 8, "玖": 9}
_UNITS = {"十": 10, "拾": 10, "百": 100, "佰": 100, "千": 1000, "仟": 1000, "k": 1000}
_MYRIADS = {"万": 10_000, "w": 10_000}
_WORDS = {"zero": 0, "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9,
          "ten": 10, "eleven": 11, "twelve": 12, "thirteen": 13, "fourteen": 14, "fifteen": 15, "sixteen": 16,
          "seventeen": 17, "eighteen": 18, "nineteen": 19, "twenty": 20, "thirty": 30, "forty": 40, "fifty": 50,
          "sixty": 60, "seventy": 70, "eighty": 80, "ninety": 90, "a": 1, "an": 1}
_SCALES = {"hundred": 100, "thousand": 1000}

_counting = "|".join(sorted((word for word in _WORDS if word not in ("a", "an")), key=len, reverse=True))
_word = "|".join((_counting, *_SCALES))

ARABIC = r"(?:[0-9]{1,3}(?:,[0-9]{3})+|[0-9]{1,9})(?:\.[0-9]{1,2})?"
"""A number in digits, with thousands separators and up to two decimals; look around it for more digits yourself."""

CHARACTERS = "[零一二两俩三仨四五六七八九十百千万壹贰叁肆伍陆柒捌玖拾佰仟]"
"""One character of a Chinese number (in folded text)."""

CHINESE = rf"(?<!{CHARACTERS}){CHARACTERS}{{1,12}}"
"""A number in Chinese characters, from its beginning."""

MIXED = rf"(?:{ARABIC}[十百千万]{{0,2}}(?:[一二三四五六七八九](?![0-9]))?|{CHINESE})"
"""Digits with or without a Chinese unit (3千, 1.2万, 3千五), or a number in Chinese characters."""

ENGLISH = rf"(?:(?:a|an|{_counting})(?:[ -](?:and )?(?:{_word})){{1,6}}|{_counting})"
"""A number in English words: two hundred, a thousand, twenty-five."""

_ARABIC_THEN_CHINESE = re.compile(rf"({ARABIC})([十百千万kw]*)([一二三四五六七八九]?)")


def parse_number(text: str) -> Decimal | None:
    """The value of a number written in digits, Chinese characters, English words, or digits with a Chinese unit.

    Args:
        text: Folded text (see ``bot.nlu.script.fold``) that is nothing but the number.

    Returns:
        The value, or None when ``text`` is no number. A digit after a unit counts in the next lower unit, as it is
        spoken: 一百二 is 120, 三千五 is 3500.
    """
    text = text.strip()
    if match := _ARABIC_THEN_CHINESE.fullmatch(text):
        digits, units, last = match.groups()
        value, scale = Decimal(digits.replace(",", "")), 1
        for unit in units:
            scale *= _UNITS.get(unit) or _MYRIADS[unit]
        if last and scale == 1:
            return None
        return value * scale + (_DIGITS[last] * scale // 10 if last else 0)
    if text and all(character in _DIGITS or character in _UNITS or character in _MYRIADS for character in text):
        return _chinese(text)
    return _english(text)


def _chinese(text: str) -> Decimal | None:
    if all(character in _DIGITS for character in text):
        return Decimal("".join(str(_DIGITS[character]) for character in text))
    total = section = 0
    digit: int | None = None
    spoken_unit, after_zero = 0, False
    for character in text:
        if character in _DIGITS:
            if digit:
                return None
            after_zero = after_zero or character == "零"
            digit = _DIGITS[character]
        elif character in _UNITS:
            if digit is None and section and _UNITS[character] != 10:
                return None
            section += (1 if digit is None else digit) * _UNITS[character]
            spoken_unit, after_zero, digit = _UNITS[character], False, None
        else:
            if total:
                return None
            total = (section + (digit or 0)) * 10_000
            if not total:
                return None
            section, digit, spoken_unit, after_zero = 0, None, 10_000, False
    if digit and spoken_unit >= 100 and not after_zero:
        digit = digit * spoken_unit // 10
    return Decimal(total + section + (digit or 0))


def _english(text: str) -> Decimal | None:
    words = [word for word in re.split(r"[ -]+", text) if word != "and"]
    if not words or any(word not in _WORDS and word not in _SCALES for word in words):
        return None
    total = section = 0
    for word in words:
        if word == "thousand":
            total, section = total + (section or 1) * 1000, 0
        elif word == "hundred":
            section = (section or 1) * 100
        else:
            section += _WORDS[word]
    return Decimal(total + section)

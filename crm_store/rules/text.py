"""Cleans what people type and tells which language it is written in."""
from __future__ import annotations

import re
import unicodedata
from typing import Any

from crm_store.errors import InvalidMessage

MESSAGE_LIMIT = 4000
IDENTIFIER_LIMIT = 200

_EMOJI = "\u2190-\u2bff\u3030\u303d\ufe0f\U0001f000-\U0001faff"
_LINE_BREAKS = re.compile("\r\n?|[\u0085\u2028\u2029\v\f]")
# Controls, lone surrogates, and what is never seen but changes what is read: zero-width characters, marks and
# overrides of direction, soft hyphens, tags, noncharacters.
_UNSEEN = re.compile(
    "[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180e\u200b\u200c\u200e\u200f"
    "\u202a-\u202e\u2060-\u206f\ufeff\ufff9-\ufffc\ufdd0-\ufdef\ufffe\uffff\ud800-\udfff\U000e0000-\U000e0fff]"
    "|[" + "".join(chr(plane * 0x10000 + last) for plane in range(1, 17) for last in (0xFFFE, 0xFFFF)) + "]"
)
_JOINERS = re.compile("\u200d+")
_JOINED = re.compile(f"(?<=[{_EMOJI}])\u200d(?=[{_EMOJI}])")
_BLANK = re.compile("[\\s\u2800\u3164\uffa0\ufe00-\ufe0f]*")
_HAN = re.compile("[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003134f]")
_LATIN = re.compile("[A-Za-z]")


def clean_text(raw: str, limit: int = MESSAGE_LIMIT) -> str:
    """The text of a message as it is stored and shown: NFC, line feeds only, nothing invisible, no blank edges.

    A zero-width joiner stays only between two emoji, where it makes one picture of them. Cleaning twice changes
    nothing.

    Args:
        raw: what the channel handed over, however broken.
        limit: the longest text allowed, in characters after cleaning.

    Raises:
        InvalidMessage: ``field="text"`` with ``reason`` "invalid" (no string), "empty" or "too_long" (and ``limit``).
    """
    if not isinstance(raw, str):
        raise InvalidMessage(field="text", reason="invalid")
    text = _UNSEEN.sub("", _LINE_BREAKS.sub("\n", raw)).replace("\t", " ")
    text = _join_emoji_only(unicodedata.normalize("NFC", text)).strip()
    if _BLANK.fullmatch(text):
        raise InvalidMessage(field="text", reason="empty")
    if len(text) > limit:
        raise InvalidMessage(field="text", reason="too_long", limit=limit)
    return text


def clean_identifier(raw: Any, field: str, limit: int = IDENTIFIER_LIMIT) -> str:
    """An id that another system gave: kept as it is, refused when no database could hold it.

    Raises:
        InvalidMessage: ``field`` with ``reason`` "invalid" (no string, or a control character or lone surrogate),
            "empty" or "too_long" (and ``limit``).
    """
    if not isinstance(raw, str):
        raise InvalidMessage(field=field, reason="invalid")
    if not raw.strip():
        raise InvalidMessage(field=field, reason="empty")
    if len(raw) > limit:
        raise InvalidMessage(field=field, reason="too_long", limit=limit)
    if any(unicodedata.category(character) in ("Cc", "Cs") for character in raw):
        raise InvalidMessage(field=field, reason="invalid")
    return raw


def language_of(text: str) -> str | None:
    """"zh" where a Chinese character occurs, else "en" where a Latin letter does, else None (digits, emoji).

    A first guess for a new conversation; what the bot's NLU says later replaces it.
    """
    if _HAN.search(text):
        return "zh"
    return "en" if _LATIN.search(text) else None


def weight(text: str) -> int:
    """How much a text says, roughly the same in both languages: its signs, a Chinese character counted as two."""
    return len(text) + len(_HAN.findall(text))


def excerpt(text: str, length: int) -> str:
    """The text on one line, cut to ``length`` characters with an ellipsis."""
    line = " ".join(text.split())
    return line if len(line) <= length else line[: length - 1].rstrip() + "…"


def _join_emoji_only(text: str) -> str:
    if "\u200d" not in text:
        return text
    single = _JOINERS.sub("\u200d", text)
    kept = {match.start() for match in _JOINED.finditer(single)}
    return "".join(c for i, c in enumerate(single) if c != "\u200d" or i in kept)

"""Finds personal data in free text and masks it: phones, e-mails, identity cards, bank cards, addresses.

Made for logs and for pages whose reader may not see the data: it would rather hide a word too many. Masked text keeps
nothing that helps to guess; not even a phone's last four digits, because with an order's number they open its status.
"""
from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

_FULL_WIDTH = {ord("０") + value: ord("0") + value for value in range(10)} | {
    ord("＠"): ord("@"), ord("．"): ord("."), ord("－"): ord("-"), ord("＋"): ord("+")}

_EMAIL = re.compile(r"[A-Za-z0-9._%+-]{1,64}@[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63}){1,5}")
_ID_CARD = re.compile(r"(?<![0-9A-Za-z])[1-9][0-9]{5}(?:18|19|20)[0-9]{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[12][0-9]|3[01])"
                      r"[0-9]{3}[0-9Xx](?![0-9A-Za-z])")
_BANK_CARD = re.compile(r"(?<![0-9A-Za-z])[1-9](?:[ -]?[0-9]){14,18}(?![0-9A-Za-z])")
_PHONE = re.compile(
    r"(?<![0-9])(?:(?:\+|00)?86[ -]?)?1[3-9][0-9][ -]?[0-9]{4}[ -]?[0-9]{4}(?![0-9])"  # mobile
    r"|(?<![0-9A-Za-z-])0[1-9][0-9]{1,2}[ -][0-9]{7,8}(?![0-9])"  # landline
    r"|(?<![0-9A-Za-z])\+[1-9](?:[ ()-]{0,2}[0-9]){7,13}(?![0-9])")  # abroad
_CJK = "\u3400-\u9fff"
_STREET = re.compile(rf"[{_CJK}](?:路|街|道|巷|弄|胡同|村|里|园|苑|小区)\s?[0-9]{{1,5}}\s?(?:号|弄|栋|幢|楼)")
_BEFORE = re.compile(rf"[{_CJK}A-Za-z0-9·]{{0,30}}$")
_LEAD_IN = re.compile(r".*(?:地址|收货|寄到|寄往|送到|送往|住在|搬到|改成|改到|家在|是|在|到)")
_AFTER = re.compile(rf"(?:[{_CJK}A-Za-z0-9-]{{0,20}}(?:室|单元|栋|幢|楼|层|号|户|房))?")
_STREET_EN = re.compile(
    r"\b[0-9]{1,5}[A-Za-z]?,? (?:[A-Z][A-Za-z'.-]{0,20} ){1,4}"
    r"(?:Street|St|Road|Rd|Avenue|Ave|Lane|Ln|Drive|Dr|Boulevard|Blvd|Square|Court)\b")


@dataclass(frozen=True)
class Span:
    """Where personal data stands in a text: ``text[start:end]``, and of which kind."""

    start: int
    end: int
    kind: str


def find_personal_data(text: str) -> list[Span]:
    """The personal data in ``text``, in order and without overlaps.

    Kinds: "email", "id_card", "bank_card" (with a correct check digit), "phone", "address". Where two overlap, the
    kind named first wins.
    """
    plain = text.translate(_FULL_WIDTH)
    found: list[Span] = []
    for kind, spans in (
        ("email", _matches(_EMAIL, plain)), ("id_card", _matches(_ID_CARD, plain)),
        ("bank_card", [span for span in _matches(_BANK_CARD, plain) if _passes_luhn(plain[span[0]:span[1]])]),
        ("phone", _matches(_PHONE, plain)), ("address", _addresses(plain)),
    ):
        for start, end in spans:
            if all(end <= other.start or start >= other.end for other in found):
                found.append(Span(start, end, kind))
    return sorted(found, key=lambda span: span.start)


def mask(text: str) -> str:
    """``text`` with its personal data replaced by stars; phones keep their first three digits."""
    parts, at = [], 0
    for span in find_personal_data(text):
        parts += [text[at:span.start], _stars(text[span.start:span.end], span.kind)]
        at = span.end
    return "".join([*parts, text[at:]])


def digits_in(text: str) -> str:
    """The digits of a text in any script's or width's writing, as 0 to 9, without the rest."""
    return "".join(str(unicodedata.digit(sign)) for sign in text if unicodedata.digit(sign, None) is not None)


def mask_phone(phone: str | None) -> str | None:
    """A phone for staff who need to compare it with what a customer says: 138****8000."""
    if not phone:
        return phone
    return f"{phone[:3]}****{phone[-4:]}" if len(phone) >= 9 else "****"


def mask_email(email: str | None) -> str | None:
    """An e-mail address for staff: the first sign and the domain."""
    if not email:
        return email
    name, _, domain = email.partition("@")
    return f"{name[:1]}***@{domain}" if domain else "***"


def mask_address(address: str | None) -> str | None:
    """An address for staff: province, city and district, without the street."""
    if not address:
        return address
    ends = [found.end() for found in re.finditer(r"省|自治区|市|区|县|旗", address[:30])]
    shown = address[:ends[-1]] if ends else ""
    return f"{shown}***"


def _matches(pattern: re.Pattern[str], text: str) -> list[tuple[int, int]]:
    return [found.span() for found in pattern.finditer(text)]


def _addresses(text: str) -> list[tuple[int, int]]:
    spans = []
    for found in _STREET.finditer(text):
        before = _BEFORE.search(text[max(0, found.start() - 30):found.start()])
        run = before.group() if before else ""
        lead_in = _LEAD_IN.match(run)
        after = _AFTER.match(text, found.end())
        start = found.start() - len(run) + (lead_in.end() if lead_in else 0)
        spans.append((start, after.end() if after else found.end()))
    return spans + _matches(_STREET_EN, text)


def _passes_luhn(number: str) -> bool:
    digits = [int(sign) for sign in reversed(number) if sign.isdigit()]
    doubled = [value * 2 - 9 if value > 4 else value * 2 for value in digits[1::2]]
    return (sum(digits[::2]) + sum(doubled)) % 10 == 0


def _stars(text: str, kind: str) -> str:
    return f"{text[:3]}********" if kind == "phone" and text[0] == "1" else "****"

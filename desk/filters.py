"""Reads what the address of a page asks for; a page leaves out what cannot be read, and names it."""
from __future__ import annotations

import re
from collections.abc import Callable, Collection
from datetime import date, datetime, timedelta

from crm_store.rules.figures import midnight
from desk.rendering import Reader

LAST_PAGE = 1_000_000


def one_of(values: Collection[str]) -> Callable[[str], str]:
    """Reads one of few values.

    Raises:
        ValueError: by what it gives, at any other text.
    """
    def read(text: str) -> str:
        if text not in values:
            raise ValueError(text)
        return text

    return read


def number(text: str) -> int:
    """A number that a database can be asked for.

    Raises:
        ValueError: it is none.
    """
    if not re.fullmatch(r"[0-9]{1,18}", text):
        raise ValueError(text)
    return int(text)


def day_begins(text: str, reader: Reader, *, later: int = 0) -> datetime:
    """When a day of the shop's calendar, YYYY-MM-DD, begins, or one so many days ``later``; in UTC.

    Raises:
        ValueError: it is no day.
        OverflowError: it is out of reach.
    """
    return midnight(date.fromisoformat(text) + timedelta(days=later), reader.zone)


def page_number(text: str, *, otherwise: int = 1) -> int:
    """Which page is meant; ``otherwise`` where that cannot be read."""
    return min(int(text), LAST_PAGE) if re.fullmatch(r"[0-9]{1,9}", text) else otherwise

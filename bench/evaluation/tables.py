"""Writes tables in Markdown."""
from __future__ import annotations

from collections.abc import Sequence


def table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table; its first column is to the left, the others to the right."""
    rule = ["---", *(["---:"] * (len(headings) - 1))]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (headings, rule, *rows))


def percent(share: float | None, places: int = 1) -> str:
    """A share of one in percent; nothing for none."""
    return "" if share is None else f"{100 * share:.{places}f} %"


def number(value: float | None, places: int = 3) -> str:
    """A number with so many places; nothing for none."""
    return "" if value is None else f"{value:.{places}f}"

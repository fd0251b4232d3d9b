"""Keeps spreadsheets from running a cell: an apostrophe in front makes a formula a text, and comes off again.

What is defused and restored is the same text again, also where it began with an apostrophe of its own.
"""
from __future__ import annotations

FORMULA = ("=", "+", "-", "@", "＝", "＋", "－", "＠", "\t", "\r", "\n")


def is_formula(text: str) -> bool:
    """Whether a spreadsheet would take a cell's text for a formula."""
    return text.startswith(FORMULA) or text.lstrip().startswith(FORMULA)


def defuse(text: str) -> str:
    """The text as a cell that nothing runs."""
    return f"'{text}" if is_formula(text.lstrip("'")) else text


def restore(cell: str) -> str:
    """The text that :func:`defuse` made this cell of; any other cell as it is."""
    return cell[1:] if cell.startswith("'") and is_formula(cell.lstrip("'")) else cell

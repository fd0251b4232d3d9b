"""Cuts a long text into the pieces that a channel takes."""
from __future__ import annotations

from collections.abc import Callable
from itertools import accumulate


def split_text(text: str, limit: int, size: Callable[[str], int]) -> list[str]:
    """A text in pieces of at most ``limit``, cut at a blank where there is one in the second half.

    No sign is cut in two, and nothing is lost but blanks where it is cut.

    Args:
        text: what is to be said.
        limit: the most that one piece may measure; a joined sign longer than that is cut all the same.
        size: what one character measures.
    """
    pieces = []
    while (fits := _fitting(text, limit, size)) < len(text):
        cut = max(text.rfind(blank, fits // 2, fits + 1) for blank in ("\n", " "))
        cut = cut if cut > 0 else fits
        pieces.append(text[:cut].rstrip() or text[:cut])
        text = text[cut:].lstrip() or text[cut:].strip()
    return [*pieces, text] if text or not pieces else pieces


def _fitting(text: str, limit: int, size: Callable[[str], int]) -> int:
    """How many characters from the start fit; a joiner stays with what it joins."""
    for index, measured in enumerate(accumulate(map(size, text))):
        if measured > limit:
            while index > 1 and (text[index] in "\u200d\ufe0f" or text[index - 1] == "\u200d"):
                index -= 1
            return index
    return len(text)

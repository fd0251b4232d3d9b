"""How text becomes the words that are searched for: alike for what is stored, what is asked and what is marked.

Chinese has no blanks between its words, so a run of Chinese characters becomes its overlapping pairs and, at its end,
the last character alone: 我的退款 becomes 我的, 的退, 退款, 款. A word of two characters is then one pair, a longer
one a phrase of pairs, and a single character the beginning of a pair. Everything else becomes words of letters and
digits, found by their beginning. Traditional characters count as their simplified ones, letters of any case and width
alike.
"""
from __future__ import annotations

import functools
import importlib.resources
import itertools
import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

LONGEST_WORD = 64
MOST_WANTED = 8
WANTED_LENGTH = 200

_HAN = "\u3005-\u3007\u3040-\u30ff\u3100-\u312f\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003134f"
_PICTURES = "\u2190-\u2bff\U0001f000-\U0001faff"
_RUNS = re.compile(f"(?P<han>[{_HAN}]+)|(?P<word>[^\\W_{_HAN}{_PICTURES}]+)|[{_PICTURES}]")
_ASKED = re.compile(r'"([^"]*)"|“([^”]*)”|(\S+)')


@functools.cache
def _simplified() -> dict[str, str]:
    """Traditional characters and their simplified ones: OpenCC's table, without its engine."""
    table = (importlib.resources.files("opencc") / "dictionary" / "TSCharacters.txt").read_text(encoding="utf8")
    return {traditional: chosen.split(" ")[0] for traditional, chosen in
            (line.split("\t") for line in table.splitlines() if "\t" in line)}


class _Folding(dict[int, str]):
    """A table for ``str.translate`` that is filled as characters are met, each once."""

    def __missing__(self, code: int) -> str:
        plain = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", chr(code)).casefold())
        self[code] = "".join(_simplified().get(sign, sign) for sign in plain)
        return self[code]


_FOLDING = _Folding()


@dataclass(frozen=True)
class Wanted:
    """One thing to find: these words one after the other; of the last one maybe only the beginning is given.

    ``typed`` is how it was asked for.
    """

    words: tuple[str, ...]
    open_end: bool
    typed: str = ""


def fold_for_search(text: str) -> str:
    """The text as it is compared: simplified, one width, one case."""
    return text.translate(_FOLDING)


def index_words(text: str) -> list[str]:
    """The words of a text, in order, as an index keeps them."""
    words: list[str] = []
    for run in _RUNS.finditer(fold_for_search(text)):
        signs = run.group()
        if run.lastgroup == "han":
            words += [signs[at:at + 2] for at in range(len(signs) - 1)]
            words.append(signs[-1])
        else:
            words.append(signs[:LONGEST_WORD])
    return words


def wanted_in(asked: str) -> list[Wanted]:
    """What somebody asks for: things separated by blanks, in quotes what belongs together.

    The last word of each may be longer in what is found, unless it stands in quotes: refund finds refunds. What has
    neither letter, digit nor picture asks for nothing.
    """
    found = []
    for match in _ASKED.finditer(unicodedata.normalize("NFC", asked[:WANTED_LENGTH])):
        thing = _wanted(match[1] or match[2] or match[3] or "", quoted=match[3] is None)
        if thing is not None:
            found.append(thing)
    return found[:MOST_WANTED]


def find_wanted(text: str, wanted: Sequence[Wanted]) -> list[tuple[int, int]]:
    """Where in a text the wanted things stand, as start and end, in order and without overlaps."""
    folded = fold_for_search(text)
    words = list(_words(folded))
    spans = [(words[at][1], _end(thing, words[at + len(thing.words) - 1]))
             for thing in wanted for at in _places([word for word, _, _ in words], thing)]
    return _joined(_in_original(text, folded, spans))


def snippet(text: str, wanted: Sequence[Wanted], length: int) -> str:
    """One line of ``length`` characters at most around the first wanted thing, with an ellipsis where it is cut."""
    line = " ".join(text.split())
    if len(line) <= length:
        return line
    hits = find_wanted(line, wanted)
    start = max(0, min(hits[0][0] - length // 3, len(line) - length + 1)) if hits else 0
    if start == 0:
        return line[: length - 1].rstrip() + "…"
    end = start + length - 2
    return "…" + line[start:end].strip() + ("…" if end < len(line) else "")


def _words(folded: str) -> Iterator[tuple[str, int, int]]:
    """Each word with its start and end."""
    for run in _RUNS.finditer(folded):
        start, end = run.span()
        if run.lastgroup == "han":
            for at in range(start, end - 1):
                yield folded[at:at + 2], at, at + 2
            yield folded[end - 1], end - 1, end
        else:
            yield run.group()[:LONGEST_WORD], start, end


def _wanted(thing: str, quoted: bool) -> Wanted | None:
    folded = fold_for_search(thing)
    runs = list(_RUNS.finditer(folded))
    if not runs:
        return None
    words = [word for word, _, _ in _words(folded)]
    last = runs[-1]
    if last.lastgroup == "han":
        alone = len(last.group()) == 1  # in what is found more may follow
        return Wanted(tuple(words if alone else words[:-1]), alone, thing)
    return Wanted(tuple(words), last.lastgroup == "word" and not quoted, thing)


def _places(words: Sequence[str], thing: Wanted) -> Iterator[int]:
    """Which words a thing begins at, found in all of them as one text: a long phrase costs no more than a short one."""
    line = "".join(f" {word}" for word in words) + " "
    begins = {at: index for index, at in enumerate(itertools.accumulate((len(w) + 1 for w in words), initial=0))}
    needle = f" {' '.join(thing.words)}" + ("" if thing.open_end else " ")
    at = line.find(needle)
    while at >= 0:
        yield begins[at]
        at = line.find(needle, at + 1)


def _end(thing: Wanted, last: tuple[str, int, int]) -> int:
    word, start, end = last
    is_pair = thing.open_end and len(thing.words[-1]) == 1 and re.match(f"[{_HAN}]", word)
    return start + 1 if is_pair else end


def _in_original(text: str, folded: str, spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
    if len(folded) == len(text) or not spans:  # no character folds to nothing, so each became exactly one
        return spans
    origin = [index for index, sign in enumerate(text) for _ in _FOLDING[ord(sign)]]
    return [(origin[start], origin[end - 1] + 1) for start, end in spans]


def _joined(spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
    joined: list[tuple[int, int]] = []
    for start, end in sorted(spans):
        if joined and start <= joined[-1][1]:
            joined[-1] = joined[-1][0], max(end, joined[-1][1])
        else:
            joined.append((start, end))
    return joined

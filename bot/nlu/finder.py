"""Finding the details in a message with spaCy: numbers of orders and complaints, phones, sums, days, products."""
from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

import spacy
from spacy.language import Language
from spacy.tokens import Doc, Span
from spacy.vocab import Vocab

from bot.nlu.dates import find_days
from bot.nlu.patterns import find_patterns
from bot.nlu.script import fold

SEARCHED_START, SEARCHED_END = 2000, 500
"""Characters that are searched of a longer text: people give details where they begin or where they end."""

MOST_FOUND = 60
"""Details of one message; who writes more of them wants none looked up."""

PRIORITY = ("email", "order_number", "complaint_number", "phone", "tracking_number", "phone_tail", "points", "amount",
            "date", "product")
"""The entities, the one that wins an overlap first. Among equals the longer wins, then the earlier."""

_RANK = {entity: rank for rank, entity in enumerate(PRIORITY)}

# spaCy keeps every word it has ever seen: numbers and addresses of customers, without end. Past this it starts afresh.
_WORDS_KEPT = 50_000

for _name in ("found", "today"):
    if not Doc.has_extension(_name):
        Doc.set_extension(_name, default=None)
if not Span.has_extension("value"):
    Span.set_extension("value", default=None)


@dataclass(frozen=True)
class Product:
    """What of a product the finder needs: its stock keeping unit and every name it goes by, in either language."""

    sku: str
    names: tuple[str, ...]


@dataclass(frozen=True)
class Entity:
    """One detail of a message; ``text`` is ``message[start:end]`` as typed, ``value`` what it means.

    The value is a string, but for ``amount`` (yuan, float) and ``points`` (int). A product's value is its SKU; a day's
    is an ISO date, or the text where no reference day was given.
    """

    entity: str
    start: int
    end: int
    value: str | float | int
    text: str


class _Candidate(NamedTuple):
    entity: str
    start: int
    end: int
    value: str | float | int | None


_WORD = re.compile(r"[a-zà-öø-ÿ]+|[0-9]+| |[^ ]", re.DOTALL)


class ScriptTokenizer:
    """Splits folded text where scripts meet: runs of Latin letters, runs of digits, every other character alone.

    Chinese needs no segmenting that way, mug is a word in 这个mug有没有, and every pattern ends where a token does.
    """

    def __init__(self, vocab: Vocab) -> None:
        self.vocab = vocab

    def __call__(self, text: str) -> Doc:
        """The tokens of ``text``; together they are ``text`` again."""
        words: list[str] = []
        spaces: list[bool] = []
        for word in _WORD.findall(text):
            if word == " " and words and not spaces[-1] and words[-1] != " ":
                spaces[-1] = True
            else:
                words.append(word)
                spaces.append(False)
        return Doc(self.vocab, words=words, spaces=spaces)

    # spaCy asks a tokenizer for these when it copies a pipeline; there is nothing to keep.
    def to_bytes(self, **_: Any) -> bytes:
        """No state."""
        return b""

    def from_bytes(self, data: bytes, **_: Any) -> ScriptTokenizer:
        """No state."""
        return self


@Language.component("shop_details")
def _shop_details(doc: Doc) -> Doc:
    """Turns matches of the patterns and the products already found into entities that do not overlap."""
    text = doc.text
    products = [_Candidate("product", span.start_char, span.end_char, span.ent_id_) for span in doc.ents]
    taken = bytearray(len(text))
    kept: list[Span] = []
    for entity, start, end, value in sorted((*_candidates(text, doc._.today), *products), key=_precedence):
        if any(taken[start:end]):
            continue
        span = doc.char_span(start, end, label=entity)
        if span is None:
            continue
        span._.value = value
        taken[start:end] = b"\x01" * (end - start)
        kept.append(span)
        if len(kept) == MOST_FOUND:
            break
    doc.ents = tuple(kept)  # type: ignore[assignment]  # spaCy's stub means one span exactly
    return doc


def _precedence(candidate: _Candidate) -> tuple[int, int, int]:
    return _RANK[candidate.entity], candidate.start - candidate.end, candidate.start


def _candidates(text: str, today: date | None) -> Iterator[_Candidate]:
    for entity, start, end, value in find_patterns(text):
        yield _Candidate(entity, start, end, value)
    for start, end, day in find_days(text, today):
        yield _Candidate("date", start, end, day.isoformat() if day else None)


def _spellings(name: str) -> Iterator[str]:
    """A name and, where it ends in a Latin letter, its plurals."""
    folded = " ".join(fold(name).split())
    yield folded
    if re.search(r"[a-z]{3}$", folded):
        yield folded + "s"
        if re.search(r"(?:[sxz]|[cs]h)$", folded):
            yield folded + "es"
        elif re.search(r"[^aeiou]y$", folded):
            yield folded[:-1] + "ies"


class EntityFinder:
    """Finds the entities of ``docs/intents`` in Chinese, English and mixed text.

    One spaCy pipeline for both languages, because people mix them: an entity ruler for the products' names and a
    component for everything that has a form.
    """

    def __init__(self, products: Sequence[Product] = ()) -> None:
        self.products = tuple(products)
        self._pipeline = self._build()

    def _build(self) -> Language:
        pipeline = spacy.blank("xx")
        pipeline.tokenizer = ScriptTokenizer(pipeline.vocab)
        spellings = {spelling: product.sku for product in reversed(self.products)
                     for name in product.names for spelling in _spellings(name) if spelling}
        if spellings:
            ruler: Any = pipeline.add_pipe("entity_ruler", config={"phrase_matcher_attr": "ORTH"})
            ruler.add_patterns([{"label": "product", "pattern": spelling, "id": sku}
                                for spelling, sku in sorted(spellings.items())])
        pipeline.add_pipe("shop_details")
        return pipeline

    def find(self, text: str, today: date | None = None) -> list[Entity]:
        """The details in ``text``, in order, none overlapping another.

        Args:
            text: The message as typed; any Unicode. Of a long one the first ``SEARCHED_START`` and the last
                ``SEARCHED_END`` characters are searched, and of more than ``MOST_FOUND`` details in either those are
                given that come first in ``PRIORITY``.
            today: The customer's current day, from which relative days are counted.
        """
        if len(self._pipeline.vocab.strings) > _WORDS_KEPT:
            self._pipeline = self._build()
        if len(text) <= SEARCHED_START + SEARCHED_END:
            return list(self._search(text, 0, today))
        end = len(text) - SEARCHED_END
        return [*self._search(text[:SEARCHED_START], 0, today), *self._search(text[end:], end, today)]

    def _search(self, text: str, offset: int, today: date | None) -> Iterator[Entity]:
        """The details in a part of a message that begins at ``offset``."""
        doc = self._pipeline.make_doc(fold(text))
        doc._.today = today
        for _, component in self._pipeline.pipeline:
            doc = component(doc)
        for span in doc.ents:
            typed = text[span.start_char:span.end_char]
            value = typed if span._.value is None else span._.value
            yield Entity(span.label_, offset + span.start_char, offset + span.end_char, value, typed)


def read_products(path: Path) -> tuple[Product, ...]:
    """The products of a JSON list of ``sku``, ``name_zh``, ``name_en``, ``aliases_zh``, ``aliases_en``."""
    return tuple(
        Product(item["sku"], tuple(dict.fromkeys([item["name_zh"], item["name_en"], *item.get("aliases_zh", ()),
                                                  *item.get("aliases_en", ())])))
        for item in json.loads(path.read_text(encoding="utf8")))

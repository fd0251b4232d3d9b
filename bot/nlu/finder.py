"""Finding the details in a message with spaCy: numbers of orders and complaints, phones, sums, days, products."""
from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import spacy
from spacy.language import Language
from spacy.tokens import Doc, Span
from spacy.vocab import Vocab

from bot.nlu.dates import find_days
from bot.nlu.numerals import ARABIC, CHARACTERS, CHINESE, ENGLISH, MIXED, parse_number
from bot.nlu.script import fold

LONGEST_TEXT = 4000
"""Characters that are searched: no message is longer (see ``crm_store.rules.text``), and a flood costs no more."""

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


_Value = Callable[["re.Match[str]"], "str | float | int | None"]


def _order_number(match: re.Match[str]) -> str | None:
    digits = re.sub("[^0-9]", "", match["value"])
    try:
        date(int(digits[:4]), int(digits[4:6]), int(digits[6:8]))
    except ValueError:
        return None
    return f"WL{digits}"


def _digits(match: re.Match[str]) -> str:
    return re.sub("[^0-9]", "", match["value"])


def _phone(match: re.Match[str]) -> str:
    return _digits(match)[-11:] if "1" == match["value"][0] else _digits(match)


def _points(match: re.Match[str]) -> int | None:
    number = parse_number(match["value"])
    return None if number is None or number != int(number) else int(number)


def _amount(match: re.Match[str]) -> float | None:
    number = parse_number(match["value"])
    if number is None:
        return None
    groups = match.groupdict()
    number *= {"k": 1000, "w": 10_000, "万": 10_000, "千": 1000}.get(groups.get("scale") or "", 1)
    if cents := groups.get("jiao"):
        number += (parse_number(cents) or Decimal(0)) / 10
    return float(number)


_ORDER_DATE = r"20[1-4][0-9][ -]?(?:0[1-9]|1[0-2])[ -]?(?:0[1-9]|[12][0-9]|3[01])"
_MONEY_ZH = r"(?:元(?![旦素件宵])(?:钱)?|块钱|块(?![儿巾布板屏毯砖地香])|圆(?![形的])|人民币|大洋|刀(?!具))"
_MONEY_EN = r"(?:rmb|cny|yuans?|kuai|bucks?|dollars?|usd|hkd|ntd?|quid|euros?)(?![a-z])"
_CURRENCY = r"(?:us|hk|nt|a)?[$¥€£]|(?<![a-z])(?:rmb|cny|usd)[:. ]?"
_ABOUT = "[多来几余]?"
_NO_DIGIT_BEFORE, _NO_DIGIT_AFTER = r"(?<![0-9.,])", r"(?![0-9])"
_LOSS = r"(?:损失|赔偿?|花费?|付|扣|退|差价|价值|值|少|多收|被骗|总共|一共|亏)(?:给?[我你]|了|个|大概|大约|约|差不多|是|有|:|,| )*"

# Folded text; the group "value" holds what is parsed and is the entity's span unless a group "span" says otherwise.
_PATTERNS: tuple[tuple[str, re.Pattern[str], _Value], ...] = tuple(
    (entity, re.compile(pattern), value) for entity, pattern, value in (
        ("email", r"(?<![a-z0-9._%+-])(?P<value>[a-z0-9][a-z0-9._%+-]{0,63}@(?:[a-z0-9-]{1,63}\.){1,5}[a-z]{2,24})"
                  r"(?![a-z0-9@])", lambda match: str(match["value"])),
        ("order_number", rf"(?<![a-z0-9])(?P<span>wl[ \-_.:#]{{0,3}}(?P<value>{_ORDER_DATE}[ -]?[0-9]{{3}})){_NO_DIGIT_AFTER}",
         _order_number),
        ("order_number", rf"(?<![0-9+.,-])(?<![a-z])(?P<value>{_ORDER_DATE}[ -]?[0-9]{{3}})(?![0-9-])"
                         rf"(?! ?(?:{_MONEY_ZH}|{_MONEY_EN}|积?分|points?|个|件|米|ml|cm|kg))", _order_number),
        ("complaint_number", r"(?<![a-z0-9])(?P<span>c[-#]?(?P<value>[0-9]{2,9}))(?![0-9a-z])",
         lambda match: f"C{match['value']}"),
        ("complaint_number", r"(?:投诉|申诉|客诉|工单|complaint|case|ticket)(?:单|编)?号? ?(?:number|no\.?|num|id)?[是为: #]{0,3}"
                             r"(?:is )?(?P<span>(?:c ?)?(?P<value>[0-9]{3,9}))(?![0-9a-z年月日号天元块次遍])",
         lambda match: f"C{match['value']}"),
        ("phone", r"(?<![0-9a-z.])(?P<span>(?:(?:\+|00)?86[ -]{0,2})?(?P<value>1[3-9][0-9](?:[ -]?[0-9]){8}))(?![0-9])",
         _phone),
        ("phone", r"(?<![0-9a-z.])(?P<span>(?:(?:\+|00)886[ -]?)?(?P<value>09[0-9]{2}[ -]?[0-9]{3}[ -]?[0-9]{3}))(?![0-9])",
         _phone),
        ("tracking_number", r"(?<![a-z0-9])(?P<value>(?:sf|yt|jd[a-z]{0,2}|jt|zto?|sto?|yd|dpk|ems|best|db|cn)[ -]?[0-9]{10,15})"
                            r"(?![0-9a-z])", lambda match: re.sub("[ -]", "", match["value"]).upper()),
        ("tracking_number", r"(?<![a-z0-9])(?P<value>[a-z]{2}[0-9]{9}cn)(?![0-9a-z])",
         lambda match: str(match["value"]).upper()),
        ("tracking_number", r"(?<![0-9a-z.+-])(?P<value>[0-9]{12,15})(?![0-9a-z.])", _digits),
        ("phone_tail", r"(?<!订单)(?<!单号)(?<!卡号)(?<!卡)(?:尾号|尾数|[后末最][后]?[四4]位(?:数字?)?|手机尾)[是为: ]{0,3}"
                       r"(?P<value>[0-9]{4})(?![0-9])", _digits),
        ("phone_tail", r"(?<![a-z])(?:last (?:four|4)(?: digits?| numbers?)?|(?<!card )(?:ends|ending)(?: in| with)?|tail(?: number| no\.?)?)"
                       r"(?: of (?:my |the )?(?:phone|mobile|number|cell)(?: number)?)?(?:'s|'re| is| are|:|,|=)?[ :]{0,2}"
                       r"(?P<value>[0-9]{4})(?![0-9])", _digits),
        ("phone_tail", r"(?<![0-9])(?P<value>[0-9]{4})(?:结尾|收尾|尾号)(?![0-9:是为])", _digits),
        ("points", rf"{_NO_DIGIT_BEFORE}(?P<span>(?P<value>{ARABIC}[百千万]?|{CHINESE}) ?{_ABOUT} ?个?(?:点积分|积分|点数))",
         _points),
        ("points", rf"(?<![0-9.,点时:])(?P<span>(?P<value>[0-9]{{2,7}}|[0-9],[0-9]{{3}}|{ARABIC}[百千万]|{CHARACTERS}{{2,8}}) ?"
                   rf"{_ABOUT}分)(?![钟之期店类享公米贝辨别手别工秒开批付给])", _points),
        ("points", r"(?<![0-9.,])(?P<span>(?P<value>[0-9]{3,7}) ?点)(?![0-9钟半多左前后])", _points),
        ("points", rf"(?<![0-9.,a-z])(?P<span>(?P<value>{ARABIC}|{ENGLISH}) ?(?:loyalty |reward |bonus |member )?(?:points?|pts?))"
                   r"(?![a-z])", _points),
        ("amount", rf"(?P<span>(?:{_CURRENCY}) ?(?P<value>{ARABIC}) ?(?P<scale>[kw万千])?(?: ?{_MONEY_ZH}| ?{_MONEY_EN})?)"
                   rf"{_NO_DIGIT_AFTER}(?![a-z])", _amount),
        ("amount", rf"{_NO_DIGIT_BEFORE}(?!一块(?![钱一二三四五六七八九0-9]))(?P<span>(?P<value>{MIXED}) ?{_ABOUT}{_MONEY_ZH}(?P<jiao>[0-9一二三四五六七八九](?![0-9十百千个]))?"
                   r"(?:毛(?![巾毯衣绒线]))?)(?![0-9])", _amount),
        ("amount", rf"(?<![0-9.,a-z])(?P<span>(?P<value>{ARABIC}|{ENGLISH}) ?(?P<scale>[kw])? ?{_MONEY_EN})", _amount),
        ("amount", r"(?<![0-9.,a-z])(?P<value>[0-9]{1,3}(?:,[0-9]{3})+(?:\.[0-9]{1,2})?|[0-9]{1,7}\.[0-9]{2})"
                   r"(?![0-9.,%a-z°℃米升斤公厘克号寸折倍])", _amount),
        ("amount", rf"{_LOSS}(?P<value>[0-9]{{2,6}}(?:\.[0-9]{{1,2}})?|{CHARACTERS}{{2,8}}){_ABOUT}"
                   r"(?![0-9.,:/a-z%个件条只次天年月周日小号米分点积倍折期码位张套床公斤克升毫瓦套单把盏名项笔十百千万])", _amount),
    ))

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
    doc.ents = kept
    return doc


def _precedence(candidate: _Candidate) -> tuple[int, int, int]:
    return _RANK[candidate.entity], candidate.start - candidate.end, candidate.start


def _candidates(text: str, today: date | None) -> Iterator[_Candidate]:
    for entity, pattern, read in _PATTERNS:
        for match in pattern.finditer(text):
            value = read(match)
            if value is not None:
                yield _Candidate(entity, *match.span("span" if "span" in pattern.groupindex else "value"), value)
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
            text: The message as typed; any Unicode. Only the first ``LONGEST_TEXT`` characters are searched.
            today: The customer's current day, from which relative days are counted.
        """
        if len(self._pipeline.vocab.strings) > _WORDS_KEPT:
            self._pipeline = self._build()
        doc = self._pipeline.make_doc(fold(text[:LONGEST_TEXT]))
        doc._.today = today
        for _, component in self._pipeline.pipeline:
            doc = component(doc)
        found = []
        for span in doc.ents:
            typed = text[span.start_char:span.end_char]
            value = typed if span._.value is None else span._.value
            found.append(Entity(span.label_, span.start_char, span.end_char, value, typed))
        return found


def read_products(path: Path) -> tuple[Product, ...]:
    """The products of a JSON list of ``sku``, ``name_zh``, ``name_en``, ``aliases_zh``, ``aliases_en``."""
    return tuple(
        Product(item["sku"], tuple(dict.fromkeys([item["name_zh"], item["name_en"], *item.get("aliases_zh", ()),
                                                  *item.get("aliases_en", ())])))
        for item in json.loads(path.read_text(encoding="utf8")))

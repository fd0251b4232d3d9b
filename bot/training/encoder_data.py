"""What the text encoder learns from, and what it is measured on.

Public sets are read from one folder and are not part of the project; the service turns (``data/sentiment``) are. Which rows
are taken, and in which order, depends on the seed alone.
"""
from __future__ import annotations

import csv
import json
import random
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

UNKNOWN = -1
NEGATIVE, NEUTRAL, POSITIVE = range(3)
VALENCE = {"negative": NEGATIVE, "neutral": NEUTRAL, "positive": POSITIVE}
LANGUAGES = ("zh", "en")
LONGEST = 160  # characters: a training row is cut to 64 tokens, so longer public texts teach half a thought

_GLAD = frozenset("happy joy admiration gratitude love amusement optimism happiness excitement positive-other caring relaxed "
                  "like approval relief pride grateful 开心 关心".split())
_SAD = frozenset("angry anger sad sadness fear disgust annoyance disapproval depress negative-other disappointment worried "
                 "remorse grief nervousness embarrassment 伤心 生气 厌恶".split())
_PLAIN = frozenset("neutral others surprise astonished curiosity confusion realization 平静 疑问 惊讶".split())

_TRUST = {"smp2020": 1.0, "zh_multi": 0.8, "cped": 0.5, "clue": 0.3, "bmeld": 0.4, "goemotions": 0.8, "emocontext": 0.4,
          "tweeteval": 0.6}
"""How much a source's rows weigh, and how often they are drawn: how near its labels are to anger in what is written."""

_HELD_OUT_SOURCES = ("smp2020_usual_eval_labeled", "smp2020_virus_eval_labeled", "goemotions_dev")
_CALM_TOPICS = frozenset("file_complaint ask_complaint_status request_human deny give_feedback bot_challenge out_of_scope".split())
_ANNOTATION = re.compile(r"\[([^\]]*)\](?:\([^)]*\)|\{[^}]*\})")


class Row(NamedTuple):
    """One text with what is known of it.

    Attributes:
        text: As written.
        angry: 1, 0 or ``UNKNOWN``.
        valence: ``NEGATIVE``, ``NEUTRAL``, ``POSITIVE`` or ``UNKNOWN``.
        weight: How much its labels count.
        source: Where it is from.
    """

    text: str
    angry: int
    valence: int
    weight: float
    source: str


@dataclass(frozen=True)
class Data:
    """Rows to learn from, to calibrate on, and to report on; no text is in two of them."""

    train: list[Row]
    calibrate: dict[str, list[Row]]
    report: dict[str, list[Row]]


@dataclass(frozen=True)
class Shares:
    """How many rows of each kind to take.

    Attributes:
        public: Rows of the public emotion sets, half Chinese, half English, two in five angry.
        calm: Customers' turns of MultiDoGO.
        reviews: Reviews of goods and meals, for the valence alone.
        requests: Requests of the Bitext set.
        repeat: How often every service turn is seen.
    """

    public: int = 26_000
    calm: int = 4_000
    reviews: int = 3_000
    requests: int = 1_000
    repeat: int = 5


def gather(corpora: Path, project: Path, shares: Shares, seed: int) -> Data:
    """Reads everything and splits it.

    Args:
        corpora: Folder of the public sets.
        project: Folder of this project.
        shares: How many rows of each kind.
        seed: Of the choice and the order.
    """
    chance = random.Random(seed)
    report = {f"service_{language}": service_turns(project, f"service_{language}_heldout") for language in LANGUAGES}
    calibrate: dict[str, list[Row]] = {}
    learning: list[Row] = []
    for language in LANGUAGES:
        kept_back, rest = _split_by_group(_records(project / "data" / "sentiment" / f"service_{language}.jsonl"), chance)
        calibrate[f"service_{language}"] = [_service_row(record) for record in kept_back]
        learning += [_service_row(record) for record in rest] * shares.repeat

    public: dict[str, list[Row]] = {language: [] for language in LANGUAGES}
    for record in _records(corpora / "emotion_train.jsonl"):
        row = _public_row(record)
        if record["source"] in _HELD_OUT_SOURCES:
            report.setdefault(record["source"].split("_")[0], []).append(row)
        elif 1 < len(row.text) <= LONGEST:
            public[record["lang"]].append(row)
    for name in ("smp2020", "goemotions"):
        chance.shuffle(report[name])
        report[name] = report[name][:1000]

    turns = sorted({line.strip() for line in _lines(corpora / "multidogo_customer_turns.txt") if line.strip()})
    chance.shuffle(turns)
    calm = [Row(text, 0, UNKNOWN, 1.0, "multidogo") for text in turns]
    report["multidogo"], calibrate["multidogo"], calm = calm[:1500], calm[1500:2000], calm[2000:]

    taken = {_plain(row.text) for part in (*report.values(), *calibrate.values()) for row in part}
    pools: list[tuple[list[Row], int]] = [(calm, shares.calm), (list(_reviews(corpora)), shares.reviews),
                                          (list(_requests(corpora)), shares.requests)]
    for language in LANGUAGES:
        for angry, part in ((1, 0.4), (0, 0.6)):
            pools.append(([row for row in public[language] if row.angry == angry], round(shares.public / 2 * part)))
    for pool, number in pools:
        new = [row for row in pool if _plain(row.text) not in taken]
        learning += _draw(new, number, chance)
    learning += list(_examples(project))
    chance.shuffle(learning)
    return Data([row for row in learning if _plain(row.text) not in taken], calibrate, report)


def service_turns(project: Path, name: str) -> list[Row]:
    """The service turns of one file."""
    return [_service_row(record) for record in _records(project / "data" / "sentiment" / f"{name}.jsonl")]


def batches(rows: list[Row], size: int, seed: int) -> list[list[Row]]:
    """Batches of texts of like length, in random order within every stretch of 60 batches."""
    chance = random.Random(seed)
    found: list[list[Row]] = []
    for start in range(0, len(rows), size * 60):
        stretch = sorted(rows[start:start + size * 60], key=lambda row: len(row.text.encode("utf8", "replace")))
        parts = [stretch[at:at + size] for at in range(0, len(stretch), size)]
        chance.shuffle(parts)
        found += parts
    return found


def _split_by_group(records: Iterable[dict[str, Any]], chance: random.Random) -> tuple[list[Any], list[Any]]:
    """One group in eight is kept back, whole."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for record in records:
        groups.setdefault(record["group"], []).append(record)
    names = sorted(groups)
    chance.shuffle(names)
    cut = len(names) // 8
    return ([record for name in names[:cut] for record in groups[name]],
            [record for name in names[cut:] for record in groups[name]])


def _service_row(record: dict[str, Any]) -> Row:
    return Row(record["text"], int(record["angry"]), VALENCE[record["valence"]], 1.5, "service")


def _public_row(record: dict[str, Any]) -> Row:
    feelings = set(record["emotion"].split("+"))
    glad, sad = bool(feelings & _GLAD), bool(feelings & _SAD)
    if glad != sad:
        valence = POSITIVE if glad else NEGATIVE
    else:
        valence = NEUTRAL if not glad and feelings <= _PLAIN else UNKNOWN
    weight = next(trust for name, trust in _TRUST.items() if record["source"].startswith(name))
    if feelings & {"annoyance", "disapproval"} and "anger" not in feelings:
        weight /= 2  # irritation, on which even its annotators disagreed
    return Row(record["text"].strip(), int(record["angry"]), valence, weight, record["source"])


def _reviews(corpora: Path) -> Iterator[Row]:
    for name in ("zh_online_shopping_reviews.csv", "zh_waimai_reviews.csv"):
        with (corpora / name).open(encoding="utf8", newline="") as file:
            for record in csv.DictReader(file):
                text = (record["review"] or "").strip("\ufeff \n")
                if 5 < len(text) <= 70:
                    yield Row(text, UNKNOWN, POSITIVE if record["label"] == "1" else NEGATIVE, 0.6, "reviews")


def _requests(corpora: Path) -> Iterator[Row]:
    with (corpora / "bitext_8k.csv").open(encoding="utf8", newline="") as file:
        for record in csv.DictReader(file):
            angry = UNKNOWN if record["intent"] == "complaint" else 0
            yield Row(record["utterance"], angry, UNKNOWN, 0.5, "bitext")


def _examples(project: Path) -> Iterator[Row]:
    """The training examples of the intents whose turns are calm as a rule."""
    for path in sorted((project / "data" / "nlu").glob("*/*.yml")):
        intent = ""
        for line in _lines(path):
            named = re.match(r"- intent: (\S+)", line)
            if named:
                intent = named[1].split("/")[0]
            example = re.match(r"\s+- (.+)", line)
            if example and intent and intent not in _CALM_TOPICS:
                yield Row(_ANNOTATION.sub(r"\1", example[1]), 0, UNKNOWN, 0.5, "examples")


def _draw(rows: list[Row], number: int, chance: random.Random) -> list[Row]:
    """Rows without repetition, likelier the more they weigh."""
    keyed = sorted(((chance.random() ** (1 / row.weight), index) for index, row in enumerate(rows)), reverse=True)
    return [rows[index] for _, index in keyed[:number]]


def _plain(text: str) -> str:
    return re.sub(r"\W+", "", text).lower() or text


def _records(path: Path) -> Iterator[dict[str, Any]]:
    return (json.loads(line) for line in _lines(path) if line.strip())


def _lines(path: Path) -> Iterator[str]:
    with path.open(encoding="utf8") as file:
        yield from file

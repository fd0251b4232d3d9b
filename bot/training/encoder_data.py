"""What the text encoder learns from, and what it is measured on.

Public sets are read from one folder and are not part of the project; the service turns (``data/sentiment``) are. Which
rows are taken, and in which order, depends on the seed alone.
"""
from __future__ import annotations

import csv
import hashlib
import json
import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

UNKNOWN = -1
NEGATIVE, NEUTRAL, POSITIVE = range(3)
VALENCE = {"negative": NEGATIVE, "neutral": NEUTRAL, "positive": POSITIVE}
LANGUAGES = ("zh", "en")

_GLAD = frozenset("happy joy admiration gratitude love amusement optimism happiness excitement positive-other caring "
                  "relaxed like approval relief pride grateful 开心 关心".split())
_SAD = frozenset("angry anger sad sadness fear disgust annoyance disapproval depress negative-other disappointment "
                 "worried remorse grief nervousness embarrassment 伤心 生气 厌恶".split())
_PLAIN = frozenset("neutral others surprise astonished curiosity confusion realization 平静 疑问 惊讶".split())

_OUT_OF_SCOPE = "out_of_scope"
_NOT_ABOUT_A_SHOP = ("smp2020", "goemotions", "tweeteval")
"""Sets of public posts; talk between two people is left out of what is learnt as out of scope, for its small talk."""

_NEAR = ("smp2020", "goemotions", "cped", "zh_multi", "bmeld", "tweeteval")
"""Sources whose labels are nearest to anger in what is written; of the rows of the others three in ten may be drawn."""

_HELD_OUT_SOURCES = ("smp2020_usual_eval_labeled", "smp2020_virus_eval_labeled", "goemotions_dev")
_HEATED_TOPICS = frozenset("file_complaint ask_complaint_status request_human deny give_feedback bot_challenge "
                           "out_of_scope".split())
_ANNOTATION = re.compile(r"\[([^\]]*)\](?:\([^)]*\)|\{[^}]*\})")


class Row(NamedTuple):
    """One text with what is known of it.

    Attributes:
        text: As written.
        angry: 1, 0 or ``UNKNOWN``.
        valence: ``NEGATIVE``, ``NEUTRAL``, ``POSITIVE`` or ``UNKNOWN``.
        weight: How much its labels count.
        source: Where it is from.
        intent: Place of its intent in ``Data.intents``, or ``UNKNOWN``.
    """

    text: str
    angry: int
    valence: int
    weight: float
    source: str
    intent: int = UNKNOWN


@dataclass(frozen=True)
class Data:
    """Rows to learn from, to calibrate on, and to report on; no text is in two of them."""

    train: list[Row]
    calibrate: dict[str, list[Row]]
    report: dict[str, list[Row]]
    intents: list[str]


@dataclass(frozen=True)
class Shares:
    """How many rows of each kind to take.

    Attributes:
        public: Rows of the public emotion sets.
        calm: Customers' turns of MultiDoGO.
        reviews: Reviews of goods and meals, for the valence alone.
        requests: Requests of the Bitext set.
        beyond: Rows of the public emotion sets that are learnt as out of scope, whatever their feeling.
        repeat: How often every service turn is seen.
        examples: How often every intent example is seen, and every message that is none of the shop's business.
        kept_back: Share of the groups of service turns that is not learnt from but calibrated on.
        passes: How often all that is done, each time with other rows of what is drawn.
        angry: Share of the public rows that are angry, while there are enough.
    """

    public: int = 90_000
    calm: int = 6_000
    reviews: int = 0
    requests: int = 2_000
    beyond: int = 2_500
    repeat: int = 3
    examples: int = 2
    kept_back: float = 0.06
    passes: int = 3
    angry: float = 0.36


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
        kept_back: list[Row] = []
        turns: list[Row] = []
        for record in _records(project / "data" / "sentiment" / f"service_{language}.jsonl"):
            side = kept_back if _is_kept_back(record["group"], shares.kept_back, seed) else turns
            side.append(_service_row(record))
        calibrate[f"service_{language}"] = kept_back
        learning += turns * shares.repeat

    public: list[Row] = []
    for record in _records(corpora / "emotion_train.jsonl"):
        if record["source"] in _HELD_OUT_SOURCES:
            report.setdefault(record["source"].split("_")[0], []).append(_public_row(record))
        elif record["source"].startswith(_NEAR) or chance.random() < 0.3:
            public.append(_public_row(record))
    for name in ("smp2020", "goemotions"):
        chance.shuffle(report[name])
        report[name] = report[name][:500]

    chats = sorted({line.strip() for line in _lines(corpora / "multidogo_customer_turns.txt") if line.strip()})
    chance.shuffle(chats)
    calm = [Row(text, 0, UNKNOWN, 1.0, "multidogo") for text in chats]
    report["multidogo"], calm = calm[:1500], calm[1500:]

    examples = list(_examples(project))
    intents = sorted({intent for _, intent in examples})
    beyond = intents.index(_OUT_OF_SCOPE)
    posts = [row for row in public if row.source.startswith(_NOT_ABOUT_A_SHOP)]
    for row in chance.sample(posts, min(shares.beyond, len(posts))):
        learning.append(row._replace(intent=beyond))
    learning += [Row(line.strip(), 0, UNKNOWN, 0.5, "clinc150", beyond)
                 for line in _lines(corpora / "clinc150_out_of_scope.txt") if line.strip()]
    learning += [Row(record["text"], 0, UNKNOWN, 0.5, "beyond", beyond) for language in LANGUAGES
                 for record in _records(project / "data" / "sentiment" / f"beyond_{language}.jsonl")] * shares.examples
    learning += [Row(text, UNKNOWN if intent in _HEATED_TOPICS else 0, UNKNOWN, 0.5, "examples", intents.index(intent))
                 for text, intent in examples] * shares.examples
    learning += list(_corrections(project, intents)) * shares.repeat

    held_out = {_plain(text) for path in sorted((project / "tests" / "nlu").glob("*.yml"))
                for text, _ in _intent_examples(path)}
    taken = held_out | {_plain(row.text) for part in (*report.values(), *calibrate.values()) for row in part}
    pools: list[tuple[list[Row], int]] = [(calm, shares.calm), (list(_reviews(corpora)), shares.reviews),
                                          (list(_requests(corpora)), shares.requests)]
    for angry, part in ((1, shares.angry), (0, 1 - shares.angry)):
        pools.append(([row for row in public if row.angry == angry], round(shares.public * part)))
    fresh = [([row for row in pool if _plain(row.text) not in taken], number) for pool, number in pools]
    learning = [row for row in learning if _plain(row.text) not in taken]
    train: list[Row] = []
    for _ in range(shares.passes):
        part = [*learning, *(row for pool, number in fresh for row in chance.sample(pool, min(number, len(pool))))]
        chance.shuffle(part)
        train += part
    return Data(train, calibrate, report, intents)


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


def _is_kept_back(group: str, share: float, seed: int) -> bool:
    """Decided by the name alone: groups that are added later move none of the others to the other side."""
    digest = hashlib.sha256(f"{seed} {group}".encode()).digest()
    return int.from_bytes(digest[:4], "big") < share * 2**32


def _service_row(record: dict[str, Any]) -> Row:
    return Row(record["text"], int(record["angry"]), VALENCE[record["valence"]], 1.5, "service")


def _public_row(record: dict[str, Any]) -> Row:
    feelings = set(record["emotion"].split("+"))
    glad, sad = bool(feelings & _GLAD), bool(feelings & _SAD)
    if glad != sad:
        valence = POSITIVE if glad else NEGATIVE
    else:
        valence = NEUTRAL if not glad and feelings <= _PLAIN else UNKNOWN
    weight = 0.6 if record["source"].startswith("bmeld") else 1.0
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


def _examples(project: Path) -> Iterator[tuple[str, str]]:
    """The training examples of the project, each with its intent."""
    for path in sorted((project / "data" / "nlu").glob("*/*.yml")):
        yield from _intent_examples(path)


def _corrections(project: Path, intents: list[str]) -> Iterator[Row]:
    """What agents corrected, where ``warmline corrections`` wrote it: moods, and intents in whatever mood."""
    folder = project / "data" / "corrections"
    for path in sorted(folder.glob("*.jsonl")):
        yield from (_service_row(record) for record in _records(path))
    for path in sorted((folder / "nlu").glob("*/*.yml")):
        yield from (Row(text, UNKNOWN, UNKNOWN, 0.5, "corrections", intents.index(intent))
                    for text, intent in _intent_examples(path) if intent in intents)


def _intent_examples(path: Path) -> Iterator[tuple[str, str]]:
    intent = ""
    for line in _lines(path):
        named = re.match(r"- intent: (\S+)", line)
        if named:
            intent = named[1].split("/")[0]
        example = re.match(r"\s+- (.+)", line)
        if example and intent:
            yield _ANNOTATION.sub(r"\1", example[1]), intent


def _plain(text: str) -> str:
    return re.sub(r"\W+", "", text).lower() or text


def _records(path: Path) -> Iterator[dict[str, Any]]:
    return (json.loads(line) for line in _lines(path) if line.strip())


def _lines(path: Path) -> Iterator[str]:
    with path.open(encoding="utf8") as file:
        yield from file

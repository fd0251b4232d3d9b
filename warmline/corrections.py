"""Writes what people corrected and labelled as training data, personal data masked: intents and anger.

The files are written anew in whole each time, so what is gone from the store is gone from them. They hold customers'
words: the folder is kept out of the repository and closed to other users of the machine.
"""
from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from bot.nlu.script import letters_and_digits
from crm_store.database import Store
from crm_store.queries.corrections import Lesson, lessons
from crm_store.rules.intents import INTENTS
from crm_store.rules.personal_data import mask
from crm_store.services.corrections import mark_exported
from warmline.training import CORRECTIONS

LANGUAGES = ("zh", "en")
VALENCES = ("negative", "neutral", "positive")

# What Rasa would take for an entity's mark (a brace is one behind a bracket only) or an escaped character, and what
# YAML refuses.
_MARKS = re.compile("[\\[\\]\\\\\x00-\x1f\x7f-\x9f\ud800-\udfff\ufeff\ufffe\uffff]")


@dataclass(frozen=True)
class Written:
    """How many lessons were written of each kind, and how many left out because they are measured on."""

    intents: int
    moods: int
    held_out: int


@dataclass(frozen=True)
class Examples:
    """What the next training learns from people: the text of each file by its place below the folder of corrections.

    ``labels`` are the labels that were looked at, with when each was given.
    """

    files: Mapping[str, str]
    written: Written
    labels: frozenset[tuple[int, datetime]]


def training_examples(store: Store, root: Path) -> Examples:
    """Every correction and label that holds now; a label has the last word on its text, else the newest correction.

    Args:
        store: the CRM store.
        root: the project's folder; what its ``tests/nlu`` and ``data/sentiment/*_heldout.jsonl`` hold is never learnt.
    """
    with store.read() as session:
        every = lessons(session)
    found = [lesson for lesson in every if _can_be_learnt(lesson)]
    newest = {(lesson.field, lesson.language, letters_and_digits(mask(lesson.text))): lesson for lesson in found}
    said = [lesson for lesson in newest.values() if lesson.value is not None]
    held_out = set(_held_out(root))
    kept = [lesson for lesson in said if letters_and_digits(lesson.text) not in held_out]
    files: dict[str, str] = {}
    for language in LANGUAGES:
        of_language = [lesson for lesson in kept if lesson.language == language]
        intents = [lesson for lesson in of_language if lesson.field == "intent"]
        moods = [lesson for lesson in of_language if lesson.field == "anger"]
        if intents:
            files[f"nlu/{language}/corrections.yml"] = as_intents(intents)
        if moods:
            files[f"{language}.jsonl"] = _moods(moods)
    count = sum(lesson.field == "intent" for lesson in kept)
    return Examples(files, Written(count, len(kept) - count, len(said) - len(kept)), frozenset(
        (lesson.label_id, lesson.said_at) for lesson in every if lesson.label_id is not None))


def write_corrections(store: Store, root: Path, now: datetime) -> Written:
    """Write :func:`training_examples` below ``root``, in whole, and note of each label that it was written.

    Args:
        store: the CRM store.
        root: the project's folder.
        now: when.
    """
    examples = training_examples(store, root)
    if (root / CORRECTIONS).exists():
        shutil.rmtree(root / CORRECTIONS)
    for name, text in examples.files.items():
        (root / CORRECTIONS).mkdir(mode=0o700, parents=True, exist_ok=True)
        path = root / CORRECTIONS / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf8")
    with store.write() as session:
        mark_exported(session, examples.labels, now)
    return examples.written


def _can_be_learnt(lesson: Lesson) -> bool:
    known = lesson.field != "intent" or lesson.value is None or lesson.value in INTENTS
    return known and bool(_one_line(lesson.text))


def as_intents(found: Sequence[Lesson]) -> str:
    """Lessons of the field "intent" as Rasa reads them, one example a lesson whatever its text holds."""
    lines = ['version: "3.1"', "", "# What people said of messages; `python -m warmline corrections` writes it anew.",
             "nlu:"]
    for intent in sorted({str(lesson.value) for lesson in found}):
        lines += [f"- intent: {intent}", "  examples: |"]
        lines += [f"    - {_one_line(lesson.text)}" for lesson in found if lesson.value == intent]
    return "\n".join([*lines, ""])


def _moods(found: list[Lesson]) -> str:
    return "".join(json.dumps(_mood(lesson), ensure_ascii=False) + "\n" for lesson in found)


def _mood(lesson: Lesson) -> dict[str, Any]:
    """A record as ``data/sentiment`` describes them; what angry customers say is negative."""
    angry = lesson.value == "angry"
    read = lesson.valence if lesson.valence in VALENCES else "neutral"
    return {"text": mask(lesson.text), "angry": int(angry),
            "valence": "negative" if angry else read, "kind": "correction",
            "group": f"m{lesson.message_id}"}


def _one_line(text: str) -> str:
    return " ".join(_MARKS.sub(" ", mask(text)).split())


def _held_out(root: Path) -> Iterator[str]:
    for path in (root / "tests" / "nlu").glob("*.yml"):
        examples = re.findall(r"^\s*- (.+)", path.read_text(encoding="utf8"), re.MULTILINE)
        yield from map(letters_and_digits, examples)
    records = [*(root / "tests" / "nlu").glob("*.jsonl"), *(root / "data" / "sentiment").glob("*_heldout.jsonl")]
    for path in records:
        for line in path.read_text(encoding="utf8").splitlines():
            if line.strip():
                yield from (letters_and_digits(value) for value in json.loads(line).values() if isinstance(value, str))

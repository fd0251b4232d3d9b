"""Writes what agents corrected as training data, personal data masked: intents for the bot, anger for the encoder.

The files are written anew in whole each time, so what is gone from the store is gone from them. They hold customers'
words: the folder is kept out of the repository and closed to other users of the machine.
"""
from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bot.nlu.script import fold
from crm_store.database import Store
from crm_store.queries.corrections import Lesson, lessons
from crm_store.rules.intents import INTENTS
from crm_store.rules.personal_data import mask
from warmline.training import CORRECTIONS

LANGUAGES = ("zh", "en")
VALENCES = ("negative", "neutral", "positive")

# What Rasa would take for an entity's mark or for an escaped character.
_MARKS = re.compile(r"[\[\]\\]")


@dataclass(frozen=True)
class Written:
    """How many corrections were written of each kind, and how many left out because they are measured on."""

    intents: int
    moods: int
    held_out: int


def write_corrections(store: Store, root: Path) -> Written:
    """Write every correction that holds now below ``root``; the newest word counts where two texts are the same.

    Args:
        store: the CRM store.
        root: the project's folder; what its ``tests/nlu`` and ``data/sentiment/*_heldout.jsonl`` hold is never learnt.
    """
    with store.read() as session:
        found = [lesson for lesson in lessons(session) if _can_be_learnt(lesson)]
    held_out = set(_held_out(root))
    kept = [lesson for lesson in found if _plain(lesson.text) not in held_out]
    newest = {(lesson.field, lesson.language, _plain(mask(lesson.text))): lesson for lesson in kept}
    if (root / CORRECTIONS).exists():
        shutil.rmtree(root / CORRECTIONS)
    for language in LANGUAGES:
        of_language = [lesson for lesson in newest.values() if lesson.language == language]
        _write_intents(root, language, [lesson for lesson in of_language if lesson.field == "intent"])
        _write_moods(root, language, [lesson for lesson in of_language if lesson.field == "anger"])
    intents = sum(lesson.field == "intent" for lesson in newest.values())
    return Written(intents, len(newest) - intents, len(found) - len(kept))


def _can_be_learnt(lesson: Lesson) -> bool:
    known = lesson.field != "intent" or lesson.value in INTENTS
    return known and bool(_one_line(lesson.text))


def _write_intents(root: Path, language: str, found: list[Lesson]) -> None:
    if not found:
        return
    lines = ['version: "3.1"', "", "# Agents' corrections; `python -m warmline corrections` writes them anew.", "nlu:"]
    for intent in sorted({lesson.value for lesson in found}):
        lines += [f"- intent: {intent}", "  examples: |"]
        lines += [f"    - {_one_line(lesson.text)}" for lesson in found if lesson.value == intent]
    _write(root, CORRECTIONS / "nlu" / language / "corrections.yml", lines)


def _write_moods(root: Path, language: str, found: list[Lesson]) -> None:
    if found:
        _write(root, CORRECTIONS / f"{language}.jsonl",
               [json.dumps(_mood(lesson), ensure_ascii=False) for lesson in found])


def _mood(lesson: Lesson) -> dict[str, Any]:
    """A record as ``data/sentiment`` describes them; what angry customers say is negative."""
    angry = lesson.value == "angry"
    read = lesson.valence if lesson.valence in VALENCES else "neutral"
    return {"text": mask(lesson.text), "angry": int(angry),
            "valence": "negative" if angry else read, "kind": "correction",
            "group": f"m{lesson.message_id}"}


def _write(root: Path, path: Path, lines: list[str]) -> None:
    (root / CORRECTIONS).mkdir(mode=0o700, parents=True, exist_ok=True)
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_text("\n".join([*lines, ""]), encoding="utf8")


def _one_line(text: str) -> str:
    return " ".join(_MARKS.sub(" ", mask(text)).split())


def _held_out(root: Path) -> Iterator[str]:
    for path in (root / "tests" / "nlu").glob("*.yml"):
        yield from map(_plain, re.findall(r"^\s*- (.+)", path.read_text(encoding="utf8"), re.MULTILINE))
    records = [*(root / "tests" / "nlu").glob("*.jsonl"), *(root / "data" / "sentiment").glob("*_heldout.jsonl")]
    for path in records:
        for line in path.read_text(encoding="utf8").splitlines():
            if line.strip():
                yield from (_plain(value) for value in json.loads(line).values() if isinstance(value, str))


def _plain(text: str) -> str:
    """What tells whether two texts are the same: letters and digits, or all of it where there are none."""
    return "".join(sign for sign in fold(text) if sign.isalnum()) or text.strip()

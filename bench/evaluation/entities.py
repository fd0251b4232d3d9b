"""The section of entities: what the finder finds in held-out messages."""
from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

from bench.evaluation.entity_figures import Detail, compare, labelled_details
from bench.evaluation.held_out import LANGUAGES, ROOT, by_language, read_records
from bot.nlu.finder import EntityFinder

DAY = date(2026, 11, 18)
"""The customer's day where a line has none: nothing in it depends on the day."""


class LabelledMessage(NamedTuple):
    """One message, the day it is written on, and its entities."""

    text: str
    language: str
    day: date
    details: list[Detail]


def labelled_messages(root: Path = ROOT) -> Iterator[LabelledMessage]:
    """The lines of ``tests/nlu/entities_zh.jsonl`` and ``entities_en.jsonl``."""
    for language in LANGUAGES:
        for record in read_records(root / f"tests/nlu/entities_{language}.jsonl"):
            day = date.fromisoformat(record["day"]) if "day" in record else DAY
            yield LabelledMessage(record["text"], language, day, labelled_details(record["text"], record["entities"]))


class ReadMessage(NamedTuple):
    """A labelled message and what was found in it."""

    message: LabelledMessage
    found: list[Detail]

    @property
    def language(self) -> str:
        """Of the message."""
        return self.message.language

    @property
    def is_right(self) -> bool:
        """Whether nothing is missed, misread or made up."""
        return _in_words(self.found) == _in_words(self.message.details)


def measure_entities(finder: EntityFinder, root: Path = ROOT) -> dict[str, Any]:
    """The figures by language and type, and every message that is not wholly right."""
    read = [ReadMessage(message, [Detail(entity.entity, entity.start, entity.end, entity.value)
                                  for entity in finder.find(message.text, message.day)])
            for message in labelled_messages(root)]
    languages = {language: {"messages": len(chosen), "types": {
                     entity: figures.summary()
                     for entity, figures in compare((each.message.details, each.found) for each in chosen).items()}}
                 for language, chosen in by_language(read)}
    return {"languages": languages,
            "wrong": [{"language": each.language, "text": each.message.text,
                       "labelled": _in_words(each.message.details), "found": _in_words(each.found)}
                      for each in read if not each.is_right]}


def _in_words(details: list[Detail]) -> list[str]:
    return [f"{detail.entity} [{detail.start}:{detail.end}] {detail.value}"
            for detail in sorted(details, key=lambda detail: detail.start)]

"""Reads what is measured on (``tests/nlu``) and, to be kept apart from it, what is learnt from (``data/nlu``)."""
from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

import yaml

ROOT = Path(__file__).resolve().parents[2]
LANGUAGES = ("zh", "en")


class HasLanguage(Protocol):
    """Anything that belongs to the file of one language."""

    @property
    def language(self) -> str:
        """zh or en."""


Item = TypeVar("Item", bound=HasLanguage)


@dataclass(frozen=True)
class Example:
    """One phrasing, with its intent and the language of its file."""

    text: str
    intent: str
    language: str


def read_examples(paths: Sequence[Path], language: str) -> list[Example]:
    """The examples of NLU files as Rasa writes them; entity annotations are not used in this project."""
    return [Example(line[2:].strip(), block["intent"], language)
            for path in paths for block in yaml.safe_load(path.read_text(encoding="utf8"))["nlu"] if "intent" in block
            for line in block["examples"].splitlines() if line.startswith("- ")]


def training_examples(root: Path = ROOT) -> list[Example]:
    """Everything under ``data/nlu``."""
    return [example for language in LANGUAGES
            for example in read_examples(sorted((root / "data/nlu" / language).glob("*.yml")), language)]


def held_out_examples(root: Path = ROOT) -> list[Example]:
    """The phrasings of ``tests/nlu`` with their intents."""
    return [example for language in LANGUAGES
            for example in read_examples([root / f"tests/nlu/{language}.yml"], language)]


def read_records(path: Path) -> list[dict[str, Any]]:
    """The JSON objects of a file, one a line."""
    return [json.loads(line) for line in path.read_text(encoding="utf8").splitlines() if line.strip()]


def by_language(items: Sequence[Item]) -> Iterator[tuple[str, list[Item]]]:
    """The items of each language that has any, then, as ``all``, every item."""
    for language in LANGUAGES:
        chosen = [item for item in items if item.language == language]
        if chosen:
            yield language, chosen
    yield "all", list(items)

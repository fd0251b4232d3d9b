"""The figures of entities, as pure functions of what is in a message and what was found."""
from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

ALL = "all"


class Detail(NamedTuple):
    """One entity: its type, where it stands in the message, what it means."""

    entity: str
    start: int
    end: int
    value: str | float | int


@dataclass
class EntityFigures:
    """How the entities found compare with the labelled ones; one is right where type, start and end are.

    Attributes:
        labelled: How many there are.
        found: How many were found.
        right: How many of the found ones are labelled.
        right_values: How many of the right ones mean what the label says.
    """

    labelled: int = 0
    found: int = 0
    right: int = 0
    right_values: int = 0

    def summary(self) -> dict[str, float | None]:
        """Counts, precision, recall, F1, and the share of right values among the right ones; None for no share."""
        return {"labelled": self.labelled, "found": self.found,
                "precision": self.right / self.found if self.found else None,
                "recall": self.right / self.labelled if self.labelled else None,
                "f1": 2 * self.right / (self.labelled + self.found) if self.labelled + self.found else None,
                "value_accuracy": self.right_values / self.right if self.right else None}


def compare(messages: Iterable[tuple[Sequence[Detail], Sequence[Detail]]]) -> dict[str, EntityFigures]:
    """The figures of each type, in alphabetical order, then of all together.

    Args:
        messages: Of each message the labelled details and the found ones.
    """
    figures: dict[str, EntityFigures] = {}
    for labelled, found in messages:
        values = {detail[:3]: detail.value for detail in labelled}
        for detail in labelled:
            _of(figures, detail).labelled += 1
        for detail in found:
            mine = _of(figures, detail)
            mine.found += 1
            if detail[:3] in values:
                mine.right += 1
                mine.right_values += same_value(values[detail[:3]], detail.value)
    together = EntityFigures(*(sum(getattr(each, name) for each in figures.values())
                               for name in ("labelled", "found", "right", "right_values")))
    return {**dict(sorted(figures.items())), ALL: together}


def same_value(one: str | float | int, other: str | float | int) -> bool:
    """Whether two values mean the same: numbers as numbers, everything else to the letter."""
    if isinstance(one, str) and isinstance(other, str):
        return one == other
    try:
        return math.isclose(float(one), float(other), abs_tol=1e-6)
    except ValueError:
        return False


def labelled_details(text: str, labels: Iterable[Mapping[str, Any]]) -> list[Detail]:
    """Where each labelled entity stands: at the first place its text occurs that no label before it has taken.

    Raises:
        ValueError: A label's text does not occur in the message.
    """
    details: list[Detail] = []
    for label in labels:
        start = text.find(label["text"])
        while start >= 0 and any(start < taken.end and taken.start < start + len(label["text"]) for taken in details):
            start = text.find(label["text"], start + 1)
        if start < 0:
            raise ValueError(f"{label['text']!r} is not in {text!r}")
        details.append(Detail(label["entity"], start, start + len(label["text"]), label["value"]))
    return details


def _of(figures: dict[str, EntityFigures], detail: Detail) -> EntityFigures:
    return figures.setdefault(detail.entity, EntityFigures())

"""How much of what a message says, by its words, the passages of each article say too."""
from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bot.nlu.script import fold

_RUN = re.compile(r"[a-z]+|[0-9]+(?:\.[0-9]+)?|[\u3400-\u9fff]+")
_ENDINGS = ("ing", "ed", "es", "s")
_SHORTEST_STEM = 3


@dataclass(frozen=True)
class ArticleWords:
    """In which articles each word occurs; the fewer they are, the more it tells (inverse document frequency)."""

    articles: int
    found_in: dict[str, npt.NDArray[np.intp]]

    @classmethod
    def of(cls, texts: Iterable[str], article_of: Sequence[int] | npt.NDArray[np.intp], articles: int) -> ArticleWords:
        """Reads every passage; ``article_of`` has the place of its article."""
        found: defaultdict[str, set[int]] = defaultdict(set)
        for text, article in zip(texts, article_of, strict=True):
            for word in words(text):
                found[word].add(int(article))
        return cls(articles, {word: np.array(sorted(places), dtype=np.intp) for word, places in found.items()})

    def shares(self, text: str) -> npt.NDArray[np.float64]:
        """Of each article the share, from 0 to 1, that its words have in all that the words of ``text`` tell."""
        told, whole = np.zeros(self.articles), 0.0
        for word in words(text):
            places = self.found_in.get(word)
            weight = math.log(1 + self.articles / (1 if places is None else len(places)))
            whole += weight
            if places is not None:
                told[places] += weight
        return told / whole if whole else told


def words(text: str) -> set[str]:
    """Latin words without their ending, numbers, and Han characters alone and in pairs; Traditional as Simplified."""
    found: set[str] = set()
    for run in _RUN.findall(fold(text).replace("'", "")):
        if run[0] >= "\u3400":
            found.update(run, (run[at:at + 2] for at in range(len(run) - 1)))
        else:
            found.add(stem(run))
    return found


def stem(word: str) -> str:
    """A word without its plural or its tense, roughly: enough for a question to meet its answer."""
    return next((word[:-len(ending)] for ending in _ENDINGS
                 if word.endswith(ending) and len(word) - len(ending) >= _SHORTEST_STEM), word)

"""Finds the knowledge articles nearest in meaning to a message."""
from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bot.nlu.encoder import EncoderError, TextEncoder, load_encoder
from crm_store.database import Store
from crm_store.queries.knowledge import PassageIndex, passage_vectors

logger = logging.getLogger(__name__)

REFRESH_SECONDS = 30.0  # an article that a manager saves is found after at most this long
ARTICLES_GIVEN = 3
OWN_ARTICLES_GIVEN = 2
PASSAGES_TO_CENTRE = 30  # fewer say nothing about the middle


@dataclass(frozen=True)
class Centred:
    """Passages seen from their middle: all of them point nearly the same way, and what tells them apart is the rest."""

    index: PassageIndex
    middle: npt.NDArray[np.float32]
    matrix: npt.NDArray[np.float32]
    articles: tuple[tuple[str, str], ...]  # slug and intent of each article
    article_of: npt.NDArray[np.intp]  # of each passage the place of its article there

    @classmethod
    def of(cls, index: PassageIndex) -> Centred:
        """Move the origin to the mean of the passages, and make them unit length again."""
        enough = len(index.slugs) >= PASSAGES_TO_CENTRE
        middle = index.matrix.mean(axis=0) if enough else np.zeros(index.matrix.shape[1], np.float32)
        articles = tuple(dict(zip(index.slugs, index.intents, strict=True)).items())
        places = {slug: place for place, (slug, _) in enumerate(articles)}
        return cls(index, middle, unit(index.matrix - middle), articles,
                   np.array([places[slug] for slug in index.slugs], dtype=np.intp))

    def scores(self, vector: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """How near each passage is to ``vector``, from -1 to 1."""
        found: npt.NDArray[np.float32] = self.matrix @ unit((vector - self.middle).reshape(1, -1))[0]
        return found

    def nearest(self, vector: npt.NDArray[np.float32]) -> list[tuple[float, str, str]]:
        """Score, slug and intent of every article, by its nearest passage, the best first."""
        best = np.full(len(self.articles), -1.0, dtype=np.float32)
        np.maximum.at(best, self.article_of, self.scores(vector))
        return [(float(best[at]), *self.articles[at]) for at in np.argsort(-best, kind="stable").tolist()]


class ArticleFinder:
    """The passages of all published articles, kept in memory and read again now and then."""

    def __init__(self, store: Store, encoder: TextEncoder | None) -> None:
        """Without an encoder nothing is ever found."""
        self._store = store
        self._encoder = encoder
        self._passages: Centred | None = None
        self._read_at = float("-inf")

    def find(self, text: str, intent: str | None = None) -> list[dict[str, Any]]:
        """The nearest articles and the nearest of the intent's own, best first: ``[{"slug": …, "score": …}]``."""
        if self._encoder is None or not text.strip():
            return []
        passages = self._current(self._encoder)
        if not passages.index.slugs:
            return []
        try:
            vector = self._encoder.encode([text])[0]
        except Exception as error:  # an encoder that does not run leaves the rest of the turn working
            logger.error("articles were not searched: %s", type(error).__name__)
            return []
        nearest = passages.nearest(vector)
        own = [row for row in nearest if row[2] == intent][:OWN_ARTICLES_GIVEN]
        found = dict.fromkeys([*nearest[:ARTICLES_GIVEN], *own])
        return [{"slug": slug, "score": round(score, 4)} for score, slug, _ in sorted(found, reverse=True)]

    def _current(self, encoder: TextEncoder) -> Centred:
        now = time.monotonic()
        if self._passages is None or now - self._read_at > REFRESH_SECONDS:
            with self._store.read() as session:
                self._passages = Centred.of(passage_vectors(session, encoder.name))
            self._read_at = now
        return self._passages


def unit(rows: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Rows of unit length; a row of zeros stays one."""
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.where(lengths == 0, 1, lengths), dtype=np.float32)


def shared_encoder(folder: Path = Path("models/encoder")) -> TextEncoder | None:
    """The encoder that the NLU uses, or None where its files are missing: then questions are answered by intent."""
    try:
        return load_encoder(folder)
    except EncoderError as error:
        logger.warning("articles are not searched by meaning: %s", error)
        return None

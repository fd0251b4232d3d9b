"""Finds the knowledge articles nearest in meaning to a message."""
from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import Any

import numpy as np

from bot.nlu.encoder import EncoderError, TextEncoder, load_encoder
from crm_store.database import Store
from crm_store.queries.knowledge import PassageIndex, passage_vectors

logger = logging.getLogger(__name__)

REFRESH_SECONDS = 30.0  # an article that a manager saves is found after at most this long
ARTICLES_GIVEN = 3


class ArticleFinder:
    """The passages of all published articles, kept in memory and read again now and then."""

    def __init__(self, store: Store, encoder: TextEncoder | None) -> None:
        """Without an encoder nothing is ever found."""
        self._store = store
        self._encoder = encoder
        self._index: PassageIndex | None = None
        self._read_at = float("-inf")

    def find(self, text: str, *, limit: int = ARTICLES_GIVEN) -> list[dict[str, Any]]:
        """The nearest articles, best first: ``[{"slug": …, "score": cosine}]``; an article counts once."""
        if self._encoder is None or not text.strip():
            return []
        index = self._current()
        if index is None or not len(index.slugs):
            return []
        try:
            vector = self._encoder.encode([text])[0]
        except Exception as error:  # an encoder that does not run leaves the rest of the turn working
            logger.error("articles were not searched: %s", type(error).__name__)
            return []
        scores = index.matrix @ vector
        best: dict[str, float] = {}
        for at in np.argsort(-scores)[: limit * 8]:
            best.setdefault(index.slugs[at], float(scores[at]))
        return [{"slug": slug, "score": round(score, 4)} for slug, score in list(best.items())[:limit]]

    def _current(self) -> PassageIndex | None:
        now = time.monotonic()
        if self._encoder is not None and now - self._read_at > REFRESH_SECONDS:
            with self._store.read() as session:
                self._index = passage_vectors(session, self._encoder.name)
            self._read_at = now
        return self._index


def shared_encoder(folder: Path = Path("models/encoder")) -> TextEncoder | None:
    """The encoder that the NLU uses, or None where its files are missing: then questions are answered by intent."""
    try:
        return load_encoder(folder)
    except EncoderError as error:
        logger.warning("articles are not searched by meaning: %s", error)
        return None

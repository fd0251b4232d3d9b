"""Finds the knowledge articles nearest in meaning to a message."""
from __future__ import annotations

import logging
import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from bot.article_words import ArticleWords
from bot.nlu.encoder import EncoderError, TextEncoder, load_encoder
from bot.nlu.script import detect_language
from crm_store.database import Store
from crm_store.queries.knowledge import PassageIndex, passage_vectors, passages_mark

logger = logging.getLogger(__name__)

REFRESH_SECONDS = 30.0  # an article that a manager saves is found after at most this long
ARTICLES_GIVEN = 3
OWN_ARTICLES_GIVEN = 2
PASSAGES_TO_CENTRE = 30  # fewer say nothing about the middle
WEIGHTS = (0.5, 0.3, 0.2)  # of an article's nearest passages: one alone is near by accident more often


@dataclass(frozen=True)
class Sureness:
    """How an article's nearness becomes the probability that it answers the message: a logistic regression.

    `make eval A="--fit-articles"` finds the numbers on the articles' own questions and those of ``unanswered.yml``.

    Attributes:
        constant: What speaks for an article of which nothing is known.
        score: What its score adds.
        lead: What its lead over the best other article adds.
        own: What it adds that it was written for the message's intent.
        words: What it adds that it has all the words of the message.
    """

    constant: float
    score: float
    lead: float
    own: float
    words: float

    def of(self, found: Found, intent: str | None) -> float:
        """The probability, between 0 and 1, that the article answers a message taken for ``intent``."""
        return 1 / (1 + math.exp(-(self.constant + self.score * found.score + self.lead * found.lead
                                   + self.own * (found.intent == intent) + self.words * found.words)))


SURENESS = {  # by language: words are told apart in other ways
    "zh": Sureness(constant=-3.69, score=0.3, lead=16.93, own=0.36, words=8.86),
    "en": Sureness(constant=-3.78, score=3.02, lead=18.84, own=0.06, words=4.89),
}


class Found(NamedTuple):
    """An article near a message.

    Attributes:
        score: How near, from -1 to 1.
        slug: The article's name.
        intent: What it was written for.
        lead: How far it is ahead of the best other one, below 0 where it is behind.
        words: The share of the message that its words cover, from 0 to 1.
    """

    score: float
    slug: str
    intent: str
    lead: float
    words: float


@dataclass(frozen=True)
class Centred:
    """Passages seen from their middle and stretched: all of them point nearly the same way, and some ways tell little.

    The middle is what all have in common. The ways in which passages of one article differ from each other say nothing
    about the article (within-class whitening, as in linear discriminant analysis), so they are made to count less.
    """

    index: PassageIndex
    middle: npt.NDArray[np.float32]
    stretch: npt.NDArray[np.float32]
    matrix: npt.NDArray[np.float32]
    articles: tuple[tuple[str, str], ...]  # slug and intent of each article
    article_of: npt.NDArray[np.intp]  # of each passage the place of its article there
    words: ArticleWords

    @classmethod
    def of(cls, index: PassageIndex) -> Centred:
        """Move the origin to the mean of the passages, stretch them, and make them unit length again."""
        articles = tuple(dict(zip(index.slugs, index.intents, strict=True)).items())
        places = {slug: place for place, (slug, _) in enumerate(articles)}
        article_of = np.array([places[slug] for slug in index.slugs], dtype=np.intp)
        if len(index.slugs) >= PASSAGES_TO_CENTRE:
            middle = index.matrix.mean(axis=0)
            stretch = whitening(unit(index.matrix - middle), article_of)
        else:
            middle = np.zeros(index.matrix.shape[1], np.float32)
            stretch = np.eye(index.matrix.shape[1], dtype=np.float32)
        return cls(index, middle, stretch, unit(unit(index.matrix - middle) @ stretch), articles, article_of,
                   ArticleWords.of(index.texts, article_of, len(articles)))

    def scores(self, vector: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """How near each passage is to ``vector``, from -1 to 1."""
        found: npt.NDArray[np.float32] = self.matrix @ unit((vector - self.middle).reshape(1, -1) @ self.stretch)[0]
        return found

    def nearest(self, text: str, vector: npt.NDArray[np.float32]) -> list[Found]:
        """Every article by its nearest passages, the best first."""
        scores = self.scores(vector)
        order = np.argsort(self.article_of * 4 - scores)  # by article, each one's nearest first; faster than lexsort
        article = self.article_of[order]
        rank = np.arange(len(order)) - np.searchsorted(article, np.arange(len(self.articles)))[article]
        counted = rank < len(WEIGHTS)
        article, weights = article[counted], np.array(WEIGHTS)[rank[counted]]
        mean = np.bincount(article, weights * scores[order][counted]) / np.bincount(article, weights)
        best = np.argsort(-mean, kind="stable").tolist()
        first, second = mean[best[0]], mean[best[1]] if len(best) > 1 else -1.0
        covered = self.words.shares(text)
        return [Found(float(mean[at]), slug, intent, float(mean[at] - (second if at == best[0] else first)),
                      float(covered[at])) for at, (slug, intent) in ((at, self.articles[at]) for at in best)]

    def likely(self, text: str, vector: npt.NDArray[np.float32], intent: str | None) -> list[Found]:
        """The nearest articles and the nearest of those written for ``intent``."""
        nearest = self.nearest(text, vector)
        own = [row for row in nearest if row.intent == intent][:OWN_ARTICLES_GIVEN]
        return list(dict.fromkeys([*nearest[:ARTICLES_GIVEN], *own]))


class ArticleFinder:
    """The passages of all published articles, kept in memory and read again now and then."""

    def __init__(self, store: Store, encoder: TextEncoder | None) -> None:
        """Without an encoder nothing is ever found."""
        self._store = store
        self._encoder = encoder
        # The passages with their mark, in one: a turn and the background may both read them anew.
        self._read: tuple[tuple[object, ...], Centred] | None = None
        self._read_at = float("-inf")

    def find(self, text: str, intent: str | None = None) -> list[dict[str, Any]]:
        """The nearest articles and the nearest of the intent's own, best first: ``[{"slug": …, "score": …}]``.

        The score is the probability that the article answers the message.
        """
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
        sureness = SURENESS[detect_language(text)]
        found = sorted(((sureness.of(row, intent), row.slug) for row in passages.likely(text, vector, intent)),
                       reverse=True)
        return [{"slug": slug, "score": round(sure, 4)} for sure, slug in found]

    def refresh(self) -> None:
        """Read the passages again, so that no turn has to; safe beside turns, from another thread."""
        if self._encoder is not None:
            self._load(self._encoder, time.monotonic())

    def _current(self, encoder: TextEncoder) -> Centred:
        now = time.monotonic()
        if self._read is None or now - self._read_at > REFRESH_SECONDS:
            return self._load(encoder, now)
        return self._read[1]

    def _load(self, encoder: TextEncoder, now: float) -> Centred:
        read = self._read
        with self._store.read() as session:
            mark = passages_mark(session, encoder.name)
            if read is None or mark != read[0]:
                read = mark, Centred.of(passage_vectors(session, encoder.name))
        self._read, self._read_at = read, now
        return read[1]


def whitening(rows: npt.NDArray[np.float32], article_of: npt.NDArray[np.intp]) -> npt.NDArray[np.float32]:
    """The matrix that evens out how passages of one article differ, held back by the average of it."""
    sums = np.zeros((int(article_of.max()) + 1, rows.shape[1]))
    np.add.at(sums, article_of, rows)
    apart = rows - (sums / np.bincount(article_of)[:, None])[article_of]
    spread, ways = np.linalg.eigh(apart.T @ apart)
    held_back = spread + spread.mean()
    return np.asarray(ways / np.sqrt(np.where(held_back > 0, held_back, 1)), dtype=np.float32)


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

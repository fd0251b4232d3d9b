"""Finding articles by meaning: the nearest first, those of the intent among them, new ones soon, and never an error."""
from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import bot.articles
from bot.articles import ArticleFinder, Centred
from crm_store.queries.knowledge import PassageIndex
from tests.actions.shop import Shop

INDEX = PassageIndex(["a", "a", "b", "c"], ["zh", "en", "zh", "zh"], ["x", "x", "y", "z"],
                     np.array([[1, 0, 0], [.8, .6, 0], [0, 1, 0], [0, 0, 1]], np.float32))


class Encoder:
    name = "test"

    def __init__(self) -> None:
        self.vector = np.array([.6, .8, 0], np.float32)
        self.broken = False

    def encode(self, texts: list[str]) -> Any:
        if self.broken:
            raise RuntimeError
        return np.stack([self.vector for _ in texts])


@pytest.fixture
def finder(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> ArticleFinder:
    monkeypatch.setattr(bot.articles, "passage_vectors", lambda session, name: INDEX)
    monkeypatch.setattr(bot.articles, "ARTICLES_GIVEN", 2)
    return ArticleFinder(shop.store, Encoder())  # type: ignore[arg-type]


def test_the_nearest_first_and_each_article_once(finder: ArticleFinder) -> None:
    assert [row["slug"] for row in finder.find("…")] == ["a", "b"]
    assert finder.find("…")[0]["score"] == pytest.approx(0.96)


def test_the_intents_own_article_is_among_them(finder: ArticleFinder) -> None:
    assert [row["slug"] for row in finder.find("…", "z")] == ["a", "b", "c"]


def test_nothing_to_say_finds_nothing(finder: ArticleFinder, shop: Shop) -> None:
    assert finder.find("  ") == []
    assert ArticleFinder(shop.store, None).find("退货") == []


def test_an_encoder_that_fails_finds_nothing(finder: ArticleFinder) -> None:
    finder._encoder.broken = True  # type: ignore[union-attr]
    assert finder.find("退货") == []


def test_a_new_article_is_found_after_a_while(finder: ArticleFinder, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter((0.0, 10.0, 31.0))
    monkeypatch.setattr(bot.articles.time, "monotonic", lambda: next(clock))
    finder.find("…")
    monkeypatch.setattr(bot.articles, "passage_vectors",
                        lambda session, name: PassageIndex(["new"], ["zh"], ["x"], np.eye(1, 3, dtype=np.float32)))
    assert finder.find("…")[0]["slug"] == "a"
    assert finder.find("…")[0]["slug"] == "new"


def test_the_middle_is_taken_away_where_there_are_enough() -> None:
    rng = np.random.default_rng(1)
    common = np.array([10.0, 0, 0, 0], np.float32)
    rows = (common + rng.normal(size=(40, 4))).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    centred = Centred.of(PassageIndex([str(at) for at in range(40)], ["zh"] * 40, ["x"] * 40, rows))
    scores = centred.scores(rows[7])
    assert int(np.argmax(scores)) == 7 and scores[7] == pytest.approx(1, abs=1e-5)
    assert abs(float(np.median(scores))) < 0.3 < float(np.median(rows @ rows[7]))  # seen from zero they are all alike

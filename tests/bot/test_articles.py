"""Finding articles by meaning: the nearest first, those of the intent among them, new ones soon, and never an error."""
from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import bot.articles
from bot.article_words import ArticleWords, words
from bot.articles import SURENESS, ArticleFinder, Centred, Found, unit
from crm_store.queries.knowledge import PassageIndex
from tests.actions.shop import Shop

INDEX = PassageIndex(["a", "a", "b", "c"], ["zh", "en", "zh", "zh"], ["x", "x", "y", "z"],
                     ["退货", "return it", "发票", "运费"],
                     np.array([[1, 0, 0], [.8, .6, 0], [0, 1, 0], [0, 0, 1]], np.float32))


SURE = SURENESS["zh"]


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


def test_the_score_is_the_probability_of_nearness_and_lead(finder: ArticleFinder) -> None:
    # "a" has passages at 0.96 and 0.6, weighed 0.5 and 0.3; "b" one at 0.8; and "x" is what "a" was written for.
    score = (0.96 * 0.5 + 0.6 * 0.3) / 0.8
    a, b = Found(score, "a", "x", score - 0.8, 0.0), Found(0.8, "b", "y", 0.8 - score, 0.0)
    assert finder.find("…")[0]["score"] == pytest.approx(SURE.of(a, None), abs=1e-4)
    assert finder.find("…", "x")[0]["score"] == pytest.approx(SURE.of(a, "x"), abs=1e-4)
    assert finder.find("…")[1]["score"] == pytest.approx(SURE.of(b, None), abs=1e-4)
    assert finder.find("退貨")[0]["score"] == pytest.approx(SURE.of(a._replace(words=1.0), None), abs=1e-4)


def test_what_is_nearer_further_ahead_meant_for_the_intent_or_in_the_same_words_is_surer() -> None:
    least = Found(0.3, "a", "x", 0.0, 0.2)
    better = [SURE.of(least._replace(**more), None) for more in ({"score": 0.4}, {"lead": 0.1}, {"words": 0.5})]
    assert 0 < SURE.of(least, None) < min(*better, SURE.of(least, "x")) < 1


def test_words_are_compared_in_pairs_without_endings_and_in_one_script() -> None:
    assert words("發票") == words("发票") == {"发", "票", "发票"}
    assert words("Invoices, invoicing!") == {"invoic"} and words("1.5米") == {"1.5", "米"}
    assert words("") == words("👍") == set()


def test_a_word_of_few_articles_tells_more() -> None:
    read = ArticleWords.of(["退货 box", "发货 box", "invoice"], [0, 1, 2], 3)
    rare, common = math.log(1 + 3 / 1), math.log(1 + 3 / 2)
    assert read.shares("invoice box") == pytest.approx(np.array([common, common, rare]) / (rare + common))
    assert read.shares("invoice xyz") == pytest.approx([0, 0, 0.5])  # nobody's word counts like a rare one
    assert read.shares("?") == pytest.approx([0, 0, 0])


def test_ways_in_which_passages_of_one_article_differ_count_less() -> None:
    rng = np.random.default_rng(2)
    own = np.repeat(np.array([0, 1] * 20), 1)
    rows = rng.normal(scale=0.1, size=(40, 3)).astype(np.float32)
    rows[:, 0] += 1 - 2 * own  # what tells the two articles apart
    rows[:, 1] += rng.choice([-3, 3], 40)  # what tells nothing
    index = PassageIndex([str(each) for each in own], ["zh"] * 40, ["x"] * 40, ["?"] * 40, unit(rows))
    misleading = unit(np.array([[1, -3, 0]], np.float32))[0]
    plain = index.matrix @ misleading
    assert Centred.of(index).nearest("?", misleading)[0].slug == "0"
    spread = np.ptp(plain[own == 0])
    assert np.ptp(Centred.of(index).scores(misleading)[own == 0]) < spread




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
                        lambda session, name: PassageIndex(["new"], ["zh"], ["x"], ["?"],
                                                           np.eye(1, 3, dtype=np.float32)))
    monkeypatch.setattr(bot.articles, "passages_mark", lambda session, name: ("another",))
    assert finder.find("…")[0]["slug"] == "a"
    assert finder.find("…")[0]["slug"] == "new"


def test_what_did_not_change_is_not_read_again(finder: ArticleFinder, monkeypatch: pytest.MonkeyPatch) -> None:
    finder.find("…")
    monkeypatch.setattr(bot.articles, "passage_vectors", lambda session, name: pytest.fail("read again"))
    finder.refresh()
    assert finder.find("…")[0]["slug"] == "a"


def test_the_middle_is_taken_away_where_there_are_enough() -> None:
    rng = np.random.default_rng(1)
    common = np.array([10.0, 0, 0, 0], np.float32)
    rows = (common + rng.normal(size=(40, 4))).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    centred = Centred.of(PassageIndex([str(at) for at in range(40)], ["zh"] * 40, ["x"] * 40, ["?"] * 40, rows))
    scores = centred.scores(rows[7])
    assert int(np.argmax(scores)) == 7 and scores[7] == pytest.approx(1, abs=1e-5)
    assert abs(float(np.median(scores))) < 0.3 < float(np.median(rows @ rows[7]))  # seen from zero they are all alike

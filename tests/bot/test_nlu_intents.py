"""The intent model: what it learns, what the form of a message settles, and that storing it changes nothing."""
from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.evaluation.anger_figures import calibration_error
from bench.evaluation.cross_validation import best_temperature, best_threshold
from bench.evaluation.held_out import training_examples
from bot.nlu.intent_model import (
    OUT_OF_SCOPE,
    SETTLED,
    IntentModel,
    IntentSettings,
    settled_by_form,
    surface_features,
    with_threshold,
)

TEXTS = ["where is my parcel", "has my order shipped", "我的快递到哪了", "订单发货了吗",
         "I want to return this", "我要退货", "退掉这个", "exchange it please", "hello", "你好", "hi there", "在吗",
         "tell me a joke", "讲个笑话", "weather today", "今天天气"]
INTENTS = ["ask_order_status"] * 4 + ["request_return"] * 4 + ["greet"] * 4 + [OUT_OF_SCOPE] * 4
MODEL = IntentModel.train(TEXTS, INTENTS)
ANY_TEXT = st.text(st.characters(blacklist_categories=()), max_size=60)


@pytest.mark.parametrize(("text", "intent"), [
    ("where's my parcel now", "ask_order_status"),
    ("我的快遞到哪了", "ask_order_status"),
    ("HELLO", "greet"),
    ("退货", "request_return"),
    ("another joke", OUT_OF_SCOPE),
])
def test_learns(text: str, intent: str) -> None:
    assert MODEL.rank(text)[0][0] == intent


@given(ANY_TEXT)
def test_ranks_every_intent_with_probabilities_that_fall_and_sum_to_one(text: str) -> None:
    ranking = MODEL.rank(text)
    confidences = [confidence for _, confidence in ranking]
    assert sorted(name for name, _ in ranking) == sorted(set(INTENTS))
    assert confidences == sorted(confidences, reverse=True)
    assert sum(confidences) == pytest.approx(1)


def test_training_is_deterministic_and_a_stored_model_is_the_same(tmp_path: Path) -> None:
    vectors = np.random.default_rng(0).normal(size=(len(TEXTS), 8)).astype(np.float32)
    first = IntentModel.train(TEXTS, INTENTS, vectors, IntentSettings(threshold=0.4, temperature=0.7))
    second = IntentModel.train(TEXTS, INTENTS, vectors, IntentSettings(threshold=0.4, temperature=0.7))
    first.save(tmp_path)
    loaded = IntentModel.load(tmp_path)
    assert loaded.settings == first.settings
    for text in ("hello parcel", "退货 your 订单", "", "\ud800"):
        for vector in (None, vectors[0]):
            assert first.rank(text, vector) == second.rank(text, vector) == loaded.rank(text, vector)


def test_two_intents_are_enough() -> None:
    model = IntentModel.train(["yes", "yeah", "no", "nope"], ["affirm", "affirm", "deny", "deny"])
    assert [model.rank(text)[0][0] for text in ("yes", "nope")] == ["affirm", "deny"]


def test_out_of_scope_is_held_back_by_its_bias_and_nothing_else_is() -> None:
    texts, intents = [*TEXTS, "weather", "a poem"], [*INTENTS, OUT_OF_SCOPE, OUT_OF_SCOPE]
    free, held = (IntentModel.train(texts, intents, settings=IntentSettings(out_of_scope_bias=bias))
                  for bias in (0, -2))
    moved = held.scores("a poem") - free.scores("a poem")
    assert dict(zip(held.intents, moved, strict=True)) == pytest.approx(
        {name: -2 if name == OUT_OF_SCOPE else 0 for name in held.intents}, abs=1e-5)


def test_the_sentence_vector_decides_where_the_words_say_nothing() -> None:
    vectors = np.eye(4, dtype=np.float32)[[0] * 4 + [1] * 4 + [2] * 4 + [3] * 4]
    model = IntentModel.train(TEXTS, INTENTS, vectors)
    assert model.rank("zzz", np.eye(4, dtype=np.float32)[1])[0][0] == "request_return"
    assert model.rank("zzz", np.zeros(4, np.float32)) == model.rank("zzz")  # the encoder did not run


def test_below_the_threshold_a_message_is_out_of_scope_with_the_confidence_that_the_best_was_wrong() -> None:
    ranking = [("greet", 0.3), ("thank", 0.25), (OUT_OF_SCOPE, 0.2), ("affirm", 0.25)]
    assert with_threshold(ranking, 0.3) == ranking
    assert with_threshold(ranking, 0.31) == [(OUT_OF_SCOPE, 0.7), ("greet", 0.3), ("thank", 0.25), ("affirm", 0.25)]
    assert with_threshold([(OUT_OF_SCOPE, 0.1), ("greet", 0.09)], 0.5) == [(OUT_OF_SCOPE, 0.1), ("greet", 0.09)]


@pytest.mark.parametrize(("text", "details", "intent"), [
    ("", [], OUT_OF_SCOPE),
    ("。。。", [], OUT_OF_SCOPE),
    ("😀😀", [], OUT_OF_SCOPE),
    ("？！", [], OUT_OF_SCOPE),
    ("👍", [], "affirm"),
    ("👌🏻!", [], "affirm"),
    ("🙏🙏", [], "thank"),
    ("❤️", [], "thank"),
    ("🙅‍♀️", [], "deny"),
    ("👋", [], "greet"),
    ("👍 but late", [], None),
    ("2", [], "inform"),
    ("５５２１", [], "inform"),
    ("482 913", [], "inform"),
    ("88", [], None),
    ("WL20261018004", [(0, 13)], "inform"),
    ("订单号是WL20261018004。", [(4, 17)], "inform"),
    ("my order number is WL20261018004", [(19, 32)], "inform"),
    ("尾号1234", [(2, 6)], "inform"),
    ("就是水壶那个", [(2, 4)], "inform"),
    ("the kettle", [(4, 10)], "inform"),
    ("查WL20261018004", [(1, 14)], None),
    ("cancel WL20261018004", [(7, 20)], None),
    ("是", [], None),
    ("hello", [], None),
])
def test_what_the_form_settles(text: str, details: list[tuple[int, int]], intent: str | None) -> None:
    assert settled_by_form(text, details) == intent
    if intent:
        assert MODEL.decide(text, None, details)[0] == (intent, SETTLED)


def test_a_decision_lists_every_intent_once() -> None:
    decided = MODEL.decide("👍")
    assert [name for name, _ in decided[1:]] and len({name for name, _ in decided}) == len(decided)
    assert all(0 <= confidence <= 1 for _, confidence in decided)


@given(ANY_TEXT)
def test_traditional_and_full_width_text_has_the_same_features(text: str) -> None:
    assert surface_features(text) == surface_features(text)
    assert surface_features("請問訂單ＡＢＣ") == surface_features("请问订单abc")


def test_numbers_of_orders_and_phones_do_not_become_features_of_their_own() -> None:
    assert surface_features("查WL20261018004") == surface_features("查 20261102017")
    assert surface_features("13800138000") == surface_features("13912345678")
    assert surface_features("C1024怎样") == surface_features("c88怎样")


@settings(deadline=None, max_examples=20)
@given(st.text(st.characters(blacklist_categories=()), min_size=1, max_size=20))
def test_a_long_message_is_read_quickly(piece: str) -> None:
    text = (piece * 100_000)[:100_000]
    started = time.process_time()
    MODEL.decide(text)
    assert time.process_time() - started < 0.5


def test_the_temperature_makes_confidence_honest() -> None:
    random = np.random.default_rng(1)
    truth = random.integers(0, 3, 3000)
    scores = (random.normal(size=(3000, 3)) + 1.5 * np.eye(3)[truth]).astype(np.float32)
    intents, names = ("a", "b", "c"), [("a", "b", "c")[index] for index in truth]
    honest = best_temperature(intents, scores, names)
    assert best_temperature(intents, scores * 5, names) == pytest.approx(5 * honest, rel=0.02) or honest * 5 > 5

    def error(temperature: float) -> float:
        shares = np.exp(scores / temperature)
        shares /= shares.sum(axis=1, keepdims=True)
        return calibration_error(shares.max(axis=1).tolist(), (shares.argmax(axis=1) == truth).tolist())

    assert error(honest) < 0.03 < error(honest / 4)


def test_the_threshold_is_the_highest_that_costs_nothing() -> None:
    scores = np.array([[4, 0, 0]] * 50 + [[0, 4, 0]] * 50 + [[0.5, 0.4, 0.0]] * 10, np.float32)
    truth = ["a"] * 50 + ["b"] * 50 + [OUT_OF_SCOPE] * 10
    threshold = best_threshold(("a", "b", OUT_OF_SCOPE), scores, truth, 1.0)
    assert 0.4 < threshold <= 0.6


def test_every_intent_has_25_examples_or_more_in_each_language_and_no_text_has_two_intents() -> None:
    examples = training_examples()
    counts: dict[tuple[str, str], int] = {}
    meaning: dict[str, str] = {}
    for example in examples:
        counts[example.language, example.intent] = counts.get((example.language, example.intent), 0) + 1
        assert meaning.setdefault(example.text.casefold(), example.intent) == example.intent, example.text
    assert len(counts) == 2 * 34
    assert min(counts.values()) >= 25

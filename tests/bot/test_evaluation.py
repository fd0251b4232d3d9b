"""The figures of the evaluation against values worked out by hand."""
from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import numpy as np
import pytest

from bench.evaluation.anger import Rival, figures, scored
from bench.evaluation.anger_figures import at_threshold, average_precision, best_f1, calibration_error, false_alarm_rate
from bench.evaluation.anger_sources import Labelled
from bench.evaluation.cross_validation import best_margin
from bench.evaluation.entity_figures import Detail, compare, labelled_details, same_value
from bench.evaluation.held_out import Example, by_language
from bench.evaluation.intent_figures import AskedBack, IntentFigures
from bench.evaluation.intents import asked_by_language, figures_by_language
from bench.evaluation.knowledge import (
    ELSEWHERE,
    OTHER,
    REFUSED,
    RIGHT,
    Answer,
    Question,
    actions_of_intents,
    summary,
    told_title,
)
from bench.evaluation.knowledge_store import knowledge_store
from bench.evaluation.report import page
from bench.evaluation.speed import UNTIMED, long_texts, milliseconds, short_texts
from bench.evaluation.tables import number, percent, table
from bot.nlu.encoder import Reading, TextEncoder
from bot.nlu.intent_model import OUT_OF_SCOPE

SCORES, ANGRY = [0.9, 0.8, 0.7, 0.6, 0.2], [1, 0, 1, 0, 0]


def test_intents_are_compared_by_accuracy_macro_f1_and_what_is_out_of_scope() -> None:
    found = IntentFigures.of(["a", "a", "a", "b", OUT_OF_SCOPE, OUT_OF_SCOPE, OUT_OF_SCOPE],
                             ["a", "a", "b", "b", OUT_OF_SCOPE, "a", "a"])
    assert found.examples == 7
    assert found.accuracy == pytest.approx(4 / 7)
    # a: precision 2/4, recall 2/3; b: 1/2, 1/1; out of scope: 1/1, 1/3
    assert found.macro_f1 == pytest.approx((4 / 7 + 2 / 3 + 1 / 2) / 3)
    assert found.out_of_scope_recall == pytest.approx(1 / 3)
    assert found.out_of_scope_precision == 1.0
    assert found.confusions == ((OUT_OF_SCOPE, "a", 2), ("a", "b", 1))


def test_a_share_of_nothing_is_not_told() -> None:
    found = IntentFigures.of(["a"], ["a"])
    assert found.out_of_scope_recall is None and found.out_of_scope_precision is None


def test_intents_are_told_by_language_and_together() -> None:
    examples = [Example("x", "a", "zh"), Example("y", "b", "zh"), Example("z", "a", "en")]
    found = figures_by_language(examples, ["a", "a", "a"])
    assert {language: one["accuracy"] for language, one in found.items()} == {
        "zh": 0.5, "en": 1.0, "all": pytest.approx(2 / 3)}
    assert [name for name, _ in by_language(examples[2:])] == ["en", "all"]


def close(first: str, second: str, likely: float, less_likely: float) -> list[tuple[str, float]]:
    return [(first, likely), (second, less_likely), (OUT_OF_SCOPE, 0.01)]


def test_asking_back_counts_what_it_finds_and_what_it_costs() -> None:
    two = close("ask_tier", "redeem_points", 0.5, 0.45)
    rankings = [two, two, two, close("ask_tier", "greet", 0.5, 0.45), close("ask_tier", "redeem_points", 0.9, 0.05)]
    truth = ["ask_tier", "redeem_points", "ask_store", "greet", "redeem_points"]
    assert AskedBack.of(truth, rankings) == AskedBack(5, asked=3, among_the_two=2, best_guess_right=1)
    assert AskedBack.of(truth, rankings, margin=0.04).asked == 0


def test_the_margin_is_the_widest_that_asks_seldom_and_not_needlessly() -> None:
    sure = [close("greet", "thank", 0.9, 0.05)] * 100
    near, far = close("ask_tier", "redeem_points", 0.5, 0.44), close("ask_tier", "redeem_points", 0.6, 0.38)
    assert best_margin([*sure, near, near], ["greet"] * 100 + ["ask_tier", "redeem_points"]) == 0.40
    assert best_margin([*sure, near, far], ["greet"] * 100 + ["redeem_points", "ask_tier"]) == 0.40
    assert best_margin([*sure, near, far, far], ["greet"] * 100 + ["redeem_points"] + ["ask_tier"] * 2) == 0.20
    assert best_margin([*sure, *[near] * 5], ["greet"] * 100 + ["redeem_points"] * 5) == 0.05
    assert best_margin([*sure, near], ["greet"] * 100 + ["ask_tier"]) == 0.05


def test_average_precision_is_the_mean_of_the_precision_at_each_angry_row() -> None:
    assert average_precision(SCORES, ANGRY) == pytest.approx((1 / 1 + 2 / 3) / 2)
    assert average_precision([0.5, 0.5, 0.5, 0.5], [1, 0, 0, 0]) == pytest.approx(1 / 4)  # nothing is told apart


def test_a_threshold_gives_precision_recall_f1_and_false_alarms() -> None:
    assert at_threshold(SCORES, ANGRY, 0.8) == {"precision": 0.5, "recall": 0.5, "f1": 0.5, "false_alarms": 1}
    assert at_threshold(SCORES, ANGRY, 0.95) == {"precision": 0.0, "recall": 0.0, "f1": 0.0, "false_alarms": 0}
    assert at_threshold(SCORES, ANGRY, 0.65)["f1"] == pytest.approx(4 / 5)


def test_the_best_f1_is_that_of_the_best_threshold() -> None:
    assert best_f1(SCORES, ANGRY) == {"f1": pytest.approx(4 / 5), "threshold": 0.7}


@pytest.mark.parametrize(("confidences", "right", "error"), [
    ([0.95, 0.95, 0.95, 0.95], [1, 1, 1, 0], 0.2),
    ([0.05, 0.05, 0.85, 0.85], [0, 0, 1, 0], 0.5 * 0.05 + 0.5 * 0.35),
    ([1.0], [1], 0.0),
    ([0.31, 0.39], [0, 1], 0.15),  # one bin: their mean is compared
])
def test_the_calibration_error_is_the_mean_gap_over_the_bins(
        confidences: Sequence[float], right: Sequence[int], error: float) -> None:
    assert calibration_error(confidences, right) == pytest.approx(error)


def test_where_nobody_is_angry_only_false_alarms_are_told() -> None:
    assert false_alarm_rate([0.1, 0.5, 0.9, 0.2], 0.5) == 0.5
    assert figures([0.1, 0.5, 0.9, 0.2], [0, 0, 0, 0]) == {"false_alarm_rate": {"watch": 0.5, "route": 0.25}}
    assert set(figures(SCORES, ANGRY)) == {"average_precision", "route", "watch", "best", "calibration_error"}


def test_an_entity_is_right_where_type_start_and_end_are() -> None:
    labelled = [Detail("amount", 0, 3, 99.0), Detail("date", 4, 6, "2026-11-17"), Detail("amount", 9, 12, 5.0)]
    found = [Detail("amount", 0, 3, 99), Detail("date", 4, 6, "2026-11-18"), Detail("points", 9, 12, 5)]
    figures = {name: one.summary() for name, one in compare([(labelled, found), ([], [])]).items()}
    assert list(figures) == ["amount", "date", "points", "all"]
    assert figures["amount"] == {"labelled": 2, "found": 1, "precision": 1.0, "recall": 0.5,
                                 "f1": pytest.approx(2 / 3), "value_accuracy": 1.0}
    assert figures["date"]["value_accuracy"] == 0.0
    assert figures["points"] == {"labelled": 0, "found": 1, "precision": 0.0, "recall": None, "f1": 0.0,
                                 "value_accuracy": None}
    assert figures["all"] == {"labelled": 3, "found": 3, "precision": pytest.approx(2 / 3),
                              "recall": pytest.approx(2 / 3), "f1": pytest.approx(2 / 3), "value_accuracy": 0.5}


@pytest.mark.parametrize(("one", "other", "same"), [
    (99, 99.0, True), ("99", 99.0, True), (99.5, 99, False), ("WL1", "WL1", True), ("wl1", "WL1", False),
    ("soon", 3, False),
])
def test_values_are_the_same_as_numbers_or_to_the_letter(
        one: str | float | int, other: str | float | int, same: bool) -> None:
    assert same_value(one, other) is same


def test_a_label_stands_at_the_first_place_that_no_other_has_taken() -> None:
    label = {"entity": "date", "text": "今天", "value": "2026-11-18"}
    assert [(one.start, one.end) for one in labelled_details("今天说今天到", [label, label])] == [(0, 2), (3, 5)]
    with pytest.raises(ValueError, match="后天"):
        labelled_details("今天说今天到", [{**label, "text": "后天"}])


def test_questions_are_counted_by_what_they_got() -> None:
    def got(article: str | None, told: str | None, searched: bool = True) -> tuple[Question, Answer]:
        return Question("?", "zh", article), Answer("ask_payment", searched, told, "a")

    found = summary([got("a", "a"), got("a", "b"), got("a", None), got("b", None, searched=False),
                     got(None, None), got(None, "a"), got(None, None), got(None, None, searched=False)])
    assert found == {
        "answerable": {"questions": 4, RIGHT: 0.25, OTHER: 0.25, REFUSED: 0.25, ELSEWHERE: 0.25,
                       "nearest is right": 0.75},
        "unanswerable": {"questions": 4, RIGHT: 0, OTHER: 0.25, REFUSED: 0.5, ELSEWHERE: 0.25}}


def test_the_bots_own_actions_decide_whether_an_article_is_told() -> None:
    actions = actions_of_intents()
    answers, lost = actions["ask_points_rules"], actions[OUT_OF_SCOPE]
    assert answers is not lost and "greet" not in actions
    with knowledge_store(None) as knowledge:
        article = next(one for one in knowledge.articles if one.slug == "coupon-rules")

        def title(intent: str, score: float) -> str | None:
            return told_title(actions.get(intent), {
                "text": "?", "intent": {"name": intent, "confidence": 0.9}, "entities": [], "language": "en",
                "articles": [{"slug": article.slug, "score": score}]}, knowledge)

        assert title("ask_points_rules", 0.6) == title(OUT_OF_SCOPE, 0.9) == article.title_en
        assert title("ask_points_rules", 0.1) is title(OUT_OF_SCOPE, 0.6) is title("greet", 0.9) is None


def test_texts_to_read_are_of_the_length_asked_for_and_differ() -> None:
    pieces = ["one two", "three", "four five six"]
    assert list(long_texts(pieces, 12)) == ["one two thre", "three four f", "four five si"]
    assert list(short_texts(pieces, 3, lambda text: len(text.split()))) == [
        "one two t", "three four f", "four five s"]


def test_the_first_readings_are_not_timed() -> None:
    read: list[str] = []
    took = milliseconds(read.append, [str(each) for each in range(UNTIMED + 10)])
    assert len(read) == UNTIMED + 10 and 0 <= took["median"] <= took["p95"]


def test_tables() -> None:
    assert table(["", "share"], [["a", percent(0.1234)], ["b", percent(None)]]) == (
        "|  | share |\n| --- | ---: |\n| a | 12.3 % |\n| b |  |")
    assert (number(0.98765), number(None)) == ("0.988", "")


def test_the_page_has_the_sections_that_were_measured() -> None:
    systems = {"Warmline": figures_by_language([Example("x", "a", "zh")], ["b"])}
    asked = asked_by_language([Example("x", "ask_tier", "zh")], [[("ask_tier", 0.5), ("redeem_points", 0.45)]])
    intents = {"systems": systems, "stock_epochs": None, "with_encoder": True, "settled_by_form": 0,
               "asked_back": asked}
    text = page({"encoder": "e", "cores": 2, "python": "3.10", "intents": intents})
    assert "| Warmline | Chinese | 1 | 0.0 % | 0.000 |  |  |" in text and "| `a` | `b` | 1 |" in text
    assert "1 times (1 Chinese; 100.0 %). The right one was among the two 1 times" in text
    assert "## Anger" not in text and "stock Rasa" not in text


class CalmEncoder:
    """Finds nobody angry."""

    def read(self, texts: Sequence[str]) -> list[Reading]:
        """One reading a text."""
        return [Reading(np.zeros(384, np.float32), 0.1, "neutral") for _ in texts]


def test_a_rival_reads_the_language_it_is_for_and_every_language_needs_one() -> None:
    rows = [Labelled("好", 0, "zh"), Labelled("bad", 1, "en"), Labelled(" ", 0, "en")]
    chinese, english = Rival("A", lambda text: 0.2), Rival("B", lambda text: 0.9)
    encoder = cast(TextEncoder, CalmEncoder())
    assert scored(encoder, rows, {"zh": chinese, "en": english}) == {
        "Warmline": [0.1] * 3, "B and A": [0.2, 0.9, 0.5]}
    assert list(scored(encoder, rows, {"zh": chinese})) == ["Warmline"]
    assert list(scored(encoder, rows[:1], {"zh": chinese})) == ["Warmline", "A"]

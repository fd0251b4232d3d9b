"""The section of anger: the encoder beside programs that read the sentiment of any text."""
from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from bench.evaluation.anger_figures import (
    ROUTE,
    WATCH,
    at_threshold,
    average_precision,
    best_f1,
    calibration_error,
    false_alarm_rate,
)
from bench.evaluation.anger_sources import Labelled, Sources
from bot.nlu.encoder import TextEncoder

Scorer = Callable[[str], float]


class Rival(NamedTuple):
    """Another program, and how angry it finds a text, from 0 to 1."""

    name: str
    score: Scorer


def installed_rivals() -> dict[str, Rival]:
    """By language the other program, where it is installed: both tell good from bad, so bad is taken for angry."""
    rivals = {}
    try:
        from snownlp import SnowNLP

        rivals["zh"] = Rival("SnowNLP", lambda text: 1 - float(SnowNLP(text).sentiments))
    except ImportError:
        pass
    try:
        from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

        analyzer = SentimentIntensityAnalyzer()
        rivals["en"] = Rival("VADER", lambda text: (1 - float(analyzer.polarity_scores(text)["compound"])) / 2)
    except ImportError:
        pass
    return rivals


def measure_anger(encoder: TextEncoder, sources: Sources, rivals: dict[str, Rival]) -> dict[str, Any]:
    """Of each source the number of its rows, of the angry ones, and the figures of each system that reads it."""
    return {name: {"rows": len(rows), "angry": sum(row.angry for row in rows),
                   "systems": {system: figures(scores, [row.angry for row in rows])
                               for system, scores in scored(encoder, rows, rivals).items()}}
            for name, rows in sources.items()}


def scored(encoder: TextEncoder, rows: Sequence[Labelled], rivals: dict[str, Rival]) -> dict[str, list[float]]:
    """The score of each row by the encoder and, where there is one for every language in them, by the rivals."""
    scores = {"Warmline": [reading.anger for reading in encoder.read([row.text for row in rows])]}
    languages = sorted({row.language for row in rows})
    if all(language in rivals for language in languages):
        name = " and ".join(rivals[language].name for language in languages)
        scores[name] = [rivals[row.language].score(row.text) if row.text.strip() else 0.5 for row in rows]
    return scores


def figures(scores: Sequence[float], labels: Sequence[int]) -> dict[str, Any]:
    """Everything that is told of one system and source; where no row is angry, the false alarms alone."""
    if not any(labels):
        return {"false_alarm_rate": {"watch": false_alarm_rate(scores, WATCH),
                                     "route": false_alarm_rate(scores, ROUTE)}}
    return {"average_precision": average_precision(scores, labels), "route": at_threshold(scores, labels, ROUTE),
            "watch": at_threshold(scores, labels, WATCH), "best": best_f1(scores, labels),
            "calibration_error": calibration_error(scores, labels)}

"""The figures of anger, as pure functions of scores and labels."""
from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from sklearn.metrics import average_precision_score

WATCH, ROUTE = 0.50, 0.80
"""The product's default thresholds."""

Figures = dict[str, float]


def average_precision(scores: Sequence[float], labels: Sequence[int]) -> float:
    """The area under precision over recall, by steps; scores that are equal are one step."""
    return float(average_precision_score(np.asarray(labels), np.asarray(scores)))


def at_threshold(scores: Sequence[float], labels: Sequence[int], least: float) -> Figures:
    """Precision, recall, F1 and the number of false alarms where a score of ``least`` or more is an alarm."""
    alarms = np.asarray(scores) >= least
    right = int(alarms @ np.asarray(labels))
    raised, angry = int(alarms.sum()), sum(labels)
    return {"precision": right / max(1, raised), "recall": right / max(1, angry),
            "f1": 2 * right / max(1, raised + angry), "false_alarms": raised - right}


def best_f1(scores: Sequence[float], labels: Sequence[int]) -> Figures:
    """The highest F1 that any threshold gives, and that threshold; chosen with the labels known, so an upper bound."""
    found = [(at_threshold(scores, labels, least)["f1"], least) for least in sorted(set(scores))]
    f1, threshold = max(found)
    return {"f1": f1, "threshold": threshold}


def calibration_error(confidences: Sequence[float] | npt.NDArray[np.float64], right: Sequence[bool] | Sequence[int],
                      bins: int = 10) -> float:
    """Expected calibration error: the mean gap between confidence and truth, over bins of confidence."""
    confident, correct = np.asarray(confidences, dtype=float), np.asarray(right, dtype=float)
    which = np.minimum((confident * bins).astype(int), bins - 1)
    gaps = [abs(float(confident[which == b].mean() - correct[which == b].mean())) * float(np.mean(which == b))
            for b in sorted(set(which.tolist()))]
    return sum(gaps)


def false_alarm_rate(scores: Sequence[float], least: float) -> float:
    """The share of calm messages that a threshold takes for angry."""
    return float(np.mean(np.asarray(scores) >= least))

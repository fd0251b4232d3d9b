"""Finds the temperature and the threshold of the intent model on the training data, by cross-validation."""
from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.optimize import minimize_scalar
from sklearn.model_selection import StratifiedKFold

from bench.evaluation.anger_figures import calibration_error
from bench.evaluation.held_out import Example
from bench.evaluation.intent_figures import AskedBack, IntentFigures
from bot.nlu.intent_model import Floats, IntentModel, IntentSettings, Ranking, ranked, with_threshold

FOLDS = 5
MOST_ASKED = 0.04  # of all messages: a bot that asks more often is a nuisance
MARGINS = tuple(round(0.05 * step, 2) for step in range(1, 9))


def cross_validated(examples: Sequence[Example], vectors: Floats | None, settings: IntentSettings) -> str:
    """What to set, and how good the model is on examples it has not seen, in one line."""
    truth = [example.intent for example in examples]
    intents, scores = out_of_fold_scores(examples, vectors, settings)
    temperature = best_temperature(intents, scores, truth)
    best = [ranked(intents, row, temperature)[0] for row in scores]
    error = calibration_error([confidence for _, confidence in best],
                              [name == is_ for (name, _), is_ in zip(best, truth, strict=True)])
    figures = IntentFigures.of(truth, [name for name, _ in best])
    threshold = best_threshold(intents, scores, truth, temperature)
    margin = best_margin([with_threshold(ranked(intents, row, temperature), threshold) for row in scores], truth)
    return (f"cross-validation: temperature {temperature:.3f}, threshold {threshold:.2f}, margin {margin:.2f}, "
            f"calibration error {error:.3f}, "
            f"accuracy {figures.accuracy:.3f}, macro-F1 {figures.macro_f1:.3f}")


def out_of_fold_scores(examples: Sequence[Example], vectors: Floats | None, settings: IntentSettings,
                       folds: int = FOLDS) -> tuple[tuple[str, ...], Floats]:
    """Scores of every example by a model that has not seen it, and the intents they belong to."""
    intents = tuple(sorted({example.intent for example in examples}))
    scores = np.zeros((len(examples), len(intents)), np.float32)
    strata = [example.language + example.intent for example in examples]
    for learn, check in StratifiedKFold(folds, shuffle=True, random_state=0).split(strata, strata):
        model = IntentModel.train([examples[i].text for i in learn], [examples[i].intent for i in learn],
                                  None if vectors is None else vectors[learn], settings)
        for i in check:
            scores[i] = model.scores(examples[i].text, None if vectors is None else vectors[i])
    return intents, scores


def best_temperature(intents: Sequence[str], scores: Floats, truth: Sequence[str]) -> float:
    """The temperature under which the scores, as probabilities, make the truth likeliest."""
    rows, columns = np.arange(len(truth)), np.array([intents.index(intent) for intent in truth])

    def surprise(temperature: float) -> float:
        scaled = scores.astype(np.float64) / temperature
        top = scaled.max(axis=1, keepdims=True)
        normaliser = np.log(np.exp(scaled - top).sum(axis=1)) + top[:, 0]
        return float(np.mean(normaliser - scaled[rows, columns]))

    return float(minimize_scalar(surprise, bounds=(0.05, 5), method="bounded").x)


def best_threshold(intents: Sequence[str], scores: Floats, truth: Sequence[str], temperature: float) -> float:
    """The highest threshold that costs no accuracy against the best one (0.5 points are given for out of scope)."""
    rankings = [ranked(intents, row, temperature) for row in scores]
    steps = [round(float(step), 2) for step in np.arange(0.0, 0.61, 0.02)]
    right = {step: float(np.mean([with_threshold(ranking, step)[0][0] == is_
                                  for ranking, is_ in zip(rankings, truth, strict=True)])) for step in steps}
    return max(step for step in steps if right[step] >= max(right.values()) - 0.005)


def best_margin(rankings: Sequence[Ranking], truth: Sequence[str]) -> float:
    """The widest margin of asking back that asks seldom and where the best guess is right at most every other time.

    So that a question gains at least as often as it is needless. The narrowest one where none is so good.
    """
    good = [MARGINS[0]]
    for margin in MARGINS:
        found = AskedBack.of(truth, rankings, margin)
        if found.asked <= MOST_ASKED * found.examples and 2 * found.best_guess_right <= found.asked:
            good.append(margin)
    return max(good)

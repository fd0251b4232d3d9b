"""Measures the intent model on phrasings it has not learnt: ``python -m bot.nlu.evaluate``."""
from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import yaml
from scipy.optimize import minimize_scalar
from sklearn.metrics import f1_score
from sklearn.model_selection import StratifiedKFold

from bot.nlu.finder import EntityFinder, read_products
from bot.nlu.intent_model import (
    OUT_OF_SCOPE,
    Floats,
    IntentModel,
    IntentSettings,
    ranked,
    settled_by_form,
    with_threshold,
)

FOLDS = 5


@dataclass(frozen=True)
class Example:
    """One phrasing, with its intent and the language of its file."""

    text: str
    intent: str
    language: str


def read_examples(paths: Sequence[Path], language: str) -> list[Example]:
    """The examples of NLU files as Rasa writes them; entity annotations are not used in this project."""
    return [Example(line[2:].strip(), block["intent"], language)
            for path in paths for block in yaml.safe_load(path.read_text(encoding="utf8"))["nlu"] if "intent" in block
            for line in block["examples"].splitlines() if line.startswith("- ")]


def training_examples(root: Path) -> list[Example]:
    """Everything under ``data/nlu``."""
    return [example for language in ("zh", "en")
            for example in read_examples(sorted((root / "data/nlu" / language).glob("*.yml")), language)]


def held_out_examples(root: Path) -> list[Example]:
    """Everything under ``tests/nlu``."""
    return [example for language in ("zh", "en")
            for example in read_examples([root / f"tests/nlu/{language}.yml"], language)]


def sentence_vectors(examples: Sequence[Example], folder: Path) -> Floats | None:
    """The encoder's vector of every example, or None where there is no encoder."""
    if not (folder / "model.onnx").is_file():
        return None
    from bot.nlu.encoder import load_encoder

    return load_encoder(folder).encode([example.text for example in examples])


@dataclass(frozen=True)
class Report:
    """How predictions compare with the truth, for the examples of one language or of all."""

    name: str
    examples: int
    accuracy: float
    macro_f1: float
    out_of_scope_recall: float
    confusions: tuple[tuple[str, str, int], ...]

    @classmethod
    def of(cls, name: str, truth: Sequence[str], predicted: Sequence[str]) -> Report:
        """Compares; both sequences are in the same order."""
        wrong = Counter((is_, said) for is_, said in zip(truth, predicted, strict=True) if is_ != said)
        beyond = [said == OUT_OF_SCOPE for is_, said in zip(truth, predicted, strict=True) if is_ == OUT_OF_SCOPE]
        return cls(name, len(truth), 1 - sum(wrong.values()) / len(truth),
                   float(f1_score(truth, predicted, average="macro")),
                   float(np.mean(beyond)) if beyond else float("nan"),
                   tuple((is_, said, count) for (is_, said), count in wrong.most_common(12)))

    def __str__(self) -> str:
        """Three figures and what is mistaken for what."""
        lines = [f"{self.name}: {self.examples} examples, accuracy {self.accuracy:.3f}, macro-F1 {self.macro_f1:.3f}, "
                 f"out_of_scope recall {self.out_of_scope_recall:.3f}"]
        lines += [f"    {count} × {is_} taken for {said}" for is_, said, count in self.confusions]
        return "\n".join(lines)


def reports(examples: Sequence[Example], predicted: Sequence[str]) -> list[Report]:
    """One report a language and one of everything."""
    chosen = {"zh": [e.language == "zh" for e in examples], "en": [e.language == "en" for e in examples],
              "all": [True] * len(examples)}
    return [Report.of(name, [e.intent for e, take in zip(examples, which, strict=True) if take],
                      [p for p, take in zip(predicted, which, strict=True) if take])
            for name, which in chosen.items() if any(which)]


def predictions(model: IntentModel, examples: Sequence[Example], vectors: Floats | None,
                finder: EntityFinder) -> list[str]:
    """What the bot would go by for each example."""
    return [model.decide(example.text, None if vectors is None else vectors[index],
                         [(entity.start, entity.end) for entity in finder.find(example.text)])[0][0]
            for index, example in enumerate(examples)]


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

    found: float = minimize_scalar(surprise, bounds=(0.05, 5), method="bounded").x
    return float(found)


def best_threshold(intents: Sequence[str], scores: Floats, truth: Sequence[str], temperature: float) -> float:
    """The highest threshold that costs no accuracy against the best one (0.5 points are given for out of scope)."""
    rankings = [ranked(intents, row, temperature) for row in scores]
    steps = [round(step, 2) for step in np.arange(0.0, 0.61, 0.02)]
    right = {step: float(np.mean([with_threshold(ranking, step)[0][0] == is_
                                  for ranking, is_ in zip(rankings, truth, strict=True)])) for step in steps}
    return max(step for step in steps if right[step] >= max(right.values()) - 0.005)


def calibration_error(confidences: Sequence[float], right: Sequence[bool], bins: int = 10) -> float:
    """Expected calibration error: the mean gap between confidence and accuracy, over bins of confidence."""
    confident, correct = np.asarray(confidences), np.asarray(right, dtype=float)
    which = np.minimum((confident * bins).astype(int), bins - 1)
    gaps = [abs(float(confident[which == b].mean() - correct[which == b].mean())) * float(np.mean(which == b))
            for b in sorted(set(which.tolist()))]
    return sum(gaps)


def main(arguments: Sequence[str] | None = None) -> int:
    """Trains on data/nlu and prints the figures."""
    parser = argparse.ArgumentParser(prog="python -m bot.nlu.evaluate", description=__doc__)
    parser.add_argument("--root", type=Path, default=Path("."), help="the project's folder")
    parser.add_argument("--encoder", type=Path, default=Path("models/encoder"))
    parser.add_argument("--cross-validate", action="store_true", help="also print the temperature and threshold to set")
    parser.add_argument("--surface-only", action="store_true", help="leave the encoder out")
    parser.add_argument("--wrong", action="store_true", help="print every held-out phrasing that is misread")
    defaults = IntentSettings()
    parser.add_argument("--c", type=float, default=defaults.c)
    parser.add_argument("--vector-weight", type=float, default=defaults.vector_weight)
    options = parser.parse_args(arguments)
    settings = replace(defaults, c=options.c, vector_weight=options.vector_weight)
    learn, check = training_examples(options.root), held_out_examples(options.root)
    both = None if options.surface_only else sentence_vectors([*learn, *check], options.root / options.encoder)
    vectors = None if both is None else both[:len(learn)]
    if options.cross_validate:
        truth = [example.intent for example in learn]
        intents, scores = out_of_fold_scores(learn, vectors, settings)
        temperature = best_temperature(intents, scores, truth)
        best = [ranked(intents, row, temperature)[0] for row in scores]
        error = calibration_error([confidence for _, confidence in best],
                                  [name == is_ for (name, _), is_ in zip(best, truth, strict=True)])
        print(f"cross-validation: temperature {temperature:.3f}, threshold "
              f"{best_threshold(intents, scores, truth, temperature):.2f}, calibration error {error:.3f}")
        print(*reports(learn, [name for name, _ in best]), sep="\n")
    model = IntentModel.train([example.text for example in learn], [example.intent for example in learn], vectors,
                              settings)
    finder = EntityFinder(read_products(options.root / "data/demo/products.json"))
    said = predictions(model, check, None if both is None else both[len(learn):], finder)
    print(f"held out, {'surface only' if both is None else 'with the encoder'}:")
    print(*reports(check, said), sep="\n")
    if options.wrong:
        for example, name in zip(check, said, strict=True):
            if name != example.intent:
                print(f"{example.language}  {example.intent} taken for {name}: {example.text}")
    by_form = sum(settled_by_form(example.text, [(e.start, e.end) for e in finder.find(example.text)]) is not None
                  for example in check)
    print(f"{by_form} of {len(check)} were settled by their form alone")
    return 0


if __name__ == "__main__":
    sys.exit(main())

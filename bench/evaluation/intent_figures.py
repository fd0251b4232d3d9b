"""The figures of intents, as pure functions of what is true and what was said."""
from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from sklearn.metrics import f1_score

from bot.nlu.confusable import MARGIN, pair_to_ask
from bot.nlu.intent_model import OUT_OF_SCOPE, Ranking

CONFUSIONS_KEPT = 12


@dataclass(frozen=True)
class IntentFigures:
    """How predictions compare with the truth.

    Attributes:
        examples: How many were compared.
        accuracy: The share that is right.
        macro_f1: The mean of the intents' F1, each counting the same.
        out_of_scope_recall: Of what is out of scope the share that is taken for it; None where nothing is.
        out_of_scope_precision: Of what is taken for out of scope the share that is; None where nothing is.
        confusions: What is, what it is taken for, how often; the most frequent first.
    """

    examples: int
    accuracy: float
    macro_f1: float
    out_of_scope_recall: float | None
    out_of_scope_precision: float | None
    confusions: tuple[tuple[str, str, int], ...]

    @classmethod
    def of(cls, truth: Sequence[str], predicted: Sequence[str]) -> IntentFigures:
        """Compares; both sequences are in the same order."""
        pairs = list(zip(truth, predicted, strict=True))
        wrong = Counter((is_, said) for is_, said in pairs if is_ != said)
        return cls(len(pairs), 1 - sum(wrong.values()) / len(pairs),
                   float(f1_score(truth, predicted, average="macro")),
                   _share([said == OUT_OF_SCOPE for is_, said in pairs if is_ == OUT_OF_SCOPE]),
                   _share([is_ == OUT_OF_SCOPE for is_, said in pairs if said == OUT_OF_SCOPE]),
                   tuple((is_, said, count) for (is_, said), count in wrong.most_common(CONFUSIONS_KEPT)))


@dataclass(frozen=True)
class AskedBack:
    """How often the bot would ask which of two intents is meant, and whether that was worth it.

    Attributes:
        examples: How many messages there are.
        asked: How many of them it asks back.
        among_the_two: How often the right intent is one of the two.
        best_guess_right: How often the likelier one is right, so that the question was needless.
    """

    examples: int
    asked: int
    among_the_two: int
    best_guess_right: int

    @classmethod
    def of(cls, truth: Sequence[str], rankings: Sequence[Ranking], margin: float = MARGIN) -> AskedBack:
        """Counts; both sequences are in the same order."""
        asked = [(is_, pair) for is_, ranking in zip(truth, rankings, strict=True)
                 if (pair := pair_to_ask(ranking, margin)) is not None]
        return cls(len(truth), len(asked), sum(is_ in pair for is_, pair in asked),
                   sum(is_ == pair[0] for is_, pair in asked))


def _share(answers: Sequence[bool]) -> float | None:
    return sum(answers) / len(answers) if answers else None

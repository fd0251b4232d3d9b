"""The intent model: surface features and sentence vector, weighed by a multinomial logistic regression."""
from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bot.nlu.script import fold

OUT_OF_SCOPE = "out_of_scope"

SETTLED = 0.99
"""Confidence of an intent that the form of the message settles."""

Ranking = list[tuple[str, float]]
"""Intents with their confidence, the best first."""

Floats = npt.NDArray[np.float32]

_LONGEST_TEXT = 600  # characters that are read: a customer says what they want in the first lines
_PIECE = re.compile(r"[a-zà-öø-ÿ]+(?:'[a-zà-öø-ÿ]+)?|#[a-z]|[0-9]+|[^\s]")
_MASKS = (
    (re.compile(r"(?<![^\s@])[^\s@]+@[^\s@]+\.[a-z]+"), " #e "),
    (re.compile(r"(?<![a-z0-9])wl ?20[0-9]{9}|(?<![0-9])20[1-4][0-9]{8}(?![0-9])"), " #o "),
    (re.compile(r"(?<![a-z0-9])c[0-9]{2,9}(?![0-9a-z])"), " #c "),
    (re.compile(r"(?<![0-9])1[3-9][0-9]{9}(?![0-9])|(?<![0-9])09[0-9]{8}(?![0-9])"), " #p "),
    (re.compile(r"(?<![a-z0-9])[a-z]{2}[0-9]{10,15}(?![0-9])"), " #t "),
)


@dataclass(frozen=True)
class IntentSettings:
    """How the model is trained. ``temperature`` and ``threshold`` come from cross-validation, see ``bench.evaluation``.

    Attributes:
        c: Inverse strength of the regularisation.
        vector_weight: Length that the sentence vector, from the mean of the examples, is given beside the surface
            features of length 1.
        least_documents: A surface feature in fewer examples is left out.
        temperature: The scores are divided by it, so that a confidence of 0.8 is right 8 times of 10.
        threshold: A best intent below this confidence is out of scope.
        out_of_scope_bias: Added to the score of ``out_of_scope``, whose examples say little of all that is not among
            them. Chosen on every other line of ``tests/nlu`` and confirmed on the rest.
    """

    c: float = 10.0
    vector_weight: float = 1.5
    least_documents: int = 1
    temperature: float = 1.0
    threshold: float = 0.2
    out_of_scope_bias: float = -1.0


def surface_features(text: str) -> list[str]:
    """What of a message's spelling the model looks at, in order, repeated as often as it occurs.

    Han text gives runs of one to three characters; Latin text words, pairs of words and pieces of words (so that a
    typo leaves most of a word standing). Numbers of orders, complaints and phones are one token each.
    """
    folded = fold(text[:_LONGEST_TEXT])
    for pattern, mask in _MASKS:
        folded = pattern.sub(mask, folded)
    pieces = [f"#{min(len(piece), 5)}" if piece.isdigit() else piece for piece in _PIECE.findall(folded)]
    features = list(pieces)
    features.extend(f"{first} {second}" for first, second in zip(("^", *pieces), (*pieces, "$"), strict=True))
    triples = zip(pieces, pieces[1:], pieces[2:], strict=False)
    features.extend(" ".join(triple) for triple in triples if all(len(piece) == 1 for piece in triple))
    for piece in pieces:
        if len(piece) > 3 and piece[0] != "#":
            word = f"<{piece}>"
            features.extend(word[start:start + size] for size in (3, 4, 5) for start in range(len(word) - size + 1))
    return features


class IntentModel:
    """A trained model: plain arrays, so that loading one runs no code and reading a message takes well under 1 ms."""

    def __init__(self, settings: IntentSettings, intents: Sequence[str], vocabulary: Sequence[str], idf: Floats,
                 surface: Floats, mean: Floats, dense: Floats, intercept: Floats) -> None:
        self.settings = settings
        self.intents = tuple(intents)
        self._vocabulary = tuple(vocabulary)
        self._index = {feature: index for index, feature in enumerate(vocabulary)}
        self._idf = idf  # [features]
        self._surface = surface  # [features, intents]
        self._mean = mean  # [dimensions of the sentence vector], over the examples
        self._dense = dense  # [dimensions of the sentence vector, intents]
        self._intercept = intercept  # [intents]

    @classmethod
    def train(cls, texts: Sequence[str], intents: Sequence[str], vectors: Floats | None = None,
              settings: IntentSettings | None = None) -> IntentModel:
        """Learns from examples; the same examples give the same model.

        Args:
            texts: The examples as typed.
            intents: The intent of each.
            vectors: The sentence vector of each, [examples, dimensions], or None to do without.
            settings: Of the training; the defaults where None.
        """
        from scipy.sparse import csr_matrix, hstack
        from sklearn.feature_extraction.text import TfidfVectorizer
        from sklearn.linear_model import LogisticRegression

        settings = settings or IntentSettings()
        vectorizer = TfidfVectorizer(analyzer=surface_features, sublinear_tf=True, min_df=settings.least_documents,
                                     dtype=np.float32)
        matrix = vectorizer.fit_transform(texts)
        mean = np.zeros(0, np.float32)
        if vectors is not None:
            mean = vectors.mean(axis=0)
            matrix = hstack([matrix, csr_matrix(_directions(vectors - mean) * settings.vector_weight)], format="csr")
        regression = LogisticRegression(C=settings.c, max_iter=400, tol=1e-3, class_weight="balanced", random_state=0)
        regression.fit(matrix, list(intents))
        weights = regression.coef_.T
        if len(regression.classes_) == 2:  # sklearn keeps one column for two classes
            weights, bias = np.hstack([-weights / 2, weights / 2]), np.hstack([-regression.intercept_ / 2,
                                                                              regression.intercept_ / 2])
        else:
            bias = regression.intercept_
        bias = bias + settings.out_of_scope_bias * (regression.classes_ == OUT_OF_SCOPE)
        vocabulary = [str(feature) for feature in vectorizer.get_feature_names_out()]
        return cls(settings, [str(intent) for intent in regression.classes_], vocabulary,
                   vectorizer.idf_.astype(np.float32), weights[:len(vocabulary)].astype(np.float32),
                   mean, weights[len(vocabulary):].astype(np.float32), bias.astype(np.float32))

    def scores(self, text: str, vector: Floats | None = None) -> Floats:
        """The score of every intent before it becomes a probability, in the order of ``intents``."""
        counts = Counter(self._index[feature] for feature in surface_features(text) if feature in self._index)
        scores = self._intercept.copy()
        if counts:
            rows = np.fromiter(counts.keys(), dtype=np.int64)
            values = (1 + np.log(np.fromiter(counts.values(), dtype=np.float32))) * self._idf[rows]
            scores += (values / np.linalg.norm(values)) @ self._surface[rows]
        if vector is not None and len(self._dense) and vector.any():  # all zero: the encoder did not run
            scores += self.settings.vector_weight * _directions((vector - self._mean)[None])[0] @ self._dense
        return scores

    def rank(self, text: str, vector: Floats | None = None) -> Ranking:
        """Every intent with its calibrated probability, the likeliest first."""
        return ranked(self.intents, self.scores(text, vector), self.settings.temperature)

    def decide(self, text: str, vector: Floats | None = None, details: Iterable[tuple[int, int]] = ()) -> Ranking:
        """What the bot goes by: the ranking, after the message's form and the threshold have had their say.

        Args:
            text: The message as typed.
            vector: Its sentence vector, or None where the encoder could not run.
            details: Start and end of every entity found in it.
        """
        ranking = self.rank(text, vector)
        settled = settled_by_form(text, details)
        if settled is None:
            return with_threshold(ranking, self.settings.threshold)
        return [(settled, SETTLED), *((name, share * (1 - SETTLED)) for name, share in ranking if name != settled)]

    def save(self, folder: Path) -> None:
        """Writes the model into ``folder``."""
        about = {"settings": asdict(self.settings), "intents": self.intents, "vocabulary": self._vocabulary}
        (folder / "intents.json").write_text(json.dumps(about, ensure_ascii=False), encoding="utf8")
        np.savez(folder / "intents.npz", idf=self._idf, surface=self._surface, mean=self._mean,
                 dense=self._dense, intercept=self._intercept)

    @classmethod
    def load(cls, folder: Path) -> IntentModel:
        """Reads what ``save`` wrote."""
        about: dict[str, Any] = json.loads((folder / "intents.json").read_text(encoding="utf8"))
        with np.load(folder / "intents.npz", allow_pickle=False) as arrays:
            return cls(IntentSettings(**about["settings"]), about["intents"], about["vocabulary"], arrays["idf"],
                       arrays["surface"], arrays["mean"], arrays["dense"], arrays["intercept"])


def _directions(vectors: Floats) -> Floats:
    """Vectors of unit length; one of no length stays as it is."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    directions: Floats = (vectors / np.where(lengths > 0, lengths, 1)).astype(np.float32)
    return directions


def ranked(intents: Sequence[str], scores: Floats, temperature: float) -> Ranking:
    """Scores as probabilities that sum to 1, the highest first, ties in the order of ``intents``."""
    scaled = scores.astype(np.float64) / temperature
    likelihood = np.exp(scaled - scaled.max())
    likelihood /= likelihood.sum()
    return [(intents[index], float(likelihood[index])) for index in np.argsort(-likelihood, kind="stable")]


def with_threshold(ranking: Ranking, threshold: float) -> Ranking:
    """The ranking, with ``out_of_scope`` in front where nothing in it reaches ``threshold``.

    Its confidence is then the probability that the intent in front was wrong.
    """
    name, confidence = ranking[0]
    if name == OUT_OF_SCOPE or confidence >= threshold:
        return ranking
    return [(OUT_OF_SCOPE, 1 - confidence), *((intent, share) for intent, share in ranking if intent != OUT_OF_SCOPE)]


_SIGNS = {"affirm": "👍👌✅🆗☑✔🫡", "thank": "🙏❤♥🌹💐🥰😘💕💖", "deny": "🙅❌👎🚫✖", "greet": "👋🙋"}
_SIGN_OF = {sign: intent for intent, signs in _SIGNS.items() for sign in signs}
_SPEAKING_DIGITS = frozenset({"88", "886", "3166", "520", "666", "6666", "233", "555"})
_FILLER = re.compile(
    r"(?:my|the|its|it's|is|are|this|that|order|tracking|complaint|case|parcel|phone|mobile|cell|number|num|no|e-?mail|last|"
    r"four|4|digits?|ending|ends|in|with|about|around|for|a|an|one|"
    r"我的|我|订单号?|单号|快递单?号?|运单号?|投诉单?编?号?|编号|工单号?|手机号?码?|电话号?码?|号码|邮箱|尾号|尾数|后四位|末四位|最后四位|"
    r"是|为|的|那|这|个|条|只|款|大概|大约|约|左右|多|就|结尾)+")


def settled_by_form(text: str, details: Iterable[tuple[int, int]]) -> str | None:
    """The intent of a message whose form alone settles it, else None.

    Args:
        text: The message as typed.
        details: Start and end of every entity found in it.

    Returns:
        ``affirm``, ``thank``, ``deny`` or ``greet`` for the emoji that say so, ``out_of_scope`` for anything else
        without a letter or a digit, ``inform`` for a message that is nothing but details, or digits only. A message
        longer than what is read of it is settled by nothing.
    """
    if len(text) > _LONGEST_TEXT:
        return None
    folded = fold(text)
    bare = [character for character in folded if character.isalnum()]
    if not bare:
        said = [_SIGN_OF[character] for character in folded if character in _SIGN_OF]
        return said[0] if said else OUT_OF_SCOPE
    digits = "".join(bare)
    if digits.isascii() and digits.isdigit():
        return None if digits in _SPEAKING_DIGITS else "inform"
    rest = list(folded)
    found = False
    for start, end in details:
        rest[start:end] = " " * (end - start)
        found = True
    if not found:
        return None
    words = re.findall(r"[a-z'-]+|[^a-z\W]+", "".join(rest))
    return "inform" if all(_FILLER.fullmatch(word) for word in words) else None

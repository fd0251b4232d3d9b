"""Reads the messages that anger is measured on; none of them was learnt from."""
from __future__ import annotations

import random
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from bench.evaluation.held_out import LANGUAGES, ROOT, read_records
from bot.nlu.script import letters_and_digits
from bot.training.encoder_data import Shares, gather

SEED = 7
"""Of the training, by default: it decides which turns are learnt from."""

CALM_TURNS = 2000
CALM = "MultiDoGO"
TOGETHER = "service turns"


class Labelled(NamedTuple):
    """One message: what was written, whether it is angry (0, 1), and in which language."""

    text: str
    angry: int
    language: str


Sources = Mapping[str, list[Labelled]]


def service_sources(root: Path = ROOT) -> Sources:
    """The held-out service turns, by language and together."""
    by_language = {language: [Labelled(record["text"], record["angry"], language) for record in
                              read_records(root / f"data/sentiment/service_{language}_heldout.jsonl")]
                   for language in LANGUAGES}
    return {**{f"{TOGETHER}, {language}": rows for language, rows in by_language.items()},
            TOGETHER: [row for rows in by_language.values() for row in rows]}


def public_sources(corpora: Path, root: Path = ROOT) -> Sources:
    """The held-out parts of the public sets, without what a training run with the default options learns from.

    Args:
        corpora: The folder that ``make train-encoder`` reads.
        root: The project's folder.
    """
    learnt = {letters_and_digits(row.text) for row in gather(corpora, root, Shares(), SEED).train}
    chance = random.Random(SEED)
    turns = (corpora / "multidogo_customer_turns.txt").read_text(encoding="utf8").splitlines()
    calm = sorted({turn.strip() for turn in turns if turn.strip() and letters_and_digits(turn) not in learnt})
    sources: dict[str, list[Labelled]] = {"SMP2020-EWECT": [], "GoEmotions": []}
    for record in read_records(corpora / "emotion_train.jsonl"):
        name = _held_out_set(record["source"])
        if name is not None and letters_and_digits(record["text"]) not in learnt:
            sources[name].append(Labelled(record["text"].strip(), record["angry"], record["lang"]))
    return {**sources, CALM: [Labelled(turn, 0, "en") for turn in chance.sample(calm, min(CALM_TURNS, len(calm)))]}


def _held_out_set(source: str) -> str | None:
    if source.startswith("smp2020") and source.endswith("eval_labeled"):
        return "SMP2020-EWECT"
    return "GoEmotions" if source == "goemotions_dev" else None

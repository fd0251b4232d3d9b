"""The section of intents: held-out phrasings as Warmline reads them, and as stock Rasa does."""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from bench.evaluation.held_out import Example, by_language, held_out_examples
from bench.evaluation.intent_figures import AskedBack, IntentFigures
from bench.evaluation.reader import Reader
from bench.evaluation.stock_nlu import stock_intents
from bot.nlu.intent_model import Ranking


def measure_intents(reader: Reader, stock_epochs: int | None) -> dict[str, Any]:
    """The figures by language of each system, and every phrasing that Warmline misreads.

    Args:
        reader: Warmline's.
        stock_epochs: How long stock Rasa is trained; None leaves it out.
    """
    examples = held_out_examples(reader.root)
    texts = [example.text for example in examples]
    rankings = reader.rankings(texts)
    said = [ranking[0][0] for ranking in rankings]
    systems = {"Warmline": figures_by_language(examples, said)}
    if stock_epochs is not None:
        systems["stock Rasa"] = figures_by_language(examples, stock_intents(texts, stock_epochs))
    return {"systems": systems, "stock_epochs": stock_epochs, "with_encoder": reader.encoder is not None,
            "asked_back": asked_by_language(examples, rankings),
            "settled_by_form": sum(map(reader.is_settled_by_form, texts)),
            "wrong": [{"language": example.language, "text": example.text, "intent": example.intent, "taken_for": name}
                      for example, name in zip(examples, said, strict=True) if name != example.intent]}


def figures_by_language(examples: Sequence[Example], said: Sequence[str]) -> dict[str, Any]:
    """The figures of each language and of all; ``said`` is in the order of ``examples``."""
    named = dict(zip(examples, said, strict=True))
    return {language: asdict(IntentFigures.of([example.intent for example in chosen],
                                              [named[example] for example in chosen]))
            for language, chosen in by_language(examples)}


def asked_by_language(examples: Sequence[Example], rankings: Sequence[Ranking]) -> dict[str, Any]:
    """How often each language is asked back; ``rankings`` are in the order of ``examples``."""
    ranked = dict(zip(examples, rankings, strict=True))
    return {language: asdict(AskedBack.of([example.intent for example in chosen], [ranked[one] for one in chosen]))
            for language, chosen in by_language(examples)}

"""The bot's reading of a message without the engine around it: encoder, entity finder, intent model."""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from bench.evaluation.held_out import ROOT, Example, training_examples
from bot.nlu.encoder import TextEncoder
from bot.nlu.finder import EntityFinder, read_products
from bot.nlu.intent_model import Floats, IntentModel, IntentSettings, Ranking, settled_by_form


@dataclass(frozen=True)
class Reader:
    """Reads as the pipeline of ``config.yml`` does; what takes long is done when it is first asked for.

    Attributes:
        encoder: None to do without the sentence vector.
        settings: Of the training of the intent model.
        root: The project's folder.
    """

    encoder: TextEncoder | None
    settings: IntentSettings
    root: Path = ROOT

    @cached_property
    def finder(self) -> EntityFinder:
        """Of the demo shop's products."""
        return EntityFinder(read_products(self.root / "data/demo/products.json"))

    @cached_property
    def examples(self) -> list[Example]:
        """What the intent model learns from."""
        return training_examples(self.root)

    @cached_property
    def vectors(self) -> Floats | None:
        """The sentence vector of every training example."""
        return self._encoded([example.text for example in self.examples])

    @cached_property
    def model(self) -> IntentModel:
        """The intent model, trained on every training example."""
        return IntentModel.train([example.text for example in self.examples],
                                 [example.intent for example in self.examples], self.vectors, self.settings)

    def intents(self, texts: Sequence[str]) -> list[str]:
        """What the bot would go by for each text."""
        return [ranking[0][0] for ranking in self.rankings(texts)]

    def rankings(self, texts: Sequence[str]) -> list[Ranking]:
        """The intents of each text as the bot weighs them, what it would go by first."""
        vectors = self._encoded(texts)
        return [self.model.decide(text, None if vectors is None else vectors[at], self._spans(text))
                for at, text in enumerate(texts)]

    def is_settled_by_form(self, text: str) -> bool:
        """Whether the form of a text alone decides its intent."""
        return settled_by_form(text, self._spans(text)) is not None

    def _encoded(self, texts: Sequence[str]) -> Floats | None:
        return None if self.encoder is None else self.encoder.encode(texts)

    def _spans(self, text: str) -> list[tuple[int, int]]:
        return [(entity.start, entity.end) for entity in self.finder.find(text)]

"""The Rasa component that lets the encoder read a message: its vector as a feature, its sentiment as an output."""
from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
from rasa.engine.graph import ExecutionContext, GraphComponent
from rasa.engine.recipes.default_recipe import DefaultV1Recipe
from rasa.engine.storage.resource import Resource
from rasa.engine.storage.storage import ModelStorage
from rasa.shared.nlu.constants import FEATURE_TYPE_SENTENCE, TEXT
from rasa.shared.nlu.training_data.features import Features
from rasa.shared.nlu.training_data.message import Message
from rasa.shared.nlu.training_data.training_data import TrainingData

from bot.nlu.encoder import DIMENSIONS, Reading, TextEncoder, check_files, load_encoder

logger = logging.getLogger(__name__)
SENTIMENT = "sentiment"
PROJECT = Path(__file__).resolve().parents[2]


@DefaultV1Recipe.register(DefaultV1Recipe.ComponentType.MESSAGE_FEATURIZER, is_trainable=False)
class EncoderFeaturizer(GraphComponent):
    """Sets the sentence vector and, in answers, ``sentiment``: anger and valence, or null where it did not run."""

    @classmethod
    def create(cls, config: dict[str, Any], model_storage: ModelStorage, resource: Resource,
               execution_context: ExecutionContext) -> EncoderFeaturizer:
        """Load the encoder; a missing or damaged file ends the start with a clear error."""
        return cls(config, load_encoder(PROJECT / config["model_dir"]))

    def __init__(self, config: dict[str, Any], encoder: TextEncoder) -> None:
        self._alias = str(config.get("alias", "encoder"))
        self._encoder = encoder

    @staticmethod
    def get_default_config() -> dict[str, Any]:
        """The configuration; ``model_dir`` is an absolute path or one from the project's folder."""
        return {"model_dir": "models/encoder", "alias": "encoder"}

    @staticmethod
    def required_packages() -> list[str]:
        return ["onnxruntime", "tokenizers"]

    @classmethod
    def fingerprint_addon(cls, config: dict[str, Any]) -> str | None:
        """Another encoder is another component: what was trained on its vectors is trained again."""
        return check_files(PROJECT / {**cls.get_default_config(), **config}["model_dir"])["model.onnx"]

    def process_training_data(self, training_data: TrainingData) -> TrainingData:
        """Add the vectors of every training example."""
        examples = [example for example in training_data.training_examples if example.get(TEXT)]
        readings = self._encoder.read([example.get(TEXT) for example in examples])
        for example, reading in zip(examples, readings, strict=True):
            self._add_vector(example, reading)
        return training_data

    def process(self, messages: list[Message]) -> list[Message]:
        """Add vector and sentiment to what a customer wrote."""
        for message in messages:
            reading = self._read(message.get(TEXT) or "")
            sentiment = None if reading is None else {"anger": round(reading.anger, 4), "valence": reading.valence}
            message.set(SENTIMENT, sentiment, add_to_output=True)
            self._add_vector(message, reading)
        return messages

    def _read(self, text: str) -> Reading | None:
        try:
            return self._encoder.read([text])[0]
        except Exception as error:  # whatever it is, the other reasons for a human must go on working
            logger.error("the text encoder did not run, so anger is unknown: %s", type(error).__name__)
            return None

    def _add_vector(self, message: Message, reading: Reading | None) -> None:
        vector = np.zeros(DIMENSIONS, np.float32) if reading is None else reading.vector
        message.add_features(Features(vector.reshape(1, -1), FEATURE_TYPE_SENTENCE, TEXT, self._alias))

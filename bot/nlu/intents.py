"""The component that decides the intent of a message."""
from __future__ import annotations

from typing import Any

import numpy as np
from rasa.engine.graph import ExecutionContext, GraphComponent
from rasa.engine.recipes.default_recipe import DefaultV1Recipe
from rasa.engine.storage.resource import Resource
from rasa.engine.storage.storage import ModelStorage
from rasa.nlu.classifiers import classifier
from rasa.shared.nlu.constants import ENTITIES, INTENT, INTENT_RANKING_KEY, TEXT
from rasa.shared.nlu.training_data.message import Message
from rasa.shared.nlu.training_data.training_data import TrainingData

from bot.nlu.intent_model import Floats, IntentModel, IntentSettings


@DefaultV1Recipe.register(DefaultV1Recipe.ComponentType.INTENT_CLASSIFIER, is_trainable=True)
class IntentClassifier(GraphComponent, classifier.IntentClassifier):
    """Classifies by ``IntentModel``, from the text and the dense sentence feature where a featurizer set one.

    Behind an entity extractor in the pipeline it also knows a message that is nothing but details. The configuration
    takes the names of ``IntentSettings`` and ``ranking_length``.
    """

    @staticmethod
    def get_default_config() -> dict[str, Any]:
        """The component's default config (see parent class for full docstring)."""
        default = IntentSettings()
        return {"c": default.c, "vector_weight": default.vector_weight, "least_documents": default.least_documents,
                "temperature": default.temperature, "threshold": default.threshold,
                "out_of_scope_bias": default.out_of_scope_bias, "ranking_length": 5}

    def __init__(self, config: dict[str, Any], model_storage: ModelStorage, resource: Resource,
                 model: IntentModel | None = None) -> None:
        self._config = config
        self._model_storage = model_storage
        self._resource = resource
        self._model = model

    @classmethod
    def create(cls, config: dict[str, Any], model_storage: ModelStorage, resource: Resource,
               execution_context: ExecutionContext) -> IntentClassifier:
        """Creates an untrained component (see parent class for full docstring)."""
        return cls(config, model_storage, resource)

    @classmethod
    def load(cls, config: dict[str, Any], model_storage: ModelStorage, resource: Resource,
             execution_context: ExecutionContext, **kwargs: Any) -> IntentClassifier:
        """Loads a trained component (see parent class for full docstring)."""
        with model_storage.read_from(resource) as folder:
            return cls(config, model_storage, resource, IntentModel.load(folder))

    def train(self, training_data: TrainingData) -> Resource:
        """Learns from the examples that have a text and an intent."""
        examples = [example for example in training_data.intent_examples if example.get(TEXT) and example.get(INTENT)]
        vectors = [sentence_vector(example) for example in examples]
        present = [vector for vector in vectors if vector is not None]
        if present and len(present) < len(examples):
            lacking = len(examples) - len(present)
            raise ValueError(f"{lacking} of {len(examples)} training examples have no sentence vector")
        settings = IntentSettings(**{name: self._config[name] for name in self.get_default_config()
                                     if name != "ranking_length"})
        self._model = IntentModel.train([example.get(TEXT) for example in examples],
                                        [example.get(INTENT) for example in examples],
                                        np.stack(present) if present else None, settings)
        with self._model_storage.write_to(self._resource) as folder:
            self._model.save(folder)
        return self._resource

    def process(self, messages: list[Message]) -> list[Message]:
        """Sets the intent and the ranking of each message and adds them to the output."""
        if self._model is None:
            return messages
        for message in messages:
            details = [(entity["start"], entity["end"]) for entity in message.get(ENTITIES, [])]
            decided = self._model.decide(message.get(TEXT) or "", sentence_vector(message), details)
            ranking = [{"name": name, "confidence": confidence}
                       for name, confidence in decided[:self._config["ranking_length"]]]
            message.set(INTENT, ranking[0], add_to_output=True)
            message.set(INTENT_RANKING_KEY, ranking, add_to_output=True)
        return messages


def sentence_vector(message: Message) -> Floats | None:
    """The dense sentence feature of a message's text as one row, or None where no featurizer set one."""
    feature = message.get_dense_features(TEXT)[1]
    if feature is None:
        return None
    return np.asarray(feature.features, dtype=np.float32).reshape(-1)

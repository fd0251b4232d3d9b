"""What policies have in common that learn from nothing."""
from __future__ import annotations

from typing import Any

from rasa.core.policies.policy import Policy, SupportedData
from rasa.engine.graph import ExecutionContext
from rasa.engine.storage.resource import Resource
from rasa.engine.storage.storage import ModelStorage
from rasa.shared.core.domain import Domain
from rasa.shared.core.generator import TrackerWithCachedStates


class UnlearnedPolicy(Policy):  # type: ignore[misc]
    """Trains nothing, stores nothing, loads nothing; how it predicts is its subclass's affair."""

    @staticmethod
    def supported_data() -> SupportedData:
        """Rules and stories are both fine."""
        return SupportedData.ML_AND_RULE_DATA

    def train(self, training_trackers: list[TrackerWithCachedStates], domain: Domain, **kwargs: Any) -> Resource:
        """Nothing to learn."""
        return self._resource

    @classmethod
    def load(
        cls, config: dict[str, Any], model_storage: ModelStorage, resource: Resource,
        execution_context: ExecutionContext, **kwargs: Any,
    ) -> UnlearnedPolicy:
        """Nothing was stored."""
        return cls(config, model_storage, resource, execution_context)

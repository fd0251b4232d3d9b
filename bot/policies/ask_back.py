"""Decides whether to ask which of two intents is meant, before the rules go by the likelier one."""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rasa.core.policies.policy import PolicyPrediction
from rasa.engine.recipes.default_recipe import DefaultV1Recipe
from rasa.shared.core.constants import ACTION_LISTEN_NAME
from rasa.shared.core.domain import Domain
from rasa.shared.core.events import ActionExecuted, Event, UserUttered
from rasa.shared.core.trackers import DialogueStateTracker

from bot.nlu.confusable import MARGIN, pair_to_ask
from bot.policies.escalation import answers_a_message
from bot.policies.unlearned import UnlearnedPolicy

ACTION_ASK_WHICH = "action_ask_which"


@DefaultV1Recipe.register(DefaultV1Recipe.ComponentType.POLICY_WITHOUT_END_TO_END_SUPPORT, is_trainable=True)
class AskBackPolicy(UnlearnedPolicy):
    """Predicts ``action_ask_which`` where ``pair_to_ask`` finds two intents, outside forms and never twice in a row.

    It wins over RulePolicy by its priority. EscalationPolicy marks its predictions as not depending on the user, and
    so wins over this one: an angry customer is asked nothing.
    """

    @staticmethod
    def get_default_config() -> dict[str, Any]:
        """One above RulePolicy, which is 4; how close two intents must be is told in ``bot.nlu.confusable``."""
        return {"priority": 5, "margin": MARGIN}

    def predict_action_probabilities(
        self, tracker: DialogueStateTracker, domain: Domain, rule_only_data: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> PolicyPrediction:
        """``action_ask_which`` for a message between two intents, ``action_listen`` after it, else nothing."""
        probabilities = self._default_predictions(domain)
        if tracker.latest_action_name == ACTION_ASK_WHICH:
            probabilities[domain.index_for_action(ACTION_LISTEN_NAME)] = 1.0
        elif self._must_ask(tracker):
            probabilities[domain.index_for_action(ACTION_ASK_WHICH)] = 1.0
        return PolicyPrediction(probabilities, type(self).__name__, self.priority)

    def _must_ask(self, tracker: DialogueStateTracker) -> bool:
        if tracker.active_loop_name is not None or tracker.latest_action_name != ACTION_LISTEN_NAME:
            return False
        events = tracker.applied_events()
        if not answers_a_message(events):
            return False
        newest = max(at for at, event in enumerate(events) if isinstance(event, UserUttered))
        ranking = [(str(row["name"]), float(row["confidence"]))
                   for row in events[newest].parse_data.get("intent_ranking") or []]
        pair = pair_to_ask(ranking, self.config["margin"])
        return pair is not None and question_before(events[:newest]) is None


def question_before(events: Sequence[Event]) -> UserUttered | None:
    """The newest of these messages, where it was answered by asking what it means; else None."""
    asked = False
    for event in reversed(events):
        if isinstance(event, UserUttered):
            return event if asked else None
        asked = asked or (isinstance(event, ActionExecuted) and event.action_name == ACTION_ASK_WHICH)
    return None

"""Decides whether a message asks something of the bot's memory, before the rules go by its intent."""
from __future__ import annotations

from typing import Any

from rasa.core.policies.policy import PolicyPrediction
from rasa.engine.recipes.default_recipe import DefaultV1Recipe
from rasa.shared.core.constants import ACTION_LISTEN_NAME
from rasa.shared.core.domain import Domain
from rasa.shared.core.events import ActionExecuted, SlotSet, UserUttered
from rasa.shared.core.trackers import DialogueStateTracker

from bot.policies.escalation import answers_a_message
from bot.policies.unlearned import UnlearnedPolicy
from crm_store.rules.memory import LAST, NEVER, answers_no_question, wish_in

ACTION_MEMORY = "action_memory"
# A statement in a message that wants one of these done is part of that, not something to remember.
NOT_TO_NOTE = frozenset((
    "file_complaint", "request_human", "request_return", "cancel_order", "change_order", "ask_order_status",
    "redeem_points"))
SPOKEN_OF = frozenset((ACTION_MEMORY, "action_keep_fact"))
OFFER = "keep_fact"
LATELY = 3  # messages


@DefaultV1Recipe.register(DefaultV1Recipe.ComponentType.POLICY_WITHOUT_END_TO_END_SUPPORT, is_trainable=True)
class MemoryPolicy(UnlearnedPolicy):
    """Predicts ``action_memory`` where a sentence wants something remembered, forgotten or told.

    Inside a form only where the form has left the message to others; its question is asked again afterwards.
    EscalationPolicy wins over it, as over all: an angry customer is not asked what to remember.
    """

    @staticmethod
    def get_default_config() -> dict[str, Any]:
        """One above AskBackPolicy: what is said to the memory is said in words that mean nothing else."""
        return {"priority": 6}

    def predict_action_probabilities(
        self, tracker: DialogueStateTracker, domain: Domain, rule_only_data: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> PolicyPrediction:
        """``action_memory`` for such a message, then the form it came into or ``action_listen``, else nothing."""
        probabilities = self._default_predictions(domain)
        if tracker.latest_action_name == ACTION_MEMORY:
            probabilities[domain.index_for_action(tracker.active_loop_name or ACTION_LISTEN_NAME)] = 1.0
        elif _asks_of_memory(tracker):
            probabilities[domain.index_for_action(ACTION_MEMORY)] = 1.0
        return PolicyPrediction(probabilities, type(self).__name__, self.priority)


def _asks_of_memory(tracker: DialogueStateTracker) -> bool:
    if tracker.latest_action_name != ACTION_LISTEN_NAME:
        return False
    message = tracker.latest_message
    if message is None or _is_button(message):
        return False
    if tracker.active_loop is not None:
        return tracker.is_active_loop_rejected and answers_no_question(message.text or "", message.intent_name)
    if not answers_a_message(tracker.applied_events()):
        return False
    wish = wish_in(message.text or "")
    if wish is None:
        return False
    if wish.do == "note":
        # "call me Ann" reads like a wish for a call, and its words are plainer than any intent
        return wish.kind == "name" or message.intent_name not in NOT_TO_NOTE
    if message.intent_name in NEVER:
        return False
    if wish != LAST:
        return True
    return _was_spoken_of(tracker) and not _answers_an_offer(tracker)  # to which "don't" is only a no


def _was_spoken_of(tracker: DialogueStateTracker) -> bool:
    """Whether the memory was the matter lately: "forget it" said of anything else is only "never mind"."""
    messages = 0
    for event in reversed(tracker.applied_events()):
        if isinstance(event, UserUttered):
            messages += 1
            if messages > LATELY:
                return False
        elif isinstance(event, ActionExecuted) and event.action_name in SPOKEN_OF:
            return True
    return False


def _answers_an_offer(tracker: DialogueStateTracker) -> bool:
    """Whether the turn before this message ended with an offer to keep something."""
    messages = 0
    for event in reversed(tracker.applied_events()):
        if isinstance(event, UserUttered):
            messages += 1
            if messages > 1:
                return False
        elif messages == 1 and isinstance(event, SlotSet) and event.key == "offer":
            return bool(event.value == OFFER)
    return False


def _is_button(message: UserUttered) -> bool:
    """Whether it is a pressed button: nobody wrote its words."""
    return message.parse_data.get("sentiment") is None and (message.intent or {}).get("confidence") == 1.0

"""Decides, before any other policy, whether this message needs a human."""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rasa.core.policies.policy import PolicyPrediction
from rasa.engine.recipes.default_recipe import DefaultV1Recipe
from rasa.shared.core.constants import ACTION_LISTEN_NAME
from rasa.shared.core.domain import Domain
from rasa.shared.core.events import Event, SlotSet, UserUttered
from rasa.shared.core.trackers import DialogueStateTracker

from bot.policies.unlearned import UnlearnedPolicy
from crm_store.rules.escalation import Thresholds, reason_to_escalate
from crm_store.rules.memory import tells_a_name

ACTION_HAND_OVER = "action_hand_over"
HANDOVER_REASON = "handover_reason"  # the slot that tells the action why, and marks in the past where a human took over
NOT_UNDERSTOOD = "not_understood"  # the slot an action sets to the id of a message the bot could not answer
FORMS_ABANDONED = "forms_abandoned"  # how often each form was stopped by the customer
INTENT_OUT_OF_SCOPE = "out_of_scope"
MESSAGES_LOOKED_AT = 3
DEFAULT_THRESHOLDS = {"route": 0.80, "watch": 0.50}


@DefaultV1Recipe.register(DefaultV1Recipe.ComponentType.POLICY_WITHOUT_END_TO_END_SUPPORT, is_trainable=True)
class EscalationPolicy(UnlearnedPolicy):
    """Predicts ``action_hand_over`` where the rules of escalation ask for it, also inside a form.

    RulePolicy marks its predictions inside a form as not depending on the user, and the ensemble looks only at those
    once there is one: so does this policy with its own, with a priority above RulePolicy's.
    """

    @staticmethod
    def get_default_config() -> dict[str, Any]:
        """One above RulePolicy, which is 4."""
        return {"priority": 5}

    def predict_action_probabilities(
        self, tracker: DialogueStateTracker, domain: Domain, rule_only_data: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> PolicyPrediction:
        """``action_hand_over`` for a message that needs a human, ``action_listen`` after it, else nothing."""
        if tracker.latest_action_name == ACTION_HAND_OVER:
            return self._certain(ACTION_LISTEN_NAME, domain, [])
        events = tracker.applied_events()
        if tracker.latest_action_name != ACTION_LISTEN_NAME or not answers_a_message(events):
            return self._prediction(self._default_predictions(domain))
        reason = reason_in(events, forms_abandoned=max((tracker.get_slot(FORMS_ABANDONED) or {0: 0}).values()),
                           in_a_form=tracker.active_loop_name is not None)
        if reason is None:
            return self._prediction(self._default_predictions(domain))
        return self._certain(ACTION_HAND_OVER, domain, [SlotSet(HANDOVER_REASON, reason)])

    def _certain(self, action: str, domain: Domain, events: list[Event]) -> PolicyPrediction:
        probabilities = self._default_predictions(domain)
        probabilities[domain.index_for_action(action)] = 1.0
        return PolicyPrediction(probabilities, type(self).__name__, self.priority, events=events,
                                is_no_user_prediction=True)


def answers_a_message(events: Sequence[Event]) -> bool:
    """Whether the last thing that happened is a customer's message (slots set from it do not count)."""
    for event in reversed(events):
        if isinstance(event, UserUttered):
            return True
        if not isinstance(event, SlotSet):
            return False
    return False


def reason_in(events: Sequence[Event], *, forms_abandoned: int, in_a_form: bool) -> str | None:
    """Why the newest message needs a human, or None.

    What lies before the last handoff is settled and does not count again: a customer who was handed back to the bot
    starts afresh.
    """
    turns = turns_since_handoff(events)
    if not turns:
        return None
    newest = turns[-1][0]
    data = newest.parse_data
    context = data.get("metadata") or {}
    limits = {**DEFAULT_THRESHOLDS, **(context.get("thresholds") or {})}
    before = context.get("angers")  # from the store, which has also read what was written while a human was there
    if before is None:
        before = [anger_of(turn[0]) for turn in reversed(turns[-MESSAGES_LOOKED_AT:-1])]
    angers = [anger_of(newest), *before]
    lost_now = newest.intent_name == INTENT_OUT_OF_SCOPE and not in_a_form
    misunderstood = 0
    if lost_now:
        misunderstood = 1
        for turn in reversed(turns[:-1]):
            if not any(isinstance(event, SlotSet) and event.key == NOT_UNDERSTOOD and event.value for event in turn):
                break
            misunderstood += 1
    return reason_to_escalate(
        intent=None if tells_a_name(newest.text or "") else newest.intent_name, angers=angers,
        thresholds=Thresholds(route=float(limits["route"]), watch=float(limits["watch"])),
        misunderstood_in_a_row=misunderstood, forms_abandoned=forms_abandoned,
    )


def turns_since_handoff(events: Sequence[Event]) -> list[list[Any]]:
    """The turns after the last handoff, oldest first: each a list of events that begins with the message."""
    turns: list[list[Any]] = []
    for event in events:
        if isinstance(event, UserUttered):
            turns.append([event])
        elif turns:
            turns[-1].append(event)
            if isinstance(event, SlotSet) and event.key == HANDOVER_REASON and event.value:
                turns = []
    return turns


def anger_of(message: UserUttered) -> float | None:
    """The probability that the message is angry, or None where the model could not run."""
    sentiment = message.parse_data.get("sentiment")
    if not isinstance(sentiment, dict) or sentiment.get("anger") is None:
        return None
    return float(sentiment["anger"])


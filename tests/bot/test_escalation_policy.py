"""The escalation policy: what it reads from a conversation, and that it wins over every other policy."""
from __future__ import annotations

from typing import Any

import pytest
from rasa.core.policies.ensemble import DefaultPolicyPredictionEnsemble
from rasa.core.policies.policy import PolicyPrediction
from rasa.engine.graph import ExecutionContext, GraphSchema
from rasa.engine.storage.resource import Resource
from rasa.shared.core.domain import Domain
from rasa.shared.core.events import ActionExecuted, ActiveLoop, BotUttered, Event, SlotSet, UserUttered
from rasa.shared.core.trackers import DialogueStateTracker

from bot.policies.escalation import EscalationPolicy, reason_in

DOMAIN = Domain.from_dict({
    "intents": ["thank", "request_human", "out_of_scope"], "actions": ["action_hand_over", "action_not_understood"],
    "forms": {"some_form": {"required_slots": ["x"]}},
    "slots": {name: {"type": "any", "mappings": [{"type": "custom"}]}
              for name in ("x", "handover_reason", "not_understood", "forms_abandoned")},
})
LISTEN = ActionExecuted("action_listen")


def said(intent: str = "thank", anger: float | None = 0.1, **context: Any) -> UserUttered:
    sentiment = None if anger is None else {"anger": anger, "valence": "neutral"}
    data = {"intent": {"name": intent}, "entities": [], "sentiment": sentiment}
    return UserUttered("…", {"name": intent}, parse_data=data, metadata=context)


def policy() -> EscalationPolicy:
    config = {**EscalationPolicy.get_default_config()}
    return EscalationPolicy.load(config, None, Resource("x"), ExecutionContext(GraphSchema({})))


def predicted(*events: Event) -> PolicyPrediction:
    tracker = DialogueStateTracker.from_events("1", list(events), DOMAIN.slots)
    return policy().predict_action_probabilities(tracker, DOMAIN)


def action(prediction: PolicyPrediction) -> str | None:
    if not prediction.is_no_user_prediction:
        assert max(prediction.probabilities) == 0
        return None
    return str(DOMAIN.action_names_or_texts[prediction.max_confidence_index])


@pytest.mark.parametrize(("anger", "limits", "expected"), [
    (0.80, None, "action_hand_over"), (0.79, None, None), (None, None, None),
    (0.70, {"route": 0.70, "watch": 0.40}, "action_hand_over"), (0.79, {"route": 0.9, "watch": 0.5}, None),
])
def test_anger_against_the_thresholds_of_the_tier(anger: float | None, limits: Any, expected: str | None) -> None:
    context = {"thresholds": limits} if limits else {}
    prediction = predicted(LISTEN, said(anger=anger, **context))
    assert action(prediction) == expected
    if expected:
        assert prediction.events == [SlotSet("handover_reason", "anger")]


def test_a_person_is_given_to_who_asks_also_inside_a_form() -> None:
    prediction = predicted(ActiveLoop("some_form"), SlotSet("requested_slot", "x"), LISTEN, said("request_human"))
    assert action(prediction) == "action_hand_over" and prediction.events == [SlotSet("handover_reason", "asked")]


def test_it_listens_after_it_handed_over() -> None:
    assert action(predicted(LISTEN, said("request_human"), ActionExecuted("action_hand_over"))) == "action_listen"


def test_it_decides_only_on_a_message() -> None:
    angry = said(anger=0.99)
    assert action(predicted(LISTEN, angry, ActionExecuted("some_form"))) is None
    assert action(predicted(LISTEN, angry, BotUttered("…"), ActionExecuted("utter"), LISTEN)) is None
    assert action(predicted()) is None


def test_slots_set_from_the_message_do_not_hide_it() -> None:
    assert action(predicted(LISTEN, said("request_human"), SlotSet("x", "1"))) == "action_hand_over"


def turns(*messages: UserUttered) -> list[Event]:
    return [event for message in messages for event in (message, LISTEN)][:-1]


def test_two_of_the_last_three_above_watch() -> None:
    reason = dict(forms_abandoned=0, in_a_form=False)
    assert reason_in(turns(said(anger=0.5), said(), said(anger=0.5)), **reason) == "anger"
    assert reason_in(turns(said(anger=0.5), said(), said(), said(anger=0.5)), **reason) is None
    assert reason_in(turns(said(anger=0.5), said(anger=None), said(anger=0.49)), **reason) is None


def test_the_store_knows_better_what_was_said_before() -> None:
    reason = dict(forms_abandoned=0, in_a_form=False)
    assert reason_in(turns(said(anger=0.6), said(anger=0.6, angers=[])), **reason) is None
    assert reason_in(turns(said(anger=0.6, angers=[0.1, 0.6])), **reason) == "anger"


def test_what_lies_before_a_handoff_is_settled() -> None:
    before = [said(anger=0.6), SlotSet("handover_reason", "asked"), ActionExecuted("action_hand_over"), LISTEN]
    assert reason_in([*before, said(anger=0.6)], forms_abandoned=0, in_a_form=False) is None


def lost(intent: str = "out_of_scope") -> list[Event]:
    return [said(intent), ActionExecuted("action_not_understood"), SlotSet("not_understood", "1"), LISTEN]


def test_three_in_a_row_not_understood() -> None:
    now = said("out_of_scope")
    assert reason_in([*lost(), now], forms_abandoned=0, in_a_form=False) is None
    assert reason_in([*lost(), *lost("ask_product"), now], forms_abandoned=0, in_a_form=False) == "stuck"
    assert reason_in([*lost(), *lost(), said(), LISTEN, now], forms_abandoned=0, in_a_form=False) is None
    assert reason_in([*lost(), *lost(), now], forms_abandoned=0, in_a_form=True) is None  # there it may be an answer


def test_it_wins_over_rules_inside_and_outside_forms() -> None:
    events = [ActiveLoop("some_form"), LISTEN, said("request_human")]
    tracker = DialogueStateTracker.from_events("1", events, DOMAIN.slots)
    form = [0.0] * DOMAIN.num_actions
    form[DOMAIN.index_for_action("some_form")] = 1.0
    for in_a_form in (True, False):
        rule = PolicyPrediction(list(form), "RulePolicy", 4, is_no_user_prediction=in_a_form)
        mine = policy().predict_action_probabilities(tracker, DOMAIN)
        best = DefaultPolicyPredictionEnsemble().combine_predictions([rule, mine], tracker, DOMAIN)
        assert best.policy_name == "EscalationPolicy"

"""Asking back between two intents: when it is asked, and that any answer goes on with what was said first."""
from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from rasa.core.policies.ensemble import DefaultPolicyPredictionEnsemble
from rasa.core.policies.policy import PolicyPrediction
from rasa.engine.graph import ExecutionContext, GraphSchema
from rasa.engine.storage.resource import Resource
from rasa.shared.core.domain import Domain
from rasa.shared.core.events import ActionExecuted, ActiveLoop, BotUttered, Event, SlotSet, UserUttered
from rasa.shared.core.trackers import DialogueStateTracker

from actions.ask_back import WANTS
from bot.asked_back import Choice, Option, Original, choice_in, message_asked_about, taken_up
from bot.nlu.confusable import ANSWERED_BY, pair_to_ask
from bot.policies.ask_back import AskBackPolicy
from bot.policies.escalation import EscalationPolicy
from crm_store.models import Message, Ticket
from tests.bot.talking import Heard, Talk
from tests.bot.test_turns import last_message, rows

ROOT = Path(__file__).resolve().parents[2]
CLOSE = (("ask_order_status", 0.45), ("ask_refund_status", 0.41), ("greet", 0.1))
DOMAIN = Domain.from_dict({
    "intents": ["ask_order_status", "ask_refund_status", "thank"],
    "actions": ["action_ask_which", "action_hand_over", "action_refund_status"],
    "forms": {"some_form": {"required_slots": ["x"]}},
    "slots": {name: {"type": "any", "mappings": [{"type": "custom"}]}
              for name in ("x", "handover_reason", "not_understood", "forms_abandoned")},
})
LISTEN = ActionExecuted("action_listen")

# ---------------------------------------------------------------------- which two


def test_two_close_intents_with_different_answers_are_asked_about() -> None:
    assert pair_to_ask(CLOSE) == ("ask_order_status", "ask_refund_status")
    assert pair_to_ask(CLOSE, margin=0.03) is None


@pytest.mark.parametrize(("first", "second"), [
    ("ask_payment", "ask_invoice"),  # the same search answers both
    ("cancel_order", "change_order"),  # the same form
    ("greet", "ask_order_status"), ("ask_order_status", "thank"), ("ask_order_status", "inform"),
    ("ask_tier", "out_of_scope"), ("out_of_scope", "ask_tier"),
    ("request_human", "file_complaint"),  # a person is given at once
])
def test_these_are_not(first: str, second: str) -> None:
    assert pair_to_ask([(first, 0.45), (second, 0.45)]) is None


def test_one_intent_alone_leaves_nothing_to_ask() -> None:
    assert pair_to_ask([]) is pair_to_ask([("ask_tier", 1.0)]) is None


def test_what_answers_an_intent_is_what_the_rules_run() -> None:
    ruled: dict[str, str] = {}
    for path in (ROOT / "data/rules").glob("*.yml"):
        for rule in yaml.safe_load(path.read_text(encoding="utf8"))["rules"]:
            if "condition" not in rule and "intent" in rule["steps"][0]:
                ruled[rule["steps"][0]["intent"]] = rule["steps"][1]["action"]
    assert {intent: ruled[intent] for intent in ANSWERED_BY} == ANSWERED_BY


def test_everything_that_may_be_asked_about_has_its_words_in_both_languages() -> None:
    assert set(WANTS) == set(ANSWERED_BY)
    for language in ("zh", "en"):
        assert len({words[language] for words in WANTS.values()}) == len(WANTS)
    for words in WANTS.values():
        assert set(words) == {"zh", "en"}
        assert re.search("[\u4e00-\u9fff]", words["zh"]) and not re.search("[\u4e00-\u9fff]", words["en"])


# ---------------------------------------------------------------------- when: the policy


def said(ranking: Any = CLOSE, anger: float = 0.1) -> UserUttered:
    rows_ = [{"name": name, "confidence": confidence} for name, confidence in ranking]
    return UserUttered("…", rows_[0], parse_data={
        "intent": rows_[0], "intent_ranking": rows_, "entities": [], "sentiment": {"anger": anger}})


def prediction(policy: type[AskBackPolicy] | type[EscalationPolicy], tracker: DialogueStateTracker,
               **config: float) -> PolicyPrediction:
    made = policy.load({**policy.get_default_config(), **config}, None, Resource("x"),
                       ExecutionContext(GraphSchema({})))
    return made.predict_action_probabilities(tracker, DOMAIN)


def predicted(*events: Event, **config: float) -> str | None:
    tracker = DialogueStateTracker.from_events("1", list(events), DOMAIN.slots)
    found = prediction(AskBackPolicy, tracker, **config)
    return str(DOMAIN.action_names_or_texts[found.max_confidence_index]) if max(found.probabilities) else None


def test_it_asks_and_listens() -> None:
    assert predicted(LISTEN, said()) == "action_ask_which"
    assert predicted(LISTEN, said(), SlotSet("x", "1")) == "action_ask_which"
    assert predicted(LISTEN, said(), ActionExecuted("action_ask_which")) == "action_listen"


def test_its_configuration_says_how_close() -> None:
    assert predicted(LISTEN, said(), margin=0.03) is None


def test_it_does_not_ask_inside_a_form_nor_where_nothing_was_said() -> None:
    assert predicted(ActiveLoop("some_form"), SlotSet("requested_slot", "x"), LISTEN, said()) is None
    assert predicted(LISTEN, said(), ActionExecuted("action_refund_status")) is None
    assert predicted(LISTEN, said([("thank", 0.9), ("ask_order_status", 0.05)])) is None
    assert predicted() is None


def test_it_does_not_ask_twice_in_a_row() -> None:
    asked = [LISTEN, said(), ActionExecuted("action_ask_which"), BotUttered("?"), LISTEN]
    assert predicted(*asked, said()) is None
    assert predicted(*asked, said(), ActionExecuted("action_refund_status"), LISTEN, said()) == "action_ask_which"


@pytest.mark.parametrize(("anger", "winner"), [(0.1, "AskBackPolicy"), (0.9, "EscalationPolicy")])
def test_it_wins_over_the_rules_and_anger_wins_over_it(anger: float, winner: str) -> None:
    tracker = DialogueStateTracker.from_events("1", [LISTEN, said(anger=anger)], DOMAIN.slots)
    rule = [0.0] * DOMAIN.num_actions
    rule[DOMAIN.index_for_action("action_refund_status")] = 1.0
    predictions = [PolicyPrediction(rule, "RulePolicy", 4), prediction(AskBackPolicy, tracker),
                   prediction(EscalationPolicy, tracker)]
    best = DefaultPolicyPredictionEnsemble().combine_predictions(predictions, tracker, DOMAIN)
    assert best.policy_name == winner


# ---------------------------------------------------------------------- what an answer chooses

STATUS, REFUND = Option("ask_order_status", 7, "查订单到哪了"), Option("ask_refund_status", 7, "Check on a refund")
QUESTION = [UserUttered("…"), ActionExecuted("action_ask_which"), BotUttered("?", {"buttons": [
    {"title": one.title, "payload": f'/{one.intent}{{"about": {one.about}}}'} for one in (STATUS, REFUND)]}), LISTEN]


@pytest.mark.parametrize(("text", "intent", "choice"), [
    ("第一个", "inform", Choice(STATUS)), ("1", "inform", Choice(STATUS)), ("２", "inform", Choice(REFUND)),
    ("后者。", "out_of_scope", Choice(REFUND)), ("The second one!", "inform", Choice(REFUND)),
    ("查订单到哪了？", "greet", Choice(STATUS)), ("check on a REFUND", None, Choice(REFUND)),
    ("好的", "affirm", Choice(STATUS)),
    ("退款那个", "ask_refund_status", Choice(REFUND, "退款那个")),
    ("都不是", "deny", None), ("我的积分呢", "ask_points_balance", None), ("第一个订单", "inform", None),
])
def test_words_right_behind_the_question_choose(text: str, intent: str | None, choice: Choice | None) -> None:
    read = {"text": text, "intent": {"name": intent}}
    assert choice_in(None, read, QUESTION) == choice
    assert choice_in(None, read, []) is None
    assert choice_in(None, read, [*QUESTION, UserUttered("…"), BotUttered("…"), LISTEN]) is None


@pytest.mark.parametrize(("payload", "intent", "option"), [
    ('/ask_order_status{"about": 7}', "ask_order_status", Option("ask_order_status", 7)),
    ('/restart{"about": 7}', None, None),  # what the door does not take for a button's intent
    ("/ask_order_status", "ask_order_status", None), ('/inform{"order_number": "1"}', "inform", None),
    ('/ask_order_status{"about": "7"}', "ask_order_status", None),
    ('/ask_order_status{"about": true}', "ask_order_status", None), ("/ask_order_status{", "ask_order_status", None),
])
def test_only_a_button_of_such_a_question_goes_back_to_a_message(
        payload: str, intent: str | None, option: Option | None) -> None:
    chosen = choice_in(payload, {"text": "…", "intent": {"name": intent}}, QUESTION)
    assert chosen == (None if option is None else Choice(option))


def test_the_details_of_the_answer_win_and_its_emotion_counts() -> None:
    original = Original("WL20261112003 水壶退", "zh", [
        {"entity": "order_number", "value": "WL20261112003", "start": 0, "end": 13},
        {"entity": "product", "value": "水壶", "start": 14, "end": 16}])
    number = {"entity": "order_number", "value": "WL20261117001", "start": 0, "end": 13}
    read = {"text": "WL20261117001 where", "language": "en", "sentiment": {"anger": 0.3}, "entities": [number]}
    worded = taken_up(read, Choice(REFUND, read["text"]), original)
    assert worded["entities"] == [number, {"entity": "product", "value": "水壶", "start": 0, "end": 0}]
    assert worded["text"] == "WL20261117001 where\nWL20261112003 水壶退" and worded["language"] == "en"
    assert worded["intent"]["name"] == "ask_refund_status" and worded["sentiment"] == {"anger": 0.3}
    tapped = taken_up({**read, "entities": []}, Choice(REFUND), original)
    assert tapped["text"] == original.text and tapped["language"] == "zh"
    assert [one["value"] for one in tapped["entities"]] == ["WL20261112003", "水壶"]


# ---------------------------------------------------------------------- whole turns


def between(talk: Talk, text: str, first: str, second: str, **more: Any) -> Heard:
    """Say something that reads as close between two intents."""
    return talk.say(text, first, confidence=0.44, intent_ranking=[
        {"name": first, "confidence": 0.44}, {"name": second, "confidence": 0.42}], **more)


def test_a_tap_goes_on_with_what_was_said(talk: Talk) -> None:
    heard = between(talk, "WL20261112003 水壶太小了怎么弄", "ask_return_policy", "request_return")
    assert heard.actions == ["action_ask_which"] and heard.understood["intent"] == "ask_return_policy"
    assert "了解退换货规则，还是办理退换货" in heard.text
    titles = [button["title"] for reply in heard.replies for button in reply["buttons"]]
    assert titles == ["了解退换货规则", "办理退换货"]
    heard = talk.say(titles[1], payload=heard.payloads[1])
    (ticket,) = rows(talk, Ticket)
    assert ticket.number in heard.text and ticket.summary == "WL20261112003 水壶太小了怎么弄"
    assert heard.understood["intent"] == "request_return"


def test_in_english_and_the_entities_are_kept(talk: Talk) -> None:
    heard = between(talk, "what about my other order, the refunded one", "ask_refund_status", "ask_order_status",
                    language="en", entities=[{"entity": "order_number", "value": "WL20261117001",
                                              "start": 0, "end": 4}])
    assert "do you want to check on a refund, or to track an order?" in heard.text
    heard = talk.say("Track an order", payload=heard.payloads[1])
    assert "WL20261117001" in heard.text and "WL20261112003" not in heard.text
    assert "being prepared" in heard.text  # still in English


def test_a_tap_long_after_the_question_still_knows_the_message(talk: Talk) -> None:
    asked = between(talk, "WL20261117001 的事", "ask_refund_status", "ask_order_status")
    for _ in range(5):
        talk.say("谢谢", "thank")
    heard = talk.say("查订单", payload=asked.payloads[1])
    assert "WL20261117001" in heard.text and "WL20261112003" not in heard.text


@pytest.mark.parametrize(("answer", "intent"), [("查一下订单", "ask_order_status"), ("第二个", "inform"),
                                                ("查订单到哪了", "out_of_scope")])
def test_the_answer_may_be_words(talk: Talk, answer: str, intent: str) -> None:
    between(talk, "WL20261117001 的事", "ask_refund_status", "ask_order_status")
    heard = talk.say(answer, intent)
    assert "WL20261117001" in heard.text and "WL20261112003" not in heard.text


def test_something_else_may_be_asked_instead(talk: Talk) -> None:
    between(talk, "WL20261117001 的事", "ask_refund_status", "ask_order_status")
    assert "1,280" in talk.say("我有多少积分", "ask_points_balance").text


def test_the_second_time_in_a_row_the_best_guess_is_taken(talk: Talk) -> None:
    assert between(talk, "那个", "ask_points_balance", "ask_tier").actions == ["action_ask_which"]
    assert between(talk, "就那个", "ask_points_history", "ask_order_status").actions == ["action_points_history"]
    assert between(talk, "那个", "ask_points_balance", "ask_tier").actions == ["action_ask_which"]


def test_a_form_in_progress_is_not_interrupted(talk: Talk) -> None:
    talk.say("快递员把箱子摔坏了", "file_complaint")
    heard = between(talk, "怎么退", "ask_return_policy", "request_return")
    assert "action_ask_which" not in heard.actions and "跟哪笔订单有关" in heard.text


def test_an_old_button_inside_a_form_is_a_digression_like_any_other(talk: Talk) -> None:
    asked = between(talk, "我的积分", "ask_points_history", "ask_points_balance")
    talk.say("快递员把箱子摔坏了", "file_complaint")
    heard = talk.say("查积分余额", payload=asked.payloads[1])
    assert "1,280" in heard.text and "跟哪笔订单有关" in heard.text


def test_an_angry_customer_gets_a_person_and_no_question(talk: Talk) -> None:
    heard = between(talk, "到底怎么回事", "ask_order_status", "ask_refund_status", anger=0.93)
    assert heard.status == "open" and heard.actions == ["action_hand_over"]
    assert "/ask_order_status" not in str(heard.payloads)


def test_the_anger_of_the_message_is_not_counted_again_when_its_meaning_is_chosen(talk: Talk) -> None:
    asked = between(talk, "怎么还没动静", "ask_refund_status", "ask_order_status", anger=0.6)
    assert asked.status == "pending"
    assert talk.say("查订单到哪了", payload=asked.payloads[1]).status == "pending"


def test_the_button_of_another_conversation_is_no_button(talk: Talk) -> None:
    asked = between(talk, "WL20261117001 的事", "ask_refund_status", "ask_order_status")
    heard = talk.say("hello", sender="ann", payload=asked.payloads[1])
    assert "WL20261117001" not in heard.text


def test_only_a_customers_message_of_the_same_conversation_is_gone_back_to(talk: Talk) -> None:
    between(talk, "WL20261117001 的事", "ask_refund_status", "ask_order_status")
    message = last_message(talk)
    found = message_asked_about(talk.store, message.conversation_id, message.id)
    assert found == Original("WL20261117001 的事", "zh", [])
    assert message_asked_about(talk.store, message.conversation_id + 1, message.id) is None
    (reply,) = [one for one in rows(talk, Message) if one.direction == "outgoing"]
    assert message_asked_about(talk.store, message.conversation_id, reply.id) is None


def test_a_person_may_be_chosen(talk: Talk) -> None:
    asked = between(talk, "我找你们经理", "file_complaint", "request_human")
    assert talk.say("转人工", payload=asked.payloads[1]).status == "open"

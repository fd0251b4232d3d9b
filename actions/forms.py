"""How every form takes an answer: fill, correct, ask again, answer something else in between, stop."""
from __future__ import annotations

from abc import abstractmethod
from enum import Enum
from typing import Any, ClassVar

from rasa_sdk.events import SlotSet

from actions.base import (
    HAND_OVER,
    LINK_FORM,
    LISTEN,
    ShopAction,
    ask_to_link,
    cleared,
    hand_over_stuck,
    is_stuck,
    take_up_again,
)
from actions.reading import says_never_mind, says_yes, wants_other_one
from actions.slots import SLOTS_OF
from actions.turn import Turn
from crm_store.rules.memory import answers_no_question

REQUESTED = "requested_slot"
# What a form cannot use and a rule answers: the form lets it pass and asks again afterwards.
ANSWERED_IN_BETWEEN = frozenset({
    "account_help", "ask_capabilities", "ask_complaint_status", "ask_delivery", "ask_invoice", "ask_order_status",
    "ask_payment", "ask_points_balance", "ask_points_expiry", "ask_points_history", "ask_points_rules", "ask_product",
    "ask_promotion", "ask_refund_status", "ask_return_policy", "ask_store", "ask_tier", "ask_warranty", "bot_challenge",
    "cancel_order", "change_order", "file_complaint", "give_feedback", "greet", "manage_privacy", "redeem_points",
    "request_return", "thank",
})
Values = dict[str, Any]


class Step(Enum):
    """What came of a message inside a form."""

    NEXT = "next"  # something was filled: go on with what is missing
    AGAIN = "again"  # it was no answer; what was wrong has been said
    ELSEWHERE = "elsewhere"  # it is about something else: let the rules answer it
    STOP = "stop"  # the form ends here; why has been said


class Form(ShopAction):
    """The validation action of a form, ``validate_<form>``: Rasa calls it at every message while the form is active.

    One remote call does it all: reads the answer, names the next slot, or ends the form. Slots are mapped ``custom``
    so that Rasa fills none by itself: an angry sentence never becomes an order number.
    """

    form: ClassVar[str]
    questions: ClassVar[tuple[str, ...]]  # the slots a customer is asked for, in this order
    own_intents: ClassVar[frozenset[str]] = frozenset()  # those that start the form, and so never lead out of it
    may_be_refused: ClassVar[tuple[str, ...]] = ()  # slots to which "no, leave it" is an answer, and no giving up
    order_slot: ClassVar[str | None] = None  # the slot that "no, the other order" is about

    @abstractmethod
    def start(self, turn: Turn, values: Values) -> Step:
        """The form begins: take what the message and the store already say, or refuse with ``STOP``."""

    @abstractmethod
    def read(self, turn: Turn, slot: str, values: Values) -> Step:
        """Read the answer to the question about ``slot`` into ``values``."""

    def is_needed(self, turn: Turn, slot: str, values: Values) -> bool:
        """Whether ``slot`` must be asked for."""
        return values[slot] is None

    def stopped(self, turn: Turn) -> None:
        """Say that the form was stopped because the customer wanted so."""
        turn.say("utter_form_stopped")

    # ------------------------------------------------------------------

    def act(self, turn: Turn) -> None:
        """Take one message."""
        before = {slot: turn.tracker.slots.get(slot) for slot in SLOTS_OF[self.form]}
        values = dict(before)
        requested = turn.tracker.slots.get(REQUESTED)
        if begins(turn.tracker.events, self.form):
            requested = None
            self._remember_paused(turn)
            step = self.start(turn, values)
        elif not is_fresh_answer(turn.tracker.events):
            step = Step.NEXT
        else:
            step = self._answer(turn, requested, values)
        self._finish(turn, step, requested, before, values)

    def _answer(self, turn: Turn, requested: str, values: Values) -> Step:
        if turn.slot("offer") == "request_human" and (turn.intent == "affirm" or says_yes(turn.text)):
            turn.then(HAND_OVER)  # it is a person they say yes to, and not the form's question
            return Step.STOP
        if turn.customer is not None and answers_no_question(turn.text, turn.intent):
            return Step.ELSEWHERE
        if turn.intent == "goodbye" or (requested not in self.may_be_refused and says_never_mind(turn.text)):
            return self._call_off(turn)
        if self.order_slot and requested != self.order_slot and values.get(self.order_slot) \
                and wants_other_one(turn.text):
            turn.remember(wrong_order=values[self.order_slot])
            values[self.order_slot] = None
            return Step.NEXT
        return self.read(turn, requested, values)

    def _call_off(self, turn: Turn) -> Step:
        if turn.intent == "goodbye":
            turn.say("utter_goodbye")
            return Step.STOP
        abandoned = {**(turn.slot("forms_abandoned") or {})}
        abandoned[self.form] = abandoned.get(self.form, 0) + 1
        turn.remember(forms_abandoned=abandoned)
        if is_stuck(forms_abandoned=abandoned[self.form]):
            hand_over_stuck(turn)
        else:
            self.stopped(turn)
        return Step.STOP

    def _finish(self, turn: Turn, step: Step, requested: str | None, before: Values, values: Values) -> None:
        if step is Step.ELSEWHERE:
            turn.unsay()
            turn.events = []  # nothing at all: that is what makes Rasa ask the rules
            return
        if step is Step.STOP:
            self._stop(turn, before, values)
            return
        turn.events += [SlotSet(slot, value) for slot, value in values.items() if value != before[slot]]
        if step is Step.AGAIN:
            mistakes = int(turn.slot("form_mistakes") or 0) + 1
            stuck = is_stuck(misunderstood_in_a_row=mistakes)
            turn.remember(form_mistakes=mistakes, requested_slot=None if stuck else requested)
            if stuck:
                hand_over_stuck(turn)
            return
        asked_next = next((slot for slot in self.questions if self.is_needed(turn, slot, values)), None)
        turn.remember(form_mistakes=0, requested_slot=asked_next)

    def _stop(self, turn: Turn, before: Values, values: Values) -> None:
        if turn.slot("after_link") == self.form:  # it comes back once the customer is linked
            turn.events += [SlotSet(slot, value) for slot, value in values.items() if value != before[slot]]
        else:
            turn.events += cleared(*SLOTS_OF[self.form])
        turn.remember(form_mistakes=0, wrong_order=None, requested_slot=None)
        if self.form == LINK_FORM:  # nobody waits for it any more
            turn.events += cleared(*SLOTS_OF.get(turn.slot("after_link") or "", ()), "after_link")
        if turn.leads_on:
            return
        if turn.intent != "goodbye" and turn.slot("paused_form"):
            take_up_again(turn)
            return
        turn.events += cleared(*SLOTS_OF.get(turn.slot("paused_form") or "", ()), "paused_form")
        turn.then(LISTEN)  # not the action that a completed form leads to

    def _remember_paused(self, turn: Turn) -> None:
        interrupted = form_before(turn.tracker.events, self.form)
        if interrupted and turn.slot("paused_form") != interrupted:
            turn.remember(paused_form=interrupted)

    def needs_link(self, turn: Turn, saying: str = "utter_link_first") -> bool:
        """Whether the customer must prove who they are first; if so ``saying`` has told them and link_form follows."""
        if turn.customer is not None:
            return False
        ask_to_link(turn, self.form, saying)
        return True


def begins(events: list[dict[str, Any]], form: str) -> bool:
    """Whether the form runs for the first time since it was activated.

    Not whether nothing has been requested: a form that takes over from another finds that one's requested slot.
    """
    activated = max((at for at, event in enumerate(events) if event["event"] == "active_loop"), default=None)
    if activated is None or events[activated].get("name") != form:
        return True
    return [event["name"] for event in events[activated:] if event["event"] == "action"] == [form]


def is_fresh_answer(events: list[dict[str, Any]]) -> bool:
    """Whether the form runs on a message, and not because something else was answered in between.

    Rasa ends the events with the form itself; before it stands ``action_listen`` where the customer has just written.
    """
    ran = [event["name"] for event in events if event["event"] == "action"]
    return len(ran) < 2 or ran[-2] == LISTEN


def form_before(events: list[dict[str, Any]], form: str) -> str | None:
    """The form that was still active when ``form`` began, or None."""
    loops = [event.get("name") for event in events if event["event"] == "active_loop"]
    if loops and loops[-1] == form:
        loops.pop()
    found = loops[-1] if loops else None
    return None if found == form else found

"""What all actions share: one unit of work, and no failure that leaves a customer without an answer."""
from __future__ import annotations

import asyncio
import logging
import traceback
from abc import ABC, abstractmethod
from typing import Any, ClassVar

from rasa_sdk import Action, Tracker
from rasa_sdk.events import ActiveLoop, FollowupAction, SlotSet
from rasa_sdk.executor import CollectingDispatcher
from rasa_sdk.types import DomainDict

from actions.slots import FORM_SLOTS
from actions.store import workplace
from actions.turn import Event, Turn
from crm_store.errors import StaleVersion
from crm_store.rules.escalation import DEFAULT_THRESHOLDS, reason_to_escalate
from crm_store.services.handoff import escalate_conversation

logger = logging.getLogger(__name__)

LISTEN = "action_listen"
HAND_OVER = "action_hand_over"
LINK_FORM = "link_form"


class ShopAction(Action, ABC):  # type: ignore[misc]
    """An action that answers within one unit of work.

    An exception here would make Rasa say nothing at all. So it is caught, logged, and the conversation goes to a
    person with the reason ``system``; where even that fails, the error is let through, the turn fails as a whole, and
    the gateway brings the message again.
    """

    called: ClassVar[str]
    writes: ClassVar[bool] = False

    def name(self) -> str:
        """The action's name in the domain."""
        return self.called

    @abstractmethod
    def act(self, turn: Turn) -> None:
        """Do it: read the store, say something, remember something."""

    async def run(self, dispatcher: CollectingDispatcher, tracker: Tracker, domain: DomainDict) -> list[Event]:
        """Run ``act`` in a thread, because the store waits for its database."""
        return await asyncio.to_thread(self.run_now, dispatcher, tracker)

    def run_now(self, dispatcher: CollectingDispatcher, tracker: Tracker) -> list[Event]:
        """Run ``act`` and commit what it did; hand over where it fails."""
        place = workplace()
        try:
            with (place.store.write() if self.writes else place.store.read()) as session:
                turn = Turn(session, tracker, dispatcher, place.clock())
                self.act(turn)
                self._lead_on(turn)
            for step in turn.after_commit:
                step()
            return turn.events
        except Exception as error:  # the edge of the process
            self._log(error, tracker)
            dispatcher.messages.clear()
            with place.store.write() as session:
                return hand_over(Turn(session, tracker, dispatcher, place.clock()), "system")

    def _lead_on(self, turn: Turn) -> None:
        """Outside a form: back to the one this interrupted, else listen.

        The rules would say the same, but asking them takes Rasa as long as everything else that an action does.
        """
        if turn.tracker.active_loop_name is not None or turn.leads_on:
            return
        take_up_again(turn)
        if not turn.leads_on:
            turn.then(LISTEN)

    def _log(self, error: Exception, tracker: Tracker) -> None:
        # Not the error's own words: a database error repeats the customer's.
        where = "".join(traceback.format_tb(error.__traceback__))
        logger.error("%s failed: %s\n%s", self.called, type(error).__name__, where, extra={
            "conversation_id": tracker.sender_id,
            "message_id": ((tracker.latest_message or {}).get("metadata") or {}).get("message_id"),
        })


def hand_over(turn: Turn, reason: str, **details: Any) -> list[Event]:
    """Give the conversation to a person, and forget the form that was being filled.

    The service writes the customer's notice; nothing is said here.

    Args:
        turn: the turn in which a person is needed.
        reason: why, one of the store's reasons.
        **details: passed on to ``escalate_conversation`` (``ticket``, ``summary``).
    """
    sentiment = turn.message.get("sentiment") or {}
    version = turn.context.get("version")
    try:
        escalate_conversation(
            turn.session, conversation_id=turn.conversation_id, reason=reason, now=turn.now,
            message_id=turn.message_id, anger=sentiment.get("anger"), language=turn.language,
            expected_version=version if reason != "system" else None, **details,
        )
    except StaleVersion:
        # Somebody else took the conversation while this turn ran. The replies will be dropped; there is nothing to do.
        logger.info("handed over by somebody else", extra={"conversation_id": turn.conversation_id,
                                                           "message_id": turn.message_id})
    return [ActiveLoop(None), SlotSet("requested_slot", None), SlotSet("handover_reason", reason),
            *cleared(*FORM_SLOTS, "forms_abandoned", "paused_form", "after_link", "form_mistakes"),
            SlotSet("handover_reason", None), FollowupAction(LISTEN)]


def is_stuck(*, misunderstood_in_a_row: int = 0, forms_abandoned: int = 0) -> bool:
    """Whether the rules of escalation call a dialogue stuck."""
    reason = reason_to_escalate(intent=None, angers=(), thresholds=DEFAULT_THRESHOLDS,
                                misunderstood_in_a_row=misunderstood_in_a_row, forms_abandoned=forms_abandoned)
    return reason is not None


def hand_over_stuck(turn: Turn) -> None:
    """Have a person take over, because the dialogue gets nowhere."""
    turn.unsay()
    turn.remember(handover_reason="stuck")
    turn.then(HAND_OVER)


def cleared(*slots: str) -> list[Event]:
    """Events that forget slots."""
    return [SlotSet(slot, None) for slot in slots]


def ask_to_link(turn: Turn, then: str, saying: str = "utter_link_first") -> None:
    """Have a guest prove who they are, and go on with ``then`` afterwards."""
    turn.say(saying)
    turn.remember(after_link=then)
    turn.then(LINK_FORM)


def take_up_again(turn: Turn) -> None:
    """Go back to the form that the one which just ended had interrupted, where there is one."""
    paused = turn.slot("paused_form")
    if paused:
        turn.remember(paused_form=None)
        turn.then(paused)

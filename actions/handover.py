"""Gives the conversation to a person."""
from __future__ import annotations

from actions.base import HAND_OVER, ShopAction, hand_over
from actions.slots import SKIPPED, SLOTS_OF
from actions.turn import Turn


class ActionHandOver(ShopAction):
    """Runs where the escalation policy, or another action, found a reason. It says nothing: the service does."""

    called = HAND_OVER
    writes = True

    def act(self, turn: Turn) -> None:
        """With what the customer had already told a form, so that nobody asks again."""
        turn.events = hand_over(turn, turn.slot("handover_reason") or "asked", summary=summary_of(turn))


def summary_of(turn: Turn) -> str | None:
    """The customer's words and what they had told the form, for the agent; None where there was no form."""
    told = [str(turn.tracker.slots[slot]) for form, slots in SLOTS_OF.items() if form != "link_form"
            for slot in slots if turn.tracker.slots.get(slot) not in (None, SKIPPED, True, False)]
    if not told:
        return None
    return "\n".join(dict.fromkeys([*told, turn.text]))

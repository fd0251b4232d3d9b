"""Greets a customer by name, with what is open, and keeps what they suggest."""
from __future__ import annotations

from actions.base import ShopAction
from actions.points import shop_day
from actions.turn import Turn
from actions.wording import what_is_in
from crm_store.queries.customers import open_matters
from crm_store.services.listening import keep_feedback
from crm_store.services.locking import lock_conversation
from crm_store.services.memory import goes_by


class ActionGreet(ShopAction):
    """Greets by name; an open complaint, a parcel under way or points about to lapse are brought up once."""

    called = "action_greet"

    def act(self, turn: Turn) -> None:
        """One matter at most: a greeting is not a report."""
        if turn.customer is None:
            turn.say("utter_greet_guest")
            return
        turn.say("utter_greet", name=goes_by(turn.session, turn.customer))
        told = set(str(turn.slot("mentioned") or "").split())
        matters = open_matters(turn.session, turn.customer.id, turn.identity.id, turn.now)
        for ticket in matters.open_complaints:
            if ticket.number not in told:
                turn.say("utter_greet_complaint", number=ticket.number)
                return self._told(turn, told, ticket.number)
        for order in matters.parcels_under_way:
            if order.status == "shipped" and order.number not in told:
                turn.say("utter_greet_parcel", number=order.number, what=what_is_in(order, turn.language))
                turn.remember(last_order=order.number)
                return self._told(turn, told, order.number)
        for day, points in matters.expiring_points[:1]:
            if day.isoformat() not in told:
                turn.say("utter_greet_points", points=f"{points:,}", date=shop_day(turn, day))
                return self._told(turn, told, day.isoformat())
        return None

    def _told(self, turn: Turn, before: set[str], matter: str) -> None:
        turn.remember(mentioned=" ".join(sorted({*before, matter})))


class ActionKeepFeedback(ShopAction):
    """Keeps a suggestion or praise as it was said."""

    called = "action_keep_feedback"
    writes = True

    def act(self, turn: Turn) -> None:
        """Once for each message."""
        lock_conversation(turn.session, turn.conversation_id)
        assert turn.message_id is not None
        keep_feedback(turn.session, conversation_id=turn.conversation_id, customer_id=turn.identity.customer_id,
                      message_id=turn.message_id, text=turn.text, now=turn.now)
        turn.say("utter_feedback_kept")

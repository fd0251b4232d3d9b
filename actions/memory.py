"""The bot's memory at a word: something to remember, to forget, to tell, and how to speak."""
from __future__ import annotations

from actions.base import ShopAction, ask_to_link
from actions.turn import Turn
from crm_store.models import Fact
from crm_store.rules.memory import wish_in
from crm_store.services.memory import facts_of, forget_facts, keep_fact, may_remember, set_tone

OFFER = "keep_fact"
IN_WORDS = {
    "name": {"zh": "叫您{what}", "en": "to call you {what}"},
    "allergy": {"zh": "您对{what}过敏", "en": "you are allergic to {what}"},
    "diet": {"zh": "您{what}", "en": "diet: {what}"},
    "like": {"zh": "您喜欢{what}", "en": "you like {what}"},
    "dislike": {"zh": "您不喜欢{what}", "en": "you don't like {what}"},
    "delivery": {"zh": "配送：{what}", "en": "delivery: {what}"},
    "other": {"zh": "“{what}”", "en": "“{what}”"},
}


def in_words(turn: Turn, kind: str, what: str) -> str:
    """A fact as the bot says it."""
    return IN_WORDS[kind][turn.language].format(what=what)


class ActionMemory(ShopAction):
    """Does what the message asks of the memory; bot.policies.memory decides when."""

    called = "action_memory"
    writes = True

    def act(self, turn: Turn) -> None:
        """A fact is only offered to be kept: the customer's yes keeps it."""
        wish = wish_in(turn.text)
        assert wish is not None
        if turn.customer is None:
            ask_to_link(turn, "action_memory_after_link", "utter_memory_link_first")
        elif wish.do == "tone":
            set_tone(turn.session, customer_id=turn.customer.id, tone=wish.kind, now=turn.now)
            turn.say("utter_tone_brisk" if wish.kind == "brisk" else "utter_tone_warm")
        elif wish.do == "recall":
            self._recall(turn, facts_of(turn.session, turn.customer.id))
        elif wish.do == "forget":
            gone = forget_facts(turn.session, customer_id=turn.customer.id, which=wish.kind, what=wish.what,
                                now=turn.now)
            turn.say("utter_fact_forgotten" if gone else "utter_fact_unknown", what=turn.by("、", "; ").join(gone))
        elif not may_remember(turn.session, turn.customer.id):
            turn.say("utter_memory_off")
        else:
            turn.say("utter_fact_ask", what=in_words(turn, wish.kind, wish.what))
            turn.remember(offer=OFFER, fact={"kind": wish.kind, "what": wish.what, "message": turn.message_id})

    def _recall(self, turn: Turn, facts: list[Fact]) -> None:
        if not facts:
            turn.say("utter_memory_empty")
            return
        lines = "\n".join(turn.by(
            f"· {in_words(turn, fact.kind, fact.what)}（{turn.day(fact.said_at)}）",
            f"· {in_words(turn, fact.kind, fact.what)} ({turn.day(fact.said_at)})") for fact in facts)
        turn.say("utter_memory_told", lines=lines)


class ActionKeepFact(ShopAction):
    """Keeps the fact that the customer has just said yes to."""

    called = "action_keep_fact"
    writes = True

    def act(self, turn: Turn) -> None:
        """What was offered, by the message in which it was said."""
        offered = turn.slot("fact") or {}
        turn.remember(offer="none", fact=None)
        kept = None
        if turn.customer is not None and offered.get("message"):
            kept = keep_fact(turn.session, customer_id=turn.customer.id, kind=offered["kind"], what=offered["what"],
                             message_id=int(offered["message"]), now=turn.now)
        if kept is None:
            turn.say("utter_memory_full")
        else:
            turn.say("utter_fact_kept", what=in_words(turn, kept.kind, kept.what))


class ActionMemoryAfterLink(ShopAction):
    """Who has just proved who they are is asked to say it again: what was said as a guest is nobody's."""

    called = "action_memory_after_link"

    def act(self, turn: Turn) -> None:
        """One sentence."""
        turn.say("utter_memory_say_again")

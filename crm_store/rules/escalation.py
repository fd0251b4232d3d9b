"""Decides when a human is needed, from intents, anger and how the dialogue goes."""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

ASKED_INTENT = "request_human"
WATCH_WINDOW = 3
WATCHED_IN_WINDOW = 2
MISUNDERSTOOD_LIMIT = 3
ABANDONED_LIMIT = 2


@dataclass(frozen=True)
class Thresholds:
    """Anger (a probability in [0, 1]) from which a customer is routed to a human, or watched."""

    route: float
    watch: float


DEFAULT_THRESHOLDS = Thresholds(route=0.80, watch=0.50)


def band(anger: float | None, thresholds: Thresholds) -> str:
    """"route", "watch" or "calm"; "unknown" where the model could not run, which is never calm."""
    if anger is None:
        return "unknown"
    if anger >= thresholds.route:
        return "route"
    return "watch" if anger >= thresholds.watch else "calm"


def reason_to_escalate(
    *, intent: str | None, angers: Sequence[float | None], thresholds: Thresholds, misunderstood_in_a_row: int,
    forms_abandoned: int,
) -> str | None:
    """The reason why this message needs a human, or None where the bot goes on.

    Args:
        intent: what the NLU read in this message.
        angers: the customer's anger, newest (this message) first; None where it is unknown.
        thresholds: those of the customer's tier.
        misunderstood_in_a_row: turns the bot did not understand, this one included.
        forms_abandoned: how often the customer has left the same form.

    Returns:
        "asked", "anger", "stuck" or None; the first that holds, in this order.
    """
    if intent == ASKED_INTENT:
        return "asked"
    if angers and band(angers[0], thresholds) == "route":
        return "anger"
    watched = [anger for anger in angers[:WATCH_WINDOW] if anger is not None and anger >= thresholds.watch]
    if len(watched) >= WATCHED_IN_WINDOW:
        return "anger"
    if misunderstood_in_a_row >= MISUNDERSTOOD_LIMIT or forms_abandoned >= ABANDONED_LIMIT:
        return "stuck"
    return None

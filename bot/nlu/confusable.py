"""Tells whether a message is so close between two intents that the customer should say which one they mean."""
from __future__ import annotations

from collections.abc import Sequence

MARGIN = 0.25
"""Two intents whose probabilities are no further apart are asked about.

The narrower of what ``best_margin`` of bench.evaluation finds with a fifth of the examples held back and on held-out
messages; another encoder needs a new look.
"""

# What the rules run for each intent one can ask about; a test holds this against data/rules. Small talk, answers
# (affirm, deny, inform), what is out of scope and what nobody would choose from a button are left out.
ANSWERED_BY = {
    **dict.fromkeys(
        ("account_help", "ask_delivery", "ask_invoice", "ask_payment", "ask_points_rules", "ask_product",
         "ask_promotion", "ask_return_policy", "ask_store", "ask_warranty"), "action_answer_question"),
    **dict.fromkeys(("cancel_order", "change_order", "request_return"), "request_form"),
    "ask_complaint_status": "action_complaint_status",
    "ask_order_status": "order_status_form",
    "ask_points_balance": "action_points_balance",
    "ask_points_expiry": "action_points_expiry",
    "ask_points_history": "action_points_history",
    "ask_refund_status": "action_refund_status",
    "ask_tier": "action_tier",
    "file_complaint": "complaint_form",
    "give_feedback": "action_keep_feedback",
    "manage_privacy": "action_manage_privacy",
    "redeem_points": "redeem_form",
    "request_human": "action_hand_over",
}
REQUEST_HUMAN = "request_human"


def pair_to_ask(ranking: Sequence[tuple[str, float]], margin: float = MARGIN) -> tuple[str, str] | None:
    """The two intents to choose from, the likelier first, or None where the best guess is taken.

    Whoever seems to want a person gets one without a question.

    Args:
        ranking: Intents with their calibrated probability, the likeliest first.
        margin: How far apart the two may be.
    """
    if len(ranking) < 2:
        return None
    (first, likely), (second, less_likely) = ranking[:2]
    if first == REQUEST_HUMAN or not {first, second} <= set(ANSWERED_BY):
        return None
    if ANSWERED_BY[first] == ANSWERED_BY[second] or likely - less_likely > margin:
        return None
    return first, second

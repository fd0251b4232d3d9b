"""What a message may be about: the intents of ``domain.yml``, which an agent chooses from."""
from __future__ import annotations

INTENTS = (
    "ask_order_status", "ask_delivery", "change_order", "cancel_order",
    "request_return", "ask_return_policy", "ask_refund_status", "ask_warranty",
    "file_complaint", "ask_complaint_status", "give_feedback", "request_human",
    "ask_points_balance", "ask_points_history", "ask_points_expiry", "ask_points_rules", "redeem_points", "ask_tier",
    "ask_product", "ask_promotion", "ask_payment", "ask_invoice", "ask_store",
    "account_help", "manage_privacy",
    "inform", "affirm", "deny", "greet", "thank", "goodbye", "ask_capabilities", "bot_challenge", "out_of_scope",
)
"""By topic, as the desk lists them."""

"""Asks which of two things a customer wants, where a message is too close between them to guess."""
from __future__ import annotations

import json

from actions.base import ShopAction
from actions.turn import Button, Turn

# What a customer wants, as it reads in the question and on its button.
WANTS = {
    "account_help": {"zh": "解决账号问题", "en": "sort out your account"},
    "ask_complaint_status": {"zh": "查投诉进展", "en": "check on a complaint"},
    "ask_delivery": {"zh": "了解配送", "en": "know about delivery"},
    "ask_invoice": {"zh": "了解发票", "en": "know about invoices"},
    "ask_order_status": {"zh": "查订单到哪了", "en": "track an order"},
    "ask_payment": {"zh": "了解付款", "en": "know about payment"},
    "ask_points_balance": {"zh": "查积分余额", "en": "see your points"},
    "ask_points_expiry": {"zh": "查积分何时到期", "en": "know when points expire"},
    "ask_points_history": {"zh": "查积分明细", "en": "see your points history"},
    "ask_points_rules": {"zh": "了解积分规则", "en": "know how points work"},
    "ask_product": {"zh": "了解商品", "en": "ask about a product"},
    "ask_promotion": {"zh": "了解优惠活动", "en": "know about offers"},
    "ask_refund_status": {"zh": "查退款进度", "en": "check on a refund"},
    "ask_return_policy": {"zh": "了解退换货规则", "en": "know the return rules"},
    "ask_store": {"zh": "了解门店信息", "en": "know about our shops"},
    "ask_tier": {"zh": "查会员等级", "en": "see your membership tier"},
    "ask_warranty": {"zh": "了解保修和维修", "en": "know about warranty"},
    "cancel_order": {"zh": "取消订单", "en": "cancel an order"},
    "change_order": {"zh": "修改订单", "en": "change an order"},
    "file_complaint": {"zh": "投诉", "en": "file a complaint"},
    "give_feedback": {"zh": "提建议", "en": "leave feedback"},
    "manage_privacy": {"zh": "管理个人信息", "en": "manage your data"},
    "redeem_points": {"zh": "兑换积分", "en": "redeem points"},
    "request_human": {"zh": "转人工", "en": "talk to a person"},
    "request_return": {"zh": "办理退换货", "en": "return something"},
}


class ActionAskWhich(ShopAction):
    """Asks with a button for each of the two likeliest intents; bot.policies.ask_back decides when."""

    called = "action_ask_which"

    def act(self, turn: Turn) -> None:
        """The likelier one first."""
        intents = [row["name"] for row in turn.message["intent_ranking"][:2]]
        first, second = (WANTS[intent][turn.language] for intent in intents)
        turn.say("utter_ask_which", first=first, second=second, buttons=[button(turn, intent) for intent in intents])


def button(turn: Turn, intent: str) -> Button:
    """A button that goes on with this very message as ``intent``; the bot's door reads ``about``."""
    wants = WANTS[intent][turn.language]
    return {"title": wants[0].upper() + wants[1:], "payload": f"/{intent}" + json.dumps({"about": turn.message_id})}

"""Words that fill placeholders of the domain's responses: money, names of states. The sentences are in domain.yml."""
from __future__ import annotations

from decimal import Decimal

from crm_store.models import Order, Reward, Tier

STATUS: dict[str, dict[str, str]] = {
    "unpaid": {"zh": "待付款", "en": "waiting for payment"},
    "paid": {"zh": "已付款，备货中", "en": "paid, being prepared"},
    "packed": {"zh": "已打包，待取件", "en": "packed, waiting for the courier"},
    "shipped": {"zh": "运输中", "en": "on its way"},
    "delivered": {"zh": "已签收", "en": "delivered"},
    "completed": {"zh": "已完成", "en": "completed"},
    "cancelled": {"zh": "已取消", "en": "cancelled"},
    "returning": {"zh": "退货中", "en": "being returned"},
    "returned": {"zh": "已退货", "en": "returned"},
}
REQUESTS: dict[str, dict[str, str]] = {
    "return": {"zh": "退换货", "en": "return"},
    "refund": {"zh": "退款", "en": "refund"},
    "cancel": {"zh": "取消订单", "en": "cancellation"},
    "change": {"zh": "修改订单", "en": "change"},
    "privacy": {"zh": "个人信息", "en": "privacy"},
}
TICKETS: dict[str, dict[str, str]] = {
    "complaint": {"zh": "投诉", "en": "Complaint"},
    "handoff": {"zh": "人工服务", "en": "Conversation with a colleague"},
}
WISHES: dict[str, dict[str, str]] = {
    "refund": {"zh": "退款", "en": "A refund"},
    "replacement": {"zh": "换货或补发", "en": "A replacement"},
    "compensation": {"zh": "赔偿", "en": "Compensation"},
    "apology": {"zh": "道歉并改进", "en": "An apology and improvement"},
}
ENTRY_KINDS: dict[str, dict[str, str]] = {
    "earn": {"zh": "消费获得", "en": "earned"},
    "spend": {"zh": "兑换", "en": "redeemed"},
    "expire": {"zh": "到期", "en": "expired"},
    "reverse": {"zh": "退货扣回", "en": "taken back for a return"},
    "give_back": {"zh": "取消兑换退回", "en": "given back for a cancelled redemption"},
    "grant": {"zh": "赠送", "en": "a gift from us"},
    "move": {"zh": "账户合并转入", "en": "brought over from your other account"},
}


def money(fen: int) -> str:
    """An amount in fen as ¥1,299 or ¥12.50."""
    yuan = Decimal(fen) / 100
    return f"¥{yuan:,.0f}" if fen % 100 == 0 else f"¥{yuan:,.2f}"


def what_is_in(order: Order, language: str) -> str:
    """What an order is about, short: the first product, and how many more."""
    items = list(order.items)
    if not items:
        return money(order.total_fen)
    first = items[0].product
    name = str(first.name_zh if language == "zh" else first.name_en)
    if len(items) == 1:
        return name
    return f"{name}等{len(items)}种商品" if language == "zh" else f"{name} and {len(items) - 1} more"


def tier_name(tier: Tier, language: str) -> str:
    """A tier's name."""
    return str(tier.name_zh if language == "zh" else tier.name_en)


def tier_benefits(tier: Tier, language: str) -> str:
    """A tier's benefits, on one line."""
    text = str(tier.benefits_zh if language == "zh" else tier.benefits_en)
    return ("；" if language == "zh" else "; ").join(line.strip() for line in text.splitlines() if line.strip())


def reward_name(reward: Reward, language: str) -> str:
    """A reward's name."""
    return str(reward.name_zh if language == "zh" else reward.name_en)


def short(text: str, limit: int = 20) -> str:
    """A text cut to fit a button."""
    return text if len(text) <= limit else text[: limit - 1].rstrip() + "…"

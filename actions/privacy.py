"""What customers may have done with their data: a copy, erasure, no more marketing."""
from __future__ import annotations

from actions.articles import general_article, tell_article
from actions.base import ShopAction, ask_to_link
from actions.orders import promised
from actions.reading import any_of
from actions.turn import Turn
from crm_store.models import Consent
from crm_store.services.audit import record
from crm_store.services.requests import record_request

MARKETING = any_of(
    "营销", "推广", "推销", "广告", "廣告", "短信", "簡訊", "推送", "促销信息", "优惠信息", "电话打扰", "退订", "订阅",
    "推荐商品", "个性化推荐", "电子报", "電子報", "^td$", "拉黑", "骚扰", "群发",
    r"\bmarketing\b", r"\badvert", r"\bads?\b", r"\bpromo", r"\bnewsletter", r"\bunsubscribe\b", r"\bopt[- ]?out\b",
    r"\bspam", r"\bmailing list\b", r"\bstop (sending|texting|emailing|calling)",
)
ERASE = any_of(
    "注销", "注消", "销号", "删", "刪", "清(掉|除|空)", "抹", "遗忘", "彻底", "永久",
    r"\berase", r"\bdelet", r"\bforget me\b", r"\bremove (all )?my\b", r"\bclose my account\b", r"\bwipe\b",
)
EXPORT = any_of(
    "导出", "导一份", "下载", "下載", "副本", "复制", "打包", "一份", "哪些(信息|数据|资料|记录)", "什么信息", "查阅",
    r"\bexport\b", r"\bcopy\b", r"\bdownload\b", "what (data|information) (do )?you",
)
WISHES = ("export", "erase", "marketing")
DETAILS = {
    "export": {"zh": "要一份个人信息副本", "en": "Wants a copy of their personal data"},
    "erase": {"zh": "要求删除个人信息", "en": "Wants their personal data erased"},
}


class ActionManagePrivacy(ShopAction):
    """Stops marketing at once; records a copy or an erasure as a request, because a person checks those."""

    called = "action_manage_privacy"
    writes = True

    def act(self, turn: Turn) -> None:
        """Where it is not clear what is wanted, answer from the article or say what can be done."""
        wish = wish_in(turn)
        found = general_article(turn) if wish is None else None
        if found is not None:
            tell_article(turn, found)
        elif wish is None:
            turn.say("utter_privacy_options")
        elif turn.customer is None:
            ask_to_link(turn, self.called)
            turn.remember(privacy_wish=wish)
        elif wish == "marketing":
            stop_marketing(turn)
        else:
            assert turn.message_id is not None
            ticket = record_request(
                turn.session, conversation_id=turn.conversation_id, message_id=turn.message_id, request_type="privacy",
                order_id=None, detail=DETAILS[wish][turn.language], now=turn.now)
            turn.session.flush()
            turn.say(f"utter_privacy_{wish}", number=ticket.number, due=promised(turn, ticket))
        if turn.customer is not None:
            turn.remember(privacy_wish=None)


def wish_in(turn: Turn) -> str | None:
    """Which of the three is wanted: from a button, from before linking, or from the words."""
    pressed = turn.entity("privacy_wish") or turn.slot("privacy_wish")
    if pressed in WISHES:
        return str(pressed)
    if MARKETING.search(turn.text):
        return "marketing"
    if ERASE.search(turn.text):
        return "erase"
    return "export" if EXPORT.search(turn.text) else None


def stop_marketing(turn: Turn) -> None:
    """Withdraw the consent to marketing, with time and channel."""
    assert turn.customer is not None
    turn.session.add(Consent(customer_id=turn.customer.id, purpose="marketing", granted=False,
                             channel=turn.identity.channel, decided_at=turn.now))
    record(turn.session, actor_kind="customer", actor_id=turn.customer.id, action="revoke_consent",
           object_kind="customer", object_id=turn.customer.id, data={"purpose": "marketing"}, now=turn.now)
    turn.say("utter_privacy_no_marketing")

"""What customers may have done with their data: a copy, erasure, no more marketing."""
from __future__ import annotations

from actions.articles import general_article, tell_article
from actions.base import ShopAction, ask_to_link, cleared
from actions.forms import ANSWERED_IN_BETWEEN, Form, Step, Values
from actions.linking import offer_unlinking, wants_unlinking
from actions.reading import any_of, asks_something, says_never_mind, says_no, tidy
from actions.slots import SLOTS_OF
from actions.store import workplace
from actions.turn import Turn
from crm_store.models import Customer
from crm_store.queries.customers import open_matters
from crm_store.services.data_copies import offer_copy
from crm_store.services.erasure import ask_erasure, cancel_erasure, waiting_erasure
from crm_store.services.points import points_balance
from crm_store.services.privacy import set_consent

MARKETING = any_of(
    "营销", "推广", "推销", "广告", "廣告", "短信", "簡訊", "推送", "促销信息", "优惠信息", "电话打扰", "退订", "订阅",
    "推荐商品", "个性化推荐", "电子报", "電子報", "^td$", "拉黑", "骚扰", "群发",
    r"\bmarketing\b", r"\badvert", r"\bads?\b", r"\bpromo", r"\bnewsletter", r"\bunsubscribe\b", r"\bopt[- ]?out\b",
    r"\bspam", r"\bmailing list\b", r"\bstop (sending|texting|emailing|calling)",
)
KEEP = any_of(
    "(不要|别|不用|先不|不想|不)(再)?(删|刪|注销)", "(取消|撤销|撤回)(删除|注销|这个(请求|申请))",
    "(保留|留着)(我的)?(信息|数据|资料|账号)",
    r"\b(do not|don'?t) (erase|delete|remove)", r"\bkeep my\b",
    r"\b(cancel|stop|call off) (the |my )?(erasure|deletion)",
)
ERASE = any_of(
    "注销", "注消", "销号", "删", "刪", "清(掉|除|空)", "抹", "遗忘", "彻底", "永久",
    r"\berase", r"\bdelet", r"\bforget me\b", r"\bremove (all )?my\b", r"\bclose my account\b", r"\bwipe\b",
)
EXPORT = any_of(
    "导出", "导一份", "下载", "下載", "副本", "复制", "打包", "一份", "哪些(信息|数据|资料|记录)", "什么信息", "查阅",
    r"\bexport\b", r"\bcopy\b", r"\bdownload\b", "what (data|information) (do )?you",
)
WISHES = ("export", "erase", "marketing", "keep")
ERASE_FORM = "erase_form"
CONFIRMED = any_of("^确认删除$", "^確認刪除$", "^confirm erasure$")  # typed, never a button: nobody says it by mistake


class ActionManagePrivacy(ShopAction):
    """Gives a link to a copy, stops marketing at once, leads to the erasure or calls it off."""

    called = "action_manage_privacy"
    writes = True

    def act(self, turn: Turn) -> None:
        """Where it is not clear what is wanted, answer from the article or say what can be done."""
        if wants_unlinking(turn.text):
            offer_unlinking(turn)
            return
        wish = wish_in(turn)
        found = general_article(turn) if wish is None else None
        if found is not None:
            tell_article(turn, found)
        elif wish is None:
            turn.say("utter_privacy_options")
        elif turn.customer is None:
            ask_to_link(turn, self.called)
            turn.remember(privacy_wish=wish)
        elif wish == "erase":
            turn.then(ERASE_FORM)
        else:
            {"marketing": stop_marketing, "export": give_copy, "keep": call_erasure_off}[wish](turn, turn.customer)
        if turn.customer is not None:
            turn.remember(privacy_wish=None)


class ValidateEraseForm(Form):
    """Says what goes with the data, and waits until the customer has typed the words that confirm it."""

    called = "validate_erase_form"
    form = ERASE_FORM
    questions = ("erase_confirmed",)
    may_be_refused = ("erase_confirmed",)

    def start(self, turn: Turn, values: Values) -> Step:
        """Tell of what would be lost; nothing to do where it was asked for before."""
        if self.needs_link(turn):
            return Step.STOP
        assert turn.customer is not None
        values.update(erase_confirmed=None)
        waiting = waiting_erasure(turn.session, turn.customer.id)
        if waiting is not None:
            turn.say("utter_erasure_waits", due=turn.time(waiting.due_at).strip())
            return Step.STOP
        for line in what_is_lost(turn, turn.customer):
            turn.say("utter_erasure_costs", what=line)
        return Step.NEXT

    def read(self, turn: Turn, slot: str, values: Values) -> Step:
        """The words, typed; a yes is not enough, a no ends it."""
        if CONFIRMED.search(tidy(turn.text)) and not turn.is_button:
            values["erase_confirmed"] = True
            return Step.NEXT
        if turn.intent == "deny" or says_no(turn.text) or says_never_mind(turn.text) or KEEP.search(turn.text):
            turn.say("utter_not_erased")
            return Step.STOP
        if turn.intent in ANSWERED_IN_BETWEEN - {"manage_privacy"} and asks_something(turn.text):
            return Step.ELSEWHERE
        turn.say("utter_wrong_erase_words")
        return Step.AGAIN


class ActionEraseCustomer(ShopAction):
    """Has the customer erased once the time to think better of it is over."""

    called = "action_erase_customer"
    writes = True

    def act(self, turn: Turn) -> None:
        """Say when, and how to call it off."""
        assert turn.customer is not None
        asked = ask_erasure(turn.session, turn.customer.id, asked_by="customer", now=turn.now)
        turn.events += cleared(*SLOTS_OF[ERASE_FORM])
        turn.remember(forms_abandoned=None)
        turn.say("utter_privacy_erase", due=turn.time(asked.due_at).strip())


def wish_in(turn: Turn) -> str | None:
    """Which of them is wanted: from a button, from before linking, or from the words."""
    pressed = turn.entity("privacy_wish") or turn.slot("privacy_wish")
    if pressed in WISHES:
        return str(pressed)
    if MARKETING.search(turn.text):
        return "marketing"
    if KEEP.search(turn.text):
        return "keep"
    if ERASE.search(turn.text):
        return "erase"
    return "export" if EXPORT.search(turn.text) else None


def what_is_lost(turn: Turn, customer: Customer) -> list[str]:
    """What the customer should know before they confirm: points, open complaints, parcels under way."""
    lost = []
    points = points_balance(turn.session, customer.id, turn.now)
    if points:
        lost.append(turn.by(f"您的 {points:,} 积分会作废", f"you lose {points:,} points"))
    matters = open_matters(turn.session, customer.id, turn.identity.id, turn.now)
    lost += [turn.by(f"投诉 {ticket.number} 还没处理完，会就此关闭", f"your open complaint {ticket.number} is closed")
             for ticket in matters.open_complaints]
    lost += [turn.by(f"订单 {order.number} 还在路上，之后我们查不到收件人",
                     f"order {order.number} is on its way, and we will no longer know whose it is")
             for order in matters.parcels_under_way]
    return lost


def stop_marketing(turn: Turn, customer: Customer) -> None:
    """Withdraw the consent to marketing, with time and channel."""
    set_consent(turn.session, customer.id, "marketing", False, turn.identity.channel, turn.now)
    turn.say("utter_privacy_no_marketing")


def give_copy(turn: Turn, customer: Customer) -> None:
    """A link that works once, for an hour, and in the web chat only for whom it was made."""
    token = offer_copy(turn.session, customer.id, turn.identity.id, turn.now)
    turn.say("utter_privacy_export", link=f"{workplace().public_url}/my-data/{token}")


def call_erasure_off(turn: Turn, customer: Customer) -> None:
    """Keep the data; where no erasure waits, say that nothing is being erased."""
    waiting = waiting_erasure(turn.session, customer.id)
    if waiting is not None:
        cancel_erasure(turn.session, waiting.id, now=turn.now)
    turn.say("utter_not_erased")

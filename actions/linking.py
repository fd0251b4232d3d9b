"""Proves who a guest is: a phone number, a code sent to it, and on with what they wanted; and lets go of it again."""
from __future__ import annotations

from actions.base import ShopAction, cleared
from actions.forms import ANSWERED_IN_BETWEEN, Form, Step, Values
from actions.reading import any_of, asks_something, code_in, email_in, phone_in, tidy, wants_resend
from actions.slots import FORM_SLOTS, SLOTS_OF
from actions.store import workplace
from actions.turn import Turn
from crm_store.errors import TooManyAttempts
from crm_store.models import Customer
from crm_store.services.customers import confirm_link, start_linking, unlink_with_notice

CONFIRMED = "confirmed"  # the code itself is not remembered
UNLINK_OFFER = "unlink"
UNLINK = any_of(
    "(解除|取消)(账号|账户|帐号|我的)?(的)?(绑定|关联)", "解绑", "(取消|不要)关联我?的?(账号|账户|帐号)",
    r"\bunlink\b", r"\bdisconnect (me|my account|this (chat|account))\b", r"\b(remove|undo) the link\b",
)
OF_SOMETHING_ELSE = any_of(
    "手机", "电话", "号码", "邮箱", "卡", "支付", "地址", r"\bphone\b", r"\bnumber\b", r"\be-?mail\b", r"\bcard\b",
    r"\bpay", r"\baddress\b", r"\bdevice\b",
)
SURELY_ELSEWHERE = 0.8  # neither a number nor a code is ever read as anything else so surely


class ValidateLinkForm(Form):
    """Asks for the phone number and then for the code; says the same whether the number is known or not."""

    called = "validate_link_form"
    form = "link_form"
    questions = ("link_phone", "link_code")
    writes = True

    def start(self, turn: Turn, values: Values) -> Step:
        """A number left over from an earlier try is not used."""
        values.update(link_phone=None, link_code=None)
        return Step.NEXT

    def read(self, turn: Turn, slot: str, values: Values) -> Step:
        """A phone number or e-mail address, or the code."""
        phone, code = phone_in(turn.text) or email_in(turn.text), code_in(turn.text)
        if slot == "link_phone":
            if phone is not None:
                return self._send_code(turn, phone, values)
        elif wants_resend(turn.text) and code is None:
            return self._send_code(turn, str(values["link_phone"]), values)
        elif phone is not None:  # another number, after all
            return self._send_code(turn, phone, values)
        elif code is not None:
            return self._try_code(turn, code, values)
        if turn.intent in ANSWERED_IN_BETWEEN and (asks_something(turn.text) or turn.confidence >= SURELY_ELSEWHERE):
            return Step.ELSEWHERE
        turn.say("utter_wrong_phone" if slot == "link_phone" else "utter_wrong_code_shape")
        return Step.AGAIN

    def _send_code(self, turn: Turn, contact: str, values: Values) -> Step:
        try:
            started = start_linking(turn.session, identity_id=turn.identity.id, phone=contact, now=turn.now)
        except TooManyAttempts:
            return self._too_many(turn)
        if started.code is not None:
            # To what is registered, never to what was typed.
            customer = turn.session.get(Customer, started.customer_id)
            to, code, language = str(customer.phone or customer.email), started.code, turn.language
            sender = workplace().code_sender
            turn.after_commit.append(lambda: sender.send(to, code, language))
        values["link_phone"] = contact
        return Step.NEXT

    def _try_code(self, turn: Turn, code: str, values: Values) -> Step:
        result = confirm_link(turn.session, identity_id=turn.identity.id, code=code, now=turn.now)
        if result.customer is not None:
            values["link_code"] = CONFIRMED
            return Step.NEXT
        if result.problem == "too_many_attempts":
            return self._too_many(turn)
        turn.say("utter_wrong_code")
        return Step.AGAIN

    def _too_many(self, turn: Turn) -> Step:
        turn.say("utter_link_too_many")
        turn.remember(after_link=None)
        return Step.STOP


class ActionFinishLinking(ShopAction):
    """Says that it worked, and goes on with what the customer wanted."""

    called = "action_finish_linking"

    def act(self, turn: Turn) -> None:
        """The code is forgotten at once."""
        assert turn.customer is not None
        turn.say("utter_linked", name=turn.customer.name)
        wanted = turn.slot("after_link")
        turn.events += cleared(*SLOTS_OF["link_form"], "after_link")
        if wanted:
            turn.then(wanted)


def wants_unlinking(text: str) -> bool:
    """Whether the text asks to take this chat off the customer's account; a phone or a card is something else."""
    return bool(UNLINK.search(tidy(text))) and not OF_SOMETHING_ELSE.search(tidy(text))


def offer_unlinking(turn: Turn) -> None:
    """Ask first; to who is a guest already, say so."""
    if turn.customer is None:
        turn.say("utter_not_linked")
    else:
        turn.say("utter_unlink_ask")
        turn.remember(offer=UNLINK_OFFER)


class ActionUnlink(ShopAction):
    """Takes the chat off the customer's account once they have said yes, and forgets what was said of it."""

    called = "action_unlink"
    writes = True

    def act(self, turn: Turn) -> None:
        """The customer's notice is written before the chat is a guest's; the answer is to the guest."""
        unlink_with_notice(turn.session, conversation_id=turn.conversation_id, language=turn.language, now=turn.now)
        turn.events += cleared(*FORM_SLOTS, "fact", "last_order", "last_request", "mentioned", "after_link",
                               "paused_form", "privacy_wish")
        turn.remember(offer="none")
        turn.say("utter_unlinked")

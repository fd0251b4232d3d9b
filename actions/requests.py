"""Asking for a return, a refund, a cancellation or a change of an order: recorded as a ticket for the desk."""
from __future__ import annotations

from collections.abc import Collection, Sequence

import sqlalchemy as sa

from actions.base import ShopAction, cleared
from actions.forms import ANSWERED_IN_BETWEEN, Form, Step, Values
from actions.order_choice import (
    Choice,
    chosen_order,
    number_in_message,
    order_buttons,
    order_in_words,
    orders_offered,
)
from actions.orders import promised
from actions.reading import any_of, asks_something, says_no, says_skip
from actions.slots import SKIPPED, SLOTS_OF
from actions.turn import Button, Turn
from actions.wording import REQUESTS, STATUS
from crm_store.models import Order, Ticket
from crm_store.queries.orders import order_for
from crm_store.services.requests import record_request

TYPE_OF_INTENT = {"request_return": "return", "cancel_order": "cancel", "change_order": "change"}
REFUND_ONLY = any_of("仅退款", "只退款", "退款不退货", r"\brefund only\b")
NOT_SHIPPED = ("unpaid", "paid", "packed")
SHIPPED = ("shipped", "delivered", "completed")
POSSIBLE = {"return": SHIPPED, "refund": SHIPPED, "cancel": NOT_SHIPPED, "change": NOT_SHIPPED}
CLOSED = ("cancelled", "returning", "returned")
REASONS_SKIPPABLE = ("cancel",)
# Where the triggering sentence gives its reason, it is not asked for again.
GIVES_A_REASON = any_of(
    "因为", "由于", "原因", "太(大|小|长|短|薄|厚|重|硬|软)", "尺寸", "大小", "颜色", "不合适", "不喜欢", "质量",
    "坏", "破", "碎", "裂", "漏", "脏", "发错", "少发", "色差", "味道", "起球", "掉毛", "买(错|重|多)",
    "(改|换)(成|到|为)", "地址.{0,4}(改|换)",
    r"\bbecause\b", r"\btoo (big|small|long|short|thin|thick|heavy|late)\b", r"\bbroken?\b", r"\bdamaged?\b",
    r"\bwrong\b",
    r"\bdefect", r"\bdoesn'?t (fit|work)\b", r"\bdon'?t like\b", r"\bcrack", r"\bleak", r"\b(change|switch) .* to\b",
)


class ValidateRequestForm(Form):
    """Asks which order and why; offers the orders, refuses what the order's state does not allow."""

    called = "validate_request_form"
    form = "request_form"
    questions = ("request_order", "request_detail")
    own_intents = frozenset(TYPE_OF_INTENT)
    order_slot = "request_order"

    def start(self, turn: Turn, values: Values) -> Step:
        """What is wanted, the order and the reason are taken from the message where it names them."""
        wanted = TYPE_OF_INTENT.get(turn.intent or "")
        if wanted == "return" and REFUND_ONLY.search(turn.text):
            wanted = "refund"
        if wanted not in (None, values["request_type"]):
            values["request_detail"] = None
        values["request_type"] = wanted or values["request_type"] or "return"
        if wanted and GIVES_A_REASON.search(turn.text):
            values["request_detail"] = turn.text
        if self.needs_link(turn):
            return Step.STOP
        if not orders_offered(turn):
            turn.say("utter_no_orders")
            return Step.STOP
        if number_in_message(turn) is None:
            return Step.NEXT
        return self._choose(turn, values)

    def read(self, turn: Turn, slot: str, values: Values) -> Step:
        """An order, or free words about it."""
        if slot == "request_order":
            return self._read_order(turn, values)
        if turn.intent in ANSWERED_IN_BETWEEN - self.own_intents and asks_something(turn.text):
            return Step.ELSEWHERE
        skipped = says_skip(turn.text) or says_no(turn.text) or turn.is_button
        if values["request_type"] in REASONS_SKIPPABLE and skipped:
            values["request_detail"] = SKIPPED
        else:
            values["request_detail"] = turn.text
        return Step.NEXT

    def _read_order(self, turn: Turn, values: Values) -> Step:
        wanted = TYPE_OF_INTENT.get(turn.intent or "")
        if wanted not in (None, values["request_type"]) and number_in_message(turn) is None:
            values.update(request_type=wanted, request_detail=None)  # cancel, after all, instead of change
            return Step.NEXT
        step = self._choose(turn, values)
        if step is not Step.AGAIN:
            return step
        if turn.intent in ANSWERED_IN_BETWEEN - self.own_intents:
            return Step.ELSEWHERE
        return step

    def _choose(self, turn: Turn, values: Values) -> Step:
        orders = orders_offered(turn, POSSIBLE[values["request_type"]])
        chosen = chosen_order(turn, orders)
        if isinstance(chosen, Order):
            if refused(turn, chosen, values["request_type"]):
                return Step.STOP
            values["request_order"] = chosen.number
            turn.remember(last_order=chosen.number, wrong_order=None)
            return Step.NEXT
        if chosen is Choice.UNKNOWN_NUMBER:
            turn.say("utter_order_not_found", number=number_in_message(turn))
        elif chosen is Choice.OTHER:
            turn.remember(wrong_order=orders[0].number)
            return Step.NEXT
        elif says_no(turn.text) and len(orders) > 1:
            turn.remember(wrong_order=orders[0].number)
            return Step.NEXT
        else:
            turn.say("utter_wrong_order_choice")
        return Step.AGAIN


def refused(turn: Turn, order: Order, request_type: str) -> bool:
    """Whether the order's state rules the request out; if so it has been said, with what can be done instead."""
    values = {"number": order.number, "kind": REQUESTS[request_type][turn.language]}
    asked = turn.session.scalar(
        sa.select(Ticket.number).where(Ticket.order_id == order.id, Ticket.kind == "request",
                                       Ticket.request_type == request_type, Ticket.status != "resolved")
        .order_by(Ticket.id.desc()).limit(1))
    if asked is not None:
        turn.say("utter_request_exists", **values, ticket=asked)
    elif order.status in CLOSED:
        turn.say("utter_request_closed", number=order.number, status=STATUS[order.status][turn.language])
    elif request_type in ("cancel", "change") and order.status not in NOT_SHIPPED:
        turn.say("utter_request_too_late", **values)
    elif request_type in ("return", "refund") and order.status in NOT_SHIPPED:
        turn.say("utter_request_not_shipped", **values)
    else:
        return False
    turn.remember(last_order=order.number)
    return True


class ActionAskRequestOrder(ShopAction):
    """Offers the customer's orders."""

    called = "action_ask_request_form_request_order"

    def act(self, turn: Turn) -> None:
        """The likeliest one in words, the others as buttons."""
        ask_which_order(turn, "utter_which_order", POSSIBLE[turn.slot("request_type") or "return"])


def ask_which_order(
    turn: Turn, response: str, statuses: Collection[str] | None = None, more: Sequence[Button] = (),
) -> None:
    """Ask for an order: name the likeliest and give a button for each, and those in ``more``."""
    orders = orders_offered(turn, statuses)
    if not orders:
        turn.say("utter_which_order_by_number")
    elif turn.slot("wrong_order"):
        turn.say("utter_which_other_order", buttons=[*order_buttons(turn, orders), *more])
    elif response == "utter_which_order":
        asked = "utter_which_order_talked_about" if orders[0].number == turn.slot("last_order") else response
        turn.say(asked, order=order_in_words(turn, orders[0]), buttons=order_buttons(turn, orders))
    else:
        turn.say(response, buttons=[*order_buttons(turn, orders), *more])


class ActionRecordRequest(ShopAction):
    """Records the request as a ticket and says its number and when it is dealt with."""

    called = "action_record_request"
    writes = True

    def act(self, turn: Turn) -> None:
        """Record it once for each message."""
        assert turn.customer is not None and turn.message_id is not None
        request_type, detail = turn.slot("request_type") or "return", turn.slot("request_detail") or SKIPPED
        order = order_for(turn.session, number=turn.slot("request_order"), customer_id=turn.customer.id)
        assert order is not None
        ticket = record_request(
            turn.session, conversation_id=turn.conversation_id, message_id=turn.message_id, request_type=request_type,
            order_id=order.id, detail=turn.by("（未说明原因）", "(no reason given)") if detail == SKIPPED else detail,
            now=turn.now,
        )
        turn.session.flush()
        turn.say("utter_request_recorded", kind=REQUESTS[request_type][turn.language], number=ticket.number,
                 order=order.number, due=promised(turn, ticket))
        turn.events += cleared(*SLOTS_OF["request_form"], "wrong_order")
        turn.remember(forms_abandoned=None, last_order=order.number,
                      last_request={"type": request_type, "ticket": ticket.number, "detail": detail})


def correct_request(turn: Turn) -> bool:
    """After "no, the other order" just behind a recorded request: ask for the order again; whether there was one."""
    last = turn.slot("last_request")
    if not last:
        return False
    instead = turn.by(f"（代替 {last['ticket']}）", f" (instead of {last['ticket']})")
    turn.remember(request_type=last["type"], request_detail=f"{last['detail']}{instead}", last_request=None,
                  wrong_order=turn.slot("last_order"))
    turn.then("request_form")
    return True

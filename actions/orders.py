"""Where an order is, for its customer or for a guest who knows its number and the phone's last digits."""
from __future__ import annotations

import re
from datetime import datetime

import sqlalchemy as sa

from actions.articles import answered_in_general, general_article, tell_article
from actions.base import ShopAction, cleared
from actions.forms import ANSWERED_IN_BETWEEN, Form, Step, Values
from actions.order_choice import note_refused, number_in_message, order_buttons, orders_offered
from actions.reading import phone_tail_in, wants_other_one
from actions.slots import SLOTS_OF
from actions.turn import Turn
from actions.wording import STATUS, money, what_is_in
from crm_store.models import Order, Ticket
from crm_store.queries.orders import order_for, orders_of
from crm_store.services.complaints import next_promise

UNDER_WAY = ("unpaid", "paid", "packed", "shipped", "returning")
TOLD_AT_ONCE = 3
LOOKUPS_ALLOWED = 5  # how often a guest may name a number and digits that do not belong together
REFUND_STATUSES = ("returning", "returned")


class ValidateOrderStatusForm(Form):
    """Asks a guest for the order's number and the phone's last four digits; a linked customer for nothing."""

    called = "validate_order_status_form"
    form = "order_status_form"
    questions = ("order_number", "phone_tail")

    def start(self, turn: Turn, values: Values) -> Step:
        """What the message names is taken; nothing else is known of a guest."""
        if turn.customer is None and (turn.slot("lookups_failed") or 0) >= LOOKUPS_ALLOWED:
            turn.say("utter_order_lookups_over")
            return Step.STOP
        self._take(turn, values, tail_alone=False)
        return self._check(turn, values)

    def is_needed(self, turn: Turn, slot: str, values: Values) -> bool:
        """Only guests are asked."""
        return turn.customer is None and values[slot] is None

    def read(self, turn: Turn, slot: str, values: Values) -> Step:
        """A number, or four digits; both may come in one message."""
        if self._take(turn, values, tail_alone=slot == "phone_tail"):
            return self._check(turn, values)
        if wants_other_one(turn.text):
            values["order_number"] = None
            return Step.NEXT
        if turn.intent in ANSWERED_IN_BETWEEN - {"ask_order_status"}:
            return Step.ELSEWHERE
        turn.say("utter_wrong_order_number" if slot == "order_number" else "utter_wrong_phone_tail")
        return Step.AGAIN

    def _take(self, turn: Turn, values: Values, *, tail_alone: bool) -> bool:
        """Take number and digits from the message; whether there were any."""
        number, rest = number_in_message(turn), turn.text
        if number is not None:
            values["order_number"] = number
            rest = re.sub(r"(?i)(w\W?l\W*)?20[\d\W]{6,20}?\d{3}(?!\d)", " ", rest, count=1)
        tail = phone_tail_in(rest) if number is not None or tail_alone else None
        if tail is not None:
            values["phone_tail"] = tail
        return number is not None or tail is not None

    def _check(self, turn: Turn, values: Values) -> Step:
        """A guest's number and digits must belong together; how often that may fail is limited."""
        number, tail = values["order_number"], values["phone_tail"]
        if turn.customer is not None or number is None or tail is None:
            return Step.NEXT
        if order_for(turn.session, number=number, phone_tail=tail) is not None:
            return Step.NEXT
        note_refused(turn, number)
        failed = int(turn.slot("lookups_failed") or 0) + 1
        turn.remember(lookups_failed=failed)
        if failed >= LOOKUPS_ALLOWED:
            turn.say("utter_order_lookups_over")
            return Step.STOP
        turn.say("utter_order_no_match")
        values.update(order_number=None, phone_tail=None)
        return Step.NEXT


class ActionOrderStatus(ShopAction):
    """Tells how an order stands: the one asked for, else those under way, else the latest."""

    called = "action_order_status"

    def act(self, turn: Turn) -> None:
        """Answer and forget the form."""
        number, tail = turn.slot("order_number"), turn.slot("phone_tail")
        turn.events += cleared(*SLOTS_OF["order_status_form"])
        turn.remember(forms_abandoned=None)
        if turn.customer is None:
            self._tell_guest(turn, str(number), str(tail))
        elif number is not None:
            tell_about(turn, str(number))
        else:
            self._tell_latest(turn)

    def _tell_guest(self, turn: Turn, number: str, tail: str) -> None:
        order = order_for(turn.session, number=number, phone_tail=tail)
        if order is None:
            turn.say("utter_order_no_match")
            return
        turn.say("utter_guest_order", number=order.number, status=STATUS[order.status][turn.language])
        if order.status == "shipped":
            turn.say("utter_guest_order_more")

    def _tell_latest(self, turn: Turn) -> None:
        assert turn.customer is not None
        orders = orders_of(turn.session, turn.customer.id, limit=10)
        if not orders:
            turn.say("utter_no_orders")
            return
        under_way = [order for order in orders if order.status in UNDER_WAY]
        under_way.sort(key=lambda order: order.status != "shipped")  # a parcel on its way is asked about most
        if len(under_way) > 1:
            turn.say("utter_orders_under_way", count=len(under_way))
        for order in under_way[:TOLD_AT_ONCE] or orders[:1]:
            tell_order(turn, order)
        turn.remember(last_order=(under_way or orders)[0].number)


def tell_other_order(turn: Turn) -> bool:
    """After "no, the other order" behind a status: tell the only other one, or ask which. Whether there is one."""
    told = turn.slot("last_order")
    if turn.customer is None or told is None:
        return False
    others = [order for order in orders_offered(turn) if order.number != told]
    if len(others) == 1:
        tell_about(turn, others[0].number)
    elif others:
        turn.say("utter_which_other_order", buttons=order_buttons(turn, others))
    return bool(others)


def tell_about(turn: Turn, number: str) -> None:
    """Tell a linked customer about one of their orders."""
    assert turn.customer is not None
    order = order_for(turn.session, number=number, customer_id=turn.customer.id)
    if order is None:
        note_refused(turn, number)
        turn.say("utter_order_not_found", number=number)
        return
    tell_order(turn, order)
    turn.remember(last_order=order.number)


def tell_order(turn: Turn, order: Order) -> None:
    """Say how an order stands, to its own customer."""
    common = {"number": order.number, "what": what_is_in(order, turn.language)}
    if order.status == "shipped" and order.shipments:
        _tell_parcel(turn, order, common)
    elif order.status == "delivered" and _delivered_at(order) is not None:
        turn.say("utter_order_delivered", **common, delivered=turn.day(_delivered_at(order) or turn.now))
    elif order.status == "returned" and order.refunded_at is not None:
        turn.say("utter_order_refunded", **common, amount=money(order.total_fen), refunded=turn.day(order.refunded_at))
    elif order.status == "returned":
        turn.say("utter_order_returned", **common, amount=money(order.total_fen))
    elif order.status in ("shipped", "delivered"):
        turn.say("utter_guest_order", number=order.number, status=STATUS[order.status][turn.language])
    else:
        turn.say(f"utter_order_{order.status}", **common)


def _tell_parcel(turn: Turn, order: Order, common: dict[str, str]) -> None:
    parcel = order.shipments[-1]
    latest = parcel.events[-1][turn.language] if parcel.events else STATUS["shipped"][turn.language]
    values = {**common, "carrier": parcel.carrier_zh if turn.language == "zh" else parcel.carrier_en,
              "tracking": parcel.tracking_number, "latest": latest}
    if parcel.expected_at is None:
        turn.say("utter_order_shipped_no_date", **values)
    elif parcel.expected_at < turn.now:
        turn.say("utter_order_shipped_late", **values, expected=turn.day(parcel.expected_at))
    else:
        turn.say("utter_order_shipped", **values, expected=turn.day(parcel.expected_at))


def _delivered_at(order: Order) -> datetime | None:
    times = [parcel.delivered_at for parcel in order.shipments if parcel.delivered_at is not None]
    return max(times, default=None)


class ActionRefundStatus(ShopAction):
    """Tells when money comes back: for orders being returned, else for a request that waits."""

    called = "action_refund_status"

    def act(self, turn: Turn) -> None:
        """Guests who ask in general get the article; others go through the order's status, all that they may know."""
        if turn.customer is None:
            if not answered_in_general(turn):
                turn.then("order_status_form")
            return
        number = number_in_message(turn)
        if number is not None:
            tell_about(turn, number)
            return
        orders = [order for order in orders_of(turn.session, turn.customer.id, limit=20)
                  if order.status in REFUND_STATUSES]
        for order in orders[:TOLD_AT_ONCE]:
            tell_order(turn, order)
        if orders:
            turn.remember(last_order=orders[0].number)
            return
        asked = turn.session.scalar(
            sa.select(Ticket).where(Ticket.customer_id == turn.customer.id, Ticket.kind == "request",
                                    Ticket.request_type.in_(("return", "refund")), Ticket.status != "resolved")
            .order_by(Ticket.id.desc()).limit(1))
        if asked is not None:
            turn.say("utter_refund_requested", number=asked.number, due=promised(turn, asked))
            return
        found = general_article(turn)
        if found is None:
            turn.say("utter_no_refund")
        else:
            tell_article(turn, found)
        turn.offer("request_return", "utter_offer_return")


def promised(turn: Turn, ticket: Ticket) -> str:
    """The next time promised for a ticket, in words; "by the end of the next working day" where no clock runs."""
    due = next_promise(turn.session, ticket)
    return turn.by("下一个工作日结束", "the end of the next working day") if due is None else turn.time(due)

"""Complaints: taking one down, filing it, and telling how it stands."""
from __future__ import annotations

import re

import sqlalchemy as sa

from actions.articles import answered_in_general
from actions.base import ShopAction, ask_to_link, cleared, hand_over
from actions.forms import ANSWERED_IN_BETWEEN, Form, Step, Values
from actions.order_choice import Choice, chosen_order, number_in_message, orders_offered
from actions.orders import promised
from actions.reading import any_of, asks_something, says_no, says_skip, tidy
from actions.requests import ask_which_order
from actions.slots import SKIPPED, SLOTS_OF
from actions.turn import Turn
from actions.wording import REQUESTS, TICKETS, WISHES
from crm_store.models import Order, SupportAgent, Ticket
from crm_store.rules.complaints import grade_complaint
from crm_store.rules.escalation import Thresholds, band
from crm_store.services.complaints import complaints_in, file_complaint, next_promise

TOLD_AT_ONCE = 3
TICKETS_LOOKED_AT = 50
# "I want to complain", in any words, says that something happened and not what.
SAYS_ONLY_THAT = re.compile(
    r"^(你好|您好|hi|hello)?[，, ]*(我|俺|i)?\s*(就是|真的)?\s*"
    r"(要|想|需要|得|来|想要|want to|need to|wanna|would like to|'d like to|have to)?\s*"
    r"(提(个|出|交)?|make|file|lodge|submit|raise)?\s*(一个|一下|个|a|an)?\s*"
    r"(投诉|客诉|客訴|投訴|申诉|举报|complain|complaint)"
    r"(一下|你们|你們|店家|商家|about you)?[了啊呀吧！!。. ]*(订单)?\s*(wl)?\d{0,11}[。. ]*$", re.IGNORECASE)
COMPLAINT_NUMBER = re.compile(r"(?<![a-z0-9])c\s?(\d{3,9})(?!\d)", re.IGNORECASE)

WISHED = any_of("退款", "退钱", "退货", "换货", "换(一个|新的)", "补发", "赔", "道歉",
                r"\brefund", r"\bmoney back\b", r"\breplace", r"\bcompensat", r"\bapolog")


class ValidateComplaintForm(Form):
    """Asks what happened, which order it is about, and what the customer wants."""

    called = "validate_complaint_form"
    form = "complaint_form"
    questions = ("complaint_what", "complaint_order", "complaint_wish")
    own_intents = frozenset({"file_complaint"})
    order_slot = "complaint_order"

    def start(self, turn: Turn, values: Values) -> Step:
        """The sentence that began it often says already what happened; it is not asked for again."""
        begun = values["complaint_what"] is None
        if turn.intent == "file_complaint" and begun and not SAYS_ONLY_THAT.match(tidy(turn.text)) \
                and not turn.is_button:
            values["complaint_what"] = turn.text
        if is_major(values):
            return leave_the_rest(values)
        if self.needs_link(turn, "utter_link_first_complaint"):
            return Step.STOP
        if values["complaint_order"] is None and number_in_message(turn) is not None:
            self._take_order(turn, values)
        if values["complaint_what"] is not None and begun and not is_watched(turn):
            turn.say("utter_complaint_heard")
        return Step.NEXT

    def is_needed(self, turn: Turn, slot: str, values: Values) -> bool:
        """Nobody without orders is asked for one."""
        if slot == "complaint_order" and values[slot] is None and not orders_offered(turn):
            values[slot] = SKIPPED
        return values[slot] is None

    def read(self, turn: Turn, slot: str, values: Values) -> Step:
        """Free words, an order, a wish."""
        if slot == "complaint_order":
            return self._read_order(turn, values)
        elsewhere = turn.intent in ANSWERED_IN_BETWEEN - self.own_intents and asks_something(turn.text)
        if slot == "complaint_what":
            if elsewhere:
                return Step.ELSEWHERE
            if len(tidy(turn.text)) < 4 or SAYS_ONLY_THAT.match(tidy(turn.text)):
                turn.say("utter_wrong_complaint_what")
                return Step.AGAIN
            values["complaint_what"] = turn.text
            if is_major(values):
                return leave_the_rest(values)
            if number_in_message(turn) is not None:
                self._take_order(turn, values)
            return Step.NEXT
        pressed = turn.entity("complaint_wish")
        if pressed in WISHES:
            values["complaint_wish"] = WISHES[str(pressed)][turn.language]
        elif elsewhere and not is_wish(turn):
            return Step.ELSEWHERE
        elif len(tidy(turn.text)) < 2:
            turn.say("utter_wrong_complaint_wish")
            return Step.AGAIN
        else:
            values["complaint_wish"] = turn.text
        return Step.NEXT

    def _read_order(self, turn: Turn, values: Values) -> Step:
        if says_skip(turn.text) or (turn.intent == "deny" and turn.is_button):
            values["complaint_order"] = SKIPPED
            return Step.NEXT
        step = self._take_order(turn, values)
        if step is Step.AGAIN and turn.intent in ANSWERED_IN_BETWEEN - self.own_intents:
            return Step.ELSEWHERE
        return step

    def _take_order(self, turn: Turn, values: Values) -> Step:
        orders = orders_offered(turn)
        chosen = chosen_order(turn, orders)
        if isinstance(chosen, Order):
            values["complaint_order"] = chosen.number
            turn.remember(last_order=chosen.number, wrong_order=None)
            return Step.NEXT
        if chosen is Choice.OTHER:
            turn.remember(wrong_order=orders[0].number)
            return Step.NEXT
        if chosen is Choice.UNKNOWN_NUMBER:
            turn.say("utter_order_not_found", number=number_in_message(turn))
        elif says_no(turn.text):
            values["complaint_order"] = SKIPPED
            return Step.NEXT
        elif (is_wish(turn) or WISHED.search(turn.text)) and not asks_something(turn.text):  # before it was asked for
            values["complaint_wish"] = turn.text
            return Step.NEXT
        else:
            turn.say("utter_wrong_order_choice")
        return Step.AGAIN


def is_major(values: Values) -> bool:
    """Whether what was said so far makes it a major complaint: then no further question is asked."""
    return values["complaint_what"] is not None and grade_complaint(text=values["complaint_what"]).grade == "major"


def leave_the_rest(values: Values) -> Step:
    """Fill what is missing with nothing, so that the form is complete."""
    for slot in ("complaint_order", "complaint_wish"):
        values[slot] = values[slot] or SKIPPED
    return Step.NEXT


def is_watched(turn: Turn) -> bool:
    """Whether the service will put a sentence of sympathy before the first reply, because the customer is annoyed."""
    limits = turn.context.get("thresholds")
    if not limits:
        return False
    anger = (turn.message.get("sentiment") or {}).get("anger")
    return band(anger, Thresholds(limits["route"], limits["watch"])) == "watch"


def is_wish(turn: Turn) -> bool:
    """Whether something that reads like a request or a question is what the customer wants us to do."""
    return turn.intent in ("request_return", "ask_refund_status", "cancel_order", "change_order", "ask_warranty")


class ActionAskComplaintOrder(ShopAction):
    """Offers the customer's orders; the question may be skipped."""

    called = "action_ask_complaint_form_complaint_order"

    def act(self, turn: Turn) -> None:
        """One button an order, and one for none."""
        ask_which_order(turn, "utter_complaint_which_order", more=[
            {"title": turn.by("与订单无关", "Not about an order"), "payload": "/deny"}])


class ActionFileComplaint(ShopAction):
    """Files the complaint and says its number and the promised time; a major one goes to a person at once."""

    called = "action_file_complaint"
    writes = True

    def act(self, turn: Turn) -> None:
        """File it once for each message."""
        assert turn.message_id is not None
        what, wish = turn.slot("complaint_what") or turn.text, turn.slot("complaint_wish")
        number = turn.slot("complaint_order")
        ticket = file_complaint(
            turn.session, conversation_id=turn.conversation_id, message_id=turn.message_id, what=what,
            wish=None if wish == SKIPPED else wish, order_number=None if number == SKIPPED else number,
            now=turn.now,
        )
        turn.session.flush()
        if ticket.grade == "major":
            turn.events = hand_over(turn, "major_complaint", ticket=ticket)
            return
        turn.say("utter_complaint_filed", number=ticket.number, due=promised(turn, ticket))
        turn.events += cleared(*SLOTS_OF["complaint_form"], "wrong_order")
        turn.remember(forms_abandoned=None)


class ActionComplaintStatus(ShopAction):
    """Tells how complaints and requests stand: the one asked for, else the open ones, else the last resolved one."""

    called = "action_complaint_status"

    def act(self, turn: Turn) -> None:
        """A guest hears about what was said in this very conversation; for more they must link."""
        number = complaint_number_in(turn)
        tickets = tickets_of(turn)
        if number is not None:
            found = next((ticket for ticket in tickets if ticket.number == number), None)
            if found is not None:
                tell_ticket(turn, found)
            elif turn.customer is None:
                ask_to_link(turn, self.called)
            else:
                turn.say("utter_complaint_not_found", number=number)
            return
        # What an angry customer was given a number for is their complaint, whatever the desk calls it.
        settled = [ticket for ticket in tickets if ticket.kind != "request" and ticket.status == "resolved"]
        unsolved = [ticket for ticket in tickets if ticket.status != "resolved" and ticket.kind != "handoff"]
        told = unsolved[:TOLD_AT_ONCE] or settled[:1]
        for ticket in told:
            tell_ticket(turn, ticket)
        if told:
            return
        if turn.customer is None:
            if not answered_in_general(turn):
                ask_to_link(turn, self.called)
        else:
            turn.say("utter_no_complaints")
            turn.remember(offer="file_complaint")


def tickets_of(turn: Turn) -> list[Ticket]:
    """The tickets the customer may hear about, the newest first."""
    if turn.customer is None:
        return complaints_in(turn.session, turn.conversation_id)
    mine = sa.or_(Ticket.customer_id == turn.customer.id, Ticket.conversation_id == turn.conversation_id)
    return list(turn.session.scalars(sa.select(Ticket).where(mine).order_by(Ticket.id.desc()).limit(TICKETS_LOOKED_AT)))


def complaint_number_in(turn: Turn) -> str | None:
    """The ticket number the message names, as C and digits."""
    match = COMPLAINT_NUMBER.search(turn.entity("complaint_number") or tidy(turn.text))
    return f"C{match[1]}" if match else None


def tell_ticket(turn: Turn, ticket: Ticket) -> None:
    """Say number, stage and the next promised time; never the grade."""
    common = {"number": ticket.number, "kind": kind_of(ticket, turn.language)}
    due = next_promise(turn.session, ticket)
    if ticket.status == "resolved":
        turn.say("utter_ticket_resolved", **common, resolved=turn.day(ticket.resolved_at or turn.now))
    elif ticket.stage == "proposal":
        turn.say("utter_ticket_proposal", **common)
    elif due is not None and due < turn.now:
        turn.say("utter_ticket_overdue", **common)
    elif ticket.stage == "taken_up":
        keeper: SupportAgent | None = ticket.keeper or ticket.assignee
        turn.say("utter_ticket_taken_up", **common, due=promised(turn, ticket),
                 keeper=keeper.name if keeper else turn.by("同事", "a colleague"))
    else:
        turn.say("utter_ticket_received", **common, due=promised(turn, ticket))


def kind_of(ticket: Ticket, language: str) -> str:
    """What kind of ticket it is, in words."""
    if ticket.kind == "request":
        name = REQUESTS[ticket.request_type or "return"][language]
        return f"{name}申请" if language == "zh" else f"{name.capitalize()} request"
    return TICKETS[ticket.kind][language]

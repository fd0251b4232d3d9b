"""Lets a customer choose one of their orders: by a button, its number, its place in the list, or what is in it."""
from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from enum import Enum
from zoneinfo import ZoneInfo

from actions.reading import (
    day_in,
    means_latest,
    named_in,
    position_in,
    says_yes,
    wants_other_one,
)
from actions.store import workplace
from actions.turn import Button, Turn
from actions.wording import short, what_is_in
from crm_store.models import Order
from crm_store.queries.orders import normalise_order_number, order_for, orders_of
from crm_store.services.orders import note_refused_order

ORDERS_OFFERED = 4
ORDERS_LOOKED_AT = 8


class Choice(Enum):
    """Why no order came of an answer."""

    UNKNOWN_NUMBER = "unknown_number"
    OTHER = "other"
    NONE = "none"


def orders_offered(turn: Turn, statuses: Collection[str] | None = None) -> list[Order]:
    """The orders to choose from, the likeliest first; without one the customer ruled out.

    Likelier than the newest is the one talked about last, and likelier still one with something in it that the
    customer has named while the form went on.

    Args:
        turn: the turn.
        statuses: offer only orders in one of these states, where there are any.
    """
    if turn.customer is None:
        return []
    talked_about, ruled_out = turn.slot("last_order"), turn.slot("wrong_order")
    named = "\n".join(str(turn.slot(slot) or "") for slot in ("complaint_what", "request_detail"))
    orders = [order for order in orders_of(turn.session, turn.customer.id, limit=ORDERS_LOOKED_AT)
              if order.number != ruled_out]
    orders = [order for order in orders if statuses is None or order.status in statuses] or orders
    about = set(named_in(named, [names_of(order) for order in orders]))
    places = {order.number: (at not in about, order.number != talked_about, at) for at, order in enumerate(orders)}
    return sorted(orders, key=lambda order: places[order.number])[:ORDERS_OFFERED]


def order_buttons(turn: Turn, orders: Sequence[Order]) -> list[Button]:
    """One button an order."""
    return [{"title": f"{turn.day(order.placed_at)} · {short(what_is_in(order, turn.language))}",
             "payload": "/inform" + json.dumps({"order_number": order.number})} for order in orders]


def order_in_words(turn: Turn, order: Order) -> str:
    """An order as one would name it: what is in it, when, its number."""
    return turn.by(f"{turn.day(order.placed_at)}的{what_is_in(order, 'zh')}（{order.number}）",
                   f"{what_is_in(order, 'en')} of {turn.day(order.placed_at)} ({order.number})")


def number_in_message(turn: Turn) -> str | None:
    """The order number the message names, in its full form, or None."""
    named = turn.entity("order_number")
    return (normalise_order_number(named) if named else None) or normalise_order_number(turn.text)


def note_refused(turn: Turn, number: str) -> None:
    """Keep in the audit log that an order was asked for which is not theirs, if there is one of this number."""
    place, now, conversation_id = workplace(), turn.now, turn.conversation_id
    customer_id = turn.customer.id if turn.customer is not None else None

    def write() -> None:
        with place.store.write() as session:
            note_refused_order(session, number=number, customer_id=customer_id, now=now,
                               conversation_id=conversation_id)

    turn.after_commit.append(write)


def chosen_order(turn: Turn, orders: Sequence[Order]) -> Order | Choice:
    """The order the customer means."""
    number = number_in_message(turn)
    if number is not None:
        assert turn.customer is not None
        found = order_for(turn.session, number=number, customer_id=turn.customer.id)
        if found is None:
            note_refused(turn, number)
        return found if found is not None else Choice.UNKNOWN_NUMBER
    if not orders:
        return Choice.NONE
    if wants_other_one(turn.text):
        return orders[1] if len(orders) == 2 else Choice.OTHER
    at = position_in(turn.text, len(orders))
    if at is not None:
        return orders[at]
    named = named_in(turn.text, [names_of(order) for order in orders])
    if len(named) == 1:
        return orders[named[0]]
    day = day_in(turn.text)
    if day is not None:
        zone = ZoneInfo(turn.time_zone)
        placed = [order for order in orders
                  if (order.placed_at.astimezone(zone).month, order.placed_at.astimezone(zone).day) == day]
        if len(placed) == 1:
            return placed[0]
    if turn.intent == "affirm" or says_yes(turn.text) or means_latest(turn.text):
        return max(orders, key=lambda order: order.placed_at) if means_latest(turn.text) else orders[0]
    return Choice.NONE


def names_of(order: Order) -> list[str]:
    """Every name under which a customer may mean something in the order."""
    return [str(name) for item in order.items
            for name in (item.product.name_zh, item.product.name_en, *(item.product.aliases or ()))]

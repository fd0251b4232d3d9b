"""Orders as the customer asks for them: the latest ones, or one by its number however it was typed."""
from __future__ import annotations

import hmac
import re
import unicodedata
from datetime import date

from sqlalchemy import select
from sqlalchemy.orm import Session, selectinload

from crm_store.models import Order, OrderItem
from crm_store.rules.personal_data import digits_in

READ_AT_MOST = 4000
_GAP = r"[\s\-_./:#·–—]"
_WITH_PREFIX = re.compile(
    rf"(?<![0-9A-Za-z])[Ww]{_GAP}?[Ll]{_GAP}{{0,3}}(20\d\d){_GAP}?(\d\d){_GAP}?(\d\d){_GAP}{{0,2}}(\d{{3}})(?!\d)",
    re.ASCII)
_BARE = re.compile(r"(?<![0-9A-Za-z])(20\d\d)(\d\d)(\d\d)[\s\-]?(\d{3})(?!\d)", re.ASCII)


def normalise_order_number(text: str | None) -> str | None:
    """The first order number in ``text`` as the shop writes it, or None.

    Understands ``20261018004``, ``WL-20261018-004``, ``wl 2026 1018 004`` and full-width signs, with words around it.
    The eight digits must be a real day. Never raises, whatever is sent.
    """
    if not isinstance(text, str):
        return None
    plain = unicodedata.normalize("NFKC", text[:READ_AT_MOST])
    plain = "".join(sign for sign in plain if unicodedata.category(sign) != "Cf")
    for pattern in (_WITH_PREFIX, _BARE):
        for found in pattern.finditer(plain):
            year, month, day, count = found.groups()
            if _is_day(int(year), int(month), int(day)):
                return f"WL{year}{month}{day}{count}"
    return None


def orders_of(session: Session, customer_id: int, limit: int = 5) -> list[Order]:
    """The customer's newest orders, newest first, with their items and parcels."""
    return list(session.execute(
        select(Order).where(Order.customer_id == customer_id).options(*_WHOLE)
        .order_by(Order.placed_at.desc(), Order.id.desc()).limit(limit)
    ).scalars())


def order_for(
    session: Session, *, number: str, customer_id: int | None = None, phone_tail: str | None = None,
) -> Order | None:
    """One order, for its customer, or for whoever knows its number and the last four digits of its phone.

    None says that this does not fit, and never which of the two was wrong. Who came by the phone's digits may be told
    the status only.

    Args:
        session: a session to read with.
        number: the order number as it was typed.
        customer_id: the linked customer who asks, if any.
        phone_tail: the last four digits of the phone that was given with the order.
    """
    wanted = normalise_order_number(number)
    if wanted is None:
        return None
    order: Order | None = session.execute(
        select(Order).where(Order.number == wanted).options(*_WHOLE)
    ).scalar_one_or_none()
    if order is None:
        return None
    if customer_id is not None and order.customer_id == customer_id:
        return order
    if phone_tail is None:
        return None
    tail = digits_in(phone_tail[:20])
    fits = len(tail) == 4 and hmac.compare_digest(order.phone[-4:].encode(), tail.encode())
    return order if fits else None


def _is_day(year: int, month: int, day: int) -> bool:
    try:
        date(year, month, day)
    except ValueError:
        return False
    return True


_WHOLE = (selectinload(Order.items).joinedload(OrderItem.product), selectinload(Order.shipments))

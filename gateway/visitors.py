"""Who visits the web chat: a random cookie for everybody, a signed link for customers the shop knows.

Signing in gives the visitor a new cookie. Whoever knew the old one, or had planted it, is left with a guest's.
"""
from __future__ import annotations

import re
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

from fastapi import Request, Response
from itsdangerous import BadData, URLSafeTimedSerializer
from itsdangerous.timed import TimestampSigner
from sqlalchemy import select
from sqlalchemy.orm import Session

from crm_store.models import ChannelIdentity, Customer
from crm_store.services.customers import link_identity

CHANNEL = "web"
COOKIE = "warmline_visitor"
COOKIE_SECONDS = 365 * 24 * 3600
SALT = "customer"
LINK_VALID = timedelta(days=30)
CLOCK_SKEW = timedelta(minutes=5)
LINK_LIMIT = 500
_VISITOR = re.compile(r"[A-Za-z0-9_-]{32,64}")


def new_visitor() -> str:
    """An id nobody can guess."""
    return secrets.token_urlsafe(32)


def visitor_of(request: Request) -> str | None:
    """The visitor that the cookie names, if it can be one of ours."""
    visitor = request.cookies.get(COOKIE, "")
    return visitor if _VISITOR.fullmatch(visitor) else None


def remember_visitor(response: Response, visitor: str, *, secure: bool) -> None:
    """Set the cookie."""
    response.set_cookie(COOKIE, visitor, max_age=COOKIE_SECONDS, path="/", httponly=True, samesite="lax", secure=secure)


def identity_id_of(session: Session, visitor: str | None) -> int | None:
    """The identity of a visitor; None before their first message."""
    if visitor is None:
        return None
    found: int | None = session.execute(
        select(ChannelIdentity.id).where(ChannelIdentity.channel == CHANNEL, ChannelIdentity.external_id == visitor)
    ).scalar_one_or_none()
    return found


def sign_customer(secret: str, number: str, now: datetime | None = None) -> str:
    """The token of a link ``/?customer=…`` that signs a customer in, valid for 30 days.

    Args:
        secret: the service's secret.
        number: the customer's number.
        now: when it is signed; the present when left out.
    """
    return str(_serializer(secret, now).dumps(number))


def customer_number_in(secret: str, token: str, now: datetime) -> str | None:
    """The customer that a token signs in; None where it is forged or too old."""
    if not secret or len(token) > LINK_LIMIT:
        return None
    try:
        number, signed_at = _serializer(secret, None).loads(token, return_timestamp=True)
    except BadData:
        return None
    age = now - signed_at.astimezone(timezone.utc)
    return number if isinstance(number, str) and -CLOCK_SKEW <= age <= LINK_VALID else None


@dataclass(frozen=True)
class SignedIn:
    """A visitor who is a customer now. ``left_identity_id``: whose open streams belong to the old cookie."""

    visitor: str
    left_identity_id: int | None = None


def sign_in(session: Session, visitor: str | None, number: str, now: datetime) -> SignedIn | None:
    """Make a visitor the customer with this number; None where there is no such customer.

    What they said as a guest stays with them. A visitor who is another customer starts anew beside them.
    """
    customer = session.execute(
        select(Customer).where(Customer.number == number, Customer.erased_at.is_(None))).scalar_one_or_none()
    if customer is None:
        return None
    identity = None if visitor is None else session.execute(
        select(ChannelIdentity).where(ChannelIdentity.channel == CHANNEL, ChannelIdentity.external_id == visitor)
        .with_for_update().execution_options(populate_existing=True)).scalar_one_or_none()
    if identity is not None and visitor is not None and identity.customer_id == customer.id:
        return SignedIn(visitor)
    fresh, left = new_visitor(), None
    if identity is not None and identity.customer_id is None:
        left, identity.external_id = identity.id, fresh
    else:
        identity = ChannelIdentity(channel=CHANNEL, external_id=fresh, created_at=now)
        session.add(identity)
    session.flush()
    link_identity(session, identity, customer, now)
    return SignedIn(fresh, left)


def customer_name_of(session: Session, identity_id: int) -> str | None:
    """The name of the customer that an identity is linked to."""
    found: str | None = session.execute(
        select(Customer.name).join(ChannelIdentity, ChannelIdentity.customer_id == Customer.id)
        .where(ChannelIdentity.id == identity_id)).scalar_one_or_none()
    return found


def _serializer(secret: str, now: datetime | None) -> URLSafeTimedSerializer:
    class Signer(TimestampSigner):
        def get_timestamp(self) -> int:
            return super().get_timestamp() if now is None else int(now.timestamp())

    return URLSafeTimedSerializer(secret, salt=SALT, signer=Signer)

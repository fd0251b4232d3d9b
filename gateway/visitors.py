"""Who visits the web chat: a random id for everybody, a signed link or token for customers the shop knows.

The chat's own page keeps the id in a cookie. In a frame on another site, where browsers block cookies, the page around
it keeps the id and every request carries it in a header. Signing in gives the visitor a new id. Whoever knew the old
one, or had planted it, is left with a guest's.
"""
from __future__ import annotations

import re
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

import jwt
import sqlalchemy as sa
from fastapi import Request, Response
from itsdangerous import BadData, URLSafeTimedSerializer
from itsdangerous.timed import TimestampSigner
from sqlalchemy import select
from sqlalchemy.orm import Session

from crm_store.models import ChannelIdentity, Customer, Message
from crm_store.services.customers import link_identity, person_of
from gateway.problems import Problem

CHANNEL = "web"
COOKIE = "warmline_visitor"
COOKIE_SECONDS = 365 * 24 * 3600
HEADER = "Warmline-Visitor"
AUDIENCE = "warmline-chat"
TOKEN_VALID = timedelta(hours=1)
TOKEN_LIMIT = 2000
SALT = "customer"
LINK_VALID = timedelta(days=30)
CLOCK_SKEW = timedelta(minutes=5)
LINK_LIMIT = 500
_VISITOR = re.compile(r"[A-Za-z0-9_-]{32,64}")


def new_visitor() -> str:
    """An id nobody can guess."""
    return secrets.token_urlsafe(32)


def visitor_of(request: Request) -> str | None:
    """The visitor that the header names, or else the cookie, if it can be one of ours.

    Raises:
        Problem: 401; the header names nobody. The cookie is not asked then: it may be somebody else's.
    """
    held = request.headers.get(HEADER)
    visitor = request.cookies.get(COOKIE, "") if held is None else held
    if _VISITOR.fullmatch(visitor):
        return visitor
    if held is not None:
        raise Problem(401, "unauthorized", f"{HEADER} names no visitor")
    return None


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
class Vouched:
    """The customer that a shop's token names; ``fresh`` says that the token has not run out."""

    number: str
    fresh: bool


def vouched_customer(secret: str, token: str, now: datetime) -> Vouched | None:
    """The customer that a shop's token (a JWT) vouches for; None where it is forged or was never good.

    Args:
        secret: what the shop's server signs with.
        token: HS256 with ``aud`` "warmline-chat", ``sub`` the customer's number, ``iat`` and ``exp``, at most an hour
            apart.
        now: when it is shown.
    """
    if not secret or len(token) > TOKEN_LIMIT:
        return None
    try:
        claims = jwt.decode(token, secret, algorithms=["HS256"], audience=AUDIENCE, options={
            "require": ["aud", "sub", "iat", "exp"], "verify_exp": False, "verify_iat": False, "verify_nbf": False})
        signed_at, ends_at = (datetime.fromtimestamp(int(claims[name]), timezone.utc) for name in ("iat", "exp"))
    except (jwt.InvalidTokenError, ValueError, TypeError, OverflowError, OSError):
        return None
    number = claims["sub"]
    if not isinstance(number, str) or not number.isprintable() or claims["aud"] != AUDIENCE:
        return None
    if not timedelta(0) < ends_at - signed_at <= TOKEN_VALID:
        return None
    return Vouched(number, signed_at <= now + CLOCK_SKEW and now <= ends_at + CLOCK_SKEW)


@dataclass(frozen=True)
class SignedIn:
    """A visitor who is a customer now. ``left_identity_id``: whose open streams belong to the old cookie."""

    visitor: str
    left_identity_id: int | None = None


def sign_in(session: Session, visitor: str | None, number: str, now: datetime, *, resume: bool = False,
            stay_only: bool = False) -> SignedIn | None:
    """Make a visitor the customer with this number; None where there is no such customer.

    What they said as a guest stays with them. A visitor who is another customer starts anew beside them.

    Args:
        session: the unit of work.
        visitor: who they were until now.
        number: the customer's.
        now: when.
        resume: instead of starting anew, go on with the chat that the customer wrote in last, wherever that was.
        stay_only: a visitor who is this customer already stays so, nobody else comes in.
    """
    customer = session.execute(
        select(Customer).where(Customer.number == number, Customer.erased_at.is_(None))).scalar_one_or_none()
    if customer is None:
        return None
    customer = person_of(session, customer)
    identity = None if visitor is None else session.execute(
        select(ChannelIdentity).where(ChannelIdentity.channel == CHANNEL, ChannelIdentity.external_id == visitor)
        .with_for_update().execution_options(populate_existing=True)).scalar_one_or_none()
    if identity is not None and visitor is not None and identity.customer_id == customer.id:
        return SignedIn(visitor)
    if stay_only:
        return None
    guest = identity is not None and identity.customer_id is None
    former = _last_chat_of(session, customer.id) if resume and not guest else None
    if former is not None:
        return SignedIn(former)
    fresh, left = new_visitor(), None
    if identity is not None and identity.customer_id is None:
        left, identity.external_id = identity.id, fresh
    else:
        identity = ChannelIdentity(channel=CHANNEL, external_id=fresh, created_at=now)
        session.add(identity)
    session.flush()
    link_identity(session, identity, customer, now)
    return SignedIn(fresh, left)


def _last_chat_of(session: Session, customer_id: int) -> str | None:
    written = select(sa.func.max(Message.id)).where(Message.identity_id == ChannelIdentity.id).scalar_subquery()
    found: str | None = session.execute(
        select(ChannelIdentity.external_id)
        .where(ChannelIdentity.channel == CHANNEL, ChannelIdentity.customer_id == customer_id)
        .order_by(sa.func.coalesce(written, 0).desc(), ChannelIdentity.id.desc()).limit(1)).scalar_one_or_none()
    return found


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

"""Makes and reads the tokens of links that open a chat with a shop's Telegram bot as a customer it knows.

A link is ``https://t.me/<bot>?start=<token>``. Telegram hands the bot at most 64 characters of A-Z, a-z, 0-9, ``_`` and
``-``. The token names the customer and when it ends, and is signed; that it is used once is kept in the store.
"""
from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
import struct
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

MARK = "link_"  # other parameters of /start are none of our links
VALID = timedelta(hours=1)
_BODY = struct.Struct(">QQ8s")  # the customer's id, the end in seconds since 1970, and what makes every token another
_SIGNATURE = 16  # bytes of HMAC-SHA-256


@dataclass(frozen=True)
class Vouched:
    """What a token says: which customer. ``digest`` is what may be kept of it."""

    customer_id: int
    digest: str


@dataclass(frozen=True)
class Refused:
    """Why a token opens nothing: "forged" or "expired"."""

    reason: str


def is_link(argument: str) -> bool:
    """Whether what follows /start means to be a link of ours."""
    return argument.startswith(MARK)


def make_link_token(secret: str, customer_id: int, now: datetime) -> str:
    """A token that links whoever shows it within the hour, once, to a customer."""
    ends = int((now + VALID).timestamp())
    body = _BODY.pack(customer_id, ends, secrets.token_bytes(8))
    return MARK + base64.urlsafe_b64encode(body + _signed(secret, body)).decode().rstrip("=")


def read_link_token(secret: str, argument: str, now: datetime) -> Vouched | Refused:
    """Which customer a token opens the chat for."""
    try:
        written = argument[len(MARK):].encode("ascii")
        token = base64.b64decode(written + b"=" * (-len(written) % 4), altchars=b"-_", validate=True)
    except (UnicodeEncodeError, binascii.Error):
        return Refused("forged")
    body, signature = token[:_BODY.size], token[_BODY.size:]
    if not secret or len(token) != _BODY.size + _SIGNATURE or not hmac.compare_digest(_signed(secret, body), signature):
        return Refused("forged")
    customer_id, ends, _ = _BODY.unpack(body)
    if now >= datetime.fromtimestamp(ends, timezone.utc):
        return Refused("expired")
    return Vouched(customer_id, hashlib.sha256(token).hexdigest())


def _signed(secret: str, body: bytes) -> bytes:
    key = hmac.new(secret.encode(), b"telegram deep link", hashlib.sha256).digest()
    return hmac.new(key, body, hashlib.sha256).digest()[:_SIGNATURE]

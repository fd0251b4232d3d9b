"""Opens what WeChat's servers post: who signed it, when, for which account; and decrypts it.

wechatpy makes the signatures and decrypts; it compares signatures with ``!=`` and knows no time, so both are done here.
"""
from __future__ import annotations

import base64
import hmac
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from xml.parsers.expat import ExpatError

import xmltodict
from wechatpy.crypto import PrpCrypto
from wechatpy.exceptions import WeChatException
from wechatpy.utils import WeChatSigner

FRESH_SECONDS = 600  # a post of another time is refused; WeChat repeats one within 15 s
MOST_DIGITS = 12


@dataclass(frozen=True)
class Account:
    """One Official Account.

    Attributes:
        app_id: its AppID.
        secret: its AppSecret, which buys access tokens.
        token: signs what WeChat posts.
        aes_key: its EncodingAESKey; where there is one, only what is encrypted is taken.
    """

    app_id: str
    secret: str = field(repr=False)
    token: str = field(repr=False)
    aes_key: str = field(default="", repr=False)


class NotGenuine(Exception):
    """The post is not WeChat's, not of now, or not for this account; the text says which."""


@dataclass(frozen=True)
class Opened:
    """A post that is genuine.

    Attributes:
        content: its fields; empty where it makes no sense.
        signature: what signed it without covering what it says; None where all of it is covered.
    """

    content: Mapping[str, Any]
    signature: str | None


def check_address(account: Account, query: Mapping[str, str], now: datetime) -> str:
    """What to answer to WeChat's question whether this address is the account's.

    Raises:
        NotGenuine: it was not WeChat that asked.
    """
    _check_time(query, now)
    _check_signature(account, query, "signature")
    return query.get("echostr", "")


def open_post(account: Account, query: Mapping[str, str], body: bytes, now: datetime) -> Opened:
    """The content of a post.

    Args:
        account: which the post came to.
        query: the fields of its address.
        body: its body.
        now: when it came.

    Raises:
        NotGenuine: a signature, the time, the encryption or the account does not fit.
    """
    _check_time(query, now)
    if not account.aes_key:
        _check_signature(account, query, "signature")
        return Opened(_fields(body), query.get("signature", ""))
    encrypted = _fields(body).get("Encrypt")
    if not isinstance(encrypted, str):
        raise NotGenuine("not encrypted")
    _check_signature(account, query, "msg_signature", encrypted)
    return Opened(_fields(_decrypted(account, encrypted)), None)


def _check_time(query: Mapping[str, str], now: datetime) -> None:
    written = query.get("timestamp", "")
    if not (written.isascii() and written.isdigit() and len(written) <= MOST_DIGITS):
        raise NotGenuine("no timestamp")
    away = int(written) - int(now.timestamp())
    if abs(away) > FRESH_SECONDS:
        raise NotGenuine(f"a timestamp {away:+d} s away")


def _check_signature(account: Account, query: Mapping[str, str], name: str, *covered: str) -> None:
    signer = WeChatSigner()
    signer.add_data(*(each.encode("utf8", "surrogatepass") for each in (
        account.token, query.get("timestamp", ""), query.get("nonce", ""), *covered)))
    if not hmac.compare_digest(query.get(name, "").encode("utf8", "surrogatepass"), signer.signature.encode()):
        raise NotGenuine(f"a wrong {name}")


def _decrypted(account: Account, encrypted: str) -> bytes:
    try:
        text: str = PrpCrypto(base64.b64decode(account.aes_key + "=")).decrypt(encrypted, account.app_id)
    except (WeChatException, struct.error, ValueError, LookupError, TypeError) as error:
        raise NotGenuine(f"encrypted for another account or with another key: {type(error).__name__}") from error
    return text.encode()


def _fields(xml: bytes) -> Mapping[str, Any]:
    """The fields of a flat XML document; none where it is no such thing. Entities are refused: nothing is fetched."""
    try:
        found = (xmltodict.parse(xml) or {}).get("xml")
    except (ExpatError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, Mapping) else {}

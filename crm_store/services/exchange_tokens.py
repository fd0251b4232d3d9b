"""Makes, finds and revokes the tokens by which the shop's programs bring and fetch data; only hashes are stored."""
from __future__ import annotations

import hashlib
import hmac
import secrets
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy import select
from sqlalchemy.orm import Session

from crm_store.errors import InvalidMessage, NotAllowed, NotFound
from crm_store.models import ExchangeToken, SupportAgent
from crm_store.rules.text import clean_text
from crm_store.services import audit

BEGINS = "wlx"
MOST_TOKENS = 20
NAME_LENGTH = 80
USED_EVERY = timedelta(minutes=1)
_NOTHING = hashlib.sha256(b"").hexdigest()


def create_token(session: Session, agent: SupportAgent, *, name: str, may_read: bool, may_write: bool,
                 now: datetime) -> tuple[ExchangeToken, str]:
    """A new token and its text, which nobody can get again.

    Raises:
        NotAllowed: only admins may.
        InvalidMessage: ``field`` "name" or "scope" cannot be accepted; ``reason`` is "empty", "too_long", "invalid" or
            "too_many".
    """
    _require_admin(agent)
    if not may_read and not may_write:
        raise InvalidMessage(field="scope", reason="empty")
    living = select(sa.func.count()).select_from(ExchangeToken).where(ExchangeToken.revoked_at.is_(None))
    if session.execute(living).scalar_one() >= MOST_TOKENS:
        raise InvalidMessage(field="name", reason="too_many")
    try:
        name = " ".join(clean_text(name, NAME_LENGTH).split())
    except InvalidMessage as error:
        raise InvalidMessage(field="name", reason=error.data["reason"]) from error
    prefix, secret = secrets.token_hex(6), secrets.token_urlsafe(32)
    text = f"{BEGINS}_{prefix}_{secret}"
    token = ExchangeToken(name=name, prefix=prefix, token_hash=_hash(text), may_read=may_read, may_write=may_write,
                          created_by_id=agent.id, created_at=now)
    session.add(token)
    session.flush()
    audit.record(session, actor_kind="agent", actor_id=agent.id, action="create_token", object_kind="exchange_token",
                 object_id=token.id, data={"name": name, "may_read": may_read, "may_write": may_write}, now=now)
    return token, text


def revoke_token(session: Session, token_id: int, agent: SupportAgent, now: datetime) -> None:
    """End a token at once; one that is ended already stays so.

    Raises:
        NotAllowed: only admins may.
        NotFound: there is none.
    """
    _require_admin(agent)
    token: ExchangeToken | None = session.get(ExchangeToken, token_id)
    if token is None:
        raise NotFound(token_id=token_id)
    if token.revoked_at is None:
        token.revoked_at = now
        audit.record(session, actor_kind="agent", actor_id=agent.id, action="revoke_token",
                     object_kind="exchange_token", object_id=token.id, data={"name": token.name}, now=now)
    session.flush()


def token_by_text(session: Session, text: str, now: datetime) -> ExchangeToken | None:
    """The token that this is, unless it was revoked. It counts as used now.

    The open part finds the row, the hashes are compared in constant time, and one that nobody has takes as long.
    """
    parts = text.split("_", 2)
    prefix = parts[1] if len(parts) == 3 and parts[0] == BEGINS else ""
    token: ExchangeToken | None = session.execute(
        select(ExchangeToken).where(ExchangeToken.prefix == prefix[:12])).scalar_one_or_none()
    right = hmac.compare_digest(_hash(text), token.token_hash if token else _NOTHING)
    if token is None or not right or token.revoked_at is not None:
        return None
    if token.used_at is None or now - token.used_at >= USED_EVERY:
        token.used_at = now
        session.flush()
    return token


def tokens(session: Session) -> list[ExchangeToken]:
    """Every token, the newest first."""
    return list(session.execute(select(ExchangeToken).order_by(ExchangeToken.id.desc())).scalars())


def _require_admin(agent: SupportAgent) -> None:
    if not agent.is_at_least("admin"):
        raise NotAllowed(role="admin")


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf8", "replace")).hexdigest()

"""Logs agents in and out of the desk, and slows down whoever guesses passwords."""
from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa
from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from sqlalchemy import select
from sqlalchemy.orm import Session, joinedload

from crm_store.models import DeskSession, LoginFailure, SupportAgent
from crm_store.services import audit

SESSION_LASTS = timedelta(hours=12)
SESSION_IDLE = timedelta(hours=2)
SEEN_EVERY = timedelta(minutes=1)
FAILURES_WITHIN = timedelta(minutes=15)
FAILURES_BY_LOGIN = 10
FAILURES_BY_ADDRESS = 30
LOGIN_LENGTH = 60
PASSWORD_LENGTH = 200  # longer ones cost time to hash and help nobody

_HASHER = PasswordHasher()  # argon2id
# The hash of a forgotten random password: an unknown login takes as long as a wrong password.
_NOBODY = ("$argon2id$v=19$m=65536,t=3,p=4$OeXhIy2U5D7RFQmtIvP4Gw$"
           "5Nf3zLcXnUmJHcVyyPuPPBsi2wlPfXLu0yjpKXvwuVU")


@dataclass(frozen=True)
class LoginResult:
    """The new session's token and its agent, or neither; ``throttled``: too many failures, the password was not tried.

    A result and no exception, because a failure has to be committed.
    """

    token: str | None = None
    agent: SupportAgent | None = None
    throttled: bool = False


def hash_password(password: str) -> str:
    """The argon2id hash of a password, with its salt."""
    return _HASHER.hash(password)


def log_in(session: Session, *, login: str, password: str, address: str, now: datetime) -> LoginResult:
    """Check a password and begin a session of 12 hours, ended earlier by 2 hours of silence.

    After 10 failures for one login or 30 from one address within 15 minutes nothing is tried until the oldest of them
    is older than that. The caller commits in any case.

    Args:
        session: the unit of work.
        login: the agent's login, in any case, with or without blanks around it.
        password: as typed.
        address: where the attempt comes from.
        now: when.
    """
    login, address = _storable(login).lower(), _storable(address)
    if _is_throttled(session, login, address, now):
        return LoginResult(throttled=True)
    agent = session.execute(
        select(SupportAgent).where(SupportAgent.login == login, SupportAgent.active.is_(True))
        .options(joinedload(SupportAgent.team))).scalar_one_or_none()
    right = _matches(agent.password_hash if agent else _NOBODY, password)
    if agent is None or not right:
        session.add(LoginFailure(login=login, address=address, failed_at=now))
        session.flush()
        return LoginResult()
    token = secrets.token_urlsafe(32)
    session.add(DeskSession(token_hash=_token_hash(token), agent_id=agent.id, created_at=now, seen_at=now,
                            expires_at=now + SESSION_LASTS))
    session.execute(sa.delete(DeskSession).where(DeskSession.expires_at <= now)
                    .execution_options(synchronize_session=False))
    session.execute(sa.delete(LoginFailure).where(LoginFailure.login == login)
                    .execution_options(synchronize_session=False))
    audit.record(session, actor_kind="agent", actor_id=agent.id, action="log_in", object_kind="agent",
                 object_id=agent.id, now=now)
    session.flush()
    return LoginResult(token, agent)


def agent_by_token(session: Session, token: str, now: datetime) -> SupportAgent | None:
    """The agent whose session this token is, or None where it ended, was silent too long or never was.

    In a unit of work that writes (``Store.write``) the session counts as seen; reading alone does not keep it alive,
    so a page that only reads calls :func:`touch_session` now and then.
    """
    found = session.execute(
        select(DeskSession).where(DeskSession.token_hash == _token_hash(token))
        .options(joinedload(DeskSession.agent).joinedload(SupportAgent.team))).scalar_one_or_none()
    if found is None or not found.agent.active or now >= found.expires_at or now - found.seen_at >= SESSION_IDLE:
        return None
    if session.get_bind().get_execution_options().get("warmline_write"):
        touch_session(session, token, now)
    agent: SupportAgent = found.agent
    return agent


def touch_session(session: Session, token: str, now: datetime) -> None:
    """Note that a live session was used just now, at most once a minute."""
    session.execute(
        sa.update(DeskSession)
        .where(DeskSession.token_hash == _token_hash(token), DeskSession.seen_at <= now - SEEN_EVERY,
               DeskSession.seen_at > now - SESSION_IDLE)
        .values(seen_at=now).execution_options(synchronize_session=False))


def log_out(session: Session, token: str) -> None:
    """End the session of a token; nothing happens where there is none."""
    session.execute(sa.delete(DeskSession).where(DeskSession.token_hash == _token_hash(token))
                    .execution_options(synchronize_session=False))


def set_availability(session: Session, agent_id: int, available: bool, now: datetime) -> None:
    """Say whether an agent takes new conversations."""
    session.execute(sa.update(SupportAgent).where(SupportAgent.id == agent_id).values(available=available)
                    .execution_options(synchronize_session="fetch"))
    audit.record(session, actor_kind="agent", actor_id=agent_id, action="set_availability", object_kind="agent",
                 object_id=agent_id, data={"available": available}, now=now)


def _is_throttled(session: Session, login: str, address: str, now: datetime) -> bool:
    since = now - FAILURES_WITHIN
    by_login, by_address = session.execute(
        select(sa.func.count(sa.case((LoginFailure.login == login, 1))),
               sa.func.count(sa.case((LoginFailure.address == address, 1))))
        .where(LoginFailure.failed_at > since,
               sa.or_(LoginFailure.login == login, LoginFailure.address == address))).one()
    return bool(by_login >= FAILURES_BY_LOGIN or by_address >= FAILURES_BY_ADDRESS)


def _matches(password_hash: str, password: str) -> bool:
    try:
        return _HASHER.verify(password_hash, password[:PASSWORD_LENGTH].encode("utf-8", "surrogatepass"))
    except (VerificationError, InvalidHashError):
        return False


def _storable(text: str) -> str:
    """What a database can hold of a text that a stranger typed."""
    return text.replace("\x00", "").encode("utf-8", "replace").decode().strip()[:LOGIN_LENGTH]


def _token_hash(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "replace")).hexdigest()

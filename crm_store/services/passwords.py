"""Lets agents change their own password, guarded like the login; what an admin made for them is meant for once only."""
from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Session

from crm_store.models import DeskSession, LoginFailure, SupportAgent
from crm_store.services import audit
from crm_store.services.shop_settings import locked
from crm_store.services.staff import (
    PASSWORD_LENGTH,
    hash_password,
    is_right_password,
    is_throttled,
    note_failure,
    session_of,
)

SHORTEST = 10


def change_password(session: Session, agent_id: int, *, token: str, current: str, new: str, address: str,
                    now: datetime) -> str | None:
    """Give an agent the password they chose, and end their other sessions.

    A wrong ``current`` counts as a failed login, so that who finds a desk open cannot guess there either. A result and
    no exception, because a failure has to be committed.

    Args:
        session: the unit of work; commit it in any case.
        agent_id: whose password.
        token: of the session that stays.
        current: the password as it is, as typed.
        new: the one to come, 10 to 200 characters.
        address: where the attempt comes from.
        now: when.

    Returns:
        Why it was not changed: "short", "long", "login" (it is the login), "throttled" (nothing was tried), "wrong"
        (the current one) or "same"; None where it was.

    Raises:
        NotFound: there is no such agent.
    """
    agent: SupportAgent = locked(session, SupportAgent, agent_id)
    refused = _unsuitable(new, agent.login)
    if refused:
        return refused
    if is_throttled(session, agent.login, address, now):
        return "throttled"
    if not is_right_password(agent.password_hash, current):
        note_failure(session, agent.login, address, now)
        return "wrong"
    if new == current:
        return "same"
    agent.password_hash = hash_password(new)
    for gone in (sa.delete(DeskSession).where(DeskSession.agent_id == agent.id,
                                              DeskSession.token_hash != session_of(token)),
                 sa.delete(LoginFailure).where(LoginFailure.login == agent.login)):
        session.execute(gone.execution_options(synchronize_session=False))
    audit.record(session, actor_kind="agent", actor_id=agent.id, action="change_password", object_kind="agent",
                 object_id=agent.id, now=now)
    session.flush()
    return None


def _unsuitable(new: str, login: str) -> str | None:
    if len(new.strip()) < SHORTEST:
        return "short"
    if len(new) > PASSWORD_LENGTH:
        return "long"
    return "login" if new.strip().lower() == login else None

"""Logs agents in and out of the desk, slows down whoever guesses passwords, and keeps agents and teams."""
from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from sqlalchemy import select
from sqlalchemy.orm import Session, joinedload

from crm_store.errors import NotAllowed
from crm_store.models import Conversation, DeskSession, LoginFailure, SupportAgent, Team
from crm_store.models.customers import LANGUAGES
from crm_store.models.staff import LEVELS, ROLES
from crm_store.services import audit
from crm_store.services.assignment import pick_agent
from crm_store.services.locking import lock_conversation
from crm_store.services.notices import leads_for, notify
from crm_store.services.shop_settings import (
    Checked,
    Snapshot,
    Values,
    fields_of,
    keep,
    locked,
    record_change,
    refuse_stale,
    require_role,
    taken,
    to_change,
)
from crm_store.services.tickets import unsolved_tickets

SESSION_LASTS = timedelta(hours=12)
SESSION_IDLE = timedelta(hours=2)
SEEN_EVERY = timedelta(minutes=1)
FAILURES_WITHIN = timedelta(minutes=15)
FAILURES_BY_LOGIN = 10
FAILURES_BY_ADDRESS = 30
LOGIN_LENGTH = 60
PASSWORD_LENGTH = 200  # longer ones cost time to hash and help nobody

TEAM_FIELDS = ("name", "level")
ADMIN_FIELDS = ("name", "role", "active")
WORKING_FIELDS = ("team_id", "languages", "capacity", "available", "interface_language")
MOST_CAPACITY = 100
ALPHABET = "abcdefghjkmnpqrstuvwxyz23456789"  # nothing that is read as something else
PASSWORD_GROUPS, PASSWORD_GROUP = 4, 5  # 20 signs out of 31: 99 bits

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
    if is_throttled(session, login, address, now):
        return LoginResult(throttled=True)
    agent = session.execute(
        select(SupportAgent).where(SupportAgent.login == login, SupportAgent.active.is_(True))
        .options(joinedload(SupportAgent.team))).scalar_one_or_none()
    right = is_right_password(agent.password_hash if agent else _NOBODY, password)
    if agent is None or not right:
        note_failure(session, login, address, now)
        return LoginResult()
    token = secrets.token_urlsafe(32)
    session.add(DeskSession(token_hash=session_of(token), agent_id=agent.id, created_at=now, seen_at=now,
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
        select(DeskSession).where(DeskSession.token_hash == session_of(token))
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
        .where(DeskSession.token_hash == session_of(token), DeskSession.seen_at <= now - SEEN_EVERY,
               DeskSession.seen_at > now - SESSION_IDLE)
        .values(seen_at=now).execution_options(synchronize_session=False))


def log_out(session: Session, token: str) -> None:
    """End the session of a token; nothing happens where there is none."""
    session.execute(sa.delete(DeskSession).where(DeskSession.token_hash == session_of(token))
                    .execution_options(synchronize_session=False))


def set_availability(session: Session, agent_id: int, available: bool, now: datetime) -> None:
    """Say whether an agent takes new conversations."""
    session.execute(sa.update(SupportAgent).where(SupportAgent.id == agent_id).values(available=available)
                    .execution_options(synchronize_session="fetch"))
    audit.record(session, actor_kind="agent", actor_id=agent_id, action="set_availability", object_kind="agent",
                 object_id=agent_id, data={"available": available}, now=now)


def team_snapshot(team: Team) -> Snapshot:
    """A team's fields."""
    return fields_of(team, TEAM_FIELDS)


def agent_snapshot(agent: SupportAgent) -> Snapshot:
    """An agent's fields, without anything of their password."""
    return {**fields_of(agent, ("login", *ADMIN_FIELDS, *WORKING_FIELDS)), "languages": list(agent.languages)}


def save_team(session: Session, actor: SupportAgent, key: int | None, values: Values, version: str | None,
              now: datetime) -> Team:
    """Create (``key`` None) or change a team.

    Raises:
        InvalidSettings: a field cannot be accepted.
        ChangedMeanwhile: it was changed since ``version`` was read.
        NotFound: there is no such team.
        NotAllowed: ``actor`` is no manager.
    """
    require_role(actor, "manager")
    team, before = to_change(session, Team, key, version, team_snapshot)
    checked = Checked(values)
    team.name, team.level = checked.text("name", 80), checked.one_of("level", LEVELS)
    with session.no_autoflush:
        if team.name and taken(session, Team.name, team.name, key):
            checked.refuse("name", "taken")
    checked.done()
    keep(session, actor, "team", team, before, team_snapshot, now)
    return team


def create_agent(session: Session, actor: SupportAgent, values: Values, now: datetime) -> tuple[SupportAgent, str]:
    """Create an agent, with a password that only the answer holds.

    Raises:
        InvalidSettings: a field cannot be accepted.
        NotAllowed: ``actor`` is no admin, or the role is above theirs.
    """
    require_role(actor, "admin")
    checked = Checked(values)
    login = checked.code("login", r"[a-zA-Z0-9][a-zA-Z0-9._@-]*", LOGIN_LENGTH).lower()
    if login and taken(session, SupportAgent.login, login, None):
        checked.refuse("login", "taken")
    columns = {**_check_working(session, checked), **_check_admin(checked)}
    checked.done()
    require_role(actor, columns["role"])
    password = new_password()
    agent = SupportAgent(login=login, password_hash=hash_password(password), created_at=now, **columns)
    keep(session, actor, "agent", agent, {}, agent_snapshot, now, unique="login")
    return agent, password


def change_agent(session: Session, actor: SupportAgent, key: int, values: Values, version: str | None,
                 now: datetime) -> SupportAgent:
    """Change an agent: managers how they work, admins also their name, their role and whether they may enter.

    ``name``, ``role`` and ``active`` stay as they are where ``values`` leave them out; the login never changes. Whoever
    may not enter any more is logged out; call :func:`release_conversations` afterwards.

    Raises:
        InvalidSettings: a field cannot be accepted; the last active admin stays one, and nobody deactivates themselves.
        ChangedMeanwhile: it was changed since ``version`` was read.
        NotFound: there is no such agent.
        NotAllowed: the actor's role, as it is now, does not allow it.
    """
    agent, actor_now = _locked_agents(session, actor, key)
    require_role(actor_now, "manager")
    before = agent_snapshot(agent)
    refuse_stale(before, version)
    values = {**{name: before[name] for name in ADMIN_FIELDS}, **values}
    checked = Checked(values)
    columns = {**_check_working(session, checked), **_check_admin(checked)}
    if not checked.problems and any(columns[name] != before[name] for name in ADMIN_FIELDS):
        require_role(actor_now, "admin")
        _check_standing(session, checked, agent, actor_now, columns)
    checked.done()
    for name, value in columns.items():
        setattr(agent, name, value)
    if not agent.active:
        agent.available = False
        end_sessions(session, agent.id)
    keep(session, actor, "agent", agent, before, agent_snapshot, now)
    return agent


def release_conversations(session: Session, actor: SupportAgent, agent_id: int, now: datetime) -> int:
    """Put the open conversations of an agent who may not enter any more back into the queue.

    Each is offered to whoever is free; the leads are told where nobody is.

    Returns:
        How many; doing it again does nothing.
    """
    held = session.execute(
        select(Conversation.id).join(SupportAgent, SupportAgent.id == Conversation.assignee_id)
        .where(Conversation.assignee_id == agent_id, Conversation.status.in_(("open", "snoozed")),
               SupportAgent.active.is_(False)).order_by(Conversation.id)).scalars().all()
    released = 0
    for conversation_id in held:
        conversation = lock_conversation(session, conversation_id)
        if conversation.assignee_id == agent_id and conversation.status in ("open", "snoozed"):
            _release(session, conversation, now)
            audit.record(session, actor_kind="agent", actor_id=actor.id, action="release", object_kind="conversation",
                         object_id=conversation.id, data={"from": agent_id}, now=now)
            released += 1
    return released


def reset_password(session: Session, actor: SupportAgent, key: int, now: datetime) -> tuple[SupportAgent, str]:
    """Give an agent a new password, which only the answer holds; their sessions end and their failures are forgotten.

    Raises:
        NotFound: there is no such agent.
        NotAllowed: the actor is no admin any more.
    """
    agent, actor_now = _locked_agents(session, actor, key)
    require_role(actor_now, "admin")
    password = new_password()
    agent.password_hash = hash_password(password)
    end_sessions(session, agent.id)
    session.execute(sa.delete(LoginFailure).where(LoginFailure.login == agent.login)
                    .execution_options(synchronize_session=False))
    record_change(session, actor, "reset_password", "agent", agent.id, {}, now)
    return agent, password


def end_sessions(session: Session, agent_id: int) -> None:
    """Log an agent out everywhere."""
    session.execute(sa.delete(DeskSession).where(DeskSession.agent_id == agent_id)
                    .execution_options(synchronize_session=False))


def new_password() -> str:
    """A password that nobody guesses and anybody can read out."""
    return "-".join("".join(secrets.choice(ALPHABET) for _ in range(PASSWORD_GROUP)) for _ in range(PASSWORD_GROUPS))


def _locked_agents(session: Session, actor: SupportAgent, key: int) -> tuple[SupportAgent, SupportAgent]:
    """The agent to change and the one who changes them, as they are now; both and every admin locked, in one order.

    Raises:
        NotFound: there is no such agent.
        NotAllowed: the actor may not enter any more.
    """
    wanted = sa.or_(SupportAgent.role == "admin", SupportAgent.id.in_([key, actor.id]))
    rows = {agent.id: agent for agent in session.execute(
        select(SupportAgent).where(wanted).order_by(SupportAgent.id).with_for_update(key_share=True)
        .execution_options(populate_existing=True)).scalars()}
    actor_now = rows.get(actor.id)
    if actor_now is None or not actor_now.active:
        raise NotAllowed()
    return rows.get(key) or locked(session, SupportAgent, key), actor_now


def _check_working(session: Session, checked: Checked) -> dict[str, Any]:
    languages = checked.values.get("languages") or []
    if not languages or any(language not in LANGUAGES for language in languages):
        checked.refuse("languages", "required")
    return {
        "team_id": checked.one_of("team_id", session.execute(select(Team.id)).scalars().all()),
        "languages": [language for language in LANGUAGES if language in languages],
        "capacity": checked.whole("capacity", 0, MOST_CAPACITY), "available": checked.flag("available"),
        "interface_language": checked.one_of("interface_language", LANGUAGES)}


def _check_admin(checked: Checked) -> dict[str, Any]:
    return {"name": checked.text("name", 120), "role": checked.one_of("role", ROLES), "active": checked.flag("active")}


def _check_standing(session: Session, checked: Checked, agent: SupportAgent, actor: SupportAgent,
                    columns: dict[str, Any]) -> None:
    """Refuse what would leave the desk without an admin, or lift or lock out somebody who may not be."""
    if agent.id == actor.id and not columns["active"]:
        checked.refuse("active", "not_oneself")
    require_role(actor, columns["role"])
    if agent.role != "admin" or not agent.active or (columns["role"] == "admin" and columns["active"]):
        return
    others = session.execute(
        select(sa.func.count()).select_from(SupportAgent)
        .where(SupportAgent.role == "admin", SupportAgent.active.is_(True), SupportAgent.id != agent.id)).scalar_one()
    if not others:
        checked.refuse("role" if columns["active"] else "active", "last_admin")


def _release(session: Session, conversation: Conversation, now: datetime) -> None:
    """Nobody has it any more: it is offered to whoever is free, or the leads are told."""
    tickets = unsolved_tickets(session, conversation.id)
    conversation.assignee_id = conversation.claimed_at = None
    conversation.version += 1
    conversation.updated_at = now
    session.flush()
    agent = pick_agent(session, conversation, level=tickets[-1].level if tickets else LEVELS[0])
    for ticket in tickets:
        ticket.assignee_id = agent.id if agent else None
    conversation.assignee_id = agent.id if agent else None
    told = {"ticket": tickets[-1].number, "reason": tickets[-1].reason} if tickets else {"ticket": "", "reason": None}
    kind = "assigned" if agent else "nobody_free"
    notify(session, [agent.id] if agent else leads_for(session, conversation.team_id), kind=kind,
           key=f"{kind}:{conversation.id}:{conversation.version}", now=now, conversation_id=conversation.id, data=told)
    session.flush()


def note_failure(session: Session, login: str, address: str, now: datetime) -> None:
    """Count a wrong password for a login and from an address."""
    session.add(LoginFailure(login=login, address=address, failed_at=now))
    session.flush()


def is_throttled(session: Session, login: str, address: str, now: datetime) -> bool:
    """Whether there were so many failures lately that no password is tried for this login or from this address."""
    since = now - FAILURES_WITHIN
    by_login, by_address = session.execute(
        select(sa.func.count(sa.case((LoginFailure.login == login, 1))),
               sa.func.count(sa.case((LoginFailure.address == address, 1))))
        .where(LoginFailure.failed_at > since,
               sa.or_(LoginFailure.login == login, LoginFailure.address == address))).one()
    return bool(by_login >= FAILURES_BY_LOGIN or by_address >= FAILURES_BY_ADDRESS)


def is_right_password(password_hash: str, password: str) -> bool:
    """Whether this is the password of that hash."""
    try:
        return _HASHER.verify(password_hash, password[:PASSWORD_LENGTH].encode("utf-8", "surrogatepass"))
    except (VerificationError, InvalidHashError):
        return False


def _storable(text: str) -> str:
    """What a database can hold of a text that a stranger typed."""
    return text.replace("\x00", "").encode("utf-8", "replace").decode().strip()[:LOGIN_LENGTH]


def session_of(token: str) -> str:
    """The hash by which the session of a token is kept."""
    return hashlib.sha256(token.encode("utf-8", "replace")).hexdigest()

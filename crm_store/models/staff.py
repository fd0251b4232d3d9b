"""Support agents, their teams, their sessions at the desk, and the audit log of what they do."""
from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.orm import relationship

from crm_store.database import UtcDateTime
from crm_store.models.base import Base, Id, one_of, reference

ROLES = ("agent", "lead", "manager", "admin")  # each may what those before it may
LEVELS = ("front_line", "experts", "management")


class Team(Base):
    """A team that works on one level of the escalation chain."""

    __tablename__ = "teams"
    id = sa.Column(Id, primary_key=True)
    name = sa.Column(sa.String(80), nullable=False, unique=True)
    level = sa.Column(sa.String(20), nullable=False)
    __table_args__ = (one_of("level", "level", LEVELS),)


class SupportAgent(Base):
    """A person who works at the desk."""

    __tablename__ = "support_agents"
    id = sa.Column(Id, primary_key=True)
    login = sa.Column(sa.String(60), nullable=False, unique=True)
    name = sa.Column(sa.String(120), nullable=False)
    password_hash = sa.Column(sa.String(200), nullable=False)  # argon2id
    role = sa.Column(sa.String(10), nullable=False)
    team_id = reference("teams.id")
    languages = sa.Column(sa.JSON, nullable=False, default=list)  # ["zh", "en"]
    capacity = sa.Column(sa.Integer, nullable=False, default=5)  # open conversations at once
    available = sa.Column(sa.Boolean, nullable=False, default=True)
    interface_language = sa.Column(sa.String(2), nullable=False, default="zh")
    active = sa.Column(sa.Boolean, nullable=False, default=True)
    created_at = sa.Column(UtcDateTime, nullable=False)
    team = relationship("Team")
    __table_args__ = (one_of("role", "role", ROLES),)

    def is_at_least(self, role: str) -> bool:
        """Whether their role is this one or above it."""
        return ROLES.index(self.role) >= ROLES.index(role)


class DeskSession(Base):
    """A login at the desk; only the hash of its token is stored."""

    __tablename__ = "desk_sessions"
    token_hash = sa.Column(sa.String(64), primary_key=True)
    agent_id = reference("support_agents.id")
    created_at = sa.Column(UtcDateTime, nullable=False)
    seen_at = sa.Column(UtcDateTime, nullable=False)
    expires_at = sa.Column(UtcDateTime, nullable=False)
    agent = relationship("SupportAgent")


class LoginFailure(Base):
    """A failed login, counted by login and by address to slow down guessing."""

    __tablename__ = "login_failures"
    id = sa.Column(Id, primary_key=True)
    login = sa.Column(sa.String(60), nullable=False, index=True)
    address = sa.Column(sa.String(60), nullable=False, index=True)
    failed_at = sa.Column(UtcDateTime, nullable=False)


class AuditEntry(Base):
    """Who changed or looked at what, and when. Never changed, never deleted."""

    __tablename__ = "audit_log"
    id = sa.Column(Id, primary_key=True)
    actor_kind = sa.Column(sa.String(10), nullable=False)  # agent, customer, bot, system
    actor_id = sa.Column(Id)
    action = sa.Column(sa.String(60), nullable=False, index=True)
    object_kind = sa.Column(sa.String(40), nullable=False)
    object_id = sa.Column(sa.String(60), nullable=False)
    data = sa.Column(sa.JSON, nullable=False, default=dict)
    created_at = sa.Column(UtcDateTime, nullable=False, index=True)
    __table_args__ = (sa.Index("ix_audit_log_object", "object_kind", "object_id"),)

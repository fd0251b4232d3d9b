"""Whom a conversation can be passed on to, with what they have on their hands now."""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy import select
from sqlalchemy.orm import Session

from crm_store.models import Conversation, SupportAgent, Team
from crm_store.rules.sla import LEVELS


@dataclass(frozen=True)
class AgentTarget:
    """A colleague. ``free``: available, below capacity, and speaks the conversation's language."""

    id: int
    name: str
    role: str
    team_id: int
    team_name: str
    languages: Sequence[str]
    available: bool
    open_count: int
    capacity: int
    free: bool


@dataclass(frozen=True)
class TeamTarget:
    """A team. ``free_count``: how many of its agents could be given the conversation now."""

    id: int
    name: str
    level: str
    free_count: int


@dataclass(frozen=True)
class TransferTargets:
    """Everybody a conversation can be passed on to."""

    teams: Sequence[TeamTarget]
    agents: Sequence[AgentTarget]


def transfer_targets(session: Session, agent: SupportAgent, conversation: Conversation) -> TransferTargets:
    """The teams by level, and the active colleagues: who is free first, among them who has the fewest.

    Who owns the conversation, and the agent who asks, are not among the colleagues. Check access before.
    """
    open_now = dict(session.execute(
        select(Conversation.assignee_id, sa.func.count())
        .where(Conversation.status == "open", Conversation.assignee_id.is_not(None), Conversation.id != conversation.id)
        .group_by(Conversation.assignee_id)).all())
    owner_id = conversation.assignee_id if conversation.claimed_at is not None else None
    rows = session.execute(
        select(SupportAgent, Team).join(Team, Team.id == SupportAgent.team_id)
        .where(SupportAgent.active.is_(True)).order_by(SupportAgent.name, SupportAgent.id)).all()
    agents = sorted(
        (_target(found, team, open_now.get(found.id, 0), conversation.language) for found, team in rows
         if found.id not in (agent.id, owner_id)),
        key=lambda target: (not target.free, not target.available, target.open_count))
    teams = session.execute(select(Team).order_by(Team.id)).scalars().all()
    return TransferTargets(
        teams=[TeamTarget(team.id, team.name, team.level, sum(
            target.free and target.team_id == team.id and target.role != "admin"
            and target.id != conversation.assignee_id for target in agents))
            for team in sorted(teams, key=lambda team: LEVELS.index(team.level))],
        agents=agents)


def _target(agent: SupportAgent, team: Team, open_count: int, language: str) -> AgentTarget:
    return AgentTarget(
        id=agent.id, name=agent.name, role=agent.role, team_id=team.id, team_name=team.name,
        languages=tuple(agent.languages), available=agent.available, open_count=open_count, capacity=agent.capacity,
        free=agent.available and open_count < agent.capacity and language in agent.languages)

"""Picks the agent for a conversation: available, speaking the language, the least busy, below capacity."""
from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa
from sqlalchemy import select
from sqlalchemy.orm import Session

from crm_store.models import Conversation, SupportAgent, Team
from crm_store.rules.sla import LEVELS


def pick_agent(session: Session, conversation: Conversation, *, level: str,
               preferred: Sequence[int | None] = (), team_id: int | None = None,
               without: Sequence[int | None] = ()) -> SupportAgent | None:
    """The agent who gets the next conversation, or None where nobody is free.

    Agents on the wanted level come first, then those on the nearest one; among equals the one with the fewest open
    conversations. Agents who know the customer (``preferred``, in this order) come before all, while they are
    available. Admins get none.
    The agents' rows stay locked until the unit of work ends, so that two handovers at once count each other.

    Args:
        session: the unit of work.
        conversation: which needs an agent; they must speak its language.
        level: "front_line", "experts" or "management".
        preferred: ids of agents to ask first.
        team_id: only agents of this team.
        without: ids of agents who do not get it.
    """
    available: list[SupportAgent] = list(session.execute(
        select(SupportAgent).where(SupportAgent.active.is_(True), SupportAgent.available.is_(True))
        .order_by(SupportAgent.id).with_for_update(key_share=True).execution_options(populate_existing=True)
    ).scalars())
    for agent_id in preferred:
        for agent in available:
            if agent.id == agent_id:
                return agent
    free = [agent for agent in available if conversation.language in agent.languages and agent.role != "admin"
            and team_id in (None, agent.team_id) and agent.id not in without]
    if not free:
        return None
    open_now = dict(session.execute(
        select(Conversation.assignee_id, sa.func.count()).where(
            Conversation.status == "open", Conversation.id != conversation.id,
            Conversation.assignee_id.in_([agent.id for agent in free]))
        .group_by(Conversation.assignee_id)
    ).all())
    levels = dict(session.execute(select(Team.id, Team.level)).all())
    wanted = LEVELS.index(level)
    free = [agent for agent in free if open_now.get(agent.id, 0) < agent.capacity]
    return min(free, default=None, key=lambda agent: (
        abs(LEVELS.index(levels[agent.team_id]) - wanted), open_now.get(agent.id, 0), agent.id))

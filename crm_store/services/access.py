"""Decides who may see which conversation and customer: the one door to both for everybody at the desk."""
from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy import select
from sqlalchemy.orm import Session

from crm_store.errors import NotFound
from crm_store.models import Conversation, Customer, SupportAgent, Ticket
from crm_store.services.tickets import UNSOLVED

SEES_ALL = ("manager", "admin")


def visible_to(agent: SupportAgent) -> Any:
    """The SQL condition on ``Conversation`` that holds for what an agent may see.

    Agents see their own conversations, those that nobody has claimed yet, and those with an unsolved ticket they keep;
    leads also those of their team; managers and admins all.
    """
    if agent.role in SEES_ALL:
        return sa.true()
    keeps = sa.exists().where(Ticket.conversation_id == Conversation.id, Ticket.keeper_id == agent.id,
                              Ticket.status.in_(UNSOLVED)).correlate(Conversation)
    offered = sa.and_(Conversation.claimed_at.is_(None), Conversation.status.in_(("open", "snoozed")))
    conditions = [Conversation.assignee_id == agent.id, Conversation.assignee_id.is_(None), offered, keeps]
    if agent.role == "lead":
        members = select(SupportAgent.id).where(SupportAgent.team_id == agent.team_id).scalar_subquery()
        conditions += [Conversation.team_id == agent.team_id, Conversation.assignee_id.in_(members)]
    return sa.or_(*conditions)


def may_direct(session: Session, agent: SupportAgent, conversation: Conversation) -> bool:
    """Whether an agent decides about a conversation they do not own: a lead of its team, a manager or an admin."""
    if agent.role in SEES_ALL:
        return True
    if agent.role != "lead":
        return False
    team_of_owner = session.execute(
        select(SupportAgent.team_id).where(SupportAgent.id == conversation.assignee_id)).scalar_one_or_none()
    return agent.team_id in (conversation.team_id, team_of_owner)


def access_conversation(session: Session, agent: SupportAgent, conversation_id: int, *,
                        acting: bool = False) -> Conversation:
    """The conversation, if this agent may see it.

    Args:
        session: any session.
        agent: who asks.
        conversation_id: which.
        acting: the agent does not read it but claims or writes, and the service they call refuses a colleague's
            conversation by the colleague's name: then it only has to have been a human's. Never return what you read
            this way.

    Raises:
        NotFound: there is none, or they may not see it; nobody can tell which.
    """
    allowed = visible_to(agent)
    if acting:  # what the bot still has is refused in nobody's name, though a colleague may be its assignee already
        allowed = sa.or_(allowed, Conversation.status != "pending")
    conversation: Conversation | None = session.execute(
        select(Conversation).where(Conversation.id == conversation_id, allowed)).scalar_one_or_none()
    if conversation is None:
        raise NotFound(conversation_id=conversation_id)
    return conversation


def access_customer(session: Session, agent: SupportAgent, customer_id: int) -> Customer:
    """The customer, if this agent may see one of their conversations.

    Raises:
        NotFound: there is none, or they may not see any; nobody can tell which.
    """
    wanted = select(Customer).where(
        Customer.id == customer_id, Customer.erased_at.is_(None), Customer.merged_into_id.is_(None))
    if agent.role not in SEES_ALL:
        wanted = wanted.where(sa.exists().where(Conversation.customer_id == Customer.id, visible_to(agent)))
    customer: Customer | None = session.execute(wanted).scalar_one_or_none()
    if customer is None:
        raise NotFound(customer_id=customer_id)
    return customer

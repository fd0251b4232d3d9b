"""What managers read of suggestions and of the survey. Check the role before."""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy import select
from sqlalchemy.orm import Session

from crm_store.models import Conversation, Customer, Feedback, Recommendation, SlaPolicy, SupportAgent
from crm_store.queries.figures import Scope, conversations_in, in_period
from crm_store.rules.suggestions import NetPromoter, net_promoter
from crm_store.services.access import visible_to

PAGE = 50


@dataclass(frozen=True)
class Suggestion:
    """One suggestion; ``customer`` is None of a guest, ``conversation_id`` of what the reader may not open."""

    id: int
    text: str
    topic: str
    status: str
    answer: str | None
    at: datetime
    customer: str | None
    answered_by: str | None
    answered_at: datetime | None
    conversation_id: int | None


@dataclass(frozen=True)
class Suggestions:
    """A page of suggestions, the newest first, and how many there are of each topic and status."""

    rows: list[Suggestion]
    total: int
    by_topic: dict[str, int]
    by_status: dict[str, int]

    @property
    def pages(self) -> int:
        """How many pages there are, one at least."""
        return max(1, -(-self.total // PAGE))


def suggestions(session: Session, agent: SupportAgent, *, topic: str | None = None, status: str | None = None,
                page: int = 1) -> Suggestions:
    """Suggestions by topic and status; the counts of topics are of the status asked for, and the other way round."""
    of_topic = [] if topic is None else [Feedback.topic == topic]
    of_status = [] if status is None else [Feedback.status == status]
    total = session.execute(select(sa.func.count(Feedback.id)).where(*of_topic, *of_status)).scalar_one()
    pages = max(1, -(-total // PAGE))
    opens = sa.exists().where(Conversation.id == Feedback.conversation_id, visible_to(agent))
    rows = session.execute(
        select(Feedback, Customer.name, SupportAgent.name, opens)
        .outerjoin(Customer, sa.and_(Customer.id == Feedback.customer_id, Customer.erased_at.is_(None)))
        .outerjoin(SupportAgent, SupportAgent.id == Feedback.answered_by_id)
        .where(*of_topic, *of_status).order_by(Feedback.id.desc())
        .limit(PAGE).offset((min(max(page, 1), pages) - 1) * PAGE)).all()
    return Suggestions(
        [Suggestion(each.id, each.text, each.topic, each.status, each.answer, each.created_at, customer, by,
                    each.answered_at, each.conversation_id if may_open else None)
         for each, customer, by, may_open in rows],
        total, _by(session, Feedback.topic, of_status), _by(session, Feedback.status, of_topic))


def recommended(session: Session, scope: Scope) -> NetPromoter:
    """The net promoter score of a period."""
    return net_promoter(_answers(session, scope, sa.literal(0)).get(0, {}))


def recommended_by_agent(session: Session, scope: Scope) -> Mapping[int | None, NetPromoter]:
    """The net promoter score by the agent whose conversation it was asked after."""
    found = _answers(session, scope, Recommendation.agent_id)
    return {agent_id: net_promoter(counts) for agent_id, counts in found.items()}


def recommended_by_policy(session: Session, scope: Scope) -> Mapping[str | None, NetPromoter]:
    """The net promoter score by the name of the SLA policy that the conversation's ticket had."""
    name = select(SlaPolicy.name).where(SlaPolicy.id == Recommendation.policy_id).scalar_subquery()
    return {policy: net_promoter(counts) for policy, counts in _answers(session, scope, name).items()}


def _answers(session: Session, scope: Scope, by: Any) -> dict[Any, dict[int, int]]:
    rows = session.execute(
        select(by.label("by_whom"), Recommendation.score, sa.func.count())
        .join(Conversation, Conversation.id == Recommendation.conversation_id)
        .where(Recommendation.score.is_not(None), in_period(Recommendation.answered_at, scope.period),
               *conversations_in(scope))
        .group_by(sa.literal_column("by_whom"), Recommendation.score))
    found: dict[Any, dict[int, int]] = {}
    for name, score, count in rows:
        found.setdefault(name, {})[score] = count
    return found


def _by(session: Session, column: Any, conditions: list[Any]) -> dict[str, int]:
    return dict(session.execute(
        select(column, sa.func.count(Feedback.id)).where(*conditions).group_by(column)).all())

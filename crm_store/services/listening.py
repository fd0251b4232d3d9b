"""Keeps suggestions, answers their authors, and asks customers now and then whether they would recommend the shop."""
from __future__ import annotations

import re
from collections.abc import Collection
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from crm_store.errors import InvalidMessage, NotAllowed, NotFound
from crm_store.models import Conversation, Customer, Feedback, Message, Recommendation, SlaClock, SupportAgent, Ticket
from crm_store.models.customers import FEEDBACK_STATUSES
from crm_store.rules.suggestions import TOPICS, survey_due, topic_of
from crm_store.rules.text import clean_text, excerpt
from crm_store.services.audit import record
from crm_store.services.locking import lock_conversation
from crm_store.services.system_messages import tell_customer
from crm_store.wording import say

MAY_ANSWER = "lead"
ANSWER_LIMIT = 1000
AT_ONCE = 200
QUOTED = 40
_SCORE = re.compile(r'/recommend\s*\{\s*"score"\s*:\s*(10|[0-9])\s*\}')


def keep_feedback(session: Session, *, conversation_id: int, customer_id: int | None, message_id: int, text: str,
                  now: datetime) -> Feedback:
    """Keep a suggestion or praise as it was said, with its topic; once for each message."""
    key = f"feedback:message:{message_id}"
    kept: Feedback | None = session.execute(
        select(Feedback).where(Feedback.idempotency_key == key)).scalar_one_or_none()
    if kept is None:
        kept = Feedback(customer_id=customer_id, conversation_id=conversation_id, text=text, topic=topic_of(text),
                        status="new", created_at=now, idempotency_key=key)
        session.add(kept)
        session.flush()
    return kept


def sort_feedback(session: Session, agent: SupportAgent, feedback_id: int, topic: str, now: datetime) -> None:
    """Give a suggestion another topic.

    Raises:
        NotAllowed: the agent is no lead.
        NotFound: there is no such suggestion.
        InvalidMessage: there is no such topic.
    """
    if topic not in TOPICS:
        raise InvalidMessage(field="topic", reason="invalid")
    (found,) = _locked(session, agent, [feedback_id])
    if found.topic != topic:
        record(session, actor_kind="agent", actor_id=agent.id, action="sort_feedback", object_kind="feedback",
               object_id=found.id, data={"from": found.topic, "to": topic}, now=now)
        found.topic = topic
        session.flush()


def answer_feedback(session: Session, agent: SupportAgent, feedback_ids: Collection[int], *, status: str, answer: str,
                    now: datetime) -> int:
    """Say what becomes of suggestions, and tell their authors in words. The same decision again tells nobody twice.

    Args:
        session: the unit of work.
        agent: who decides, a lead at least.
        feedback_ids: which suggestions, at most 200.
        status: "planned", "done" or "declined"; "new" takes a decision back and tells nobody.
        answer: what is added for the authors, in their language or none; at most 1,000 characters.
        now: when.

    Returns:
        How many authors were told.

    Raises:
        NotAllowed: the agent is no lead.
        NotFound: one of them does not exist.
        InvalidMessage: there is no such status, or the answer is too long.
    """
    if status not in FEEDBACK_STATUSES:
        raise InvalidMessage(field="status", reason="invalid")
    answer = clean_text(answer, ANSWER_LIMIT) if answer.strip() else ""
    told = 0
    for found in _locked(session, agent, feedback_ids):
        if (found.status, found.answer or "") == (status, answer):
            continue
        found.status, found.answer, found.answered_by_id, found.answered_at = status, answer or None, agent.id, now
        record(session, actor_kind="agent", actor_id=agent.id, action="answer_feedback", object_kind="feedback",
               object_id=found.id, data={"status": status}, now=now)
        conversation = session.get(Conversation, found.conversation_id)
        if status != "new" and found.customer_id in (None, conversation.identity.customer_id):  # else somebody else's
            told += 1
            words = say(f"feedback_{status}", conversation.language, said=excerpt(found.text, QUOTED))
            tell_customer(session, conversation, f"{words}\n{answer}".strip(), now)
    session.flush()
    return told


def ask_recommendation(session: Session, conversation: Conversation, now: datetime) -> bool:
    """Ask a customer how likely they are to recommend us, unless they were asked within a quarter; whether asked.

    Args:
        session: the unit of work.
        conversation: its row locked; its customer just rated it well.
        now: when.
    """
    if conversation.customer_id is None:
        return False
    customer = session.execute(select(Customer).where(Customer.id == conversation.customer_id,
                                                      Customer.erased_at.is_(None)).with_for_update(key_share=True)
                               ).scalar_one_or_none()
    last = session.execute(
        select(Recommendation.asked_at).where(Recommendation.customer_id == conversation.customer_id)
        .order_by(Recommendation.asked_at.desc()).limit(1)).scalar_one_or_none()
    if customer is None or not survey_due(last, now):
        return False
    policy_id = session.execute(
        select(SlaClock.policy_id).join(Ticket, Ticket.id == SlaClock.ticket_id)
        .where(Ticket.conversation_id == conversation.id).order_by(SlaClock.id.desc()).limit(1)).scalar_one_or_none()
    session.add(Recommendation(customer_id=conversation.customer_id, conversation_id=conversation.id,
                               agent_id=conversation.assignee_id, policy_id=policy_id, asked_at=now))
    buttons = [{"title": str(score), "payload": f'/recommend{{"score": {score}}}'} for score in range(11)]
    tell_customer(session, conversation, say("recommend_question", conversation.language), now, buttons=buttons)
    session.flush()
    return True


def recommendation_in(payload: str) -> int | None:
    """The answer that a survey's button carries, 0 to 10; None for any other button."""
    found = _SCORE.fullmatch(payload)
    return int(found.group(1)) if found else None


def take_recommendation(session: Session, conversation: Conversation, message: Message, score: int,
                        now: datetime) -> None:
    """Keep the answer to the survey of this conversation, once, and thank for it.

    Args:
        session: the unit of work.
        conversation: its row locked.
        message: the press of the button; it counts as handled.
        score: 0 to 10.
        now: when.
    """
    message.handled_at = now
    asked: Recommendation | None = session.execute(
        select(Recommendation).where(Recommendation.conversation_id == conversation.id,
                                     Recommendation.customer_id == conversation.customer_id)
        .order_by(Recommendation.asked_at.desc()).limit(1).with_for_update()).scalar_one_or_none()
    if asked is not None and asked.score is None:
        asked.score, asked.answered_at = score, now
        record(session, actor_kind="customer", actor_id=conversation.customer_id, action="recommend",
               object_kind="conversation", object_id=conversation.id, data={"score": score}, now=now)
    tell_customer(session, conversation, say("recommend_thanks", conversation.language), now,
                  in_reply_to_id=message.id)
    session.flush()


def _locked(session: Session, agent: SupportAgent, feedback_ids: Collection[int]) -> list[Feedback]:
    """The suggestions, locked in the order of their ids; their conversations before them, as whoever erases does."""
    if not agent.is_at_least(MAY_ANSWER):
        raise NotAllowed(role=agent.role)
    wanted = sorted(set(feedback_ids))
    if len(wanted) > AT_ONCE:
        raise InvalidMessage(field="feedback", reason="too_many")
    for conversation_id in session.execute(
            select(Feedback.conversation_id).where(Feedback.id.in_(wanted)).distinct()
            .order_by(Feedback.conversation_id)).scalars().all():
        lock_conversation(session, conversation_id)
    found = list(session.execute(
        select(Feedback).where(Feedback.id.in_(wanted)).order_by(Feedback.id).with_for_update()
        .execution_options(populate_existing=True)).scalars())
    if len(found) < len(wanted):
        raise NotFound(feedback_ids=wanted)
    return found

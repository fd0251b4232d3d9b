"""Takes customers' ratings of resolved episodes; a bad one goes back to the lead."""
from __future__ import annotations

import re
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from crm_store.models import Conversation, Message, Rating, Ticket
from crm_store.services import audit
from crm_store.services.handoff import reopen_with_lead, tell_due
from crm_store.services.listening import ask_recommendation
from crm_store.services.shop_events import Event, tell_shop
from crm_store.services.system_messages import leave_note, tell_customer
from crm_store.services.tickets import open_ticket
from crm_store.wording import say

LOW = 2
_RATING = re.compile(r'/rate\s*\{\s*"score"\s*:\s*([1-5])\s*\}')


def score_in(payload: str) -> int | None:
    """The score that a rating button carries, 1 to 5; None for any other button."""
    found = _RATING.fullmatch(payload)
    return int(found.group(1)) if found else None


def rate_conversation(session: Session, conversation: Conversation, message: Message, score: int,
                      now: datetime) -> Rating:
    """Keep the rating of the episode that was just resolved, and answer it; 1 or 2 reopens with the lead.

    Whoever rates better is asked now and then whether they would recommend the shop.

    The message counts as handled: it needs no turn of the bot. A second rating of the same episode is thanked for and
    changes nothing.

    Args:
        session: the unit of work.
        conversation: resolved, its row locked.
        message: the customer's press of the button.
        score: 1 to 5.
        now: when.
    """
    message.handled_at = now
    rating: Rating | None = session.execute(
        select(Rating).where(Rating.conversation_id == conversation.id,
                             Rating.episode_resolved_at == conversation.resolved_at)).scalar_one_or_none()
    if rating is not None:
        tell_customer(session, conversation, say("rate_thanks", conversation.language), now, in_reply_to_id=message.id)
        session.flush()
        return rating
    rating = Rating(conversation_id=conversation.id, episode_resolved_at=conversation.resolved_at, score=score,
                    agent_id=conversation.assignee_id, created_at=now)
    session.add(rating)
    audit.record(session, actor_kind="customer", actor_id=conversation.customer_id, action="rate",
                 object_kind="conversation", object_id=conversation.id, data={"score": score}, now=now)
    tell_shop(session, [Event("conversation.rated", conversation.customer_id, {"score": score}, conversation.id)], now)
    answer = say("rate_thanks", conversation.language)
    if score <= LOW:
        answer = _reopen(session, conversation, message, score, now)
    tell_customer(session, conversation, answer, now, in_reply_to_id=message.id)
    if score > LOW:
        ask_recommendation(session, conversation, now)
    session.flush()
    return rating


def _reopen(session: Session, conversation: Conversation, message: Message, score: int, now: datetime) -> str:
    ticket = session.execute(
        select(Ticket).where(Ticket.conversation_id == conversation.id, Ticket.kind != "request")
        .order_by(Ticket.resolved_at.desc(), (Ticket.kind == "complaint").desc(), Ticket.id.desc()).limit(1)
    ).scalar_one_or_none()  # of what was resolved together, the complaint: it is what the customer came for
    if ticket is None:
        ticket = open_ticket(session, conversation, kind="handoff", summary=message.text, now=now,
                             idempotency_key=f"handoff:message:{message.id}")
    leave_note(session, conversation, say("note_low_rating", "zh", score=score), now)
    clock = reopen_with_lead(session, conversation, ticket, now)
    by = tell_due(conversation, clock, now)
    if by is None:
        return say("rate_low", conversation.language, number=ticket.number)
    return say("rate_low_by", conversation.language, by=by, number=ticket.number)

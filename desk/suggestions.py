"""What the desk suggests beside an open conversation: articles near its last words, and solved cases like it."""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from crm_store.models import Conversation, Message, SupportAgent
from crm_store.queries.cases import SolvedCase, similar_solved_cases
from crm_store.queries.knowledge import articles
from crm_store.services.cases import SMALL_TALK
from crm_store.services.handoff import OWNED_BY_HUMANS
from desk.panes import Phrase, understood_of

ARTICLES_SHOWN = 3
CASES_SHOWN = 3
MESSAGES_SEARCHED = 5
LEAST_LIKELY = 0.2  # of an article: an agent sees at a glance that one is beside the point, a customer would be told it


@dataclass(frozen=True)
class Suggestions:
    """Articles to insert, in the customer's language, and cases to look at; the nearest first."""

    articles: Sequence[Phrase]
    cases: Sequence[SolvedCase]


def suggestions_for(session: Session, agent: SupportAgent, conversation: Conversation) -> Suggestions:
    """What helps with a conversation that a human has; nothing for any other. Check access before."""
    if conversation.status not in OWNED_BY_HUMANS:
        return Suggestions((), ())
    return Suggestions(_articles(session, conversation),
                       similar_solved_cases(session, agent, conversation.id, CASES_SHOWN))


def _articles(session: Session, conversation: Conversation) -> list[Phrase]:
    """The articles that the bot found likeliest to answer the customer's last message that says something."""
    read = session.execute(
        select(Message.understood).where(
            Message.conversation_id == conversation.id, Message.direction == "incoming",
            Message.understood.is_not(None), Message.intent.not_in(SMALL_TALK))
        .order_by(Message.id.desc()).limit(MESSAGES_SEARCHED)).scalars()
    nearest = next(filter(None, (understood_of(each or {}).articles for each in read)), ())
    slugs = [slug for slug, likely in nearest if (likely or 0) >= LEAST_LIKELY][:ARTICLES_SHOWN]
    found = articles(session, slugs)
    shown = [found[slug] for slug in slugs if slug in found]
    if conversation.language == "zh":
        return [Phrase(article.title_zh, article.body_zh) for article in shown]
    return [Phrase(article.title_en, article.body_en) for article in shown]

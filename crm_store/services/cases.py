"""Draws cases from conversations: what they are about and how they were solved, without personal data.

Nothing is written while a customer or an agent waits: whoever runs the encoder asks which conversations have moved on
since their case was drawn, reads those, and stores what came of it. A lost pass is made up by the next one.
"""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime

import numpy as np
import numpy.typing as npt
import sqlalchemy as sa
from sqlalchemy import select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from crm_store.models import Case, Conversation, Customer, Message, Ticket
from crm_store.rules.personal_data import mask
from crm_store.rules.text import excerpt, weight
from crm_store.services.locking import still_there

WITH_A_HUMAN = ("open", "snoozed", "resolved")
MATTER_LENGTH = 400  # about what the encoder reads of a text
SOLUTION_LENGTH = 600
MESSAGES_SEARCHED = 30
MESSAGES_TOLD = 4
REPLIES_WEIGHED = 5
SUBSTANTIAL = 40  # signs of a reply that is more than a courtesy; a Chinese character counts for two
# What says nothing of the matter, whoever says it.
SMALL_TALK = ("greet", "goodbye", "thank", "affirm", "deny", "inform", "request_human", "bot_challenge",
              "ask_capabilities")
NOTHING_SOLVED = ("no_answer", "not_ours", "spam")


@dataclass(frozen=True)
class CaseDraft:
    """A case as it stands now, before the encoder has read its ``matter``; the other fields are those of ``Case``."""

    conversation_id: int
    language: str
    matter: str
    solution: str | None
    cause: str | None
    heard_at: datetime
    solved_at: datetime | None


def conversations_to_draw(session: Session, encoder: str, limit: int, since: datetime | None = None) -> list[int]:
    """Conversations that a human has or had and that are not yet told by a case of this encoder, the newest first.

    One with a message that the bot has not read yet is left for later: what it means decides whether it is told.

    Args:
        session: any session.
        encoder: the encoder's name.
        limit: how many to give at most.
        since: leave out those that have not changed since then; all are looked at where it is left out.
    """
    unread = sa.exists().where(Message.conversation_id == Conversation.id, Message.direction == "incoming",
                               Message.handled_at.is_(None))
    conditions = [
        ~unread, Conversation.status.in_(WITH_A_HUMAN), Conversation.last_customer_message_at.is_not(None),
        Customer.erased_at.is_(None),
        sa.or_(Case.id.is_(None), Case.encoder != encoder, Case.heard_at != Conversation.last_customer_message_at,
               Case.solved_at.is_distinct_from(Conversation.resolved_at)),
    ]
    if since is not None:
        conditions.append(Conversation.updated_at >= since)
    return list(session.execute(
        select(Conversation.id).outerjoin(Case, Case.conversation_id == Conversation.id)
        .outerjoin(Customer, Customer.id == Conversation.customer_id)
        .where(*conditions).order_by(Conversation.updated_at.desc(), Conversation.id.desc()).limit(limit)
    ).scalars())


def latest_change(session: Session) -> datetime | None:
    """When the conversation that changed last did so; None in an empty store."""
    newest: datetime | None = session.execute(select(sa.func.max(Conversation.updated_at))).scalar_one()
    return newest


def draw_case(session: Session, conversation_id: int) -> CaseDraft:
    """What a conversation with a customer's message in it is about, and how it was solved if it is resolved.

    The matter is what the ticket says, where one was filed, else the customer's last words that say something. The
    solution is the agents' last reply before the resolution that is more than a courtesy, and their last note.
    """
    conversation = session.execute(select(Conversation).where(Conversation.id == conversation_id)).scalar_one()
    tickets = session.execute(
        select(Ticket).where(Ticket.conversation_id == conversation_id,
                             Ticket.resolved_at.is_not_distinct_from(conversation.resolved_at))
        .order_by(Ticket.id.desc())).scalars().all()
    filed = next((ticket for ticket in tickets if ticket.kind != "handoff"), None)
    matter = filed.summary if filed is not None else _customers_words(session, conversation_id)
    cause = next((ticket.resolution_cause for ticket in tickets if ticket.resolution_cause), None)
    told = conversation.resolved_at is not None and cause not in NOTHING_SOLVED
    solution = _agents_words(session, conversation_id, conversation.resolved_at) if told else None
    return CaseDraft(
        conversation_id=conversation.id, language=conversation.language, matter=excerpt(mask(matter), MATTER_LENGTH),
        solution=mask(solution) if solution else None, cause=cause, heard_at=conversation.last_customer_message_at,
        solved_at=conversation.resolved_at)


def store_cases(session: Session, drafts: Sequence[CaseDraft], vectors: Sequence[npt.ArrayLike], encoder: str) -> None:
    """Store cases with what ``encoder`` made of their matters. One drawn later is never replaced by an earlier one.

    A case of a conversation that was erased since it was drawn is not stored.

    Args:
        session: the unit of work.
        drafts: the cases.
        vectors: of unit length, one for each.
        encoder: the encoder's name, at most 16 signs.
    """
    table = Case.__table__
    insert = postgresql.insert if session.get_bind().dialect.name == "postgresql" else sqlite.insert
    kept = still_there(session, [draft.conversation_id for draft in drafts])
    for draft, vector in sorted(zip(drafts, vectors, strict=True), key=lambda pair: pair[0].conversation_id):
        if draft.conversation_id not in kept:
            continue  # erased while the encoder read it
        row = {**asdict(draft), "encoder": encoder, "vector": np.asarray(vector, dtype="<f4").tobytes()}
        statement = insert(table).values(**row)
        session.execute(statement.on_conflict_do_update(
            index_elements=["conversation_id"],
            set_={name: statement.excluded[name] for name in row if name != "conversation_id"},
            where=table.c.heard_at <= statement.excluded.heard_at))


def forget_cases(session: Session, customer_id: int) -> None:
    """Delete the cases of all conversations of a customer, as their erasure demands."""
    theirs = select(Conversation.id).where(Conversation.customer_id == customer_id)
    session.execute(sa.delete(Case).where(Case.conversation_id.in_(theirs))
                    .execution_options(synchronize_session=False))


def _customers_words(session: Session, conversation_id: int) -> str:
    """Their last messages that say something, oldest first; the last one of any kind where none does."""
    latest = session.execute(
        select(Message.text, Message.payload, Message.intent)
        .where(Message.conversation_id == conversation_id, Message.direction == "incoming")
        .order_by(Message.id.desc()).limit(MESSAGES_SEARCHED)).all()
    telling = [row.text for row in latest if row.payload is None and row.intent not in SMALL_TALK][:MESSAGES_TOLD]
    return "\n".join(reversed(telling or [latest[0].text]))


def _agents_words(session: Session, conversation_id: int, until: datetime) -> str | None:
    """What the agents said and noted last before ``until``, without what came after: ratings, follow-ups."""
    def latest(direction: str, limit: int) -> list[str]:
        return list(session.execute(
            select(Message.text)
            .where(Message.conversation_id == conversation_id, Message.direction == direction,
                   Message.author == "agent", Message.created_at <= until)
            .order_by(Message.id.desc()).limit(limit)).scalars())

    replies = latest("outgoing", REPLIES_WEIGHED)
    substantial = [text for text in replies if weight(text) >= SUBSTANTIAL] or sorted(replies, key=weight, reverse=True)
    words = [*substantial[:1], *latest("note", 1)]
    return "\n".join(excerpt(text, SOLUTION_LENGTH) for text in words) or None

"""Conversations and messages. The message log is the queue: unhandled comes in, undelivered goes out."""
from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.orm import relationship

from crm_store.database import UtcDateTime
from crm_store.models.base import Base, Id, one_of, reference

STATUSES = ("pending", "open", "snoozed", "resolved")
DIRECTIONS = ("incoming", "outgoing", "note")
AUTHORS = ("customer", "bot", "agent", "system")
DELIVERY_STATES = ("queued", "delivered", "failed", "dropped")


class Conversation(Base):
    """One thread with one channel identity.

    ``version`` rises with every change of owner; a reply computed for an older version is dropped. The dispatch lease
    lets one worker at a time hand this conversation's messages to the bot, in order; a lease that has run out is free.
    """

    __tablename__ = "conversations"
    id = sa.Column(Id, primary_key=True)
    identity_id = reference("channel_identities.id")
    customer_id = reference("customers.id", nullable=True)
    channel = sa.Column(sa.String(20), nullable=False)
    status = sa.Column(sa.String(10), nullable=False, default="pending", index=True)
    version = sa.Column(sa.Integer, nullable=False, default=1)
    assignee_id = reference("support_agents.id", nullable=True)
    claimed_at = sa.Column(UtcDateTime)  # null while it is only offered to the assignee: whoever claims first gets it
    team_id = reference("teams.id", nullable=True)
    language = sa.Column(sa.String(2), nullable=False, default="zh")
    anger = sa.Column(sa.Float)  # of the latest message that was read; null is unknown, never calm
    created_at = sa.Column(UtcDateTime, nullable=False)
    updated_at = sa.Column(UtcDateTime, nullable=False, index=True)
    last_customer_message_at = sa.Column(UtcDateTime)
    snoozed_until = sa.Column(UtcDateTime, index=True)
    resolved_at = sa.Column(UtcDateTime)
    dispatch_lease = sa.Column(sa.String(40))
    dispatch_lease_until = sa.Column(UtcDateTime)
    erased_at = sa.Column(UtcDateTime)  # what was said is gone; nothing is written here any more
    identity = relationship("ChannelIdentity")
    customer = relationship("Customer")
    assignee = relationship("SupportAgent")
    __table_args__ = (one_of("status", "status", STATUSES),)


class Message(Base):
    """One message. Incoming ones wait for ``handled_at``, outgoing ones for ``delivered_at``; a note is never sent.

    ``understood`` holds intent, confidence, language and entities; ``anger`` is a probability in [0, 1] or null where
    the model could not run. Replies name the message they answer and their position, so that none is stored twice.
    """

    __tablename__ = "messages"
    id = sa.Column(Id, primary_key=True)
    conversation_id = reference("conversations.id", index=False)
    identity_id = reference("channel_identities.id", index=False)
    direction = sa.Column(sa.String(10), nullable=False)
    author = sa.Column(sa.String(10), nullable=False)
    agent_id = reference("support_agents.id", nullable=True, index=False)
    text = sa.Column(sa.Text, nullable=False)
    buttons = sa.Column(sa.JSON, nullable=False, default=list)  # [{"title": …, "payload": …}]
    payload = sa.Column(sa.String(500))  # of the button the customer pressed, once checked that it was offered
    channel_message_id = sa.Column(sa.String(200))
    in_reply_to_id = reference("messages.id", nullable=True, index=False)
    position = sa.Column(sa.Integer, nullable=False, default=0)
    created_at = sa.Column(UtcDateTime, nullable=False)
    edited_at = sa.Column(UtcDateTime)  # by the customer, on a channel that can; a note keeps what it said before
    handled_at = sa.Column(UtcDateTime)
    attempts = sa.Column(sa.Integer, nullable=False, default=0)
    next_attempt_at = sa.Column(UtcDateTime)
    delivery_state = sa.Column(sa.String(10))  # outgoing only
    delivered_at = sa.Column(UtcDateTime)
    dropped_reason = sa.Column(sa.String(40))
    held = sa.Column(sa.String(10))  # incoming only: why it was not answered by itself, see crm_store.services.floods
    understood = sa.Column(sa.JSON)
    intent = sa.Column(sa.String(60), index=True)
    anger = sa.Column(sa.Float)
    valence = sa.Column(sa.String(10))
    conversation = relationship("Conversation")
    agent = relationship("SupportAgent")
    __table_args__ = (
        sa.UniqueConstraint("identity_id", "channel_message_id"),
        sa.UniqueConstraint("in_reply_to_id", "position"),
        sa.Index("ix_messages_conversation_id_id", "conversation_id", "id"),
        sa.Index("ix_messages_unhandled", "conversation_id", "id",
                 sqlite_where=sa.text("direction = 'incoming' AND handled_at IS NULL"),
                 postgresql_where=sa.text("direction = 'incoming' AND handled_at IS NULL")),
        sa.Index("ix_messages_undelivered", "id",
                 sqlite_where=sa.text("delivery_state = 'queued'"),
                 postgresql_where=sa.text("delivery_state = 'queued'")),
        one_of("direction", "direction", DIRECTIONS),
        one_of("author", "author", AUTHORS),
        one_of("delivery_state", "delivery_state", DELIVERY_STATES),
    )


class Rating(Base):
    """A customer's rating of one resolved episode, 1 to 5 (CSAT)."""

    __tablename__ = "ratings"
    id = sa.Column(Id, primary_key=True)
    conversation_id = reference("conversations.id")
    episode_resolved_at = sa.Column(UtcDateTime, nullable=False)
    score = sa.Column(sa.Integer, nullable=False)
    agent_id = reference("support_agents.id", nullable=True)
    created_at = sa.Column(UtcDateTime, nullable=False)
    __table_args__ = (
        sa.UniqueConstraint("conversation_id", "episode_resolved_at"),
        sa.CheckConstraint("score BETWEEN 1 AND 5", name="score"),
    )


class DialogueTracker(Base):
    """What the dialogue engine has to remember of a conversation to take the next turn, kept bounded."""

    __tablename__ = "dialogue_trackers"
    sender_id = sa.Column(sa.String(60), primary_key=True)  # the conversation's id
    events = sa.Column(sa.Text, nullable=False)
    updated_at = sa.Column(UtcDateTime, nullable=False)

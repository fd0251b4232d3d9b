"""What people say a message is, where the bot read it otherwise or not at all."""
from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.orm import relationship

from crm_store.database import UtcDateTime
from crm_store.models.base import Base, Id, one_of, reference

CORRECTED_FIELDS = ("anger", "intent")
ANGER_VALUES = ("angry", "calm")


class Correction(Base):
    """The correction of one field of one customer's message that holds now; earlier ones are in the audit log.

    ``value`` is "angry" or "calm" of anger, a name of :data:`crm_store.rules.intents.INTENTS` of the intent. ``was`` is
    what the bot read: the probability of anger, the name of the intent, or null where it could not read.
    """

    __tablename__ = "corrections"
    id = sa.Column(Id, primary_key=True)
    message_id = reference("messages.id", index=False)
    field = sa.Column(sa.String(10), nullable=False)
    was = sa.Column(sa.String(60))
    value = sa.Column(sa.String(60), nullable=False)
    agent_id = reference("support_agents.id", index=False)
    corrected_at = sa.Column(UtcDateTime, nullable=False)
    __table_args__ = (sa.UniqueConstraint("message_id", "field"), one_of("field", "field", CORRECTED_FIELDS))


class Label(Base):
    """What a lead or manager decided of a text, whoever wrote it and however often: the next training goes by it.

    ``key`` is :func:`crm_store.rules.learning.text_key` of the text and ``message_id`` the message that was looked at.
    Where neither ``intent`` nor ``anger`` ("angry" or "calm") is given, the text is not worth learning. ``exported_at``
    is null until the training data was written with it.
    """

    __tablename__ = "labels"
    id = sa.Column(Id, primary_key=True)
    key = sa.Column(sa.String(64), nullable=False, unique=True)
    message_id = reference("messages.id")
    intent = sa.Column(sa.String(60))
    anger = sa.Column(sa.String(10))
    agent_id = reference("support_agents.id", index=False)
    labelled_at = sa.Column(UtcDateTime, nullable=False, index=True)
    exported_at = sa.Column(UtcDateTime)
    agent = relationship("SupportAgent")
    __table_args__ = (one_of("anger", "anger", ANGER_VALUES),)

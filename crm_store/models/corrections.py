"""What agents say a message is, where the bot read it otherwise."""
from __future__ import annotations

import sqlalchemy as sa

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

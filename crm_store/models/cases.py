"""Cases: what conversations in human hands are about and how they were solved, searchable by meaning."""
from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.orm import relationship

from crm_store.database import UtcDateTime
from crm_store.models.base import Base, Id, one_of, reference
from crm_store.models.customers import LANGUAGES


class Case(Base):
    """The matter of a conversation that a human has or had, personal data masked, with the vector of that text.

    Everything in it is drawn from the conversation and written anew when that moves on: ``heard_at`` and ``solved_at``
    are the customer's last message and the resolution it was drawn from. ``solution`` is null while there is none, or
    none worth showing to a colleague.

    ``vector`` is little-endian float32 of unit length; ``encoder`` names the encoder file by the start of its SHA-256.
    """

    __tablename__ = "cases"
    id = sa.Column(Id, primary_key=True)
    conversation_id = reference("conversations.id", index=False)
    language = sa.Column(sa.String(2), nullable=False)
    matter = sa.Column(sa.Text, nullable=False)
    solution = sa.Column(sa.Text)
    cause = sa.Column(sa.String(60))
    heard_at = sa.Column(UtcDateTime, nullable=False)
    solved_at = sa.Column(UtcDateTime, index=True)
    encoder = sa.Column(sa.String(16), nullable=False)
    vector = sa.Column(sa.LargeBinary, nullable=False)
    conversation = relationship("Conversation")
    __table_args__ = (sa.UniqueConstraint("conversation_id"), one_of("language", "language", LANGUAGES))

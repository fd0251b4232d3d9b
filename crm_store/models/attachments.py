"""What customers send besides words: photos, files, voices, places."""
from __future__ import annotations

import sqlalchemy as sa

from crm_store.database import UtcDateTime
from crm_store.models.base import Base, Id, one_of, reference

KINDS = ("photo", "document", "voice", "audio", "video", "animation", "sticker", "location", "contact")
STATES = ("waiting", "kept", "refused")


class Attachment(Base):
    """One attachment of a message. Its file, where it has one, lies under its token in the data folder.

    It is ``waiting`` until its file was fetched from the channel (``source`` names it there) and then ``kept``, or
    ``refused`` for a ``reason``. ``media_type``, ``size`` and ``sha256`` are what was found in the content, never what
    the sender said; without a file (a place, a contact) there is no ``sha256``.
    """

    __tablename__ = "attachments"
    id = sa.Column(Id, primary_key=True)
    message_id = reference("messages.id")
    identity_id = reference("channel_identities.id")
    token = sa.Column(sa.String(64), nullable=False, unique=True)
    kind = sa.Column(sa.String(12), nullable=False)
    name = sa.Column(sa.String(120), nullable=False)
    media_type = sa.Column(sa.String(100), nullable=False, default="application/octet-stream")
    size = sa.Column(sa.BigInteger, nullable=False, default=0)
    state = sa.Column(sa.String(10), nullable=False)
    reason = sa.Column(sa.String(20))
    sha256 = sa.Column(sa.String(64))
    latitude = sa.Column(sa.Float)
    longitude = sa.Column(sa.Float)
    source = sa.Column(sa.String(250))
    attempts = sa.Column(sa.Integer, nullable=False, default=0)
    next_attempt_at = sa.Column(UtcDateTime)
    created_at = sa.Column(UtcDateTime, nullable=False)
    __table_args__ = (
        sa.Index("ix_attachments_waiting", "id", sqlite_where=sa.text("state = 'waiting'"),
                 postgresql_where=sa.text("state = 'waiting'")),
        one_of("kind", "kind", KINDS),
        one_of("state", "state", STATES),
    )

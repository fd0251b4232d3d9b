"""How far a message to a customer has come on a channel that it is pushed to."""
from __future__ import annotations

import sqlalchemy as sa

from crm_store.database import UtcDateTime
from crm_store.models.base import Base, Id


class MessageDelivery(Base):
    """What is known of the delivery of one message; no row: nothing was tried.

    A long message goes out in pieces. ``in_flight`` is set before a piece is handed to the channel and cleared when its
    answer is noted: who finds it set finds a piece that may have arrived.
    """

    __tablename__ = "message_deliveries"
    message_id = sa.Column(Id, sa.ForeignKey("messages.id"), primary_key=True, autoincrement=False)
    pieces_sent = sa.Column(sa.Integer, nullable=False, default=0)
    channel_ids = sa.Column(sa.JSON, nullable=False, default=list)  # the channel's ids of the pieces that were sent
    in_flight = sa.Column(sa.Boolean, nullable=False, default=False)
    failures = sa.Column(sa.Integer, nullable=False, default=0)  # attempts that surely did not arrive
    unknowns = sa.Column(sa.Integer, nullable=False, default=0)  # attempts of the present piece that may have arrived
    last_error = sa.Column(sa.String(200))
    since = sa.Column(UtcDateTime, nullable=False)  # of the first attempt, or of being sent again by an agent
    updated_at = sa.Column(UtcDateTime, nullable=False)

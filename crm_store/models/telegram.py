"""What was seen of each Telegram bot: its updates, and how far its queue was read."""
from __future__ import annotations

import sqlalchemy as sa

from crm_store.database import UtcDateTime
from crm_store.models.base import Base


class TelegramBot(Base):
    """One bot, by the id that Telegram gave it. One process at a time polls it: the one that holds the lease."""

    __tablename__ = "telegram_bots"
    bot_id = sa.Column(sa.BigInteger, primary_key=True, autoincrement=False)
    next_update_id = sa.Column(sa.BigInteger)  # everything before it is stored
    updated_at = sa.Column(UtcDateTime, nullable=False)  # of the last update
    poller = sa.Column(sa.String(40))
    poller_until = sa.Column(UtcDateTime)


class TelegramUpdate(Base):
    """One update that was stored, so that the same again changes nothing."""

    __tablename__ = "telegram_updates"
    bot_id = sa.Column(sa.BigInteger, primary_key=True, autoincrement=False)
    update_id = sa.Column(sa.BigInteger, primary_key=True, autoincrement=False)
    kind = sa.Column(sa.String(20), nullable=False)
    received_at = sa.Column(UtcDateTime, nullable=False, index=True)

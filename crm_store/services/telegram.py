"""Keeps which updates of which Telegram bot are stored, and which process polls it."""
from __future__ import annotations

from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from crm_store.models import TelegramBot, TelegramUpdate

POLL_LEASE = timedelta(seconds=90)  # longer than a long poll
QUIET = timedelta(days=6)  # Telegram numbers updates at random after a week without one
KEPT = timedelta(days=30)


def take_polling(session: Session, bot_id: int, holder: str, now: datetime) -> int | None:
    """Take or keep the right to poll a bot; the id of the next update, or None where another process polls it.

    After some days without an update the id is 0, which asks for whatever there is: Telegram may number on lower than
    before, and what was stored already changes nothing.
    """
    bot = _bot(session, bot_id, now)
    if bot.poller not in (None, holder) and bot.poller_until is not None and bot.poller_until > now:
        return None
    bot.poller, bot.poller_until = holder, now + POLL_LEASE
    if bot.next_update_id is None or now - bot.updated_at > QUIET:
        return 0
    return int(bot.next_update_id)


def leave_polling(session: Session, bot_id: int, holder: str) -> None:
    """Give the right to poll a bot back."""
    session.execute(
        sa.update(TelegramBot).where(TelegramBot.bot_id == bot_id, TelegramBot.poller == holder)
        .values(poller=None, poller_until=None).execution_options(synchronize_session=False))


def store_update(session: Session, bot_id: int, update_id: int, kind: str, now: datetime) -> bool:
    """Note an update in the unit of work of what it does; False where it was stored before.

    Two processes that get the same update wait for each other here, so one of them does it.
    """
    insert = postgresql.insert if session.get_bind().dialect.name == "postgresql" else sqlite.insert
    stored = session.execute(
        insert(TelegramUpdate.__table__)
        .values(bot_id=bot_id, update_id=update_id, kind=kind, received_at=now).on_conflict_do_nothing())
    return bool(stored.rowcount == 1)


def advance(session: Session, bot_id: int, update_id: int, now: datetime) -> None:
    """Everything up to this update is stored; the next poll acknowledges it."""
    bot = _bot(session, bot_id, now)
    bot.next_update_id, bot.updated_at = update_id + 1, now


def forget_updates(session: Session, now: datetime) -> None:
    """Forget what Telegram cannot send again any more."""
    session.execute(sa.delete(TelegramUpdate).where(TelegramUpdate.received_at < now - KEPT)
                    .execution_options(synchronize_session=False))


def _bot(session: Session, bot_id: int, now: datetime) -> TelegramBot:
    insert = postgresql.insert if session.get_bind().dialect.name == "postgresql" else sqlite.insert
    session.execute(insert(TelegramBot.__table__).values(bot_id=bot_id, updated_at=now).on_conflict_do_nothing())
    bot: TelegramBot = session.execute(
        sa.select(TelegramBot).where(TelegramBot.bot_id == bot_id).with_for_update()
        .execution_options(populate_existing=True)).scalar_one()
    return bot

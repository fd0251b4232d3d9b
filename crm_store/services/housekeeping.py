"""Throws away what has served its time: ended desk sessions, counted login failures, one-time codes, old deliveries."""
from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from crm_store.models import DeskSession, LinkCode, LoginFailure
from crm_store.services.deliveries import forget_deliveries

KEPT_AFTER_THE_END = timedelta(days=1)  # longer than failures are counted and codes are limited by the hour


def clean_up(session: Session, now: datetime) -> int:
    """Delete what is over and counts for nothing any more; how many rows. Ledger and audit log are never touched."""
    over = now - KEPT_AFTER_THE_END
    ended: tuple[tuple[Any, Any], ...] = (
        (DeskSession, DeskSession.expires_at <= now), (LoginFailure, LoginFailure.failed_at <= over),
        (LinkCode, LinkCode.expires_at <= over))
    gone = 0
    for model, condition in ended:
        done = session.execute(sa.delete(model).where(condition).execution_options(synchronize_session=False))
        gone += int(done.rowcount)
    return gone + forget_deliveries(session, now)

"""Keeps which posts of which WeChat account are stored."""
from __future__ import annotations

from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from crm_store.models import WechatPost

KEPT = timedelta(days=3)  # WeChat repeats a post within seconds, and an old one is refused by its time


def store_post(session: Session, app_id: str, post_key: str, kind: str, now: datetime) -> bool:
    """Note a post in the unit of work of what it does; False where it was stored before.

    Two processes that get the same post wait for each other here, so one of them does it.
    """
    insert = postgresql.insert if session.get_bind().dialect.name == "postgresql" else sqlite.insert
    stored = session.execute(
        insert(WechatPost.__table__)
        .values(app_id=app_id, post_key=post_key, kind=kind, received_at=now).on_conflict_do_nothing())
    return bool(stored.rowcount == 1)


def signed_before(session: Session, app_id: str, signature: str, digest: str, now: datetime) -> bool:
    """Whether a signature that does not cover what it comes with was used before, for something else.

    A repeated post is signed like the first one and says the same; another text under a known signature is forged.
    """
    if store_post(session, app_id, f"signature:{signature}", digest, now):
        return False
    known = session.execute(
        sa.select(WechatPost.kind)
        .where(WechatPost.app_id == app_id, WechatPost.post_key == f"signature:{signature}")).scalar_one()
    return bool(known != digest)


def forget_posts(session: Session, now: datetime) -> None:
    """Forget what cannot come again any more."""
    session.execute(sa.delete(WechatPost).where(WechatPost.received_at < now - KEPT)
                    .execution_options(synchronize_session=False))

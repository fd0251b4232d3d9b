"""Takes away what was kept long enough, in small units of work that may each be done twice.

What a person said goes after its period as it would by their erasure; the figures stay. A period of None is for ever.
"""
from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import select
from sqlalchemy.orm import Session

from crm_store.attachment_files import FOLDER, AttachmentFiles
from crm_store.database import Store
from crm_store.errors import NotFound, WrongState
from crm_store.models import (
    Attachment,
    AuditEntry,
    ChannelIdentity,
    Conversation,
    RetentionPeriod,
    SupportAgent,
    Ticket,
)
from crm_store.models.privacy import PERIODS
from crm_store.services import audit
from crm_store.services.attachments import forget_attachments
from crm_store.services.erasure import GONE, Forgotten, Person, empty_conversations, forget, lock_person
from crm_store.services.tickets import UNSOLVED

DEFAULT_DAYS: Mapping[str, int | None] = {"guests": 180, "conversations": 1095, "attachments": 365, "audit_log": 1825}
SHORTEST_DAYS: Mapping[str, int] = {"guests": 7, "conversations": 30, "attachments": 1, "audit_log": 365}
LONGEST_DAYS = 36_500
AT_ONCE = 50
GUESTS_AT_ONCE = 1  # what names a guest is looked for in the whole audit log, and SQLite has one writer
PAUSE_SECONDS = 0.01  # so that the others get their turn, see crm_store.services.exchange
UPLOADS = "exchange"  # where in the data folder the shop's files wait
UPLOADS_KEPT = timedelta(days=1)


def periods(session: Session) -> dict[str, int | None]:
    """How many days each thing is kept."""
    changed = dict(session.execute(select(RetentionPeriod.name, RetentionPeriod.days)).all())
    return {name: changed.get(name, DEFAULT_DAYS[name]) for name in PERIODS}


def set_period(session: Session, name: str, days: int | None, agent: SupportAgent, now: datetime) -> None:
    """Keep something for so many days from now on, or for ever.

    Raises:
        ValueError: there is no such period, or it is too short or too long to be meant.
    """
    if name not in PERIODS or (days is not None and not SHORTEST_DAYS[name] <= days <= LONGEST_DAYS):
        raise ValueError(name)
    before = periods(session)[name]
    if before == days:
        return
    session.merge(RetentionPeriod(name=name, days=days, changed_at=now))
    audit.record(session, actor_kind="agent", actor_id=agent.id, action="set_period", object_kind="retention_period",
                 object_id=name, data={"changes": {"days": {"from": before, "to": days}}}, now=now)
    session.flush()


def preview(session: Session, now: datetime) -> dict[str, int]:
    """How much of what the next run would take away, if it ran now."""
    return {name: 0 if before is None else int(session.execute(
        select(sa.func.count()).select_from(_WANTED[name](before).subquery())).scalar_one())
        for name, before in _limits(session, now).items()}


def keep_periods(store: Store, folder: Path, now: datetime) -> dict[str, int]:
    """Take away what was kept long enough; how many of what.

    Args:
        store: the CRM store.
        folder: the data folder, in which attachments lie.
        now: when.
    """
    with store.read() as session:
        limits = _limits(session, now)
    gone = dict.fromkeys(limits, 0)
    for name, before in limits.items():
        after, most = 0, GUESTS_AT_ONCE if name == "guests" else AT_ONCE
        while before is not None:
            with store.write() as session:
                ids = list(session.execute(
                    _WANTED[name](before).where(_ID[name] > after).order_by(_ID[name]).limit(most)).scalars())
                files, rows = _TAKE[name](session, ids, now)
            AttachmentFiles(folder / FOLDER).delete(files)
            gone[name] += rows
            if len(ids) < most:
                break
            after = ids[-1]
            if store.engine.dialect.name == "sqlite":
                time.sleep(PAUSE_SECONDS)
    return gone


def forget_uploads(folder: Path, before: datetime) -> int:
    """Delete the shop's files that were brought before a time and not stored; how many."""
    gone = 0
    for path in folder.glob("[0-9]*"):
        with contextlib.suppress(FileNotFoundError):  # stored meanwhile, or looked at by somebody else
            if path.stat().st_mtime <= before.timestamp():
                path.unlink()
                gone += 1
    return gone


def _limits(session: Session, now: datetime) -> dict[str, datetime | None]:
    return {name: None if days is None else now - timedelta(days=days) for name, days in periods(session).items()}


def _guests(before: datetime) -> Any:
    """Identities that were never linked and have been quiet."""
    busy = sa.exists().where(Conversation.identity_id == ChannelIdentity.id, sa.or_(
        Conversation.updated_at >= before, Conversation.customer_id.is_not(None)))
    waiting = sa.exists().where(Ticket.conversation_id == Conversation.id, Ticket.status.in_(UNSOLVED),
                                Conversation.identity_id == ChannelIdentity.id)
    return select(ChannelIdentity.id).where(
        ChannelIdentity.customer_id.is_(None), ~ChannelIdentity.external_id.like(f"{GONE}:%"),
        ChannelIdentity.created_at < before, ~busy, ~waiting)


def _conversations(before: datetime) -> Any:
    return select(Conversation.id).where(
        Conversation.status == "resolved", Conversation.resolved_at < before, Conversation.erased_at.is_(None),
        Conversation.customer_id.is_not(None))


def _attachments(before: datetime) -> Any:
    return select(Attachment.id).where(Attachment.created_at < before)


def _audit_log(before: datetime) -> Any:
    return select(AuditEntry.id).where(AuditEntry.created_at < before)


def _take_guests(session: Session, ids: list[int], now: datetime) -> tuple[list[Path], int]:
    files: list[Path] = []
    gone = 0
    for identity_id in ids:
        try:
            files += forget(session, lock_person(session, identity_id=identity_id), now).files
        except (NotFound, WrongState):  # linked or written to meanwhile
            continue
        gone += 1
    return files, gone


def _take_conversations(session: Session, ids: list[int], now: datetime) -> tuple[list[Path], int]:
    done = Forgotten()
    talks = session.execute(
        select(Conversation).where(Conversation.id.in_(ids), Conversation.status == "resolved",
                                   Conversation.erased_at.is_(None))
        .order_by(Conversation.id).with_for_update().execution_options(populate_existing=True)).scalars().all()
    taken = [talk.id for talk in talks]
    tickets = session.execute(
        select(Ticket).where(Ticket.conversation_id.in_(taken)).order_by(Ticket.id)).scalars().all()
    empty_conversations(session, Person(None, [], list(talks), list(tickets)), now, done)
    return done.files, len(talks)


def _take_attachments(session: Session, ids: list[int], _now: datetime) -> tuple[list[Path], int]:
    gone, places = forget_attachments(session, Attachment.id.in_(ids))
    return places, gone


def _take_audit_log(session: Session, ids: list[int], _now: datetime) -> tuple[list[Path], int]:
    gone = session.execute(sa.delete(AuditEntry).where(AuditEntry.id.in_(ids))
                           .execution_options(synchronize_session=False))
    return [], int(gone.rowcount)


_WANTED: Mapping[str, Callable[[datetime], Any]] = {
    "guests": _guests, "conversations": _conversations, "attachments": _attachments, "audit_log": _audit_log}
_ID: Mapping[str, Any] = {
    "guests": ChannelIdentity.id, "conversations": Conversation.id, "attachments": Attachment.id,
    "audit_log": AuditEntry.id}
_TAKE: Mapping[str, Callable[[Session, list[int], datetime], tuple[list[Path], int]]] = {
    "guests": _take_guests, "conversations": _take_conversations, "attachments": _take_attachments,
    "audit_log": _take_audit_log}

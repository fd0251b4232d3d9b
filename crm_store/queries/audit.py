"""Reads the audit log: who changed or looked at what, newest first, a page at a time."""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy import select
from sqlalchemy.orm import Session

from crm_store.models import AuditEntry, SupportAgent

VALUES_LISTED = 200
EVERY_DAY = ("log_in", "set_availability", "look")


@dataclass(frozen=True)
class AuditSearch:
    """Which entries are wanted; what is None does not matter.

    ``since`` is included and ``until`` is not. ``before`` and ``after`` are the ids of entries that stay outside: a
    page goes on from where the last one ended, whatever is written meanwhile.
    """

    actor_kind: str | None = None
    actor_id: int | None = None
    action: str | None = None
    object_kind: str | None = None
    object_id: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    before: int | None = None
    after: int | None = None


@dataclass(frozen=True)
class AuditRow:
    """One entry. ``actor_name`` is set where an agent did it."""

    id: int
    at: datetime
    actor_kind: str
    actor_id: int | None
    actor_name: str | None
    action: str
    object_kind: str
    object_id: str
    data: Mapping[str, Any]


@dataclass(frozen=True)
class AuditPage:
    """A page of entries, newest first, and whether there are newer and older ones."""

    rows: list[AuditRow]
    newer: bool
    older: bool


def search_audit(session: Session, search: AuditSearch, per_page: int = 50) -> AuditPage:
    """A page of the audit log."""
    upwards = search.after is not None and search.before is None
    order = AuditEntry.id.asc() if upwards else AuditEntry.id.desc()
    found = _rows(session, _conditions(search), order, per_page + 1)
    more, rows = len(found) > per_page, found[:per_page]
    if upwards:
        rows.reverse()
    if not rows:
        return AuditPage([], newer=False, older=False)
    everything = _conditions(replace(search, before=None, after=None))
    newer = more if upwards else search.before is not None and _any(session, [*everything, AuditEntry.id > rows[0].id])
    older = _any(session, [*everything, AuditEntry.id < rows[-1].id]) if upwards else more
    return AuditPage(rows, newer=newer, older=older)


def history_of(session: Session, object_kind: str, object_id: Any, limit: int = 50) -> list[AuditRow]:
    """What was changed about one object, newest first; that somebody came or went is no change."""
    conditions = _conditions(AuditSearch(object_kind=object_kind, object_id=str(object_id)))
    return _rows(session, [*conditions, AuditEntry.action.not_in(EVERY_DAY)], AuditEntry.id.desc(), limit)


def actions(session: Session) -> list[str]:
    """What was ever done."""
    return _distinct(session, AuditEntry.action)


def object_kinds(session: Session) -> list[str]:
    """What anything was ever done to."""
    return _distinct(session, AuditEntry.object_kind)


def _conditions(search: AuditSearch) -> list[Any]:
    equal = {"actor_kind": search.actor_kind, "actor_id": search.actor_id, "action": search.action,
             "object_kind": search.object_kind, "object_id": search.object_id}
    conditions: list[Any] = [getattr(AuditEntry, name) == value for name, value in equal.items() if value is not None]
    if search.since is not None:
        conditions.append(AuditEntry.created_at >= search.since)
    if search.until is not None:
        conditions.append(AuditEntry.created_at < search.until)
    if search.before is not None:
        conditions.append(AuditEntry.id < search.before)
    if search.after is not None:
        conditions.append(AuditEntry.id > search.after)
    return conditions


def _rows(session: Session, conditions: list[Any], order: Any, limit: int) -> list[AuditRow]:
    by_agent = sa.and_(AuditEntry.actor_kind == "agent", SupportAgent.id == AuditEntry.actor_id)
    found = session.execute(
        select(AuditEntry, SupportAgent.name).outerjoin(SupportAgent, by_agent).where(*conditions).order_by(order)
        .limit(limit)).all()
    return [AuditRow(entry.id, entry.created_at, entry.actor_kind, entry.actor_id, name, entry.action,
                     entry.object_kind, entry.object_id, dict(entry.data or {})) for entry, name in found]


def _any(session: Session, conditions: list[Any]) -> bool:
    return session.execute(select(AuditEntry.id).where(*conditions).limit(1)).first() is not None


def _distinct(session: Session, column: Any) -> list[str]:
    """The values of an indexed column, each found by one step in the index: the log itself is never read through."""
    values: list[str] = []
    value = session.execute(select(sa.func.min(column))).scalar()
    while value is not None and len(values) < VALUES_LISTED:
        values.append(value)
        value = session.execute(select(sa.func.min(column)).where(column > value)).scalar()
    return values

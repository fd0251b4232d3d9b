"""What all settings share: what a field refuses, two managers at once, and one audit entry a change.

A setting is read, shown, changed and stored as a *snapshot*: its fields by name, as plain values. A snapshot's version
goes into the form and comes back with it; where the row reads differently by then, nothing is stored.
"""
from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeVar

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from crm_store.errors import CrmError, InvalidMessage, NotAllowed, NotFound
from crm_store.models import SupportAgent
from crm_store.models.base import LARGEST_ID
from crm_store.rules.text import clean_text
from crm_store.services import audit

Snapshot = dict[str, Any]
Values = Mapping[str, Any]
ReadSnapshot = Callable[[Any], Snapshot]
Row = TypeVar("Row")


@dataclass(frozen=True)
class Refusal:
    """Why a field cannot be accepted: "required", "too_long", "out_of_range", "taken" …, with what belongs to it."""

    reason: str
    values: Mapping[str, Any] = field(default_factory=dict)


class InvalidSettings(CrmError):
    """Some of the fields cannot be accepted."""

    problems: dict[str, Refusal]


class ChangedMeanwhile(CrmError):
    """Somebody has changed it since it was read."""

    snapshot: Snapshot


class Checked:
    """Checks the values of a form one by one and keeps every refusal, so that a person reads all of them at once."""

    def __init__(self, values: Values) -> None:
        """Begin with nothing refused."""
        self.values = values
        self.problems: dict[str, Refusal] = {}

    def refuse(self, name: str, reason: str, **values: Any) -> None:
        """Refuse a field; the first reason stays."""
        self.problems.setdefault(name, Refusal(reason, values))

    def text(self, name: str, limit: int, *, optional: bool = False, lines: bool = False) -> str:
        """A text without anything invisible; on one line unless ``lines``."""
        try:
            text = clean_text(self.values.get(name, ""), limit)
        except InvalidMessage as error:
            reason = {"empty": "required"}.get(error.data["reason"], error.data["reason"])
            if reason != "required" or not optional:
                self.refuse(name, reason, limit=limit)
            return ""
        return text if lines else " ".join(text.split())

    def code(self, name: str, pattern: str, limit: int) -> str:
        """A name for programs."""
        text = self.text(name, limit)
        if text and not re.fullmatch(pattern, text):
            self.refuse(name, "not_a_code")
        return text

    def whole(self, name: str, least: int, most: int, *, optional: bool = False,
              reason: str = "out_of_range") -> int | None:
        """A whole number within a range; ``reason`` says it where the range is told in other units."""
        value = self.values.get(name)
        if value is None:
            if not optional:
                self.refuse(name, "required")
            return None
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            self.refuse(name, reason, least=least, most=most)
            return None
        return value

    def number(self, name: str, least: float, most: float) -> float | None:
        """A number within a range."""
        value = self.values.get(name)
        if value is None:
            self.refuse(name, "required")
            return None
        if not isinstance(value, (int, float)) or isinstance(value, bool) or not least <= value <= most:
            self.refuse(name, "out_of_range", least=f"{least:g}", most=f"{most:g}")
            return None
        return float(value)

    def one_of(self, name: str, options: Collection[Any], *, optional: bool = False) -> Any:
        """One of the values that there are."""
        value = self.values.get(name)
        if value is None and optional:
            return None
        if value not in options:
            self.refuse(name, "required" if value is None else "unknown")
            return None
        return value

    def flag(self, name: str) -> bool:
        """Yes or no; no where it is left out."""
        return self.values.get(name) is True

    def done(self) -> None:
        """End the check.

        Raises:
            InvalidSettings: something was refused.
        """
        if self.problems:
            raise InvalidSettings(problems=self.problems)


def require_role(agent: SupportAgent, role: str) -> None:
    """Let agents of a role and above pass.

    Raises:
        NotAllowed: the agent's role is lower.
    """
    if not agent.is_at_least(role):
        raise NotAllowed(role=agent.role)


def version_of(snapshot: Snapshot) -> str:
    """A name for exactly these values."""
    return hashlib.sha256(json.dumps(snapshot, sort_keys=True, default=str).encode()).hexdigest()[:20]


def changes(before: Snapshot, after: Snapshot) -> dict[str, dict[str, Any]]:
    """What is different, by field: ``{"from": …, "to": …}``; null stands for what was not, or is not any more."""
    names = [*after, *(name for name in before if name not in after)]
    return {name: {"from": before.get(name), "to": after.get(name)} for name in names
            if before.get(name) != after.get(name)}


def locked(session: Session, model: Any, key: Any) -> Any:
    """The row as it is now, locked until the unit of work ends.

    Raises:
        NotFound: there is none.
    """
    column = model.__mapper__.primary_key[0]
    if isinstance(key, int) and not 0 < key <= LARGEST_ID:
        raise NotFound()
    row = session.execute(select(model).where(column == key).with_for_update(key_share=True)
                          .execution_options(populate_existing=True)).scalar_one_or_none()
    if row is None:
        raise NotFound()
    return row


def to_change(session: Session, model: type[Row], key: Any, version: str | None,
              read: ReadSnapshot) -> tuple[Row, Snapshot]:
    """The row to change, locked, with what it was; a new row where ``key`` is None, and nothing.

    Raises:
        ChangedMeanwhile: it was changed since ``version`` was read.
        NotFound: there is none.
    """
    if key is None:
        return model(), {}
    row: Row = locked(session, model, key)
    before = read(row)
    refuse_stale(before, version)
    return row, before


def refuse_stale(before: Snapshot, version: str | None) -> None:
    """Let a change pass that was made to these values; None stands for a change that does not care.

    Raises:
        ChangedMeanwhile: it was made to others; ``snapshot`` holds the values of now.
    """
    if version is not None and version != version_of(before):
        raise ChangedMeanwhile(snapshot=before)


def taken(session: Session, column: Any, value: str, key: Any) -> bool:
    """Whether another row has this value."""
    primary = column.class_.__mapper__.primary_key[0]
    wanted = select(primary).where(column == value)
    return session.execute(wanted if key is None else wanted.where(primary != key)).first() is not None


def keep(session: Session, agent: SupportAgent, kind: str, row: Any, before: Snapshot, read: ReadSnapshot,
         now: datetime, *, unique: str = "name") -> None:
    """Store a changed or new row and write what changed into the audit log; where nothing did, nothing is written.

    Raises:
        InvalidSettings: somebody has just stored the same ``unique`` value.
    """
    session.add(row)
    flush(session, unique)
    changed = changes(before, read(row))
    if changed:
        record_change(session, agent, "change" if before else "create", kind, _key_of(row), changed, now)


def flush(session: Session, unique: str) -> None:
    """Write what is pending.

    Raises:
        InvalidSettings: somebody has just stored the same ``unique`` value.
    """
    try:
        session.flush()
    except IntegrityError as error:
        raise InvalidSettings(problems={unique: Refusal("taken")}) from error


def record_change(session: Session, agent: SupportAgent, action: str, kind: str, key: Any,
                  changed: Mapping[str, Any], now: datetime) -> None:
    """Write a change of a setting into the audit log."""
    audit.record(session, actor_kind="agent", actor_id=agent.id, action=action, object_kind=kind, object_id=key,
                 data={"changes": dict(changed)}, now=now)


def fields_of(row: Any, names: Sequence[str]) -> Snapshot:
    """The snapshot of a row that keeps its fields as they are."""
    return {name: getattr(row, name) for name in names}


def _key_of(row: Any) -> Any:
    return getattr(row, type(row).__mapper__.primary_key[0].key)

"""Writes the audit log: who changed or looked at what, and when."""
from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy.orm import Session

from crm_store.models import AuditEntry


def record(
    session: Session, *, actor_kind: str, actor_id: int | None, action: str, object_kind: str, object_id: int | str,
    data: Mapping[str, Any] | None = None, now: datetime,
) -> None:
    """Add one line to the audit log, in the unit of work of the change itself.

    Args:
        session: the unit of work.
        actor_kind: "agent", "customer", "bot" or "system".
        actor_id: the actor's id where it has one.
        action: what was done, a verb such as "claim".
        object_kind: what it was done to, such as "conversation".
        object_id: its id.
        data: details worth keeping; no message text, no secrets.
        now: when.
    """
    session.add(AuditEntry(actor_kind=actor_kind, actor_id=actor_id, action=action, object_kind=object_kind,
                           object_id=str(object_id), data=dict(data or {}), created_at=now))

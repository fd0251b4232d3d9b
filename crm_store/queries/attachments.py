"""The attachments of messages, as pages show them."""
from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

from sqlalchemy import select
from sqlalchemy.orm import Session

from crm_store.models import Attachment
from crm_store.rules.attachments import is_image


@dataclass(frozen=True)
class AttachmentRow:
    """One attachment. ``file``: there is one to download; ``image``: and it may be shown as a picture."""

    token: str
    name: str
    kind: str
    size: int
    state: Literal["waiting", "kept", "refused"]
    reason: str | None
    file: bool
    image: bool
    place: tuple[float, float] | None = None


def attachments_of(session: Session, message_ids: Collection[int]) -> dict[int, list[AttachmentRow]]:
    """The attachments of some messages, in their order, by message; no entry where there are none."""
    found: dict[int, list[AttachmentRow]] = {}
    if not message_ids:
        return found
    rows = session.execute(
        select(Attachment.message_id, Attachment.token, Attachment.name, Attachment.kind, Attachment.size,
               Attachment.state, Attachment.reason, Attachment.media_type, Attachment.sha256, Attachment.latitude,
               Attachment.longitude)
        .where(Attachment.message_id.in_(list(message_ids))).order_by(Attachment.id))
    for row in rows:
        has_file = row.state == "kept" and row.sha256 is not None
        place = None if row.latitude is None or row.longitude is None else (row.latitude, row.longitude)
        found.setdefault(row.message_id, []).append(AttachmentRow(
            row.token, row.name, row.kind, row.size, row.state, row.reason, has_file,
            has_file and is_image(row.media_type), place))
    return found

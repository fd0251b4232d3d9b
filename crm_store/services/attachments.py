"""Keeps what customers send besides words, and has what lies at a channel fetched from there.

A file that has to be fetched is a row in state ``waiting``, written with its message. Whoever fetches it claims it for
the length of a lease; a process that dies leaves a lease that runs out, and the next look finds the row again. The
number of the attempt is the right to note what came of it.
"""
from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import select
from sqlalchemy.orm import Session

from crm_store.attachment_files import TOKEN, AttachmentFiles, new_token, place_of
from crm_store.errors import NotFound
from crm_store.models import Attachment, ChannelIdentity, Conversation, Message, SupportAgent
from crm_store.rules.attachments import Content, safe_name
from crm_store.services.access import access_conversation
from crm_store.services.locking import lock_conversation

LEASE = timedelta(minutes=5)  # longer than a file takes
MOST_ATTEMPTS = 12  # about an hour and a half
GONE_AFTER = 3  # attempts after which what the channel does not find is believed to be gone
FIRST_DELAY = timedelta(seconds=5)
LONGEST_DELAY = timedelta(minutes=15)
AT_ONCE = 32
SOURCE_LIMIT = 250
SWEPT_AT_ONCE = 500
TOO_LARGE, GONE, KIND, EMPTY, FAILED, BLOCKED = "too_large", "gone", "kind", "empty", "failed", "blocked"
# Written out, not bound: SQLite uses a partial index only where it can see its condition.
_WAITING = sa.text("attachments.state = 'waiting'")
# The sign keeps SQLite from going through all attachments in the order of an index on the column.
_WHOSE = sa.literal_column("+attachments.identity_id")


@dataclass(frozen=True)
class Fetch:
    """A file in the hands of whoever fetches it. ``attempt`` is the right to note what came of it."""

    attachment_id: int
    attempt: int
    token: str
    channel: str
    address: str
    source: str


@dataclass(frozen=True)
class KeptFile:
    """A file that lies in its place."""

    content: Content
    size: int
    sha256: str


def await_file(session: Session, message: Message, *, kind: str, name: object, source: str, size: int | None,
               limit: int, now: datetime) -> Attachment:
    """A message came with a file that has to be fetched; refused at once where its size is known to be too large.

    Args:
        session: the unit of work that stores the message.
        message: which it belongs to.
        kind: "photo", "document" and so on.
        name: what the sender called it, if anything.
        source: what the channel calls it.
        size: bytes, as far as the channel tells.
        limit: bytes a file may have.
        now: when.
    """
    attachment = _attachment(message, kind, safe_name(name, kind), now)
    attachment.source, attachment.size = source, max(0, min(size or 0, 2**62))
    if len(source) > SOURCE_LIMIT or not source:
        attachment.source, attachment.state, attachment.reason = None, "refused", GONE
    elif size is not None and size > limit:
        attachment.state, attachment.reason = "refused", TOO_LARGE
    session.add(attachment)
    session.flush()
    return attachment


def keep_file(session: Session, message: Message, *, token: str, name: object, file: KeptFile,
              now: datetime) -> Attachment:
    """A message came with a file that lies in its place already."""
    content = file.content
    attachment = _attachment(message, content.kind, safe_name(name, content.kind, content.media_type), now)
    attachment.token, attachment.state = token, "kept"
    _fill(attachment, file)
    session.add(attachment)
    session.flush()
    return attachment


def refuse_file(session: Session, message: Message, *, kind: str, name: object, reason: str,
                now: datetime) -> Attachment:
    """A message came with a file that is not kept; agents read why."""
    attachment = _attachment(message, kind, safe_name(name, kind), now)
    attachment.state, attachment.reason = "refused", reason
    session.add(attachment)
    session.flush()
    return attachment


def keep_words(session: Session, message: Message, *, kind: str, name: object, now: datetime,
               place: tuple[float, float] | None = None) -> Attachment:
    """A message came with something that is no file: a place (latitude, longitude), a contact, a moving sticker."""
    attachment = _attachment(message, kind, safe_name(name, kind), now)
    attachment.state = "kept"
    if place is not None:
        attachment.latitude, attachment.longitude = place
    session.add(attachment)
    session.flush()
    return attachment


def files_waiting(session: Session, channel: str, now: datetime, besides: Collection[int] = ()) -> list[int]:
    """The attachments whose file may be fetched now: everybody's first before anybody's second, the oldest first."""
    place = sa.func.row_number().over(partition_by=_WHOSE, order_by=Attachment.id).label("place")
    waiting = (  # what is being fetched counts too
        select(Attachment.id, Attachment.identity_id, Attachment.next_attempt_at, place).where(_WAITING).subquery())
    return list(session.execute(
        select(waiting.c.id).join(ChannelIdentity, ChannelIdentity.id == waiting.c.identity_id)
        .where(ChannelIdentity.channel == channel, waiting.c.id.not_in(besides),
               sa.or_(waiting.c.next_attempt_at.is_(None), waiting.c.next_attempt_at <= now))
        .order_by(waiting.c.place, waiting.c.id).limit(AT_ONCE)).scalars())


def claim_file(session: Session, attachment_id: int, now: datetime) -> Fetch | None:
    """Take a file to fetch, for the length of a lease; None where it is not to be fetched now. Commit before fetching.

    One that was claimed too often and never came is given up: it may be what kills whoever fetches it.
    """
    attachment = _locked(session, attachment_id)
    if attachment is None or attachment.state != "waiting":
        return None
    if attachment.next_attempt_at is not None and attachment.next_attempt_at > now:
        return None
    if attachment.attempts >= MOST_ATTEMPTS:
        _refuse(session, attachment, FAILED, now)
        return None
    attachment.attempts, attachment.next_attempt_at = attachment.attempts + 1, now + LEASE
    session.flush()
    identity = session.get(ChannelIdentity, attachment.identity_id)
    return Fetch(attachment.id, attachment.attempts, attachment.token, identity.channel, identity.external_id,
                 attachment.source)


def note_file(session: Session, fetch: Fetch, file: KeptFile, now: datetime) -> bool:
    """The file lies in its place; False where nobody waits for it any more, and it is to be deleted."""
    attachment = _locked(session, fetch.attachment_id)
    if attachment is None:
        return False
    if attachment.state == "waiting":
        attachment.state, attachment.next_attempt_at = "kept", None
        attachment.name = safe_name(attachment.name, attachment.kind, file.content.media_type)
        _fill(attachment, file)
        _show(session, attachment, now)
    return bool(attachment.state == "kept")


def note_refused(session: Session, fetch: Fetch, reason: str, now: datetime) -> Attachment | None:
    """The file is not kept, and agents read why; None where somebody else has noted what came of it."""
    attachment = _held(session, fetch)
    if attachment is not None:
        _refuse(session, attachment, reason, now)
    return attachment


def note_put_off(session: Session, fetch: Fetch, until: datetime) -> None:
    """The channel wants to be left alone; that counts for nothing."""
    attachment = _held(session, fetch)
    if attachment is not None:
        attachment.attempts, attachment.next_attempt_at = attachment.attempts - 1, until
        session.flush()


def note_failed(session: Session, fetch: Fetch, now: datetime, *, missing: bool) -> Attachment | None:
    """The file did not come; it is tried again with growing pauses, and given up in the end.

    Args:
        session: the unit of work.
        fetch: what was tried.
        now: when.
        missing: the channel says that it has no such file, which it also says of one that it cannot reach just now.

    Returns:
        The attachment where it was given up.
    """
    attachment = _held(session, fetch)
    if attachment is None:
        return None
    if attachment.attempts >= (GONE_AFTER if missing else MOST_ATTEMPTS):
        _refuse(session, attachment, GONE if missing else FAILED, now)
        return attachment
    attachment.next_attempt_at = now + min(FIRST_DELAY * 2 ** (attachment.attempts - 1), LONGEST_DELAY)
    session.flush()
    return None


def attachment_of_visitor(session: Session, identity_id: int | None, token: str) -> Attachment:
    """A kept file of the very person who asks.

    Raises:
        NotFound: there is none, or it is somebody else's; nobody can tell which.
    """
    found: Attachment | None = session.execute(
        select(Attachment).where(*_file_of(token), Attachment.identity_id == identity_id)).scalar_one_or_none()
    if found is None:
        raise NotFound(token=token)
    return found


def access_attachment(session: Session, agent: SupportAgent, token: str) -> tuple[Attachment, int]:
    """A kept file of a conversation that this agent may see, and the conversation's id.

    Raises:
        NotFound: there is none, or they may not see it; nobody can tell which.
    """
    row = session.execute(
        select(Attachment, Message.conversation_id).join(Message, Message.id == Attachment.message_id)
        .where(*_file_of(token))).one_or_none()
    if row is None:
        raise NotFound(token=token)
    access_conversation(session, agent, row.conversation_id)
    return row.Attachment, int(row.conversation_id)


def tokens_unknown(session: Session, tokens: Sequence[str]) -> list[str]:
    """Those of some tokens that belong to no attachment that is kept or waited for."""
    known = set(session.execute(
        select(Attachment.token).where(Attachment.token.in_(tokens), Attachment.state != "refused")).scalars())
    return [token for token in tokens if token not in known]


def sweep_files(session: Session, files: AttachmentFiles, now: datetime) -> int:
    """Delete the old files that no attachment knows, which a crash left behind; how many."""
    unfinished, tokens = files.strays(now)
    for path in unfinished:
        path.unlink(missing_ok=True)
    gone = len(unfinished)
    for begin in range(0, len(tokens), SWEPT_AT_ONCE):
        unknown = tokens_unknown(session, tokens[begin:begin + SWEPT_AT_ONCE])
        gone += files.delete(place_of(token) for token in unknown)
    return gone


def forget_attachments(session: Session, wanted: Any) -> tuple[int, list[Path]]:
    """Delete attachments; what is left to do after the commit is to delete their files.

    Args:
        session: the unit of work.
        wanted: the SQL condition on ``Attachment`` that holds for them.

    Returns:
        How many went, and the places of their files inside the attachments' folder, for ``AttachmentFiles.delete``. A
        file whose deletion is missed is a stray, and swept at night.
    """
    tokens = list(session.execute(
        select(Attachment.token).where(wanted, Attachment.state != "refused")).scalars())
    gone = session.execute(sa.delete(Attachment).where(wanted).execution_options(synchronize_session=False))
    return int(gone.rowcount), [place_of(token) for token in tokens]


def _file_of(token: str) -> tuple[Any, ...]:
    """The conditions that hold for the kept file of a token."""
    known = token if TOKEN.fullmatch(token) else ""  # no database is asked for what it could not hold
    return Attachment.token == known, Attachment.state == "kept", Attachment.sha256.is_not(None)


def _attachment(message: Message, kind: str, name: str, now: datetime) -> Attachment:
    return Attachment(message_id=message.id, identity_id=message.identity_id, token=new_token(), kind=kind, name=name,
                      media_type="application/octet-stream", size=0, state="waiting", attempts=0, created_at=now)


def _fill(attachment: Attachment, file: KeptFile) -> None:
    attachment.media_type, attachment.size, attachment.sha256 = file.content.media_type, file.size, file.sha256


def _locked(session: Session, attachment_id: int) -> Attachment | None:
    """The attachment as it is now, with its conversation locked before it as everywhere."""
    conversation_id = session.execute(
        select(Message.conversation_id).join(Attachment, Attachment.message_id == Message.id)
        .where(Attachment.id == attachment_id)).scalar_one_or_none()
    try:
        lock_conversation(session, conversation_id)
    except NotFound:  # forgotten, or being forgotten
        return None
    found: Attachment | None = session.execute(
        select(Attachment).where(Attachment.id == attachment_id).with_for_update()
        .execution_options(populate_existing=True)).scalar_one_or_none()
    return found


def _held(session: Session, fetch: Fetch) -> Attachment | None:
    """The attachment, if this attempt is still the one that counts."""
    found = _locked(session, fetch.attachment_id)
    counts = found is not None and found.state == "waiting" and found.attempts == fetch.attempt
    return found if counts else None


def _refuse(session: Session, attachment: Attachment, reason: str, now: datetime) -> None:
    attachment.state, attachment.reason, attachment.next_attempt_at = "refused", reason, None
    _show(session, attachment, now)


def _show(session: Session, attachment: Attachment, now: datetime) -> None:
    """Have open pages look at the conversation again."""
    message = session.get(Message, attachment.message_id)
    session.get(Conversation, message.conversation_id).updated_at = now
    session.flush()

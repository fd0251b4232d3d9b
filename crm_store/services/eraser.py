"""Carries erasures through: the rows, then the files, then the proof. Every step may be the last before a crash.

The tombstone reaches the disk before the rows go, and the names of the files that must go are stored with the rows'
end, so whoever looks next (the service does every few minutes) finishes what was begun.
"""
from __future__ import annotations

import contextlib
import hashlib
import hmac
import json
import os
import sqlite3
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.exc import DBAPIError

from crm_store.attachment_files import FOLDER, AttachmentFiles
from crm_store.database import Store
from crm_store.errors import NotFound, WrongState
from crm_store.models import ChannelIdentity, Customer, Erasure, Tombstone
from crm_store.services import erasure as erasures
from crm_store.services.erasure import hash_of
from crm_store.services.retention import UPLOADS, UPLOADS_KEPT, forget_uploads, keep_periods

TOMBSTONES = "tombstones.jsonl"
OUTBOX = "outbox.log"
TRIES = 3
REWRITTEN_UP_TO = 512 * 1024 * 1024  # bytes of an SQLite file: about two seconds in which nobody can write
AT_ONCE = 500


def erasure_key(secret: str) -> bytes:
    """The key of tombstones and reports, made from the service's secret."""
    return hmac.new(secret.encode(), b"warmline.erasure", hashlib.sha256).digest()


@dataclass(frozen=True)
class Eraser:
    """Where personal data lies beside the tables, and the key of the proof.

    Attributes:
        store: the CRM store.
        folder: the data folder.
        key: from :func:`erasure_key`.
        rewrite: writes anew, from the store as it is now, what was made of customers' words; how many files.
    """

    store: Store
    folder: Path
    key: bytes
    rewrite: Callable[[], int] = lambda: 0

    def look(self, now: datetime) -> list[int]:
        """Carry out every erasure that is due, and finish those that were begun; which came to their end."""
        forget_uploads(self.folder / UPLOADS, now - UPLOADS_KEPT)
        with self.store.read() as session:
            due, begun = erasures.erasures_due(session, now), erasures.erasures_unproven(session, now)
        done = [each for each in due if self.erase(each, now) is not None]
        return done + [each for each in begun if self.finish(each, now, None) is not None]

    def erase(self, erasure_id: int, now: datetime) -> Erasure | None:
        """Carry out one erasure; None where there was nothing to do, or it has to be tried again later."""
        forgotten = None
        for attempt in range(TRIES):
            try:
                with self.store.write() as session:
                    done = erasures.carry_out(session, erasure_id, key=self.key, now=now)
                    if done is None:
                        return None
                    forgotten = done[1]
                    self._lay_tombstones(session.execute(
                        select(Tombstone).where(Tombstone.erased_at == now)).scalars().all())
                break
            except WrongState:
                return None
            except NotFound:
                self._drop(erasure_id, now)
                return None
            except DBAPIError:  # a deadlock or a busy store: what was done is undone
                if attempt == TRIES - 1:
                    raise
        assert forgotten is not None
        return self.finish(erasure_id, now, forgotten.words)

    def finish(self, erasure_id: int, now: datetime, words: Sequence[str] | None) -> Erasure:
        """Delete the files of an erasure, clean the database's own pages, sign the report.

        Args:
            erasure_id: which.
            now: when.
            words: what to look for; None where a crash has taken it along.
        """
        with self.store.read() as session:
            names = list(session.execute(select(Erasure.files).where(Erasure.id == erasure_id)).scalar_one())
        AttachmentFiles(self.folder / FOLDER).delete(Path(name) for name in names)
        files = {"attachments": len(names), OUTBOX: self._clean_outbox(words), "training_data": self.rewrite(),
                 "uploads": forget_uploads(self.folder / UPLOADS, now)}  # anybody may stand in them
        with self.store.read() as session:
            searched = erasures.search_again(session, words) if words is not None else None
        with self.store.write() as session:
            proven = erasures.prove(session, erasure_id, key=self.key, files=files, searched=searched, now=now)
        self.scrub()
        return proven

    def scrub(self) -> bool:
        """Take out of the database's files what its rows no longer say; False where somebody is in the way."""
        if self.store.engine.dialect.name == "postgresql":
            with self.store.engine.connect() as connection:
                connection.execution_options(isolation_level="AUTOCOMMIT").exec_driver_sql("VACUUM (ANALYZE)")
            return True
        connection = self.store.engine.raw_connection()
        try:
            cursor = connection.cursor()
            (size,) = cursor.execute(
                "SELECT page_count * page_size FROM pragma_page_count, pragma_page_size").fetchone()
            if size <= REWRITTEN_UP_TO:
                cursor.execute("VACUUM")
            return bool(cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0] == 0)
        except sqlite3.OperationalError:  # somebody reads or writes; the next night does it
            return False
        finally:
            connection.close()

    def replay(self, now: datetime) -> list[int]:
        """Erase again whom a restored backup or an import brought back; the erasures that came of it."""
        with self.store.write() as session:
            kept = {(each.kind, each.hash) for each in session.execute(select(Tombstone)).scalars()}
            for kind, hashed, at in self._laid():
                if (kind, hashed) not in kept:
                    session.add(Tombstone(kind=kind, hash=hashed, erased_at=at))
                    kept.add((kind, hashed))
        asked = [self._ask(kind, each, now) for kind, each in self._returned(now)]
        return [each for each in asked if self.erase(each, now) is not None]

    def keep_periods(self, now: datetime) -> dict[str, int]:
        """Take away what was kept long enough; how many of what."""
        return keep_periods(self.store, self.folder, now)

    def _ask(self, kind: str, row_id: int, now: datetime) -> int:
        with self.store.write() as session:
            if kind == "customer":
                return int(erasures.ask_erasure(session, row_id, asked_by="tombstone", now=now, due_at=now).id)
            asked = Erasure(identity_id=row_id, state="asked", asked_by="tombstone", asked_at=now, due_at=now, files=[])
            session.add(asked)
            session.flush()
            return int(asked.id)

    def _returned(self, now: datetime) -> Iterator[tuple[str, int]]:
        """Customers and guests who stand under a tombstone that is younger than they are."""
        with self.store.read() as session:
            stones = {(each.kind, each.hash): each.erased_at for each in session.execute(select(Tombstone)).scalars()}
            customers = session.execute(
                select(Customer.id, Customer.number).where(Customer.erased_at.is_(None))
                .order_by(Customer.id).execution_options(yield_per=AT_ONCE))
            found = [("customer", row.id) for row in customers
                     if ("customer", hash_of("customer", row.number, self.key)) in stones]
            guests = session.execute(
                select(ChannelIdentity.id, ChannelIdentity.channel, ChannelIdentity.external_id,
                       ChannelIdentity.created_at)
                .where(ChannelIdentity.customer_id.is_(None)).order_by(ChannelIdentity.id)
                .execution_options(yield_per=AT_ONCE))
            for row in guests:
                at = stones.get(("identity", hash_of("identity", f"{row.channel}:{row.external_id}", self.key)))
                if at is not None and row.created_at <= at:  # who came back since is a new guest
                    found.append(("identity", row.id))
        return iter(found)

    def _drop(self, erasure_id: int, now: datetime) -> None:
        """Whom it is about is gone already."""
        with contextlib.suppress(WrongState), self.store.write() as session:
            erasures.cancel_erasure(session, erasure_id, now=now)

    def _lay_tombstones(self, stones: Sequence[Tombstone]) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        lines = "".join(
            json.dumps({"kind": each.kind, "hash": each.hash, "erased_at": each.erased_at.isoformat()}) + "\n"
            for each in stones)
        with (self.folder / TOMBSTONES).open("a", encoding="utf8") as file:
            file.write(lines)
            file.flush()
            os.fsync(file.fileno())

    def _laid(self) -> Iterator[tuple[str, str, datetime]]:
        path = self.folder / TOMBSTONES
        for line in path.read_text(encoding="utf8").splitlines() if path.exists() else ():
            with contextlib.suppress(ValueError, KeyError):  # a line that a crash cut short
                said = json.loads(line)
                yield said["kind"], said["hash"], datetime.fromisoformat(said["erased_at"])

    def _clean_outbox(self, words: Sequence[str] | None) -> int:
        """Take the lines out of the demo's outbox that name the person; all of it where nobody knows any more whom."""
        path = self.folder / OUTBOX
        if not path.exists():
            return 0
        lines = path.read_text(encoding="utf8").splitlines(keepends=True)
        kept = [line for line in lines if words is not None and not any(word in line for word in words)]
        if len(kept) < len(lines):
            with tempfile.NamedTemporaryFile("w", dir=self.folder, delete=False, encoding="utf8") as fresh:
                fresh.writelines(kept)
            os.replace(fresh.name, path)
        return len(lines) - len(kept)

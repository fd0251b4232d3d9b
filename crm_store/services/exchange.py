"""Imports files of the shop: all rows are checked before any is stored, then they are stored in short units of work.

SQLite has one writer, so no unit of work holds the store for longer than some hundred rows take, and what is read and
reckoned is read and reckoned outside it. How far an import has come is stored with the rows themselves: one that was
killed has whole rows in the store, none of them half, and the same file again goes on where it ended. An order and its
points are in one unit of work.
"""
from __future__ import annotations

import hashlib
import pickle
import secrets
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from itertools import islice
from typing import Any, BinaryIO
from zoneinfo import ZoneInfo

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from crm_store.database import Store
from crm_store.errors import ImportUnderWay, NotFound, WrongState
from crm_store.models import Import
from crm_store.rules.exchange_files import ExchangeFile, Row, RowError
from crm_store.services import audit
from crm_store.services.exchange_customers import store_articles, store_customers, store_products
from crm_store.services.exchange_orders import store_orders
from crm_store.services.exchange_points import store_points
from crm_store.services.exchange_rows import OUTCOMES, Batch

ROWS_AT_ONCE = 250
PAUSE_SECONDS = 0.01  # on SQLite others look for the writer every few milliseconds; without a gap they may look in vain
ERRORS_KEPT = 500
LEASE = timedelta(minutes=1)  # far longer than some hundred rows take
ATTEMPTS = 3
STORES: Mapping[str, Callable[[Batch], None]] = {
    "customers": store_customers, "products": store_products, "orders": store_orders, "points": store_points,
    "articles": store_articles}
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Wanted:
    """An import as it is asked for.

    Attributes:
        kind: what the file holds.
        name: what the file is called.
        zone: where a time without a zone is meant.
        skip_wrong: store the rows that are right even where others are wrong.
        form: "csv" or "jsonl"; by its first sign where it is left out.
        agent_id: who brings it, at the desk.
        token_id: which program brings it.
    """

    kind: str
    name: str
    zone: ZoneInfo
    skip_wrong: bool = False
    form: str | None = None
    agent_id: int | None = None
    token_id: int | None = None


@dataclass(frozen=True)
class _Part:
    """Some rows of a file: how many, those that can be read, and what is wrong with the others."""

    count: int
    rows: list[Row]
    errors: list[RowError]


@dataclass(frozen=True)
class _Step:
    """Which rows of which import a unit of work stores: all up to ``at``."""

    kind: str
    import_id: int
    worker: str
    at: int


@dataclass
class Report:
    """What became, or would become, of a file.

    Attributes:
        rows: how many there are.
        counts: rows by what became of them (``OUTCOMES``).
        errors: the first of what is wrong.
        errors_total: how much is wrong.
        ignored: headings that name no column.
        state: of the import; "checked" where nothing was to be stored.
        resumed_at: how many rows an earlier attempt had stored already.
        import_id: names it; None where nothing was to be stored.
    """

    rows: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    errors: list[RowError] = field(default_factory=list)
    errors_total: int = 0
    ignored: list[str] = field(default_factory=list)
    state: str = "checked"
    resumed_at: int = 0
    import_id: int | None = None

    def add(self, errors: list[RowError]) -> None:
        """Count what is wrong, and keep the first of it."""
        self.errors_total += len(errors)
        self.errors += errors[:max(0, ERRORS_KEPT - len(self.errors))]


def check_file(store: Store, stream: BinaryIO, wanted: Wanted, key: bytes, now: datetime,
               progress: Progress | None = None, kept: BinaryIO | None = None) -> Report:
    """Look what would become of a file; nothing is stored.

    Args:
        store: the CRM store.
        stream: the file.
        wanted: what is asked for.
        key: what tombstones were made with.
        now: when.
        progress: is told "check", the rows looked at so far, and 0, as nobody knows yet how many there are.
        kept: a file of this process alone, to keep what was read in.

    Raises:
        FileError: the file cannot be read, or not to its end.
    """
    file = ExchangeFile(stream, wanted.kind, wanted.zone, wanted.form)
    report, memory = Report(), dict[str, Any]()
    for part in _parts(file):
        if kept is not None:
            pickle.dump(part, kept, pickle.HIGHEST_PROTOCOL)
        with store.read() as session:
            batch = Batch(session, part.rows, now, False, key, memory)
            STORES[wanted.kind](batch)
        report.rows += part.count
        report.counts.update([*batch.outcomes.values(), *["wrong"] * (part.count - len(part.rows))])
        report.add(part.errors + batch.errors)
        if progress:
            progress("check", report.rows, 0)
    report.errors.sort(key=lambda error: error.line)
    report.ignored = file.ignored
    return report


def import_file(store: Store, stream: BinaryIO, wanted: Wanted, key: bytes, clock: Callable[[], datetime],
                progress: Progress | None = None) -> Report:
    """Check a file and store it: all of it, or nothing where rows are wrong and are not to be skipped.

    Args:
        store: the CRM store.
        stream: the file.
        wanted: what is asked for.
        key: what tombstones were made with.
        clock: the time.
        progress: is told "check" or "store", the rows done, and how many there are, 0 while nobody knows.

    Raises:
        FileError: the file cannot be read; nothing was stored.
        ImportUnderWay: the same file is being imported by another process.
    """
    with tempfile.TemporaryFile(prefix="warmline-") as kept:
        report = check_file(store, stream, wanted, key, clock(), progress, kept)
        with store.write() as session:
            found = begin_import(session, wanted, digest_of(stream), report, clock())
            report.import_id, report.state, report.resumed_at = found.id, found.state, found.rows_done
            if report.state == "refused":
                return report
            taken = _claim(session, found.id, clock())
        return _store_parts(store, lambda _: _kept_parts(kept), taken, key, clock, progress)


def begin_import(session: Session, wanted: Wanted, sha256: str, report: Report, now: datetime) -> Import:
    """Keep a checked file as an import that is ready, or refused; one of the same file that was cut off goes on."""
    before: Import | None = session.execute(
        select(Import).where(Import.sha256 == sha256, Import.kind == wanted.kind, Import.state == "running",
                             Import.time_zone == wanted.zone.key, Import.skip_wrong == wanted.skip_wrong)
        .order_by(Import.id.desc()).limit(1).with_for_update()).scalar_one_or_none()
    if before is not None:
        return before
    refused = bool(report.errors_total) and not wanted.skip_wrong
    started = Import(
        kind=wanted.kind, name=wanted.name[:200] or "-", sha256=sha256, time_zone=wanted.zone.key,
        skip_wrong=wanted.skip_wrong, state="refused" if refused else "ready", rows=report.rows, rows_done=0,
        counts=dict(report.counts), errors=[asdict(error) for error in report.errors],
        errors_total=report.errors_total, ignored=report.ignored, agent_id=wanted.agent_id, token_id=wanted.token_id,
        created_at=now)
    session.add(started)
    session.flush()
    _audit(session, started, "import_refused" if refused else "import_checked", now)
    return started


def store_import(store: Store, stream: BinaryIO, import_id: int, key: bytes, clock: Callable[[], datetime],
                 progress: Progress | None = None) -> Report:
    """Store an import that is ready, or go on with one that was cut off.

    Raises:
        NotFound: there is no such import.
        WrongState: it is over.
        ImportUnderWay: another process has it.
        FileError: the file cannot be read.
    """
    def parts(taken: Import) -> Iterator[_Part]:
        return _parts(ExchangeFile(stream, taken.kind, ZoneInfo(taken.time_zone)))

    with store.write() as session:
        taken = _claim(session, import_id, clock())
    return _store_parts(store, parts, taken, key, clock, progress)


def _store_parts(store: Store, parts: Callable[[Import], Iterator[_Part]], taken: Import, key: bytes,
                 clock: Callable[[], datetime], progress: Progress | None) -> Report:
    import_id, worker, done = taken.id, taken.worker, taken.rows_done
    try:
        memory, at = dict[str, Any](), 0
        one_writer = store.engine.dialect.name == "sqlite"
        for part in parts(taken):
            at += part.count
            if at > done:
                _store_part(store, _Step(taken.kind, import_id, worker, at), part, key, clock, memory)
                if progress:
                    progress("store", at, taken.rows)
                if one_writer:
                    time.sleep(PAUSE_SECONDS)
    finally:  # whatever went wrong, the next attempt need not wait for the lease
        with store.write() as session:
            ended = _own(session, import_id, worker)
            ended.worker = ended.worker_until = None
            if ended.rows_done >= ended.rows:
                ended.state, ended.finished_at = "done", clock()
                _audit(session, ended, "import_done", clock())
            report = report_of(ended, done)
    return report


def imports_lately(session: Session, limit: int = 20) -> list[Import]:
    """The newest imports, the newest first."""
    return list(session.execute(select(Import).order_by(Import.id.desc()).limit(limit)).scalars())


def find_import(session: Session, import_id: int) -> Import:
    """An import by its id.

    Raises:
        NotFound: there is none.
    """
    found: Import | None = session.get(Import, import_id)
    if found is None:
        raise NotFound(import_id=import_id)
    return found


def digest_of(stream: BinaryIO) -> str:
    """The SHA-256 of a file."""
    stream.seek(0)
    digest = hashlib.sha256()
    while piece := stream.read(1 << 20):
        digest.update(piece)
    return digest.hexdigest()


def _parts(file: ExchangeFile) -> Iterator[_Part]:
    """Some hundred rows at a time: those that can be read, and whose key is new in this file."""
    rows, seen = iter(file), dict[str, int]()
    while found := list(islice(rows, ROWS_AT_ONCE)):
        part = _Part(len(found), [], [])
        for each in found:
            if isinstance(each, list):
                part.errors.extend(each)
            elif each.key in seen:
                part.errors.append(RowError(each.line, None, "same_key", {"line": seen[each.key]}))
            else:
                seen[each.key] = each.line
                part.rows.append(each)
        yield part


def _kept_parts(kept: BinaryIO) -> Iterator[_Part]:
    """What this process has read before."""
    kept.seek(0)
    while True:
        try:
            yield pickle.load(kept)
        except EOFError:
            return


def _store_part(store: Store, step: _Step, part: _Part, key: bytes, clock: Callable[[], datetime],
                memory: dict[str, Any]) -> None:
    """Store some rows and how far the import has come, in one unit of work."""
    for attempt in range(1, ATTEMPTS + 1):
        try:
            with store.write() as session:
                mine = _own(session, step.import_id, step.worker)
                batch = Batch(session, part.rows, clock(), True, key, memory)
                STORES[step.kind](batch)
                errors = sorted(part.errors + batch.errors, key=lambda error: error.line)
                mine.rows_done, mine.worker_until = step.at, clock() + LEASE
                mine.counts = _sum(mine.counts, Counter(batch.outcomes.values()), part.count - len(part.rows))
                mine.errors = (mine.errors + [asdict(error) for error in errors])[:ERRORS_KEPT]
                mine.errors_total += len(errors)
        except IntegrityError:  # somebody else stored the same number or phone since this batch looked
            if attempt == ATTEMPTS:
                raise
        else:
            return


def _claim(session: Session, import_id: int, now: datetime) -> Import:
    taken: Import | None = session.execute(
        select(Import).where(Import.id == import_id).with_for_update().execution_options(populate_existing=True)
    ).scalar_one_or_none()
    if taken is None:
        raise NotFound(import_id=import_id)
    if taken.state not in ("ready", "running"):
        raise WrongState(state=taken.state)
    if taken.worker is not None and taken.worker_until is not None and taken.worker_until > now:
        raise ImportUnderWay(import_id=import_id)
    if taken.state == "ready":  # what was found when it was checked is found again when it is stored
        taken.counts, taken.errors, taken.errors_total = {}, [], 0
    taken.state, taken.worker, taken.worker_until = "running", secrets.token_hex(8), now + LEASE
    session.flush()
    return taken


def _own(session: Session, import_id: int, worker: str) -> Import:
    mine: Import = session.execute(
        select(Import).where(Import.id == import_id).with_for_update().execution_options(populate_existing=True)
    ).scalar_one()
    if mine.worker != worker:
        raise ImportUnderWay(import_id=import_id)
    return mine


def report_of(found: Import, resumed_at: int = 0) -> Report:
    """What became of an import so far."""
    return Report(found.rows, Counter(found.counts), [RowError(**error) for error in found.errors], found.errors_total,
                  list(found.ignored), found.state, resumed_at, found.id)


def _sum(before: Mapping[str, int], more: Counter[str], unreadable: int) -> dict[str, int]:
    more["wrong"] += unreadable
    return {name: total for name in OUTCOMES if (total := before.get(name, 0) + more[name])}


def _audit(session: Session, found: Import, action: str, now: datetime) -> None:
    audit.record(session, actor_kind="agent" if found.agent_id else "system", actor_id=found.agent_id, action=action,
                 object_kind="import", object_id=found.id, now=now, data={
                     "kind": found.kind, "rows": found.rows, "counts": dict(found.counts), "errors": found.errors_total,
                     "token_id": found.token_id})

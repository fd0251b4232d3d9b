"""Opens the CRM store on SQLite or PostgreSQL and hands out sessions (units of work)."""
from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.engine import Connection, Dialect, Engine
from sqlalchemy.exc import InvalidatePoolError, OperationalError
from sqlalchemy.orm import Session, sessionmaker
from sqlalchemy.pool import QueuePool
from sqlalchemy.sql import Executable
from sqlalchemy.types import TypeDecorator

SQLITE_BUSY_TIMEOUT_MS = 30_000
SQLITE_LOOK_MS = 5
PING_AFTER_SECONDS = 1.0

Result = TypeVar("Result")


class UtcDateTime(TypeDecorator):  # type: ignore[type-arg]
    """A point in time, aware and in UTC on both sides; naive values are refused.

    SQLite has no time zones, so the zone is dropped on the way in and put back on the way out.
    """

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Refuse a naive time and turn any other into UTC."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a time without a time zone cannot be stored")
        value = value.astimezone(timezone.utc)
        return value.replace(tzinfo=None) if dialect.name == "sqlite" else value

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Give the time back as aware UTC."""
        if value is None:
            return None
        return value.replace(tzinfo=timezone.utc) if value.tzinfo is None else value.astimezone(timezone.utc)


class Store:
    """One database. ``write()`` opens a unit of work that commits at its end, ``read()`` one that never does.

    On SQLite a writer takes the write lock when it begins (``BEGIN IMMEDIATE``), so what it reads is still true when
    it writes, as with row locks on PostgreSQL.
    """

    def __init__(self, url: str, **engine_options: Any) -> None:
        """Connect to ``url`` (an SQLAlchemy database URL); nothing is created."""
        self.url = url
        self.engine = create_engine(url, **engine_options)
        self._sessions = sessionmaker(self.engine, future=True, expire_on_commit=False)
        writing = self.engine.execution_options(warmline_write=True)
        self._writing_sessions = sessionmaker(writing, future=True, expire_on_commit=False)
        sqlite = self.engine.dialect.name == "sqlite"
        self._alone = self.engine.execution_options(
            **({"warmline_alone": True} if sqlite else {"isolation_level": "AUTOCOMMIT"}))

    @contextmanager
    def write(self) -> Iterator[Session]:
        """A unit of work: committed when the block ends, rolled back when it raises."""
        with self._writing_sessions() as session, session.begin():
            yield session

    @contextmanager
    def read(self) -> Iterator[Session]:
        """A session for reading: whatever it changed is rolled back when it closes, and what was read stays usable."""
        with self._sessions() as session:
            yield session

    def execute(self, statement: Executable) -> int:
        """Run one statement as a unit of work of its own; how many rows it changed.

        On SQLite nobody else waits for longer than the database itself takes, whatever this process is busy with; on
        PostgreSQL it is one round trip instead of three.
        """
        with self._alone.connect() as connection:
            if self.engine.dialect.name == "sqlite":
                result = _patiently(connection, lambda: connection.execute(statement))
            else:
                result = connection.execute(statement)
            return int(result.rowcount)

    def close(self) -> None:
        """Close every pooled connection."""
        self.engine.dispose()


def create_engine(url: str, **options: Any) -> Engine:
    """An engine with the pragmas and transaction modes that Warmline relies on.

    Args:
        url: an SQLAlchemy URL, ``sqlite:///path`` or ``postgresql+psycopg2://…``.
        **options: passed on to SQLAlchemy.
    """
    if url.startswith("sqlite"):
        # a new connection would cost four pragmas and, at its end, a checkpoint of the log; SQLAlchemy 1.4 pools none
        options.setdefault("poolclass", QueuePool)
        options.setdefault("connect_args", {"check_same_thread": False})
    options.setdefault("pool_size", 20)
    options.setdefault("max_overflow", 20)
    engine = sa.create_engine(url, future=True, **options)
    if engine.dialect.name == "sqlite":
        _prepare_sqlite(engine)
    else:
        _ping_the_idle(engine)
    return engine


def _ping_the_idle(engine: Engine) -> None:
    """Find out before it is used whether a connection still lives, but not of one that was used a moment ago.

    SQLAlchemy's own ``pool_pre_ping`` asks each time, which costs every unit of work a round trip.
    """
    @event.listens_for(engine, "checkin")
    def on_checkin(_connection: Any, record: Any) -> None:
        record.info["used_at"] = time.monotonic()

    @event.listens_for(engine, "checkout")
    def on_checkout(connection: Any, record: Any, _proxy: Any) -> None:
        idle = time.monotonic() - record.info.get("used_at", time.monotonic())
        if idle >= PING_AFTER_SECONDS and not engine.dialect.do_ping(connection):
            raise InvalidatePoolError("the database has closed this connection")


def _prepare_sqlite(engine: Engine) -> None:
    @event.listens_for(engine, "connect")
    def on_connect(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # pysqlite would begin by itself, too late and never IMMEDIATE
        cursor = connection.cursor()
        for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "foreign_keys=ON",
                       f"busy_timeout={SQLITE_BUSY_TIMEOUT_MS}"):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @event.listens_for(engine, "begin")
    def on_begin(connection: Connection) -> None:
        options = connection.get_execution_options()
        if options.get("warmline_write"):
            _patiently(connection, lambda: connection.exec_driver_sql("BEGIN IMMEDIATE"))
        elif not options.get("warmline_alone"):
            connection.exec_driver_sql("BEGIN")


def _patiently(connection: Connection, attempt: Callable[[], Result]) -> Result:
    """Do what needs the write lock; try every few milliseconds, where another process has it.

    SQLite itself looks ever more seldom, at last every 100 ms: whoever came early waits longest, and an acknowledgement
    with them.
    """
    raw = connection.connection.dbapi_connection
    until = time.monotonic() + SQLITE_BUSY_TIMEOUT_MS / 1000
    raw.execute(f"PRAGMA busy_timeout={SQLITE_LOOK_MS}")
    try:
        while True:
            try:
                return attempt()
            except OperationalError as error:
                if "locked" not in str(error.orig) or time.monotonic() >= until:
                    raise
    finally:
        raw.execute(f"PRAGMA busy_timeout={SQLITE_BUSY_TIMEOUT_MS}")

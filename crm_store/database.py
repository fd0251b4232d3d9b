"""Opens the CRM store on SQLite or PostgreSQL and hands out sessions (units of work)."""
from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.engine import Connection, Dialect, Engine
from sqlalchemy.orm import Session, sessionmaker
from sqlalchemy.pool import QueuePool
from sqlalchemy.types import TypeDecorator

SQLITE_BUSY_TIMEOUT_MS = 30_000
SQLITE_LOOK_MS = 5


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
    options.setdefault("pool_pre_ping", not url.startswith("sqlite"))
    options.setdefault("pool_size", 20)
    options.setdefault("max_overflow", 20)
    engine = sa.create_engine(url, future=True, **options)
    if engine.dialect.name == "sqlite":
        _prepare_sqlite(engine)
    return engine


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
        if connection.get_execution_options().get("warmline_write"):
            _wait_for_the_write_lock(connection)
        else:
            connection.exec_driver_sql("BEGIN")


def _wait_for_the_write_lock(connection: Connection) -> None:
    """Begin a transaction that writes; every few milliseconds, where another process has the lock.

    SQLite itself looks ever more seldom, at last every 100 ms: whoever came early waits longest, and an acknowledgement
    with them.
    """
    raw = connection.connection.dbapi_connection
    until = time.monotonic() + SQLITE_BUSY_TIMEOUT_MS / 1000
    raw.execute(f"PRAGMA busy_timeout={SQLITE_LOOK_MS}")
    try:
        while time.monotonic() < until:
            try:
                raw.execute("BEGIN IMMEDIATE")
            except sqlite3.Error as error:
                if "locked" not in str(error):
                    break
            else:
                return
        connection.exec_driver_sql("BEGIN IMMEDIATE")  # for the error of SQLAlchemy's
    finally:
        raw.execute(f"PRAGMA busy_timeout={SQLITE_BUSY_TIMEOUT_MS}")

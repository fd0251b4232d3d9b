"""Waiting for SQLite's one writer."""
from __future__ import annotations

import threading
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import OperationalError

from crm_store import database
from crm_store.database import Store

SOMETHING = sa.text("SELECT 1")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    with_table = Store(f"sqlite:///{tmp_path}/lock.db")
    with with_table.write() as session:
        session.execute(sa.text("CREATE TABLE seen (n INTEGER)"))
    with_table.close()
    return tmp_path / "lock.db"


def test_a_writer_waits_until_another_process_is_done(path: Path) -> None:
    store, other = Store(f"sqlite:///{path}"), Store(f"sqlite:///{path}")
    waits, done = threading.Event(), threading.Event()

    def write() -> None:
        waits.set()
        with store.write() as session:
            session.execute(sa.text("INSERT INTO seen SELECT count(*) FROM seen"))
        done.set()

    with other.write() as session:
        session.execute(sa.text("INSERT INTO seen VALUES (0)"))
        writer = threading.Thread(target=write)
        writer.start()
        assert waits.wait(10) and not done.wait(0.1)
    writer.join(10)
    with store.read() as session:
        assert list(session.execute(sa.text("SELECT n FROM seen ORDER BY n")).scalars()) == [0, 1]
    store.close()
    other.close()


def test_a_statement_alone_waits_as_well_and_is_committed(path: Path) -> None:
    store, other = Store(f"sqlite:///{path}"), Store(f"sqlite:///{path}")
    changed = list[int]()
    statement = sa.text("INSERT INTO seen SELECT count(*) FROM seen")
    writer = threading.Thread(target=lambda: changed.append(store.execute(statement)))
    with other.write() as session:
        session.execute(sa.text("INSERT INTO seen VALUES (0)"))
        writer.start()
        writer.join(0.1)
        assert writer.is_alive()
    writer.join(10)
    assert changed == [1] and store.execute(statement) == 1
    with other.read() as session:
        assert list(session.execute(sa.text("SELECT n FROM seen ORDER BY n")).scalars()) == [0, 1, 2]
    store.close()
    other.close()


def test_it_does_not_wait_for_ever_and_waits_again_the_next_time(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "SQLITE_BUSY_TIMEOUT_MS", 30)
    store, other = Store(f"sqlite:///{path}"), Store(f"sqlite:///{path}")
    with other.write() as session:
        session.execute(SOMETHING)
        with pytest.raises(OperationalError, match="locked"), store.write() as late:
            late.execute(SOMETHING)
        with pytest.raises(OperationalError, match="locked"):
            store.execute(sa.text("INSERT INTO seen VALUES (2)"))
    with store.write() as session:
        session.execute(sa.text("INSERT INTO seen VALUES (1)"))
        assert session.execute(sa.text("PRAGMA busy_timeout")).scalar_one() == 30
    store.close()
    other.close()


def test_what_is_no_lock_is_told_at_once(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "SQLITE_BUSY_TIMEOUT_MS", 10**9)
    store, told = Store(f"sqlite:///{path}"), list[str]()

    def write() -> None:
        with store.engine.connect().execution_options(warmline_write=True) as connection:
            connection.connection.dbapi_connection.execute("BEGIN")
            try:
                connection.execute(SOMETHING)
            except OperationalError as error:
                told.append(str(error.orig))

    writer = threading.Thread(target=write, daemon=True)
    writer.start()
    writer.join(10)
    assert told == ["cannot start a transaction within a transaction"]

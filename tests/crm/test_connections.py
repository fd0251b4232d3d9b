"""Connections to PostgreSQL that broke while nobody used them."""
from __future__ import annotations

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import OperationalError

from crm_store import database
from crm_store.database import Store

BREAK_THE_OTHERS = sa.text(
    "SELECT count(pg_terminate_backend(pid, 5000)) FROM pg_stat_activity "
    "WHERE datname = current_database() AND pid <> pg_backend_pid()")
SOMETHING = sa.text("SELECT 1")
pytestmark = pytest.mark.parametrize("store", ["postgresql"], indirect=True)


@pytest.fixture
def broken(store: Store) -> Store:
    """A store whose pooled connections are all broken, of which it knows nothing yet."""
    with store.read() as one, store.read() as two:
        assert one.execute(SOMETHING).scalar_one() == two.execute(SOMETHING).scalar_one() == 1
    other = Store(store.url)
    with other.read() as session:
        assert session.execute(BREAK_THE_OTHERS).scalar_one() == 2
    other.close()
    return store


def test_one_that_was_idle_is_asked_first_and_replaced(broken: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "PING_AFTER_SECONDS", 0)
    with broken.read() as session:
        assert session.execute(SOMETHING).scalar_one() == 1


def test_one_that_was_just_used_fails_once_and_takes_the_others_with_it(
        broken: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "PING_AFTER_SECONDS", 1e9)
    with pytest.raises(OperationalError), broken.read() as session:
        session.execute(SOMETHING)
    for _ in range(3):
        with broken.read() as session:
            assert session.execute(SOMETHING).scalar_one() == 1


def test_a_statement_alone_is_committed_on_a_new_one(broken: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "PING_AFTER_SECONDS", 0)
    broken.execute(sa.text("CREATE TABLE alone (n INTEGER)"))
    assert broken.execute(sa.text("INSERT INTO alone VALUES (1), (2)")) == 2
    with broken.read() as session:
        assert session.execute(sa.text("SELECT count(*) FROM alone")).scalar_one() == 2

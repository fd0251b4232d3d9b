"""The migrations and the models say the same, on both databases."""
from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from crm_store.database import Store, create_engine
from crm_store.models import Base
from crm_store.models.search import is_of_the_index
from crm_store.schema import configuration, migrate


def written(connection: Any) -> dict[tuple[str, str], str]:
    """Every table's constraints and indexes as the database itself writes them."""
    inspector = sa.inspect(connection)
    found: dict[tuple[str, str], str] = {}
    for table in inspector.get_table_names():
        for check in inspector.get_check_constraints(table):
            found[table, f"check {check['name']}"] = check["sqltext"]
    if connection.dialect.name == "sqlite":
        rows = connection.exec_driver_sql(
            "SELECT tbl_name, name, sql FROM sqlite_master WHERE sql IS NOT NULL AND type = 'index'")
    else:
        rows = connection.exec_driver_sql(
            "SELECT tablename, indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'")
    for table, name, definition in rows:
        found[table, f"index {name}"] = " ".join(definition.split())
    return {key: text for key, text in found.items() if key[0] != "alembic_version"}


def created_from_models(store: Store, folder: Path) -> Any:
    """An engine on a second database whose tables come straight from the models."""
    if store.engine.dialect.name == "sqlite":
        return create_engine(f"sqlite:///{folder / 'models.db'}")
    return store.engine


def test_migrations_and_models_do_not_differ(store: Store, tmp_path: Path) -> None:
    with store.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={
            "compare_type": True,
            "include_object": lambda _object, name, kind, *_: not (kind == "table" and is_of_the_index(name))})
        assert compare_metadata(context, Base.metadata) == []
        migrated = written(connection)
    assert any("CHECK" in text or "IN" in text for text in migrated.values())

    engine = created_from_models(store, tmp_path)
    with engine.begin() as connection:
        if connection.dialect.name == "postgresql":
            connection.exec_driver_sql("DROP SCHEMA public CASCADE")
            connection.exec_driver_sql("CREATE SCHEMA public")
        Base.metadata.create_all(connection)
        assert written(connection) == migrated
    engine.dispose()


def test_the_partial_indexes_serve_the_queues(store: Store) -> None:
    with store.engine.connect() as connection:
        partial = {name: text for (_table, name), text in written(connection).items() if " WHERE " in text}
    assert set(partial) == {"index ix_messages_unhandled", "index ix_messages_undelivered",
                            "index ix_attachments_waiting"}
    assert re.search(r"handled_at IS NULL", partial["index ix_messages_unhandled"])


def test_migrating_twice_changes_nothing_and_makes_the_folder(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'not' / 'there yet' / 'warmline.db'}"
    migrate(url)
    with Store(url).write() as session:
        session.execute(sa.text("INSERT INTO teams (name, level) VALUES ('Front line', 'front_line')"))
    migrate(url)
    with Store(url).read() as session:
        assert session.execute(sa.text("SELECT count(*) FROM teams")).scalar_one() == 1


def test_migrating_says_nothing(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    migrate(f"sqlite:///{tmp_path / 'warmline.db'}")
    assert capfd.readouterr() == ("", "")


def test_what_cascades_survives_when_its_table_is_made_anew(tmp_path: Path) -> None:
    url, at = f"sqlite:///{tmp_path / 'warmline.db'}", "'2026-11-18 02:00:00'"
    migrate(url, "0013")
    with create_engine(url).begin() as connection:
        for table, columns, values in (
                ("teams", "name, level", "'Front line', 'front_line'"),
                ("support_agents", "login, name, password_hash, role, team_id, languages, capacity, available, "
                 "interface_language, active, created_at", f"'a', 'A', '-', 'agent', 1, '[]', 1, 0, 'en', 1, {at}"),
                ("channel_identities", "channel, external_id, created_at", f"'web', 'v', {at}"),
                ("conversations", "identity_id, channel, status, version, language, created_at, updated_at",
                 f"1, 'web', 'resolved', 1, 'en', {at}, {at}"),
                ("blocks", "identity_id, conversation_id, reason, blocked_by_id, created_at, held",
                 f"1, 1, 'spam', 1, {at}, 0")):
            connection.exec_driver_sql(f"INSERT INTO {table} (id, {columns}) VALUES (1, {values})")
    migrate(url)
    command.downgrade(configuration(url), "0013")
    with create_engine(url).connect() as connection:
        assert connection.exec_driver_sql("SELECT reason FROM blocks").scalar() == "spam"


def test_going_down_leaves_nothing(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'warmline.db'}"
    migrate(url)
    command.downgrade(configuration(url), "base")
    with create_engine(url).connect() as connection:
        assert sa.inspect(connection).get_table_names() == ["alembic_version"]

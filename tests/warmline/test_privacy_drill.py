"""The privacy drill finds nothing after an erasure, and finds what was left behind on purpose."""
from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from bench.privacy_drill import BEGAN, EMAIL, NAME, PHONE, SAID, drill
from crm_store.database import Store
from crm_store.models import Reward
from tests.conftest import create_database
from tests.crm.conftest import furnish


def open_small_shop(store: Store) -> None:
    furnish(store, BEGAN)
    with store.write() as session:
        session.add(Reward(code="CUP", name_zh="杯子", name_en="Cup", cost_points=100, stock=5,
                           minimum_tier="silver", kind="gift"))


def plant(store: Store, folder: Path) -> None:
    """One leak in each kind of place: a text, a JSON, a table that no model knows, a file, an address in a file."""
    with store.engine.begin() as connection:
        connection.execute(sa.text("UPDATE orders SET note = :text"), {"text": f"ask {NAME}"})
        connection.execute(sa.text("CREATE TABLE left_over (anything TEXT)"))
        connection.execute(sa.text("INSERT INTO left_over VALUES (:text)"), {"text": SAID[2]})
        connection.execute(sa.text("INSERT INTO jobs (name, report) VALUES ('x', :text)"),
                           {"text": f'["{EMAIL.upper()}"]'})
    (folder / "backup").mkdir()
    (folder / "backup" / "dump.bin").write_bytes(b"\x00\xff" + PHONE.encode() + b"\x00")


def test_nothing_is_left_on_sqlite(tmp_path: Path) -> None:
    result = drill(f"sqlite:///{tmp_path / 'warmline.db'}", tmp_path, furnish=open_small_shop)
    assert result.before > 30
    assert result.left == []
    searched: Any = result.report["searched"]
    assert searched["found"] == {} and searched["tables"] > 30


def test_nothing_is_left_on_postgresql(tmp_path: Path, postgres_url: str) -> None:
    result = drill(create_database(postgres_url, "drill"), tmp_path, furnish=open_small_shop)
    assert result.before > 25 and result.left == []


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_what_is_left_is_found(database: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    url = f"sqlite:///{tmp_path / 'warmline.db'}" if database == "sqlite" else create_database(
        request.getfixturevalue("postgres_url"), "drill_planted")
    places = {found.place for found in drill(url, tmp_path, plant, open_small_shop).left}
    assert {"orders.note", "jobs.report", "left_over.anything", "backup/dump.bin"} <= places

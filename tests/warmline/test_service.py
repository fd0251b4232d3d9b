"""The service says so where one of its loops has ended."""
from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from crm_store.database import Store
from warmline import service
from warmline.settings import load_settings


def test_a_loop_that_ends_by_a_mistake_is_in_the_log(
        sqlite_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    async def failing(*_: Any) -> None:
        raise RuntimeError("a mistake")

    monkeypatch.setattr(service, "run_clock", failing)
    settings = load_settings({"WARMLINE_DATABASE_URL": sqlite_store.url}, root=tmp_path)
    with TestClient(service.make_app(settings, sqlite_store)):
        pass
    told = [record.getMessage() for record in caplog.records if record.name == service.__name__]
    assert told == ["the loop clock has ended; restart the service"]

"""Whatever happens in whatever order, one owner speaks, nobody is forgotten, and nothing is said twice."""
from __future__ import annotations

import shutil
from collections import Counter
from datetime import datetime
from pathlib import Path

import pytest

from crm_store.database import Store
from tests.crm.conftest import Desk, furnish
from tests.crm.handoff_walk import Walk, walks

WALKS, STEPS = 10, 500


def test_five_thousand_random_steps(sqlite_template: Path, tmp_path: Path, now: datetime) -> None:
    template = Path(shutil.copy(sqlite_template, tmp_path / "template.db"))
    store = Store(f"sqlite:///{template}")
    furnish(store, now)
    store.close()  # the last connection to close writes its log into the file
    done: Counter[str] = Counter()
    refused: Counter[str] = Counter()
    for walk in walks(template, tmp_path, now, range(WALKS), STEPS):
        done += walk.done
        refused += walk.refused
    assert sum(done.values()) == WALKS * STEPS
    assert min(done[action.__name__] for action, _ in walk.actions) >= 10, done
    assert set(refused) == {"AlreadyClaimed", "InvalidMessage", "NotOwner", "WrongState"}


@pytest.mark.parametrize("seed", [1000, 1001])
def test_a_few_hundred_on_each_database(desk: Desk, seed: int) -> None:
    Walk(desk.store, desk.now, seed).walk(150)

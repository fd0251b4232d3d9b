"""A trained dialogue model without NLU, and the product's turn path on it: a test says what each message means."""
from __future__ import annotations

import logging
import os
import subprocess
import sys
from datetime import datetime
from pathlib import Path

import pytest
import structlog
import yaml
from rasa.core.agent import Agent

from crm_store.database import Store
from tests.actions.shop import Shop, link, open_shop
from tests.bot.talking import Talk, load_agent, talk_with

# As `rasa run` does it: without this every turn prints its state, and copies it for that.
structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def dialogue_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The product's domain, rules, stories and policies, trained; reading is left to the tests."""
    folder = tmp_path_factory.mktemp("dialogue")
    config = yaml.safe_load((ROOT / "config.yml").read_text(encoding="utf-8"))
    config.pop("pipeline")
    (folder / "config.yml").write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
    stories = folder / "data"
    stories.mkdir()
    for topic in ("rules", "stories"):
        (stories / topic).symlink_to(ROOT / "data" / topic)
    environment = {**os.environ, "RASA_TELEMETRY_ENABLED": "false", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "rasa", "train", "core", "--config", str(folder / "config.yml"),
         "--domain", "domain.yml", "--stories", str(stories), "--out", str(folder), "--fixed-model-name", "dialogue"],
        cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return folder / "dialogue.tar.gz"


@pytest.fixture
def shop(sqlite_store: Store, now: datetime) -> Shop:
    """The small shop; sender "lei" is 李雷, "ann" is Ann, any other is a guest."""
    shop = open_shop(sqlite_store, now)
    link(sqlite_store, "lei", shop.lei, now)
    link(sqlite_store, "ann", shop.ann, now)
    return shop


@pytest.fixture(scope="session")
def agent(dialogue_model: Path) -> Agent:
    """The dialogue engine on that model."""
    return load_agent(dialogue_model)


@pytest.fixture
def talk(agent: Agent, shop: Shop) -> Talk:
    """Customers and the bot, in this process."""
    return talk_with(agent, shop.store, shop.now)

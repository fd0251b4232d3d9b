"""Runs Rasa's own checks: the training data is consistent, and every conversation of the test stories goes as told."""
from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from warmline.settings import Settings, load_settings
from warmline.training import MODEL, train_dialogue

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.processes


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """Settings with a data folder of their own; the model is the checkout's, trained if its data changed."""
    loaded = load_settings({"WARMLINE_DATA_FOLDER": str(tmp_path_factory.mktemp("dialogue"))})
    if not MODEL.exists():
        train_dialogue(loaded)
    yield loaded


def rasa(settings: Settings, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-W", "ignore", "-m", "rasa", *arguments], cwd=ROOT, text=True, check=False,
                          env={**os.environ, **settings.environment(), "TF_CPP_MIN_LOG_LEVEL": "3",
                               "SQLALCHEMY_SILENCE_UBER_WARNING": "1"},
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def test_every_test_conversation_goes_as_told(settings: Settings, tmp_path: Path) -> None:
    done = rasa(settings, "test", "core", "--stories", "tests/dialogue", "--model", str(MODEL), "--out", str(tmp_path),
                "--fail-on-prediction-errors")
    failed = tmp_path / "failed_test_stories.yml"
    told = failed.read_text(encoding="utf8") if failed.exists() else ""
    assert done.returncode == 0, told[-4000:] + done.stdout[-4000:]
    assert (tmp_path / "story_report.json").exists()

"""Trains the dialogue model, only when something it is made from has changed."""
from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

from warmline.errors import CommandFailed
from warmline.settings import ROOT, Settings

MODEL = ROOT / "models" / "warmline.tar.gz"
CORRECTIONS = Path("data/corrections")
DATA_FOLDERS = ("data/nlu", f"{CORRECTIONS}/nlu", "data/rules", "data/stories")
SOURCES = ("config.yml", "domain.yml", *(f"{folder}/**/*.yml" for folder in DATA_FOLDERS),
           "data/demo/products.json", "bot/nlu/*.py", "bot/policies/*.py", "models/encoder/*.json")


def fingerprint(root: Path = ROOT) -> str:
    """A digest of everything the dialogue model is made from."""
    digest = hashlib.sha256()
    for pattern in SOURCES:
        for path in sorted(root.glob(pattern)):
            digest.update(str(path.relative_to(root)).encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


def training_folders(root: Path = ROOT) -> list[str]:
    """The folders that Rasa trains on; agents' corrections are among them where there are any."""
    return [folder for folder in DATA_FOLDERS if (root / folder).is_dir()]


def needs_training(settings: Settings) -> bool:
    """Whether the model is missing or was made from something else."""
    mark = settings.data_folder / "trained"
    return not (MODEL.exists() and mark.exists() and mark.read_text() == fingerprint())


def train_dialogue(settings: Settings, *, force: bool = False) -> bool:
    """Train if needed; whether it trained.

    Raises:
        CommandFailed: Rasa could not train; its own words are on the terminal.
    """
    if not force and not needs_training(settings):
        return False
    made_from = fingerprint()
    command = [sys.executable, "-W", "ignore", "-m", "rasa", "train", "--quiet",
               "--fixed-model-name", MODEL.name.split(".")[0], "--out", str(MODEL.parent),
               "--domain", "domain.yml", "--config", "config.yml", "--data", *training_folders()]
    done = subprocess.run(command, cwd=ROOT, env=_environment(settings), check=False, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True)
    if done.returncode != 0 or not MODEL.exists():
        print(done.stdout)
        raise CommandFailed("the dialogue model could not be trained; Rasa says why above")
    settings.data_folder.mkdir(parents=True, exist_ok=True)
    (settings.data_folder / "trained").write_text(made_from)
    return True


def _environment(settings: Settings) -> dict[str, str]:
    return {**os.environ, **settings.environment(), "TF_CPP_MIN_LOG_LEVEL": "3", "SQLALCHEMY_SILENCE_UBER_WARNING": "1"}

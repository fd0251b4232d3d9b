"""Stock Rasa: every default, trained on the same examples, one rule and one answer an intent, its own REST channel.

It reads no store and calls no action, so its turn does less work than Warmline's. How long it is trained changes what
it answers and not how fast: the size of its networks and vocabularies comes from its configuration and the examples.
"""
from __future__ import annotations

import hashlib
import importlib.resources
import itertools
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from bench.processes import Started, answers

ROOT = Path(__file__).resolve().parent.parent
QUIET = {"RASA_TELEMETRY_ENABLED": "false", "TF_CPP_MIN_LOG_LEVEL": "3", "SQLALCHEMY_SILENCE_UBER_WARNING": "1"}


def intents() -> list[str]:
    """The intents of the training data, in order."""
    found: dict[str, None] = {}
    for path in sorted((ROOT / "data" / "nlu").rglob("*.yml")):
        for entry in yaml.safe_load(path.read_text(encoding="utf8"))["nlu"]:
            found[entry["intent"]] = None
    return list(found)


def configuration(epochs: int | None) -> dict[str, Any]:
    """What Rasa fills an empty configuration with, trained for ``epochs`` where a number is given."""
    found: dict[str, Any] = yaml.safe_load(
        (importlib.resources.files("rasa.engine.recipes.config_files") / "default_config.yml").read_text())
    for part in [*found["pipeline"], *found["policies"]]:
        if epochs is not None and "epochs" in part:
            part["epochs"] = epochs
    return {**found, "assistant_id": "stock"}


def make_project(folder: Path, epochs: int | None) -> str:
    """Write the stock project; the digest of what it is made from."""
    names = intents()
    shutil.rmtree(folder / "data", ignore_errors=True)
    shutil.copytree(ROOT / "data" / "nlu", folder / "data" / "nlu")
    files = {
        "config.yml": configuration(epochs),
        "domain.yml": {"version": "3.1", "intents": names,
                       "responses": {f"utter_{name}": [{"text": f"An answer to {name}."}] for name in names}},
        "data/rules.yml": {"version": "3.1", "rules": [
            {"rule": f"answer {name}", "steps": [{"intent": name}, {"action": f"utter_{name}"}]} for name in names]},
        "data/stories.yml": {"version": "3.1", "stories": [
            {"story": f"{first} then {second}", "steps": [{"intent": first}, {"action": f"utter_{first}"},
                                                         {"intent": second}, {"action": f"utter_{second}"}]}
            for first, second in itertools.pairwise(names)]},
        "credentials.yml": {"rest": None},
    }
    for name, content in files.items():
        (folder / name).write_text(yaml.safe_dump(content, allow_unicode=True, sort_keys=False), encoding="utf8")
    digest = hashlib.sha256()
    for path in sorted(p for p in folder.rglob("*.yml")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def trained(folder: Path, epochs: int | None, *, nlu_only: bool = False) -> Path:
    """The stock model, trained unless it is there already for the same data.

    Args:
        folder: Where the project and its models are kept.
        epochs: How long its networks are trained; None for Rasa's own number.
        nlu_only: Leave the dialogue out.
    """
    folder.mkdir(parents=True, exist_ok=True)
    digest = make_project(folder, epochs)
    model = folder / "models" / f"{digest[:12]}.tar.gz"
    if not model.exists():
        print(f"training stock Rasa ({'DIET' if nlu_only else 'DIET, TED'}: this takes some minutes) …",
              file=sys.stderr, flush=True)
        part = ["nlu", "--nlu", "data/nlu"] if nlu_only else []
        subprocess.run([sys.executable, "-W", "ignore", "-m", "rasa", "train", *part, "--quiet", "--fixed-model-name",
                        digest[:12]], cwd=folder, env={**os.environ, **QUIET}, check=True, stdout=subprocess.DEVNULL,
                       stderr=(folder / "train.log").open("w"))
    return model


def start(folder: Path, port: int, epochs: int | None) -> Started:
    """Stock Rasa, running on ``port``."""
    model = trained(folder, epochs)
    command = [sys.executable, "-W", "ignore", "-m", "rasa", "run", "--model", str(model), "--enable-api",
               "--interface", "127.0.0.1", "--port", str(port)]
    return Started(command, cwd=folder, environment=QUIET, log=folder / "run.log",
                   ready=answers(f"http://127.0.0.1:{port}/status", lambda r: bool(r.json().get("model_file"))))

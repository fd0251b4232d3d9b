"""Holds the import directions of the architecture and what it promises of the layout."""
from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
OURS = ("crm_store", "bot", "actions", "gateway", "desk", "warmline")
MAY_IMPORT = {
    "crm_store": {"crm_store"},
    "bot": {"bot", "crm_store"},
    "actions": {"actions", "crm_store"},
    "gateway": {"gateway", "crm_store"},
    "desk": {"desk", "crm_store"},
    "warmline": set(OURS),
}
NEVER_IN_CRM_STORE = {"rasa", "rasa_sdk", "telegram", "starlette", "fastapi", "transformers"}


def imported(path: Path) -> set[str]:
    """The top-level packages that a file imports."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf8"))):
        if isinstance(node, ast.Import):
            names.update(alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            names.add(node.module.split(".")[0])
    return names


def sources(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


@pytest.mark.parametrize("package", OURS)
def test_packages_import_only_what_they_may(package: str) -> None:
    assert sources(package)
    wrong = {str(path.relative_to(ROOT)): sorted(found)
             for path in sources(package)
             if (found := (imported(path) & set(OURS)) - MAY_IMPORT[package])}
    assert not wrong


def test_the_crm_store_knows_no_dialogue_engine_channel_web_framework_or_model() -> None:
    wrong = {str(path.relative_to(ROOT)): sorted(found) for path in sources("crm_store")
             if (found := imported(path) & NEVER_IN_CRM_STORE)}
    assert not wrong


@pytest.mark.parametrize("package", [name for name in OURS if name != "warmline"])
def test_only_warmline_reads_the_environment_or_the_clock(package: str) -> None:
    asks = re.compile(r"os\.environ|os\.getenv|datetime\.now\(|datetime\.utcnow\(|date\.today\(")
    wrong = [str(path.relative_to(ROOT)) for path in sources(package)
             if "training" not in path.parts and asks.search(path.read_text(encoding="utf8"))]
    assert not wrong


def test_rules_open_no_database() -> None:
    for path in sources("crm_store/rules"):
        assert "sqlalchemy" not in imported(path), path


def test_actions_stay_flat_because_rasa_walks_them() -> None:
    assert not [path for path in (ROOT / "actions").iterdir() if path.is_dir() and path.name != "__pycache__"]


def test_running_needs_no_torch() -> None:
    lock = (ROOT / "requirements.lock").read_text()
    assert not re.search(r"^torch==", lock, re.MULTILINE)
    code = "import sys, bot.nlu.encoder; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def test_every_version_is_pinned_with_its_hash() -> None:
    for name in ("requirements.lock", "requirements-dev.lock"):
        lines = (ROOT / name).read_text().splitlines()
        pins = [line for line in lines if re.match(r"[a-z0-9]", line)]
        assert pins and all("==" in line for line in pins)
        assert len([line for line in lines if "--hash=sha256:" in line]) >= len(pins)
        assert "://" not in "\n".join(lines)

"""What can be known to be wrong before anything starts is said in one line."""
from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.conftest import free_port
from warmline.errors import CommandFailed
from warmline.processes import endpoints_file, rasa_arguments
from warmline.run import check_ports
from warmline.settings import ROOT, load_settings


def test_a_taken_port_is_named_with_its_setting(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        settings = load_settings({"WARMLINE_BOT_PORT": str(port), "WARMLINE_PORT": str(free_port()),
                                  "WARMLINE_ACTIONS_PORT": str(free_port())}, root=tmp_path)
        with pytest.raises(CommandFailed, match=f"port {port} .*WARMLINE_BOT_PORT"):
            check_ports(settings)


@pytest.mark.parametrize(("variable", "value", "said"), [
    ("WARMLINE_PORT", "http", "must be a whole number"),
    ("WARMLINE_DATABASE_URL", "postgresql://nobody@127.0.0.1:1/none", "database cannot be reached"),
])
def test_a_bad_setting_is_one_line_and_no_traceback(tmp_path: Path, variable: str, value: str, said: str) -> None:
    done = subprocess.run([sys.executable, "-W", "ignore", "-m", "warmline", "migrate"], cwd=ROOT, check=False,
                          env={**os.environ, "WARMLINE_DATA_FOLDER": str(tmp_path), variable: value},
                          capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.startswith("warmline: ") and said in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_redis_becomes_the_lock_store_of_the_dialogue_engine(tmp_path: Path) -> None:
    settings = load_settings({"WARMLINE_REDIS_URL": "redis://:secret@127.0.0.1:6380/2",
                              "WARMLINE_DATA_FOLDER": str(tmp_path)})
    path = Path(endpoints_file(settings))
    written = yaml.safe_load(path.read_text())
    assert written["lock_store"] == {"type": "redis", "url": "127.0.0.1", "port": 6380, "db": 2, "password": "secret",
                                     "use_ssl": False}
    assert written["tracker_store"]["type"] == "bot.tracker_store.CrmTrackerStore"
    assert path.stat().st_mode & 0o077 == 0


def test_rasa_reads_any_token_as_one(tmp_path: Path) -> None:
    from rasa.__main__ import create_argument_parser

    for token in ("-Qsixty-fourth", "--debug", "a=b", "plain"):
        settings = load_settings({"WARMLINE_BOT_TOKEN": token, "WARMLINE_DATA_FOLDER": str(tmp_path)})
        assert create_argument_parser().parse_args(rasa_arguments(settings)[1:]).auth_token == token


def test_the_commands_behind_make_are_listed() -> None:
    done = subprocess.run([sys.executable, "-m", "warmline", "--help"], cwd=ROOT, check=True, text=True,
                          stdout=subprocess.PIPE)
    for command in ("run", "prepare", "migrate", "demo", "train", "embed", "bot", "actions", "service", "reset"):
        assert f"\n    {command} " in done.stdout

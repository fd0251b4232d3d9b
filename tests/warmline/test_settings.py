"""Settings are checked, documented, and their secrets are made once and kept."""
from __future__ import annotations

import re
import stat
from dataclasses import fields
from pathlib import Path

import pytest

from warmline.settings import GENERATED, PREFIX, ROOT, BadSetting, Settings, load_settings

NAMES = [PREFIX + f.name.upper() for f in fields(Settings)]


@pytest.mark.parametrize("document", [".env.example", "docs/reference/settings.md"])
def test_every_setting_is_documented_and_nothing_else_is(document: str) -> None:
    text = (ROOT / document).read_text(encoding="utf8")
    told = set(re.findall(r"^(?:# |\| `)(WARMLINE_[A-Z_]+)", text, re.MULTILINE))
    assert told == set(NAMES)


def test_secrets_are_made_once_and_readable_by_their_owner_only(tmp_path: Path) -> None:
    first = load_settings({}, root=tmp_path)
    again = load_settings({}, root=tmp_path)
    path = tmp_path / "var" / "secrets.env"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    for name in GENERATED:
        assert len(getattr(first, name.lower())) >= 32
        assert getattr(first, name.lower()) == getattr(again, name.lower())
    assert len({first.secret, first.http_token, first.bot_token}) == 3


def test_the_environment_wins_over_the_file(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("WARMLINE_PORT=8100\nWARMLINE_HTTP_RATE=7\n")
    settings = load_settings({"WARMLINE_PORT": "8200"}, root=tmp_path)
    assert (settings.port, settings.http_rate) == (8200, 7)


@pytest.mark.parametrize(("name", "value", "said"), [
    ("PORT", "eighty", "whole number"),
    ("PORT", "70000", "1 to 65535"),
    ("BOT_PORT", "8000", "must differ"),
    ("DATABASE_URL", "mysql://x", "sqlite:/// or postgresql://"),
    ("DEMO", "perhaps", "true or false"),
    ("HTTP_RATE", "0", "1 or more"),
    ("BOT_TIMEOUT", "-1", "above 0"),
    ("BOT_TIMEOUT", "nan", "above 0"),
    ("LOG_LEVEL", "LOUD", "DEBUG, INFO"),
    ("BOT_WORKERS", "2", "WARMLINE_REDIS_URL"),
    ("SMTP_HOST", "mail.example.com", "MAIL_FROM must be an e-mail address"),
    ("SMTP_PORT", "0", "1 to 65535"),
    ("MAIL_DELAY", "-1", "0 or more"),
    ("PUBLIC_URL", "desk.example.com", "http:// or https://"),
])
def test_a_bad_value_is_named(tmp_path: Path, name: str, value: str, said: str) -> None:
    with pytest.raises(BadSetting, match=said) as caught:
        load_settings({PREFIX + name: value}, root=tmp_path)
    assert PREFIX in str(caught.value)


def test_a_misspelt_setting_in_the_file_is_named(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("WARMLINE_PROT=8100\n")
    with pytest.raises(BadSetting, match="WARMLINE_PROT"):
        load_settings({}, root=tmp_path)


def test_an_sqlite_path_is_relative_to_the_project(tmp_path: Path) -> None:
    assert load_settings({}, root=tmp_path).database_url == f"sqlite:///{tmp_path}/var/warmline.db"
    moved = load_settings({"WARMLINE_DATABASE_URL": "sqlite:///other.db"}, root=tmp_path)
    assert moved.database_url == f"sqlite:///{tmp_path}/other.db"


def test_short_secrets_are_pointed_out(tmp_path: Path) -> None:
    assert load_settings({"WARMLINE_HTTP_TOKEN": "short"}, root=tmp_path).weak_secrets == ["WARMLINE_HTTP_TOKEN"]

"""Telegram's settings are checked, its command does what it says, and no token reaches a log."""
from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.telegram_double import Double, make_app
from gateway.telegram import webhook_secret
from tests.gateway.conftest import Threaded
from warmline.commands import show_settings, telegram
from warmline.errors import CommandFailed
from warmline.logs import QUIET, MaskingFormatter
from warmline.settings import BadSetting, Settings, load_settings

TOKEN, BOT = "700000001:AAE-the_token-of-the-first-bot", 700000001
OTHER = "700000002:AAE-the_token-of-the-second-bot"


class Asked:
    """A parsed command line."""

    def __init__(self, what: str) -> None:
        self.what = what


@pytest.fixture
def served() -> Iterator[tuple[Double, str]]:
    double = Double()
    server = Threaded(make_app(double))
    yield double, server.base
    server.stop()


def settings_of(tmp_path: Path, **given: str) -> Settings:
    return load_settings({f"WARMLINE_{name}": value for name, value in given.items()}, root=tmp_path)


@pytest.mark.parametrize(("given", "said"), [
    ({"TELEGRAM_TOKEN": "not a token"}, "as @BotFather gives them"),
    ({"TELEGRAM_TOKEN": f"{TOKEN},{TOKEN}x"}, "names a bot twice"),
    ({"TELEGRAM_MODE": "pigeon"}, "polling or webhook"),
    ({"TELEGRAM_API": "api.telegram.org"}, "http:// or https://"),
    ({"TELEGRAM_TOKEN": TOKEN, "TELEGRAM_MODE": "webhook"}, "WARMLINE_PUBLIC_URL"),
])
def test_a_bad_value_is_named_without_the_token(tmp_path: Path, given: dict[str, str], said: str) -> None:
    with pytest.raises(BadSetting, match=said) as caught:
        settings_of(tmp_path, **given)
    assert TOKEN not in str(caught.value) and "not a token" not in str(caught.value)


def test_several_bots_are_separated_by_commas(tmp_path: Path) -> None:
    assert settings_of(tmp_path, TELEGRAM_TOKEN=f" {TOKEN} , {OTHER},").telegram_tokens == [TOKEN, OTHER]


def test_the_settings_are_listed_without_the_token(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    show_settings(settings_of(tmp_path, TELEGRAM_TOKEN=TOKEN), None)  # type: ignore[arg-type]
    told = capsys.readouterr().out
    assert "WARMLINE_TELEGRAM_TOKEN=(not shown)" in told and "AAE" not in told


def test_the_command_sets_the_webhook_of_each_bot_up_and_takes_it_down(
        tmp_path: Path, served: tuple[Double, str], capsys: pytest.CaptureFixture[str]) -> None:
    double, base = served
    settings = settings_of(tmp_path, TELEGRAM_TOKEN=f"{TOKEN},{OTHER}", TELEGRAM_API=base,
                           TELEGRAM_MODE="webhook", PUBLIC_URL="https://desk.example.com/")
    assert telegram(settings, Asked("webhook")) == 0  # type: ignore[arg-type]
    assert double.bots[BOT].webhook == f"https://desk.example.com/api/channels/telegram/{BOT}"
    secrets = {bot.secret for bot in double.bots.values()}
    assert len(secrets) == 2 and webhook_secret(settings.telegram_secret, BOT) in secrets
    assert telegram(settings, Asked("polling")) == 0  # type: ignore[arg-type]
    assert double.bots[BOT].webhook == ""
    told = capsys.readouterr().out
    assert "WARMLINE_TELEGRAM_MODE=polling" in told and "AAE" not in told


@pytest.mark.parametrize(("given", "what", "said"), [
    ({}, "status", "WARMLINE_TELEGRAM_TOKEN"),
    ({"TELEGRAM_TOKEN": TOKEN}, "webhook", "WARMLINE_PUBLIC_URL"),
    ({"TELEGRAM_TOKEN": TOKEN, "TELEGRAM_API": "http://127.0.0.1:1"}, "status", "NetworkError"),
])
def test_what_the_command_cannot_do_is_said_without_the_token(tmp_path: Path, given: dict[str, str], what: str,
                                                              said: str) -> None:
    with pytest.raises(CommandFailed, match=said) as caught:
        telegram(settings_of(tmp_path, **given), Asked(what))  # type: ignore[arg-type]
    assert TOKEN not in str(caught.value)


def test_a_token_is_masked_wherever_it_is_logged() -> None:
    try:
        raise RuntimeError(f"POST https://api.telegram.org/bot{TOKEN}/getMe")
    except RuntimeError as error:
        told = (type(error), error, error.__traceback__)
        record = logging.LogRecord("x", logging.ERROR, "x", 1, "tokens %s and %s", (TOKEN, OTHER), told)
    line = MaskingFormatter("%(message)s").format(record)
    assert "AAE" not in line and line.count(":…") == 3 and {"telegram", "httpx"} <= set(QUIET)

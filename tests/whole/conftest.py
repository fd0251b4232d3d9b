"""The whole product as real processes: `python -m warmline run` on its own data folder and ports."""
from __future__ import annotations

import contextlib
import itertools
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from sqlalchemy import select

from bench.chaos.telegram import ServedDouble
from bench.telegram_double import Double
from crm_store.database import Store
from crm_store.models import ChannelIdentity, Customer
from gateway.web_chat import sign_customer
from tests.conftest import free_port, require
from warmline.settings import load_settings

ROOT = Path(__file__).resolve().parents[2]
HTTP_TOKEN = "a-token-for-the-tests-alone"
BOT_TOKEN = "another-token-for-the-tests-alone"
PASSWORD = "a-password-for-the-tests"
TELEGRAM_BOT, TELEGRAM_TOKEN = 700000056, "700000056:a-token-that-opens-only-the-double"
COMMAND = [sys.executable, "-W", "ignore", "-m", "warmline"]


@dataclass
class Whole:
    """A running Warmline."""

    base: str
    bot: str
    process: subprocess.Popen[str]
    store: Store
    folder: Path
    output: list[str] = field(default_factory=list)
    numbers: Iterator[int] = field(default_factory=itertools.count)

    def wait_ready(self, seconds: float = 180) -> None:
        """Wait until every part answers."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            assert self.process.poll() is None, "\n".join(self.output[-60:])
            try:
                if httpx.get(f"{self.base}/readyz", timeout=10).status_code == 200:
                    return
            except httpx.HTTPError:
                pass
            time.sleep(0.3)
        pytest.fail("not ready:\n" + "\n".join(self.output[-60:]))

    def pid_of(self, name: str) -> int:
        """The process id of "bot", "actions" or "service"."""
        for child in psutil.Process(self.process.pid).children(recursive=True):
            if child.cmdline()[-3:] == ["-m", "warmline", name]:
                return child.pid
        raise AssertionError(f"{name} does not run")

    def kill(self, name: str) -> None:
        """kill -9 one of the three processes."""
        os.kill(self.pid_of(name), signal.SIGKILL)

    def link(self, sender: str, number: str) -> None:
        """Make a sender of the HTTP channel a known customer, as linking does."""
        now = datetime.now(timezone.utc)
        with self.store.write() as session:
            customer = session.execute(select(Customer).where(Customer.number == number)).scalar_one()
            session.add(ChannelIdentity(channel="http", external_id=sender, customer_id=customer.id, linked_at=now,
                                        created_at=now))

    def post(self, sender: str, text: str, message_id: str | None = None, **more: Any) -> httpx.Response:
        """One message by the HTTP channel, whatever the answer."""
        body = {"sender": sender, "message_id": message_id or f"m-{next(self.numbers)}", "text": text, **more}
        return httpx.post(f"{self.base}/api/channels/http/messages", json=body, timeout=30,
                          headers={"Authorization": f"Bearer {HTTP_TOKEN}"})

    def say(self, sender: str, text: str, **more: Any) -> dict[str, Any]:
        """One message by the HTTP channel and the bot's answer, which must come at once."""
        answer = self.post(sender, text, **more)
        assert answer.status_code == 200, answer.text
        result: dict[str, Any] = answer.json()
        return result

    def told(self, sender: str, text: str, **more: Any) -> str:
        """The text of the replies to one message."""
        return "\n".join(reply["text"] for reply in self.say(sender, text, **more)["replies"])

    def desk(self, login: str) -> httpx.Client:
        """A client of the desk's API, logged in."""
        answer = httpx.post(f"{self.base}/api/login", json={"login": login, "password": PASSWORD}, timeout=30)
        assert answer.status_code == 200, answer.text
        return httpx.Client(base_url=self.base, timeout=30,
                            headers={"Authorization": f"Bearer {answer.json()['token']}"})


@contextlib.contextmanager
def running(folder: Path, database_url: str, **more: str) -> Iterator[Whole]:
    """Warmline with the demo shop in a folder of its own, from its first start to its end."""
    port, bot_port, actions_port = free_port(), free_port(), free_port()
    environment = {
        **os.environ, "WARMLINE_DATA_FOLDER": str(folder), "WARMLINE_HOST": "127.0.0.1", "WARMLINE_PORT": str(port),
        "WARMLINE_DATABASE_URL": database_url, "WARMLINE_BOT_PORT": str(bot_port),
        "WARMLINE_ACTIONS_PORT": str(actions_port), "WARMLINE_HTTP_TOKEN": HTTP_TOKEN, "WARMLINE_BOT_TOKEN": BOT_TOKEN,
        "WARMLINE_DEMO_PASSWORD": PASSWORD, "WARMLINE_HTTP_RATE": "100000", "WARMLINE_CHAT_RATE": "100000",
        "PYTHONUNBUFFERED": "1", **more,
    }
    process = subprocess.Popen([*COMMAND, "run"], cwd=ROOT, env=environment, stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, text=True, errors="replace")
    started = Whole(f"http://127.0.0.1:{port}", f"http://127.0.0.1:{bot_port}", process, Store(database_url), folder)

    def collect() -> None:
        assert process.stdout is not None
        started.output.extend(re.sub(r"\x1b\[[0-9;]*m", "", line.rstrip()) for line in process.stdout)

    threading.Thread(target=collect, daemon=True).start()
    try:
        started.wait_ready(600)  # the first run of a clone trains the dialogue model
        yield started
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(30)
        finally:
            process.kill()
            started.store.close()


@pytest.fixture(scope="session")
def telegram() -> Iterator[ServedDouble]:
    """A double of the Bot API; :func:`whole` serves the customers of one bot there."""
    served = ServedDouble(Double([TELEGRAM_TOKEN]))
    yield served
    served.stop()


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory, telegram: ServedDouble) -> Iterator[Whole]:
    """Warmline on SQLite, as it starts by itself, with a Telegram bot."""
    folder = tmp_path_factory.mktemp("whole")
    with running(folder, f"sqlite:///{folder}/warmline.db", WARMLINE_TELEGRAM_TOKEN=TELEGRAM_TOKEN,
                 WARMLINE_TELEGRAM_API=telegram.base) as started:
        yield started


@pytest.fixture
def sender() -> str:
    """A sender nobody else uses."""
    return f"sender-{time.monotonic_ns()}"


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Debian's Chromium."""
    from playwright.sync_api import sync_playwright

    from tests.conftest import find_program

    program = find_program("chromium")
    require(program, "Chromium is not installed (apt-get install chromium)")
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(
            executable_path=program,
            args=["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
                  "--disable-component-update", "--disable-sync", "--disable-quic"])
        yield opened
        opened.close()


@pytest.fixture
def open_page(browser: Any, whole: Whole) -> Iterator[Any]:
    """Opens pages, each in a browser context of its own, and fails on any script error."""
    contexts: list[Any] = []
    errors: list[str] = []

    def opened(path: str, locale: str = "zh-CN") -> Any:
        context = browser.new_context(locale=locale, viewport={"width": 1280, "height": 720}, base_url=whole.base)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("console", lambda message: errors.append(message.text)
                if "Content Security Policy" in message.text else None)
        page.goto(path)
        return page

    yield opened
    for context in contexts:
        context.close()
    assert not errors


def signed_in(whole: Whole, number: str) -> str:
    """The address by which the shop signs a customer in."""
    settings = load_settings({"WARMLINE_DATA_FOLDER": str(whole.folder)})
    return f"/?customer={sign_customer(settings.secret, number)}"


def write(page: Any, text: str) -> None:
    """Say something in the chat."""
    box = page.get_by_role("textbox")
    box.fill(text)
    box.press("Enter")


def log_in(page: Any, login: str) -> None:
    """Log in at the desk."""
    page.locator("input[name=login]").fill(login)
    page.locator("input[name=password]").fill(PASSWORD)
    page.locator("input[name=password]").press("Enter")
    page.wait_for_url(re.compile(r"/desk(\?|$)"))

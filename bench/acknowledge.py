"""`python -m bench.acknowledge`: how soon a message is acknowledged, stored and safe, while the bot is busy.

Real processes; some fifty customers keep the bot busy through the HTTP channel, each writing on as soon as it has an
answer. Beside them messages are posted to Telegram's webhook and to the web chat, at a fixed pace whatever the answers
take, so that a quick acknowledgement does not make more work; each is answered after the commit. The peer in the same
run is the HTTP channel itself, which answers after the bot's whole turn, as Rasa's own channels do: Telegram would have
to wait for as long.
"""
from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
from rich.console import Console
from rich.table import Table

from bench.chaos.telegram import ServedDouble
from bench.messages import MESSAGES
from bench.postgres import postgres_server
from bench.processes import Started, answers, free_ports
from bench.telegram_double import Double
from gateway.telegram import SECRET_HEADER, webhook_path, webhook_secret

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "results"
BOT, TOKEN = 700000008, "700000008:a-token-that-opens-only-the-double"
SECRET = "a-secret-for-loopback-only"
GOAL_MS = 100.0
EVERY_SECONDS = 0.25  # to each way in
WARM_UP = 20


@dataclass
class Figures:
    """Seconds until the answer, for each way in."""

    webhook: list[float] = field(default_factory=list)
    chat: list[float] = field(default_factory=list)
    after_the_turn: list[float] = field(default_factory=list)
    busy: int = 0
    stolen: float = 0.0  # share of the processors' time that the host gave to others

    def shown(self) -> dict[str, float]:
        """Milliseconds, and how much longer the peer takes."""
        found: dict[str, float] = {"customers": self.busy, "stolen": self.stolen}
        for name in ("webhook", "chat", "after_the_turn"):
            parts = statistics.quantiles(getattr(self, name), n=100, method="inclusive")
            found |= {f"{name}_p50_ms": parts[49] * 1e3, f"{name}_p99_ms": parts[98] * 1e3}
        for name in ("webhook", "chat"):
            for part in ("p50", "p99"):
                found[f"{name}_{part}_ratio"] = found[f"{name}_{part}_ms"] / found[f"after_the_turn_{part}_ms"]
        return found


def measure(folder: Path, database_url: str, posts: int, busy: int) -> Figures:
    """Start everything, keep the bot busy, and post."""
    ports, telegram = free_ports(3), ServedDouble(Double([TOKEN]))
    base = f"http://127.0.0.1:{ports[0]}"
    environment = {
        "WARMLINE_DATA_FOLDER": str(folder), "WARMLINE_DATABASE_URL": database_url, "WARMLINE_HOST": "127.0.0.1",
        "WARMLINE_PORT": str(ports[0]), "WARMLINE_BOT_PORT": str(ports[1]), "WARMLINE_ACTIONS_PORT": str(ports[2]),
        "WARMLINE_HTTP_TOKEN": SECRET, "WARMLINE_HTTP_RATE": "1000000", "WARMLINE_CHAT_RATE": "1000000",
        "WARMLINE_TELEGRAM_TOKEN": TOKEN, "WARMLINE_TELEGRAM_API": telegram.base, "WARMLINE_TELEGRAM_MODE": "webhook",
        "WARMLINE_TELEGRAM_SECRET": SECRET, "WARMLINE_PUBLIC_URL": base,
    }
    warmline = [sys.executable, "-W", "ignore", "-m", "warmline"]
    trained = ROOT / "var" / "trained"
    if trained.exists():
        (folder / "trained").write_text(trained.read_text())
    try:
        if subprocess.run([*warmline, "prepare"], cwd=ROOT, env={**os.environ, **environment}, check=False).returncode:
            sys.exit("bench: Warmline could not be prepared")
        with Started([*warmline, "run"], cwd=ROOT, environment=environment, log=folder / "run.log",
                     ready=answers(f"{base}/readyz", lambda answer: answer.status_code == 200)):
            return asyncio.run(_measure(base, telegram.double, posts, busy))
    finally:
        telegram.stop()


async def _measure(base: str, double: Double, posts: int, busy: int) -> Figures:
    double.bot(TOKEN)
    figures, numbers = Figures(busy=busy), itertools.count()
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(60),
                                     connector=aiohttp.TCPConnector(limit=0)) as client:
        async with _kept_busy(client, base, busy, numbers, figures):
            while len(figures.after_the_turn) < busy:
                await asyncio.sleep(0.1)
            figures.after_the_turn.clear()
            before = _processor_time()
            took = await asyncio.gather(*(
                _timed(after * EVERY_SECONDS, post)
                for number in range(posts + WARM_UP)
                for after, post in ((number, _webhook(client, base, double, number)),
                                    (number + 0.5, _chat(client, base, number)))))
            figures.webhook, figures.chat = took[2 * WARM_UP::2], took[2 * WARM_UP + 1::2]
            spent, stolen = (now - then for now, then in zip(_processor_time(), before, strict=True))
            figures.stolen = stolen / spent if spent else 0.0
    return figures


def _processor_time() -> tuple[int, int]:
    """All of it since the start of the machine and what the host gave to others, in ticks; zeros where unknown."""
    stat = Path("/proc/stat")
    ticks = [int(each) for each in stat.read_text().split("\n", 1)[0].split()[1:9]] if stat.exists() else [0] * 8
    return sum(ticks), ticks[7]


@asynccontextmanager
async def _kept_busy(client: aiohttp.ClientSession, base: str, busy: int, numbers: Iterator[int],
                     figures: Figures) -> AsyncIterator[None]:
    """So many customers write on as soon as they are answered, ten messages to a conversation."""
    async def customer(number: int) -> None:
        for turn in itertools.count():
            body = {"sender": f"busy-{number}-{turn // 10}", "message_id": f"busy-{next(numbers)}",
                    "text": MESSAGES[(number + turn) % len(MESSAGES)]}
            began = time.perf_counter()
            async with client.post(f"{base}/api/channels/http/messages", json=body,
                                   headers={"Authorization": f"Bearer {SECRET}"}) as answer:
                await answer.read()
                if answer.status not in (200, 202):
                    raise RuntimeError(f"the HTTP channel answered {answer.status}")
            figures.after_the_turn.append(time.perf_counter() - began)

    customers = [asyncio.create_task(customer(number)) for number in range(busy)]
    try:
        yield
        failed = next((task for task in customers if task.done()), None)
        if failed is not None:
            failed.result()
    finally:
        for task in customers:
            task.cancel()
        await asyncio.gather(*customers, return_exceptions=True)


async def _timed(after: float, post: Coroutine[Any, Any, None]) -> float:
    await asyncio.sleep(after)
    began = time.perf_counter()
    await post
    return time.perf_counter() - began


async def _webhook(client: aiohttp.ClientSession, base: str, double: Double, number: int) -> None:
    """A message of a customer of its own, as Telegram posts it."""
    update = double.say(BOT, 1000 + number, MESSAGES[number % len(MESSAGES)])
    headers = {SECRET_HEADER: webhook_secret(SECRET, BOT)}
    async with client.post(base + webhook_path(BOT), json=update, headers=headers) as answer:
        if answer.status != 204:
            raise RuntimeError(f"the webhook answered {answer.status}")


async def _chat(client: aiohttp.ClientSession, base: str, number: int) -> None:
    """A message of a visitor of their own."""
    body = {"message_id": f"chat-{number}", "text": MESSAGES[number % len(MESSAGES)]}
    async with client.post(f"{base}/api/chat/messages", json=body,
                           headers={"Cookie": f"warmline_visitor={number:064d}"}) as answer:
        if answer.status != 202:
            raise RuntimeError(f"the web chat answered {answer.status}")


def run(posts: int = 300, busy: int = 60, databases: tuple[str, ...] = ()) -> dict[str, Any]:
    """Measure on each database, print the table and write results/acknowledge.json."""
    found: dict[str, dict[str, float]] = {}
    if "sqlite" in databases or not databases:
        with tempfile.TemporaryDirectory(prefix="warmline-acknowledge-") as folder:
            found["SQLite"] = measure(Path(folder), f"sqlite:///{folder}/warmline.db", posts, busy).shown()
    if "postgresql" in databases or not databases:
        with tempfile.TemporaryDirectory(prefix="warmline-acknowledge-") as folder, postgres_server() as url:
            if url is None:
                print("PostgreSQL is not installed; left out")
            else:
                found["PostgreSQL"] = measure(Path(folder), url, posts, busy).shown()
    Console().print(report(found, busy))
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "acknowledge.json").write_text(json.dumps(found, indent=2))
    return found


def report(found: dict[str, dict[str, float]], busy: int) -> Table:
    """The table that is printed."""
    table = Table(title=f"Acknowledged after the commit, while {busy} customers keep the bot busy")
    for heading in ("", *found, "goal"):
        table.add_column(heading, justify="left" if not heading else "right")
    goal = f"≤ {GOAL_MS:.0f} ms"
    for what, name, wanted in (
            ("Telegram's webhook, p50", "webhook_p50", ""), ("Telegram's webhook, p99", "webhook_p99", goal),
            ("web chat, p50", "chat_p50", ""), ("web chat, p99", "chat_p99", goal),
            ("answered after the whole turn, p50", "after_the_turn_p50", ""),
            ("answered after the whole turn, p99", "after_the_turn_p99", "")):
        table.add_row(what, *(f"{figures[f'{name}_ms']:.1f} ms" for figures in found.values()), wanted)
    for what, name in (("webhook against the whole turn, p50", "webhook_p50"),
                       ("webhook against the whole turn, p99", "webhook_p99"),
                       ("web chat against the whole turn, p99", "chat_p99")):
        table.add_row(what, *(f"{figures[f'{name}_ratio']:.3f} ×" for figures in found.values()), "")
    table.add_row("processor time the host took away", *(f"{figures['stolen']:.0%}" for figures in found.values()), "")
    return table


def main() -> None:
    """Measure and report."""
    arguments = argparse.ArgumentParser(prog="python -m bench.acknowledge", description=__doc__.splitlines()[0])
    arguments.add_argument("--posts", type=int, default=300, help="messages to each way in")
    arguments.add_argument("--busy", type=int, default=60, help="customers who keep the bot busy")
    arguments.add_argument("--database", choices=("sqlite", "postgresql"), nargs="+", default=(), help="only these")
    asked = arguments.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("bench: told to stop"))  # and end what was started
    run(asked.posts, asked.busy, tuple(asked.database))


if __name__ == "__main__":
    main()

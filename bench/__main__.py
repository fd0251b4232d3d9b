"""`make bench`: Warmline's whole path beside stock Rasa; prints a table with the ratios and writes results/bench.json.

After it come the SLA clocks at size (`python -m bench.clocks` runs them alone) and how soon messages are acknowledged
while the bot is busy (`python -m bench.acknowledge`).

Both answer the same messages, one server running at a time: start-up, memory, p50 and p95 a turn with one customer,
turns a second with twenty, and the turn time late in one long conversation. A customer has at most ten turns, except in
the long conversation. Warmline answers linked customers of the demo shop through its HTTP channel: store, NLU, anger,
dialogue, actions, store.
"""
from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import aiohttp
from rich.console import Console
from rich.table import Table
from sqlalchemy import select

from bench import acknowledge, clocks, exchange, search, stock
from bench import value as customer_value
from bench.messages import MESSAGES
from bench.processes import Started, answers, free_ports
from crm_store.database import Store
from crm_store.models import ChannelIdentity, Customer

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "results"
TOKEN = "bench-token-for-loopback-only"
Say = Callable[[str, str], Awaitable[float]]


async def one_customer(say: Say, turns: int) -> tuple[float, float]:
    """Median and 95th percentile of a turn, in ms."""
    times = [await say(f"single-{number // 10}", MESSAGES[number % len(MESSAGES)]) for number in range(turns)]
    return statistics.median(times) * 1e3, statistics.quantiles(times, n=20)[-1] * 1e3


async def twenty_customers(say: Say, turns: int) -> float:
    """Turns a second with twenty customers who each wait for their answer."""
    counter = itertools.count()

    async def customer(number: int) -> None:
        while (turn := next(counter)) < turns:
            await say(f"crowd-{number}-{turn // 200}", MESSAGES[turn % len(MESSAGES)])

    began = time.perf_counter()
    await asyncio.gather(*(customer(number) for number in range(20)))
    return turns / (time.perf_counter() - began)


async def long_conversation(say: Say, marks: tuple[int, ...]) -> dict[int, float]:
    """The time of a turn around each mark in one conversation, in ms (median of nine turns)."""
    times = [await say("long", MESSAGES[number % len(MESSAGES)]) for number in range(max(marks) + 5)]
    return {mark: statistics.median(times[max(0, mark - 5):mark + 4]) * 1e3 for mark in marks}


async def measure(say: Say, server: Started, turns: int, marks: tuple[int, ...]) -> dict[str, Any]:
    """Every figure of one running server."""
    for message in MESSAGES:
        await say("warm-up", message)
    p50, p95 = await one_customer(say, turns)
    rate = await twenty_customers(say, turns * 2)
    memory = server.memory_mb()
    return {"start_s": server.start_seconds, "p50_ms": p50, "p95_ms": p95, "turns_per_s": rate, "memory_mb": memory,
            "turn_ms": await long_conversation(say, marks)}


async def measure_stock(folder: Path, turns: int, marks: tuple[int, ...], epochs: int | None) -> dict[str, Any]:
    """Stock Rasa by its REST channel."""
    port = free_ports(1)[0]
    with stock.start(folder, port, epochs) as server:
        async with aiohttp.ClientSession() as client:
            async def say(sender: str, text: str) -> float:
                began = time.perf_counter()
                async with client.post(f"http://127.0.0.1:{port}/webhooks/rest/webhook",
                                       json={"sender": sender, "message": text}) as answer:
                    answer.raise_for_status()
                    await answer.read()
                return time.perf_counter() - began

            return await measure(say, server, turns, marks)


async def measure_warmline(folder: Path, turns: int, marks: tuple[int, ...],
                           database_url: str | None) -> dict[str, Any]:
    """Warmline by its HTTP channel, every process started by its own supervisor."""
    ports = free_ports(3)
    environment = {
        "WARMLINE_DATA_FOLDER": str(folder), "WARMLINE_DATABASE_URL": database_url or f"sqlite:///{folder}/warmline.db",
        "WARMLINE_HOST": "127.0.0.1", "WARMLINE_PORT": str(ports[0]), "WARMLINE_BOT_PORT": str(ports[1]),
        "WARMLINE_ACTIONS_PORT": str(ports[2]), "WARMLINE_HTTP_TOKEN": TOKEN, "WARMLINE_HTTP_RATE": "1000000",
    }
    warmline = [sys.executable, "-W", "ignore", "-m", "warmline"]
    prepared = await asyncio.create_subprocess_exec(*warmline, "prepare", cwd=ROOT, env={**os.environ, **environment})
    if await prepared.wait() != 0:
        sys.exit("bench: Warmline could not be prepared")
    store = Store(environment["WARMLINE_DATABASE_URL"])
    senders: dict[str, int] = {}
    with store.read() as session:
        customers = itertools.cycle(session.execute(select(Customer.id).order_by(Customer.id)).scalars().all())
    base = f"http://127.0.0.1:{ports[0]}"
    with Started([*warmline, "run"], cwd=ROOT, environment=environment, log=folder / "run.log",
                 ready=answers(f"{base}/readyz", lambda r: r.status_code == 200)) as server:
        async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {TOKEN}"}) as client:
            numbers = itertools.count()

            async def say(sender: str, text: str) -> float:
                if sender not in senders:
                    senders[sender] = next(customers)
                    _link(store, sender, senders[sender])
                body = {"sender": sender, "message_id": f"bench-{next(numbers)}", "text": text}
                began = time.perf_counter()
                async with client.post(f"{base}/api/channels/http/messages", json=body) as answer:
                    said = await answer.json()
                took = time.perf_counter() - began
                if answer.status != 200 or not said["replies"]:
                    sys.exit(f"bench: {text!r} was not answered: {answer.status} {said}")
                return took

            measured = await measure(say, server, turns, marks)
    store.close()
    return measured


def _link(store: Store, sender: str, customer_id: int) -> None:
    now = datetime.now(timezone.utc)
    with store.write() as session:
        session.add(ChannelIdentity(channel="http", external_id=sender, customer_id=customer_id, linked_at=now,
                                    created_at=now))


def report(stock_figures: dict[str, Any], ours: dict[str, Any]) -> list[tuple[str, str, str, str, str]]:
    """Rows of the table: what, stock, Warmline, ratio, goal."""
    def row(what: str, key: str, unit: str, goal: str) -> tuple[str, str, str, str, str]:
        theirs, mine = stock_figures[key], ours[key]
        return what, f"{theirs:.1f} {unit}", f"{mine:.1f} {unit}", f"{mine / theirs:.2f} ×", goal

    rows = [row("start-up", "start_s", "s", ""), row("memory, all processes", "memory_mb", "MB", "≤ 1.3 ×"),
            row("turn p50, 1 customer", "p50_ms", "ms", "≤ 0.5 ×"), row("turn p95, 1 customer", "p95_ms", "ms", ""),
            row("throughput, 20 customers", "turns_per_s", "turns/s", "≥ 3 ×")]
    for name, figures in (("stock", stock_figures), ("Warmline", ours)):
        first, *later = figures["turn_ms"].items()
        for mark, value in later:
            cells = [f"{first[1]:.1f} → {value:.1f} ms" if name == who else "" for who in ("stock", "Warmline")]
            rows.append((f"turn {mark} against turn {first[0]}, {name}", cells[0], cells[1],
                         f"{value / first[1]:.2f} ×", "≤ 1.3 ×" if name == "Warmline" else ""))
    return rows


def main() -> None:
    """Measure and report."""
    arguments = argparse.ArgumentParser(prog="python -m bench", description=__doc__.splitlines()[0])
    arguments.add_argument("--turns", type=int, default=200, help="turns with one customer; twice as many with 20")
    arguments.add_argument("--stock-marks", type=int, nargs="+", default=[10, 100, 200],
                           help="turns of stock's long conversation to measure (1,000 take a quarter of an hour)")
    arguments.add_argument("--stock-epochs", type=int, default=3,
                           help="epochs stock Rasa is trained for, which its speed and memory do not depend on; "
                                "0 for its own 100, which take hours")
    arguments.add_argument("--database-url", help="a PostgreSQL database for Warmline instead of SQLite")
    arguments.add_argument("--search", type=int, metavar="MESSAGES",
                           help="measure the search of a log of so many messages instead, beside LIKE")
    arguments.add_argument("--value", type=int, metavar="CUSTOMERS",
                           help="measure the value of so many customers instead, counted anew and only who bought")
    asked = arguments.parse_args()
    RESULTS.mkdir(exist_ok=True)
    if asked.value:
        customer_value.run(asked.value)
        return
    if asked.search:
        figures = search.run(asked.search, asked.database_url)
        (RESULTS / "search.json").write_text(json.dumps(figures, indent=2, ensure_ascii=False))
        return
    with tempfile.TemporaryDirectory(prefix="warmline-bench-") as folder:
        ours = asyncio.run(measure_warmline(Path(folder), asked.turns, (10, 100, 1000), asked.database_url))
    theirs = asyncio.run(measure_stock(RESULTS / "stock", asked.turns, tuple(asked.stock_marks),
                                       asked.stock_epochs or None))
    table = Table(title=f"{os.cpu_count()} cores, Python {platform.python_version()}")
    for heading in ("", "stock Rasa", "Warmline", "ratio", "goal"):
        table.add_column(heading, justify="left" if not heading else "right")
    rows = report(theirs, ours)
    for cells in rows:
        table.add_row(*cells)
    Console().print(table)
    (RESULTS / "bench.json").write_text(json.dumps({"stock": theirs, "warmline": ours, "rows": rows}, indent=2))
    print(f"written: {RESULTS / 'bench.json'}")
    clocks.run()
    acknowledge.run()
    exchange.run()


if __name__ == "__main__":
    main()

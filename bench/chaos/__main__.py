"""`python -m bench.chaos`: 2,000 messages of 100 customers while everything breaks, each answered once and in order.

Real processes under their supervisor on a real PostgreSQL; a double of the Telegram Bot API that fails one call in
five, with each kind of error; every process killed with signal 9 in turn, PostgreSQL stopped as if the power went, the
double restarted. In the end every message is followed by its ids from the customer through the store to Telegram.

Telegram cannot tell whether it has taken a message whose answer was lost (docs/adr/0016): such a message is sent once
more, then given up visibly. Those are counted one by one, and nothing else may be doubled, lost or out of order.
"""
from __future__ import annotations

import argparse
import fcntl
import itertools
import json
import os
import random
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import TextIO

import psutil
from rich.console import Console
from rich.table import Table
from sqlalchemy import select

from bench.chaos.customers import Customers
from bench.chaos.faults import Chance
from bench.chaos.telegram import ServedDouble
from bench.chaos.verdict import Chat, Verdict, Witness, judge, read_chats, unsettled
from bench.postgres import PostgresServer, postgres
from bench.processes import Started, answers, free_ports
from bench.telegram_double import Double
from crm_store.database import Store
from crm_store.models import SupportAgent
from crm_store.services.delivery import send_again

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "results"
TRAINED = ROOT / "var" / "trained"  # says what the dialogue model of `make run` was made from
LOCK = Path(tempfile.gettempdir()) / "warmline-chaos.lock"
BOT, TOKEN = 700000009, "700000009:a-token-that-opens-only-the-double"
WARMLINE = [sys.executable, "-W", "ignore", "-m", "warmline"]
READY_WITHIN, SETTLED_WITHIN = 240.0, 900.0
DISTURBANCES = ("bot", "actions", "service", "postgres", "telegram", "service", "bot", "actions", "postgres")


@dataclass
class Disturber:
    """Breaks one thing after the other, evenly over the time in which customers write, and waits until all is well."""

    customers: Customers
    server: Started
    ready: Callable[[], bool]
    telegram: ServedDouble
    database: PostgresServer
    plan: Sequence[str] = DISTURBANCES
    done: list[tuple[str, float, float]] = field(default_factory=list)
    not_ready: list[str] = field(default_factory=list)

    def run(self) -> None:
        """Break everything once the customers have said enough."""
        for number, what in enumerate(self.plan, start=1):
            wanted = self.customers.total * number // (len(self.plan) + 1)
            while len(self.customers.said_at) < wanted:
                if self.customers.stopping.wait(0.05):
                    return
            at = time.time()
            self._break(what)
            if not self._wait():
                self.not_ready.append(what)
            self.done.append((what, at, time.time() - at))

    def _break(self, what: str) -> None:
        if what == "postgres":
            self.database.stop()
            time.sleep(2)
            self.database.start()
        elif what == "telegram":
            self.telegram.stop()
            time.sleep(2)
            self.telegram.start()
        else:
            os.kill(self._pid_of(what), signal.SIGKILL)
            time.sleep(1)

    def _pid_of(self, name: str) -> int:
        for child in psutil.Process(self.server.pid).children(recursive=True):
            if child.cmdline()[-3:] == ["-m", "warmline", name]:
                return int(child.pid)
        raise RuntimeError(f"{name} does not run")

    def _wait(self) -> bool:
        deadline = time.monotonic() + READY_WITHIN
        while not self.ready():
            if time.monotonic() > deadline:
                return False
            time.sleep(0.2)
        return True


@dataclass(frozen=True)
class Asked:
    """What the command line asks for."""

    people: int
    each: int
    rate: float
    plan: Sequence[str]
    seed: int


@contextmanager
def only_one() -> Iterator[TextIO]:
    """Refuse to run beside another run on the same machine: it would measure the other one."""
    with LOCK.open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            sys.exit("bench: another chaos run is under way on this machine")
        yield lock


def run(asked: Asked, folder: Path, database: PostgresServer) -> tuple[Verdict, dict[str, object]]:
    """Start everything, let it break, and judge."""
    ports = free_ports(3)
    telegram = ServedDouble(Double([TOKEN]))
    chance = Chance(asked.rate, random.Random(asked.seed))
    environment = {
        "WARMLINE_DATA_FOLDER": str(folder), "WARMLINE_DATABASE_URL": database.url, "WARMLINE_HOST": "127.0.0.1",
        "WARMLINE_PORT": str(ports[0]), "WARMLINE_BOT_PORT": str(ports[1]), "WARMLINE_ACTIONS_PORT": str(ports[2]),
        "WARMLINE_TELEGRAM_TOKEN": TOKEN, "WARMLINE_TELEGRAM_API": telegram.base, "PYTHONUNBUFFERED": "1",
    }
    if TRAINED.exists():
        shutil.copy(TRAINED, folder)
    prepared = subprocess.run([*WARMLINE, "prepare"], cwd=ROOT, env={**os.environ, **environment}, check=False)
    if prepared.returncode != 0:
        sys.exit("bench: Warmline could not be prepared")
    store = Store(database.url)
    ready = answers(f"http://127.0.0.1:{ports[0]}/readyz", lambda answer: answer.status_code == 200)
    try:
        with Started([*WARMLINE, "run"], cwd=ROOT, environment=environment, log=folder / "run.log",
                     ready=ready) as server:
            customers = Customers(telegram.double, BOT, asked.people, asked.each, random.Random(asked.seed + 1))
            disturber = Disturber(customers, server, ready, telegram, database, asked.plan)
            return _observe(customers, disturber, chance, store)
    finally:
        store.close()
        telegram.stop()


def _observe(customers: Customers, disturber: Disturber, chance: Chance,
             store: Store) -> tuple[Verdict, dict[str, object]]:
    began = time.monotonic()
    double = disturber.telegram.double
    double.bot(TOKEN)
    double.chance = chance
    threads = [threading.Thread(target=work, daemon=True) for work in (customers.run, disturber.run)]
    for thread in threads:
        thread.start()
    try:
        while any(thread.is_alive() for thread in threads):
            time.sleep(5)
            print(f"\r{len(customers.said_at):,} of {customers.total:,} said, {len(disturber.done)} of "
                  f"{len(disturber.plan)} things broken", end="", file=sys.stderr, flush=True)
    finally:
        customers.stopping.set()
    print(file=sys.stderr)

    def chats() -> list[Chat]:
        return list(read_chats(store, BOT, list(customers.said_at), disturber.telegram.taken(BOT)).values())

    _settle(chats)
    broken = [(what, at) for what, at, _ in disturber.done]
    witness = Witness(chance.taken_unsaid(), broken)
    again = frozenset(judge(chats(), witness, {}).never_arrived)
    _send_again(store, again)
    _settle(chats)
    witness = Witness(chance.taken_unsaid(), broken, again)
    verdict = judge(chats(), witness, customers.said_at)
    verdict.counts["sent again from the desk"] = len(again)
    verdict.violations += [f"not ready {READY_WITHIN:.0f} s after {what}" for what in disturber.not_ready]
    if len(disturber.done) < len(disturber.plan) or len(customers.said_at) < customers.total:
        verdict.violations.append("not everything was said or broken: this proves nothing")
    return verdict, {
        "seconds": time.monotonic() - began, "calls": chance.calls, "faults": dict(chance.counts),
        "updates_twice": customers.repeated, "broken": [(what, took) for what, _, took in disturber.done]}


def _settle(chats: Callable[[], list[Chat]]) -> None:
    deadline = time.monotonic() + SETTLED_WITHIN
    while unsettled(chats()) and time.monotonic() < deadline:
        time.sleep(1)


def _send_again(store: Store, message_ids: frozenset[int]) -> None:
    """What an agent does at the desk with what was given up."""
    for message_id in sorted(message_ids):
        with store.write() as session:
            agent = session.execute(select(SupportAgent).order_by(SupportAgent.id).limit(1)).scalar_one()
            send_again(session, message_id, agent, datetime.now(timezone.utc))


def report(verdict: Verdict, figures: dict[str, object]) -> Table:
    """The table that is printed."""
    table = Table(title="What became of every message")
    table.add_column("")
    table.add_column("", justify="right")
    for what, count in verdict.counts.items():
        table.add_row(what, f"{count:,}")
    table.add_row("updates that came twice", f"{figures['updates_twice']:,}")
    table.add_row("calls of the Bot API", f"{figures['calls']:,}")
    faults = figures["faults"]
    assert isinstance(faults, dict)
    table.add_row("of these failed", f"{sum(faults.values()):,}")
    for kind, count in sorted(faults.items()):
        table.add_row(f"  {kind}", f"{count:,}")
    table.add_row("seen twice, because the answer to the first was lost", f"{sum(verdict.doubled.values()):,}")
    for kind, count in sorted(verdict.doubled.items()):
        table.add_row(f"  {kind}", f"{count:,}")
    broken = figures["broken"]
    assert isinstance(broken, list)
    for what, group in itertools.groupby(sorted(broken), lambda each: each[0]):
        table.add_row(f"{what} broken, and all well again after",
                      ", ".join(f"{seconds:.0f} s" for _, seconds in group))
    if len(verdict.waits) > 1:
        parts = statistics.quantiles(verdict.waits, n=100)
        table.add_row("answer on Telegram, p50 / p95 / p99",
                      " / ".join(f"{parts[at]:.1f} s" for at in (49, 94, 98)))
    table.add_row("seconds in all", f"{figures['seconds']:.0f}")
    table.add_row("lost, out of order, stuck, or doubled for no such reason", f"{len(verdict.violations)}")
    return table


def main() -> int:
    """Run and report; 1 where anything was wrong."""
    parser = argparse.ArgumentParser(prog="python -m bench.chaos", description=__doc__.splitlines()[0])
    parser.add_argument("--people", type=int, default=100)
    parser.add_argument("--each", type=int, default=20, help="messages of each")
    parser.add_argument("--rate", type=float, default=0.2, help="the part of the calls that fails")
    parser.add_argument("--calm", action="store_true", help="break nothing")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("bench: told to stop"))
    asked = Asked(given.people, given.each, 0.0 if given.calm else given.rate, () if given.calm else DISTURBANCES,
                  given.seed)
    with only_one(), postgres() as database, tempfile.TemporaryDirectory(prefix="warmline-chaos-") as folder:
        if database is None:
            sys.exit("bench: PostgreSQL (initdb, pg_ctl) is not installed")
        verdict, figures = run(asked, Path(folder), database)
        if verdict.violations:
            RESULTS.mkdir(exist_ok=True)
            (RESULTS / "chaos.log").write_bytes((Path(folder) / "run.log").read_bytes())
    Console().print(report(verdict, figures))
    for violation in verdict.violations[:50]:
        print(f"  wrong: {violation}")
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "chaos.json").write_text(json.dumps(
        {**figures, "counts": verdict.counts, "doubled": verdict.doubled, "violations": verdict.violations,
         "waits": sorted(verdict.waits)}, indent=2))
    return 1 if verdict.violations else 0


if __name__ == "__main__":
    sys.exit(main())

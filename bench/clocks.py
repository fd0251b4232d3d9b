"""The SLA clocks at size: 100,000 open, one in a hundred due within the next minute, on SQLite and on PostgreSQL.

The loop of the service (`gateway.clock.run_clock` at its default interval) watches them in real time: how long after it
was due a broken promise is found and committed, and how long one look takes; then the same number due all at once.
Beside it a naive worker, which loads every open clock and reckons each: what looking costs when it costs what is open.
"""
from __future__ import annotations

import argparse
import asyncio
import json
import math
import random
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any
from unittest import mock

import sqlalchemy as sa
from rich.console import Console
from rich.table import Table
from sqlalchemy import event, select
from sqlalchemy.orm import Session, joinedload

from bench.postgres import postgres_server
from crm_store.attachment_files import AttachmentFiles
from crm_store.database import Store
from crm_store.live import Broadcast
from crm_store.models import (
    BusinessCalendar,
    ChannelIdentity,
    Conversation,
    SlaClock,
    SlaPolicy,
    SupportAgent,
    Team,
    Ticket,
)
from crm_store.schema import migrate
from crm_store.services import sla
from gateway.bot_client import BotClient
from gateway.clock import look_at_clocks, run_clock
from gateway.deps import GatewayDeps
from warmline.settings import Settings

RESULTS = Path(__file__).resolve().parent.parent / "results"
HOUR = timedelta(hours=1)
LAG_GOAL, LOOK_GOAL = 5.0, 1.0  # seconds: 99th percentile, and the longest


@dataclass
class Seen:
    """What the looks found: lags, lengths and processor time of the worker in seconds, up to the commit."""

    lags: list[float] = field(default_factory=list)
    looks: list[float] = field(default_factory=list)
    processor: list[float] = field(default_factory=list)

    def tick(self, session: Session, now: datetime, limit: int = 100) -> list[sla.SlaHappening]:
        """`sla.tick`, timed."""
        began, busy = time.perf_counter(), time.thread_time()
        found = _tick(session, now, limit)

        def committed(_session: Session) -> None:
            at = datetime.now(timezone.utc)
            self.looks.append(time.perf_counter() - began)
            self.processor.append(time.thread_time() - busy)
            self.lags += [(at - each.at).total_seconds() for each in found if each.kind == "breached"]

        event.listen(session, "after_commit", committed, once=True)
        return found


_tick = sla.tick


@dataclass(frozen=True)
class Figures:
    """Of one database. Seconds."""

    lag_p50: float
    lag_p99: float
    longest_look: float
    longest_look_processor: float
    all_at_once: float
    naive_look: float


def seed(store: Store, clocks: int, now: datetime) -> None:
    """As many open clocks, two a ticket, none with anything to come for an hour."""
    rng = random.Random(7)
    with store.write() as session:
        team, lead_team = Team(name="front", level="front_line"), Team(name="experts", level="experts")
        calendar = BusinessCalendar(name="always", time_zone="Asia/Shanghai", holidays=None, closing_days=[],
                                    weekly={str(day): [["00:00", "24:00"]] for day in range(7)})
        session.add_all([team, lead_team, calendar])
        session.flush()
        session.add_all([
            SupportAgent(login=login, name=login, password_hash="-", role=role, team_id=of.id, languages=["zh"],
                         capacity=10**6, created_at=now)
            for login, role, of in (("agent", "agent", team), ("lead", "lead", team), ("expert", "lead", lead_team))])
        session.add(SlaPolicy(name="all", position=1, calendar_id=calendar.id, first_response_seconds=900,
                              next_response_seconds=900, resolution_seconds=86_400))
        session.flush()
        tickets = clocks // 2
        for start in range(0, tickets, 5000):
            ids = range(start + 1, min(start + 5000, tickets) + 1)
            for table, rows in _rows(ids, now):
                session.execute(sa.insert(table), rows)
            session.execute(sa.insert(SlaClock.__table__), list(_clocks(ids, now, rng)))
    if store.engine.dialect.name == "postgresql":
        with store.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.exec_driver_sql("ANALYZE")


def _rows(ids: range, now: datetime) -> Iterator[tuple[Any, list[dict[str, Any]]]]:
    yield ChannelIdentity.__table__, [
        {"id": n, "channel": "http", "external_id": f"customer-{n}", "created_at": now} for n in ids]
    yield Conversation.__table__, [
        {"id": n, "identity_id": n, "channel": "http", "status": "open", "version": 2, "assignee_id": 1, "team_id": 1,
         "language": "zh", "created_at": now, "updated_at": now, "last_customer_message_at": now} for n in ids]
    yield Ticket.__table__, [
        {"id": n, "number": f"C{1000 + n}", "kind": "handoff", "conversation_id": n, "status": "open",
         "stage": "received", "level": "front_line", "summary": "…", "language": "zh", "assignee_id": 1, "cycle": 1,
         "opened_at": now, "idempotency_key": f"seed:{n}"} for n in ids]


def _clocks(ids: range, now: datetime, rng: random.Random) -> Iterator[dict[str, Any]]:
    for n in ids:
        yield _clock(n, "first_response", 900, now + HOUR * rng.uniform(2, 20))
        yield _clock(n, "resolution", 86_400, now + HOUR * rng.uniform(25, 40))


def _clock(ticket: int, promise: str, target: int, due_at: datetime) -> dict[str, Any]:
    started = due_at - timedelta(seconds=target)
    return {"ticket_id": ticket, "policy_id": 1, "promise": promise, "cycle": 1, "state": "running",
            "target_seconds": target, "elapsed_seconds": 0, "around_the_clock": False, "calendar_id": 1,
            "started_at": started, "resumed_at": started, "due_at": due_at, "warned_percent": 0,
            "next_event_at": due_at - timedelta(seconds=target / 2)}


def make_due(session: Session, count: int, start: datetime, window: float = 0.0) -> None:
    """Let the first responses of as many tickets come due, spread over ``window`` seconds from ``start`` on."""
    clocks = session.execute(
        select(SlaClock).where(SlaClock.state == "running", SlaClock.promise == "first_response")
        .order_by(SlaClock.id).limit(count)).scalars().all()
    for number, clock in enumerate(clocks):
        clock.due_at = clock.next_event_at = start + timedelta(seconds=window * number / count)
        clock.warned_percent = 90


def naive_look(store: Store, now: datetime) -> int:
    """Load every open clock and reckon each; how many are due."""
    with store.write() as session:
        clocks = session.execute(select(SlaClock).where(SlaClock.state == "running")
                                 .options(joinedload(SlaClock.calendar))).scalars()
        return sum(sla.schedule_of(clock).add(clock.resumed_at, timedelta(
            seconds=clock.target_seconds - clock.elapsed_seconds)) < now for clock in clocks)


async def watch(store: Store, window: float, due: int) -> float:
    """The service's own loop while so many come due; then as many at once: how long those took, all looks together."""
    deps = GatewayDeps(store=store, broadcast=Broadcast(), nudge=asyncio.Event(),
                       clock=lambda: datetime.now(timezone.utc), bot=BotClient("http://127.0.0.1:9", "-", 1.0),
                       secret="-", http_token="-", files=AttachmentFiles(Path(tempfile.gettempdir(), "no-attachments")))
    loop = asyncio.create_task(run_clock(deps, Settings().clock_interval))
    await deps.transactions.write(lambda session: make_due(session, due, deps.clock() + timedelta(seconds=6), window))
    await asyncio.sleep(window + 15)
    loop.cancel()
    with suppress(asyncio.CancelledError):
        await loop
    await deps.transactions.write(lambda session: make_due(session, due, deps.clock() - timedelta(seconds=1)))
    began = time.perf_counter()
    found = await look_at_clocks(deps)
    took = time.perf_counter() - began
    deps.transactions.close()
    assert found >= due, (found, due)
    return took


def measure(url: str, clocks: int, due: int, window: float) -> Figures:
    """Every figure on one database, which is empty."""
    migrate(url)
    store = Store(url)
    seed(store, clocks, datetime.now(timezone.utc))
    seen = Seen()
    with mock.patch.object(sla, "tick", seen.tick):
        at_once = asyncio.run(watch(store, window, due))
    real = seen.lags[:due]
    began = time.perf_counter()
    naive_look(store, datetime.now(timezone.utc))
    naive = time.perf_counter() - began
    store.close()
    if len(seen.lags) != 2 * due:
        raise SystemExit(f"bench: {len(seen.lags)} of {2 * due} broken promises were found")
    return Figures(_percentile(real, 0.5), _percentile(real, 0.99), max(seen.looks), max(seen.processor), at_once,
                   naive)


def _percentile(values: list[float], share: float) -> float:
    return sorted(values)[math.ceil(share * len(values)) - 1]


def run(clocks: int = 100_000, due: int = 1000, window: float = 60.0,
        databases: tuple[str, ...] = ()) -> dict[str, Any]:
    """Measure on each database, print the table and write results/clocks.json."""
    found: dict[str, Figures] = {}
    if "sqlite" in databases or not databases:
        with tempfile.TemporaryDirectory(prefix="warmline-clocks-") as folder:
            found["SQLite"] = measure(f"sqlite:///{folder}/clocks.db", clocks, due, window)
    if "postgresql" in databases or not databases:
        with postgres_server() as url:
            if url is None:
                print("PostgreSQL is not installed; left out")
            else:
                found["PostgreSQL"] = measure(url, clocks, due, window)
    table = Table(title=f"{clocks:,} open SLA clocks, {due:,} due within {window:.0f} s")
    for heading in ("", *found, "goal"):
        table.add_column(heading, justify="left" if not heading else "right")
    for what, show, goal in (
        ("found after, median", lambda f: f"{f.lag_p50:.2f} s", ""),
        ("found after, p99", lambda f: f"{f.lag_p99:.2f} s", f"≤ {LAG_GOAL:.0f} s"),
        ("longest look (one transaction)", lambda f: f"{f.longest_look:.2f} s", f"≤ {LOOK_GOAL:.0f} s"),
        ("its processor time", lambda f: f"{f.longest_look_processor:.2f} s", ""),
        (f"{due:,} due at once, all looks", lambda f: f"{f.all_at_once:.2f} s", ""),
        ("naive: one look", lambda f: f"{f.naive_look:.2f} s", ""),
        ("naive look against the longest of ours", lambda f: f"{f.naive_look / f.longest_look:.0f} ×", ""),
    ):
        table.add_row(what, *(show(figures) for figures in found.values()), goal)
    Console().print(table)
    figures = {name: asdict(each) for name, each in found.items()}
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "clocks.json").write_text(json.dumps(figures, indent=2))
    return figures


def main() -> None:
    """Measure and report."""
    arguments = argparse.ArgumentParser(prog="python -m bench.clocks", description=__doc__.splitlines()[0])
    arguments.add_argument("--clocks", type=int, default=100_000, help="open clocks")
    arguments.add_argument("--due", type=int, default=1000, help="of them due within the window")
    arguments.add_argument("--window", type=float, default=60.0, help="seconds, in real time")
    arguments.add_argument("--database", choices=("sqlite", "postgresql"), nargs="+", default=(), help="only these")
    asked = arguments.parse_args()
    run(asked.clocks, asked.due, asked.window, tuple(asked.database))


if __name__ == "__main__":
    main()

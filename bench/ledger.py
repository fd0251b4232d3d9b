"""The nightly job at size: a month ends for 100,000 customers with 1,000,000 ledger entries, on SQLite and PostgreSQL.

Every customer has a lot that lapses, half spent; nothing else is to be done, but looked for. Beside it the naive way,
one customer after the other, each in a unit of work of its own, measured on some of them and reckoned up.
"""
from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from rich.console import Console
from rich.table import Table

from bench.postgres import postgres_server
from crm_store.database import Store
from crm_store.models import Customer, PointsAllocation, PointsEntry, Tier
from crm_store.queries.points import lots_of
from crm_store.rules.points import Take, expiry_of, lapsed
from crm_store.schema import migrate
from crm_store.services.ledger import add_taking, lock_customer
from crm_store.services.nightly import begin_nightly, take_step

RESULTS = Path(__file__).resolve().parent.parent / "results"
NOW = datetime(2026, 12, 1, 0, 0, tzinfo=timezone.utc)
LOTS, POINTS, SPENT = 9, 100, 50  # a customer: a lot a month, the oldest half spent; ten entries with the spending
AT_ONCE = 2_000


@dataclass(frozen=True)
class Figures:
    """Of one database. Seconds; MB of memory that the job added to the process."""

    night: float
    longest_step: float
    median_step: float
    memory_mb: float
    second_night: float
    naive: float


def seed(store: Store, customers: int) -> None:
    """The customers with their ledgers; the oldest lot of each lapsed this very night."""
    with store.write() as session:
        session.add(Tier(code="silver", rank=0, name_zh="-", name_en="-", minimum_spend_fen=0, multiplier=1,
                         benefits_zh="-", benefits_en="-", anger_route=0.8, anger_watch=0.5))
    for first in range(1, customers + 1, AT_ONCE):
        ids = range(first, min(first + AT_ONCE, customers + 1))
        with store.write() as session:
            session.execute(sa.insert(Customer.__table__), [
                {"id": n, "number": f"C{n}", "name": "-", "language": "zh", "tier_code": "silver", "created_at": NOW}
                for n in ids])
            session.execute(sa.insert(PointsEntry.__table__), list(_entries(ids)))
            session.execute(sa.insert(PointsAllocation.__table__), [
                {"entry_id": n * 100, "lot_id": n * 100 - LOTS, "points": SPENT} for n in ids])
    with store.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("ANALYZE")


def _entries(ids: range) -> Iterator[dict[str, Any]]:
    for n in ids:
        for lot in range(LOTS):
            earned_at = NOW - timedelta(days=380 - 30 * lot)
            yield {"id": n * 100 - LOTS + lot, "customer_id": n, "kind": "earn", "points": POINTS,
                   "expires_at": expiry_of(earned_at), "created_at": earned_at, "idempotency_key": f"earn:{n}:{lot}"}
        yield {"id": n * 100, "customer_id": n, "kind": "spend", "points": -SPENT, "expires_at": None,
               "created_at": NOW - timedelta(days=9), "idempotency_key": f"spend:{n}"}


def continue_numbers(store: Store) -> None:
    """Let PostgreSQL number on after the ids that were given."""
    if store.engine.dialect.name == "postgresql":
        with store.write() as session:
            session.execute(sa.text("SELECT setval(pg_get_serial_sequence('points_entries', 'id'), "
                                    "(SELECT max(id) FROM points_entries))"))


def memory_mb() -> float:
    """What this process holds now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def night(store: Store, now: datetime) -> tuple[float, list[float], int, float]:
    """One run of the job: seconds in all and of each step, the points written off, and the most memory after a step."""
    began, steps, most = time.perf_counter(), list[float](), 0.0
    with store.write() as session:
        progress = begin_nightly(session, now, again=True)
    assert progress is not None
    while not progress.over:
        step_began = time.perf_counter()
        with store.write() as session:
            progress = take_step(session, progress, now)
        steps.append(time.perf_counter() - step_began)
        most = max(most, memory_mb())
    return time.perf_counter() - began, steps, progress.counts["points_lapsed"], most


def naive(store: Store, customers: int, now: datetime) -> float:
    """One customer after the other."""
    began = time.perf_counter()
    for customer in range(1, customers + 1):
        with store.write() as session:
            lock_customer(session, customer)
            for lot in lapsed(lots_of(session, customer), now):
                add_taking(session, customer, kind="expire", points=lot.left, takes=[Take(lot.left, lot=lot.key)],
                           key=f"expire:{lot.key}", now=now)
    return time.perf_counter() - began


def measure(url: str, customers: int, sample: int) -> Figures:
    """Every figure on one database, which is empty."""
    migrate(url)
    store = Store(url)
    seed(store, customers)
    continue_numbers(store)
    one_by_one = naive(store, sample, NOW) * customers / sample
    before = memory_mb()
    took, steps, gone, most = night(store, NOW)
    if gone != (customers - sample) * (POINTS - SPENT):
        raise SystemExit(f"bench: {gone} points were written off")
    again, _, nothing, _ = night(store, NOW)
    if nothing:
        raise SystemExit("bench: a second run wrote something off")
    store.close()
    return Figures(took * customers / (customers - sample), max(steps), statistics.median(steps),
                   max(0.0, most - before), again, one_by_one)


def run(customers: int = 100_000, sample: int = 1_000, databases: tuple[str, ...] = ()) -> dict[str, Any]:
    """Measure on each database, print the table and write results/ledger.json."""
    found: dict[str, Figures] = {}
    if "sqlite" in databases or not databases:
        with tempfile.TemporaryDirectory(prefix="warmline-ledger-") as folder:
            found["SQLite"] = measure(f"sqlite:///{folder}/ledger.db", customers, sample)
    if "postgresql" in databases or not databases:
        with postgres_server() as url:
            if url is None:
                print("PostgreSQL is not installed; left out")
            else:
                found["PostgreSQL"] = measure(url, customers, sample)
    table = Table(title=f"A month ends for {customers:,} customers with {customers * (LOTS + 1):,} entries")
    for heading in ("", *found):
        table.add_column(heading, justify="left" if not heading else "right")
    rows: tuple[tuple[str, Callable[[Figures], str]], ...] = (
        ("the whole job", lambda f: f"{f.night:.1f} s"),
        ("longest unit of work", lambda f: f"{f.longest_step:.2f} s"),
        ("median unit of work", lambda f: f"{f.median_step:.3f} s"),
        ("memory it added", lambda f: f"{f.memory_mb:.0f} MB"),
        ("the job again, nothing to do", lambda f: f"{f.second_night:.1f} s"),
        (f"naive, one by one (from {sample:,})", lambda f: f"{f.naive:.0f} s"),
        ("naive against ours", lambda f: f"{f.naive / f.night:.1f} ×"),
    )
    for what, show in rows:
        table.add_row(what, *(show(figures) for figures in found.values()))
    Console().print(table)
    figures = {name: asdict(each) for name, each in found.items()}
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "ledger.json").write_text(json.dumps(figures, indent=2))
    return figures


def main() -> None:
    """Measure and report."""
    arguments = argparse.ArgumentParser(prog="python -m bench.ledger", description=__doc__.splitlines()[0])
    arguments.add_argument("--customers", type=int, default=100_000, help="ten entries each")
    arguments.add_argument("--sample", type=int, default=1_000, help="of them done the naive way")
    arguments.add_argument("--database", choices=("sqlite", "postgresql"), nargs="+", default=(), help="only these")
    asked = arguments.parse_args()
    run(asked.customers, asked.sample, tuple(asked.database))


if __name__ == "__main__":
    main()

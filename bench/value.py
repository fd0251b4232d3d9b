"""Customer value at size: 100,000 customers with 1,000,000 orders on SQLite and PostgreSQL, anew and what changed.

Everybody is counted and judged anew, then one in a hundred buys something and only they are counted. Beside it the
naive way: one customer after the other, their orders read and judged in a unit of work of its own, measured on some of
them and reckoned up; it is given the parameters, since fitting them one by one makes no sense.
"""
from __future__ import annotations

import argparse
import json
import os
import random
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
from crm_store.models import Customer, CustomerValue, Order, Tier, ValueMark, ValueModel
from crm_store.schema import migrate
from crm_store.services.value import judge_values, learn_from_values, mark_everybody, recount_values

RESULTS = Path(__file__).resolve().parent.parent / "results"
NOW = datetime(2026, 12, 1, 0, 0, tzinfo=timezone.utc)
ORDERS_EACH = 10  # on average
AT_ONCE = 2_000
CHANGED = 100  # one customer in so many buys again
Step = Callable[..., "tuple[int, int | None]"]


@dataclass(frozen=True)
class Figures:
    """Of one database. Seconds, and MB of memory that all of it added to the process.

    Attributes:
        everything: counting, learning and judging everybody.
        counting: of that, from the orders.
        learning: of that, the quintiles and the parameters.
        judging: of that, everybody once more.
        longest_step: the longest that anybody waits for the store meanwhile, on SQLite.
        changed: counting and judging who bought since.
        orders_marked: what the marks add to writing an order, as a factor.
        naive: everybody, one by one.
        naive_changed: who bought since, one by one.
        memory_mb: added.
    """

    everything: float
    counting: float
    learning: float
    judging: float
    longest_step: float
    changed: float
    orders_marked: float
    naive: float
    naive_changed: float
    memory_mb: float


def seed(store: Store, customers: int) -> None:
    """The customers and their orders over three years, each with a pace of their own; some leave."""
    with store.write() as session:
        session.add(Tier(code="silver", rank=0, name_zh="-", name_en="-", minimum_spend_fen=0, multiplier=1,
                         benefits_zh="-", benefits_en="-", anger_route=0.8, anger_watch=0.5))
    draw = random.Random(1)
    for first in range(1, customers + 1, AT_ONCE):
        ids = range(first, min(first + AT_ONCE, customers + 1))
        with store.write() as session:
            session.execute(sa.insert(Customer.__table__), [
                {"id": n, "number": f"C{n}", "name": "-", "language": "zh", "tier_code": "silver", "created_at": NOW}
                for n in ids])
            session.execute(sa.insert(Order.__table__), list(_orders(ids, draw)))
    with store.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("ANALYZE")


def _orders(ids: range, draw: random.Random) -> Iterator[dict[str, Any]]:
    for n in ids:
        count = draw.randint(1, 2 * ORDERS_EACH - 1)
        first = draw.uniform(0, 700)
        for place in range(count):
            at = NOW - timedelta(days=1095 - first - draw.uniform(0, 395) * (place + 1) / count)
            yield _order(n, place, at, draw.randrange(1_000, 90_000))


def _order(customer: int, place: int, at: datetime, fen: int) -> dict[str, Any]:
    return {"number": f"W{customer}-{place}", "customer_id": customer, "status": "completed", "phone": "-",
            "address": "-", "total_fen": fen, "placed_at": at, "paid_at": at, "completed_at": at, "refunded_fen": 0}


def memory_mb() -> float:
    """What this process holds now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def run_through(store: Store, step: Step, now: datetime) -> tuple[float, float, int]:
    """A step of the nightly job to its end: seconds in all, of the longest unit of work, and how many of what."""
    began, longest, count = time.perf_counter(), 0.0, 0
    after: int | None = 0
    while after is not None:
        step_began = time.perf_counter()
        with store.write() as session:
            done, after = step(session, now, after)
        longest, count = max(longest, time.perf_counter() - step_began), count + done
    return time.perf_counter() - began, longest, count


def naive(store: Store, customers: int, now: datetime) -> float:
    """One customer after the other, seconds for each of them: the orders are read anew, and judged alone."""
    began = time.perf_counter()
    for customer in range(1, customers + 1):
        with store.write() as session:
            session.execute(sa.insert(ValueMark.__table__), [{"customer_id": customer}])
        with store.write() as session:
            recount_values(session, now, customer - 1, 1)
    return (time.perf_counter() - began) / customers


def buy(store: Store, customers: int, place: str, every: int) -> tuple[float, int]:
    """Some buy again, each in a unit of work of its own: seconds for one order, and how many there were."""
    began, count = time.perf_counter(), 0
    for customer in range(1, customers + 1, every):
        with store.write() as session:
            session.execute(sa.insert(Order.__table__), [_order(customer, 0, NOW, 9_900) | {
                "number": f"{place}{customer}"}])
        count += 1
    return (time.perf_counter() - began) / count, count


def marking_costs(store: Store, customers: int) -> float:
    """How much longer an order takes to write with the marks than without."""
    with_marks, _ = buy(store, customers, "M", CHANGED)
    with store.engine.begin() as connection:
        if connection.dialect.name == "postgresql":
            connection.exec_driver_sql("ALTER TABLE orders DISABLE TRIGGER orders_mark_insert")
        else:
            (made,) = connection.exec_driver_sql(
                "SELECT sql FROM sqlite_master WHERE name = 'orders_mark_insert'").one()
            connection.exec_driver_sql("DROP TRIGGER orders_mark_insert")
    without, _ = buy(store, customers, "N", CHANGED)
    with store.engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE orders ENABLE TRIGGER orders_mark_insert"
                                   if connection.dialect.name == "postgresql" else made)
    return with_marks / without


def measure(url: str, customers: int, sample: int) -> Figures:
    """Every figure on one database, which is empty."""
    migrate(url)
    store = Store(url)
    seed(store, customers)
    with store.write() as session:
        session.execute(sa.delete(ValueMark))
        mark_everybody(session)
    before = memory_mb()
    counting, longest, counted = run_through(store, recount_values, NOW)
    learning, fitting, _ = run_through(store, learn_from_values, NOW)
    judging, judged, _ = run_through(store, judge_values, NOW)
    added = memory_mb() - before
    if counted != customers:
        raise SystemExit(f"bench: {counted} customers were counted")
    _check(store, customers)
    _, bought = buy(store, customers, "B", CHANGED)
    changed, _, again = run_through(store, recount_values, NOW)
    if again != bought:
        raise SystemExit(f"bench: {again} customers were counted after {bought} had bought")
    each = naive(store, sample, NOW)
    marked = marking_costs(store, customers)
    store.close()
    return Figures(counting + learning + judging, counting, learning, judging, max(longest, fitting, judged), changed,
                   marked, each * customers, each * bought, max(0.0, added))


def _check(store: Store, customers: int) -> None:
    with store.read() as session:
        known = session.execute(sa.select(sa.func.count(CustomerValue.worth_fen))).scalar_one()
        sampled = session.execute(sa.select(ValueModel.sample)).scalar_one()
    if known != customers or not sampled:
        raise SystemExit(f"bench: {known} customers are judged, the model has learned from {sampled}")


def run(customers: int = 100_000, sample: int = 1_000, databases: tuple[str, ...] = ()) -> dict[str, Any]:
    """Measure on each database, print the table and write results/value.json."""
    found: dict[str, Figures] = {}
    if "sqlite" in databases or not databases:
        with tempfile.TemporaryDirectory(prefix="warmline-value-") as folder:
            found["SQLite"] = measure(f"sqlite:///{folder}/value.db", customers, sample)
    if "postgresql" in databases or not databases:
        with postgres_server() as url:
            if url is None:
                print("PostgreSQL is not installed; left out")
            else:
                found["PostgreSQL"] = measure(url, customers, sample)
    table = Table(title=f"The value of {customers:,} customers with about {customers * ORDERS_EACH:,} orders")
    for heading in ("", *found):
        table.add_column(heading, justify="left" if not heading else "right")
    rows: tuple[tuple[str, Callable[[Figures], str]], ...] = (
        ("everybody anew", lambda f: f"{f.everything:.1f} s"),
        ("  counting the orders", lambda f: f"{f.counting:.1f} s"),
        ("  learning the model", lambda f: f"{f.learning:.1f} s"),
        ("  judging everybody", lambda f: f"{f.judging:.1f} s"),
        ("longest unit of work", lambda f: f"{f.longest_step:.2f} s"),
        ("memory it added", lambda f: f"{f.memory_mb:.0f} MB"),
        (f"who bought, one in {CHANGED}", lambda f: f"{f.changed:.2f} s"),
        ("everybody against who bought", lambda f: f"{f.everything / f.changed:.0f} ×"),
        ("an order with its mark, against without", lambda f: f"{f.orders_marked:.2f} ×"),
        (f"naive, one by one (from {sample:,})", lambda f: f"{f.naive:.0f} s"),
        ("naive against ours", lambda f: f"{f.naive / f.everything:.1f} ×"),
        ("naive for who bought against ours", lambda f: f"{f.naive_changed / f.changed:.1f} ×"),
    )
    for what, show in rows:
        table.add_row(what, *(show(figures) for figures in found.values()))
    Console().print(table)
    figures = {name: asdict(each) for name, each in found.items()}
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "value.json").write_text(json.dumps(figures, indent=2))
    return figures


def main() -> None:
    """Measure and report."""
    arguments = argparse.ArgumentParser(prog="python -m bench.value", description=__doc__.splitlines()[0])
    arguments.add_argument("--customers", type=int, default=100_000, help="about ten orders each")
    arguments.add_argument("--sample", type=int, default=1_000, help="of them done the naive way")
    arguments.add_argument("--database", choices=("sqlite", "postgresql"), nargs="+", default=(), help="only these")
    asked = arguments.parse_args()
    run(asked.customers, asked.sample, tuple(asked.database))


if __name__ == "__main__":
    main()

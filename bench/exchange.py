"""An import at size: 100,000 customers and 100,000 orders with their points, on SQLite and PostgreSQL.

Beside it the naive way, one row after the other in a unit of work of its own, measured on some of them and reckoned up;
and how long another writer, such as a customer's message, waits at most while the import goes on.
"""
from __future__ import annotations

import argparse
import json
import random
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from rich.console import Console
from rich.table import Table

from bench.postgres import postgres_server
from crm_store.database import Store
from crm_store.models import Customer, Order, OrderItem, Product, Tier
from crm_store.schema import migrate
from crm_store.services.exchange import Wanted, import_file
from crm_store.services.messages import receive_message
from crm_store.services.points import settle_order

RESULTS = Path(__file__).resolve().parent.parent / "results"
NOW = datetime(2026, 11, 18, 2, 0, tzinfo=timezone.utc)
ZONE = ZoneInfo("Asia/Shanghai")
MESSAGE_EVERY = 0.05  # seconds between two messages of the customer who writes meanwhile


@dataclass(frozen=True)
class Figures:
    """Of one database. Seconds."""

    customers: float
    orders: float
    orders_again: float
    message_median: float
    message_longest: float
    naive_orders: float


def write_files(folder: Path, rows: int) -> tuple[Path, Path]:
    """The two files, the same at every run."""
    rng = random.Random(7)
    customers, orders = folder / "customers.csv", folder / "orders.csv"
    with customers.open("w", encoding="utf8") as file:
        file.write("number,name,phone,city,address,updated_at\n")
        for n in range(rows):
            file.write(f"C{n:06},客户{n},139{n:08},武汉,珞喻路 {n} 号,2026-11-01 10:00\n")
    with orders.open("w", encoding="utf8") as file:
        file.write("number,customer_number,status,phone,address,total_yuan,placed_at,paid_at,completed_at,items,"
                   "tracking_number,carrier_zh,shipped_at\n")
        for n in range(rows):
            at = NOW - timedelta(days=360) + timedelta(days=350) * n / rows
            paid, done = at + timedelta(hours=1), min(at + timedelta(days=7), NOW)
            file.write(f"O{n:06},C{rng.randrange(rows):06},completed,13900000000,珞喻路,199.00,{at.isoformat()},"
                       f"{paid.isoformat()},{done.isoformat()},A*1@99.00; B*2@50.00,T{n:06},中通,{paid.isoformat()}\n")
    return customers, orders


def open_shop(store: Store) -> None:
    """Two tiers and two products."""
    with store.write() as session:
        for rank, code in enumerate(("silver", "gold")):
            session.add(Tier(code=code, rank=rank, name_zh="-", name_en="-", minimum_spend_fen=rank * 200_000,
                             multiplier=1 + rank / 5, benefits_zh="-", benefits_en="-", anger_route=0.8,
                             anger_watch=0.5))
        session.add_all(Product(sku=sku, name_zh=sku, name_en=sku, price_fen=100, category="-", aliases=[])
                        for sku in ("A", "B"))


@contextmanager
def customer_writes(store: Store) -> Iterator[list[float]]:
    """Somebody writes all the while; how long each message took to be stored."""
    took, over = list[float](), threading.Event()

    def write() -> None:
        number = 0
        while not over.wait(MESSAGE_EVERY):
            began, number = time.perf_counter(), number + 1
            with store.write() as session:
                receive_message(session, channel="web", external_id="bench", text="在吗", now=NOW,
                                channel_message_id=f"b{number}")
            took.append(time.perf_counter() - began)

    thread = threading.Thread(target=write)
    thread.start()
    try:
        yield took
    finally:
        over.set()
        thread.join()


def bring(store: Store, path: Path, kind: str) -> float:
    """Import a file; seconds."""
    began = time.perf_counter()
    with path.open("rb") as stream:
        report = import_file(store, stream, Wanted(kind, path.name, ZONE), b"bench", lambda: NOW)
    if report.state != "done" or report.errors_total:
        raise SystemExit(f"bench: {report}")
    return time.perf_counter() - began


def naive(store: Store, rows: int) -> float:
    """One order after the other."""
    began = time.perf_counter()
    for n in range(rows):
        with store.write() as session:
            customer = session.query(Customer).filter_by(number=f"C{n:06}").one()
            products = [session.query(Product).filter_by(sku=sku).one() for sku in ("A", "B")]
            if session.query(Order).filter_by(number=f"N{n:06}").one_or_none() is None:
                order = Order(number=f"N{n:06}", customer_id=customer.id, status="completed", phone="1", address="-",
                              total_fen=19_900, placed_at=NOW, paid_at=NOW, completed_at=NOW)
                order.items = [OrderItem(product_id=each.id, quantity=1, price_fen=1) for each in products]
                session.add(order)
                session.flush()
                settle_order(session, order, NOW)
    return time.perf_counter() - began


def measure(url: str, rows: int, sample: int) -> Figures:
    """Every figure on one database, which is empty."""
    migrate(url)
    store = Store(url)
    open_shop(store)
    with tempfile.TemporaryDirectory(prefix="warmline-exchange-") as folder:
        customers, orders = write_files(Path(folder), rows)
        first = bring(store, customers, "customers")
        with customer_writes(store) as took:
            second = bring(store, orders, "orders")
        again = bring(store, orders, "orders")
    one_by_one = naive(store, sample) * rows / sample
    store.close()
    return Figures(first, second, again, statistics.median(took), max(took), one_by_one)


def run(rows: int = 100_000, sample: int = 500, databases: tuple[str, ...] = ()) -> dict[str, Any]:
    """Measure on each database, print the table and write results/exchange.json."""
    found: dict[str, Figures] = {}
    if "sqlite" in databases or not databases:
        with tempfile.TemporaryDirectory(prefix="warmline-exchange-") as folder:
            found["SQLite"] = measure(f"sqlite:///{folder}/exchange.db", rows, sample)
    if "postgresql" in databases or not databases:
        with postgres_server() as url:
            if url is None:
                print("PostgreSQL is not installed; left out")
            else:
                found["PostgreSQL"] = measure(url, rows, sample)
    table = Table(title=f"{rows:,} customers and {rows:,} completed orders come in")
    for heading in ("", *found):
        table.add_column(heading, justify="left" if not heading else "right")
    rows_shown: tuple[tuple[str, Callable[[Figures], str]], ...] = (
        ("customers", lambda f: f"{f.customers:.1f} s"),
        ("orders, with their points", lambda f: f"{f.orders:.1f} s"),
        ("the same orders again", lambda f: f"{f.orders_again:.1f} s"),
        ("a message meanwhile, median", lambda f: f"{f.message_median * 1e3:.0f} ms"),
        ("a message meanwhile, longest", lambda f: f"{f.message_longest * 1e3:.0f} ms"),
        (f"naive orders, one by one (from {sample:,})", lambda f: f"{f.naive_orders:.0f} s"),
        ("naive against ours", lambda f: f"{f.naive_orders / f.orders:.1f} ×"))
    for what, show in rows_shown:
        table.add_row(what, *(show(figures) for figures in found.values()))
    Console().print(table)
    figures = {name: asdict(each) for name, each in found.items()}
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "exchange.json").write_text(json.dumps({"rows": rows, **figures}, indent=2))
    return figures


def main() -> None:
    """Measure and report."""
    arguments = argparse.ArgumentParser(prog="python -m bench.exchange", description=__doc__.splitlines()[0])
    arguments.add_argument("--rows", type=int, default=100_000, help="of each file")
    arguments.add_argument("--sample", type=int, default=500, help="of them done the naive way")
    arguments.add_argument("--database", choices=("sqlite", "postgresql"), nargs="+", default=(), help="only these")
    asked = arguments.parse_args()
    run(asked.rows, asked.sample, tuple(asked.database))


if __name__ == "__main__":
    main()

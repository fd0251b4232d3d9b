"""Loads the demo shop: customers, a year of orders and points, conversations, the desk, the articles."""
from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.orm import Session

from crm_store.demo.desk import AGENTS, furnish_desk
from crm_store.demo.files import read_shop_files
from crm_store.demo.rows import insert_shop
from crm_store.demo.shopping import invent_orders, invent_people
from crm_store.demo.talks import replay_talks
from crm_store.models import Customer

__all__ = ["DemoShop", "load_demo_shop"]

SEED = 20261018
PASSWORD = "warmline"


@dataclass(frozen=True)
class DemoShop:
    """What was loaded; ``loaded`` is False where the store had customers already, and everything was left alone."""

    loaded: bool
    customers: int = 0
    orders: int = 0
    articles: int = 0
    complaints: int = 0


def load_demo_shop(
    session: Session, *, folder: Path, now: datetime, password: str = PASSWORD,
    passwords: Mapping[str, str] | None = None, seed: int = SEED,
) -> DemoShop:
    """Fill an empty store with a shop that has been open for a year before ``now``. Does nothing where customers are.

    The same seed, files and ``now`` give the same shop, hashes of passwords excepted.

    Args:
        session: the unit of work.
        folder: holds ``demo/*.json`` and ``kb/*.md``.
        now: the time it is today.
        password: the password of all six logins.
        passwords: passwords of single logins, which win over ``password``.
        seed: another one gives another shop.

    Raises:
        ValueError: a file is not written as it should be.
    """
    if session.execute(sa.select(Customer.id).limit(1)).first() is not None:
        return DemoShop(loaded=False)
    now = now.replace(microsecond=0)
    files, rng = read_shop_files(folder), random.Random(seed)
    furnish_desk(session, files, now, {login: (passwords or {}).get(login, password) for login, *_ in AGENTS})
    people = invent_people(rng, files.names, now)
    orders = invent_orders(rng, people, files.products, now)
    insert_shop(session, rng, people, orders, now)
    complaints = replay_talks(session, rng, people, files, now)
    return DemoShop(loaded=True, customers=len(people), orders=len(orders), articles=len(files.articles),
                    complaints=complaints)

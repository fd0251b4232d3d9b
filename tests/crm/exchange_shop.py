"""A shop to import into, and short ways to do it."""
from __future__ import annotations

import io
from collections.abc import Callable
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import select

from crm_store.database import Store
from crm_store.models import Customer, Product, Tier
from crm_store.queries.points import points_balance
from crm_store.services.exchange import Report, Wanted, check_file, import_file
from tests.crm.conftest import TIERS

ZONE = ZoneInfo("Asia/Shanghai")
KEY = b"tombstones"
ORDER = ("number,customer_number,status,phone,address,total_yuan,placed_at,paid_at,completed_at,items,"
         "tracking_number,carrier_zh,shipped_at\n")
Bring = Callable[..., Report]


def open_shop(store: Store, now: datetime) -> Store:
    """Tiers, a product and four customers."""
    with store.write() as session:
        for code, rank, spend, route, watch in TIERS:
            session.add(Tier(code=code, rank=rank, name_zh=code, name_en=code, minimum_spend_fen=spend,
                             multiplier=1 + rank / 2, benefits_zh="-", benefits_en="-", anger_route=route,
                             anger_watch=watch))
        session.flush()
        session.add(Product(sku="A", name_zh="甲", name_en="A", price_fen=100, category="x", aliases=[]))
        session.add_all(Customer(number=f"C{n}", name=f"N{n}", tier_code="silver", created_at=now) for n in range(1, 5))
    return store


def bringer(shop: Store, now: datetime) -> Bring:
    """Imports a text, or with ``dry`` only looks what would become of it."""
    def run(kind: str, text: str | bytes, *, at: datetime = now, dry: bool = False, **more: Any) -> Report:
        stream = io.BytesIO(text if isinstance(text, bytes) else text.encode("utf8", "surrogatepass"))
        wanted = Wanted(kind, "file", ZONE, **more)
        return check_file(shop, stream, wanted, KEY, at) if dry else import_file(shop, stream, wanted, KEY, lambda: at)

    return run


def order(number: str, customer: str = "C1", status: str = "completed", total: str = "100", done: str = "2026-10-08",
          parcel: str = "") -> str:
    return (f"{number},{customer},{status},13800138000,街 1 号,{total},2026-10-01,2026-10-01,{done},A*1@{total},"
            f"{parcel},{'中通' if parcel else ''},{'2026-10-02' if parcel else ''}\n")


def all_of(shop: Store, model: Any) -> list[Any]:
    with shop.read() as session:
        found = list(session.execute(select(model).order_by(*model.__table__.primary_key)).scalars())
        session.expunge_all()
        return found


def balance(shop: Store, number: str, now: datetime) -> int:
    with shop.read() as session:
        customer = session.execute(select(Customer.id).where(Customer.number == number)).scalar_one()
        return points_balance(session, customer, now)


def codes(report: Report) -> list[tuple[int, str | None, str]]:
    return [(error.line, error.column, error.code) for error in report.errors]

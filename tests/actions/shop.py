"""A small shop to talk about: customers with orders, parcels, points and rewards, articles, and a desk."""
from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import yaml

from crm_store.database import Store
from crm_store.models import (
    BusinessCalendar,
    ChannelIdentity,
    Customer,
    Order,
    OrderItem,
    Product,
    Reward,
    Shipment,
    SlaPolicy,
    SupportAgent,
    Team,
    Tier,
)
from crm_store.services.knowledge import save_article
from crm_store.services.points import grant_points

ARTICLES = Path(__file__).resolve().parents[2] / "data" / "kb"
TIERS = (
    ("silver", 0, "银卡", "Silver", 0, 1, "生日礼券\n每元 1 积分", "A birthday voucher\n1 point per ¥1", 0.80, 0.50),
    ("gold", 1, "金卡", "Gold", 200_000, 1.2, "每元 1.2 积分\n免运费", "1.2 points per ¥1\nFree delivery", 0.75, 0.45),
    ("platinum", 2, "铂金卡", "Platinum", 800_000, 1.5, "每元 1.5 积分\n专属客服",
     "1.5 points per ¥1\nYour own contact", 0.70, 0.40),
)
PRODUCTS = (
    ("K1", "恒温电热水壶", "Electric kettle", ["水壶", "烧水壶", "kettle"], 19_900),
    ("B1", "羊毛盖毯", "Wool blanket", ["毯子", "盖毯", "blanket"], 39_900),
    ("H1", "加湿器", "Humidifier", ["加湿", "humidifier"], 25_900),
)
REWARDS = (
    ("COUPON10", "10 元优惠券", "¥10 coupon", 200, 500, "silver"),
    ("MUG", "陶瓷马克杯一只", "Ceramic mug", 800, 80, "silver"),
    ("CANDLE", "香薰蜡烛一支", "Scented candle", 300, 0, "silver"),
    ("COUPON100", "100 元优惠券（金卡专享）", "¥100 coupon (Gold)", 1900, 100, "gold"),
    ("THROW", "羊毛盖毯（铂金专享）", "Wool throw (Platinum)", 500, 8, "platinum"),
)


@dataclass(frozen=True)
class Shop:
    """The store, and the ids of who is in it."""

    store: Store
    now: datetime
    lei: int
    ann: int


def open_shop(store: Store, now: datetime, *, articles: bool = True) -> Shop:
    """Fill an empty store.

    李雷 (gold, 1,280 points) has a kettle on its way (WL20261112003), a blanket delivered (WL20261020002), a humidifier
    paid (WL20261117001) and one more returned. Ann (platinum, 6,000 points) has one order, delivered.
    """
    with store.write() as session:
        for code, rank, zh, en, minimum, multiplier, benefits_zh, benefits_en, route, watch in TIERS:
            session.add(Tier(code=code, rank=rank, name_zh=zh, name_en=en, minimum_spend_fen=minimum,
                             multiplier=multiplier, benefits_zh=benefits_zh, benefits_en=benefits_en,
                             anger_route=route, anger_watch=watch))
        calendar = BusinessCalendar(name="shop", time_zone="Asia/Shanghai", closing_days=[],
                                    weekly={str(day): [["09:00", "21:00"]] for day in range(7)})
        session.add(calendar)
        teams = {level: Team(name=level, level=level) for level in ("front_line", "experts", "management")}
        session.add_all(teams.values())
        session.flush()
        for level, login, role in (("front_line", "wangmin", "agent"), ("experts", "chenwei", "agent"),
                                   ("management", "manager", "manager")):
            session.add(SupportAgent(login=login, name=login, password_hash="-", role=role, team_id=teams[level].id,
                                     languages=["zh", "en"], capacity=50, created_at=now))
        for position, (kind, first) in enumerate((("complaint", 7200), ("handoff", 900), ("request", 7200)), start=1):
            session.add(SlaPolicy(name=kind, position=position, ticket_kind=kind, first_response_seconds=first,
                                  next_response_seconds=first, resolution_seconds=86_400, calendar_id=calendar.id))
        products = {}
        for sku, zh, en, aliases, price in PRODUCTS:
            products[sku] = Product(sku=sku, name_zh=zh, name_en=en, aliases=aliases, price_fen=price, category="home")
        session.add_all(products.values())
        for code, zh, en, cost, stock, tier in REWARDS:
            session.add(Reward(code=code, name_zh=zh, name_en=en, cost_points=cost, stock=stock, minimum_tier=tier,
                               kind="gift"))
        lei = _customer(session, now, "WLC00001", "李雷", "zh", "13800138000", "gold")
        ann = _customer(session, now, "WLC00002", "Ann Miller", "en", "13900139000", "platinum")
        _order(session, lei, "WL20261117001", "paid", now - timedelta(days=1), [products["H1"]])
        shipped = _order(session, lei, "WL20261112003", "shipped", now - timedelta(days=6), [products["K1"]])
        session.add(Shipment(
            order_id=shipped.id, carrier_zh="顺丰速运", carrier_en="SF Express", tracking_number="SF1384620957123",
            shipped_at=now - timedelta(days=5), expected_at=now + timedelta(days=1),
            events=[{"at": (now - timedelta(days=1)).isoformat(), "zh": "已到达杭州转运中心",
                     "en": "Arrived at the Hangzhou hub"}]))
        delivered = _order(session, lei, "WL20261020002", "delivered", now - timedelta(days=29),
                           [products["B1"], products["K1"]])
        session.add(Shipment(order_id=delivered.id, carrier_zh="圆通", carrier_en="YTO", tracking_number="YT7",
                             shipped_at=now - timedelta(days=28), delivered_at=now - timedelta(days=26), events=[]))
        returned = _order(session, lei, "WL20260901001", "returned", now - timedelta(days=78), [products["B1"]])
        returned.refunded_at = now - timedelta(days=60)
        done = _order(session, ann, "WL20261101009", "delivered", now - timedelta(days=17), [products["H1"]])
        done.total_fen = 900_000
        for customer, points in ((lei, 1280), (ann, 6000)):
            grant_points(session, customer_id=customer.id, points=points, reason="start", idempotency_key="start",
                         now=now)
        if articles:
            for path in sorted(ARTICLES.glob("*.md")):
                save_article(session, now=now, **_article(path))
        return Shop(store, now, int(lei.id), int(ann.id))


def link(store: Store, sender: str, customer_id: int, now: datetime) -> None:
    """Make a sender of the web chat a known customer."""
    with store.write() as session:
        session.add(ChannelIdentity(channel="web", external_id=sender, customer_id=customer_id, linked_at=now,
                                    created_at=now))


def _customer(session: Any, now: datetime, number: str, name: str, language: str, phone: str, tier: str) -> Customer:
    customer = Customer(number=number, name=name, language=language, phone=phone, tier_code=tier,
                        created_at=now - timedelta(days=400))
    session.add(customer)
    session.flush()
    return customer


def _order(session: Any, customer: Customer, number: str, status: str, at: datetime, products: list[Product]) -> Order:
    order = Order(number=number, customer_id=customer.id, status=status, phone=customer.phone,
                  address="杭州市文三路 1 号", total_fen=sum(product.price_fen for product in products), placed_at=at,
                  paid_at=None if status == "unpaid" else at)
    session.add(order)
    session.flush()
    session.add_all(OrderItem(order_id=order.id, product_id=product.id, quantity=1, price_fen=product.price_fen)
                    for product in products)
    return order


def _article(path: Path) -> dict[str, Any]:
    _, head, body = path.read_text(encoding="utf-8").split("---\n", 2)
    _, zh, en = body.replace("## en", "## zh").split("## zh")
    return {**yaml.safe_load(head), "body_zh": zh.strip(), "body_en": en.strip()}

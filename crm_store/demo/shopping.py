"""Makes up the demo shop's customers and what they ordered in the last year; the same seed makes the same shop."""
from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from crm_store.rules.points import SHOP_ZONE

CUSTOMERS, ORDERS = 200, 1000
GUEST_ORDERS = 15
TIER_SHARES = {"silver": 150, "gold": 38, "platinum": 12}  # of the customers, the two of the tour included
SPEND_YUAN = {"silver": (150, 1_550), "gold": (2_800, 6_700), "platinum": (11_500, 17_000)}
ORDERS_OF = {"silver": (1, 5), "gold": (6, 11), "platinum": (11, 17)}
ENGLISH_SPEAKERS = 40
DAY = timedelta(days=1)
CARRIERS = (("中通快递", "ZTO Express", "ZT"), ("圆通速递", "YTO Express", "YT"), ("顺丰速运", "SF Express", "SF"),
            ("德邦快递", "Deppon Express", "DP"))
DISTRICTS = ("东湖区", "西城区", "南湖区", "北新区", "中山区", "江岸区")
NOTES = ("放驿站", "放快递柜", "周末送", "送货前请打电话", "Please call before delivery")


@dataclass
class Timeline:
    """What happened, and will happen, to an order: (time, status), oldest first."""

    steps: list[tuple[datetime, str]]
    refunded_at: datetime | None = None

    def status_at(self, now: datetime) -> str:
        """The status that the newest step before ``now`` gave it."""
        return [status for at, status in self.steps if at <= now][-1]

    def when(self, status: str, now: datetime) -> datetime | None:
        """When it first got a status, if that was before ``now``."""
        return next((at for at, name in self.steps if name == status and at <= now), None)


@dataclass
class OrderPlan:
    """One order of the demo shop. ``items`` are products with quantities."""

    person: Person | None
    placed_at: datetime
    timeline: Timeline
    items: list[tuple[dict[str, Any], int]]
    id: int = 0
    number: str = ""

    @property
    def total_fen(self) -> int:
        """What it cost."""
        return sum(int(product["price_fen"]) * quantity for product, quantity in self.items)

    def counts_at(self, at: datetime) -> bool:
        """Whether its money counts as spent at a time."""
        return self.timeline.status_at(at) not in ("unpaid", "cancelled", "returned") if self.placed_at <= at else False


@dataclass
class Person:
    """One customer of the demo shop. ``wanted_tier`` decides how much they buy; the tier itself is computed."""

    number: str
    name: str
    language: str
    phone: str
    email: str
    city: str
    address: str
    created_at: datetime
    wanted_tier: str
    id: int = 0
    tier: str = "silver"
    tier_since_at: datetime | None = None
    orders: list[OrderPlan] = field(default_factory=list)


# The two customers of the tour: (days ago, path, items by SKU), bought with even intervals.
TOUR = {
    "WLC00001": (
        (352, "normal", {"NJ-QU-003": 1, "NJ-BA-001": 2}), (300, "normal", {"NJ-BL-001": 1}),
        (255, "normal", {"NJ-KE-001": 1, "NJ-KI-002": 2}), (200, "normal", {"NJ-LA-001": 1}),
        (150, "normal", {"NJ-KI-001": 1}), (110, "returned_late", {"NJ-BL-001": 1}), (88, "normal", {"NJ-AI-003": 1}),
        (60, "normal", {"NJ-AI-004": 1, "NJ-PI-001": 1}), (30, "normal", {"NJ-BD-001": 1}),
        (12, "normal", {"NJ-AI-001": 1}), (6, "normal", {"NJ-KE-002": 1}),
        (2.2, "normal", {"NJ-BL-004": 1, "NJ-LA-002": 1}),
    ),
    "WLC00002": (
        (340, "normal", {"NJ-MA-002": 1}), (300, "normal", {"NJ-BD-001": 2}), (270, "normal", {"NJ-QU-001": 1}),
        (230, "normal", {"NJ-QU-002": 1}), (200, "normal", {"NJ-AI-003": 1, "NJ-AI-004": 1}),
        (150, "normal", {"NJ-BL-001": 2}), (110, "normal", {"NJ-KI-001": 1, "NJ-KI-004": 1}),
        (80, "normal", {"NJ-QU-001": 1}), (45, "normal", {"NJ-MA-001": 1}), (20, "normal", {"NJ-PI-001": 4}),
        (7, "normal", {"NJ-KE-002": 1}), (0.8, "normal", {"NJ-LA-001": 1}),
    ),
}
# Orders of the last days, so that every status is there at any time: (days ago, path).
FRESH = (
    (0.05, "unpaid"), (0.3, "unpaid"), (0.7, "unpaid"), (0.08, "normal"), (0.15, "normal"), (0.2, "normal"),
    (0.9, "normal"), (1.0, "normal"), (1.1, "normal"), (1.9, "normal"), (2.3, "normal"), (2.6, "normal"),
    (3.0, "normal"), (6.5, "normal"), (7.5, "normal"), (8.5, "normal"), (9.5, "returned_early"),
    (10.5, "returned_early"), (11.0, "returned_early"), (18.5, "returned_late"), (19.5, "returned_late"),
    (1.5, "cancelled"),
)


def invent_people(rng: random.Random, names: dict[str, list[Any]], now: datetime) -> list[Person]:
    """The 200 customers, 李雷 and Ann Miller first."""
    chinese = _chinese_names(rng, names["zh"], CUSTOMERS - ENGLISH_SPEAKERS)
    english = [name for name in names["en"] if name != "Ann Miller"][:ENGLISH_SPEAKERS - 1]
    known = [("李雷", "zh"), ("Ann Miller", "en")]
    others = [(name, "zh") for name in chinese if name != "李雷"][:CUSTOMERS - len(known) - len(english)]
    others += [(name, "en") for name in english]
    rng.shuffle(others)
    tiers = [tier for tier, count in TIER_SHARES.items() for _ in range(count)]
    tiers.remove("gold")
    tiers.remove("platinum")
    rng.shuffle(tiers)
    phones = ["13800138000", "13900139000"]
    while len(phones) < CUSTOMERS:
        phone = f"1{rng.choice('35789')}{rng.randrange(10):d}{rng.randrange(10**8):08d}"
        if phone not in phones:
            phones.append(phone)
    people = []
    for index, ((name, language), tier) in enumerate(zip(known + others, ["gold", "platinum", *tiers], strict=True)):
        city = rng.choice(names["cities"])
        age = rng.uniform(20, 1_000) if index > 1 else 800
        people.append(Person(
            number=f"WLC{index + 1:05}", name=name, language=language, phone=phones[index],
            email=f"{_latin(name)}{index + 1}@example.com" if language == "en" else f"customer{index + 1}@example.com",
            city=city[language], address=_address(rng, city, names["streets_zh"]), created_at=now - age * DAY,
            wanted_tier=tier))
    return people


def invent_orders(rng: random.Random, people: Sequence[Person], products: Sequence[dict[str, Any]],
                  now: datetime) -> list[OrderPlan]:
    """The 1,000 orders of the last 365 days, oldest first and numbered, some of them by guests."""
    by_sku = {product["sku"]: product for product in products}
    orders = []
    for person in people[:len(TOUR)]:
        for days, path, items in TOUR[person.number]:
            orders.append(_order(person, now - days * DAY, path, [(by_sku[sku], count) for sku, count in items.items()],
                                 None))
    counts = {person.number: rng.randint(*ORDERS_OF[person.wanted_tier]) for person in people[len(TOUR):]}
    silver = [person.number for person in people[len(TOUR):] if person.wanted_tier == "silver"]
    missing = ORDERS - GUEST_ORDERS - len(orders) - sum(counts.values())
    while missing:
        number = rng.choice(silver)
        if counts[number] + (1 if missing > 0 else -1) in range(1, 8):
            counts[number] += 1 if missing > 0 else -1
            missing += -1 if missing > 0 else 1
    fresh = list(FRESH)
    for person in people[len(TOUR):]:
        mine = [(rng.uniform(0.5, 363), _path(rng)) for _ in range(counts[person.number])]
        if fresh and person.wanted_tier == "silver" and len(mine) > 1:
            mine[0] = fresh.pop()
        counted = max(1, sum(path == "normal" for _, path in mine))
        budget = rng.uniform(*SPEND_YUAN[person.wanted_tier]) * 100 / counted
        for days, path in mine:
            placed_at = _by_day(now - days * DAY) if days > 15 else now - days * DAY
            orders.append(_order(person, placed_at, path, _basket(rng, products, budget), rng))
        first = min(order.placed_at for order in orders if order.person is person)
        person.created_at = min(person.created_at, first - timedelta(minutes=rng.randint(5, 60 * 24 * 20)))
    for _ in range(GUEST_ORDERS):
        orders.append(_order(None, _by_day(now - rng.uniform(16, 300) * DAY), "normal", _basket(rng, products, 25_000),
                             rng))
    orders.sort(key=lambda order: order.placed_at)
    a_day: Counter[str] = Counter()
    for order in orders:
        day = f"{order.placed_at.astimezone(SHOP_ZONE):%Y%m%d}"
        a_day[day] += 1
        order.number = f"WL{day}{a_day[day]:03}"
        if order.person is not None:
            order.person.orders.append(order)
    return orders


def parcel_of(rng: random.Random, order: OrderPlan, now: datetime) -> dict[str, Any] | None:
    """The parcel of an order that has left the house, as a row without ids; None for others."""
    shipped_at = order.timeline.when("shipped", now)
    if shipped_at is None:
        return None
    large = any(product["category"] == "mattresses" for product, _ in order.items)
    zh, en, prefix = CARRIERS[3] if large else rng.choices(CARRIERS[:3], (6, 5, 2))[0]
    arrives_at = next(at for at, status in order.timeline.steps if status == "delivered")
    on_the_way = arrives_at - shipped_at
    events = [
        (shipped_at, "包裹已揽收", "Parcel picked up"),
        (shipped_at + on_the_way * 0.15, "已离开发货地分拣中心", "Left the sorting centre of origin"),
        (shipped_at + on_the_way * 0.6, "已到达目的地分拣中心", "Arrived at the destination sorting centre"),
        (shipped_at + on_the_way * 0.92, "正在派送，请保持电话畅通", "Out for delivery; please keep your phone on"),
        (arrives_at, "已签收", "Delivered and signed for"),
    ]
    return {
        "carrier_zh": zh, "carrier_en": en, "tracking_number": f"{prefix}{rng.randrange(10**12):012d}",
        "shipped_at": shipped_at, "expected_at": _noon(shipped_at + rng.choice((2, 3, 3, 4)) * DAY),
        "delivered_at": arrives_at if arrives_at <= now else None,
        "events": [{"at": at.replace(microsecond=0).isoformat(), "zh": zh_text, "en": en_text}
                   for at, zh_text, en_text in events if at <= now],
    }


def _order(person: Person | None, placed_at: datetime, path: str, items: list[tuple[dict[str, Any], int]],
           rng: random.Random | None) -> OrderPlan:
    return OrderPlan(person, placed_at, _timeline(placed_at, path, rng), items)


def _timeline(placed_at: datetime, path: str, rng: random.Random | None) -> Timeline:
    """Its course; without ``rng`` every interval has its middle length."""

    def after(low_hours: float, high_hours: float) -> timedelta:
        middle = (low_hours + high_hours) / 2
        return timedelta(hours=rng.uniform(low_hours, high_hours) if rng else middle)

    steps = [(placed_at, "unpaid")]

    def then(status: str, low_hours: float, high_hours: float) -> datetime:
        steps.append((steps[-1][0] + after(low_hours, high_hours), status))
        return steps[-1][0]

    if path == "unpaid":
        steps.append((placed_at + DAY, "cancelled"))
        return Timeline(steps)
    then("paid", 0.02, 0.5)
    if path == "cancelled":
        cancelled_at = then("cancelled", 1, 5)
        return Timeline(steps, cancelled_at + after(1, 48))
    then("packed", 6, 16)
    then("shipped", 4, 18)
    then("delivered", 40, 104)
    if path == "normal":
        then("completed", 24, 168)
        return Timeline(steps)
    if path == "returned_late":
        then("completed", 24, 72)
    then("returning", 24, 72)
    returned_at = then("returned", 72, 192)
    return Timeline(steps, returned_at + after(24, 168))


def _path(rng: random.Random) -> str:
    return rng.choices(("normal", "cancelled", "unpaid", "returned_early", "returned_late"), (88, 3, 3, 3, 3))[0]


def _basket(rng: random.Random, products: Sequence[dict[str, Any]],
            budget_fen: float) -> list[tuple[dict[str, Any], int]]:
    """Products worth between three quarters of the budget and a tenth more than it, where prices allow."""
    counts: Counter[str] = Counter()
    by_sku = {product["sku"]: product for product in products}
    total = 0
    while total < budget_fen * 0.75:
        within = [each for each in products if total + each["price_fen"] <= budget_fen * 1.1]
        worthy = [each for each in within if each["price_fen"] >= budget_fen * 0.12] or within
        if not worthy:
            break
        chosen = rng.choices(worthy, [each["weight"] for each in worthy])[0]
        counts[chosen["sku"]] += 1
        total += chosen["price_fen"]
    if not counts:
        counts[min(products, key=lambda each: each["price_fen"])["sku"]] += 1
    return [(by_sku[sku], count) for sku, count in counts.items()]


def _by_day(at: datetime) -> datetime:
    """The same, some hours earlier where it would be in the dead of night."""
    return at - timedelta(hours=9) if 1 <= at.astimezone(SHOP_ZONE).hour < 8 else at


def _noon(at: datetime) -> datetime:
    return at.astimezone(SHOP_ZONE).replace(hour=18, minute=0, second=0, microsecond=0)


def _chinese_names(rng: random.Random, names: Sequence[str], count: int) -> list[str]:
    """The given names, and as many more as needed with a surname of one and the given name of another."""
    made = list(names)
    surnames, given = [name[0] for name in names if name[:2] != "欧阳"], [name[1:] for name in names if len(name) > 2]
    while len(made) <= count:
        name = rng.choice(surnames) + rng.choice(given)
        if name not in made:
            made.append(name)
    return made


def _address(rng: random.Random, city: dict[str, str], streets: Sequence[str]) -> str:
    province = "" if city["province_zh"].startswith(city["zh"]) else city["province_zh"]
    return (f"{province}{city['zh']}市{rng.choice(DISTRICTS)}{rng.choice(streets)}{rng.randint(1, 399)}号"
            f"{rng.randint(1, 28)}栋{rng.randint(1, 30)}{rng.randint(1, 4):02}室")


def _latin(name: str) -> str:
    return "".join(sign for sign in name.lower().replace(" ", ".") if sign in "abcdefghijklmnopqrstuvwxyz.")

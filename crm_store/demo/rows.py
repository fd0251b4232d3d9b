"""Turns the invented shop into rows and inserts them in bulk, the points and tiers worked out by their rules."""
from __future__ import annotations

import random
import string
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from crm_store.demo.ledger import PointsBook
from crm_store.demo.shopping import NOTES, OrderPlan, Person, parcel_of
from crm_store.models import (
    Consent,
    Customer,
    Order,
    OrderItem,
    PointsAllocation,
    PointsEntry,
    Product,
    Redemption,
    Reward,
    Shipment,
    Tier,
)
from crm_store.rules.points import points_for
from crm_store.rules.tiers import SPEND_PERIOD, raised

WELCOME_POINTS = 100
WELCOME_REASON = "新会员礼 · Welcome gift"
DAY = timedelta(days=1)
TOUR_REWARDS = {"WLC00001": "COUPON10", "WLC00002": "MINIHUM"}  # what they redeemed, once
Row = dict[str, Any]


def insert_shop(session: Session, rng: random.Random, people: Sequence[Person], orders: Sequence[OrderPlan],
                now: datetime) -> None:
    """Insert customers, consents, orders, parcels and the points ledger, and number what was invented."""
    for number, person in enumerate(people, _first_id(session, Customer)):
        person.id = number
    for number, order in enumerate(orders, _first_id(session, Order)):
        order.id = number
    book, redemptions = _work_out_points(session, rng, people, orders, now)
    _insert(session, Customer, [{
        "id": person.id, "number": person.number, "name": person.name, "language": person.language,
        "phone": person.phone, "email": person.email, "city": person.city, "address": person.address,
        "tier_code": person.tier, "tier_since_at": person.tier_since_at or person.created_at,
        "created_at": person.created_at} for person in people])
    _insert(session, Consent, _consents(rng, people, now))
    _insert_orders(session, rng, orders, now)
    _insert(session, PointsEntry, book.entries)
    session.execute(PointsAllocation.__table__.insert(), book.allocations)
    _insert(session, Redemption, redemptions)
    for model in (Customer, Order, PointsEntry):
        _go_on_numbering(session, model)


def _work_out_points(session: Session, rng: random.Random, people: Sequence[Person], orders: Sequence[OrderPlan],
                     now: datetime) -> tuple[PointsBook, list[Row]]:
    """Go through the year in order: welcome gifts, completed orders, returns, redemptions."""
    ladder = list(session.execute(sa.select(Tier).order_by(Tier.rank)).scalars())
    by_code = {tier.code: tier for tier in ladder}
    rewards = list(session.execute(sa.select(Reward).order_by(Reward.id)).scalars())
    book = PointsBook(_first_id(session, PointsEntry))
    redemptions: list[Row] = []

    def rise(person: Person, at: datetime) -> Tier:
        spend = sum(order.total_fen for order in person.orders
                    if (paid := order.timeline.when("paid", at)) and paid > at - SPEND_PERIOD and order.counts_at(at))
        tier: Tier = raised(by_code[person.tier], spend, ladder)
        if tier.code != person.tier:
            person.tier, person.tier_since_at = tier.code, at
        return tier

    def redeem(person: Person, at: datetime) -> None:
        tier, balance = rise(person, at), book.balance(person.id, at)
        wanted = TOUR_REWARDS.get(person.number)
        within = [reward for reward in rewards if reward.cost_points <= balance and reward.stock > 0
                  and by_code[reward.minimum_tier].rank <= tier.rank
                  and wanted in (None, reward.code)]
        if not within:
            return
        reward = rng.choice(within)
        key = f"redeem:{person.id}:demo:{len(redemptions) + 1}"
        entry = book.spend(person.id, reward.cost_points, at, key, reward.id)
        code = "WR" + "".join(rng.choice(string.ascii_uppercase) for _ in range(10))
        redemptions.append({"customer_id": person.id, "reward_id": reward.id, "entry_id": entry, "code": code,
                            "created_at": at})

    happenings: list[tuple[datetime, int, str, Person, OrderPlan | None]] = [
        (person.created_at, person.id, "welcome", person, None) for person in people
        if person.created_at > now - 420 * DAY or person.number in TOUR_REWARDS]
    for order in orders:
        if order.person is None:
            continue
        completed, returned = order.timeline.when("completed", now), order.timeline.when("returned", now)
        if completed:
            happenings.append((completed, order.id, "completed", order.person, order))
            wishes = order.person.number in TOUR_REWARDS and completed < now - 40 * DAY
            if wishes or rng.random() < 0.08:
                at = completed + rng.uniform(0.1, 20) * DAY
                if at <= now:
                    happenings.append((at, order.id, "redeem", order.person, None))
        if returned:
            happenings.append((returned, order.id, "returned", order.person, order))
    for at, _, what, person, about in sorted(happenings, key=lambda each: each[:3]):
        if what == "welcome":
            book.give(person.id, "grant", WELCOME_POINTS, at, f"grant:{person.id}:welcome", reason=WELCOME_REASON)
        elif what == "completed" and about is not None:
            points = points_for(about.total_fen, rise(person, at).multiplier)
            book.give(person.id, "earn", points, at, f"earn:order:{about.id}", order_id=about.id)
        elif what == "returned" and about is not None:
            book.take_back(person.id, about.id, at)
        elif not (person.number in TOUR_REWARDS and person.id in {row["customer_id"] for row in redemptions}):
            redeem(person, at)
    for person in people:
        rise(person, now)
        book.write_off(person.id, now)
    return book, redemptions


def _insert_orders(session: Session, rng: random.Random, orders: Sequence[OrderPlan], now: datetime) -> None:
    product_ids = {sku: key for key, sku in session.execute(sa.select(Product.id, Product.sku)).all()}
    rows, items, parcels = [], [], []
    for order in orders:
        person, timeline = order.person, order.timeline
        refunded_at = timeline.refunded_at
        rows.append({
            "id": order.id, "number": order.number, "customer_id": person.id if person else None,
            "status": timeline.status_at(now), "phone": person.phone if person else f"137{rng.randrange(10**8):08d}",
            "address": person.address if person else "浙江省杭州市西城区文化路8号2栋301室",
            "total_fen": order.total_fen, "placed_at": order.placed_at, "paid_at": timeline.when("paid", now),
            "completed_at": timeline.when("completed", now), "returned_at": timeline.when("returned", now),
            "refunded_at": refunded_at if refunded_at and refunded_at <= now else None,
            "note": rng.choice(NOTES) if rng.random() < 0.12 else None})
        items += [{"order_id": order.id, "product_id": product_ids[product["sku"]], "quantity": quantity,
                   "price_fen": product["price_fen"]} for product, quantity in order.items]
        parcel = parcel_of(rng, order, now)
        if parcel is not None:
            parcels.append({"order_id": order.id, **parcel})
    _insert(session, Order, rows)
    _insert(session, OrderItem, items)
    _insert(session, Shipment, parcels)


def _consents(rng: random.Random, people: Sequence[Person], now: datetime) -> list[Row]:
    rows = []
    for person in people:
        decisions = [("service", True), ("marketing", rng.random() < 0.6), ("memory", rng.random() < 0.9)]
        rows += [(person, purpose, granted, person.created_at) for purpose, granted in decisions]
        if decisions[1][1] and rng.random() < 0.15:
            revoked_at = person.created_at + (now - person.created_at) * rng.uniform(0.2, 0.95)
            rows.append((person, "marketing", False, revoked_at))
    return [{"customer_id": person.id, "purpose": purpose, "granted": granted, "channel": "web", "decided_at": at}
            for person, purpose, granted, at in rows]


def _insert(session: Session, model: Any, rows: list[Row]) -> None:
    if rows:
        session.execute(model.__table__.insert(), rows)


def _first_id(session: Session, model: Any) -> int:
    return int(session.execute(sa.select(sa.func.coalesce(sa.func.max(model.id), 0))).scalar_one()) + 1


def _go_on_numbering(session: Session, model: Any) -> None:
    """On PostgreSQL: let the next row get the id after those that were given by hand."""
    if session.get_bind().dialect.name == "postgresql":
        table = model.__tablename__
        session.execute(sa.text(f"SELECT setval(pg_get_serial_sequence('{table}', 'id'), max(id)) FROM {table}"))

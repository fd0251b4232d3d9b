"""What the ledger says: balances, history, points about to lapse, the tier and the rewards within reach."""
from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy import select
from sqlalchemy.orm import Session, aliased, joinedload

from crm_store.errors import NotFound
from crm_store.models import Customer, Order, PointsAllocation, PointsEntry, Reward, Tier
from crm_store.rules.points import SHOP_ZONE, Debt, Lot, balance_of, oldest_first
from crm_store.rules.tiers import SPEND_PERIOD, gap_to_next, raised

SPENT_STATUSES = ("paid", "packed", "shipped", "delivered", "completed", "returning")


@dataclass(frozen=True)
class TierStanding:
    """A customer's tier, what they spent in 365 days (fen), and the way to the next tier (None at the top)."""

    tier: Tier
    spend_fen: int
    next_tier: Tier | None
    gap_fen: int


def lots_of(session: Session, customer_id: int) -> list[Lot]:
    """The customer's lots with something left, lapsed ones included, oldest first."""
    taken = sa.func.coalesce(sa.func.sum(PointsAllocation.points), 0)
    rows = session.execute(
        select(PointsEntry.id, PointsEntry.points - taken, PointsEntry.expires_at, PointsEntry.origin_id)
        .outerjoin(PointsAllocation, PointsAllocation.lot_id == PointsEntry.id)
        .where(PointsEntry.customer_id == customer_id, PointsEntry.points > 0)
        .group_by(PointsEntry.id, PointsEntry.points, PointsEntry.expires_at, PointsEntry.origin_id)
        .having(PointsEntry.points > taken)
    )
    return oldest_first(Lot(key, int(left), expires_at, origin) for key, left, expires_at, origin in rows)


def debts_of(session: Session, customer_id: int) -> list[Debt]:
    """What returns still have to take back, oldest first."""
    taken = sa.func.coalesce(sa.func.sum(PointsAllocation.points), 0)
    rows = session.execute(
        select(PointsEntry.id, -PointsEntry.points - taken)
        .outerjoin(PointsAllocation, PointsAllocation.entry_id == PointsEntry.id)
        .where(PointsEntry.customer_id == customer_id, PointsEntry.kind == "reverse")
        .group_by(PointsEntry.id, PointsEntry.points)
        .having(-PointsEntry.points > taken)
        .order_by(PointsEntry.id)
    )
    return [Debt(key, int(left)) for key, left in rows]


def points_balance(session: Session, customer_id: int, now: datetime) -> int:
    """The points a customer has at ``now``; what has lapsed does not count, written off already or not.

    It is below zero only after a return of an order whose points had been spent.
    """
    return balance_of(lots_of(session, customer_id), debts_of(session, customer_id), now)


def points_history(session: Session, customer_id: int, limit: int = 20) -> list[PointsEntry]:
    """The newest ``limit`` entries of the ledger, newest first, with their orders and rewards."""
    return list(session.execute(
        select(PointsEntry).where(PointsEntry.customer_id == customer_id)
        .options(joinedload(PointsEntry.order), joinedload(PointsEntry.reward))
        .order_by(PointsEntry.id.desc()).limit(limit)
    ).scalars())


def points_expiring(
    session: Session, customer_id: int, now: datetime, within: timedelta = timedelta(days=60),
) -> list[tuple[date, int]]:
    """Points that lapse within ``within``: the last day on which they count (shop time) and how many, soonest first."""
    return expiring(lots_of(session, customer_id), now, within)


def expiring(lots: Sequence[Lot], now: datetime, within: timedelta = timedelta(days=60)) -> list[tuple[date, int]]:
    """Of these lots, what lapses within ``within``: the last day on which it counts and how many, soonest first."""
    by_day: dict[date, int] = defaultdict(int)
    for lot in lots:
        if lot.expires_at is not None and now < lot.expires_at <= now + within:
            last_moment = lot.expires_at - timedelta(microseconds=1)
            by_day[last_moment.astimezone(SHOP_ZONE).date()] += lot.left
    return sorted(by_day.items())


def spend_of(session: Session, customer_id: int, at: datetime) -> int:
    """Fen spent in the 365 days before ``at`` on paid orders that were neither cancelled nor returned by then."""
    kept = kept_fen(at)
    return int(session.execute(
        select(sa.func.coalesce(sa.func.sum(kept), 0)).where(Order.customer_id == customer_id, *spent_by(at))
    ).scalar_one())


def spent_by(at: datetime) -> tuple[Any, ...]:
    """The conditions on ``Order`` for money that counts for the tier at a time: what came back later still counts."""
    returned_later = sa.and_(Order.status == "returned", Order.returned_at > at)
    return (Order.paid_at > at - SPEND_PERIOD, Order.paid_at <= at,
            sa.or_(Order.status.in_(SPENT_STATUSES), returned_later))


def kept_fen(at: datetime) -> Any:
    """Fen of an ``Order`` that had not been refunded at a time."""
    after_refund = sa.case((Order.refunded_fen > 0, Order.total_fen - Order.refunded_fen), else_=0)
    return sa.case((Order.refunded_at <= at, after_refund), else_=Order.total_fen)


def customers_above_their_tier(session: Session, now: datetime, after: int, limit: int) -> list[int]:
    """Customers whose spending reaches a higher tier than the one they have, by id, from after ``after`` on."""
    spend = (select(Order.customer_id, sa.func.sum(kept_fen(now)).label("fen"))
             .where(Order.customer_id > after, *spent_by(now)).group_by(Order.customer_id)).subquery()
    held, reached = aliased(Tier), aliased(Tier)
    return list(session.execute(
        select(Customer.id).join(spend, spend.c.customer_id == Customer.id).join(held, held.code == Customer.tier_code)
        .where(sa.exists().where(reached.rank > held.rank, reached.minimum_spend_fen <= spend.c.fen))
        .order_by(Customer.id).limit(limit)
    ).scalars())


def tiers(session: Session) -> list[Tier]:
    """All tiers, the lowest first."""
    return list(session.execute(select(Tier).order_by(Tier.rank)).scalars())


def tier_standing(session: Session, customer_id: int, now: datetime) -> TierStanding:
    """A customer's tier and the way to the next. A tier that spending has just reached counts at once.

    Raises:
        NotFound: there is no such customer.
    """
    customer = session.get(Customer, customer_id)
    if customer is None:
        raise NotFound(customer_id=customer_id)
    ladder = tiers(session)
    spend = spend_of(session, customer_id, now)
    held = next(tier for tier in ladder if tier.code == customer.tier_code)
    current = raised(held, spend, ladder)
    following, gap = gap_to_next(spend, current, ladder)
    return TierStanding(current, spend, following, gap)


def rewards_for(session: Session, customer_id: int, now: datetime) -> list[Reward]:
    """Rewards in stock that the customer's tier may have, cheapest first, affordable or not."""
    standing = tier_standing(session, customer_id, now)
    return list(session.execute(
        select(Reward).join(Tier, Tier.code == Reward.minimum_tier)
        .where(Reward.active.is_(True), Reward.stock > 0, Tier.rank <= standing.tier.rank)
        .order_by(Reward.cost_points, Reward.id)
    ).scalars())

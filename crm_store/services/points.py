"""Writes the points ledger: earning, taking back, redeeming, lapsing, granting; and keeps the tier up to date.

Everything that writes a customer's ledger first locks the customer's row and writes off what has lapsed, so entries
stand in the order in which things happened, whenever the clock of the service got round to them.
"""
from __future__ import annotations

import secrets
from collections.abc import Iterable
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy import select
from sqlalchemy.orm import Session

from crm_store.errors import InsufficientPoints, NotFound, OutOfStock, TierTooLow, WrongState
from crm_store.models import Customer, Order, PointsAllocation, PointsEntry, Redemption, Reward, Tier
from crm_store.queries.points import (
    TierStanding,
    debts_of,
    lots_of,
    points_balance,
    points_expiring,
    points_history,
    rewards_for,
    spend_of,
    tier_standing,
    tiers,
)
from crm_store.rules.points import Take, expiry_of, lapsed, points_for, repay, take_back, take_oldest
from crm_store.rules.tiers import after_review, last_review, raised
from crm_store.services.audit import record

__all__ = [
    "TierStanding", "earn_points_for_order", "expire_points", "grant_points", "points_balance", "points_expiring",
    "points_history", "redeem_reward", "review_tiers", "rewards_for", "take_back_points_for_return", "tier_standing",
]

CODE_LETTERS = "ABCDEFGHJKMNPQRSTUVWXYZ23456789"  # nothing that is read for something else
CODE_LENGTH = 10


def earn_points_for_order(session: Session, order: Order, now: datetime) -> PointsEntry | None:
    """Credit a completed order: a point a yuan, times the multiplier of the tier, which goes up first if it is due.

    Doing it again changes nothing. An order without a customer, or too small for a point, earns none.

    Args:
        session: the unit of work.
        order: a completed order.
        now: when; the points count from the order's ``completed_at`` where it is known.

    Raises:
        WrongState: the order is not completed.
    """
    if order.status != "completed":
        raise WrongState(order=order.number, status=order.status)
    if order.customer_id is None:
        return None
    customer = _lock_customer(session, order.customer_id)
    key = f"earn:order:{order.id}"
    stored = _entry(session, key)
    if stored is not None:
        return stored
    tier = _raise_tier(session, customer, now)
    points = points_for(order.total_fen, tier.multiplier)
    if points == 0:
        return None
    return _add_lot(session, customer.id, kind="earn", points=points, key=key, order_id=order.id,
                    earned_at=order.completed_at or now, now=now)


def take_back_points_for_return(session: Session, order: Order, now: datetime) -> PointsEntry | None:
    """Take back what a returned order earned, except what has lapsed meanwhile. Doing it again changes nothing.

    Points that the customer has spent already are taken from their other points; the rest becomes a debt that the
    next points fill (see ``crm_store.rules.points``).

    Raises:
        WrongState: the order is not returned.
    """
    if order.status != "returned":
        raise WrongState(order=order.number, status=order.status)
    if order.customer_id is None:
        return None
    _lock_customer(session, order.customer_id)
    key = f"reverse:order:{order.id}"
    stored = _entry(session, key)
    if stored is not None:
        return stored
    lot = _entry(session, f"earn:order:{order.id}")
    if lot is None:
        return None
    _write_off_lapsed(session, order.customer_id, now)
    gone = _entry(session, f"expire:{lot.id}")
    points = lot.points + (gone.points if gone else 0)
    if points == 0:
        return None
    takes, _debt = take_back(lots_of(session, order.customer_id), lot.id, points)
    return _add_taking(session, order.customer_id, kind="reverse", points=points, takes=takes, key=key, now=now,
                       order_id=order.id)


def redeem_reward(
    session: Session, *, customer_id: int, reward_id: int, idempotency_key: str, now: datetime,
) -> Redemption:
    """Spend points on a reward and give the code to use it.

    Args:
        session: the unit of work.
        customer_id: who redeems.
        reward_id: what for.
        idempotency_key: names the wish, such as the message it came from; the same key of the same customer again
            returns what the first time gave. At most 150 characters.
        now: when.

    Raises:
        NotFound: no such customer, or no such reward on offer.
        TierTooLow: ``minimum_tier`` is the tier it takes.
        OutOfStock: none is left.
        InsufficientPoints: ``balance`` and ``cost`` say how it stands.
    """
    customer = _lock_customer(session, customer_id)
    key = f"redeem:{customer_id}:{idempotency_key}"
    stored = _entry(session, key)
    if stored is not None:
        first: Redemption = session.execute(select(Redemption).where(Redemption.entry_id == stored.id)).scalar_one()
        return first
    reward = session.execute(
        select(Reward).where(Reward.id == reward_id)
        .with_for_update(key_share=True).execution_options(populate_existing=True)
    ).scalar_one_or_none()
    if reward is None or not reward.active:
        raise NotFound(reward_id=reward_id)
    tier = _raise_tier(session, customer, now)
    minimum = session.get(Tier, reward.minimum_tier)
    if minimum is not None and tier.rank < minimum.rank:
        raise TierTooLow(minimum_tier=reward.minimum_tier)
    if reward.stock <= 0:
        raise OutOfStock(reward_id=reward_id)
    balance = points_balance(session, customer_id, now)
    if balance < reward.cost_points:
        raise InsufficientPoints(balance=balance, cost=reward.cost_points)
    _write_off_lapsed(session, customer_id, now)
    takes, missing = take_oldest(lots_of(session, customer_id), reward.cost_points)
    if missing:
        raise InsufficientPoints(balance=balance, cost=reward.cost_points)
    reward.stock -= 1
    entry = _add_taking(session, customer_id, kind="spend", points=reward.cost_points, takes=takes, key=key, now=now,
                        reward_id=reward.id)
    redemption = Redemption(customer_id=customer_id, reward_id=reward.id, entry_id=entry.id, code=_new_code(),
                            created_at=now, reward=reward)
    session.add(redemption)
    session.flush()
    return redemption


def grant_points(
    session: Session, *, customer_id: int, points: int, reason: str, idempotency_key: str, now: datetime,
) -> PointsEntry:
    """Give points to make something good. They lapse as earned ones do. The same key again changes nothing.

    Raises:
        ValueError: ``points`` is not above zero.
    """
    if points <= 0:
        raise ValueError("only points above zero can be granted")
    _lock_customer(session, customer_id)
    key = f"grant:{customer_id}:{idempotency_key}"
    return _entry(session, key) or _add_lot(session, customer_id, kind="grant", points=points, key=key, reason=reason,
                                            earned_at=now, now=now)


def expire_points(session: Session, now: datetime, limit: int = 500) -> int:
    """Write off what has lapsed, for at most ``limit`` customers; call again until it returns 0.

    Returns:
        How many points were written off.
    """
    taken = sa.func.coalesce(sa.func.sum(PointsAllocation.points), 0)
    due = (
        select(PointsEntry.customer_id)
        .outerjoin(PointsAllocation, PointsAllocation.lot_id == PointsEntry.id)
        .where(PointsEntry.points > 0, PointsEntry.expires_at <= now)
        .group_by(PointsEntry.id, PointsEntry.points, PointsEntry.customer_id)
        .having(PointsEntry.points > taken)
    ).subquery()
    customers = session.execute(select(due.c.customer_id).distinct().order_by(due.c.customer_id).limit(limit))
    gone = 0
    for customer_id in customers.scalars().all():
        _lock_customer(session, customer_id)
        gone += _write_off_lapsed(session, customer_id, now)
    return gone


def review_tiers(session: Session, now: datetime) -> int:
    """The yearly review, as the year begins: customers who no longer reach their tier go down one step.

    What counts is what they had spent when the year began, whenever this runs, and running it again in the same year
    changes nothing.

    Returns:
        How many customers went down.
    """
    ladder = tiers(session)
    by_code = {tier.code: tier for tier in ladder}
    reviewed_at = last_review(now)
    candidates = session.execute(
        select(Customer.id).where(Customer.tier_code != ladder[0].code, Customer.created_at < reviewed_at)
        .order_by(Customer.id)
    ).scalars().all()
    went_down = 0
    for customer_id in candidates:
        customer = _lock_customer(session, customer_id)
        if customer.tier_since_at is not None and customer.tier_since_at >= reviewed_at:
            continue
        tier = after_review(by_code[customer.tier_code], spend_of(session, customer_id, reviewed_at), ladder)
        if tier.code != customer.tier_code:
            _set_tier(session, customer, tier, reviewed_at, now)
            went_down += 1
    return went_down


def _lock_customer(session: Session, customer_id: int) -> Customer:
    """The customer as they are now; nobody else writes their ledger until the unit of work ends."""
    customer: Customer | None = session.execute(
        select(Customer).where(Customer.id == customer_id)
        .with_for_update(key_share=True).execution_options(populate_existing=True)
    ).scalar_one_or_none()
    if customer is None:
        raise NotFound(customer_id=customer_id)
    return customer


def _raise_tier(session: Session, customer: Customer, now: datetime) -> Tier:
    ladder = tiers(session)
    held = next(tier for tier in ladder if tier.code == customer.tier_code)
    tier = raised(held, spend_of(session, customer.id, now), ladder)
    if tier.code != held.code:
        _set_tier(session, customer, tier, now, now)
    return tier


def _set_tier(session: Session, customer: Customer, tier: Tier, since: datetime, now: datetime) -> None:
    record(session, actor_kind="system", actor_id=None, action="set_tier", object_kind="customer",
           object_id=customer.id, data={"from": customer.tier_code, "to": tier.code}, now=now)
    customer.tier_code, customer.tier_since_at = tier.code, since
    session.flush()


def _write_off_lapsed(session: Session, customer_id: int, now: datetime) -> int:
    gone = 0
    for lot in lapsed(lots_of(session, customer_id), now):
        assert lot.expires_at is not None
        _add_taking(session, customer_id, kind="expire", points=lot.left, takes=[Take(lot.left, lot=lot.key)],
                    key=f"expire:{lot.key}", now=lot.expires_at)
        gone += lot.left
    return gone


def _add_lot(
    session: Session, customer_id: int, *, kind: str, points: int, key: str, earned_at: datetime, now: datetime,
    order_id: int | None = None, reason: str | None = None,
) -> PointsEntry:
    _write_off_lapsed(session, customer_id, now)
    debts = debts_of(session, customer_id)
    entry = PointsEntry(customer_id=customer_id, kind=kind, points=points, order_id=order_id, reason=reason,
                        expires_at=expiry_of(earned_at), created_at=earned_at, idempotency_key=key)
    session.add(entry)
    session.flush()
    session.add_all(PointsAllocation(entry_id=take.entry, lot_id=entry.id, points=take.points)
                    for take in repay(debts, points))
    session.flush()
    return entry


def _add_taking(
    session: Session, customer_id: int, *, kind: str, points: int, takes: Iterable[Take], key: str, now: datetime,
    order_id: int | None = None, reward_id: int | None = None,
) -> PointsEntry:
    entry = PointsEntry(customer_id=customer_id, kind=kind, points=-points, order_id=order_id, reward_id=reward_id,
                        created_at=now, idempotency_key=key)
    session.add(entry)
    session.flush()
    session.add_all(PointsAllocation(entry_id=entry.id, lot_id=take.lot, points=take.points) for take in takes)
    session.flush()
    return entry


def _entry(session: Session, key: str) -> PointsEntry | None:
    found: PointsEntry | None = session.execute(
        select(PointsEntry).where(PointsEntry.idempotency_key == key)).scalar_one_or_none()
    return found


def _new_code() -> str:
    return "WR" + "".join(secrets.choice(CODE_LETTERS) for _ in range(CODE_LENGTH))

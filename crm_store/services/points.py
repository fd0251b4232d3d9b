"""What customers do with points: they earn them, spend them on rewards, give them back with a return, let them lapse.

Every verb may be told the same thing twice and counts it once. See :mod:`crm_store.services.ledger` for how entries
are written, and :mod:`crm_store.services.redemptions` for what becomes of a code.
"""
from __future__ import annotations

import secrets
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy import select
from sqlalchemy.orm import Session

from crm_store.errors import InsufficientPoints, KeyReused, NotFound, OutOfStock, TierTooLow, WrongState
from crm_store.models import Customer, Order, PointsAllocation, PointsEntry, Redemption, Reward, Tier
from crm_store.queries.points import (
    TierStanding,
    lots_of,
    points_balance,
    points_expiring,
    points_history,
    rewards_for,
    tier_standing,
    tiers,
)
from crm_store.rules.points import points_for, returned_points, take_back, take_oldest
from crm_store.services.customers import records_of
from crm_store.services.ledger import add_lot, add_taking, entry_of, lock_customer, taken_of_lot, write_off_lapsed
from crm_store.services.tiers import raise_tier, tier_at

__all__ = [
    "TierStanding", "earn_points_for_order", "expire_points", "grant_points", "points_balance", "points_expiring",
    "points_history", "redeem_reward", "rewards_for", "settle_order", "settle_orders", "take_back_points_for_return",
    "tier_standing",
]

CODE_LETTERS = "ABCDEFGHJKMNPQRSTUVWXYZ23456789"  # nothing that is read for something else
CODE_LENGTH = 10
KEY_LENGTH = 150
CUSTOMERS_AT_ONCE = 500


def earn_points_for_order(session: Session, order: Order, now: datetime) -> PointsEntry | None:
    """Credit a completed order: a point a yuan, times the multiplier of the tier, which goes up first if it is due.

    Doing it again changes nothing. An order without a customer, or too small for a point, earns none. Told late, it
    earns what it would have earned when it was completed: by the tier of that moment, with that moment's expiry.

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
    customer = lock_customer(session, order.customer_id)
    key = f"earn:order:{order.id}"
    stored = entry_of(session, key)
    if stored is not None:
        return stored
    earned_at = min(order.completed_at or now, now)
    tier = tier_at(session, customer, earned_at)
    raise_tier(session, customer, now)
    points = points_for(order.total_fen, tier.multiplier)
    if points == 0:
        return None
    return add_lot(session, customer.id, kind="earn", points=points, key=key, order_id=order.id, created_at=earned_at,
                   now=now)


def take_back_points_for_return(session: Session, order: Order, now: datetime) -> PointsEntry | None:
    """Take back what a returned order earned, except what has lapsed meanwhile. Doing it again changes nothing.

    Of an order that was refunded in part (``refunded_fen``) it takes back that part. Points that the customer has spent
    already are taken from their other points; the rest becomes a debt that the next points fill (see
    ``crm_store.rules.points``).

    Raises:
        WrongState: the order is neither returned nor refunded in part.
    """
    whole = order.status == "returned"
    if not whole and not order.refunded_fen:
        raise WrongState(order=order.number, status=order.status)
    if order.customer_id is None:
        return None
    lock_customer(session, order.customer_id)
    key = f"reverse:order:{order.id}" + ("" if whole else f":{order.refunded_fen}")
    stored = entry_of(session, key)
    if stored is not None:
        return stored
    lot = entry_of(session, f"earn:order:{order.id}")
    if lot is None:
        return None
    write_off_lapsed(session, [order.customer_id], now)
    gone_back = _taken_back(session, order.id)
    due = lot.points if whole else returned_points(lot.points, order.total_fen, order.refunded_fen)
    points = min(due, lot.points - _lapsed_of(session, order.customer_id, lot)) - gone_back
    if points <= 0:
        return None
    takes, _debt = take_back(lots_of(session, order.customer_id), lot.id, points)
    return add_taking(session, order.customer_id, kind="reverse", points=points, takes=takes, key=key, now=now,
                      order_id=order.id)


def settle_order(session: Session, order: Order, now: datetime) -> int:
    """Bring ledger and tier in line with what has become of an order; the change of the balance.

    For whoever learns of orders: call it whenever one is paid, completed, returned or refunded. Doing it again changes
    nothing.
    """
    if order.customer_id is None:
        return 0
    before = points_balance(session, order.customer_id, now)
    if order.status == "completed":
        earn_points_for_order(session, order, now)
    else:
        raise_tier(session, lock_customer(session, order.customer_id), now)
    if order.status == "returned" or order.refunded_fen:
        take_back_points_for_return(session, order, now)
    return points_balance(session, order.customer_id, now) - before


def settle_orders(session: Session, now: datetime, after: int = 0, limit: int = 200) -> tuple[int, int | None]:
    """Settle orders whose completion or return nobody told the ledger, with an id above ``after``.

    Returns:
        How many orders were looked at, and the last id; None where none is left.
    """
    key = sa.literal("reverse:order:", sa.String) + sa.cast(Order.id, sa.String)
    part_key = key + sa.literal(":", sa.String) + sa.cast(Order.refunded_fen, sa.String)
    most = max((float(tier.multiplier) for tier in tiers(session)), default=1.0)
    credited = sa.exists().where(PointsEntry.order_id == Order.id, PointsEntry.kind == "earn")
    uncredited = sa.and_(Order.status == "completed", Order.total_fen * most >= 100, ~credited)
    returned = sa.and_(Order.status == "returned", credited,
                       ~sa.exists().where(PointsEntry.idempotency_key == key))
    refunded = sa.and_(Order.status != "returned", Order.refunded_fen > 0, credited,
                       ~sa.exists().where(PointsEntry.idempotency_key == part_key))
    found = session.execute(
        select(Order).where(Order.id > after, Order.customer_id.is_not(None), sa.or_(uncredited, returned, refunded))
        .order_by(Order.id).limit(limit)).scalars().all()
    for order in sorted(found, key=lambda order: (order.customer_id, order.id)):
        settle_order(session, order, now)
    return len(found), found[-1].id if found else None


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
        KeyReused: this customer's key stands for another reward.
        TierTooLow: ``minimum_tier`` is the tier it takes.
        OutOfStock: none is left.
        InsufficientPoints: ``balance`` and ``cost`` say how it stands.
    """
    customer = lock_customer(session, customer_id, living=True)
    key = _key("redeem", customer_id, idempotency_key)
    stored = entry_of(session, key)
    if stored is not None:
        if stored.reward_id != reward_id:
            raise KeyReused(idempotency_key=idempotency_key)
        first: Redemption = session.execute(select(Redemption).where(Redemption.entry_id == stored.id)).scalar_one()
        return first
    reward = _reward_for(session, customer, reward_id, now)
    write_off_lapsed(session, [customer_id], now)
    takes, missing = take_oldest(lots_of(session, customer_id), reward.cost_points)
    if missing:
        raise InsufficientPoints(balance=points_balance(session, customer_id, now), cost=reward.cost_points)
    reward.stock -= 1
    entry = add_taking(session, customer_id, kind="spend", points=reward.cost_points, takes=takes, key=key, now=now,
                       reward_id=reward.id)
    redemption = Redemption(customer_id=customer_id, reward_id=reward.id, entry_id=entry.id, code=_new_code(),
                            created_at=now, reward=reward)
    session.add(redemption)
    session.flush()
    return redemption


def grant_points(
    session: Session, *, customer_id: int, points: int, reason: str, idempotency_key: str, now: datetime,
    ticket_id: int | None = None,
) -> PointsEntry:
    """Give points to make something good. They lapse as earned ones do. The same key again changes nothing.

    Who may grant how many is decided by :func:`crm_store.services.grants.grant_for_case`.

    Raises:
        ValueError: ``points`` is not above zero.
        NotFound: there is no such customer.
        KeyReused: this customer's key stands for another number of points.
    """
    if points <= 0:
        raise ValueError("only points above zero can be granted")
    lock_customer(session, customer_id, living=True)
    key = _key("grant", customer_id, idempotency_key)
    stored = entry_of(session, key)
    if stored is None:
        return add_lot(session, customer_id, kind="grant", points=points, key=key, reason=reason, ticket_id=ticket_id,
                       created_at=now, now=now)
    if (stored.points, stored.ticket_id) != (points, ticket_id):
        raise KeyReused(idempotency_key=idempotency_key)
    return stored


def expire_points(
    session: Session, now: datetime, after: int = 0, limit: int = CUSTOMERS_AT_ONCE,
) -> tuple[int, int | None]:
    """Write off what has lapsed, for at most ``limit`` customers with an id above ``after``.

    Returns:
        How many points were written off, and the last customer; None where nobody is left.
    """
    due = session.execute(
        select(PointsEntry.customer_id).distinct()
        .where(PointsEntry.customer_id > after, PointsEntry.points > 0, PointsEntry.expires_at <= now,
               PointsEntry.points > taken_of_lot())
        .order_by(PointsEntry.customer_id).limit(limit)).scalars().all()
    if not due:
        return 0, None
    session.execute(select(Customer.id).where(Customer.id.in_(due)).order_by(Customer.id)
                    .with_for_update(key_share=True)).all()
    return write_off_lapsed(session, due, now), due[-1]


def _reward_for(session: Session, customer: Customer, reward_id: int, now: datetime) -> Reward:
    """The reward, locked, if it is on offer, within the customer's tier and in stock."""
    reward: Reward | None = session.execute(
        select(Reward).where(Reward.id == reward_id)
        .with_for_update(key_share=True).execution_options(populate_existing=True)
    ).scalar_one_or_none()
    if reward is None or not reward.active:
        raise NotFound(reward_id=reward_id)
    tier, minimum = raise_tier(session, customer, now), session.get(Tier, reward.minimum_tier)
    if minimum is not None and tier.rank < minimum.rank:
        raise TierTooLow(minimum_tier=reward.minimum_tier)
    if reward.stock <= 0:
        raise OutOfStock(reward_id=reward_id)
    return reward


def _lapsed_of(session: Session, customer_id: int, lot: PointsEntry) -> int:
    """Points of an order that lapsed: in its lot, in one that a cancelled redemption gave back, or after a merge."""
    own = select(PointsEntry.id).where(
        PointsEntry.customer_id.in_(records_of(session, customer_id)),
        sa.or_(PointsEntry.id == lot.id, PointsEntry.origin_id == lot.id))
    return int(session.execute(
        select(sa.func.coalesce(sa.func.sum(PointsAllocation.points), 0))
        .join(PointsEntry, PointsEntry.id == PointsAllocation.entry_id)
        .where(PointsEntry.kind == "expire", PointsAllocation.lot_id.in_(own))).scalar_one())


def _taken_back(session: Session, order_id: int) -> int:
    """Points of an order that returns of parts of it took back already; a debt that a merge moved is counted once."""
    return -int(session.execute(
        select(sa.func.coalesce(sa.func.sum(PointsEntry.points), 0))
        .where(PointsEntry.order_id == order_id, PointsEntry.idempotency_key.like("reverse:%"))).scalar_one())


def _key(what: str, customer_id: int, key: str) -> str:
    if not 0 < len(key) <= KEY_LENGTH:
        raise ValueError(f"an idempotency key has 1 to {KEY_LENGTH} characters")
    return f"{what}:{customer_id}:{key}"


def _new_code() -> str:
    return "WR" + "".join(secrets.choice(CODE_LETTERS) for _ in range(CODE_LENGTH))

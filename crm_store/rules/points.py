"""Rules of the points ledger: what an order earns, when points lapse, and which lots a taking uses up.

The rules are in "Points and tiers" of the service rules. A *lot* is an entry above zero. What takes points (spending,
lapsing, taking back for a return) takes them from lots, oldest first. A return takes back all that the order earned
and that has not lapsed meanwhile: first from its own lot, then, where the customer has spent those points already, from
the other lots, oldest first. Where even those do not suffice the rest is a *debt*: the balance is below zero, and the
next points that come in fill it before anything else. So there are never lots to spend and a debt at the same time, and

    balance = sum of all entries = what is left in the lots - debts.

A redemption that is cancelled gives its points back as new lots that lapse when the old ones did and remember the lot
they were earned in, their *origin*. See ``docs/adr/0017-a-return-may-leave-a-debt.md``.
"""
from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timezone
from decimal import ROUND_FLOOR, Decimal
from zoneinfo import ZoneInfo

SHOP_ZONE = ZoneInfo("Asia/Shanghai")
MONTHS_VALID = 12
POINT_WORTH_FEN = 5  # what a point buys: a coupon of 10 yuan costs 200
GRANT_LIMITS_FEN = {"agent": 5_000, "lead": 30_000, "manager": None, "admin": None}  # a case


@dataclass(frozen=True)
class Lot:
    """What is left of one entry above zero.

    Attributes:
        key: names the entry.
        left: points.
        expires_at: when they lapse; never where it is None.
        origin: the lot in which points of a cancelled redemption had been earned.
    """

    key: int
    left: int
    expires_at: datetime | None
    origin: int | None = None


@dataclass(frozen=True)
class Debt:
    """What a taking back could not find in any lot. ``key`` names the entry that took back."""

    key: int
    left: int


@dataclass(frozen=True)
class Take:
    """``points`` that the entry ``entry`` takes from the lot ``lot``; None stands for the entry being written."""

    points: int
    lot: int | None = None
    entry: int | None = None


def points_for(paid_fen: int, multiplier: Decimal | float | int) -> int:
    """Points for an order of ``paid_fen``: one a whole yuan, times the tier's multiplier, rounded down."""
    exact = Decimal(paid_fen) * Decimal(str(multiplier)) / 100
    return max(0, int(exact.to_integral_value(rounding=ROUND_FLOOR)))


def returned_points(earned: int, paid_fen: int, refunded_fen: int) -> int:
    """Points of an order that earned ``earned`` which go with the part of its money that was refunded.

    What is kept is rounded down, as all that is earned, so it does not matter in how many parts an order goes back.
    """
    if refunded_fen >= paid_fen:
        return earned
    return earned - earned * (paid_fen - max(0, refunded_fen)) // paid_fen


def grant_limit(role: str) -> int | None:
    """Points that somebody of this role may grant for one case; None: as many as they see fit."""
    worth_fen = GRANT_LIMITS_FEN.get(role, 0)
    return None if worth_fen is None else worth_fen // POINT_WORTH_FEN


def expiry_of(earned_at: datetime, zone: ZoneInfo = SHOP_ZONE) -> datetime:
    """When points earned at ``earned_at`` lapse, in UTC: the end of the twelfth month after, by the shop's calendar.

    Points earned on any day of March lapse when the 31st of next March ends.
    """
    local = earned_at.astimezone(zone)
    months = local.year * 12 + (local.month - 1) + MONTHS_VALID + 1
    return datetime(months // 12, months % 12 + 1, 1, tzinfo=zone).astimezone(timezone.utc)


def oldest_first(lots: Iterable[Lot]) -> list[Lot]:
    """Lots with something left, in the order in which they are used up: the first to lapse first."""
    never = datetime.max.replace(tzinfo=timezone.utc)
    return sorted((lot for lot in lots if lot.left > 0), key=lambda lot: (lot.expires_at or never, lot.key))


def lapsed(lots: Iterable[Lot], now: datetime) -> list[Lot]:
    """Lots with something left whose time is over at ``now``."""
    return [lot for lot in oldest_first(lots) if lot.expires_at is not None and lot.expires_at <= now]


def balance_of(lots: Iterable[Lot], debts: Iterable[Debt], now: datetime) -> int:
    """The points a customer has at ``now``; below zero only after a return. Lapsed lots do not count."""
    held = list(lots)
    gone = sum(lot.left for lot in lapsed(held, now))
    return sum(lot.left for lot in held) - gone - sum(debt.left for debt in debts)


def take_oldest(lots: Iterable[Lot], points: int) -> tuple[list[Take], int]:
    """Take ``points`` from the lots, oldest first.

    Returns:
        What is taken from which lot, and how many points were not there.
    """
    takes, missing = [], points
    for lot in oldest_first(lots):
        if missing == 0:
            break
        part = min(lot.left, missing)
        takes.append(Take(part, lot=lot.key))
        missing -= part
    return takes, missing


def take_back(lots: Iterable[Lot], lot_key: int, points: int) -> tuple[list[Take], int]:
    """Take back ``points`` that the lot ``lot_key`` brought: from itself first, then from the others, oldest first.

    Points that a cancelled redemption gave back to the lot are its own.

    Returns:
        What is taken from which lot, and the debt that is left.
    """
    held = list(lots)
    own = [lot for lot in held if lot_key in (lot.key, lot.origin)]
    takes, missing = take_oldest(own, points)
    others, missing = take_oldest([lot for lot in held if lot not in own], missing)
    return takes + others, missing


def repay(debts: Iterable[Debt], points: int) -> list[Take]:
    """What a new lot of ``points`` fills of the debts, oldest first."""
    takes, there = [], points
    for debt in sorted(debts, key=lambda debt: debt.key):
        part = min(debt.left, there)
        if part > 0:
            takes.append(Take(part, entry=debt.key))
            there -= part
    return takes

"""Rules of the membership tiers: by money spent in 365 days; up at once, down one step at the yearly review."""
from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta, timezone
from typing import Protocol, TypeVar
from zoneinfo import ZoneInfo

from crm_store.rules.points import SHOP_ZONE

SPEND_PERIOD = timedelta(days=365)


class TierLike(Protocol):
    """What the rules need of a tier; amounts are in fen."""

    @property
    def rank(self) -> int:
        """Its place; a higher tier has a higher rank."""
        ...

    @property
    def minimum_spend_fen(self) -> int:
        """What must be spent in 365 days to reach it."""
        ...


T = TypeVar("T", bound=TierLike)


def tier_for(spend_fen: int, tiers: Sequence[T]) -> T:
    """The highest tier that ``spend_fen`` reaches; the lowest where it reaches none.

    Raises:
        ValueError: there are no tiers.
    """
    if not tiers:
        raise ValueError("there are no tiers")
    ordered = sorted(tiers, key=lambda tier: tier.rank)
    return next((tier for tier in reversed(ordered) if tier.minimum_spend_fen <= spend_fen), ordered[0])


def raised(current: T, spend_fen: int, tiers: Sequence[T]) -> T:
    """The tier after spending: up at once, as many steps as it reaches, and never down."""
    reached = tier_for(spend_fen, tiers)
    return reached if reached.rank > current.rank else current


def after_review(current: T, spend_fen: int, tiers: Sequence[T]) -> T:
    """The tier after the yearly review: one step down at most, where the spending no longer reaches it."""
    if spend_fen >= current.minimum_spend_fen:
        return current
    below = [tier for tier in tiers if tier.rank < current.rank]
    return max(below, key=lambda tier: tier.rank) if below else current


def gap_to_next(spend_fen: int, current: T, tiers: Sequence[T]) -> tuple[T | None, int]:
    """The tier above ``current`` and how many fen are missing to it; (None, 0) at the top."""
    above = [tier for tier in tiers if tier.rank > current.rank]
    if not above:
        return None, 0
    following = min(above, key=lambda tier: tier.rank)
    return following, max(0, following.minimum_spend_fen - spend_fen)


def last_review(now: datetime, zone: ZoneInfo = SHOP_ZONE) -> datetime:
    """When the newest yearly review took place, in UTC: as the year began by the shop's calendar."""
    return datetime(now.astimezone(zone).year, 1, 1, tzinfo=zone).astimezone(timezone.utc)

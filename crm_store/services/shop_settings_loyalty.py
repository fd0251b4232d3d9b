"""Changes the membership tiers with their anger thresholds, and the rewards."""
from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from crm_store.errors import NotFound
from crm_store.models import Reward, SupportAgent, Tier
from crm_store.services.shop_settings import (
    Checked,
    Snapshot,
    Values,
    fields_of,
    keep,
    refuse_stale,
    require_role,
    taken,
    to_change,
)

MOST_FEN = 2_000_000_000  # what the column holds
MULTIPLIERS = (0.01, 20.0)
MOST_POINTS = 10_000_000
MOST_STOCK = 1_000_000
BENEFITS_LIMIT = 1000
REWARD_KINDS = ("coupon", "gift")
TIER_FIELDS = ("name_zh", "name_en", "minimum_spend_fen", "multiplier", "benefits_zh", "benefits_en", "anger_watch",
               "anger_route")
REWARD_FIELDS = ("code", "name_zh", "name_en", "kind", "cost_points", "stock", "minimum_tier", "active")


def tier_snapshot(tier: Tier) -> Snapshot:
    """A tier's fields."""
    return {**fields_of(tier, TIER_FIELDS), "multiplier": float(tier.multiplier)}


def reward_snapshot(reward: Reward) -> Snapshot:
    """A reward's fields."""
    return fields_of(reward, REWARD_FIELDS)


def save_tier(session: Session, agent: SupportAgent, key: str, values: Values, version: str | None,
              now: datetime) -> Tier:
    """Change a tier. Customers move at their next order or at the yearly review, never by this.

    Raises:
        InvalidSettings: a field cannot be accepted; the spending must lie between that of the tiers below and above.
        ChangedMeanwhile: it was changed since ``version`` was read.
        NotFound: there is no such tier.
        NotAllowed: the agent is no manager.
    """
    require_role(agent, "manager")
    ladder: list[Tier] = list(session.execute(select(Tier).order_by(Tier.rank).with_for_update(key_share=True)
                                  .execution_options(populate_existing=True)).scalars())
    tier = next((tier for tier in ladder if tier.code == key), None)
    if tier is None:
        raise NotFound()
    before = tier_snapshot(tier)
    refuse_stale(before, version)
    for name, value in _check_tier(values, tier, ladder).items():
        setattr(tier, name, value)
    keep(session, agent, "tier", tier, before, tier_snapshot, now)
    return tier


def save_reward(session: Session, agent: SupportAgent, key: int | None, values: Values, version: str | None,
                now: datetime) -> Reward:
    """Create (``key`` None) or change a reward; its code never changes.

    A redemption meanwhile lowers the stock: that counts as a change, so that nobody overwrites it unseen.

    Raises:
        InvalidSettings: a field cannot be accepted.
        ChangedMeanwhile: it was changed since ``version`` was read.
        NotFound: there is no such reward.
        NotAllowed: the agent is no manager.
    """
    require_role(agent, "manager")
    reward, before = to_change(session, Reward, key, version, reward_snapshot)
    checked = Checked(values)
    columns: dict[str, Any] = {
        "name_zh": checked.text("name_zh", 120), "name_en": checked.text("name_en", 120),
        "kind": checked.one_of("kind", REWARD_KINDS), "cost_points": checked.whole("cost_points", 1, MOST_POINTS),
        "stock": checked.whole("stock", 0, MOST_STOCK), "active": checked.flag("active"),
        "minimum_tier": checked.one_of("minimum_tier", session.execute(select(Tier.code)).scalars().all())}
    if key is None:
        columns["code"] = checked.code("code", r"[A-Z0-9][A-Z0-9-]*", 40)
        if columns["code"] and taken(session, Reward.code, columns["code"], None):
            checked.refuse("code", "taken")
    for name in ("name_zh", "name_en"):
        if columns[name] and taken(session, getattr(Reward, name), columns[name], key):
            checked.refuse(name, "taken")
    checked.done()
    for name, value in columns.items():
        setattr(reward, name, value)
    keep(session, agent, "reward", reward, before, reward_snapshot, now, unique="code")
    return reward


def _check_tier(values: Values, tier: Tier, ladder: list[Tier]) -> dict[str, Any]:
    checked = Checked(values)
    columns: dict[str, Any] = {
        "name_zh": checked.text("name_zh", 40), "name_en": checked.text("name_en", 40),
        "minimum_spend_fen": checked.whole("minimum_spend_fen", 0, MOST_FEN, reason="amount_out_of_range"),
        "multiplier": checked.number("multiplier", *MULTIPLIERS),
        "benefits_zh": checked.text("benefits_zh", BENEFITS_LIMIT, lines=True),
        "benefits_en": checked.text("benefits_en", BENEFITS_LIMIT, lines=True),
        "anger_watch": checked.number("anger_watch", 0.01, 1), "anger_route": checked.number("anger_route", 0.01, 1)}
    _between_neighbours(checked, columns["minimum_spend_fen"], tier, ladder)
    multiplier = columns["multiplier"]
    if multiplier is not None and round(multiplier, 2) != multiplier:
        checked.refuse("multiplier", "two_places")
    watch, route = columns["anger_watch"], columns["anger_route"]
    if watch is not None and route is not None and watch >= route:
        checked.refuse("anger_watch", "watch_below_route")
    for name in ("name_zh", "name_en"):
        if any(getattr(other, name) == columns[name] for other in ladder if other is not tier):
            checked.refuse(name, "taken")
    checked.done()
    return columns


def _between_neighbours(checked: Checked, spend: int | None, tier: Tier, ladder: list[Tier]) -> None:
    if spend is None:
        return
    place = ladder.index(tier)
    if place == 0:
        if spend != 0:
            checked.refuse("minimum_spend_fen", "lowest_from_zero")
        return
    above = ladder[place + 1].minimum_spend_fen if place + 1 < len(ladder) else None
    if spend <= ladder[place - 1].minimum_spend_fen or (above is not None and spend >= above):
        checked.refuse("minimum_spend_fen", "between_tiers")

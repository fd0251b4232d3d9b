"""Rules of customer value: what orders say of a buyer, RFM scores and segments, the stage of life.

RFM is Hughes' way (*Strategic Database Marketing*, 1994): recency, frequency and money are each scored from 1 to 5 by
the quintiles of the shop's own buyers. Equal values get equal scores, whoever has them. How likely somebody still is a
customer and what they will spend is in :mod:`crm_store.rules.value_model`; why it is so, in
``docs/adr/0023-what-a-customer-is-worth.md``.
"""
from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import pairwise
from typing import Any

SEGMENTS = ("champions", "loyal", "new", "promising", "attention", "fading", "at_risk", "hibernating", "lost")
STAGES = ("new", "active", "cooling", "dormant", "lost")
RISKS = ("low", "medium", "high")

SCORES = (1, 2, 3, 4, 5)
FEWEST_TO_COMPARE = 25  # buyers; a fifth of fewer is nobody in particular
OWN_RHYTHM_FROM = 4  # purchases: three pauses, of which the middle one is no accident
USUAL_RHYTHM_DAYS = 45  # of a shop that has too few who came back
FEWEST_RHYTHMS = 10
SHORTEST_RHYTHM_DAYS = 14  # who bought on four days of one week has not gone when the week is over
ACTIVE_UP_TO, COOLING_UP_TO, DORMANT_UP_TO = 1.5, 3.0, 6.0  # times the rhythm
MEDIUM_FROM, HIGH_FROM = 0.3, 0.6  # of the probability that they have gone
RISK_OF_STAGE = {"new": "low", "active": "low", "cooling": "medium", "dormant": "high", "lost": "high"}


@dataclass(frozen=True)
class Facts:
    """What a buyer's orders say.

    Attributes:
        purchases: days on which they bought something that they kept, at least 1.
        first_on: the first of these days.
        last_on: the last of them.
        rhythm_days: the median of the days between two of them; None of a single one.
        spent_fen: what they paid and did not get back.
        returns: orders that went back whole.
    """

    purchases: int
    first_on: date
    last_on: date
    rhythm_days: int | None
    spent_fen: int
    returns: int


def facts_of(orders: Iterable[tuple[date, int]]) -> Facts | None:
    """What orders say of whoever placed them: the day each was paid, and the fen of it that they did not get back.

    Orders of one day are one purchase. An order of which nothing was kept is a return and no purchase.

    Returns:
        The facts; None of somebody who kept nothing.
    """
    days, spent, returns = set[date](), 0, 0
    for day, kept_fen in orders:
        if kept_fen > 0:
            days.add(day)
            spent += kept_fen
        else:
            returns += 1
    if not days:
        return None
    bought_on = sorted(days)
    pauses = sorted((later - earlier).days for earlier, later in pairwise(bought_on))
    return Facts(len(bought_on), bought_on[0], bought_on[-1], pauses[(len(pauses) - 1) // 2] if pauses else None, spent,
                 returns)


def border_ranks(count: int) -> list[int]:
    """Which of so many values in order, the first being 1, are the upper borders of the first four fifths."""
    return [-(-count * fifth // 5) for fifth in (1, 2, 3, 4)]


def quintile_borders(values: Iterable[Any]) -> list[Any]:
    """The upper borders of the first four fifths of values, of which there is at least one."""
    ordered = sorted(values)
    return [ordered[rank - 1] for rank in border_ranks(len(ordered))]


def score_of(value: Any, borders: Sequence[Any]) -> int:
    """1 to 5: one more than the borders below a value. Equal values score alike, a higher one never less."""
    return 1 + bisect_left(borders, value)


def segment_of(recency: int, frequency: int, monetary: int, purchases: int) -> str:
    """The one segment of a buyer: by how lately they came, and by how often and how much, which count as one."""
    weight = (frequency + monetary + 1) // 2
    if recency >= 4:
        if purchases == 1:
            return "new"
        return "champions" if weight >= 4 else "loyal" if weight == 3 else "promising"
    if recency == 3:
        return "loyal" if weight >= 4 else "attention" if weight == 3 else "fading"
    if weight >= 3:
        return "at_risk"
    return "hibernating" if recency == 2 else "lost"


def rhythm_of(facts: Facts, usual_days: int) -> int:
    """After how many days a buyer is expected back: their own rhythm where there are enough purchases, else the shop's.

    Args:
        facts: of the buyer.
        usual_days: the shop's rhythm.
    """
    own = facts.rhythm_days if has_own_rhythm(facts) else None
    return max(SHORTEST_RHYTHM_DAYS, own or usual_days)


def has_own_rhythm(facts: Facts) -> bool:
    """Whether a buyer came often enough to have a rhythm."""
    return facts.purchases >= OWN_RHYTHM_FROM


def silence_of(facts: Facts, today: date) -> int:
    """Days since a buyer's last purchase."""
    return max(0, (today - facts.last_on).days)


def stage_of(facts: Facts, usual_days: int, today: date) -> str:
    """Where a buyer is in their life as a customer, by how long they have been silent for their rhythm."""
    pauses = silence_of(facts, today) / rhythm_of(facts, usual_days)
    if pauses <= ACTIVE_UP_TO:
        return "new" if facts.purchases == 1 else "active"
    return "cooling" if pauses <= COOLING_UP_TO else "dormant" if pauses <= DORMANT_UP_TO else "lost"


def risk_of(alive: float | None, stage: str) -> str:
    """How likely it is that somebody has gone, in one of three words: by the model, or by the stage without one."""
    if alive is None:
        return RISK_OF_STAGE[stage]
    churn = 1 - alive
    return "high" if churn >= HIGH_FROM else "medium" if churn >= MEDIUM_FROM else "low"

"""What customers are worth: of one, of who is in a segment, in a stage or about to go, and of all in figures.

For the desk, the console and whoever cares for customers. Amounts are in fen, days are the shop's.
"""
from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Any

import sqlalchemy as sa
from sqlalchemy import select
from sqlalchemy.orm import Session

from crm_store.models import Customer, CustomerValue, ValueModel
from crm_store.rules.value import (
    HIGH_FROM,
    MEDIUM_FROM,
    RISK_OF_STAGE,
    USUAL_RHYTHM_DAYS,
    Facts,
    has_own_rhythm,
    rhythm_of,
    risk_of,
    silence_of,
)
from crm_store.rules.value_model import Buying, Model, Spending

UNKNOWN = "unknown"
"""The segment of who cannot be compared with others yet."""


@dataclass(frozen=True)
class Value:
    """What a customer is worth, as it reads today.

    Attributes:
        customer_id: who.
        number: of the customer.
        name: of the customer.
        facts: what their orders say.
        scores: recency, frequency and money from 1 to 5; None where there are too few buyers to compare with.
        segment: one of ``SEGMENTS``, None without scores.
        stage: one of ``STAGES``.
        risk: that they have gone, one of ``RISKS``.
        churn: the probability of it; None where there was too little to learn from.
        worth_fen: what they will spend in twelve months; None likewise.
        rhythm_days: after how many days they are expected back.
        own_rhythm: it is their own rhythm and not the shop's.
        silence_days: since their last purchase.
    """

    customer_id: int
    number: str
    name: str
    facts: Facts
    scores: tuple[int, int, int] | None
    segment: str | None
    stage: str
    risk: str
    churn: float | None
    worth_fen: int | None
    rhythm_days: int
    own_rhythm: bool
    silence_days: int


@dataclass(frozen=True)
class Wanted:
    """Which customers are wanted; None wants all. ``segment`` may be ``UNKNOWN``."""

    segment: str | None = None
    stage: str | None = None
    risk: str | None = None
    recency: int | None = None
    weight: int | None = None


@dataclass(frozen=True)
class Group:
    """Some buyers together: how many, what they spent, and what they will spend in twelve months if that is known."""

    customers: int
    spent_fen: int
    worth_fen: int | None


def current_model(session: Session) -> ValueModel | None:
    """What was learned last; None before the first night."""
    newest: ValueModel | None = session.execute(
        select(ValueModel).order_by(ValueModel.fitted_for.desc()).limit(1)
        .execution_options(populate_existing=True)).scalar_one_or_none()
    return newest


def model_of(row: ValueModel | None) -> Model:
    """What buyers are judged by."""
    if row is None:
        return Model(USUAL_RHYTHM_DAYS)
    buying = Buying(row.r, row.alpha, row.a, row.b) if row.r is not None else None
    spending = Spending(row.p, row.q, row.gamma) if row.p is not None else None
    borders = row.borders or {}
    return Model(row.rhythm_days, borders.get("recency"), borders.get("frequency"), borders.get("monetary"), buying,
                 spending)


def value_of(session: Session, customer_id: int, today: date) -> Value | None:
    """What one customer is worth; None of who has bought nothing that they kept, or has not been counted yet."""
    row = session.execute(_VALUES.where(CustomerValue.customer_id == customer_id)).one_or_none()
    return None if row is None else _value(row, model_of(current_model(session)).rhythm_days, today)


def customers_by_value(session: Session, today: date, wanted: Wanted | None = None, *, skip: int = 0,
                       limit: int | None = 50) -> list[Value]:
    """Who is wanted, those who spent the most first. Who was erased is never among them.

    Args:
        session: any session.
        today: the shop's day.
        wanted: which customers; all where it is None.
        skip: how many to leave out.
        limit: how many at most; None for all.
    """
    rows = session.execute(_VALUES.where(*_conditions(wanted or Wanted()))
                           .order_by(CustomerValue.spent_fen.desc(), CustomerValue.customer_id)
                           .offset(skip).limit(limit)).all()
    usual = model_of(current_model(session)).rhythm_days
    return [_value(row, usual, today) for row in rows]


def group_of(session: Session, wanted: Wanted | None = None) -> Group:
    """Everybody who is wanted, together."""
    row = session.execute(select(*_SUMS).select_from(_JOINED).where(*_conditions(wanted or Wanted()))).one()
    return Group(*row)


def groups_by(session: Session, what: str) -> dict[Any, Group]:
    """All buyers by "segment", "stage", "risk", "stage_risk", or "cell": recency and weight."""
    key: list[Any] = {
        "segment": [sa.func.coalesce(CustomerValue.segment, UNKNOWN)], "stage": [CustomerValue.stage], "risk": [_RISK],
        "cell": [CustomerValue.recency, _WEIGHT],
        "stage_risk": [CustomerValue.stage, _RISK]}[what]
    query = select(*key, *_SUMS).select_from(_JOINED).where(Customer.erased_at.is_(None)).group_by(*key)
    if what == "cell":
        query = query.where(CustomerValue.recency.is_not(None))
    found = {}
    for row in session.execute(query):
        place = tuple(row[:len(key)]) if len(key) > 1 else row[0]
        found[place] = Group(*row[len(key):])
    return found


_JOINED = sa.join(CustomerValue, Customer, Customer.id == CustomerValue.customer_id)
_VALUES = select(CustomerValue, Customer.number, Customer.name).select_from(_JOINED).where(
    Customer.erased_at.is_(None)).execution_options(populate_existing=True)
_SUMS = (sa.func.count(), sa.cast(sa.func.coalesce(sa.func.sum(CustomerValue.spent_fen), 0), sa.BigInteger),
         sa.cast(sa.func.sum(CustomerValue.worth_fen), sa.BigInteger))
_WEIGHT = sa.cast((CustomerValue.frequency + CustomerValue.monetary + 1) / 2, sa.Integer)
_CHURN = 1 - CustomerValue.alive
_RISK = sa.case(
    *((sa.and_(CustomerValue.alive.is_(None), CustomerValue.stage == stage), risk)
      for stage, risk in RISK_OF_STAGE.items()),
    (_CHURN >= HIGH_FROM, "high"), (_CHURN >= MEDIUM_FROM, "medium"), else_="low")


def _conditions(wanted: Wanted) -> list[Any]:
    found: list[Any] = [Customer.erased_at.is_(None)]
    if wanted.segment == UNKNOWN:
        found.append(CustomerValue.segment.is_(None))
    elif wanted.segment is not None:
        found.append(CustomerValue.segment == wanted.segment)
    return found + [column == value for column, value in (
        (CustomerValue.stage, wanted.stage), (_RISK, wanted.risk), (CustomerValue.recency, wanted.recency),
        (_WEIGHT, wanted.weight)) if value is not None]


def _value(found: Any, usual_days: int, today: date) -> Value:
    row, number, name = found
    facts = Facts(row.purchases, row.first_on, row.last_on, row.rhythm_days, row.spent_fen, row.returns)
    scores = None if row.recency is None else (row.recency, row.frequency, row.monetary)
    return Value(
        customer_id=row.customer_id, number=number, name=name, facts=facts, scores=scores, segment=row.segment,
        stage=row.stage, risk=risk_of(row.alive, row.stage), churn=None if row.alive is None else 1 - row.alive,
        worth_fen=row.worth_fen, rhythm_days=rhythm_of(facts, usual_days), own_rhythm=has_own_rhythm(facts),
        silence_days=silence_of(facts, today))

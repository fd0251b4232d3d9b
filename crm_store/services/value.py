"""Keeps what is known of customers' value up to date: counts who bought or returned, learns and judges every night.

**Counting.** The database marks whose orders change (migration 0015), in the transaction of the change, whoever makes
it: a service, an import, a merge of two customers, somebody with a shell. Counting takes the marks away *before* it
reads the orders, in one unit of work: a mark that it can see belongs to a change that it reads, and one that it cannot
see yet stays for the next time. So nobody can be missed, and twice is harmless. What is counted depends on the orders
alone and not on when it is done.

**Judging.** Quintiles and parameters are learned once a day of the shop; then everybody is judged anew, since silence
goes on. In between who was counted is judged at once, by what was learned last.

Whoever writes a customer's value holds the customer.
"""
from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import date, datetime
from typing import Any

import numpy as np
import sqlalchemy as sa
from sqlalchemy import select
from sqlalchemy.orm import Session

from crm_store.models import Customer, CustomerValue, Order, ValueMark, ValueModel
from crm_store.queries.points import SPENT_STATUSES
from crm_store.queries.value import current_model, model_of
from crm_store.rules.points import SHOP_ZONE
from crm_store.rules.value import (
    FEWEST_RHYTHMS,
    FEWEST_TO_COMPARE,
    USUAL_RHYTHM_DAYS,
    Facts,
    border_ranks,
    facts_of,
)
from crm_store.rules.value_model import (
    LARGEST_SAMPLE,
    Judgement,
    enough_to_learn,
    fit_buying,
    fit_spending,
    judge,
    times_of,
)

COUNTED_AT_ONCE = 1_000
JUDGED_AT_ONCE = 2_000
FACTS = ("purchases", "first_on", "last_on", "rhythm_days", "spent_fen", "returns")
JUDGED = ("recency", "frequency", "monetary", "segment", "stage", "alive", "expected_purchases", "worth_fen")
LEARNED = ("r", "alpha", "a", "b", "p", "q", "gamma", "correlation")


def recount_values(session: Session, now: datetime, after: int = 0,
                   limit: int = COUNTED_AT_ONCE) -> tuple[int, int | None]:
    """Count the orders of who is marked, for at most ``limit`` customers with an id above ``after``.

    Returns:
        How many customers were counted, and the last of them; None where nobody is left.
    """
    marked = session.execute(
        select(ValueMark.customer_id).distinct().where(ValueMark.customer_id > after)
        .order_by(ValueMark.customer_id).limit(limit)).scalars().all()
    if not marked:
        return 0, None
    living = _hold(session, marked)
    session.execute(sa.delete(ValueMark).where(ValueMark.customer_id.in_(marked))
                    .execution_options(synchronize_session=False))
    facts, today = _count(session, living), _day(now)
    judged = judge(list(facts.values()), model_of(current_model(session)), today)
    _replace(session, marked, [
        {"customer_id": customer_id, **vars(each), **vars(found), "judged_on": today, "counted_at": now}
        for (customer_id, each), found in zip(facts.items(), judged, strict=True)])
    return len(marked), marked[-1]


def learn_from_values(session: Session, now: datetime, _after: int = 0,
                      learned: dict[str, Any] | None = None) -> tuple[int, int | None]:
    """Learn quintiles, the shop's rhythm and the parameters of the models, and write them down for the shop's day.

    Args:
        session: the unit of work.
        now: when.
        learned: what :func:`learn` gave; learned here where it is left out.

    Returns:
        1, or 0 where the same had been learned for this day already; and None, since there is no more to do.
    """
    today = _day(now)
    row = session.execute(select(ValueModel).where(ValueModel.fitted_for == today)).scalar_one_or_none()
    learned = learned or learn(session, now)
    if row is not None and all(getattr(row, name) == value for name, value in learned.items()):
        return 0, None
    if row is None:
        row = ValueModel(fitted_for=today)
        session.add(row)
    for name, value in {**learned, "fitted_at": now}.items():
        setattr(row, name, value)
    session.flush()
    return 1, None


def judge_values(session: Session, now: datetime, after: int = 0,
                 limit: int = JUDGED_AT_ONCE) -> tuple[int, int | None]:
    """Judge everybody by what was learned last, for at most ``limit`` customers with an id above ``after``.

    Returns:
        How many are judged differently than before, and the last customer; None where nobody is left.
    """
    table, today = CustomerValue.__table__, _day(now)
    customers = session.execute(select(table.c.customer_id).where(table.c.customer_id > after)
                                .order_by(table.c.customer_id).limit(limit)).scalars().all()
    if not customers:
        return 0, None
    _hold(session, customers)
    rows = session.execute(select(table).where(table.c.customer_id.in_(customers))
                           .order_by(table.c.customer_id)).all()
    found = judge([_facts(row) for row in rows], model_of(current_model(session)), today)
    changed = [{**row._mapping, **vars(judged), "judged_on": today}
               for row, judged in zip(rows, found, strict=True) if _before(row) != judged]
    _replace(session, [row["customer_id"] for row in changed], changed)
    return len(changed), customers[-1]


def mark_everybody(session: Session) -> None:
    """Have every buyer counted anew, as after orders were put right behind the database's back."""
    whose = sa.union(select(Order.customer_id).where(Order.customer_id.is_not(None)), select(CustomerValue.customer_id))
    session.execute(sa.insert(ValueMark).from_select(["customer_id"], whose))


def _day(at: datetime) -> date:
    return at.astimezone(SHOP_ZONE).date()


def _count(session: Session, customers: Sequence[int]) -> dict[int, Facts]:
    """The facts of customers, without those who kept nothing."""
    orders = session.execute(
        select(Order.customer_id, Order.status, Order.total_fen, Order.refunded_fen, Order.refunded_at,
               sa.func.coalesce(Order.paid_at, Order.placed_at))
        .where(Order.customer_id.in_(customers), Order.status.in_((*SPENT_STATUSES, "returned"))))
    bought: dict[int, list[tuple[date, int]]] = defaultdict(list)
    for customer_id, status, total, refunded, refunded_at, at in orders:
        all_back = status == "returned" or (refunded_at is not None and not refunded)
        bought[customer_id].append((_day(at), 0 if all_back else total - refunded))
    counted = {customer_id: facts_of(each) for customer_id, each in bought.items()}
    return {customer_id: facts for customer_id, facts in sorted(counted.items()) if facts is not None}


def _hold(session: Session, customers: Sequence[int]) -> list[int]:
    """Lock customers, so that nobody else writes their value until the unit of work ends; those who are not erased."""
    rows = session.execute(
        select(Customer.id, Customer.erased_at).where(Customer.id.in_(customers)).order_by(Customer.id)
        .with_for_update(key_share=True)).all()
    return [customer_id for customer_id, erased_at in rows if erased_at is None]


def _replace(session: Session, customers: Sequence[int], rows: list[dict[str, Any]]) -> None:
    """Write these rows for customers who are held; who has none has no value any more.

    PostgreSQL's driver takes plain inserts by the thousand, but what updates on a conflict one by one.
    """
    session.execute(sa.delete(CustomerValue).where(CustomerValue.customer_id.in_(customers))
                    .execution_options(synchronize_session=False))
    if rows:
        session.execute(sa.insert(CustomerValue.__table__), rows)


def _facts(row: Any) -> Facts:
    return Facts(**{name: getattr(row, name) for name in FACTS})


def _before(row: Any) -> Judgement:
    return Judgement(**{name: getattr(row, name) for name in JUDGED})


def learn(session: Session, now: datetime) -> dict[str, Any]:
    """What the columns of ``ValueModel`` become; it takes seconds in a large shop, and only reads."""
    today = _day(now)
    customers, repeaters, first_on = session.execute(
        select(sa.func.count(), sa.func.count(sa.case((CustomerValue.purchases > 1, 1))),
               sa.func.min(CustomerValue.first_on))).one()
    learned = {
        "customers": customers, "repeaters": repeaters, "sample": 0, "rhythm_days": _usual_rhythm(session),
        "borders": _borders(session, customers) if customers >= FEWEST_TO_COMPARE else {},
        **dict.fromkeys(LEARNED)}
    if first_on is not None and enough_to_learn(customers, repeaters, (today - first_on).days):
        learned.update(_fit(_sample(session, customers), today))
    return learned


def _usual_rhythm(session: Session) -> int:
    """The median of the rhythms of who came back."""
    own = CustomerValue.rhythm_days
    count = session.execute(select(sa.func.count(own))).scalar_one()
    if count < FEWEST_RHYTHMS:
        return USUAL_RHYTHM_DAYS
    return int(_ranked(session, own, [(count + 1) // 2])[0])


def _borders(session: Session, customers: int) -> dict[str, list[int]]:
    ranks = border_ranks(customers)
    return {"recency": [day.toordinal() for day in _ranked(session, CustomerValue.last_on, ranks)],
            "frequency": _ranked(session, CustomerValue.purchases, ranks),
            "monetary": _ranked(session, CustomerValue.spent_fen, ranks)}


def _ranked(session: Session, column: Any, ranks: Sequence[int]) -> list[Any]:
    """The values with these ranks, the lowest of a column being 1; in the order of the ranks."""
    in_order = (select(column.label("value"), sa.func.row_number().over(order_by=column).label("rank"))
                .where(column.is_not(None)).subquery())
    found = {rank: value for rank, value in session.execute(
        select(in_order.c.rank, in_order.c.value).where(in_order.c.rank.in_(ranks)))}
    return [found[rank] for rank in ranks]


def _sample(session: Session, customers: int) -> list[Facts]:
    """Every buyer, or every so many where there are more than are needed; the same ones each time."""
    every = -(-customers // LARGEST_SAMPLE)
    numbered = select(
        *(getattr(CustomerValue, name) for name in FACTS),
        sa.func.row_number().over(order_by=CustomerValue.customer_id).label("place")).subquery()
    rows: Iterable[Any] = session.execute(
        select(numbered).where(numbered.c.place % every == 0).order_by(numbered.c.place))
    return [_facts(row) for row in rows]


def _fit(buyers: Sequence[Facts], today: date) -> dict[str, Any]:
    x, t_x, age = times_of(buyers, today)
    mean = np.array([facts.spent_fen for facts in buyers], dtype=float) / (x + 1)
    buying, spending = fit_buying(x, t_x, age), fit_spending(x + 1, mean)
    back = x > 0
    varies = back.any() and float(np.std(x[back])) > 0 and float(np.std(mean[back])) > 0
    return {"sample": len(buyers), **(vars(buying) if buying else {}), **(vars(spending) if spending else {}),
            "correlation": float(np.corrcoef(x[back], mean[back])[0, 1]) if varies else None}



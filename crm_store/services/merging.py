"""Puts two records of one person together, and takes them apart again.

What the second record has goes over to the first: channel identities, conversations, tickets, orders, consents,
suggestions, rewards' codes, what is remembered of them and what they were written. The ledger is append-only, so points
go over by an entry on either side, each lot with its expiry and origin; what a return still has to take back goes over
as well. The second record stays, empty, pointing at the first, so that its number and phone still lead to the person.

Taking them apart gives back what went over and still is with the first record, and of the points what was not spent.
What happened since stays where it happened: see docs/adr/0026.
"""
from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy import select
from sqlalchemy.orm import Session, aliased

from crm_store.errors import NotAllowed, NotFound, WrongState
from crm_store.models import (
    CareMessage,
    ChannelIdentity,
    Consent,
    Conversation,
    Customer,
    Erasure,
    Fact,
    Feedback,
    Merge,
    Order,
    PointsEntry,
    Recommendation,
    Redemption,
    SupportAgent,
    Ticket,
)
from crm_store.queries.points import debts_of, lots_of, points_balance
from crm_store.rules.points import Take, take_oldest
from crm_store.services.audit import record
from crm_store.services.ledger import add_lot, add_taking, write_off_lapsed
from crm_store.services.tiers import raise_tier, take_higher_tier

MAY_MERGE = "manager"
MOVED: Mapping[str, Any] = {model.__tablename__: model for model in (
    ChannelIdentity, Conversation, Ticket, Order, Consent, Feedback, Recommendation, Redemption, Fact, CareMessage)}
ONCE: Mapping[str, tuple[str, ...]] = {"facts": ("kind", "what"), "care_messages": ("kind", "occasion")}
COMPARED = ("name", "phone", "email", "city", "address", "language", "tier_code")


@dataclass(frozen=True)
class Preview:
    """What a merge would do.

    Attributes:
        kept: the record that stays.
        gone: the record that is put into it.
        differ: where the two say different things, by field: the first's word, which stays, and the second's.
        counts: how many rows of each table would go over.
        points: the second record's balance.
        after: the first record's balance afterwards.
    """

    kept: Customer
    gone: Customer
    differ: dict[str, tuple[str | None, str | None]]
    counts: dict[str, int]
    points: int
    after: int


def preview_merge(session: Session, agent: SupportAgent, *, kept_id: int, gone_id: int, now: datetime) -> Preview:
    """What putting ``gone_id`` into ``kept_id`` would do; nothing is changed.

    Raises:
        NotAllowed: the agent is no manager.
        NotFound: there is no such record, or it was erased or merged away.
        WrongState: both are the same record.
    """
    _check(agent, kept_id, gone_id)
    kept, gone = (_living(session.get(Customer, each), each) for each in (kept_id, gone_id))
    differ = {name: (getattr(kept, name), getattr(gone, name)) for name in COMPARED
              if getattr(gone, name) not in (None, getattr(kept, name))}
    counts = {name: int(session.execute(
        select(sa.func.count()).select_from(model).where(model.customer_id == gone_id)).scalar_one())
        for name, model in MOVED.items()}
    points = points_balance(session, gone_id, now)
    return Preview(kept, gone, differ, counts, points, points_balance(session, kept_id, now) + points)


def merge_customers(session: Session, agent: SupportAgent, *, kept_id: int, gone_id: int, now: datetime) -> Merge:
    """Put the record ``gone_id`` into ``kept_id``, whose words stay where both say something.

    Args:
        session: the unit of work.
        agent: a manager.
        kept_id: the record that stays.
        gone_id: the record that is put into it.
        now: when.

    Raises:
        NotAllowed: the agent is no manager.
        NotFound: there is no such record, or it was erased or merged away.
        WrongState: both are the same record, or one of them is about to be erased.
    """
    _check(agent, kept_id, gone_id)
    customers = _lock(session, kept_id, gone_id)
    kept, gone = (_living(customers.get(each), each) for each in (kept_id, gone_id))
    _refuse_before_erasure(session, kept_id, gone_id)
    merge = Merge(kept_id=kept_id, gone_id=gone_id, agent_id=agent.id, merged_at=now,
                  moved={name: _ids(session, model, gone_id) for name, model in MOVED.items()})
    session.add(merge)
    session.flush()
    _move(session, merge.moved, gone_id, kept_id)
    _move_points(session, merge.id, gone_id, kept_id, now)
    gone.merged_into_id = kept_id
    session.flush()
    take_higher_tier(session, kept, gone, now)
    raise_tier(session, kept, now)
    record(session, actor_kind="agent", actor_id=agent.id, action="merge_customers", object_kind="customer",
           object_id=kept_id, data={"gone": gone.number, "merge": merge.id}, now=now)
    session.flush()
    return merge


def undo_merge(session: Session, agent: SupportAgent, merge_id: int, now: datetime) -> Merge:
    """Take two records apart again; undone already, nothing more happens.

    Raises:
        NotAllowed: the agent is no manager.
        NotFound: there is no such merge, or one of its records was erased meanwhile.
        WrongState: the record that was kept has been merged away itself: undo that first; or it is about to be erased,
            with all that is the person's.
    """
    if not agent.is_at_least(MAY_MERGE):
        raise NotAllowed(role=agent.role)
    merge: Merge | None = session.get(Merge, merge_id)
    if merge is None:
        raise NotFound(merge_id=merge_id)
    customers = _lock(session, merge.kept_id, merge.gone_id)
    session.refresh(merge)
    if merge.undone_at is not None:
        return merge
    kept, gone = customers[merge.kept_id], customers[merge.gone_id]
    if kept.erased_at is not None or gone.erased_at is not None:
        raise NotFound(merge_id=merge_id)
    if kept.merged_into_id is not None:
        raise WrongState(merge_id=merge_id, state="merged")
    _refuse_before_erasure(session, kept.id, gone.id)
    gone.merged_into_id = None
    merge.undone_at, merge.undone_by_id = now, agent.id
    session.flush()
    _move(session, merge.moved, merge.kept_id, merge.gone_id)
    _move_points_back(session, merge, now)
    record(session, actor_kind="agent", actor_id=agent.id, action="undo_merge", object_kind="customer",
           object_id=merge.kept_id, data={"gone": gone.number, "merge": merge.id}, now=now)
    session.flush()
    return merge


def _check(agent: SupportAgent, kept_id: int, gone_id: int) -> None:
    if not agent.is_at_least(MAY_MERGE):
        raise NotAllowed(role=agent.role)
    if kept_id == gone_id:
        raise WrongState(customer_id=kept_id, state="same")


def _refuse_before_erasure(session: Session, *customer_ids: int) -> None:
    if session.execute(select(Erasure.id).where(
            Erasure.customer_id.in_(customer_ids), Erasure.state == "asked").limit(1)).first() is not None:
        raise WrongState(customer_id=customer_ids[0], state="erasure")


def _living(customer: Customer | None, customer_id: int) -> Customer:
    if customer is None or customer.erased_at is not None or customer.merged_into_id is not None:
        raise NotFound(customer_id=customer_id)
    return customer


def _lock(session: Session, *customer_ids: int) -> dict[int, Customer]:
    """Both customers and what is theirs, locked in the order in which everybody locks."""
    for model in (ChannelIdentity, Conversation):
        session.execute(select(model.id).where(model.customer_id.in_(customer_ids)).order_by(model.id)
                        .with_for_update()).all()
    found = session.execute(
        select(Customer).where(Customer.id.in_(customer_ids)).order_by(Customer.id).with_for_update()
        .execution_options(populate_existing=True)).scalars()
    return {each.id: each for each in found}


def _ids(session: Session, model: Any, customer_id: int) -> list[int]:
    return list(session.execute(
        select(model.id).where(model.customer_id == customer_id).order_by(model.id)).scalars())


def _move(session: Session, moved: Mapping[str, list[int]], whose: int, to: int) -> None:
    """Give rows to another customer, of those that still are whose they were."""
    for name, ids in moved.items():
        model = MOVED[name]
        for start in range(0, len(ids), 500):
            session.execute(
                sa.update(model).where(model.id.in_(ids[start:start + 500]), model.customer_id == whose,
                                       *_not_there(name, model, to))
                .values(customer_id=to).execution_options(synchronize_session=False))
    session.expire_all()


def _not_there(name: str, model: Any, customer_id: int) -> Iterator[Any]:
    """What says the same of the other record already stays where it is: it is told once of a customer."""
    if name in ONCE:
        theirs = aliased(model)
        yield ~sa.exists().where(theirs.customer_id == customer_id, *(
            getattr(theirs, column) == getattr(model, column) for column in ONCE[name]))


def _move_points(session: Session, merge_id: int, gone_id: int, kept_id: int, now: datetime) -> None:
    write_off_lapsed(session, [gone_id, kept_id], now)
    for debt in debts_of(session, gone_id):  # where there is a debt there is no lot to fill it from
        entry = session.get(PointsEntry, debt.key)
        add_lot(session, gone_id, kind="move", points=debt.left, key=f"merge:{merge_id}:settle:{debt.key}",
                created_at=now, now=now)
        takes, _ = take_oldest(lots_of(session, kept_id), debt.left)
        add_taking(session, kept_id, kind="reverse", points=debt.left, takes=takes, now=now, order_id=entry.order_id,
                   key=f"merge:{merge_id}:owe:{debt.key}")
    for lot in lots_of(session, gone_id):
        _move_lot(session, gone_id, kept_id, lot.key, lot.left, f"merge:{merge_id}:{lot.key}", now)


def _move_points_back(session: Session, merge: Merge, now: datetime) -> None:
    write_off_lapsed(session, [merge.gone_id, merge.kept_id], now)
    left = {lot.key: lot.left for lot in lots_of(session, merge.kept_id)}
    earned_in = select(PointsEntry.origin_id).where(
        PointsEntry.customer_id == merge.kept_id, PointsEntry.kind == "move", PointsEntry.points > 0,
        PointsEntry.idempotency_key.like(f"merge:{merge.id}:%"))
    came = session.execute(  # also what has gone on to a third record and come back from there
        select(PointsEntry.id).where(PointsEntry.customer_id == merge.kept_id, PointsEntry.kind == "move",
                                     PointsEntry.points > 0, PointsEntry.origin_id.in_(earned_in))
        .order_by(PointsEntry.id)).scalars()
    for lot_id in came:
        if left.get(lot_id):
            _move_lot(session, merge.kept_id, merge.gone_id, lot_id, left[lot_id], f"unmerge:{merge.id}:{lot_id}", now)


def _move_lot(session: Session, whose: int, to: int, lot_id: int, points: int, key: str, now: datetime) -> None:
    """What is left of a lot goes to another customer, as old as it is."""
    lot = session.get(PointsEntry, lot_id)
    add_taking(session, whose, kind="move", points=points, takes=[Take(points, lot=lot_id)], key=f"{key}:out", now=now)
    add_lot(session, to, kind="move", points=points, key=f"{key}:in", origin_id=lot.origin_id or lot.id,
            order_id=lot.order_id, created_at=lot.created_at, expires_at=lot.expires_at, now=now)

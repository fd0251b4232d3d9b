"""What becomes of a reward's code: it is used once, or cancelled while it is unused.

The answers say what was wrong instead of raising it, so that the caller commits what the audit log keeps of a refusal.
Whoever names a code that is another customer's is told what they are told of a code that does not exist.
"""
from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from crm_store.models import PointsAllocation, PointsEntry, Redemption, Reward
from crm_store.services.audit import record
from crm_store.services.ledger import add_lot, lock_customer

CODE_READ = 20


@dataclass(frozen=True)
class CodeResult:
    """The redemption, or the ``problem``: "unknown", "used" or "cancelled"; ``again``: it had been done before."""

    redemption: Redemption | None
    problem: str | None = None
    again: bool = False


def use_code(
    session: Session, *, customer_id: int, code: str, now: datetime, actor_kind: str = "customer",
    actor_id: int | None = None,
) -> CodeResult:
    """Use a reward's code, once. Using it again is refused, also when many try at the same moment.

    Args:
        session: the unit of work, to be committed whatever comes of it.
        customer_id: whose code it is.
        code: as it was typed.
        now: when.
        actor_kind: who uses it for them, as in the audit log.
        actor_id: their id; the customer's where it is left out.

    Raises:
        NotFound: there is no such customer.
    """
    found = _own(session, customer_id, code, now)
    if found is None:
        return CodeResult(None, "unknown")
    problem = "cancelled" if found.cancelled_at else "used" if found.used_at else None
    if problem is not None:
        _refuse(session, customer_id, found.id, problem, now)
        return CodeResult(None, problem)
    found.used_at = now
    record(session, actor_kind=actor_kind, actor_id=customer_id if actor_id is None else actor_id, action="use_code",
           object_kind="redemption", object_id=found.id, now=now)
    session.flush()
    return CodeResult(found)


def cancel_redemption(
    session: Session, *, customer_id: int, code: str, now: datetime, actor_kind: str = "customer",
    actor_id: int | None = None,
) -> CodeResult:
    """Cancel an unused code: the reward goes back into stock, the points to the customer with their old expiry.

    Points whose time was over meanwhile lapse at once; a debt is filled before there is anything to spend. Cancelling
    again changes nothing.

    Args:
        session: the unit of work, to be committed whatever comes of it.
        customer_id: whose code it is.
        code: as it was typed.
        now: when.
        actor_kind: who cancels, as in the audit log.
        actor_id: their id; the customer's where it is left out.

    Raises:
        NotFound: there is no such customer.
    """
    found = _own(session, customer_id, code, now)
    if found is None:
        return CodeResult(None, "unknown")
    if found.used_at is not None:
        _refuse(session, customer_id, found.id, "used", now)
        return CodeResult(None, "used")
    if found.cancelled_at is not None:
        return CodeResult(found, again=True)
    reward = session.execute(
        select(Reward).where(Reward.id == found.reward_id)
        .with_for_update(key_share=True).execution_options(populate_existing=True)).scalar_one()
    reward.stock += 1
    found.cancelled_at = now
    for lot, points in session.execute(
            select(PointsEntry, PointsAllocation.points)
            .join(PointsAllocation, PointsAllocation.lot_id == PointsEntry.id)
            .where(PointsAllocation.entry_id == found.entry_id).order_by(PointsEntry.expires_at, PointsEntry.id)).all():
        add_lot(session, customer_id, kind="reverse", points=points, key=f"cancel:{found.id}:{lot.id}",
                reward_id=found.reward_id, origin_id=lot.origin_id or lot.id, expires_at=lot.expires_at,
                created_at=now, now=now)
    record(session, actor_kind=actor_kind, actor_id=customer_id if actor_id is None else actor_id,
           action="cancel_redemption", object_kind="redemption", object_id=found.id, now=now)
    session.flush()
    return CodeResult(found)


def _own(session: Session, customer_id: int, code: str, now: datetime) -> Redemption | None:
    """The customer's redemption with this code as it is now; nobody else changes it until the unit of work ends."""
    lock_customer(session, customer_id, living=True)
    written = code.replace("\x00", "").encode("utf-8", "replace").decode().strip().upper()[:CODE_READ + 1]
    found: Redemption | None = session.execute(
        select(Redemption).where(Redemption.code == written).execution_options(populate_existing=True)
    ).scalar_one_or_none()
    if found is None:
        _refuse(session, customer_id, 0, "unknown", now)
        return None
    if found.customer_id != customer_id:
        _refuse(session, customer_id, found.id, "not_theirs", now)
        return None
    return found


def _refuse(session: Session, customer_id: int, redemption_id: int, problem: str, now: datetime) -> None:
    record(session, actor_kind="customer", actor_id=customer_id, action="refuse_code", object_kind="redemption",
           object_id=redemption_id, data={"problem": problem}, now=now)
    session.flush()

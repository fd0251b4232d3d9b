"""Keeps customers' tiers: up at once, down one step at the yearly review. Every change is in the audit log."""
from __future__ import annotations

from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from crm_store.models import AuditEntry, Customer, Tier
from crm_store.queries.points import customers_above_their_tier, spend_of, tiers
from crm_store.rules.tiers import after_review, last_review, raised
from crm_store.services.audit import record
from crm_store.services.ledger import lock_customer


def raise_tier(session: Session, customer: Customer, now: datetime) -> Tier:
    """The tier of a locked customer, lifted if their spending reaches a higher one."""
    ladder = tiers(session)
    held = next(tier for tier in ladder if tier.code == customer.tier_code)
    tier = raised(held, spend_of(session, customer.id, now), ladder)
    if tier.code != held.code:
        _set_tier(session, customer, tier, now, now)
    return tier


def tier_at(session: Session, customer: Customer, at: datetime) -> Tier:
    """The tier a customer had at a time in the past, with what their spending had reached by then."""
    changes = session.execute(
        select(AuditEntry.created_at, AuditEntry.data)
        .where(AuditEntry.object_kind == "customer", AuditEntry.object_id == str(customer.id),
               AuditEntry.action == "set_tier").order_by(AuditEntry.id)).all()
    later = [data["from"] for created_at, data in changes if change_since(created_at, data) > at]
    code = later[0] if later else customer.tier_code
    ladder = tiers(session)
    held = next((tier for tier in ladder if tier.code == code), ladder[0])
    return raised(held, spend_of(session, customer.id, at), ladder)


def raise_tiers(session: Session, now: datetime, after: int = 0, limit: int = 500) -> tuple[int, int | None]:
    """Lift whose spending reaches a higher tier, for at most ``limit`` customers with an id above ``after``.

    Returns:
        How many went up, and the last id that was looked at; None where nobody is left.
    """
    found = customers_above_their_tier(session, now, after, limit)
    for customer_id in found:
        raise_tier(session, lock_customer(session, customer_id), now)
    return len(found), found[-1] if found else None


def review_tiers(session: Session, now: datetime, after: int = 0, limit: int = 500) -> tuple[int, int | None]:
    """The yearly review, as the year begins, of ``limit`` customers: who no longer reaches their tier goes a step down.

    What counts is what they had spent when the year began, whenever this runs, and running it again in the same year
    changes nothing. Who came later, or has changed their tier since the year began, is not reviewed.

    Args:
        session: the unit of work.
        now: when it runs.
        after: go on with customers with an id above this one.
        limit: how many to look at.

    Returns:
        How many went down, and the last id that was looked at; None where nobody is left.
    """
    ladder = tiers(session)
    by_code = {tier.code: tier for tier in ladder}
    reviewed_at = last_review(now)
    candidates = session.execute(
        select(Customer.id).where(Customer.id > after, Customer.tier_code != ladder[0].code,
                                  Customer.created_at < reviewed_at)
        .order_by(Customer.id).limit(limit)
    ).scalars().all()
    went_down = 0
    for customer_id in candidates:
        customer = lock_customer(session, customer_id)
        if customer.tier_since_at is not None and customer.tier_since_at >= reviewed_at:
            continue
        tier = after_review(by_code[customer.tier_code], spend_of(session, customer_id, reviewed_at), ladder)
        if tier.code != customer.tier_code:
            _set_tier(session, customer, tier, reviewed_at, now)
            went_down += 1
    return went_down, candidates[-1] if candidates else None


def take_higher_tier(session: Session, customer: Customer, other: Customer, now: datetime) -> None:
    """Give a locked customer the tier of another record of theirs, where that is the higher one."""
    by_code = {tier.code: tier for tier in tiers(session)}
    held, theirs = by_code[customer.tier_code], by_code[other.tier_code]
    if theirs.rank > held.rank:
        _set_tier(session, customer, theirs, now, now)


def change_since(created_at: datetime, data: dict[str, str]) -> datetime:
    """From when on a change of a tier counts, by the audit entry about it."""
    return datetime.fromisoformat(data["since"]) if "since" in data else created_at


def _set_tier(session: Session, customer: Customer, tier: Tier, since: datetime, now: datetime) -> None:
    data = {"from": customer.tier_code, "to": tier.code}
    if since != now:
        data["since"] = since.isoformat()
    record(session, actor_kind="system", actor_id=None, action="set_tier", object_kind="customer",
           object_id=customer.id, data=data, now=now)
    customer.tier_code, customer.tier_since_at = tier.code, since
    session.flush()

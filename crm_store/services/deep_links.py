"""Links a person on a channel to a customer by a link that the shop made for this customer, once."""
from __future__ import annotations

from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from crm_store.errors import NotFound
from crm_store.models import ChannelIdentity, Customer, LinkCode
from crm_store.services.customers import link_identity, person_of

USED = "$link"  # ends the kept digest of a link, which no code that was sent can have


def link_once(session: Session, *, identity_id: int, customer_id: int, digest: str, now: datetime) -> Customer | None:
    """Link an identity to a customer, unless the link was used, the customer is gone or the identity is another's.

    Where the same person opens the same link again they stay linked.

    Args:
        session: the unit of work.
        identity_id: who opened the link.
        customer_id: for whom the shop made it, which its signature has proved.
        digest: of the link; 64 hexadecimal digits.
        now: when.

    Returns:
        The customer; None where nothing was linked.

    Raises:
        NotFound: there is no such identity.
    """
    identity = session.execute(
        select(ChannelIdentity).where(ChannelIdentity.id == identity_id).with_for_update(key_share=True)
        .execution_options(populate_existing=True)).scalar_one_or_none()
    if identity is None:
        raise NotFound(identity_id=identity_id)
    customer = session.execute(  # locked, so that a link is used once however many open it
        select(Customer).where(Customer.id == customer_id).with_for_update()
        .execution_options(populate_existing=True)).scalar_one_or_none()
    customer = customer and person_of(session, customer)
    if customer is None or customer.erased_at is not None or identity.customer_id not in (None, customer.id):
        return None
    used_by = session.execute(
        select(LinkCode.identity_id).where(LinkCode.code_hash == digest + USED)).scalar_one_or_none()
    if used_by is not None:
        return customer if used_by == identity_id and identity.customer_id == customer.id else None
    session.add(LinkCode(identity_id=identity_id, customer_id=customer_id, code_hash=digest + USED, attempts=0,
                         created_at=now, expires_at=now, used_at=now))
    if identity.customer_id is None:
        link_identity(session, identity, customer, now)
    session.flush()
    return customer

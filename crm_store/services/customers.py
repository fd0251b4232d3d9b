"""Links a channel identity to a customer by a one-time code.

The code has six digits, so no hash, however slow, would keep it from someone who holds the database: a million guesses
are soon made. What protects it is that it lives ten minutes, bears five tries and is replaced by the next one. It is
stored as HMAC-SHA-256 under a random salt of its own, which keeps it out of backups and logs in the clear.

Nobody learns from the answers whether a phone is known: an unknown one gets a row of its own with a code that nobody
was sent, and takes the same steps in the same order. For the same reason too many codes for one phone are not refused
but quietly not sent.
"""
from __future__ import annotations

import hashlib
import hmac
import secrets
import unicodedata
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy import select
from sqlalchemy.orm import Session

from crm_store.errors import NotFound, TooManyAttempts
from crm_store.models import ChannelIdentity, Conversation, Customer, LinkCode, SupportAgent, Ticket
from crm_store.rules.personal_data import digits_in
from crm_store.services.audit import record
from crm_store.services.locking import lock_conversation
from crm_store.services.shop_events import Event, tell_shop
from crm_store.services.system_messages import tell_customer
from crm_store.wording import say

CODE_DIGITS = 6
CODE_LIFETIME = timedelta(minutes=10)
TRIES = 5
CODES_AN_HOUR_FOR_AN_IDENTITY = 3
CODES_AN_HOUR_FOR_A_CUSTOMER = 5
_HOUR = timedelta(hours=1)
_NOBODY = -1


@dataclass(frozen=True)
class LinkStart:
    """A linking that has begun. ``code`` goes to the customer's registered phone or e-mail and nowhere else.

    Both are None where nothing is to be sent; what the visitor is told must not depend on it.
    """

    code: str | None
    customer_id: int | None


@dataclass(frozen=True)
class LinkResult:
    """What came of a code: the customer, or a ``problem`` ("invalid_code", "too_many_attempts") and the tries left."""

    customer: Customer | None
    problem: str | None = None
    tries_left: int = 0


def normalise_phone(text: str) -> str:
    """A phone as the store keeps it: digits only, without China's country code. Other text gives what digits it has."""
    digits = digits_in(text[:60])
    for prefix in ("0086", "86"):
        if digits.startswith(prefix) and len(digits) == len(prefix) + 11:
            return digits[len(prefix):]
    return digits


def start_linking(session: Session, *, identity_id: int, phone: str, now: datetime) -> LinkStart:
    """Make a one-time code for the customer whose registered phone (or e-mail) this is; older codes end.

    Args:
        session: the unit of work, to be committed.
        identity_id: the channel identity that wants to be linked.
        phone: the phone or e-mail as it was typed.
        now: when.

    Raises:
        NotFound: there is no such identity.
        TooManyAttempts: three codes within an hour for this identity. It says nothing about the phone.
    """
    _lock_identity(session, identity_id)
    recent = select(sa.func.count()).select_from(LinkCode).where(LinkCode.created_at > now - _HOUR)
    if session.execute(recent.where(LinkCode.identity_id == identity_id)).scalar_one() >= CODES_AN_HOUR_FOR_AN_IDENTITY:
        raise TooManyAttempts(identity_id=identity_id)
    customer_id = _registered(session, phone)
    sent = session.execute(recent.where(LinkCode.customer_id == (customer_id or _NOBODY))).scalar_one()
    if sent >= CODES_AN_HOUR_FOR_A_CUSTOMER:
        customer_id = None
    code = f"{secrets.randbelow(10 ** CODE_DIGITS):0{CODE_DIGITS}d}"
    session.execute(
        sa.update(LinkCode)
        .where(LinkCode.identity_id == identity_id, LinkCode.used_at.is_(None), LinkCode.expires_at > now)
        .values(expires_at=now).execution_options(synchronize_session=False)
    )
    session.add(LinkCode(identity_id=identity_id, customer_id=customer_id, code_hash=_hash(code), attempts=0,
                         created_at=now, expires_at=now + CODE_LIFETIME))
    session.flush()
    return LinkStart(code, customer_id) if customer_id is not None else LinkStart(None, None)


def confirm_link(session: Session, *, identity_id: int, code: str, now: datetime) -> LinkResult:
    """Link the identity if ``code`` is the one that was sent; a wrong one counts as a try.

    It returns the problem instead of raising, so that the caller commits the counted try.

    The right code again, from a message handled twice, gives the same customer again.

    Args:
        session: the unit of work, to be committed whatever comes of it.
        identity_id: the channel identity that wants to be linked.
        code: what was typed; spaces and full-width digits are fine.
        now: when.

    Raises:
        NotFound: there is no such identity.
    """
    identity = _lock_identity(session, identity_id)
    stored = session.execute(
        select(LinkCode).where(LinkCode.identity_id == identity_id)
        .order_by(LinkCode.id.desc()).limit(1).execution_options(populate_existing=True)
    ).scalar_one_or_none()
    if stored is None or stored.expires_at <= now:
        return LinkResult(None, "invalid_code")
    if stored.used_at is not None:
        again = identity.customer_id == stored.customer_id and _fits(normalise_phone(code), stored.code_hash)
        return LinkResult(identity.customer) if again else LinkResult(None, "invalid_code")
    if stored.attempts >= TRIES:
        return LinkResult(None, "too_many_attempts")
    stored.attempts += 1
    session.flush()
    right = _fits(normalise_phone(code), stored.code_hash)
    customer = session.get(Customer, stored.customer_id) if right and stored.customer_id is not None else None
    customer = customer and person_of(session, customer)
    if customer is None or customer.erased_at is not None:
        left = TRIES - stored.attempts
        return LinkResult(None, "invalid_code" if left else "too_many_attempts", left)
    stored.used_at = now
    link_identity(session, identity, customer, now)
    return LinkResult(customer)


def link_identity(session: Session, identity: ChannelIdentity, customer: Customer, now: datetime) -> None:
    """Make the identity the customer's: their conversations, those still going on, and what was asked there follow.

    Conversations that ended while the identity belonged to somebody else stay with them.

    Raises:
        NotFound: the customer was erased meanwhile.
    """
    while True:  # merged meanwhile, they are the record that it was merged into
        customer = session.execute(
            select(Customer).where(Customer.id == customer.id).with_for_update(read=True, key_share=True)
            .execution_options(populate_existing=True)).scalar_one()
        if customer.merged_into_id is None:
            break
        customer = person_of(session, customer)
    if customer.erased_at is not None:
        raise NotFound(customer_id=customer.id)
    theirs = sa.or_(Conversation.customer_id.is_(None), Conversation.status != "resolved")
    conversations = session.execute(
        select(Conversation).where(Conversation.identity_id == identity.id, theirs).order_by(Conversation.id)
        .with_for_update(key_share=True).execution_options(populate_existing=True)
    ).scalars().all()
    before = identity.customer_id
    identity.customer_id, identity.linked_at = customer.id, now
    for conversation in conversations:
        conversation.customer_id, conversation.updated_at = customer.id, now
    session.execute(
        sa.update(Ticket)
        .where(Ticket.conversation_id.in_([each.id for each in conversations]), Ticket.customer_id.is_(None))
        .values(customer_id=customer.id).execution_options(synchronize_session="fetch")
    )
    record(session, actor_kind="customer", actor_id=customer.id, action="link", object_kind="channel_identity",
           object_id=identity.id, data={"channel": identity.channel, "customer_before": before}, now=now)
    tell_shop(session, [Event("customer.linked", customer.id, {"channel": identity.channel})], now)
    session.flush()


def unlink_identity(session: Session, identity_id: int, now: datetime, agent: SupportAgent | None = None) -> bool:
    """Make a channel identity a guest's again: what is still going on there goes with it, what ended stays.

    Args:
        session: the unit of work.
        identity_id: which identity.
        now: when.
        agent: who does it; None for the customer themself.

    Returns:
        Whether it was linked.

    Raises:
        NotFound: there is no such identity.
    """
    identity = _lock_identity(session, identity_id)
    customer_id = identity.customer_id
    if customer_id is None:
        return False
    for conversation in session.execute(
            select(Conversation).where(Conversation.identity_id == identity.id, Conversation.status != "resolved")
            .order_by(Conversation.id).with_for_update(key_share=True)
            .execution_options(populate_existing=True)).scalars():
        conversation.customer_id, conversation.updated_at = None, now
    identity.customer_id = identity.linked_at = None
    record(session, actor_kind="customer" if agent is None else "agent",
           actor_id=customer_id if agent is None else agent.id, action="unlink", object_kind="channel_identity",
           object_id=identity.id, data={"channel": identity.channel, "customer_before": customer_id}, now=now)
    session.flush()
    return True


def unlink_with_notice(session: Session, *, conversation_id: int, language: str, now: datetime) -> bool:
    """Unlink the channel of a conversation at its customer's wish; they are told while it is still theirs.

    Args:
        session: the unit of work.
        conversation_id: where they said so.
        language: to tell them in.
        now: when.

    Returns:
        Whether it was linked; again, it tells and changes nothing.

    Raises:
        NotFound: there is no such conversation, or it was erased.
    """
    identity_id = session.execute(
        select(Conversation.identity_id).where(Conversation.id == conversation_id)).scalar_one_or_none()
    if identity_id is None:
        raise NotFound(conversation_id=conversation_id)
    if _lock_identity(session, identity_id).customer_id is None:
        return False
    tell_customer(session, lock_conversation(session, conversation_id), say("unlinked_at_wish", language), now)
    session.flush()
    return unlink_identity(session, identity_id, now)


def _lock_identity(session: Session, identity_id: int) -> ChannelIdentity:
    identity: ChannelIdentity | None = session.execute(
        select(ChannelIdentity).where(ChannelIdentity.id == identity_id)
        .with_for_update(key_share=True).execution_options(populate_existing=True)
    ).scalar_one_or_none()
    if identity is None:
        raise NotFound(identity_id=identity_id)
    return identity


def _registered(session: Session, phone: str) -> int | None:
    """The customer with this phone or e-mail, locked so that their codes are counted one by one."""
    written = unicodedata.normalize("NFKC", phone[:200]).strip()
    by_email = "@" in written
    match = sa.func.lower(Customer.email) == written.lower() if by_email else Customer.phone == normalise_phone(written)
    found: Customer | None = session.execute(
        select(Customer).where(match, Customer.erased_at.is_(None)).limit(1).with_for_update(key_share=True)
        .execution_options(populate_existing=True)).scalar_one_or_none()
    return None if found is None else int(person_of(session, found).id)


def person_of(session: Session, customer: Customer) -> Customer:
    """The record that a customer's was merged into, however often; their own where it was not."""
    while customer.merged_into_id is not None:
        customer = session.get(Customer, customer.merged_into_id, populate_existing=True)
    return customer


def records_of(session: Session, customer_id: int) -> list[int]:
    """A customer and every record that was merged into theirs, also over others."""
    found, latest = {customer_id}, {customer_id}
    while latest:
        latest = set(session.execute(
            select(Customer.id).where(Customer.merged_into_id.in_(latest))).scalars()) - found
        found |= latest
    return sorted(found)


def _hash(code: str, salt: bytes | None = None) -> str:
    salt = salt or secrets.token_bytes(16)
    return f"{salt.hex()}${hmac.new(salt, code.encode(), hashlib.sha256).hexdigest()}"


def _fits(code: str, code_hash: str) -> bool:
    salt = bytes.fromhex(code_hash.partition("$")[0])
    return hmac.compare_digest(_hash(code, salt), code_hash)

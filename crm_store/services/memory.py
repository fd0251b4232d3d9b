"""Remembers what customers said of themselves, with its source, and forgets it at a word. See docs/adr/0027."""
from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy import select
from sqlalchemy.orm import Session, aliased

from crm_store.errors import InvalidMessage, NotFound
from crm_store.models import Conversation, Customer, Fact, Message, SupportAgent
from crm_store.queries.customers import consents_of
from crm_store.rules.memory import FACT_KINDS, FACT_LENGTH, TONES, is_about
from crm_store.rules.text import clean_text
from crm_store.services.audit import record
from crm_store.services.customers import records_of
from crm_store.services.ledger import lock_customer

MOST_FACTS = 30
NAME = "name"


def may_remember(session: Session, customer_id: int) -> bool:
    """Whether facts may be kept of a customer: each is asked about, so only a "no" for good forbids it."""
    return consents_of(session, customer_id).get("memory") is not False


def keep_fact(session: Session, *, customer_id: int, kind: str, what: str, message_id: int,
              now: datetime) -> Fact | None:
    """Keep what a customer said and agreed to have kept; the same again changes nothing.

    Args:
        session: the unit of work.
        customer_id: who said it.
        kind: one of ``FACT_KINDS``.
        what: in their words, at most 80 characters.
        message_id: the message in which they said it.
        now: when they agreed.

    Returns:
        The fact; None where they do not want to be remembered, or 30 are kept already.

    Raises:
        NotFound: no such customer, or the message is not theirs.
        InvalidMessage: the kind is none, or there are no words.
    """
    if kind not in FACT_KINDS:
        raise InvalidMessage(field="kind", reason="invalid")
    what = clean_text(what, FACT_LENGTH)
    customer = lock_customer(session, customer_id, living=True)
    message = session.get(Message, message_id)
    said_in = None if message is None else session.get(Conversation, message.conversation_id)
    if message is None or said_in is None or said_in.customer_id != customer_id:
        raise NotFound(message_id=message_id)
    facts = facts_of(session, customer.id)
    known = next((fact for fact in facts if (fact.kind, fact.what) == (kind, what)), None)
    if known is not None:
        return known
    if kind == NAME:  # one goes by one name
        _delete(session, customer_id, [fact.id for fact in facts if fact.kind == NAME], "customer", customer_id, now)
    if len(facts) >= MOST_FACTS or not may_remember(session, customer_id):
        return None
    fact = Fact(customer_id=customer_id, kind=kind, what=what, conversation_id=said_in.id, message_id=message.id,
                channel=said_in.channel, said_at=message.created_at, confirmed_at=now)
    session.add(fact)
    session.flush()
    record(session, actor_kind="customer", actor_id=customer_id, action="keep_fact", object_kind="customer",
           object_id=customer_id, data={"fact": fact.id, "kind": kind}, now=now)
    return fact


def facts_of(session: Session, customer_id: int) -> list[Fact]:
    """What is remembered of a customer, the oldest first."""
    return list(session.execute(select(Fact).where(Fact.customer_id == customer_id).order_by(Fact.id)).scalars())


def goes_by(session: Session, customer: Customer) -> str:
    """What a customer wants to be called; their name where they never said."""
    said = session.execute(
        select(Fact.what).where(Fact.customer_id == customer.id, Fact.kind == NAME)
        .order_by(Fact.id.desc()).limit(1)).scalar_one_or_none()
    return str(said or customer.name)


def forget_facts(session: Session, *, customer_id: int, which: str, what: str = "", now: datetime) -> list[str]:
    """Forget "all" of what is remembered, the "last" thing, or what is "named" by ``what``.

    Returns:
        The words of what was forgotten.
    """
    lock_customer(session, customer_id, living=True)
    facts = facts_of(session, customer_id)
    gone = {"all": facts, "last": facts[-1:]}.get(which, [fact for fact in facts if what and is_about(fact.what, what)])
    words = [str(fact.what) for fact in gone]
    _delete(session, customer_id, [fact.id for fact in gone], "customer", customer_id, now)
    return words


def forget_fact(session: Session, agent: SupportAgent, *, customer_id: int, fact_id: int, now: datetime) -> None:
    """Forget one fact as an agent, for the customer who asks them to.

    Raises:
        NotFound: the customer has no such fact.
    """
    lock_customer(session, customer_id, living=True)
    if fact_id not in [fact.id for fact in facts_of(session, customer_id)]:
        raise NotFound(fact_id=fact_id)
    _delete(session, customer_id, [fact_id], "agent", agent.id, now)


def set_tone(session: Session, *, customer_id: int, tone: str | None, now: datetime,
             agent: SupportAgent | None = None) -> None:
    """Keep how a customer wants to be spoken to: "warm", "brisk", or None for the shop's own way.

    Raises:
        NotFound: there is no such customer.
        InvalidMessage: there is no such tone.
    """
    if tone not in (None, *TONES):
        raise InvalidMessage(field="tone", reason="invalid")
    customer: Customer = lock_customer(session, customer_id, living=True)
    if customer.tone != tone:
        customer.tone = tone
        record(session, actor_kind="customer" if agent is None else "agent",
               actor_id=customer_id if agent is None else agent.id, action="set_tone", object_kind="customer",
               object_id=customer_id, data={"tone": tone}, now=now)
        session.flush()


def _delete(session: Session, customer_id: int, fact_ids: list[int], actor_kind: str, actor_id: int,
            now: datetime) -> None:
    if not fact_ids:
        return
    named = aliased(Fact)
    everywhere = session.execute(  # a record that was merged into theirs may hold the same
        select(Fact.id).where(Fact.customer_id.in_(records_of(session, customer_id)), sa.exists().where(
            named.id.in_(fact_ids), named.kind == Fact.kind, named.what == Fact.what))).scalars().all()
    session.execute(sa.delete(Fact).where(Fact.id.in_(everywhere)).execution_options(synchronize_session="fetch"))
    record(session, actor_kind=actor_kind, actor_id=actor_id, action="forget_fact", object_kind="customer",
           object_id=customer_id, data={"facts": fact_ids}, now=now)
    session.flush()

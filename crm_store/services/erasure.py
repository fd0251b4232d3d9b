"""Forgets a person: what was said goes, what the books need stays without them.

Rows that hang on the person go by their foreign keys, those of tables that do not exist yet too; the tables in ``KEPT``
stay and are emptied of what says who it was. Locks are taken in the order of every other service (channel identities,
conversations, customer) and exclusively, so that whoever writes to the person at the same time either comes before and
is erased, or comes after and finds nobody. See docs/adr/0024.
"""
from __future__ import annotations

import hashlib
import hmac
import json
import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import select
from sqlalchemy.orm import Session

from crm_store.errors import NotFound, WrongState
from crm_store.models import (
    Attachment,
    AuditEntry,
    Base,
    ChannelIdentity,
    Conversation,
    Customer,
    DialogueTracker,
    Erasure,
    Message,
    Order,
    PointsEntry,
    Redemption,
    SavedSearch,
    Shipment,
    SupportAgent,
    Ticket,
    Tombstone,
    WechatPost,
)
from crm_store.queries.points import lots_of
from crm_store.rules.points import Take
from crm_store.services import audit
from crm_store.services.attachments import forget_attachments
from crm_store.services.customers import records_of
from crm_store.services.ledger import add_taking
from crm_store.services.search_index import forget_words
from crm_store.services.sla import cancel, clocks_of
from crm_store.services.tickets import UNSOLVED
from crm_store.services.traces import columns, find_traces, needles

COOL_OFF = timedelta(hours=24)
LEFT_BY_A_CRASH = timedelta(minutes=15)  # longer than files and proof take
LOCK_TRIES = 5
ROOTS = ("customers", "channel_identities", "conversations", "tickets")
KEPT = frozenset({
    *ROOTS, "orders", "order_items", "shipments", "points_entries", "points_allocations", "redemptions", "sla_clocks",
    "sla_events", "escalations", "ratings", "recommendations", "audit_log", "erasures", "tombstones"})
AGREED = frozenset({"facts"})  # the customer's, who agreed to each: they outlive the conversation they were said in
FREE_TEXT = ("reason", "text", "words", "name", "note", "summary", "wish", "query")
GONE = "erased"


@dataclass
class Person:
    """Whose data it is, by the rows that are locked: a customer, or the guest of one identity.

    ``merged`` are the records that were put into the customer's: they still hold the name and phone they came with.
    """

    customer: Customer | None
    identities: list[ChannelIdentity]
    conversations: list[Conversation]
    tickets: list[Ticket] = field(default_factory=list)
    merged: list[Customer] = field(default_factory=list)

    @property
    def records(self) -> list[Customer]:
        """The customer and what was merged into them."""
        return [self.customer, *self.merged] if self.customer is not None else []

    @property
    def talks(self) -> list[int]:
        """The ids of the conversations."""
        return [talk.id for talk in self.conversations]


@dataclass
class Forgotten:
    """What was done: rows by table that went or were emptied, the files to delete, the words nobody may find again."""

    deleted: dict[str, int] = field(default_factory=dict)
    emptied: dict[str, int] = field(default_factory=dict)
    files: list[Path] = field(default_factory=list)
    words: list[str] = field(default_factory=list)
    open_ids: list[str] = field(default_factory=list)


def ask_erasure(session: Session, customer_id: int, *, asked_by: str, now: datetime, agent: SupportAgent | None = None,
                due_at: datetime | None = None) -> Erasure:
    """Write down that a customer is to be erased; asking again gives the one that waits already.

    Args:
        session: the unit of work.
        customer_id: who.
        asked_by: "customer", "agent" or "tombstone".
        now: when.
        agent: which agent asked.
        due_at: from when it may be carried out; after the time to think better of it when left out.

    Raises:
        NotFound: there is no such customer, or they were erased.
    """
    customer = None
    while customer is None or customer.merged_into_id is not None:  # the person is the record it was merged into
        customer_id = customer.merged_into_id if customer is not None else customer_id
        customer = session.execute(
            select(Customer).where(Customer.id == customer_id).with_for_update(key_share=True)
            .execution_options(populate_existing=True)).scalar_one_or_none()
        if customer is None or customer.erased_at is not None:
            raise NotFound(customer_id=customer_id)
    waiting = waiting_erasure(session, customer_id)
    due_at = due_at or now + COOL_OFF
    if waiting is None:
        waiting = Erasure(customer_id=customer_id, state="asked", asked_by=asked_by, asked_at=now, due_at=due_at,
                          agent_id=agent.id if agent else None, files=[])
        session.add(waiting)
        session.flush()
        _note(session, waiting, "ask_erasure", now)
    elif due_at < waiting.due_at:
        waiting.due_at, waiting.agent_id = due_at, agent.id if agent else waiting.agent_id
    session.flush()
    return waiting


def waiting_erasure(session: Session, customer_id: int) -> Erasure | None:
    """The erasure that a customer waits for, if there is one."""
    found: Erasure | None = session.execute(
        select(Erasure).where(Erasure.customer_id == customer_id, Erasure.state == "asked")
        .order_by(Erasure.id.desc()).limit(1)).scalar_one_or_none()
    return found


def cancel_erasure(session: Session, erasure_id: int, *, now: datetime, agent: SupportAgent | None = None) -> Erasure:
    """The customer keeps their data.

    Raises:
        NotFound: there is no such erasure.
        WrongState: it was carried out or cancelled.
    """
    erasure = _locked_erasure(session, erasure_id)
    if erasure.state != "asked":
        raise WrongState(state=erasure.state)
    erasure.state = "cancelled"
    erasure.agent_id = agent.id if agent else erasure.agent_id
    _note(session, erasure, "cancel_erasure", now)
    session.flush()
    return erasure


def erasures_due(session: Session, now: datetime) -> list[int]:
    """The erasures whose time has come."""
    return list(session.execute(
        select(Erasure.id).where(Erasure.state == "asked", Erasure.due_at <= now).order_by(Erasure.id)).scalars())


def erasures_unproven(session: Session, now: datetime) -> list[int]:
    """The erasures that were begun a while ago and whose files are not known to be gone."""
    return list(session.execute(
        select(Erasure.id).where(Erasure.state == "erased", Erasure.erased_at <= now - LEFT_BY_A_CRASH)
        .order_by(Erasure.id)).scalars())


def carry_out(session: Session, erasure_id: int, *, key: bytes, now: datetime) -> tuple[Erasure, Forgotten] | None:
    """Erase whom the erasure is about; None where it is not waiting any more. Commit, then delete the files.

    Args:
        session: the unit of work, in which nothing else was locked.
        erasure_id: which.
        key: makes the tombstones.
        now: when.
    """
    asked = session.get(Erasure, erasure_id, populate_existing=True)
    if asked is None or asked.state != "asked":
        return None
    person = lock_person(session, customer_id=asked.customer_id, identity_id=asked.identity_id)
    erasure = _locked_erasure(session, erasure_id)
    if erasure.state != "asked":
        return None
    if session.get_bind().dialect.name == "sqlite":
        session.execute(sa.text("PRAGMA secure_delete = ON"))
    bury(session, person, key, now)
    forgotten = forget(session, person, now)
    erasure.state, erasure.erased_at, erasure.files = "erased", now, [place.as_posix() for place in forgotten.files]
    erasure.report = {
        "schema": "warmline.erasure/1", "erasure": erasure.id, "asked_by": erasure.asked_by,
        "asked_at": erasure.asked_at.isoformat(), "agent": erasure.agent_id, "erased_at": now.isoformat(),
        "deleted_rows": forgotten.deleted, "emptied_rows": forgotten.emptied,
        "deleted_files": {"attachments": len(forgotten.files)}, "searched": None}
    _note(session, erasure, "erase", now)
    session.flush()
    return erasure, forgotten


def search_again(session: Session, words: Sequence[str]) -> dict[str, Any]:
    """Look for what identified the person in every table there is; for the report, so nothing of it is repeated."""
    found = find_traces(session, words)
    return {"words": len(words), "tables": len(columns(session)),
            "found": {f"{trace.table}.{trace.column}": trace.rows for trace in found}}


def prove(session: Session, erasure_id: int, *, key: bytes, files: Mapping[str, int],
          searched: Mapping[str, Any] | None, now: datetime) -> Erasure:
    """Its files are gone: complete and sign the report.

    Args:
        session: the unit of work.
        erasure_id: which.
        key: signs.
        files: how many files or lines went, by where they were.
        searched: what :func:`search_again` gave; None where a crash has taken with it what was to be looked for.
        now: when.
    """
    erasure = _locked_erasure(session, erasure_id)
    if erasure.state == "erased":
        erasure.report = {**erasure.report, "deleted_files": {**erasure.report["deleted_files"], **files},
                          "searched": searched, "proven_at": now.isoformat()}
        erasure.state, erasure.proven_at, erasure.files = "proven", now, []
        erasure.signature = signature_of(erasure.report, key)
        session.flush()
    return erasure


def signature_of(report: Mapping[str, Any], key: bytes) -> str:
    """HMAC-SHA256 of a report: its JSON with sorted keys and without blanks."""
    text = json.dumps(report, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()


def lock_person(session: Session, *, customer_id: int | None = None, identity_id: int | None = None) -> Person:
    """A customer, or the guest of an identity, with everything of theirs locked against every other writer.

    Raises:
        NotFound: there is no such customer or guest, or they were erased.
        WrongState: identities and conversations kept coming meanwhile; try again.
    """
    for _ in range(LOCK_TRIES):
        with session.begin_nested() as attempt:
            before = _ids_of(session, customer_id, identity_id)
            identities = _locked(session, ChannelIdentity, before[0])
            conversations = _locked(session, Conversation, before[1])
            found = _locked(session, Customer, before[2])
            if _ids_of(session, customer_id, identity_id) == before:
                customer = next((each for each in found if each.id == customer_id), None)
                guest = customer_id is None and identities
                if not guest and (customer is None or customer.erased_at is not None):
                    raise NotFound(customer_id=customer_id, identity_id=identity_id)
                talks = [talk.id for talk in conversations]
                theirs = Ticket.conversation_id.in_(talks)
                theirs = sa.or_(theirs, Ticket.customer_id.in_(before[2]))
                tickets = session.execute(select(Ticket).where(theirs).order_by(Ticket.id)).scalars().all()
                merged = [each for each in found if each.id != customer_id]
                return Person(customer, identities, conversations, list(tickets), merged)
            attempt.rollback()  # what is locked by now was locked out of order
    raise WrongState(state="busy")


def hash_of(kind: str, name: str, key: bytes) -> str:
    """What a tombstone keeps of a customer's number, or of a channel and the id on it."""
    return hmac.new(key, f"tombstone:{kind}:{name}".encode(), hashlib.sha256).hexdigest()


def was_erased(session: Session, number: str, key: bytes) -> bool:
    """Whether the customer with this number was erased: an import must not bring them back."""
    return session.execute(select(Tombstone.id).where(
        Tombstone.kind == "customer", Tombstone.hash == hash_of("customer", number, key))).scalar() is not None


def bury(session: Session, person: Person, key: bytes, now: datetime) -> list[Tombstone]:
    """Leave a tombstone for the customer and for each of their identities."""
    names = [("identity", f"{each.channel}:{each.external_id}") for each in person.identities]
    names += [("customer", str(each.number)) for each in person.records]
    laid = []
    for kind, name in names:
        hashed = hash_of(kind, name, key)
        stone = session.execute(
            select(Tombstone).where(Tombstone.kind == kind, Tombstone.hash == hashed)).scalar_one_or_none()
        if stone is None:
            stone = Tombstone(kind=kind, hash=hashed, erased_at=now)
            session.add(stone)
        stone.erased_at = now
        laid.append(stone)
    session.flush()
    return laid


def forget(session: Session, person: Person, now: datetime) -> Forgotten:
    """Take everything that says who it was out of the store; the person is locked."""
    words = _words_of(session, person)
    done = Forgotten(words=needles(words), open_ids=_open_ids_of(person))
    empty_conversations(session, person, now, done)
    _forget_rows(session, {
        "customers": [each.id for each in person.records],
        "channel_identities": [each.id for each in person.identities]}, done)
    for identity in person.identities:
        identity.external_id, identity.customer_id = f"{GONE}:{secrets.token_hex(16)}", None
        identity.linked_at = identity.language = identity.unreachable_since = None
        identity.blocked_until = identity.slowed_at = None
    done.emptied["channel_identities"] = len(person.identities)
    for record in person.records:
        _empty_books(session, record, done, now)
        _empty_customer(record, now)
        done.emptied["customers"] = done.emptied.get("customers", 0) + 1
    session.flush()
    _strike_out(session, person, done)
    session.flush()
    return done


def empty_conversations(session: Session, person: Person, now: datetime, done: Forgotten) -> None:
    """Take out what was said; conversation, tickets and clocks stay for the figures, with nothing in them."""
    talks = person.talks
    if not talks:
        return
    said = select(Message.id).where(Message.conversation_id.in_(talks))
    done.deleted["attachments"], places = forget_attachments(session, Attachment.message_id.in_(said))
    done.files += places
    done.deleted["message_words"] = forget_words(session, talks)
    done.deleted["dialogue_trackers"] = _changed(session, sa.delete(DialogueTracker).where(
        DialogueTracker.sender_id.in_([str(talk) for talk in talks])))
    unsolved = [ticket for ticket in person.tickets if ticket.status in UNSOLVED]
    for clock in clocks_of(session, person.tickets):
        cancel(session, clock, now)
    for ticket in unsolved:
        ticket.status, ticket.resolved_at = "resolved", now
    session.flush()
    _forget_rows(session, {"conversations": talks, "tickets": [ticket.id for ticket in person.tickets]}, done)
    for ticket in person.tickets:
        ticket.summary, ticket.wish = "", None
        ticket.customer_id = ticket.order_id = None
    for talk in person.conversations:
        talk.resolved_at = talk.resolved_at or now
        talk.status, talk.version, talk.erased_at, talk.updated_at = "resolved", talk.version + 1, now, now
        talk.customer_id = talk.anger = talk.last_customer_message_at = talk.snoozed_until = None
        talk.dispatch_lease = talk.dispatch_lease_until = None
    done.emptied["conversations"] = len(talks)
    done.emptied["tickets"] = len(person.tickets)
    session.flush()
    session.expire_all()


def conditions_of(ids: Mapping[str, Sequence[int]]) -> dict[str, Any]:
    """For each table with rows that hang on these, by foreign keys over any number of tables: which rows do."""
    conditions: dict[str, Any] = {}
    for table in Base.metadata.sorted_tables:
        if table.name in KEPT:
            continue
        references = [(key.parent, key.column.table) for key in table.foreign_keys
                      if table.name not in AGREED or key.column.table.name == "customers"]
        said = any(target.name in ("conversations", "messages") for _, target in references)
        found = []
        for column, target in references:
            if ids.get(target.name) and not (target.name == "channel_identities" and said):
                found.append(column.in_(ids[target.name]))
            elif target.name in conditions and target is not table:
                found.append(column.in_(select(*target.primary_key.columns).where(conditions[target.name])))
        if found:
            conditions[table.name] = sa.or_(*found)
    return conditions


def _forget_rows(session: Session, ids: Mapping[str, Sequence[int]], done: Forgotten) -> None:
    conditions = conditions_of(ids)
    for table in reversed(Base.metadata.sorted_tables):
        if table.name in KEPT | AGREED:
            for key in table.foreign_keys:
                if key.column.table.name in conditions:
                    gone = select(*key.column.table.primary_key.columns).where(conditions[key.column.table.name])
                    _changed(session, sa.update(table).where(key.parent.in_(gone)).values({key.parent: None}))
    for table in reversed(Base.metadata.sorted_tables):
        if table.name in conditions:
            rows = _changed(session, sa.delete(table).where(conditions[table.name]))
            if rows:
                done.deleted[table.name] = done.deleted.get(table.name, 0) + rows


def _empty_books(session: Session, customer: Customer, done: Forgotten, now: datetime) -> None:
    """Orders, parcels, ledger and codes stay, as the law on books demands, and name nobody."""
    lots = lots_of(session, customer.id)
    if lots:
        left = sum(lot.left for lot in lots)
        takes = [Take(lot.left, lot=lot.key) for lot in lots]
        add_taking(session, customer.id, kind="expire", points=left, takes=takes, now=now,
                   key=f"erase:{customer.id}:{now.timestamp():.0f}")
    theirs = select(Order.id).where(Order.customer_id == customer.id)
    orders = _changed(session, sa.update(Order).where(Order.customer_id == customer.id)
                      .values(phone="", address="", note=None))
    parcels = session.execute(select(Shipment).where(Shipment.order_id.in_(theirs))).scalars().all()
    for parcel in parcels:
        parcel.tracking_number, parcel.events = f"{GONE}-{secrets.token_hex(12)}", []
    reasons = _changed(session, sa.update(PointsEntry).where(
        PointsEntry.customer_id == customer.id, PointsEntry.reason.is_not(None)).values(reason=None))
    codes = session.execute(select(Redemption).where(Redemption.customer_id == customer.id)).scalars().all()
    for redemption in codes:
        redemption.code = f"X{secrets.token_hex(9)}"
    for table, rows in (("orders", orders), ("shipments", len(parcels)), ("points_entries", reasons),
                        ("redemptions", len(codes))):
        done.emptied[table] = done.emptied.get(table, 0) + rows


def _empty_customer(customer: Customer, now: datetime) -> None:
    customer.number, customer.name, customer.language = f"X{secrets.token_hex(8)}", "", "zh"
    customer.phone = customer.email = customer.city = customer.address = None
    customer.birthday = customer.tone = customer.merged_into_id = None
    customer.erased_at = now


def _words_of(session: Session, person: Person) -> list[str]:
    """What identifies the person wherever it stands. Their name is others' name too, and so is not among it."""
    words = [*(str(each.external_id) for each in person.identities), *_open_ids_of(person)]
    for customer in person.records:
        words += [customer.number, customer.phone, customer.email, customer.address]
        for order in session.execute(select(Order).where(Order.customer_id == customer.id)).scalars():
            words += [order.phone, order.address, *(parcel.tracking_number for parcel in order.shipments)]
        words += session.execute(select(Redemption.code).where(Redemption.customer_id == customer.id)).scalars()
    return [word for word in dict.fromkeys(words) if word]


def _open_ids_of(person: Person) -> list[str]:
    """What WeChat calls them: of an id on the channel what stands after the account's."""
    return [str(each.external_id).rpartition(":")[2] for each in person.identities if each.channel == "wechat"]


def _strike_out(session: Session, person: Person, done: Forgotten) -> None:
    """Who did what and when stays in the audit log; words about the person go, there and in kept searches."""
    about = sa.or_(
        *(sa.and_(AuditEntry.object_kind == kind, AuditEntry.object_id.in_([str(each) for each in ids]))
          for kind, ids in (("customer", [each.id for each in person.records]),
                            ("channel_identity", [each.id for each in person.identities]),
                            ("conversation", person.talks), ("ticket", [each.id for each in person.tickets]),
                            ("ticket", [each.number for each in person.tickets])) if ids), sa.false())
    named = _holds_one(AuditEntry.data, done.words)
    struck = 0
    for entry in session.execute(select(AuditEntry).where(sa.or_(about, named))).scalars():
        told = _struck(entry.data, done.words)
        if told != entry.data:
            entry.data, struck = told, struck + 1
    done.emptied["audit_log"] = struck
    done.deleted["wechat_posts"] = _changed(session, sa.delete(WechatPost).where(
        sa.or_(sa.false(), *(WechatPost.post_key.startswith(f"{each}:", autoescape=True) for each in done.open_ids))))
    done.deleted["saved_searches"] = _changed(session, sa.delete(SavedSearch).where(
        sa.or_(_holds_one(SavedSearch.query, done.words), _holds_one(SavedSearch.name, done.words))))


def _holds_one(column: Any, words: Iterable[str]) -> Any:
    return sa.or_(sa.false(), *(sa.cast(column, sa.Text).contains(word, autoescape=True) for word in words))


def _struck(value: Any, words: Sequence[str], name: str = "") -> Any:
    if isinstance(value, Mapping):
        return {key: _struck(each, words, str(key)) for key, each in value.items()}
    if isinstance(value, list):
        return [_struck(each, words, name) for each in value]
    if isinstance(value, str) and (name in FREE_TEXT or any(word.lower() in value.lower() for word in words)):
        return GONE if value else value
    return value


def _ids_of(session: Session, customer_id: int | None, identity_id: int | None) -> tuple[list[int], ...]:
    """The ids of the identities, the conversations and the records of a person."""
    records = records_of(session, customer_id) if customer_id is not None else []
    if customer_id is not None:
        mine = ChannelIdentity.customer_id.in_(records)
    else:
        mine = sa.and_(ChannelIdentity.id == identity_id, ChannelIdentity.customer_id.is_(None))
    identities = list(session.execute(select(ChannelIdentity.id).where(mine).order_by(ChannelIdentity.id)).scalars())
    guests = sa.and_(Conversation.identity_id.in_(identities), Conversation.customer_id.is_(None))
    theirs = guests if customer_id is None else sa.or_(Conversation.customer_id.in_(records), guests)
    talks = session.execute(select(Conversation.id).where(theirs).order_by(Conversation.id)).scalars()
    return identities, list(talks), records


def _locked(session: Session, model: Any, ids: Sequence[int]) -> list[Any]:
    return list(session.execute(
        select(model).where(model.id.in_(ids)).order_by(model.id).with_for_update()
        .execution_options(populate_existing=True)).scalars())


def _locked_erasure(session: Session, erasure_id: int) -> Erasure:
    erasure: Erasure | None = session.execute(
        select(Erasure).where(Erasure.id == erasure_id).with_for_update()
        .execution_options(populate_existing=True)).scalar_one_or_none()
    if erasure is None:
        raise NotFound(erasure_id=erasure_id)
    return erasure


def _changed(session: Session, statement: Any) -> int:
    return int(session.execute(statement.execution_options(synchronize_session=False)).rowcount)


def _note(session: Session, erasure: Erasure, action: str, now: datetime) -> None:
    kind = {"customer": "customer", "agent": "agent"}.get(erasure.asked_by, "system")
    actor = {"customer": erasure.customer_id, "agent": erasure.agent_id}.get(erasure.asked_by)
    audit.record(session, actor_kind=kind, actor_id=actor, action=action, object_kind="erasure",
                 object_id=erasure.id, now=now)

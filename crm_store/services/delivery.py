"""Hands messages to the channels they are pushed to, in order, and keeps what came of each attempt.

A lane is what goes to one person on one channel. The oldest queued message of a lane is claimed for the length of a
lease, one piece of it is sent, and what came of that is noted; nothing else of the lane is sent meanwhile. The number
of the attempt is the right to note: who was overtaken by another process notes nothing.

A piece that may have arrived (the channel did not answer, or the process died while it was sent) is sent once more, and
then given up where the agents see it: see docs/adr/0016.
"""
from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy import select
from sqlalchemy.orm import Session

from crm_store.errors import NotFound, WrongState
from crm_store.models import ChannelIdentity, Conversation, Message, MessageDelivery, SupportAgent
from crm_store.rules.text import excerpt
from crm_store.services import audit
from crm_store.services.locking import lock_conversation
from crm_store.services.system_messages import leave_note
from crm_store.wording import SENTENCES, say

LEASE = timedelta(minutes=1)  # longer than the sending of a piece and the noting of what came of it take
LANES_AT_ONCE = 64
MOST_FAILURES = 15  # about an hour and a half
FIRST_DELAY = timedelta(seconds=2)
LONGEST_DELAY = timedelta(minutes=10)
TOO_OLD = timedelta(days=1)
UNKNOWN_RESENT = 1  # how often a piece that may have arrived is sent again
UNKNOWN_DELAY = timedelta(seconds=5)
ERROR_LENGTH = 200
REASON_LENGTH = 40
EXCERPT = 60
UNKNOWN, UNREACHABLE, TOO_LATE = "unknown", "unreachable", "too_late"
# Written out, not bound: SQLite uses a partial index only where it can see its condition.
_QUEUED = sa.text("messages.delivery_state = 'queued'")


@dataclass(frozen=True)
class Parcel:
    """A message in the hands of a sender, who sends the piece number ``pieces_sent`` of it.

    Attributes:
        message_id: which message.
        attempt: the right to note what came of it.
        channel: such as "telegram".
        address: the person's id on the channel.
        text: what is said.
        buttons: quick replies, each with a title and a payload.
        agent_name: who wrote it; None for the bot and Warmline itself.
        language: the conversation's, "zh" or "en".
        pieces_sent: how many pieces have arrived.
        doubtful: whether this piece may have arrived already.
    """

    message_id: int
    attempt: int
    conversation_id: int
    identity_id: int
    channel: str
    address: str
    text: str
    buttons: Sequence[Mapping[str, str]]
    agent_name: str | None
    language: str
    pieces_sent: int
    doubtful: bool = False


def lanes_waiting(session: Session, channels: Collection[str], now: datetime, *, besides: Collection[int] = (),
                  most: int = LANES_AT_ONCE) -> list[int]:
    """The identities whose oldest queued message may be sent now, those that wait longest first.

    Args:
        session: for reading.
        channels: on which channels.
        now: when.
        besides: identities that are served already; a bot that has to rest holds up its own people only.
        most: how many at most.
    """
    head = (
        select(sa.func.min(Message.id).label("id"))
        .join(ChannelIdentity, ChannelIdentity.id == Message.identity_id)
        .where(_QUEUED, ChannelIdentity.channel.in_(channels)).group_by(Message.identity_id).subquery())
    return list(session.execute(
        select(Message.identity_id).join(head, Message.id == head.c.id)
        .where(_due(now), Message.identity_id.not_in(besides))
        .order_by(Message.id).limit(most)).scalars())


def waiting_address(session: Session, identity_id: int, now: datetime) -> tuple[str, str] | None:
    """The channel and the id on it of a person whose oldest queued message may be sent now; None where none may."""
    first = _head(identity_id).scalar_subquery()
    found = session.execute(
        select(ChannelIdentity.channel, ChannelIdentity.external_id)
        .join(Message, Message.identity_id == ChannelIdentity.id)
        .where(Message.id == first, _due(now))).one_or_none()
    return None if found is None else (found.channel, found.external_id)


def next_due(session: Session, identity_id: int) -> datetime | None:
    """When the oldest queued message of a lane may be sent; None where there is none, or it may be at once."""
    due: datetime | None = session.execute(
        select(Message.next_attempt_at).where(Message.id == _head(identity_id).scalar_subquery())).scalar_one_or_none()
    return due


def claim_message(session: Session, identity_id: int, now: datetime) -> Parcel | None:
    """Take the oldest queued message of a lane, for the length of a lease; None where it may not be sent now.

    One whose last piece may have arrived too often is given up on the way. Commit before sending.
    """
    while (message := _locked_head(session, identity_id)) is not None:
        if message.next_attempt_at is not None and message.next_attempt_at > now:
            return None
        delivery = _delivery(session, message, now)
        if delivery.in_flight:
            delivery.unknowns, delivery.last_error = delivery.unknowns + 1, "interrupted"
        if delivery.unknowns > UNKNOWN_RESENT:
            _fail(session, message, delivery, UNKNOWN, now)
            continue
        message.attempts, message.next_attempt_at = message.attempts + 1, now + LEASE
        delivery.in_flight, delivery.updated_at = True, now
        session.flush()
        return _parcel(session, message, delivery)
    return None


def note_sent(session: Session, parcel: Parcel, channel_id: str | None, now: datetime, *, last: bool) -> None:
    """A piece has arrived; with the last one the message is delivered."""
    message = _held(session, parcel)
    if message is None:
        return
    delivery = _delivery(session, message, now)
    delivery.pieces_sent = parcel.pieces_sent + 1
    delivery.channel_ids = [*delivery.channel_ids, channel_id]
    delivery.in_flight, delivery.unknowns, delivery.failures = False, 0, 0
    message.next_attempt_at = None
    if last:
        message.delivery_state, message.delivered_at = "delivered", now
        lock_conversation(session, message.conversation_id).updated_at = now
    session.flush()


def note_put_off(session: Session, parcel: Parcel, reason: str, until: datetime, now: datetime) -> None:
    """The channel wants to be left alone until a time; this is no failure."""
    message = _held(session, parcel)
    if message is not None:
        delivery = _delivery(session, message, now)
        delivery.in_flight, delivery.last_error = False, reason[:ERROR_LENGTH]
        message.next_attempt_at = until
        _give_up_if_too_old(session, message, delivery, now)


def note_failure(session: Session, parcel: Parcel, reason: str, now: datetime) -> None:
    """A piece surely did not arrive and may later: try again, longer and longer apart, or give up."""
    message = _held(session, parcel)
    if message is None:
        return
    delivery = _delivery(session, message, now)
    delivery.in_flight, delivery.failures = False, delivery.failures + 1
    delivery.last_error = reason[:ERROR_LENGTH]
    message.next_attempt_at = now + delay_after(delivery.failures)
    if delivery.failures >= MOST_FAILURES:
        _fail(session, message, delivery, reason, now)
    else:
        _give_up_if_too_old(session, message, delivery, now)


def note_unknown(session: Session, parcel: Parcel, reason: str, now: datetime) -> None:
    """Nobody can know whether a piece arrived: send it once more, then give up."""
    message = _held(session, parcel)
    if message is None:
        return
    delivery = _delivery(session, message, now)
    delivery.in_flight, delivery.unknowns = False, delivery.unknowns + 1
    delivery.last_error = reason[:ERROR_LENGTH]
    message.next_attempt_at = now + UNKNOWN_DELAY
    if delivery.unknowns > UNKNOWN_RESENT:
        _fail(session, message, delivery, UNKNOWN, now)
    session.flush()


def note_refused(session: Session, parcel: Parcel, reason: str, now: datetime) -> None:
    """The channel will never take it."""
    message = _held(session, parcel)
    if message is not None:
        delivery = _delivery(session, message, now)
        delivery.last_error = reason[:ERROR_LENGTH]
        _fail(session, message, delivery, reason, now)


def note_unreachable(session: Session, identity_id: int, now: datetime) -> None:
    """This person has blocked the shop on their channel: what waits for them is given up, and the agents are told."""
    identity = session.get(ChannelIdentity, identity_id, populate_existing=True, with_for_update={"key_share": True})
    newest = session.execute(
        select(Conversation.id).where(Conversation.identity_id == identity_id, Conversation.erased_at.is_(None))
        .order_by(Conversation.id.desc()).limit(1)).scalar_one_or_none()
    if newest is not None:
        conversation = lock_conversation(session, newest)
    if identity.unreachable_since is None:
        identity.unreachable_since = now
        if newest is not None:
            leave_note(session, conversation, say("note_unreachable", conversation.language), now)
    session.execute(
        sa.update(Message)
        .where(Message.identity_id == identity_id, Message.delivery_state == "queued")
        .values(delivery_state="failed", dropped_reason=UNREACHABLE, next_attempt_at=None)
        .execution_options(synchronize_session="fetch"))
    session.flush()


def note_reachable(session: Session, identity_id: int) -> None:
    """This person has unblocked the shop."""
    session.execute(
        sa.update(ChannelIdentity)
        .where(ChannelIdentity.id == identity_id, ChannelIdentity.unreachable_since.is_not(None))
        .values(unreachable_since=None).execution_options(synchronize_session="fetch"))


def send_again(session: Session, message_id: int, agent: SupportAgent, now: datetime) -> Message:
    """Queue a message that was given up once more; pieces that arrived are not repeated. Check access before.

    Raises:
        NotFound: there is no such message to a customer.
        WrongState: it was not given up.
    """
    conversation_id = session.execute(
        select(Message.conversation_id).where(Message.id == message_id, Message.direction == "outgoing")
    ).scalar_one_or_none()
    if conversation_id is None:
        raise NotFound(message_id=message_id)
    conversation = lock_conversation(session, conversation_id)
    message: Message = session.get(Message, message_id, populate_existing=True)
    if message.delivery_state != "failed":
        raise WrongState(state=message.delivery_state)
    delivery = _delivery(session, message, now)
    delivery.in_flight, delivery.failures, delivery.unknowns = False, 0, 0
    message.delivery_state, message.dropped_reason, message.next_attempt_at = "queued", None, None
    delivery.since = delivery.updated_at = conversation.updated_at = now
    audit.record(session, actor_kind="agent", actor_id=agent.id, action="send_again", object_kind="message",
                 object_id=message.id, data={"conversation_id": conversation_id}, now=now)
    session.flush()
    return message


def delay_after(failures: int) -> timedelta:
    """How long to wait after so many failures, from 1: 2 s, twice as long each time, 10 minutes at most."""
    doublings: int = 2 ** min(failures - 1, 20)
    return min(FIRST_DELAY * doublings, LONGEST_DELAY)


def _due(now: datetime) -> Any:
    return sa.or_(Message.next_attempt_at.is_(None), Message.next_attempt_at <= now)


def _head(identity_id: int) -> Any:
    return select(sa.func.min(Message.id)).where(_QUEUED, Message.identity_id == identity_id)


def _locked_head(session: Session, identity_id: int) -> Message | None:
    """The oldest queued message of a lane, its conversation locked; looked for again where it went meanwhile."""
    while (message_id := session.execute(_head(identity_id)).scalar_one()) is not None:
        try:
            message = _locked(session, message_id)
        except NotFound:
            continue  # erased meanwhile
        if message.delivery_state == "queued":
            return message
    return None


def _locked(session: Session, message_id: int) -> Message:
    conversation_id = session.execute(
        select(Message.conversation_id).where(Message.id == message_id)).scalar_one_or_none()
    if conversation_id is None:
        raise NotFound(message_id=message_id)
    lock_conversation(session, conversation_id)
    message: Message = session.get(Message, message_id, populate_existing=True)
    return message


def _held(session: Session, parcel: Parcel) -> Message | None:
    """The message of a parcel, unless somebody else has taken it meanwhile, or it was erased."""
    try:
        message = _locked(session, parcel.message_id)
    except NotFound:
        return None
    return message if message.delivery_state == "queued" and message.attempts == parcel.attempt else None


def _delivery(session: Session, message: Message, now: datetime) -> MessageDelivery:
    found: MessageDelivery | None = session.get(MessageDelivery, message.id, populate_existing=True)
    if found is None:
        found = MessageDelivery(message_id=message.id, pieces_sent=0, channel_ids=[], in_flight=False, failures=0,
                                unknowns=0, since=now, updated_at=now)
        session.add(found)
        session.flush()
    found.updated_at = now
    return found


def _parcel(session: Session, message: Message, delivery: MessageDelivery) -> Parcel:
    row = session.execute(
        select(ChannelIdentity.channel, ChannelIdentity.external_id, Conversation.language,
               SupportAgent.name.label("agent_name"))
        .select_from(Message).join(ChannelIdentity, ChannelIdentity.id == Message.identity_id)
        .join(Conversation, Conversation.id == Message.conversation_id)
        .outerjoin(SupportAgent, SupportAgent.id == Message.agent_id).where(Message.id == message.id)).one()
    return Parcel(
        message_id=message.id, attempt=message.attempts, conversation_id=message.conversation_id,
        identity_id=message.identity_id, channel=row.channel, address=row.external_id, text=message.text,
        buttons=[{"title": each["title"], "payload": each["payload"]} for each in message.buttons or ()],
        agent_name=row.agent_name, language=row.language, pieces_sent=delivery.pieces_sent,
        doubtful=delivery.unknowns > 0)


def _give_up_if_too_old(session: Session, message: Message, delivery: MessageDelivery, now: datetime) -> None:
    if now - delivery.since > TOO_OLD:
        _fail(session, message, delivery, TOO_LATE, now)
    session.flush()


def _fail(session: Session, message: Message, delivery: MessageDelivery, reason: str, now: datetime) -> None:
    message.delivery_state, message.dropped_reason = "failed", reason.partition(":")[0][:REASON_LENGTH]
    message.next_attempt_at = None
    delivery.in_flight, delivery.updated_at = False, now
    conversation = lock_conversation(session, message.conversation_id)
    words = f"undelivered_{message.dropped_reason}"
    told = say(words if words in SENTENCES else "undelivered_other", conversation.language)
    leave_note(session, conversation, say("note_undelivered", conversation.language, reason=told,
                                          text=excerpt(message.text, EXCERPT)), now)
    session.flush()

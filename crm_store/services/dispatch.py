"""Hands unhandled messages to the bot, one conversation at a time and in order, and stores what came of them."""
from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy import bindparam, select
from sqlalchemy.orm import Session

from crm_store.errors import NotFound
from crm_store.models import ChannelIdentity, Conversation, Customer, Escalation, Message, Tier
from crm_store.models.customers import LANGUAGES
from crm_store.rules.escalation import DEFAULT_THRESHOLDS, WATCH_WINDOW, Thresholds, band
from crm_store.rules.memory import wish_in
from crm_store.services.floods import READ, take_held
from crm_store.services.handoff import escalate_conversation
from crm_store.services.locking import lock_conversation
from crm_store.services.system_messages import DROPPED_FROM, next_position
from crm_store.wording import say

GUEST_TIER = "silver"
BACKOFF_SECONDS = (0.5, 1, 2, 4, 5)
REQUEST_HUMAN = "/request_human"
# Written out, not bound: SQLite uses a partial index only where it can see its condition.
UNHANDLED = sa.text("messages.direction = 'incoming' AND messages.handled_at IS NULL")


# The statements of every turn are built once; the tables, not the classes, where no object is needed.
_table, _C, _M = Conversation.__table__, bindparam("conversation"), bindparam("message")
_FREE = sa.or_(_table.c.dispatch_lease.is_(None), _table.c.dispatch_lease_until <= bindparam("now"))
_HELD = _table.c.dispatch_lease == bindparam("holder")
_LEASE = sa.update(_table).where(_table.c.id == _C, _FREE).values(
    dispatch_lease=bindparam("holder"), dispatch_lease_until=bindparam("until"))
_RENEW = sa.update(_table).where(_table.c.id == _C, _HELD).values(dispatch_lease_until=bindparam("until"))
_RELEASE = sa.update(_table).where(_table.c.id == _C, _HELD).values(dispatch_lease=None, dispatch_lease_until=None)
_MESSAGE = select(Message).where(Message.id == _M).execution_options(populate_existing=True)
_FIRST = select(sa.func.min(Message.id).label("id")).where(UNHANDLED).group_by(Message.conversation_id).subquery()
_WAITING = (
    select(Message.conversation_id).join(_FIRST, Message.id == _FIRST.c.id)
    .join(Conversation, Conversation.id == Message.conversation_id)
    .where(sa.or_(Message.next_attempt_at.is_(None), Message.next_attempt_at <= bindparam("now")), _FREE)
    .order_by(Message.id).limit(bindparam("most"))
)
_IN_CONTEXT = (
    select(Message.id, Message.text, Message.payload, Message.next_attempt_at, Message.held,
           Conversation.id.label("conversation_id"), Conversation.identity_id, Conversation.status,
           Conversation.version, Conversation.channel, Conversation.language,
           Customer.id.label("customer_id"), Customer.number, Customer.name, Customer.tier_code, Customer.tone,
           Customer.language.label("customer_language"), Tier.anger_route, Tier.anger_watch)
    .join(Conversation, Conversation.id == Message.conversation_id)
    .join(ChannelIdentity, ChannelIdentity.id == Conversation.identity_id)
    .outerjoin(Customer, Customer.id == ChannelIdentity.customer_id)
    .outerjoin(Tier, Tier.code == sa.func.coalesce(Customer.tier_code, GUEST_TIER))
    .where(Message.conversation_id == _C).limit(1)
)
_OLDEST_UNHANDLED = _IN_CONTEXT.where(UNHANDLED).order_by(Message.id)
_NEWEST_INCOMING = _IN_CONTEXT.where(Message.direction == "incoming").order_by(Message.id.desc())
_LAST_ESCALATED = select(sa.func.coalesce(sa.func.max(Escalation.message_id), 0)).where(
    Escalation.conversation_id == _C).scalar_subquery()
_LAST_BEFORE = (
    select(Message.id, Message.direction, Message.anger, Message.buttons, _LAST_ESCALATED.label("since"))
    .where(Message.conversation_id == _C, Message.id < _M, READ).order_by(Message.id.desc()).limit(12)
)


@dataclass(frozen=True)
class Turn:
    """One message for the bot. ``version`` is the conversation's when it was read; ``mode`` "turn" or "read".

    In mode "read" a human owns the conversation: the message is understood, and nothing is answered.
    """

    message_id: int
    conversation_id: int
    version: int
    text: str
    payload: str | None
    mode: str
    context: dict[str, Any]


@dataclass(frozen=True)
class Reply:
    """One thing the bot says; a button has a title and a payload."""

    text: str
    buttons: Sequence[Mapping[str, str]] = ()


@dataclass(frozen=True)
class Understood:
    """What the NLU read in a message. ``anger`` is a probability, None where the model could not run.

    ``ranking`` holds the likeliest intents, the best first.
    """

    intent: str | None
    confidence: float | None
    language: str | None
    anger: float | None
    valence: str | None = None
    entities: Sequence[Mapping[str, Any]] = field(default_factory=tuple)
    articles: Sequence[Mapping[str, Any]] = field(default_factory=tuple)
    ranking: Sequence[str] = field(default_factory=tuple)


def lease_conversation(session: Session, conversation_id: int, holder: str, now: datetime, seconds: float = 30) -> bool:
    """Take the right to dispatch a conversation for some seconds; False while any holder has it."""
    return _changes_one(session, _LEASE, conversation=conversation_id, now=now, holder=holder,
                        until=now + timedelta(seconds=seconds))


def renew_lease(session: Session, conversation_id: int, holder: str, now: datetime, seconds: float = 30) -> bool:
    """Keep the lease for some more seconds; False where another holder has it by now."""
    return _changes_one(session, _RENEW, conversation=conversation_id, holder=holder,
                        until=now + timedelta(seconds=seconds))


def release_conversation(session: Session, conversation_id: int, holder: str) -> None:
    """Give the lease back; nothing happens where another holder has it by now."""
    _changes_one(session, _RELEASE, conversation=conversation_id, holder=holder)


def conversations_waiting(session: Session, now: datetime, limit: int = 100) -> list[int]:
    """Conversations whose oldest unhandled message may be dispatched now, the longest waiting first."""
    return list(session.execute(_WAITING, {"now": now, "most": limit}).scalars())


def next_turn(session: Session, conversation_id: int, now: datetime) -> Turn | None:
    """The oldest unhandled message of a conversation, or None where there is none or it is not due yet.

    Where it was held back with others because they came too fast, they are one turn.
    """
    row = session.execute(_OLDEST_UNHANDLED, {"conversation": conversation_id}).one_or_none()
    if row is None or (row.next_attempt_at is not None and row.next_attempt_at > now):
        return None
    text, payload = row.text, row.payload
    if row.held is not None:
        text, payload = take_held(session, row.conversation_id, row.id, text, payload)
    return Turn(message_id=row.id, conversation_id=row.conversation_id, version=row.version, text=text,
                payload=payload, mode="turn" if row.status == "pending" else "read", context=_context(session, row))


def with_the_bot(session: Session, conversation_ids: Collection[int]) -> set[int]:
    """Those of some conversations in which the bot still owes an answer."""
    return set(session.execute(
        select(Message.conversation_id).join(Conversation, Conversation.id == Message.conversation_id)
        .where(UNHANDLED, Message.conversation_id.in_(conversation_ids), Conversation.status == "pending")
        .distinct()).scalars())


def turn_context(session: Session, conversation_id: int, now: datetime) -> dict[str, Any]:
    """What the dialogue must know to take a turn: who it is, their language, tier thresholds, recent anger.

    It is about the oldest unhandled message, or the newest one where all are handled. ``angers`` are those of up to two
    messages before it, newest first, since the last handover; ``offered`` says that the last reply offered a person.

    Raises:
        NotFound: the conversation does not exist or has no message of a customer.
    """
    row = (session.execute(_OLDEST_UNHANDLED, {"conversation": conversation_id}).one_or_none()
           or session.execute(_NEWEST_INCOMING, {"conversation": conversation_id}).one_or_none())
    if row is None:
        raise NotFound(conversation_id=conversation_id)
    return _context(session, row)


def complete_turn(session: Session, turn: Turn, *, replies: Sequence[Reply], understood: Understood | None,
                  now: datetime) -> tuple[Conversation, Message]:
    """Mark a message handled and store, in the same transaction, what was understood and what the bot says.

    The replies are queued only while the bot still owns the conversation at the version of the turn; otherwise they are
    kept as dropped and never sent. A bot that owns the conversation and says nothing hands it over (reason "system"):
    a customer never meets silence. A message already handled stays as it is, and one that was only read waits for a
    turn where the conversation was handed back to the bot meanwhile.

    Args:
        session: the unit of work.
        turn: what :func:`next_turn` gave.
        replies: what the bot says, in order.
        understood: what the NLU read; None where it could not.
        now: when.

    Returns:
        The conversation and the message. While the caller holds them, reading them again in the unit of work asks no
        database.
    """
    conversation = lock_conversation(session, turn.conversation_id)
    message = session.execute(_MESSAGE, {"message": turn.message_id}).scalar_one()
    if message.handled_at is not None or (turn.mode == "read" and conversation.status == "pending"):
        return conversation, message
    message.handled_at, message.next_attempt_at = now, None
    if understood is not None:
        _keep_understood(conversation, message, understood)
    conversation.updated_at = now
    if turn.mode != "turn":
        return conversation, message
    if conversation.status == "pending" and conversation.version == turn.version:
        said = _with_empathy(conversation, turn, replies, understood)
        # Before the first handover no notice can have been written in reply to this message by an earlier attempt.
        first = 0 if conversation.version == 1 else next_position(session, message.id)
        session.add_all(_bot_message(conversation, message, reply, now, position)
                        for position, reply in enumerate(said, first))
        if not said:
            _give_up(session, conversation, message, now)
    else:
        for position, reply in enumerate(replies, DROPPED_FROM):
            dropped = _bot_message(conversation, message, reply, now, position)
            dropped.delivery_state, dropped.dropped_reason = "dropped", "lost_ownership"
            session.add(dropped)
    session.flush()
    return conversation, message


def postpone_turn(session: Session, message_id: int, now: datetime, *,
                  give_up_after: timedelta = timedelta(minutes=2)) -> None:
    """Try a message again later (after 0.5, 1, 2, 4, then every 5 s), or give it up when it is too old.

    Giving up hands the conversation to a human with reason "system"; where a human owns it already, the message stays
    without what the NLU would have read. A message already handled stays as it is.

    Raises:
        NotFound: the message was erased meanwhile.
    """
    conversation_id = session.execute(
        select(Message.conversation_id).where(Message.id == message_id)).scalar_one_or_none()
    if conversation_id is None:
        raise NotFound(message_id=message_id)
    conversation = lock_conversation(session, conversation_id)
    message = session.execute(_MESSAGE, {"message": message_id}).scalar_one()
    if message.handled_at is not None:
        return
    if now - message.created_at < give_up_after:
        message.next_attempt_at = now + timedelta(
            seconds=BACKOFF_SECONDS[min(message.attempts, len(BACKOFF_SECONDS) - 1)])
        message.attempts += 1
        return
    message.handled_at, message.next_attempt_at = now, None
    if conversation.status == "pending":
        _give_up(session, conversation, message, now)


def _give_up(session: Session, conversation: Conversation, message: Message, now: datetime) -> None:
    """Hand over what the bot could not answer, also where this message was handed over and back before."""
    session.flush()
    for message_id in (message.id, None):
        if conversation.status == "pending":
            escalate_conversation(session, conversation_id=conversation.id, reason="system", now=now,
                                  message_id=message_id, anger=message.anger)


def _changes_one(session: Session, statement: Any, **values: Any) -> bool:
    return bool(session.execute(statement, values).rowcount == 1)


def _context(session: Session, row: Any) -> dict[str, Any]:
    known = row.anger_route is not None
    thresholds = Thresholds(row.anger_route, row.anger_watch) if known else DEFAULT_THRESHOLDS
    angers, offered = _before(session, row.conversation_id, row.id)
    return {
        "conversation_id": row.conversation_id, "identity_id": row.identity_id, "message_id": row.id,
        "version": row.version, "channel": row.channel, "language": row.language,
        "customer": None if row.customer_id is None else {
            "id": row.customer_id, "number": row.number, "name": row.name, "tier": row.tier_code, "tone": row.tone,
            "language": row.customer_language},
        "thresholds": {"route": thresholds.route, "watch": thresholds.watch},
        "angers": angers, "offered": offered,
    }


def _before(session: Session, conversation_id: int, message_id: int) -> tuple[list[float | None], bool]:
    """The anger of the messages before this one since the last handover, and whether a person is on offer."""
    rows = session.execute(_LAST_BEFORE, {"conversation": conversation_id, "message": message_id}).all()
    angers = [row.anger for row in rows if row.direction == "incoming" and row.id > row.since]
    last = next((row for row in rows if row.direction == "outgoing"), None)
    offered = last is not None and any(button["payload"] == REQUEST_HUMAN for button in last.buttons)
    return angers[: WATCH_WINDOW - 1], offered


def _keep_understood(conversation: Conversation, message: Message, understood: Understood) -> None:
    message.understood = {
        "intent": understood.intent, "confidence": understood.confidence, "language": understood.language,
        "entities": [dict(entity) for entity in understood.entities],
        "articles": [dict(article) for article in understood.articles],
    }
    if understood.ranking:
        message.understood["ranking"] = list(understood.ranking)
    message.intent, message.anger, message.valence = understood.intent, understood.anger, understood.valence
    conversation.anger = understood.anger
    if understood.language in LANGUAGES:
        conversation.language = understood.language


def _with_empathy(conversation: Conversation, turn: Turn, replies: Sequence[Reply],
                  understood: Understood | None) -> list[Reply]:
    said = [reply for reply in replies if reply.text.strip()]
    told = turn.context.get("thresholds")
    thresholds = Thresholds(told["route"], told["watch"]) if told else DEFAULT_THRESHOLDS
    if not said or understood is None or band(understood.anger, thresholds) != "watch":
        return said
    if wish_in(turn.text):  # "what do you remember of me" is no complaint, and who wants it short wants no more words
        return said
    first, language = said[0], conversation.language
    said[0] = Reply(f"{say('empathy', language)}\n{first.text}", first.buttons)
    if not any(button["payload"] == REQUEST_HUMAN for reply in said for button in reply.buttons):
        person = {"title": say("talk_to_person", language), "payload": REQUEST_HUMAN}
        said[-1] = Reply(said[-1].text, [*said[-1].buttons, person])
    return said


def _bot_message(conversation: Conversation, message: Message, reply: Reply, now: datetime, position: int) -> Message:
    return Message(
        conversation_id=conversation.id, identity_id=conversation.identity_id, direction="outgoing", author="bot",
        text=reply.text, buttons=[{"title": b["title"], "payload": b["payload"]} for b in reply.buttons],
        in_reply_to_id=message.id, position=position, created_at=now, delivery_state="queued",
    )

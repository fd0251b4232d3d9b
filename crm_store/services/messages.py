"""Takes messages in and hands messages out: the conversation log is the queue."""
from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy import bindparam, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from crm_store.errors import InvalidMessage
from crm_store.models import ChannelIdentity, Conversation, Customer, Message
from crm_store.models.customers import CHANNELS, LANGUAGES
from crm_store.rules.flood import A_MINUTE
from crm_store.rules.text import clean_identifier, clean_text, language_of
from crm_store.services import floods, listening, ratings, sla
from crm_store.services.blocks import block_of, hold_blocked
from crm_store.services.handoff import OWNED_BY_HUMANS, REOPEN_WITHIN
from crm_store.services.shop_events import Event, tell_shop

OFFERING_MESSAGES = 8  # how far back a button still counts
PAYLOAD_LIMIT = 500

# The statements that every incoming message runs are built once.
_SENDER = (
    select(ChannelIdentity)
    .where(ChannelIdentity.channel == bindparam("channel"), ChannelIdentity.external_id == bindparam("external_id"))
    .with_for_update(key_share=True).execution_options(populate_existing=True)
)
_NEW_SENDER = select(ChannelIdentity).from_statement(
    postgresql.insert(ChannelIdentity.__table__)
    .values(channel=bindparam("channel"), external_id=bindparam("external_id"), created_at=bindparam("created_at"))
    .on_conflict_do_nothing().returning(ChannelIdentity.__table__))
_STORED = select(Message).where(Message.identity_id == bindparam("identity_id"),
                                Message.channel_message_id == bindparam("channel_message_id"))
_NEWEST_CONVERSATION = (
    select(Conversation, sa.select(Message.id).where(
        Message.identity_id == bindparam("identity_id"), Message.channel_message_id == bindparam("channel_message_id"),
    ).scalar_subquery().label("stored_id"))
    .where(Conversation.identity_id == bindparam("identity_id"), Conversation.erased_at.is_(None))
    .order_by(Conversation.id.desc()).limit(1)
    .with_for_update(key_share=True, of=Conversation).execution_options(populate_existing=True)
)
_MESSAGES = Message.__table__
_DELIVER = (
    sa.update(_MESSAGES).where(_MESSAGES.c.id.in_(bindparam("ids", expanding=True)),
                               _MESSAGES.c.delivery_state == "queued")
    .values(delivery_state="delivered", delivered_at=bindparam("now"))
)


def _not_dropped() -> Any:
    return sa.or_(Message.delivery_state.is_(None), Message.delivery_state != "dropped")


_REPLIES = (
    select(Message).where(Message.in_reply_to_id == bindparam("message_id"), Message.direction == "outgoing",
                          _not_dropped())
    .order_by(Message.position, Message.id)
)


@dataclass(frozen=True)
class Received:
    """What became of an incoming message. ``duplicate``: it had been stored before, and nothing was changed."""

    message: Message
    conversation: Conversation
    duplicate: bool

    @property
    def held(self) -> bool:
        """Whether the sender is blocked or writes too fast: a channel then does and says nothing more about it."""
        return self.message.held is not None

    @property
    def waits(self) -> bool:
        """Whether it is held back and has no answer of its own, or none yet."""
        return self.message.held in ("first", "more", "blocked")


def receive_message(
    session: Session, *, channel: str, external_id: str, text: str, channel_message_id: str, now: datetime,
    payload: str | None = None, language_hint: str | None = None, a_minute: int = A_MINUTE,
) -> Received:
    """Store a customer's message in their current conversation; the bot or a human answers later.

    The current conversation is the newest that was not forgotten; one that was resolved more than 72 hours ago is left
    alone and a new one begins, one resolved later is reopened with the bot and keeps its agent. The same
    ``channel_message_id`` again changes nothing. A rating by button is recorded at once and needs no turn of the bot.
    What a blocked sender writes is only kept; what comes too fast is held back and read together, see
    :mod:`crm_store.rules.flood`.

    Args:
        session: the unit of work.
        channel: "web", "http", "telegram" or "wechat".
        external_id: the sender's id on the channel.
        text: what they wrote, or the title of the button they pressed.
        channel_message_id: the channel's id of this message, unique for the sender.
        now: when it came in.
        payload: of the button they say they pressed; kept only if this conversation offered it.
        language_hint: "zh" or "en" from the channel, used until the language is known better.
        a_minute: how many messages of one sender are answered one by one in a minute.

    Raises:
        InvalidMessage: ``field`` names what cannot be accepted and ``reason`` says why.
    """
    if channel not in CHANNELS:
        raise InvalidMessage(field="channel", reason="invalid")
    external_id = clean_identifier(external_id, "external_id")
    channel_message_id = clean_identifier(channel_message_id, "channel_message_id")
    written = _clean_or_none(text) if payload else clean_text(text)
    identity, new = _identity(session, channel, external_id, now)
    stored, newest = (None, None) if new else _so_far(session, identity, channel_message_id)
    if stored is not None:
        return Received(stored, session.get(Conversation, stored.conversation_id), duplicate=True)

    button = _offered_button(session, newest, payload, written)
    if written is None or (button and written == button["payload"]):
        written = clean_text(button["title"] if button else text)
    block = block_of(session, identity, now)
    if block is not None:
        conversation = newest or _begin(session, identity, written, language_hint, now)
        message = _store(session, conversation, identity, written, button, channel_message_id, now)
        hold_blocked(session, block, conversation, message, now)
        return Received(message, conversation, duplicate=False)
    score = ratings.score_in(button["payload"]) if button else None
    if score is not None and newest is not None and newest.status == "resolved":
        message = _store(session, newest, identity, written, button, channel_message_id, now)
        ratings.rate_conversation(session, newest, message, score, now)
        return Received(message, newest, duplicate=False)
    recommends = listening.recommendation_in(button["payload"]) if button else None
    if recommends is not None and newest is not None:
        message = _store(session, newest, identity, written, button, channel_message_id, now)
        listening.take_recommendation(session, newest, message, recommends, now)
        return Received(message, newest, duplicate=False)
    last_at = newest.last_customer_message_at if newest is not None else None
    conversation = _current(session, newest, identity, written, language_hint, now)
    message = _store(session, conversation, identity, written, button, channel_message_id, now)
    floods.hold_back(session, conversation, identity, message, last_at=last_at, a_minute=a_minute, now=now)
    if conversation.status in OWNED_BY_HUMANS:
        sla.customer_wrote(session, conversation, now)
    return Received(message, conversation, duplicate=False)


def replies_to(session: Session, message_id: int) -> list[Message]:
    """What was answered to a message, in the order to say it; nothing that was dropped."""
    return list(session.execute(_REPLIES, {"message_id": message_id}).scalars())


def outgoing_after(session: Session, identity_id: int, after_id: int, limit: int = 200) -> list[Message]:
    """Messages to an identity with an id above ``after_id``, oldest first, over all of its conversations."""
    return list(session.execute(
        select(Message).where(Message.identity_id == identity_id, Message.id > after_id,
                              Message.direction == "outgoing", _not_dropped())
        .order_by(Message.id).limit(limit)
    ).scalars())


def history(session: Session, identity_id: int, limit: int = 200) -> list[Message]:
    """The newest ``limit`` messages from and to an identity, oldest first; no notes, nothing dropped."""
    newest = session.execute(
        select(Message).where(Message.identity_id == identity_id, Message.direction != "note", _not_dropped())
        .order_by(Message.id.desc()).limit(limit)
    ).scalars()
    return list(newest)[::-1]


def mark_delivered(session: Session, message_ids: Iterable[int], now: datetime) -> None:
    """Note that the channel took these messages; the first time counts."""
    wanted = list(message_ids)
    if wanted:
        session.execute(_DELIVER, {"ids": wanted, "now": now})


def _clean_or_none(text: str) -> str | None:
    """The cleaned text, or None where it is empty: a button may come without words."""
    try:
        return clean_text(text)
    except InvalidMessage as error:
        if error.data["reason"] == "empty":
            return None
        raise


def _identity(session: Session, channel: str, external_id: str, now: datetime) -> tuple[ChannelIdentity, bool]:
    """The sender, locked (on PostgreSQL) so that messages of one sender are stored one after the other; whether new."""
    wanted = {"channel": channel, "external_id": external_id}
    identity: ChannelIdentity | None = session.execute(_SENDER, wanted).scalar_one_or_none()
    if identity is not None:
        return identity, False
    values = {**wanted, "created_at": now}
    if session.get_bind().dialect.name == "postgresql":
        identity = session.execute(_NEW_SENDER, values).scalar_one_or_none()
        return (identity, True) if identity is not None else (session.execute(_SENDER, wanted).scalar_one(), False)
    inserted = session.execute(sqlite.insert(ChannelIdentity.__table__).on_conflict_do_nothing(), values)
    return session.execute(_SENDER, wanted).scalar_one(), inserted.rowcount == 1


def _so_far(session: Session, identity: ChannelIdentity,
            channel_message_id: str) -> tuple[Message | None, Conversation | None]:
    """This very message where it was stored before, and the sender's newest conversation."""
    wanted = {"identity_id": identity.id, "channel_message_id": channel_message_id}
    newest = session.execute(_NEWEST_CONVERSATION, wanted).one_or_none()
    if newest is None:  # all of theirs was forgotten
        return session.execute(_STORED, wanted).scalar_one_or_none(), None
    return (None if newest.stored_id is None else session.get(Message, newest.stored_id)), newest.Conversation


def _current(session: Session, newest: Conversation | None, identity: ChannelIdentity, text: str,
             language_hint: str | None, now: datetime) -> Conversation:
    if newest is not None and newest.status != "resolved":
        if newest.customer_id is None:
            newest.customer_id = identity.customer_id
        return newest
    if newest is not None and newest.resolved_at is not None and now - newest.resolved_at <= REOPEN_WITHIN:
        newest.status, newest.version, newest.resolved_at = "pending", newest.version + 1, None
        return newest
    return _begin(session, identity, text, language_hint, now)


def _begin(session: Session, identity: ChannelIdentity, text: str, language_hint: str | None,
           now: datetime) -> Conversation:
    conversation = Conversation(
        identity_id=identity.id, customer_id=identity.customer_id, channel=identity.channel,
        language=_first_language(session, identity, text, language_hint), created_at=now, updated_at=now,
        last_customer_message_at=now, status="pending", version=1,
    )
    session.add(conversation)
    session.flush()
    tell_shop(session, [Event("conversation.opened", conversation.customer_id, {"channel": conversation.channel},
                              conversation.id)], now)
    return conversation


def _first_language(session: Session, identity: ChannelIdentity, text: str, hint: str | None) -> str:
    known = language_of(text) or (hint if hint in LANGUAGES else None) or identity.language
    if known is None and identity.customer_id is not None:
        known = session.execute(
            select(Customer.language).where(Customer.id == identity.customer_id)).scalar_one_or_none()
    return known or "zh"


def _offered_button(session: Session, conversation: Conversation | None, payload: str | None,
                    text: str | None) -> dict[str, str] | None:
    """The button that was pressed, if one of the last messages to the customer really offered it."""
    wanted = payload or (text if text and text.startswith("/") else None)
    if conversation is None or wanted is None or len(wanted) > PAYLOAD_LIMIT:
        return None
    offers = session.execute(
        select(Message.buttons).where(
            Message.conversation_id == conversation.id, Message.direction == "outgoing",
            Message.author.in_(("bot", "system")), _not_dropped())
        .order_by(Message.id.desc()).limit(OFFERING_MESSAGES)
    ).scalars()
    for buttons in offers:
        for button in buttons:
            if _same_payload(button["payload"], wanted):
                return dict(button)
    return None


def _same_payload(offered: str, wanted: str) -> bool:
    """Whether two payloads are the same, however their JSON is spaced."""
    if offered == wanted:
        return True
    (intent, _, details), (wanted_intent, _, wanted_details) = offered.partition("{"), wanted.partition("{")
    if intent != wanted_intent or not details or not wanted_details:
        return False
    try:
        return bool(json.loads("{" + details) == json.loads("{" + wanted_details))
    except (ValueError, RecursionError):
        return False


def _store(session: Session, conversation: Conversation, identity: ChannelIdentity, text: str,
           button: dict[str, str] | None, channel_message_id: str, now: datetime) -> Message:
    message = Message(
        conversation_id=conversation.id, identity_id=identity.id, direction="incoming", author="customer", text=text,
        payload=button["payload"] if button else None, channel_message_id=channel_message_id, created_at=now,
        buttons=[], position=0,
    )
    session.add(message)
    conversation.last_customer_message_at = conversation.updated_at = now
    identity.unreachable_since = None  # who writes can be reached again
    session.flush()
    return message

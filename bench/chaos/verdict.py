"""Compares what customers said, what the store holds and what Telegram took: message by message, by their ids."""
from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from sqlalchemy import select

from crm_store.database import Store
from crm_store.models import ChannelIdentity, Conversation, Message, MessageDelivery

IN_FLIGHT_SECONDS = 4.0  # from taking a message, slowly, to noting it
LOSES_ANSWERS = {"service": ("service killed", 0.1), "telegram": ("telegram restarted", 1.5)}  # and for how long still


@dataclass(frozen=True)
class Taken:
    """A message that Telegram took from the bot."""

    message_id: int
    text: str
    at: float


@dataclass(frozen=True)
class Outgoing:
    """A message to a customer in the store, and the ids under which Telegram is known to have taken its pieces."""

    id: int
    in_reply_to_id: int | None
    text: str
    state: str
    reason: str | None
    taken: tuple[int, ...]


@dataclass(frozen=True)
class Incoming:
    """A customer's message in the store."""

    id: int
    message_id: int
    handled: bool


@dataclass
class Chat:
    """One customer's chat, from all sides."""

    chat_id: int
    said: Sequence[int] = ()
    incoming: list[Incoming] = field(default_factory=list)
    outgoing: list[Outgoing] = field(default_factory=list)
    taken: Sequence[Taken] = ()
    status: str = "pending"


@dataclass
class Verdict:
    """What was found.

    Attributes:
        counts: how often what.
        violations: what must not be, in words.
        doubled: messages that a customer has twice, by the reason.
        never_arrived: given up, and Telegram never took it.
        waits: seconds from a customer's message to the first word of its answer.
    """

    counts: Counter[str] = field(default_factory=Counter)
    violations: list[str] = field(default_factory=list)
    doubled: Counter[str] = field(default_factory=Counter)
    never_arrived: list[int] = field(default_factory=list)
    waits: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class Witness:
    """What is known from outside the product.

    Attributes:
        unsaid: messages that Telegram took without the bot being able to know it; chat and id, and what went wrong.
        broken: what was broken, and when.
        again: messages that were sent again from the desk; they may come out of order.
    """

    unsaid: Mapping[tuple[int, int], str] = field(default_factory=dict)
    broken: Sequence[tuple[str, float]] = ()
    again: frozenset[int] = frozenset()

    def why_twice(self, chat_id: int, taken: Taken) -> str | None:
        """Why a message may come a second time though Telegram had taken it; None where it must not."""
        if (chat_id, taken.message_id) in self.unsaid:
            return self.unsaid[chat_id, taken.message_id]
        for what, at in self.broken:
            reason, still = LOSES_ANSWERS.get(what, ("", 0.0))
            if reason and taken.at - still <= at <= taken.at + IN_FLIGHT_SECONDS:
                return reason
        return None


def read_chats(store: Store, bot_id: int, said: Iterable[tuple[int, int]],
               taken: Mapping[int, Sequence[Taken]]) -> dict[int, Chat]:
    """Every chat from all sides, by its id.

    Args:
        store: Warmline's.
        bot_id: whom the customers write to.
        said: chat and id of every message of a customer.
        taken: what Telegram took, by chat.
    """
    by_chat: dict[int, list[int]] = {}
    for chat_id, message_id in said:
        by_chat.setdefault(chat_id, []).append(message_id)
    chats = {chat_id: Chat(chat_id, sorted(ids), taken=taken.get(chat_id, ())) for chat_id, ids in by_chat.items()}
    with store.read() as session:
        rows = session.execute(
            select(Message.id, Message.direction, Message.channel_message_id, Message.handled_at, Message.text,
                   Message.in_reply_to_id, Message.delivery_state, Message.dropped_reason, MessageDelivery.channel_ids,
                   ChannelIdentity.external_id, Conversation.status)
            .join(ChannelIdentity, ChannelIdentity.id == Message.identity_id)
            .join(Conversation, Conversation.id == Message.conversation_id)
            .outerjoin(MessageDelivery, MessageDelivery.message_id == Message.id)
            .where(ChannelIdentity.channel == "telegram", ChannelIdentity.external_id.like(f"{bot_id}:%"))
            .order_by(Message.id)).all()
    for row in rows:
        chat = chats.get(int(row.external_id.partition(":")[2]))
        if chat is None:
            continue
        chat.status = row.status
        if row.direction == "incoming":
            chat.incoming.append(Incoming(row.id, int(row.channel_message_id), row.handled_at is not None))
        elif row.direction == "outgoing" and row.delivery_state != "dropped":
            chat.outgoing.append(Outgoing(row.id, row.in_reply_to_id, row.text, row.delivery_state, row.dropped_reason,
                                          tuple(int(each) for each in row.channel_ids or ())))
    return chats


def judge(chats: Iterable[Chat], witness: Witness, said_at: Mapping[tuple[int, int], float]) -> Verdict:
    """What is wrong, and how often what was as it should be."""
    verdict = Verdict()
    for chat in chats:
        _judge_questions(chat, verdict)
        _judge_answers(chat, witness, verdict)
        _measure(chat, said_at, verdict)
    return verdict


def unsettled(chats: Iterable[Chat]) -> int:
    """How many messages still wait for something: to be stored, for the bot, or to be delivered."""
    return sum(len(set(chat.said) - {each.message_id for each in chat.incoming})
               + sum(not each.handled for each in chat.incoming)
               + sum(each.state == "queued" for each in chat.outgoing) for chat in chats)


def _judge_questions(chat: Chat, verdict: Verdict) -> None:
    verdict.counts["messages said"] += len(chat.said)
    stored = [each.message_id for each in chat.incoming]
    if stored != list(chat.said):
        verdict.violations.append(f"chat {chat.chat_id}: said {list(chat.said)}, stored {stored}")
    for message in chat.incoming:
        replies = [each.text for each in chat.outgoing if each.in_reply_to_id == message.id]
        if not message.handled:
            verdict.violations.append(f"message {message.id} is stuck before the bot")
        elif len(set(replies)) != len(replies):
            verdict.violations.append(f"message {message.id} has its answer twice")
        elif replies:
            verdict.counts["answered once by the bot"] += 1
        elif chat.status in ("open", "snoozed"):
            verdict.counts["with an agent instead of the bot"] += 1
        else:
            verdict.violations.append(f"message {message.id} has no answer")


def _judge_answers(chat: Chat, witness: Witness, verdict: Verdict) -> None:
    noted = {taken: message for message in chat.outgoing for taken in message.taken}
    known = {each.message_id for each in chat.taken}
    arrivals: Counter[int] = Counter()
    in_order = [noted[each.message_id].id for each in chat.taken
                if each.message_id in noted and noted[each.message_id].id not in witness.again]
    if in_order != sorted(in_order):
        verdict.violations.append(f"chat {chat.chat_id}: out of order, {in_order}")
    for index, taken in enumerate(chat.taken):
        if taken.message_id in noted:
            continue
        message = _whose(chat, index, noted)
        reason = witness.why_twice(chat.chat_id, taken)
        if message is None or reason is None:
            verdict.violations.append(
                f"chat {chat.chat_id}: message {taken.message_id} was sent, and nobody knows why: {taken.text[:30]!r}")
            continue
        arrivals[message.id] += 1
        if message.state == "delivered" or arrivals[message.id] > 1:
            verdict.doubled[reason] += 1
    for message in chat.outgoing:
        _judge_answer(message, arrivals[message.id], known, verdict)


def _judge_answer(message: Outgoing, arrived: int, known: set[int], verdict: Verdict) -> None:
    verdict.counts["answers"] += 1
    if message.state == "queued":
        verdict.violations.append(f"answer {message.id} is stuck before Telegram")
    elif message.state == "delivered":
        verdict.counts["delivered"] += 1
        if not message.taken or not known.issuperset(message.taken):
            verdict.violations.append(f"answer {message.id} counts as delivered, and Telegram never took it")
    elif message.reason != "unknown":
        verdict.violations.append(f"answer {message.id} was given up: {message.reason}")
    elif arrived:
        verdict.counts["given up visibly though it had arrived"] += 1
    else:
        verdict.counts["given up visibly, not arrived"] += 1
        verdict.never_arrived.append(message.id)


def _whose(chat: Chat, index: int, noted: Mapping[int, Outgoing]) -> Outgoing | None:
    """Of which message Telegram took a copy without anybody knowing: the next one that was noted, or one given up."""
    text = chat.taken[index].text
    following = next((noted[each.message_id] for each in chat.taken[index + 1:] if each.message_id in noted), None)
    if following is not None and text in following.text:
        return following
    return next((each for each in chat.outgoing if each.state != "delivered" and text in each.text), None)


def _measure(chat: Chat, said_at: Mapping[tuple[int, int], float], verdict: Verdict) -> None:
    taken_at = {each.message_id: each.at for each in chat.taken}
    for message in chat.incoming:
        answered = [taken_at[taken] for each in chat.outgoing if each.in_reply_to_id == message.id
                    for taken in each.taken if taken in taken_at]
        asked = said_at.get((chat.chat_id, message.message_id))
        if answered and asked is not None:
            verdict.waits.append(min(answered) - asked)

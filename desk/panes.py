"""What the panes of the desk show: read models of the CRM store, put into the words of whoever reads them."""
from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy import select
from sqlalchemy.orm import Session, joinedload, selectinload

from crm_store.models import (
    AuditEntry,
    Conversation,
    Customer,
    Macro,
    Message,
    Notification,
    Order,
    SlaClock,
    SupportAgent,
    Ticket,
)
from crm_store.queries.attachments import AttachmentRow, attachments_of
from crm_store.queries.corrections import Corrected, corrections_of
from crm_store.queries.notifications import notifications_for
from crm_store.queries.queue import QueueRow, queue_counts, queue_for
from crm_store.queries.thread import ThreadRow, latest_escalation, thread_page
from crm_store.services import audit
from crm_store.services.access import may_direct
from desk.queue_place import QueuePlace
from desk.rendering import Due, Mood, Reader
from desk.wording import WORDS

QUEUE_LIMIT = 200
THREAD_LIMIT = 400
THREAD_AT_ONCE = 80
LOOKS_APART = timedelta(minutes=10)
EMPATHY_SHOWN = 3
EMOTIONS = {"route": ("angry",), "watch": ("watch", "worried"), "unknown": (), "calm": ()}
PLACEHOLDER = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True)
class QueueItem:
    """A row of the queue as it reads. ``wakes`` is in words, None of what is not snoozed."""

    conversation_id: int
    name: str
    tier: str | None
    reason: str
    reason_anger: float | None
    grade: str | None
    language: str
    channel: str
    ticket_number: str | None
    mood: Mood
    due: Due
    due_clock: str
    wakes: str | None
    assignee_id: int | None
    assignee_name: str | None
    last_text: str


@dataclass(frozen=True)
class Line:
    """A line of a thread as it reads. ``kind`` is "message", "handover" or "sla"; ``key`` names it on the page.

    ``corrected`` holds what agents said of a customer's message, by field; ``typed`` is false of a pressed button.
    """

    key: str
    kind: str
    id: int
    at: datetime
    direction: str | None = None
    author: str | None = None
    agent: str | None = None
    text: str = ""
    buttons: tuple[str, ...] = ()
    delivery_state: str = "queued"
    ticket: str | None = None
    intent: str | None = None
    anger: float | None = None
    valence: str | None = None
    understood: Understood | None = None
    corrected: Mapping[str, Corrected] = field(default_factory=dict)
    typed: bool = True
    reason: str | None = None
    due_at: datetime | None = None
    event: str | None = None
    words: str = ""
    attachments: tuple[AttachmentRow, ...] = ()
    held: str | None = None
    edited_at: datetime | None = None


@dataclass(frozen=True)
class Understood:
    """What the bot read in a message besides its intent and mood."""

    confidence: float | None
    language: str | None
    articles: tuple[tuple[str, float | None], ...]


@dataclass(frozen=True)
class Phrase:
    """A text to insert, with the customer's data filled in."""

    title: str
    text: str


@dataclass(frozen=True)
class ConversationView:
    """The middle pane. ``standing`` is how the reader stands to it: "mine", "free", "other", "bot" or "resolved".

    ``can_direct``: a colleague has it, and the reader may pass it on nevertheless. ``earlier`` is the id of the message
    before which there is more.
    """

    id: int
    version: int
    name: str
    tier: str | None
    channel: str
    language: str
    status: str
    standing: str
    mine: bool
    assignee: str | None
    anger: float | None
    mood_band: str
    reason: str | None
    reason_anger: float | None
    tickets: Sequence[Ticket]
    clocks: Sequence[SlaClock]
    late: bool
    wakes: str | None
    rows: Sequence[Line]
    earlier: int | None
    cut: bool
    can_reply: bool
    can_direct: bool
    hint: str | None
    empathy: Sequence[Phrase]
    phrases: Sequence[Phrase]


def customer_name(name: str | None, conversation_id: int, reader: Reader) -> str:
    """The customer's name; a guest is told apart by their conversation."""
    return name or reader.say("guest_named", id=conversation_id)


def queue_pane(session: Session, agent: SupportAgent, reader: Reader, place: QueuePlace) -> dict[str, Any]:
    """The rows and numbers of the queue."""
    rows = queue_for(session, agent, now=reader.now, view=place.view, only=place.only, limit=QUEUE_LIMIT + 1)
    return {"rows": [_queue_item(row, reader) for row in rows[:QUEUE_LIMIT]], "cut": len(rows) > QUEUE_LIMIT,
            "counts": vars(queue_counts(session, agent, reader.now)), "place": place, "view": place.view}


def _queue_item(row: QueueRow, reader: Reader) -> QueueItem:
    if row.reason:
        reason = reader.say(f"reason_{row.reason}")
    else:
        reason = reader.known("kind", row.kind) if row.kind else reader.say("reason_none")
    return QueueItem(
        conversation_id=row.conversation_id, name=customer_name(row.customer_name, row.conversation_id, reader),
        tier=row.tier, reason=reason, grade=row.grade, language=row.language, channel=row.channel,
        reason_anger=row.reason_anger if row.reason == "anger" else None,
        ticket_number=row.ticket_number, mood=reader.mood(row.anger, row.tier), due=reader.due(row.due_at),
        due_clock=reader.clock(row.due_at) if row.due_at else "",
        wakes=wakes_in_words(row.status, row.snoozed_until, reader), assignee_id=row.assignee_id,
        assignee_name=row.assignee_name, last_text=row.last_text)


def wakes_in_words(status: str, until: datetime | None, reader: Reader) -> str | None:
    """Until when a conversation is snoozed; None where it is not."""
    if status != "snoozed":
        return None
    return reader.say("snoozed_until", at=reader.clock(until)) if until else reader.say("snoozed_waiting")


def conversation_pane(session: Session, agent: SupportAgent, conversation: Conversation, reader: Reader,
                      shown: Callable[[str], str] = str, limit: int = THREAD_LIMIT) -> ConversationView:
    """The conversation as this agent reads it; check access before.

    Args:
        session: a session to read with.
        agent: who reads.
        conversation: which.
        reader: in what words.
        shown: what becomes of a message's text before it is shown, such as masking.
        limit: the most messages, the newest.
    """
    tickets = tickets_of(session, conversation.id)
    unsolved = [ticket for ticket in tickets if ticket.status != "resolved"]
    lines, earlier = lines_of(session, conversation.id, reader, tickets, shown, limit=limit)
    handover = latest_escalation(session, conversation.id)
    customer = conversation.customer
    standing = _standing(conversation, agent)
    mine = conversation.assignee_id == agent.id
    can_reply = standing in ("mine", "free") or (
        standing == "resolved" and conversation.assignee_id in (None, agent.id) and _owes_follow_up(tickets))
    assignee = conversation.assignee.name if conversation.assignee else None
    tier = customer.tier_code if customer else None
    mood = reader.mood(conversation.anger, tier).band
    clocks = clocks_shown(unsolved or tickets[-1:])
    empathy, phrases = (_phrases(session, conversation, agent, unsolved, mood) if can_reply else ([], []))
    return ConversationView(
        id=conversation.id, version=conversation.version,
        name=customer_name(customer.name if customer else None, conversation.id, reader), tier=tier,
        channel=conversation.channel, language=conversation.language, status=conversation.status, standing=standing,
        mine=mine, assignee=assignee, anger=conversation.anger, mood_band=mood,
        reason=handover.reason if handover else None, reason_anger=handover.anger if handover else None,
        tickets=tickets, clocks=clocks,
        late=any(clock.met_at is None and clock.state in ("running", "breached") and clock.due_at <= reader.now
                 for clock in clocks),
        wakes=wakes_in_words(conversation.status, conversation.snoozed_until, reader),
        rows=lines, earlier=earlier, cut=earlier is not None, can_reply=can_reply,
        can_direct=standing == "other" and may_direct(session, agent, conversation),
        hint=_hint(standing, assignee, reader), empathy=empathy, phrases=phrases)


def _owes_follow_up(tickets: Iterable[Ticket]) -> bool:
    """Whether a word after the resolution is promised and not given yet, late or not."""
    return any(clock.promise == "follow_up" and clock.met_at is None and clock.state in ("running", "breached")
               for ticket in tickets if ticket.status == "resolved" for clock in ticket.clocks)


def _standing(conversation: Conversation, agent: SupportAgent) -> str:
    if conversation.status == "resolved":
        return "resolved"
    if conversation.status == "pending":
        return "bot"
    if conversation.claimed_at is None:
        return "free"
    return "mine" if conversation.assignee_id == agent.id else "other"


def _hint(standing: str, assignee: str | None, reader: Reader) -> str | None:
    if standing == "other":
        return reader.say("owned_by", name=assignee)
    keys = {"bot": "owned_by_bot", "free": "unclaimed", "resolved": "resolved_hint"}
    return reader.say(keys[standing]) if standing in keys else None


def tickets_of(session: Session, conversation_id: int) -> list[Ticket]:
    """The conversation's tickets with their clocks, oldest first."""
    return list(session.execute(
        select(Ticket).where(Ticket.conversation_id == conversation_id)
        .options(selectinload(Ticket.clocks)).order_by(Ticket.id)).scalars())


def messages_of(session: Session, conversation_id: int) -> list[Message]:
    """The conversation's newest messages and notes, oldest first."""
    newest = session.execute(
        select(Message).where(Message.conversation_id == conversation_id)
        .options(joinedload(Message.agent)).order_by(Message.id.desc()).limit(THREAD_LIMIT)).scalars()
    return list(newest)[::-1]


def clocks_shown(tickets: Iterable[Ticket]) -> list[SlaClock]:
    """For each promise the clock that matters: one still to keep before one that is settled, the soonest first."""
    best: dict[str, SlaClock] = {}
    for ticket in tickets:
        for clock in ticket.clocks:
            if clock.state == "cancelled" or (clock.promise != "next_response" and clock.cycle != ticket.cycle):
                continue
            rival = best.get(clock.promise)
            if rival is None or _rank(clock) < _rank(rival):
                best[clock.promise] = clock
    order = ("first_response", "next_response", "resolution", "follow_up")
    return [best[promise] for promise in order if promise in best]


def _rank(clock: SlaClock) -> tuple[bool, float]:
    to_keep = clock.met_at is None and clock.state in ("running", "paused", "breached")
    due = float(clock.due_at.timestamp())
    return (False, due) if to_keep else (True, -due)


def lines_of(session: Session, conversation_id: int, reader: Reader, tickets: Sequence[Ticket],
             shown: Callable[[str], str] = str, *, before: int | None = None, limit: int = THREAD_LIMIT,
             named: Callable[[str], str] = str) -> tuple[list[Line], int | None]:
    """The newest lines of the thread as they read, oldest first, and before which message there is more.

    Args:
        session: a session to read with.
        conversation_id: which conversation; check access before.
        reader: in what words.
        tickets: the conversation's.
        shown: what becomes of a message's text before it is shown, such as masking.
        before: the id of a message; only what came before it.
        limit: the most messages.
        named: what becomes of an attachment's name before it is shown.
    """
    promised = {ticket.number: clock.due_at for ticket in tickets for clock in reversed(ticket.clocks)
                if clock.promise == "first_response"}
    corrected = corrections_of(session, conversation_id)
    found = thread_page(session, conversation_id, before=before, limit=limit)
    rows = sorted(found.rows, key=_told_at)
    sent = attachments_of(session, [row.id for row in rows if row.kind == "message"])
    lines = [_line(row, reader, promised, shown, corrected, len(tickets) > 1) for row in rows]
    return [_with_attachments(line, sent.get(line.id, ()), named) for line in lines], found.earlier


def _with_attachments(line: Line, sent: Sequence[AttachmentRow], named: Callable[[str], str]) -> Line:
    if line.kind != "message" or not sent:
        return line
    return replace(line, attachments=tuple(replace(each, name=named(each.name)) for each in sent))


def _told_at(row: ThreadRow) -> tuple[datetime, int, int]:
    """What happened at the same time in the order in which it is told: said, handed over, announced, noted."""
    if row.kind == "message":
        rank = 0 if row.author == "customer" else 3 if row.author == "system" else 1
    else:
        rank = {"escalation": 2, "note": 4}.get(row.kind, 5)
    return row.at, rank, row.id


def _line(row: ThreadRow, reader: Reader, promised: Mapping[str, datetime], shown: Callable[[str], str],
          corrected: Mapping[int, Mapping[str, Corrected]], several: bool) -> Line:
    data = row.data or {}
    if row.kind == "escalation":
        return Line(f"e{row.id}", "handover", row.id, row.at, reason=data["reason"], anger=row.anger,
                    due_at=promised.get(data["ticket"]), ticket=data["ticket"])
    if row.kind == "sla":
        words = reader.say(f"sla_{data['event']}", promise=reader.known("promise", data["promise"]),
                           percent=data.get("percent"))
        return Line(f"s{row.id}", "sla", row.id, row.at, event=data["event"], words=words,
                    ticket=data["ticket"] if several else None)
    return Line(
        f"m{row.id}", "message", row.id, row.at, direction=row.direction, author=row.author, agent=row.agent_name,
        text=shown(row.text), buttons=tuple(str(button.get("title", "")) for button in row.buttons),
        delivery_state=row.delivery_state or "queued", intent=row.intent, anger=row.anger, valence=row.valence,
        understood=understood_of(row.understood or {}), corrected=corrected.get(row.id, {}), typed=row.payload is None,
        held=row.held, edited_at=row.edited_at)


def understood_of(read: Mapping[str, Any]) -> Understood:
    """What was stored of the bot's reading, whatever shape it has."""
    articles = tuple((str(article.get("slug")), _number(article.get("score")))
                     for article in read.get("articles") or () if isinstance(article, Mapping))
    language = read.get("language")
    return Understood(_number(read.get("confidence")), str(language) if language else None, articles[:5])


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, (int, float)) else None


def _phrases(session: Session, conversation: Conversation, agent: SupportAgent, unsolved: Sequence[Ticket],
             mood: str) -> tuple[list[Phrase], list[Phrase]]:
    """Phrases that answer the customer's mood, and all of the others, in the customer's language."""
    language = conversation.language
    customer = conversation.customer
    order = session.execute(
        select(Order.number).where(Order.customer_id == customer.id).order_by(Order.placed_at.desc()).limit(1)
    ).scalar() if customer else None
    ticket = unsolved[-1].number if unsolved else None
    values = {"customer_name": customer.name if customer else ("您" if language == "zh" else "there"),
              "agent_name": agent.name, "ticket_number": ticket or "…", "order_number": order or "…"}
    soothing: list[Phrase] = []
    others: list[Phrase] = []
    for macro in session.execute(select(Macro).order_by(Macro.id)).scalars():
        title, text = ((macro.title_zh, macro.text_zh) if language == "zh" else (macro.title_en, macro.text_en))
        phrase = Phrase(title, fill(text, values))
        if macro.emotion in EMOTIONS[mood] and len(soothing) < EMPATHY_SHOWN:
            soothing.append(phrase)
        else:
            others.append(phrase)
    return soothing, others


def fill(text: str, values: Mapping[str, str]) -> str:
    """A text with its {placeholders} filled in once; what a value contains is never read as a placeholder."""
    return PLACEHOLDER.sub(lambda found: values.get(found.group(1), found.group()), text)


@dataclass(frozen=True)
class Notice:
    """Something an agent must be told; ``name`` is the customer's."""

    id: int
    kind: str
    conversation_id: int | None
    name: str
    words: str


def notices_pane(session: Session, agent: SupportAgent, reader: Reader) -> list[Notice]:
    """What the agent has not been told yet, oldest first."""
    told = notifications_for(session, agent.id)
    ids = [notice.conversation_id for notice in told if notice.conversation_id is not None]
    names = dict(session.execute(
        select(Conversation.id, Customer.name).outerjoin(Customer, Customer.id == Conversation.customer_id)
        .where(Conversation.id.in_(ids))).all())
    return [
        Notice(notice.id, notice.kind, notice.conversation_id,
               customer_name(names.get(notice.conversation_id), notice.conversation_id, reader)
               if notice.conversation_id else "", notice_words(notice, reader))
        for notice in told]


def notice_words(notice: Notification, reader: Reader) -> str:
    """What a notification says; its kind where the desk has no words for it."""
    data: Mapping[str, Any] = notice.data or {}
    if f"notice_{notice.kind}" not in WORDS:
        return str(notice.kind)
    return reader.say(
        f"notice_{notice.kind}", ticket=data.get("ticket") or "", by=data.get("by") or "",
        percent=data.get("percent") or "", promise=reader.known("promise", data.get("promise")),
        reason=reader.known("reason", data.get("reason") or "none"))


def look_is_recorded(session: Session, agent: SupportAgent, conversation_id: int, now: datetime) -> bool:
    """Whether the audit log has a look of this agent at this conversation within the last ten minutes."""
    looks = session.execute(
        select(sa.func.count()).select_from(AuditEntry).where(
            AuditEntry.object_kind == "conversation", AuditEntry.object_id == str(conversation_id),
            AuditEntry.action == "look", AuditEntry.actor_kind == "agent", AuditEntry.actor_id == agent.id,
            AuditEntry.created_at > now - LOOKS_APART)).scalar_one()
    return bool(looks)


def record_look(session: Session, agent: SupportAgent, conversation: Conversation, now: datetime) -> None:
    """Note in the audit log that an agent looked into a conversation and its customer's record."""
    audit.record(session, actor_kind="agent", actor_id=agent.id, action="look", object_kind="conversation",
                 object_id=conversation.id, data={"customer_id": conversation.customer_id}, now=now)

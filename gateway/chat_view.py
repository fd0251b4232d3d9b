"""What a customer sees of their conversation: the messages, who owns it, and by when a person comes."""
from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from typing import Any

import sqlalchemy as sa
from sqlalchemy import select
from sqlalchemy.orm import Session

from crm_store.models import Conversation, Message, SlaClock, SupportAgent, Ticket
from crm_store.queries.attachments import AttachmentRow, attachments_of

PAGE = 200
ATTACHMENTS = "/api/chat/attachments"
OWNED_BY_HUMANS = ("open", "snoozed")


@dataclass(frozen=True)
class ChatState:
    """Who answers now. ``due_at`` is the promised time of the first human answer while it has not come."""

    owner: str = "bot"
    assignee: str | None = None
    due_at: str | None = None
    ticket: str | None = None

    def shown(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)


@dataclass(frozen=True)
class ChatView:
    """Some messages, and the state after them. ``queued`` are the ids of those not delivered before."""

    conversation_id: int | None
    messages: Sequence[dict[str, Any]]
    state: ChatState
    queued: Sequence[int]
    more: bool


def owner_of(status: str | None) -> str:
    """Who answers a conversation with this status: "human" or "bot"."""
    return "human" if status in OWNED_BY_HUMANS else "bot"


def chat_view(session: Session, identity_id: int, after_id: int, *, incoming: bool = True,
              limit: int = PAGE) -> ChatView:
    """What is new to somebody who has seen everything up to ``after_id``; for 0, the newest messages.

    Args:
        session: for reading.
        identity_id: whose chat.
        after_id: id of the last message seen.
        incoming: with the customer's own messages.
        limit: the most messages; ``more`` says that there are others after them.
    """
    shown = [Message.identity_id == identity_id, Message.id > after_id,
             Message.direction.in_(("incoming", "outgoing") if incoming else ("outgoing",)),
             sa.or_(Message.delivery_state.is_(None), Message.delivery_state != "dropped")]
    newest_first = incoming and not after_id
    rows = session.execute(
        select(Message, SupportAgent.name).outerjoin(SupportAgent, SupportAgent.id == Message.agent_id).where(*shown)
        .order_by(Message.id.desc() if newest_first else Message.id).limit(limit)
    ).all()
    if newest_first:
        rows = rows[::-1]
    sent = attachments_of(session, [message.id for message, _ in rows])
    conversation = session.execute(
        select(Conversation.id, Conversation.status, SupportAgent.name)
        .outerjoin(SupportAgent, SupportAgent.id == Conversation.assignee_id)
        .where(Conversation.identity_id == identity_id).order_by(Conversation.id.desc()).limit(1)
    ).first()
    return ChatView(
        conversation.id if conversation else None,
        [shown_message(message, name, sent.get(message.id, ())) for message, name in rows],
        _state(session, conversation) if conversation else ChatState(),
        [message.id for message, _ in rows if message.delivery_state == "queued"],
        more=not newest_first and len(rows) == limit)


def shown_message(message: Message, agent_name: str | None,
                  attachments: Sequence[AttachmentRow] = ()) -> dict[str, Any]:
    """A message as JSON; ``message_id`` is the sender's own id of an incoming one."""
    return {
        "id": message.id, "author": message.author, "agent": agent_name, "text": message.text,
        "buttons": shown_buttons(message.buttons), "at": instant(message.created_at),
        "in_reply_to": message.in_reply_to_id, "message_id": message.channel_message_id,
        "attachments": [shown_attachment(each) for each in attachments if each.file],
    }


def shown_attachment(kept: AttachmentRow) -> dict[str, Any]:
    """An attachment as JSON; its address opens it for its sender only."""
    return {"token": kept.token, "name": kept.name, "kind": kept.kind, "size": kept.size, "image": kept.image,
            "url": f"{ATTACHMENTS}/{kept.token}"}


def shown_buttons(buttons: Iterable[Any]) -> list[dict[str, str]]:
    """Buttons as JSON: a title and a payload each."""
    return [{"title": button["title"], "payload": button["payload"]} for button in buttons or ()]


def instant(at: datetime) -> str:
    """A time in ISO 8601, UTC, to the millisecond."""
    return at.astimezone(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _state(session: Session, conversation: Any) -> ChatState:
    if owner_of(conversation.status) == "bot":
        return ChatState()
    row = session.execute(
        select(Ticket.number, SlaClock.due_at).outerjoin(
            SlaClock, sa.and_(SlaClock.ticket_id == Ticket.id, SlaClock.cycle == Ticket.cycle,
                              SlaClock.promise == "first_response", SlaClock.met_at.is_(None),
                              SlaClock.state.in_(("running", "paused", "breached"))))
        .where(Ticket.conversation_id == conversation.id, Ticket.kind != "request", Ticket.status != "resolved")
        .order_by(SlaClock.due_at.is_(None), SlaClock.due_at, Ticket.id.desc()).limit(1)
    ).first()
    return ChatState("human", conversation.name, instant(row.due_at) if row and row.due_at else None,
                     row.number if row else None)

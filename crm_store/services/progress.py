"""Tells customers, once and honestly, that a promise to them was broken, who has their ticket now, and what is next.

A good shop says it before it is asked, and only where it helps: not while a human is talking to them, not twice into a
silence, and not to a guest who closed the page.
"""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy import select
from sqlalchemy.orm import Session

from crm_store.models import Conversation, Message, SlaClock, Ticket
from crm_store.wording import join_sentences, say, tell_time

TOLD = ("first_response", "resolution")
HUMAN_LATELY = timedelta(minutes=10)  # somebody who wrote so lately has told the customer how things are
GUEST_STAYS = timedelta(hours=1)  # a guest of the web chat who has not written for so long has left


def tell_of_broken_promises(session: Session, broken: Mapping[Conversation, Sequence[SlaClock]],
                            clocks: Mapping[Conversation, Sequence[SlaClock]], now: datetime) -> None:
    """Tell the customers of these conversations what was broken just now; one message a conversation at most.

    Args:
        session: the unit of work.
        broken: the clocks found broken in this look, oldest first; the conversations' rows are locked.
        clocks: all unsettled clocks of the same conversations with their tickets, the broken among them.
        now: when.
    """
    concerned = {conversation: told for conversation, found in broken.items()
                 if (told := [clock for clock in found if clock.promise in TOLD]) and conversation.status != "resolved"
                 and not _left(conversation, now)}
    written = _last_written(session, concerned)
    said = [_message(conversation, _told(conversation, found[-1], clocks[conversation], now), now)
            for conversation, found in concerned.items()
            if _helps(conversation, found, clocks[conversation], written.get(conversation.id), now)]
    if said:
        session.execute(sa.insert(Message.__table__), said)


def _left(conversation: Conversation, now: datetime) -> bool:
    wrote = conversation.last_customer_message_at
    return (conversation.channel == "web" and conversation.customer_id is None
            and (wrote is None or now - wrote > GUEST_STAYS))


def _last_written(session: Session, conversations: Mapping[Conversation, object]) -> dict[int, datetime]:
    """When a human last wrote to the customer, by conversation."""
    if not conversations:
        return {}
    return dict(session.execute(
        select(Message.conversation_id, sa.func.max(Message.created_at))
        .where(Message.conversation_id.in_([conversation.id for conversation in conversations]),
               Message.direction == "outgoing", Message.author == "agent").group_by(Message.conversation_id)).all())


def _helps(conversation: Conversation, broken: Sequence[SlaClock], clocks: Sequence[SlaClock], human: datetime | None,
           now: datetime) -> bool:
    """Whether no human wrote lately, and something was said since the customer was last told of a broken promise."""
    if human is not None and now - human < HUMAN_LATELY:
        return False
    last_words = max((at for at in (human, conversation.last_customer_message_at) if at is not None), default=None)
    told_before = [clock.breached_at for clock in clocks
                   if clock.breached_at is not None and clock.promise in TOLD and clock not in broken
                   and (human is None or clock.breached_at - human >= HUMAN_LATELY)]
    return not any(last_words is None or at >= last_words for at in told_before)


def _message(conversation: Conversation, text: str, now: datetime) -> dict[str, Any]:
    """A message of Warmline itself, which answers no promise, as a row: a thousand go in with one statement."""
    conversation.updated_at = max(conversation.updated_at, now)
    return {"conversation_id": conversation.id, "identity_id": conversation.identity_id, "direction": "outgoing",
            "author": "system", "text": text, "buttons": [], "created_at": now, "delivery_state": "queued"}


def _told(conversation: Conversation, broken: SlaClock, clocks: Sequence[SlaClock], now: datetime) -> str:
    ticket: Ticket = broken.ticket
    language, zone = conversation.language, broken.calendar.time_zone
    coming = min((clock.due_at for clock in clocks
                  if clock.ticket_id == ticket.id and clock.state == "running"
                  and clock.promise == "resolution" and clock.due_at >= now), default=None)
    sorry = say(f"late_{broken.promise}", language, due=tell_time(broken.due_at, now, zone, language),
                number=ticket.number)
    raised = say(f"raised_to_{ticket.level}", language)
    if coming is None:
        return join_sentences(language, sorry, raised, say("next_soon", language))
    return join_sentences(language, sorry, raised,
                          say("next_by", language, by=tell_time(coming, now, zone, language)))

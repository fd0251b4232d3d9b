"""One customer's turn as an action sees it: who writes, what they said, and what to say and remember."""
from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date, datetime
from functools import cached_property
from typing import Any
from zoneinfo import ZoneInfo

import sqlalchemy as sa
from rasa_sdk import Tracker
from rasa_sdk.events import FollowupAction, SlotSet
from rasa_sdk.executor import CollectingDispatcher
from sqlalchemy.orm import Session, joinedload

from crm_store.errors import NotFound
from crm_store.models import ChannelIdentity, Conversation, Customer
from crm_store.queries.calendar import shop_time_zone
from crm_store.wording import tell_time

Event = dict[str, Any]
Button = dict[str, str]

_WHO_WRITES = (  # built once: every action asks
    sa.select(ChannelIdentity)
    .join(Conversation, Conversation.identity_id == ChannelIdentity.id)
    .where(Conversation.id == sa.bindparam("conversation"))
    .options(joinedload(ChannelIdentity.customer).joinedload(Customer.tier))
)


class Turn:
    """The message being answered, inside one unit of work of the store.

    Who the customer is, is read from the store and not from the message's context: linking changes it within a turn.
    """

    def __init__(self, session: Session, tracker: Tracker, dispatcher: CollectingDispatcher, now: datetime) -> None:
        """Look at ``tracker``'s latest message at the time ``now`` (aware, UTC)."""
        self.session = session
        self.tracker = tracker
        self.now = now
        self.events: list[Event] = []
        self.after_commit: list[Callable[[], None]] = []
        self._dispatcher = dispatcher
        message = tracker.latest_message or {}
        self.message: dict[str, Any] = message
        self.context: dict[str, Any] = message.get("metadata") or {}
        self.text = str(message.get("text") or "")
        self.intent: str | None = (message.get("intent") or {}).get("name")
        self.confidence = float((message.get("intent") or {}).get("confidence") or 0.0)
        self.language = language_of(message)

    @property
    def conversation_id(self) -> int:
        """The conversation's id: what Rasa calls the sender."""
        return int(self.tracker.sender_id)

    @property
    def message_id(self) -> int | None:
        """The id of the customer's message in the store; it makes what an action does idempotent."""
        found = self.context.get("message_id")
        return None if found is None else int(found)

    @cached_property
    def identity(self) -> ChannelIdentity:
        """Who writes, on their channel.

        Raises:
            NotFound: there is no such conversation.
        """
        found: ChannelIdentity | None = self.session.scalar(_WHO_WRITES, {"conversation": self.conversation_id})
        if found is None:
            raise NotFound(kind="conversation", id=self.conversation_id)
        return found

    @property
    def customer(self) -> Customer | None:
        """The customer, or None for a guest."""
        customer: Customer | None = self.identity.customer
        return customer

    @cached_property
    def time_zone(self) -> str:
        """The shop's time zone."""
        return shop_time_zone(self.session)

    def slot(self, name: str) -> Any:
        """What is remembered under ``name``, with what this turn changed."""
        for event in reversed(self.events):
            if event["event"] == "slot" and event["name"] == name:
                return event["value"]
        return self.tracker.slots.get(name)

    def entity(self, name: str) -> str | None:
        """The first value of an entity in the message, or None."""
        for found in self.message.get("entities") or []:
            if found.get("entity") == name and found.get("value") not in (None, ""):
                return str(found["value"])
        return None

    def say(self, response: str, *, buttons: Sequence[Button] = (), **values: Any) -> None:
        """Say a response of the domain, in the language of the message."""
        self._dispatcher.utter_message(response=response, buttons=list(buttons), **values)

    def unsay(self) -> None:
        """Take back what this action has said so far."""
        self._dispatcher.messages.clear()

    def remember(self, **slots: Any) -> None:
        """Set slots."""
        self.events += [SlotSet(name, value) for name, value in slots.items()]

    def offer(self, what: str, response: str) -> None:
        """Offer something that a plain yes takes up; not inside a form, whose own question a yes would answer."""
        if self.tracker.active_loop_name is None:
            self.say(response)
            self.remember(offer=what)

    def then(self, action: str) -> None:
        """Have ``action`` run next, whatever the rules say."""
        self.events.append(FollowupAction(action))

    @property
    def is_button(self) -> bool:
        """Whether the message is a pressed button: its words are ours, and nothing was read from them."""
        return self.confidence == 1.0 and self.message.get("sentiment") is None

    @property
    def leads_on(self) -> bool:
        """Whether it is settled what runs next."""
        return any(event["event"] == "followup" for event in self.events)

    def by(self, zh: str, en: str) -> str:
        """The one in the customer's language."""
        return zh if self.language == "zh" else en

    def time(self, at: datetime) -> str:
        """A point in time as people say it; in Chinese with the blanks that set it off from the characters around."""
        return tell_time(at, self.now, self.time_zone, self.language)

    def day(self, at: datetime) -> str:
        """A date as people say it: 11月3日, 3 November; with the year where it is another one."""
        local = at.astimezone(ZoneInfo(self.time_zone)).date()
        return day_in_words(local, self.now.astimezone(ZoneInfo(self.time_zone)).date(), self.language)


def language_of(message: dict[str, Any]) -> str:
    """The language to answer ``message`` in; the same rule as for the domain's responses."""
    for language in (message.get("language"), (message.get("metadata") or {}).get("language")):
        if language in ("zh", "en"):
            return str(language)
    return "zh"


def day_in_words(day: date, today: date, language: str) -> str:
    """A date without the year, where that is this year's."""
    if language == "zh":
        return f"{day.month}月{day.day}日" if day.year == today.year else f"{day.year}年{day.month}月{day.day}日"
    return f"{day.day} {day:%B}" if day.year == today.year else f"{day.day} {day:%B %Y}"

"""Stores what a Telegram update says, in one transaction with the mark that it was seen.

What else has to be done at Telegram (let a button rest, show that somebody types) is handed back, to be done after the
commit; it is nice to have and never repeated.
"""
from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from crm_store.errors import InvalidMessage
from crm_store.models import ChannelIdentity, Conversation, Message
from crm_store.models.customers import LANGUAGES
from crm_store.rules.text import MESSAGE_LIMIT, clean_text
from crm_store.services import telegram
from crm_store.services.delivery import note_reachable, note_unreachable
from crm_store.services.edits import edit_message
from crm_store.services.handoff import OWNED_BY_HUMANS, escalate_conversation
from crm_store.services.messages import Received, receive_message
from crm_store.services.system_messages import leave_note, tell_customer
from gateway.telegram_client import address_of
from gateway.telegram_updates import CALLBACK, Incoming, read_update
from gateway.telegram_words import LANGUAGE_BUTTONS, words

CHANNEL = "telegram"
CHOOSE = "/choose_language"  # payload of the buttons that choose a language
TOLD_AGAIN_AFTER = timedelta(minutes=1)  # an album is several updates and one answer
_DATA = re.compile(re.escape(CALLBACK) + r"(\d{1,18}):(\d{1,2})")


@dataclass
class Afterwards:
    """What is to be done when an update is stored.

    Attributes:
        kind: of the update; "duplicate" where it had been stored before.
        conversation_id: whose turn it is.
        typing: the chat in which an answer is being written.
        pressed: the callback to answer, and what to say about it.
        drop_buttons: the chat and message whose buttons were used.
        decline: the group to leave, and what to say there.
    """

    kind: str
    conversation_id: int | None = None
    new: bool = False
    typing: int | None = None
    pressed: tuple[str, str | None] | None = None
    drop_buttons: tuple[int, int] | None = None
    decline: tuple[int, str] | None = None


@dataclass(frozen=True)
class Inbox:
    """Where updates go in. ``shop_names``: the shop's name, by language."""

    clock: Callable[[], datetime]
    shop_names: Mapping[str, str] = field(default_factory=dict)

    def store(self, session: Session, bot_id: int, update_id: int, update: Any) -> Afterwards:
        """Store an update and do what it asks for.

        Args:
            session: the unit of work.
            bot_id: which bot it came to.
            update_id: the update's id at that bot; one that is known changes nothing.
            update: the update as JSON.
        """
        said, now = read_update(update), self.clock()
        if not telegram.store_update(session, bot_id, update_id, said.kind, now):
            return Afterwards("duplicate")
        return _Update(session, self, bot_id, said, now).take()


@dataclass
class _Update:
    session: Session
    inbox: Inbox
    bot_id: int
    said: Incoming
    now: datetime

    @property
    def address(self) -> str:
        return address_of(self.bot_id, self.said.chat_id)

    def take(self) -> Afterwards:
        if self.said.kind == "ignored":
            return Afterwards("ignored")
        if self.said.kind == "group":
            return Afterwards("group", decline=(self.said.chat_id, words("no_groups", self.said.language or "zh")))
        done: Afterwards = getattr(self, f"_{self.said.kind}")()
        return done

    def _text(self) -> Afterwards:
        text, cut = self._readable(self.said.text)
        if text is None:
            return Afterwards("ignored")
        received = self._receive(text)
        if cut and not received.duplicate:
            self._tell(received, words("cut", received.conversation.language, limit=f"{MESSAGE_LIMIT:,}"))
        return self._to_the_bot(received)

    def _attachment(self) -> Afterwards:
        """What was sent cannot be read yet: the words with it are, and the desk sees that there was something."""
        caption, _ = self._readable(self.said.text)
        language = self._language()
        received = self._receive(caption or words("attachment", language, kind=self._kind(language)))
        if received.duplicate:
            return Afterwards("attachment")
        language = received.conversation.language
        kind = self._kind(language)
        if caption:
            leave_note(self.session, received.conversation,
                       words("note_attachment", language, kind=kind, caption=caption), self.now)
        else:
            received.message.handled_at = self.now
        self._tell_once(received, words("not_readable", language, kind=kind))
        return self._to_the_bot(received) if caption else self._shown(received)

    def _command(self) -> Afterwards:
        name, language = self.said.text, self._language()
        received = self._receive(f"/{name} {self.said.argument}".strip()[:MESSAGE_LIMIT])
        if received.duplicate:
            return Afterwards("command")
        received.message.handled_at = self.now
        conversation = received.conversation
        conversation.language = language
        if name == "human":
            self._hand_over(received)
        elif name == "language":
            self._choose_language(received)
        else:
            key = "welcome" if name == "start" else "help"
            self._tell(received, words(key, language, shop=self.inbox.shop_names.get(language, "Warmline")))
        return self._shown(received)

    def _press(self) -> Afterwards:
        done = Afterwards("press", pressed=(self.said.callback_id, None))
        button = self._button()
        if button is None:
            done.pressed = (self.said.callback_id, words("button_gone", self._language()))
            return done
        received = receive_message(
            self.session, channel=CHANNEL, external_id=self.address, text=button["title"], payload=button["payload"],
            channel_message_id=f"press:{self.said.callback_id}", now=self.now, language_hint=self.said.language)
        done.conversation_id, done.new = received.conversation.id, not received.duplicate
        done.drop_buttons = (self.said.chat_id, self.said.message_id)
        if received.duplicate or received.message.payload is None:
            return done
        note_reachable(self.session, received.conversation.identity_id)
        if button["payload"].startswith(CHOOSE):
            self._language_chosen(received, button["payload"][len(CHOOSE) + 1:])
        elif received.conversation.status not in OWNED_BY_HUMANS and received.message.handled_at is None:
            done.typing = self.said.chat_id
        return done

    def _edit(self) -> Afterwards:
        """An edit that overtook its message is the message."""
        text, _ = self._readable(self.said.text)
        if text is None or self.said.at is None:
            return Afterwards("ignored")
        message = edit_message(
            self.session, channel=CHANNEL, external_id=self.address, channel_message_id=str(self.said.message_id),
            text=text, edited_at=self.said.at, now=self.now)
        if message is not None:
            return Afterwards("edit", message.conversation_id, new=False)
        received = self._receive(text)
        received.message.edited_at = self.said.at
        return self._to_the_bot(received)

    def _blocked(self) -> Afterwards:
        identity_id = self._identity_id()
        if identity_id is not None:
            note_unreachable(self.session, identity_id, self.now)
        return Afterwards("blocked")

    def _unblocked(self) -> Afterwards:
        identity_id = self._identity_id()
        if identity_id is not None:
            note_reachable(self.session, identity_id)
        return Afterwards("unblocked")

    def _receive(self, text: str) -> Received:
        received = receive_message(
            self.session, channel=CHANNEL, external_id=self.address, text=text, now=self.now,
            channel_message_id=str(self.said.message_id), language_hint=self.said.language)
        note_reachable(self.session, received.conversation.identity_id)
        return received

    def _readable(self, text: str) -> tuple[str | None, bool]:
        """The text as it can be stored, and whether it had to be cut; None where nothing readable is left."""
        try:
            return clean_text(text), False
        except InvalidMessage as error:
            if error.data["reason"] != "too_long":
                return None, False
        return clean_text(clean_text(text, len(text) * 4)[:MESSAGE_LIMIT]), True

    def _to_the_bot(self, received: Received) -> Afterwards:
        done = self._shown(received)
        if received.conversation.status not in OWNED_BY_HUMANS and not received.duplicate:
            done.typing = self.said.chat_id
        return done

    def _shown(self, received: Received) -> Afterwards:
        return Afterwards(self.said.kind, received.conversation.id, new=not received.duplicate)

    def _tell(self, received: Received, text: str, buttons: tuple[dict[str, str], ...] = ()) -> None:
        """Say something; as a reply only where the bot will not write one, whose place it would take."""
        answered = received.message.handled_at is not None
        tell_customer(self.session, received.conversation, text, self.now, buttons=buttons,
                      in_reply_to_id=received.message.id if answered else None)
        self.session.flush()

    def _tell_once(self, received: Received, text: str) -> None:
        """Say something unless it was just said."""
        last = self.session.execute(
            select(Message.text, Message.created_at)
            .where(Message.conversation_id == received.conversation.id, Message.direction == "outgoing")
            .order_by(Message.id.desc()).limit(1)).one_or_none()
        if last is None or last.text != text or self.now - last.created_at >= TOLD_AGAIN_AFTER:
            self._tell(received, text)

    def _hand_over(self, received: Received) -> None:
        conversation = received.conversation
        if conversation.status in OWNED_BY_HUMANS:
            self._tell(received, words("with_a_person", conversation.language))
            return
        escalate_conversation(self.session, conversation_id=conversation.id, reason="asked", now=self.now,
                              message_id=received.message.id)

    def _choose_language(self, received: Received) -> None:
        wanted = self.said.argument.lower()
        if wanted in LANGUAGES:
            self._language_chosen(received, wanted)
            return
        buttons = tuple({"title": title, "payload": f"{CHOOSE} {code}"} for title, code in LANGUAGE_BUTTONS)
        self._tell(received, words("choose_language", received.conversation.language), buttons)

    def _language_chosen(self, received: Received, language: str) -> None:
        received.message.handled_at = self.now
        received.conversation.language = language
        self.session.get(ChannelIdentity, received.conversation.identity_id).language = language
        self._tell(received, words("language_chosen", language))

    def _button(self) -> dict[str, str] | None:
        """The button that was pressed, of a message to this very person."""
        found = _DATA.fullmatch(self.said.text)
        identity_id = self._identity_id()
        if found is None or identity_id is None:
            return None
        message_id, index = int(found[1]), int(found[2])
        buttons = self.session.execute(
            select(Message.buttons).where(Message.id == message_id, Message.identity_id == identity_id,
                                          Message.direction == "outgoing")).scalar_one_or_none()
        return dict(buttons[index]) if buttons and index < len(buttons) else None

    def _identity_id(self) -> int | None:
        found: int | None = self.session.execute(
            select(ChannelIdentity.id).where(ChannelIdentity.channel == CHANNEL,
                                             ChannelIdentity.external_id == self.address)).scalar_one_or_none()
        return found

    def _language(self) -> str:
        """What they chose, else what they speak in the present conversation, else what their Telegram is set to."""
        known = self.session.execute(
            select(ChannelIdentity.language, Conversation.language)
            .outerjoin(Conversation, Conversation.identity_id == ChannelIdentity.id)
            .where(ChannelIdentity.channel == CHANNEL, ChannelIdentity.external_id == self.address)
            .order_by(Conversation.id.desc()).limit(1)).one_or_none()
        chosen, spoken = known or (None, None)
        return str(chosen or spoken or self.said.language or "zh")

    def _kind(self, language: str) -> str:
        return words(f"kind_{self.said.attachment}", language)

"""Stores what a Telegram update says, in one transaction with the mark that it was seen.

What else has to be done at Telegram (let a button rest, show that somebody types) is handed back, to be done after the
commit; it is nice to have and never repeated.
"""
from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy.orm import Session

from crm_store.models import ChannelIdentity
from crm_store.models.customers import LANGUAGES
from crm_store.rules.flood import A_MINUTE
from crm_store.rules.text import MESSAGE_LIMIT
from crm_store.services import attachments, telegram
from crm_store.services.deep_links import link_once
from crm_store.services.delivery import note_reachable, note_unreachable
from crm_store.services.edits import edit_message
from crm_store.services.handoff import OWNED_BY_HUMANS, escalate_conversation
from crm_store.services.messages import Received
from crm_store.services.system_messages import leave_note
from gateway.deep_links import Refused, is_link, read_link_token
from gateway.inbox import Person, readable
from gateway.telegram_client import address_of
from gateway.telegram_updates import CALLBACK, Incoming, read_update
from gateway.telegram_words import LANGUAGE_BUTTONS, words

log = logging.getLogger(__name__)

CHANNEL = "telegram"
CHOOSE = "/choose_language"  # payload of the buttons that choose a language
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
    """Where updates go in.

    ``shop_names``: the shop's name, by language; ``max_attachment``: bytes of a file; ``a_minute``: how many messages
    of one sender are answered one by one in a minute; ``secret``: signs the links that link an account.
    """

    clock: Callable[[], datetime]
    shop_names: Mapping[str, str] = field(default_factory=dict)
    max_attachment: int = 20 * 1024 * 1024
    a_minute: int = A_MINUTE
    secret: str = field(default="", repr=False)

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

    @property
    def person(self) -> Person:
        return Person(self.session, CHANNEL, self.address, self.now)

    def take(self) -> Afterwards:
        if self.said.kind == "ignored":
            return Afterwards("ignored")
        if self.said.kind == "group":
            return Afterwards("group", decline=(self.said.chat_id, words("no_groups", self.said.language or "zh")))
        done: Afterwards = getattr(self, f"_{self.said.kind}")()
        return done

    def _text(self) -> Afterwards:
        text, cut = readable(self.said.text)
        if text is None:
            return Afterwards("ignored")
        received = self._receive(text)
        if cut and not received.duplicate and not received.held:
            self.person.tell(received, words("cut", received.conversation.language, limit=f"{MESSAGE_LIMIT:,}"))
        return self._to_the_bot(received)

    def _attachment(self) -> Afterwards:
        """What was sent is kept for the desk; the bot reads the words with it, and the customer is told so."""
        caption, _ = readable(self.said.text)
        language = self.person.language(self.said.language)
        received = self._receive(caption or words("attachment", language, kind=self._kind(language)))
        if received.duplicate:
            return Afterwards("attachment")
        conversation = received.conversation
        refused = self._keep(received)
        if not caption:
            received.message.handled_at = self.now
        if conversation.status not in OWNED_BY_HUMANS and not received.held:
            self.person.tell_once(received, self._about(refused, conversation.language))
        return self._to_the_bot(received) if caption else self._shown(received)

    def _keep(self, received: Received) -> str | None:
        """Write down what was sent with a message; why it is refused, if it is."""
        sent, session = self.said.sent, self.session
        if sent is None:
            return None
        if sent.kind == "other":
            leave_note(session, received.conversation, words("note_unknown", received.conversation.language), self.now)
            return None
        if sent.kind in ("location", "contact") or (sent.kind == "sticker" and not sent.file_id):
            attachments.keep_words(session, received.message, kind=sent.kind, name=sent.name, place=sent.place,
                                   now=self.now)
            return None
        if received.message.held == "blocked":
            attachments.refuse_file(session, received.message, kind=sent.kind, name=sent.name,
                                    reason=attachments.BLOCKED, now=self.now)
            return attachments.BLOCKED
        kept = attachments.await_file(session, received.message, kind=sent.kind, name=sent.name, source=sent.file_id,
                                      size=sent.size, limit=self.inbox.max_attachment, now=self.now)
        reason: str | None = kept.reason
        return reason

    def _about(self, refused: str | None, language: str) -> str:
        """What the customer is told of what they sent."""
        if refused == attachments.TOO_LARGE:
            return words("too_large", language, kind=self._kind(language), limit=self.inbox.max_attachment // 2**20)
        return words("not_readable", language, kind=self._kind(language))

    def _command(self) -> Afterwards:
        name, language = self.said.text, self.person.language(self.said.language)
        opened = self.said.argument if name == "start" and is_link(self.said.argument) else None
        said = f"/{name} {'' if opened else self.said.argument}"  # a link's token is for nobody's eyes
        received = self._receive(said.strip()[:MESSAGE_LIMIT])
        if received.duplicate:
            return Afterwards("command")
        received.message.handled_at = self.now
        conversation = received.conversation
        if received.message.held == "blocked":
            return self._shown(received)
        conversation.language = language
        if name == "human":
            self._hand_over(received)
        elif received.held:
            return self._shown(received)
        elif name == "language":
            self._choose_language(received)
        elif opened is not None:
            self._open_link(received, opened)
        else:
            key = "welcome" if name == "start" else "help"
            self.person.tell(received, words(key, language, shop=self.inbox.shop_names.get(language, "Warmline")))
        return self._shown(received)

    def _press(self) -> Afterwards:
        done = Afterwards("press", pressed=(self.said.callback_id, None))
        button = self._button()
        if button is None:
            done.pressed = (self.said.callback_id, words("button_gone", self.person.language(self.said.language)))
            return done
        received = self.person.receive(
            button["title"], f"press:{self.said.callback_id}", payload=button["payload"], language=self.said.language,
            a_minute=self.inbox.a_minute)
        done.conversation_id, done.new = self._shown(received).conversation_id, not received.duplicate
        done.drop_buttons = (self.said.chat_id, self.said.message_id)
        if received.duplicate or received.held or received.message.payload is None:
            return done
        if button["payload"].startswith(CHOOSE):
            self._language_chosen(received, button["payload"][len(CHOOSE) + 1:])
        elif received.conversation.status not in OWNED_BY_HUMANS and received.message.handled_at is None:
            done.typing = self.said.chat_id
        return done

    def _edit(self) -> Afterwards:
        """An edit that overtook its message is the message."""
        text, _ = readable(self.said.text)
        if text is None or self.said.at is None:
            return Afterwards("ignored")
        message = edit_message(
            self.session, channel=CHANNEL, external_id=self.address, channel_message_id=str(self.said.message_id),
            text=text, edited_at=self.said.at, now=self.now)
        if message is not None:
            return Afterwards("edit", message.conversation_id, new=False)
        received = self._receive(text)
        received.message.edited_at = self.said.at
        if not received.duplicate:
            self._keep(received)
        return self._to_the_bot(received)

    def _blocked(self) -> Afterwards:
        identity_id = self.person.identity_id()
        if identity_id is not None:
            note_unreachable(self.session, identity_id, self.now)
        return Afterwards("blocked")

    def _unblocked(self) -> Afterwards:
        identity_id = self.person.identity_id()
        if identity_id is not None:
            note_reachable(self.session, identity_id)
        return Afterwards("unblocked")

    def _receive(self, text: str) -> Received:
        return self.person.receive(text, str(self.said.message_id), language=self.said.language,
                                   a_minute=self.inbox.a_minute)

    def _to_the_bot(self, received: Received) -> Afterwards:
        done = self._shown(received)
        if received.conversation.status not in OWNED_BY_HUMANS and not received.duplicate and not received.held:
            done.typing = self.said.chat_id
        return done

    def _shown(self, received: Received) -> Afterwards:
        """There is nothing to be done at once for what is held back."""
        return Afterwards(self.said.kind, None if received.held else received.conversation.id,
                          new=not received.duplicate)

    def _hand_over(self, received: Received) -> None:
        conversation = received.conversation
        if conversation.status in OWNED_BY_HUMANS:
            if not received.held:
                self.person.tell_once(received, words("with_a_person", conversation.language))
            return
        escalate_conversation(self.session, conversation_id=conversation.id, reason="asked", now=self.now,
                              message_id=received.message.id)

    def _open_link(self, received: Received, token: str) -> None:
        """Link whoever opened a link of the shop's; why it does not is for the log, and the same for all who try."""
        conversation = received.conversation
        vouched = read_link_token(self.inbox.secret, token, self.now)
        customer = None if isinstance(vouched, Refused) else link_once(
            self.session, identity_id=conversation.identity_id, customer_id=vouched.customer_id,
            digest=vouched.digest, now=self.now)
        if customer is not None:
            self.person.tell(received, words("linked", conversation.language, name=customer.name))
            return
        log.warning("a link was refused: %s", vouched.reason if isinstance(vouched, Refused) else "used or not theirs",
                    extra={"conversation_id": conversation.id})
        self.person.tell(received, words("link_refused", conversation.language))

    def _choose_language(self, received: Received) -> None:
        wanted = self.said.argument.lower()
        if wanted in LANGUAGES:
            self._language_chosen(received, wanted)
            return
        buttons = tuple({"title": title, "payload": f"{CHOOSE} {code}"} for title, code in LANGUAGE_BUTTONS)
        self.person.tell(received, words("choose_language", received.conversation.language), buttons)

    def _language_chosen(self, received: Received, language: str) -> None:
        received.message.handled_at = self.now
        received.conversation.language = language
        self.session.get(ChannelIdentity, received.conversation.identity_id).language = language
        self.person.tell(received, words("language_chosen", language))

    def _button(self) -> dict[str, str] | None:
        """The button that was pressed, of a message to this very person."""
        found = _DATA.fullmatch(self.said.text)
        return self.person.button(int(found[1]), int(found[2])) if found else None

    def _kind(self, language: str) -> str:
        return words(f"kind_{self.said.sent.kind if self.said.sent else 'other'}", language)

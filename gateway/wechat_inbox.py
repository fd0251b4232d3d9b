"""Stores what a post of WeChat says, in one transaction with the mark that it was seen."""
from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy.orm import Session

from crm_store.rules.flood import A_MINUTE
from crm_store.rules.text import MESSAGE_LIMIT
from crm_store.services import attachments, wechat
from crm_store.services.delivery import note_unreachable
from crm_store.services.handoff import OWNED_BY_HUMANS
from crm_store.services.messages import Received
from crm_store.services.system_messages import leave_note
from gateway.inbox import Person, readable
from gateway.wechat_client import BUTTONS_AT_MOST, CHANNEL, address_of
from gateway.wechat_posts import Post
from gateway.wechat_words import words

_CHOICE = re.compile(r"[0-9]{3,20}")


@dataclass
class Afterwards:
    """What is to be done when a post is stored.

    Attributes:
        kind: of the post; "duplicate" where it had been stored before.
        conversation_id: whose turn it is.
        new: a message was stored.
        typing: the person to whom an answer is being written.
    """

    kind: str
    conversation_id: int | None = None
    new: bool = False
    typing: str | None = None


@dataclass(frozen=True)
class Inbox:
    """Where posts go in.

    ``shop_names``: the shop's name, by language; ``max_attachment``: bytes of a file; ``a_minute``: how many messages
    of one sender are answered one by one in a minute.
    """

    clock: Callable[[], datetime]
    shop_names: Mapping[str, str] = field(default_factory=dict)
    max_attachment: int = 20 * 1024 * 1024
    a_minute: int = A_MINUTE

    def store(self, session: Session, app_id: str, post: Post) -> Afterwards:
        """Store a post and do what it asks for; the same again changes nothing.

        Args:
            session: the unit of work.
            app_id: which account it came to.
            post: what it says.
        """
        now = self.clock()
        if post.kind == "ignored":
            return Afterwards("ignored")
        if not wechat.store_post(session, app_id, f"{post.sender}:{post.key}", post.kind, now):
            return Afterwards("duplicate")
        person = Person(session, CHANNEL, address_of(app_id, post.sender), now)
        return _Stored(self, person, post).take()


@dataclass
class _Stored:
    inbox: Inbox
    person: Person
    post: Post

    def take(self) -> Afterwards:
        done: Afterwards = getattr(self, f"_{self.post.kind}")()
        return done

    def _text(self) -> Afterwards:
        text, cut = readable(self.post.text)
        if text is None:
            return Afterwards("ignored")
        received = self._receive(text)
        if cut and not received.duplicate and not received.held:
            self.person.tell(received, words("cut", received.conversation.language, limit=f"{MESSAGE_LIMIT:,}"))
        return self._to_the_bot(received)

    def _menu(self) -> Afterwards:
        """A button of the account's own menu: its key, which the shop has chosen, is read as if it was typed."""
        return self._text()

    def _press(self) -> Afterwards:
        """A choice of a menu in a message; of one that was never offered, the words count as words."""
        button = self._button()
        if button is None:
            return self._text()
        return self._to_the_bot(self._receive(button["title"], button["payload"]))

    def _attachment(self) -> Afterwards:
        """What was said by voice is read where WeChat recognised it; all else is kept for agents."""
        said, _ = readable(self.post.text)
        if self.post.attachment == "voice" and said:
            received = self._receive(said)
            if not received.duplicate:
                self._keep(received)
                self._note(received, "note_voice")
            return self._to_the_bot(received)
        language = self.person.language()
        key = "detail" if said else "attachment"
        received = self._receive(words(key, language, kind=self._kind(language), detail=said)[:MESSAGE_LIMIT])
        if received.duplicate:
            return self._shown(received)
        received.message.handled_at = self.person.now
        self._keep(received)
        if self._speaks(received):
            language = received.conversation.language
            self.person.tell_once(received, words("kept_unread", language, kind=self._kind(language)))
        return self._shown(received)

    def _keep(self, received: Received) -> None:
        """Write down what was sent with a message; its file is fetched later."""
        kind, session, now = self.post.attachment, self.person.session, self.person.now
        if kind == "other":
            self._note(received, "note_unknown")
        elif kind == "location":
            attachments.keep_words(session, received.message, kind=kind, name=self.post.text, place=self.post.place,
                                   now=now)
        elif kind != "link" and received.message.held == "blocked":
            attachments.refuse_file(session, received.message, kind=kind, name="", reason=attachments.BLOCKED, now=now)
        elif kind != "link":
            attachments.await_file(session, received.message, kind=kind, name="", source=self.post.media_id, size=None,
                                   limit=self.inbox.max_attachment, now=now)

    def _followed(self) -> Afterwards:
        return self._welcome("followed")

    def _scanned(self) -> Afterwards:
        return self._welcome("scanned")

    def _left(self) -> Afterwards:
        identity_id = self.person.identity_id()
        if identity_id is not None:
            note_unreachable(self.person.session, identity_id, self.person.now)
        return Afterwards("left")

    def _welcome(self, key: str) -> Afterwards:
        language = self.person.language()
        received = self._receive(words(key, language))
        if received.duplicate:
            return self._shown(received)
        received.message.handled_at = self.person.now
        if self._speaks(received):
            received.conversation.language = language
            shop = self.inbox.shop_names.get(language, "Warmline")
            self.person.tell(received, words("welcome", language, shop=shop))
        return self._shown(received)

    def _receive(self, text: str, payload: str | None = None) -> Received:
        return self.person.receive(text, self.post.key, payload=payload, a_minute=self.inbox.a_minute)

    def _to_the_bot(self, received: Received) -> Afterwards:
        done = self._shown(received)
        if received.message.handled_at is None and self._speaks(received):
            done.typing = self.post.sender
        return done

    def _shown(self, received: Received) -> Afterwards:
        """There is nothing to be done at once for what is held back."""
        return Afterwards(self.post.kind, None if received.held else received.conversation.id,
                          new=not received.duplicate)

    def _note(self, received: Received, key: str) -> None:
        leave_note(self.person.session, received.conversation, words(key, received.conversation.language),
                   self.person.now)

    def _speaks(self, received: Received) -> bool:
        """Whether the channel says something of its own: not twice, not to whom is held back, not beside a human."""
        owned = received.conversation.status in OWNED_BY_HUMANS
        return not received.duplicate and not received.held and not owned

    def _button(self) -> dict[str, str] | None:
        if not _CHOICE.fullmatch(self.post.choice):
            return None
        message_id, index = divmod(int(self.post.choice), BUTTONS_AT_MOST)
        return self.person.button(message_id, index) if message_id < 2**63 else None

    def _kind(self, language: str) -> str:
        return words(f"kind_{self.post.attachment}", language)

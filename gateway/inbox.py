"""What channels have in common that people write to: one thing of one person is stored, and answered where it must."""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from crm_store.errors import InvalidMessage
from crm_store.models import ChannelIdentity, Conversation, Message
from crm_store.rules.flood import A_MINUTE
from crm_store.rules.text import MESSAGE_LIMIT, clean_text
from crm_store.services.messages import Received, receive_message
from crm_store.services.system_messages import said_lately, tell_customer


@dataclass(frozen=True)
class Person:
    """One person on one channel, in a unit of work."""

    session: Session
    channel: str
    address: str
    now: datetime

    def receive(self, text: str, channel_message_id: str, *, payload: str | None = None,
                language: str | None = None, a_minute: int = A_MINUTE) -> Received:
        """Store what they wrote or pressed."""
        return receive_message(
            self.session, channel=self.channel, external_id=self.address, text=text, payload=payload,
            channel_message_id=channel_message_id, now=self.now, language_hint=language,
            a_minute=a_minute)

    def tell(self, received: Received, text: str, buttons: Sequence[dict[str, str]] = ()) -> None:
        """Say something; as a reply only where the bot will not write one, whose place it would take."""
        answered = received.message.handled_at is not None
        tell_customer(self.session, received.conversation, text, self.now, buttons=buttons,
                      in_reply_to_id=received.message.id if answered else None)
        self.session.flush()

    def tell_once(self, received: Received, text: str) -> None:
        """Say something unless it was just said."""
        if not said_lately(self.session, received.conversation.id, text, self.now):
            self.tell(received, text)

    def button(self, message_id: int, index: int) -> dict[str, str] | None:
        """A button of a message to this very person; None where there is no such thing."""
        identity_id = self.identity_id()
        if identity_id is None:
            return None
        buttons = self.session.execute(
            select(Message.buttons).where(Message.id == message_id, Message.identity_id == identity_id,
                                          Message.direction == "outgoing")).scalar_one_or_none()
        return dict(buttons[index]) if buttons and index < len(buttons) else None

    def identity_id(self) -> int | None:
        """Who they are in the store, if anybody."""
        found: int | None = self.session.execute(
            select(ChannelIdentity.id).where(ChannelIdentity.channel == self.channel,
                                             ChannelIdentity.external_id == self.address)).scalar_one_or_none()
        return found

    def language(self, otherwise: str | None = None) -> str:
        """What they chose, else what they speak in the present conversation, else what the channel says, else "zh"."""
        known = self.session.execute(
            select(ChannelIdentity.language, Conversation.language)
            .outerjoin(Conversation, Conversation.identity_id == ChannelIdentity.id)
            .where(ChannelIdentity.channel == self.channel, ChannelIdentity.external_id == self.address)
            .order_by(Conversation.id.desc()).limit(1)).one_or_none()
        chosen, spoken = known or (None, None)
        return str(chosen or spoken or otherwise or "zh")


def readable(text: str) -> tuple[str | None, bool]:
    """A text as it can be stored, and whether it had to be cut; None where nothing readable is left."""
    try:
        return clean_text(text), False
    except InvalidMessage as error:
        if error.data["reason"] != "too_long":
            return None, False
    return clean_text(clean_text(text, len(text) * 4)[:MESSAGE_LIMIT]), True

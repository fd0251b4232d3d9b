"""Changes a stored message as the customer changed it on their channel."""
from __future__ import annotations

from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from crm_store.models import ChannelIdentity, Message
from crm_store.rules.text import clean_text
from crm_store.services.locking import lock_conversation
from crm_store.services.system_messages import leave_note
from crm_store.wording import say


def edit_message(session: Session, *, channel: str, external_id: str, channel_message_id: str, text: str,
                 edited_at: datetime, now: datetime) -> Message | None:
    """Change what a customer's message says, mark it and keep what it said before in a note.

    It is not answered anew: a bot or agent who has not come to it yet answers what it says now. An edit that is older
    than the last one changes nothing.

    Args:
        session: the unit of work.
        channel: such as "telegram".
        external_id: the sender's id on the channel.
        channel_message_id: the channel's id of the message.
        text: what it says now.
        edited_at: when the channel says it was edited.
        now: when.

    Returns:
        The message, also where nothing had to change; None where it was never stored.

    Raises:
        InvalidMessage: the text is empty or too long.
    """
    text = clean_text(text)
    found = session.execute(
        select(Message.id, Message.conversation_id)
        .join(ChannelIdentity, ChannelIdentity.id == Message.identity_id)
        .where(ChannelIdentity.channel == channel, ChannelIdentity.external_id == external_id,
               Message.channel_message_id == channel_message_id, Message.direction == "incoming")).one_or_none()
    if found is None:
        return None
    conversation = lock_conversation(session, found.conversation_id)
    message: Message = session.get(Message, found.id, populate_existing=True)
    if text == message.text or (message.edited_at is not None and edited_at < message.edited_at):
        return message
    leave_note(session, conversation, say("note_edited", conversation.language, text=message.text), now)
    message.text, message.edited_at = text, edited_at
    session.flush()
    return message

"""Takes the answer to "do you want this or that?" back to the message that was asked about."""
from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from rasa.shared.core.events import BotUttered, Event, UserUttered

from bot.nlu.intent_model import SETTLED
from crm_store.database import Store
from crm_store.models import Message

ABOUT = "about"  # what of a button's payload holds the id of the message that was asked about
FIRST = re.compile(r"(选)?(第?[一1]个?|前者|前一?个|前面(那个|的)?)|(the )?(first|former|1st|one)( one)?")
SECOND = re.compile(r"(选)?(第?[二2]个?|后者|后一?个|后面(那个|的)?)|(the )?(second|latter|2nd|two)( one)?")


@dataclass(frozen=True)
class Option:
    """One of the intents a customer was asked to choose from.

    Attributes:
        intent: its name.
        about: the id of the message that was asked about.
        title: what its button says.
    """

    intent: str
    about: int
    title: str = ""

    @classmethod
    def of(cls, payload: str | None, title: str = "") -> Option | None:
        """The option behind a button's payload, ``/intent{"about": 17}``; None where it is another button."""
        intent, brace, details = (payload or "").partition("{")
        try:
            about = json.loads(brace + details)[ABOUT]
        except (ValueError, KeyError):
            return None
        return cls(intent.strip().lstrip("/"), about, title) if type(about) is int else None


@dataclass(frozen=True)
class Choice:
    """What a customer chose.

    Attributes:
        option: what.
        words: what their message adds to the one asked about; nothing where it only chooses.
    """

    option: Option
    words: str = ""


@dataclass(frozen=True)
class Original:
    """The message that was asked about: its text and what was understood of it."""

    text: str
    language: str | None
    entities: Sequence[Mapping[str, Any]]


def choice_in(payload: str | None, read: Mapping[str, Any], before: Iterable[Event]) -> Choice | None:
    """What a message chooses, by a button of any age or in words right behind the question; None where it does not.

    Words choose by the button's title, by first and second, or by meaning one of the two. A mere yes takes the first,
    which is the likelier one.

    Args:
        payload: of the button that was pressed, or None.
        read: what was read of the message.
        before: the events of the conversation before it.
    """
    text, intent = str(read["text"]), (read.get("intent") or {}).get("name")
    if payload is not None:
        pressed = Option.of(payload)
        return Choice(pressed) if pressed is not None and pressed.intent == intent else None
    options = options_offered(before)
    if not options:
        return None
    said = tidy(text)
    for option, place in zip(options, (FIRST, SECOND), strict=False):
        if said == tidy(option.title) or place.fullmatch(said):
            return Choice(option)
    if intent == "affirm":
        return Choice(options[0])
    return next((Choice(option, text) for option in options if option.intent == intent), None)


def options_offered(events: Iterable[Event]) -> list[Option]:
    """What the bot's answer to the newest of these messages gave to choose from."""
    options: list[Option] = []
    for event in reversed(list(events)):
        if isinstance(event, UserUttered):
            break
        if isinstance(event, BotUttered):
            buttons = (event.data or {}).get("buttons") or []
            options += [option for button in buttons if (option := Option.of(button["payload"], button["title"]))]
    return options


def tidy(text: str) -> str:
    """A short text without differences of width and case, and without the punctuation around it."""
    return unicodedata.normalize("NFKC", text).casefold().strip(" \t\n.。!！?？,，、~“”\"'")


def message_asked_about(store: Store, conversation_id: int, message_id: int) -> Original | None:
    """The message as the store keeps it, or None where this conversation has no such one that was understood."""
    with store.read() as session:
        row = session.execute(sa.select(Message.text, Message.understood).where(
            Message.id == message_id, Message.conversation_id == conversation_id,
            Message.direction == "incoming")).one_or_none()
    if row is None or row.understood is None:
        return None
    return Original(row.text, row.understood.get("language"), row.understood.get("entities") or [])


def taken_up(read: Mapping[str, Any], choice: Choice, original: Original) -> dict[str, Any]:
    """What the dialogue goes on with: the original message as if it had said what was chosen.

    Words of the answer stand before the original's, and their details win over the original's of the same type. The
    emotion is the answer's own: the original's has been counted. The confidence is not a button's, because the text is
    the customer's.
    """
    intent = {"name": choice.option.intent, "confidence": SETTLED}
    own = list(read.get("entities") or []) if choice.words else []
    known = {entity["entity"] for entity in own}
    # Their places were in another text.
    more = [{**entity, "start": 0, "end": 0} for entity in original.entities if entity["entity"] not in known]
    return {**read, "text": f"{choice.words}\n{original.text}".strip(), "intent": intent, "intent_ranking": [intent],
            "entities": [*own, *more], "language": read["language"] if choice.words else original.language}

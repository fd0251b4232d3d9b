"""Reads updates of the Telegram Bot API, however incomplete: nothing here trusts a field to be there or of its kind."""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any, TypeGuard

BIGGEST_ID = 2**63 - 1
LATEST = 253_402_300_799  # seconds; the end of year 9999
ATTACHMENTS = ("photo", "voice", "animation", "video", "video_note", "audio", "document", "sticker", "venue",
               "location", "contact")  # the first one found: an animation has a document too
SAME_KIND = {"video_note": "video", "venue": "location"}
SERVICE = ("pinned_message", "message_auto_delete_timer_changed", "write_access_allowed", "proximity_alert_triggered",
           "chat_background_set", "refunded_payment", "boost_added")
CALLBACK = "b:"


@dataclass(frozen=True)
class Enclosure:
    """What was sent besides words.

    Attributes:
        kind: such as "photo"; "other" where it is of no kind that is kept.
        name: what the sender calls it, if anything.
        file_id: what Telegram calls its file; empty where there is none to fetch.
        size: bytes, as far as Telegram tells.
        place: latitude and longitude.
    """

    kind: str
    name: str = ""
    file_id: str = ""
    size: int | None = None
    place: tuple[float, float] | None = None


@dataclass(frozen=True)
class Incoming:
    """What one update says.

    ``kind``: "text", "command", "attachment", "edit", "press", "blocked", "unblocked", "group" or "ignored".

    Attributes:
        chat_id: where it was said; answers go there.
        message_id: the message's id in that chat.
        text: what was written, the caption, the command's name or the data of a button.
        argument: what follows a command.
        sent: what was sent with or instead of text.
        callback_id: asks for an answer to a button's press.
        language: the person's, as far as it is known: "zh" or "en".
        at: when it was edited.
    """

    kind: str
    chat_id: int = 0
    message_id: int = 0
    text: str = ""
    argument: str = ""
    sent: Enclosure | None = None
    callback_id: str = ""
    language: str | None = None
    at: datetime | None = None


IGNORED = Incoming("ignored")


def update_id_of(update: Any) -> int | None:
    """The update's id, or None where it has none."""
    return _id(_object(update), "update_id", least=0)


def read_update(update: Any) -> Incoming:
    """What an update says; "ignored" where it is of no kind that is served, or makes no sense."""
    update = _object(update)
    for name, read in (("message", _message), ("edited_message", _edit), ("callback_query", _press),
                       ("my_chat_member", _membership)):
        if isinstance(update.get(name), Mapping):
            return read(update[name])
    return IGNORED


def _message(message: Mapping[str, Any]) -> Incoming:
    chat, message_id = _object(message.get("chat")), _id(message, "message_id", least=1)
    chat_id = _id(chat, "id")
    if chat_id is None or message_id is None or _object(message.get("from")).get("is_bot") is True:
        return IGNORED
    language = _language(message)
    text = message.get("text")
    if chat.get("type") != "private":
        added = isinstance(message.get("group_chat_created"), bool)
        asked = isinstance(text, str) and text.startswith("/")
        return Incoming("group", chat_id, message_id, language=language) if asked or added else IGNORED
    if isinstance(text, str):
        command, _, argument = text.partition(" ")
        name = command[1:].partition("@")[0].lower()
        if command.startswith("/") and name in ("start", "help", "human", "language"):
            return Incoming("command", chat_id, message_id, name, argument.strip(), language=language)
        return Incoming("text", chat_id, message_id, text, language=language)
    if any(name in message for name in SERVICE):
        return IGNORED
    caption = message.get("caption")
    return Incoming("attachment", chat_id, message_id, caption if isinstance(caption, str) else "",
                    sent=_sent(message), language=language)


def _sent(message: Mapping[str, Any]) -> Enclosure:
    """What a message carries; of a photo the largest size."""
    found = next((name for name in ATTACHMENTS if message.get(name)), "other")
    kind, value = SAME_KIND.get(found, found), message.get(found)
    if found == "photo":
        sizes = [_object(each) for each in value] if isinstance(value, list) else []
        value = max(sizes, key=lambda size: (_count(size, "width") or 0) * (_count(size, "height") or 0), default=None)
    thing = _object(value)
    if kind in ("location", "contact", "other"):
        return Enclosure(kind, _name(kind, thing), place=_place(_object(thing.get("location")) or thing))
    if kind == "sticker" and thing.get("is_animated") is True:  # a drawing in a format of Telegram's own
        return Enclosure(kind, _name(kind, thing))
    file_id = thing.get("file_id")
    return Enclosure(kind, _name(kind, thing), file_id if isinstance(file_id, str) else "", _count(thing, "file_size"))


def _name(kind: str, thing: Mapping[str, Any]) -> str:
    fields = {"contact": ("first_name", "last_name", "phone_number"), "sticker": ("emoji",), "location": ("title",)}
    said = (thing.get(field) for field in fields.get(kind, ("file_name",)))
    return " ".join(each for each in said if isinstance(each, str) and each)


def _place(thing: Mapping[str, Any]) -> tuple[float, float] | None:
    """Where on the earth, None where it is nowhere."""
    latitude, longitude = (thing.get(name) for name in ("latitude", "longitude"))
    if not all(isinstance(each, (int, float)) and not isinstance(each, bool) for each in (latitude, longitude)):
        return None
    assert latitude is not None and longitude is not None
    on_earth = -90 <= latitude <= 90 and -180 <= longitude <= 180
    return (float(latitude), float(longitude)) if on_earth else None


def _edit(message: Mapping[str, Any]) -> Incoming:
    read = _message(message)
    edited = message.get("edit_date")
    if read.kind not in ("text", "command", "attachment") or not _is_int(edited) or not 0 < edited <= LATEST:
        return IGNORED
    written = message.get("text") if isinstance(message.get("text"), str) else read.text
    return Incoming("edit", read.chat_id, read.message_id, str(written), sent=read.sent,
                    language=read.language, at=datetime.fromtimestamp(edited, timezone.utc))


def _press(query: Mapping[str, Any]) -> Incoming:
    message = _object(query.get("message"))
    chat, callback_id, data = _object(message.get("chat")), query.get("id"), query.get("data")
    chat_id, message_id = _id(chat, "id"), _id(message, "message_id", least=1)
    person = _id(_object(query.get("from")), "id")
    if chat_id is None or message_id is None or not isinstance(callback_id, str) or not isinstance(data, str):
        return IGNORED
    if chat.get("type") != "private" or person != chat_id or not 0 < len(callback_id) <= 100:
        return IGNORED
    return Incoming("press", chat_id, message_id, data, callback_id=callback_id, language=_language(query))


def _membership(change: Mapping[str, Any]) -> Incoming:
    chat, status = _object(change.get("chat")), _object(change.get("new_chat_member")).get("status")
    chat_id = _id(chat, "id")
    if chat_id is None:
        return IGNORED
    if chat.get("type") == "private":
        kind = {"kicked": "blocked", "member": "unblocked"}.get(str(status))
        return Incoming(kind, chat_id) if kind else IGNORED
    arrived = status in ("member", "administrator") and chat.get("type") in ("group", "supergroup")
    return Incoming("group", chat_id, language=_language(change)) if arrived else IGNORED


def _language(said: Mapping[str, Any]) -> str | None:
    code = _object(said.get("from")).get("language_code")
    if not isinstance(code, str) or not code:
        return None
    return "zh" if code.lower().startswith("zh") else "en"


def _object(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _is_int(value: Any) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)


def _id(holder: Mapping[str, Any], name: str, least: int = -BIGGEST_ID) -> int | None:
    value = holder.get(name)
    return value if _is_int(value) and least <= value <= BIGGEST_ID else None


def _count(holder: Mapping[str, Any], name: str) -> int | None:
    return _id(holder, name, least=0)

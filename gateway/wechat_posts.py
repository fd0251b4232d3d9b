"""Reads what WeChat posts, however incomplete: nothing here trusts a field to be there or of its kind."""
from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

OPEN_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
DEGREES = re.compile(r"-?[0-9]{1,3}(\.[0-9]{1,20})?")
NUMBER = re.compile(r"[0-9]{1,20}")
ATTACHMENTS = {"image": "photo", "voice": "voice", "video": "video", "shortvideo": "video", "file": "document",
               "location": "location", "link": "link"}
EVENTS = {"subscribe": "followed", "unsubscribe": "left", "scan": "scanned", "click": "menu"}


@dataclass(frozen=True)
class Post:
    """What one post says.

    ``kind``: "text", "press", "attachment", "menu", "followed", "scanned", "left" or "ignored".

    Attributes:
        key: the same when the same post comes again.
        sender: the person's OpenID.
        text: what was written, recognised or pressed; what a link or a place says.
        attachment: what was sent instead of text.
        media_id: what WeChat calls the file of it.
        place: latitude and longitude.
        choice: of the menu in a message that was pressed.
    """

    kind: str
    key: str = ""
    sender: str = ""
    text: str = ""
    attachment: str = ""
    media_id: str = ""
    place: tuple[float, float] | None = None
    choice: str = ""


IGNORED = Post("ignored")


def read_post(content: Mapping[str, Any]) -> Post:
    """What a post says; "ignored" where it is of no kind that is served, or makes no sense."""
    sender, kind = _text(content, "FromUserName"), _text(content, "MsgType").lower()
    if not OPEN_ID.fullmatch(sender) or not kind:
        return IGNORED
    if kind == "event":
        return _event(content, sender)
    key = _text(content, "MsgId")
    if not NUMBER.fullmatch(key):
        return IGNORED
    if kind == "text":
        choice = _text(content, "bizmsgmenuid")
        return Post("press" if choice else "text", key, sender, _text(content, "Content"), choice=choice)
    return Post("attachment", key, sender, _said(kind, content), attachment=ATTACHMENTS.get(kind, "other"),
                media_id=_text(content, "MediaId"), place=_place(content) if kind == "location" else None)


def _event(content: Mapping[str, Any], sender: str) -> Post:
    """An event has no id: who, when and what is the same when it comes again."""
    name, argument, at = (_text(content, field) for field in ("Event", "EventKey", "CreateTime"))
    kind = EVENTS.get(name.lower())
    if kind is None or not NUMBER.fullmatch(at) or (kind == "menu" and not argument.strip()):
        return IGNORED
    key = f"event:{at}:{name.lower()}" + (f":{sha256(argument.encode()).hexdigest()[:16]}" if kind == "menu" else "")
    return Post(kind, key, sender, argument if kind == "menu" else "")


def _said(kind: str, content: Mapping[str, Any]) -> str:
    fields = {"voice": ("Recognition",), "location": ("Label",), "link": ("Title", "Url")}.get(kind, ())
    return " ".join(said for field in fields if (said := _text(content, field)))


def _place(content: Mapping[str, Any]) -> tuple[float, float] | None:
    """Where on the earth; None where it is nowhere."""
    latitude, longitude = _text(content, "Location_X"), _text(content, "Location_Y")
    if not (DEGREES.fullmatch(latitude) and DEGREES.fullmatch(longitude)):
        return None
    on_earth = abs(float(latitude)) <= 90 and abs(float(longitude)) <= 180
    return (float(latitude), float(longitude)) if on_earth else None


def _text(content: Mapping[str, Any], field: str) -> str:
    value = content.get(field)
    return value if isinstance(value, str) else ""

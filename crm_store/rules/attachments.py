"""What a file is by its content, and a name for it that is safe to show and to save under.

Nothing the sender says of a file is believed: its type is read from its first bytes, and the end of its name follows
from the type. What a browser or a double click would run (HTML, SVG, XML, scripts with a mark, programs) is of no type
here and is refused; see docs/adr/0018.
"""
from __future__ import annotations

import codecs
import re
from dataclasses import dataclass

import filetype

from crm_store.errors import InvalidMessage
from crm_store.rules.text import clean_text

HEAD = 8192  # bytes of a file that its type is read from
NAME_LIMIT = 60  # characters before the dot: of any script they fit the 255 bytes of a file system
# Whatever a file is, a browser saves it and runs nothing in it; only <img> shows what is proven to be a picture.
DOWNLOAD_HEADERS = {
    "Content-Security-Policy": "sandbox; default-src 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff", "Cache-Control": "private, no-store",
    "Cross-Origin-Resource-Policy": "same-origin",
}
SHOWN = ("image/jpeg", "image/png", "image/gif", "image/webp")
OFFICE = "application/vnd.openxmlformats-officedocument."
OPEN_DOCUMENT = "application/vnd.oasis.opendocument."
ENDS = {
    "image/jpeg": ("jpg", "jpeg", "jpe", "jfif"), "image/png": ("png",), "image/gif": ("gif",), "image/webp": ("webp",),
    "image/heic": ("heic", "heif"), "image/bmp": ("bmp",), "image/tiff": ("tif", "tiff"),
    "application/pdf": ("pdf",), "text/plain": ("txt",),
    "audio/mpeg": ("mp3",), "audio/mp4": ("m4a",), "audio/ogg": ("ogg", "oga", "opus"), "audio/aac": ("aac",),
    "audio/x-wav": ("wav",), "audio/x-flac": ("flac",), "audio/amr": ("amr",),
    "video/mp4": ("mp4",), "video/x-m4v": ("m4v",), "video/quicktime": ("mov",), "video/webm": ("webm",),
    "video/3gpp": ("3gp",), "video/x-matroska": ("mkv",), "video/x-msvideo": ("avi",), "video/mpeg": ("mpg", "mpeg"),
    "application/zip": ("zip",), "application/msword": ("doc",), "application/vnd.ms-excel": ("xls",),
    "application/vnd.ms-powerpoint": ("ppt",), f"{OFFICE}wordprocessingml.document": ("docx",),
    f"{OFFICE}spreadsheetml.sheet": ("xlsx",), f"{OFFICE}presentationml.presentation": ("pptx",),
    f"{OPEN_DOCUMENT}text": ("odt",), f"{OPEN_DOCUMENT}spreadsheet": ("ods",), f"{OPEN_DOCUMENT}presentation": ("odp",),
}
_PATH = re.compile(r"[/\\:／＼∕⁄：]")
_UNFIT = re.compile(r'[<>"|?*\x00-\x1f\s]+')
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d|conin\$|conout\$|clock\$)", re.IGNORECASE)
_CONTROLS = re.compile(r"[\x00-\x08\x0e-\x1a\x1c-\x1f\x7f]")
_MARKUP = re.compile(
    r"\s*(<[!?a-z/]|#!|%!|@echo)|<(!doctype|\?xml|html|head|body|script|svg|iframe|object|embed|img)\b", re.IGNORECASE)
_BYTE_ORDER_MARKS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))


@dataclass(frozen=True)
class Content:
    """What a file is. ``kind`` is "photo", "audio", "video" or "document"; ``end`` is how its name ends."""

    media_type: str
    kind: str
    end: str


def content_of(head: bytes) -> Content | None:
    """What a file is whose first ``HEAD`` bytes these are; None where it is of no type that is accepted."""
    if not head:
        return None
    found = filetype.guess(bytes(head[:HEAD]))
    media_type = found.mime if found is not None else "text/plain" if _is_harmless_text(head[:HEAD]) else ""
    if media_type not in ENDS:
        return None
    group = media_type.partition("/")[0]
    kind = "photo" if media_type in SHOWN else group if group in ("audio", "video") else "document"
    return Content(media_type, kind, ENDS[media_type][0])


def is_image(media_type: str) -> bool:
    """Whether a browser may show it as a picture."""
    return media_type in SHOWN


def safe_name(raw: object, otherwise: str, media_type: str | None = None) -> str:
    """A file's name as it is stored, shown and saved under: never a path, nothing invisible, one dot at most.

    With the type known the name ends as the type does, whatever it said: ``a.php.jpg`` becomes ``a_php.jpg``, a script
    that reads as text ``run_js.txt``. Doing it twice changes nothing.

    Args:
        raw: what the sender called it.
        otherwise: the name where nothing of it can be used.
        media_type: what :func:`content_of` found; None while it is not known.
    """
    name = _UNFIT.sub(" ", _PATH.split(_cleaned(raw))[-1]).strip(" .")
    stem, end = _parted(name, media_type)
    stem = stem.replace(".", "_").strip(" .")[:NAME_LIMIT].rstrip(" .") or otherwise
    stem = f"_{stem}" if _RESERVED.fullmatch(stem) else stem
    return f"{stem}.{end}" if end else stem


def _parted(name: str, media_type: str | None) -> tuple[str, str]:
    """A name before and after the dot that counts."""
    before, dot, after = name.rpartition(".")
    if media_type is None:
        plain = dot and re.fullmatch(r"[A-Za-z0-9]{1,8}", after)
        return (before, after.lower()) if plain else (name, "")
    ends = ENDS[media_type]
    return (before if dot and after.lower() in ends else name), ends[0]


def _cleaned(raw: object) -> str:
    if not isinstance(raw, str):
        return ""
    seen = "".join(sign if sign.isprintable() else " " if sign.isspace() else "" for sign in raw[:2000])
    try:
        return clean_text(seen, 10_000)
    except InvalidMessage:
        return ""


def _is_harmless_text(head: bytes) -> bool:
    """Whether it reads as text without anything that a browser or a shell would take for its own."""
    encodings = [name for mark, name in _BYTE_ORDER_MARKS if head.startswith(mark)] or ["utf-8", "gb18030"]
    for encoding in encodings:
        try:  # what is cut at the end of the head is no mistake
            text = codecs.getincrementaldecoder(encoding)().decode(head)
        except UnicodeDecodeError:
            continue
        return not _CONTROLS.search(text) and not _MARKUP.search(text) and bool(text.strip())
    return False

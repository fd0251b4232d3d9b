"""What the desk is given by whoever wires it."""
from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from starlette.requests import HTTPConnection

from crm_store.attachment_files import AttachmentFiles
from crm_store.database import Store
from crm_store.live import Broadcast
from crm_store.services.eraser import Eraser


@dataclass(frozen=True)
class DeskDeps:
    """The desk's surroundings.

    Attributes:
        store: the CRM store.
        broadcast: live topics of this process.
        nudge: tells the process that something was committed; called on the event loop only.
        clock: the time, aware and in UTC.
        files: what customers sent besides words.
        secure_cookies: send the session cookie over HTTPS only.
        trusted_proxy: address of the reverse proxy whose X-Forwarded-* headers are believed; none when empty.
        mail: whether notices can be sent by e-mail.
        eraser: carries erasures out at once; without it they wait for the service.
        uploads: where files of the shop lie until they are stored.
        examples: gives what the next training learns from people, the text of each file by its name.
    """

    store: Store
    broadcast: Broadcast
    nudge: Callable[[], None]
    clock: Callable[[], datetime]
    files: AttachmentFiles
    secure_cookies: bool = False
    trusted_proxy: str = ""
    mail: bool = False
    uploads: Path = Path("var/exchange")
    examples: Callable[[], Mapping[str, str]] = dict
    eraser: Eraser | None = None


def deps_of(connection: HTTPConnection) -> DeskDeps:
    """The surroundings that :func:`desk.app.mount_desk` left on the application."""
    deps: DeskDeps = connection.app.state.desk
    return deps

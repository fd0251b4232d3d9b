"""What the desk is given by whoever wires it."""
from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

from starlette.requests import HTTPConnection

from crm_store.database import Store
from crm_store.live import Broadcast


@dataclass(frozen=True)
class DeskDeps:
    """The desk's surroundings.

    Attributes:
        store: the CRM store.
        broadcast: live topics of this process.
        nudge: tells the process that something was committed; called on the event loop only.
        clock: the time, aware and in UTC.
        secure_cookies: send the session cookie over HTTPS only.
        trusted_proxy: address of the reverse proxy whose X-Forwarded-* headers are believed; none when empty.
        mail: whether notices can be sent by e-mail.
        examples: gives what the next training learns from people, the text of each file by its name.
    """

    store: Store
    broadcast: Broadcast
    nudge: Callable[[], None]
    clock: Callable[[], datetime]
    secure_cookies: bool = False
    trusted_proxy: str = ""
    mail: bool = False
    examples: Callable[[], Mapping[str, str]] = dict


def deps_of(connection: HTTPConnection) -> DeskDeps:
    """The surroundings that :func:`desk.app.mount_desk` left on the application."""
    deps: DeskDeps = connection.app.state.desk
    return deps

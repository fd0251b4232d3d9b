"""What the gateway is given by whoever wires it."""
from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from crm_store.attachment_files import AttachmentFiles
from crm_store.database import Store
from crm_store.live import Broadcast
from gateway.bell import Bell
from gateway.bot_client import BotClient
from gateway.transactions import Transactions

SHOP_NAMES = {"zh": "暖家客服", "en": "Nuanjia Home"}


@dataclass(frozen=True)
class GatewayDeps:
    """The gateway's surroundings.

    Attributes:
        store: the CRM store.
        broadcast: live topics of this process.
        nudge: wakes the watcher of the store; ring the ``bell`` after a commit, which does it with measure.
        clock: the time, aware and in UTC.
        bot: the door of the dialogue engine.
        secret: signs the links that sign a customer in.
        http_token: bearer token of the HTTP channel; nobody gets in when empty.
        files: what customers sent besides words.
        http_rate: messages a minute of one sender of the HTTP channel.
        chat_rate: messages a minute of one visitor of the web chat.
        bot_timeout: seconds to wait for the bot before a message is answered later.
        dispatch_workers: conversations that are with the bot at once.
        secure_cookies: send cookies over HTTPS only.
        trusted_proxy: address of the reverse proxy whose X-Forwarded-For is believed; none when empty.
        max_body: bytes of a request body; 4,000 characters take at most 48,000 when each is escaped.
        widget_origins: sites on whose pages the chat may stand in a frame; none but our own when empty.
        widget_secret: the shop's servers sign with it whom they vouch for; nobody is believed when empty.
        max_attachment: bytes of such a file.
        shop_names: the name at the head of the chat, by language.
    """

    store: Store
    broadcast: Broadcast
    nudge: asyncio.Event
    clock: Callable[[], datetime]
    bot: BotClient
    secret: str = field(repr=False)
    http_token: str = field(repr=False)
    files: AttachmentFiles
    http_rate: int = 120
    chat_rate: int = 30
    bot_timeout: float = 10.0
    dispatch_workers: int = 16
    secure_cookies: bool = False
    trusted_proxy: str = ""
    max_body: int = 64 * 1024
    widget_origins: Sequence[str] = ()
    widget_secret: str = field(default="", repr=False)
    max_attachment: int = 20 * 1024 * 1024
    shop_names: Mapping[str, str] = field(default_factory=lambda: dict(SHOP_NAMES))
    transactions: Transactions = field(init=False, repr=False)
    bell: Bell = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "transactions", Transactions(self.store))
        object.__setattr__(self, "bell", Bell(self.nudge))

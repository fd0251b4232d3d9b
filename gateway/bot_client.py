"""Knocks at the bot's door: one message in, its replies and what was understood out.

This is the hottest request of the service: aiohttp, which Rasa brings along, takes a tenth of the processor time that
httpx takes for it.

BotError
├── BotUnreachable    nothing answered, or it answered that it cannot now: the same message may be tried again
└── BotRefused        it will never take this message
"""
from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp

from crm_store.services.dispatch import Reply, Turn, Understood

DOOR = "/webhooks/warmline/messages"
CONNECT_TIMEOUT = 2.0
CONNECTIONS = 64
KEEP_ALIVE = 4.0  # seconds, less than the bot's server keeps an idle connection open


class BotError(Exception):
    """The bot did not take a message."""


class BotUnreachable(BotError):
    """The bot could not be reached or cannot answer now."""


class BotRefused(BotError):
    """The bot does not accept this message, however often it is sent."""


@dataclass(frozen=True)
class BotAnswer:
    """What the bot says to a message, and what it read in it."""

    replies: tuple[Reply, ...] = ()
    understood: Understood | None = None


class BotClient:
    """The bot behind its address, over connections that are kept open."""

    def __init__(self, url: str, token: str, timeout: float) -> None:
        """Connect at the first turn.

        Args:
            url: base URL of the dialogue engine.
            token: shown as bearer token.
            timeout: seconds until an answer counts as not coming.
        """
        self._url = url.rstrip("/") + DOOR
        self._headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        self._timeout = aiohttp.ClientTimeout(total=timeout, sock_connect=min(timeout, CONNECT_TIMEOUT))
        self._session: aiohttp.ClientSession | None = None

    async def take_turn(self, turn: Turn) -> BotAnswer:
        """Hand a message over and wait for the answer. The same message again gets the same answer.

        Raises:
            BotUnreachable: connection refused or lost, timeout, an answer of 5xx or 401, or one nobody can read.
            BotRefused: any other answer of 4xx.
        """
        asked = json.dumps({
            "conversation_id": turn.conversation_id, "message_id": turn.message_id, "text": turn.text,
            "payload": turn.payload, "mode": turn.mode, "context": turn.context}).encode()
        try:
            status, told = await self._post(asked)
        except asyncio.TimeoutError as error:
            raise BotUnreachable("the bot did not answer in time") from error
        except aiohttp.ClientError as error:
            raise BotUnreachable(f"the bot cannot be reached ({type(error).__name__})") from error
        if status == 401:
            raise BotUnreachable("the bot does not accept our token; WARMLINE_BOT_TOKEN differs between processes")
        if 400 <= status < 500 and status not in (408, 425, 429):
            raise BotRefused(f"the bot answered {status}")
        if status != 200:
            raise BotUnreachable(f"the bot answered {status}")
        try:
            return _answer(json.loads(told))
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise BotUnreachable("the bot's answer cannot be read") from error

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()

    async def _post(self, body: bytes) -> tuple[int, bytes]:
        if self._session is None or self._session.closed:
            self._session = aiohttp.ClientSession(
                headers=self._headers, timeout=self._timeout,
                connector=aiohttp.TCPConnector(limit=CONNECTIONS, keepalive_timeout=KEEP_ALIVE))
        for last in (False, True):
            try:
                async with self._session.post(self._url, data=body, allow_redirects=False) as response:
                    return response.status, await response.read()
            except aiohttp.ServerDisconnectedError:  # an idle connection that was just closed; twice is harmless
                if last:
                    raise
        raise AssertionError("unreachable")


def _answer(body: Mapping[str, Any]) -> BotAnswer:
    replies = tuple(
        Reply(_text(reply["text"]), [{"title": _text(b["title"]), "payload": _text(b["payload"])}
                                     for b in reply.get("buttons") or ()])
        for reply in body["replies"])
    told = body.get("understood")
    if told is None:
        return BotAnswer(replies)
    sentiment = told.get("sentiment") or {}
    return BotAnswer(replies, Understood(
        intent=told.get("intent"), confidence=told.get("confidence"), language=told.get("language"),
        anger=sentiment.get("anger"), valence=sentiment.get("valence"),
        entities=tuple(told.get("entities") or ()), articles=tuple(told.get("articles") or ()),
        ranking=tuple(map(str, told.get("ranking") or ()))))


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("a text is expected")
    return value

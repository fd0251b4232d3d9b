"""Speaks to the Telegram Bot API: sends, answers, polls, and tells from an error what became of a message.

The token is part of every address at Telegram. Nothing here logs an address or an exception's text that may hold one.
"""
from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any
from urllib.parse import quote

import httpx
from telegram import Bot, BotCommand, InlineKeyboardButton, InlineKeyboardMarkup, LinkPreviewOptions
from telegram.constants import ChatAction
from telegram.error import (
    BadRequest,
    ChatMigrated,
    Conflict,
    Forbidden,
    InvalidToken,
    NetworkError,
    TelegramError,
    TimedOut,
)
from telegram.error import RetryAfter as TelegramRetryAfter
from telegram.request import HTTPXRequest

from crm_store.attachment_files import Writing
from crm_store.errors import FileTooLarge
from crm_store.services.delivery import Parcel
from gateway.channel import NotSent, Outcome, Refused, RetryAfter, Sent, Unknown, Unreachable
from gateway.channel_files import NotFetched
from gateway.delivery import Pace
from gateway.pieces import split_text as split_by
from gateway.telegram_updates import CALLBACK
from gateway.telegram_words import words

logging.getLogger("telegram.request.BaseRequest").setLevel(logging.CRITICAL)  # logs answers that it cannot read whole

OFFICIAL_API = "https://api.telegram.org"
PIECE_LIMIT = 4096  # UTF-16 units
PER_SECOND, BETWEEN_SECONDS = 30.0, 1.0
SEND_SECONDS, CONNECT_SECONDS, TROUBLE_SECONDS = 20.0, 5.0, 5.0
POLL_SECONDS, POLL_SPARE_SECONDS = 25, 10.0
LONGEST_WAIT, FILE_WAIT = 3600.0, 5.0
ALLOWED_UPDATES = ("message", "edited_message", "callback_query", "my_chat_member")
COMMANDS = ("start", "help", "human", "language")


class TelegramBotClient:
    """One bot."""

    def __init__(self, token: str, api: str = OFFICIAL_API, *, pace: Pace | None = None,
                 timeout: float = SEND_SECONDS) -> None:
        """Connect at the first call.

        Args:
            token: of the bot; its id is what stands before the colon.
            api: base URL of the Bot API.
            pace: how fast it may send.
            timeout: seconds to wait for the answer to a message.
        """
        self.bot_id = int(token.partition(":")[0])
        self._timeout = timeout
        self.pace = pace or Pace(PER_SECOND, BETWEEN_SECONDS, time.monotonic)
        proxied = not httpx.URL(api).host.startswith(("127.", "localhost"))  # a proxy cannot reach this machine
        requests = [HTTPXRequest(connection_pool_size=size, read_timeout=timeout, write_timeout=timeout,
                                 connect_timeout=CONNECT_SECONDS, pool_timeout=timeout, http_version="1.1",
                                 httpx_kwargs={"trust_env": proxied}) for size in (1, 64)]
        base = f"{api.rstrip('/')}/bot"
        self._bot = Bot(token, base_url=base, base_file_url=f"{api.rstrip('/')}/file/bot",
                        get_updates_request=requests[0], request=requests[1])
        self._requests: Sequence[HTTPXRequest] = requests
        self._file_base = f"{api.rstrip('/')}/file/bot{token}"
        self._proxied = proxied
        self._files: httpx.AsyncClient | None = None

    async def close(self) -> None:
        """End the connections."""
        for request in self._requests:
            await request.shutdown()
        if self._files is not None:
            await self._files.aclose()

    async def updates(self, offset: int, timeout: int = POLL_SECONDS) -> list[Any]:
        """What has come since ``offset``, as JSON; waits up to ``timeout`` seconds for something.

        Raises:
            TelegramError: it could not be asked.
        """
        asked = {"offset": offset, "timeout": timeout, "allowed_updates": list(ALLOWED_UPDATES)}
        found = await self._bot.do_api_request("getUpdates", asked, read_timeout=timeout + POLL_SPARE_SECONDS)
        return found if isinstance(found, list) else []

    async def send(self, chat_id: int, text: str, keyboard: InlineKeyboardMarkup | None = None) -> Outcome:
        """Send a message, and tell what became of it."""
        try:
            sent = await self._bot.send_message(
                chat_id, text, reply_markup=keyboard, link_preview_options=LinkPreviewOptions(is_disabled=True))
        except TelegramError as error:
            outcome = outcome_of(error)
            if isinstance(outcome, RetryAfter):
                self.pace.hold(outcome.seconds)
            return outcome
        return Sent(str(sent.message_id))

    async def trouble(self, chat_id: int) -> Outcome | None:
        """What would keep a message from this chat, found out by something harmless; None where nothing does."""
        try:
            await self._bot.send_chat_action(chat_id, ChatAction.TYPING, read_timeout=TROUBLE_SECONDS)
        except TelegramError as error:
            outcome = outcome_of(error)
            if isinstance(outcome, RetryAfter):
                self.pace.hold(outcome.seconds)
            return NotSent("no_answer") if isinstance(outcome, Unknown) else outcome
        return None

    async def download(self, file_id: str, into: Writing) -> None:
        """Write what Telegram has under a file's id.

        Raises:
            NotFetched: it did not come.
            FileTooLarge: it is larger than Telegram hands to bots, or than may be written.
        """
        try:
            found = await self._bot.do_api_request("getFile", {"file_id": file_id})
        except TelegramError as error:
            if isinstance(error, BadRequest) and "too big" in error.message.lower():
                raise FileTooLarge() from None
            wait = wait_of(error, LONGEST_WAIT) if isinstance(error, TelegramRetryAfter) else None
            raise NotFetched(missing=isinstance(error, BadRequest), wait=wait) from None
        path = found.get("file_path") if isinstance(found, Mapping) else None
        if not isinstance(path, str) or not path:
            raise NotFetched(missing=True)
        await self._download(f"{self._file_base}/{quote(path)}", into)

    async def _download(self, address: str, into: Writing) -> None:
        if self._files is None:
            self._files = httpx.AsyncClient(timeout=httpx.Timeout(self._timeout, connect=CONNECT_SECONDS),
                                            trust_env=self._proxied, headers={"Accept-Encoding": "identity"})
        try:
            async with self._files.stream("GET", address) as answer:
                if answer.status_code == 429:
                    wait = answer.headers.get("retry-after", "")
                    raise NotFetched(wait=min(float(wait[:9]) if wait.isdecimal() else FILE_WAIT, LONGEST_WAIT))
                if answer.status_code != 200:
                    raise NotFetched(missing=answer.status_code in (400, 404, 410))
                async for part in answer.aiter_raw():
                    into.write(part)
        except (httpx.HTTPError, httpx.InvalidURL):  # whose text holds the address, and the address the token
            raise NotFetched() from None

    async def typing(self, chat_id: int) -> None:
        """Show that an answer is being written."""
        await self._bot.send_chat_action(chat_id, ChatAction.TYPING)

    async def answer(self, callback_id: str, text: str | None = None) -> None:
        """Let the pressed button rest, with a word about it or none."""
        await self._bot.answer_callback_query(callback_id, text)

    async def drop_buttons(self, chat_id: int, message_id: int) -> None:
        """Take the buttons off a message."""
        await self._bot.edit_message_reply_markup(chat_id, message_id, reply_markup=None)

    async def leave(self, chat_id: int) -> None:
        """Leave a group."""
        await self._bot.leave_chat(chat_id)

    async def set_webhook(self, url: str, secret: str) -> None:
        """Have updates posted to an address, one at a time and in order."""
        await self._bot.set_webhook(url, max_connections=1, allowed_updates=list(ALLOWED_UPDATES), secret_token=secret)

    async def delete_webhook(self) -> None:
        """Have updates wait to be fetched."""
        await self._bot.delete_webhook(drop_pending_updates=False)

    async def set_commands(self) -> None:
        """Tell Telegram which commands to offer, in both languages."""
        for language, code in (("en", None), ("zh", "zh")):
            await self._bot.set_my_commands(
                [BotCommand(name, words(f"command_{name}", language)) for name in COMMANDS], language_code=code)

    async def username(self) -> str:
        """The bot's name in links."""
        return str((await self._bot.get_me()).username)

    async def webhook_url(self) -> str:
        """Where updates are posted; empty where they wait to be fetched."""
        return str((await self._bot.get_webhook_info()).url)


class TelegramAdapter:
    """Delivers to Telegram, each message by the bot that its customer writes to."""

    name = "telegram"

    def __init__(self, bots: Mapping[int, TelegramBotClient]) -> None:
        """Deliver by these bots, by their ids."""
        self._bots = bots

    def pieces(self, parcel: Parcel) -> Sequence[str]:
        """The text, with the agent's name at its head, in pieces that Telegram takes."""
        head = f"{parcel.agent_name}{'：' if parcel.language == 'zh' else ': '}" if parcel.agent_name else ""
        return split_text(head + parcel.text)

    async def ready(self, address: str) -> None:
        """Wait until Telegram allows one more message to this chat."""
        bot_id, chat_id = read_address(address)
        if bot_id in self._bots:
            await self._bots[bot_id].pace.ready(str(chat_id))

    async def send(self, parcel: Parcel, text: str, *, last: bool) -> Outcome:
        """Send one piece; one that may have arrived only where Telegram answers again, for it is the last time."""
        bot_id, chat_id = read_address(parcel.address)
        bot = self._bots.get(bot_id)
        if bot is None:
            return Refused("not_set_up")
        if parcel.doubtful and (trouble := await bot.trouble(chat_id)) is not None:
            return trouble
        return await bot.send(chat_id, text, keyboard_of(parcel) if last else None)


def address_of(bot_id: int, chat_id: int) -> str:
    """The person's id on the channel: the same person is somebody else at another bot."""
    return f"{bot_id}:{chat_id}"


def read_address(address: str) -> tuple[int, int]:
    """The bot and the chat of a person's id on the channel."""
    bot_id, _, chat_id = address.partition(":")
    return int(bot_id), int(chat_id)


def keyboard_of(parcel: Parcel) -> InlineKeyboardMarkup | None:
    """The buttons of a message, one a row. Telegram takes 64 bytes a button: it carries which one it is, not what."""
    if not parcel.buttons:
        return None
    return InlineKeyboardMarkup([
        [InlineKeyboardButton(button["title"], callback_data=f"{CALLBACK}{parcel.message_id}:{index}")]
        for index, button in enumerate(parcel.buttons)])


def split_text(text: str, limit: int = PIECE_LIMIT) -> list[str]:
    """A text in pieces of at most ``limit`` UTF-16 units, as Telegram counts."""
    return split_by(text, limit, lambda sign: 2 if sign > "\uffff" else 1)


def outcome_of(error: TelegramError) -> Outcome:
    """What became of a message whose sending failed so."""
    cause = error.__cause__
    if isinstance(error, TelegramRetryAfter):
        return RetryAfter(min(_seconds(error.retry_after), LONGEST_WAIT))
    if isinstance(error, Forbidden):
        return Unreachable()
    if isinstance(error, (BadRequest, ChatMigrated)):
        return Refused(f"refused: {type(error).__name__}: {error.message}")
    if isinstance(error, InvalidToken):
        return NotSent("token_refused")
    if isinstance(error, Conflict):
        return NotSent("server_error: conflict")
    if isinstance(cause, (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError,
                          httpx.UnsupportedProtocol)):
        return NotSent("no_answer")
    if isinstance(error, TimedOut) or isinstance(cause, httpx.HTTPError):
        return Unknown(f"timed_out: {type(cause).__name__}")
    if isinstance(error, NetworkError) and "gateway time" not in error.message.lower():
        return NotSent("server_error")
    return Unknown(f"unclear: {type(error).__name__}")


def wait_of(error: TelegramError, default: float) -> float:
    """Seconds to leave Telegram alone after an error."""
    return _seconds(error.retry_after) if isinstance(error, TelegramRetryAfter) else default


def _seconds(value: float | timedelta) -> float:
    return value.total_seconds() if isinstance(value, timedelta) else float(value)

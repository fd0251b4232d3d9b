"""The Telegram channel: takes updates in, by polling or by webhook, and stores each before it is acknowledged.

Polling acknowledges an update by asking for the next one; a webhook by answering. Both happen after the commit, so an
update is stored once, or comes again and changes nothing.
"""
from __future__ import annotations

import asyncio
import hashlib
import hmac
import logging
import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from fastapi import APIRouter, Request, Response
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session
from telegram.error import Conflict, InvalidToken, TelegramError

from crm_store.services import dispatch, telegram
from gateway.channel import ChannelAdapter
from gateway.channel_files import ChannelFiles
from gateway.deps import GatewayDeps
from gateway.dispatch import Dispatcher
from gateway.lanes import keep_looking, run_together
from gateway.metrics import RECEIVED
from gateway.problems import GatewayRoute, Problem, json_object_of
from gateway.telegram_client import POLL_SECONDS, TelegramAdapter, TelegramBotClient, read_address, wait_of
from gateway.telegram_inbox import CHANNEL, Afterwards, Inbox
from gateway.telegram_updates import update_id_of
from gateway.transactions import may_pass

log = logging.getLogger(__name__)

PATH = "/api/channels/telegram"
SECRET_HEADER = "X-Telegram-Bot-Api-Secret-Token"
MAX_UPDATE = 1024 * 1024
ERROR_SECONDS, TOKEN_SECONDS, TAKEN_SECONDS = 3.0, 60.0, 5.0
SWEEP_EVERY = timedelta(hours=1)
MOST_ERRANDS = 200
TYPING_SECONDS = 4.0  # Telegram shows it for five


class Telegram:
    """The bots of a shop."""

    def __init__(self, deps: GatewayDeps, dispatcher: Dispatcher, bots: Sequence[TelegramBotClient], secret: str,
                 sleep: Callable[[float], Awaitable[None]] = asyncio.sleep, *, polling: bool = False) -> None:
        """Start idle.

        Args:
            deps: the gateway's surroundings.
            dispatcher: is told of new messages.
            bots: the bots.
            secret: makes the secret token of each bot's webhook.
            sleep: waits so many seconds.
            polling: fetch updates, where they are not posted.
        """
        self._polling = polling
        self._deps, self._dispatcher, self._secret, self._sleep = deps, dispatcher, secret, sleep
        self._bots: Mapping[int, TelegramBotClient] = {bot.bot_id: bot for bot in bots}
        self._inbox = Inbox(deps.clock, deps.shop_names, deps.max_attachment, deps.chat_rate, deps.secret)
        self._holder = secrets.token_hex(16)
        self._errands: set[asyncio.Task[None]] = set()
        self._answering: dict[int, tuple[TelegramBotClient, int]] = {}
        self._swept_at: datetime | None = None
        self.adapter: ChannelAdapter = TelegramAdapter(self._bots)
        self.files = ChannelFiles(deps, CHANNEL, lambda address: self._bots.get(read_address(address)[0]))

    def router(self) -> APIRouter:
        """The addresses that Telegram posts updates to, one a bot."""
        router = APIRouter(route_class=GatewayRoute, include_in_schema=False)
        router.add_api_route(PATH + "/{bot_id}", self._webhook, methods=["POST"])
        return router

    async def run(self) -> None:
        """Fetch what customers sent, and poll every bot where updates are not posted, until cancelled."""
        polls = [self._poll(bot) for bot in self._bots.values()] if self._polling else []
        await run_together([self.files.run(), keep_looking(self.type_on, TYPING_SECONDS, "turns under way"), *polls])

    async def type_on(self) -> None:
        """Show again that an answer is being written, where the bot is still at it."""
        if not self._answering:
            return
        waiting = await self._deps.transactions.read(
            lambda session: dispatch.with_the_bot(session, tuple(self._answering)))
        self._answering = {each: chat for each, chat in self._answering.items() if each in waiting}
        for bot, chat_id in tuple(self._answering.values())[:max(0, MOST_ERRANDS - len(self._errands))]:
            self._errand(bot.typing(chat_id))

    async def close(self) -> None:
        """Let what is under way end, then the connections."""
        await asyncio.gather(*self._errands, return_exceptions=True)
        for bot in self._bots.values():
            await bot.close()

    async def take(self, bot_id: int, update: Any, *, polled: bool) -> str:
        """Store an update and have it answered; what kind it is, or why nothing was done.

        An update that cannot be stored because of a mistake of ours is noted as "failed": it must not keep the others
        waiting for ever.
        """
        update_id = update_id_of(update)
        if update_id is None:
            return "ignored"

        def store(session: Session) -> Afterwards:
            done = self._inbox.store(session, bot_id, update_id, update)
            if polled:
                telegram.advance(session, bot_id, update_id, self._deps.clock())
            return done

        try:
            done = await self._deps.transactions.write(store, urgent=True)
        except Exception as error:  # the edge of the loop
            if may_pass(error):
                raise
            log.exception("update %d of bot %d could not be read", update_id, bot_id)
            await self._deps.transactions.write(partial(self._note_failed, bot_id, update_id, polled))
            return "failed"
        self._afterwards(bot_id, done)
        return done.kind

    async def idle(self) -> None:
        """Wait until what is done after storing an update is done."""
        while self._errands:
            await asyncio.wait(set(self._errands))

    def _note_failed(self, bot_id: int, update_id: int, polled: bool, session: Session) -> None:
        now = self._deps.clock()
        telegram.store_update(session, bot_id, update_id, "failed", now)
        if polled:
            telegram.advance(session, bot_id, update_id, now)

    def _afterwards(self, bot_id: int, done: Afterwards) -> None:
        if done.kind != "duplicate":
            (self._deps.bell.ring if done.typing else self._deps.bell.queued)()
        if done.new:
            RECEIVED.labels(CHANNEL).inc()
        if done.conversation_id is not None:
            self._dispatcher.wake(done.conversation_id)
        if len(self._errands) >= MOST_ERRANDS:
            return
        bot = self._bots[bot_id]
        if done.typing is not None:
            if done.conversation_id is not None:
                self._answering[done.conversation_id] = bot, done.typing
            self._errand(bot.typing(done.typing))
        if done.pressed is not None:
            self._errand(bot.answer(*done.pressed))
        if done.drop_buttons is not None:
            self._errand(bot.drop_buttons(*done.drop_buttons))
        if done.decline is not None:
            self._errand(self._decline(bot, *done.decline))

    async def _decline(self, bot: TelegramBotClient, chat_id: int, text: str) -> None:
        await bot.send(chat_id, text)
        await bot.leave(chat_id)

    def _errand(self, work: Awaitable[None]) -> None:
        async def done() -> None:
            try:
                await work
            except TelegramError as error:  # nice to have, and its text may name what must not be logged
                log.info("telegram did not do a courtesy: %s", type(error).__name__)

        task = asyncio.create_task(done())
        self._errands.add(task)
        task.add_done_callback(self._errands.discard)

    async def _webhook(self, request: Request, bot_id: str) -> Response:
        known = bot_id.isascii() and bot_id.isdigit() and int(bot_id[:19]) in self._bots
        wanted = webhook_secret(self._secret, bot_id)
        shown = request.headers.get(SECRET_HEADER, "")
        if not hmac.compare_digest(shown.encode(), wanted.encode()) or not known:
            raise Problem(403, "forbidden", "the secret token is missing or wrong")
        await self.take(int(bot_id), await json_object_of(request, MAX_UPDATE), polled=False)
        return Response(status_code=204)

    async def _poll(self, bot: TelegramBotClient) -> None:
        """Fetch and store a bot's updates until cancelled."""
        fetched_before = False
        try:
            while True:
                try:
                    if not fetched_before:
                        await bot.delete_webhook()
                        await bot.set_commands()
                        fetched_before = True
                    await self.poll_once(bot)
                except InvalidToken:
                    log.error("Telegram does not accept the token of bot %d", bot.bot_id)
                    await self._sleep(TOKEN_SECONDS)
                except Conflict:
                    log.warning("another program polls bot %d too", bot.bot_id)
                    fetched_before = False
                    await self._sleep(TAKEN_SECONDS)
                except TelegramError as error:
                    log.warning("bot %d cannot be polled: %s", bot.bot_id, type(error).__name__)
                    await self._sleep(wait_of(error, ERROR_SECONDS))
                except SQLAlchemyError:
                    log.warning("the store cannot take updates; trying again", exc_info=True)
                    await self._sleep(ERROR_SECONDS)
                except Exception as error:  # the edge of the loop; its text may name what must not be logged
                    log.error("bot %d cannot be polled: %s", bot.bot_id, type(error).__name__)
                    await self._sleep(ERROR_SECONDS)
        finally:
            await self._deps.transactions.write(partial(telegram.leave_polling, bot_id=bot.bot_id, holder=self._holder))

    async def poll_once(self, bot: TelegramBotClient, timeout: int = POLL_SECONDS) -> None:
        """Fetch what has come to a bot and store it; where another process polls the bot, wait a little instead."""
        offset = await self._deps.transactions.write(partial(self._take_polling, bot.bot_id))
        if offset is None:
            await self._sleep(TAKEN_SECONDS)
            return
        updates = await bot.updates(offset, timeout)
        for update in sorted(updates, key=lambda each: update_id_of(each) or 0):
            await self.take(bot.bot_id, update, polled=True)

    def _take_polling(self, bot_id: int, session: Session) -> int | None:
        now = self._deps.clock()
        if self._swept_at is None or now - self._swept_at >= SWEEP_EVERY:
            self._swept_at = now
            telegram.forget_updates(session, now)
        return telegram.take_polling(session, bot_id, self._holder, now)


def webhook_secret(secret: str, bot_id: int | str) -> str:
    """The secret token of a bot's webhook: one bot's opens no other's."""
    return hmac.new(secret.encode(), f"telegram:{bot_id}".encode(), hashlib.sha256).hexdigest()


def webhook_path(bot_id: int) -> str:
    """Where Telegram posts a bot's updates."""
    return f"{PATH}/{bot_id}"

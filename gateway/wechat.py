"""The WeChat channel: takes posts of Official Accounts in, stores each, and only then acknowledges it.

WeChat wants an answer within five seconds and posts the same again, three times in all, until it gets one. The bot
may take longer; so the answer is empty of meaning, and what is said comes by the customer-service message API.
"""
from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from hashlib import sha256

import httpx
from fastapi import APIRouter, Request, Response
from sqlalchemy.orm import Session
from starlette.responses import PlainTextResponse

from crm_store.services import wechat
from gateway.channel import ChannelAdapter
from gateway.channel_files import ChannelFiles
from gateway.deps import GatewayDeps
from gateway.dispatch import Dispatcher
from gateway.metrics import RECEIVED
from gateway.problems import GatewayRoute, Problem, body_of
from gateway.transactions import may_pass
from gateway.wechat_client import CHANNEL, ApiError, WechatAdapter, WechatClient, read_address
from gateway.wechat_envelope import NotGenuine, Opened, check_address, open_post
from gateway.wechat_inbox import Afterwards, Inbox
from gateway.wechat_posts import read_post

log = logging.getLogger(__name__)

PATH = "/api/channels/wechat"
MAX_POST = 128 * 1024
TAKEN = "success"
SWEEP_EVERY = timedelta(hours=1)
MOST_ERRANDS = 200


class Wechat:
    """The Official Accounts of a shop."""

    def __init__(self, deps: GatewayDeps, dispatcher: Dispatcher, clients: Sequence[WechatClient]) -> None:
        """Start idle.

        Args:
            deps: the gateway's surroundings.
            dispatcher: is told of new messages.
            clients: the accounts.
        """
        self._deps, self._dispatcher = deps, dispatcher
        self._clients: Mapping[str, WechatClient] = {client.account.app_id: client for client in clients}
        self._inbox = Inbox(deps.clock, deps.shop_names, deps.max_attachment, deps.chat_rate)
        self._errands: set[asyncio.Task[None]] = set()
        self._swept_at: datetime | None = None
        self.adapter: ChannelAdapter = WechatAdapter(self._clients)
        self.files = ChannelFiles(deps, CHANNEL, lambda address: self._clients.get(read_address(address)[0]))

    def router(self) -> APIRouter:
        """The addresses that WeChat posts to, one an account."""
        router = APIRouter(route_class=GatewayRoute, include_in_schema=False)
        router.add_api_route(PATH + "/{app_id}", self._asked, methods=["GET"])
        router.add_api_route(PATH + "/{app_id}", self._posted, methods=["POST"])
        return router

    async def run(self) -> None:
        """Fetch what customers sent, until cancelled."""
        await self.files.run()

    async def close(self) -> None:
        """End the courtesies that are under way, then the connections."""
        for errand in self._errands:
            errand.cancel()
        await asyncio.gather(*self._errands, return_exceptions=True)
        for client in self._clients.values():
            await client.close()

    async def idle(self) -> None:
        """Wait until what is done after storing a post is done."""
        while self._errands:
            await asyncio.wait(set(self._errands))

    async def _asked(self, request: Request, app_id: str) -> Response:
        client = self._client(app_id)
        try:
            return PlainTextResponse(check_address(client.account, request.query_params, self._deps.clock()))
        except NotGenuine as error:
            raise self._refusal(app_id, error) from error

    async def _posted(self, request: Request, app_id: str) -> Response:
        client = self._client(app_id)
        body = await body_of(request, MAX_POST)
        try:
            opened = open_post(client.account, request.query_params, body, self._deps.clock())
            await self._take(app_id, opened, body)
        except NotGenuine as error:
            raise self._refusal(app_id, error) from error
        return PlainTextResponse(TAKEN)

    async def _take(self, app_id: str, opened: Opened, body: bytes) -> None:
        """Store a post and have it answered.

        One that cannot be stored because of a mistake of ours is acknowledged all the same: it would not be better the
        next time, and WeChat would tell the customer that the account is out of order.
        """
        post, digest = read_post(opened.content), sha256(body).hexdigest()

        def store(session: Session) -> Afterwards:
            now = self._deps.clock()
            self._sweep(session, now)
            if opened.signature is not None and wechat.signed_before(session, app_id, opened.signature, digest, now):
                raise NotGenuine("a signature that was used before")
            return self._inbox.store(session, app_id, post)

        try:
            done = await self._deps.transactions.write(store, urgent=True)
        except NotGenuine:
            raise
        except Exception as error:  # the edge of the channel
            if may_pass(error):
                raise
            log.exception("a post to account %s could not be read", app_id)
            return
        self._afterwards(self._clients[app_id], done)

    def _sweep(self, session: Session, now: datetime) -> None:
        if self._swept_at is None or now - self._swept_at >= SWEEP_EVERY:
            self._swept_at = now
            wechat.forget_posts(session, now)

    def _afterwards(self, client: WechatClient, done: Afterwards) -> None:
        if done.kind not in ("duplicate", "ignored"):
            (self._deps.bell.ring if done.typing else self._deps.bell.queued)()
        if done.new:
            RECEIVED.labels(CHANNEL).inc()
        if done.conversation_id is not None:
            self._dispatcher.wake(done.conversation_id)
        if done.typing is not None and len(self._errands) < MOST_ERRANDS:
            task = asyncio.create_task(_show_typing(client, done.typing))
            self._errands.add(task)
            task.add_done_callback(self._errands.discard)

    def _client(self, app_id: str) -> WechatClient:
        if app_id not in self._clients:
            raise Problem(404, "not_found", "there is no such account here")
        return self._clients[app_id]

    def _refusal(self, app_id: str, error: NotGenuine) -> Problem:
        log.warning("a post to account %s was refused: %s", app_id, error)
        return Problem(403, "forbidden", "this is not signed by WeChat for this account, or not now")


async def _show_typing(client: WechatClient, open_id: str) -> None:
    """A courtesy: where it fails, nobody misses it; its text may name what must not be logged."""
    try:
        await client.typing(open_id)
    except (ApiError, httpx.HTTPError) as error:
        log.info("wechat did not do a courtesy: %s", type(error).__name__)

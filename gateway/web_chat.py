"""The web chat: the page, what it asks the service, and the stream that brings answers to it.

The visitor's cookie is the only key to a conversation; the address of a conversation names nothing.
"""
from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import jinja2
from fastapi import APIRouter, FastAPI, Query, Request, Response
from pydantic import BaseModel, Field, StrictStr, ValidationError
from sqlalchemy.orm import Session
from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from crm_store.errors import InvalidMessage
from crm_store.models.customers import LANGUAGES
from crm_store.queries.calendar import shop_time_zone
from crm_store.rules.text import IDENTIFIER_LIMIT
from crm_store.services.messages import mark_delivered, receive_message
from gateway.callers import address_of, refuse_cross_site
from gateway.chat_view import ChatState, ChatView, chat_view
from gateway.deps import GatewayDeps
from gateway.dispatch import Dispatcher
from gateway.limits import TokenBuckets
from gateway.metrics import RECEIVED
from gateway.problems import GatewayRoute, Problem, json_object_of, problem_for, rate_limited, refuse_invalid
from gateway.visitors import (
    CHANNEL,
    customer_name_of,
    customer_number_in,
    identity_id_of,
    new_visitor,
    remember_visitor,
    sign_customer,
    sign_in,
    visitor_of,
)

__all__ = ["WebChat", "sign_customer"]

HERE = Path(__file__).parent
STATIC = "/chat/static"
BIGGEST_ID = 2**63 - 1
HEARTBEAT_SECONDS = 15
SEND_TIMEOUT_SECONDS = 30  # a reader that takes nothing for so long is gone
RECONNECT_MS = 1000
STREAMS_A_VISITOR = 12
VISITORS_AN_ADDRESS = 10  # who may send at full rate from one address: an office, not a flood of made-up visitors
NAMES = {"channel_message_id": "message_id", "external_id": "visitor"}
PAGE_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'self'"),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "SAMEORIGIN",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}


class ChatMessageIn(BaseModel):
    """A message of the page."""

    message_id: StrictStr = Field(min_length=1, max_length=IDENTIFIER_LIMIT)
    text: StrictStr
    payload: StrictStr | None = None
    language: StrictStr | None = None


class WebChat:
    """The page and its addresses."""

    def __init__(self, deps: GatewayDeps, dispatcher: Dispatcher) -> None:
        self._deps = deps
        self._dispatcher = dispatcher
        self._by_visitor = TokenBuckets(deps.chat_rate)
        self._by_address = TokenBuckets(deps.chat_rate * VISITORS_AN_ADDRESS)
        self._streams: Counter[int] = Counter()
        self._version = _version_of(HERE / "static")
        templates = jinja2.Environment(loader=jinja2.FileSystemLoader(HERE / "templates"), autoescape=True)
        self._template = templates.get_template("chat.html")

    def mount(self, app: FastAPI) -> None:
        """Add the page, its files and its API."""
        router = APIRouter(route_class=GatewayRoute, include_in_schema=False)
        router.add_api_route("/", self._page, methods=["GET", "HEAD"])
        router.add_api_route("/api/chat/messages", self._post, methods=["POST"])
        router.add_api_route("/api/chat/messages", self._messages, methods=["GET"])
        router.add_api_route("/api/chat/stream", self._stream, methods=["GET"])
        app.include_router(router)
        app.mount(STATIC, ChatFiles(self._version), name="chat-static")

    async def _page(self, request: Request, customer: str | None = None) -> Response:
        visitor = visitor_of(request)
        if customer is not None:
            return await self._sign_in(visitor, customer)
        time_zone = await self._deps.transactions.read(shop_time_zone)
        html = self._template.render(shop_names=self._deps.shop_names, language=_preferred_language(request),
                                     time_zone=time_zone, static=STATIC, version=self._version)
        response = HTMLResponse(html, headers=PAGE_HEADERS)
        remember_visitor(response, visitor or new_visitor(), secure=self._deps.secure_cookies)
        return response

    async def _sign_in(self, visitor: str | None, token: str) -> Response:
        now = self._deps.clock()
        number = customer_number_in(self._deps.secret, token, now)
        signed_in = None if number is None else await self._deps.transactions.write(
            lambda session: sign_in(session, visitor, str(number), now))
        if signed_in is None:
            return RedirectResponse("/?link=expired", 303, headers=PAGE_HEADERS)
        self._deps.bell.ring()
        if signed_in.left_identity_id is not None:
            self._deps.broadcast.publish(f"identity:{signed_in.left_identity_id}", {"kind": "left"})
        response = RedirectResponse("/", 303, headers=PAGE_HEADERS)
        remember_visitor(response, signed_in.visitor, secure=self._deps.secure_cookies)
        return response

    async def _post(self, request: Request) -> Response:
        refuse_cross_site(request, self._deps.trusted_proxy)
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
            raise Problem(415, "unsupported_media_type", "the body must be application/json")
        known = visitor_of(request)
        visitor = known or new_visitor()
        now = self._deps.clock()
        wait = self._by_address.take(address_of(request, self._deps.trusted_proxy), now) or (
            self._by_visitor.take(visitor, now) if known else 0)
        if wait:
            raise rate_limited(wait)
        body = await json_object_of(request, self._deps.max_body)
        try:
            asked = ChatMessageIn.parse_obj(body)
        except ValidationError as error:
            raise refuse_invalid(error) from error
        try:
            stored = await self._deps.transactions.write(partial(self._receive, visitor, asked))
        except InvalidMessage as error:
            raise problem_for(error, NAMES) from error
        self._deps.bell.ring()
        self._dispatcher.wake(stored["conversation_id"])
        response = JSONResponse(stored, 202)
        if not known:
            remember_visitor(response, visitor, secure=self._deps.secure_cookies)
        return response

    def _receive(self, visitor: str, asked: ChatMessageIn, session: Session) -> dict[str, Any]:
        received = receive_message(
            session, channel=CHANNEL, external_id=visitor, text=asked.text, payload=asked.payload,
            channel_message_id=asked.message_id, now=self._deps.clock(),
            language_hint=asked.language if asked.language in LANGUAGES else None)
        if not received.duplicate:
            RECEIVED.labels(CHANNEL).inc()
        return {"id": received.message.id, "conversation_id": received.conversation.id,
                "duplicate": received.duplicate}

    async def _messages(self, request: Request, after: int = Query(0, ge=0, le=BIGGEST_ID)) -> Response:
        def look(session: Session) -> tuple[ChatView | None, str | None]:
            identity_id = identity_id_of(session, visitor_of(request))
            if identity_id is None:
                return None, None
            return chat_view(session, identity_id, after), customer_name_of(session, identity_id)

        view, customer = await self._deps.transactions.read(look)
        if view is None:
            return JSONResponse({"messages": [], **ChatState().shown(), "customer": None, "known": False,
                                 "more": False})
        await self._delivered(view)
        return JSONResponse({"messages": view.messages, **view.state.shown(), "customer": customer, "known": True,
                             "more": view.more})

    async def _stream(self, request: Request, after: int = Query(0, ge=0, le=BIGGEST_ID)) -> Response:
        resumed = request.headers.get("last-event-id", "")
        if resumed.isascii() and resumed.isdigit() and int(resumed[:19]) <= BIGGEST_ID:
            after = int(resumed[:19])
        visitor = visitor_of(request)
        identity_id = await self._deps.transactions.read(lambda session: identity_id_of(session, visitor))
        if identity_id is None:
            return Response(status_code=204)  # which tells a browser not to come back by itself
        if self._streams[identity_id] >= STREAMS_A_VISITOR:
            raise rate_limited(HEARTBEAT_SECONDS)
        return EventSourceResponse(self._events(identity_id, after), ping=HEARTBEAT_SECONDS, sep="\n",
                                   send_timeout=SEND_TIMEOUT_SECONDS)

    async def _events(self, identity_id: int, after: int) -> AsyncIterator[ServerSentEvent]:
        """Everything after a message, then what comes: the bell of the store's watcher is a reason to look."""
        self._streams[identity_id] += 1
        last, told = after, None
        try:
            async with self._deps.broadcast.subscribe(f"identity:{identity_id}") as bell:
                yield ServerSentEvent(comment="connected", retry=RECONNECT_MS)
                rung: Mapping[str, Any] = {"kind": "state"}
                while rung["kind"] != "left":
                    if rung["kind"] == "typing":
                        yield ServerSentEvent(_json({"author": rung["author"]}), event="typing")
                    elif rung["kind"] == "state" or rung["message_id"] > last:
                        more = True
                        while more:
                            view = await self._deps.transactions.read(partial(_look, identity_id, last))
                            for message in view.messages:
                                last = message["id"]
                                yield ServerSentEvent(_json(message), event="message", id=str(last))
                            await self._delivered(view)
                            more = view.more
                        if view.state != told:
                            told = view.state
                            yield ServerSentEvent(_json(told.shown()), event="state")
                    rung = (await bell.__anext__()).data
        finally:
            self._streams[identity_id] -= 1
            if not self._streams[identity_id]:
                del self._streams[identity_id]

    async def _delivered(self, view: ChatView) -> None:
        if view.queued:
            now = self._deps.clock()
            await self._deps.transactions.write(lambda session: mark_delivered(session, view.queued, now))


class ChatFiles(StaticFiles):
    """The page's files. Their address changes with their content, so a browser may keep them."""

    def __init__(self, version: str) -> None:
        super().__init__(directory=HERE / "static")
        self._version = version

    async def get_response(self, path: str, scope: Scope) -> Response:
        """The file, with how long it may be kept."""
        response = await super().get_response(path, scope)
        kept = scope.get("query_string", b"").decode("latin-1") == f"v={self._version}"
        response.headers["Cache-Control"] = "public, max-age=31536000, immutable" if kept else "no-cache"
        response.headers["X-Content-Type-Options"] = "nosniff"
        return response


def _look(identity_id: int, after_id: int, session: Session) -> ChatView:
    return chat_view(session, identity_id, after_id)


def _version_of(folder: Path) -> str:
    """A short name for the content of the files in a folder."""
    content = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        content.update(path.read_bytes())
    return content.hexdigest()[:12]


def _preferred_language(request: Request) -> str:
    """The first language of ours that the browser names; Chinese where it names none."""
    for accepted in request.headers.get("accept-language", "").split(","):
        language = accepted.strip()[:2].lower()
        if language in LANGUAGES:
            return language
    return "zh"


def _json(data: dict[str, Any]) -> str:
    return json.dumps(data, ensure_ascii=False, separators=(",", ":"))

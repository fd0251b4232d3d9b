"""The web chat: the page, what it asks the service, and the stream that brings answers to it.

The visitor's id, in a cookie or a header, is the only key to a conversation; the address of a conversation names
nothing. ``/widget.js`` puts a button on a shop's page and opens ``/widget``, the same page in a frame.
"""
from __future__ import annotations

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

from crm_store.errors import InvalidMessage
from crm_store.models.customers import LANGUAGES
from crm_store.queries.calendar import shop_time_zone
from crm_store.rules.text import IDENTIFIER_LIMIT
from crm_store.services.messages import mark_delivered, receive_message
from gateway.attachments import ChatAttachments
from gateway.callers import address_of, refuse_cross_site
from gateway.chat_files import ChatFiles, version_of
from gateway.chat_view import ChatState, ChatView, chat_view
from gateway.chat_words import WORDS
from gateway.deps import GatewayDeps
from gateway.dispatch import Dispatcher
from gateway.limits import BURST, TokenBuckets
from gateway.metrics import RECEIVED
from gateway.problems import GatewayRoute, Problem, json_object_of, problem_for, rate_limited, refuse_invalid
from gateway.visitors import (
    CHANNEL,
    SignedIn,
    customer_name_of,
    customer_number_in,
    identity_id_of,
    new_visitor,
    remember_visitor,
    sign_customer,
    sign_in,
    visitor_of,
    vouched_customer,
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
POLICY = ("default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; "
          "form-action 'self'; base-uri 'none'; frame-ancestors ")
FRAME_HEADERS = {"X-Content-Type-Options": "nosniff", "Referrer-Policy": "same-origin", "Cache-Control": "no-store"}
PAGE_HEADERS = {
    **FRAME_HEADERS,
    "Content-Security-Policy": POLICY + "'self'",
    "X-Frame-Options": "SAMEORIGIN",
    "Cross-Origin-Opener-Policy": "same-origin",
}


class ChatMessageIn(BaseModel):
    """A message of the page."""

    message_id: StrictStr = Field(min_length=1, max_length=IDENTIFIER_LIMIT)
    text: StrictStr
    payload: StrictStr | None = None
    language: StrictStr | None = None


class ChatVisitorIn(BaseModel):
    """Who comes in through a frame: somebody the shop vouches for, or anybody."""

    customer: StrictStr | None = None


class WebChat:
    """The page and its addresses."""

    def __init__(self, deps: GatewayDeps, dispatcher: Dispatcher) -> None:
        self._deps = deps
        self._dispatcher = dispatcher
        self._by_visitor = TokenBuckets(deps.chat_rate)
        self._by_address = TokenBuckets(deps.chat_rate * VISITORS_AN_ADDRESS)
        self._streams: Counter[int] = Counter()
        self._version = version_of(HERE / "static")
        self._files = ChatFiles(HERE / "static", self._version)
        templates = jinja2.Environment(loader=jinja2.FileSystemLoader(HERE / "templates"), autoescape=True)
        self._template = templates.get_template("chat.html")

    def mount(self, app: FastAPI) -> None:
        """Add the page, its files and its API."""
        router = APIRouter(route_class=GatewayRoute, include_in_schema=False)
        router.add_api_route("/", self._page, methods=["GET", "HEAD"])
        router.add_api_route("/widget", self._frame, methods=["GET", "HEAD"])
        router.add_api_route("/widget.js", self._widget, methods=["GET", "HEAD"])
        router.add_api_route("/api/chat/visitor", self._come_in, methods=["POST"])
        router.add_api_route("/api/chat/messages", self._post, methods=["POST"])
        router.add_api_route("/api/chat/messages", self._messages, methods=["GET"])
        router.add_api_route("/api/chat/stream", self._stream, methods=["GET"])
        app.include_router(router)
        app.include_router(ChatAttachments(self._deps, self._dispatcher).router())
        app.mount(STATIC, self._files, name="chat-static")

    async def _page(self, request: Request, customer: str | None = None) -> Response:
        visitor = visitor_of(request)
        if customer is not None:
            return await self._sign_in(visitor, customer)
        response = HTMLResponse(await self._rendered(request), headers=PAGE_HEADERS)
        remember_visitor(response, visitor or new_visitor(), secure=self._deps.secure_cookies)
        return response

    async def _frame(self, request: Request) -> Response:
        """The page in a frame: only where the operator allows it, and without cookies."""
        policy = POLICY + " ".join(("'self'", *self._deps.widget_origins))
        html = await self._rendered(request, " ".join(self._deps.widget_origins))
        return HTMLResponse(html, headers={**FRAME_HEADERS, "Content-Security-Policy": policy})

    async def _rendered(self, request: Request, origins: str | None = None) -> str:
        return self._template.render(
            shop_names=self._deps.shop_names, language=_preferred_language(request),
            words=json.dumps(WORDS, ensure_ascii=False),
            time_zone=await self._deps.transactions.read(shop_time_zone), static=STATIC, version=self._version,
            file_limit=self._deps.max_attachment, origins=origins)

    async def _widget(self, request: Request) -> Response:
        response = self._files.script("widget.js", request.headers)
        response.headers["Cache-Control"] = "public, max-age=300"
        response.headers["Cross-Origin-Resource-Policy"] = "cross-origin"
        return response

    async def _come_in(self, request: Request) -> Response:
        """Give a frame the id of its visitor, who is the customer that the shop vouches for if it does."""
        refuse_cross_site(request, self._deps.trusted_proxy)
        visitor, now = visitor_of(request), self._deps.clock()
        try:
            asked = ChatVisitorIn.parse_obj(await json_object_of(request, self._deps.max_body))
        except ValidationError as error:
            raise refuse_invalid(error) from error
        if asked.customer is None:
            return JSONResponse({"visitor": visitor or new_visitor()})
        vouched = vouched_customer(self._deps.widget_secret, asked.customer, now)
        signed_in = None if vouched is None else await self._deps.transactions.write(
            lambda session: sign_in(session, visitor, vouched.number, now, resume=True, stay_only=not vouched.fresh))
        if signed_in is None:
            raise Problem(401, "expired", "the customer's token is forged, has run out or names nobody")
        self._left(signed_in)
        return JSONResponse({"visitor": signed_in.visitor})

    def _left(self, signed_in: SignedIn) -> None:
        """End the streams of whoever still has the old id."""
        self._deps.bell.ring()
        if signed_in.left_identity_id is not None:
            self._deps.broadcast.publish(f"identity:{signed_in.left_identity_id}", {"kind": "left"})

    async def _sign_in(self, visitor: str | None, token: str) -> Response:
        now = self._deps.clock()
        number = customer_number_in(self._deps.secret, token, now)
        signed_in = None if number is None else await self._deps.transactions.write(
            lambda session: sign_in(session, visitor, str(number), now))
        if signed_in is None:
            return RedirectResponse("/?link=expired", 303, headers=PAGE_HEADERS)
        self._left(signed_in)
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
            stored = await self._deps.transactions.write(partial(self._receive, visitor, asked), urgent=True)
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
            channel_message_id=asked.message_id, now=self._deps.clock(), a_minute=BURST * self._deps.chat_rate,
            language_hint=asked.language if asked.language in LANGUAGES else None)
        if not received.duplicate:
            RECEIVED.labels(CHANNEL).inc()
        return {"id": received.message.id, "conversation_id": received.conversation.id,
                "duplicate": received.duplicate}

    async def _messages(self, request: Request, after: int = Query(0, ge=0, le=BIGGEST_ID)) -> Response:
        visitor = visitor_of(request)

        def look(session: Session) -> tuple[ChatView | None, dict[str, Any]]:
            identity_id = identity_id_of(session, visitor)
            if identity_id is None:
                return None, {"customer": None, "known": False, "who": None}
            return chat_view(session, identity_id, after), {
                "customer": customer_name_of(session, identity_id), "known": True, "who": identity_id}

        view, person = await self._deps.transactions.read(look)
        if view is None:
            return JSONResponse({"messages": [], **ChatState().shown(), **person, "more": False})
        await self._delivered(view)
        return JSONResponse({"messages": view.messages, **view.state.shown(), **person, "more": view.more})

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


def _look(identity_id: int, after_id: int, session: Session) -> ChatView:
    return chat_view(session, identity_id, after_id)


def _preferred_language(request: Request) -> str:
    """The first language of ours that the browser names; Chinese where it names none."""
    for accepted in request.headers.get("accept-language", "").split(","):
        language = accepted.strip()[:2].lower()
        if language in LANGUAGES:
            return language
    return "zh"


def _json(data: dict[str, Any]) -> str:
    return json.dumps(data, ensure_ascii=False, separators=(",", ":"))

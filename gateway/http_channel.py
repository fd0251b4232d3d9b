"""The HTTP channel: an app of the shop posts its customers' messages and gets the answers.

``POST /api/channels/http/messages`` stores a message, waits for the answer and returns it; where the bot cannot be
reached or is slow, the message is kept and answered later. The same ``message_id`` again gives the same answer and runs
nothing. ``GET /api/channels/http/messages`` gives what was said since: late answers, and what people write.
"""
from __future__ import annotations

import hmac
from collections.abc import Sequence
from datetime import datetime
from functools import partial
from typing import Any

from fastapi import APIRouter, Depends, Query, Response
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import BaseModel, Field, StrictStr, ValidationError
from sqlalchemy import select
from sqlalchemy.orm import Session
from starlette.requests import Request
from starlette.responses import JSONResponse

from crm_store.errors import InvalidMessage
from crm_store.models import ChannelIdentity, Conversation, Message
from crm_store.rules.text import IDENTIFIER_LIMIT, MESSAGE_LIMIT, clean_identifier
from crm_store.services.messages import mark_delivered, receive_message, replies_to
from gateway.chat_view import PAGE, chat_view, owner_of, shown_buttons
from gateway.deps import GatewayDeps
from gateway.dispatch import Dispatcher
from gateway.limits import BURST, TokenBuckets
from gateway.metrics import RECEIVED
from gateway.problems import (
    GatewayRoute,
    ProblemOut,
    json_object_of,
    problem_for,
    rate_limited,
    refuse_invalid,
    unauthorized,
)

PATH = "/api/channels/http/messages"
CHANNEL = "http"
NAMES = {"external_id": "sender", "channel_message_id": "message_id"}
BIGGEST_ID = 2**63 - 1
_BEARER = HTTPBearer(auto_error=False, description="WARMLINE_HTTP_TOKEN", scheme_name="HTTP channel")


class MessageIn(BaseModel):
    """A customer's message."""

    sender: StrictStr = Field(description="The app's id of the customer", min_length=1, max_length=IDENTIFIER_LIMIT)
    message_id: StrictStr = Field(description="The app's id of the message; the same id again is the same message",
                                  min_length=1, max_length=IDENTIFIER_LIMIT)
    text: StrictStr = Field(description=f"What the customer wrote, at most {MESSAGE_LIMIT:,} characters")
    payload: StrictStr | None = Field(None, description="Of the button they pressed; counts if it was offered to them")


class ButtonOut(BaseModel):
    """A quick reply to offer."""

    title: str
    payload: str


class ReplyOut(BaseModel):
    """One thing said to the customer."""

    id: int
    text: str
    buttons: list[ButtonOut]


class SentimentOut(BaseModel):
    """How the customer feels."""

    anger: float = Field(description="Probability that they are angry")
    valence: str | None


class UnderstoodOut(BaseModel):
    """What was read in the message."""

    intent: str | None
    confidence: float | None
    language: str | None
    sentiment: SentimentOut | None = Field(description="null where the model could not run: unknown, not calm")


class AnsweredOut(BaseModel):
    """The answer. Where a human owns the conversation, there are no replies: theirs are polled for."""

    conversation_id: int
    owner: str = Field(description='"bot" or "human"')
    replies: list[ReplyOut]
    understood: UnderstoodOut | None = Field(description="null where nobody read it, as with a rating")


class StoredOut(BaseModel):
    """The message is kept and will be answered."""

    conversation_id: int
    owner: str
    status: str = Field("stored", description='"stored"')


class SaidOut(BaseModel):
    """One thing said to the customer, polled for."""

    id: int
    author: str = Field(description='"bot", "agent" or "system"')
    agent: str | None = Field(description="The agent's name")
    text: str
    buttons: list[ButtonOut]
    at: datetime
    in_reply_to: int | None


class SaidListOut(BaseModel):
    """What was said since, oldest first. Poll again after the highest id while ``more``."""

    conversation_id: int | None
    owner: str
    messages: list[SaidOut]
    more: bool


REFUSALS: dict[int | str, dict[str, Any]] = {
    401: {"model": ProblemOut, "description": "The token is missing or wrong"},
    422: {"model": ProblemOut, "description": "A field cannot be accepted"},
    503: {"model": ProblemOut, "description": "The store cannot be reached; nothing was kept"},
}
POST_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {"model": AnsweredOut, "description": "Answered"},
    202: {"model": StoredOut, "description": "Kept, and answered later"},
    413: {"model": ProblemOut, "description": f"Longer than {MESSAGE_LIMIT:,} characters"},
    429: {"model": ProblemOut, "description": "The sender sends too much",
          "headers": {"Retry-After": {"schema": {"type": "integer"}, "description": "Seconds"}}},
    **REFUSALS,
}


class HttpChannel:
    """The two addresses of the channel."""

    def __init__(self, deps: GatewayDeps, dispatcher: Dispatcher) -> None:
        self._deps = deps
        self._dispatcher = dispatcher
        self._buckets = TokenBuckets(deps.http_rate)

    def router(self) -> APIRouter:
        """The routes."""
        router = APIRouter(tags=["HTTP channel"], route_class=GatewayRoute, dependencies=[Depends(self._authorize)])
        body = {"content": {"application/json": {"schema": MessageIn.schema()}}, "required": True}
        router.add_api_route(PATH, self._post, methods=["POST"], summary="Send a message and get the answer",
                             responses=POST_RESPONSES, openapi_extra={"requestBody": body}, name="send_message")
        router.add_api_route(PATH, self._poll, methods=["GET"], summary="What was said to a customer since",
                             responses={200: {"model": SaidListOut}, **REFUSALS}, name="poll_messages")
        return router

    async def _authorize(self, shown: HTTPAuthorizationCredentials | None = Depends(_BEARER)) -> None:
        token = self._deps.http_token
        if not token or shown is None or not hmac.compare_digest(shown.credentials.encode(), token.encode()):
            raise unauthorized()

    async def _post(self, request: Request) -> Response:
        """Store a message and wait for the answer, at most for some seconds; then 202, and the answer is polled for."""
        body = await json_object_of(request, self._deps.max_body)
        try:
            asked = MessageIn.parse_obj(body)
        except ValidationError as error:
            raise refuse_invalid(error) from error
        try:
            sender = clean_identifier(asked.sender, "sender")
            wait = self._buckets.take(sender, self._deps.clock())
            if wait:
                raise rate_limited(wait)
            stored = await self._deps.transactions.write(partial(self._receive, asked))
        except InvalidMessage as error:
            raise problem_for(error, NAMES) from error
        message_id, conversation_id, owner, done = stored
        if done is None:
            self._deps.bell.ring()
            answer = None
        elif not done:
            self._deps.bell.ring()
            self._dispatcher.wake(conversation_id)
            answer = await self._dispatcher.outcome(message_id, self._deps.bot_timeout, self._answer)
        else:
            answer = await self._deps.transactions.write(partial(self._answer, message_id))
        if answer is None:
            return JSONResponse({"conversation_id": conversation_id, "owner": owner, "status": "stored"}, 202)
        return JSONResponse(answer)

    def _receive(self, asked: MessageIn, session: Session) -> tuple[int, int, str, bool | None]:
        """The message, its conversation and owner, and whether it is handled: None where it is held back."""
        received = receive_message(
            session, channel=CHANNEL, external_id=asked.sender, text=asked.text, payload=asked.payload,
            channel_message_id=asked.message_id, now=self._deps.clock(), a_minute=BURST * self._deps.http_rate)
        if not received.duplicate:
            RECEIVED.labels(CHANNEL).inc()
        return (received.message.id, received.conversation.id, owner_of(received.conversation.status),
                None if received.waits else received.message.handled_at is not None)

    def _answer(self, message_id: int, session: Session) -> dict[str, Any]:
        """The answer to a handled message; with that it is delivered, for whoever does not get it asks again."""
        message = session.get(Message, message_id)  # in the transaction that handled it, both are at hand
        conversation = session.get(Conversation, message.conversation_id)
        replies = replies_to(session, message_id)
        mark_delivered(session, [reply.id for reply in replies if reply.delivery_state == "queued"], self._deps.clock())
        return {
            "conversation_id": message.conversation_id, "owner": owner_of(conversation.status),
            "replies": [{"id": reply.id, "text": reply.text, "buttons": shown_buttons(reply.buttons)}
                        for reply in replies],
            "understood": _understood(message),
        }

    async def _poll(
        self,
        sender: str = Query(description="The app's id of the customer", min_length=1, max_length=IDENTIFIER_LIMIT),
        after: int = Query(0, description="Id of the last message seen", ge=0, le=BIGGEST_ID),
        limit: int = Query(PAGE, description="The most messages to give", ge=1, le=PAGE),
    ) -> Response:
        """What was said to a customer after a message, by the bot and by people; it counts as delivered then."""
        try:
            clean_identifier(sender, "sender")
        except InvalidMessage as error:
            raise problem_for(error, NAMES) from error
        said, queued = await self._deps.transactions.read(partial(_said, sender, after, limit))
        if queued:
            now = self._deps.clock()
            await self._deps.transactions.write(lambda session: mark_delivered(session, queued, now))
        return JSONResponse(said)


def _said(sender: str, after: int, limit: int, session: Session) -> tuple[dict[str, Any], Sequence[int]]:
    """What was said to a sender, and what of it was not delivered before."""
    identity_id = session.execute(
        select(ChannelIdentity.id).where(ChannelIdentity.channel == CHANNEL, ChannelIdentity.external_id == sender)
    ).scalar_one_or_none()
    if identity_id is None:
        return {"conversation_id": None, "owner": "bot", "messages": [], "more": False}, ()
    view = chat_view(session, identity_id, after, incoming=False, limit=limit)
    messages = [{name: message[name] for name in SaidOut.__fields__} for message in view.messages]
    return {"conversation_id": view.conversation_id, "owner": view.state.owner, "messages": messages,
            "more": view.more}, view.queued


def _understood(message: Message) -> dict[str, Any] | None:
    if message.understood is None:
        return None
    sentiment = None if message.anger is None else {"anger": message.anger, "valence": message.valence}
    return {"intent": message.understood.get("intent"), "confidence": message.understood.get("confidence"),
            "language": message.understood.get("language"), "sentiment": sentiment}

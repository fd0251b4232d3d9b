"""The bot's door: the gateway posts one message and gets the replies and what was understood."""
from __future__ import annotations

import asyncio
import gc
import hmac
import json
import logging
import re
import traceback
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from rasa.core.agent import Agent
from rasa.core.channels.channel import CollectingOutputChannel, InputChannel, UserMessage
from rasa.core.processor import MessageProcessor
from rasa.core.tracker_store import FailSafeTrackerStore
from rasa.shared.core.constants import DEFAULT_INTENTS
from rasa.shared.core.domain import Domain
from rasa.shared.core.events import BotUttered, UserUttered
from rasa.shared.core.trackers import DialogueStateTracker
from sanic import Blueprint, Sanic, response
from sanic.request import Request
from sanic.response import HTTPResponse

from bot.action_endpoint import ActionEndpoint
from bot.articles import ArticleFinder, shared_encoder
from bot.asked_back import choice_in, message_asked_about, taken_up
from bot.nlg import language_of
from bot.rasa_patches import patch_rasa
from bot.reading import BackgroundReading, VectorReader, keep_reading
from bot.tracker_store import RANKING_KEPT, CrmTrackerStore
from bot.turn import Turn, turn_running

logger = logging.getLogger(__name__)

TEXT_LIMIT = 4000
PAYLOAD_LIMIT = 500
MODES = ("turn", "read")
# Whitespace, zero-width and direction marks, and slashes of every kind that could stand before a command.
BEFORE_A_COMMAND = re.compile(r"^[\s\u200b-\u200f\u2028-\u202e\u2060-\u2064\ufeff\u00ad/]+")
PAYLOAD = re.compile(r"^/(?P<intent>[a-z][a-z_]*)\s*(?P<entities>\{.*\})?$", re.DOTALL)
NOTHING_UNDERSTOOD: dict[str, Any] = {"intent": {"name": None, "confidence": 0.0}, "entities": []}


class BadRequest(ValueError):
    """The body of a request is not what the door expects; ``field`` says where."""

    def __init__(self, field: str, message: str) -> None:
        """Name the field and what is wrong with it."""
        super().__init__(message)
        self.field = field


class TurnFailed(RuntimeError):
    """The turn could not be run to its end; nothing of it was saved."""


@dataclass(frozen=True)
class Knock:
    """A checked request."""

    conversation_id: int
    message_id: int
    text: str
    payload: str | None
    mode: str
    context: dict[str, Any]

    @classmethod
    def read(cls, body: Any) -> Knock:
        """Check a decoded JSON body.

        Raises:
            BadRequest: something is missing or of the wrong kind.
        """
        if not isinstance(body, dict):
            raise BadRequest("body", "a JSON object is expected")
        for name in ("conversation_id", "message_id"):
            if isinstance(body.get(name), bool) or not isinstance(body.get(name), int) or body[name] < 1:
                raise BadRequest(name, "a positive whole number is expected")
        text, payload = body.get("text"), body.get("payload")
        if not isinstance(text, str) or not text.strip():
            raise BadRequest("text", "a text is expected")
        if len(text) > TEXT_LIMIT:
            raise BadRequest("text", f"at most {TEXT_LIMIT} characters are read")
        if payload is not None and (not isinstance(payload, str) or len(payload) > PAYLOAD_LIMIT):
            raise BadRequest("payload", f"null or a text of at most {PAYLOAD_LIMIT} characters is expected")
        mode = body.get("mode", "turn")
        if mode not in MODES:
            raise BadRequest("mode", "turn or read is expected")
        context = body.get("context", {})
        if not isinstance(context, dict):
            raise BadRequest("context", "an object is expected")
        return cls(body["conversation_id"], body["message_id"], text, payload, mode,
                   {**context, "message_id": body["message_id"], "conversation_id": body["conversation_id"]})


class GatewayChannel(InputChannel):  # type: ignore[misc]
    """``POST /webhooks/warmline/messages``: one message in, its replies out, once for each message id."""

    def __init__(self, token: str) -> None:
        """Keep the token that the gateway must show."""
        if not token:
            raise ValueError("credentials.yml: the channel needs a token")
        patch_rasa()  # before Rasa's own addresses answer
        self._token = token.encode()
        self._doorkeeper: Doorkeeper | None = None
        self._reading: asyncio.Task[None] | None = None

    @classmethod
    def name(cls) -> str:
        """The part of the address, and what trackers keep as input channel."""
        return "warmline"

    @classmethod
    def from_credentials(cls, credentials: dict[str, Any] | None) -> GatewayChannel:
        """Rasa calls this with the channel's entry in credentials.yml."""
        token = (credentials or {}).get("token")
        if not token:
            cls.raise_missing_credentials_exception()
        return cls(str(token))

    def blueprint(self, on_new_message: Callable[[UserMessage], Awaitable[Any]]) -> Blueprint:
        """The routes. ``on_new_message`` is not used: it gives no word about failures."""
        door = Blueprint("warmline_channel")

        @door.get("/")
        async def health(request: Request) -> HTTPResponse:
            return response.json({"status": "ok"})

        @door.post("/messages")
        async def messages(request: Request) -> HTTPResponse:
            return await self.receive(request)

        @door.listener("after_server_start")
        async def begin(app: Sanic, loop: asyncio.AbstractEventLoop) -> None:
            self._reading = loop.create_task(keep_reading(lambda: self._reading_of(app)))

        @door.listener("before_server_stop")
        async def end(app: Sanic, loop: asyncio.AbstractEventLoop) -> None:
            if self._reading is not None:
                self._reading.cancel()

        return door

    async def receive(self, request: Request) -> HTTPResponse:
        """Answer one request: 200, 401, 422, or 503 where the same message may be sent again."""
        if not self._may_enter(request):
            return response.json({"error": "unauthorized"}, status=401)
        try:
            knock = Knock.read(decoded(request.body))
        except BadRequest as error:
            return response.json({"error": "invalid", "field": error.field, "message": str(error)}, status=422)
        keeper = self._keeper_of(request.app.ctx.agent)
        if keeper is None:
            return response.json({"error": "no model is loaded"}, status=503)
        marks = {"conversation_id": knock.conversation_id, "message_id": knock.message_id}
        try:
            return response.json(await keeper.answer(knock))
        except TurnFailed as error:
            logger.error("turn failed: %s", error, extra=marks)
            return response.json({"error": str(error)}, status=503)
        except Exception as error:  # the edge of the process: the gateway keeps the message and tries again
            # Not the error's own words: a database error repeats the customer's.
            logger.error("turn failed: %s\n%s", type(error).__name__, "".join(traceback.format_tb(error.__traceback__)),
                         extra=marks)
            return response.json({"error": "the turn could not be run"}, status=503)

    def _may_enter(self, request: Request) -> bool:
        scheme, _, shown = (request.headers.get("authorization") or "").partition(" ")
        return scheme.lower() == "bearer" and hmac.compare_digest(shown.strip().encode(), self._token)

    def _reading_of(self, app: Sanic) -> BackgroundReading | None:
        keeper = self._keeper_of(getattr(app.ctx, "agent", None))
        return None if keeper is None else keeper.reading

    def _keeper_of(self, agent: Agent | None) -> Doorkeeper | None:
        if agent is None or not agent.is_ready():
            return None
        if self._doorkeeper is None or self._doorkeeper.processor is not agent.processor:
            self._doorkeeper = Doorkeeper(agent)
            gc.collect()
            gc.freeze()  # the libraries and the model stay: no collection need look at them again
        return self._doorkeeper


class Doorkeeper:
    """Runs turns on one loaded model."""

    def __init__(self, agent: Agent) -> None:
        """Take the agent's processor, and take away what hides its failures.

        Rasa wraps the tracker store so that a failing database becomes an empty memory, and goes on. A turn that does
        not know what was said before is worse than one that is tried again.
        """
        assert agent.processor is not None
        patch_rasa()
        self.processor: MessageProcessor = agent.processor
        self._locks = agent.lock_store
        store = agent.tracker_store
        if isinstance(store, FailSafeTrackerStore):
            store = store._tracker_store
        self.processor.tracker_store = store
        self._trackers = store
        endpoint = self.processor.action_endpoint
        if endpoint is not None and not isinstance(endpoint, ActionEndpoint):
            self.processor.action_endpoint = ActionEndpoint.like(endpoint)
        self._finder: ArticleFinder | None = None
        self.reading: BackgroundReading | None = None  # where there is a store and an encoder
        if isinstance(store, CrmTrackerStore):
            encoder = shared_encoder()
            self._finder = ArticleFinder(store.store, encoder)
            if encoder is not None:
                self.reading = BackgroundReading(VectorReader(store.store, encoder), self._finder)

    async def answer(self, knock: Knock) -> dict[str, Any]:
        """Read or answer one message.

        Raises:
            TurnFailed: an action could not be run; nothing was saved.
        """
        if knock.mode == "read":
            return {"replies": [], "understood": understood(await self._read(knock))}
        turn = Turn(str(knock.conversation_id), str(knock.message_id))
        with turn_running(turn):
            async with self._locks.lock(turn.conversation_id):
                before = await self._trackers.retrieve(turn.conversation_id)
                known = already_answered(before, turn.message_id)
                if known is not None:
                    return known
                parse_data = await self._taken_up(knock, before, await self._read(knock))
                output = CollectingOutputChannel()
                await self.processor.handle_message(UserMessage(
                    text=parse_data["text"], output_channel=output, sender_id=turn.conversation_id,
                    parse_data=parse_data, input_channel=GatewayChannel.name(), message_id=turn.message_id,
                    metadata=knock.context,
                ))
        if turn.failure is not None:
            raise TurnFailed(turn.failure)
        return {"replies": [reply_of(message) for message in output.messages if message.get("text")],
                "understood": understood(parse_data)}

    async def _taken_up(
        self, knock: Knock, before: DialogueStateTracker | None, read: dict[str, Any],
    ) -> dict[str, Any]:
        """What was read; where it answers the question what an earlier message means, that message with its answer."""
        choice = choice_in(knock.payload, read, before.events if before is not None else ())
        if choice is None or self._finder is None:
            return read
        original = await asyncio.to_thread(message_asked_about, self._trackers.store, knock.conversation_id,
                                           choice.option.about)
        if original is None:
            return read
        data = taken_up(read, choice, original)
        text = spoken(data["text"])
        return {**data, "text": text, "articles": self._finder.find(text, choice.option.intent)}

    async def _read(self, knock: Knock) -> dict[str, Any]:
        """What the message says: from the button's payload, else from the NLU; typed text is never a command."""
        pressed = button_pressed(knock.payload, self.processor.domain)
        if pressed is not None:
            return {"text": spoken(knock.text), **pressed, "language": language_of({"metadata": knock.context}),
                    "sentiment": None, "articles": []}
        text = spoken(knock.text)
        parsed = await self.processor.parse_message(UserMessage(text=text, metadata=knock.context))
        data = {**NOTHING_UNDERSTOOD, **parsed, "text": text}
        for name in ("text_tokens", "metadata", "message_id", "response_selector"):
            data.pop(name, None)
        data["intent_ranking"] = [
            {"name": row.get("name"), "confidence": round(float(row.get("confidence", 0.0)), 4)}
            for row in (parsed.get("intent_ranking") or [])[:RANKING_KEPT]
        ]
        data["language"] = language_of({"language": parsed.get("language"), "metadata": knock.context})
        data["articles"] = [] if self._finder is None else self._finder.find(text, (data["intent"] or {}).get("name"))
        return data


def decoded(body: bytes) -> Any:
    """The JSON in a request.

    Raises:
        BadRequest: there is none.
    """
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise BadRequest("body", "JSON is expected") from error


def spoken(text: str) -> str:
    """The text as something said: what stands before it can make no command of it.

    Rasa takes a text that begins with ``/`` for an intent, so a customer could type ``/restart``.
    """
    return BEFORE_A_COMMAND.sub("", text).strip() or "…"


def button_pressed(payload: str | None, domain: Domain) -> dict[str, Any] | None:
    """The intent and entities of a button, or None where it is no button of ours.

    The store has checked that the payload was offered; here it must still name an intent of the domain and none of
    Rasa's own commands.
    """
    match = PAYLOAD.match(payload.strip()) if payload else None
    if match is None or match["intent"] in DEFAULT_INTENTS or match["intent"] not in domain.intents:
        return None
    try:
        values = json.loads(match["entities"] or "{}")
    except ValueError:
        return None
    entities = [
        {"entity": name, "value": value, "start": 0, "end": 0, "extractor": "button"}
        for name, value in values.items() if name in domain.entities and isinstance(value, (str, int, float))
    ]
    intent = {"name": match["intent"], "confidence": 1.0}
    return {"intent": intent, "intent_ranking": [intent], "entities": entities}


def understood(parse_data: dict[str, Any]) -> dict[str, Any]:
    """What the gateway stores with the message."""
    intent = parse_data.get("intent") or {}
    return {
        "intent": intent.get("name"),
        "confidence": round(float(intent.get("confidence") or 0.0), 4),
        "ranking": [row["name"] for row in (parse_data.get("intent_ranking") or [])[:RANKING_KEPT]],
        "language": parse_data.get("language"),
        "sentiment": parse_data.get("sentiment"),
        "entities": [{key: entity[key] for key in ("entity", "value", "start", "end") if key in entity}
                     for entity in parse_data.get("entities") or []],
        "articles": parse_data.get("articles") or [],
    }


def reply_of(message: dict[str, Any]) -> dict[str, Any]:
    """One reply, as the gateway expects it."""
    return {"text": message["text"],
            "buttons": [{"title": str(button.get("title", "")), "payload": str(button.get("payload", ""))}
                        for button in message.get("buttons") or []]}


def already_answered(tracker: DialogueStateTracker | None, message_id: str) -> dict[str, Any] | None:
    """The answer given to this very message before, from the tracker; None where it is new."""
    if tracker is None:
        return None
    found: UserUttered | None = None
    replies: list[dict[str, Any]] = []
    for event in tracker.events:
        if isinstance(event, UserUttered):
            if found is not None:
                break
            if event.message_id == message_id:
                found = event
        elif found is not None and isinstance(event, BotUttered) and event.text:
            replies.append(reply_of({"text": event.text, "buttons": (event.data or {}).get("buttons")}))
    if found is None:
        return None
    return {"replies": replies, "understood": understood(found.parse_data)}

"""The door: who may knock, what a request must look like, and what comes back."""
from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import aiohttp
import pytest
from rasa.core.agent import Agent
from rasa.core.channels.channel import UserMessage
from rasa.shared.core.domain import Domain
from rasa.shared.core.events import BotUttered, UserUttered
from rasa.shared.core.trackers import DialogueStateTracker
from rasa.shared.exceptions import RasaException

from bot.channel import BadRequest, GatewayChannel, Knock, already_answered, button_pressed, spoken
from tests.bot.talking import Talk

BODY: dict[str, Any] = {"conversation_id": 1, "message_id": 2, "text": "你好", "payload": None, "mode": "turn",
                        "context": {}}
DOMAIN = Domain.from_dict({"intents": ["affirm", "inform", "out_of_scope"], "entities": ["order_number"]})


@pytest.mark.parametrize(("field", "value"), [
    ("conversation_id", 0), ("conversation_id", "1"), ("conversation_id", True), ("message_id", None),
    ("message_id", 1.5),
    ("text", ""), ("text", " \n"), ("text", None), ("text", "x" * 4001), ("payload", 7), ("payload", "/" + "x" * 500),
    ("mode", "write"), ("mode", None), ("context", []), ("context", None),
])
def test_what_is_wrong_with_a_request_is_named(field: str, value: object) -> None:
    with pytest.raises(BadRequest) as error:
        Knock.read({**BODY, field: value})
    assert error.value.field == field


@pytest.mark.parametrize("body", [None, [], "x", 1])
def test_only_objects_are_requests(body: object) -> None:
    with pytest.raises(BadRequest) as error:
        Knock.read(body)
    assert error.value.field == "body"


def test_the_ids_of_the_request_win_over_those_in_its_context() -> None:
    knock = Knock.read({**BODY, "context": {"message_id": 99, "language": "en"}})
    assert knock.context == {"message_id": 2, "conversation_id": 1, "language": "en"}


@pytest.mark.parametrize(("typed", "read"), [
    ("/restart", "restart"), ("  /affirm", "affirm"), ("\u200b/restart", "restart"), ("\u202e//back", "back"),
    ("/", "…"), ("你好 /restart", "你好 /restart"), ("\ufeff\u2060 hi", "hi"), ("1/2", "1/2"),
])
def test_typed_text_is_never_a_command(typed: str, read: str) -> None:
    assert spoken(typed) == read


def test_what_no_component_could_tell_is_null_and_not_left_out(talk: Talk) -> None:
    parsed = asyncio.run(talk.keeper.processor.parse_message(UserMessage("你好")))  # this model has no NLU
    assert parsed["sentiment"] is None and parsed["language"] is None


def test_a_button_is_its_intent_and_entities() -> None:
    pressed = button_pressed('/inform{"order_number": "WL20261018004", "admin": "yes"}', DOMAIN)
    assert pressed is not None and pressed["intent"] == {"name": "inform", "confidence": 1.0}
    found = [(entity["entity"], entity["value"]) for entity in pressed["entities"]]
    assert found == [("order_number", "WL20261018004")]


@pytest.mark.parametrize("payload", [
    None, "", "affirm", "/restart", "/session_start", "/back", "/out_of_scope", "/nlu_fallback", "/rate{\"score\": 5}",
    "/affirm{", "/affirm{nonsense}", "/affirm; drop", "/Affirm",
])
def test_what_is_no_button_of_ours_is_read_as_text(payload: str | None) -> None:
    assert button_pressed(payload, DOMAIN) is None


def test_replies_to_a_message_are_found_again() -> None:
    tracker = DialogueStateTracker.from_events("1", [
        UserUttered("a", {"name": "affirm"}, message_id="1"), BotUttered("one"),
        UserUttered("b", {"name": "inform", "confidence": 0.5}, message_id="2", parse_data={"language": "en"}),
        BotUttered("two", {"buttons": [{"title": "Yes", "payload": "/affirm"}]}), BotUttered("three"),
        UserUttered("c", {"name": "affirm"}, message_id="3"), BotUttered("four"),
    ])
    found = already_answered(tracker, "2")
    assert found is not None
    assert found["replies"] == [{"text": "two", "buttons": [{"title": "Yes", "payload": "/affirm"}]},
                                {"text": "three", "buttons": []}]
    assert (found["understood"]["intent"], found["understood"]["language"]) == ("inform", "en")
    assert already_answered(tracker, "4") is None and already_answered(None, "1") is None


@dataclass
class Answer:
    """What the door answered."""

    status: int
    data: Any


class Door:
    """The channel, asked as Sanic would ask it."""

    def __init__(self, agent: Any) -> None:
        self.channel = GatewayChannel.from_credentials({"token": "s3cret"})
        self.agent = agent

    def post(self, body: Any, token: str | None = "s3cret") -> Answer:
        request = SimpleNamespace(
            headers={} if token is None else {"authorization": f"Bearer {token}"},
            body=body if isinstance(body, bytes) else json.dumps(body).encode(),
            app=SimpleNamespace(ctx=SimpleNamespace(agent=self.agent)))
        answer = asyncio.run(self.channel.receive(request))
        return Answer(answer.status, json.loads(answer.body))


def test_the_channel_has_a_token_and_two_routes() -> None:
    with pytest.raises(RasaException):
        GatewayChannel.from_credentials({})
    blueprint = GatewayChannel("t").blueprint(lambda message: None)
    routes = {(route.uri, tuple(route.methods)) for route in blueprint._future_routes}
    assert routes == {("/", ("GET",)), ("/messages", ("POST",))}


@pytest.fixture
def door(agent: Agent, talk: Talk) -> Door:
    return Door(agent)


@pytest.mark.parametrize("token", [None, "", "S3cret", "s3cret2", "säcret"])
def test_nobody_enters_without_the_token(door: Door, token: str | None) -> None:
    assert door.post(BODY, token).status == 401


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b"[]", b"[" * 5000])
def test_a_broken_body_is_422(door: Door, body: bytes) -> None:
    answer = door.post(body)
    assert answer.status == 422 and answer.data["field"] == "body"


def test_no_model_is_503() -> None:
    assert Door(None).post(BODY).status == 503


def test_a_message_gets_its_replies_once(door: Door, talk: Talk) -> None:
    talk.say("你好", "greet")  # makes the conversation
    body = {**BODY, "message_id": 77, "text": "x", "payload": "/ask_capabilities", "context": {"language": "en"}}
    first = door.post(body)
    assert first.status == 200
    assert first.data["understood"]["intent"] == "ask_capabilities"
    assert "track orders" in first.data["replies"][0]["text"]
    assert door.post(body).data["replies"] == first.data["replies"]


def test_a_failed_turn_is_503_and_comes_again(door: Door, talk: Talk) -> None:
    talk.say("你好", "greet")
    door.post({**BODY, "message_id": 70, "payload": "/thank"})  # the door has its own keeper from here on
    endpoint = talk.keeper.processor.action_endpoint
    endpoint.broken = aiohttp.ClientConnectionError("refused")
    body = {**BODY, "message_id": 78, "payload": "/ask_points_balance", "context": {"language": "zh"}}
    assert door.post(body).status == 503
    endpoint.broken = None
    assert "1,280" in str(door.post(body).data["replies"])

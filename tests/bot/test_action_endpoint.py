"""The way to the actions server: tries again, keeps requests small, and makes failures visible."""
from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from rasa.utils.endpoints import ClientResponseError, EndpointConfig

import bot.action_endpoint
from bot.action_endpoint import TURNS_SENT, ActionEndpoint, shorten
from bot.turn import Turn, turn_running
from tests.conftest import free_port


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bot.action_endpoint, "PAUSES", (0.0, 0.0, 0.0))


def endpoint(port: int) -> ActionEndpoint:
    return ActionEndpoint.like(EndpointConfig(f"http://127.0.0.1:{port}/webhook", enable_selective_domain=True))


def asked(handler: Callable[[web.Request], Awaitable[web.StreamResponse]], body: Any = None) -> tuple[Any, Turn]:
    """What one request to a real server with this handler gives: the answer or the error, and the turn."""

    async def run() -> tuple[Any, Turn]:
        app = web.Application()
        app.router.add_post("/webhook", handler)
        runner = web.AppRunner(app)
        await runner.setup()
        port = free_port()
        await web.TCPSite(runner, "127.0.0.1", port).start()
        turn, one = Turn("1", "1"), endpoint(port)
        try:
            with turn_running(turn):
                return await one.request(json=body or {"next_action": "x"}), turn
        except Exception as error:
            return error, turn
        finally:
            await one._connected().close()
            await runner.cleanup()

    return asyncio.run(run())


def test_an_answer_is_passed_on() -> None:
    async def answer(request: web.Request) -> web.Response:
        return web.json_response({"events": [], "responses": [{"text": (await request.json())["next_action"]}]})

    result, turn = asked(answer)
    assert result["responses"] == [{"text": "x"}] and turn.failure is None


def test_an_error_of_the_server_fails_the_turn_and_repeats_no_words_of_the_customer() -> None:
    async def fail(_: web.Request) -> web.Response:
        return web.json_response({"error": "x", "request_body": "13800138000"}, status=500)

    result, turn = asked(fail)
    assert isinstance(result, ClientResponseError) and turn.failure == "the actions server answered 500"
    assert "13800138000" not in str(result.text)


def test_an_action_that_refuses_to_run_fails_nothing() -> None:
    async def refuse(_: web.Request) -> web.Response:
        return web.json_response({"error": "no", "action_name": "x"}, status=400)

    result, turn = asked(refuse)
    assert isinstance(result, ClientResponseError) and json.loads(result.text)["action_name"] == "x"
    assert turn.failure is None


def test_a_dropped_connection_is_tried_again() -> None:
    calls = []

    async def drop_first(request: web.Request) -> web.Response:
        calls.append(1)
        if len(calls) < 3:
            assert request.transport is not None
            request.transport.close()
        return web.json_response({"events": [], "responses": []})

    result, turn = asked(drop_first)
    assert result == {"events": [], "responses": []} and len(calls) == 3 and turn.failure is None


def test_nobody_there_fails_the_turn() -> None:
    async def run() -> Turn:
        turn = Turn("1", "1")
        one = endpoint(free_port())
        with turn_running(turn), pytest.raises(aiohttp.ClientConnectionError):
            await one.request(json={"next_action": "x"})
        await one._connected().close()
        return turn

    assert "did not answer" in str(asyncio.run(run()).failure)


def test_requests_carry_the_last_turns_and_the_form_before_them() -> None:
    events: list[dict[str, Any]] = [{"event": "active_loop", "name": "one_form"}]
    for at in range(10):
        events += [{"event": "user", "text": str(at), "parse_data": {"text": str(at)}, "metadata": {"customer": 1}},
                   {"event": "action", "name": "action_listen"}]
    request = {"tracker": {"events": events}}
    shorten(request)
    kept = request["tracker"]["events"]
    assert kept[0]["name"] == "one_form"
    texts = [event["text"] for event in kept if event["event"] == "user"]
    assert texts == [str(at) for at in range(10 - TURNS_SENT, 10)]
    assert all("parse_data" not in event and not event.get("metadata") for event in kept)

"""The server has patience with clients, and an end of it."""
from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from tests.conftest import free_port
from warmline.http_server import TOO_LARGE, TOO_SLOW, PatientProtocol


class Hasty(PatientProtocol):
    """The same with a second or less for everything."""

    head_seconds = 0.5
    silent_seconds = 0.5
    request_seconds = 1.0


async def measure(request: Request) -> PlainTextResponse:
    size = 0
    async for part in request.stream():
        size += len(part)
    return PlainTextResponse(str(size))


@contextlib.contextmanager
def serving(protocol: type[PatientProtocol]) -> Iterator[int]:
    """A server on loopback; gives its port."""
    chosen = free_port()
    server = uvicorn.Server(uvicorn.Config(
        Starlette(routes=[Route("/", measure, methods=["GET", "POST"])]), host="127.0.0.1", port=chosen,
        http=protocol, log_level="critical", ws="none", timeout_graceful_shutdown=1))
    started, startup = threading.Event(), server.startup

    async def announced(*arguments: Any, **named: Any) -> None:
        await startup(*arguments, **named)
        started.set()

    server.startup = announced  # type: ignore[method-assign]
    thread = threading.Thread(target=lambda: asyncio.run(server.serve()), daemon=True)
    thread.start()
    assert started.wait(60)
    yield chosen
    server.should_exit = True
    thread.join(20)


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with serving(PatientProtocol) as chosen:
        yield chosen


@pytest.fixture(scope="module")
def hasty() -> Iterator[int]:
    with serving(Hasty) as chosen:
        yield chosen


def read_to_the_end(connection: socket.socket) -> bytes:
    """What comes until the server closes."""
    got = b""
    try:
        while part := connection.recv(65_536):
            got += part
    except ConnectionError:
        pass
    return got


def test_a_head_without_end_is_refused(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        sent = 0
        try:
            connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nX-Long: ")
            while sent < 64 * 1024 * 1024:
                connection.sendall(b"x" * 65_536)
                sent += 65_536
        except ConnectionError:
            pass
        assert sent < 32 * 1024 * 1024
        assert read_to_the_end(connection) in (b"", TOO_LARGE)


@pytest.mark.parametrize("begun", [b"", b"GET / HT", b"GET / HTTP/1.1\r\nHost: x\r\n",
                                   b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nabc"])
def test_who_falls_silent_is_let_go(hasty: int, begun: bytes) -> None:
    with socket.create_connection(("127.0.0.1", hasty), timeout=60) as connection:
        connection.sendall(begun)
        answer = read_to_the_end(connection)
    in_head = begun and b"\r\n\r\n" not in begun
    assert answer == (TOO_SLOW if in_head else b"") or (b"Content-Length" in begun and b"200" not in answer)


def test_usual_requests_one_after_the_other_are_served(port: int) -> None:
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=60) as client:
        for size in (0, 1, 100_000, 5_000_000, 0):
            assert client.post("/", content=b"x" * size).text == str(size)
        assert client.get("/", headers={"X-Some": "x" * 20_000}).status_code == 200


def test_requests_sent_at_once_are_all_served(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * 3
                           + b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert read_to_the_end(connection).count(b"HTTP/1.1 200") == 4

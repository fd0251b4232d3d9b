"""The HTTP server's patience: how long a request's head may be, and how long a client may take to send a request.

Uvicorn's parser keeps whatever a head holds, however long it gets, and waits for the rest of a request for ever.
"""
from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

TOO_LARGE = (b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
TOO_SLOW = b"HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


class PatientProtocol(HttpToolsProtocol):
    """One connection. A head above ``head_limit`` bytes is refused; so is a client that is silent or slow.

    Attributes:
        head_limit: bytes of a request line with its headers.
        head_seconds: for the head, from its first byte; a connection that has sent nothing yet has as long.
        silent_seconds: without a byte before the request is complete.
        request_seconds: for the whole request; a picture on a slow line takes a while.
    """

    head_limit = 64 * 1024
    head_seconds = 20.0
    silent_seconds = 30.0
    request_seconds = 600.0

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._in_head, self._size, self._began = True, 0, 0.0
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for a head."""
        super().connection_made(transport)
        self._wait(self.head_seconds)

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no longer."""
        self._stop_waiting()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take some bytes, and see whether there are too many of them or enough."""
        if self._size == 0:
            self._began = self.loop.time()
        self._size += len(data)
        super().data_received(data)
        if self.transport.is_closing():
            self._stop_waiting()
        elif self._in_head and self._size > self.head_limit:
            self._refuse(TOO_LARGE)
        elif self._size:
            whole = self.head_seconds if self._in_head else self.request_seconds
            self._wait(min(self.silent_seconds, max(0.0, self._began + whole - self.loop.time())))

    def on_headers_complete(self) -> None:
        """The head is there."""
        self._in_head = False
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """The request is there; the next one begins with a head again."""
        self._in_head, self._size = True, 0
        self._stop_waiting()
        super().on_message_complete()

    def _wait(self, seconds: float) -> None:
        self._stop_waiting()
        self._timer = self.loop.call_later(seconds, self._late)

    def _stop_waiting(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _late(self) -> None:
        if self.flow.read_paused:  # it is us who do not read
            self._wait(self.silent_seconds)
            return
        if self._in_head:
            self._refuse(TOO_SLOW if self._size else b"")
        else:
            self.transport.close()

    def _refuse(self, answer: bytes) -> None:
        self._stop_waiting()
        if answer and (self.cycle is None or self.cycle.response_complete):
            self.transport.write(answer)
        self.transport.close()

"""Rings for the watcher of the store after a commit, at most some twenty times a second.

Under load a look at the store for every commit would cost more than the commits; one look sees all that came before.
It also tells the one who delivers that a message may be queued, so that nobody waits for the next look.
"""
from __future__ import annotations

import asyncio
from collections.abc import Callable

PAUSE_SECONDS = 0.05


class Bell:
    """Sets the watcher's event at once, and what is rung within the pause after it once at its end."""

    def __init__(self, nudge: asyncio.Event) -> None:
        self._nudge = nudge
        self._pausing = False
        self._rung_again = False
        self._deliver: Callable[[str | None, int | None], None] | None = None

    def deliver_by(self, deliver: Callable[[str | None, int | None], None]) -> None:
        """Have this told of messages that were queued, with the channel and the identity as far as they are known."""
        self._deliver = deliver

    def queued(self, channel: str | None = None, identity_id: int | None = None) -> None:
        """Something was committed, and a message to a customer may be queued with it. Call it on the event loop."""
        self.ring()
        if self._deliver is not None:
            self._deliver(channel, identity_id)

    def ring(self) -> None:
        """Something was committed. Call it on the event loop."""
        if self._pausing:
            self._rung_again = True
            return
        self._nudge.set()
        self._pausing = True
        asyncio.get_running_loop().call_later(PAUSE_SECONDS, self._pause_ends)

    def _pause_ends(self) -> None:
        self._pausing = False
        if self._rung_again:
            self._rung_again = False
            self.ring()

"""Rings for the watcher of the store after a commit, at most some twenty times a second.

Under load a look at the store for every commit would cost more than the commits; one look sees all that came before.
"""
from __future__ import annotations

import asyncio

PAUSE_SECONDS = 0.05


class Bell:
    """Sets the watcher's event at once, and what is rung within the pause after it once at its end."""

    def __init__(self, nudge: asyncio.Event) -> None:
        self._nudge = nudge
        self._pausing = False
        self._rung_again = False

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

"""The turn that is running: one message of one conversation, and whether something it needs has failed."""
from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Turn:
    """One message being answered.

    A turn that failed is neither saved nor answered: the gateway keeps the message and brings it again.

    Attributes:
        conversation_id: the conversation's id, which is Rasa's sender id.
        message_id: the message's id in the store.
        failure: what made the turn fail, or None.
        trackers: trackers read during the turn, so that one turn reads its conversation once.
    """

    conversation_id: str
    message_id: str
    failure: str | None = None
    trackers: dict[str, Any] = field(default_factory=dict)

    def fail(self, why: str) -> None:
        """Mark the turn as failed; the first cause is kept."""
        self.failure = self.failure or why


_running: ContextVar[Turn | None] = ContextVar("warmline_turn", default=None)


def running_turn() -> Turn | None:
    """The turn this task is running, or None outside of one (``rasa shell``, ``rasa test``)."""
    return _running.get()


@contextmanager
def turn_running(turn: Turn) -> Iterator[Turn]:
    """Make ``turn`` the running one until the block ends."""
    before = _running.set(turn)
    try:
        yield turn
    finally:
        _running.reset(before)

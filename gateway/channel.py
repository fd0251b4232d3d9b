"""What a channel owes the rest: the one contract that the web chat, the HTTP channel, Telegram and WeChat keep.

**Incoming.** What a channel receives it stores with :func:`crm_store.services.messages.receive_message`, under an id of
the person that no other bot or account of the channel shares and an id of the message that is the same when the same
message comes again. Only after the commit does it acknowledge; what the store did not take is not acknowledged. Then it
rings the bell and wakes the dispatcher. A button comes back as what was offered, never as what the sender claims. What
cannot be read is answered politely, in the person's language.

**Outgoing.** Answers are messages in the store. People of the web chat and the HTTP channel fetch them there. To all
others they are pushed by the one :class:`gateway.delivery.Delivery`, a piece at a time through the channel's
:class:`ChannelAdapter`, which tells what became of each piece; when to try again, and when to give up, is not its
business.

``tests/gateway/test_channel_contract.py`` holds every channel to this; ``docs/how-to/add-a-channel.md`` shows the way.
"""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from fastapi import APIRouter

from crm_store.services.delivery import Parcel


@dataclass(frozen=True)
class Sent:
    """The channel has taken it, under an id of its own."""

    channel_id: str | None = None


@dataclass(frozen=True)
class RetryAfter:
    """The channel wants to be left alone for so many seconds; it has not taken it."""

    seconds: float


@dataclass(frozen=True)
class NotSent:
    """It surely did not arrive, and may later."""

    reason: str


@dataclass(frozen=True)
class Refused:
    """The channel will never take it."""

    reason: str


@dataclass(frozen=True)
class Unreachable:
    """The person has blocked the shop on this channel."""


@dataclass(frozen=True)
class Unknown:
    """It may have arrived: the answer did not come."""

    reason: str


Outcome = Sent | RetryAfter | NotSent | Refused | Unreachable | Unknown


class ChannelAdapter(Protocol):
    """The outgoing half of a channel that messages are pushed to."""

    name: str

    def pieces(self, parcel: Parcel) -> Sequence[str]:
        """The texts that a message is sent as, one after the other; the same at every attempt."""

    async def ready(self, address: str) -> None:
        """Wait until the channel allows one more message to this person."""

    async def send(self, parcel: Parcel, text: str, *, last: bool) -> Outcome:
        """Hand one piece over; the last one carries the buttons. Raises nothing that can be foreseen."""


class PushedChannel(Protocol):
    """A channel that messages are pushed to, as the service wires it."""

    @property
    def adapter(self) -> ChannelAdapter:
        """Its outgoing half."""

    def router(self) -> APIRouter:
        """The addresses that the channel's servers post to."""

    async def run(self) -> None:
        """Do whatever the channel does by itself, until cancelled."""

    async def close(self) -> None:
        """End the connections; nothing is sent any more."""

"""Sends what is queued for the channels that messages are pushed to: in order for each person, all side by side.

A piece of a message is claimed in the store before it is sent and noted after. Every step can be the last one before
the process is killed:

- before the claim is committed: nothing has happened;
- with the claim, before, during or after the sending: the lease runs out, and the next claim finds a piece that may
  have arrived; it is sent once more, and no third time;
- after what came of it is noted: nobody sends the piece again.
"""
from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import timedelta
from functools import partial

from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from crm_store.services import delivery
from crm_store.services.delivery import Parcel
from gateway.channel import ChannelAdapter, NotSent, Outcome, RetryAfter, Sent, Unknown, Unreachable
from gateway.deps import GatewayDeps
from gateway.lanes import Lanes, keep_looking
from gateway.metrics import SENT

log = logging.getLogger(__name__)

LOOK_SECONDS = 5.0  # for what nobody told of: leases that ran out, messages that other processes queued
SEND_SECONDS = 30.0  # shorter than a lease
NOTE_AGAIN_SECONDS = (0.5, 1.0, 2.0, 4.0, 8.0, 8.0)  # in all shorter than what is left of a lease
MOST_LANES = 2000  # that wait for their turn at once


class Delivery:
    """The loop that sends."""

    def __init__(self, deps: GatewayDeps, adapters: Sequence[ChannelAdapter]) -> None:
        """Start idle. Channels without an adapter are left alone: their people fetch their messages themselves."""
        self._deps = deps
        self._adapters: Mapping[str, ChannelAdapter] = {adapter.name: adapter for adapter in adapters}
        self._serving = Lanes(self._serve, "delivery", self._served)
        self._told_again: set[int] = set()
        self._wake = asyncio.Event()
        self._running = False

    async def run(self) -> None:
        """Send what the bell tells of, and look now and then, until cancelled; then end what is under way, or leave it.
        """
        self._running = True
        self._deps.bell.deliver_by(self.told)
        try:
            await keep_looking(self.look, LOOK_SECONDS, "messages to send", self._wake)
        finally:
            self._running = False
            await self._serving.stop()

    def told(self, channel: str | None, identity_id: int | None) -> None:
        """A message may be queued for this person, or for anybody. Never waits."""
        if identity_id is None:
            self._wake.set()
        elif channel in self._adapters:
            self._begin(identity_id)

    def _begin(self, identity_id: int) -> None:
        if len(self._serving) < MOST_LANES and not self._serving.begin(identity_id):
            self._told_again.add(identity_id)

    def _served(self, identity_id: int) -> None:
        if identity_id in self._told_again:
            self._told_again.discard(identity_id)
            self._begin(identity_id)

    async def look(self) -> None:
        """Serve every lane in which something may be sent."""
        now, served = self._deps.clock(), tuple(self._serving)
        if len(served) >= MOST_LANES:
            return
        self._told_again.update(served)  # one that has just found nothing would miss what is left out here
        most = delivery.LANES_AT_ONCE
        waiting = await self._deps.transactions.read(
            lambda session: delivery.lanes_waiting(session, tuple(self._adapters), now, besides=served, most=most))
        begun = [identity_id for identity_id in waiting if self._serving.begin(identity_id)]
        if begun and len(waiting) >= most:  # there may be more: what an outage left waits no longer
            self._wake.set()

    async def idle(self) -> None:
        """Wait until nothing is being sent."""
        await self._serving.idle()

    async def _serve(self, identity_id: int) -> None:
        """Send everything of a lane that is due, a piece at a time."""
        try:
            while not self._serving.stopping and (address := await self._deps.transactions.read(
                    partial(self._address, identity_id))) is not None:
                channel, external_id = address
                await self._adapters[channel].ready(external_id)
                parcel = await self._deps.transactions.write(
                    lambda session: delivery.claim_message(session, identity_id, self._deps.clock()))
                if parcel is not None:
                    await self._send(parcel)
                self._deps.bell.ring()
            await self._come_back(identity_id)
        except SQLAlchemyError:  # the lease runs out, and a look finds the message again
            log.exception("the store failed while messages were sent")

    async def _come_back(self, identity_id: int) -> None:
        """Serve the lane again when what waits in it is due."""
        due = await self._deps.transactions.read(lambda session: delivery.next_due(session, identity_id))
        if due is not None and self._running:
            seconds = (due - self._deps.clock()).total_seconds()
            asyncio.get_running_loop().call_later(max(0.0, seconds), self._begin, identity_id)

    def _address(self, identity_id: int, session: Session) -> tuple[str, str] | None:
        return delivery.waiting_address(session, identity_id, self._deps.clock())

    async def _send(self, parcel: Parcel) -> None:
        adapter = self._adapters[parcel.channel]
        pieces = adapter.pieces(parcel)
        index = min(parcel.pieces_sent, len(pieces) - 1)
        last = index == len(pieces) - 1
        try:
            outcome = await asyncio.wait_for(adapter.send(parcel, pieces[index], last=last), SEND_SECONDS)
        except asyncio.TimeoutError:
            outcome = Unknown("timed_out")
        except Exception as error:  # the edge of the loop: one message must not end the others
            log.exception("a message could not be sent", extra={"message_id": parcel.message_id})
            outcome = Unknown(f"unforeseen: {type(error).__name__}")
        SENT.labels(parcel.channel, type(outcome).__name__.lower()).inc()
        if not isinstance(outcome, Sent):
            log.warning("message not sent at attempt %d: %s", parcel.attempt, outcome,
                        extra={"conversation_id": parcel.conversation_id, "message_id": parcel.message_id})
        await self._keep(partial(self._note, parcel, outcome, last))

    async def _keep(self, note: Callable[[Session], None]) -> None:
        """Note what came of it, also where the store comes back only after a while: else it would be sent again."""
        for seconds in NOTE_AGAIN_SECONDS:
            try:
                return await self._deps.transactions.write(note)
            except SQLAlchemyError:
                log.warning("what came of a message cannot be noted; trying again", exc_info=True)
                await asyncio.sleep(seconds)
        await self._deps.transactions.write(note)

    def _note(self, parcel: Parcel, outcome: Outcome, last: bool, session: Session) -> None:
        now = self._deps.clock()
        if isinstance(outcome, Sent):
            delivery.note_sent(session, parcel, outcome.channel_id, now, last=last)
        elif isinstance(outcome, RetryAfter):
            delivery.note_put_off(session, parcel, "retry_after", now + timedelta(seconds=outcome.seconds), now)
        elif isinstance(outcome, NotSent):
            delivery.note_failure(session, parcel, outcome.reason, now)
        elif isinstance(outcome, Unknown):
            delivery.note_unknown(session, parcel, outcome.reason, now)
        elif isinstance(outcome, Unreachable):
            delivery.note_unreachable(session, parcel.identity_id, now)
        else:
            delivery.note_refused(session, parcel, outcome.reason, now)


class Pace:
    """How fast a channel may be sent to: so many messages a second in all, and one a second to each person."""

    def __init__(self, per_second: float, between: float, clock: Callable[[], float],
                 sleep: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
        """Nothing sent yet.

        Args:
            per_second: messages a second in all.
            between: seconds between two messages to one person.
            clock: seconds that only ever rise.
            sleep: waits so many seconds.
        """
        self._apart, self._between = 1 / per_second, between
        self._clock, self._sleep = clock, sleep
        self._next = 0.0
        self._next_to: dict[str, float] = {}
        self._held = 0.0

    async def ready(self, person: str) -> None:
        """Wait for a slot and take it."""
        while (wait := max(self._held, self._next_to.get(person, 0.0), self._next) - self._clock()) > 0:
            await self._sleep(wait)
        now = self._clock()
        self._next, self._next_to[person] = now + self._apart, now + self._between
        if len(self._next_to) > 1000:
            self._next_to = {each: at for each, at in self._next_to.items() if at > now}

    def hold(self, seconds: float) -> None:
        """Let nobody through for so many seconds."""
        self._held = max(self._held, self._clock() + seconds)

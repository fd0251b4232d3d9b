"""Sends what is queued for e-mail and webhooks, one at a time in each lane, all lanes side by side.

A lane is what waits for the same server: the mail server, or one webhook. A server that is down keeps its own lane
waiting and nobody else's. Each delivery is claimed in the store before it is sent, so of many processes one sends it;
one that is killed between sending and noting it leaves it to be sent once more, under the same public id.
"""
from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from functools import partial
from typing import Protocol

from sqlalchemy.exc import SQLAlchemyError

from crm_store.services import deliveries
from crm_store.services.deliveries import Outgoing
from gateway.deps import GatewayDeps
from gateway.lanes import Lanes, keep_looking
from gateway.metrics import DELIVERIES

log = logging.getLogger(__name__)

LOOK_SECONDS = 1.0
SEND_SECONDS = 90.0  # shorter than a lease
SWEEP_EVERY = timedelta(hours=1)


class NotDelivered(Exception):
    """The target did not take it.

    Attributes:
        reason: for the delivery log: one of ``DELIVERY_ERRORS``, after a colon more; no address, no secret.
        status: of an HTTP response or an SMTP reply.
        permanent: trying again cannot help.
        target_down: its server answers nobody.
    """

    def __init__(self, reason: str, *, status: int | None = None, permanent: bool = False,
                 target_down: bool = False) -> None:
        super().__init__(reason)
        self.reason, self.status, self.permanent, self.target_down = reason, status, permanent, target_down


class Adapter(Protocol):
    """One way to tell somebody something."""

    async def send(self, delivery: Outgoing, now: datetime) -> int | None:
        """Hand a delivery over; the status of the answer, where there is one.

        Raises:
            NotDelivered: the target did not take it.
        """


class Notifier:
    """The loop that sends."""

    def __init__(self, deps: GatewayDeps, adapters: Mapping[str, Adapter], mail_delay: timedelta,
                 jitter: Callable[[], float] = random.random) -> None:
        """Start idle; a way without an adapter is switched off, and what is queued for it is skipped."""
        self._deps = deps
        self._adapters = adapters
        self._mail_delay = mail_delay
        self._jitter = jitter
        self._serving = Lanes(self._serve, "notices")
        self._swept_at: datetime | None = None

    async def run(self) -> None:
        """Look every second for what is due, until cancelled; then end what is under way, or leave it to its lease."""
        try:
            await keep_looking(self.look, LOOK_SECONDS, "notices to send")
        finally:
            await self._serving.stop()

    async def look(self) -> None:
        """Serve every lane in which something is due."""
        now = self._deps.clock()
        if self._swept_at is None or now - self._swept_at >= SWEEP_EVERY:
            self._swept_at = now
            await self._deps.transactions.write(partial(deliveries.forget_deliveries, now=now))
        for lane in await self._deps.transactions.read(
                lambda session: deliveries.lanes_waiting(session, now, self._mail_delay)):
            self._serving.begin(lane)

    async def idle(self) -> None:
        """Wait until nothing is being sent."""
        await self._serving.idle()

    async def _serve(self, lane: str) -> None:
        try:
            while not self._serving.stopping and (delivery := await self._deps.transactions.write(
                    lambda session: deliveries.claim_delivery(session, lane, self._deps.clock(), self._mail_delay))):
                await self._send(delivery)
        except SQLAlchemyError:  # the lease runs out, and a look finds the delivery again
            log.warning("the store failed while notices were sent", exc_info=True)

    async def _send(self, delivery: Outgoing) -> None:
        adapter = self._adapters.get(delivery.adapter)
        if adapter is None:
            await self._deps.transactions.write(partial(deliveries.note_off, delivery_id=delivery.id))
            return
        try:
            status = await asyncio.wait_for(adapter.send(delivery, self._deps.clock()), SEND_SECONDS)
        except NotDelivered as error:
            await self._failed(delivery, error)
        except asyncio.TimeoutError:
            await self._failed(delivery, NotDelivered("timed_out", target_down=True))
        except Exception as error:  # the edge of the loop: one delivery must not end the others
            log.exception("a delivery failed in an unforeseen way")
            await self._failed(delivery, NotDelivered(f"unforeseen: {type(error).__name__}"))
        else:
            DELIVERIES.labels(delivery.adapter, "sent").inc()
            await self._deps.transactions.write(
                lambda session: deliveries.note_sent(session, delivery.id, self._deps.clock(), status))

    async def _failed(self, delivery: Outgoing, error: NotDelivered) -> None:
        state = await self._deps.transactions.write(lambda session: deliveries.note_failure(
            session, delivery.id, delivery.attempt, error.reason, self._deps.clock(), jitter=self._jitter(),
            status=error.status, permanent=error.permanent, target_down=error.target_down))
        DELIVERIES.labels(delivery.adapter, state).inc()
        log.warning("delivery %d by %s: %s after attempt %d: %s", delivery.id, delivery.adapter, state,
                    delivery.attempt, error.reason)

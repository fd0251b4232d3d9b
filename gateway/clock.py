"""Keeps the SLA clocks going: warnings, verdicts and waking of what was snoozed, while the service runs."""
from __future__ import annotations

import asyncio
import logging

from sqlalchemy.orm import Session

from crm_store.services import sla
from gateway.deps import GatewayDeps

log = logging.getLogger(__name__)

ROUNDS = 100  # of one look, so that a backlog does not keep the others waiting
SHORTEST_PAUSE = 0.5  # seconds; what comes together is looked at together


async def run_clock(deps: GatewayDeps, interval: float) -> None:
    """Look at the clocks when the next thing is to come, and every ``interval`` seconds at least, until cancelled.

    A look that fails is logged and tried again.
    """
    while True:
        pause = interval
        try:
            await look_at_clocks(deps)
            pause = await _until_next(deps, interval)
        except Exception:  # the edge of the loop: the next look makes good for this one
            log.exception("the SLA clocks could not be looked at; trying again")
        await asyncio.sleep(pause)


async def look_at_clocks(deps: GatewayDeps) -> int:
    """Do all that is due by now, in several transactions when it is much; how many things happened."""
    def tick(session: Session) -> int:
        return len(sla.tick(session, deps.clock()))

    total = 0
    for _ in range(ROUNDS):
        happened = await deps.transactions.write(tick)
        if not happened:
            break
        total += happened
        deps.bell.queued()
    return total


async def _until_next(deps: GatewayDeps, interval: float) -> float:
    """Seconds until there is something to look at; ``interval`` at most."""
    coming = await deps.transactions.read(sla.next_event)
    if coming is None:
        return interval
    return min(interval, max((coming - deps.clock()).total_seconds(), SHORTEST_PAUSE))

"""Runs the nightly job once a day of the shop, or later where the service was down or busy at the time."""
from __future__ import annotations

import asyncio
import logging
from functools import partial

from crm_store.services.attachments import sweep_files
from crm_store.services.care import take_care
from crm_store.services.nightly import begin_nightly, next_run, prepare_step, take_step
from crm_store.services.value import recount_values
from gateway.deps import GatewayDeps

log = logging.getLogger(__name__)

LONGEST_PAUSE = 600.0  # seconds; a machine that slept, or a worker that died at it, is made up for by then


async def run_nightly_job(deps: GatewayDeps) -> None:
    """Look whether the job is due, do it, wait for the next night; until cancelled. A run that fails is tried again."""
    while True:
        pause = LONGEST_PAUSE
        try:
            if await look_whether_due(deps):
                swept = await deps.transactions.read(
                    lambda session: sweep_files(session, deps.files, deps.clock()))
                log.info("stray files of attachments swept: %d", swept)
            await count_who_bought(deps)
            if await deps.transactions.write(partial(take_care, now=deps.clock())):
                deps.bell.ring()
            pause = min(pause, max((next_run(deps.clock()) - deps.clock()).total_seconds(), 1.0))
        except Exception:  # the edge of the loop: every step that was committed stays done
            log.exception("the nightly job did not come to its end; trying again")
        await asyncio.sleep(pause)


async def look_whether_due(deps: GatewayDeps) -> bool:
    """Do the job if it has not been done for the day; whether this worker brought it to its end.

    Between two steps others get their turn at the store.
    """
    began_at = deps.clock()
    progress = await deps.transactions.write(partial(begin_nightly, now=began_at))
    while progress is not None and not progress.over:
        prepared = await deps.transactions.read(partial(prepare_step, progress=progress))
        progress = await deps.transactions.write(
            partial(take_step, progress=progress, now=deps.clock(), prepared=prepared))
    if progress is None or progress.stopped:
        return False
    log.info("the nightly job for %s is done: %s", progress.day,
             ", ".join(f"{name} {count}" for name, count in progress.counts.items()))
    return True


async def count_who_bought(deps: GatewayDeps) -> int:
    """Count anew whose orders changed since they were counted, so that their value need not wait for the night."""
    counted, after = 0, 0
    while True:
        done, last = await deps.transactions.write(partial(recount_values, now=deps.clock(), after=after))
        counted += done
        if last is None:
            return counted
        after = last

"""Carries out the erasures that are due, and once a day takes away what was kept long enough."""
from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from datetime import date, datetime

from crm_store.services.eraser import Eraser
from crm_store.services.nightly import due_day

log = logging.getLogger(__name__)

PAUSE = 300.0  # seconds


async def run_eraser(eraser: Eraser, clock: Callable[[], datetime]) -> None:
    """Look every few minutes, until cancelled. What fails is tried again."""
    kept_for: date | None = None
    while True:
        try:
            done = await asyncio.to_thread(eraser.look, clock())
            if done:
                log.info("erasures carried out: %d", len(done))
            if kept_for != due_day(clock()):
                gone = await asyncio.to_thread(eraser.keep_periods, clock())
                kept_for = due_day(clock())
                log.info("kept long enough: %s", ", ".join(f"{name} {count}" for name, count in gone.items()))
        except Exception:  # the edge of the loop: every step that was committed stays done
            log.exception("the eraser did not come to its end; trying again")
        await asyncio.sleep(PAUSE)

"""Many lanes served side by side, each by one task at a time: what dispatching and sending have in common."""
from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Hashable, Iterable, Iterator
from functools import partial
from typing import Any, Generic, TypeVar

from sqlalchemy.exc import SQLAlchemyError

log = logging.getLogger(__name__)

STOP_SECONDS = 3.0
Lane = TypeVar("Lane", bound=Hashable)


class Lanes(Generic[Lane]):
    """The lanes that are being served now. Use it on the event loop."""

    def __init__(self, serve: Callable[[Lane], Coroutine[Any, Any, None]], name: str,
                 served: Callable[[Lane], None] = lambda lane: None) -> None:
        """Start with none.

        Args:
            serve: serves one lane to its end, and looks at ``stopping`` on the way.
            name: of the tasks.
            served: is told when a lane is served no more.
        """
        self.stopping = False
        self._serve = serve
        self._name = name
        self._told = served
        self._tasks: dict[Lane, asyncio.Task[None]] = {}

    def __len__(self) -> int:
        return len(self._tasks)

    def __iter__(self) -> Iterator[Lane]:
        return iter(self._tasks)

    def begin(self, lane: Lane) -> bool:
        """Serve a lane from now on; False where it is served already, or nothing is begun any more."""
        if self.stopping or lane in self._tasks:
            return False
        task = asyncio.create_task(self._serve(lane), name=f"{self._name} {lane}")
        self._tasks[lane] = task
        task.add_done_callback(partial(self._ended, lane))
        return True

    async def idle(self) -> None:
        """Wait until nothing is served."""
        while self._tasks:
            await asyncio.wait(set(self._tasks.values()))

    async def stop(self) -> None:
        """Begin nothing more, let end what ends soon, and leave the rest to its leases."""
        self.stopping = True
        if self._tasks:
            _, late = await asyncio.wait(set(self._tasks.values()), timeout=STOP_SECONDS)
            self.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    def cancel(self) -> None:
        """End what is under way wherever it is."""
        for task in self._tasks.values():
            task.cancel()

    def _ended(self, lane: Lane, _: asyncio.Task[None]) -> None:
        del self._tasks[lane]
        self._told(lane)


async def keep_looking(look: Callable[[], Awaitable[None]], every: float, sought: str,
                       wake: asyncio.Event | None = None) -> None:
    """Look again and again, until cancelled, whatever a look comes to.

    Args:
        look: one look.
        every: seconds between two.
        sought: what is looked for, for the log.
        wake: ends the wait before it is over.
    """
    wake = wake or asyncio.Event()
    while True:
        wake.clear()
        try:
            await look()
        except SQLAlchemyError:
            log.warning("the store cannot be searched for %s; trying again", sought, exc_info=True)
        except Exception:  # the edge of the loop: nobody would begin it again
            log.exception("looking for %s failed; trying again", sought)
        waiting = asyncio.ensure_future(wake.wait())
        try:
            await asyncio.wait({waiting}, timeout=every)  # wait_for would lose a cancellation that comes with the wake
        finally:
            waiting.cancel()


async def run_together(loops: Iterable[Coroutine[Any, Any, None]]) -> None:
    """Run all of these until cancelled, or until one fails; then end every one of them."""
    tasks = [asyncio.create_task(loop) for loop in loops]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

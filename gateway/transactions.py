"""Runs database work off the event loop: one transaction a call, on threads that do not get into each other's way.

SQLite lets one writer in at a time and makes the others sleep and poll. Writers of this process queue for one thread
instead, which costs nothing. PostgreSQL gets a few, so that one that waits for a row does not hold up the others, and
not more: what they do is mostly Python, and slows everybody down. Whoever waits for an acknowledgement goes before the
bot's turns, which take much longer anyhow: a channel that is not acknowledged in time sends the message again.
"""
from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from queue import PriorityQueue
from typing import Any, TypeVar

from sqlalchemy.exc import DataError, MultipleResultsFound, NoResultFound, SQLAlchemyError
from sqlalchemy.orm import Session

from crm_store.database import Store

READERS = 4
WRITERS = 2
URGENT_WRITERS = 4

Result = TypeVar("Result")


def may_pass(error: Exception) -> bool:
    """Whether the same work may succeed the next time: the store failed, and not a mistake of ours."""
    mistakes = (DataError, MultipleResultsFound, NoResultFound)
    return isinstance(error, SQLAlchemyError) and not isinstance(error, mistakes)


class Transactions:
    """Units of work of one store, awaited."""

    def __init__(self, store: Store) -> None:
        self._store = store
        one_writer = store.engine.dialect.name == "sqlite"
        self._writers = _Writers(1 if one_writer else WRITERS)
        self._urgent = self._writers if one_writer else _Writers(URGENT_WRITERS)
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="crm-read")

    async def write(self, work: Callable[[Session], Result], *, urgent: bool = False) -> Result:
        """Run ``work`` in a transaction and commit it; its result must not need the session any more.

        A caller that is cancelled meanwhile does not undo it: the transaction runs to its end. ``urgent`` work, for
        which a channel waits to acknowledge a message, goes before all that still waits for a thread.
        """
        result: Result = await asyncio.wrap_future(
            (self._urgent if urgent else self._writers).submit(partial(self._write, work), urgent))
        return result

    async def read(self, work: Callable[[Session], Result]) -> Result:
        """Run ``work`` in a session that changes nothing."""
        return await asyncio.get_running_loop().run_in_executor(self._readers, self._read, work)

    def close(self) -> None:
        """Let the threads end; work under way is finished."""
        self._writers.close()
        self._urgent.close()
        self._readers.shutdown(wait=True)

    def _write(self, work: Callable[[Session], Result]) -> Result:
        with self._store.write() as session:
            return work(session)

    def _read(self, work: Callable[[Session], Result]) -> Result:
        with self._store.read() as session:
            return work(session)


class _Writers:
    """Threads that take what is urgent first, and otherwise what has waited longest."""

    def __init__(self, threads: int) -> None:
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="crm-write")
        self._waiting: PriorityQueue[tuple[bool, int, Future[Any], Callable[[], Any]]] = PriorityQueue()
        self._numbers = itertools.count()

    def submit(self, work: Callable[[], Any], urgent: bool) -> Future[Any]:
        future: Future[Any] = Future()
        self._waiting.put((not urgent, next(self._numbers), future, work))
        self._threads.submit(self._take_one)  # not always this one, but as many as were put
        return future

    def close(self) -> None:
        self._threads.shutdown(wait=True)

    def _take_one(self) -> None:
        _, _, future, work = self._waiting.get()
        if not future.set_running_or_notify_cancel():
            return
        try:
            result = work()
        except BaseException as error:  # handed to whoever waits, as an executor does
            future.set_exception(error)
        else:
            future.set_result(result)

"""Runs database work off the event loop: one transaction a call, on threads that do not get into each other's way.

SQLite lets one writer in at a time and makes the others sleep and poll. Writers of this process queue for one thread
instead, which costs nothing and is fair; PostgreSQL gets several.
"""
from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from sqlalchemy.exc import DataError, MultipleResultsFound, NoResultFound, SQLAlchemyError
from sqlalchemy.orm import Session

from crm_store.database import Store

READERS = 4
WRITERS = 8

Result = TypeVar("Result")


def may_pass(error: Exception) -> bool:
    """Whether the same work may succeed the next time: the store failed, and not a mistake of ours."""
    mistakes = (DataError, MultipleResultsFound, NoResultFound)
    return isinstance(error, SQLAlchemyError) and not isinstance(error, mistakes)


class Transactions:
    """Units of work of one store, awaited."""

    def __init__(self, store: Store) -> None:
        self._store = store
        writers = 1 if store.engine.dialect.name == "sqlite" else WRITERS
        self._writers = ThreadPoolExecutor(writers, thread_name_prefix="crm-write")
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="crm-read")

    async def write(self, work: Callable[[Session], Result]) -> Result:
        """Run ``work`` in a transaction and commit it; its result must not need the session any more.

        A caller that is cancelled meanwhile does not undo it: the transaction runs to its end.
        """
        return await asyncio.get_running_loop().run_in_executor(self._writers, self._write, work)

    async def read(self, work: Callable[[Session], Result]) -> Result:
        """Run ``work`` in a session that changes nothing."""
        return await asyncio.get_running_loop().run_in_executor(self._readers, self._read, work)

    def close(self) -> None:
        """Let the threads end; work under way is finished."""
        self._writers.shutdown(wait=True)
        self._readers.shutdown(wait=True)

    def _write(self, work: Callable[[Session], Result]) -> Result:
        with self._store.write() as session:
            return work(session)

    def _read(self, work: Callable[[Session], Result]) -> Result:
        with self._store.read() as session:
            return work(session)

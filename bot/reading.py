"""Lets the encoder read, beside the turns, what the store has new: passages of articles, and cases."""
from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta

from bot.articles import ArticleFinder
from bot.nlu.encoder import TextEncoder
from crm_store.database import Store
from crm_store.services.cases import conversations_to_draw, draw_case, latest_change, store_cases
from crm_store.services.knowledge import passages_without_vector, store_vectors

logger = logging.getLogger(__name__)

BATCH = 16  # texts between two looks at the clock; about a tenth of a second
IDLE_SECONDS = 5.0
BUSY_SECONDS = 0.2  # leaves most of a core to the customers, however much waits
REFRESH_SECONDS = 15.0  # below the age at which a turn would refresh the articles itself
# A change is stamped when its transaction begins and seen when it ends: look back further than any of them takes.
LOOK_BACK = timedelta(minutes=5)


class VectorReader:
    """Gives vectors to texts of the store that have none of this encoder. Several may work on one store.

    What two read at the same time they store twice, and alike.
    """

    def __init__(self, store: Store, encoder: TextEncoder, batch: int = BATCH) -> None:
        """Read at most ``batch`` texts of each kind at a time."""
        self._store, self._encoder, self._batch = store, encoder, batch
        self._since: datetime | None = None

    def read_passages(self) -> int:
        """Read passages of articles; how many there were."""
        with self._store.read() as session:
            waiting = [(int(passage.id), str(passage.text))
                       for passage in passages_without_vector(session, self._encoder.name, self._batch)]
        if waiting:
            vectors = self._encoder.encode([text for _, text in waiting])
            with self._store.write() as session:
                store_vectors(session, dict(zip([key for key, _ in waiting], vectors, strict=True)),
                              self._encoder.name)
        return len(waiting)

    def read_cases(self) -> int:
        """Read what conversations that humans have or had are about; how many there were."""
        with self._store.read() as session:
            newest = latest_change(session)
            waiting = conversations_to_draw(session, self._encoder.name, self._batch, self._since)
            drafts = [draw_case(session, conversation_id) for conversation_id in waiting]
        if drafts:
            vectors = self._encoder.encode([draft.matter for draft in drafts])
            with self._store.write() as session:
                store_cases(session, drafts, list(vectors), self._encoder.name)
        if len(drafts) < self._batch and newest is not None:
            self._since = newest - LOOK_BACK
        return len(drafts)


class BackgroundReading:
    """What a bot process does between the turns: read what is new, and keep its articles up to date."""

    def __init__(self, reader: VectorReader, finder: ArticleFinder) -> None:
        """Work for one process."""
        self._reader, self._finder = reader, finder
        self._refreshed_at = float("-inf")

    def once(self) -> int:
        """Read one batch; how many texts it had."""
        passages = self._reader.read_passages()
        if passages or time.monotonic() - self._refreshed_at > REFRESH_SECONDS:
            self._finder.refresh()
            self._refreshed_at = time.monotonic()
        return passages + self._reader.read_cases()


async def keep_reading(reading_of: Callable[[], BackgroundReading | None],
                       sleep: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
    """Read for ever, in a thread beside the event loop. What failed is tried again with the next batch.

    Args:
        reading_of: the work, asked for each time; None while there is none, as before a model is loaded.
        sleep: how to wait.
    """
    while True:
        read = 0
        try:
            reading = reading_of()
            if reading is not None:
                read = await asyncio.to_thread(reading.once)
        except Exception as error:  # the edge of the process: the turns go on
            logger.error("nothing new was read: %s", type(error).__name__)
        await sleep(BUSY_SECONDS if read else IDLE_SECONDS)

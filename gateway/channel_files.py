"""Fetches the files that lie at a channel, after the messages they came with are stored and answered.

What waits is in the store, so a restart loses nothing: a file that was half fetched is fetched again. It is on disk
before its row says that it is kept.
"""
from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Protocol

from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from crm_store.attachment_files import Writing, place_of
from crm_store.errors import FileTooLarge
from crm_store.models import Attachment, Conversation, Message
from crm_store.rules.attachments import content_of
from crm_store.services import attachments
from crm_store.services.attachments import EMPTY, KIND, TOO_LARGE, Fetch, KeptFile
from crm_store.services.handoff import OWNED_BY_HUMANS
from crm_store.services.system_messages import said_lately, tell_customer
from gateway.attachment_words import WORDS
from gateway.deps import GatewayDeps
from gateway.lanes import Lanes, keep_looking

log = logging.getLogger(__name__)

LOOK_SECONDS = 1.0
FETCH_SECONDS = 240.0  # shorter than a lease
FULL_SECONDS = 600.0  # until there may be room on the disk again
AT_ONCE = 4


class NotFetched(Exception):
    """A file did not come.

    Attributes:
        missing: the channel knows no such file, or cannot reach it just now; it says the same of both.
        wait: seconds for which the channel wants to be left alone.
    """

    def __init__(self, *, missing: bool = False, wait: float | None = None) -> None:
        super().__init__()
        self.missing, self.wait = missing, wait


class Source(Protocol):
    """Whoever has the files."""

    async def download(self, file_id: str, into: Writing) -> None:
        """Write a file; raises NotFetched or FileTooLarge."""


class ChannelFiles:
    """The loop that fetches the files of one channel."""

    def __init__(self, deps: GatewayDeps, channel: str, source_of: Callable[[str], Source | None]) -> None:
        """Start idle.

        Args:
            deps: the gateway's surroundings.
            channel: whose files.
            source_of: who has the files of the person at an address; None where nobody is set up for it.
        """
        self._deps, self._channel, self._source_of = deps, channel, source_of
        self._fetching = Lanes(self._fetch, "attachment")

    async def run(self) -> None:
        """Look every second for what waits, until cancelled; what is under way then is left to its lease."""
        try:
            await keep_looking(self.look, LOOK_SECONDS, "attachments to fetch")
        finally:
            await self._fetching.stop()

    async def look(self) -> None:
        """Begin with what waits, a few at once."""
        now, served = self._deps.clock(), tuple(self._fetching)
        if len(served) >= AT_ONCE:
            return
        waiting = await self._deps.transactions.read(
            lambda session: attachments.files_waiting(session, self._channel, now, served))
        for attachment_id in waiting[:AT_ONCE - len(served)]:
            self._fetching.begin(attachment_id)

    async def idle(self) -> None:
        """Wait until nothing is fetched."""
        await self._fetching.idle()

    async def _fetch(self, attachment_id: int) -> None:
        try:
            fetch = await self._deps.transactions.write(
                lambda session: attachments.claim_file(session, attachment_id, self._deps.clock()))
            if fetch is not None:
                await self._get(fetch)
            self._deps.bell.ring()
        except SQLAlchemyError:  # the lease runs out, and a look finds it again
            log.exception("the store failed while an attachment was fetched")
        except Exception as error:  # the edge of the loop; its text may name what must not be logged
            log.error("attachment %d was not fetched: %s", attachment_id, type(error).__name__)

    async def _get(self, fetch: Fetch) -> None:
        """Fetch one file and note what came of it."""
        source = self._source_of(fetch.address)
        try:
            if source is None:
                raise NotFetched()
            if await asyncio.to_thread(self._deps.files.is_full):
                log.warning("there is no room for what customers send")
                raise NotFetched(wait=FULL_SECONDS)
            with self._deps.files.writing(fetch.token, self._deps.max_attachment) as writing:
                await asyncio.wait_for(source.download(fetch.source, writing), FETCH_SECONDS)
                await self._keep(fetch, writing)
        except FileTooLarge:
            await self._refuse(fetch, TOO_LARGE)
        except NotFetched as failed:
            log.info("attachment %d not fetched at attempt %d", fetch.attachment_id, fetch.attempt)
            await self._not_fetched(fetch, failed)
        except (asyncio.TimeoutError, OSError) as error:
            log.warning("attachment %d could not be kept: %s", fetch.attachment_id, type(error).__name__)
            await self._not_fetched(fetch, NotFetched())

    async def _keep(self, fetch: Fetch, writing: Writing) -> None:
        content, now = content_of(writing.head), self._deps.clock()
        if content is None:
            await self._refuse(fetch, KIND if writing.size else EMPTY)
            return
        await asyncio.to_thread(writing.keep)
        kept = KeptFile(content, writing.size, writing.sha256)
        if not await self._deps.transactions.write(
                lambda session: attachments.note_file(session, fetch, kept, now)):
            self._deps.files.delete([place_of(fetch.token)])  # its customer was forgotten meanwhile

    async def _refuse(self, fetch: Fetch, reason: str) -> None:
        await self._note(partial(attachments.note_refused, fetch=fetch, reason=reason, now=self._deps.clock()))

    async def _not_fetched(self, fetch: Fetch, failed: NotFetched) -> None:
        now = self._deps.clock()
        if failed.wait is not None:
            until = now + timedelta(seconds=failed.wait)
            await self._note(partial(attachments.note_put_off, fetch=fetch, until=until))
        else:
            await self._note(partial(attachments.note_failed, fetch=fetch, now=now, missing=failed.missing))

    async def _note(self, note: Callable[[Session], Attachment | None]) -> None:
        def work(session: Session) -> bool:
            refused = note(session)
            return refused is not None and self._tell(session, refused)

        if await self._deps.transactions.write(work):
            self._deps.bell.queued()

    def _tell(self, session: Session, refused: Attachment) -> bool:
        """Tell whoever read that it has arrived that it is not kept, unless a person reads it or it was held back."""
        message, now = session.get(Message, refused.message_id), self._deps.clock()
        conversation = session.get(Conversation, message.conversation_id)
        language = "zh" if conversation.language == "zh" else "en"
        text = WORDS["too_large" if refused.reason == TOO_LARGE else "not_kept"][language].format(
            kind=WORDS[f"kind_{refused.kind}"][language], limit=self._deps.max_attachment // 2**20)
        if conversation.status in OWNED_BY_HUMANS or message.held or said_lately(session, conversation.id, text, now):
            return False
        tell_customer(session, conversation, text, now)
        return True

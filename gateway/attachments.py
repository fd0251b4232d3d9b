"""Files in the web chat: taken in while they come, and handed back to nobody but their sender."""
from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from fastapi import APIRouter, Request, Response
from python_multipart.exceptions import FormParserError
from sqlalchemy.orm import Session
from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect
from starlette.responses import FileResponse, JSONResponse

from crm_store.attachment_files import Writing, new_token, place_of
from crm_store.errors import FileTooLarge, InvalidMessage, NotFound
from crm_store.models.customers import LANGUAGES
from crm_store.rules.attachments import DOWNLOAD_HEADERS, HEAD, content_of
from crm_store.services.attachments import BLOCKED, KeptFile, attachment_of_visitor, keep_file, refuse_file
from crm_store.services.handoff import OWNED_BY_HUMANS
from crm_store.services.messages import Received, receive_message
from crm_store.services.system_messages import said_lately, tell_customer
from gateway.attachment_words import WORDS
from gateway.callers import address_of, refuse_cross_site
from gateway.chat_view import ATTACHMENTS
from gateway.deps import GatewayDeps
from gateway.dispatch import Dispatcher
from gateway.limits import BURST, TokenBuckets
from gateway.metrics import RECEIVED
from gateway.problems import DISCARDED, GatewayRoute, Problem, invalid, problem_for, rate_limited
from gateway.visitors import CHANNEL, identity_id_of, new_visitor, remember_visitor, visitor_of

A_MINUTE = 12  # files of one visitor
AN_ADDRESS = 5  # times as many from one address
AROUND = 64 * 1024  # bytes of a request beside its file
FIELD_LIMIT = 48 * 1024  # bytes; a caption of 4,000 characters
NAMES = {"channel_message_id": "message_id", "external_id": "visitor"}


@dataclass(frozen=True)
class Upload:
    """What the page sent. ``text`` is the caption."""

    message_id: str
    file: UploadFile
    text: str
    language: str | None


@dataclass(frozen=True)
class Stored:
    """What became of it. ``kept``: its file too."""

    id: int
    conversation_id: int
    duplicate: bool
    kept: bool

    def shown(self) -> dict[str, Any]:
        """As JSON, the same as for a message of words."""
        return {"id": self.id, "conversation_id": self.conversation_id, "duplicate": self.duplicate}


class ChatAttachments:
    """The addresses of the web chat's files."""

    def __init__(self, deps: GatewayDeps, dispatcher: Dispatcher) -> None:
        self._deps, self._dispatcher = deps, dispatcher
        self._by_visitor = TokenBuckets(A_MINUTE)
        self._by_address = TokenBuckets(A_MINUTE * AN_ADDRESS)

    def router(self) -> APIRouter:
        """The routes."""
        router = APIRouter(route_class=GatewayRoute, include_in_schema=False)
        router.add_api_route(ATTACHMENTS, self._post, methods=["POST"])
        router.add_api_route(ATTACHMENTS + "/{token}", self._get, methods=["GET", "HEAD"])
        return router

    async def _post(self, request: Request) -> Response:
        refuse_cross_site(request, self._deps.trusted_proxy)
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "multipart/form-data":
            raise Problem(415, "unsupported_media_type", "the body must be multipart/form-data")
        known = visitor_of(request)
        visitor, now = known or new_visitor(), self._deps.clock()
        wait = self._by_address.take(address_of(request, self._deps.trusted_proxy), now) or (
            self._by_visitor.take(visitor, now) if known else 0)
        if wait:
            raise rate_limited(wait)
        form = await self._form(request)
        try:
            stored = await self._keep(visitor, _upload_in(form))
        finally:
            await form.close()
        self._deps.bell.ring()
        self._dispatcher.wake(stored.conversation_id)
        response = JSONResponse(stored.shown(), 202)
        if not known:
            remember_visitor(response, visitor, secure=self._deps.secure_cookies)
        return response

    async def _form(self, request: Request) -> FormData:
        """The fields of a request, read no further than it may be long."""
        limit = self._deps.max_attachment + AROUND
        announced = request.headers.get("content-length", "")
        if announced.isdigit() and int(announced[:18]) > limit + DISCARDED:
            raise self._too_large()
        try:
            return await MultiPartParser(request.headers, self._limited(request, limit), max_files=1, max_fields=8,
                                         max_part_size=FIELD_LIMIT).parse()
        except (MultiPartException, FormParserError, UnicodeError) as error:
            raise invalid("body", "the body must be multipart/form-data with one file", "invalid_form") from error
        except ClientDisconnect as error:
            raise Problem(400, "disconnected", "the request ended early") from error

    async def _limited(self, request: Request, limit: int) -> AsyncGenerator[bytes, None]:
        """The body, unless it is too long; a little more is thrown away, so that the sender still reads the answer."""
        size = 0
        async for part in request.stream():
            size += len(part)
            if size <= limit:
                yield part
            elif size > limit + DISCARDED:
                break
        if size > limit:
            raise self._too_large()

    def _too_large(self) -> Problem:
        return Problem(413, "too_large", f"a file may have at most {self._deps.max_attachment // 2**20} MB",
                       field="file")

    async def _keep(self, visitor: str, upload: Upload) -> Stored:
        """Write the file, then the message that has it. A file without a row is a stray, and swept at night."""
        head = await upload.file.read(HEAD)
        if not head:
            raise invalid("file", "file must not be empty", "empty")
        content, token = content_of(head), new_token()
        if content is None:
            raise Problem(415, "kind_not_allowed", "files of this kind are not accepted", field="file")
        try:
            with self._deps.files.writing(token, self._deps.max_attachment) as writing:
                await asyncio.to_thread(self._write, upload, writing)
        except FileTooLarge as error:
            raise self._too_large() from error
        kept = KeptFile(content, writing.size, writing.sha256)
        try:
            stored = await self._deps.transactions.write(partial(self._store, visitor, upload, token, kept),
                                                          urgent=True)
        except InvalidMessage as error:
            self._deps.files.delete([place_of(token)])
            raise problem_for(error, NAMES) from error
        if not stored.kept:
            self._deps.files.delete([place_of(token)])
        return stored

    def _write(self, upload: Upload, writing: Writing) -> None:
        if self._deps.files.is_full():
            raise Problem(503, "unavailable", "there is no room for files just now", headers={"Retry-After": "600"})
        upload.file.file.seek(0)
        shutil.copyfileobj(upload.file.file, writing)
        writing.keep()

    def _store(self, visitor: str, upload: Upload, token: str, file: KeptFile, session: Session) -> Stored:
        now, caption = self._deps.clock(), upload.text.strip()
        hint = upload.language if upload.language in LANGUAGES else None
        words_of = _words(hint or "zh", file.content.kind)
        received = receive_message(
            session, channel=CHANNEL, external_id=visitor, text=caption or words_of("attachment"),
            channel_message_id=upload.message_id, now=now, language_hint=hint,
            a_minute=BURST * self._deps.chat_rate)
        if not received.duplicate:
            RECEIVED.labels(CHANNEL).inc()
            if received.message.held == BLOCKED:
                refuse_file(session, received.message, kind=file.content.kind, name=upload.file.filename,
                            reason=BLOCKED, now=now)
            else:
                keep_file(session, received.message, token=token, name=upload.file.filename, file=file, now=now)
            self._answer(session, received, file, captioned=bool(caption))
        kept = not received.duplicate and received.message.held != BLOCKED
        return Stored(received.message.id, received.conversation.id, received.duplicate, kept)

    def _answer(self, session: Session, received: Received, file: KeptFile, *, captioned: bool) -> None:
        """Say what the bot can read of it, where it is the bot's turn and was not just said."""
        conversation, message, now = received.conversation, received.message, self._deps.clock()
        if not captioned:
            message.handled_at = now
        if conversation.status in OWNED_BY_HUMANS or received.held:
            return
        text = _words(conversation.language, file.content.kind)("kept_unread")
        if not said_lately(session, conversation.id, text, now):
            tell_customer(session, conversation, text, now, in_reply_to_id=None if captioned else message.id)

    async def _get(self, request: Request, token: str) -> Response:
        visitor = visitor_of(request)

        def look(session: Session) -> tuple[str, str]:
            found = attachment_of_visitor(session, identity_id_of(session, visitor), token)
            return found.name, found.media_type

        try:
            name, media_type = await self._deps.transactions.read(look)
        except NotFound as error:
            raise _missing() from error
        path = self._deps.files.path_of(token)
        if path is None:
            raise _missing()
        return FileResponse(path, media_type=media_type, filename=name, headers=DOWNLOAD_HEADERS)


def _upload_in(form: FormData) -> Upload:
    message_id, file, text = form.get("message_id"), form.get("file"), form.get("text", "")
    language = form.get("language")
    for field, value, kind in (("message_id", message_id, str), ("file", file, UploadFile), ("text", text, str)):
        if value is None:
            raise invalid(field, f"{field} is required", "missing")
        if not isinstance(value, kind):
            raise invalid(field, f"{field} must be a {'file' if kind is UploadFile else 'text'}")
    assert isinstance(message_id, str) and isinstance(file, UploadFile) and isinstance(text, str)
    return Upload(message_id, file, text, language if isinstance(language, str) else None)


def _missing() -> Problem:
    return Problem(404, "not_found", "there is no such file")


def _words(language: str, kind: str) -> Callable[[str], str]:
    spoken = "zh" if language == "zh" else "en"
    return lambda key: WORDS[key][spoken].format(kind=WORDS[f"kind_{kind}"][spoken])

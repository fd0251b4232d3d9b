"""Where customers fetch the copy of their data: a page that asks, and the file that a press on its button sends, once.

Looking at the page uses nothing up: messengers and mail programs open links by themselves. The file is written to a
temporary one that has no name, so nothing of it is left.
"""
from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator
from functools import partial
from html import escape
from typing import IO

from fastapi import APIRouter, FastAPI, Request, Response
from starlette.concurrency import run_in_threadpool
from starlette.responses import HTMLResponse, StreamingResponse

from crm_store.errors import NotFound
from crm_store.services.data_copies import take_copy, write_copy
from crm_store.wording import say
from gateway.callers import address_of, refuse_cross_site
from gateway.deps import GatewayDeps
from gateway.limits import TokenBuckets
from gateway.problems import GatewayRoute, rate_limited
from gateway.visitors import identity_id_of, visitor_of

log = logging.getLogger(__name__)

TRIES_A_MINUTE = 20
CHUNK = 64 * 1024
TOKEN_LIMIT = 100
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff", "Referrer-Policy": "same-origin", "Cache-Control": "no-store",
    "X-Robots-Tag": "noindex",
}


class DataCopies:
    """The page and the file."""

    def __init__(self, deps: GatewayDeps) -> None:
        self._deps = deps
        self._tries = TokenBuckets(TRIES_A_MINUTE)

    def mount(self, app: FastAPI) -> None:
        """Add both addresses."""
        router = APIRouter(route_class=GatewayRoute, include_in_schema=False)
        router.add_api_route("/my-data/{token}", self._page, methods=["GET"])
        router.add_api_route("/my-data/{token}", self._send, methods=["POST"])
        app.include_router(router)

    async def _page(self, request: Request, token: str) -> Response:
        language = _language(request)
        return HTMLResponse(_html(language, (
            f"<p>{escape(say('copy_ready', language))}</p>"
            f'<form method="post"><button>{escape(say("copy_fetch", language))}</button></form>')), headers=HEADERS)

    async def _send(self, request: Request, token: str) -> Response:
        refuse_cross_site(request, self._deps.trusted_proxy)
        now = self._deps.clock()
        wait = self._tries.take(address_of(request, self._deps.trusted_proxy), now)
        if wait:
            raise rate_limited(wait)
        visitor = await self._deps.transactions.read(lambda session: identity_id_of(session, visitor_of(request)))
        customer_id = None if len(token) > TOKEN_LIMIT else await self._deps.transactions.write(
            lambda session: take_copy(session, token, visitor, now))
        if customer_id is None:
            log.warning("a copy of somebody's data was refused")
            language = _language(request)
            return HTMLResponse(_html(language, f"<p>{escape(say('copy_refused', language))}</p>"), 404,
                                headers=HEADERS)
        try:
            file = await run_in_threadpool(partial(self._write, customer_id))
        except NotFound:  # erased since
            return HTMLResponse(_html(_language(request), ""), 404, headers=HEADERS)
        return StreamingResponse(_chunks(file), media_type="application/zip", headers={
            **HEADERS, "Content-Disposition": 'attachment; filename="my-data.zip"'})

    def _write(self, customer_id: int) -> IO[bytes]:
        file = tempfile.TemporaryFile()
        with self._deps.store.read() as session:
            write_copy(session, customer_id, file, self._deps.files.path_of, self._deps.clock())
        file.seek(0)
        return file


def _chunks(file: IO[bytes]) -> Iterator[bytes]:
    with file:
        while chunk := file.read(CHUNK):
            yield chunk


def _language(request: Request) -> str:
    return "zh" if request.headers.get("accept-language", "zh").strip().lower().startswith("zh") else "en"


def _html(language: str, body: str) -> str:
    title = escape(say("copy_title", language))
    return (f'<!doctype html>\n<html lang="{language}"><meta charset="utf-8">'
            f'<meta name="viewport" content="width=device-width"><title>{title}</title><h1>{title}</h1>{body}</html>\n')

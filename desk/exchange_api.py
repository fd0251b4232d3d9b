"""The exchange API: the shop's programs bring and fetch data with a token of their own, as CSV or JSON lines."""
from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, BinaryIO
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Depends, Request, Response
from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse, StreamingResponse

from crm_store.database import Store
from crm_store.errors import ImportUnderWay
from crm_store.models import ExchangeToken
from crm_store.queries.exchange import cursor_after, exported
from crm_store.rules.exchange_columns import KINDS
from crm_store.rules.exchange_files import FileError
from crm_store.rules.exchange_words import say_error
from crm_store.services import audit
from crm_store.services.exchange import Report, Wanted, check_file, import_file
from crm_store.services.exchange_tokens import token_by_text
from desk import auth
from desk.deps import DeskDeps, deps_of
from desk.downloads import CSV_TYPE, attachment
from desk.problems import Conflict, Forbidden, Invalid, Missing, NotLoggedIn, Problem
from desk.rendering import language_of
from desk.routing import BODY_LIMIT, ApiRoute

log = logging.getLogger("desk")

FILE_LIMIT = 100 * 2**20
FORMS = {"text/csv": "csv", "application/jsonl": "jsonl", "application/x-ndjson": "jsonl", "application/json": "jsonl"}
MEDIA_TYPES = {"csv": CSV_TYPE, "jsonl": "application/jsonl; charset=utf-8"}
MOST_ROWS = 10_000
YES = ("1", "true", "yes")


class UnknownType(Problem):
    """The body is neither CSV nor JSON lines, or is packed."""

    code, status = "unknown_type", 415


class ExchangeRoute(ApiRoute):
    """A route for the shop's programs: a file may be large where it says that it is one."""

    def body_limit(self, request: Request) -> int:
        """What a file may weigh; a single object no more than anything else."""
        return FILE_LIMIT if _type_of(request) in FORMS and _type_of(request) != "application/json" else BODY_LIMIT


router = APIRouter(route_class=ExchangeRoute, include_in_schema=False)


def token_that(may: str) -> Callable[..., ExchangeToken]:
    """A dependency that lets in programs whose token may "read" or "write"."""

    def allowed(request: Request) -> ExchangeToken:
        text, deps = auth.bearer_token(request), deps_of(request)
        if text is None or len(text) > auth.TOKEN_LIMIT:
            raise NotLoggedIn()
        with deps.store.write() as session:
            token = token_by_text(session, text, deps.clock())
            session.expunge_all()
        if token is None:
            log.warning("an exchange token was refused, from %s", auth.client_address(request))
            raise NotLoggedIn()
        if not (token.may_read if may == "read" else token.may_write):
            log.warning("exchange token %d may not %s", token.id, may)
            raise Forbidden()
        return token

    return allowed


READERS, WRITERS = token_that("read"), token_that("write")


def kind_named(kind: str) -> str:
    """The kind of an address.

    Raises:
        Missing: there is none.
    """
    if kind not in KINDS:
        raise Missing()
    return kind


def zone_named(name: str) -> ZoneInfo:
    """A time zone by its name.

    Raises:
        Invalid: there is none.
    """
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:
        raise Invalid(field="time_zone") from error


@router.post("/api/exchange/{kind}")
async def bring(request: Request, kind: str = Depends(kind_named), time_zone: str = "Asia/Shanghai",
                dry_run: str = "", skip_wrong: str = "", deps: DeskDeps = Depends(deps_of),
                token: ExchangeToken = Depends(WRITERS)) -> Response:
    """Store a file, all of it or nothing; with ``dry_run`` only say what would become of it."""
    form = FORMS.get(_type_of(request))
    if form is None or request.headers.get("content-encoding", "identity") != "identity":
        raise UnknownType()
    wanted = Wanted(kind, f"api-{token.prefix}", zone_named(time_zone), skip_wrong in YES, form, token_id=token.id)
    language = language_of(request)
    with tempfile.TemporaryFile(prefix="warmline-") as file:
        async for piece in request.stream():
            file.write(piece)
        return await run_in_threadpool(_bring, deps, file, wanted, dry_run in YES, language)


@router.get("/api/exchange/{kind}")
def fetch(request: Request, kind: str = Depends(kind_named), format: str = "jsonl", after: str = "0",
          limit: str = str(MOST_ROWS), deps: DeskDeps = Depends(deps_of),
          token: ExchangeToken = Depends(READERS)) -> Response:
    """The next rows, sent as they are read; ``Link`` leads on where there are more."""
    if format not in MEDIA_TYPES:
        raise Invalid(field="format")
    begin, most = _whole(after, "after", 0, 2**63 - 1), _whole(limit, "limit", 1, MOST_ROWS)
    with deps.store.read() as session:
        ends_at = cursor_after(session, kind, begin, most)
    headers = attachment(f"{kind}.{format}")
    if ends_at is not None:
        following = request.url.include_query_params(after=ends_at, limit=most, format=format)
        headers |= {"Link": f'<{following.path}?{following.query}>; rel="next"', "X-Next-After": str(ends_at)}
    return StreamingResponse(
        sent(deps, kind, format, begin, most, partial(_note_export, token=token)), media_type=MEDIA_TYPES[format],
        headers=headers)


def tombstone_key(deps: DeskDeps) -> bytes:
    """What tells who was erased."""
    return deps.eraser.key if deps.eraser else b""


def sent(deps: DeskDeps, kind: str, form: str, after: int, limit: int | None,
         note: Callable[[DeskDeps, str, dict[str, Any]], None]) -> Iterator[bytes]:
    """A file piece by piece; how many rows went out is noted even when whoever asked has gone away."""
    rows, complete = 0, False

    def counted(count: int) -> None:
        nonlocal rows
        rows += count

    try:
        for piece in exported(deps.store, kind, form, after, limit, counted):
            yield piece.encode()
        complete = True
    finally:
        note(deps, kind, {"form": form, "after": after, "rows": rows, "complete": complete})


def told(report: Report, language: str) -> dict[str, Any]:
    """A report for programs, in words too."""
    return {
        "import": report.import_id, "state": report.state, "rows": report.rows, "counts": dict(report.counts),
        "resumed_at": report.resumed_at, "ignored_columns": report.ignored, "errors_total": report.errors_total,
        "errors": [{"line": error.line, "column": error.column, "code": error.code, "data": error.data,
                    "message": say_error(error, language)} for error in report.errors]}


def _bring(deps: DeskDeps, file: BinaryIO, wanted: Wanted, dry: bool, language: str) -> Response:
    store: Store = deps.store
    try:
        if dry:
            report = check_file(store, file, wanted, tombstone_key(deps), deps.clock())
        else:
            report = import_file(store, file, wanted, tombstone_key(deps), deps.clock)
    except FileError as error:
        return JSONResponse({"error": "unreadable", "code": error.code, "line": error.line,
                             "message": say_error(error, language)}, status_code=422)
    except ImportUnderWay as error:
        raise Conflict() from error
    wrong = report.state == "refused" or (dry and report.errors_total > 0)
    return JSONResponse(told(report, language), status_code=422 if wrong else 200)


def _note_export(deps: DeskDeps, kind: str, data: dict[str, Any], token: ExchangeToken) -> None:
    with deps.store.write() as session:
        audit.record(session, actor_kind="system", actor_id=None, action="export_data", object_kind="exchange",
                     object_id=kind, data={**data, "token_id": token.id}, now=deps.clock())


def _type_of(request: Request) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def _whole(text: str, field: str, least: int, most: int) -> int:
    if not text.isascii() or not text.isdigit() or not least <= int(text[:20]) <= most:
        raise Invalid(field=field)
    return int(text)

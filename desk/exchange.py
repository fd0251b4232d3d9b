"""The shop's data in and out, by hand: upload, look, store; download; and the tokens of programs that do it alone."""
from __future__ import annotations

import logging
import os
import shutil
import tempfile
from functools import partial
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Depends, Request, Response
from starlette.background import BackgroundTask
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException
from starlette.responses import RedirectResponse, StreamingResponse

from crm_store.errors import ImportUnderWay, InvalidMessage
from crm_store.models import Import, SupportAgent
from crm_store.rules.exchange_columns import KINDS
from crm_store.rules.exchange_files import FORMATS, ExchangeFile, FileError
from crm_store.rules.exchange_words import about, say_error
from crm_store.rules.points import SHOP_ZONE
from crm_store.services import audit
from crm_store.services.exchange import (
    Wanted,
    begin_import,
    check_file,
    digest_of,
    find_import,
    imports_lately,
    report_of,
    store_import,
)
from crm_store.services.exchange_rows import OUTCOMES
from crm_store.services.exchange_tokens import create_token, revoke_token, tokens
from crm_store.services.retention import UPLOADS_KEPT, forget_uploads
from desk import auth
from desk.api import object_id
from desk.deps import DeskDeps, deps_of
from desk.downloads import attachment
from desk.exchange_api import FILE_LIMIT, MEDIA_TYPES, sent, tombstone_key, zone_named
from desk.problems import Conflict, Invalid, Missing
from desk.rendering import Reader, language_of, page, reader_for
from desk.routing import BODY_LIMIT, PageRoute
from desk.settings_areas import AREAS, GROUPS

log = logging.getLogger("desk")

HOME = "/manage/exchange"
TOKENS = f"{HOME}/tokens"
MANAGERS = auth.at_least("manager")
ADMINS = auth.at_least("admin")
SAMPLE = 8
ERRORS_SHOWN = 100
LOOK_AGAIN_SECONDS = 2
ZONES = ("Asia/Shanghai", "UTC", "Asia/Hong_Kong", "Asia/Tokyo", "Asia/Singapore", "Europe/London", "Europe/Berlin",
         "America/New_York", "America/Los_Angeles", "Australia/Sydney")
SAID = {"revoked": "exchange_token_revoked"}


class UploadRoute(PageRoute):
    """A page's route that takes a file."""

    def body_limit(self, request: Request) -> int:
        """What a file may weigh, and the form around it; any other body no more than anywhere else."""
        sends_file = request.headers.get("content-type", "").lower().startswith("multipart/form-data")
        return FILE_LIMIT + BODY_LIMIT if sends_file and request.url.path == HOME else BODY_LIMIT


router = APIRouter(route_class=UploadRoute, include_in_schema=False)


@router.get(HOME)
def overview(request: Request, deps: DeskDeps = Depends(deps_of), agent: SupportAgent = Depends(MANAGERS)) -> Response:
    """What can be brought and fetched, and what was brought lately."""
    return _overview(request, deps, agent)


@router.post(HOME)
async def upload(request: Request, deps: DeskDeps = Depends(deps_of),
                 agent: SupportAgent = Depends(MANAGERS)) -> Response:
    """Take a file, look what would become of it, and show that."""
    form = await _form(request)
    try:
        return await run_in_threadpool(_upload, request, deps, agent, form)
    finally:
        await form.close()


@router.get(f"{HOME}/export/{{what}}.{{form}}")
def export(what: str, form: str, deps: DeskDeps = Depends(deps_of),
           agent: SupportAgent = Depends(MANAGERS)) -> Response:
    """All of one kind as a file that can be brought back."""
    if what not in KINDS or form not in FORMATS:
        raise Missing()
    name = f"{what}-{deps.clock().astimezone(SHOP_ZONE):%Y%m%d-%H%M}.{form}"
    return StreamingResponse(sent(deps, what, form, 0, None, partial(_note_export, agent=agent)),
                             media_type=MEDIA_TYPES[form], headers=attachment(name))


@router.get(TOKENS)
def token_list(request: Request, deps: DeskDeps = Depends(deps_of), agent: SupportAgent = Depends(ADMINS)) -> Response:
    """The programs' tokens."""
    return _tokens(request, deps, agent)


@router.post(TOKENS)
async def make_token(request: Request, deps: DeskDeps = Depends(deps_of),
                     agent: SupportAgent = Depends(ADMINS)) -> Response:
    """Make a token; the page that answers is the only one that ever shows it."""
    form = await _form(request)
    return await run_in_threadpool(_make_token, request, deps, agent, form)


@router.post(f"{TOKENS}/{{token_id}}/revoke")
def end_token(token_id: int, deps: DeskDeps = Depends(deps_of), agent: SupportAgent = Depends(ADMINS)) -> Response:
    """End a token."""
    with deps.store.write() as session:
        revoke_token(session, object_id(token_id), agent, deps.clock())
    return RedirectResponse(f"{TOKENS}?said=revoked", status_code=303)


@router.get(f"{HOME}/{{import_id}}")
def one_import(request: Request, import_id: int, deps: DeskDeps = Depends(deps_of),
               agent: SupportAgent = Depends(MANAGERS)) -> Response:
    """One file: what it looks like, what is wrong with it, how far it is."""
    with deps.store.read() as session:
        found = find_import(session, object_id(import_id))
        reader = reader_for(session, language_of(request, agent), deps.clock())
        session.expunge_all()
    at_work = found.state == "running" and found.worker is not None and found.worker_until > deps.clock()
    path = _file_of(deps, found.id)
    heading, sample = _sample(path, found)
    report = report_of(found)
    answer = _page(request, "exchange_import.html", reader, agent, found=found, at_work=at_work, there=path.exists(),
                   heading=heading, sample=sample, outcomes=OUTCOMES, counts=report.counts,
                   errors=[say_error(error, reader.language) for error in report.errors[:ERRORS_SHOWN]])
    if at_work:
        answer.headers["Refresh"] = str(LOOK_AGAIN_SECONDS)
    return answer


@router.post(f"{HOME}/{{import_id}}/store")
def store(import_id: int, deps: DeskDeps = Depends(deps_of), agent: SupportAgent = Depends(MANAGERS)) -> Response:
    """Store a file that was looked at, or go on with one that was cut off."""
    with deps.store.read() as session:
        found = find_import(session, object_id(import_id))
        state = found.state
    if state not in ("ready", "running") or not _file_of(deps, import_id).exists():
        raise Conflict()
    with deps.store.write() as session:
        audit.record(session, actor_kind="agent", actor_id=agent.id, action="store_import", object_kind="import",
                     object_id=import_id, now=deps.clock())
    return RedirectResponse(f"{HOME}/{import_id}", status_code=303, background=BackgroundTask(_store, deps, import_id))


def _upload(request: Request, deps: DeskDeps, agent: SupportAgent, form: FormData) -> Response:
    kind, file = form.get("kind"), form.get("file")
    language = language_of(request, agent)
    if not isinstance(kind, str) or kind not in KINDS:
        raise Invalid(field="kind")
    if not isinstance(file, UploadFile) or not file.filename:
        return _overview(request, deps, agent, problem="exchange_no_file", kind=kind)
    zone = zone_named(str(form.get("time_zone") or SHOP_ZONE.key))
    wanted = Wanted(kind, Path(file.filename.replace("\\", "/")).name, zone, form.get("skip_wrong") == "yes",
                    agent_id=agent.id)
    now = deps.clock()
    try:
        report = check_file(deps.store, file.file, wanted, tombstone_key(deps), now)
    except FileError as error:
        return _overview(request, deps, agent, said_problem=say_error(error, language), kind=kind)
    forget_uploads(deps.uploads, now - UPLOADS_KEPT)
    with deps.store.write() as session:
        found = begin_import(session, wanted, digest_of(file.file), report, now)
        if found.state != "refused":
            _keep_file(file, _file_of(deps, found.id))
        target = found.id
    return RedirectResponse(f"{HOME}/{target}", status_code=303)


def _store(deps: DeskDeps, import_id: int) -> None:
    """Store a file while its page is watched; what goes wrong stays an import that was cut off."""
    path = _file_of(deps, import_id)
    try:
        with path.open("rb") as file:
            store_import(deps.store, file, import_id, tombstone_key(deps), deps.clock)
        path.unlink(missing_ok=True)
    except ImportUnderWay:
        log.info("import %d is under way already", import_id)
    except Exception:  # the edge of a task that nobody waits for
        log.exception("import %d was cut off", import_id)


def _make_token(request: Request, deps: DeskDeps, agent: SupportAgent, form: FormData) -> Response:
    scope = form.getlist("scope")
    name = form.get("name")
    try:
        with deps.store.write() as session:
            token, text = create_token(session, agent, name=name if isinstance(name, str) else "",
                                       may_read="read" in scope, may_write="write" in scope, now=deps.clock())
            named = token.name
    except InvalidMessage as error:
        problem = "exchange_token_scope" if error.data["field"] == "scope" else (
            "exchange_token_many" if error.data["reason"] == "too_many" else "exchange_token_name")
        return _tokens(request, deps, agent, problem=problem)
    with deps.store.read() as session:
        reader = reader_for(session, language_of(request, agent), deps.clock())
    return _page(request, "exchange_token.html", reader, agent, name=named, token=text)


def _overview(request: Request, deps: DeskDeps, agent: SupportAgent, *, problem: str = "", said_problem: str = "",
              kind: str = "customers") -> Response:
    forget_uploads(deps.uploads, deps.clock() - UPLOADS_KEPT)
    with deps.store.read() as session:
        reader = reader_for(session, language_of(request, agent), deps.clock())
        lately = imports_lately(session)
        session.expunge_all()
    columns = {name: [(column.name, column.other, about(name, column.name, reader.language), column.example)
                      for column in found] for name, found in KINDS.items()}
    return _page(request, "exchange.html", reader, agent, kinds=tuple(KINDS), columns=columns, lately=lately,
                 zones=ZONES, picked=kind, forms=FORMATS, is_admin=agent.is_at_least("admin"),
                 problem=said_problem or (reader.say(problem) if problem else ""), most=FILE_LIMIT // 2**20,
                 status_code=422 if problem or said_problem else 200)


def _tokens(request: Request, deps: DeskDeps, agent: SupportAgent, problem: str = "") -> Response:
    with deps.store.read() as session:
        reader = reader_for(session, language_of(request, agent), deps.clock())
        found = tokens(session)
        session.expunge_all()
    return _page(request, "exchange_tokens.html", reader, agent, tokens=found, problem=problem,
                 status_code=422 if problem else 200)


def _page(request: Request, template: str, reader: Reader, agent: SupportAgent, **context: Any) -> Response:
    """A page of the console, with the settings' places beside it."""
    said = SAID.get(request.query_params.get("said", ""), "")
    return page(request, template, language=reader.language, reader=reader, agent=agent, areas=AREAS, groups=GROUPS,
                said=said, **context)


async def _form(request: Request) -> FormData:
    """What a form sends, a file among it.

    Raises:
        Invalid: it is no form.
    """
    try:
        return await request.form(max_files=1, max_fields=20)
    except HTTPException as error:
        if error.status_code == 413:
            raise
        raise Invalid() from error


def _file_of(deps: DeskDeps, import_id: int) -> Path:
    return deps.uploads / str(import_id)


def _keep_file(file: UploadFile, path: Path) -> None:
    """Keep an upload out of others' sight until it is stored."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    file.file.seek(0)
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f"{path.name}-", delete=False) as kept:
        shutil.copyfileobj(file.file, kept)
    os.replace(kept.name, path)  # the same file may be read by an import at this moment


def _sample(path: Path, found: Import) -> tuple[list[str], list[list[str]]]:
    """The first rows as they stand in the file, while it is there."""
    if not path.exists():
        return [], []
    try:
        with path.open("rb") as file:
            return ExchangeFile(file, found.kind, ZoneInfo(found.time_zone)).sample(SAMPLE)
    except FileError:
        return [], []


def _note_export(deps: DeskDeps, kind: str, data: dict[str, Any], agent: SupportAgent) -> None:
    with deps.store.write() as session:
        audit.record(session, actor_kind="agent", actor_id=agent.id, action="export_data", object_kind="exchange",
                     object_id=kind, data=data, now=deps.clock())

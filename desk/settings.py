"""The settings: what managers change as data, each change in the audit log."""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Request, Response
from python_multipart.exceptions import FormParserError
from sqlalchemy.orm import Session
from starlette.datastructures import UploadFile
from starlette.responses import RedirectResponse

from crm_store.models import SupportAgent
from crm_store.queries import settings as lists
from crm_store.queries.audit import history_of
from crm_store.services import staff
from crm_store.services.shop_settings import ChangedMeanwhile, InvalidSettings, Refusal, Snapshot, version_of
from crm_store.services.shop_settings_sla import move_policy as move_in_order
from crm_store.services.shop_settings_texts import PLACEHOLDERS, delete_macro
from desk import auth, settings_audit, settings_previews
from desk.deps import DeskDeps, deps_of
from desk.problems import Forbidden, Invalid, Missing
from desk.rendering import Reader, language_of, page, reader_for
from desk.routing import PageRoute
from desk.settings_areas import AGENTS, AREAS, CALENDARS, GROUPS, MACROS, POLICIES, Area
from desk.settings_audit import history_lines
from desk.settings_forms import Control, Field, Filled, options_of, read_form, say_refusal

router = APIRouter(route_class=PageRoute, include_in_schema=False)
router.include_router(settings_audit.router)

MANAGERS = auth.at_least("manager")
ADMINS = auth.at_least("admin")
SAID = {"saved": "set_saved", "created": "set_created", "moved": "set_moved", "deleted": "set_deleted",
        "order_changed": "set_order_changed", "released": "set_released"}
NEW = "new"
HOME = "/manage/settings"


@dataclass
class Form:
    """A form as it is shown: its fields, what is wrong, and what somebody else has changed meanwhile."""

    area: Area
    controls: list[Control]
    version: str = ""
    new: bool = False
    title: str = ""
    key: Any = None
    conflicts: list[tuple[str, str, str]] = field(default_factory=list)
    changed_by: Any = None

    @property
    def problems(self) -> list[Control]:
        """The fields that were refused."""
        return [control for control in self.controls if control.problem]


async def typed_form(request: Request) -> dict[str, str]:
    """What a form sends: texts only, several values of one name joined by commas.

    Raises:
        Invalid: it is no form.
    """
    try:
        form = await request.form()
    except FormParserError as error:
        raise Invalid() from error
    typed: dict[str, str] = {}
    for name, value in form.multi_items():
        if not isinstance(value, UploadFile):
            typed[name] = f"{typed[name]},{value}" if name in typed else value
    return typed


def area_named(area: str) -> Area:
    """The area of an address.

    Raises:
        Missing: there is none.
    """
    if area not in AREAS:
        raise Missing()
    return AREAS[area]


def is_locked(agent: SupportAgent, new: bool) -> Any:
    """Which fields this agent may not change."""

    def locked(each: Field) -> bool:
        return (each.fixed and not new) or (each.admins and agent.role != "admin")

    return locked


@router.get("/manage/settings")
def index(request: Request, deps: DeskDeps = Depends(deps_of), agent: SupportAgent = Depends(MANAGERS)) -> Response:
    """Everything that can be set, and how much there is of it."""
    with deps.store.read() as session:
        reader = reader_for(session, language_of(request, agent), deps.clock())
        return _page(request, "settings.html", reader, agent, counts=lists.counts(session))


@router.get("/manage/settings/{area}")
def listing(request: Request, area: Area = Depends(area_named), deps: DeskDeps = Depends(deps_of),
            agent: SupportAgent = Depends(MANAGERS)) -> Response:
    """All of one kind."""
    with deps.store.read() as session:
        reader = reader_for(session, language_of(request, agent), deps.clock())
        more: dict[str, Any] = {}
        if area is POLICIES:
            more = settings_previews.policy_list(session, request.query_params, reader)
        rows = [(area.key_of(row), area.name(row, reader), row, cells) for row, cells in area.rows(session, reader)]
        template = "settings_policies.html" if area is POLICIES else "settings_list.html"
        return _page(request, template, reader, agent, area=area, rows=rows, may_create=_may_create(area, agent),
                     **more)


@router.post("/manage/settings/agents/new")
def create_agent(request: Request, typed: dict[str, str] = Depends(typed_form), deps: DeskDeps = Depends(deps_of),
                 agent: SupportAgent = Depends(ADMINS)) -> Response:
    """Create an agent; the page that answers is the only one that ever shows their password."""
    filled = read_form(AGENTS.fields, typed, is_locked(agent, True))
    try:
        with deps.store.write() as session:
            created, password = staff.create_agent(session, agent, filled.values, deps.clock())
            filled.require_all_read()
    except InvalidSettings as error:
        filled.refuse(error)
        return _form_page(request, deps, agent, AGENTS, None, filled, status=422)
    return _password_page(request, deps, agent, created, password)


@router.post("/manage/settings/agents/{key}/password")
def reset_password(request: Request, key: str, deps: DeskDeps = Depends(deps_of),
                   agent: SupportAgent = Depends(ADMINS)) -> Response:
    """Give an agent a new password, shown once."""
    with deps.store.write() as session:
        changed, password = staff.reset_password(session, agent, AGENTS.key(key), deps.clock())
    return _password_page(request, deps, agent, changed, password)


@router.post("/manage/settings/policies/{key}/move")
def move_policy(key: str, typed: dict[str, str] = Depends(typed_form), deps: DeskDeps = Depends(deps_of),
                agent: SupportAgent = Depends(MANAGERS)) -> Response:
    """Move a policy one place up or down."""
    said = "moved"
    try:
        with deps.store.write() as session:
            move_in_order(session, agent, POLICIES.key(key), typed.get("to") == "up", typed.get("version", ""),
                          deps.clock())
    except ChangedMeanwhile:
        said = "order_changed"
    return _to("/policies", said)


@router.post("/manage/settings/macros/{key}/delete")
def remove_macro(request: Request, key: str, typed: dict[str, str] = Depends(typed_form),
                 deps: DeskDeps = Depends(deps_of), agent: SupportAgent = Depends(MANAGERS)) -> Response:
    """Delete a macro."""
    number = MACROS.key(key)
    try:
        with deps.store.write() as session:
            delete_macro(session, agent, number, typed.get("version", ""), deps.clock())
    except ChangedMeanwhile:
        return _form_page(request, deps, agent, MACROS, number, None, status=409)
    return _to("/macros", "deleted")


@router.get("/manage/settings/{area}/{key}")
def edit(request: Request, key: str, area: Area = Depends(area_named), deps: DeskDeps = Depends(deps_of),
         agent: SupportAgent = Depends(MANAGERS)) -> Response:
    """The form of one of them, or of a new one, with its history."""
    if key == NEW:
        if not _may_create(area, agent):
            raise Forbidden() if area.new else Missing()
        return _form_page(request, deps, agent, area, None, None)
    return _form_page(request, deps, agent, area, area.key(key), None)


@router.post("/manage/settings/{area}/{key}")
def save(request: Request, key: str, area: Area = Depends(area_named), typed: dict[str, str] = Depends(typed_form),
         deps: DeskDeps = Depends(deps_of), agent: SupportAgent = Depends(MANAGERS)) -> Response:
    """Store what was typed, show what it would mean, or say why it cannot be stored."""
    new = key == NEW
    if new and not _may_create(area, agent):
        raise Forbidden() if area.new else Missing()
    number = None if new else area.key(key)
    filled = read_form(area.fields, typed, is_locked(agent, new))
    if typed.get("do") == "preview":
        return _form_page(request, deps, agent, area, number, filled, version=typed.get("version", ""), preview=True)
    conflict: Snapshot | None = None
    try:
        with deps.store.write() as session:
            row = area.save(session, agent, number, filled.values, typed.get("version", ""), deps.clock())
            target = area.key_of(row)
            filled.require_all_read()
    except InvalidSettings as error:
        filled.refuse(error)
    except ChangedMeanwhile as error:
        conflict = error.snapshot
    else:
        return _to(f"/{area.path}/{target}", _after_saving(deps, agent, area, row, new))
    return _form_page(request, deps, agent, area, number, filled, version=typed.get("version", ""), conflict=conflict,
                      status=422 if conflict is None else 409)


def _after_saving(deps: DeskDeps, agent: SupportAgent, area: Area, row: Any, new: bool) -> str:
    """What is said; the conversations of an agent who may not enter any more go back to the queue first."""
    if area is AGENTS and not row.active:
        with deps.store.write() as session:
            if staff.release_conversations(session, agent, row.id, deps.clock()):
                return "released"
    return "created" if new else "saved"


def _may_create(area: Area, agent: SupportAgent) -> bool:
    return area.new is not None and agent.is_at_least(area.creators)


def _to(path: str, said: str) -> Response:
    return RedirectResponse(f"{HOME}{path}?{urlencode({'said': said})}", status_code=303)


def _page(request: Request, template: str, reader: Reader, agent: SupportAgent, *, status: int = 200,
          **context: Any) -> Response:
    said = SAID.get(request.query_params.get("said", "")) if request.method == "GET" else None
    return page(request, template, language=reader.language, reader=reader, agent=agent, status_code=status,
                **{"groups": GROUPS, "areas": AREAS, "area": None, "said": said, **context})


def _password_page(request: Request, deps: DeskDeps, agent: SupportAgent, changed: SupportAgent,
                   password: str) -> Response:
    with deps.store.read() as session:
        reader = reader_for(session, language_of(request, agent), deps.clock())
        return _page(request, "settings_password.html", reader, agent, area=AGENTS, person=changed, password=password)


def _form_page(request: Request, deps: DeskDeps, agent: SupportAgent, area: Area, key: Any, filled: Filled | None, *,
               version: str = "", conflict: Snapshot | None = None, preview: bool = False,
               status: int = 200) -> Response:
    """The form: of the row as it is, or of what was typed with what is wrong about it.

    Raises:
        Missing: there is no such row.
    """
    with deps.store.read() as session:
        reader = reader_for(session, language_of(request, agent), deps.clock())
        row = None if key is None else area.load(session, key)
        now_stored = {} if row is None else area.snapshot(session, row)
        days = settings_previews.days(now_stored, filled, reader) if area is CALENDARS else None
        form = Form(area, _controls(session, agent, area, now_stored, filled, reader), new=row is None, key=key,
                    title=reader.say(area.new or "") if row is None else area.name(row, reader),
                    version=version or (version_of(now_stored) if now_stored else ""))
        entries = [] if key is None else history_of(session, area.kind, key)
        if conflict is not None:
            form.version, form.conflicts = version_of(conflict), _conflicts(session, area, conflict, filled, reader)
            form.changed_by = entries[0] if entries else None
        return _page(request, "settings_form.html", reader, agent, status=status, area=area, form=form, row=row,
                     history=history_lines(session, entries, reader), placeholders=PLACEHOLDERS,
                     days=days,
                     text=settings_previews.article(filled) if preview else None, previews=_previews(area))


def _previews(area: Area) -> bool:
    return area.path in ("calendars", "articles")


def _controls(session: Session, agent: SupportAgent, area: Area, stored: Snapshot, filled: Filled | None,
              reader: Reader) -> list[Control]:
    locked = is_locked(agent, not stored)
    problems: Mapping[str, Refusal] = filled.problems if filled else {}
    controls = []
    for each in area.fields:
        value = stored[each.name] if stored else each.begins
        typed = each.show(value, reader)
        if filled is not None and not locked(each):
            typed = filled.typed.get(each.name, "")
        refusal = problems.get(each.name)
        controls.append(Control(each, typed, options_of(each, session, reader), locked(each),
                                say_refusal(refusal, reader) if refusal else None))
    return controls


def _conflicts(session: Session, area: Area, stored: Snapshot, filled: Filled | None,
               reader: Reader) -> list[tuple[str, str, str]]:
    """The fields in which what is stored now is not what was typed: label, stored, typed."""
    if filled is None:
        return []
    found = []
    for each in area.fields:
        if each.name in filled.values and filled.values[each.name] != stored.get(each.name):
            options = options_of(each, session, reader)
            found.append((each.named(reader), each.tell(stored.get(each.name), reader, options),
                          each.tell(filled.values[each.name], reader, options)))
    return found

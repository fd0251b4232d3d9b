"""The audit log as people read it: the history of one thing, the whole log with filters, and its export."""
from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Request, Response
from sqlalchemy import select
from sqlalchemy.orm import Session
from starlette.responses import StreamingResponse

from crm_store.models import SupportAgent
from crm_store.queries import audit as log
from crm_store.queries.audit import AuditRow, AuditSearch, search_audit
from crm_store.rules.personal_data import mask
from crm_store.services import audit
from desk import auth
from desk.deps import DeskDeps, deps_of
from desk.downloads import CSV_BEGINS, CSV_TYPE, attachment, csv_row
from desk.filters import day_begins, number, one_of
from desk.rendering import Reader, language_of, page, reader_for
from desk.routing import PageRoute
from desk.settings_areas import AREAS, BY_KIND, GROUPS
from desk.settings_forms import Field, options_of

router = APIRouter(route_class=PageRoute, include_in_schema=False)

MANAGERS = auth.at_least("manager")
PER_PAGE = 50
ROWS_AT_ONCE = 500
FIELDS = ("who", "action", "kind", "id", "since", "until", "before", "after")
COLUMNS = ("id", "at", "actor_kind", "actor_id", "actor", "action", "object_kind", "object_id", "data")
ACTORS = {"agent": "audit_by_agent", "customer": "audit_by_customer", "bot": "audit_by_bot",
          "system": "audit_by_system"}


@dataclass(frozen=True)
class Line:
    """One entry as it reads. ``changes`` holds (field, before, after), ``details`` (name, value)."""

    id: int
    at: datetime
    who: str
    action: str
    what: str
    href: str | None
    changes: list[tuple[str, str, str]]
    details: list[tuple[str, str]]


@dataclass
class Asked:
    """The filters as they were typed, what they mean, and which cannot be read."""

    given: dict[str, str]
    search: AuditSearch = field(default_factory=AuditSearch)
    bad: list[str] = field(default_factory=list)

    def query(self, **more: Any) -> str:
        """The filters as the query of an address."""
        kept = {name: value for name, value in self.given.items()
                if value and name not in ("before", "after") and name not in self.bad}
        return urlencode({**kept, **more})


def history_lines(session: Session, rows: Sequence[AuditRow], reader: Reader, *, masked: bool = False) -> list[Line]:
    """Entries as they read, newest first."""
    options: dict[tuple[str, str], Any] = {}
    return [_line(session, row, reader, options, mask if masked else str) for row in rows]


def read_filters(parameters: Mapping[str, str], reader: Reader, actions: Sequence[str],
                 kinds: Sequence[str]) -> Asked:
    """Read the filters; one that cannot be read is left out and named."""
    asked = Asked({name: parameters.get(name, "").strip()[:80] for name in FIELDS})
    wanted: dict[str, Any] = {}
    for name, text in asked.given.items():
        if not text:
            continue
        try:
            wanted.update(_read_filter(name, text, reader, actions, kinds))
        except (ValueError, OverflowError):
            asked.bad.append(name)
    asked.search = AuditSearch(**wanted)
    return asked


@router.get("/manage/settings/audit")
def audit_page(request: Request, deps: DeskDeps = Depends(deps_of),
               agent: SupportAgent = Depends(MANAGERS)) -> Response:
    """The audit log, newest first."""
    with deps.store.read() as session:
        reader = reader_for(session, language_of(request, agent), deps.clock())
        actions, kinds = log.actions(session), log.object_kinds(session)
        asked = read_filters(request.query_params, reader, actions, kinds)
        found = search_audit(session, asked.search, PER_PAGE)
        people = session.execute(
            select(SupportAgent.id, SupportAgent.name).order_by(SupportAgent.name, SupportAgent.id)).all()
        return page(
            request, "settings_audit.html", language=reader.language, reader=reader, agent=agent, groups=GROUPS,
            areas=AREAS, area=None, said=None, asked=asked, found=found,
            lines=history_lines(session, found.rows, reader, masked=True),
            people=people, actors=[(kind, reader.say(word)) for kind, word in ACTORS.items() if kind != "agent"],
            actions=_sorted([(value, name_of(value, reader)) for value in actions]),
            kinds=_sorted([(value, name_of(value, reader)) for value in kinds]))


@router.get("/manage/settings/audit.csv")
def export_audit(request: Request, deps: DeskDeps = Depends(deps_of),
                 agent: SupportAgent = Depends(MANAGERS)) -> Response:
    """The entries that the filters find, oldest last, personal data masked. The export is an entry itself."""
    now = deps.clock()
    with deps.store.write() as session:
        reader = reader_for(session, language_of(request, agent), now)
        asked = read_filters(request.query_params, reader, log.actions(session), log.object_kinds(session))
        filters = {name: value for name, value in asked.given.items() if value and name not in asked.bad}
        audit.record(session, actor_kind="agent", actor_id=agent.id, action="export", object_kind="audit_log",
                     object_id="csv", data=filters, now=now)
    return StreamingResponse(_csv(deps, replace(asked.search, after=None)), media_type=CSV_TYPE,
                             headers=attachment(f"audit-{now:%Y%m%d-%H%M}.csv"))


def name_of(stored: str, reader: Reader) -> str:
    """What was done, or to what kind of thing, in words; as it is stored where the desk has none."""
    return reader.known("audit", stored)


def actor_name(row: AuditRow, reader: Reader) -> str:
    """Who did it. Customers are named by their id alone."""
    if row.actor_name:
        return row.actor_name
    name = reader.say(ACTORS[row.actor_kind]) if row.actor_kind in ACTORS else row.actor_kind
    return f"{name} #{row.actor_id}" if row.actor_id is not None else name


def _csv(deps: DeskDeps, search: AuditSearch) -> Iterator[str]:
    yield CSV_BEGINS + csv_row(COLUMNS)
    while True:
        with deps.store.read() as session:
            found = search_audit(session, search, ROWS_AT_ONCE)
        yield "".join(csv_row([
            row.id, row.at.isoformat(), row.actor_kind, row.actor_id, row.actor_name, row.action, row.object_kind,
            row.object_id, json.dumps(_masked(row.data), ensure_ascii=False)]) for row in found.rows)
        if not found.older:
            return
        search = replace(search, before=found.rows[-1].id)


def _masked(value: Any) -> Any:
    if isinstance(value, str):
        return mask(value)
    if isinstance(value, Mapping):
        return {str(name): _masked(each) for name, each in value.items()}
    return [_masked(each) for each in value] if isinstance(value, list) else value


def _read_filter(name: str, text: str, reader: Reader, actions: Sequence[str], kinds: Sequence[str]) -> dict[str, Any]:
    if name == "who":
        return _who(text)
    if name == "action":
        return {name: one_of(actions)(text)}
    if name == "kind":
        return {"object_kind": one_of(kinds)(text)}
    if name == "id":
        if not re.fullmatch(r"[\w.:@#-]{1,60}", text):
            raise ValueError(text)
        return {"object_id": text.lstrip("#")}
    if name in ("since", "until"):
        return {name: day_begins(text, reader, later=int(name == "until"))}
    return {name: number(text)}


def _who(text: str) -> dict[str, Any]:
    if text in ACTORS:
        return {"actor_kind": text}
    return {"actor_kind": "agent", "actor_id": number(text)}


def _sorted(named: list[tuple[str, str]]) -> list[tuple[str, str]]:
    return sorted(named, key=lambda each: each[1])


def _line(session: Session, row: AuditRow, reader: Reader, options: dict[tuple[str, str], Any],
          shown: Any) -> Line:
    area = BY_KIND.get(row.object_kind)
    fields = {each.name: each for each in area.fields} if area else {}
    changed, told = row.data.get("changes"), []
    if isinstance(changed, Mapping):
        for name, change in changed.items():
            if isinstance(change, Mapping):
                told.append(_change(session, row.object_kind, name, fields.get(name), change, reader, options))
    details = [(name, _short(value)) for name, value in row.data.items()
               if not (name == "changes" and isinstance(changed, Mapping)) and value is not None]
    href = None
    if area is not None and row.action != "delete":
        href = f"/manage/settings/{area.path}/{row.object_id}"
    elif row.object_kind == "conversation":
        href = f"/manage/logs/{row.object_id}"
    return Line(row.id, row.at, actor_name(row, reader), name_of(row.action, reader),
                f"{name_of(row.object_kind, reader)} {row.object_id}", href,
                [(label, shown(before), shown(after)) for label, before, after in told],
                [(name, shown(value)) for name, value in details])


def _change(session: Session, kind: str, name: str, about: Field | None, change: Mapping[str, Any], reader: Reader,
            options: dict[tuple[str, str], Any]) -> tuple[str, str, str]:
    before, after = change.get("from"), change.get("to")
    if about is None:
        label = reader.say("set_position") if name == "position" else name
        return label, _short(before), _short(after)
    if (kind, name) not in options:
        options[kind, name] = options_of(about, session, reader)
    choices = options[kind, name]
    try:
        return about.named(reader), about.tell(before, reader, choices), about.tell(after, reader, choices)
    except (TypeError, ValueError, AttributeError):  # an entry of another release
        return about.named(reader), _short(before), _short(after)


def _short(value: Any) -> str:
    if value is None:
        return "–"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)

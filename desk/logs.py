"""The managers' log: search every conversation one may see, read any of them, and keep a search under a name."""
from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import parse_qsl, urlencode

from fastapi import APIRouter, Depends, Form, Request, Response
from markupsafe import Markup
from sqlalchemy import event, select
from sqlalchemy.orm import ORMExecuteState, Session, with_loader_criteria
from starlette.responses import RedirectResponse

from crm_store.errors import InvalidMessage
from crm_store.models import Conversation, Message, SupportAgent, Team
from crm_store.queries.log import LogPage, LogRow, hits_in, search_log
from crm_store.rules.intents import INTENTS
from crm_store.rules.personal_data import mask
from crm_store.rules.search_words import Wanted, find_wanted, snippet, wanted_in
from crm_store.services.access import access_conversation, visible_to
from crm_store.services.saved_searches import delete_search, rename_search, save_search, saved_searches
from desk import auth, panes
from desk.api import object_id
from desk.customer import SEES_PERSONAL_DATA, customer_pane
from desk.deps import DeskDeps, deps_of
from desk.filters import page_number
from desk.log_search import CHOICES, Search, read_search
from desk.rendering import Reader, language_of, page, reader_for
from desk.routing import PageRoute

router = APIRouter(route_class=PageRoute, include_in_schema=False)

LEADS = auth.at_least("lead")
PER_PAGE = 50
EXCERPT_LENGTH = 160
LINES_AT_ONCE = 200
NOT_SAVED = {"saved_nothing", "saved_too_many", "saved_taken", "saved_name_bad"}
Pieces = list[tuple[str, bool]]


def see_only(session: Session, agent: SupportAgent) -> None:
    """Limit everything this session selects to the conversations that the agent may see."""
    condition = visible_to(agent)

    @event.listens_for(session, "do_orm_execute")
    def limit(state: ORMExecuteState) -> None:
        if state.is_select and not state.is_column_load and not state.is_relationship_load:
            state.statement = state.statement.options(with_loader_criteria(Conversation, condition))


def highlighted(text: str, wanted: list[Wanted]) -> Pieces:
    """The text in pieces, and whether each is one of the things that were searched for."""
    pieces, at = [], 0
    for start, end in find_wanted(text, wanted):
        pieces += [(text[at:start], False), (text[start:end], True)]
        at = end
    return [(piece, hit) for piece, hit in [*pieces, (text[at:], False)] if piece]


@dataclass(frozen=True)
class Result:
    """A row of the results as it reads."""

    row: LogRow
    name: Pieces
    said: Pieces
    tickets: list[Pieces]


@dataclass(frozen=True)
class Condition:
    """A condition of the search as it reads, with the search without it."""

    name: str
    label: str
    value: str
    without: str


@dataclass(frozen=True)
class Choices:
    """What the form offers besides fixed values."""

    agents: dict[int, str]
    teams: dict[int, str]


@router.get("/manage")
def manage(agent: SupportAgent = Depends(LEADS)) -> Response:
    """The console begins with the log."""
    return RedirectResponse("/manage/logs", status_code=303)


@router.get("/manage/logs")
def logs(request: Request, deps: DeskDeps = Depends(deps_of),
         agent: SupportAgent = Depends(LEADS)) -> Response:
    """Search the log; the parameters are those of :mod:`desk.log_search`."""
    with deps.store.read() as session:
        reader = reader_for(session, language_of(request, agent), deps.clock())
        search = read_search(request.query_params, reader)
        choices, saved = _choices(session), saved_searches(session, agent)
        see_only(session, agent)
        found = search_log(session, **search.wanted, sort=search.sort, per_page=PER_PAGE,
                           page=page_number(request.query_params.get("page", "")))
    return page(request, "logs.html", language=reader.language, reader=reader, agent=agent, search=search, found=found,
                results=_results(found, agent, search, reader), conditions=_said(search, choices, reader), saved=saved,
                choices=choices, fixed=CHOICES, intents=INTENTS, masked=not _sees_all_of(agent),
                may_clear=agent.is_at_least("manager"),
                opened=page_number(request.query_params.get("saved", ""), otherwise=0),
                not_saved=NOT_SAVED & {request.query_params.get("not_saved")})


@router.post("/manage/logs/saved")
def save(request: Request, name: str = Form(""), shared: str = Form(""), query: str = Form(""),
         deps: DeskDeps = Depends(deps_of), agent: SupportAgent = Depends(LEADS)) -> Response:
    """Keep a search under a name."""
    with deps.store.write() as session:
        reader = reader_for(session, language_of(request, agent), deps.clock())
        search = read_search(dict(parse_qsl(query[:10_000])), reader)
        try:
            kept = save_search(session, agent, name, search.query(), bool(shared), deps.clock())
        except InvalidMessage as error:
            return _to(search.query(), not_saved=_why_not(error))
        return _to(search.query(), saved=kept.id)


@router.post("/manage/logs/saved/{saved_id}")
def change_saved(request: Request, saved_id: int, name: str = Form(""), shared: str = Form(""), delete: str = Form(""),
                 deps: DeskDeps = Depends(deps_of), agent: SupportAgent = Depends(LEADS)) -> Response:
    """Rename, share or delete a kept search."""
    key = object_id(saved_id)
    with deps.store.write() as session:
        if delete:
            delete_search(session, agent, key, deps.clock())
            return RedirectResponse("/manage/logs", status_code=303)
        try:
            kept = rename_search(session, agent, key, name, bool(shared), deps.clock())
        except InvalidMessage as error:
            return _to("", not_saved=_why_not(error))
        return _to(kept.query, saved=kept.id)


@router.get("/manage/logs/{conversation_id}")
def read_conversation(request: Request, key: int = Depends(object_id), deps: DeskDeps = Depends(deps_of),
                      agent: SupportAgent = Depends(LEADS)) -> Response:
    """Read one conversation of the log, from the first thing that was searched for. The look is recorded."""
    now = deps.clock()
    with deps.store.read() as session:
        reader = reader_for(session, language_of(request, agent), now)
        search = read_search(request.query_params, reader)
        conversation = access_conversation(session, agent, key)
        view = panes.conversation_pane(session, agent, conversation, reader, limit=1)
        part = page_number(request.query_params.get("part", ""), otherwise=0)
        thread = _thread(session, agent, key, reader, search, part)
        recorded = panes.look_is_recorded(session, agent, key, now)
        response = page(request, "log_thread.html", language=reader.language, reader=reader, agent=agent,
                        view_of=replace(view, rows=thread.rows), thread=thread, search=search,
                        person=customer_pane(session, agent, conversation, reader), conversation=conversation)
    if not recorded:
        with deps.store.write() as session:
            panes.record_look(session, agent, access_conversation(session, agent, key), now)
    return response


@dataclass(frozen=True)
class ThreadPart:
    """A part of a thread, so long that a page can bear it.

    Attributes:
        rows: its lines.
        part: which, from 1, the oldest.
        parts: how many there are.
        hits: how many messages of the thread hold something that was searched for.
        parts_with_hits: in which parts these are.
    """

    rows: list[panes.Line]
    part: int
    parts: int
    hits: int
    parts_with_hits: list[int]


def _thread(session: Session, agent: SupportAgent, key: int, reader: Reader, search: Search, asked: int) -> ThreadPart:
    """The part that is asked for, or else that of the first hit, or else the last."""
    ids = list(session.execute(
        select(Message.id).where(Message.conversation_id == key).order_by(Message.id)).scalars())
    wanted = wanted_in(search.given["words"])
    hits = hits_in(session, key, wanted) if wanted else set()
    with_hits = sorted({1 + place // LINES_AT_ONCE for place, each in enumerate(ids) if each in hits})
    parts = max(1, -(-len(ids) // LINES_AT_ONCE))
    part = min(asked, parts) or (with_hits[0] if with_hits else parts)
    end = part * LINES_AT_ONCE
    rows, _ = panes.lines_of(session, key, reader, panes.tickets_of(session, key), _marking(agent, wanted),
                             before=ids[end] if end < len(ids) else None,
                             limit=max(1, len(ids[end - LINES_AT_ONCE:end])),
                             named=str if _sees_all_of(agent) else mask)
    return ThreadPart(rows, part, parts, len(hits), with_hits)


def _marking(agent: SupportAgent, wanted: list[Wanted]) -> Any:
    """How a message's text is shown: masked if need be, what was searched for marked and named hit-1, hit-2."""
    count = 0

    def shown(text: str) -> str:
        nonlocal count
        pieces = highlighted(text if _sees_all_of(agent) else mask(text), wanted)
        said, named = Markup(), False
        for piece, hit in pieces:
            if hit and not named:
                count, named = count + 1, True
                said += Markup('<mark id="hit-{}">{}</mark>').format(count, piece)
            else:
                said += Markup("<mark>{}</mark>").format(piece) if hit else piece
        return said

    return shown


def _sees_all_of(agent: SupportAgent) -> bool:
    return agent.role in SEES_PERSONAL_DATA


def _results(found: LogPage, agent: SupportAgent, search: Search, reader: Reader) -> list[Result]:
    wanted = wanted_in(search.given["words"])

    def said(row: LogRow) -> str:
        return row.excerpt if _sees_all_of(agent) else snippet(mask(row.text), wanted, EXCERPT_LENGTH)

    return [Result(row, highlighted(panes.customer_name(row.customer_name, row.conversation_id, reader), wanted),
                   highlighted(said(row), wanted), [highlighted(number, wanted) for number in row.tickets])
            for row in found.rows]


def _choices(session: Session) -> Choices:
    return Choices(
        dict(session.execute(select(SupportAgent.id, SupportAgent.name).order_by(SupportAgent.name, SupportAgent.id))
             .all()),
        dict(session.execute(select(Team.id, Team.name).order_by(Team.name)).all()))


def _said(search: Search, choices: Choices, reader: Reader) -> list[Condition]:
    """The conditions in words, so that what a link brought along is seen and can be taken away."""
    labels = {"anger": "anger_from", "breached": "promise", "promise": "promise_kind", "cause": "outcome",
              "status": "logs_status"}

    def value(name: str, given: str) -> str:
        if name in CHOICES:
            return reader.known(name, given)
        if name in ("agent", "team"):
            return {"agent": choices.agents, "team": choices.teams}[name].get(search.wanted[f"{name}_id"], given)
        if name in ("breached", "unread", "by_bot"):
            word = {"breached": ("breached", "kept")}.get(name, ("logs_yes", "logs_no"))[given != "yes"]
            return reader.say(word)
        if name == "intent":
            return reader.known("intent", given)
        return reader.say("hour_from_to", hour=f"{int(given):02}") if name == "hour" else given

    return [Condition(name, reader.say(labels.get(name, name)), value(name, given), search.query(without=name))
            for name, given in search.asked.items()]


def _to(query: str, **more: Any) -> Response:
    return RedirectResponse(f"/manage/logs?{query}{'&' if query else ''}{urlencode(more)}", status_code=303)


def _why_not(error: InvalidMessage) -> str:
    """The word for why a search was not kept."""
    if error.data.get("field") == "query":
        return "saved_nothing"
    return {"too_many": "saved_too_many", "taken": "saved_taken"}.get(error.data["reason"], "saved_name_bad")

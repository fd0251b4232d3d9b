"""The managers' log: search every conversation one may see, and read any of them."""
from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta, timezone
from typing import Any
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Request, Response
from sqlalchemy import event, select
from sqlalchemy.orm import ORMExecuteState, Session, with_loader_criteria
from starlette.responses import RedirectResponse

from crm_store.models import Conversation, Message, SupportAgent
from crm_store.models.customers import CHANNELS
from crm_store.models.tickets import GRADES, REASONS
from crm_store.queries.log import LogRow, search_log
from crm_store.rules.personal_data import mask
from crm_store.services.access import access_conversation, visible_to
from desk import auth, panes
from desk.api import object_id
from desk.customer import SEES_PERSONAL_DATA, customer_pane
from desk.deps import DeskDeps, deps_of
from desk.rendering import Reader, language_of, page, reader_for
from desk.routing import PageRoute

router = APIRouter(route_class=PageRoute, include_in_schema=False)

LEADS = auth.at_least("lead")
PER_PAGE = 50
LAST_PAGE = 1_000_000
WORDS_LIMIT = 200
INTENTS_LISTED = 200
FIELDS = ("words", "channel", "intent", "reason", "agent", "grade", "anger", "breached", "rating", "since", "until")
Pieces = list[tuple[str, bool]]


@dataclass
class Search:
    """What was asked for: ``given`` as it was typed, ``wanted`` as the store is asked, ``bad`` what cannot be read."""

    given: dict[str, str]
    wanted: dict[str, Any] = field(default_factory=dict)
    bad: list[str] = field(default_factory=list)

    def query(self, **more: Any) -> str:
        """The search as the query of an address."""
        return urlencode({**{name: value for name, value in self.given.items() if value}, **more})


def read_search(parameters: Mapping[str, str], reader: Reader) -> Search:
    """Read the search form; a condition that cannot be read is left out and named."""
    given = {name: parameters.get(name, "").strip()[:WORDS_LIMIT] for name in FIELDS}
    search = Search(given)
    kinds: dict[str, tuple[str, Any]] = {
        "words": ("words", str), "channel": ("channel", _one_of(CHANNELS)), "intent": ("intent", _intent),
        "reason": ("reason", _one_of(REASONS)), "agent": ("agent_id", _id), "grade": ("grade", _one_of(GRADES)),
        "anger": ("anger_at_least", _share), "breached": ("breached", _yes_no), "rating": ("rating", _score),
        "since": ("since", lambda text: _midnight(text, reader)),
        "until": ("until", lambda text: _midnight(text, reader, days=1)),
    }
    for name, text in given.items():
        if not text:
            continue
        argument, read = kinds[name]
        try:
            search.wanted[argument] = read(text)
        except (ValueError, OverflowError):
            search.bad.append(name)
    return search


def _one_of(values: Iterable[str]) -> Any:
    def read(text: str) -> str:
        if text not in values:
            raise ValueError(text)
        return text

    return read


def _intent(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z_][\w/.-]{0,59}", text):
        raise ValueError(text)
    return text


def _id(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,15}", text):
        raise ValueError(text)
    return int(text)


def _share(text: str) -> float:
    value = float(text.replace(",", "."))
    if not 0 <= value <= 1:
        raise ValueError(text)
    return value


def _yes_no(text: str) -> bool:
    if text not in ("yes", "no"):
        raise ValueError(text)
    return text == "yes"


def _score(text: str) -> int:
    if text not in ("1", "2", "3", "4", "5"):
        raise ValueError(text)
    return int(text)


def _midnight(text: str, reader: Reader, days: int = 0) -> datetime:
    local = datetime.combine(date.fromisoformat(text) + timedelta(days=days), time(), tzinfo=reader.zone)
    return local.astimezone(timezone.utc)


def _page_number(text: str) -> int:
    return min(int(text), LAST_PAGE) if re.fullmatch(r"[0-9]{1,9}", text) else 1


def see_only(session: Session, agent: SupportAgent) -> None:
    """Limit everything this session selects to the conversations that the agent may see."""
    condition = visible_to(agent)

    @event.listens_for(session, "do_orm_execute")
    def limit(state: ORMExecuteState) -> None:
        if state.is_select and not state.is_column_load and not state.is_relationship_load:
            state.statement = state.statement.options(with_loader_criteria(Conversation, condition))


def highlighted(text: str, words: str) -> Pieces:
    """The text in pieces, and whether each is one of the words that were searched for."""
    wanted = sorted({re.escape(word) for word in words.split() if word}, key=len, reverse=True)
    if not wanted:
        return [(text, False)]
    pieces = re.split(f"({'|'.join(wanted)})", text, flags=re.IGNORECASE)
    return [(piece, index % 2 == 1) for index, piece in enumerate(pieces) if piece]


@dataclass(frozen=True)
class Result:
    """A row of the results as it reads."""

    row: LogRow
    name: Pieces
    said: Pieces


@router.get("/manage")
def manage(agent: SupportAgent = Depends(LEADS)) -> Response:
    """The console begins with the log."""
    return RedirectResponse("/manage/logs", status_code=303)


@router.get("/manage/logs")
def logs(request: Request, deps: DeskDeps = Depends(deps_of),
         agent: SupportAgent = Depends(LEADS)) -> Response:
    """Search the log."""
    shown = mask if agent.role not in SEES_PERSONAL_DATA else str
    with deps.store.read() as session:
        reader = reader_for(session, language_of(request, agent), deps.clock())
        search = read_search(request.query_params, reader)
        agents = session.execute(
            select(SupportAgent.id, SupportAgent.name).order_by(SupportAgent.name, SupportAgent.id)).all()
        intents = session.execute(
            select(Message.intent).where(Message.intent.is_not(None)).distinct().order_by(Message.intent)
            .limit(INTENTS_LISTED)).scalars().all()
        see_only(session, agent)
        found = search_log(session, **search.wanted, page=_page_number(request.query_params.get("page", "1")),
                           per_page=PER_PAGE)
    words = search.given["words"]
    results = [Result(row, highlighted(panes.customer_name(row.customer_name, row.conversation_id, reader), words),
                      highlighted(shown(row.excerpt), words)) for row in found.rows]
    return page(request, "logs.html", language=reader.language, reader=reader, agent=agent, search=search, found=found,
                results=results, agents=agents, intents=intents, channels=CHANNELS, reasons=REASONS, grades=GRADES,
                masked=shown is mask)


@router.get("/manage/logs/{conversation_id}")
def read_conversation(request: Request, key: int = Depends(object_id), deps: DeskDeps = Depends(deps_of),
                      agent: SupportAgent = Depends(LEADS)) -> Response:
    """Read one conversation of the log. The look is recorded."""
    masked, now = agent.role not in SEES_PERSONAL_DATA, deps.clock()
    with deps.store.read() as session:
        reader = reader_for(session, language_of(request, agent), now)
        search = read_search(request.query_params, reader)
        conversation = access_conversation(session, agent, key)
        view = panes.conversation_pane(session, agent, conversation, reader, shown=mask if masked else str)
        recorded = panes.look_is_recorded(session, agent, key, now)
        response = page(request, "log_thread.html", language=reader.language, reader=reader, agent=agent, view_of=view,
                        person=customer_pane(session, agent, conversation, reader), search=search,
                        conversation=conversation, words=search.given["words"])
    if not recorded:
        with deps.store.write() as session:
            panes.record_look(session, agent, access_conversation(session, agent, key), now)
    return response

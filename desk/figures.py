"""The managers' figures: charts and tables, each point a way to the conversations behind it."""
from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Request, Response
from sqlalchemy.orm import Session

from crm_store.models import SupportAgent
from crm_store.models.customers import CHANNELS, LANGUAGES
from crm_store.models.tickets import PROMISES
from crm_store.queries.figures import Scope, teams_and_agents
from crm_store.rules.figures import LONGEST_DAYS, Period, PeriodTooLong, last_days, period_between
from crm_store.services import audit
from desk import auth
from desk.deps import DeskDeps, deps_of
from desk.downloads import CSV_BEGINS, CSV_TYPE, attachment, csv_row
from desk.figures_board import Board
from desk.figures_view import FIGURES, file_name, satisfied, tiles
from desk.problems import Missing
from desk.rendering import Reader, language_of, page, reader_for
from desk.routing import PageRoute

router = APIRouter(route_class=PageRoute, include_in_schema=False)

LEADS = auth.at_least("lead")
PRESETS = (7, 30, 90)
USUAL_DAYS = 30
FIELDS = ("days", "since", "until", "channel", "language", "team", "agent", "promise")
FIELD_LIMIT = 40


@dataclass
class Asked:
    """What was asked for: ``given`` as it was typed, ``bad`` what cannot be read, ``too_long`` of the period."""

    given: dict[str, str]
    period: Period
    bad: list[str] = field(default_factory=list)
    too_long: bool = False

    def query(self, **more: Any) -> str:
        """What was asked for as the query of an address; None leaves a field out."""
        kept = {name: value for name, value in self.given.items() if value and name not in self.bad}
        return urlencode({name: value for name, value in {**kept, **more}.items() if value is not None})


@router.get("/manage/figures")
def show_figures(request: Request, deps: DeskDeps = Depends(deps_of),
                 agent: SupportAgent = Depends(LEADS)) -> Response:
    """All figures of a period."""
    with deps.store.read() as session:
        reader = reader_for(session, language_of(request, agent), deps.clock())
        asked, board = read_board(session, request.query_params, agent, reader)
        shown = {name: build(board) for name, build in FIGURES.items()}
        return page(request, "figures.html", language=reader.language, reader=reader, agent=agent, asked=asked,
                    board=board, figures=shown, tiles=tiles(board), satisfied=satisfied(board), presets=PRESETS,
                    channels=CHANNELS, languages=LANGUAGES, promises=PROMISES, longest=LONGEST_DAYS,
                    own_team=agent.role == "lead")


@router.get("/manage/figures/{name}.csv")
def export_figure(name: str, request: Request, deps: DeskDeps = Depends(deps_of),
                  agent: SupportAgent = Depends(LEADS)) -> Response:
    """One figure for a spreadsheet. The export is recorded."""
    if name not in FIGURES:
        raise Missing()
    now = deps.clock()
    with deps.store.read() as session:  # counting takes its time, and customers' messages must not wait for it
        reader = reader_for(session, language_of(request, agent), now)
        asked, board = read_board(session, request.query_params, agent, reader)
        figure = FIGURES[name](board)
    with deps.store.write() as session:
        audit.record(session, actor_kind="agent", actor_id=agent.id, action="export", object_kind="figure",
                     object_id=name, now=now, data={**board.filters, "since": str(asked.period.start),
                                                    "until": str(asked.period.end)})
    rows = [figure.columns, *([cell.value for cell in row] for row in figure.rows)]
    return Response(CSV_BEGINS + "".join(map(csv_row, rows)), media_type=CSV_TYPE,
                    headers=attachment(file_name(name, board.scope)))


def read_board(session: Session, parameters: Mapping[str, str], agent: SupportAgent,
               reader: Reader) -> tuple[Asked, Board]:
    """Read what was asked for; what cannot be read is left out and named. A lead always asks about their own team.

    Raises:
        Missing: a lead asks about another team, or one of its agents.
    """
    given = {name: parameters.get(name, "").strip()[:FIELD_LIMIT] for name in FIELDS}
    asked = Asked(given, last_days(USUAL_DAYS, reader.now, reader.zone))
    _read_period(asked, reader)
    own_team = agent.team_id if agent.role == "lead" else None
    teams, agents = teams_and_agents(session, own_team)
    chosen = {"channel": _one_of(asked, "channel", CHANNELS), "language": _one_of(asked, "language", LANGUAGES)}
    team_id, agent_id = _id_of(asked, "team", teams), _id_of(asked, "agent", agents)
    if own_team is not None and {"team", "agent"} & set(asked.bad):
        raise Missing()
    team_id = own_team or team_id
    scope = Scope(asked.period, team_id=team_id, agent_id=agent_id, **chosen)
    filters = {name: str(value) for name, value in (*chosen.items(), ("team", team_id), ("agent", agent_id)) if value}
    return asked, Board(session, scope, reader, _one_of(asked, "promise", PROMISES) or PROMISES[0], teams, agents,
                        filters)


def _read_period(asked: Asked, reader: Reader) -> None:
    """The period: from a day to a day, today at the latest, or the last days; the usual one where it cannot be read."""
    today = reader.local(reader.now).date()
    days = {name: _day(asked, name) for name in ("since", "until")}
    if asked.given["since"] or asked.given["until"]:
        end = min(days["until"] or today, today)
        start = min(days["since"] or end - timedelta(days=USUAL_DAYS - 1), today)
        if not {"since", "until"} & set(asked.bad):
            _choose(asked, start, end, reader)
        return
    if asked.given["days"]:
        if re.fullmatch(r"[0-9]{1,4}", asked.given["days"]) and int(asked.given["days"]) > 0:
            _choose(asked, today - timedelta(days=int(asked.given["days"]) - 1), today, reader)
        else:
            asked.bad.append("days")


def _choose(asked: Asked, start: date, end: date, reader: Reader) -> None:
    try:
        asked.period = period_between(start, end, reader.zone)
    except PeriodTooLong:
        asked.too_long = True
    except ValueError:
        asked.bad.append("since")


def _day(asked: Asked, name: str) -> date | None:
    try:
        return date.fromisoformat(asked.given[name]) if asked.given[name] else None
    except ValueError:
        asked.bad.append(name)
        return None


def _one_of(asked: Asked, name: str, values: Sequence[str]) -> str | None:
    if asked.given[name] in values:
        return asked.given[name]
    if asked.given[name]:
        asked.bad.append(name)
    return None


def _id_of(asked: Asked, name: str, known: Mapping[int, str]) -> int | None:
    text = asked.given[name]
    if re.fullmatch(r"[0-9]{1,15}", text) and int(text) in known:
        return int(text)
    if text:
        asked.bad.append(name)
    return None

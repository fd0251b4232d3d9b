"""What customers are worth, for managers: figures, who is behind each of them, and the same for a spreadsheet."""
from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Request, Response
from starlette.responses import StreamingResponse

from crm_store.models import SupportAgent
from crm_store.queries.value import Value, Wanted, customers_by_value, group_of
from crm_store.rules.value import SCORES
from crm_store.services import audit
from desk import auth
from desk.deps import DeskDeps, deps_of
from desk.downloads import CSV_BEGINS, CSV_TYPE, attachment, csv_row
from desk.filters import number, one_of, page_number
from desk.rendering import Reader, language_of, page, reader_for
from desk.routing import PageRoute
from desk.value_view import RISK_WORDS, SEGMENT_WORDS, STAGE_WORDS, ValueBoard, shop_day, shown

router = APIRouter(route_class=PageRoute, include_in_schema=False)

MANAGERS = auth.at_least("manager")
PER_PAGE = 50
EXPORTED_AT_ONCE = 1_000
LONGEST_FIELD = 40
CHOICES = {"segment": SEGMENT_WORDS, "stage": STAGE_WORDS, "risk": RISK_WORDS}
READ = {**{name: one_of(words) for name, words in CHOICES.items()}, "recency": number, "weight": number}
COLUMNS = ("number", "customer", "value_segment", "value_stage", "value_risk", "value_churn", "value_purchases",
           "value_returns", "value_first", "value_last", "value_spent", "value_worth")


@dataclass
class Search:
    """Which customers to show: ``given`` as it was asked for, ``bad`` what could not be read and is left out."""

    given: dict[str, str]
    wanted: Wanted = field(default_factory=Wanted)
    bad: list[str] = field(default_factory=list)

    def query(self, **more: Any) -> str:
        """The search as the query of an address."""
        kept = {name: value for name, value in self.given.items() if value and name not in self.bad}
        return urlencode({**kept, **more})


def read_search(parameters: Mapping[str, str]) -> Search:
    """Read the filters; one that cannot be read is left out and named."""
    search = Search({name: parameters.get(name, "").strip()[:LONGEST_FIELD] for name in READ})
    wanted: dict[str, Any] = {}
    for name, read in READ.items():
        try:
            if search.given[name]:
                wanted[name] = read(search.given[name])
                if name in ("recency", "weight") and wanted[name] not in SCORES:
                    raise ValueError(name)
        except ValueError:
            wanted.pop(name, None)
            search.bad.append(name)
    search.wanted = Wanted(**wanted)
    return search


@router.get("/manage/value")
def show_value(request: Request, deps: DeskDeps = Depends(deps_of),
               agent: SupportAgent = Depends(MANAGERS)) -> Response:
    """Segments, stages and what they are worth, without anybody's name."""
    with deps.store.read() as session:
        reader = reader_for(session, language_of(request, agent), deps.clock())
        board = ValueBoard(session, reader)
    return page(request, "value.html", language=reader.language, reader=reader, agent=agent, board=board)


@router.get("/manage/value/customers")
def show_customers(request: Request, deps: DeskDeps = Depends(deps_of),
                   agent: SupportAgent = Depends(MANAGERS)) -> Response:
    """Who is in a segment, in a stage, or about to go; who spent the most comes first. The look is recorded."""
    search = read_search(request.query_params)
    with deps.store.write() as session:
        reader = reader_for(session, language_of(request, agent), deps.clock())
        whole = group_of(session, search.wanted)
        pages = max(1, -(-whole.customers // PER_PAGE))
        at = min(max(page_number(request.query_params.get("page", "")), 1), pages)
        found = customers_by_value(session, shop_day(reader), search.wanted, skip=(at - 1) * PER_PAGE, limit=PER_PAGE)
        _record(session, agent, "look", search, reader, {"page": at})
    return page(request, "value_customers.html", language=reader.language, reader=reader, agent=agent, search=search,
                found=[shown(each, reader) for each in found], whole=whole, at=at, pages=pages, choices=CHOICES)


@router.get("/manage/value/customers.csv")
def export_customers(request: Request, deps: DeskDeps = Depends(deps_of),
                     agent: SupportAgent = Depends(MANAGERS)) -> Response:
    """The same customers, all of them, for a spreadsheet. The export is recorded."""
    search = read_search(request.query_params)
    with deps.store.write() as session:
        reader = reader_for(session, language_of(request, agent), deps.clock())
        _record(session, agent, "export", search, reader, {})
    return StreamingResponse(_sent(deps, search, reader), media_type=CSV_TYPE,
                             headers=attachment(f"warmline-value-{shop_day(reader)}.csv"))


def _sent(deps: DeskDeps, search: Search, reader: Reader) -> Iterator[bytes]:
    yield (CSV_BEGINS + csv_row(map(reader.say, COLUMNS))).encode()
    with deps.store.read() as session:  # one reading from the first row to the last
        skip = 0
        while True:
            found = customers_by_value(session, shop_day(reader), search.wanted, skip=skip, limit=EXPORTED_AT_ONCE)
            yield "".join(csv_row(_row(each, reader)) for each in found).encode("utf8", "replace")
            if len(found) < EXPORTED_AT_ONCE:
                return
            skip += len(found)


def _row(value: Value, reader: Reader) -> list[Any]:
    """A customer's line, amounts in yuan."""
    as_read = shown(value, reader)
    facts = value.facts
    return [value.number, value.name, as_read.segment, as_read.stage, as_read.risk,
            None if value.churn is None else round(value.churn, 4), facts.purchases, facts.returns,
            facts.first_on.isoformat(), facts.last_on.isoformat(), facts.spent_fen / 100,
            None if value.worth_fen is None else value.worth_fen / 100]


def _record(session: Any, agent: SupportAgent, action: str, search: Search, reader: Reader,
            more: dict[str, Any]) -> None:
    asked = {name: value for name, value in search.given.items() if value and name not in search.bad}
    audit.record(session, actor_kind="agent", actor_id=agent.id, action=action, object_kind="customer_value",
                 object_id="list", now=reader.now, data={**asked, **more})

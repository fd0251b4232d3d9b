"""The log's export: the conversations found, or all of their messages, as CSV or JSONL, sent as they are read.

``/manage/logs/export.csv`` and ``.jsonl`` take the parameters of :mod:`desk.log_search`; ``rows=messages`` gives a row
a message. Whoever exports gets what they may see on the page, masked as there. CSV begins with a byte order mark,
without which Excel takes Chinese for something else; what a spreadsheet would take for a formula gets an apostrophe in
front (:mod:`desk.downloads`).
"""
from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

from fastapi import APIRouter, Depends, Request, Response
from sqlalchemy import select
from sqlalchemy.orm import Session
from starlette.responses import StreamingResponse

from crm_store.models import Message, SupportAgent
from crm_store.queries.log import LogRow, found_in_log, log_rows
from crm_store.rules.personal_data import mask
from crm_store.services import audit
from desk import auth
from desk.customer import SEES_PERSONAL_DATA
from desk.deps import DeskDeps, deps_of
from desk.downloads import CSV_BEGINS, CSV_TYPE, attachment, csv_row
from desk.log_search import Search, read_search
from desk.logs import see_only
from desk.problems import Invalid, Missing
from desk.rendering import Reader, language_of, reader_for
from desk.routing import PageRoute

router = APIRouter(route_class=PageRoute, include_in_schema=False)

LEADS = auth.at_least("lead")
CONVERSATIONS_AT_ONCE = 200
MESSAGES_AT_ONCE = 500
MEDIA_TYPES = {"csv": CSV_TYPE, "jsonl": "application/jsonl; charset=utf-8"}
Record = dict[str, Any]

TALK_COLUMNS = {
    "conversation": "column_conversation", "begun_at": "column_begun_at", "changed_at": "column_changed_at",
    "resolved_at": "column_resolved_at", "channel": "column_channel", "language": "column_language",
    "status": "column_status", "customer_number": "column_customer_number", "customer": "column_customer",
    "agent": "column_agent", "messages": "column_messages", "anger": "column_anger", "reasons": "column_reasons",
    "tickets": "column_tickets", "grade": "column_grade", "breached": "column_breached", "rating": "column_rating",
    "cause": "column_cause", "text": "column_text",
}
MESSAGE_COLUMNS = {
    "conversation": "column_conversation", "message": "column_message", "at": "column_at",
    "direction": "column_direction", "author": "column_author", "agent": "column_agent", "text": "column_text",
    "intent": "column_intent", "confidence": "column_confidence", "anger": "column_anger", "valence": "column_valence",
    "delivery_state": "column_delivery_state",
}


@router.get("/manage/logs/export.{kind}")
def export(request: Request, kind: str, rows: str = "conversations", deps: DeskDeps = Depends(deps_of),
           agent: SupportAgent = Depends(LEADS)) -> Response:
    """Everything that the search finds, as a file. The audit log has who asked for what, and how many rows they got."""
    if kind not in MEDIA_TYPES:
        raise Missing()
    if rows not in ("conversations", "messages"):
        raise Invalid(field="rows")
    now = deps.clock()
    with deps.store.write() as session:
        reader = reader_for(session, language_of(request, agent), now)
        search = read_search(request.query_params, reader)
        _record(session, agent, "export_log", now, {"filter": search.asked, "rows_of": rows, "kind": kind})
    columns = MESSAGE_COLUMNS if rows == "messages" else TALK_COLUMNS
    lines = _csv(columns, reader) if kind == "csv" else _json_line
    name = f"{rows}-{reader.local(now):%Y%m%d-%H%M}.{kind}"
    return StreamingResponse(_sent(deps, agent, search, rows, lines, columns if kind == "csv" else None, reader),
                             media_type=MEDIA_TYPES[kind],
                             headers=attachment(name))


def _sent(deps: DeskDeps, agent: SupportAgent, search: Search, rows: str, line: Callable[[Record], str],
          columns: dict[str, str] | None, reader: Reader) -> Iterator[bytes]:
    """The file piece by piece; how many rows went out is recorded even when whoever asked has gone away."""
    sent, complete = 0, False
    try:
        if columns is not None:
            yield (CSV_BEGINS + csv_row(reader.say(word) for word in columns.values())).encode()
        for batch in _read(deps, agent, search, rows, reader):
            yield "".join(map(line, batch)).encode()
            sent += len(batch)
        complete = True
    finally:
        with deps.store.write() as session:
            _record(session, agent, "exported_log", deps.clock(),
                    {"filter": search.asked, "rows_of": rows, "rows": sent, "complete": complete})


def _record(session: Session, agent: SupportAgent, action: str, now: datetime, data: Record) -> None:
    audit.record(session, actor_kind="agent", actor_id=agent.id, action=action, object_kind="log", object_id="log",
                 data=data, now=now)


def _read(deps: DeskDeps, agent: SupportAgent, search: Search, rows: str, reader: Reader) -> Iterator[list[Record]]:
    shown = str if agent.role in SEES_PERSONAL_DATA else mask
    with deps.store.read() as session:
        see_only(session, agent)
        for ids in found_in_log(session, CONVERSATIONS_AT_ONCE, **search.wanted):
            if rows == "messages":
                yield from _messages(session, ids, shown, reader)
            else:
                yield [_talk(row, shown, reader) for row in log_rows(session, ids)]
            session.expunge_all()


def _talk(row: LogRow, shown: Callable[[str], str], reader: Reader) -> Record:
    return {
        "conversation": row.conversation_id, "begun_at": reader.local(row.created_at),
        "changed_at": reader.local(row.updated_at),
        "resolved_at": reader.local(row.resolved_at) if row.resolved_at else None, "channel": row.channel,
        "language": row.language, "status": row.status, "customer_number": row.customer_number,
        "customer": row.customer_name, "agent": row.assignee_name, "messages": row.messages, "anger": row.anger,
        "reasons": list(row.reasons), "tickets": list(row.tickets), "grade": row.grade, "breached": row.breached,
        "rating": row.rating, "cause": row.cause, "text": shown(row.text)}


def _messages(session: Session, ids: list[int], shown: Callable[[str], str], reader: Reader) -> Iterator[list[Record]]:
    found = session.execute(
        select(Message.id, Message.conversation_id, Message.created_at, Message.direction, Message.author,
               SupportAgent.name, Message.text, Message.intent, Message.understood, Message.anger, Message.valence,
               Message.delivery_state)
        .outerjoin(SupportAgent, SupportAgent.id == Message.agent_id).where(Message.conversation_id.in_(ids))
        .order_by(Message.conversation_id.desc(), Message.id), execution_options={"yield_per": MESSAGES_AT_ONCE})
    for batch in found.partitions(MESSAGES_AT_ONCE):
        yield [{
            "conversation": each.conversation_id, "message": each.id, "at": reader.local(each.created_at),
            "direction": each.direction, "author": each.author, "agent": each.name, "text": shown(each.text),
            "intent": each.intent, "confidence": (each.understood or {}).get("confidence"), "anger": each.anger,
            "valence": each.valence, "delivery_state": each.delivery_state} for each in batch]


def _json_line(record: Record) -> str:
    return json.dumps({name: value.isoformat() if isinstance(value, datetime) else value
                       for name, value in record.items()}, ensure_ascii=False) + "\n"


def _csv(columns: dict[str, str], reader: Reader) -> Callable[[Record], str]:
    def line(record: Record) -> str:
        return csv_row(_cell(name, record[name], reader) for name in columns)

    return line


def _cell(name: str, value: Any, reader: Reader) -> Any:
    """A value as it reads in a table: stored values in words, lists with commas, numbers as they are."""
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M:%S}"
    if isinstance(value, bool):
        return reader.say("logs_yes" if value else "logs_no")
    if isinstance(value, list):
        return ", ".join(reader.known("reason", each) if name == "reasons" else each for each in value)
    if value is not None and name in ("channel", "language", "status", "grade", "cause"):
        return reader.known(name, value)
    return value

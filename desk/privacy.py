"""Privacy, for admins: a copy of a customer's data, their erasure with its proof, and how long things are kept."""
from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Iterator
from typing import IO

import sqlalchemy as sa
from fastapi import APIRouter, Depends, Form, Request, Response
from sqlalchemy import select
from sqlalchemy.orm import Session
from starlette.responses import RedirectResponse, StreamingResponse

from crm_store.models import Customer, Erasure, Order, SupportAgent, Ticket
from crm_store.models.base import LARGEST_ID
from crm_store.models.privacy import PERIODS
from crm_store.queries.customers import consents_of
from crm_store.queries.points import points_balance
from crm_store.services import audit, retention
from crm_store.services.customers import person_of
from crm_store.services.data_copies import write_copy
from crm_store.services.erasure import ask_erasure, cancel_erasure, waiting_erasure
from crm_store.services.tickets import UNSOLVED
from desk import auth
from desk.deps import DeskDeps, deps_of
from desk.downloads import attachment
from desk.problems import Invalid, Missing
from desk.rendering import language_of, page, reader_for
from desk.routing import PageRoute

router = APIRouter(route_class=PageRoute, include_in_schema=False)

ADMINS = auth.at_least("admin")
PAGE = "/manage/privacy"
SHOWN = 50
NUMBER_LENGTH = 20
CHUNK = 64 * 1024
DONE = ("saved", "asked", "cancelled", "erased")


@router.get(PAGE)
def privacy_page(request: Request, number: str = "", done: str = "", deps: DeskDeps = Depends(deps_of),
                 agent: SupportAgent = Depends(ADMINS)) -> Response:
    """The erasures, the periods with what the next run would take away, and the customer who was looked for."""
    now = deps.clock()
    number = number.strip()[:NUMBER_LENGTH]
    with deps.store.write() as session:
        reader = reader_for(session, language_of(request, agent), now)
        customer = _customer(session, number) if number else None
        if customer is not None:
            audit.record(session, actor_kind="agent", actor_id=agent.id, action="look", object_kind="customer",
                         object_id=customer.id, now=now)
        rows = session.execute(select(Erasure, SupportAgent.name).outerjoin(
            SupportAgent, SupportAgent.id == Erasure.agent_id).order_by(Erasure.id.desc()).limit(SHOWN)).all()
        return page(request, "privacy.html", language=reader.language, reader=reader, agent=agent, number=number,
                    customer=customer, lost=_lost(session, customer, deps) if customer else {},
                    waiting=waiting_erasure(session, customer.id) if customer else None,
                    consents=consents_of(session, customer.id) if customer else {},
                    erasures=rows, periods=retention.periods(session), preview=retention.preview(session, now),
                    shortest=retention.SHORTEST_DAYS, said=f"privacy_{done}" if done in DONE else None)


@router.post(f"{PAGE}/copy")
def send_copy(number: str = Form(""), deps: DeskDeps = Depends(deps_of),
              agent: SupportAgent = Depends(ADMINS)) -> Response:
    """Everything held about a customer, as a ZIP; the audit log says who took it."""
    now = deps.clock()
    with deps.store.write() as session:
        customer = _found(session, number)
        audit.record(session, actor_kind="agent", actor_id=agent.id, action="export", object_kind="customer",
                     object_id=customer.id, data={"kind": "zip"}, now=now)
    file = tempfile.TemporaryFile()
    with deps.store.read() as session:
        write_copy(session, customer.id, file, deps.files.path_of, now)
    file.seek(0)
    return StreamingResponse(_chunks(file), media_type="application/zip",
                             headers={**attachment(f"customer-{customer.id}.zip"), "Cache-Control": "no-store"})


@router.post(f"{PAGE}/erase")
def erase(number: str = Form(""), typed: str = Form(""), deps: DeskDeps = Depends(deps_of),
          agent: SupportAgent = Depends(ADMINS)) -> Response:
    """Erase a customer now; their number has to be typed once more."""
    now = deps.clock()
    if not typed.strip() or typed.strip() != number.strip():
        raise Invalid(field="typed")
    with deps.store.write() as session:
        asked = ask_erasure(session, _found(session, number).id, asked_by="agent", agent=agent, due_at=now, now=now)
    gone = deps.eraser.erase(asked.id, now) if deps.eraser is not None else None
    return RedirectResponse(f"{PAGE}?done={'asked' if gone is None else 'erased'}", 303)


@router.post(f"{PAGE}/cancel")
def cancel(erasure: int = Form(0), deps: DeskDeps = Depends(deps_of),
           agent: SupportAgent = Depends(ADMINS)) -> Response:
    """Call an erasure off that waits, because the customer said so."""
    with deps.store.write() as session:
        cancel_erasure(session, _id(erasure), agent=agent, now=deps.clock())
    return RedirectResponse(f"{PAGE}?done=cancelled", 303)


@router.get(f"{PAGE}/{{erasure_id}}/report")
def report(erasure_id: int, deps: DeskDeps = Depends(deps_of),
           agent: SupportAgent = Depends(ADMINS)) -> Response:
    """The proof of an erasure, signed."""
    with deps.store.read() as session:
        found = session.get(Erasure, _id(erasure_id))
        if found is None or found.report is None:
            raise Missing()
        text = json.dumps({"report": found.report, "signature": found.signature}, ensure_ascii=False, indent=1)
        return Response(text, media_type="application/json", headers=attachment(f"erasure-{found.id}.json"))


@router.post(f"{PAGE}/periods")
async def save_periods(request: Request, deps: DeskDeps = Depends(deps_of),
                       agent: SupportAgent = Depends(ADMINS)) -> Response:
    """Keep things for so many days from now on; an empty field is for ever."""
    given = await request.form()
    with deps.store.write() as session:
        for name in PERIODS:
            text = given.get(name)
            if text is None:
                continue
            days = str(text).strip()
            if days and not re.fullmatch(r"[0-9]{1,6}", days):
                raise Invalid(field=name)
            try:
                retention.set_period(session, name, int(days) if days else None, agent, deps.clock())
            except ValueError as error:
                raise Invalid(field=name) from error
    return RedirectResponse(f"{PAGE}?done=saved", 303)


def _customer(session: Session, number: str) -> Customer | None:
    found: Customer | None = session.execute(select(Customer).where(
        Customer.number == number.strip()[:NUMBER_LENGTH], Customer.erased_at.is_(None))).scalar_one_or_none()
    return found and person_of(session, found)


def _found(session: Session, number: str) -> Customer:
    customer = _customer(session, number)
    if customer is None:
        raise Missing()
    return customer


def _id(given: int) -> int:
    if not 0 < given <= LARGEST_ID:
        raise Missing()
    return given


def _lost(session: Session, customer: Customer, deps: DeskDeps) -> dict[str, int]:
    """What goes or loses its owner with the customer."""
    def count(model: type, *conditions: object) -> int:
        return int(session.execute(select(sa.func.count()).select_from(model).where(*conditions)).scalar_one())

    return {"points": points_balance(session, customer.id, deps.clock()),
            "tickets": count(Ticket, Ticket.customer_id == customer.id, Ticket.status.in_(UNSOLVED)),
            "orders": count(Order, Order.customer_id == customer.id)}


def _chunks(file: IO[bytes]) -> Iterator[bytes]:
    with file:
        while chunk := file.read(CHUNK):
            yield chunk

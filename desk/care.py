"""The console's page of care: what customers are written unasked, and what it does."""
from __future__ import annotations

from datetime import timedelta

from fastapi import APIRouter, Depends, Form, Request, Response
from sqlalchemy import select
from starlette.responses import RedirectResponse

from crm_store.models import SupportAgent
from crm_store.queries.care import care_results, care_sent
from crm_store.rules.care import ARMS, PURPOSES, ArmResult, difference
from crm_store.services import care
from desk import auth
from desk.deps import DeskDeps, deps_of
from desk.rendering import language_of, page, reader_for
from desk.routing import PageRoute

router = APIRouter(route_class=PageRoute, include_in_schema=False)

MANAGERS = auth.at_least("manager")
ADDRESS = "/manage/care"
PERIOD = timedelta(days=180)


@router.get(ADDRESS)
def show(request: Request, deps: DeskDeps = Depends(deps_of), agent: SupportAgent = Depends(MANAGERS)) -> Response:
    """The campaigns with their texts and results of half a year."""
    now = deps.clock()
    with deps.store.read() as session:
        reader = reader_for(session, language_of(request, agent), now)
        campaigns = care.campaigns(session, now)
        results, sent = care_results(session, now - PERIOD, now), care_sent(session, now - PERIOD)
    return page(request, "care.html", language=reader.language, reader=reader, agent=agent, campaigns=campaigns,
                results=results, sent=sent, arms=ARMS, days=care.DAYS, places=care.PLACES, purposes=PURPOSES,
                limit=care.TEXT_LIMIT, against=_against)


@router.post(ADDRESS + "/{kind}")
def change(kind: str, enabled: str = Form(""), days: int = Form(0), control_percent: int = Form(-1),
           a_zh: str = Form(""), a_en: str = Form(""), b_zh: str = Form(""), b_en: str = Form(""),
           deps: DeskDeps = Depends(deps_of), agent: SupportAgent = Depends(MANAGERS)) -> Response:
    """Change a campaign."""
    with deps.store.write() as session:
        care.change_campaign(
            session, session.execute(select(SupportAgent).where(SupportAgent.id == agent.id)).scalar_one(), kind,
            enabled=enabled == "yes", days=days or None, control_percent=control_percent, now=deps.clock(),
            texts={"a_zh": a_zh, "a_en": a_en, "b_zh": b_zh, "b_en": b_en})
    return RedirectResponse(f"{ADDRESS}#{kind}", status_code=303)


def _against(one: ArmResult, other: ArmResult) -> str:
    """The difference of two shares in percentage points, with its interval."""
    found = difference(one, other)
    return "–" if found is None else f"{found[0] * 100:+.1f} ({found[1] * 100:+.1f} … {found[2] * 100:+.1f})"

"""The console's page of suggestions: counted by topic, answered one or many at once, their authors told."""
from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Form, Request, Response
from starlette.responses import RedirectResponse

from crm_store.models import SupportAgent
from crm_store.models.customers import FEEDBACK_STATUSES
from crm_store.queries.listening import suggestions
from crm_store.rules.suggestions import TOPICS
from crm_store.services import listening
from desk import auth
from desk.api import object_id
from desk.deps import DeskDeps, deps_of
from desk.filters import page_number
from desk.problems import Invalid
from desk.rendering import language_of, page, reader_for
from desk.routing import PageRoute

router = APIRouter(route_class=PageRoute, include_in_schema=False)

LEADS = auth.at_least("lead")
ADDRESS = "/manage/feedback"
NONE_PICKED = Form([])


@router.get(ADDRESS)
def show(request: Request, topic: str = "", status: str = "new", told: str = "", deps: DeskDeps = Depends(deps_of),
         agent: SupportAgent = Depends(LEADS)) -> Response:
    """The suggestions of a topic and status, the new ones of all topics at first."""
    asked = {"topic": topic if topic in TOPICS else "", "status": status if status in FEEDBACK_STATUSES else ""}
    number = page_number(request.query_params.get("page", ""))
    with deps.store.read() as session:
        reader = reader_for(session, language_of(request, agent), deps.clock())
        found = suggestions(session, agent, topic=asked["topic"] or None, status=asked["status"] or None, page=number)

    def address(**more: Any) -> str:
        return f"{ADDRESS}?{urlencode({**asked, **more})}"

    return page(request, "suggestions.html", language=reader.language, reader=reader, agent=agent, found=found,
                asked=asked, number=min(max(number, 1), found.pages), address=address, topics=TOPICS,
                statuses=("", *FEEDBACK_STATUSES),
                told=told if told.isascii() and told.isdigit() and len(told) < 4 else "",
                answer_limit=listening.ANSWER_LIMIT)


@router.post(ADDRESS)
def answer(request: Request, feedback: list[int] = NONE_PICKED, status: str = Form(""), text: str = Form(""),
           deps: DeskDeps = Depends(deps_of), agent: SupportAgent = Depends(LEADS)) -> Response:
    """Decide on the suggestions that were picked and tell their authors."""
    wanted = [object_id(each) for each in feedback]
    if not wanted:
        raise Invalid(field="feedback")
    with deps.store.write() as session:
        told = listening.answer_feedback(session, session.get(SupportAgent, agent.id), wanted, status=status,
                                         answer=text, now=deps.clock())
    return _back(request, told=told)


@router.post(ADDRESS + "/{feedback_id}")
def sort(request: Request, feedback_id: int, topic: str = Form(""), deps: DeskDeps = Depends(deps_of),
         agent: SupportAgent = Depends(LEADS)) -> Response:
    """Give a suggestion another topic."""
    key = object_id(feedback_id)
    with deps.store.write() as session:
        listening.sort_feedback(session, session.get(SupportAgent, agent.id), key, topic, deps.clock())
    return _back(request)


def _back(request: Request, **more: Any) -> Response:
    kept = {name: value[:20] for name, value in request.query_params.items() if name in ("topic", "status", "page")}
    return RedirectResponse(f"{ADDRESS}?{urlencode({**kept, **more})}", status_code=303)

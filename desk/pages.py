"""The pages of the desk and the parts of them that change while they are open."""
from __future__ import annotations

import re
from typing import Any

from fastapi import APIRouter, Depends, Form, Request, Response
from sqlalchemy import select
from sqlalchemy.orm import Session
from starlette.responses import HTMLResponse, RedirectResponse

from crm_store.models import Conversation, SupportAgent, Team
from crm_store.queries.notifications import mark_seen
from crm_store.rules.intents import INTENTS
from crm_store.rules.points import grant_limit
from crm_store.services import staff
from crm_store.services.access import access_conversation
from desk import auth, panes
from desk.api import begin_session, named_id, object_id
from desk.customer import customer_pane
from desk.deps import DeskDeps, deps_of
from desk.problems import Problem, Throttled, WrongLogin
from desk.queue_place import CHOICES, read_place
from desk.rendering import LANGUAGE_COOKIE, THEME_COOKIE, THEMES, Reader, language_of, page, part, reader_for
from desk.routing import PageRoute, say_problem
from desk.shapes import CAUSES
from desk.suggestions import suggestions_for
from desk.wording import LANGUAGES

router = APIRouter(route_class=PageRoute, include_in_schema=False)

OWN_PAGE = re.compile(r"/(desk|manage)(/[\w/-]*)?(\?[\w=&%.+:-]*)?")
YEAR_SECONDS = 365 * 24 * 3600


def own_page(wanted: str) -> str:
    """A page of the desk to go to, or the desk itself where ``wanted`` is anything else."""
    return wanted if OWN_PAGE.fullmatch(wanted) and not wanted.startswith("/desk/login") else "/desk"


@router.get("/desk/login")
def login_page(request: Request, next: str = "") -> Response:
    """The login."""
    return _login_page(request, "", None, next)


@router.post("/desk/login")
def log_in(request: Request, login: str = Form(""), password: str = Form(""), next: str = Form("")) -> Response:
    """Log in from the page."""
    try:
        token, _ = begin_session(request, login[:60], password[:200])
    except (WrongLogin, Throttled) as problem:
        return _login_page(request, login[:60], problem, next)
    response = RedirectResponse(own_page(next), status_code=303)
    auth.set_session(response, token, deps_of(request))
    return response


def _login_page(request: Request, login: str, problem: Problem | None, next_page: str) -> HTMLResponse:
    language = language_of(request)
    return page(request, "login.html", language=language, agent=None, login=login, next_page=own_page(next_page),
                message=say_problem(problem, language) if problem else None,
                status_code=problem.status if problem else 200, headers=problem.headers if problem else None)


@router.post("/desk/logout")
def log_out(request: Request, deps: DeskDeps = Depends(deps_of)) -> Response:
    """Log out from any page."""
    token = auth.session_token(request)
    if token:
        with deps.store.write() as session:
            staff.log_out(session, token)
    response = RedirectResponse("/desk/login", status_code=303)
    auth.clear_session(response, deps)
    return response


@router.post("/desk/language")
def switch_language(deps: DeskDeps = Depends(deps_of), language: str = Form(""), back: str = Form("")) -> Response:
    """Switch the interface's language for this browser."""
    target = "/desk/login" if back.startswith("/desk/login") else own_page(back)
    response = RedirectResponse(target, status_code=303)
    if language in LANGUAGES:
        response.set_cookie(LANGUAGE_COOKIE, language, max_age=YEAR_SECONDS, path="/", httponly=True, samesite="lax",
                            secure=deps.secure_cookies)
    return response


@router.post("/desk/availability")
def switch_availability(available: str = Form(""), back: str = Form(""), deps: DeskDeps = Depends(deps_of),
                        agent: SupportAgent = Depends(auth.current_agent)) -> Response:
    """Say whether new conversations may be assigned to the agent who asks."""
    if available in ("true", "false"):
        with deps.store.write() as session:
            staff.set_availability(session, agent.id, available == "true", deps.clock())
    return RedirectResponse(own_page(back), status_code=303)


@router.post("/desk/theme")
def switch_theme(deps: DeskDeps = Depends(deps_of), theme: str = Form(""), back: str = Form("")) -> Response:
    """Make the pages light or dark in this browser, or as its system is."""
    response = RedirectResponse("/desk/login" if back.startswith("/desk/login") else own_page(back), status_code=303)
    if theme in THEMES:
        response.set_cookie(THEME_COOKIE, theme, max_age=YEAR_SECONDS, path="/", httponly=True, samesite="lax",
                            secure=deps.secure_cookies)
    return response


@router.get("/desk")
def desk(request: Request, conversation: str = "", deps: DeskDeps = Depends(deps_of),
         agent: SupportAgent = Depends(auth.current_agent)) -> Response:
    """The desk with its three panes."""
    selected, place = named_id(conversation), read_place(request.query_params)
    with deps.store.read() as session:
        reader = reader_for(session, language_of(request, agent), deps.clock())
        found = access_conversation(session, agent, selected) if selected else None
        teams = session.execute(select(Team.id, Team.name).order_by(Team.id)).all()
        response = page(
            request, "desk.html", language=reader.language, reader=reader, agent=agent, selected=selected,
            causes=CAUSES, intents=INTENTS, teams=teams, choices=CHOICES,
            most_points=grant_limit(agent.role),
            **panes.queue_pane(session, agent, reader, place), **_conversation_panes(session, agent, found, reader))
    _record_look(deps, agent, selected)
    return response


@router.get("/desk/parts/queue")
def queue_part(request: Request, conversation: str = "", deps: DeskDeps = Depends(deps_of),
               agent: SupportAgent = Depends(auth.current_agent)) -> Response:
    """The queue as it is now."""
    with deps.store.read() as session:
        reader = reader_for(session, language_of(request, agent), deps.clock())
        pane = panes.queue_pane(session, agent, reader, read_place(request.query_params))
    return _part("parts/queue_and_load.html", reader, agent=agent, selected=named_id(conversation), **pane)


@router.get("/desk/parts/conversations/{conversation_id}")
def conversation_part(request: Request, key: int = Depends(object_id), deps: DeskDeps = Depends(deps_of),
                      agent: SupportAgent = Depends(auth.current_agent)) -> Response:
    """The conversation and its customer as they are now."""
    with deps.store.read() as session:
        reader = reader_for(session, language_of(request, agent), deps.clock())
        found = access_conversation(session, agent, key)
        response = _part("parts/both.html", reader, agent=agent, place=read_place(request.query_params),
                         **_conversation_panes(session, agent, found, reader))
    _record_look(deps, agent, key)
    return response


@router.get("/desk/parts/conversations/{conversation_id}/earlier")
def earlier_part(request: Request, before: str = "", key: int = Depends(object_id), deps: DeskDeps = Depends(deps_of),
                 agent: SupportAgent = Depends(auth.current_agent)) -> Response:
    """What was said before a message of the conversation."""
    with deps.store.read() as session:
        reader = reader_for(session, language_of(request, agent), deps.clock())
        found = access_conversation(session, agent, key)
        rows, earlier = panes.lines_of(session, key, reader, panes.tickets_of(session, key), before=named_id(before),
                                       limit=panes.THREAD_AT_ONCE)
        tier = found.customer.tier_code if found.customer else None
    return _part("parts/earlier.html", reader, rows=rows, earlier=earlier, tier=tier)


@router.get("/desk/parts/notices")
def notices_part(request: Request, deps: DeskDeps = Depends(deps_of),
                 agent: SupportAgent = Depends(auth.current_agent)) -> Response:
    """What the agent has not been told yet."""
    with deps.store.read() as session:
        reader = reader_for(session, language_of(request, agent), deps.clock())
        notices = panes.notices_pane(session, agent, reader)
    return _part("parts/notices.html", reader, notices=notices)


@router.post("/desk/notices/{notice_id}/seen", status_code=204)
def notice_seen(notice_id: int, deps: DeskDeps = Depends(deps_of),
                agent: SupportAgent = Depends(auth.current_agent)) -> Response:
    """The agent has read one of their own notices."""
    with deps.store.write() as session:
        mark_seen(session, agent.id, [object_id(notice_id)], deps.clock())
    return Response(status_code=204)


def _part(template: str, reader: Reader, **context: Any) -> HTMLResponse:
    return HTMLResponse(part(template, reader, **context))


def _conversation_panes(session: Session, agent: SupportAgent, conversation: Conversation | None,
                        reader: Reader) -> dict[str, Any]:
    if conversation is None:
        return {"view_of": None, "person": None}
    return {"view_of": panes.conversation_pane(session, agent, conversation, reader, limit=panes.THREAD_AT_ONCE),
            "person": customer_pane(session, agent, conversation, reader),
            "help": suggestions_for(session, agent, conversation)}


def _record_look(deps: DeskDeps, agent: SupportAgent, conversation_id: int | None) -> None:
    """Note the look in a unit of work of its own, so that reading a page seldom waits for writers."""
    if conversation_id is None:
        return
    now = deps.clock()
    with deps.store.read() as session:
        if panes.look_is_recorded(session, agent, conversation_id, now):
            return
    with deps.store.write() as session:
        panes.record_look(session, agent, access_conversation(session, agent, conversation_id), now)

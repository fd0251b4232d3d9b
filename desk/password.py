"""The page on which agents change their own password."""
from __future__ import annotations

from fastapi import APIRouter, Depends, Form, Request, Response
from starlette.responses import RedirectResponse

from crm_store.models import SupportAgent
from crm_store.services.passwords import SHORTEST, change_password
from crm_store.services.staff import PASSWORD_LENGTH
from desk import auth
from desk.api import THROTTLED_SECONDS
from desk.deps import DeskDeps, deps_of
from desk.rendering import language_of, page
from desk.routing import PageRoute

router = APIRouter(route_class=PageRoute, include_in_schema=False)

OWN = "/desk/password"
PROBLEMS = {  # why a password was not changed: its word, and the field that is at fault
    "differ": ("own_password_differ", "again"), "short": ("own_password_short", "new"),
    "long": ("own_password_long", "new"), "login": ("own_password_login", "new"), "same": ("own_password_same", "new"),
    "wrong": ("own_password_wrong", "current"), "throttled": ("own_password_throttled", "current"),
}


@router.get(OWN)
def password_page(request: Request, done: str = "", agent: SupportAgent = Depends(auth.current_agent)) -> Response:
    """The form."""
    return _page(request, agent, done=done == "yes")


@router.post(OWN)
def save_password(request: Request, current: str = Form(""), new: str = Form(""), again: str = Form(""),
                  deps: DeskDeps = Depends(deps_of), agent: SupportAgent = Depends(auth.current_agent)) -> Response:
    """Change the password of the agent who asks; their other sessions end."""
    if new != again:
        return _page(request, agent, problem="differ")
    with deps.store.write() as session:
        problem = change_password(session, agent.id, token=auth.session_token(request) or "", current=current, new=new,
                                  address=auth.client_address(request), now=deps.clock())
    return _page(request, agent, problem=problem) if problem else RedirectResponse(f"{OWN}?done=yes", status_code=303)


def _page(request: Request, agent: SupportAgent, *, problem: str = "", done: bool = False) -> Response:
    throttled = problem == "throttled"
    word, at_fault = PROBLEMS.get(problem, ("", ""))
    return page(request, "password.html", language=language_of(request, agent), agent=agent, done=done,
                problem=word, at_fault=at_fault, shortest=SHORTEST, longest=PASSWORD_LENGTH,
                status_code=429 if throttled else 422 if problem else 200,
                headers={"Retry-After": str(THROTTLED_SECONDS)} if throttled else None)

"""The boundary of the desk: every route checks where a request comes from, limits it, and words what went wrong."""
from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import urlencode

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, RedirectResponse
from starlette.types import Message

from crm_store.errors import CrmError
from desk import auth
from desk.deps import deps_of
from desk.problems import Invalid, Missing, NotLoggedIn, Problem, TooLarge, TooLong, problem_for
from desk.rendering import language_of, page
from desk.wording import say

log = logging.getLogger("desk")

BODY_LIMIT = 64 * 1024
SECURITY_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
Handler = Callable[[Request], Awaitable[Response]]


class DeskRoute(APIRoute):
    """A route of the desk. Subclasses decide how a refusal looks."""

    def get_route_handler(self) -> Callable[[Request], Any]:
        """The route's handler inside the checks that all of them share."""
        inner: Handler = super().get_route_handler()

        async def handle(request: Request) -> Response:
            try:
                auth.refuse_cross_site(request)
                response = await inner(_limited(request, self.body_limit(request)))
            except Problem as problem:
                response = self.refusal(request, problem)
            except CrmError as error:
                response = self.refusal(request, problem_for(error))
            except RequestValidationError as error:
                response = self.refusal(request, _validation_problem(error))
            except HTTPException as error:
                response = self.refusal(request, _http_problem(error))
            if request.method not in auth.SAFE_METHODS and response.status_code < 400:
                deps_of(request).nudge()
            for name, value in SECURITY_HEADERS.items():
                response.headers.setdefault(name, value)
            response.headers.setdefault("Cache-Control", "no-store")
            return response

        return handle

    def body_limit(self, request: Request) -> int:
        """How many bytes a request may have."""
        return BODY_LIMIT

    def refusal(self, request: Request, problem: Problem) -> Response:
        """The answer to a request that is refused."""
        raise NotImplementedError


class ApiRoute(DeskRoute):
    """A route of the JSON API: refusals are JSON of one shape."""

    def refusal(self, request: Request, problem: Problem) -> Response:
        """``{"error", "message", "field"?, "owner"?}``."""
        body: dict[str, Any] = {"error": problem.code, "message": say_problem(problem, language_of(request))}
        if problem.field is not None:
            body["field"] = problem.field
        if problem.code in ("already_claimed", "not_owner"):
            body["owner"] = problem.owner
        return JSONResponse(body, status_code=problem.status, headers=problem.headers)


class PageRoute(DeskRoute):
    """A route that answers with a page: who is not logged in is sent to the login, the rest reads an error page."""

    def refusal(self, request: Request, problem: Problem) -> Response:
        """The login page or an error page."""
        language = language_of(request)
        if isinstance(problem, NotLoggedIn) and request.method in auth.SAFE_METHODS:
            if auth.PART_HEADER in request.headers or request.url.path == auth.STREAM_PATH:
                return Response(status_code=401)  # the page's script goes to the login by itself
            target = request.url.path + (f"?{request.url.query}" if request.url.query else "")
            return RedirectResponse("/desk/login?" + urlencode({"next": target}), status_code=303)
        return page(request, "problem.html", status_code=problem.status, headers=problem.headers, language=language,
                    agent=getattr(request.state, "agent", None), code=problem.code,
                    message=say_problem(problem, language))


def say_problem(problem: Problem, language: str) -> str:
    """What people read of a refusal."""
    if problem.code in ("already_claimed", "not_owner"):
        if problem.owner is None:
            return say("error_bot_owns", language)
        return say(f"error_{problem.code}", language, owner=problem.owner)
    return say(f"error_{problem.code}", language)


def _validation_problem(error: RequestValidationError) -> Problem:
    """A path that names nothing is a missing object; everything else is a field that cannot be accepted."""
    first = error.errors()[0]
    place = first["loc"]
    if place[0] == "path":
        return Missing()
    field = str(place[-1]) if len(place) > 1 and isinstance(place[-1], str) else None
    return (TooLong if "max_length" in first["type"] else Invalid)(field=field)


def _http_problem(error: HTTPException) -> Problem:
    if error.status_code == 413:
        return TooLarge()
    problem = Invalid() if error.status_code in (400, 415, 422) else Problem()
    problem.status = error.status_code
    return problem


def _limited(request: Request, limit: int) -> Request:
    """The same request, refusing a body above the limit, announced or not."""
    announced = request.headers.get("content-length", "0")
    if not announced.isdigit() or int(announced[:12]) > limit:
        raise TooLarge()
    received = 0

    async def receive() -> Message:
        nonlocal received
        message = await request.receive()
        received += len(message.get("body", b""))
        if received > limit:
            raise HTTPException(413)  # what reads the body lets nothing else through
        return message

    return Request(request.scope, receive)

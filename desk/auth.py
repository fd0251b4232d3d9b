"""Who asks: the session of an agent by cookie or bearer token, their role, and where the request comes from."""
from __future__ import annotations

import ipaddress
from collections.abc import Callable
from urllib.parse import urlsplit

from fastapi import Depends, Request
from starlette.requests import HTTPConnection
from starlette.responses import Response

from crm_store.models import SupportAgent
from crm_store.services import staff
from desk.deps import DeskDeps, deps_of
from desk.problems import CrossSite, Forbidden, NotLoggedIn

SESSION_COOKIE = "warmline_session"
PART_HEADER = "x-part"  # "open" on what a script fetches because somebody acted, "live" on what it fetches by itself
STREAM_PATH = "/desk/stream"
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
TOKEN_LIMIT = 200
SESSION_SECONDS = 12 * 3600


def bearer_token(connection: HTTPConnection) -> str | None:
    """The token of an ``Authorization: Bearer`` header."""
    scheme, _, token = connection.headers.get("authorization", "").partition(" ")
    return token.strip() or None if scheme.lower() == "bearer" else None


def session_token(connection: HTTPConnection) -> str | None:
    """The token the request carries; a bearer token counts before the cookie."""
    token = bearer_token(connection) or connection.cookies.get(SESSION_COOKIE)
    return token if token and len(token) <= TOKEN_LIMIT else None


def find_agent(connection: HTTPConnection) -> SupportAgent | None:
    """The agent whose running session the request carries.

    What a page asks for by itself, while nobody may be sitting there, does not keep the session alive.
    """
    token, deps = session_token(connection), deps_of(connection)
    if token is None:
        return None
    by_itself = connection.headers.get(PART_HEADER) == "live" or connection.url.path == STREAM_PATH
    with deps.store.read() if by_itself else deps.store.write() as session:
        agent = staff.agent_by_token(session, token, deps.clock())
        session.flush()
        session.expunge_all()  # the agent outlives this session as it is now
    return agent


def current_agent(request: Request) -> SupportAgent:
    """The agent who asks.

    Raises:
        NotLoggedIn: there is no running session.
    """
    agent = find_agent(request)
    if agent is None:
        raise NotLoggedIn()
    request.state.agent = agent
    return agent


def at_least(role: str) -> Callable[..., SupportAgent]:
    """A dependency that lets in agents of ``role`` and above."""

    def allowed(agent: SupportAgent = Depends(current_agent)) -> SupportAgent:
        if not agent.is_at_least(role):
            raise Forbidden()
        return agent

    return allowed


def refuse_cross_site(request: Request) -> None:
    """Refuse what another site made the browser send.

    Browsers say by themselves where an unsafe request comes from, and no page can forge it; what names neither is no
    browser. A bearer token is never sent by itself, so it needs no such check.

    Raises:
        CrossSite: the request comes from elsewhere.
    """
    if request.method in SAFE_METHODS or bearer_token(request) is not None:
        return
    if request.headers.get("sec-fetch-site") not in (None, "same-origin", "none"):
        raise CrossSite()
    origin = request.headers.get("origin")
    if origin is not None and urlsplit(origin).netloc.lower() not in _own_hosts(request):
        raise CrossSite()


def _own_hosts(request: Request) -> set[str]:
    hosts = {request.headers.get("host", "").lower()}
    if _behind_trusted_proxy(request):
        hosts.add(request.headers.get("x-forwarded-host", "").split(",")[-1].strip().lower())
    return hosts - {""}


def _behind_trusted_proxy(request: Request) -> bool:
    proxy = deps_of(request).trusted_proxy
    return bool(proxy) and request.client is not None and request.client.host == proxy


def client_address(request: Request) -> str:
    """The address of whoever asks: the peer, or the one its trusted proxy names."""
    peer = request.client.host if request.client else "unknown"
    if _behind_trusted_proxy(request):
        named = request.headers.get("x-forwarded-for", "").split(",")[-1].strip()
        try:
            return str(ipaddress.ip_address(named))
        except ValueError:
            return peer
    return peer[:60]


def set_session(response: Response, token: str, deps: DeskDeps) -> None:
    """Give the browser the token of a new session, out of reach of scripts."""
    response.set_cookie(SESSION_COOKIE, token, max_age=SESSION_SECONDS, path="/", httponly=True, samesite="lax",
                        secure=deps.secure_cookies)


def clear_session(response: Response, deps: DeskDeps) -> None:
    """Take the token away from the browser."""
    response.delete_cookie(SESSION_COOKIE, path="/", httponly=True, samesite="lax", secure=deps.secure_cookies)

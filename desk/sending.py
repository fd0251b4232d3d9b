"""Sends a message again that its channel did not take, from the thread or by a script."""
from __future__ import annotations

from contextlib import suppress

from fastapi import APIRouter, Depends, Response
from sqlalchemy import select
from sqlalchemy.orm import Session
from starlette.responses import RedirectResponse

from crm_store.errors import NotFound, WrongState
from crm_store.models import Message, SupportAgent
from crm_store.services.access import access_conversation
from crm_store.services.delivery import send_again
from desk import auth, shapes
from desk.api import object_id
from desk.deps import DeskDeps, deps_of
from desk.routing import ApiRoute, PageRoute

scripts = APIRouter(prefix="/api", route_class=ApiRoute, tags=["desk"], responses={
    401: {"model": shapes.ProblemOut, "description": "Nobody is logged in"},
    404: {"model": shapes.ProblemOut, "description": "No such message, or not yours to see"},
    409: {"model": shapes.ProblemOut, "description": "It was not given up"}})
forms = APIRouter(route_class=PageRoute, include_in_schema=False)


@scripts.post("/messages/{given_up_id}/again", status_code=204)
def send_message_again(given_up_id: int, deps: DeskDeps = Depends(deps_of),
                       agent: SupportAgent = Depends(auth.current_agent)) -> Response:
    """Queue a message that was given up once more; pieces of it that arrived are not repeated."""
    with deps.store.write() as session:
        _access(session, agent, given_up_id)
        send_again(session, given_up_id, agent, deps.clock())
    return Response(status_code=204)


@forms.post("/desk/messages/{given_up_id}/again")
def send_again_from_the_thread(given_up_id: int, deps: DeskDeps = Depends(deps_of),
                               agent: SupportAgent = Depends(auth.current_agent)) -> Response:
    """The same by a button; pressed twice, it is sent once."""
    with deps.store.write() as session:
        conversation_id = _access(session, agent, given_up_id)
        with suppress(WrongState):
            send_again(session, given_up_id, agent, deps.clock())
    return RedirectResponse(f"/desk?conversation={conversation_id}", status_code=303)


def _access(session: Session, agent: SupportAgent, message_id: int) -> int:
    """The conversation of a message, if this agent may see it."""
    conversation_id: int | None = session.execute(
        select(Message.conversation_id).where(Message.id == object_id(message_id))).scalar_one_or_none()
    if conversation_id is None:
        raise NotFound(message_id=message_id)
    access_conversation(session, agent, conversation_id)
    return conversation_id

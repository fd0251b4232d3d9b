"""Who else looks at a conversation and who types: noted while a page is open, told to the others over the stream."""
from __future__ import annotations

from datetime import datetime

from fastapi import APIRouter, Depends, Response
from pydantic import BaseModel, Field
from sqlalchemy.orm import Session

from crm_store.models import SupportAgent
from crm_store.services import presence
from crm_store.services.access import access_conversation
from desk import auth, shapes
from desk.api import object_id
from desk.deps import DeskDeps, deps_of
from desk.routing import ApiRoute

router = APIRouter(prefix="/api", route_class=ApiRoute, tags=["desk"], responses={
    401: {"model": shapes.ProblemOut, "description": "Nobody is logged in"},
    404: {"model": shapes.ProblemOut, "description": "No such object, or not yours to see"}})


class PresenceIn(shapes.Taken):
    """What the agent does with the conversation."""

    typing: bool = Field(False, description="Whether they write; it counts for eight seconds")


class PresentOut(BaseModel):
    """A colleague who has the conversation open. After ``until`` they count no more unless they look again."""

    id: int
    name: str
    until: datetime
    typing_until: datetime | None


class PresenceOut(BaseModel):
    """The colleagues who have the conversation open, those who type first; never the one who asks."""

    others: list[PresentOut]


@router.post("/conversations/{conversation_id}/presence")
def note(body: PresenceIn, key: int = Depends(object_id), deps: DeskDeps = Depends(deps_of),
         agent: SupportAgent = Depends(auth.current_agent)) -> PresenceOut:
    """Say that one has the conversation open, every 20 seconds or so, and whether one types; who else is there."""
    now = deps.clock()
    with deps.store.read() as session:
        access_conversation(session, agent, key)
        noted = presence.presence_is_noted(session, agent.id, key, body.typing, now)
        if noted:
            return _others(session, agent, key, now)
    with deps.store.write() as session:
        presence.note_presence(session, agent.id, key, body.typing, now)
        return _others(session, agent, key, now)


@router.get("/conversations/{conversation_id}/presence")
def others(key: int = Depends(object_id), deps: DeskDeps = Depends(deps_of),
           agent: SupportAgent = Depends(auth.current_agent)) -> PresenceOut:
    """Who else has the conversation open."""
    with deps.store.read() as session:
        access_conversation(session, agent, key)
        return _others(session, agent, key, deps.clock())


@router.delete("/conversations/{conversation_id}/presence", status_code=204, response_class=Response)
def forget(key: int = Depends(object_id), deps: DeskDeps = Depends(deps_of),
           agent: SupportAgent = Depends(auth.current_agent)) -> Response:
    """Say that one has closed the conversation, also one that one may see no longer."""
    with deps.store.write() as session:
        presence.forget_presence(session, agent.id, key)
    return Response(status_code=204)


def _others(session: Session, agent: SupportAgent, conversation_id: int, now: datetime) -> PresenceOut:
    return PresenceOut(others=[
        PresentOut(id=each.agent_id, name=each.name, until=each.until, typing_until=each.typing_until)
        for each in presence.others_present(session, agent.id, conversation_id, now)])

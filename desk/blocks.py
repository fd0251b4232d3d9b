"""Blocking a sender: the form of a conversation, and the list of leads."""
from __future__ import annotations

from datetime import timedelta
from typing import Any

from fastapi import APIRouter, Depends, Form, Request, Response
from sqlalchemy.orm import Session
from starlette.responses import RedirectResponse

from crm_store.errors import InvalidMessage, NotFound, WrongState
from crm_store.models import Block, Conversation, SupportAgent
from crm_store.queries.blocks import blocks_page, running_block
from crm_store.services import blocks
from crm_store.services.access import access_conversation
from desk import auth
from desk.api import object_id
from desk.customer import shown_id
from desk.deps import DeskDeps, deps_of
from desk.filters import page_number
from desk.pages import own_page
from desk.panes import customer_name
from desk.rendering import Reader, language_of, page, reader_for
from desk.routing import PageRoute

router = APIRouter(route_class=PageRoute, include_in_schema=False)

FORM = "/desk/conversations/{conversation_id}/block"
LEADS = auth.at_least("lead")
DAYS = {"1": "block_for_1", "7": "block_for_7", "30": "block_for_30", "0": "block_for_0"}  # 0 is for ever


@router.get(FORM)
def block_form(request: Request, key: int = Depends(object_id), deps: DeskDeps = Depends(deps_of),
               agent: SupportAgent = Depends(auth.current_agent)) -> Response:
    """The form that blocks whoever a conversation is with."""
    return _form(request, deps, agent, key, {"reason": "", "days": "7", "everywhere": ""}, "")


@router.post(FORM)
def block(request: Request, reason: str = Form(""), days: str = Form("7"), everywhere: str = Form(""),
          key: int = Depends(object_id), deps: DeskDeps = Depends(deps_of),
          agent: SupportAgent = Depends(auth.current_agent)) -> Response:
    """Block them."""
    now, asked = deps.clock(), {"reason": reason[:1000], "days": days, "everywhere": everywhere}
    if days not in DAYS:
        days = "7"
    try:
        with deps.store.write() as session:
            access_conversation(session, agent, key)
            blocks.block_sender(session, key, agent, reason=reason, now=now, everywhere=everywhere == "yes",
                                until=now + timedelta(days=int(days)) if int(days) else None)
    except InvalidMessage:
        return _form(request, deps, agent, key, asked, "block_problem_reason")
    except WrongState:
        return _form(request, deps, agent, key, asked, "block_problem_state")
    return RedirectResponse(f"/desk?conversation={key}", status_code=303)


@router.post("/desk/blocks/{block_id}/end")
def end(block_id: int, back: str = Form(""), deps: DeskDeps = Depends(deps_of),
        agent: SupportAgent = Depends(auth.current_agent)) -> Response:
    """End a block before its time; pressed twice, it is over."""
    with deps.store.write() as session:
        found = session.get(Block, object_id(block_id))
        if found is None:
            raise NotFound(block_id=block_id)
        access_conversation(session, agent, found.conversation_id)
        if found.ended_at is None:
            try:
                blocks.end_block(session, block_id, agent, deps.clock())
            except WrongState:
                pass
    return RedirectResponse(own_page(back), status_code=303)


@router.get("/manage/blocks")
def blocked(request: Request, over: str = "", deps: DeskDeps = Depends(deps_of),
            agent: SupportAgent = Depends(LEADS)) -> Response:
    """Who is blocked, of the conversations that the agent who asks may see."""
    with deps.store.read() as session:
        reader = reader_for(session, language_of(request, agent), deps.clock())
        found = blocks_page(session, agent, reader.now, over=over == "yes",
                            page=page_number(request.query_params.get("page", "")))
    return page(request, "blocks.html", language=reader.language, reader=reader, agent=agent, found=found,
                over=over == "yes", external=lambda row: shown_id(agent, row.external_id))


def _form(request: Request, deps: DeskDeps, agent: SupportAgent, key: int, asked: dict[str, str],
          problem: str) -> Response:
    with deps.store.read() as session:
        reader = reader_for(session, language_of(request, agent), deps.clock())
        conversation = access_conversation(session, agent, key)
        return page(request, "block.html", language=reader.language, reader=reader, agent=agent, key=key, asked=asked,
                    problem=problem, days=DAYS, status_code=422 if problem else 200,
                    **_about(session, conversation, reader))


def _about(session: Session, conversation: Conversation, reader: Reader) -> dict[str, Any]:
    customer = conversation.customer
    return {"name": customer_name(customer.name if customer else None, conversation.id, reader),
            "linked": conversation.identity.customer_id is not None, "channel": conversation.channel,
            "running": running_block(session, conversation.identity_id, reader.now)}

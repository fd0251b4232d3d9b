"""What is remembered of a customer and why, beside a conversation; forgotten at their wish."""
from __future__ import annotations

from fastapi import APIRouter, Depends, Form, Request, Response
from starlette.responses import RedirectResponse

from crm_store.models import Conversation, Customer, SupportAgent
from crm_store.queries.customers import consents_of, open_matters
from crm_store.services import memory
from crm_store.services.access import access_conversation
from desk import auth
from desk.api import object_id
from desk.deps import DeskDeps, deps_of
from desk.panes import record_look
from desk.problems import Invalid, Missing
from desk.rendering import language_of, page, reader_for
from desk.routing import PageRoute

router = APIRouter(route_class=PageRoute, include_in_schema=False)

ADDRESS = "/desk/conversations/{conversation_id}/memory"
TONES = {"": None, "warm": "warm", "brisk": "brisk"}


@router.get(ADDRESS)
def show(request: Request, key: int = Depends(object_id), deps: DeskDeps = Depends(deps_of),
         agent: SupportAgent = Depends(auth.current_agent)) -> Response:
    """Facts with their source, the tone, what the bot brings up by itself, and what the customer allows."""
    with deps.store.read() as session:
        reader = reader_for(session, language_of(request, agent), deps.clock())
        conversation = access_conversation(session, agent, key)
        customer = _known(conversation)
        response = page(
            request, "memory.html", language=reader.language, reader=reader, agent=agent, conversation=conversation,
            customer=customer, facts=memory.facts_of(session, customer.id), tones=TONES,
            matters=open_matters(session, customer.id, conversation.identity_id, reader.now),
            allowed=consents_of(session, customer.id).get("memory"))
    with deps.store.write() as session:
        record_look(session, agent, access_conversation(session, agent, key), deps.clock())
    return response


@router.post(ADDRESS + "/{fact_id}/forget")
def forget(fact_id: int, key: int = Depends(object_id), deps: DeskDeps = Depends(deps_of),
           agent: SupportAgent = Depends(auth.current_agent)) -> Response:
    """Forget one fact."""
    wanted = object_id(fact_id)
    with deps.store.write() as session:
        customer = _known(access_conversation(session, agent, key))
        memory.forget_fact(session, agent, customer_id=customer.id, fact_id=wanted, now=deps.clock())
    return _back(key)


@router.post(ADDRESS + "/tone")
def tone(tone: str = Form(""), key: int = Depends(object_id), deps: DeskDeps = Depends(deps_of),
         agent: SupportAgent = Depends(auth.current_agent)) -> Response:
    """Keep how the customer wants to be spoken to."""
    if tone not in TONES:
        raise Invalid(field="tone")
    with deps.store.write() as session:
        customer = _known(access_conversation(session, agent, key))
        memory.set_tone(session, customer_id=customer.id, tone=TONES[tone], now=deps.clock(), agent=agent)
    return _back(key)


def _known(conversation: Conversation) -> Customer:
    if conversation.customer is None or conversation.customer.erased_at is not None:
        raise Missing()
    customer: Customer = conversation.customer
    return customer


def _back(conversation_id: int) -> Response:
    return RedirectResponse(f"/desk/conversations/{conversation_id}/memory", status_code=303)

"""Puts two records of one person together and takes them apart; unlinks a channel from a customer."""
from __future__ import annotations

from fastapi import APIRouter, Depends, Form, Request, Response
from sqlalchemy import select
from sqlalchemy.orm import Session, aliased
from starlette.responses import RedirectResponse

from crm_store.errors import NotFound
from crm_store.models import ChannelIdentity, Customer, Merge, SupportAgent
from crm_store.rules.personal_data import digits_in
from crm_store.services import audit, merging
from crm_store.services.access import access_conversation, access_customer
from crm_store.services.customers import unlink_identity
from crm_store.services.handoff import require_owner
from crm_store.services.locking import lock_conversation
from desk import auth
from desk.api import REFUSALS, object_id
from desk.deps import DeskDeps, deps_of
from desk.problems import Missing
from desk.rendering import language_of, page, reader_for
from desk.routing import ApiRoute, PageRoute

scripts = APIRouter(prefix="/api", route_class=ApiRoute, tags=["desk"], responses=REFUSALS)
forms = APIRouter(route_class=PageRoute, include_in_schema=False)

MANAGERS = auth.at_least("manager")
ADDRESS = "/manage/merges"
SHOWN = 50
FIELD_LENGTH = 60


@forms.get(ADDRESS)
def show(request: Request, kept: str = "", gone: str = "", deps: DeskDeps = Depends(deps_of),
         agent: SupportAgent = Depends(MANAGERS)) -> Response:
    """What a merge would do, where two records are named, and the merges there were."""
    kept, gone = (each.replace("\x00", "").strip()[:FIELD_LENGTH] for each in (kept, gone))
    problem, seen = "", None
    with deps.store.read() as session:
        reader = reader_for(session, language_of(request, agent), deps.clock())
        found = [_named(session, agent, each) for each in (kept, gone)]
        if kept and gone and None in found:
            problem = "merge_unknown"
        elif found[0] is not None and found[0] == found[1]:
            problem = "merge_same"
        elif found[0] is not None and found[1] is not None:
            seen = merging.preview_merge(session, agent, kept_id=found[0], gone_id=found[1], now=deps.clock())
        stays, goes = aliased(Customer), aliased(Customer)
        merges = session.execute(
            select(Merge, stays.number, stays.name, goes.number, SupportAgent.name)
            .join(stays, stays.id == Merge.kept_id).join(goes, goes.id == Merge.gone_id)
            .join(SupportAgent, SupportAgent.id == Merge.agent_id)
            .order_by(Merge.id.desc()).limit(SHOWN)).all()
        response = page(request, "merges.html", language=reader.language, reader=reader, agent=agent, kept=kept,
                        gone=gone, problem=problem, seen=seen, merges=merges)
    if seen is not None:
        with deps.store.write() as session:
            for each in (seen.kept, seen.gone):
                audit.record(session, actor_kind="agent", actor_id=agent.id, action="look",
                             object_kind="customer", object_id=each.id, now=deps.clock())
    return response


@forms.post(ADDRESS)
def merge(kept_id: int = Form(0), gone_id: int = Form(0), deps: DeskDeps = Depends(deps_of),
          agent: SupportAgent = Depends(MANAGERS)) -> Response:
    """Merge the two records of the preview."""
    wanted = object_id(kept_id), object_id(gone_id)
    with deps.store.write() as session:
        merging.merge_customers(session, session.get(SupportAgent, agent.id), kept_id=wanted[0], gone_id=wanted[1],
                                now=deps.clock())
    return RedirectResponse(ADDRESS, status_code=303)


@forms.post(ADDRESS + "/{merge_id}/undo")
def undo(merge_id: int, deps: DeskDeps = Depends(deps_of), agent: SupportAgent = Depends(MANAGERS)) -> Response:
    """Take two records apart again."""
    key = object_id(merge_id)
    with deps.store.write() as session:
        merging.undo_merge(session, session.get(SupportAgent, agent.id), key, deps.clock())
    return RedirectResponse(ADDRESS, status_code=303)


@scripts.post("/conversations/{conversation_id}/identities/{identity_id}/unlink", status_code=204)
def unlink(identity_id: int, key: int = Depends(object_id), deps: DeskDeps = Depends(deps_of),
           agent: SupportAgent = Depends(auth.current_agent)) -> Response:
    """Make a channel of the conversation's customer a guest's again, as the conversation's owner."""
    wanted = object_id(identity_id)
    with deps.store.write() as session:
        access_conversation(session, agent, key, acting=True)
        acting = session.get(SupportAgent, agent.id)
        whose: int | None = session.execute(
            select(ChannelIdentity.customer_id).where(ChannelIdentity.id == wanted).with_for_update()
        ).scalar_one_or_none()
        conversation = lock_conversation(session, key)
        require_owner(session, conversation, acting, deps.clock())
        if conversation.customer_id is None or conversation.customer_id != whose:
            raise Missing()
        unlink_identity(session, wanted, deps.clock(), acting)
    return Response(status_code=204)


def _named(session: Session, agent: SupportAgent, written: str) -> int | None:
    """The customer with this number or phone, if there is one."""
    if not written:
        return None
    found = session.execute(
        select(Customer.id).where((Customer.number == written) | (Customer.phone == (digits_in(written) or "-")))
        .order_by((Customer.number == written).desc()).limit(1)).scalar_one_or_none()
    try:
        return None if found is None else int(access_customer(session, agent, found).id)
    except NotFound:
        return None

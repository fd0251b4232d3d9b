"""What an agent does with a customer's points beside the conversation: make good, take an order back, serve a code."""
from __future__ import annotations

from typing import Literal

from fastapi import APIRouter, Depends
from pydantic import BaseModel, ConstrainedInt, Field
from sqlalchemy.orm import Session

from crm_store.errors import KeyReused, NotAllowed
from crm_store.models import SupportAgent
from crm_store.services import counter
from crm_store.services.access import access_conversation
from crm_store.services.grants import REASON_LENGTH
from crm_store.services.redemptions import CODE_READ
from desk import auth, shapes
from desk.api import REFUSALS, object_id
from desk.deps import DeskDeps, deps_of
from desk.problems import AboveLimit, CodeCancelled, CodeUnknown, CodeUsed, Invalid, Problem
from desk.routing import ApiRoute

MOST = 2**31 - 1
CODE_PROBLEMS: dict[str, type[Problem]] = {"unknown": CodeUnknown, "used": CodeUsed, "cancelled": CodeCancelled}

router = APIRouter(prefix="/api", route_class=ApiRoute, tags=["desk"], responses=REFUSALS)


class Points(ConstrainedInt):
    """A whole number of points, or of fen, above zero."""

    strict, gt, le = True, 0, MOST


class GrantIn(shapes.Taken):
    """Points to make something good."""

    points: Points
    reason: str = Field(min_length=1, max_length=REASON_LENGTH, description="Why; for the ledger, not the customer")
    idempotency_key: str = Field(min_length=8, max_length=80, description="Names this grant; the same again gives none")


class GrantedOut(BaseModel):
    """What was granted."""

    points: int


class ReturnIn(shapes.Taken):
    """An order that came back."""

    number: str = Field(min_length=1, max_length=40, description="The order's number")
    refunded_fen: Points | None = Field(
        None, description="What was refunded in all, in fen; the whole order where left out")


class ReturnedOut(BaseModel):
    """What became of the order."""

    number: str
    status: str
    refunded_fen: int
    points: int = Field(description="By how much the customer's points changed")


class CodeIn(shapes.Taken):
    """A reward's code."""

    code: str = Field(min_length=1, max_length=CODE_READ * 2)
    act: Literal["use", "cancel"]


class CodeOut(BaseModel):
    """The code that was served."""

    code: str
    reward: str


@router.post("/conversations/{conversation_id}/tickets/{ticket_id}/grant", status_code=201)
def grant(body: GrantIn, ticket_id: int, key: int = Depends(object_id), deps: DeskDeps = Depends(deps_of),
          agent: SupportAgent = Depends(auth.current_agent)) -> GrantedOut:
    """Grant points for a case, within what the agent's role allows; the customer is told."""
    wanted = object_id(ticket_id)
    with deps.store.write() as session:
        access_conversation(session, agent, key, acting=True)
        try:
            entry = counter.make_good(session, conversation_id=key, ticket_id=wanted, agent=_in(session, agent),
                                      points=body.points, reason=body.reason, idempotency_key=body.idempotency_key,
                                      now=deps.clock())
        except NotAllowed as error:
            raise AboveLimit(field="points") from error
        except KeyReused as error:
            raise Invalid(field="idempotency_key") from error
        return GrantedOut(points=entry.points)


@router.post("/conversations/{conversation_id}/returns")
def take_order_back(body: ReturnIn, key: int = Depends(object_id), deps: DeskDeps = Depends(deps_of),
                    agent: SupportAgent = Depends(auth.current_agent)) -> ReturnedOut:
    """Note that the customer's order came back, whole or refunded in part; its points go back, and they are told."""
    with deps.store.write() as session:
        access_conversation(session, agent, key, acting=True)
        done = counter.take_order_back(session, conversation_id=key, number=body.number, agent=_in(session, agent),
                                       refunded_fen=body.refunded_fen, now=deps.clock())
        return ReturnedOut(number=done.order.number, status=done.order.status, refunded_fen=done.refunded_fen,
                           points=done.points)


@router.post("/conversations/{conversation_id}/codes")
def serve_code(body: CodeIn, key: int = Depends(object_id), deps: DeskDeps = Depends(deps_of),
               agent: SupportAgent = Depends(auth.current_agent)) -> CodeOut:
    """Use a reward's code for the customer, or cancel it and give its points back; they are told."""
    with deps.store.write() as session:
        access_conversation(session, agent, key, acting=True)
        done = counter.serve_code(session, conversation_id=key, code=body.code, cancel=body.act == "cancel",
                                  agent=_in(session, agent), now=deps.clock())
        found = done.redemption
        served = None if found is None else CodeOut(
            code=found.code, reward=found.reward.name_en if agent.interface_language == "en" else found.reward.name_zh)
    if served is None:  # after the commit, which keeps the refusal in the audit log
        raise CODE_PROBLEMS[str(done.problem)]()
    return served


def _in(session: Session, agent: SupportAgent) -> SupportAgent:
    found: SupportAgent = session.get(SupportAgent, agent.id)
    return found

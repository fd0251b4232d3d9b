"""What an agent does with a customer's points during a conversation: make good, take an order back, serve a code.

Each is done by the conversation's owner, is kept in the ledger and the audit log, and is told to the customer in words
in the same unit of work: see service rules, "Who gets it".
"""
from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from crm_store.errors import InvalidMessage, NotFound, WrongState
from crm_store.models import Conversation, Order, PointsEntry, SupportAgent, Ticket
from crm_store.queries.orders import normalise_order_number
from crm_store.queries.points import points_balance
from crm_store.services.audit import record
from crm_store.services.grants import grant_for_case
from crm_store.services.handoff import require_owner
from crm_store.services.ledger import entry_of
from crm_store.services.locking import lock_conversation
from crm_store.services.points import settle_order
from crm_store.services.redemptions import CodeResult, cancel_redemption, use_code
from crm_store.services.system_messages import tell_customer
from crm_store.wording import say

CAN_COME_BACK = ("delivered", "completed", "returning")


@dataclass(frozen=True)
class TakenBack:
    """An order that came back: what was refunded (fen) and by how much the balance changed (points)."""

    order: Order
    refunded_fen: int
    points: int


def make_good(session: Session, *, conversation_id: int, ticket_id: int, agent: SupportAgent, points: int, reason: str,
              idempotency_key: str, now: datetime) -> PointsEntry:
    """Grant points for a case of this conversation and tell the customer. The same key again does nothing more.

    Args:
        session: the unit of work.
        conversation_id: where the case is talked about.
        ticket_id: the case.
        agent: who grants, as the owner of the conversation.
        points: how many, above zero, within the limit of their role for the case.
        reason: why, 1 to 200 characters; the ledger keeps it and the customer does not read it.
        idempotency_key: names this grant.
        now: when.

    Raises:
        NotFound: the conversation has no such case, or the shop does not know its customer.
        NotOwner: a colleague or the bot owns the conversation.
        NotAllowed: over the limit.
        InvalidMessage: the points or the reason cannot be accepted, or the key has named another grant before.
    """
    conversation = _owned(session, conversation_id, agent, now)
    ticket = session.get(Ticket, ticket_id)
    if (ticket is None or ticket.conversation_id != conversation_id or ticket.customer_id is None
            or ticket.customer_id != conversation.customer_id):
        raise NotFound(ticket_id=ticket_id)
    key = f"{agent.id}:{idempotency_key}"
    again = entry_of(session, f"grant:{ticket.customer_id}:ticket:{ticket.id}:{key}")
    try:
        entry = grant_for_case(session, agent=agent, ticket_id=ticket_id, points=points, reason=reason,
                               idempotency_key=key, now=now)
    except ValueError as error:
        raise InvalidMessage(field="points" if points <= 0 else "reason", reason="invalid") from error
    if again is None:
        _tell(session, conversation, "points_granted", now, points=f"{points:,}", number=ticket.number,
              balance=_balance(session, conversation, now))
    return entry


def take_order_back(session: Session, *, conversation_id: int, number: str, agent: SupportAgent,
                    refunded_fen: int | None = None, now: datetime) -> TakenBack:
    """Note that the customer's order came back, take back what it earned, and tell them. Again, it does nothing more.

    Args:
        session: the unit of work.
        conversation_id: whose customer's order.
        number: the order's.
        agent: who notes it, as the owner of the conversation.
        refunded_fen: what was paid back in all, in fen; None for the whole order, which is then returned.
        now: when.

    Raises:
        NotFound: the customer has no such order, or the shop does not know the customer.
        NotOwner: a colleague or the bot owns the conversation.
        WrongState: the order has not arrived, or was cancelled.
        InvalidMessage: the refund is not above zero, above what was paid, or below what was refunded before.
    """
    conversation = _owned(session, conversation_id, agent, now)
    wanted = normalise_order_number(number)
    order: Order | None = session.execute(
        select(Order).where(Order.number == wanted, Order.customer_id.is_not(None),
                            Order.customer_id == conversation.customer_id)
        .with_for_update().execution_options(populate_existing=True)).scalar_one_or_none()
    if order is None:
        raise NotFound(number=number)
    whole = refunded_fen in (None, order.total_fen)
    refunded = order.total_fen if refunded_fen is None else refunded_fen
    if order.status == "returned" or (not whole and refunded == order.refunded_fen):
        return TakenBack(order, order.total_fen if order.status == "returned" else order.refunded_fen, 0)
    if order.status not in CAN_COME_BACK:
        raise WrongState(order=order.number, status=order.status)
    if not max(0, order.refunded_fen) < refunded <= order.total_fen and not (whole and order.total_fen == 0):
        raise InvalidMessage(field="refunded_fen", reason="invalid")
    order.refunded_at = now
    if whole:
        order.status, order.returned_at = "returned", now
    else:
        order.refunded_fen = refunded
    session.flush()
    change = settle_order(session, order, now)
    record(session, actor_kind="agent", actor_id=agent.id, action="take_order_back", object_kind="order",
           object_id=order.id, data={"refunded_fen": refunded, "whole": whole, "points": change}, now=now)
    _tell(session, conversation, "order_returned" if whole else "order_refunded", now, order=order.number,
          money=f"{refunded / 100:,.2f}", after=_points_after(session, conversation, change, now))
    return TakenBack(order, refunded, change)


def serve_code(session: Session, *, conversation_id: int, code: str, cancel: bool, agent: SupportAgent,
               now: datetime) -> CodeResult:
    """Use a reward's code for the customer who names it, or cancel it and give its points back; they are told.

    Args:
        session: the unit of work, to be committed whatever comes of it: a refusal is in the audit log.
        conversation_id: whose customer.
        code: as it was typed.
        cancel: give the points back instead.
        agent: who does it, as the owner of the conversation.
        now: when.

    Raises:
        NotFound: the shop does not know the customer.
        NotOwner: a colleague or the bot owns the conversation.
    """
    conversation = _owned(session, conversation_id, agent, now)
    if conversation.customer_id is None:
        raise NotFound(conversation_id=conversation_id)
    act = cancel_redemption if cancel else use_code
    done = act(session, customer_id=conversation.customer_id, code=code, now=now, actor_kind="agent", actor_id=agent.id)
    if done.redemption is not None and not done.again:
        reward = done.redemption.reward
        _tell(session, conversation, "code_cancelled" if cancel else "code_used", now, code=done.redemption.code,
              reward=reward.name_zh if conversation.language == "zh" else reward.name_en,
              balance=_balance(session, conversation, now))
    return done


def _owned(session: Session, conversation_id: int, agent: SupportAgent, now: datetime) -> Conversation:
    conversation = lock_conversation(session, conversation_id)
    require_owner(session, conversation, agent, now)
    return conversation


def _balance(session: Session, conversation: Conversation, now: datetime) -> str:
    return f"{points_balance(session, conversation.customer_id, now):,}"


def _points_after(session: Session, conversation: Conversation, change: int, now: datetime) -> str:
    if change >= 0:
        return ""
    return say("points_taken_back", conversation.language, points=f"{-change:,}",
               balance=_balance(session, conversation, now))


def _tell(session: Session, conversation: Conversation, sentence: str, now: datetime, **values: str) -> None:
    tell_customer(session, conversation, say(sentence, conversation.language, **values).strip(), now)
    session.flush()

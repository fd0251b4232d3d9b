"""Takes complaints, grades them, and keeps their grade and stage."""
from __future__ import annotations

from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy import select
from sqlalchemy.orm import Session

from crm_store.errors import InvalidMessage, NotFound, WrongState
from crm_store.models import Conversation, Customer, Message, Order, SupportAgent, Ticket
from crm_store.rules.complaints import GRADES, LEVEL_OF_GRADE, grade_complaint, higher_grade
from crm_store.rules.sla import LEVELS
from crm_store.rules.text import clean_text
from crm_store.services import audit, sla
from crm_store.services.access import may_direct
from crm_store.services.assignment import pick_agent
from crm_store.services.handoff import OWNED_BY_HUMANS, escalate_conversation, reply_to_customer, require_owner
from crm_store.services.locking import lock_conversation
from crm_store.services.notices import leads_for, notify, team_of_level
from crm_store.services.shop_events import Event, tell_shop
from crm_store.services.system_messages import leave_note, tell_customer
from crm_store.services.tickets import UNSOLVED, open_ticket, ticket_by_key
from crm_store.wording import say

LATELY = timedelta(days=30)
STAGES = ("received", "taken_up", "proposal", "resolved")
REASON_LIMIT = 500


def file_complaint(
    session: Session, *, conversation_id: int, message_id: int, what: str, wish: str | None,
    order_number: str | None = None, loss_fen: int | None = None, now: datetime,
) -> Ticket:
    """Open a complaint ticket, graded, with its clocks running and an agent of its level; the bot keeps the dialogue.

    The same message again gives the ticket it opened. A major complaint needs a human at once: the caller hands the
    conversation over with this ticket.

    Args:
        session: the unit of work.
        conversation_id: where it was said.
        message_id: the customer's message that completed it.
        what: what happened, in the customer's words.
        wish: what they want done, in their words.
        order_number: the order it is about; ignored unless it is the customer's own.
        loss_fen: what they lost, in fen, where it was asked.
        now: when.

    Raises:
        NotFound: there is no such conversation.
    """
    key = f"complaint:message:{message_id}"
    conversation = lock_conversation(session, conversation_id)
    earlier = ticket_by_key(session, key)
    if earlier is not None:
        return earlier
    tier = None if conversation.customer_id is None else session.execute(
        select(Customer.tier_code).where(Customer.id == conversation.customer_id)).scalar_one()
    grading = grade_complaint(text=f"{what}\n{wish or ''}", loss_fen=loss_fen, tier=tier,
                              complained_lately=_complained_lately(session, conversation, now))
    ticket = open_ticket(
        session, conversation, kind="complaint", summary=what, wish=wish, grade=grading.grade, level=grading.level,
        category=grading.category, order_id=_own_order(session, conversation, order_number), idempotency_key=key,
        now=now, reason="major_complaint" if grading.grade == "major" else None,
    )
    sla.start_clocks(session, ticket, now)
    _assign(session, conversation, ticket, now)
    conversation.updated_at = now
    audit.record(session, actor_kind="customer", actor_id=conversation.customer_id, action="file_complaint",
                 object_kind="ticket", object_id=ticket.id, now=now,
                 data={"grade": grading.grade, "causes": list(grading.causes), "message_id": message_id})
    tell_shop(session, [Event("complaint.created", conversation.customer_id, {
        "ticket": ticket.number, "grade": grading.grade, "category": grading.category}, conversation.id)], now)
    session.flush()
    return ticket


def complaints_of(session: Session, customer_id: int) -> list[Ticket]:
    """A customer's complaints, the newest first."""
    return list(session.execute(
        select(Ticket).where(Ticket.customer_id == customer_id, Ticket.kind == "complaint")
        .order_by(Ticket.opened_at.desc(), Ticket.id.desc())).scalars())


def complaints_in(session: Session, conversation_id: int) -> list[Ticket]:
    """The complaints made in one conversation, the newest first: all that a guest may be told about."""
    return list(session.execute(
        select(Ticket).where(Ticket.conversation_id == conversation_id, Ticket.kind == "complaint")
        .order_by(Ticket.id.desc())).scalars())


def next_promise(session: Session, ticket: Ticket) -> datetime | None:
    """The next time that was promised for a ticket and is not kept yet; None where nothing is to come."""
    open_clocks = [clock for clock in sla.clocks_of(session, [ticket])
                   if clock.met_at is None and clock.state in ("running", "breached")]
    return min((clock.due_at for clock in open_clocks), default=None)


def raise_grade(session: Session, ticket_id: int, grade: str, now: datetime) -> Ticket:
    """Raise a complaint's grade by rule, its level with it, and tighten its clocks; a lower grade changes nothing.

    Raises:
        NotFound: there is no such complaint.
    """
    ticket = _lock_complaint(session, ticket_id)
    raised = higher_grade(ticket.grade, grade)
    if raised != ticket.grade:
        audit.record(session, actor_kind="system", actor_id=None, action="raise_grade", object_kind="ticket",
                     object_id=ticket.id, data={"from": ticket.grade, "to": raised}, now=now)
        _set_grade(session, ticket, raised, now)
    return ticket


def change_grade(session: Session, conversation_id: int, ticket_id: int, agent: SupportAgent, grade: str, reason: str,
                 now: datetime) -> Ticket:
    """Change a complaint's grade as a person, up or down, with a reason that the audit log and the thread keep.

    A higher grade tightens the clocks and moves the ticket to its level, whose leads are told; a major complaint that
    the bot still talks about goes to a human at once. A lower one takes nothing back: not the level, not a promise that
    runs, not one that was broken. The grade it has already changes nothing.

    Args:
        session: the unit of work.
        conversation_id: the conversation it belongs to.
        ticket_id: which complaint.
        agent: who changes it: who has the complaint or its conversation, or may direct it. In a conversation that
            nobody has claimed, changing it claims.
        grade: "ordinary", "complex" or "major".
        reason: why, 1 to 500 characters.
        now: when.

    Raises:
        NotFound: the conversation has no such complaint.
        NotOwner: a colleague or the bot owns the conversation.
        WrongState: the complaint is resolved.
        InvalidMessage: the grade is none, or the reason is empty or too long; ``field`` says which.
    """
    if grade not in GRADES:
        raise InvalidMessage(field="grade", reason="invalid")
    reason = _clean_reason(reason)
    ticket = _lock_complaint(session, ticket_id)
    if ticket.conversation_id != conversation_id:
        raise NotFound(ticket_id=ticket_id)
    conversation = session.get(Conversation, conversation_id)
    if not (agent.id in (conversation.assignee_id, ticket.assignee_id) or may_direct(session, agent, conversation)):
        require_owner(session, conversation, agent, now)
    if ticket.status not in UNSOLVED:
        raise WrongState(ticket_id=ticket_id, status=ticket.status)
    former = ticket.grade or GRADES[0]
    if grade == former:
        return ticket
    audit.record(session, actor_kind="agent", actor_id=agent.id, action="change_grade", object_kind="ticket",
                 object_id=ticket.id, data={"from": former, "to": grade, "reason": reason}, now=now)
    language = agent.interface_language
    leave_note(session, conversation, "\n".join((say(
        "note_grade", language, number=ticket.number, before=say(f"grade_{former}", language),
        after=say(f"grade_{grade}", language)), reason)), now, agent_id=agent.id)
    former_level = ticket.level
    _set_grade(session, ticket, grade, now)
    if grade == "major" and conversation.status == "pending":
        escalate_conversation(session, conversation_id=conversation.id, reason="major_complaint", now=now,
                              ticket=ticket, summary=ticket.summary)
    elif ticket.level != former_level:
        told = [lead for lead in leads_for(session, team_of_level(session, ticket.level)) if lead != agent.id]
        notify(session, told, kind="grade_raised", key=f"grade_raised:{ticket.id}:{grade}:{now.isoformat()}", now=now,
               conversation_id=conversation.id, data={"ticket": ticket.number, "by": agent.name, "grade": grade})
    session.flush()
    return ticket


def send_proposal(session: Session, conversation_id: int, ticket_id: int, agent: SupportAgent, text: str,
                  now: datetime, idempotency_key: str | None = None) -> tuple[Ticket, Message]:
    """Write a proposal to the customer who complained, as the owner of the conversation; from then on it is made.

    The customer is told once of a complaint that there is a proposal; a second one is a message like any other.

    Args:
        session: the unit of work.
        conversation_id: the conversation the complaint belongs to.
        ticket_id: which complaint.
        agent: who proposes.
        text: the proposal, as the customer reads it.
        now: when.
        idempotency_key: names this writing, as with :func:`reply_to_customer`.

    Raises:
        NotFound: the conversation has no such complaint.
        NotOwner: a colleague or the bot owns the conversation.
        WrongState: the complaint is resolved.
        InvalidMessage: the text is empty or too long, or the key has named another text before.
    """
    message = reply_to_customer(session, conversation_id, agent, text, now, idempotency_key)
    if _lock_complaint(session, ticket_id).conversation_id != conversation_id:
        raise NotFound(ticket_id=ticket_id)
    return propose_solution(session, ticket_id, agent, now), message


def propose_solution(session: Session, ticket_id: int, agent: SupportAgent, now: datetime) -> Ticket:
    """Note that the customer has a proposal, and tell them so; the proposal itself is a message of the agent.

    Raises:
        NotFound: there is no such complaint.
        WrongState: it is resolved.
    """
    ticket = _lock_complaint(session, ticket_id)
    if ticket.status not in UNSOLVED:
        raise WrongState(ticket_id=ticket_id, status=ticket.status)
    if STAGES.index(ticket.stage) < STAGES.index("proposal"):
        ticket.stage = "proposal"
        conversation = lock_conversation(session, ticket.conversation_id)
        tell_customer(session, conversation,
                      say("complaint_proposal", conversation.language, number=ticket.number, name=agent.name), now)
        audit.record(session, actor_kind="agent", actor_id=agent.id, action="propose_solution", object_kind="ticket",
                     object_id=ticket.id, now=now)
        session.flush()
    return ticket


def _lock_complaint(session: Session, ticket_id: int) -> Ticket:
    conversation_id = session.execute(
        select(Ticket.conversation_id).where(Ticket.id == ticket_id, Ticket.kind == "complaint")).scalar_one_or_none()
    if conversation_id is None:
        raise NotFound(ticket_id=ticket_id)
    lock_conversation(session, conversation_id)
    ticket: Ticket = session.execute(
        select(Ticket).where(Ticket.id == ticket_id).execution_options(populate_existing=True)).scalar_one()
    return ticket


def _clean_reason(reason: str) -> str:
    try:
        return clean_text(reason, REASON_LIMIT)
    except InvalidMessage as error:
        raise InvalidMessage(**{**error.data, "field": "reason"}) from error


def _set_grade(session: Session, ticket: Ticket, grade: str, now: datetime) -> None:
    conversation = session.get(Conversation, ticket.conversation_id)
    sla.catch_up(session, conversation, now)  # a promise that was broken before moved the ticket up from where it was
    rises = GRADES.index(grade) > GRADES.index(ticket.grade or GRADES[0])
    ticket.grade = grade
    level = LEVEL_OF_GRADE[grade]
    if LEVELS.index(level) > LEVELS.index(ticket.level):
        ticket.level = level
        conversation.team_id = team_of_level(session, level) or conversation.team_id
        conversation.updated_at = now
    if rises and ticket.status in UNSOLVED:
        sla.tighten_clocks(session, ticket, now)
    session.flush()


def _complained_lately(session: Session, conversation: Conversation, now: datetime) -> bool:
    """Whether this customer, or this guest in this conversation, complained in the last 30 days."""
    same = (Ticket.conversation_id == conversation.id if conversation.customer_id is None
            else sa.or_(Ticket.customer_id == conversation.customer_id, Ticket.conversation_id == conversation.id))
    return session.execute(
        select(Ticket.id).where(Ticket.kind == "complaint", Ticket.opened_at > now - LATELY, same).limit(1)
    ).first() is not None


def _own_order(session: Session, conversation: Conversation, number: str | None) -> int | None:
    if number is None or conversation.customer_id is None:
        return None
    found: int | None = session.execute(
        select(Order.id).where(Order.number == number, Order.customer_id == conversation.customer_id)
    ).scalar_one_or_none()
    return found


def _assign(session: Session, conversation: Conversation, ticket: Ticket, now: datetime) -> None:
    """Give the ticket to whoever has or kept the conversation, or to an agent of its level; else tell the lead."""
    if conversation.status in OWNED_BY_HUMANS and conversation.claimed_at is not None:
        ticket.assignee_id = conversation.assignee_id
        ticket.keeper_id = ticket.keeper_id or conversation.assignee_id
        told = {conversation.assignee_id} if ticket.level == LEVELS[0] else {
            conversation.assignee_id, *leads_for(session, team_of_level(session, ticket.level))}
        notify(session, sorted(told), kind="complaint", key=f"complaint:{ticket.id}", now=now,
               conversation_id=conversation.id, data={"ticket": ticket.number, "grade": ticket.grade})
        return
    preferred = () if ticket.level != LEVELS[0] else (conversation.assignee_id,)
    agent = pick_agent(session, conversation, level=ticket.level, preferred=preferred)
    team_id = team_of_level(session, ticket.level) or (agent.team_id if agent else None)
    if conversation.status == "pending":
        conversation.team_id = team_id or conversation.team_id
        conversation.assignee_id = agent.id if agent else conversation.assignee_id
    if agent is None:
        notify(session, leads_for(session, team_id), kind="nobody_free", key=f"nobody_free:ticket:{ticket.id}", now=now,
               conversation_id=conversation.id, data={"ticket": ticket.number})
        return
    ticket.assignee_id = agent.id
    notify(session, [agent.id], kind="complaint", key=f"complaint:{ticket.id}", now=now,
           conversation_id=conversation.id, data={"ticket": ticket.number, "grade": ticket.grade})

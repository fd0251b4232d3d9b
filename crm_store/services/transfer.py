"""Passes a conversation on to a colleague or a team: one owner before, one after, and nobody is asked twice."""
from __future__ import annotations

from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from crm_store.errors import InvalidMessage, NotOwner, WrongState
from crm_store.models import Conversation, SupportAgent, Team, Ticket
from crm_store.rules.sla import LEVELS
from crm_store.rules.text import clean_text
from crm_store.services import audit
from crm_store.services.access import may_direct
from crm_store.services.assignment import pick_agent
from crm_store.services.handoff import refuse_resolved, require_owner
from crm_store.services.locking import lock_conversation
from crm_store.services.notices import leads_for, notify
from crm_store.services.system_messages import leave_note
from crm_store.services.tickets import unsolved_tickets
from crm_store.wording import say

NOTE_LIMIT = 1000


def transfer_conversation(
    session: Session, conversation_id: int, agent: SupportAgent, now: datetime, *, to_agent_id: int | None = None,
    to_team_id: int | None = None, note: str = "",
) -> Conversation:
    """Pass a conversation on to a colleague, or to a team, in a new version.

    A colleague who is named has it from now on. In a team it is offered to whoever is free; where nobody is, it waits
    in the team's queue, and the lead is told. The former owner can write no more, the keeper of a ticket stays its
    keeper (and still sees the conversation), and no promise gets more time.

    Args:
        session: the unit of work.
        conversation_id: which conversation.
        agent: who passes it on: its owner, or who may direct it. An unclaimed one is claimed by its agent doing so.
        now: when.
        to_agent_id: the colleague, or
        to_team_id: the team.
        note: why, and what the next one must know; kept in the thread.

    Raises:
        NotOwner: a colleague or the bot owns it.
        WrongState: it is resolved, or the colleague has it already.
        InvalidMessage: there is not exactly one target, it does not exist or does not work here any more, or the note
            is too long; ``field`` says which.
        NotFound: there is no such conversation.
    """
    if (to_agent_id is None) == (to_team_id is None):
        raise InvalidMessage("Exactly one target is needed.", field="to_agent_id", reason="one_target")
    note = _clean_note(note)
    conversation = lock_conversation(session, conversation_id)
    refuse_resolved(conversation)
    if conversation.status == "pending":
        raise NotOwner(conversation_id=conversation.id, owner_name=None)
    if not may_direct(session, agent, conversation):
        require_owner(session, conversation, agent, now)
    former_id = conversation.assignee_id
    tickets = unsolved_tickets(session, conversation.id)
    receiver: SupportAgent | None
    if to_agent_id is not None:
        receiver = colleague = _colleague(session, to_agent_id)
        team = colleague.team
        if conversation.claimed_at is not None and former_id == to_agent_id:
            raise WrongState(conversation_id=conversation.id, owner_name=colleague.name)
    else:
        team = _team(session, to_team_id)
        receiver = pick_agent(session, conversation, level=team.level, team_id=team.id, without=(former_id,))
    _move(conversation, tickets, receiver, team, now)
    conversation.claimed_at = now if to_agent_id is not None else None
    _note(session, conversation, agent, receiver, team, note, now)
    _tell(session, conversation, tickets, agent, former_id, receiver, now)
    audit.record(session, actor_kind="agent", actor_id=agent.id, action="transfer", object_kind="conversation",
                 object_id=conversation.id, now=now,
                 data={"from": former_id, "to_agent": receiver.id if receiver else None, "to_team": team.id,
                       "version": conversation.version})
    session.flush()
    return conversation


def _clean_note(note: str) -> str:
    try:
        return clean_text(note, NOTE_LIMIT)
    except InvalidMessage as error:
        if error.data["reason"] == "empty":
            return ""
        raise InvalidMessage(**{**error.data, "field": "note"}) from error


def _colleague(session: Session, agent_id: int) -> SupportAgent:
    """The colleague, locked: who is being sent away at this moment would keep what nobody takes from them any more."""
    found: SupportAgent | None = session.execute(
        select(SupportAgent).where(SupportAgent.id == agent_id, SupportAgent.active.is_(True))
        .with_for_update(key_share=True).execution_options(populate_existing=True)).scalar_one_or_none()
    if found is None:
        raise InvalidMessage("No such colleague works here.", field="to_agent_id", reason="unknown")
    return found


def _team(session: Session, team_id: int | None) -> Team:
    found: Team | None = session.execute(select(Team).where(Team.id == team_id)).scalar_one_or_none()
    if found is None:
        raise InvalidMessage("There is no such team.", field="to_team_id", reason="unknown")
    return found


def _move(conversation: Conversation, tickets: list[Ticket], receiver: SupportAgent | None, team: Team,
          now: datetime) -> None:
    """Make the receiver the assignee of the conversation and its tickets.

    A ticket never stands on a lower level than the team that has it: a broken promise would move it back down.
    """
    conversation.assignee_id, conversation.team_id = receiver.id if receiver else None, team.id
    conversation.version += 1
    conversation.updated_at = now
    for ticket in tickets:
        ticket.assignee_id = conversation.assignee_id
        ticket.keeper_id = ticket.keeper_id or conversation.assignee_id
        ticket.level = max(ticket.level, team.level, key=LEVELS.index)


def _note(session: Session, conversation: Conversation, agent: SupportAgent, receiver: SupportAgent | None, team: Team,
          note: str, now: datetime) -> None:
    language = (receiver or agent).interface_language
    sentence = "note_transfer" if receiver else "note_transfer_waits"
    told = say(sentence, language, name=agent.name, to=receiver.name if receiver else team.name)
    leave_note(session, conversation, f"{told}\n{note}".strip(), now, agent_id=agent.id)


def _tell(session: Session, conversation: Conversation, tickets: list[Ticket], agent: SupportAgent,
          former_id: int | None, receiver: SupportAgent | None, now: datetime) -> None:
    """Tell the receiver, or the leads where nobody is free, and a former owner who did not do it themselves."""
    key, data = f"{conversation.id}:{conversation.version}", {
        "by": agent.name, "ticket": tickets[-1].number if tickets else None}
    if receiver is None:
        told: list[int | None] = [lead for lead in leads_for(session, conversation.team_id) if lead != agent.id]
        notify(session, told, kind="nobody_free", key=f"nobody_free:{key}", now=now, conversation_id=conversation.id,
               data=data)
    elif receiver.id != agent.id:
        notify(session, [receiver.id], kind="transferred", key=f"transferred:{key}", now=now,
               conversation_id=conversation.id, data=data)
    if former_id not in (None, agent.id, conversation.assignee_id):
        notify(session, [former_id], kind="transferred_away", key=f"transferred_away:{key}", now=now,
               conversation_id=conversation.id, data=data)

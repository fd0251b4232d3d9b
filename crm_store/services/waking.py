"""Takes up a snoozed conversation before its time."""
from __future__ import annotations

from datetime import datetime

from sqlalchemy.orm import Session

from crm_store.errors import WrongState
from crm_store.models import Conversation, SupportAgent
from crm_store.services import audit, sla
from crm_store.services.handoff import require_owner
from crm_store.services.locking import lock_conversation
from crm_store.services.tickets import unsolved_tickets


def wake_conversation(session: Session, conversation_id: int, agent: SupportAgent, now: datetime) -> Conversation:
    """Carry on with a snoozed conversation; the resolution clocks of its tickets go on from now.

    Raises:
        NotOwner: a colleague or the bot owns it.
        WrongState: it is not snoozed.
        NotFound: there is no such conversation.
    """
    conversation = lock_conversation(session, conversation_id)
    require_owner(session, conversation, agent, now)
    if conversation.status != "snoozed":
        raise WrongState(conversation_id=conversation.id, status=conversation.status)
    sla.end_waiting(session, conversation, unsolved_tickets(session, conversation.id), now)
    conversation.updated_at = now
    audit.record(session, actor_kind="agent", actor_id=agent.id, action="wake", object_kind="conversation",
                 object_id=conversation.id, now=now)
    session.flush()
    return conversation

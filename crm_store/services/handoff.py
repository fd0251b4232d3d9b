"""Passes control of a conversation between the bot and humans, and lets its owner write and resolve."""
from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from crm_store.errors import AlreadyClaimed, InvalidMessage, NotOwner, StaleVersion, WrongState
from crm_store.models import AuditEntry, Conversation, Escalation, Message, SlaClock, SupportAgent, Team, Ticket
from crm_store.models.tickets import REASONS
from crm_store.rules.calendar import BusinessHours
from crm_store.rules.text import clean_identifier, clean_text, excerpt
from crm_store.services import audit, sla
from crm_store.services.assignment import pick_agent
from crm_store.services.locking import lock_conversation
from crm_store.services.notices import leads_for, notify, team_of_level
from crm_store.services.shop_events import Event, tell_shop
from crm_store.services.system_messages import leave_note, tell_customer
from crm_store.services.tickets import open_ticket, reopen_ticket, unsolved_tickets
from crm_store.wording import SORRY, join_sentences, say, tell_time

REOPEN_WITHIN = timedelta(hours=72)
LONGEST_SNOOZE = timedelta(days=366)
OWNED_BY_HUMANS = ("open", "snoozed")
SUMMARY_MESSAGES = 3
SUMMARY_LENGTH = 200
BOT = "bot"
KEY_LIMIT = 80


@dataclass(frozen=True)
class Handoff:
    """What came of a handover: the ticket, when a human is due, and what the customer was told."""

    conversation: Conversation
    ticket: Ticket | None
    due_at: datetime | None
    notice: Message | None


def escalate_conversation(
    session: Session, *, conversation_id: int, reason: str, now: datetime, message_id: int | None = None,
    anger: float | None = None, expected_version: int | None = None, ticket: Ticket | None = None,
    summary: str | None = None, language: str | None = None,
) -> Handoff:
    """Hand a conversation over to a human, with everything that belongs to it, in one transaction.

    The conversation is open at the next version; a ticket has its clocks; the best agent is assigned or their lead
    told that nobody is free; a note gives the reason and a summary; the customer is told who comes by when. The same
    message again, or a conversation that humans own already or have resolved meanwhile, changes nothing and gives the
    ticket there is.

    Args:
        session: the unit of work.
        conversation_id: which conversation.
        reason: "asked", "anger", "major_complaint", "stuck" or "system".
        now: when it was decided.
        message_id: the customer's message that made it necessary; the notice answers it.
        anger: how angry that message was.
        expected_version: the version the decision was made on, where it was made on one.
        ticket: the complaint that made it necessary; otherwise a handoff ticket is opened, or the one of the same
            conversation that was resolved before is reopened for its agent.
        summary: what it is about; the customer's last words when it is left out.
        language: the customer's, "zh" or "en"; the conversation's when it is left out.

    Raises:
        NotFound: there is no such conversation.
        StaleVersion: the conversation changed hands since ``expected_version`` and the bot owns it again.
        ValueError: the reason is none of the five.
    """
    if reason not in REASONS:
        raise ValueError(f"no reason to escalate: {reason}")
    conversation = lock_conversation(session, conversation_id)
    earlier = None if message_id is None else session.execute(
        select(Escalation).where(Escalation.message_id == message_id)).scalar_one_or_none()
    if earlier is not None or conversation.status in OWNED_BY_HUMANS:
        return _as_it_is(session, conversation, earlier, message_id)
    if expected_version is not None and conversation.version != expected_version:
        raise StaleVersion(conversation_id=conversation_id, version=conversation.version)
    if conversation.status == "resolved":  # a human had it while the bot made up its mind
        return _as_it_is(session, conversation, None, message_id)
    if language is not None:
        conversation.language = language
    summary = summary or _last_words(session, conversation_id)
    ticket = ticket or _handoff_ticket(session, conversation, reason, summary, message_id, now)
    ticket.reason = ticket.reason or reason
    clocks = sla.start_clocks(session, ticket, now)
    _open(conversation, now)
    _assign(session, conversation, ticket, now)
    session.add(Escalation(conversation_id=conversation.id, ticket_id=ticket.id, message_id=message_id, reason=reason,
                           anger=anger, decided_at=now))
    _leave_handover_note(session, conversation, reason, anger, summary, now)
    first = next((clock for clock in clocks if clock.promise == "first_response" and clock.met_at is None
                  and clock.due_at > now), None)
    notice = tell_customer(session, conversation, _notice(conversation, ticket, reason, first, now), now,
                           in_reply_to_id=message_id)
    audit.record(session, actor_kind=BOT, actor_id=None, action="escalate", object_kind="conversation",
                 object_id=conversation.id, data={"reason": reason, "ticket": ticket.number, "message_id": message_id},
                 now=now)
    tell_shop(session, [Event("conversation.handed_over", conversation.customer_id,
                              {"reason": reason, "ticket": ticket.number}, conversation.id)], now)
    session.flush()
    return Handoff(conversation, ticket, first.due_at if first else None, notice)


def claim_conversation(session: Session, conversation_id: int, agent: SupportAgent, now: datetime) -> Conversation:
    """Make a conversation that nobody has claimed this agent's; one that is theirs already stays so.

    Of many who claim at once one gets it, also where it was only offered to one of them by automatic assignment.

    Raises:
        AlreadyClaimed: a colleague has it; ``owner_name`` is their name.
        WrongState: it is resolved.
        NotFound: there is no such conversation.
    """
    conversation = lock_conversation(session, conversation_id)
    refuse_resolved(conversation)
    if conversation.claimed_at is not None and conversation.assignee_id != agent.id:
        raise AlreadyClaimed(conversation_id=conversation.id, owner_name=owner_name(session, conversation))
    sla.catch_up(session, conversation, now)
    _own(session, conversation, agent, "claim", now)
    return conversation


def take_over_conversation(session: Session, conversation_id: int, agent: SupportAgent, now: datetime) -> Conversation:
    """Take a conversation from the bot or a colleague, who is told; recorded in the audit log and in the thread.

    Raises:
        WrongState: it is resolved.
        NotFound: there is no such conversation.
    """
    conversation = lock_conversation(session, conversation_id)
    refuse_resolved(conversation)
    sla.catch_up(session, conversation, now)
    former_id, former_status = conversation.assignee_id, conversation.status
    if former_id == agent.id and former_status in OWNED_BY_HUMANS and conversation.claimed_at is not None:
        return conversation
    _own(session, conversation, agent, "take_over", now)
    leave_note(session, conversation, say("note_take_over", agent.interface_language, name=agent.name), now)
    if former_id not in (None, agent.id):
        notify(session, [former_id], kind="taken_over", key=f"taken_over:{conversation.id}:{conversation.version}",
               now=now, conversation_id=conversation.id, data={"by": agent.name})
    session.flush()
    return conversation


def reply_to_customer(session: Session, conversation_id: int, agent: SupportAgent, text: str, now: datetime,
                      idempotency_key: str | None = None) -> Message:
    """Write to the customer as the owner of the conversation; an unassigned open one is claimed by it.

    The first message of a human meets the promised response. After the resolution the agent may still write while a
    follow-up is due: that message is the follow-up, and the conversation stays resolved.

    Args:
        session: the unit of work.
        conversation_id: which conversation.
        agent: who writes.
        text: what they write.
        now: when.
        idempotency_key: names this writing, so that sending it again after a lost answer stores nothing twice: the
            message there is comes back, whoever owns the conversation by then.

    Raises:
        NotOwner: a colleague or the bot owns it; ``owner_name`` is the colleague's name, None for the bot.
        WrongState: it is resolved and no follow-up is due.
        InvalidMessage: the text is empty or too long, or the key has named another text before.
        NotFound: there is no such conversation.
    """
    text = clean_text(text)
    conversation = lock_conversation(session, conversation_id)
    key = _writing_key(conversation, agent, idempotency_key)
    written = _written_before(session, conversation, key, "outgoing", text)
    if written is not None:
        return written
    if conversation.status == "resolved":
        if conversation.assignee_id not in (None, agent.id):
            raise NotOwner(conversation_id=conversation.id, owner_name=owner_name(session, conversation))
        if not sla.follow_up_done(session, conversation, now):
            raise WrongState(conversation_id=conversation.id, status=conversation.status)
    else:
        require_owner(session, conversation, agent, now)
        tickets = unsolved_tickets(session, conversation.id)
        for ticket in tickets:
            _take_up(session, conversation, ticket, agent, now)
        sla.human_answered(session, tickets, now)
    message = Message(
        conversation_id=conversation.id, identity_id=conversation.identity_id, direction="outgoing", author="agent",
        agent_id=agent.id, text=text, buttons=[], created_at=now, delivery_state="queued", position=0,
        channel_message_id=key,
    )
    session.add(message)
    conversation.updated_at = now
    session.flush()
    return message


def add_note(session: Session, conversation_id: int, agent: SupportAgent, text: str, now: datetime,
             idempotency_key: str | None = None) -> Message:
    """Leave a note for colleagues; customers never see it, and it answers no promise. With a key, it is left once.

    Raises:
        InvalidMessage: the text is empty or too long, or the key has named another text before.
        NotFound: there is no such conversation.
    """
    text = clean_text(text)
    conversation = lock_conversation(session, conversation_id)
    key = _writing_key(conversation, agent, idempotency_key)
    written = _written_before(session, conversation, key, "note", text)
    if written is not None:
        return written
    note = leave_note(session, conversation, text, now, agent_id=agent.id)
    note.channel_message_id = key
    session.flush()
    return note


def snooze_conversation(session: Session, conversation_id: int, agent: SupportAgent, now: datetime,
                        until: datetime | None = None) -> Conversation:
    """Wait for the customer, or until a time; the resolution clocks of its tickets stand still meanwhile.

    Raises:
        NotOwner: a colleague or the bot owns it.
        WrongState: it is resolved, or ``until`` is not in the future or more than a year away.
        NotFound: there is no such conversation.
    """
    conversation = lock_conversation(session, conversation_id)
    refuse_resolved(conversation)
    require_owner(session, conversation, agent, now)
    if until is not None and not now < until <= now + LONGEST_SNOOZE:
        raise WrongState(conversation_id=conversation.id, until=until)
    tickets = unsolved_tickets(session, conversation.id)
    sla.end_waiting(session, conversation, tickets, now)
    conversation.status, conversation.snoozed_until, conversation.updated_at = "snoozed", until, now
    for ticket in tickets:
        ticket.status = "waiting"
        sla.pause_resolution(session, ticket, now)
    _audit(session, agent, "snooze", conversation, now, until=until.isoformat() if until else None)
    session.flush()
    return conversation


def resolve_conversation(session: Session, conversation_id: int, agent: SupportAgent, now: datetime,
                         cause: str = "solved") -> Conversation:
    """Close the conversation and its tickets, settle the clocks, and ask the customer for a rating.

    Raises:
        NotOwner: a colleague or the bot owns it.
        WrongState: it is resolved already.
        NotFound: there is no such conversation.
    """
    conversation = lock_conversation(session, conversation_id)
    refuse_resolved(conversation)
    require_owner(session, conversation, agent, now)
    tickets = unsolved_tickets(session, conversation.id)
    sla.end_waiting(session, conversation, tickets, now)
    told = [say("complaint_resolved", conversation.language, number=ticket.number)
            for ticket in tickets if ticket.kind == "complaint"]
    for ticket in tickets:
        _close_ticket(session, ticket, cause, now)
    conversation.status, conversation.resolved_at = "resolved", now
    conversation.version += 1
    language = conversation.language
    buttons = [{"title": say(f"rate_{score}", language), "payload": f'/rate{{"score": {score}}}'}
               for score in (5, 4, 3, 2, 1)]
    tell_customer(session, conversation, join_sentences(language, *told, say("rate_question", language)), now,
                  buttons=buttons)
    _audit(session, agent, "resolve", conversation, now, cause=cause)
    tell_shop(session, [Event("conversation.resolved", conversation.customer_id, {"cause": cause}, conversation.id)],
              now)
    session.flush()
    return conversation


def hand_back_conversation(session: Session, conversation_id: int, agent: SupportAgent, now: datetime) -> Conversation:
    """Give a conversation back to the bot; its handoff ticket is done, complaints and requests stay open.

    Raises:
        NotOwner: a colleague or the bot owns it.
        WrongState: it is resolved.
        NotFound: there is no such conversation.
    """
    conversation = lock_conversation(session, conversation_id)
    refuse_resolved(conversation)
    require_owner(session, conversation, agent, now)
    tickets = unsolved_tickets(session, conversation.id)
    sla.end_waiting(session, conversation, tickets, now)
    for ticket in tickets:
        if ticket.kind == "handoff":
            _close_ticket(session, ticket, "handed_back", now)
    conversation.status, conversation.assignee_id, conversation.claimed_at = "pending", None, None
    conversation.version += 1
    tell_customer(session, conversation, say("handed_back", conversation.language), now)
    _audit(session, agent, "hand_back", conversation, now)
    session.flush()
    return conversation


def reopen_with_lead(session: Session, conversation: Conversation, ticket: Ticket, now: datetime) -> SlaClock | None:
    """Open a resolved conversation again with its team's lead in charge, in a new cycle of its ticket.

    Returns:
        The clock of the lead's first response, where one is promised.
    """
    if ticket.status == "resolved":
        reopen_ticket(ticket)
        sla.ticket_reopened(session, ticket, now)
    _open(conversation, now)
    conversation.team_id = conversation.team_id or team_of_level(session, ticket.level)
    leads = leads_for(session, conversation.team_id)
    conversation.assignee_id = ticket.assignee_id = leads[0] if leads else None
    notify(session, leads, kind="low_rating", key=f"low_rating:{conversation.id}:{conversation.version}", now=now,
           conversation_id=conversation.id, data={"ticket": ticket.number})
    clocks = sla.start_clocks(session, ticket, now)
    return next((clock for clock in clocks if clock.promise == "first_response"), None)


def owner_name(session: Session, conversation: Conversation) -> str | None:
    """The name of the human who owns the conversation, or of the team it waits for; None where the bot does."""
    name: str | None = None
    if conversation.assignee_id is not None:
        name = session.execute(
            select(SupportAgent.name).where(SupportAgent.id == conversation.assignee_id)).scalar_one()
    elif conversation.status in OWNED_BY_HUMANS:
        name = session.execute(select(Team.name).where(Team.id == conversation.team_id)).scalar_one_or_none()
    return name


def refuse_resolved(conversation: Conversation) -> None:
    """Let only through what is not resolved.

    Raises:
        WrongState: it is.
    """
    if conversation.status == "resolved":
        raise WrongState(conversation_id=conversation.id, status=conversation.status)


def require_owner(session: Session, conversation: Conversation, agent: SupportAgent, now: datetime) -> None:
    """Let only the owner through; what nobody has claimed is claimed by acting on it.

    Whoever just gave a conversation to a team has to claim it to get it back: a late word from their open page does
    not take it away from the team again.

    Raises:
        NotOwner: a colleague, their team or the bot owns it.
    """
    if conversation.status == "pending":
        raise NotOwner(conversation_id=conversation.id, owner_name=None)
    if conversation.claimed_at is None and not _gave_away(session, conversation, agent):
        sla.catch_up(session, conversation, now)
        _own(session, conversation, agent, "claim", now)
    elif conversation.claimed_at is None or conversation.assignee_id != agent.id:
        raise NotOwner(conversation_id=conversation.id, owner_name=owner_name(session, conversation))


def tell_due(conversation: Conversation, clock: SlaClock | None, now: datetime) -> str | None:
    """When a clock is due as its customer is told, in the desk's time zone; None without a clock."""
    if clock is None:
        return None
    return tell_time(clock.due_at, now, clock.calendar.time_zone, conversation.language)


def _as_it_is(session: Session, conversation: Conversation, earlier: Escalation | None,
              message_id: int | None) -> Handoff:
    ticket = session.get(Ticket, earlier.ticket_id) if earlier else None
    if ticket is None:
        tickets = unsolved_tickets(session, conversation.id)
        ticket = next((t for t in reversed(tickets) if t.kind != "request"), None)
    notice = clock = None
    if message_id is not None:
        notice = session.execute(
            select(Message).where(Message.in_reply_to_id == message_id, Message.author == "system")
            .order_by(Message.id).limit(1)).scalar_one_or_none()
    if ticket is not None:
        clock = session.execute(
            select(SlaClock).where(SlaClock.ticket_id == ticket.id, SlaClock.promise == "first_response")
            .order_by(SlaClock.id.desc()).limit(1)).scalar_one_or_none()
    return Handoff(conversation, ticket, clock.due_at if clock else None, notice)


def _handoff_ticket(session: Session, conversation: Conversation, reason: str, summary: str, message_id: int | None,
                    now: datetime) -> Ticket:
    """The handoff ticket of this conversation that was resolved less than three days ago, or a new one."""
    last: Ticket | None = session.execute(
        select(Ticket).where(Ticket.conversation_id == conversation.id, Ticket.kind == "handoff")
        .order_by(Ticket.id.desc()).limit(1).execution_options(populate_existing=True)).scalar_one_or_none()
    if last is not None and last.status != "resolved":
        return last
    if last is not None and now - last.resolved_at <= REOPEN_WITHIN:
        reopen_ticket(last)
        last.reason, last.summary, last.language = reason, summary, conversation.language
        sla.ticket_reopened(session, last, now)
        return last
    source = f"message:{message_id}" if message_id is not None else f"version:{conversation.id}:{conversation.version}"
    return open_ticket(session, conversation, kind="handoff", summary=summary, idempotency_key=f"handoff:{source}",
                       now=now, reason=reason,
                       level="management" if reason == "major_complaint" else "front_line")


def _open(conversation: Conversation, now: datetime) -> None:
    conversation.status, conversation.resolved_at, conversation.updated_at = "open", None, now
    conversation.claimed_at = None
    conversation.version += 1


def _assign(session: Session, conversation: Conversation, ticket: Ticket, now: datetime) -> None:
    """Give the conversation to its former agent, the ticket's keeper or whoever is free; else tell the lead."""
    preferred = () if ticket.grade == "major" else (conversation.assignee_id, ticket.assignee_id, ticket.keeper_id)
    agent = pick_agent(session, conversation, level=ticket.level, preferred=preferred)
    conversation.assignee_id = ticket.assignee_id = agent.id if agent else None
    conversation.team_id = team_of_level(session, ticket.level) or (agent.team_id if agent else conversation.team_id)
    if agent is not None:
        ticket.keeper_id = ticket.keeper_id or agent.id
        notify(session, [agent.id], kind="assigned", key=f"assigned:{conversation.id}:{conversation.version}", now=now,
               conversation_id=conversation.id, data={"ticket": ticket.number, "reason": ticket.reason})
    else:
        notify(session, leads_for(session, conversation.team_id), kind="nobody_free", now=now,
               key=f"nobody_free:{conversation.id}:{conversation.version}", conversation_id=conversation.id,
               data={"ticket": ticket.number, "reason": ticket.reason})


def _leave_handover_note(session: Session, conversation: Conversation, reason: str, anger: float | None, summary: str,
                         now: datetime) -> None:
    language = "zh"
    if conversation.assignee_id is not None:
        language = session.get(SupportAgent, conversation.assignee_id).interface_language
    told = say(f"reason_{reason}", language) + ("" if anger is None else say("anger_of", language, anger=anger))
    leave_note(session, conversation, say("note_handover", language, reason=told, summary=summary).strip(), now)


def _last_words(session: Session, conversation_id: int) -> str:
    words = session.execute(
        select(Message.text).where(Message.conversation_id == conversation_id, Message.direction == "incoming")
        .order_by(Message.id.desc()).limit(SUMMARY_MESSAGES)).scalars().all()
    return "\n".join(excerpt(text, SUMMARY_LENGTH) for text in reversed(words))


def _notice(conversation: Conversation, ticket: Ticket, reason: str, first: SlaClock | None, now: datetime) -> str:
    language = conversation.language
    sorry = say(SORRY[reason], language) if reason in SORRY else ""
    if first is None:
        return join_sentences(language, sorry, say("coming_soon", language, number=ticket.number))
    by = tell_due(conversation, first, now)
    hours = None if first.around_the_clock else BusinessHours.of(first.calendar)
    if hours is None or hours.is_open(now):
        return join_sentences(language, sorry, say("coming_by", language, by=by, number=ticket.number))
    opens = tell_time(hours.next_opening(now), now, hours.time_zone, language)
    return join_sentences(language, sorry, say("coming_after_opening", language, opens=opens, by=by,
                                               number=ticket.number))


def _gave_away(session: Session, conversation: Conversation, agent: SupportAgent) -> bool:
    """Whether this agent had or moved the conversation until its last transfer, and nobody has owned it since."""
    if conversation.assignee_id == agent.id:
        return False
    last = session.execute(
        select(AuditEntry.actor_id, AuditEntry.data)
        .where(AuditEntry.object_kind == "conversation", AuditEntry.object_id == str(conversation.id),
               AuditEntry.action == "transfer").order_by(AuditEntry.id.desc()).limit(1)).one_or_none()
    return (last is not None and last.data["version"] == conversation.version
            and agent.id in (last.actor_id, last.data["from"]))


def _writing_key(conversation: Conversation, agent: SupportAgent, idempotency_key: str | None) -> str | None:
    """What an agent's message is stored under, so that it is stored once; no customer can guess it."""
    if idempotency_key is None:
        return None
    key = clean_identifier(idempotency_key, "idempotency_key", KEY_LIMIT)
    return "agent:" + hashlib.sha256(f"{conversation.id}:{agent.id}:{key}".encode()).hexdigest()


def _written_before(session: Session, conversation: Conversation, key: str | None, direction: str,
                    text: str) -> Message | None:
    """The message that was stored under this key.

    Raises:
        InvalidMessage: the key names something else.
    """
    if key is None:
        return None
    found: Message | None = session.execute(
        select(Message).where(Message.identity_id == conversation.identity_id, Message.channel_message_id == key)
    ).scalar_one_or_none()
    if found is not None and (found.direction, found.text) != (direction, text):
        raise InvalidMessage(field="idempotency_key", reason="used")
    return found


def _own(session: Session, conversation: Conversation, agent: SupportAgent, action: str, now: datetime) -> None:
    """Make the agent the owner, in a new version unless they were already; every ticket goes with it."""
    tickets = unsolved_tickets(session, conversation.id)
    new_owner = conversation.assignee_id != agent.id or conversation.status == "pending"
    if new_owner or conversation.claimed_at is None:
        if conversation.status == "pending":
            conversation.status = "open"
            if not tickets:
                tickets = [_ticket_for_take_over(session, conversation, now)]
        conversation.assignee_id, conversation.claimed_at = agent.id, now
        conversation.team_id = conversation.team_id or agent.team_id
        conversation.version += new_owner
        conversation.updated_at = now
        _audit(session, agent, action, conversation, now)
    for ticket in tickets:
        ticket.assignee_id = agent.id
        _take_up(session, conversation, ticket, agent, now)
    session.flush()


def _ticket_for_take_over(session: Session, conversation: Conversation, now: datetime) -> Ticket:
    ticket = open_ticket(
        session, conversation, kind="handoff", summary=_last_words(session, conversation.id), now=now,
        idempotency_key=f"handoff:version:{conversation.id}:{conversation.version}")
    sla.start_clocks(session, ticket, now)
    return ticket


def _take_up(session: Session, conversation: Conversation, ticket: Ticket, agent: SupportAgent, now: datetime) -> None:
    """The first agent who takes a ticket stays its keeper; a customer who complained is told who has it."""
    ticket.keeper_id = ticket.keeper_id or agent.id
    ticket.assignee_id = ticket.assignee_id or agent.id
    if ticket.stage != "received":
        return
    ticket.stage = "taken_up"
    if ticket.kind == "complaint":
        tell_customer(session, conversation,
                      say("complaint_taken_up", conversation.language, number=ticket.number, name=agent.name), now)


def _close_ticket(session: Session, ticket: Ticket, cause: str, now: datetime) -> None:
    ticket.status, ticket.stage, ticket.resolved_at, ticket.resolution_cause = "resolved", "resolved", now, cause[:60]
    sla.ticket_resolved(session, ticket, now)
    if ticket.kind == "complaint":
        tell_shop(session, [Event("complaint.resolved", ticket.customer_id, {"ticket": ticket.number, "cause": cause},
                                  ticket.conversation_id)], now)


def _audit(session: Session, agent: SupportAgent, action: str, conversation: Conversation, now: datetime,
           **data: object) -> None:
    audit.record(session, actor_kind="agent", actor_id=agent.id, action=action, object_kind="conversation",
                 object_id=conversation.id, data=data, now=now)

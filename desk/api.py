"""The desk's JSON API."""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from fastapi import APIRouter, Depends, Query, Request, Response
from sqlalchemy.orm import Session

from crm_store.models import Conversation, Message, SupportAgent, Ticket
from crm_store.models.base import LARGEST_ID
from crm_store.queries.attachments import AttachmentRow, attachments_of
from crm_store.queries.corrections import Corrected, corrections_of
from crm_store.queries.customers import CustomerCard
from crm_store.queries.queue import queue_counts, queue_for
from crm_store.queries.transfer import transfer_targets
from crm_store.services import complaints, handoff, staff
from crm_store.services.access import access_conversation
from crm_store.services.corrections import correct_message
from crm_store.services.transfer import transfer_conversation
from crm_store.services.waking import wake_conversation
from desk import auth, panes, shapes
from desk.customer import card_for
from desk.deps import DeskDeps, deps_of
from desk.problems import Invalid, Missing, Throttled, WrongLogin
from desk.routing import ApiRoute

THROTTLED_SECONDS = 900
REFUSALS: dict[int | str, dict[str, Any]] = {
    status: {"model": shapes.ProblemOut, "description": words} for status, words in {
        400: "The body cannot be read", 401: "Nobody is logged in", 403: "Not allowed, or sent by another site",
        404: "No such object, or not yours to see", 409: "Somebody else owns it, or its state does not allow it",
        413: "The body is too large", 422: "A field cannot be accepted"}.items()}

router = APIRouter(prefix="/api", route_class=ApiRoute, tags=["desk"], responses=REFUSALS)


def object_id(conversation_id: int) -> int:
    """An id that some object may have.

    Raises:
        Missing: no object can have it.
    """
    if not 0 < conversation_id <= LARGEST_ID:
        raise Missing()
    return conversation_id


def named_id(text: str) -> int | None:
    """The id in a query of a page, None where it is no number.

    Raises:
        Missing: it is a number that no object can have.
    """
    if not (text.isascii() and text.isdigit()):
        return None
    return object_id(int(text[:len(str(LARGEST_ID)) + 1]))


@router.post("/login", responses={401: {"model": shapes.ProblemOut, "description": "The login or password is wrong"},
                                  429: {"model": shapes.ProblemOut, "description": "Too many attempts; Retry-After"}})
def log_in(request: Request, response: Response, body: shapes.LoginIn) -> shapes.LoginOut:
    """Begin a session: the token goes into a cookie for browsers and into the answer for programs."""
    token, agent = begin_session(request, body.login, body.password)
    auth.set_session(response, token, deps_of(request))
    return shapes.LoginOut(token=token, agent=_agent(agent))


def begin_session(request: Request, login: str, password: str) -> tuple[str, SupportAgent]:
    """Log in with a new token, whatever the browser brought; the session it had ends.

    Raises:
        WrongLogin: the login or the password is wrong.
        Throttled: too many failures; nothing was tried.
    """
    deps = deps_of(request)
    with deps.store.write() as session:
        result = staff.log_in(session, login=login, password=password, address=auth.client_address(request),
                              now=deps.clock())
        former = request.cookies.get(auth.SESSION_COOKIE)
        if result.token and former:
            staff.log_out(session, former)
    if result.throttled:
        raise Throttled(retry_after=THROTTLED_SECONDS)
    if result.token is None or result.agent is None:
        raise WrongLogin()
    return result.token, result.agent


@router.post("/logout", status_code=204, response_class=Response)
def log_out(request: Request, agent: SupportAgent = Depends(auth.current_agent)) -> Response:
    """End the session."""
    deps, token = deps_of(request), auth.session_token(request)
    with deps.store.write() as session:
        staff.log_out(session, token or "")
    response = Response(status_code=204)
    auth.clear_session(response, deps)
    return response


@router.get("/me")
def me(agent: SupportAgent = Depends(auth.current_agent)) -> shapes.MeOut:
    """Who is logged in."""
    return shapes.MeOut(agent=_agent(agent))


@router.post("/me/availability")
def set_availability(body: shapes.AvailabilityIn, deps: DeskDeps = Depends(deps_of),
                     agent: SupportAgent = Depends(auth.current_agent)) -> shapes.MeOut:
    """Say whether new conversations may be assigned to the agent who asks."""
    with deps.store.write() as session:
        staff.set_availability(session, agent.id, body.available, deps.clock())
        return shapes.MeOut(agent=_agent(session.get(SupportAgent, agent.id)))


@router.get("/queue")
def queue(view: Literal["all", "mine", "due", "snoozed"] = "all", limit: int = Query(200, ge=1, le=200),
          deps: DeskDeps = Depends(deps_of), agent: SupportAgent = Depends(auth.current_agent)) -> shapes.QueueOut:
    """What waits for a human and may be seen by the agent who asks, the next due first."""
    with deps.store.read() as session:
        counts = queue_counts(session, agent, deps.clock())
        rows = queue_for(session, agent, now=deps.clock(), view=view, limit=limit)
    return shapes.QueueOut(view=view, counts=shapes.CountsOut(**vars(counts)),
                           conversations=[shapes.QueueRowOut(**vars(row)) for row in rows])


@router.get("/conversations/{conversation_id}")
def conversation(key: int = Depends(object_id), deps: DeskDeps = Depends(deps_of),
                 agent: SupportAgent = Depends(auth.current_agent)) -> shapes.ThreadOut:
    """A conversation with its messages, tickets and customer. The look is recorded."""
    now = deps.clock()
    with deps.store.read() as session:
        found = access_conversation(session, agent, key)
        recorded = panes.look_is_recorded(session, agent, key, now)
        corrected = corrections_of(session, key)
        messages = panes.messages_of(session, key)
        sent = attachments_of(session, [message.id for message in messages])
        answer = shapes.ThreadOut(
            conversation=_conversation(found),
            messages=[_message(message, corrected.get(message.id, {}), sent.get(message.id, ()))
                      for message in messages],
            customer=_customer(card_for(session, agent, found, now)),
            tickets=[_ticket(ticket) for ticket in panes.tickets_of(session, key)])
    if not recorded:
        with deps.store.write() as session:
            panes.record_look(session, agent, access_conversation(session, agent, key), now)
    return answer


@router.post("/conversations/{conversation_id}/claim")
def claim(key: int = Depends(object_id), deps: DeskDeps = Depends(deps_of),
          agent: SupportAgent = Depends(auth.current_agent)) -> shapes.ActionOut:
    """Make an unassigned conversation the agent's own; of many who claim at once one gets it."""
    with deps.store.write() as session:
        access_conversation(session, agent, key, acting=True)
        return _done(handoff.claim_conversation(session, key, _in(session, agent), deps.clock()))


@router.post("/conversations/{conversation_id}/takeover")
def take_over(key: int = Depends(object_id), deps: DeskDeps = Depends(deps_of),
              agent: SupportAgent = Depends(auth.current_agent)) -> shapes.ActionOut:
    """Take a conversation that one may see from the bot or a colleague, who is told; it is recorded."""
    with deps.store.write() as session:
        access_conversation(session, agent, key)
        return _done(handoff.take_over_conversation(session, key, _in(session, agent), deps.clock()))


@router.post("/conversations/{conversation_id}/reply", status_code=201)
def reply(body: shapes.WritingIn, key: int = Depends(object_id), deps: DeskDeps = Depends(deps_of),
          agent: SupportAgent = Depends(auth.current_agent)) -> shapes.WrittenOut:
    """Write to the customer as the owner of the conversation."""
    with deps.store.write() as session:
        access_conversation(session, agent, key, acting=True)
        return _written(session, handoff.reply_to_customer(session, key, _in(session, agent), body.text, deps.clock(),
                                                           body.idempotency_key))


@router.post("/conversations/{conversation_id}/note", status_code=201)
def note(body: shapes.WritingIn, key: int = Depends(object_id), deps: DeskDeps = Depends(deps_of),
         agent: SupportAgent = Depends(auth.current_agent)) -> shapes.WrittenOut:
    """Leave a note for colleagues; it is never sent."""
    with deps.store.write() as session:
        access_conversation(session, agent, key)
        return _written(session, handoff.add_note(session, key, _in(session, agent), body.text, deps.clock(),
                                                  body.idempotency_key))


@router.post("/conversations/{conversation_id}/resolve")
def resolve(body: shapes.ResolveIn | None = None, key: int = Depends(object_id), deps: DeskDeps = Depends(deps_of),
            agent: SupportAgent = Depends(auth.current_agent)) -> shapes.ActionOut:
    """Close the conversation and its tickets; the customer is asked for a rating."""
    cause = (body or shapes.ResolveIn()).cause
    with deps.store.write() as session:
        access_conversation(session, agent, key, acting=True)
        return _done(handoff.resolve_conversation(session, key, _in(session, agent), deps.clock(), cause))


@router.post("/conversations/{conversation_id}/handback")
def hand_back(key: int = Depends(object_id), deps: DeskDeps = Depends(deps_of),
              agent: SupportAgent = Depends(auth.current_agent)) -> shapes.ActionOut:
    """Give the conversation back to the bot."""
    with deps.store.write() as session:
        access_conversation(session, agent, key, acting=True)
        return _done(handoff.hand_back_conversation(session, key, _in(session, agent), deps.clock()))


@router.post("/conversations/{conversation_id}/snooze")
def snooze(body: shapes.SnoozeIn | None = None, key: int = Depends(object_id), deps: DeskDeps = Depends(deps_of),
           agent: SupportAgent = Depends(auth.current_agent)) -> shapes.ActionOut:
    """Wait for the customer, or until a time."""
    until = body.until if body else None
    if until is not None and until.tzinfo is None:
        raise Invalid(field="until")
    with deps.store.write() as session:
        access_conversation(session, agent, key, acting=True)
        return _done(handoff.snooze_conversation(session, key, _in(session, agent), deps.clock(), until))


@router.post("/conversations/{conversation_id}/wake")
def wake(key: int = Depends(object_id), deps: DeskDeps = Depends(deps_of),
         agent: SupportAgent = Depends(auth.current_agent)) -> shapes.ActionOut:
    """Carry on with a snoozed conversation before its time."""
    with deps.store.write() as session:
        access_conversation(session, agent, key, acting=True)
        return _done(wake_conversation(session, key, _in(session, agent), deps.clock()))


@router.get("/conversations/{conversation_id}/transfer")
def targets(key: int = Depends(object_id), deps: DeskDeps = Depends(deps_of),
            agent: SupportAgent = Depends(auth.current_agent)) -> shapes.TargetsOut:
    """Whom the conversation can be passed on to, and what they have on their hands."""
    with deps.store.read() as session:
        found = transfer_targets(session, agent, access_conversation(session, agent, key))
    return shapes.TargetsOut(teams=[shapes.TeamTargetOut(**vars(team)) for team in found.teams],
                             agents=[shapes.AgentTargetOut(**vars(target)) for target in found.agents])


@router.post("/conversations/{conversation_id}/transfer")
def transfer(body: shapes.TransferIn, key: int = Depends(object_id), deps: DeskDeps = Depends(deps_of),
             agent: SupportAgent = Depends(auth.current_agent)) -> shapes.ActionOut:
    """Pass the conversation on to a colleague or a team, who are told; only its owner, its lead or a manager may."""
    with deps.store.write() as session:
        access_conversation(session, agent, key, acting=True)
        return _done(transfer_conversation(session, key, _in(session, agent), deps.clock(), note=body.note,
                                           to_agent_id=body.to_agent_id, to_team_id=body.to_team_id))


@router.post("/conversations/{conversation_id}/tickets/{ticket_id}/grade")
def grade(body: shapes.GradeIn, ticket_id: int, key: int = Depends(object_id), deps: DeskDeps = Depends(deps_of),
          agent: SupportAgent = Depends(auth.current_agent)) -> shapes.GradedOut:
    """Change a complaint's grade; a higher one tightens its promises, and a major one leaves the bot at once."""
    wanted = object_id(ticket_id)
    with deps.store.write() as session:
        access_conversation(session, agent, key)
        ticket = complaints.change_grade(session, key, wanted, _in(session, agent), body.grade, body.reason,
                                         deps.clock())
        return shapes.GradedOut(ticket=_ticket(ticket), conversation=_conversation(ticket.conversation))


@router.post("/conversations/{conversation_id}/tickets/{ticket_id}/proposal", status_code=201)
def propose(body: shapes.WritingIn, ticket_id: int, key: int = Depends(object_id), deps: DeskDeps = Depends(deps_of),
            agent: SupportAgent = Depends(auth.current_agent)) -> shapes.ProposedOut:
    """Write a proposal to the customer who complained; they are told once that there is one."""
    wanted = object_id(ticket_id)
    with deps.store.write() as session:
        access_conversation(session, agent, key, acting=True)
        ticket, message = complaints.send_proposal(session, key, wanted, _in(session, agent), body.text, deps.clock(),
                                                   body.idempotency_key)
        return shapes.ProposedOut(ticket=_ticket(ticket), message=_message(message, {}),
                                  conversation=_conversation(ticket.conversation))


@router.post("/conversations/{conversation_id}/messages/{message_id}/correction")
def correct(body: shapes.CorrectionIn, message_id: int, key: int = Depends(object_id),
            deps: DeskDeps = Depends(deps_of),
            agent: SupportAgent = Depends(auth.current_agent)) -> shapes.CorrectionOut:
    """Say whether the customer is angry in a message, and what it is about, where the bot read it otherwise."""
    said: dict[str, str | None] = {}
    if "angry" in body.__fields_set__:
        said["anger"] = None if body.angry is None else "angry" if body.angry else "calm"
    if "intent" in body.__fields_set__:
        said["intent"] = body.intent
    if not said:
        raise Invalid()
    message, now = object_id(message_id), deps.clock()
    with deps.store.write() as session:
        access_conversation(session, agent, key)
        for field, value in said.items():
            correct_message(session, key, message, _in(session, agent), field, value, now)
        return shapes.CorrectionOut(message_id=message,
                                    corrected=_corrected(corrections_of(session, key).get(message, {})))


def _in(session: Session, agent: SupportAgent) -> SupportAgent:
    found: SupportAgent = session.get(SupportAgent, agent.id)
    return found


def _done(conversation: Conversation) -> shapes.ActionOut:
    return shapes.ActionOut(conversation=_conversation(conversation))


def _written(session: Session, message: Message) -> shapes.WrittenOut:
    return shapes.WrittenOut(message=_message(message, {}),
                             conversation=_conversation(session.get(Conversation, message.conversation_id)))


def _agent(agent: SupportAgent) -> shapes.AgentOut:
    return shapes.AgentOut(
        id=agent.id, login=agent.login, name=agent.name, role=agent.role, team=agent.team.name,
        languages=list(agent.languages), capacity=agent.capacity, available=agent.available,
        interface_language="en" if agent.interface_language == "en" else "zh")


def _person(agent: SupportAgent | None) -> shapes.PersonOut | None:
    return None if agent is None else shapes.PersonOut(id=agent.id, name=agent.name)


def _conversation(c: Conversation) -> shapes.ConversationOut:
    return shapes.ConversationOut(
        id=c.id, status=c.status, version=c.version, owner="human" if c.status in ("open", "snoozed") else "bot",
        assignee=_person(c.assignee), channel=c.channel, language=c.language, anger=c.anger,
        customer_name=c.customer.name if c.customer else None, created_at=c.created_at, updated_at=c.updated_at,
        resolved_at=c.resolved_at)


def _corrected(said: Mapping[str, Corrected]) -> shapes.CorrectedOut:
    return shapes.CorrectedOut(angry=said["anger"].value == "angry" if "anger" in said else None,
                               intent=said["intent"].value if "intent" in said else None)


def _attachment(a: AttachmentRow) -> shapes.AttachmentOut:
    latitude, longitude = a.place or (None, None)
    return shapes.AttachmentOut(
        kind=a.kind, name=a.name, size=a.size, state=a.state, reason=a.reason, image=a.image,
        url=f"/desk/attachments/{a.token}" if a.file else None, latitude=latitude, longitude=longitude)


def _message(m: Message, corrected: Mapping[str, Corrected],
             sent: Sequence[AttachmentRow] = ()) -> shapes.MessageOut:
    read = panes.understood_of(m.understood) if m.understood else None
    return shapes.MessageOut(
        id=m.id, direction=m.direction, author=m.author, agent=_person(m.agent), text=m.text,
        buttons=[shapes.ButtonOut(title=str(b.get("title", "")), payload=str(b.get("payload", ""))) for b in m.buttons],
        created_at=m.created_at, anger=m.anger, valence=m.valence, delivery_state=m.delivery_state,
        attachments=[_attachment(each) for each in sent],
        corrected=_corrected(corrected), understood=None if read is None else shapes.UnderstoodOut(
            intent=m.intent, confidence=read.confidence, language=read.language,
            articles=[shapes.ArticleOut(slug=slug, score=score) for slug, score in read.articles]))


def _ticket(t: Ticket) -> shapes.TicketOut:
    return shapes.TicketOut(
        id=t.id, number=t.number, kind=t.kind, grade=t.grade, status=t.status, stage=t.stage, reason=t.reason,
        summary=t.summary,
        clocks=[shapes.ClockOut(promise=c.promise, due_at=c.due_at, state=c.state) for c in t.clocks])


def _customer(card: CustomerCard | None) -> shapes.CustomerOut | None:
    if card is None:
        return None
    return shapes.CustomerOut(
        id=card.id, number=card.number, name=card.name, tier=card.tier.code, language=card.language,
        points=card.points, spend_365_fen=card.spend_365_fen, phone=card.phone, email=card.email, address=card.address,
        orders=[shapes.OrderOut(number=o.number, status=o.status, total_fen=o.total_fen, placed_at=o.placed_at)
                for o in card.orders],
        complaints=[shapes.ComplaintOut(number=c.number, status=c.status, grade=c.grade, summary=c.summary,
                                        opened_at=c.opened_at) for c in card.complaints],
        mood=[shapes.MoodOut(day=day, anger=anger) for day, anger in card.mood], consents=card.consents,
        identities=[shapes.IdentityOut(channel=i.channel, external_id=i.external_id) for i in card.identities])

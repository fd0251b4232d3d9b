"""How agents and other programs are told beside the desk: each agent's own page, and the managers' webhooks."""
from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Form, Request, Response
from starlette.responses import RedirectResponse

from crm_store.errors import InvalidMessage, WrongState
from crm_store.models import NotificationDelivery, NotificationPreference, SupportAgent, Webhook
from crm_store.models.deliveries import DELIVERY_OUTCOMES, NOTICE_KINDS
from crm_store.queries.notifications import delivery_log, webhooks_with_state
from crm_store.services import notice_settings as chosen
from crm_store.services.deliveries import EMAIL, WEBHOOK, queue_test, send_again
from desk import auth
from desk.api import object_id
from desk.deps import DeskDeps, deps_of
from desk.filters import page_number
from desk.rendering import Reader, language_of, page, reader_for
from desk.routing import PageRoute
from desk.settings_areas import AREAS, GROUPS

router = APIRouter(route_class=PageRoute, include_in_schema=False)

MANAGERS = auth.at_least("manager")
OWN, HOOKS = "/desk/notifications", "/manage/webhooks"
DONE = ("saved", "test", "again", "waiting")
NO_KINDS: Any = Form([])


@dataclass(frozen=True)
class HookForm:
    """A webhook's form as it is shown, and what is wrong with it."""

    webhook_id: int | None
    name: str = ""
    url: str = ""
    kinds: tuple[str, ...] = ()
    active: bool = True
    problem: str = ""
    field: str = ""


def error_words(delivery: NotificationDelivery, reader: Reader) -> str:
    """Why a delivery did not arrive, as people read it."""
    code, _, more = (delivery.last_error or "").partition(": ")
    told = reader.known("notice_error", code)
    status = reader.say("sending_status", status=delivery.response_status) if delivery.response_status else ""
    details = " · ".join(each for each in (more, status) if each)
    return f"{told} ({details})" if told and details else told or status


@router.get(OWN)
def own_notifications(request: Request, done: str = "", deps: DeskDeps = Depends(deps_of),
                      agent: SupportAgent = Depends(auth.current_agent)) -> Response:
    """How the agent who asks is told when they are not looking."""
    with deps.store.read() as session:
        kept = session.get(NotificationPreference, agent.id)
    kinds = kept.email_kinds if kept else chosen.default_email_kinds(agent.role)
    return _own_page(request, deps, agent, kept.email or "" if kept else "", kinds, done=done,
                     address=bool(kept and kept.email))


@router.post(OWN)
def save_own(request: Request, email: str = Form(""), kinds: list[str] = NO_KINDS, deps: DeskDeps = Depends(deps_of),
             agent: SupportAgent = Depends(auth.current_agent)) -> Response:
    """Keep what the agent chose for themselves."""
    try:
        with deps.store.write() as session:
            chosen.save_preferences(session, agent, email=email, kinds=kinds, now=deps.clock())
    except InvalidMessage as error:
        return _own_page(request, deps, agent, email[:chosen.EMAIL_LENGTH], kinds, problem=str(error.data["field"]))
    return _to(OWN, "saved")


@router.post(f"{OWN}/test")
def test_own(deps: DeskDeps = Depends(deps_of), agent: SupportAgent = Depends(auth.current_agent)) -> Response:
    """Send the agent a mail that shows whether it arrives."""
    with deps.store.write() as session:
        queue_test(session, EMAIL, agent.id, deps.clock())
    return _to(OWN, "test")


@router.get(HOOKS)
def webhooks(request: Request, deps: DeskDeps = Depends(deps_of), agent: SupportAgent = Depends(MANAGERS)) -> Response:
    """Every webhook, and what was sent."""
    asked = request.query_params
    state = asked.get("state") if asked.get("state") in DELIVERY_OUTCOMES else None
    at = max(page_number(asked.get("page", "")), 1)
    with deps.store.read() as session:
        reader = reader_for(session, language_of(request, agent), deps.clock())
        found = delivery_log(session, state=state, page=at)
        sendings = [(row, error_words(row.delivery, reader)) for row in found.rows]
        return _manage(request, "webhooks.html", reader, agent, hooks=webhooks_with_state(session), found=found,
                       sendings=sendings, state=state or "", states=DELIVERY_OUTCOMES)


@router.get(f"{HOOKS}/new")
def new_webhook(request: Request, deps: DeskDeps = Depends(deps_of),
                agent: SupportAgent = Depends(MANAGERS)) -> Response:
    """The form of a new webhook."""
    return _hook_page(request, deps, agent, HookForm(None))


@router.post(f"{HOOKS}/new")
def create_webhook(request: Request, name: str = Form(""), url: str = Form(""), kinds: list[str] = NO_KINDS,
                   deps: DeskDeps = Depends(deps_of), agent: SupportAgent = Depends(MANAGERS)) -> Response:
    """Create a webhook; the page that answers is the only one that ever shows its secret."""
    try:
        with deps.store.write() as session:
            webhook = chosen.create_webhook(session, agent, name=name, url=url, kinds=kinds, now=deps.clock())
    except InvalidMessage as error:
        return _hook_page(request, deps, agent, HookForm(None, name, url, tuple(kinds), True, *_problem(error)))
    return _secret_page(request, deps, agent, webhook)


@router.get(f"{HOOKS}/{{webhook_id}}")
def webhook_page(request: Request, webhook_id: int, deps: DeskDeps = Depends(deps_of),
                 agent: SupportAgent = Depends(MANAGERS)) -> Response:
    """The form of one webhook."""
    with deps.store.read() as session:
        hook = chosen.find_webhook(session, object_id(webhook_id))
    return _hook_page(request, deps, agent, HookForm(hook.id, hook.name, hook.url, tuple(hook.kinds), hook.active))


@router.post(f"{HOOKS}/{{webhook_id}}")
def edit_webhook(request: Request, webhook_id: int, name: str = Form(""), url: str = Form(""),
                 kinds: list[str] = NO_KINDS, active: str = Form(""), deps: DeskDeps = Depends(deps_of),
                 agent: SupportAgent = Depends(MANAGERS)) -> Response:
    """Change a webhook, or switch it off."""
    on = active == "yes"
    try:
        with deps.store.write() as session:
            chosen.edit_webhook(session, object_id(webhook_id), agent, name=name, url=url, kinds=kinds, active=on,
                                now=deps.clock())
    except InvalidMessage as error:
        return _hook_page(request, deps, agent, HookForm(webhook_id, name, url, tuple(kinds), on, *_problem(error)))
    return _to(HOOKS, "saved")


@router.post(f"{HOOKS}/{{webhook_id}}/secret")
def rotate_secret(request: Request, webhook_id: int, deps: DeskDeps = Depends(deps_of),
                  agent: SupportAgent = Depends(MANAGERS)) -> Response:
    """Give a webhook a new secret, shown once."""
    with deps.store.write() as session:
        webhook = chosen.rotate_secret(session, object_id(webhook_id), agent, deps.clock())
    return _secret_page(request, deps, agent, webhook)


@router.post(f"{HOOKS}/{{webhook_id}}/test")
def test_webhook(webhook_id: int, deps: DeskDeps = Depends(deps_of),
                 agent: SupportAgent = Depends(MANAGERS)) -> Response:
    """Queue an event that shows whether the webhook works."""
    with deps.store.write() as session:
        queue_test(session, WEBHOOK, chosen.find_webhook(session, object_id(webhook_id)).id, deps.clock())
    return _to(HOOKS, "test")


@router.post(f"{HOOKS}/deliveries/{{delivery_id}}/again")
def again(delivery_id: int, state: str = Form(""), deps: DeskDeps = Depends(deps_of),
          agent: SupportAgent = Depends(MANAGERS)) -> Response:
    """Queue a delivery once more."""
    try:
        with deps.store.write() as session:
            send_again(session, object_id(delivery_id), agent, deps.clock())
    except WrongState:
        return _to(HOOKS, "waiting")
    return _to(HOOKS, "again", **({"state": state} if state in DELIVERY_OUTCOMES else {}))


def _to(path: str, done: str, **more: str) -> Response:
    return RedirectResponse(f"{path}?{urlencode({'done': done, **more})}", status_code=303)


def _problem(error: InvalidMessage) -> tuple[str, str]:
    """The word for what is wrong with a webhook, and the field."""
    field, reason = str(error.data["field"]), error.data["reason"]
    word = {"taken": "webhook_problem_url_taken", "too_many": "webhook_problem_many"}.get(reason)
    words = {"name": "webhook_problem_name", "url": "webhook_problem_url", "kinds": "notice_problem_kinds"}
    return word or words[field], field


def _own_page(request: Request, deps: DeskDeps, agent: SupportAgent, email: str, kinds: Any, *, problem: str = "",
              done: str = "", address: bool = False) -> Response:
    with deps.store.read() as session:
        reader = reader_for(session, language_of(request, agent), deps.clock())
    return page(request, "notifications.html", language=reader.language, reader=reader, agent=agent,
                email=email, kinds=NOTICE_KINDS, picked=kinds, problem=problem, mail=deps.mail, address=address,
                done=done if done in DONE else "", status_code=422 if problem else 200)


def _hook_page(request: Request, deps: DeskDeps, agent: SupportAgent, form: HookForm) -> Response:
    with deps.store.read() as session:
        reader = reader_for(session, language_of(request, agent), deps.clock())
    return _manage(request, "webhook.html", reader, agent, form=form, kinds=chosen.TOLD_KINDS,
                   status_code=422 if form.problem else 200)


def _secret_page(request: Request, deps: DeskDeps, agent: SupportAgent, webhook: Webhook) -> Response:
    with deps.store.read() as session:
        reader = reader_for(session, language_of(request, agent), deps.clock())
    return _manage(request, "webhook_secret.html", reader, agent, hook=webhook)


def _manage(request: Request, template: str, reader: Reader, agent: SupportAgent, **context: Any) -> Response:
    """A page of the console, with the settings' places beside it."""
    done = request.query_params.get("done", "")
    return page(request, template, language=reader.language, reader=reader, agent=agent, areas=AREAS, groups=GROUPS,
                said=f"notice_done_{done}" if done in DONE else "", **context)

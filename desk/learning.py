"""The learning queue: what the bot did not understand, to be labelled into training examples."""
from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Form, Request, Response
from sqlalchemy import select
from sqlalchemy.orm import Session
from starlette.responses import RedirectResponse

from crm_store.models import Message, SupportAgent
from crm_store.models.corrections import ANGER_VALUES
from crm_store.models.customers import LANGUAGES
from crm_store.queries.learning import KINDS, labelled, tally, worth_a_look
from crm_store.rules.intents import INTENTS
from crm_store.services import audit
from crm_store.services.access import access_conversation
from crm_store.services.corrections import label_message, withdraw_label
from desk import auth
from desk.api import object_id
from desk.deps import DeskDeps, deps_of
from desk.downloads import attachment
from desk.filters import day_begins, page_number
from desk.problems import Invalid, Missing
from desk.rendering import Reader, language_of, page, reader_for
from desk.routing import PageRoute
from desk.wording import WORDS

router = APIRouter(route_class=PageRoute, include_in_schema=False)

LEADS = auth.at_least("lead")
MANAGERS = auth.at_least("manager")
FIELDS = ("show", "kind", "language", "intent", "since", "until")
PERIOD = timedelta(days=30)
LONGEST_FIELD = 60
KIND_WORDS = {"out_of_scope": "worth_out_of_scope", "unsure": "worth_unsure", "asked_back": "worth_asked_back",
              "stuck": "worth_stuck", "anger": "worth_anger", "corrected": "worth_corrected"}
INTENT_CHOICES = {name: " / ".join(WORDS[f"intent_{name}"]) for name in INTENTS}
"""How each intent reads where it is searched for: in both languages."""
EXAMPLES = {"intents_zh.yml": "nlu/zh/corrections.yml", "intents_en.yml": "nlu/en/corrections.yml",
            "moods_zh.jsonl": "zh.jsonl", "moods_en.jsonl": "en.jsonl"}
"""What is downloaded, by its name, and where the command writes the same."""
EXAMPLE_WORDS = {"intents_zh.yml": "file_intents_zh", "intents_en.yml": "file_intents_en",
                 "moods_zh.jsonl": "file_moods_zh", "moods_en.jsonl": "file_moods_en"}

_INTENT_NAMED = {said.casefold(): name for name in INTENTS
                 for said in (name, INTENT_CHOICES[name], *WORDS[f"intent_{name}"])}


@dataclass
class Search:
    """Which messages to show: ``given`` as it was asked for, ``wanted`` as the store is asked, ``bad`` left out."""

    given: dict[str, str]
    wanted: dict[str, Any] = field(default_factory=dict)
    bad: list[str] = field(default_factory=list)
    page: int = 1

    @property
    def is_done(self) -> bool:
        """Whether what was decided is shown, and not what waits."""
        return self.given["show"] == "done"

    def query(self, **more: Any) -> str:
        """The search as the query of an address; an emptied first day stays empty, it does not fall back."""
        kept = {name: value for name, value in self.given.items() if value or name == "since"}
        return urlencode({**kept, "page": self.page, **more})


def read_search(parameters: Mapping[str, str], reader: Reader) -> Search:
    """Read the filters; one that cannot be read is left out and named. Without a period, the last 30 days are shown."""
    given = {name: parameters.get(name, "").strip()[:LONGEST_FIELD] for name in FIELDS}
    if "since" not in parameters:
        given["since"] = (reader.local(reader.now) - PERIOD).date().isoformat()
    search = Search(given, page=page_number(parameters.get("page", "")))
    for name, values in (("kind", KINDS), ("language", LANGUAGES), ("intent", INTENTS)):
        if given[name] in values:
            search.wanted[name] = given[name]
        elif given[name]:
            search.bad.append(name)
    for name, days in (("since", 0), ("until", 1)):
        try:
            if given[name]:
                search.wanted[name] = day_begins(given[name], reader, later=days)
        except (ValueError, OverflowError):
            search.bad.append(name)
    return search


@router.get("/manage/learning")
def learning(request: Request, done: str = "", deps: DeskDeps = Depends(deps_of),
             agent: SupportAgent = Depends(LEADS)) -> Response:
    """What waits for somebody to say what it is, or what was decided."""
    with deps.store.read() as session:
        reader = reader_for(session, language_of(request, agent), deps.clock())
        search = read_search(request.query_params, reader)
        looks, labels, pages = None, None, 1
        if search.is_done:
            labels, pages = labelled(session, agent, page=search.page)
        else:
            looks = worth_a_look(session, agent, **search.wanted, page=search.page)
            pages = looks.pages
        counts = tally(session)
    search.page = min(max(search.page, 1), pages)
    return page(request, "learning.html", language=reader.language, reader=reader, agent=agent, search=search,
                looks=looks, labels=labels, pages=pages, tally=counts, kinds=KIND_WORDS, intents=INTENT_CHOICES,
                languages=LANGUAGES, examples=EXAMPLE_WORDS, said=_id(done),
                may_export=agent.is_at_least("manager"))


def _id(text: str) -> int | None:
    return int(text) if re.fullmatch(r"[0-9]{1,18}", text) and int(text) else None


@router.post("/manage/learning/{message_id}")
def label(request: Request, message_id: int, verdict: str = Form(""), pick: str = Form(""), intent: str = Form(""),
          mood: str = Form(""), deps: DeskDeps = Depends(deps_of), agent: SupportAgent = Depends(LEADS)) -> Response:
    """Decide what a text teaches, or that it teaches nothing; then back to the queue."""
    key, now = object_id(message_id), deps.clock()
    # Enter in the search presses the form's first button: what was typed counts before what was pressed.
    named, anger = (None, None) if verdict == "dismiss" else _decision(intent.strip() or pick, mood)
    with deps.store.write() as session:
        label_message(session, _conversation_of(session, agent, key), key, session.get(SupportAgent, agent.id),
                      intent=named, anger=anger, now=now)
    return _back(request, done=key)


@router.post("/manage/learning/{message_id}/undo")
def undo(request: Request, message_id: int, deps: DeskDeps = Depends(deps_of),
         agent: SupportAgent = Depends(LEADS)) -> Response:
    """Take a decision back; the text waits again."""
    key, now = object_id(message_id), deps.clock()
    with deps.store.write() as session:
        withdraw_label(session, _conversation_of(session, agent, key), key, session.get(SupportAgent, agent.id), now)
    return _back(request)


@router.get("/manage/learning/examples/{name}")
def examples(name: str, deps: DeskDeps = Depends(deps_of), agent: SupportAgent = Depends(MANAGERS)) -> Response:
    """What the next training learns from people, as ``python -m warmline corrections`` writes it. It is recorded."""
    if name not in EXAMPLES:
        raise Missing()
    text = deps.examples().get(EXAMPLES[name], "")
    with deps.store.write() as session:
        audit.record(session, actor_kind="agent", actor_id=agent.id, action="export", object_kind="training_examples",
                     object_id=name, now=deps.clock())
    kind = "application/yaml" if name.endswith(".yml") else "application/x-ndjson"
    return Response(text.encode(), media_type=f"{kind}; charset=utf-8", headers=attachment(f"warmline_{name}"))


def _decision(intent: str, mood: str) -> tuple[str | None, str | None]:
    """What a form says of a text: an intent by any of its names, and a mood.

    Raises:
        Invalid: there is no such intent or mood, or nothing is said at all.
    """
    named = _INTENT_NAMED.get(intent.casefold())
    if intent and named is None:
        raise Invalid(field="intent")
    if mood not in ("", *ANGER_VALUES) or (named is None and not mood):
        raise Invalid(field="mood")
    return named, mood or None


def _conversation_of(session: Session, agent: SupportAgent, message_id: int) -> int:
    """The conversation of a message, if this agent may see it."""
    conversation_id = session.execute(select(Message.conversation_id).where(Message.id == message_id)).scalar()
    if conversation_id is None:
        raise Missing()
    return int(access_conversation(session, agent, conversation_id).id)


def _back(request: Request, **more: Any) -> Response:
    kept = {name: request.query_params[name][:LONGEST_FIELD] for name in (*FIELDS, "page")
            if name in request.query_params}
    return RedirectResponse(f"/manage/learning?{urlencode({**kept, **more})}", status_code=303)

"""The learning queue: what customers wrote that the bot may have read wrong, each text once, and what was decided."""
from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy import select
from sqlalchemy.orm import Session, aliased

from crm_store.models import Conversation, Correction, Customer, Escalation, Label, Message, SupportAgent, Tier
from crm_store.rules.escalation import DEFAULT_THRESHOLDS
from crm_store.rules.intents import INTENTS
from crm_store.rules.learning import text_key
from crm_store.rules.personal_data import mask
from crm_store.rules.text import language_of
from crm_store.services.access import visible_to

KINDS = ("out_of_scope", "unsure", "asked_back", "stuck", "anger", "corrected")
OUT_OF_SCOPE = "out_of_scope"
LOW_CONFIDENCE = 0.5
"""An intent read with less than this is worth a look."""
BORDERLINE = 0.1
"""Anger this near to the threshold that calls a person is worth a look."""
MOST_READ = 2000
"""So many messages, the newest, are looked through at once."""
MOST_LOOKED_UP = 30
SUGGESTED = 4
GUEST_TIER = "silver"
UNTOLD = frozenset({OUT_OF_SCOPE, "affirm", "deny", "greet", "thank", "goodbye", "inform", "request_human"})
"""What customers say next that tells nothing of what they had meant."""

_OPTION = re.compile(r'/(\w+)\{"about": ([0-9]{1,18})\}')


@dataclass(frozen=True)
class Said:
    """What an agent said of one of the messages."""

    field: str
    value: str
    agent_name: str


@dataclass(frozen=True)
class Look:
    """A text worth a look. Everything about one message is about the newest of those that say the same.

    ``text`` is masked, as it would be learnt. ``kinds`` are those of any of the messages, ``suggestions`` intents, the
    likeliest first, ``pressed`` the intent that a customer chose when asked back.
    """

    message_id: int
    conversation_id: int
    text: str
    language: str
    at: datetime
    count: int
    kinds: tuple[str, ...]
    intent: str | None
    confidence: float | None
    anger: float | None
    tier: str
    said: tuple[Said, ...]
    options: tuple[str, ...]
    pressed: str | None
    suggestions: tuple[str, ...]


@dataclass(frozen=True)
class LookPage:
    """One page of the queue. ``total`` counts texts; ``is_cut`` tells that older messages were not looked through."""

    rows: tuple[Look, ...]
    total: int
    page: int
    pages: int
    is_cut: bool


@dataclass(frozen=True)
class Labelled:
    """A label with its message; ``intent`` and ``anger`` are both None where it is not worth learning."""

    message_id: int
    conversation_id: int
    text: str
    intent: str | None
    anger: str | None
    agent_name: str
    at: datetime
    exported_at: datetime | None


@dataclass(frozen=True)
class Tally:
    """How many labels wait for the next training, how many it has had, and how many texts were put aside."""

    waiting: int
    exported: int
    dismissed: int


@dataclass
class _Group:
    rows: list[Any] = field(default_factory=list)


def worth_a_look(session: Session, agent: SupportAgent, *, kind: str | None = None, language: str | None = None,
                 intent: str | None = None, since: datetime | None = None, until: datetime | None = None,
                 page: int = 1, per_page: int = 20) -> LookPage:
    """Texts that nobody has decided on yet, in conversations that this agent may see, the newest first.

    Args:
        session: any session.
        agent: who asks; check the role before.
        kind: one of :data:`KINDS`, or all.
        language: "zh" or "en".
        intent: what the bot read.
        since: the first moment to look at, included.
        until: the last, not included.
        page: from 1.
        per_page: how many texts.
    """
    rows = session.execute(_candidates(agent, kind, intent, since, until)).all()
    decided = set(session.execute(select(Label.key)).scalars())
    groups: dict[str, _Group] = {}
    for row in rows:
        key = text_key(row.text)
        if key not in decided and language in (None, language_of(row.text) or row.language):
            groups.setdefault(key, _Group()).rows.append(row)
    pages = max(1, -(-len(groups) // per_page))
    page = min(max(page, 1), pages)
    shown = [group.rows for group in list(groups.values())[(page - 1) * per_page:page * per_page]]
    return LookPage(tuple(_looks(session, shown)), len(groups), page, pages, len(rows) == MOST_READ)


def labelled(session: Session, agent: SupportAgent, *, page: int = 1, per_page: int = 20) -> tuple[list[Labelled], int]:
    """What was decided in conversations that this agent may see, the newest first, and on how many pages."""
    wanted = (select(Label, Message, SupportAgent.name).join(Message, Message.id == Label.message_id)
              .join(Conversation, Conversation.id == Message.conversation_id)
              .outerjoin(Customer, Customer.id == Conversation.customer_id)
              .join(SupportAgent, SupportAgent.id == Label.agent_id).where(visible_to(agent), _LIVING))
    total = session.execute(select(sa.func.count()).select_from(wanted.subquery())).scalar_one()
    pages = max(1, -(-total // per_page))
    rows = session.execute(wanted.order_by(Label.labelled_at.desc(), Label.id.desc())
                           .offset((min(max(page, 1), pages) - 1) * per_page).limit(per_page)).all()
    return [Labelled(message.id, message.conversation_id, mask(message.text), label.intent, label.anger, name,
                     label.labelled_at, label.exported_at) for label, message, name in rows], pages


def tally(session: Session) -> Tally:
    """How far the labels are."""
    learnt = sa.or_(Label.intent.is_not(None), Label.anger.is_not(None))
    counts = [session.execute(select(sa.func.count()).select_from(Label).where(*conditions)).scalar_one()
              for conditions in ((learnt, Label.exported_at.is_(None)), (learnt, Label.exported_at.is_not(None)),
                                 (~learnt,))]
    return Tally(*counts)


_LIVING = sa.or_(Customer.id.is_(None), Customer.erased_at.is_(None))
_CONFIDENCE = Message.understood["confidence"].as_float()


def _kinds() -> dict[str, Any]:
    reply = aliased(Message)
    route = sa.func.coalesce(Tier.anger_route, DEFAULT_THRESHOLDS.route)
    return {
        "out_of_scope": Message.intent == OUT_OF_SCOPE,
        "unsure": sa.and_(Message.intent != OUT_OF_SCOPE, _CONFIDENCE < LOW_CONFIDENCE),
        "asked_back": sa.exists().where(
            reply.in_reply_to_id == Message.id,
            sa.cast(reply.buttons, sa.Text).contains('{\\"about\\"', autoescape=True)).correlate(Message),
        "stuck": sa.exists().where(
            Escalation.message_id == Message.id, Escalation.reason == "stuck").correlate(Message),
        "anger": sa.func.abs(Message.anger - route) <= BORDERLINE,
        "corrected": sa.exists().where(Correction.message_id == Message.id).correlate(Message),
    }


def _candidates(agent: SupportAgent, kind: str | None, intent: str | None, since: datetime | None,
                until: datetime | None) -> Any:
    kinds = _kinds()
    wanted = (
        select(Message.id, Message.text, Message.conversation_id, Message.created_at, Message.intent, Message.anger,
               _CONFIDENCE.label("confidence"), Conversation.language,
               sa.func.coalesce(Customer.tier_code, GUEST_TIER).label("tier"),
               *(condition.label(f"is_{name}") for name, condition in kinds.items()))
        .join(Conversation, Conversation.id == Message.conversation_id)
        .outerjoin(Customer, Customer.id == Conversation.customer_id)
        .outerjoin(Tier, Tier.code == sa.func.coalesce(Customer.tier_code, GUEST_TIER))
        .where(Message.direction == "incoming", Message.payload.is_(None), Message.text != "", visible_to(agent),
               _LIVING, kinds[kind] if kind else sa.or_(*kinds.values()))
        .order_by(Message.id.desc()).limit(MOST_READ))
    if intent is not None:
        wanted = wanted.where(Message.intent == intent)
    if since is not None:  # a conversation is as new as its newest message, and that is indexed
        wanted = wanted.where(Conversation.updated_at >= since, Message.created_at >= since)
    if until is not None:
        wanted = wanted.where(Message.created_at < until)
    return wanted


def _looks(session: Session, groups: Sequence[Sequence[Any]]) -> list[Look]:
    ids = [row.id for group in groups for row in group[:MOST_LOOKED_UP]]
    talks = {row.conversation_id for group in groups for row in group[:MOST_LOOKED_UP]}
    said, options = _said(session, ids), _options(session, ids)
    pressed, following = _answers(session, talks)
    rankings = _rankings(session, ids)
    looks = []
    for group in groups:
        newest, members = group[0], [row.id for row in group[:MOST_LOOKED_UP]]
        offered = tuple(dict.fromkeys(intent for each in members for intent in options.get(each, ())))
        chosen = next((pressed[each] for each in members if each in pressed), None)
        agents = tuple(told for each in members for told in said.get(each, ()))
        corrected = [told.value for told in agents if told.field == "intent"]
        meant = next((intent for at, intent in following.get(newest.conversation_id, ()) if at > newest.id), None)
        thought = [intent for each in members for intent in rankings.get(each, ())]
        likely = [*corrected, chosen, *offered, meant, *(row.intent for row in group), *thought]
        looks.append(Look(
            newest.id, newest.conversation_id, mask(newest.text), language_of(newest.text) or newest.language,
            newest.created_at, len(group),
            tuple(name for name in KINDS if any(getattr(row, f"is_{name}") for row in group)),
            newest.intent, newest.confidence, newest.anger, newest.tier, agents, offered, chosen,
            _suggested(likely)))
    return looks


def _suggested(likely: Iterable[str | None]) -> tuple[str, ...]:
    known = [intent for intent in dict.fromkeys(likely) if intent in INTENTS]
    known.sort(key=OUT_OF_SCOPE.__eq__)  # that the bot did not know is the least likely to be right
    return tuple(known[:SUGGESTED])


def _said(session: Session, ids: Sequence[int]) -> dict[int, list[Said]]:
    rows = session.execute(
        select(Correction.message_id, Correction.field, Correction.value, SupportAgent.name)
        .join(SupportAgent, SupportAgent.id == Correction.agent_id).where(Correction.message_id.in_(ids))
        .order_by(Correction.corrected_at.desc(), Correction.id.desc())).all()
    found: dict[int, list[Said]] = {}
    for message_id, name, value, agent_name in rows:
        found.setdefault(message_id, []).append(Said(name, value, agent_name))
    return found


def _rankings(session: Session, ids: Sequence[int]) -> dict[int, list[str]]:
    """The intents that the bot thought likeliest, by message."""
    rows = session.execute(select(Message.id, Message.understood).where(Message.id.in_(ids))).all()
    return {row.id: [str(intent) for intent in (row.understood or {}).get("ranking") or ()] for row in rows}


def _options(session: Session, ids: Sequence[int]) -> dict[int, list[str]]:
    """The intents that the bot offered when it asked back, by the message it asked about."""
    found: dict[int, list[str]] = {}
    for asked, buttons in session.execute(
            select(Message.in_reply_to_id, Message.buttons).where(Message.in_reply_to_id.in_(ids))
            .order_by(Message.id)).all():
        for button in buttons or ():
            option = _OPTION.fullmatch(str(button.get("payload")))
            if option and int(option[2]) == asked:
                found.setdefault(asked, []).append(option[1])
    return found


def _answers(session: Session, talks: Iterable[int]) -> tuple[dict[int, str], dict[int, list[tuple[int, str]]]]:
    """What was pressed, by the message that was asked about, and what was clearly said, by conversation."""
    pressed: dict[int, str] = {}
    following: dict[int, list[tuple[int, str]]] = {}
    for row in session.execute(
            select(Message.id, Message.conversation_id, Message.payload, Message.intent,
                   _CONFIDENCE.label("confidence"))
            .where(Message.conversation_id.in_(sorted(talks)), Message.direction == "incoming").order_by(Message.id)):
        option = _OPTION.fullmatch(row.payload or "")
        if option:
            pressed[int(option[2])] = option[1]
        elif row.intent and row.intent not in UNTOLD and (row.confidence or 0) >= LOW_CONFIDENCE:
            following.setdefault(row.conversation_id, []).append((row.id, row.intent))
    return pressed, following

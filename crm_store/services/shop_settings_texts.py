"""Changes what agents insert and what the bot answers from: macros and knowledge articles."""
from __future__ import annotations

import re
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from crm_store.errors import InvalidMessage
from crm_store.models import KnowledgeArticle, Macro, SupportAgent
from crm_store.rules.intents import INTENTS
from crm_store.rules.text import clean_text
from crm_store.services.knowledge import questions_of, save_article
from crm_store.services.shop_settings import (
    Checked,
    Snapshot,
    Values,
    changes,
    fields_of,
    keep,
    locked,
    record_change,
    refuse_stale,
    require_role,
    taken,
    to_change,
)

PLACEHOLDERS = ("customer_name", "agent_name", "ticket_number", "order_number")
EMOTIONS = ("angry", "watch", "worried", "sad")
TITLE_LIMIT, MACRO_LIMIT = 120, 2000
ARTICLE_TITLE_LIMIT, BODY_LIMIT = 200, 5000
QUESTIONS, QUESTION_LIMIT = 30, 200
MACRO_FIELDS = ("title_zh", "title_en", "text_zh", "text_en", "emotion")
_BRACES = re.compile(r"\{[^{}]*\}|[{}]")


def macro_snapshot(macro: Macro) -> Snapshot:
    """A macro's fields."""
    return fields_of(macro, MACRO_FIELDS)


def article_snapshot(session: Session, article: KnowledgeArticle) -> Snapshot:
    """An article's fields and the questions it is found by."""
    plain = fields_of(article, ("slug", "intent", "title_zh", "title_en", "body_zh", "body_en", "published"))
    return {**plain, "questions_zh": questions_of(session, article, "zh"),
            "questions_en": questions_of(session, article, "en")}


def save_macro(session: Session, agent: SupportAgent, key: int | None, values: Values, version: str | None,
               now: datetime) -> Macro:
    """Create (``key`` None) or change a macro.

    Raises:
        InvalidSettings: a field cannot be accepted, such as a placeholder that nothing fills in.
        ChangedMeanwhile: it was changed since ``version`` was read.
        NotFound: there is no such macro.
        NotAllowed: the agent is no manager.
    """
    require_role(agent, "manager")
    macro, before = to_change(session, Macro, key, version, macro_snapshot)
    checked = Checked(values)
    columns: dict[str, Any] = {
        **{name: checked.text(name, TITLE_LIMIT) for name in ("title_zh", "title_en")},
        **{name: checked.text(name, MACRO_LIMIT, lines=True) for name in ("text_zh", "text_en")},
        "emotion": checked.one_of("emotion", EMOTIONS, optional=True)}
    for name in ("text_zh", "text_en"):
        wrong = [found for found in _BRACES.findall(columns[name]) if found[1:-1] not in PLACEHOLDERS]
        if wrong:
            checked.refuse(name, "placeholder", given=wrong[0][:40])
    checked.done()
    for name, value in columns.items():
        setattr(macro, name, value)
    if key is None:
        macro.code = _free_code(session, macro.title_en)
    keep(session, agent, "macro", macro, before, macro_snapshot, now, unique="title_en")
    return macro


def delete_macro(session: Session, agent: SupportAgent, key: int, version: str, now: datetime) -> None:
    """Delete a macro; the audit log keeps what it said.

    Raises:
        ChangedMeanwhile: it was changed since ``version`` was read.
        NotFound: there is no such macro.
        NotAllowed: the agent is no manager.
    """
    require_role(agent, "manager")
    macro, before = to_change(session, Macro, key, version, macro_snapshot)
    session.delete(macro)
    record_change(session, agent, "delete", "macro", key, changes(before, {}), now)


def change_article(session: Session, agent: SupportAgent, key: int | None, values: Values, version: str | None,
                   now: datetime) -> KnowledgeArticle:
    """Create (``key`` None) or change an article; its slug never changes. The encoder reads it anew afterwards.

    Raises:
        InvalidSettings: a field cannot be accepted.
        ChangedMeanwhile: it was changed since ``version`` was read.
        NotFound: there is no such article.
        NotAllowed: the agent is no manager.
    """
    require_role(agent, "manager")
    before: Snapshot = {}
    if key is not None:
        article: KnowledgeArticle = locked(session, KnowledgeArticle, key)
        before = article_snapshot(session, article)
        values = {**values, "slug": article.slug}
    refuse_stale(before, version if before else None)
    columns = _check_article(session, values, key)
    if columns == before:
        return article
    article = save_article(session, **columns, now=now)
    # a question that is also the title or a sentence is kept as that, and questions are read back without it
    changed = changes(before, article_snapshot(session, article))
    if changed:
        record_change(session, agent, "change" if before else "create", "article", article.id, changed, now)
    return article


def _check_article(session: Session, values: Values, key: int | None) -> dict[str, Any]:
    checked = Checked(values)
    columns: dict[str, Any] = {
        "slug": checked.code("slug", r"[a-z0-9][a-z0-9-]*", 80), "intent": checked.one_of("intent", tuple(INTENTS)),
        **{name: checked.text(name, ARTICLE_TITLE_LIMIT) for name in ("title_zh", "title_en")},
        **{name: checked.text(name, BODY_LIMIT, lines=True) for name in ("body_zh", "body_en")},
        "published": checked.flag("published"),
        **{name: _questions(checked, name) for name in ("questions_zh", "questions_en")}}
    if columns["slug"] and taken(session, KnowledgeArticle.slug, columns["slug"], key):
        checked.refuse("slug", "taken")
    checked.done()
    return columns


def _questions(checked: Checked, name: str) -> list[str]:
    given = checked.values.get(name) or ()
    if len(given) > QUESTIONS:
        checked.refuse(name, "too_many", limit=QUESTIONS)
        return []
    questions: list[str] = []
    for line in given:
        try:
            questions.append(" ".join(clean_text(line, QUESTION_LIMIT).split()))
        except InvalidMessage as error:
            if error.data["reason"] != "empty":
                checked.refuse(name, "line_too_long", limit=QUESTION_LIMIT)
    return list(dict.fromkeys(questions))


def _free_code(session: Session, title: str) -> str:
    """A code for a new macro, made of its English title."""
    stem = re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")[:30] or "macro"
    used = set(session.execute(select(Macro.code).where(Macro.code.like(f"{stem}%"))).scalars())
    return next(code for code in (stem, *(f"{stem}-{number}" for number in range(2, 10_000))) if code not in used)

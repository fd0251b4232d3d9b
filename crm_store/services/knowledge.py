"""Saves knowledge articles and keeps the passages by which they are found."""
from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime

import numpy as np
import numpy.typing as npt
import sqlalchemy as sa
from sqlalchemy import select
from sqlalchemy.orm import Session

from crm_store.models import ArticlePassage, KnowledgeArticle

_SENTENCE_END = re.compile(r"(?<=[。！？!?；;])\s*|(?<=\.)\s+|\n+")
SHORTEST_SENTENCE = 4  # signs; "可以。" alone finds nothing


def save_article(
    session: Session, *, slug: str, intent: str, title_zh: str, title_en: str, body_zh: str, body_en: str,
    now: datetime, questions_zh: Sequence[str] | None = None, questions_en: Sequence[str] | None = None,
    published: bool = True,
) -> KnowledgeArticle:
    """Create or change the article ``slug`` and write its passages anew: the title, each question, each sentence.

    The new passages have no vector until the encoder reads them. Questions live only as passages: None keeps those
    the article has.

    Args:
        session: the unit of work.
        slug: the article's name.
        intent: the intent it answers best.
        title_zh: its title in Chinese.
        title_en: its title in English.
        body_zh: its answer in Chinese.
        body_en: its answer in English.
        now: when it is saved.
        questions_zh: how customers ask for it in Chinese.
        questions_en: how customers ask for it in English.
        published: whether customers get it.
    """
    article: KnowledgeArticle | None = session.execute(
        select(KnowledgeArticle).where(KnowledgeArticle.slug == slug).with_for_update(key_share=True)
    ).scalar_one_or_none()
    if article is None:
        article = KnowledgeArticle(slug=slug)
        session.add(article)
    kept = {"zh": questions_zh, "en": questions_en}
    for language, given in kept.items():
        if given is None:
            kept[language] = questions_of(session, article, language) if article.id else []
    article.intent, article.published, article.updated_at = intent, published, now
    article.title_zh, article.title_en, article.body_zh, article.body_en = title_zh, title_en, body_zh, body_en
    session.flush()
    old = session.execute(select(ArticlePassage.id).where(ArticlePassage.article_id == article.id)).scalars().all()
    for language, title, body in (("zh", title_zh, body_zh), ("en", title_en, body_en)):
        texts = dict.fromkeys(text.strip() for text in (title, *(kept[language] or ()), *sentences(body)))
        session.add_all(ArticlePassage(article_id=article.id, language=language, text=text) for text in texts if text)
    # The new ones are in before the old ones go, so that SQLite gives no id a second time: an encoder that is reading
    # the old passages now finds them gone, and its vectors do not end up on other texts.
    session.flush()
    if old:
        session.execute(sa.delete(ArticlePassage).where(ArticlePassage.id.in_(old))
                        .execution_options(synchronize_session=False))
        session.expire(article, ["passages"])
    return article


def questions_of(session: Session, article: KnowledgeArticle, language: str) -> list[str]:
    """The questions by which an article is found: its passages that are neither its title nor a sentence of it."""
    title, body = (article.title_zh, article.body_zh) if language == "zh" else (article.title_en, article.body_en)
    others = {title.strip(), *sentences(body)}
    stored = session.execute(
        select(ArticlePassage.text).where(ArticlePassage.article_id == article.id, ArticlePassage.language == language)
        .order_by(ArticlePassage.id)
    ).scalars()
    return [text for text in stored if text not in others]


def sentences(body: str) -> list[str]:
    """The sentences of an answer, in either language, without those too short to say anything."""
    parts = (part.strip() for part in _SENTENCE_END.split(body))
    return [part for part in parts if len(part) >= SHORTEST_SENTENCE]


def passages_without_vector(session: Session, encoder: str, limit: int | None = None) -> list[ArticlePassage]:
    """Passages that ``encoder`` has not read yet, the oldest first; those another encoder has read included.

    Args:
        session: any session.
        encoder: the encoder's name.
        limit: how many to give at most; all where it is left out.
    """
    return list(session.execute(
        select(ArticlePassage)
        .where(sa.or_(ArticlePassage.vector.is_(None), ArticlePassage.encoder.is_(None),
                      ArticlePassage.encoder != encoder))
        .order_by(ArticlePassage.id).limit(limit)
    ).scalars())


def store_vectors(session: Session, vectors: Mapping[int, npt.ArrayLike], encoder: str) -> None:
    """Store what ``encoder`` made of passages, by their id; passages that are gone are left out.

    Args:
        session: the unit of work.
        vectors: a vector of unit length for each passage.
        encoder: the encoder's name, at most 16 signs.
    """
    for passage_id, vector in vectors.items():
        session.execute(
            sa.update(ArticlePassage).where(ArticlePassage.id == passage_id)
            .values(vector=np.asarray(vector, dtype="<f4").tobytes(), encoder=encoder)
            .execution_options(synchronize_session=False)
        )

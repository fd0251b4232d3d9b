"""Knowledge articles by name and topic, and the index of their passages by meaning."""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import sqlalchemy as sa
from sqlalchemy import select
from sqlalchemy.orm import Session

from crm_store.models import ArticlePassage, KnowledgeArticle

DIMENSIONS = 384


@dataclass(frozen=True)
class PassageIndex:
    """Every passage an encoder has read. Row ``i`` of ``matrix`` (float32, unit length) is that of ``texts[i]``."""

    slugs: list[str]
    languages: list[str]
    intents: list[str]
    texts: list[str]
    matrix: npt.NDArray[np.float32]


def passage_vectors(session: Session, encoder: str) -> PassageIndex:
    """The passages of all published articles that ``encoder`` has read; a matrix of shape (0, 384) for none."""
    rows = session.execute(
        select(KnowledgeArticle.slug, ArticlePassage.language, KnowledgeArticle.intent, ArticlePassage.text,
               ArticlePassage.vector)
        .join(ArticlePassage, ArticlePassage.article_id == KnowledgeArticle.id)
        .where(KnowledgeArticle.published.is_(True), ArticlePassage.encoder == encoder,
               ArticlePassage.vector.is_not(None))
        .order_by(ArticlePassage.id)
    ).all()
    joined = b"".join(bytes(vector) for *_, vector in rows)
    matrix = np.frombuffer(joined, dtype="<f4").astype(np.float32).reshape(len(rows), -1 if rows else DIMENSIONS)
    return PassageIndex(slugs=[row[0] for row in rows], languages=[row[1] for row in rows],
                        intents=[row[2] for row in rows], texts=[row[3] for row in rows], matrix=matrix)


def passages_mark(session: Session, encoder: str) -> tuple[object, ...]:
    """What differs as soon as ``passage_vectors`` gives something else, for a thousandth of its price."""
    return tuple(session.execute(
        select(sa.func.count(), sa.func.max(ArticlePassage.id), sa.func.max(KnowledgeArticle.updated_at))
        .join(ArticlePassage, ArticlePassage.article_id == KnowledgeArticle.id)
        .where(KnowledgeArticle.published.is_(True), ArticlePassage.encoder == encoder,
               ArticlePassage.vector.is_not(None))
    ).one())


def article(session: Session, slug: str) -> KnowledgeArticle | None:
    """The published article of that name, or None."""
    return articles(session, [slug]).get(slug)


def articles(session: Session, slugs: Sequence[str]) -> dict[str, KnowledgeArticle]:
    """The published articles among ``slugs``, by their slug."""
    found = session.execute(
        select(KnowledgeArticle).where(KnowledgeArticle.slug.in_(list(slugs)), KnowledgeArticle.published.is_(True)))
    return {each.slug: each for each in found.scalars()}


def articles_about(session: Session, intent: str) -> list[KnowledgeArticle]:
    """The published articles that answer an intent, by slug."""
    return list(session.execute(
        select(KnowledgeArticle).where(KnowledgeArticle.intent == intent, KnowledgeArticle.published.is_(True))
        .order_by(KnowledgeArticle.slug)
    ).scalars())

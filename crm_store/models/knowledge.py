"""Knowledge articles and their passages, searchable by meaning; macros and empathy phrases for agents."""
from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.orm import relationship

from crm_store.database import UtcDateTime
from crm_store.models.base import Base, Id, one_of, reference
from crm_store.models.customers import LANGUAGES


class KnowledgeArticle(Base):
    """An answer of the shop, in both languages. ``intent`` is the question it answers best."""

    __tablename__ = "knowledge_articles"
    id = sa.Column(Id, primary_key=True)
    slug = sa.Column(sa.String(80), nullable=False, unique=True)
    intent = sa.Column(sa.String(60), nullable=False, index=True)
    title_zh = sa.Column(sa.String(200), nullable=False)
    title_en = sa.Column(sa.String(200), nullable=False)
    body_zh = sa.Column(sa.Text, nullable=False)
    body_en = sa.Column(sa.Text, nullable=False)
    published = sa.Column(sa.Boolean, nullable=False, default=True)
    updated_at = sa.Column(UtcDateTime, nullable=False)
    passages = relationship("ArticlePassage", back_populates="article", cascade="all, delete-orphan")


class ArticlePassage(Base):
    """A text by which an article is found (title, question or body), with its vector once the encoder has read it.

    ``vector`` is little-endian float32 of unit length; ``encoder`` names the encoder file by the start of its SHA-256.
    """

    __tablename__ = "article_passages"
    id = sa.Column(Id, primary_key=True)
    article_id = reference("knowledge_articles.id")
    language = sa.Column(sa.String(2), nullable=False)
    text = sa.Column(sa.Text, nullable=False)
    vector = sa.Column(sa.LargeBinary)
    encoder = sa.Column(sa.String(16))
    article = relationship("KnowledgeArticle", back_populates="passages")
    __table_args__ = (one_of("language", "language", LANGUAGES),)


class Macro(Base):
    """A text agents insert, with {placeholders} for the customer's data."""

    __tablename__ = "macros"
    id = sa.Column(Id, primary_key=True)
    code = sa.Column(sa.String(40), nullable=False, unique=True)
    emotion = sa.Column(sa.String(20))  # set on the phrases that answer an emotion
    title_zh = sa.Column(sa.String(120), nullable=False)
    title_en = sa.Column(sa.String(120), nullable=False)
    text_zh = sa.Column(sa.Text, nullable=False)
    text_en = sa.Column(sa.Text, nullable=False)

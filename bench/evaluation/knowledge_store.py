"""A store of the articles of ``data/kb`` alone, read by the encoder, in which the bot can answer one guest."""
from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import datetime, timezone
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from bench.evaluation.held_out import ROOT
from bot.nlu.encoder import TextEncoder
from crm_store.database import Store
from crm_store.demo.files import ArticleFile, read_article
from crm_store.schema import migrate
from crm_store.services.knowledge import passages_without_vector, save_article, store_vectors
from crm_store.services.messages import receive_message

NOW = datetime(2026, 11, 18, 2, tzinfo=timezone.utc)


class KnowledgeStore(NamedTuple):
    """The store, its articles as they were read from their files, and the guest's conversation."""

    store: Store
    articles: list[ArticleFile]
    conversation_id: int


@contextmanager
def knowledge_store(encoder: TextEncoder | None, root: Path = ROOT) -> Iterator[KnowledgeStore]:
    """A store on SQLite that is gone afterwards; without an encoder no passage has a vector."""
    articles = [read_article(path) for path in sorted((root / "data/kb").glob("*.md"))]
    with TemporaryDirectory(prefix="warmline-evaluation-") as folder:
        url = f"sqlite:///{folder}/warmline.db"
        migrate(url)
        store = Store(url)
        with store.write() as session:
            for article in articles:
                save_article(session, now=NOW, **asdict(article))
            session.flush()
            if encoder is not None:
                waiting = passages_without_vector(session, encoder.name)
                vectors = encoder.encode([passage.text for passage in waiting])
                store_vectors(session, {passage.id: vector for passage, vector in zip(waiting, vectors, strict=True)},
                              encoder.name)
            received = receive_message(session, channel="web", external_id="guest", text="?",
                                       channel_message_id="1", now=NOW)
            conversation_id = int(received.conversation.id)
        yield KnowledgeStore(store, articles, conversation_id)
        store.close()

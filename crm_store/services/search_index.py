"""Keeps the index of words whole: adds what it lacks, forgets what must go.

What is stored through the models is indexed by itself (:mod:`crm_store.models.search`).
"""
from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa
from sqlalchemy import select
from sqlalchemy.engine import Connection
from sqlalchemy.orm import Session

from crm_store.models import Message
from crm_store.models.search import ADD, INDEX_TABLE, index_row

BATCH = 2000

_FORGET = {
    "sqlite": "DELETE FROM message_words WHERE rowid IN (SELECT id FROM messages WHERE conversation_id IN :ids)",
    "postgresql": "DELETE FROM message_words WHERE conversation_id IN :ids",
}


def forget_words(session: Session, conversation_ids: Sequence[int]) -> int:
    """Take the words of these conversations out of the index for good, before or instead of their messages.

    SQLite marks words as gone and keeps them in its pages until parts of the index are merged, so they are merged here:
    that rewrites the index, some seconds a million messages. On PostgreSQL the next VACUUM removes what is left.

    Returns:
        How many messages are found no more.
    """
    if not conversation_ids:
        return 0
    dialect = session.get_bind().dialect.name
    gone = session.execute(
        sa.text(_FORGET[dialect]).bindparams(sa.bindparam("ids", expanding=True)), {"ids": list(conversation_ids)})
    if dialect == "sqlite":
        session.execute(sa.text(f"INSERT INTO {INDEX_TABLE} ({INDEX_TABLE}) VALUES ('optimize')"))
    return int(gone.rowcount)


def index_missing(connection: Session | Connection) -> int:
    """Add every message that the index lacks: those from before it, and any that went round the models.

    Returns:
        How many were added.
    """
    dialect = (connection.get_bind() if isinstance(connection, Session) else connection).dialect.name
    key = sa.column("rowid" if dialect == "sqlite" else "message_id")
    indexed = sa.exists().where(sa.table(INDEX_TABLE, key).c[key.name] == Message.id)
    added, last = 0, 0
    while True:
        rows = connection.execute(
            select(Message.id, Message.conversation_id, Message.text).where(Message.id > last, ~indexed)
            .order_by(Message.id).limit(BATCH)).mappings().all()
        if not rows:
            return added
        connection.execute(ADD[dialect], [index_row(row, dialect) for row in rows])
        added, last = added + len(rows), rows[-1]["id"]

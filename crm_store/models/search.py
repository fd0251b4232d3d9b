"""The index of the words in messages: SQLite's FTS5 or a PostgreSQL ``tsvector``, kept up with every message stored.

Both hold the words that :mod:`crm_store.rules.search_words` makes of a text. SQLite's tokenizer only has to cut at
blanks (``ascii`` leaves every character above 127 alone), and a ``tsvector`` is written out word by word, so that what
a database thinks of Chinese or of case never counts.
"""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.engine import Connection
from sqlalchemy.orm import ORMExecuteState, Session

from crm_store.models.conversations import Message
from crm_store.rules.search_words import Wanted, index_words

INDEX_TABLE = "message_words"

CREATE = {
    "sqlite": (
        "CREATE VIRTUAL TABLE message_words USING fts5(words, conversation_id UNINDEXED, tokenize='ascii')",
        "CREATE TRIGGER message_words_go AFTER DELETE ON messages BEGIN "
        "DELETE FROM message_words WHERE rowid = old.id; END",
    ),
    "postgresql": (
        "CREATE TABLE message_words (message_id BIGINT PRIMARY KEY REFERENCES messages (id) ON DELETE CASCADE, "
        "conversation_id BIGINT NOT NULL, words TSVECTOR NOT NULL)",
        "CREATE INDEX ix_message_words_conversation_id ON message_words (conversation_id)",
        "CREATE INDEX ix_message_words_words ON message_words USING gin (words)",
    ),
}
ADD = {
    "sqlite": sa.text("INSERT INTO message_words (rowid, conversation_id, words) VALUES (:id, :conversation, :words)"),
    "postgresql": sa.text("INSERT INTO message_words (message_id, conversation_id, words) "
                          "VALUES (:id, :conversation, CAST(:words AS tsvector))"),
}
_ADD_ONE = {  # the same in the driver's own words: it runs with every message, and compiling costs more than the insert
    "sqlite": "INSERT INTO message_words (rowid, conversation_id, words) VALUES (?, ?, ?)",
    "postgresql": "INSERT INTO message_words (message_id, conversation_id, words) VALUES (%s, %s, %s::tsvector)",
}
CHANGE = {
    "sqlite": sa.text("UPDATE message_words SET words = :words WHERE rowid = :id"),
    "postgresql": sa.text("UPDATE message_words SET words = CAST(:words AS tsvector) WHERE message_id = :id"),
}


_KEYS = {"sqlite": sa.table(INDEX_TABLE, sa.column("rowid")).c.rowid,
         "postgresql": sa.table(INDEX_TABLE, sa.column("message_id")).c.message_id}


def is_of_the_index(table: str) -> bool:
    """Whether a table is the index or one that SQLite keeps for it: no model describes these."""
    return table == INDEX_TABLE or table.startswith(f"{INDEX_TABLE}_")


def stored_words(text: str, dialect: str) -> str:
    """The words of a text as the database's index takes them. Words are letters, digits and pictures only."""
    words = index_words(text)
    if dialect == "sqlite":
        return " ".join(words)
    return " ".join(f"'{word}':{at}" for at, word in enumerate(words, 1))


def asked_words(things: Sequence[Wanted], dialect: str) -> str:
    """A query of the database's index that finds messages in which any of the things stands."""
    if dialect == "sqlite":
        return " OR ".join(f'"{" ".join(thing.words)}"{" *" if thing.open_end else ""}' for thing in things)
    return " | ".join(f"({' <-> '.join(_quoted(thing))})" for thing in things)


def _quoted(thing: Wanted) -> list[str]:
    quoted = [f"'{word}'" for word in thing.words]
    return [*quoted[:-1], f"{quoted[-1]}:*"] if thing.open_end else quoted


def index_row(message: Mapping[str, Any], dialect: str) -> dict[str, Any]:
    """A row of the index for ``id``, ``conversation_id`` and ``text`` of a message."""
    return {"id": message["id"], "conversation": message["conversation_id"],
            "words": stored_words(message["text"], dialect)}


@event.listens_for(Message, "after_insert")
def _add(_mapper: Any, connection: Connection, message: Message) -> None:
    """Whoever stores a message stores its words: this runs in the same flush, whichever service wrote it."""
    dialect = connection.dialect.name
    connection.exec_driver_sql(
        _ADD_ONE[dialect], (message.id, message.conversation_id, stored_words(message.text, dialect)))


@event.listens_for(Message, "after_update")
def _change(_mapper: Any, connection: Connection, message: Message) -> None:
    if sa.inspect(message).attrs.text.history.has_changes():
        dialect = connection.dialect.name
        connection.execute(CHANGE[dialect], {"id": message.id, "words": stored_words(message.text, dialect)})


@event.listens_for(Session, "do_orm_execute")
def _add_rows(state: ORMExecuteState) -> Any:
    """Messages that are inserted as rows, not as objects, are looked for right after."""
    if not state.is_insert or state.statement.table is not Message.__table__:
        return None
    result = state.invoke_statement()
    given = state.parameters or []
    rows = given if isinstance(given, list) else [given]
    talks = {row.get("conversation_id") for row in rows}
    dialect = state.session.get_bind().dialect.name
    known = sa.exists().where(_KEYS[dialect] == Message.id)
    lacking = sa.select(Message.id, Message.conversation_id, Message.text).where(~known)
    if talks and None not in talks:
        lacking = lacking.where(Message.conversation_id.in_(talks))
    missing = [index_row(row, dialect) for row in state.session.execute(lacking).mappings()]
    if missing:
        state.session.execute(ADD[dialect], missing)
    return result


for _dialect, _statements in CREATE.items():
    for _statement in _statements:
        event.listen(Message.__table__, "after_create", sa.DDL(_statement).execute_if(dialect=_dialect))
event.listen(Message.__table__, "before_drop", sa.DDL(f"DROP TABLE IF EXISTS {INDEX_TABLE}"))

"""An index of the words in messages, filled with those that are there.

Revision: 0006, after: 0005
"""
from __future__ import annotations

import sqlalchemy as sa
from alembic import context, op

from crm_store.models.search import ADD, index_row

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

BATCH = 2000


def upgrade() -> None:
    if op.get_context().dialect.name == "sqlite":
        op.execute("CREATE VIRTUAL TABLE message_words USING fts5(words, conversation_id UNINDEXED, tokenize='ascii')")
        op.execute("CREATE TRIGGER message_words_go AFTER DELETE ON messages BEGIN "
                   "DELETE FROM message_words WHERE rowid = old.id; END")
    else:
        op.execute(
            "CREATE TABLE message_words (message_id BIGINT PRIMARY KEY REFERENCES messages (id) ON DELETE CASCADE, "
            "conversation_id BIGINT NOT NULL, words TSVECTOR NOT NULL)")
        op.execute("CREATE INDEX ix_message_words_conversation_id ON message_words (conversation_id)")
    if not context.is_offline_mode():
        _fill(op.get_bind())
    if op.get_context().dialect.name != "sqlite":
        op.execute("CREATE INDEX ix_message_words_words ON message_words USING gin (words)")


def downgrade() -> None:
    if op.get_context().dialect.name == "sqlite":
        op.execute("DROP TRIGGER message_words_go")
    op.execute("DROP TABLE message_words")


def _fill(connection: sa.engine.Connection) -> None:
    """The words of the messages that are there, a batch at a time."""
    dialect, last = connection.dialect.name, 0
    following = sa.text("SELECT id, conversation_id, text FROM messages WHERE id > :last ORDER BY id LIMIT :most")
    while rows := connection.execute(following, {"last": last, "most": BATCH}).mappings().all():
        connection.execute(ADD[dialect], [index_row(row, dialect) for row in rows])
        last = rows[-1]["id"]

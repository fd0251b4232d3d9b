"""WeChat: a channel more, and what was seen of its posts.

Revision: 0014, after: 0013
"""
from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

TABLE, CONSTRAINT = "channel_identities", "ck_channel_identities_channel"
CASCADING = "blocks"
BEFORE = "channel IN ('web', 'http', 'telegram')"
AFTER = "channel IN ('web', 'http', 'telegram', 'wechat')"


def upgrade() -> None:
    op.create_table(
        "wechat_posts",
        sa.Column("app_id", sa.String(length=40), nullable=False),
        sa.Column("post_key", sa.String(length=200), nullable=False),
        sa.Column("kind", sa.String(length=64), nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("app_id", "post_key", name=op.f("pk_wechat_posts"))
    )
    op.create_index(op.f("ix_wechat_posts_received_at"), "wechat_posts", ["received_at"], unique=False)
    _check(BEFORE, AFTER)


def downgrade() -> None:
    _check(AFTER, BEFORE)
    op.drop_table("wechat_posts")


def _check(before: str, after: str) -> None:
    """Change which channels there are."""
    if op.get_context().dialect.name != "sqlite":
        op.drop_constraint(op.f(CONSTRAINT), TABLE, type_="check")
        op.create_check_constraint(op.f(CONSTRAINT), TABLE, after)
        return
    connection = op.get_bind()
    made, *indexes = connection.exec_driver_sql(
        "SELECT sql FROM sqlite_master WHERE type IN ('table', 'index') AND sql IS NOT NULL "
        f"AND tbl_name = '{TABLE}' ORDER BY type DESC"
    ).scalars()
    if before not in made:
        raise RuntimeError(f"{TABLE} has no check that can be changed")
    # SQLite changes no constraint, so the table is made anew. Others refer to it: until the commit, its rows may miss.
    # The rows of the one that cascades go with the table and come back.
    for statement in (
            "PRAGMA defer_foreign_keys = ON", f"CREATE TEMPORARY TABLE kept AS SELECT * FROM {TABLE}",
            f"CREATE TEMPORARY TABLE kept_cascading AS SELECT * FROM {CASCADING}",
            f"DROP TABLE {TABLE}", made.replace(before, after), f"INSERT INTO {TABLE} SELECT * FROM kept",
            f"INSERT INTO {CASCADING} SELECT * FROM kept_cascading", "DROP TABLE kept", "DROP TABLE kept_cascading",
            *indexes):
        connection.exec_driver_sql(statement)

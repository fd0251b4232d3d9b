"""What managers decided of messages the bot did not understand.

Revision: 0008, after: 0007
"""
from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

ID = sa.BigInteger().with_variant(sa.Integer, "sqlite")  # only INTEGER PRIMARY KEY counts by itself on SQLite


def upgrade() -> None:
    op.create_table(
        "labels",
        sa.Column("id", ID, nullable=False),
        sa.Column("key", sa.String(length=64), nullable=False),
        sa.Column("message_id", ID, nullable=False),
        sa.Column("intent", sa.String(length=60), nullable=True),
        sa.Column("anger", sa.String(length=10), nullable=True),
        sa.Column("agent_id", ID, nullable=False),
        sa.Column("labelled_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("exported_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("anger IN ('angry', 'calm')", name=op.f("ck_labels_anger")),
        sa.ForeignKeyConstraint(["agent_id"], ["support_agents.id"], name=op.f("fk_labels_agent_id")),
        sa.ForeignKeyConstraint(["message_id"], ["messages.id"], name=op.f("fk_labels_message_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_labels")),
        sa.UniqueConstraint("key", name=op.f("uq_labels_key"))
    )
    op.create_index(op.f("ix_labels_labelled_at"), "labels", ["labelled_at"], unique=False)
    op.create_index(op.f("ix_labels_message_id"), "labels", ["message_id"], unique=False)


def downgrade() -> None:
    op.drop_table("labels")

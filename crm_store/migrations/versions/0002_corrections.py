"""Agents' corrections of what the bot read in a message.

Revision: 0002, after: 0001
"""
from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

ID = sa.BigInteger().with_variant(sa.Integer, "sqlite")  # only INTEGER PRIMARY KEY counts by itself on SQLite


def upgrade() -> None:
    op.create_table(
        "corrections",
        sa.Column("id", ID, nullable=False),
        sa.Column("message_id", ID, nullable=False),
        sa.Column("field", sa.String(length=10), nullable=False),
        sa.Column("was", sa.String(length=60), nullable=True),
        sa.Column("value", sa.String(length=60), nullable=False),
        sa.Column("agent_id", ID, nullable=False),
        sa.Column("corrected_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("field IN ('anger', 'intent')", name=op.f("ck_corrections_field")),
        sa.ForeignKeyConstraint(["agent_id"], ["support_agents.id"], name=op.f("fk_corrections_agent_id")),
        sa.ForeignKeyConstraint(["message_id"], ["messages.id"], name=op.f("fk_corrections_message_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_corrections")),
        sa.UniqueConstraint("message_id", "field", name=op.f("uq_corrections_message_id_field"))
    )


def downgrade() -> None:
    op.drop_table("corrections")

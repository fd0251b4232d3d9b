"""Blocks, and messages that are held back because their sender is blocked or writes too fast.

Revision: 0013, after: 0012
"""
from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

ID = sa.BigInteger().with_variant(sa.Integer, "sqlite")  # as every other id of these tables
REFERENCES = ("blocked_by_id", "conversation_id", "ended_by_id", "identity_id")


def upgrade() -> None:
    op.create_table(
        "blocks",
        sa.Column("id", ID, nullable=False),
        sa.Column("identity_id", ID, nullable=False),
        sa.Column("conversation_id", ID, nullable=False),
        sa.Column("reason", sa.String(length=300), nullable=False),
        sa.Column("blocked_by_id", ID, nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("until_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ended_by_id", ID, nullable=True),
        sa.Column("told_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("held", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["blocked_by_id"], ["support_agents.id"], name=op.f("fk_blocks_blocked_by_id")),
        sa.ForeignKeyConstraint(["conversation_id"], ["conversations.id"], name=op.f("fk_blocks_conversation_id"),
                                ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["ended_by_id"], ["support_agents.id"], name=op.f("fk_blocks_ended_by_id")),
        sa.ForeignKeyConstraint(["identity_id"], ["channel_identities.id"], name=op.f("fk_blocks_identity_id"),
                                ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_blocks"))
    )
    for column in REFERENCES:
        op.create_index(op.f(f"ix_blocks_{column}"), "blocks", [column], unique=False)
    op.add_column("channel_identities", sa.Column("blocked_until", sa.DateTime(timezone=True), nullable=True))
    op.add_column("channel_identities", sa.Column("slowed_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("messages", sa.Column("held", sa.String(length=10), nullable=True))


def downgrade() -> None:
    op.drop_column("messages", "held")
    op.drop_column("channel_identities", "slowed_at")
    op.drop_column("channel_identities", "blocked_until")
    op.drop_table("blocks")

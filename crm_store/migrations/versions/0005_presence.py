"""Who looks at which conversation, and who types.

Revision: 0005, after: 0004
"""
from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

ID = sa.BigInteger().with_variant(sa.Integer, "sqlite")  # as every other id of these tables


def upgrade() -> None:
    op.create_table(
        "presence",
        sa.Column("agent_id", ID, nullable=False),
        sa.Column("conversation_id", ID, nullable=False),
        sa.Column("seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("typing_until", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["agent_id"], ["support_agents.id"], name=op.f("fk_presence_agent_id")),
        sa.ForeignKeyConstraint(["conversation_id"], ["conversations.id"], name=op.f("fk_presence_conversation_id")),
        sa.PrimaryKeyConstraint("agent_id", "conversation_id", name=op.f("pk_presence"))
    )
    op.create_index(op.f("ix_presence_conversation_id"), "presence", ["conversation_id"], unique=False)


def downgrade() -> None:
    op.drop_table("presence")

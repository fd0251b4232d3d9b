"""Facts that customers want remembered, and how they want to be spoken to.

Revision: 0019, after: 0018
"""
from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None

BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.add_column("customers", sa.Column("tone", sa.String(length=10), nullable=True))
    op.create_table(
        "facts",
        sa.Column("id", BIG, nullable=False),
        sa.Column("customer_id", BIG, nullable=False),
        sa.Column("kind", sa.String(length=10), nullable=False),
        sa.Column("what", sa.String(length=200), nullable=False),
        sa.Column("conversation_id", BIG, nullable=False),
        sa.Column("message_id", BIG, nullable=True),
        sa.Column("channel", sa.String(length=20), nullable=False),
        sa.Column("said_at", TIME, nullable=False),
        sa.Column("confirmed_at", TIME, nullable=False),
        sa.CheckConstraint("kind IN ('name', 'allergy', 'diet', 'like', 'dislike', 'delivery', 'other')",
                           name=op.f("ck_facts_kind")),
        sa.ForeignKeyConstraint(["customer_id"], ["customers.id"], name=op.f("fk_facts_customer_id")),
        sa.ForeignKeyConstraint(["conversation_id"], ["conversations.id"], name=op.f("fk_facts_conversation_id")),
        sa.ForeignKeyConstraint(["message_id"], ["messages.id"], name=op.f("fk_facts_message_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_facts")),
        sa.UniqueConstraint("customer_id", "kind", "what", name=op.f("uq_facts_customer_id_kind_what")))
    for column in ("customer_id", "conversation_id", "message_id"):
        op.create_index(op.f(f"ix_facts_{column}"), "facts", [column])


def downgrade() -> None:
    op.drop_table("facts")
    op.drop_column("customers", "tone")

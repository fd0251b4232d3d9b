"""Messages that customers did not ask for, and their birthdays.

Revision: 0018, after: 0017
"""
from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None

BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
TIME = sa.DateTime(timezone=True)
KINDS = "kind IN ('birthday', 'delivered', 'points_expiring', 'win_back', 'follow_up')"


def upgrade() -> None:
    op.add_column("customers", sa.Column("birthday", sa.Date(), nullable=True))
    op.create_table(
        "care_campaigns",
        sa.Column("kind", sa.String(length=20), nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("days", sa.Integer(), nullable=True),
        sa.Column("control_percent", sa.Integer(), nullable=False),
        sa.Column("a_zh", sa.Text(), nullable=False),
        sa.Column("a_en", sa.Text(), nullable=False),
        sa.Column("b_zh", sa.Text(), nullable=False),
        sa.Column("b_en", sa.Text(), nullable=False),
        sa.Column("changed_at", TIME, nullable=False),
        sa.CheckConstraint(KINDS, name=op.f("ck_care_campaigns_kind")),
        sa.CheckConstraint("control_percent BETWEEN 0 AND 50", name=op.f("ck_care_campaigns_control_percent")),
        sa.PrimaryKeyConstraint("kind", name=op.f("pk_care_campaigns")))
    op.create_table(
        "care_messages",
        sa.Column("id", BIG, nullable=False),
        sa.Column("kind", sa.String(length=20), nullable=False),
        sa.Column("customer_id", BIG, nullable=False),
        sa.Column("occasion", sa.String(length=60), nullable=False),
        sa.Column("arm", sa.String(length=10), nullable=False),
        sa.Column("message_id", BIG, nullable=True),
        sa.Column("decided_at", TIME, nullable=False),
        sa.CheckConstraint(KINDS, name=op.f("ck_care_messages_kind")),
        sa.CheckConstraint("arm IN ('a', 'b', 'control')", name=op.f("ck_care_messages_arm")),
        sa.ForeignKeyConstraint(["customer_id"], ["customers.id"], name=op.f("fk_care_messages_customer_id")),
        sa.ForeignKeyConstraint(["message_id"], ["messages.id"], name=op.f("fk_care_messages_message_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_care_messages")),
        sa.UniqueConstraint("kind", "customer_id", "occasion",
                            name=op.f("uq_care_messages_kind_customer_id_occasion")))
    op.create_index(op.f("ix_care_messages_message_id"), "care_messages", ["message_id"])
    op.create_index(op.f("ix_care_messages_customer_id_decided_at"), "care_messages", ["customer_id", "decided_at"])


def downgrade() -> None:
    op.drop_table("care_messages")
    op.drop_table("care_campaigns")
    op.drop_column("customers", "birthday")

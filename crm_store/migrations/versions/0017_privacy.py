"""Erasures and their tombstones, copies of data, periods of keeping; conversations know that they were emptied.

Revision: 0017, after: 0016
"""
from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
TIME = sa.DateTime(timezone=True)
INDEXED = (("erasures", "customer_id"), ("erasures", "identity_id"), ("erasures", "state"), ("erasures", "agent_id"),
           ("data_copies", "customer_id"), ("data_copies", "identity_id"))


def upgrade() -> None:
    op.add_column("conversations", sa.Column("erased_at", TIME, nullable=True))
    op.create_table(
        "erasures",
        sa.Column("id", ID, nullable=False),
        sa.Column("customer_id", ID, nullable=True),
        sa.Column("identity_id", ID, nullable=True),
        sa.Column("state", sa.String(length=10), nullable=False),
        sa.Column("asked_by", sa.String(length=10), nullable=False),
        sa.Column("asked_at", TIME, nullable=False),
        sa.Column("due_at", TIME, nullable=False),
        sa.Column("agent_id", ID, nullable=True),
        sa.Column("erased_at", TIME, nullable=True),
        sa.Column("proven_at", TIME, nullable=True),
        sa.Column("files", sa.JSON(), nullable=False),
        sa.Column("report", sa.JSON(), nullable=True),
        sa.Column("signature", sa.String(length=64), nullable=True),
        sa.CheckConstraint("state IN ('asked', 'cancelled', 'erased', 'proven')", name=op.f("ck_erasures_state")),
        sa.CheckConstraint("asked_by IN ('customer', 'agent', 'tombstone')", name=op.f("ck_erasures_asked_by")),
        sa.ForeignKeyConstraint(["customer_id"], ["customers.id"], name=op.f("fk_erasures_customer_id")),
        sa.ForeignKeyConstraint(["identity_id"], ["channel_identities.id"], name=op.f("fk_erasures_identity_id")),
        sa.ForeignKeyConstraint(["agent_id"], ["support_agents.id"], name=op.f("fk_erasures_agent_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_erasures"))
    )
    op.create_table(
        "tombstones",
        sa.Column("id", ID, nullable=False),
        sa.Column("kind", sa.String(length=10), nullable=False),
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.Column("erased_at", TIME, nullable=False),
        sa.CheckConstraint("kind IN ('customer', 'identity')", name=op.f("ck_tombstones_kind")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tombstones")),
        sa.UniqueConstraint("kind", "hash", name=op.f("uq_tombstones_kind_hash"))
    )
    op.create_table(
        "data_copies",
        sa.Column("id", ID, nullable=False),
        sa.Column("customer_id", ID, nullable=False),
        sa.Column("identity_id", ID, nullable=False),
        sa.Column("token_hash", sa.String(length=64), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("expires_at", TIME, nullable=False),
        sa.Column("fetched_at", TIME, nullable=True),
        sa.ForeignKeyConstraint(["customer_id"], ["customers.id"], name=op.f("fk_data_copies_customer_id")),
        sa.ForeignKeyConstraint(["identity_id"], ["channel_identities.id"], name=op.f("fk_data_copies_identity_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_data_copies")),
        sa.UniqueConstraint("token_hash", name=op.f("uq_data_copies_token_hash"))
    )
    op.create_table(
        "retention_periods",
        sa.Column("name", sa.String(length=20), nullable=False),
        sa.Column("days", sa.Integer(), nullable=True),
        sa.Column("changed_at", TIME, nullable=False),
        sa.CheckConstraint("name IN ('guests', 'conversations', 'attachments', 'audit_log')",
                           name=op.f("ck_retention_periods_name")),
        sa.CheckConstraint("days >= 1", name=op.f("ck_retention_periods_days")),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_retention_periods"))
    )
    for table, column in INDEXED:
        op.create_index(op.f(f"ix_{table}_{column}"), table, [column])


def downgrade() -> None:
    for table in ("retention_periods", "data_copies", "tombstones", "erasures"):
        op.drop_table(table)
    op.drop_column("conversations", "erased_at")

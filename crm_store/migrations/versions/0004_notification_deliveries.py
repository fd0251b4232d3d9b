"""How agents are reached beside the desk, and what was sent.

Revision: 0004, after: 0003
"""
from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

ID = sa.BigInteger().with_variant(sa.Integer, "sqlite")  # only INTEGER PRIMARY KEY counts by itself on SQLite


def upgrade() -> None:
    op.create_table(
        "notification_preferences",
        sa.Column("agent_id", ID, autoincrement=False, nullable=False),
        sa.Column("email", sa.String(length=254), nullable=True),
        sa.Column("email_kinds", sa.JSON(), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["agent_id"], ["support_agents.id"],
                                name=op.f("fk_notification_preferences_agent_id")),
        sa.PrimaryKeyConstraint("agent_id", name=op.f("pk_notification_preferences"))
    )
    op.create_table(
        "webhooks",
        sa.Column("id", ID, nullable=False),
        sa.Column("name", sa.String(length=80), nullable=False),
        sa.Column("url", sa.String(length=500), nullable=False),
        sa.Column("secret", sa.String(length=80), nullable=False),
        sa.Column("kinds", sa.JSON(), nullable=False),
        sa.Column("active", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_webhooks")),
        sa.UniqueConstraint("url", name=op.f("uq_webhooks_url"))
    )
    op.create_table(
        "notification_deliveries",
        sa.Column("id", ID, nullable=False),
        sa.Column("public_id", sa.String(length=32), nullable=False),
        sa.Column("notification_id", ID, nullable=True),
        sa.Column("event_key", sa.String(length=200), nullable=False),
        sa.Column("adapter", sa.String(length=20), nullable=False),
        sa.Column("target_id", ID, nullable=False),
        sa.Column("lane", sa.String(length=40), nullable=False),
        sa.Column("kind", sa.String(length=30), nullable=False),
        sa.Column("state", sa.String(length=10), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("next_attempt_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("sent_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("response_status", sa.Integer(), nullable=True),
        sa.Column("last_error", sa.String(length=200), nullable=True),
        sa.CheckConstraint("state IN ('queued', 'failed', 'sent', 'given_up', 'skipped')",
                           name=op.f("ck_notification_deliveries_state")),
        sa.ForeignKeyConstraint(["notification_id"], ["notifications.id"], ondelete="CASCADE",
                                name=op.f("fk_notification_deliveries_notification_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_notification_deliveries")),
        sa.UniqueConstraint("public_id", name=op.f("uq_notification_deliveries_public_id")),
        sa.UniqueConstraint("event_key", "adapter", "target_id",
                            name=op.f("uq_notification_deliveries_event_key_adapter_target_id"))
    )
    op.create_index(op.f("ix_notification_deliveries_notification_id"), "notification_deliveries", ["notification_id"],
                    unique=False)
    op.create_index("ix_notification_deliveries_next_attempt_at_lane", "notification_deliveries",
                    ["next_attempt_at", "lane"], unique=False)
    op.create_index("ix_notification_deliveries_adapter_target_id", "notification_deliveries",
                    ["adapter", "target_id"], unique=False)


def downgrade() -> None:
    op.drop_table("notification_deliveries")
    op.drop_table("webhooks")
    op.drop_table("notification_preferences")

"""The shop's data comes in and goes out: imports, versions of rows, tokens, and events for webhooks.

Revision: 0016, after: 0015
"""
from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
KINDS = "kind IN ('customers', 'products', 'orders', 'points', 'articles')"
STATES = "state IN ('ready', 'running', 'done', 'refused')"
EVENTS = ("kind IN ('customer.created', 'customer.updated', 'customer.linked', 'conversation.opened', "
          "'conversation.handed_over', 'conversation.resolved', 'conversation.rated', 'complaint.created', "
          "'complaint.resolved', 'points.earned', 'points.spent', 'order.returned')")


def upgrade() -> None:
    op.create_table(
        "exchange_tokens",
        sa.Column("id", BIG, nullable=False),
        sa.Column("name", sa.String(length=80), nullable=False),
        sa.Column("prefix", sa.String(length=12), nullable=False),
        sa.Column("token_hash", sa.String(length=64), nullable=False),
        sa.Column("may_read", sa.Boolean(), nullable=False),
        sa.Column("may_write", sa.Boolean(), nullable=False),
        sa.Column("created_by_id", BIG, nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("used_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["created_by_id"], ["support_agents.id"],
                                name=op.f("fk_exchange_tokens_created_by_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_exchange_tokens")),
        sa.UniqueConstraint("prefix", name=op.f("uq_exchange_tokens_prefix")),
    )
    op.create_index(op.f("ix_exchange_tokens_created_by_id"), "exchange_tokens", ["created_by_id"])
    op.create_table(
        "imports",
        sa.Column("id", BIG, nullable=False),
        sa.Column("kind", sa.String(length=20), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("time_zone", sa.String(length=60), nullable=False),
        sa.Column("skip_wrong", sa.Boolean(), nullable=False),
        sa.Column("state", sa.String(length=10), nullable=False),
        sa.Column("rows", sa.Integer(), nullable=False),
        sa.Column("rows_done", sa.Integer(), nullable=False),
        sa.Column("counts", sa.JSON(), nullable=False),
        sa.Column("errors", sa.JSON(), nullable=False),
        sa.Column("errors_total", sa.Integer(), nullable=False),
        sa.Column("ignored", sa.JSON(), nullable=False),
        sa.Column("agent_id", BIG, nullable=True),
        sa.Column("token_id", BIG, nullable=True),
        sa.Column("worker", sa.String(length=40), nullable=True),
        sa.Column("worker_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(KINDS, name=op.f("ck_imports_kind")),
        sa.CheckConstraint(STATES, name=op.f("ck_imports_state")),
        sa.ForeignKeyConstraint(["agent_id"], ["support_agents.id"], name=op.f("fk_imports_agent_id")),
        sa.ForeignKeyConstraint(["token_id"], ["exchange_tokens.id"], name=op.f("fk_imports_token_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_imports")),
    )
    op.create_index(op.f("ix_imports_agent_id"), "imports", ["agent_id"])
    op.create_index(op.f("ix_imports_token_id"), "imports", ["token_id"])
    op.create_index("ix_imports_sha256_kind", "imports", ["sha256", "kind"])
    op.create_table(
        "exchange_versions",
        sa.Column("kind", sa.String(length=20), nullable=False),
        sa.Column("key", sa.String(length=64), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("kind", "key", name=op.f("pk_exchange_versions")),
    )
    op.create_table(
        "shop_events",
        sa.Column("id", BIG, nullable=False),
        sa.Column("kind", sa.String(length=30), nullable=False),
        sa.Column("customer_id", BIG, nullable=True),
        sa.Column("conversation_id", BIG, nullable=True),
        sa.Column("data", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(EVENTS, name=op.f("ck_shop_events_kind")),
        sa.ForeignKeyConstraint(["customer_id"], ["customers.id"], name=op.f("fk_shop_events_customer_id")),
        sa.ForeignKeyConstraint(["conversation_id"], ["conversations.id"],
                                name=op.f("fk_shop_events_conversation_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_shop_events")),
    )
    op.create_index(op.f("ix_shop_events_conversation_id"), "shop_events", ["conversation_id"])
    op.create_index(op.f("ix_shop_events_created_at"), "shop_events", ["created_at"])
    with op.batch_alter_table("notification_deliveries") as batch:
        batch.add_column(sa.Column("shop_event_id", BIG, nullable=True))
        batch.add_column(sa.Column("order_key", sa.String(length=40), nullable=True))
        batch.create_foreign_key(op.f("fk_notification_deliveries_shop_event_id"), "shop_events", ["shop_event_id"],
                                 ["id"], ondelete="CASCADE")
        batch.create_index(op.f("ix_notification_deliveries_shop_event_id"), ["shop_event_id"])
        batch.create_index("ix_notification_deliveries_lane_order_key", ["lane", "order_key"])


def downgrade() -> None:
    with op.batch_alter_table("notification_deliveries") as batch:
        batch.drop_index("ix_notification_deliveries_lane_order_key")
        batch.drop_index(op.f("ix_notification_deliveries_shop_event_id"))
        batch.drop_constraint(op.f("fk_notification_deliveries_shop_event_id"), type_="foreignkey")
        batch.drop_column("order_key")
        batch.drop_column("shop_event_id")
    op.drop_table("shop_events")
    op.drop_table("exchange_versions")
    op.drop_table("imports")
    op.drop_table("exchange_tokens")

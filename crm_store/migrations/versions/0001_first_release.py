"""The whole schema of the first release.

Revision: 0001, after: nothing
"""
from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

ID = sa.BigInteger().with_variant(sa.Integer, "sqlite")  # only INTEGER PRIMARY KEY counts by itself on SQLite


def upgrade() -> None:
    op.create_table(
        "audit_log",
        sa.Column("id", ID, nullable=False),
        sa.Column("actor_kind", sa.String(length=10), nullable=False),
        sa.Column("actor_id", ID, nullable=True),
        sa.Column("action", sa.String(length=60), nullable=False),
        sa.Column("object_kind", sa.String(length=40), nullable=False),
        sa.Column("object_id", sa.String(length=60), nullable=False),
        sa.Column("data", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_log"))
    )
    op.create_index(op.f("ix_audit_log_action"), "audit_log", ["action"], unique=False)
    op.create_index(op.f("ix_audit_log_created_at"), "audit_log", ["created_at"], unique=False)
    op.create_index("ix_audit_log_object", "audit_log", ["object_kind", "object_id"], unique=False)
    op.create_table(
        "business_calendars",
        sa.Column("id", ID, nullable=False),
        sa.Column("name", sa.String(length=80), nullable=False),
        sa.Column("time_zone", sa.String(length=60), nullable=False),
        sa.Column("weekly", sa.JSON(), nullable=False),
        sa.Column("holidays", sa.String(length=10), nullable=True),
        sa.Column("closing_days", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_business_calendars")),
        sa.UniqueConstraint("name", name=op.f("uq_business_calendars_name"))
    )
    op.create_table(
        "dialogue_trackers",
        sa.Column("sender_id", sa.String(length=60), nullable=False),
        sa.Column("events", sa.Text(), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("sender_id", name=op.f("pk_dialogue_trackers"))
    )
    op.create_table(
        "knowledge_articles",
        sa.Column("id", ID, nullable=False),
        sa.Column("slug", sa.String(length=80), nullable=False),
        sa.Column("intent", sa.String(length=60), nullable=False),
        sa.Column("title_zh", sa.String(length=200), nullable=False),
        sa.Column("title_en", sa.String(length=200), nullable=False),
        sa.Column("body_zh", sa.Text(), nullable=False),
        sa.Column("body_en", sa.Text(), nullable=False),
        sa.Column("published", sa.Boolean(), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_knowledge_articles")),
        sa.UniqueConstraint("slug", name=op.f("uq_knowledge_articles_slug"))
    )
    op.create_index(op.f("ix_knowledge_articles_intent"), "knowledge_articles", ["intent"], unique=False)
    op.create_table(
        "login_failures",
        sa.Column("id", ID, nullable=False),
        sa.Column("login", sa.String(length=60), nullable=False),
        sa.Column("address", sa.String(length=60), nullable=False),
        sa.Column("failed_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_login_failures"))
    )
    op.create_index(op.f("ix_login_failures_address"), "login_failures", ["address"], unique=False)
    op.create_index(op.f("ix_login_failures_login"), "login_failures", ["login"], unique=False)
    op.create_table(
        "macros",
        sa.Column("id", ID, nullable=False),
        sa.Column("code", sa.String(length=40), nullable=False),
        sa.Column("emotion", sa.String(length=20), nullable=True),
        sa.Column("title_zh", sa.String(length=120), nullable=False),
        sa.Column("title_en", sa.String(length=120), nullable=False),
        sa.Column("text_zh", sa.Text(), nullable=False),
        sa.Column("text_en", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_macros")),
        sa.UniqueConstraint("code", name=op.f("uq_macros_code"))
    )
    op.create_table(
        "products",
        sa.Column("id", ID, nullable=False),
        sa.Column("sku", sa.String(length=40), nullable=False),
        sa.Column("name_zh", sa.String(length=120), nullable=False),
        sa.Column("name_en", sa.String(length=120), nullable=False),
        sa.Column("aliases", sa.JSON(), nullable=False),
        sa.Column("price_fen", sa.Integer(), nullable=False),
        sa.Column("category", sa.String(length=40), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_products")),
        sa.UniqueConstraint("sku", name=op.f("uq_products_sku"))
    )
    op.create_table(
        "teams",
        sa.Column("id", ID, nullable=False),
        sa.Column("name", sa.String(length=80), nullable=False),
        sa.Column("level", sa.String(length=20), nullable=False),
        sa.CheckConstraint("level IN ('front_line', 'experts', 'management')", name=op.f("ck_teams_level")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_teams")),
        sa.UniqueConstraint("name", name=op.f("uq_teams_name"))
    )
    op.create_table(
        "tiers",
        sa.Column("code", sa.String(length=20), nullable=False),
        sa.Column("rank", sa.Integer(), nullable=False),
        sa.Column("name_zh", sa.String(length=40), nullable=False),
        sa.Column("name_en", sa.String(length=40), nullable=False),
        sa.Column("minimum_spend_fen", sa.Integer(), nullable=False),
        sa.Column("multiplier", sa.Numeric(precision=4, scale=2), nullable=False),
        sa.Column("benefits_zh", sa.Text(), nullable=False),
        sa.Column("benefits_en", sa.Text(), nullable=False),
        sa.Column("anger_route", sa.Float(), nullable=False),
        sa.Column("anger_watch", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("code", name=op.f("pk_tiers")),
        sa.UniqueConstraint("rank", name=op.f("uq_tiers_rank"))
    )
    op.create_table(
        "article_passages",
        sa.Column("id", ID, nullable=False),
        sa.Column("article_id", ID, nullable=False),
        sa.Column("language", sa.String(length=2), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("vector", sa.LargeBinary(), nullable=True),
        sa.Column("encoder", sa.String(length=16), nullable=True),
        sa.CheckConstraint("language IN ('zh', 'en')", name=op.f("ck_article_passages_language")),
        sa.ForeignKeyConstraint(["article_id"], ["knowledge_articles.id"],
                                name=op.f("fk_article_passages_article_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_article_passages"))
    )
    op.create_index(op.f("ix_article_passages_article_id"), "article_passages", ["article_id"], unique=False)
    op.create_table(
        "customers",
        sa.Column("id", ID, nullable=False),
        sa.Column("number", sa.String(length=20), nullable=False),
        sa.Column("name", sa.String(length=120), nullable=False),
        sa.Column("language", sa.String(length=2), nullable=False),
        sa.Column("phone", sa.String(length=20), nullable=True),
        sa.Column("email", sa.String(length=200), nullable=True),
        sa.Column("city", sa.String(length=80), nullable=True),
        sa.Column("address", sa.String(length=300), nullable=True),
        sa.Column("tier_code", sa.String(length=20), nullable=False),
        sa.Column("tier_since_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("erased_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("language IN ('zh', 'en')", name=op.f("ck_customers_language")),
        sa.ForeignKeyConstraint(["tier_code"], ["tiers.code"], name=op.f("fk_customers_tier_code")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_customers")),
        sa.UniqueConstraint("email", name=op.f("uq_customers_email")),
        sa.UniqueConstraint("number", name=op.f("uq_customers_number")),
        sa.UniqueConstraint("phone", name=op.f("uq_customers_phone"))
    )
    op.create_table(
        "rewards",
        sa.Column("id", ID, nullable=False),
        sa.Column("code", sa.String(length=40), nullable=False),
        sa.Column("name_zh", sa.String(length=120), nullable=False),
        sa.Column("name_en", sa.String(length=120), nullable=False),
        sa.Column("cost_points", sa.Integer(), nullable=False),
        sa.Column("stock", sa.Integer(), nullable=False),
        sa.Column("minimum_tier", sa.String(length=20), nullable=False),
        sa.Column("kind", sa.String(length=20), nullable=False),
        sa.Column("active", sa.Boolean(), nullable=False),
        sa.CheckConstraint("stock >= 0", name=op.f("ck_rewards_stock")),
        sa.ForeignKeyConstraint(["minimum_tier"], ["tiers.code"], name=op.f("fk_rewards_minimum_tier")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_rewards")),
        sa.UniqueConstraint("code", name=op.f("uq_rewards_code"))
    )
    op.create_table(
        "sla_policies",
        sa.Column("id", ID, nullable=False),
        sa.Column("name", sa.String(length=80), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("ticket_kind", sa.String(length=12), nullable=True),
        sa.Column("grade", sa.String(length=12), nullable=True),
        sa.Column("tier_code", sa.String(length=20), nullable=True),
        sa.Column("first_response_seconds", sa.Integer(), nullable=True),
        sa.Column("next_response_seconds", sa.Integer(), nullable=True),
        sa.Column("resolution_seconds", sa.Integer(), nullable=True),
        sa.Column("follow_up_seconds", sa.Integer(), nullable=True),
        sa.Column("around_the_clock", sa.Boolean(), nullable=False),
        sa.Column("calendar_id", ID, nullable=False),
        sa.Column("active", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(["calendar_id"], ["business_calendars.id"],
                                name=op.f("fk_sla_policies_calendar_id")),
        sa.ForeignKeyConstraint(["tier_code"], ["tiers.code"], name=op.f("fk_sla_policies_tier_code")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sla_policies")),
        sa.UniqueConstraint("name", name=op.f("uq_sla_policies_name")),
        sa.UniqueConstraint("position", name=op.f("uq_sla_policies_position"))
    )
    op.create_index(op.f("ix_sla_policies_calendar_id"), "sla_policies", ["calendar_id"], unique=False)
    op.create_table(
        "support_agents",
        sa.Column("id", ID, nullable=False),
        sa.Column("login", sa.String(length=60), nullable=False),
        sa.Column("name", sa.String(length=120), nullable=False),
        sa.Column("password_hash", sa.String(length=200), nullable=False),
        sa.Column("role", sa.String(length=10), nullable=False),
        sa.Column("team_id", ID, nullable=False),
        sa.Column("languages", sa.JSON(), nullable=False),
        sa.Column("capacity", sa.Integer(), nullable=False),
        sa.Column("available", sa.Boolean(), nullable=False),
        sa.Column("interface_language", sa.String(length=2), nullable=False),
        sa.Column("active", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("role IN ('agent', 'lead', 'manager', 'admin')", name=op.f("ck_support_agents_role")),
        sa.ForeignKeyConstraint(["team_id"], ["teams.id"], name=op.f("fk_support_agents_team_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_support_agents")),
        sa.UniqueConstraint("login", name=op.f("uq_support_agents_login"))
    )
    op.create_index(op.f("ix_support_agents_team_id"), "support_agents", ["team_id"], unique=False)
    op.create_table(
        "channel_identities",
        sa.Column("id", ID, nullable=False),
        sa.Column("channel", sa.String(length=20), nullable=False),
        sa.Column("external_id", sa.String(length=200), nullable=False),
        sa.Column("customer_id", ID, nullable=True),
        sa.Column("linked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("language", sa.String(length=2), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("channel IN ('web', 'http', 'telegram')", name=op.f("ck_channel_identities_channel")),
        sa.ForeignKeyConstraint(["customer_id"], ["customers.id"], name=op.f("fk_channel_identities_customer_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_channel_identities")),
        sa.UniqueConstraint("channel", "external_id", name=op.f("uq_channel_identities_channel_external_id"))
    )
    op.create_index(op.f("ix_channel_identities_customer_id"), "channel_identities", ["customer_id"], unique=False)
    op.create_table(
        "consents",
        sa.Column("id", ID, nullable=False),
        sa.Column("customer_id", ID, nullable=False),
        sa.Column("purpose", sa.String(length=20), nullable=False),
        sa.Column("granted", sa.Boolean(), nullable=False),
        sa.Column("channel", sa.String(length=20), nullable=False),
        sa.Column("decided_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("purpose IN ('service', 'marketing', 'memory')", name=op.f("ck_consents_purpose")),
        sa.ForeignKeyConstraint(["customer_id"], ["customers.id"], name=op.f("fk_consents_customer_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_consents"))
    )
    op.create_index(op.f("ix_consents_customer_id"), "consents", ["customer_id"], unique=False)
    op.create_table(
        "desk_sessions",
        sa.Column("token_hash", sa.String(length=64), nullable=False),
        sa.Column("agent_id", ID, nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["agent_id"], ["support_agents.id"], name=op.f("fk_desk_sessions_agent_id")),
        sa.PrimaryKeyConstraint("token_hash", name=op.f("pk_desk_sessions"))
    )
    op.create_index(op.f("ix_desk_sessions_agent_id"), "desk_sessions", ["agent_id"], unique=False)
    op.create_table(
        "orders",
        sa.Column("id", ID, nullable=False),
        sa.Column("number", sa.String(length=20), nullable=False),
        sa.Column("customer_id", ID, nullable=True),
        sa.Column("status", sa.String(length=12), nullable=False),
        sa.Column("phone", sa.String(length=20), nullable=False),
        sa.Column("address", sa.String(length=300), nullable=False),
        sa.Column("total_fen", sa.Integer(), nullable=False),
        sa.Column("placed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("paid_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("completed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("returned_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("refunded_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("note", sa.Text(), nullable=True),
        sa.CheckConstraint("status IN ('unpaid', 'paid', 'packed', 'shipped', 'delivered', "
                           "'completed', 'cancelled', 'returning', 'returned')",
                           name=op.f("ck_orders_status")),
        sa.ForeignKeyConstraint(["customer_id"], ["customers.id"], name=op.f("fk_orders_customer_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_orders")),
        sa.UniqueConstraint("number", name=op.f("uq_orders_number"))
    )
    op.create_index(op.f("ix_orders_customer_id"), "orders", ["customer_id"], unique=False)
    op.create_index("ix_orders_customer_id_placed_at", "orders", ["customer_id", "placed_at"], unique=False)
    op.create_table(
        "conversations",
        sa.Column("id", ID, nullable=False),
        sa.Column("identity_id", ID, nullable=False),
        sa.Column("customer_id", ID, nullable=True),
        sa.Column("channel", sa.String(length=20), nullable=False),
        sa.Column("status", sa.String(length=10), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("assignee_id", ID, nullable=True),
        sa.Column("claimed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("team_id", ID, nullable=True),
        sa.Column("language", sa.String(length=2), nullable=False),
        sa.Column("anger", sa.Float(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_customer_message_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("snoozed_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("resolved_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("dispatch_lease", sa.String(length=40), nullable=True),
        sa.Column("dispatch_lease_until", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("status IN ('pending', 'open', 'snoozed', 'resolved')",
                           name=op.f("ck_conversations_status")),
        sa.ForeignKeyConstraint(["assignee_id"], ["support_agents.id"], name=op.f("fk_conversations_assignee_id")),
        sa.ForeignKeyConstraint(["customer_id"], ["customers.id"], name=op.f("fk_conversations_customer_id")),
        sa.ForeignKeyConstraint(["identity_id"], ["channel_identities.id"],
                                name=op.f("fk_conversations_identity_id")),
        sa.ForeignKeyConstraint(["team_id"], ["teams.id"], name=op.f("fk_conversations_team_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_conversations"))
    )
    op.create_index(op.f("ix_conversations_assignee_id"), "conversations", ["assignee_id"], unique=False)
    op.create_index(op.f("ix_conversations_customer_id"), "conversations", ["customer_id"], unique=False)
    op.create_index(op.f("ix_conversations_identity_id"), "conversations", ["identity_id"], unique=False)
    op.create_index(op.f("ix_conversations_status"), "conversations", ["status"], unique=False)
    op.create_index(op.f("ix_conversations_team_id"), "conversations", ["team_id"], unique=False)
    op.create_index(op.f("ix_conversations_updated_at"), "conversations", ["updated_at"], unique=False)
    op.create_table(
        "link_codes",
        sa.Column("id", ID, nullable=False),
        sa.Column("identity_id", ID, nullable=False),
        sa.Column("customer_id", ID, nullable=True),
        sa.Column("code_hash", sa.String(length=200), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("used_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["customer_id"], ["customers.id"], name=op.f("fk_link_codes_customer_id")),
        sa.ForeignKeyConstraint(["identity_id"], ["channel_identities.id"], name=op.f("fk_link_codes_identity_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_link_codes"))
    )
    op.create_index(op.f("ix_link_codes_customer_id"), "link_codes", ["customer_id"], unique=False)
    op.create_index(op.f("ix_link_codes_identity_id"), "link_codes", ["identity_id"], unique=False)
    op.create_table(
        "order_items",
        sa.Column("id", ID, nullable=False),
        sa.Column("order_id", ID, nullable=False),
        sa.Column("product_id", ID, nullable=False),
        sa.Column("quantity", sa.Integer(), nullable=False),
        sa.Column("price_fen", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["order_id"], ["orders.id"], name=op.f("fk_order_items_order_id")),
        sa.ForeignKeyConstraint(["product_id"], ["products.id"], name=op.f("fk_order_items_product_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_order_items"))
    )
    op.create_index(op.f("ix_order_items_order_id"), "order_items", ["order_id"], unique=False)
    op.create_index(op.f("ix_order_items_product_id"), "order_items", ["product_id"], unique=False)
    op.create_table(
        "points_entries",
        sa.Column("id", ID, nullable=False),
        sa.Column("customer_id", ID, nullable=False),
        sa.Column("kind", sa.String(length=10), nullable=False),
        sa.Column("points", sa.Integer(), nullable=False),
        sa.Column("order_id", ID, nullable=True),
        sa.Column("reward_id", ID, nullable=True),
        sa.Column("reason", sa.String(length=200), nullable=True),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("idempotency_key", sa.String(length=200), nullable=False),
        sa.CheckConstraint("kind IN ('earn', 'spend', 'expire', 'reverse', 'grant')",
                           name=op.f("ck_points_entries_kind")),
        sa.ForeignKeyConstraint(["customer_id"], ["customers.id"], name=op.f("fk_points_entries_customer_id")),
        sa.ForeignKeyConstraint(["order_id"], ["orders.id"], name=op.f("fk_points_entries_order_id")),
        sa.ForeignKeyConstraint(["reward_id"], ["rewards.id"], name=op.f("fk_points_entries_reward_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_points_entries")),
        sa.UniqueConstraint("idempotency_key", name=op.f("uq_points_entries_idempotency_key"))
    )
    op.create_index("ix_points_entries_customer_id_id", "points_entries", ["customer_id", "id"], unique=False)
    op.create_index(op.f("ix_points_entries_order_id"), "points_entries", ["order_id"], unique=False)
    op.create_index(op.f("ix_points_entries_reward_id"), "points_entries", ["reward_id"], unique=False)
    op.create_table(
        "shipments",
        sa.Column("id", ID, nullable=False),
        sa.Column("order_id", ID, nullable=False),
        sa.Column("carrier_zh", sa.String(length=40), nullable=False),
        sa.Column("carrier_en", sa.String(length=40), nullable=False),
        sa.Column("tracking_number", sa.String(length=40), nullable=False),
        sa.Column("shipped_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expected_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("delivered_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("events", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(["order_id"], ["orders.id"], name=op.f("fk_shipments_order_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_shipments")),
        sa.UniqueConstraint("tracking_number", name=op.f("uq_shipments_tracking_number"))
    )
    op.create_index(op.f("ix_shipments_order_id"), "shipments", ["order_id"], unique=False)
    op.create_table(
        "feedback",
        sa.Column("id", ID, nullable=False),
        sa.Column("customer_id", ID, nullable=True),
        sa.Column("conversation_id", ID, nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("idempotency_key", sa.String(length=200), nullable=False),
        sa.ForeignKeyConstraint(["conversation_id"], ["conversations.id"],
                                name=op.f("fk_feedback_conversation_id")),
        sa.ForeignKeyConstraint(["customer_id"], ["customers.id"], name=op.f("fk_feedback_customer_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_feedback")),
        sa.UniqueConstraint("idempotency_key", name=op.f("uq_feedback_idempotency_key"))
    )
    op.create_index(op.f("ix_feedback_conversation_id"), "feedback", ["conversation_id"], unique=False)
    op.create_index(op.f("ix_feedback_customer_id"), "feedback", ["customer_id"], unique=False)
    op.create_table(
        "messages",
        sa.Column("id", ID, nullable=False),
        sa.Column("conversation_id", ID, nullable=False),
        sa.Column("identity_id", ID, nullable=False),
        sa.Column("direction", sa.String(length=10), nullable=False),
        sa.Column("author", sa.String(length=10), nullable=False),
        sa.Column("agent_id", ID, nullable=True),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("buttons", sa.JSON(), nullable=False),
        sa.Column("payload", sa.String(length=500), nullable=True),
        sa.Column("channel_message_id", sa.String(length=200), nullable=True),
        sa.Column("in_reply_to_id", ID, nullable=True),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("handled_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("next_attempt_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("delivery_state", sa.String(length=10), nullable=True),
        sa.Column("delivered_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("dropped_reason", sa.String(length=40), nullable=True),
        sa.Column("understood", sa.JSON(), nullable=True),
        sa.Column("intent", sa.String(length=60), nullable=True),
        sa.Column("anger", sa.Float(), nullable=True),
        sa.Column("valence", sa.String(length=10), nullable=True),
        sa.CheckConstraint("author IN ('customer', 'bot', 'agent', 'system')", name=op.f("ck_messages_author")),
        sa.CheckConstraint("delivery_state IN ('queued', 'delivered', 'failed', 'dropped')",
                           name=op.f("ck_messages_delivery_state")),
        sa.CheckConstraint("direction IN ('incoming', 'outgoing', 'note')", name=op.f("ck_messages_direction")),
        sa.ForeignKeyConstraint(["agent_id"], ["support_agents.id"], name=op.f("fk_messages_agent_id")),
        sa.ForeignKeyConstraint(["conversation_id"], ["conversations.id"],
                                name=op.f("fk_messages_conversation_id")),
        sa.ForeignKeyConstraint(["identity_id"], ["channel_identities.id"], name=op.f("fk_messages_identity_id")),
        sa.ForeignKeyConstraint(["in_reply_to_id"], ["messages.id"], name=op.f("fk_messages_in_reply_to_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_messages")),
        sa.UniqueConstraint("identity_id", "channel_message_id",
                            name=op.f("uq_messages_identity_id_channel_message_id")),
        sa.UniqueConstraint("in_reply_to_id", "position", name=op.f("uq_messages_in_reply_to_id_position"))
    )
    op.create_index("ix_messages_conversation_id_id", "messages", ["conversation_id", "id"], unique=False)
    op.create_index(op.f("ix_messages_intent"), "messages", ["intent"], unique=False)
    op.create_index("ix_messages_undelivered", "messages", ["id"], unique=False,
                    sqlite_where=sa.text("delivery_state = 'queued'"),
                    postgresql_where=sa.text("delivery_state = 'queued'"))
    op.create_index("ix_messages_unhandled", "messages", ["conversation_id", "id"], unique=False,
                    sqlite_where=sa.text("direction = 'incoming' AND handled_at IS NULL"),
                    postgresql_where=sa.text("direction = 'incoming' AND handled_at IS NULL"))
    op.create_table(
        "notifications",
        sa.Column("id", ID, nullable=False),
        sa.Column("agent_id", ID, nullable=False),
        sa.Column("kind", sa.String(length=30), nullable=False),
        sa.Column("conversation_id", ID, nullable=True),
        sa.Column("data", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("seen_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("idempotency_key", sa.String(length=200), nullable=False),
        sa.ForeignKeyConstraint(["agent_id"], ["support_agents.id"], name=op.f("fk_notifications_agent_id")),
        sa.ForeignKeyConstraint(["conversation_id"], ["conversations.id"],
                                name=op.f("fk_notifications_conversation_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_notifications")),
        sa.UniqueConstraint("idempotency_key", name=op.f("uq_notifications_idempotency_key"))
    )
    op.create_index(op.f("ix_notifications_agent_id"), "notifications", ["agent_id"], unique=False)
    op.create_index(op.f("ix_notifications_conversation_id"), "notifications", ["conversation_id"], unique=False)
    op.create_table(
        "points_allocations",
        sa.Column("entry_id", ID, nullable=False),
        sa.Column("lot_id", ID, nullable=False),
        sa.Column("points", sa.Integer(), nullable=False),
        sa.CheckConstraint("points > 0", name=op.f("ck_points_allocations_points")),
        sa.ForeignKeyConstraint(["entry_id"], ["points_entries.id"], name=op.f("fk_points_allocations_entry_id")),
        sa.ForeignKeyConstraint(["lot_id"], ["points_entries.id"], name=op.f("fk_points_allocations_lot_id")),
        sa.PrimaryKeyConstraint("entry_id", "lot_id", name=op.f("pk_points_allocations"))
    )
    op.create_index(op.f("ix_points_allocations_lot_id"), "points_allocations", ["lot_id"], unique=False)
    op.create_table(
        "ratings",
        sa.Column("id", ID, nullable=False),
        sa.Column("conversation_id", ID, nullable=False),
        sa.Column("episode_resolved_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("score", sa.Integer(), nullable=False),
        sa.Column("agent_id", ID, nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("score BETWEEN 1 AND 5", name=op.f("ck_ratings_score")),
        sa.ForeignKeyConstraint(["agent_id"], ["support_agents.id"], name=op.f("fk_ratings_agent_id")),
        sa.ForeignKeyConstraint(["conversation_id"], ["conversations.id"], name=op.f("fk_ratings_conversation_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ratings")),
        sa.UniqueConstraint("conversation_id", "episode_resolved_at",
                            name=op.f("uq_ratings_conversation_id_episode_resolved_at"))
    )
    op.create_index(op.f("ix_ratings_agent_id"), "ratings", ["agent_id"], unique=False)
    op.create_index(op.f("ix_ratings_conversation_id"), "ratings", ["conversation_id"], unique=False)
    op.create_table(
        "redemptions",
        sa.Column("id", ID, nullable=False),
        sa.Column("customer_id", ID, nullable=False),
        sa.Column("reward_id", ID, nullable=False),
        sa.Column("entry_id", ID, nullable=False),
        sa.Column("code", sa.String(length=20), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["customer_id"], ["customers.id"], name=op.f("fk_redemptions_customer_id")),
        sa.ForeignKeyConstraint(["entry_id"], ["points_entries.id"], name=op.f("fk_redemptions_entry_id")),
        sa.ForeignKeyConstraint(["reward_id"], ["rewards.id"], name=op.f("fk_redemptions_reward_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_redemptions")),
        sa.UniqueConstraint("code", name=op.f("uq_redemptions_code"))
    )
    op.create_index(op.f("ix_redemptions_customer_id"), "redemptions", ["customer_id"], unique=False)
    op.create_index(op.f("ix_redemptions_entry_id"), "redemptions", ["entry_id"], unique=False)
    op.create_index(op.f("ix_redemptions_reward_id"), "redemptions", ["reward_id"], unique=False)
    op.create_table(
        "tickets",
        sa.Column("id", ID, nullable=False),
        sa.Column("number", sa.String(length=20), nullable=False),
        sa.Column("kind", sa.String(length=12), nullable=False),
        sa.Column("request_type", sa.String(length=12), nullable=True),
        sa.Column("conversation_id", ID, nullable=False),
        sa.Column("customer_id", ID, nullable=True),
        sa.Column("order_id", ID, nullable=True),
        sa.Column("status", sa.String(length=12), nullable=False),
        sa.Column("stage", sa.String(length=12), nullable=False),
        sa.Column("grade", sa.String(length=12), nullable=True),
        sa.Column("level", sa.String(length=20), nullable=False),
        sa.Column("reason", sa.String(length=20), nullable=True),
        sa.Column("category", sa.String(length=20), nullable=True),
        sa.Column("summary", sa.Text(), nullable=False),
        sa.Column("wish", sa.Text(), nullable=True),
        sa.Column("language", sa.String(length=2), nullable=False),
        sa.Column("keeper_id", ID, nullable=True),
        sa.Column("assignee_id", ID, nullable=True),
        sa.Column("cycle", sa.Integer(), nullable=False),
        sa.Column("opened_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("resolved_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("resolution_cause", sa.String(length=60), nullable=True),
        sa.Column("idempotency_key", sa.String(length=200), nullable=False),
        sa.CheckConstraint("grade IN ('ordinary', 'complex', 'major')", name=op.f("ck_tickets_grade")),
        sa.CheckConstraint("kind IN ('complaint', 'handoff', 'request')", name=op.f("ck_tickets_kind")),
        sa.CheckConstraint("level IN ('front_line', 'experts', 'management')", name=op.f("ck_tickets_level")),
        sa.CheckConstraint("reason IN ('asked', 'anger', 'major_complaint', 'stuck', 'system')",
                           name=op.f("ck_tickets_reason")),
        sa.CheckConstraint("request_type IN ('return', 'refund', 'cancel', 'change', 'privacy')",
                           name=op.f("ck_tickets_request_type")),
        sa.CheckConstraint("status IN ('open', 'waiting', 'resolved')", name=op.f("ck_tickets_status")),
        sa.ForeignKeyConstraint(["assignee_id"], ["support_agents.id"], name=op.f("fk_tickets_assignee_id")),
        sa.ForeignKeyConstraint(["conversation_id"], ["conversations.id"], name=op.f("fk_tickets_conversation_id")),
        sa.ForeignKeyConstraint(["customer_id"], ["customers.id"], name=op.f("fk_tickets_customer_id")),
        sa.ForeignKeyConstraint(["keeper_id"], ["support_agents.id"], name=op.f("fk_tickets_keeper_id")),
        sa.ForeignKeyConstraint(["order_id"], ["orders.id"], name=op.f("fk_tickets_order_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tickets")),
        sa.UniqueConstraint("idempotency_key", name=op.f("uq_tickets_idempotency_key")),
        sa.UniqueConstraint("number", name=op.f("uq_tickets_number"))
    )
    op.create_index(op.f("ix_tickets_assignee_id"), "tickets", ["assignee_id"], unique=False)
    op.create_index(op.f("ix_tickets_conversation_id"), "tickets", ["conversation_id"], unique=False)
    op.create_index(op.f("ix_tickets_customer_id"), "tickets", ["customer_id"], unique=False)
    op.create_index(op.f("ix_tickets_keeper_id"), "tickets", ["keeper_id"], unique=False)
    op.create_index(op.f("ix_tickets_order_id"), "tickets", ["order_id"], unique=False)
    op.create_index(op.f("ix_tickets_status"), "tickets", ["status"], unique=False)
    op.create_table(
        "escalations",
        sa.Column("id", ID, nullable=False),
        sa.Column("conversation_id", ID, nullable=False),
        sa.Column("ticket_id", ID, nullable=False),
        sa.Column("message_id", ID, nullable=True),
        sa.Column("reason", sa.String(length=20), nullable=False),
        sa.Column("anger", sa.Float(), nullable=True),
        sa.Column("decided_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("reason IN ('asked', 'anger', 'major_complaint', 'stuck', 'system')",
                           name=op.f("ck_escalations_reason")),
        sa.ForeignKeyConstraint(["conversation_id"], ["conversations.id"],
                                name=op.f("fk_escalations_conversation_id")),
        sa.ForeignKeyConstraint(["message_id"], ["messages.id"], name=op.f("fk_escalations_message_id")),
        sa.ForeignKeyConstraint(["ticket_id"], ["tickets.id"], name=op.f("fk_escalations_ticket_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_escalations")),
        sa.UniqueConstraint("message_id", name=op.f("uq_escalations_message_id"))
    )
    op.create_index(op.f("ix_escalations_conversation_id"), "escalations", ["conversation_id"], unique=False)
    op.create_index(op.f("ix_escalations_ticket_id"), "escalations", ["ticket_id"], unique=False)
    op.create_table(
        "sla_clocks",
        sa.Column("id", ID, nullable=False),
        sa.Column("ticket_id", ID, nullable=False),
        sa.Column("policy_id", ID, nullable=False),
        sa.Column("promise", sa.String(length=20), nullable=False),
        sa.Column("cycle", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(length=12), nullable=False),
        sa.Column("target_seconds", sa.Integer(), nullable=False),
        sa.Column("elapsed_seconds", sa.Integer(), nullable=False),
        sa.Column("around_the_clock", sa.Boolean(), nullable=False),
        sa.Column("calendar_id", ID, nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("resumed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("paused_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("warned_percent", sa.Integer(), nullable=False),
        sa.Column("next_event_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("met_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("breached_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("promise IN ('first_response', 'next_response', 'resolution', 'follow_up')",
                           name=op.f("ck_sla_clocks_promise")),
        sa.CheckConstraint("state IN ('running', 'paused', 'met', 'breached', 'cancelled')",
                           name=op.f("ck_sla_clocks_state")),
        sa.ForeignKeyConstraint(["calendar_id"], ["business_calendars.id"], name=op.f("fk_sla_clocks_calendar_id")),
        sa.ForeignKeyConstraint(["policy_id"], ["sla_policies.id"], name=op.f("fk_sla_clocks_policy_id")),
        sa.ForeignKeyConstraint(["ticket_id"], ["tickets.id"], name=op.f("fk_sla_clocks_ticket_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sla_clocks")),
        sa.UniqueConstraint("ticket_id", "promise", "cycle", name=op.f("uq_sla_clocks_ticket_id_promise_cycle"))
    )
    op.create_index(op.f("ix_sla_clocks_calendar_id"), "sla_clocks", ["calendar_id"], unique=False)
    op.create_index("ix_sla_clocks_next_event_at", "sla_clocks", ["next_event_at"], unique=False)
    op.create_index(op.f("ix_sla_clocks_policy_id"), "sla_clocks", ["policy_id"], unique=False)
    op.create_table(
        "sla_events",
        sa.Column("id", ID, nullable=False),
        sa.Column("clock_id", ID, nullable=False),
        sa.Column("kind", sa.String(length=20), nullable=False),
        sa.Column("occurrence", sa.Integer(), nullable=False),
        sa.Column("occurred_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["clock_id"], ["sla_clocks.id"], name=op.f("fk_sla_events_clock_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sla_events")),
        sa.UniqueConstraint("clock_id", "kind", "occurrence", name=op.f("uq_sla_events_clock_id_kind_occurrence"))
    )
    op.create_index(op.f("ix_sla_events_clock_id"), "sla_events", ["clock_id"], unique=False)


def downgrade() -> None:
    op.drop_table("sla_events")
    op.drop_table("sla_clocks")
    op.drop_table("escalations")
    op.drop_table("tickets")
    op.drop_table("redemptions")
    op.drop_table("ratings")
    op.drop_table("points_allocations")
    op.drop_table("notifications")
    op.drop_table("messages")
    op.drop_table("feedback")
    op.drop_table("shipments")
    op.drop_table("points_entries")
    op.drop_table("order_items")
    op.drop_table("link_codes")
    op.drop_table("conversations")
    op.drop_table("orders")
    op.drop_table("desk_sessions")
    op.drop_table("consents")
    op.drop_table("channel_identities")
    op.drop_table("support_agents")
    op.drop_table("sla_policies")
    op.drop_table("rewards")
    op.drop_table("customers")
    op.drop_table("article_passages")
    op.drop_table("tiers")
    op.drop_table("teams")
    op.drop_table("products")
    op.drop_table("macros")
    op.drop_table("login_failures")
    op.drop_table("knowledge_articles")
    op.drop_table("dialogue_trackers")
    op.drop_table("business_calendars")
    op.drop_table("audit_log")

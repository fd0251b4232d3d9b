"""Suggestions have a topic and an answer; customers are asked whether they would recommend the shop.

Revision: 0021, after: 0020
"""
from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from crm_store.database import UtcDateTime

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None

BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    with op.batch_alter_table("feedback") as feedback:
        feedback.add_column(sa.Column("topic", sa.String(length=20), nullable=False, server_default="other"))
        feedback.add_column(sa.Column("status", sa.String(length=10), nullable=False, server_default="new"))
        feedback.add_column(sa.Column("answer", sa.Text(), nullable=True))
        feedback.add_column(sa.Column("answered_by_id", BIG, nullable=True))
        feedback.add_column(sa.Column("answered_at", UtcDateTime(), nullable=True))
        feedback.create_foreign_key(op.f("fk_feedback_answered_by_id"), "support_agents", ["answered_by_id"], ["id"])
        feedback.create_check_constraint(
            op.f("ck_feedback_status"), "status IN ('new', 'planned', 'done', 'declined')")
        feedback.create_index(op.f("ix_feedback_status_topic"), ["status", "topic"])
    op.create_table(
        "recommendations",
        sa.Column("id", BIG, nullable=False),
        sa.Column("customer_id", BIG, nullable=False),
        sa.Column("conversation_id", BIG, nullable=False),
        sa.Column("agent_id", BIG, nullable=True),
        sa.Column("policy_id", BIG, nullable=True),
        sa.Column("asked_at", UtcDateTime(), nullable=False),
        sa.Column("answered_at", UtcDateTime(), nullable=True),
        sa.Column("score", sa.Integer(), nullable=True),
        sa.CheckConstraint("score BETWEEN 0 AND 10", name=op.f("ck_recommendations_score")),
        sa.ForeignKeyConstraint(["customer_id"], ["customers.id"], name=op.f("fk_recommendations_customer_id")),
        sa.ForeignKeyConstraint(["conversation_id"], ["conversations.id"],
                                name=op.f("fk_recommendations_conversation_id")),
        sa.ForeignKeyConstraint(["agent_id"], ["support_agents.id"], name=op.f("fk_recommendations_agent_id")),
        sa.ForeignKeyConstraint(["policy_id"], ["sla_policies.id"], name=op.f("fk_recommendations_policy_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_recommendations")))
    for columns in (["conversation_id"], ["agent_id"], ["answered_at"], ["customer_id", "asked_at"]):
        op.create_index(op.f(f"ix_recommendations_{'_'.join(columns)}"), "recommendations", columns)


def downgrade() -> None:
    op.drop_table("recommendations")
    with op.batch_alter_table("feedback") as feedback:
        feedback.drop_index(op.f("ix_feedback_status_topic"))
        feedback.drop_constraint(op.f("ck_feedback_status"), type_="check")
        feedback.drop_constraint(op.f("fk_feedback_answered_by_id"), type_="foreignkey")
        for column in ("answered_at", "answered_by_id", "answer", "status", "topic"):
            feedback.drop_column(column)

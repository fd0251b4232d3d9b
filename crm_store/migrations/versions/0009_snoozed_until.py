"""What is snoozed until a time is found by that time.

Revision: 0009, after: 0008
"""
from __future__ import annotations

from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index(op.f("ix_conversations_snoozed_until"), "conversations", ["snoozed_until"], unique=False)


def downgrade() -> None:
    op.drop_index(op.f("ix_conversations_snoozed_until"), table_name="conversations")

"""What managers decided of messages the bot did not understand.

Revision: 0008, after: 0007
"""
from __future__ import annotations

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    pass


def downgrade() -> None:
    pass

"""Two records of one person can be merged, and their points move between ledgers.

Revision: 0020, after: 0019
"""
from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None

BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
TIME = sa.DateTime(timezone=True)
TABLE, CONSTRAINT = "points_entries", "ck_points_entries_kind"
BEFORE = "kind IN ('earn', 'spend', 'expire', 'reverse', 'grant')"
AFTER = "kind IN ('earn', 'spend', 'expire', 'reverse', 'grant', 'move')"


def upgrade() -> None:
    op.add_column("customers", sa.Column("merged_into_id", BIG, nullable=True))
    op.create_index(op.f("ix_customers_merged_into_id"), "customers", ["merged_into_id"])
    op.create_table(
        "merges",
        sa.Column("id", BIG, nullable=False),
        sa.Column("kept_id", BIG, nullable=False),
        sa.Column("gone_id", BIG, nullable=False),
        sa.Column("agent_id", BIG, nullable=False),
        sa.Column("merged_at", TIME, nullable=False),
        sa.Column("moved", sa.JSON(), nullable=False),
        sa.Column("undone_at", TIME, nullable=True),
        sa.Column("undone_by_id", BIG, nullable=True),
        sa.ForeignKeyConstraint(["kept_id"], ["customers.id"], name=op.f("fk_merges_kept_id")),
        sa.ForeignKeyConstraint(["gone_id"], ["customers.id"], name=op.f("fk_merges_gone_id")),
        sa.ForeignKeyConstraint(["agent_id"], ["support_agents.id"], name=op.f("fk_merges_agent_id")),
        sa.ForeignKeyConstraint(["undone_by_id"], ["support_agents.id"], name=op.f("fk_merges_undone_by_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_merges")))
    for column in ("kept_id", "gone_id"):
        op.create_index(op.f(f"ix_merges_{column}"), "merges", [column])
    _check(BEFORE, AFTER)


def downgrade() -> None:
    _check(AFTER, BEFORE)
    op.drop_table("merges")
    op.drop_index(op.f("ix_customers_merged_into_id"), "customers")
    op.drop_column("customers", "merged_into_id")


def _on_sqlite() -> bool:
    return bool(op.get_context().dialect.name == "sqlite")


def _check(before: str, after: str) -> None:
    """Change which kinds of entries there are; on SQLite the table is made anew, with its indexes and triggers."""
    if not _on_sqlite():
        op.drop_constraint(op.f(CONSTRAINT), TABLE, type_="check")
        op.create_check_constraint(op.f(CONSTRAINT), TABLE, after)
        return
    connection = op.get_bind()
    made, *others = connection.exec_driver_sql(
        "SELECT sql FROM sqlite_master WHERE sql IS NOT NULL "
        f"AND tbl_name = '{TABLE}' ORDER BY type = 'table' DESC").scalars()
    if before not in made:
        raise RuntimeError(f"{TABLE} has no check that can be changed")
    for statement in (
            "PRAGMA defer_foreign_keys = ON", f"CREATE TEMPORARY TABLE kept AS SELECT * FROM {TABLE}",
            f"DROP TABLE {TABLE}", made.replace(before, after), f"INSERT INTO {TABLE} SELECT * FROM kept",
            "DROP TABLE kept", *others):
        connection.exec_driver_sql(statement)

"""The nightly job; cancelled and used redemptions, part refunds, grants by case; a ledger that cannot be rewritten.

Revision: 0011, after: 0010

Going down on SQLite takes an empty ledger: there a table that others refer to cannot be rewritten.
"""
from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

REFERENCES = (("origin_id", "points_entries"), ("ticket_id", "tickets"))
# ``reason`` is left out: it is free text, and forgetting a person may have to forget it.
FACTS = ("id", "customer_id", "kind", "points", "order_id", "reward_id", "ticket_id", "origin_id", "expires_at",
         "created_at", "idempotency_key")
GUARDED = (("points_entries", f"UPDATE OF {', '.join(FACTS)}"), ("points_allocations", "UPDATE"),
           ("points_entries", "DELETE"), ("points_allocations", "DELETE"))
REFUSAL = "the points ledger is append-only"


def upgrade() -> None:
    op.create_table(
        "jobs",
        sa.Column("name", sa.String(length=40), nullable=False),
        sa.Column("done_for", sa.Date(), nullable=True),
        sa.Column("done_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("reviewed_year", sa.Integer(), nullable=True),
        sa.Column("worker", sa.String(length=40), nullable=True),
        sa.Column("worker_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("report", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_jobs"))
    )
    op.add_column("orders", sa.Column("refunded_fen", sa.Integer(), server_default="0", nullable=False))
    op.add_column("redemptions", sa.Column("used_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("redemptions", sa.Column("cancelled_at", sa.DateTime(timezone=True), nullable=True))
    for column, table in REFERENCES:  # in words: Alembic's SQLite would have to rewrite the table for it
        kind = "INTEGER" if _on_sqlite() else "BIGINT"
        op.execute(f"ALTER TABLE points_entries ADD COLUMN {column} {kind} "
                   f"CONSTRAINT fk_points_entries_{column} REFERENCES {table} (id)")
    _guard()


def downgrade() -> None:
    _unguard()
    if _on_sqlite():  # it drops no column that refers to another table, so the table is rewritten
        with op.batch_alter_table("points_entries") as batch:
            for column, _ in REFERENCES:
                batch.drop_column(column)
    else:
        for column, _ in REFERENCES:
            op.drop_column("points_entries", column)
    op.drop_column("redemptions", "cancelled_at")
    op.drop_column("redemptions", "used_at")
    op.drop_column("orders", "refunded_fen")
    op.drop_table("jobs")


def _on_sqlite() -> bool:
    return bool(op.get_context().dialect.name == "sqlite")


def _name(table: str, what: str) -> str:
    return f"{table}_no_{what.split()[0].lower()}"


def _guard() -> None:
    if _on_sqlite():
        for table, what in GUARDED:
            op.execute(f"CREATE TRIGGER {_name(table, what)} BEFORE {what} ON {table} "
                       f"BEGIN SELECT RAISE(ABORT, '{REFUSAL}'); END")
        return
    op.execute(f"CREATE FUNCTION points_are_append_only() RETURNS trigger LANGUAGE plpgsql AS "
               f"$$ BEGIN RAISE EXCEPTION '{REFUSAL}' USING ERRCODE = 'integrity_constraint_violation'; END $$")
    for table, what in GUARDED:
        op.execute(f"CREATE TRIGGER {_name(table, what)} BEFORE {what} ON {table} "
                   "FOR EACH ROW EXECUTE FUNCTION points_are_append_only()")


def _unguard() -> None:
    for table, what in GUARDED:
        op.execute(f"DROP TRIGGER {_name(table, what)}" + ("" if _on_sqlite() else f" ON {table}"))
    if not _on_sqlite():
        op.execute("DROP FUNCTION points_are_append_only()")

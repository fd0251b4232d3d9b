"""What customers are worth, and marks of whose orders changed, which the database sets itself.

Revision: 0015, after: 0014
"""
from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

SEGMENTS = ("champions", "loyal", "new", "promising", "attention", "fading", "at_risk", "hibernating", "lost")
STAGES = ("new", "active", "cooling", "dormant", "lost")
COUNTED = ("customer_id", "status", "total_fen", "placed_at", "paid_at", "refunded_at", "refunded_fen")
EVENTS = ("insert", "update", "delete")


def upgrade() -> None:
    op.create_table(
        "value_models",
        sa.Column("id", _id(), nullable=False),
        sa.Column("fitted_for", sa.Date(), nullable=False),
        sa.Column("fitted_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("customers", sa.Integer(), nullable=False),
        sa.Column("repeaters", sa.Integer(), nullable=False),
        sa.Column("sample", sa.Integer(), nullable=False),
        sa.Column("rhythm_days", sa.Integer(), nullable=False),
        sa.Column("borders", sa.JSON(), nullable=False),
        *(sa.Column(name, sa.Float(), nullable=True) for name in ("r", "alpha", "a", "b", "p", "q", "gamma",
                                                                  "correlation")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_value_models")),
        sa.UniqueConstraint("fitted_for", name=op.f("uq_value_models_fitted_for"))
    )
    op.create_table(
        "customer_values",
        sa.Column("customer_id", _id(), autoincrement=False, nullable=False),
        sa.Column("purchases", sa.Integer(), nullable=False),
        sa.Column("first_on", sa.Date(), nullable=False),
        sa.Column("last_on", sa.Date(), nullable=False),
        sa.Column("rhythm_days", sa.Integer(), nullable=True),
        sa.Column("spent_fen", sa.BigInteger(), nullable=False),
        sa.Column("returns", sa.Integer(), nullable=False),
        *(sa.Column(name, sa.SmallInteger(), nullable=True) for name in ("recency", "frequency", "monetary")),
        sa.Column("segment", sa.String(length=20), nullable=True),
        sa.Column("stage", sa.String(length=10), nullable=False),
        sa.Column("alive", sa.Float(), nullable=True),
        sa.Column("expected_purchases", sa.Float(), nullable=True),
        sa.Column("worth_fen", sa.BigInteger(), nullable=True),
        sa.Column("judged_on", sa.Date(), nullable=False),
        sa.Column("counted_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(f"segment IN ({', '.join(map(repr, SEGMENTS))})", name=op.f("ck_customer_values_segment")),
        sa.CheckConstraint(f"stage IN ({', '.join(map(repr, STAGES))})", name=op.f("ck_customer_values_stage")),
        sa.ForeignKeyConstraint(["customer_id"], ["customers.id"], name=op.f("fk_customer_values_customer_id")),
        sa.PrimaryKeyConstraint("customer_id", name=op.f("pk_customer_values"))
    )
    op.create_table(
        "value_marks",
        sa.Column("id", _id(), nullable=False),
        sa.Column("customer_id", _id(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_value_marks"))
    )
    op.create_index(op.f("ix_value_marks_customer_id"), "value_marks", ["customer_id"])
    (_mark_on_sqlite if _on_sqlite() else _mark_on_postgresql)()
    op.execute("INSERT INTO value_marks (customer_id) SELECT DISTINCT customer_id FROM orders "
               "WHERE customer_id IS NOT NULL")


def downgrade() -> None:
    for event in EVENTS:
        op.execute(f"DROP TRIGGER orders_mark_{event}" + ("" if _on_sqlite() else " ON orders"))
        if not _on_sqlite():
            op.execute(f"DROP FUNCTION orders_mark_{event}()")
    op.drop_table("value_marks")
    op.drop_table("customer_values")
    op.drop_table("value_models")


def _id() -> sa.types.TypeEngine:  # type: ignore[type-arg]
    return sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def _on_sqlite() -> bool:
    return bool(op.get_context().dialect.name == "sqlite")


def _mark_on_sqlite() -> None:
    for event, when, rows in (("insert", "INSERT", ("NEW",)), ("delete", "DELETE", ("OLD",)),
                              ("update", f"UPDATE OF {', '.join(COUNTED)}", ("OLD", "NEW"))):
        chosen = " UNION ".join(f"SELECT {row}.customer_id WHERE {row}.customer_id IS NOT NULL" for row in rows)
        op.execute(f"CREATE TRIGGER orders_mark_{event} AFTER {when} ON orders "
                   f"BEGIN INSERT INTO value_marks (customer_id) {chosen}; END")


def _mark_on_postgresql() -> None:
    """Once a statement and not a row, so that orders that come in by the thousand cost one insert more."""
    unlike = " OR ".join(f"o.{column} IS DISTINCT FROM n.{column}" for column in COUNTED)
    changed = f"FROM old_rows o JOIN new_rows n ON n.id = o.id WHERE {unlike}"
    for event, tables, rows in (
            ("insert", "NEW TABLE AS new_rows", "SELECT customer_id FROM new_rows"),
            ("delete", "OLD TABLE AS old_rows", "SELECT customer_id FROM old_rows"),
            ("update", "OLD TABLE AS old_rows NEW TABLE AS new_rows",
             f"SELECT o.customer_id {changed} UNION SELECT n.customer_id {changed}")):
        op.execute(f"CREATE FUNCTION orders_mark_{event}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
                   f"INSERT INTO value_marks (customer_id) SELECT DISTINCT customer_id FROM ({rows}) AS rows "
                   "WHERE customer_id IS NOT NULL; RETURN NULL; END $$")
        op.execute(f"CREATE TRIGGER orders_mark_{event} AFTER {event.upper()} ON orders REFERENCING {tables} "
                   f"FOR EACH STATEMENT EXECUTE FUNCTION orders_mark_{event}()")

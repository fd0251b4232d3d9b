"""What every model shares: the registry, the naming of constraints, the column types."""
from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import declarative_base

NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_name)s",
    "pk": "pk_%(table_name)s",
}

Base: Any = declarative_base(metadata=sa.MetaData(naming_convention=NAMING))

Id = sa.BigInteger().with_variant(sa.Integer, "sqlite")
LARGEST_ID = 2**63 - 1


def reference(target: str, *, nullable: bool = False, index: bool = True, **options: Any) -> sa.Column[Any]:
    """A foreign key column to ``table.column``, indexed because every one of them is looked up by."""
    return sa.Column(Id, sa.ForeignKey(target, **options), nullable=nullable, index=index)


def one_of(name: str, column: str, values: tuple[str, ...]) -> sa.CheckConstraint:
    """A check that ``column`` holds one of ``values``: readable in any database tool, alike on both databases."""
    return sa.CheckConstraint(f"{column} IN ({', '.join(repr(v) for v in values)})", name=name)

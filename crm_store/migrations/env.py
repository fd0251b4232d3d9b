"""Runs the migrations on the database that :func:`crm_store.schema.migrate` or ``alembic -x url=…`` names."""
from __future__ import annotations

from typing import Any

from alembic import context

from crm_store.database import create_engine
from crm_store.models import Base
from crm_store.models.search import is_of_the_index


def _url() -> str:
    named = context.config.attributes.get("url") or context.get_x_argument(as_dictionary=True).get("url")
    return str(named or context.config.get_main_option("sqlalchemy.url"))


def _described(_object: Any, name: str | None, kind: str, *_rest: Any) -> bool:
    return not (kind == "table" and is_of_the_index(name or ""))


def _run() -> None:
    engine = create_engine(_url())
    try:
        with engine.connect() as connection:
            context.configure(
                connection=connection, target_metadata=Base.metadata, compare_type=True,
                include_object=_described, render_as_batch=connection.dialect.name == "sqlite",
            )
            with context.begin_transaction():
                context.run_migrations()
            connection.commit()
    finally:
        engine.dispose()


if context.is_offline_mode():
    context.configure(url=_url(), target_metadata=Base.metadata, literal_binds=True,
                      dialect_opts={"paramstyle": "named"})
    with context.begin_transaction():
        context.run_migrations()
else:
    _run()

"""Looks for words in every table of the store, whatever a model says of it: how an erasure is proven."""
from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, quote_plus

import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.orm import Session

from crm_store.rules.search_words import index_words

SHORTEST = 4  # letters or digits, two Chinese signs: what is shorter is found everywhere and proves nothing
ROWS_AT_ONCE = 2000


@dataclass(frozen=True)
class Trace:
    """How many rows of a column hold something that was looked for."""

    table: str
    column: str
    rows: int


def ways_to_write(word: str) -> set[str]:
    """How a word may stand in a store or a file: as it is, inside JSON, in an address, in an index of words."""
    indexed = index_words(word)
    return {word, json.dumps(word)[1:-1], json.dumps(word, ensure_ascii=False)[1:-1], quote(word), quote_plus(word),
            " ".join(indexed), " ".join(reversed(indexed))} if telling(word) else set()


def telling(word: str) -> bool:
    """Whether a word says enough to be looked for; a Chinese sign counts for two."""
    return sum(2 if ord(sign) > 0x2E80 else 1 for sign in word.strip()) >= SHORTEST


def needles(words: Iterable[str | None]) -> list[str]:
    """Every way in which the words may be written, each once; without what is found with another of them anyway."""
    found = {way for word in words if word for way in ways_to_write(word.strip()) if telling(way)}
    shortest_first = sorted(found, key=lambda way: (len(way), way))
    kept: list[str] = []
    for way in shortest_first:
        if not any(other in way for other in kept):
            kept.append(way)
    return kept


def columns(connection: Connection | Session) -> Mapping[str, Sequence[str]]:
    """The columns of every table that the database itself knows, those that no model describes too."""
    if _dialect(connection) == "sqlite":
        tables = connection.execute(sa.text(
            "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY name")).scalars()
        return {table: [row.name for row in connection.execute(
            sa.text("SELECT name FROM pragma_table_info(:table) ORDER BY cid"), {"table": table})]
            for table in tables.all()}
    found: dict[str, list[str]] = {}
    for table, column in connection.execute(sa.text(
            "SELECT c.relname, a.attname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid "
            "WHERE c.relkind IN ('r', 'm', 'p') AND c.relnamespace = CURRENT_SCHEMA()::regnamespace "
            "AND a.attnum > 0 AND NOT a.attisdropped ORDER BY c.relname, a.attnum")):
        found.setdefault(table, []).append(column)
    return found


def find_traces(connection: Connection | Session, words: Sequence[str], *, besides: Collection[str] = (),
                statistics: bool = False) -> list[Trace]:
    """The columns in which any of the words stands, in whatever case.

    Args:
        connection: for reading.
        words: from :func:`needles`.
        besides: tables that are not looked through.
        statistics: also what PostgreSQL has noted of frequent values, which only an owner may see.
    """
    wanted = re.compile("|".join(map(re.escape, words)), re.IGNORECASE)
    traces = [] if not words else [
        Trace(table, column, rows) for table, names in columns(connection).items() if table not in besides
        for column, rows in _in_table(connection, table, names, wanted)]
    if statistics and words and _dialect(connection) == "postgresql":
        traces += _in_statistics(connection, words)
    return traces


def _in_table(connection: Connection | Session, table: str, names: Sequence[str],
              wanted: re.Pattern[str]) -> Iterator[tuple[str, int]]:
    source = sa.select(*(sa.column(name) for name in names)).select_from(sa.table(table))
    hits: Counter[str] = Counter()
    for row in connection.execute(source.execution_options(yield_per=ROWS_AT_ONCE)):
        if wanted.search("\0".join(map(_as_text, row))):
            hits.update(name for name, value in zip(names, row, strict=True) if wanted.search(_as_text(value)))
    return iter(hits.items())


def _as_text(value: Any) -> str:
    """A value of any type as it may be read; bytes as the text that they may hold."""
    if isinstance(value, (bytes, memoryview)):
        return bytes(value).decode("utf8", "ignore")
    if isinstance(value, (dict, list)):
        return json.dumps(value, ensure_ascii=False)
    return "" if value is None else str(value)


def _in_statistics(connection: Connection | Session, words: Sequence[str]) -> list[Trace]:
    values = sa.func.lower(sa.literal_column("most_common_vals::text || ' ' || coalesce(histogram_bounds::text, '')"))
    rows = connection.execute(
        sa.select(sa.column("tablename"), sa.column("attname"))
        .select_from(sa.text("pg_stats")).where(sa.text("schemaname = CURRENT_SCHEMA()"), sa.or_(
            *(sa.func.strpos(values, word.lower()) > 0 for word in words)))).all()
    return [Trace("pg_statistic", f"{table}.{column}", 1) for table, column in rows]


def _dialect(connection: Connection | Session) -> str:
    return str((connection.get_bind() if isinstance(connection, Session) else connection).dialect.name)

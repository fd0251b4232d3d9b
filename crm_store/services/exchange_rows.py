"""What imports of every kind have in common: deciding what becomes of each row, and writing many rows at once."""
from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy import select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from crm_store.models import Customer, RowVersion, Tombstone
from crm_store.rules.exchange_files import Row, RowError
from crm_store.services.customers import person_of
from crm_store.services.erasure import hash_of

OUTCOMES = ("created", "updated", "unchanged", "older", "wrong")
VALUES_AT_ONCE = 1000
Values = dict[str, Any]


@dataclass
class Batch:
    """Some rows of one file on their way in.

    Attributes:
        session: the unit of work.
        rows: what was read.
        now: when.
        write: False only looks what would become of the rows.
        key: what tombstones of erased customers were made with.
        memory: what one batch of a file has to tell the next.
        outcomes: what became of each row, by its line.
        errors: what is wrong with rows.
    """

    session: Session
    rows: Sequence[Row]
    now: datetime
    write: bool
    key: bytes
    memory: dict[str, Any]
    outcomes: dict[int, str] = field(default_factory=dict)
    errors: list[RowError] = field(default_factory=list)

    def refuse(self, row: Row, column: str | None, code: str, **data: Any) -> None:
        """A row cannot be stored."""
        self.outcomes[row.line] = "wrong"
        self.errors.append(RowError(row.line, column, code, data))

    def left(self, rows: Iterable[Row]) -> list[Row]:
        """Those of the rows that nothing was found wrong with."""
        return [row for row in rows if row.line not in self.outcomes]


@dataclass(frozen=True)
class Decided:
    """Rows that are to be written: all the values of new ones, and of the others what they become and what changes."""

    new: list[tuple[Row, Values]]
    changed: list[tuple[Row, Values, Values]]


Store = Callable[[Batch], None]


def found_by(session: Session, model: Any, column: Any, values: Iterable[Any], *conditions: Any,
             lock: bool = False) -> dict[Any, Values]:
    """Rows of a table as plain dictionaries, by the value of one column."""
    table, wanted = model.__table__, sorted({value for value in values if value is not None})
    rows: dict[Any, Values] = {}
    for start in range(0, len(wanted), VALUES_AT_ONCE):
        query = select(table).where(column.in_(wanted[start:start + VALUES_AT_ONCE]), *conditions)
        if lock:
            query = query.order_by(table.c.id).with_for_update(key_share=True)
        rows.update((row[column.name], dict(row)) for row in session.execute(query).mappings())
    return rows


def decide(batch: Batch, kind: str, rows: Sequence[Row], stored: Mapping[str, Values],
           values_of: Callable[[Row, Values | None], Values], needed: Sequence[str], defaults: Values) -> Decided:
    """What is to be done with rows: nothing where nothing differs, or where a newer version was imported before.

    Args:
        batch: keeps the outcomes.
        kind: whose versions count.
        rows: nothing was found wrong with them yet.
        stored: what there is, by key.
        values_of: the columns of the table that a row gives.
        needed: without these a row cannot be new.
        defaults: the other columns of a new row.
    """
    versions = found_by(batch.session, RowVersion, RowVersion.key,
                        [version_key(row.key, batch.key) for row in rows if "updated_at" in row.values],
                        RowVersion.kind == kind)
    decided, newest = Decided([], []), {}
    for row in rows:
        known, version = stored.get(row.key), versions.get(version_key(row.key, batch.key))
        given = row.values.get("updated_at")
        if known is not None and version is not None and given is not None and given < version["updated_at"]:
            batch.outcomes[row.line] = "older"
            continue
        missing = next((name for name in needed if known is None and name not in row.values), None)
        if missing is not None:
            batch.refuse(row, missing, "needed_when_new")
            continue
        values = values_of(row, known)
        if known is None:
            decided.new.append((row, {**defaults, **values}))
            batch.outcomes[row.line] = "created"
        else:
            differs = {name: value for name, value in values.items() if known[name] != value}
            batch.outcomes[row.line] = "updated" if differs else "unchanged"
            if differs:
                decided.changed.append((row, {**known, **differs}, differs))
        if given is not None and (version is None or version["updated_at"] != given):
            newest[version_key(row.key, batch.key)] = given
    if batch.write:
        _note_versions(batch.session, kind, newest)
    return decided


def version_key(name: str, key: bytes) -> str:
    """What the version of a row is kept under. It stays when a customer is erased, so their number must not show."""
    return hmac.new(key, f"version:{name}".encode(), hashlib.sha256).hexdigest()


def insert_all(session: Session, model: Any, rows: Sequence[Values]) -> None:
    """Insert many rows."""
    if rows:
        session.execute(sa.insert(model.__table__), list(rows))


def update_all(session: Session, model: Any, rows: Sequence[Values], columns: Sequence[str]) -> None:
    """Give rows, by their id, the values they hold in these columns."""
    if rows:
        table = model.__table__
        session.execute(
            sa.update(table).where(table.c.id == sa.bindparam("own_id"))
            .values({name: sa.bindparam(f"to_{name}") for name in columns}),
            [{"own_id": row["id"], **{f"to_{name}": row[name] for name in columns}} for row in rows])


def customers_by_number(batch: Batch, rows: Sequence[Row], column: str) -> dict[str, Values]:
    """The customers that rows name; a row that names none, or one whose data was erased, is refused.

    Where rows are written the customers are locked, so that nobody erases or merges them meanwhile. ``id`` is the
    person's, ``record_id`` that of the record with the number, where it was merged into the person's.
    """
    numbers = [row.values[column] for row in rows if row.values.get(column)]
    found = found_by(batch.session, Customer, Customer.number, numbers, lock=batch.write)
    gone = erased_among(batch.session, numbers, batch.key)
    for row in rows:
        wanted = row.values.get(column)
        if wanted and (wanted in gone or (wanted in found and found[wanted]["erased_at"] is not None)):
            batch.refuse(row, column, "erased")
        elif wanted and wanted not in found:
            batch.refuse(row, column, "unknown_customer")
    found = {number: {**values, "record_id": values["id"]} for number, values in found.items()}
    merged = {number for number, values in found.items() if values["merged_into_id"] is not None}
    for each in batch.session.execute(select(Customer).where(Customer.number.in_(merged))).scalars() if merged else ():
        found[each.number] = {**found[each.number], "id": person_of(batch.session, each).id}
    return found


def erased_among(session: Session, numbers: Iterable[str], key: bytes) -> set[str]:
    """Which of these numbers belonged to customers whose data was erased: nothing brings them back silently."""
    if session.execute(select(Tombstone.id).where(Tombstone.kind == "customer").limit(1)).scalar() is None:
        return set()
    hashes = {hash_of("customer", number, key): number for number in numbers}
    return {hashes[found] for found in found_by(session, Tombstone, Tombstone.hash, hashes,
                                                Tombstone.kind == "customer")}


def _note_versions(session: Session, kind: str, newest: Mapping[str, datetime]) -> None:
    make = postgresql.insert if session.get_bind().dialect.name == "postgresql" else sqlite.insert
    rows = [{"kind": kind, "key": key, "updated_at": at} for key, at in sorted(newest.items())]
    for start in range(0, len(rows), VALUES_AT_ONCE):
        insert = make(RowVersion.__table__).values(rows[start:start + VALUES_AT_ONCE])
        session.execute(insert.on_conflict_do_update(
            index_elements=["kind", "key"], set_={"updated_at": insert.excluded.updated_at}))

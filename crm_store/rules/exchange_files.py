"""Reads what a shop sends, row by row and never the whole of it at once: CSV as spreadsheets write it, or JSON lines.

UTF-8 with or without a mark, UTF-16 with one, or GB18030, in which Excel in China writes; commas, semicolons or tabs.
"""
from __future__ import annotations

import codecs
import csv
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import tzinfo
from decimal import Decimal
from typing import Any, BinaryIO, cast

from crm_store.rules.exchange_columns import KEEP, KEY_COLUMN, KINDS, CellError, Column, column_named
from crm_store.rules.points import SHOP_ZONE
from crm_store.rules.spreadsheets import restore

CELL_LIMIT = 100_000
LINE_LIMIT = 1_000_000
MOST_COLUMNS = 200
MOST_ROWS = 2_000_000
DELIMITERS = (",", ";", "\t")
CHUNK = 1 << 20
NUL_STANDS_AS = "\x01"  # the csv module ends at a NUL; this control character is refused in its cell
_ARCHIVES = (b"PK\x03\x04", b"PK\x05\x06", b"\x1f\x8b", b"7z\xbc\xaf", b"Rar!", b"BZh", b"\xfd7zXZ",
             b"\x28\xb5\x2f\xfd", b"\xd0\xcf\x11\xe0", b"%PDF")
_LONGEST_NUMBER = 30
FORMATS = ("csv", "jsonl")


class FileError(Exception):
    """A file that cannot be read at all, or not from some line on. ``code`` names why."""

    def __init__(self, code: str, line: int = 0, **data: Any) -> None:
        super().__init__(code)
        self.code, self.line, self.data = code, line, data


@dataclass(frozen=True)
class RowError:
    """What is wrong with one row. It says what would do, and repeats nothing of what the cell holds."""

    line: int
    column: str | None
    code: str
    data: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Row:
    """A row as it was read: the line it begins in, what names it, and the values that the file gives."""

    line: int
    key: str
    values: dict[str, Any]


class ExchangeFile:
    """One file of one kind. Iterating gives a :class:`Row` or the :class:`RowError` s of each row, in order."""

    def __init__(self, stream: BinaryIO, kind: str, zone: tzinfo = SHOP_ZONE, form: str | None = None) -> None:
        """Look at the beginning of a file.

        Args:
            stream: the file, which can be read from its start any number of times.
            kind: what it holds.
            zone: where a time without a zone is meant.
            form: "csv" or "jsonl"; by its first sign where it is left out.

        Raises:
            FileError: it is no such file.
        """
        self.kind, self.zone = kind, zone
        self._stream = stream
        self._columns = KINDS[kind]
        self.encoding = _encoding_of(stream)
        first = _beginning(stream, self.encoding)
        if not first.strip():
            raise FileError("empty")
        self.form = form or ("jsonl" if first.lstrip()[0] == "{" else "csv")
        self.delimiter = ","
        self.ignored: list[str] = []
        self._known: list[Column | None] = []
        if self.form == "csv":
            self._read_heading(first)

    def __iter__(self) -> Iterator[Row | list[RowError]]:
        rows = self._csv_rows() if self.form == "csv" else self._json_rows()
        for count, (line, raw) in enumerate(rows, 1):
            if count > MOST_ROWS:
                raise FileError("too_many_rows", line, most=MOST_ROWS)
            yield raw if isinstance(raw, list) else self._row(line, raw)

    def sample(self, count: int) -> tuple[list[str], list[list[str]]]:
        """The headings and the first rows as they are written, for a preview."""
        if self.form == "csv":
            rows = self._cells()
            heading = next(rows)[1]
            return heading, [cells for _, (_, cells) in zip(range(count), rows, strict=False)]
        found = [raw for _, (_, raw) in zip(range(count), self._json_rows(), strict=False) if isinstance(raw, dict)]
        names = list(dict.fromkeys(name for raw in found for name in raw))
        return names, [[_shown(raw[name][1]) if name in raw else "" for name in names] for raw in found]

    def _row(self, line: int, raw: dict[str, tuple[Column, Any]]) -> Row | list[RowError]:
        values: dict[str, Any] = {}
        errors = []
        for name, (column, cell) in raw.items():
            try:
                value = column.value(cell, self.zone)
            except CellError as error:
                errors.append(RowError(line, name, error.code, error.data))
            else:
                if value is not KEEP:
                    values[name] = value
        errors += [RowError(line, column.name, "required") for column in self._columns
                   if column.required and column.name not in raw]
        return errors or Row(line, str(values[KEY_COLUMN[self.kind]]), values)

    def _read_heading(self, first: str) -> None:
        def known(delimiter: str) -> int:
            heading = next(csv.reader(io.StringIO(first), delimiter=delimiter), [])
            return sum(column_named(self.kind, cell) is not None for cell in heading[:MOST_COLUMNS])

        try:
            self.delimiter = max(DELIMITERS, key=known)
        except csv.Error as error:
            raise FileError("quote", 1) from error
        _, heading = next(self._cells(), (1, []))
        if len(heading) > MOST_COLUMNS:
            raise FileError("too_many_columns", 1, most=MOST_COLUMNS)
        self._known = [column_named(self.kind, cell) for cell in heading]
        self.ignored = [cell[:60] for cell, column in zip(heading, self._known, strict=True) if column is None]
        names = [column.name for column in self._known if column]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise FileError("heading_twice", 1, columns=", ".join(twice))
        missing = [column.name for column in self._columns if column.required and column.name not in names]
        if missing:
            raise FileError("heading_missing", 1, columns=", ".join(missing))

    def _csv_rows(self) -> Iterator[tuple[int, Any]]:
        rows = self._cells()
        next(rows, None)
        width = len(self._known)
        for line, cells in rows:
            if not any(cell.strip() for cell in cells):
                continue
            if len(cells) != width:
                yield line, [RowError(line, None, "width", {"there": len(cells), "wanted": width})]
                continue
            yield line, {column.name: (column, cell) for column, cell in zip(self._known, cells, strict=True) if column}

    def _cells(self) -> Iterator[tuple[int, list[str]]]:
        csv.field_size_limit(LINE_LIMIT)
        reader = csv.reader(self._lines(), delimiter=self.delimiter, strict=True)
        begins = 1
        while True:
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                raise FileError("quote", begins) from error
            if any(len(cell) > CELL_LIMIT for cell in cells):
                raise FileError("cell_too_long", begins, most=CELL_LIMIT)
            yield begins, [restore(cell) for cell in cells]
            begins = reader.line_num + 1

    def _json_rows(self) -> Iterator[tuple[int, Any]]:
        ignored: dict[str, None] = {}
        for line, written in enumerate(self._lines(), 1):
            if not written.strip():
                continue
            try:
                raw = json.loads(written, parse_float=_decimal, parse_int=_whole, parse_constant=_refused)
            except (ValueError, RecursionError):
                yield line, [RowError(line, None, "json")]
                continue
            if not isinstance(raw, dict) or len(raw) > MOST_COLUMNS:
                yield line, [RowError(line, None, "json")]
                continue
            row = {}
            for name, value in raw.items():
                column = column_named(self.kind, name)
                if column is None and len(ignored) < MOST_COLUMNS:
                    ignored[name[:60]] = None
                if column is not None:
                    row[column.name] = (column, value)
            self.ignored = list(ignored)
            yield line, row

    def _lines(self) -> Iterator[str]:
        self._stream.seek(0)
        decoded = _text_of(self._stream, self.encoding)
        line = 0
        while written := decoded.readline(LINE_LIMIT):
            line += 1
            if len(written) >= LINE_LIMIT:
                raise FileError("line_too_long", line, most=LINE_LIMIT)
            yield written.replace("\x00", NUL_STANDS_AS)


def _text_of(stream: BinaryIO, encoding: str) -> io.TextIOWrapper:
    """A stream's text, lines ending as they are written; the stream itself stays open."""
    return io.TextIOWrapper(cast(BinaryIO, _Unclosed(stream)), encoding, newline="")


class _Unclosed(io.RawIOBase):
    """A stream that stays open when what decodes it is thrown away."""

    def __init__(self, stream: BinaryIO) -> None:
        self._inner = stream

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        found = self._inner.read(len(buffer))
        buffer[:len(found)] = found
        return len(found)


def _encoding_of(stream: BinaryIO) -> str:
    stream.seek(0)
    head = stream.read(8)
    if head.startswith(_ARCHIVES):
        raise FileError("archive")
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        candidates: tuple[str, ...] = ("utf-16",)
    else:
        candidates = ("utf-8-sig", "gb18030")
    for encoding in candidates:
        if _decodes(stream, encoding):
            return encoding
    raise FileError("encoding")


def _decodes(stream: BinaryIO, encoding: str) -> bool:
    stream.seek(0)
    decoder = codecs.getincrementaldecoder(encoding)()
    try:
        while piece := stream.read(CHUNK):
            decoder.decode(piece)
        decoder.decode(b"", True)
    except UnicodeDecodeError:
        return False
    return True


def _beginning(stream: BinaryIO, encoding: str) -> str:
    """The first line, or what of it fits."""
    stream.seek(0)
    return _text_of(stream, encoding).readline(LINE_LIMIT).replace("\x00", NUL_STANDS_AS)


def _decimal(written: str) -> Decimal:
    if len(written) > _LONGEST_NUMBER or "e" in written.lower():
        raise ValueError("no amount is written like this")
    return Decimal(written)


def _whole(written: str) -> int:
    if len(written) > _LONGEST_NUMBER:
        raise ValueError("a number is too long")
    return int(written)


def _refused(written: str) -> Any:
    raise ValueError(written)


def _shown(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)



"""What people take along as a file: CSV that spreadsheets read rightly, and run nothing of."""
from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from typing import Any

from crm_store.rules.spreadsheets import is_formula

CSV_BEGINS = "\ufeff"  # without this mark Excel takes UTF-8 for something else
CSV_TYPE = "text/csv; charset=utf-8"


def csv_row(cells: Iterable[Any]) -> str:
    """A line of CSV: texts are harmless, numbers stay numbers, None is an empty cell."""
    line = io.StringIO()
    csv.writer(line).writerow([harmless(cell) if isinstance(cell, str) else cell for cell in cells])
    return line.getvalue()


def harmless(text: str) -> str:
    """A cell's text with an apostrophe in front where a spreadsheet would take it for a formula."""
    return f"'{text}" if is_formula(text) else text


def attachment(name: str) -> dict[str, str]:
    """The header that makes an answer a file of this name."""
    return {"Content-Disposition": f'attachment; filename="{name}"'}

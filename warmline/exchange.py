"""`python -m warmline import` and `export`: the shop's data in and out as files, with a progress bar."""
from __future__ import annotations

import argparse
import sys
from pathlib import Path
from zoneinfo import ZoneInfo

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from crm_store.database import Store
from crm_store.errors import ImportUnderWay
from crm_store.queries.exchange import exported
from crm_store.rules.exchange_files import FileError
from crm_store.rules.exchange_words import say_error
from crm_store.services.eraser import erasure_key
from crm_store.services.exchange import Report, Wanted, check_file, import_file
from crm_store.services.exchange_rows import OUTCOMES
from warmline.clock import now
from warmline.errors import CommandFailed
from warmline.settings import Settings

SHOWN = 20
WORDS = {"check": "checking", "store": "storing"}


def import_data(settings: Settings, asked: argparse.Namespace) -> int:
    """Bring in a file; 1 where rows are wrong and nothing was stored."""
    path = Path(asked.file)
    wanted = Wanted(asked.kind, path.name, _zone(asked.time_zone), asked.skip_wrong)
    store, key = Store(settings.database_url), erasure_key(settings.secret)
    bar = Progress(SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(),
                   TimeElapsedColumn(), console=Console(stderr=True))
    try:
        with path.open("rb") as stream, bar:
            task = bar.add_task("checking", total=None)

            def progress(what: str, done: int, rows: int) -> None:
                bar.update(task, description=WORDS[what], completed=done, total=rows or None)

            if asked.dry_run:
                report = check_file(store, stream, wanted, key, now(), progress)
            else:
                report = import_file(store, stream, wanted, key, now, progress)
    except OSError as error:
        raise CommandFailed(f"{asked.file} cannot be read: {error.strerror}") from error
    except FileError as error:
        raise CommandFailed(f"{asked.file}: {say_error(error, asked.language)}") from error
    except ImportUnderWay as error:
        raise CommandFailed("the same file is being imported by another process, or one was killed within the last "
                            "minute; try again then") from error
    finally:
        store.close()
    _show(report, asked)
    return 1 if report.state == "refused" or (asked.dry_run and report.errors_total) else 0


def export_data(settings: Settings, asked: argparse.Namespace) -> int:
    """Write a file, or to the standard output."""
    store = Store(settings.database_url)
    form = asked.format or ("jsonl" if str(asked.file).endswith((".jsonl", ".ndjson", ".json")) else "csv")
    try:
        if asked.file == "-":
            sys.stdout.writelines(exported(store, asked.kind, form))
        else:
            with Path(asked.file).open("w", encoding="utf8", newline="") as file:
                file.writelines(exported(store, asked.kind, form))
    except OSError as error:
        raise CommandFailed(f"{asked.file} cannot be written: {error.strerror}") from error
    finally:
        store.close()
    return 0


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:
        raise CommandFailed(f"there is no time zone {name!r}") from error


def _show(report: Report, asked: argparse.Namespace) -> None:
    console = Console()
    for error in report.errors[:SHOWN]:
        console.print(say_error(error, asked.language), markup=False, highlight=False)
    if report.errors_total > SHOWN:
        console.print(f"… and {report.errors_total - min(SHOWN, len(report.errors))} more")
    if report.ignored:
        console.print(f"columns that were ignored: {', '.join(report.ignored)}", markup=False, highlight=False)
    if report.resumed_at:
        console.print(f"an earlier attempt was cut off; it went on after row {report.resumed_at}")
    table = Table(title=f"{asked.kind}: {report.rows} rows, {report.state}")
    for name in OUTCOMES:
        table.add_column(name, justify="right")
    table.add_row(*(f"{report.counts.get(name, 0):,}" for name in OUTCOMES))
    console.print(table)
    if report.state == "refused":
        console.print("Nothing was stored. Put these rows right, or store the others with --skip-wrong.")

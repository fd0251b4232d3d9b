"""The commands behind `make`: `python -m warmline --help`."""
from __future__ import annotations

import argparse
import gc
import os
import sys
from collections.abc import Sequence

from warmline.settings import BadSetting, load_settings

EXCHANGED = ("customers", "products", "orders", "points", "articles")


def parser() -> argparse.ArgumentParser:
    """The command line."""
    top = argparse.ArgumentParser(prog="python -m warmline", description="Warmline (暖线): a customer-service desk.")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_parser("run", help="prepare what is missing, start everything, print the addresses")
    commands.add_parser("prepare", help="migrate, load the demo shop, train if needed; start nothing")
    commands.add_parser("migrate", help="bring the CRM store's schema up to date")
    commands.add_parser("demo", help="load the demo shop into an empty store")
    train = commands.add_parser("train", help="train the dialogue model if its data changed")
    train.add_argument("--force", action="store_true", help="train even if nothing changed")
    commands.add_parser("embed", help="let the encoder read the articles and cases that changed")
    commands.add_parser("corrections", help="write the agents' corrections as data for the next training")
    commands.add_parser("nightly", help="settle orders, review tiers, write off lapsed points; harmless at any time")
    commands.add_parser("bot", help="run the dialogue engine (Rasa) alone")
    commands.add_parser("actions", help="run the action server alone")
    commands.add_parser("service", help="run the web service and its loops alone")
    commands.add_parser("settings", help="list every setting with its value; secrets are not shown")
    commands.add_parser("reset", help="forget the demo: delete the SQLite store, the trained model and what was made")
    telegram = commands.add_parser("telegram", help="tell Telegram how updates come in, or link a customer")
    telegram.add_argument("what", choices=("webhook", "polling", "status", "link"))
    telegram.add_argument("customer", nargs="?", help="with link: whom a link to the bot signs in, within the hour")
    brought = commands.add_parser("import", help="bring in the shop's data from a file (CSV or JSON lines)")
    brought.add_argument("kind", choices=EXCHANGED)
    brought.add_argument("file")
    brought.add_argument("--dry-run", action="store_true", help="say what would become of it, store nothing")
    brought.add_argument("--skip-wrong", action="store_true",
                         help="store the rows that are right; otherwise all or none")
    brought.add_argument("--time-zone", default="Asia/Shanghai", help="of times that name none (default: %(default)s)")
    brought.add_argument("--language", choices=("zh", "en"), default="en", help="of what is said about wrong rows")
    given = commands.add_parser("export", help="write the shop's data to a file that can be imported")
    given.add_argument("kind", choices=EXCHANGED)
    given.add_argument("file", help="where to; - is the standard output")
    given.add_argument("--format", choices=("csv", "jsonl"), help="by the file's name where it is left out")
    erase = commands.add_parser("erase", help="carry out the erasures that are due; harmless at any time")
    erase.add_argument("--replay-tombstones", action="store_true",
                       help="after a backup was restored: erase again whom it brought back")
    link = commands.add_parser("link", help="print a chat address that signs a customer in")
    link.add_argument("customer", help="the customer's number, such as WLC00001")
    return top


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; 0 is success, 1 a failure said in one line, 2 a wrong command line."""
    asked = parser().parse_args(arguments)
    # Sums are small here and processes many: the library's own threads would only spin between them, a core's worth.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    gc.set_threshold(20_000, 20, 100)  # one message makes many objects; look for cycles among them seldom
    from warmline import commands
    from warmline.errors import CommandFailed

    try:
        return commands.COMMANDS[asked.command](load_settings(), asked)
    except (BadSetting, CommandFailed) as failure:
        print(f"warmline: {failure}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())

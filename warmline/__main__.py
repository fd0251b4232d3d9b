"""The commands behind `make`: `python -m warmline --help`."""
from __future__ import annotations

import argparse
import gc
import os
import sys
from collections.abc import Sequence

from warmline.settings import BadSetting, load_settings


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
    telegram = commands.add_parser("telegram", help="tell Telegram how updates come in, or show how they do")
    telegram.add_argument("what", choices=("webhook", "polling", "status"))
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

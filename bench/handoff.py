"""`python -m bench.handoff --steps 100000`: walks at random over everything that can happen to a conversation.

The walk and its model are those of the tests (`tests/crm/handoff_walk.py`), only longer. It ends with what was done and
refused how often, or at the first step after which the store and the model disagree.
"""
from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections import Counter
from datetime import datetime, timezone
from pathlib import Path

from crm_store.database import Store
from crm_store.schema import migrate
from tests.crm.conftest import furnish
from tests.crm.handoff_walk import ModelBroken, walks

STEPS_A_WALK = 500
BEGIN = datetime(2026, 11, 18, 2, 0, tzinfo=timezone.utc)


def furnished(folder: Path) -> Path:
    """An SQLite file with a desk in it."""
    path = folder / "template.db"
    migrate(f"sqlite:///{path}")
    store = Store(f"sqlite:///{path}")
    furnish(store, BEGIN)
    store.close()
    return path


def main() -> int:
    """Walk and report; 1 where the store and the model disagree."""
    parser = argparse.ArgumentParser(prog="python -m bench.handoff", description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0, help="of the first walk; the next ones count up")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="stop after the walk under way then")
    parser.add_argument("--folder", help="where the SQLite file lies; one in memory is faster")
    asked = parser.parse_args()
    done: Counter[str] = Counter()
    refused: Counter[str] = Counter()
    conversations, began = 0, time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="warmline-handoff-", dir=asked.folder) as name:
        folder = Path(name)
        seeds = range(asked.seed, asked.seed + -(-asked.steps // STEPS_A_WALK))
        try:
            for walk in walks(furnished(folder), folder, BEGIN, seeds, STEPS_A_WALK):
                done += walk.done
                refused += walk.refused
                conversations += len(walk.talks)
                if time.perf_counter() - began > asked.minutes * 60:
                    break
        except ModelBroken as broken:
            print(f"after {sum(done.values())} steps without fault:\n{broken}", file=sys.stderr)
            return 1
    seconds = time.perf_counter() - began
    print(f"{sum(done.values()):,} steps over {conversations:,} conversations in {seconds:,.0f} s: no disagreement")
    for title, counts in (("done", done), ("refused", refused)):
        print(f"{title}: " + ", ".join(f"{name} {count:,}" for name, count in counts.most_common()))
    return 0


if __name__ == "__main__":
    sys.exit(main())

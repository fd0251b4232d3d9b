"""`python -m bench.hostile`: throws generated payloads at the whole service; writes results/hostile.json."""
from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from bench.hostile.rounds import Report, Rounds
from bench.hostile.served import running_shop

RESULTS = Path(__file__).resolve().parents[2] / "results" / "hostile.json"


def main() -> int:
    """Throw, look, report; the exit status says whether anything was wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--payloads", type=int, default=10_000)
    parser.add_argument("--no-file", action="store_true", help="print only")
    parser.add_argument("--number", type=int, default=0, help="another number throws other payloads")
    asked = parser.parse_args()
    report, began, logged = Report(), time.perf_counter(), {"not finished": 1}
    try:
        with tempfile.TemporaryDirectory() as folder, running_shop(Path(folder)) as shop:
            rounds = Rounds(shop, report, asked.number)
            rounds.throw(asked.payloads)
            rounds.look()
            logged = dict(shop.errors.found)
    finally:
        told = _told(report, logged, time.perf_counter() - began)
        print(json.dumps(told, indent=2, ensure_ascii=False))
        for what, example in report.example.items():
            print(f"\n{what}\n    {example}")
    if not asked.no_file:
        RESULTS.write_text(json.dumps(told, indent=2, ensure_ascii=False) + "\n", encoding="utf8")
    return 1 if report.wrong or logged else 0


def _told(report: Report, logged: dict[str, int], seconds: float) -> dict[str, Any]:
    return {
        "payloads": sum(report.sent.values()), "by_kind": dict(report.sent),
        "statuses": {str(status): count for status, count in sorted(report.status.items())},
        "pages_read": report.pages, "pages_with_a_payload": report.shown, "wrong": dict(report.wrong),
        "errors_logged": logged, "seconds": round(seconds, 1)}


if __name__ == "__main__":
    sys.exit(main())

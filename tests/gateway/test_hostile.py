"""Some hundred of the payloads that `python -m bench.hostile` throws at the service: no crash, nothing unescaped."""
from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bench.hostile import payloads
from bench.hostile.pages import formulas, intruders
from bench.hostile.rounds import Report, Rounds, many
from bench.hostile.served import running_shop
from bench.telegram_double import Double, make_app
from crm_store.models import Message
from tests.gateway.conftest import BotDouble, Records, Threaded
from tests.gateway.telegram_bench import BOT, telegram_bench


def test_hostile_payloads_break_nothing_and_reach_no_page_as_markup(tmp_path: Path) -> None:
    report = Report()
    with running_shop(tmp_path) as shop:
        rounds = Rounds(shop, report)
        rounds.throw(150)
        rounds.look()
        logged = dict(shop.errors.found)
    assert not report.wrong, report.example
    assert not logged
    assert sum(report.sent.values()) >= 120 and {"api", "telegram", "raw", "message", "pages"} <= set(report.sent)
    assert report.shown > 3, "no payload is on any page: nothing was shown to be escaped"


@pytest.mark.anyio
async def test_hostile_updates_never_fail(sqlite_records: Records, bot: BotDouble, caplog: pytest.LogCaptureFixture,
                                          ) -> None:
    updates: list[Any] = []
    many(100, payloads.UPDATES, updates.append, 7)
    double = Double()
    served = Threaded(make_app(double))
    try:
        async with telegram_bench(sqlite_records, bot, served, double) as bench:
            kinds = [await bench.telegram.take(BOT, update, polled=False) for update in updates]
            await bench.telegram.idle()
    finally:
        served.stop()
    assert "failed" not in kinds and {"text", "ignored"} < set(kinds)
    assert not [record for record in caplog.records if record.levelname == "ERROR"]
    assert sqlite_records.all(Message)


@pytest.mark.parametrize("markup", payloads.CORPUS)
def test_what_finds_markup_would_find_it(markup: str) -> None:
    """The search is not blind: put into a page as it is, an element of the corpus is found."""
    opens = markup.startswith(("<", "\"><", "--><", "]]><", "</"))
    found, _ = intruders(f"<p>{markup}</p>" if opens else f"<p title='{markup}'></p>" if markup.startswith("'") else "")
    assert bool(found) is (payloads.MARK in markup and (opens or markup.startswith("' autofocus")))
    assert bool(formulas(markup)) is markup.startswith(("=", "+", "@", "-2", "--", "\t"))

"""The service runs the nightly job once a day, or later where it was down at the time."""
from __future__ import annotations

from datetime import date, timedelta

import pytest

from crm_store.models import Customer, Job, PointsEntry
from crm_store.services.points import grant_points
from gateway import nightly
from gateway.nightly import LONGEST_PAUSE, look_whether_due, run_nightly_job
from tests.gateway.conftest import Records, make_deps

pytestmark = pytest.mark.anyio


class Enough(BaseException):
    """Ends the loop."""


async def test_it_is_done_when_it_is_due_and_once(records: Records) -> None:
    deps = make_deps(records, "http://127.0.0.1:9")
    records.do(grant_points, customer_id=records.all(Customer)[0].id, points=70, reason="-", idempotency_key="a",
               now=records.clock() - timedelta(days=500))
    assert await look_whether_due(deps)
    assert not await look_whether_due(deps)
    assert [entry.points for entry in records.all(PointsEntry, PointsEntry.kind == "expire")] == [-70]
    deps.transactions.close()


async def test_the_loop_waits_for_three_oclock_and_makes_good_for_what_failed(
        sqlite_records: Records, monkeypatch: pytest.MonkeyPatch) -> None:
    records, pauses, failures = sqlite_records, list[float](), [1]
    step = nightly.take_step

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 4:
            raise Enough
        records.clock.advance(seconds=seconds)

    def failing_once(*arguments: object, **named: object) -> object:
        if failures:
            failures.pop()
            raise RuntimeError("the store is away")
        return step(*arguments, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(nightly.asyncio, "sleep", sleep)
    monkeypatch.setattr(nightly, "take_step", failing_once)
    records.clock.advance(hours=16, minutes=45)  # 02:45 in the shop, the next day
    deps = make_deps(records, "http://127.0.0.1:9")
    with pytest.raises(Enough):
        await run_nightly_job(deps)
    assert pauses == [LONGEST_PAUSE, 300.0, LONGEST_PAUSE, LONGEST_PAUSE]
    assert records.do(lambda session: session.get(Job, "nightly").done_for) == date(2026, 11, 19)
    deps.transactions.close()

from __future__ import annotations

import pytest

from crm_store.models import Notification, SlaClock, SlaEvent
from crm_store.services import sla
from crm_store.services.handoff import escalate_conversation
from gateway import clock
from gateway.clock import SHORTEST_PAUSE, look_at_clocks, run_clock
from tests.gateway.conftest import BotDouble, Gateway, Records, make_deps
from tests.gateway.test_dispatch import store_message

pytestmark = pytest.mark.anyio


async def test_clocks_are_looked_at_with_the_time_passed_in(records: Records) -> None:
    message = store_message(records)
    records.do(escalate_conversation, conversation_id=message.conversation_id, reason="asked", now=records.clock())
    deps = make_deps(records, "http://127.0.0.1:9")
    assert await look_at_clocks(deps) == 0 and not deps.nudge.is_set()
    records.clock.advance(minutes=16)
    assert await look_at_clocks(deps) > 0 and deps.nudge.is_set()
    assert {clock.state for clock in records.all(SlaClock, SlaClock.promise == "first_response")} == {"breached"}
    told = len(records.all(Notification))
    assert await look_at_clocks(deps) == 0 and len(records.all(Notification)) == told
    deps.transactions.close()


async def test_a_look_that_fails_does_not_end_the_clock(
        sqlite_records: Records, monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[int] = []

    class Enough(BaseException):
        """Ends the loop."""

    def failing(*_: object) -> list[object]:
        looks.append(1)
        if len(looks) == 3:
            raise Enough
        raise RuntimeError("the store is away")

    monkeypatch.setattr(sla, "tick", failing)
    deps = make_deps(sqlite_records, "http://127.0.0.1:9")
    with pytest.raises(Enough):
        await run_clock(deps, 0)
    assert len(looks) == 3
    deps.transactions.close()


async def test_it_sleeps_until_the_next_thing_is_to_come_and_no_longer_than_its_interval(
        records: Records, monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []

    class Enough(BaseException):
        """Ends the loop."""

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 4:
            raise Enough
        records.clock.advance(seconds=seconds)

    deps = make_deps(records, "http://127.0.0.1:9")
    monkeypatch.setattr(clock.asyncio, "sleep", sleep)
    message = store_message(records)
    records.do(escalate_conversation, conversation_id=message.conversation_id, reason="asked", now=records.clock())
    records.clock.advance(minutes=7, seconds=22)  # the first warning is due eight seconds later
    with pytest.raises(Enough):
        await run_clock(deps, 5)
    assert pauses == [5, 3, SHORTEST_PAUSE, 5]
    assert [event.kind for event in records.all(SlaEvent)].count("warned") == 1
    deps.transactions.close()


def test_the_gateway_needs_no_bot_to_start(sqlite_records: Records, bot: BotDouble) -> None:
    bot.stop()
    running = Gateway(sqlite_records, bot)
    try:
        assert running.client().get("/").status_code == 200
    finally:
        running.close()
        bot.start()

"""The managers' figures: the arithmetic by property, the counts by what happened in a small shop on each database."""
from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import date, datetime, timedelta, timezone
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select

from crm_store.models import Correction, Escalation, Message, Rating
from crm_store.queries import figures, figures_intents, figures_promises
from crm_store.queries.figures import BEFORE, Scope, hour_of
from crm_store.queries.log import search_log
from crm_store.rules.calendar import BusinessHours
from crm_store.rules.figures import (
    DAY,
    Period,
    PeriodTooLong,
    last_days,
    median,
    offsets_between,
    percentile,
    period_between,
    share,
    wilson,
    working_seconds,
)
from crm_store.services import handoff, sla
from crm_store.services.dispatch import Reply
from tests.crm.conftest import HOUR, MINUTE, Desk

SHANGHAI, BERLIN = ZoneInfo("Asia/Shanghai"), ZoneInfo("Europe/Berlin")
HOURS = BusinessHours("Asia/Shanghai", {day: ((9 * 60, 12 * 60), (13 * 60, 21 * 60)) for day in range(6)}, "CN")
NEW_YEAR = datetime(2026, 1, 1, tzinfo=timezone.utc)
TIMES = st.integers(0, 334 * 86_400).map(lambda seconds: NEW_YEAR + timedelta(seconds=seconds))


@given(st.lists(st.integers(0, 10_000), max_size=40), st.integers(1, 100))
def test_a_percentile_is_one_of_the_values_and_not_exceeded_by_so_many(values: list[int], percent: int) -> None:
    found = percentile(values, percent)
    if not values:
        assert found is None and median(values) is None
        return
    assert found in values
    assert sum(value <= found for value in values) * 100 >= percent * len(values)
    below = [value for value in values if value < found]
    assert len(below) * 100 < percent * len(values)
    middle = median(values)
    assert middle is not None and min(values) <= middle <= max(values)


def test_medians_and_percentiles_of_a_few() -> None:
    assert median([3, 1, 2]) == 2 and median([4, 1, 2, 3]) == 2.5
    assert percentile(range(1, 11), 90) == 9 and percentile([7], 90) == 7


@given(st.integers(0, 500), st.integers(1, 500))
def test_the_interval_holds_the_share_and_stays_within_bounds(part: int, whole: int) -> None:
    part = min(part, whole)
    low, high = wilson(part, whole) or (9, 9)
    assert 0 <= low <= part / whole <= high <= 1
    assert low < high


def test_the_interval_is_wilsons() -> None:
    assert wilson(3, 3) == pytest.approx((0.4385, 1.0), abs=1e-4)
    assert wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=1e-4)  # Newcombe 1998, table I
    assert wilson(0, 0) is None and share(1, 0) is None and share(1, 4) == 0.25


@given(st.lists(st.tuples(TIMES, st.integers(0, 20 * 86_400)), min_size=1, max_size=8))
def test_working_time_of_many_spans_is_that_of_each(spans: list[tuple[datetime, int]]) -> None:
    ends = [start + timedelta(seconds=length) for start, length in spans]
    stretches = HOURS.open_stretches(min(start for start, _ in spans).date() - 2 * DAY, max(ends).date() + 2 * DAY)
    found = working_seconds(np.array([int(start.timestamp()) for start, _ in spans]),
                            np.array([int(end.timestamp()) for end in ends]), stretches)
    assert list(found) == [int(HOURS.between(start, end).total_seconds())
                           for (start, _), end in zip(spans, ends, strict=True)]


def test_nothing_is_worked_without_open_hours() -> None:
    assert list(working_seconds(np.array([5]), np.array([9]), [])) == [0]


@given(TIMES)
def test_the_offsets_give_local_time_at_every_moment(at: datetime) -> None:
    offsets = offsets_between(NEW_YEAR, NEW_YEAR + 334 * DAY, BERLIN)
    assert len(offsets) == 3
    holds = next(each for each in offsets if each.until is None or at.timestamp() < each.until)
    assert timedelta(seconds=holds.seconds) == at.astimezone(BERLIN).utcoffset()


@given(st.dates(date(2025, 1, 1), date(2026, 12, 31)), st.integers(1, 400))
def test_buckets_tile_the_period(start: date, days: int) -> None:
    period = period_between(start, start + (days - 1) * DAY, SHANGHAI)
    buckets = period.buckets()
    assert buckets[0][0] == period.start and buckets[-1][1] == period.end and period.days == days
    assert all(after[0] - before[1] == DAY for before, after in pairwise(buckets))
    assert len(buckets) <= 31 and period.before == start - days * DAY


def test_periods_that_are_too_long_or_out_of_this_world_are_refused() -> None:
    assert period_between(date(2026, 3, 2), date(2026, 3, 1), SHANGHAI).start == date(2026, 3, 1)
    with pytest.raises(PeriodTooLong):
        period_between(date(2025, 1, 1), date(2026, 3, 1), SHANGHAI)
    for day in (date.min, date.max):
        with pytest.raises(ValueError, match="between 2000 and 2099"):
            period_between(day, day, SHANGHAI)


def test_the_last_days_end_with_today_on_the_shops_clock() -> None:
    late = datetime(2026, 11, 18, 17, 0, tzinfo=timezone.utc)  # the nineteenth in Shanghai
    assert last_days(7, late, SHANGHAI) == Period(date(2026, 11, 13), date(2026, 11, 19), SHANGHAI)
    assert last_days(1, late, SHANGHAI).since == datetime(2026, 11, 18, 16, tzinfo=timezone.utc)


# What follows counts what happened.

Asking = Callable[..., Any]


def week(desk: Desk, **more: Any) -> Scope:
    return Scope(last_days(7, desk.now, SHANGHAI), **more)


def says(desk: Desk, sender: str, at: datetime, text: str = "你好", **understood: Any) -> tuple[int, int]:
    received = desk.write(text, sender=sender, at=at)
    desk.answer(desk.turn(received.conversation.id, at), "好的", at=at, **understood)
    return int(received.conversation.id), int(received.message.id)


def escalated(desk: Desk, sender: str, at: datetime, reason: str = "anger", anger: float = 0.9,
              intent: str = "file_complaint") -> int:
    conversation, message = says(desk, sender, at, intent=intent, anger=anger)
    desk.do(handoff.escalate_conversation, conversation_id=conversation, reason=reason, now=at, message_id=message,
            anger=anger)
    return conversation


def answered(desk: Desk, conversation: int, login: str, at: datetime, *, resolve: bool = True) -> None:
    agent = desk.agent(login)
    desk.do(handoff.claim_conversation, conversation, agent, at)
    desk.do(handoff.reply_to_customer, conversation, agent, "马上处理", at)
    if resolve:
        desk.do(handoff.resolve_conversation, conversation, agent, at + MINUTE)


@pytest.fixture
def busy(desk: Desk) -> dict[str, int]:
    """Bot alone yesterday; one answered in time, one late, one open; the week before, one with the bot."""
    now = desk.now
    desk.away("wang", "li", "chen", "lead", "expert_lead", "boss")
    said = {"before": says(desk, "before", now - 9 * DAY)[0], "bot": says(desk, "bot", now - DAY)[0]}
    said["kept"] = escalated(desk, "kept", now - 2 * DAY)
    answered(desk, said["kept"], "wang", now - 2 * DAY + 10 * MINUTE)
    said["late"] = escalated(desk, "late", now - 2 * DAY, "asked", 0.1, "request_human")
    answered(desk, said["late"], "li", now - 2 * DAY + 40 * MINUTE)
    said["open"] = escalated(desk, "open", now - 2 * HOUR + 5 * MINUTE, "stuck", 0.5, "out_of_scope")
    return said


def test_volume_tells_what_became_of_conversations(desk: Desk, busy: dict[str, int]) -> None:
    assert desk.ask(figures.volume, week(desk)) == {
        (BEFORE, "bot"): 1, (5, "bot"): 1, (4, "resolved"): 2, (6, "open"): 1}


def test_filters_of_channel_language_team_and_agent(desk: Desk, busy: dict[str, int]) -> None:
    def total(**more: Any) -> int:
        return sum(desk.ask(figures.volume, week(desk, **more)).values())

    front = desk.agent("wang").team_id
    assert total(channel="web") == 5 and total(channel="telegram") == 0
    assert total(language="zh") == 5 and total(language="en") == 0
    assert total(agent_id=desk.agent("wang").id) == 1
    assert total(team_id=front) == 3
    assert total(team_id=desk.agent("chen").team_id) == 1  # the late one moved up, and its agent stayed
    assert total(team_id=front, agent_id=desk.agent("li").id, channel="web", language="zh") == 1


def test_handovers_by_reason(desk: Desk, busy: dict[str, int]) -> None:
    by_bucket, whole = desk.ask(figures.handovers, week(desk))
    assert by_bucket == {(4, "anger"): 1, (4, "asked"): 1, (6, "stuck"): 1}
    assert whole == {"anger": 1, "asked": 1, "stuck": 1}


def test_promises_are_told_as_the_clocks_decided_with_the_working_time(desk: Desk, busy: dict[str, int]) -> None:
    verdicts = desk.ask(figures_promises.verdicts, week(desk))
    first = {verdict.conversation_id: verdict for verdict in verdicts if verdict.promise == "first_response"}
    assert first[busy["kept"]].kept and first[busy["kept"]].seconds == 600
    assert not first[busy["late"]].kept and first[busy["late"]].seconds == 2400
    assert first[busy["kept"]].hour == 10 and first[busy["kept"]].agent_id == desk.agent("wang").id
    assert busy["open"] not in first
    while desk.do(sla.tick, desk.now):
        pass
    first = {verdict.conversation_id: verdict for verdict in desk.ask(figures_promises.verdicts, week(desk))
             if verdict.promise == "first_response"}
    assert not first[busy["open"]].kept and first[busy["open"]].seconds is None
    groups = figures_promises.kept_by(first.values(), lambda verdict: verdict.promise)
    assert groups["first_response"] == figures_promises.Kept(1, 2, 1500, 2400)
    assert desk.ask(figures_promises.kept_before, week(desk)) == {}
    later = Scope(Period(desk.now.date() + DAY, desk.now.date() + 7 * DAY, SHANGHAI))
    assert desk.ask(figures_promises.kept_before, later)["first_response"] == figures_promises.Kept(1, 2, None, None)


def test_a_night_and_a_wait_do_not_count(desk: Desk) -> None:
    """Handed over ten minutes before closing, answered ten after opening, and resolved after a wait of two days."""
    closing = desk.now.replace(hour=12, minute=50) - 2 * DAY  # 20:50 in Shanghai
    desk.away("wang", "li", "chen", "lead", "expert_lead", "boss")
    conversation = escalated(desk, "night", closing, "asked", 0.1)
    opening = closing + 12 * HOUR + 20 * MINUTE  # 09:10
    answered(desk, conversation, "wang", opening, resolve=False)
    desk.do(handoff.snooze_conversation, conversation, desk.agent("wang"), opening)
    desk.do(handoff.resolve_conversation, conversation, desk.agent("wang"), opening + 20 * HOUR)
    found = {verdict.promise: verdict for verdict in desk.ask(figures_promises.verdicts, week(desk))}
    assert found["first_response"].seconds == found["resolution"].seconds == 20 * 60


def test_messages_are_read_by_the_thresholds_of_the_tier(desk: Desk) -> None:
    desk.customer("gold", tier="gold")
    for sender, anger in (("gold", 0.77), ("guest", 0.77), ("guest", 0.9), ("gold", 0.46), ("guest", 0.46),
                          ("guest", None)):
        says(desk, sender, desk.now - HOUR, anger=anger, intent="ask_refund_status", confidence=0.4)
    read = desk.ask(figures.messages_read, week(desk))
    assert Counter({each.band: each.messages for each in read}) == {"route": 2, "watch": 2, "calm": 1, "unknown": 1}
    assert sum(each.unsure for each in read) == 6 and {each.bucket for each in read} == {6}


def test_a_pressed_button_shows_no_mood(desk: Desk) -> None:
    received = desk.write("退款", at=desk.now)
    desk.answer(desk.turn(received.conversation.id), Reply("选", [{"title": "是", "payload": "/affirm"}]))
    pressed = desk.write("是", payload="/affirm")
    desk.answer(desk.turn(pressed.conversation.id), "好", anger=None)
    assert sum(each.messages for each in desk.ask(figures.messages_read, week(desk))) == 1


def test_whether_customers_calmed_down(desk: Desk, busy: dict[str, int]) -> None:
    with desk.store.write() as session:
        handoff.lock_conversation(session, busy["kept"]).anger = 0.05
    found = desk.ask(figures.calmed, week(desk))
    assert {(each.at_handover, each.at_end): each.conversations for each in found} == {
        ("route", "calm"): 1, ("calm", "calm"): 1}


def test_ratings_by_score_agent_and_reason(desk: Desk, busy: dict[str, int]) -> None:
    with desk.store.write() as session:
        for name, login, score in (("kept", "wang", 5), ("late", "li", 2)):
            session.add(Rating(conversation_id=busy[name], episode_resolved_at=desk.now - DAY, score=score,
                               agent_id=desk.agent(login).id, created_at=desk.now - HOUR))
    assert desk.ask(figures.scores, week(desk)) == {(6, "5"): 1, (6, "2"): 1}
    assert {(each.name, each.score) for each in desk.ask(figures.scores_of_agents, week(desk))} == {
        (desk.agent("wang").id, 5), (desk.agent("li").id, 2)}
    assert {(each.name, each.score, each.count) for each in desk.ask(figures.scores_of_reasons, week(desk))} == {
        ("anger", 5, 1), ("asked", 2, 1)}


def test_what_the_bot_failed_at(desk: Desk, busy: dict[str, int]) -> None:
    _, message = says(desk, "unsure", desk.now, intent="ask_invoice", confidence=0.3)
    received = desk.write("发票或退款", sender="asked")
    about = [{"title": name, "payload": f'/{name}{{"about": {received.message.id}}}'} for name in ("a", "b")]
    desk.answer(desk.turn(received.conversation.id), Reply("哪个？", about), intent="ask_invoice")
    says(desk, "plain", desk.now, intent="greet")
    with desk.store.write() as session:
        session.add(Correction(message_id=message, field="intent", was="ask_invoice", value="ask_payment",
                               agent_id=desk.agent("wang").id, corrected_at=desk.now))
        session.add(Correction(message_id=received.message.id, field="intent", was="ask_invoice", value="ask_invoice",
                               agent_id=desk.agent("wang").id, corrected_at=desk.now))
    scope = week(desk)
    found = desk.ask(lambda session: figures_intents.failures(session, scope, figures.messages_read(session, scope)))
    assert found == [
        figures_intents.Failure("ask_invoice", messages=2, unsure=1, asked_back=1, corrected=1),
        figures_intents.Failure("out_of_scope", messages=1, not_understood=1, stuck=1)]


def test_the_backlog_now_and_at_the_end_of_each_day(desk: Desk, busy: dict[str, int]) -> None:
    (waiting,) = desk.ask(figures.backlog_now, week(desk), desk.now)
    assert (waiting.status, waiting.age, waiting.conversations) == ("open", 1, 1)
    assert desk.ask(figures.backlog_over_time, week(desk)) == [0, 0, 0, 0, 0, 0, 1]
    old = escalated(desk, "old", desk.now - 5 * DAY)
    answered(desk, old, "chen", desk.now - 3 * DAY)
    assert desk.ask(figures.backlog_over_time, week(desk)) == [0, 1, 1, 0, 0, 0, 1]
    ages = {each.age for each in desk.ask(figures.backlog_now, week(desk), desk.now + 3 * DAY)}
    assert ages == {4}


def test_the_log_finds_as_many_conversations_as_are_counted(desk: Desk, busy: dict[str, int]) -> None:
    while desk.do(sla.tick, desk.now):
        pass
    period = week(desk).period

    def found(**more: Any) -> int:
        return int(desk.ask(search_log, since=period.since, until=period.until, **more).total)

    counted = Counter(
        {outcome: count for (bucket, outcome), count in desk.ask(figures.volume, week(desk)).items()
         if bucket != BEFORE})
    assert counted["bot"] == found(by_bot=True, dates="begun")
    assert counted["resolved"] == found(by_bot=False, status="resolved", dates="begun")
    assert counted.total() == found(dates="begun")
    for reason, count in desk.ask(figures.handovers, week(desk))[1].items():
        assert count == found(reason=reason)
    verdicts = desk.ask(figures_promises.verdicts, week(desk))
    late = {verdict.conversation_id for verdict in verdicts
            if verdict.promise == "first_response" and not verdict.kept}
    assert len(late) == found(promise="first_response", breached=True) == 2


def test_days_and_hours_follow_the_shops_clock_over_a_change(desk: Desk) -> None:
    """Clocks went back in Berlin at 01:00 UTC on 25 October 2026."""
    period = Period(date(2026, 10, 24), date(2026, 10, 26), BERLIN)
    for number, at in enumerate(("24T21:59", "24T22:00", "25T00:30", "25T01:30", "25T22:59", "25T23:00")):
        says(desk, f"s{number}", datetime.fromisoformat(f"2026-10-{at}+00:00"))
    assert desk.ask(figures.volume, Scope(period)) == {(0, "bot"): 1, (1, "bot"): 4, (2, "bot"): 1}
    hours = desk.ask(lambda session: list(session.execute(
        select(hour_of(Message.created_at, period)).where(Message.direction == "incoming").order_by(Message.id)
    ).scalars()))
    assert hours == [23, 0, 2, 2, 23, 0]


def test_an_empty_shop_has_empty_figures(desk: Desk) -> None:
    scope = week(desk)
    for query in (figures.volume, figures.messages_read, figures.calmed, figures.scores, figures.scores_of_agents,
                  figures.scores_of_reasons, figures_promises.verdicts, figures_promises.kept_before):
        assert not desk.ask(query, scope), query
    assert desk.ask(figures.handovers, scope) == ({}, {})
    assert desk.ask(figures.backlog_now, scope, desk.now) == []
    assert desk.ask(figures.backlog_over_time, scope) == [0] * 7
    assert desk.ask(figures_intents.failures, scope, []) == []
    assert desk.all(Escalation) == []

"""Managers change the rules as data: checked, recorded, never over each other, and never over the past."""
from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select

import crm_store
from crm_store.errors import NotAllowed, NotFound
from crm_store.models import (
    AuditEntry,
    BusinessCalendar,
    KnowledgeArticle,
    Macro,
    Reward,
    SlaClock,
    SlaEvent,
    SlaPolicy,
    Tier,
)
from crm_store.queries import audit as log
from crm_store.queries import settings as lists
from crm_store.queries.audit import AuditSearch, search_audit
from crm_store.services import audit
from crm_store.services import shop_settings_loyalty as loyalty
from crm_store.services import shop_settings_sla as promises
from crm_store.services import shop_settings_texts as texts
from crm_store.services.handoff import escalate_conversation, reply_to_customer
from crm_store.services.knowledge import passages_without_vector
from crm_store.services.shop_settings import ChangedMeanwhile, InvalidSettings, changes, version_of
from crm_store.services.sla import tick
from tests.crm.conftest import HOUR, MINUTE, Desk

HOSTILE = ("", "   ", "x" * 10_000, None, 5, "\u200b\u200b", "\x00")


def policy_values(desk: Desk, of: str = "handoff", **more: Any) -> dict[str, Any]:
    (policy,) = desk.all(SlaPolicy, SlaPolicy.name == of)
    return {**promises.policy_snapshot(policy), **more}


def policy_id(desk: Desk, name: str = "handoff") -> int:
    (policy,) = desk.all(SlaPolicy, SlaPolicy.name == name)
    return int(policy.id)


def names(desk: Desk) -> list[str]:
    return [policy.name for policy in desk.ask(promises.in_order)]


def problems(desk: Desk, service: Any, *arguments: Any) -> dict[str, str]:
    with pytest.raises(InvalidSettings) as caught:
        desk.do(service, *arguments)
    return {name: refusal.reason for name, refusal in caught.value.problems.items()}


def entries(desk: Desk, kind: str) -> list[AuditEntry]:
    return desk.all(AuditEntry, AuditEntry.object_kind == kind)


def escalate(desk: Desk, sender: str = "visitor") -> int:
    received = desk.write(sender=sender)
    desk.do(escalate_conversation, conversation_id=received.conversation.id, reason="asked", now=desk.now)
    return int(received.conversation.id)


def dues(desk: Desk, conversation: int) -> dict[str, Any]:
    found = desk.ask(lambda s: s.execute(select(SlaClock).join(SlaClock.ticket)).scalars().all())
    tickets = desk.ask(lambda s: {clock.id: s.get(SlaClock, clock.id).ticket.conversation_id for clock in found})
    return {clock.promise: (clock.state, clock.target_seconds, clock.due_at, clock.breached_at) for clock in found
            if tickets[clock.id] == conversation}


def test_a_new_target_holds_for_new_clocks_and_leaves_running_ones_and_verdicts_alone(desk: Desk) -> None:
    answered, running = escalate(desk, "a"), escalate(desk, "b")
    wang = desk.agent("wang")
    desk.do(reply_to_customer, answered, wang, "好的", desk.now + 20 * MINUTE)
    before = dues(desk, answered), dues(desk, running)
    assert before[0]["first_response"][0] == "breached"
    events = [(e.kind, e.occurred_at) for e in desk.all(SlaEvent)]
    desk.do(promises.save_policy, desk.agent("boss"), policy_id(desk),
            policy_values(desk, first_response_seconds=3600), None, desk.now + 21 * MINUTE)
    assert (dues(desk, answered), dues(desk, running)) == before
    assert [(e.kind, e.occurred_at) for e in desk.all(SlaEvent)] == events
    later = escalate(desk, "c")
    assert dues(desk, later)["first_response"][1:3] == (3600, desk.now + HOUR)
    desk.do(tick, desk.now + 30 * MINUTE)
    assert dues(desk, running)["first_response"][0] == "breached"
    assert dues(desk, later)["first_response"][0] == "running"


def test_a_change_is_recorded_field_by_field_with_who_and_when(desk: Desk) -> None:
    boss, key = desk.agent("boss"), policy_id(desk)
    desk.do(promises.save_policy, boss, key, policy_values(desk, first_response_seconds=600, name="现场"), None,
            desk.now)
    (entry,) = entries(desk, "sla_policy")
    assert (entry.action, entry.actor_kind, entry.actor_id, entry.object_id, entry.created_at) == (
        "change", "agent", boss.id, str(key), desk.now)
    assert entry.data == {"changes": {"name": {"from": "handoff", "to": "现场"},
                                      "first_response_seconds": {"from": 900, "to": 600}}}
    desk.do(promises.save_policy, boss, key, policy_values(desk, "现场"), None, desk.now)
    assert len(entries(desk, "sla_policy")) == 1  # nothing changed, nothing written


def test_the_second_of_two_managers_is_told_instead_of_overwriting(desk: Desk) -> None:
    boss, key = desk.agent("boss"), policy_id(desk)
    read = version_of(policy_values(desk))
    works = [lambda seconds=seconds: desk.do(  # type: ignore[misc]
        promises.save_policy, boss, key, policy_values(desk, first_response_seconds=seconds), read, desk.now)
        for seconds in (300, 1200)]
    done = desk.at_once(works)
    (late,) = [each for each in done if isinstance(each, Exception)]
    assert isinstance(late, ChangedMeanwhile)
    (stored,) = desk.all(SlaPolicy, SlaPolicy.id == key)
    assert late.snapshot["first_response_seconds"] == stored.first_response_seconds
    assert len(entries(desk, "sla_policy")) == 1
    desk.do(promises.save_policy, boss, key, policy_values(desk, first_response_seconds=60), version_of(late.snapshot),
            desk.now)
    assert policy_values(desk)["first_response_seconds"] == 60


@pytest.mark.parametrize(("changed", "field", "reason"), [
    ({"name": "major"}, "name", "taken"), ({"ticket_kind": "gift"}, "ticket_kind", "unknown"),
    ({"grade": "major"}, "grade", "grade_of_complaints"), ({"tier_code": "diamond"}, "tier_code", "unknown"),
    ({"first_response_seconds": -1}, "first_response_seconds", "promise_out_of_range"),
    ({"first_response_seconds": 10**12}, "first_response_seconds", "promise_out_of_range"),
    ({"first_response_seconds": float("nan")}, "first_response_seconds", "promise_out_of_range"),
    ({"first_response_seconds": True}, "first_response_seconds", "promise_out_of_range"),
    ({"calendar_id": 999}, "calendar_id", "unknown"), ({"calendar_id": None}, "calendar_id", "required"),
    (dict.fromkeys(promises.TARGETS), "first_response_seconds", "no_promise"),
    *(({"name": name}, "name", None) for name in HOSTILE)])
def test_a_policy_that_cannot_be_is_refused_by_field(sqlite_desk: Desk, changed: dict[str, Any], field: str,
                                                     reason: str | None) -> None:
    found = problems(sqlite_desk, promises.save_policy, sqlite_desk.agent("boss"), policy_id(sqlite_desk),
                     policy_values(sqlite_desk, **changed), None, sqlite_desk.now)
    assert set(found) == {field} and reason in (None, found[field])
    assert entries(sqlite_desk, "sla_policy") == []


def test_a_new_policy_comes_before_what_would_hide_it(desk: Desk) -> None:
    new = policy_values(desk, name="gold", tier_code="gold")
    created = desk.do(promises.save_policy, desk.agent("boss"), None, new, None, desk.now)
    assert names(desk)[-3:] == ["handoff platinum", "gold", "handoff"]
    assert [p.position for p in desk.ask(promises.in_order)] == list(range(1, 9))
    assert desk.ask(lambda s: promises.hidden_by(promises.in_order(s))) == {}
    (entry,) = entries(desk, "sla_policy")
    assert entry.action == "create" and entry.object_id == str(created.id)
    assert entry.data["changes"]["tier_code"] == {"from": None, "to": "gold"}


def test_a_policy_below_one_that_covers_it_is_known_to_be_hidden(desk: Desk) -> None:
    def move(name: str, up: bool) -> None:
        version = desk.ask(lambda s: promises.order_version(promises.in_order(s)))
        desk.do(promises.move_policy, desk.agent("boss"), policy_id(desk, name), up, version, desk.now)

    move("handoff", True)
    assert names(desk)[-2:] == ["handoff", "handoff platinum"]
    hidden = desk.ask(lambda s: promises.hidden_by(promises.in_order(s)))
    assert {key: above.name for key, above in hidden.items()} == {policy_id(desk, "handoff platinum"): "handoff"}
    (entry,) = entries(desk, "sla_policy")
    assert (entry.action, entry.data) == ("move", {"changes": {"position": {"from": 7, "to": 6}}})
    move("major platinum", True)
    assert len(entries(desk, "sla_policy")) == 1  # the first stays the first


def test_of_two_who_move_at_once_one_is_told(desk: Desk) -> None:
    version = desk.ask(lambda s: promises.order_version(promises.in_order(s)))
    boss, ids = desk.agent("boss"), [policy_id(desk, "handoff"), policy_id(desk, "ordinary")]
    done = desk.at_once([lambda key=key: desk.do(  # type: ignore[misc]
        promises.move_policy, boss, key, True, version, desk.now) for key in ids])
    assert sorted(type(each) for each in done if each is not None) == [ChangedMeanwhile]
    assert len(set(names(desk))) == 7


def calendar_values(desk: Desk, **more: Any) -> dict[str, Any]:
    (calendar,) = desk.all(BusinessCalendar)
    return {**promises.calendar_snapshot(calendar), **more}


WEEK = {f"weekly_{day}": [] for day in range(7)}


@pytest.mark.parametrize(("changed", "field", "reason"), [
    (WEEK, "weekly_0", "never_opens"), ({"time_zone": "Mars/Olympus"}, "time_zone", "unknown"),
    ({"time_zone": None}, "time_zone", "required"), ({"holidays": "XX"}, "holidays", "unknown"),
    ({"weekly_1": [["12:00", "09:00"]]}, "weekly_1", "hours_backwards"),
    ({"weekly_1": [["09:00", "09:00"]]}, "weekly_1", "hours_backwards"),
    ({"weekly_1": [["09:00", "12:00"], ["11:00", "13:00"]]}, "weekly_1", "hours_overlap"),
    ({"weekly_1": [["9", "25:00"]]}, "weekly_1", "not_hours"),
    ({"weekly_1": [[f"{hour:02}:00", f"{hour:02}:30"] for hour in range(8)]}, "weekly_1", "too_many"),
    ({"closing_days": ["2026-02-30"]}, "closing_days", "not_a_date"),
    ({"closing_days": ["0001-01-01"]}, "closing_days", "not_a_date"), ({"name": "x" * 10_000}, "name", "too_long")])
def test_a_calendar_that_cannot_be_is_refused_by_field(sqlite_desk: Desk, changed: dict[str, Any], field: str,
                                                       reason: str) -> None:
    assert problems(sqlite_desk, promises.save_calendar, sqlite_desk.agent("boss"), 1,
                    calendar_values(sqlite_desk, **changed), None, sqlite_desk.now) == {field: reason}


def test_a_calendar_that_its_closing_days_shut_for_good_is_refused(sqlite_desk: Desk) -> None:
    first = sqlite_desk.now.date()
    days = [str(first + timedelta(days=7 * number + 5)) for number in range(130)]  # every Monday there is to look at
    only_mondays = {**WEEK, "weekly_0": [["09:00", "10:00"]], "closing_days": days, "holidays": None}
    assert problems(sqlite_desk, promises.save_calendar, sqlite_desk.agent("boss"), None,
                    calendar_values(sqlite_desk, name="shut", **only_mondays), None, sqlite_desk.now) == {
        "weekly_0": "never_opens"}


def test_a_calendar_keeps_its_day_by_day_history_and_the_promises_that_were_made(desk: Desk) -> None:
    conversation = escalate(desk)
    before = dues(desk, conversation)
    two = [["13:00", "18:00"], ["09:00", "12:00"]]
    desk.do(promises.save_calendar, desk.agent("boss"), 1, calendar_values(
        desk, weekly_2=two, closing_days=["2026-12-31", "2026-12-31"]), None, desk.now)
    assert dues(desk, conversation) == before
    (entry,) = entries(desk, "business_calendar")
    assert entry.data["changes"] == {
        "weekly_2": {"from": [["09:00", "21:00"]], "to": [["09:00", "12:00"], ["13:00", "18:00"]]},
        "closing_days": {"from": [], "to": ["2026-12-31"]}}
    late = desk.write(sender="late", at=desk.now + 2 * HOUR - 5 * MINUTE)  # 11:55 in Shanghai
    desk.do(escalate_conversation, conversation_id=late.conversation.id, reason="asked",
            now=desk.now + 2 * HOUR - 5 * MINUTE)
    assert dues(desk, late.conversation.id)["first_response"][2] == desk.now + 3 * HOUR + 10 * MINUTE


def test_the_coming_days_show_holidays_exchanged_and_closing_days(sqlite_desk: Desk) -> None:
    sqlite_desk.do(promises.save_calendar, sqlite_desk.agent("boss"), 1, calendar_values(
        sqlite_desk, weekly_5=[], weekly_6=[], closing_days=["2026-02-25"]), None, sqlite_desk.now)
    (calendar,) = sqlite_desk.all(BusinessCalendar)
    start = sqlite_desk.now.replace(year=2026, month=2, day=14)
    days = {f"{each.day:%m-%d}": (each.why, len(each.intervals)) for each in lists.coming_days(calendar, start)}
    assert len(days) == 14
    assert (days["02-14"], days["02-17"], days["02-25"], days["02-26"]) == (
        ("exchange", 1), ("holiday", 0), ("closing_day", 0), ("", 1))


def tier_values(desk: Desk, code: str, **more: Any) -> dict[str, Any]:
    (tier,) = desk.ask(lambda s: list(s.execute(select(Tier).where(Tier.code == code)).scalars()))
    return {**loyalty.tier_snapshot(tier), **more}


@pytest.mark.parametrize(("code", "changed", "field", "reason"), [
    ("gold", {"anger_watch": 0.9}, "anger_watch", "watch_below_route"),
    ("gold", {"anger_watch": 0.75}, "anger_watch", "watch_below_route"),
    ("gold", {"anger_route": 1.01}, "anger_route", "out_of_range"),
    ("gold", {"anger_watch": -0.1}, "anger_watch", "out_of_range"),
    ("gold", {"anger_route": float("nan")}, "anger_route", "out_of_range"),
    ("gold", {"anger_route": float("inf")}, "anger_route", "out_of_range"),
    ("silver", {"minimum_spend_fen": 1}, "minimum_spend_fen", "lowest_from_zero"),
    ("gold", {"minimum_spend_fen": 800_000}, "minimum_spend_fen", "between_tiers"),
    ("gold", {"minimum_spend_fen": 0}, "minimum_spend_fen", "between_tiers"),
    ("platinum", {"minimum_spend_fen": 2**40}, "minimum_spend_fen", "amount_out_of_range"),
    ("gold", {"multiplier": 0}, "multiplier", "out_of_range"),
    ("gold", {"multiplier": 1.234}, "multiplier", "two_places"),
    ("gold", {"name_zh": "silver"}, "name_zh", "taken"), ("gold", {"name_en": "x" * 10_000}, "name_en", "too_long")])
def test_a_tier_that_cannot_be_is_refused_by_field(sqlite_desk: Desk, code: str, changed: dict[str, Any], field: str,
                                                   reason: str) -> None:
    assert problems(sqlite_desk, loyalty.save_tier, sqlite_desk.agent("boss"), code,
                    tier_values(sqlite_desk, code, **changed), None, sqlite_desk.now) == {field: reason}


def test_new_thresholds_hold_for_the_next_message(desk: Desk) -> None:
    customer = desk.customer("visitor", tier="gold")
    desk.do(loyalty.save_tier, desk.agent("boss"), "gold", tier_values(
        desk, "gold", anger_route=0.6, anger_watch=0.3, multiplier=1.2, minimum_spend_fen=150_000), None, desk.now)
    received = desk.write("太慢了")
    turn = desk.turn(received.conversation.id)
    assert (turn.context["thresholds"]["route"], turn.context["thresholds"]["watch"]) == (0.6, 0.3)
    (entry,) = entries(desk, "tier")
    assert entry.data["changes"]["anger_route"] == {"from": 0.75, "to": 0.6} and customer


def reward(desk: Desk, **more: Any) -> dict[str, Any]:
    return {"code": "CUP", "name_zh": "杯子", "name_en": "Cup", "kind": "gift", "cost_points": 300, "stock": 5,
            "minimum_tier": "silver", "active": True, **more}


def test_a_reward_is_made_and_its_stock_is_never_overwritten_unseen(desk: Desk) -> None:
    boss = desk.agent("boss")
    made = desk.do(loyalty.save_reward, boss, None, reward(desk), None, desk.now)
    read = version_of(loyalty.reward_snapshot(made))
    with desk.store.write() as session:
        session.query(Reward).update({"stock": 4})  # somebody has redeemed one
    with pytest.raises(ChangedMeanwhile):
        desk.do(loyalty.save_reward, boss, made.id, reward(desk, name_en="Mug"), read, desk.now)
    desk.do(loyalty.save_reward, boss, made.id, reward(desk, code="OTHER", stock=4, active=False), None, desk.now)
    (stored,) = desk.all(Reward)
    assert (stored.code, stored.stock, stored.active) == ("CUP", 4, False)
    assert [e.action for e in entries(desk, "reward")] == ["create", "change"]


@pytest.mark.parametrize(("changed", "field", "reason"), [
    ({"code": "a b"}, "code", "not_a_code"), ({"code": "MUG"}, "code", "taken"),
    ({"stock": -1}, "stock", "out_of_range"), ({"stock": 10**9}, "stock", "out_of_range"),
    ({"cost_points": 0}, "cost_points", "out_of_range"),
    ({"cost_points": None}, "cost_points", "required"), ({"kind": "car"}, "kind", "unknown"),
    ({"minimum_tier": "x"}, "minimum_tier", "unknown"), ({"name_zh": "马克杯"}, "name_zh", "taken")])
def test_a_reward_that_cannot_be_is_refused_by_field(sqlite_desk: Desk, changed: dict[str, Any], field: str,
                                                     reason: str) -> None:
    boss = sqlite_desk.agent("boss")
    sqlite_desk.do(loyalty.save_reward, boss, None, reward(sqlite_desk, code="MUG", name_zh="马克杯", name_en="Mug"),
                   None, sqlite_desk.now)
    assert problems(sqlite_desk, loyalty.save_reward, boss, None, reward(sqlite_desk, **changed), None,
                    sqlite_desk.now) == {field: reason}


MACRO = {"title_zh": "问候", "title_en": "Hello", "text_zh": "{customer_name}您好", "text_en": "Hello {customer_name}",
         "emotion": None}


@pytest.mark.parametrize("text", ["{name}", "{customer name}", "{", "}", "{{customer_name}}", "{customer_name", "{}"])
def test_a_placeholder_that_nothing_fills_in_is_refused(sqlite_desk: Desk, text: str) -> None:
    assert problems(sqlite_desk, texts.save_macro, sqlite_desk.agent("boss"), None, {**MACRO, "text_en": text}, None,
                    sqlite_desk.now) == {"text_en": "placeholder"}


def test_a_macro_lives_and_dies_and_the_log_keeps_what_it_said(desk: Desk) -> None:
    boss = desk.agent("boss")
    first = desk.do(texts.save_macro, boss, None, MACRO, None, desk.now)
    second = desk.do(texts.save_macro, boss, None, {**MACRO, "emotion": "angry"}, None, desk.now)
    assert (first.code, second.code) == ("hello", "hello-2")
    with pytest.raises(ChangedMeanwhile):
        desk.do(texts.delete_macro, boss, first.id, "another version", desk.now)
    desk.do(texts.delete_macro, boss, first.id, version_of(texts.macro_snapshot(first)), desk.now)
    assert [macro.id for macro in desk.all(Macro)] == [second.id]
    last = entries(desk, "macro")[-1]
    assert last.action == "delete" and last.data["changes"]["text_zh"] == {"from": "{customer_name}您好", "to": None}
    with pytest.raises(NotFound):
        desk.do(texts.delete_macro, boss, first.id, "x", desk.now)


ARTICLE = {"slug": "gift-wrap", "intent": "ask_product", "title_zh": "礼品包装", "title_en": "Gift wrapping",
           "body_zh": "我们提供免费的礼品包装。", "body_en": "Wrapping is free.",
           "questions_zh": ["能包装吗", " 能包装吗 "], "questions_en": ["do you wrap gifts"], "published": True}


def test_an_article_is_read_anew_when_it_changed_and_only_then(desk: Desk) -> None:
    boss = desk.agent("boss")
    made = desk.do(texts.change_article, boss, None, ARTICLE, None, desk.now)
    snapshot = desk.ask(lambda s: texts.article_snapshot(s, s.get(KnowledgeArticle, made.id)))
    assert snapshot == {**ARTICLE, "questions_zh": ["能包装吗"]}
    unread = desk.ask(passages_without_vector, "encoder")
    desk.do(texts.change_article, boss, made.id, {**snapshot, "slug": "another"}, version_of(snapshot), desk.now)
    assert [p.id for p in desk.ask(passages_without_vector, "encoder")] == [p.id for p in unread]
    desk.do(texts.change_article, boss, made.id, {**snapshot, "body_zh": "包装收费 ¥5。", "published": False}, None,
            desk.now)
    assert not {p.id for p in desk.ask(passages_without_vector, "encoder")} & {p.id for p in unread}
    assert [(e.action, sorted(e.data["changes"])) for e in entries(desk, "article")][-1] == (
        "change", ["body_zh", "published"])
    assert problems(desk, texts.change_article, boss, None, {**ARTICLE, "title_en": ""}, None, desk.now) == {
        "slug": "taken", "title_en": "required"}
    assert problems(desk, texts.change_article, boss, None, {
        **ARTICLE, "slug": "../x", "intent": "nothing", "questions_en": ["x" * 201], "questions_zh": ["x"] * 31,
        "body_en": "x" * 100_000}, None, desk.now) == {
        "slug": "not_a_code", "intent": "unknown", "questions_en": "line_too_long", "questions_zh": "too_many",
        "body_en": "too_long"}


@pytest.mark.parametrize("login", ["wang", "lead"])
def test_who_is_no_manager_changes_nothing(sqlite_desk: Desk, login: str) -> None:
    agent, now = sqlite_desk.agent(login), sqlite_desk.now
    works: list[tuple[Any, ...]] = [
        (promises.save_policy, agent, 1, {}, None, now), (promises.move_policy, agent, 1, True, "", now),
        (promises.save_calendar, agent, 1, {}, None, now), (loyalty.save_tier, agent, "gold", {}, None, now),
        (loyalty.save_reward, agent, None, {}, None, now), (texts.save_macro, agent, None, {}, None, now),
        (texts.delete_macro, agent, 1, "", now), (texts.change_article, agent, None, {}, None, now)]
    for service, *arguments in works:
        with pytest.raises(NotAllowed):
            sqlite_desk.do(service, *arguments)


@pytest.mark.parametrize("key", [0, -1, 999, 2**63, 2**200])
def test_what_is_not_there_is_not_found(desk: Desk, key: int) -> None:
    boss = desk.agent("boss")
    for service in (promises.save_policy, promises.save_calendar, loyalty.save_reward, texts.save_macro,
                    texts.change_article):
        with pytest.raises(NotFound):
            desk.do(service, boss, key, {}, None, desk.now)
    with pytest.raises(NotFound):
        desk.do(promises.move_policy, boss, key, True, "", desk.now)
    with pytest.raises(NotFound):
        desk.do(loyalty.save_tier, boss, "nothing", {}, None, desk.now)


plain = st.dictionaries(st.sampled_from("abcd"), st.none() | st.integers() | st.text(max_size=3), max_size=4)


@given(before=plain, after=plain)
def test_changes_lead_from_what_was_to_what_is(before: dict[str, Any], after: dict[str, Any]) -> None:
    changed = changes(before, after)
    rebuilt = {**before, **{name: change["to"] for name, change in changed.items()}}
    assert {k: v for k, v in rebuilt.items() if v is not None} == {k: v for k, v in after.items() if v is not None}
    assert all(change["from"] == before.get(name) != change["to"] for name, change in changed.items())
    assert (version_of(before) == version_of(after)) is (before == after)


def test_the_log_is_read_page_by_page_whatever_is_written_meanwhile(desk: Desk) -> None:
    boss = desk.agent("boss")

    def note(action: str, count: int, kind: str = "conversation") -> None:
        with desk.store.write() as session:
            for number in range(count):
                audit.record(session, actor_kind="agent", actor_id=boss.id, action=action, object_kind=kind,
                             object_id=number, now=desk.now + number * MINUTE)

    def page(**search: Any) -> Any:
        return desk.ask(search_audit, AuditSearch(**search), 4)

    note("look", 10)
    first = page()
    note("claim", 3, "ticket")
    second = page(before=first.rows[-1].id)
    third = page(before=second.rows[-1].id)
    assert [row.object_id for row in (*first.rows, *second.rows, *third.rows)] == [str(n) for n in range(9, -1, -1)]
    assert [(p.newer, p.older) for p in (first, second, third)] == [(False, True), (True, True), (True, False)]
    back = page(after=third.rows[0].id)
    assert [row.id for row in back.rows] == [row.id for row in second.rows] and back.newer and back.older
    assert {row.action for row in page(action="claim").rows} == {"claim"}
    assert [row.object_id for row in page(object_kind="ticket", object_id="2").rows] == ["2"]
    assert len(page(since=desk.now + 8 * MINUTE, until=desk.now + 9 * MINUTE).rows) == 1
    assert page(actor_kind="customer").rows == [] and page(actor_id=boss.id).rows[0].actor_name == "Boss"
    assert (desk.ask(log.actions), desk.ask(log.object_kinds)) == (["claim", "look"], ["conversation", "ticket"])


def test_nothing_changes_or_deletes_an_entry_of_the_log_but_the_end_of_its_time() -> None:
    writes = re.compile(r"(update|delete)\((models\.)?AuditEntry|AuditEntry\.__table__\.(update|delete)|"
                        r"(UPDATE|DELETE FROM) audit_log|query\(AuditEntry\)")
    root = Path(crm_store.__file__).parent.parent
    sources = [path for package in ("crm_store", "desk", "gateway", "actions", "warmline")
               for path in (root / package).rglob("*.py")]
    assert len(sources) > 50
    assert [path.name for path in sources if writes.search(path.read_text(encoding="utf8"))] == ["retention.py"]

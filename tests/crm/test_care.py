"""Care: by consent, seldom, not at night, to who can be reached, once for each occasion, with a control group."""
from __future__ import annotations

from collections import Counter
from datetime import date, datetime, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crm_store.errors import InvalidMessage, NotAllowed, NotFound
from crm_store.models import (
    AuditEntry,
    CareMessage,
    Conversation,
    Customer,
    CustomerValue,
    Message,
    Order,
    Shipment,
    Ticket,
)
from crm_store.queries.care import care_results, care_sent
from crm_store.rules.care import ArmResult, arm_of, difference, is_quiet, is_too_often
from crm_store.services.blocks import block_sender
from crm_store.services.care import TEXTS, change_campaign, take_care
from crm_store.services.customers import unlink_identity
from crm_store.services.delivery import note_unreachable
from crm_store.services.erasure import ask_erasure
from crm_store.services.handoff import escalate_conversation
from crm_store.services.privacy import set_consent
from tests.crm.conftest import Desk
from tests.crm.loyalty import Loyalty

DAY, HOUR = timedelta(days=1), timedelta(hours=1)
ZONE = ZoneInfo("Asia/Shanghai")


@pytest.mark.parametrize(("hour", "minute", "quiet"), [
    (9, 29, True), (9, 30, False), (19, 59, False), (20, 0, True), (3, 0, True)])
def test_the_night_is_the_shops(hour: int, minute: int, quiet: bool) -> None:
    assert is_quiet(datetime(2026, 11, 18, hour, minute, tzinfo=ZONE).astimezone(timezone.utc), ZONE) is quiet


def test_once_a_week_and_three_times_a_month() -> None:
    now = datetime(2026, 11, 18, tzinfo=timezone.utc)
    assert not is_too_often([], now) and is_too_often([now - 6 * DAY], now) and not is_too_often([now - 7 * DAY], now)
    assert is_too_often([now - days * DAY for days in (8, 16, 24)], now)
    assert not is_too_often([now - days * DAY for days in (8, 16, 30)], now)


def test_variants_are_even_lasting_and_independent() -> None:
    arms = Counter(arm_of("birthday", customer, 10, has_b=True) for customer in range(20_000))
    assert abs(arms["control"] / 20_000 - 0.10) < 0.01 and abs(arms["a"] / arms["b"] - 1) < 0.05
    both = Counter((arm_of("birthday", c, 50, has_b=False), arm_of("win_back", c, 50, has_b=False))
                   for c in range(20_000))
    assert all(abs(count / 20_000 - 0.25) < 0.02 for count in both.values()) and len(both) == 4
    assert {arm_of("birthday", c, 0, has_b=False) for c in range(500)} == {"a"}


@given(*[st.integers(0, 200)] * 4)
def test_a_difference_lies_in_its_interval(n: int, m: int, x: int, y: int) -> None:
    found = difference(ArmResult(n, min(n, x)), ArmResult(m, min(m, y)))
    if n and m:
        assert found is not None
        assert -1 - 1e-9 <= found[1] <= found[0] + 1e-9 and found[0] - 1e-9 <= found[2] <= 1 + 1e-9
    else:
        assert found is None


def test_the_interval_of_newcombes_example() -> None:
    found = difference(ArmResult(70, 56), ArmResult(80, 48))  # his table II, row a, method 10
    assert found is not None and [round(each, 4) for each in found] == [0.2, 0.0524, 0.3339]


class Care:
    """A customer who wrote on the web and agreed to marketing; it is ten in the morning."""

    def __init__(self, desk: Desk) -> None:
        self.desk, self.shop, self.now = desk, Loyalty(desk), desk.now
        self.customer = desk.customer("lei")
        self.talk = desk.write("你好", sender="lei", at=self.now - HOUR).conversation.id
        self.allow(True)

    def allow(self, granted: bool, purpose: str = "marketing") -> None:
        self.desk.do(set_consent, self.customer, purpose, granted, "web", self.now)

    def turn_on(self, kind: str, **more: Any) -> None:
        texts = {"a_zh": TEXTS[kind][0], "a_en": TEXTS[kind][1]}
        self.desk.do(change_campaign, self.desk.agent("boss"), kind, now=self.now, **{
            "enabled": True, "days": 14, "control_percent": 0, "texts": texts, **more})

    def born(self, day: date) -> None:
        with self.desk.store.write() as session:
            session.get(Customer, self.customer).birthday = day

    def look(self, at: datetime | None = None) -> int:
        return int(self.desk.do(take_care, at or self.now))

    def told(self) -> list[str]:
        return [each.text for each in self.desk.all(Message, Message.author == "system")]


@pytest.fixture
def care(desk: Desk) -> Care:
    return Care(desk)


@pytest.fixture
def lite(sqlite_desk: Desk) -> Care:
    return Care(sqlite_desk)


def test_a_birthday_is_thought_of_once_a_year(care: Care) -> None:
    care.born(date(1990, 11, 18))
    assert care.look() == 0, "off until somebody turns it on"
    care.turn_on("birthday")
    assert [care.look() for _ in range(3)] == [1, 0, 0]
    (told,) = care.told()
    assert told.startswith("李雷，生日快乐") and "退订" in told
    assert care.look(care.now + DAY) == 0
    assert care.look(care.now + 365 * DAY) == 1


def test_the_29th_of_february_is_kept_on_the_28th(lite: Care) -> None:
    lite.born(date(2000, 2, 29))
    lite.turn_on("birthday")
    assert lite.look(datetime(2027, 2, 28, 3, tzinfo=timezone.utc)) == 1
    assert lite.look(datetime(2028, 2, 28, 3, tzinfo=timezone.utc)) == 0
    assert lite.look(datetime(2028, 2, 29, 3, tzinfo=timezone.utc)) == 1


def test_parcels_points_absence_and_complaints_are_occasions(care: Care) -> None:
    desk, now = care.desk, care.now
    care.shop.earn(care.customer, 10_000, at=now - 360 * DAY)
    order = care.shop.order(care.customer, status="delivered")
    with desk.store.write() as session:
        session.add_all([
            Shipment(order_id=order, carrier_zh="-", carrier_en="-", tracking_number="T1", shipped_at=now - 2 * DAY,
                     delivered_at=now - timedelta(hours=2)),
            CustomerValue(customer_id=care.customer, purchases=1, first_on=date(2025, 11, 1), last_on=date(2025, 11, 1),
                          spent_fen=1, returns=0, stage="lost", judged_on=now.date(), counted_at=now),
            Ticket(number="C1", kind="complaint", grade="ordinary", level="front_line", status="resolved", summary="-",
                   language="zh",
                   conversation_id=care.talk, customer_id=care.customer, opened_at=now - 9 * DAY,
                   resolved_at=now - 3 * DAY - timedelta(hours=2), idempotency_key="t")])
        number = session.get(Order, order).number
    at = now
    for kind, word, days in (("delivered", number, 0), ("follow_up", "C1", 3), ("points_expiring", "100 积分", 30),
                             ("win_back", "好久不见", 60)):
        care.turn_on(kind, days=days or None)
        assert care.look(at) == 1, kind
        assert word in care.told()[-1]
        care.turn_on(kind, days=days or None, enabled=False)
        with desk.store.write() as session:
            for each in session.query(CareMessage):
                each.decided_at = now - 40 * DAY
    assert ["退订" in text for text in care.told()] == [False, False, True, True], "who agreed to marketing may stop it"


@pytest.mark.parametrize("why", [
    "no consent", "revoked", "night", "person", "unreachable", "lately", "erased", "blocked", "mid-talk", "window over",
    "another person's", "to be erased"])
def test_who_must_not_be_written_to_is_not(lite: Care, why: str) -> None:
    lite.born(date(1990, 11, 18))
    lite.turn_on("birthday")
    at, desk = lite.now, lite.desk
    if why in ("no consent", "revoked"):
        lite.allow(False)
    elif why == "night":
        at = lite.now.replace(hour=13)
    elif why == "person":
        desk.do(escalate_conversation, conversation_id=lite.talk, reason="asked", now=at)
    elif why == "unreachable":
        desk.do(note_unreachable, 1, at)
    elif why == "lately":
        lite.turn_on("birthday", enabled=False)
        with desk.store.write() as session:
            session.add(CareMessage(kind="win_back", customer_id=lite.customer, occasion="x", arm="a",
                                    decided_at=at - 3 * DAY))
        lite.turn_on("birthday")
    elif why == "blocked":
        desk.do(block_sender, lite.talk, desk.agent("boss"), reason="spam", until=None, everywhere=False, now=at)
    elif why == "mid-talk":
        desk.write("我的快递呢", sender="lei", at=at - timedelta(minutes=5))
    elif why == "window over":
        at += 2 * DAY
        lite.born(date(1990, 11, 20))
        with desk.store.write() as session:
            session.get(Conversation, lite.talk).channel = "wechat"
    elif why == "another person's":
        desk.do(unlink_identity, 1, at)
    elif why == "to be erased":
        desk.do(ask_erasure, lite.customer, asked_by="customer", now=at)
    elif why == "erased":
        with desk.store.write() as session:
            session.get(Customer, lite.customer).erased_at = at
    before = len(lite.told())
    assert lite.look(at) == 0 and len(lite.told()) == before


def test_many_workers_write_once(care: Care) -> None:
    care.born(date(1990, 11, 18))
    care.turn_on("birthday")
    came = care.desk.at_once([care.look] * 6)
    assert sum(each for each in came if isinstance(each, int)) == 1
    assert len(care.told()) == 1


def test_control_is_decided_and_not_written_to_and_results_wait_two_weeks(care: Care) -> None:
    desk = care.desk
    others = [desk.customer(f"c{number}") for number in range(30)]
    for number, customer in enumerate(others):
        desk.write("你好", sender=f"c{number}", at=care.now - HOUR)
        desk.do(set_consent, customer, "marketing", True, "web", care.now)
        with desk.store.write() as session:
            session.get(Customer, customer).birthday = date(1990, 11, 18)
    care.turn_on("birthday", control_percent=50)
    assert care.look() == 30
    arms = Counter(each.arm for each in desk.all(CareMessage))
    assert arms["a"] == len(care.told()) and arms["a"] + arms["control"] == 30 and min(arms.values()) > 3
    written = next(each for each in desk.all(CareMessage) if each.arm == "a")
    care.shop.order(written.customer_id, at=care.now + 2 * DAY)
    desk.write("谢谢", sender="c0", at=care.now + 15 * DAY)
    assert desk.ask(care_results, care.now - DAY, care.now + 3 * DAY) == {}
    found = desk.ask(care_results, care.now - DAY, care.now + 20 * DAY)["birthday"]
    assert (found["a"].customers, found["control"].customers, found["b"].customers) == (arms["a"], arms["control"], 0)
    assert (found["a"].came_back, found["control"].came_back) == (1, 0)
    assert desk.ask(care_sent, care.now - DAY) == {"birthday": arms["a"]}


def test_texts_and_numbers_are_checked(lite: Care) -> None:
    good = {"a_zh": "好 {name}", "a_en": "Hi {name}"}
    for more in ({"texts": {**good, "a_zh": "{points}"}}, {"texts": {**good, "a_en": ""}}, {"control_percent": 51},
                 {"texts": {**good, "b_zh": "好"}}, {"texts": {**good, "a_zh": "{name"}},
                 {"texts": {**good, "a_zh": "x" * 601}}, {"control_percent": -1}):
        with pytest.raises(InvalidMessage):
            lite.turn_on("birthday", **more)
    with pytest.raises(InvalidMessage):
        lite.turn_on("win_back", days=0)
    for login, kind, error in (("lead", "birthday", NotAllowed), ("boss", "spam", NotFound)):
        with pytest.raises(error):
            lite.desk.do(change_campaign, lite.desk.agent(login), kind, enabled=True, days=1, control_percent=0,
                         texts=good, now=lite.now)


def test_the_audit_log_keeps_what_was_to_be_said(lite: Care) -> None:
    lite.turn_on("birthday")
    lite.turn_on("birthday", texts={"a_zh": "{name}，好", "a_en": "Hi {name}"})
    last = lite.desk.all(AuditEntry, AuditEntry.action == "change_care")[-1].data
    assert (last["from"]["a_zh"], last["to"]["a_zh"]) == (TEXTS["birthday"][0], "{name}，好")

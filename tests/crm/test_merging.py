"""Two records of one person become one and two again: nothing is lost, nothing is doubled, nobody else's is touched."""
from __future__ import annotations

from collections import Counter
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from crm_store.errors import NotAllowed, NotFound, WrongState
from crm_store.models import (
    CareMessage,
    ChannelIdentity,
    Consent,
    Conversation,
    Customer,
    Fact,
    Merge,
    Message,
    Order,
    PointsEntry,
    Redemption,
)
from crm_store.queries.points import lots_of
from crm_store.services.access import access_customer
from crm_store.services.customers import confirm_link, link_identity, start_linking, unlink_identity
from crm_store.services.erasure import ask_erasure, cancel_erasure
from crm_store.services.memory import facts_of, forget_facts, keep_fact
from crm_store.services.merging import merge_customers, preview_merge, undo_merge
from crm_store.services.points import take_back_points_for_return
from crm_store.services.privacy import set_consent
from crm_store.services.redemptions import cancel_redemption
from tests.crm.conftest import Desk
from tests.crm.loyalty import Loyalty

DAY = timedelta(days=1)


class Twins:
    """A person with two records: one from the web chat, one from the shop."""

    def __init__(self, desk: Desk) -> None:
        self.desk, self.shop = desk, Loyalty(desk)
        self.kept = desk.customer("web", name="李雷")
        self.gone = desk.customer("other", name="Li Lei")
        with desk.store.write() as session:
            session.get(Customer, self.gone).phone = "13900001111"
        self.boss = desk.agent("boss")
        self.now = desk.now

    def merge(self, **more: Any) -> Merge:
        found: Merge = self.desk.do(merge_customers, self.boss, now=self.now,
                                    **{"kept_id": self.kept, "gone_id": self.gone, **more})
        return found

    def undo(self, merge: Merge) -> Any:
        return self.desk.do(undo_merge, self.boss, merge.id, self.now)

    def lots(self, customer: int) -> list[tuple[int, Any]]:
        return [(lot.left, lot.expires_at) for lot in self.desk.ask(lots_of, customer)]

    def whose(self, model: Any) -> dict[int, int | None]:
        return {each.id: each.customer_id for each in self.desk.all(model)}


@pytest.fixture
def twins(desk: Desk) -> Twins:
    return Twins(desk)


@pytest.fixture
def lite(sqlite_desk: Desk) -> Twins:
    return Twins(sqlite_desk)


def test_everything_goes_over_and_comes_back(twins: Twins) -> None:
    shop, desk = twins.shop, twins.desk
    shop.earn(twins.kept, 10_000, at=twins.now - 30 * DAY)
    shop.earn(twins.gone, 250_000, at=twins.now - 60 * DAY)
    talk = desk.write("你好", sender="other").conversation.id
    code = shop.redeem(twins.gone, shop.reward(cost=500)).code
    desk.do(set_consent, twins.gone, "marketing", True, "web", twins.now)
    before = {model: twins.whose(model) for model in (ChannelIdentity, Conversation, Order, Consent, Redemption)}
    lots = twins.lots(twins.gone)

    seen = desk.ask(preview_merge, twins.boss, kept_id=twins.kept, gone_id=twins.gone, now=twins.now)
    assert (seen.points, seen.after) == (2500, 2600)
    assert seen.differ == {
        "name": ("李雷", "Li Lei"), "phone": (None, "13900001111"), "tier_code": ("silver", "gold")}
    assert (seen.counts["orders"], seen.counts["conversations"], seen.counts["redemptions"]) == (1, 1, 1)
    merge = twins.merge()
    assert (shop.balance(twins.kept), shop.balance(twins.gone)) == (2600, 0)
    assert lots[0] in twins.lots(twins.kept), "as old as they were"
    assert shop.tier(twins.kept) == "gold"
    assert {whose for model in before for whose in twins.whose(model).values()} == {twins.kept}
    assert desk.conversation(talk).customer_id == twins.kept
    assert shop.do(cancel_redemption, customer_id=twins.kept, code=code, now=twins.now).problem is None
    assert shop.balance(twins.kept) == 3100
    for customer in (twins.kept, twins.gone):
        shop.check_ledger(customer)

    twins.undo(merge)
    assert {model: twins.whose(model) for model in before} == before
    assert (shop.balance(twins.kept), shop.balance(twins.gone)) == (600, 2500)
    assert twins.lots(twins.gone) == lots
    assert twins.undo(merge).undone_at is not None
    assert shop.balance(twins.gone) == 2500, "once"
    for customer in (twins.kept, twins.gone):
        shop.check_ledger(customer)
    assert [entry["merge"] for action in ("merge_customers", "undo_merge") for entry in shop.audit(action)] == [
        merge.id, merge.id]


def test_what_was_spent_and_what_happened_since_stays(lite: Twins) -> None:
    shop = lite.shop
    shop.earn(lite.gone, 10_000)
    merge = lite.merge()
    shop.redeem(lite.kept, shop.reward(cost=60))
    shop.earn(lite.kept, 3_000)
    lite.desk.write("您好", sender="web")
    lite.undo(merge)
    assert (shop.balance(lite.kept), shop.balance(lite.gone)) == (30, 40)
    assert lite.whose(Conversation) == {1: lite.kept}


def test_a_return_after_the_merge_takes_the_points_that_came_over(lite: Twins) -> None:
    shop = lite.shop
    lot = shop.earn(lite.gone, 20_000)
    lite.merge()
    shop.give_back(lot.order_id, lite.now)
    assert (shop.balance(lite.kept), shop.balance(lite.gone)) == (0, 0)
    shop.check_ledger(lite.kept)


def test_a_debt_goes_over_too(twins: Twins) -> None:
    shop = twins.shop
    lot = shop.earn(twins.gone, 10_000)
    shop.redeem(twins.gone, shop.reward(cost=80))
    shop.give_back(lot.order_id, twins.now)
    shop.earn(twins.kept, 5_000)
    assert (shop.balance(twins.kept), shop.balance(twins.gone)) == (50, -80)
    twins.merge()
    assert (shop.balance(twins.kept), shop.balance(twins.gone)) == (-30, 0)
    for customer in (twins.kept, twins.gone):
        shop.check_ledger(customer)


def test_a_debt_that_went_over_is_taken_back_once(lite: Twins) -> None:
    shop, desk = lite.shop, lite.desk
    lot = shop.earn(lite.gone, 10_000)
    shop.redeem(lite.gone, shop.reward(cost=100))

    def refund(session: Any) -> Any:
        order = session.get(Order, lot.order_id)
        order.refunded_fen, order.refunded_at = 5_000, lite.now
        return take_back_points_for_return(session, order, lite.now)

    desk.do(refund)
    lite.merge()
    assert shop.balance(lite.kept) == -50
    shop.give_back(lot.order_id, lite.now)
    assert shop.balance(lite.kept) == -100, "the other half is still to be taken back"


def test_points_that_lapsed_after_the_merge_are_not_taken_back_once_more(lite: Twins) -> None:
    shop = lite.shop
    lot = shop.earn(lite.gone, 10_000)
    lite.merge()
    later = lite.now + 400 * DAY
    shop.expire(later)
    shop.earn(lite.kept, 3_000, at=later)
    shop.give_back(lot.order_id, later)
    assert shop.balance(lite.kept, later) == 30


def test_points_that_went_on_to_a_third_record_come_back_to_the_first(lite: Twins) -> None:
    shop, third = lite.shop, lite.desk.customer("third")
    shop.earn(lite.gone, 10_000)
    shop.earn(lite.kept, 5_000)
    first = lite.merge()
    second = lite.merge(kept_id=third, gone_id=lite.kept)
    lite.undo(second)
    lite.undo(first)
    assert [shop.balance(each) for each in (lite.gone, lite.kept, third)] == [100, 50, 0]


def test_what_is_remembered_and_what_was_written_goes_over_once(twins: Twins) -> None:
    desk = twins.desk
    told = {}
    for who, sender in ((twins.kept, "web"), (twins.gone, "other")):
        talk = desk.write("我对花生过敏", sender=sender).conversation.id
        message = desk.all(Message, Message.conversation_id == talk)[0].id
        told[who] = message
        desk.do(keep_fact, customer_id=who, kind="allergy", what="花生", message_id=message, now=twins.now)

    def write(session: Any) -> None:
        for who, key in ((twins.kept, "2026"), (twins.gone, "2026"), (twins.gone, "2025")):
            session.add(CareMessage(kind="birthday", customer_id=who, occasion=key, arm="a", decided_at=twins.now))

    desk.do(write)
    desk.do(keep_fact, customer_id=twins.gone, kind="like", what="绿茶", message_id=told[twins.gone], now=twins.now)
    before = {model: twins.whose(model) for model in (Fact, CareMessage)}
    merge = twins.merge()
    assert sorted(fact.what for fact in desk.ask(facts_of, twins.kept)) == ["绿茶", "花生"]
    assert Counter(twins.whose(CareMessage).values()) == {twins.kept: 2, twins.gone: 1}
    twins.undo(merge)
    assert {model: twins.whose(model) for model in before} == before
    twins.merge()
    assert set(desk.do(forget_facts, customer_id=twins.kept, which="all", now=twins.now)) == {"绿茶", "花生"}
    assert not desk.all(Fact), "not in the other record either"


def test_a_guest_who_is_linked_during_the_merge_becomes_the_person(lite: Twins) -> None:
    (stale,) = lite.desk.all(Customer, Customer.id == lite.gone)
    guest = lite.desk.write("你好", sender="phone").conversation.identity_id
    lite.merge()
    lite.desk.do(lambda session: link_identity(session, session.get(ChannelIdentity, guest), stale, lite.now))
    assert lite.whose(ChannelIdentity)[guest] == lite.kept


def test_nothing_is_merged_or_taken_apart_while_an_erasure_waits(lite: Twins) -> None:
    desk = lite.desk
    merge = lite.merge()
    asked = desk.do(ask_erasure, lite.kept, asked_by="customer", now=lite.now)
    with pytest.raises(WrongState):
        lite.undo(merge)
    desk.do(cancel_erasure, asked.id, now=lite.now)
    lite.undo(merge)
    desk.do(ask_erasure, lite.gone, asked_by="customer", now=lite.now)
    with pytest.raises(WrongState):
        lite.merge()


def test_the_phone_of_the_second_record_leads_to_the_person(lite: Twins) -> None:
    lite.merge()
    guest = lite.desk.write("你好", sender="phone").conversation.identity_id
    start = lite.desk.do(start_linking, identity_id=guest, phone="139 0000 1111", now=lite.now)
    assert start.customer_id == lite.kept
    linked = lite.desk.do(confirm_link, identity_id=guest, code=start.code, now=lite.now)
    assert linked.customer.id == lite.kept


def test_a_code_sent_before_the_merge_leads_to_the_person(lite: Twins) -> None:
    guest = lite.desk.write("你好", sender="phone").conversation.identity_id
    start = lite.desk.do(start_linking, identity_id=guest, phone="13900001111", now=lite.now)
    lite.merge()
    assert lite.desk.do(confirm_link, identity_id=guest, code=start.code, now=lite.now).customer.id == lite.kept


def test_what_cannot_be_merged_is_refused(lite: Twins) -> None:
    for login, kept, gone, error in (
            ("lead", lite.kept, lite.gone, NotAllowed), ("boss", lite.kept, lite.kept, WrongState),
            ("boss", lite.kept, 10**6, NotFound), ("boss", 10**6, lite.gone, NotFound)):
        for verb in (merge_customers, preview_merge):
            with pytest.raises(error):
                lite.desk.do(verb, lite.desk.agent(login), kept_id=kept, gone_id=gone, now=lite.now)
    first = lite.merge()
    third = lite.desk.customer("third")
    for kept, gone in ((lite.kept, lite.gone), (lite.gone, third)):
        with pytest.raises(NotFound):
            lite.merge(kept_id=kept, gone_id=gone)
    second = lite.merge(kept_id=third, gone_id=lite.kept)
    with pytest.raises(WrongState):
        lite.undo(first)
    with pytest.raises(NotFound):
        lite.desk.ask(access_customer, lite.boss, lite.gone)
    lite.undo(second)
    lite.undo(first)
    assert sorted(set(lite.whose(ChannelIdentity).values())) == [lite.kept, lite.gone, third]
    with pytest.raises(NotFound):
        lite.desk.do(undo_merge, lite.boss, 10**6, lite.now)
    with pytest.raises(NotAllowed):
        lite.desk.do(undo_merge, lite.desk.agent("lead"), first.id, lite.now)


def test_of_many_who_merge_at_once_one_does(twins: Twins) -> None:
    twins.shop.earn(twins.gone, 10_000)
    came = twins.desk.at_once([twins.merge] * 4 + [lambda: twins.merge(kept_id=twins.gone, gone_id=twins.kept)] * 4)
    assert len([each for each in came if isinstance(each, Merge)]) == 1
    assert {type(each) for each in came} <= {Merge, NotFound}
    assert twins.shop.balance(twins.kept) + twins.shop.balance(twins.gone) == 100


@given(st.lists(st.tuples(st.sampled_from(("earn", "spend", "merge", "undo", "expire")), st.booleans(),
                          st.integers(1, 300)), max_size=14))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_point_is_made_or_lost_whatever_is_merged(lite: Twins, steps: list[tuple[str, bool, int]]) -> None:
    shop, desk = lite.shop, lite.desk
    pair = [desk.customer(f"{desk.now}{id(steps)}{n}{len(desk.all(Customer))}") for n in range(2)]
    at, merge, expected = lite.now, None, 0
    reward = shop.reward(cost=50, stock=1000)
    for what, first, amount in steps:
        at += 20 * DAY
        who = pair[0] if first or merge is not None else pair[1]
        if what == "earn":
            shop.earn(who, amount * 100, at=at)
        elif what == "spend" and shop.balance(who, at) >= 50:
            shop.redeem(who, reward, at=at)
        elif what == "merge" and merge is None:
            merge = desk.do(merge_customers, lite.boss, kept_id=pair[0], gone_id=pair[1], now=at)
        elif what == "undo" and merge is not None:
            desk.do(undo_merge, lite.boss, merge.id, at)
            merge = None
        elif what == "expire":
            shop.expire(at)
        entries = [each for each in desk.all(PointsEntry) if each.customer_id in pair]
        outside = sum(each.points for each in entries if each.kind in ("earn", "spend", "expire"))
        expected = sum(each.points for each in entries)
        assert outside == expected, "moving is even"
        for customer in pair:
            shop.check_ledger(customer, at)


def test_an_identity_is_unlinked_with_what_is_still_going_on(lite: Twins) -> None:
    talk = lite.desk.write("你好", sender="web").conversation
    assert lite.desk.do(unlink_identity, talk.identity_id, lite.now) is True
    assert lite.desk.do(unlink_identity, talk.identity_id, lite.now) is False
    assert lite.desk.conversation(talk.id).customer_id is None
    assert lite.desk.ask(lambda session: session.execute(
        select(ChannelIdentity.customer_id).where(ChannelIdentity.id == talk.identity_id)).scalar_one()) is None
    with pytest.raises(NotFound):
        lite.desk.do(unlink_identity, 10**6, lite.now)

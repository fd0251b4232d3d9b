"""Codes: used once, cancelled with everything given back, and nobody else's; grants within a role's limit."""
from __future__ import annotations

from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from sqlalchemy.exc import DBAPIError

from crm_store.errors import KeyReused, NotAllowed, NotFound
from crm_store.models import AuditEntry, Order, PointsAllocation, PointsEntry, Reward, Ticket
from crm_store.rules.points import grant_limit
from crm_store.services.grants import grant_for_case
from crm_store.services.handoff import claim_conversation, escalate_conversation
from crm_store.services.orders import note_refused_order
from crm_store.services.points import grant_points
from crm_store.services.redemptions import cancel_redemption, use_code
from tests.crm.conftest import Desk
from tests.crm.loyalty import Loyalty, sorted_kinds

DAY = timedelta(days=1)
FOREIGN = ("", " ", "WR", "WRAAAAAAAAAA", "WR\x00", "\ud800", "' OR 1=1 --", "W" * 5000, "０")


@pytest.fixture
def shop(desk: Desk) -> Loyalty:
    return Loyalty(desk)


@pytest.fixture
def sqlite_shop(sqlite_desk: Desk) -> Loyalty:
    return Loyalty(sqlite_desk)


def use(shop: Loyalty, customer: int, code: str) -> Any:
    return shop.do(use_code, customer_id=customer, code=code, now=shop.now)


def cancel(shop: Loyalty, customer: int, code: str, at: Any = None) -> Any:
    return shop.do(cancel_redemption, customer_id=customer, code=code, now=at or shop.now)


def test_a_cancelled_redemption_gives_back_stock_and_points_with_their_old_expiry(shop: Loyalty) -> None:
    customer, reward = shop.customer(), shop.reward(cost=150, stock=2)
    old = shop.earn(customer, 10_000, at=shop.now - 60 * DAY)
    young = shop.earn(customer, 10_000, at=shop.now - 5 * DAY)
    code = shop.redeem(customer, reward).code
    assert cancel(shop, customer, f" {code.lower()} ").problem is None
    back = shop.all(PointsEntry, PointsEntry.origin_id.is_not(None))
    assert [(entry.points, entry.origin_id, entry.expires_at) for entry in back] == [
        (100, old.id, old.expires_at), (50, young.id, young.expires_at)]
    assert (shop.balance(customer), shop.all(Reward)[0].stock) == (200, 2)
    assert cancel(shop, customer, code).problem is None
    assert shop.balance(customer) == 200, "cancelling again gives nothing more"
    assert use(shop, customer, code).problem == "cancelled"
    shop.check_ledger(customer)


def test_points_whose_time_was_over_do_not_come_back_to_life(shop: Loyalty) -> None:
    customer, reward = shop.customer(), shop.reward(cost=100)
    order = shop.order(customer, 30_000, at=shop.now - 370 * DAY)
    lot = shop.credit(order, shop.now - 370 * DAY)
    code = shop.redeem(customer, reward, at=shop.now - 100 * DAY).code
    assert cancel(shop, customer, code, lot.expires_at).problem is None
    assert shop.balance(customer, lot.expires_at) == 0
    assert shop.give_back(order, lot.expires_at + DAY) is None, "all it brought has lapsed; nothing is taken twice"
    assert sorted_kinds(shop.all(PointsEntry)) == [
        ("earn", 300), ("spend", -100), ("expire", -200), ("reverse", 100), ("expire", -100)]
    shop.check_ledger(customer, lot.expires_at + DAY)


def test_points_given_back_fill_a_debt_first(shop: Loyalty) -> None:
    customer, reward = shop.customer(), shop.reward(cost=250)
    order = shop.order(customer, 30_000)
    shop.credit(order, shop.now)
    code = shop.redeem(customer, reward).code
    shop.give_back(order, shop.now)
    assert shop.balance(customer) == -250
    cancel(shop, customer, code)
    assert shop.balance(customer) == 0
    shop.check_ledger(customer)


def test_a_used_code_is_used_up(shop: Loyalty) -> None:
    customer, reward = shop.customer(), shop.reward(cost=100)
    shop.grant(customer, 100)
    code = shop.redeem(customer, reward).code
    assert use(shop, customer, code).redemption.used_at == shop.now
    assert use(shop, customer, code).problem == "used"
    assert cancel(shop, customer, code).problem == "used"
    assert shop.balance(customer) == 0
    assert shop.audit("refuse_code") == [{"problem": "used"}] * 2


def test_another_customers_code_is_refused_as_if_there_were_none_and_written_down(shop: Loyalty) -> None:
    owner, thief, reward = shop.customer(), shop.customer(), shop.reward(cost=100)
    shop.grant(owner, 100)
    code = shop.redeem(owner, reward).code
    for attempt in (use, cancel):
        assert attempt(shop, thief, code) == attempt(shop, thief, "WRNOSUCHCODE")
    assert [(entry.actor_id, entry.data["problem"]) for entry in
            shop.all(AuditEntry, AuditEntry.action == "refuse_code")] == [
        (thief, "not_theirs"), (thief, "unknown")] * 2
    assert (shop.balance(owner), shop.balance(thief)) == (0, 0)
    assert use(shop, owner, code).problem is None, "the owner can still use it"


@pytest.mark.parametrize("code", FOREIGN)
def test_nonsense_is_an_unknown_code(sqlite_shop: Loyalty, code: str) -> None:
    assert use(sqlite_shop, sqlite_shop.customer(), code).problem == "unknown"


def test_another_customers_points_cannot_be_spent_by_their_key_and_no_one_spends_for_nobody(shop: Loyalty) -> None:
    owner, thief, reward = shop.customer(), shop.customer(), shop.reward(cost=100)
    shop.grant(owner, 100)
    code = shop.redeem(owner, reward, "message:1").code
    shop.grant(thief, 100)
    assert shop.redeem(thief, reward, "message:1").code != code
    erased = shop.customer(erased_at=shop.now)
    for nobody in (erased, 0, -1, 10**9):
        for attempt in (lambda who: shop.redeem(who, reward), lambda who: shop.grant(who, 5),
                        lambda who: use(shop, who, code)):
            with pytest.raises(NotFound):
                attempt(nobody)


def test_a_key_stands_for_one_thing(shop: Loyalty) -> None:
    customer, one, other = shop.customer(), shop.reward(cost=100), shop.reward(cost=50)
    shop.grant(customer, 1000)
    shop.redeem(customer, one, "message:1")
    with pytest.raises(KeyReused):
        shop.redeem(customer, other, "message:1")
    shop.do(grant_points, customer_id=customer, points=5, reason="-", idempotency_key="case", now=shop.now)
    with pytest.raises(KeyReused):
        shop.do(grant_points, customer_id=customer, points=6, reason="-", idempotency_key="case", now=shop.now)
    assert shop.balance(customer) == 905
    for key in ("", "k" * 151):
        with pytest.raises(ValueError, match="idempotency key"):
            shop.do(grant_points, customer_id=customer, points=5, reason="-", idempotency_key=key, now=shop.now)


def test_who_asks_for_another_customers_order_is_written_down(shop: Loyalty) -> None:
    owner, other = shop.customer(), shop.customer()
    order = shop.order(owner)
    number = shop.all(Order)[0].number
    asked = [(owner, False), (other, True), (None, True)]
    for who, written in asked:
        assert shop.do(note_refused_order, number=number, customer_id=who, now=shop.now) is written
    assert shop.do(note_refused_order, number="WL20200101001", customer_id=other, now=shop.now) is False
    assert shop.do(note_refused_order, number="?", customer_id=other, now=shop.now) is False
    refused = shop.all(AuditEntry, AuditEntry.action == "refuse_order")
    assert [(entry.actor_id, entry.object_id) for entry in refused] == [(other, str(order)), (None, str(order))]


@pytest.mark.parametrize("statement", [
    "UPDATE points_entries SET points = 1000000", "UPDATE points_entries SET expires_at = NULL",
    "DELETE FROM points_entries", "UPDATE points_allocations SET points = 1", "DELETE FROM points_allocations"])
def test_the_database_itself_refuses_to_rewrite_the_ledger(shop: Loyalty, statement: str) -> None:
    customer, reward = shop.customer(), shop.reward(cost=100)
    shop.grant(customer, 130)
    shop.redeem(customer, reward)
    with pytest.raises(DBAPIError, match="append-only"), shop.store.write() as session:
        session.connection().exec_driver_sql(statement)
    with shop.store.write() as session:
        session.connection().exec_driver_sql("UPDATE points_entries SET reason = NULL")
        assert session.query(PointsAllocation).count() == 1
    assert shop.balance(customer) == 30


def case_of(shop: Loyalty) -> Ticket:
    shop.desk.customer("visitor")
    talk = shop.desk.write("我要投诉").conversation.id
    shop.do(escalate_conversation, conversation_id=talk, reason="asked", now=shop.now)
    ticket: Ticket = shop.all(Ticket)[0]
    return ticket


def grant(shop: Loyalty, login: str, ticket: int, points: int, key: str, reason: str = "抱歉") -> Any:
    return shop.do(grant_for_case, agent=shop.desk.agent(login), ticket_id=ticket, points=points, reason=reason,
                   idempotency_key=key, now=shop.now)


def test_each_role_makes_good_up_to_its_limit_for_a_case(shop: Loyalty) -> None:
    assert [grant_limit(role) for role in ("agent", "lead", "manager", "cleaner")] == [1000, 6000, None, 0]
    ticket = case_of(shop)
    customer = ticket.customer_id
    assert grant(shop, "wang", ticket.id, 600, "a").points == 600
    assert grant(shop, "wang", ticket.id, 600, "a").reason == "抱歉", "told again, it counts once"
    with pytest.raises(NotAllowed) as refused:
        grant(shop, "wang", ticket.id, 401, "b")
    assert refused.value.data == {"limit": 1000, "granted": 600}
    grant(shop, "wang", ticket.id, 400, "c")
    grant(shop, "lead", ticket.id, 5000, "d")
    with pytest.raises(NotAllowed):
        grant(shop, "lead", ticket.id, 1, "e")
    grant(shop, "boss", ticket.id, 9000, "f")
    assert shop.balance(customer) == 15_000
    assert [data["points"] for data in shop.audit("grant_points")] == [600, 400, 5000, 9000]
    shop.check_ledger(customer)


def test_many_grants_at_once_stay_within_the_limit(shop: Loyalty) -> None:
    ticket = case_of(shop)
    results = shop.desk.at_once(
        [partial(grant, shop, "wang", ticket.id, 300, f"k{key}") for key in range(8)])
    assert len([result for result in results if isinstance(result, NotAllowed)]) == 5
    assert shop.balance(ticket.customer_id) == 900


def test_grants_need_a_reason_a_case_and_sight_of_it(sqlite_shop: Loyalty) -> None:
    shop = sqlite_shop
    ticket = case_of(shop)
    for reason in ("", "  ", "x" * 201):
        with pytest.raises(ValueError, match="reason"):
            grant(shop, "wang", ticket.id, 5, "a", reason)
    for points in (0, -5):
        with pytest.raises(ValueError, match="above zero"):
            grant(shop, "wang", ticket.id, points, "a")
    for case in (0, -1, 10**9):
        with pytest.raises(NotFound):
            grant(shop, "wang", case, 5, "a")
    shop.do(claim_conversation, ticket.conversation_id, shop.desk.agent("wang"), shop.now)
    with pytest.raises(NotFound):
        grant(shop, "chen", ticket.id, 5, "a")
    assert shop.balance(ticket.customer_id) == 0

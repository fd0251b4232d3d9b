"""What customers are worth, on a real database: nobody is missed, twice is harmless, and a part is as good as all."""
from __future__ import annotations

import random
from datetime import date, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import select

from crm_store.models import CustomerValue, Order, SlaClock, SlaEvent, ValueMark, ValueModel
from crm_store.queries.queue import queue_for
from crm_store.queries.value import (
    Wanted,
    current_model,
    customers_by_value,
    group_of,
    groups_by,
    value_of,
)
from crm_store.rules.points import SHOP_ZONE
from crm_store.rules.value import SEGMENTS, STAGES
from crm_store.services.erasure import ask_erasure, carry_out
from crm_store.services.handoff import escalate_conversation
from crm_store.services.nightly import run_nightly
from crm_store.services.privacy import export_customer
from crm_store.services.value import (
    judge_values,
    learn_from_values,
    mark_everybody,
    recount_values,
)
from tests.crm.conftest import Desk
from tests.crm.loyalty import Loyalty

DAY = timedelta(days=1)
JUDGED = ("purchases", "first_on", "last_on", "rhythm_days", "spent_fen", "returns", "recency", "frequency", "monetary",
          "segment", "stage", "alive", "expected_purchases", "worth_fen", "judged_on")


@pytest.fixture
def shop(desk: Desk) -> Loyalty:
    return Loyalty(desk)


def recount(shop: Loyalty, at: datetime | None = None, limit: int = 1_000) -> int:
    done, after = 0, 0
    while True:
        count, last = shop.do(recount_values, at or shop.now, after, limit)
        done += count
        if last is None:
            return done
        after = last


def night(shop: Loyalty, at: datetime) -> dict[str, int]:
    """The nightly job's three steps of value."""
    counts = {"values_counted": recount(shop, at)}
    for name, step in (("values_learned", learn_from_values), ("values_judged", judge_values)):
        after: int | None = 0
        while after is not None:
            done, after = shop.do(step, at, after)
            counts[name] = counts.get(name, 0) + done
    return counts


def values(shop: Loyalty) -> dict[int, dict[str, Any]]:
    """Everything that is stored of everybody, without when it was counted."""
    with shop.store.read() as session:
        return {row.customer_id: {name: getattr(row, name) for name in JUDGED}
                for row in session.execute(select(CustomerValue.__table__))}


def marks(shop: Loyalty) -> list[int]:
    with shop.store.read() as session:
        return sorted(session.execute(select(ValueMark.customer_id)).scalars())


def change(shop: Loyalty, order: int, **fields: Any) -> None:
    with shop.store.write() as session:
        session.execute(sa.update(Order).where(Order.id == order).values(**fields))


def crowd(shop: Loyalty, count: int = 130, seed: int = 7) -> list[int]:
    """Buyers enough to learn from: each with a pace of their own, over two years."""
    rng = random.Random(seed)
    customers, orders, number = [], [], 0
    for place in range(count):
        customers.append(shop.customer())
        at, pace = shop.now - rng.uniform(100, 700) * DAY, rng.choice((15, 30, 60, 120))
        while at < shop.now and rng.random() < 0.9:
            number += 1
            orders.append({
                "number": f"WLC{number}", "customer_id": customers[place], "status": "completed", "phone": "-",
                "address": "-", "total_fen": rng.randrange(2_000, 90_000), "placed_at": at, "paid_at": at,
                "refunded_fen": 0})
            at += rng.uniform(0.5, 1.5) * pace * DAY
    with shop.store.write() as session:
        session.execute(sa.insert(Order.__table__), orders)
    return customers


def test_orders_are_counted_for_what_they_are(shop: Loyalty) -> None:
    customer = shop.customer()
    days = [shop.now - each * DAY for each in (90, 60, 31, 30, 10)]
    shop.order(customer, 10_000, at=days[0])
    shop.order(customer, 20_000, at=days[1])
    shop.order(customer, 5_000, at=days[1] + timedelta(hours=2))  # the same day: one purchase
    shop.order(customer, 7_000, at=days[2], refunded_fen=2_000, refunded_at=shop.now)
    shop.order(customer, 9_000, at=days[3], refunded_at=shop.now)  # all of it back, without a return
    shop.order(customer, 8_000, at=days[4], status="returned", returned_at=shop.now)
    for status in ("cancelled", "unpaid"):
        shop.order(customer, 99_000, status=status)
    shop.order(None, 50_000)
    assert recount(shop) == 1
    (row,) = values(shop).values()
    assert (row["purchases"], row["spent_fen"], row["returns"]) == (3, 40_000, 2)
    assert (row["first_on"], row["last_on"]) == tuple(at.astimezone(SHOP_ZONE).date() for at in (days[0], days[2]))
    assert row["rhythm_days"] == 29
    assert (row["segment"], row["alive"], row["worth_fen"]) == (None, None, None), "nobody to compare with"


def test_a_day_is_a_day_of_the_shop(shop: Loyalty) -> None:
    customer = shop.customer()
    midnight = datetime(2026, 11, 1, tzinfo=SHOP_ZONE)
    for at in (midnight - timedelta(seconds=1), midnight):
        shop.order(customer, at=at)
    recount(shop)
    (row,) = values(shop).values()
    assert (row["first_on"], row["last_on"], row["purchases"]) == (date(2026, 10, 31), date(2026, 11, 1), 2)


def test_whatever_changes_an_order_marks_its_customer_and_nothing_else_does(shop: Loyalty) -> None:
    one, other = shop.customer(), shop.customer()
    order = shop.order(one)
    shop.order(None)
    assert marks(shop) == [one]
    recount(shop)
    assert marks(shop) == []
    change(shop, order, note="-", address="elsewhere")
    assert set(marks(shop)) <= {one}, "a note is no purchase"
    recount(shop)
    for fields in ({"status": "returned"}, {"total_fen": 1}, {"refunded_fen": 1}, {"refunded_at": shop.now},
                   {"paid_at": shop.now - DAY}, {"placed_at": shop.now - DAY}):
        change(shop, order, **fields)
        assert set(marks(shop)) == {one}, fields
        recount(shop)
    change(shop, order, customer_id=other)
    assert set(marks(shop)) == {one, other}, "both sides of a merge"
    recount(shop)
    with shop.store.write() as session:
        session.execute(sa.delete(Order).where(Order.id == order))
    assert set(marks(shop)) == {other}


def test_a_change_that_is_rolled_back_marks_nobody(shop: Loyalty) -> None:
    order = shop.order(shop.customer())
    recount(shop)
    with pytest.raises(RuntimeError), shop.store.write() as session:
        session.execute(sa.update(Order).where(Order.id == order).values(total_fen=1))
        raise RuntimeError
    assert marks(shop) == []


def test_who_returns_everything_or_gives_their_orders_away_has_no_value(shop: Loyalty) -> None:
    returning, merged, kept = (shop.customer() for _ in range(3))
    orders = [shop.order(each, 30_000) for each in (returning, merged, kept)]
    assert recount(shop) == 3 and set(values(shop)) == {returning, merged, kept}
    change(shop, orders[0], status="returned")
    change(shop, orders[1], customer_id=kept)
    recount(shop)
    assert {customer: row["spent_fen"] for customer, row in values(shop).items()} == {kept: 60_000}
    change(shop, orders[1], customer_id=merged)  # the merge is undone
    recount(shop)
    assert {customer: row["spent_fen"] for customer, row in values(shop).items()} == {kept: 30_000, merged: 30_000}


def test_a_part_counted_is_as_good_as_everything_counted_anew(shop: Loyalty) -> None:
    customers = crowd(shop)
    night(shop, shop.now - 3 * DAY)
    rng = random.Random(3)
    with shop.store.read() as session:
        orders = session.execute(select(Order.id).order_by(Order.id)).scalars().all()
    for _ in range(40):
        change(shop, rng.choice(orders), **rng.choice((
            {"status": "returned"}, {"status": "cancelled"}, {"refunded_fen": 1_500, "refunded_at": shop.now},
            {"customer_id": rng.choice(customers)}, {"status": "completed"})))
        shop.order(rng.choice(customers), rng.randrange(1_000, 50_000), at=shop.now - rng.uniform(0, 30) * DAY)
        if rng.random() < 0.3:
            recount(shop, limit=7)
    assert night(shop, shop.now)["values_judged"] > 0
    bit_by_bit, learned = values(shop), model(shop)
    with shop.store.write() as session:
        session.execute(sa.delete(CustomerValue))
        session.execute(sa.delete(ValueModel))
        mark_everybody(session)
    assert night(shop, shop.now)["values_counted"] >= 100
    assert values(shop) == bit_by_bit
    assert model(shop) == learned and learned["r"] is not None and learned["p"] is not None
    assert {row["judged_on"] for row in bit_by_bit.values()} == {date(2026, 11, 18)}
    assert all(0 <= row["alive"] <= 1 and row["worth_fen"] >= 0 and row["segment"] for row in bit_by_bit.values())


def model(shop: Loyalty) -> dict[str, Any]:
    row = shop.ask(current_model)
    return {column.name: getattr(row, column.name) for column in ValueModel.__table__.c
            if column.name not in ("id", "fitted_at")}


def test_twice_late_or_by_many_at_once_changes_nothing(shop: Loyalty) -> None:
    crowd(shop, 110)
    first = night(shop, shop.now)
    assert (first["values_learned"], first["values_counted"]) == (1, len(values(shop)) + none_kept(shop))
    before = values(shop), model(shop)
    assert night(shop, shop.now) == {"values_counted": 0, "values_learned": 0, "values_judged": 0}
    with shop.store.write() as session:
        mark_everybody(session)
    results = shop.desk.at_once([lambda: recount(shop, limit=20), lambda: recount(shop, limit=30),
                                 lambda: shop.do(judge_values, shop.now), lambda: shop.do(judge_values, shop.now)])
    assert not [result for result in results if isinstance(result, Exception)]
    assert (values(shop), model(shop)) == before and marks(shop) == []


def none_kept(shop: Loyalty) -> int:
    with shop.store.read() as session:
        bought = session.execute(select(sa.func.count(sa.distinct(Order.customer_id)))).scalar_one()
    return int(bought) - len(values(shop))


def test_nobody_is_missed_who_buys_while_it_is_counted(shop: Loyalty) -> None:
    customers = [shop.customer() for _ in range(4)]
    for customer in customers:
        shop.order(customer, 1_000)

    def buy(customer: int) -> None:
        for _ in range(5):
            shop.order(customer, 1_000)

    results = shop.desk.at_once([*(lambda each=each: buy(each) for each in customers),
                                 *([lambda: [recount(shop) for _ in range(6)]] * 2)])
    assert not [result for result in results if isinstance(result, Exception)]
    recount(shop)
    assert {customer: row["spent_fen"] for customer, row in values(shop).items()} == dict.fromkeys(customers, 6_000)


def test_silence_moves_everybody_on_without_an_order(shop: Loyalty) -> None:
    customers = crowd(shop)
    night(shop, shop.now)
    before = values(shop)
    assert night(shop, shop.now + 200 * DAY)["values_judged"] == len(before)
    after = values(shop)
    assert all(after[customer]["alive"] < before[customer]["alive"] for customer in before)
    later = [STAGES.index(after[customer]["stage"]) - STAGES.index(before[customer]["stage"]) for customer in before]
    assert min(later) >= 0 and sum(map(bool, later)) > len(customers) / 3


def test_too_little_to_learn_from_is_said_and_the_stage_stands_in(shop: Loyalty) -> None:
    for place in range(30):
        customer = shop.customer()
        for days in (5, 5 + place * 10):
            shop.order(customer, 10_000 + place, at=shop.now - days * DAY)
    night(shop, shop.now)
    learned = model(shop)
    assert (learned["customers"], learned["sample"], learned["r"], learned["p"]) == (30, 0, None, None)
    rows = values(shop).values()
    assert {(row["alive"], row["worth_fen"]) for row in rows} == {(None, None)}
    assert all(row["segment"] in SEGMENTS and row["stage"] in STAGES for row in rows), "30 can be compared"
    today = date(2026, 11, 18)
    found = shop.ask(customers_by_value, today)
    assert {each.churn for each in found} == {None} and {each.risk for each in found} == {"low"}


def test_before_the_first_night_who_bought_has_a_stage_already(shop: Loyalty) -> None:
    customer = shop.customer()
    shop.order(customer, at=shop.now - 2 * DAY)
    recount(shop)
    found = shop.ask(value_of, customer, date(2026, 11, 18))
    assert (found.stage, found.risk, found.segment, found.churn, found.own_rhythm) == ("new", "low", None, None, False)
    assert (found.silence_days, found.rhythm_days) == (2, 45)
    assert shop.ask(value_of, shop.customer(), date(2026, 11, 18)) is None


def test_groups_are_disjoint_and_everybody_is_in_one(shop: Loyalty) -> None:
    crowd(shop)
    night(shop, shop.now)
    today, all_of_them = date(2026, 11, 18), shop.ask(group_of)
    assert all_of_them.customers == len(values(shop))
    for what in ("segment", "stage", "risk", "cell"):
        groups = shop.ask(groups_by, what)
        assert sum(group.customers for group in groups.values()) == all_of_them.customers
        assert sum(group.spent_fen for group in groups.values()) == all_of_them.spent_fen
        for key, group in groups.items():
            wanted = (Wanted(recency=key[0], weight=key[1]) if what == "cell" else Wanted(**{what: key}))
            found = shop.ask(customers_by_value, today, wanted, limit=None)
            assert len(found) == group.customers and shop.ask(group_of, wanted) == group
            assert sum(each.facts.spent_fen for each in found) == group.spent_fen
    in_pages = [each.customer_id for skip in range(0, 200, 50) for each in shop.ask(
        customers_by_value, today, skip=skip, limit=50)]
    spent = {customer: row["spent_fen"] for customer, row in values(shop).items()}
    assert sorted(in_pages) == sorted(spent)
    assert [spent[each] for each in in_pages] == sorted(spent.values(), reverse=True)


def test_forgetting_leaves_nothing_and_nobody_counts_them_again(shop: Loyalty) -> None:
    customer, other = shop.customer(), shop.customer()
    order = shop.order(customer, 30_000)
    shop.order(other, 1_000)
    recount(shop)
    (held,) = shop.do(export_customer, customer, shop.now)["other"]["customer_values"]
    assert (held["purchases"], held["spent_fen"], held["stage"]) == (1, 30_000, "new")
    change(shop, order, total_fen=2)
    asked = shop.do(ask_erasure, customer, asked_by="customer", now=shop.now, due_at=shop.now)
    assert shop.do(carry_out, asked.id, key=b"key", now=shop.now) is not None
    assert set(values(shop)) == {other}
    change(shop, order, total_fen=3)
    with shop.store.write() as session:
        mark_everybody(session)
    night(shop, shop.now)
    assert set(values(shop)) == {other} and marks(shop) == []
    assert shop.ask(value_of, customer, date(2026, 11, 18)) is None


def test_what_was_learned_is_kept_a_row_a_day(shop: Loyalty) -> None:
    for _ in range(25):
        shop.order(shop.customer())
    recount(shop)
    for at in (shop.now, shop.now + timedelta(hours=1), shop.now + DAY):
        shop.do(learn_from_values, at)
    days = [row.fitted_for for row in shop.all(ValueModel)]
    assert days == [date(2026, 11, 18), date(2026, 11, 19)]
    assert shop.ask(current_model).fitted_for == days[-1]


def test_value_breaks_ties_in_the_queue_and_overtakes_no_promise(desk: Desk) -> None:
    shop = Loyalty(desk)
    conversations = {}
    for sender, fen, minutes in (("poor", 1_000, 0), ("rich", 900_000, 0), ("nobody", 0, 0), ("richest", 9_000_000, 1)):
        customer = desk.customer(sender, name=sender)
        if fen:
            shop.order(customer, fen, at=desk.now - DAY)
        received = desk.write("转人工", sender=sender)
        desk.do(escalate_conversation, conversation_id=received.conversation.id, reason="asked",
                now=desk.now + timedelta(minutes=minutes), message_id=received.message.id)
        conversations[int(received.conversation.id)] = sender
    recount(shop)

    def order() -> list[str]:
        rows = desk.ask(queue_for, desk.agent("boss"), now=desk.now)
        return [conversations[row.conversation_id] for row in rows]

    assert order() == ["rich", "poor", "nobody", "richest"]
    with desk.store.write() as session:  # nobody is promised anything any more
        session.execute(sa.delete(SlaEvent))
        session.execute(sa.delete(SlaClock))
    assert order() == ["poor", "rich", "nobody", "richest"], "as they came"


def test_the_nightly_job_does_it(shop: Loyalty) -> None:
    customer = shop.customer()
    shop.order(customer, at=shop.now - 2 * DAY)
    counts = run_nightly(shop.store, lambda: shop.now)
    assert counts is not None
    assert {name: count for name, count in counts.items() if name.startswith("values_")} == {
        "values_counted": 1, "values_learned": 1, "values_judged": 0}
    assert shop.ask(value_of, customer, date(2026, 11, 18)).stage == "new"

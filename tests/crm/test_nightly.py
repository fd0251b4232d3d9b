"""The nightly job: what it does, and that it does no harm when it runs twice, late, or dies halfway."""
from __future__ import annotations

from datetime import date, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select

from crm_store.models import (
    ChannelIdentity,
    Customer,
    DeskSession,
    Job,
    LinkCode,
    LoginFailure,
    Order,
    PointsAllocation,
    PointsEntry,
)
from crm_store.rules.points import SHOP_ZONE, returned_points
from crm_store.services import nightly, points, tiers, value
from crm_store.services.ledger import write_off_lapsed
from crm_store.services.nightly import (
    LEASE,
    STEPS,
    Progress,
    begin_nightly,
    due_day,
    next_run,
    prepare_step,
    run_nightly,
    take_step,
)
from crm_store.services.points import take_back_points_for_return
from tests.crm.conftest import Desk
from tests.crm.loyalty import Loyalty, sorted_kinds

DAY, HOUR = timedelta(days=1), timedelta(hours=1)
NEW_YEAR = datetime(2026, 12, 31, 16, 0, tzinfo=timezone.utc)  # in the shop


@pytest.fixture
def shop(desk: Desk) -> Loyalty:
    return Loyalty(desk)


def night(shop: Loyalty, at: datetime, *, again: bool = False) -> dict[str, int] | None:
    """What the job did, without what goes on by itself: customers' value is judged anew as days pass."""
    counts = run_nightly(shop.store, lambda: at, again=again)
    return counts and {name: count for name, count in counts.items() if not name.startswith("values_")}


def ledger(shop: Loyalty) -> list[Any]:
    with shop.store.read() as session:
        rows = [session.execute(select(model.__table__)).all() for model in (PointsEntry, PointsAllocation)]
        tiers = session.execute(select(Customer.id, Customer.tier_code, Customer.tier_since_at)).all()
    return [sorted(map(tuple, each)) for each in (*rows, tiers)]


def test_the_day_is_due_from_three_oclock_in_the_shop() -> None:
    three = datetime(2026, 11, 17, 19, 0, tzinfo=timezone.utc)  # 03:00 of the 18th in Shanghai
    assert due_day(three) == date(2026, 11, 18)
    assert due_day(three - timedelta(microseconds=1)) == date(2026, 11, 17)
    assert next_run(three) == three + DAY
    assert next_run(three - timedelta(microseconds=1)) == three


@given(st.integers(-10**9, 10**9).map(lambda seconds: NEW_YEAR + timedelta(seconds=seconds)))
def test_the_next_run_is_the_first_moment_of_the_next_day_that_is_due(now: datetime) -> None:
    following = next_run(now)
    assert now < following <= now + DAY
    assert due_day(following) == due_day(now) + DAY
    assert due_day(following - timedelta(microseconds=1)) == due_day(now)
    assert following.astimezone(SHOP_ZONE).hour == 3


def test_it_settles_what_nobody_told_raises_tiers_and_writes_off(shop: Loyalty) -> None:
    customer, rising = shop.customer(), shop.customer()
    lapsing = shop.order(customer, 10_000, at=shop.now - 500 * DAY)
    bought = shop.order(customer, 30_000, at=shop.now - 2 * DAY)
    returned = shop.order(customer, 5_000, at=shop.now - 3 * DAY)
    shop.credit(returned, shop.now - 3 * DAY)
    shop.do(lambda session: setattr(session.get(Order, returned), "status", "returned"))
    shop.order(rising, 300_000, at=shop.now - DAY, status="paid")
    shop.order(None, 10_000)
    shop.order(customer, 66)  # too little for a point in any tier
    assert night(shop, shop.now) == {
        "orders_settled": 3, "tiers_lowered": 0, "tiers_raised": 1, "points_lapsed": 0, "rows_cleaned_up": 0}
    assert sorted(sorted_kinds(shop.all(PointsEntry))) == [
        ("earn", 50), ("earn", 100), ("earn", 300), ("expire", -100), ("reverse", -50)]
    assert {entry.order_id for entry in shop.all(PointsEntry, PointsEntry.kind == "earn")} == {
        lapsing, bought, returned}
    assert (shop.balance(customer), shop.tier(rising)) == (300, "gold")
    shop.check_ledger(customer)
    job = shop.ask(lambda session: session.get(Job, "nightly"))
    assert (job.done_for, job.done_at, job.worker) == (date(2026, 11, 18), shop.now, None)
    assert job.report["orders_settled"] == 3


def test_it_runs_once_a_day_and_twice_or_late_it_changes_nothing(shop: Loyalty) -> None:
    customers = [shop.customer() for _ in range(5)]
    for customer in customers:
        shop.earn(customer, 10_000, at=shop.now - 500 * DAY)
        shop.order(customer, 20_000, at=shop.now - DAY)
    counts = night(shop, shop.now)
    assert counts is not None and counts["points_lapsed"] == 0 and counts["orders_settled"] == 5, \
        "crediting writes off on the way"
    before = ledger(shop)
    assert night(shop, shop.now + HOUR) is None, "done for the day"
    assert night(shop, shop.now + HOUR, again=True) == dict.fromkeys(counts, 0)
    assert ledger(shop) == before
    for days in (1, 2, 40):
        assert night(shop, shop.now + days * DAY) == dict.fromkeys(counts, 0)
    assert ledger(shop) == before


def test_a_late_run_writes_the_same_ledger_as_one_every_night(sqlite_desk: Desk) -> None:
    shop = Loyalty(sqlite_desk)
    prompt, late = shop.customer(), shop.customer()
    for customer in (prompt, late):
        for months in (0, 1, 2):
            shop.earn(customer, 10_000, at=shop.now - (400 - 30 * months) * DAY)
    shop.do(write_off_lapsed, [prompt], shop.now - 10 * DAY)
    assert night(shop, shop.now + 100 * DAY) is not None
    told = [[(entry.kind, entry.points, entry.created_at)
             for entry in shop.all(PointsEntry, PointsEntry.customer_id == customer)] for customer in (prompt, late)]
    assert sorted(told[0]) == sorted(told[1])


def test_a_run_that_died_halfway_is_made_up_by_another_worker_after_its_lease(shop: Loyalty) -> None:
    for _ in range(3):
        shop.earn(shop.customer(), 10_000, at=shop.now - 500 * DAY)
    progress = shop.do(begin_nightly, shop.now)
    for _ in range(3):
        progress = shop.do(take_step, progress, shop.now)
    assert not progress.over
    assert night(shop, shop.now + LEASE / 2) is None, "somebody is at it"
    counts = night(shop, shop.now + LEASE)
    assert counts is not None and counts["points_lapsed"] == 300
    stopped = shop.do(take_step, progress, shop.now + LEASE)
    assert stopped.stopped and stopped.over, "the first worker, woken again, leaves it alone"
    assert shop.all(PointsEntry, PointsEntry.kind == "expire")[0].points == -100


def test_models_are_fitted_outside_of_the_unit_of_work(sqlite_desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    shop = Loyalty(sqlite_desk)
    shop.earn(shop.customer(), 10_000)
    progress: Progress | None = shop.do(begin_nightly, shop.now)
    assert progress is not None
    while STEPS[progress.step][0] != "values_learned":
        assert shop.ask(prepare_step, progress) is None
        progress = shop.do(take_step, progress, shop.now)
    prepared = shop.ask(prepare_step, progress)
    monkeypatch.setattr(value, "learn", None)
    assert shop.do(take_step, progress, shop.now, prepared).counts["values_learned"] == 1


def test_a_failed_step_is_rolled_back_and_repeated(shop: Loyalty, monkeypatch: pytest.MonkeyPatch) -> None:
    shop.earn(shop.customer(), 10_000, at=shop.now - 500 * DAY)
    progress: Progress | None = shop.do(begin_nightly, shop.now)
    assert progress is not None
    while STEPS[progress.step][0] != "points_lapsed":
        progress = shop.do(take_step, progress, shop.now)

    def failing(*arguments: Any) -> Progress:
        take_step(*arguments)
        raise RuntimeError("the process is killed before the commit")

    with pytest.raises(RuntimeError):
        shop.do(failing, progress, shop.now)
    assert shop.all(PointsEntry, PointsEntry.kind == "expire") == []
    while not progress.over:
        progress = shop.do(take_step, progress, shop.now)
    assert progress.counts["points_lapsed"] == 100


def test_many_workers_at_once_do_it_once(shop: Loyalty) -> None:
    for _ in range(4):
        shop.earn(shop.customer(), 10_000, at=shop.now - 500 * DAY)
    results = shop.desk.at_once([lambda: night(shop, shop.now)] * 8)
    done = [result for result in results if result is not None]
    assert len(done) == 1 and done[0]["points_lapsed"] == 400
    assert len(shop.all(PointsEntry, PointsEntry.kind == "expire")) == 4


def test_it_goes_over_all_customers_in_batches(sqlite_desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    shop = Loyalty(sqlite_desk)
    monkeypatch.setattr(nightly, "STEPS", tuple(
        (name, lambda session, now, after, step=step: step(session, now, after, 2) if step in (
            points.expire_points, points.settle_orders, tiers.raise_tiers, tiers.review_tiers)
         else step(session, now, after)) for name, step in STEPS))
    for _ in range(5):
        customer = shop.customer()
        shop.earn(customer, 10_000, at=shop.now - 500 * DAY)
        shop.order(customer, 250_000, at=shop.now, status="paid")
    counts = night(shop, shop.now)
    assert counts is not None and (counts["points_lapsed"], counts["tiers_raised"]) == (500, 5)


def test_the_yearly_review_is_made_once_a_year_also_late_and_not_of_a_shop_that_has_just_begun(shop: Loyalty) -> None:
    fallen, back = shop.customer(tier="platinum"), shop.customer(tier="gold")
    shop.order(back, 250_000, at=NEW_YEAR + 5 * DAY, status="paid")
    assert night(shop, shop.now) is not None
    assert (shop.tier(fallen), shop.tier(back)) == ("platinum", "gold")
    counts = night(shop, NEW_YEAR + 10 * DAY)
    assert counts is not None and (counts["tiers_lowered"], counts["tiers_raised"]) == (2, 1)
    assert (shop.tier(fallen), shop.tier(back)) == ("gold", "gold"), "down with the year, and up by what came after"
    before = ledger(shop)
    assert night(shop, NEW_YEAR + 11 * DAY) == dict.fromkeys(counts, 0)
    assert night(shop, NEW_YEAR + 11 * DAY, again=True) == dict.fromkeys(counts, 0)
    assert ledger(shop) == before
    assert night(shop, NEW_YEAR + 366 * DAY) is not None
    assert (shop.tier(fallen), shop.tier(back)) == ("silver", "gold"), "what was bought in the year before counts"


def test_a_run_over_the_turn_of_the_year_judges_by_when_it_began(shop: Loyalty) -> None:
    fallen = shop.customer(tier="platinum")
    assert night(shop, shop.now) is not None
    moments = iter([NEW_YEAR - HOUR, *[NEW_YEAR + HOUR] * 20])
    assert run_nightly(shop.store, lambda: next(moments)) is not None
    assert shop.tier(fallen) == "platinum"
    assert night(shop, NEW_YEAR + DAY) is not None
    assert shop.tier(fallen) == "gold", "the review was not taken for done"


def test_what_was_returned_after_the_year_began_still_counts_for_its_review(shop: Loyalty) -> None:
    customer = shop.customer(tier="gold")
    order = shop.order(customer, 250_000, at=NEW_YEAR - 5 * DAY)
    assert night(shop, shop.now) is not None
    shop.give_back(order, NEW_YEAR + 5 * DAY)
    assert night(shop, NEW_YEAR + 10 * DAY) is not None
    assert shop.tier(customer) == "gold", "a review on time would have kept it"


def test_an_order_credited_late_earns_by_the_tier_it_was_completed_in(shop: Loyalty) -> None:
    on_time, late = shop.customer(), shop.customer()
    for customer in (on_time, late):
        first = shop.order(customer, 10_000, at=shop.now)
        if customer == on_time:
            shop.credit(first, shop.now)
        shop.credit(shop.order(customer, 300_000, at=shop.now + DAY), shop.now + DAY)
    assert night(shop, shop.now + 9 * DAY) is not None
    earned = [sorted(entry.points for entry in shop.all(PointsEntry, PointsEntry.customer_id == customer))
              for customer in (on_time, late)]
    assert earned[0] == earned[1] == [100, 3600]


def test_what_has_served_its_time_is_thrown_away(shop: Loyalty) -> None:
    agent = shop.desk.agent("wang").id

    def fill(session: Any) -> None:
        identity = ChannelIdentity(channel="web", external_id="x", created_at=shop.now)
        session.add(identity)
        session.flush()
        for name, at in (("old", shop.now - 2 * DAY), ("new", shop.now + HOUR)):
            session.add_all([
                DeskSession(token_hash=name, agent_id=agent, created_at=at, seen_at=at, expires_at=at),
                LoginFailure(login=name, address="-", failed_at=at),
                LinkCode(identity_id=identity.id, code_hash=name, created_at=at, expires_at=at)])

    shop.do(fill)
    counts = night(shop, shop.now)
    assert counts is not None and counts["rows_cleaned_up"] == 3
    assert [row.login for row in shop.all(LoginFailure)] == ["new"]
    assert [row.code_hash for row in shop.all(LinkCode)] == ["new"]


@given(st.integers(0, 5000), st.integers(1, 500_000), st.lists(st.integers(0, 500_000), max_size=5))
def test_it_does_not_matter_in_how_many_parts_an_order_goes_back(earned: int, paid: int, parts: list[int]) -> None:
    gone = [returned_points(earned, paid, refunded) for refunded in sorted(parts)]
    assert gone == sorted(gone) and all(0 <= each <= earned for each in gone)
    assert returned_points(earned, paid, paid) == earned
    assert returned_points(earned, paid, 0) == 0


def test_a_part_refund_takes_its_part_and_the_return_the_rest(shop: Loyalty) -> None:
    customer = shop.customer()
    order = shop.order(customer, 30_050)
    shop.credit(order, shop.now)

    def refund(fen: int, *, whole: bool = False) -> Any:
        def work(session: Any) -> Any:
            row = session.get(Order, order)
            row.refunded_fen, row.refunded_at = fen, shop.now
            row.status = "returned" if whole else row.status
            session.flush()
            return take_back_points_for_return(session, row, shop.now)

        return shop.do(work)

    assert refund(10_000).points == -100
    assert refund(10_000).points == -100 and shop.balance(customer) == 200, "told twice"
    assert refund(20_000).points == -100
    assert night(shop, shop.now) is not None
    assert shop.balance(customer) == 100
    assert refund(30_050, whole=True).points == -100
    assert shop.balance(customer) == 0
    shop.check_ledger(customer)

"""The demo shop: deterministic, true to the rules, alive at any hour, loaded once."""
from __future__ import annotations

import random
import shutil
from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import select

from crm_store.database import Store
from crm_store.demo import DemoShop, load_demo_shop
from crm_store.demo.files import read_article, read_shop_files
from crm_store.demo.shopping import invent_people
from crm_store.models import (
    ArticlePassage,
    Base,
    Consent,
    Conversation,
    Customer,
    Escalation,
    KnowledgeArticle,
    Macro,
    Message,
    Order,
    PointsEntry,
    Rating,
    Redemption,
    Shipment,
    SlaClock,
    SupportAgent,
    Ticket,
    Tier,
)
from crm_store.models.shop import ORDER_STATUSES
from crm_store.queries.customers import customer_card, open_matters
from crm_store.queries.orders import normalise_order_number
from crm_store.queries.points import points_balance, spend_of, tiers
from crm_store.queries.queue import queue_for
from crm_store.rules.tiers import raised
from crm_store.services import sla
from crm_store.services.cases import conversations_to_draw, draw_case
from crm_store.services.dispatch import conversations_waiting
from crm_store.services.points import earn_points_for_order, expire_points, grant_points, settle_orders
from crm_store.services.staff import log_in
from crm_store.services.tiers import raise_tiers, review_tiers
from tests.crm.conftest import Desk
from tests.crm.loyalty import Loyalty

FOLDER = Path(__file__).resolve().parents[2] / "data"
NOW = datetime(2026, 11, 18, 2, 0, tzinfo=timezone.utc)
OTHER_NOWS = (datetime(2027, 2, 8, 18, 30, tzinfo=timezone.utc), datetime(2026, 7, 1, 8, 0, tzinfo=timezone.utc))
DAY = timedelta(days=1)


def load(store: Store, now: datetime = NOW, **more: Any) -> DemoShop:
    with store.write() as session:
        return load_demo_shop(session, folder=FOLDER, now=now, **more)


@pytest.fixture(scope="module")
def shop(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """The demo shop on SQLite; tests only read it."""
    path = tmp_path_factory.mktemp("demo") / "demo.db"
    shutil.copy(sqlite_template, path)
    store = Store(f"sqlite:///{path}")
    load(store, password="open sesame", passwords={"admin": "another one"})
    with store.engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
    yield store
    store.close()


@pytest.fixture
def own_shop(shop: Store, tmp_path: Path) -> Iterator[Store]:
    """A copy of the shop that a test may change."""
    shutil.copy(str(shop.engine.url.database), tmp_path / "own.db")
    store = Store(f"sqlite:///{tmp_path / 'own.db'}")
    yield store
    store.close()


def rows(store: Store, model: Any, *conditions: Any) -> list[Any]:
    with store.read() as session:
        found = list(session.execute(select(model).where(*conditions).order_by(*model.__table__.primary_key)).scalars())
        session.expunge_all()
    return found


def test_it_loads_once_on_each_database(store: Store) -> None:
    first = load(store)
    assert first == DemoShop(True, 200, 1000, len(list((FOLDER / "kb").glob("*.md"))), first.complaints)
    assert first.complaints >= 30
    assert load(store) == DemoShop(False)
    with store.write() as session:  # the database's own numbering goes on after ours
        customer = Customer(number="NEW", name="新", created_at=NOW)
        session.add(customer)
        session.flush()
        assert customer.id == 201
        grant_points(session, customer_id=customer.id, points=5, reason="-", idempotency_key="x", now=NOW)
        order = Order(number="WL20261118999", customer_id=customer.id, status="completed", phone="-", address="-",
                      total_fen=100, placed_at=NOW, paid_at=NOW)
        session.add(order)
        session.flush()
        assert order.id == 1001
        earn_points_for_order(session, order, NOW)
        assert points_balance(session, customer.id, NOW) == 6


def test_the_same_seed_gives_the_same_shop_and_another_one_another(sqlite_store: Store, shop: Store) -> None:
    load(sqlite_store)
    with sqlite_store.read() as one, shop.read() as two:
        for table in Base.metadata.sorted_tables:
            columns = [column for column in table.columns if column.name != "password_hash"]
            query = select(*columns).order_by(*table.primary_key)
            assert one.execute(query).all() == two.execute(query).all(), table.name
    names = read_shop_files(FOLDER).names
    addresses = [[person.address for person in invent_people(random.Random(seed), names, NOW)] for seed in (1, 1, 2)]
    assert addresses[0] == addresses[1] != addresses[2]


def test_the_customers_of_the_tour_are_as_promised(shop: Store) -> None:
    with shop.read() as session:
        lilei, ann = (session.execute(select(Customer).where(Customer.number == number)).scalar_one()
                      for number in ("WLC00001", "WLC00002"))
        assert (lilei.name, lilei.phone, lilei.language, lilei.tier_code) == ("李雷", "13800138000", "zh", "gold")
        assert (ann.name, ann.phone, ann.language, ann.tier_code) == ("Ann Miller", "13900139000", "en", "platinum")
        matters = open_matters(session, lilei.id, 0, NOW)
        assert [order.status for order in matters.parcels_under_way] == ["shipped"]
        assert matters.parcels_under_way[0].shipments[0].events, "the parcel has been seen on its way"
        assert matters.open_complaints == [] and matters.expiring_points, "points about to lapse, no complaint open"
        assert points_balance(session, ann.id, NOW) >= 5000
        assert points_balance(session, lilei.id, NOW) > 1000
        assert customer_card(session, lilei.id, NOW).complaints[0].status == "resolved"


@pytest.mark.parametrize("now", [NOW, *OTHER_NOWS])
def test_it_is_true_to_itself_at_any_time(sqlite_store: Store, shop: Store, now: datetime) -> None:
    store = shop if now == NOW else sqlite_store
    if now != NOW:
        load(store, now)
    statuses = Counter(order.status for order in rows(store, Order))
    assert set(statuses) == set(ORDER_STATUSES), "every status is there"
    assert statuses["completed"] > 700
    for order in rows(store, Order):
        assert now - 365 * DAY <= order.placed_at <= now
        assert order.status == "cancelled" or (order.paid_at is None) == (order.status == "unpaid")
        assert order.refunded_at is None or (order.status in ("cancelled", "returned") and order.paid_at is not None)
        assert (order.returned_at is not None) == (order.status == "returned")
        assert order.completed_at is not None or order.status != "completed"
        for at in (order.paid_at, order.completed_at, order.returned_at, order.refunded_at):
            assert at is None or order.placed_at <= at <= now
        assert normalise_order_number(order.number) == order.number
    for table in Base.metadata.sorted_tables:
        for column in table.columns:
            if column.name in ("created_at", "opened_at", "decided_at", "occurred_at", "handled_at", "breached_at"):
                with store.read() as session:
                    latest = session.execute(select(sa.func.max(column))).scalar_one()
                assert latest is None or latest <= now + timedelta(seconds=2), f"{table.name}.{column.name} lies ahead"
    with store.read() as session:
        assert conversations_waiting(session, now + DAY) == [], "the bot has nothing to answer"
        counts = dict(session.execute(select(Customer.tier_code, sa.func.count()).group_by(Customer.tier_code)).all())
        manager = session.execute(select(SupportAgent).where(SupportAgent.role == "manager")).scalar_one()
        waiting = queue_for(session, manager, now=now)
    assert abs(counts["silver"] - 150) <= 6 and abs(counts["gold"] - 38) <= 6 and abs(counts["platinum"] - 12) <= 3
    assert 3 <= len(waiting) <= 8, "the desk is alive"
    assert all(row.due_at is None or abs(row.due_at - now) < 12 * DAY for row in waiting)


def test_parcels_agree_with_their_orders(shop: Store) -> None:
    status = {order.id: order for order in rows(shop, Order)}
    parcels = rows(shop, Shipment)
    gone = {"shipped", "delivered", "completed", "returning", "returned"}
    assert {parcel.order_id for parcel in parcels} == {key for key, order in status.items() if order.status in gone}
    for parcel in parcels:
        order = status[parcel.order_id]
        assert (parcel.delivered_at is None) == (order.status == "shipped")
        times = [datetime.fromisoformat(event["at"]) for event in parcel.events]
        assert times == sorted(times) and times[-1] <= NOW
        assert all(event["zh"] and event["en"] for event in parcel.events)


def test_points_and_tiers_follow_the_rules(shop: Store) -> None:
    with shop.read() as session:
        ladder = tiers(session)
        held = {tier.code: tier for tier in ladder}
        for customer in session.execute(select(Customer)).scalars():
            total = session.execute(select(sa.func.coalesce(sa.func.sum(PointsEntry.points), 0)).where(
                PointsEntry.customer_id == customer.id)).scalar_one()
            assert points_balance(session, customer.id, NOW) == total
            spend = spend_of(session, customer.id, NOW)
            assert raised(held[customer.tier_code], spend, ladder).code == customer.tier_code
    kinds = Counter(entry.kind for entry in rows(shop, PointsEntry))
    assert set(kinds) == {"earn", "spend", "expire", "reverse", "grant"}
    keys = {entry.idempotency_key: entry for entry in rows(shop, PointsEntry)}
    multipliers = {float(tier.multiplier) for tier in rows(shop, Tier)}
    for order in rows(shop, Order, Order.customer_id.is_not(None)):
        earned, back = keys.get(f"earn:order:{order.id}"), keys.get(f"reverse:order:{order.id}")
        assert (earned is not None) == (order.completed_at is not None)
        if earned is not None:
            assert earned.points in {int(order.total_fen * round(each * 10) // 1000) for each in multipliers}
            assert earned.created_at == order.completed_at
        assert (back is not None) == (earned is not None and order.status == "returned")
    spent = {entry.id for entry in keys.values() if entry.kind == "spend"}
    assert {redemption.entry_id for redemption in rows(shop, Redemption)} == spent


def test_every_ledger_of_the_shop_holds_what_every_ledger_holds(sqlite_desk: Desk, shop: Store) -> None:
    checker = Loyalty(sqlite_desk)
    with shop.read() as session:
        busiest = session.execute(
            select(PointsEntry.customer_id).group_by(PointsEntry.customer_id)
            .order_by(sa.func.count().desc(), PointsEntry.customer_id).limit(25)).scalars().all()
        returned = session.execute(
            select(PointsEntry.customer_id).where(PointsEntry.kind == "reverse").distinct()).scalars().all()
    checker.store, checker.now = shop, NOW
    checker.all = lambda model, *conditions: rows(shop, model, *conditions)

    def ask(query: Any, *arguments: Any) -> Any:
        with shop.read() as session:
            return query(session, *arguments)

    checker.ask = ask
    for customer in {*busiest, *returned}:
        checker.check_ledger(customer, NOW)


def test_the_services_find_nothing_to_mend(own_shop: Store) -> None:
    with own_shop.write() as session:
        before = session.execute(select(sa.func.count()).select_from(PointsEntry)).scalar_one()
        for order in session.execute(select(Order).where(Order.status == "completed")).scalars().all()[::10]:
            earn_points_for_order(session, order, NOW)
        assert expire_points(session, NOW) == settle_orders(session, NOW) == raise_tiers(session, NOW) == (0, None)
        assert session.execute(select(sa.func.count()).select_from(PointsEntry)).scalar_one() == before
        assert sla.tick(session, NOW) == []
        assert review_tiers(session, NOW)[0] == 0


def test_the_past_of_the_desk_is_told(shop: Store) -> None:
    tickets = rows(shop, Ticket, Ticket.kind == "complaint")
    assert len(tickets) >= 30
    assert {ticket.grade for ticket in tickets} == {"ordinary", "complex", "major"}
    assert sorted({ticket.status for ticket in tickets}) == ["open", "resolved"]
    assert 3 <= sum(ticket.status == "open" for ticket in tickets) <= 5
    assert all(ticket.assignee_id for ticket in tickets)
    assert {"met", "breached", "running"} <= {clock.state for clock in rows(shop, SlaClock)}
    assert {rating.score for rating in rows(shop, Rating)} >= {2, 4, 5}
    assert {each.reason for each in rows(shop, Escalation)} >= {"asked", "anger", "major_complaint"}
    assert {talk.status for talk in rows(shop, Conversation)} == {"open", "pending", "resolved"}
    outgoing = rows(shop, Message, Message.direction == "outgoing")
    assert all(message.delivery_state == "delivered" for message in outgoing)
    assert {consent.purpose for consent in rows(shop, Consent)} == {"service", "marketing", "memory"}


def test_the_six_logins_work_with_their_passwords(own_shop: Store) -> None:
    with own_shop.write() as session:
        for login in ("wangmin", "lina", "chenwei", "zhaolei", "manager"):
            assert log_in(session, login=login, password="open sesame", address="a", now=NOW).token
        assert log_in(session, login="admin", password="open sesame", address="a", now=NOW).token is None
        assert log_in(session, login="admin", password="another one", address="a", now=NOW).token


def test_articles_macros_and_products_are_all_there(shop: Store) -> None:
    files = read_shop_files(FOLDER)
    assert [each.slug for each in rows(shop, KnowledgeArticle)] == [each.slug for each in files.articles]
    assert len(rows(shop, Macro)) == len(files.macros) + len(files.empathy)
    by_language = Counter(passage.language for passage in rows(shop, ArticlePassage))
    assert min(by_language.values()) > 5 * len(files.articles)


@pytest.mark.parametrize("text", [
    "", "no front matter", "---\nslug: a\n---\n## zh\nx\n", "---\nslug: [\n---\n## zh\nx\n\n## en\ny\n",
    "---\nslug: a\nodd: 1\n---\n## zh\nx\n\n## en\ny\n"])
def test_a_broken_article_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "broken.md"
    path.write_text(text, encoding="utf8")
    with pytest.raises(ValueError, match=r"broken\.md"):
        read_article(path)


def test_the_settled_conversations_of_the_shop_are_solved_cases(shop: Store) -> None:
    with shop.read() as session:
        drafts = [draw_case(session, each) for each in conversations_to_draw(session, "encoder", 1000)]
        resolved = session.execute(select(sa.func.count()).where(Conversation.status == "resolved")).scalar_one()
    solved = [draft for draft in drafts if draft.solution]
    assert len(drafts) == len({draft.conversation_id for draft in drafts}) > len(solved) == resolved > 20
    assert {draft.language for draft in solved} == {"zh", "en"}
    courtesies = ("前面的记录我都看过了", "I will see this through", "不客气", "You are welcome")
    assert not [draft.solution for draft in solved if any(words in draft.solution for words in courtesies)]

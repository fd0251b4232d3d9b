"""The shop's data comes in once, whole or not at all, and what it makes happen is told."""
from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import threading
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import func, select

from crm_store.database import Store
from crm_store.errors import CrmError, ImportUnderWay
from crm_store.models import (
    Customer,
    Import,
    NotificationDelivery,
    Order,
    OrderItem,
    PointsEntry,
    Shipment,
    ShopEvent,
    Tier,
    Webhook,
)
from crm_store.queries.exchange import cursor_after, exported, records
from crm_store.services import exchange
from crm_store.services.deliveries import claim_delivery, note_failure, note_sent
from crm_store.services.erasure import bury, lock_person
from crm_store.services.exchange import Wanted, import_file
from crm_store.services.messages import receive_message
from crm_store.services.points import settle_order
from crm_store.services.settling import settle_many
from tests.crm.conftest import Desk
from tests.crm.exchange_shop import KEY, ORDER, ZONE, Bring, all_of, balance, bringer, codes, open_shop, order

HOUR = timedelta(hours=1)


@pytest.fixture
def shop(store: Store, now: datetime) -> Store:
    return open_shop(store, now)


@pytest.fixture
def bring(shop: Store, now: datetime) -> Bring:
    return bringer(shop, now)


def hook(shop: Store, now: datetime, *kinds: str) -> int:
    with shop.write() as session:
        made = Webhook(name="h", url="https://hook.example/", secret="s" * 40, kinds=list(kinds), created_at=now,
                       updated_at=now)
        session.add(made)
        session.flush()
        return int(made.id)


def test_customers_come_in_once_and_change_when_their_row_does(shop: Store, bring: Bring) -> None:
    file = "number,name,phone,city\nC9,李雷,+86 138-0013-8000,武汉\n"
    assert bring("customers", file).counts == {"created": 1}
    assert bring("customers", file).counts == {"unchanged": 1}
    assert bring("customers", "number,city\nC9,\n").counts == {"updated": 1}
    ours = all_of(shop, Customer)[-1]
    assert (ours.number, ours.name, ours.phone, ours.city, ours.tier_code) == (
        "C9", "李雷", "13800138000", None, "silver")


def test_an_older_version_of_a_row_overwrites_no_newer_one(shop: Store, bring: Bring) -> None:
    head = "number,name,updated_at\n"
    assert bring("customers", head + "C1,New,2026-11-02\n").counts == {"updated": 1}
    assert bring("customers", head + "C1,Old,2026-11-01\n").counts == {"older": 1}
    assert bring("customers", head + "C1,Newer,2026-11-03\n").counts == {"updated": 1}
    assert all_of(shop, Customer)[0].name == "Newer"


def test_one_wrong_row_keeps_the_whole_file_out_unless_it_is_to_be_skipped(shop: Store, bring: Bring) -> None:
    file = "number,name,phone\nC8,A,13800138000\nC9,B,1.38E+10\nC7,,\n"
    report = bring("customers", file)
    assert report.state == "refused" and codes(report) == [(3, "phone", "phone"), (4, "name", "required")]
    assert len(all_of(shop, Customer)) == 4
    report = bring("customers", file, skip_wrong=True)
    assert report.state == "done" and report.counts == {"created": 1, "wrong": 2} and report.errors_total == 2


def test_an_order_earns_once_and_its_return_takes_back_once(shop: Store, bring: Bring, now: datetime) -> None:
    file = ORDER + order("O1", total="100.50", parcel="Z1|Z2").replace("中通", "中通|圆通").replace(
        "2026-10-02\n", "2026-10-02|2026-10-03\n")
    for counts in ({"created": 1}, {"unchanged": 1}):
        assert bring("orders", file).counts == counts
        assert balance(shop, "C1", now) == 100
    assert [each.tracking_number for each in all_of(shop, Shipment)] == ["Z1", "Z2"]
    assert (all_of(shop, Order)[0].total_fen, all_of(shop, OrderItem)[0].price_fen) == (10_050, 10_050)
    for counts in ({"updated": 1}, {"unchanged": 1}):
        assert bring("orders", "number,status,returned_at\nO1,returned,2026-11-01\n").counts == counts
        assert balance(shop, "C1", now) == 0
    assert [entry.kind for entry in all_of(shop, PointsEntry)] == ["earn", "reverse"]


def test_an_order_that_has_earned_can_only_come_back(bring: Bring) -> None:
    bring("orders", ORDER + order("O1"))
    report = bring("orders", ORDER + order("O1", customer="C2") + order("O2", "C9") + order("O3", total="-5"))
    assert codes(report) == [(2, "customer_number", "has_earned"), (3, "customer_number", "unknown_customer"),
                             (4, "total_yuan", "money"), (4, "items", "money")]
    for row, column in (("O1,paid,100", "status"), ("O1,completed,90", "total_yuan")):
        assert codes(bring("orders", f"number,status,total_yuan\n{row}\n")) == [(2, column, "has_earned")]


def test_many_orders_are_settled_as_one_by_one(shop: Store, bring: Bring, now: datetime) -> None:
    """In bulk and by the verb of one order: the same entries and tiers, whatever became of the orders."""
    rows = [order(f"O{n}", f"C{1 + n % 2}", total=str(300 + 700 * n), done=f"2026-{9 + n % 2:02}-{1 + n:02}")
            for n in range(6)]
    bring("orders", ORDER + "".join(rows))
    bring("orders", "number,refunded_yuan,refunded_at\nO0,100,2026-11-01\nO1,50,2026-11-02\n")
    bring("orders", "number,status,returned_at\nO2,returned,2026-11-01\n")
    first = [(e.kind, e.points, e.idempotency_key.split(":")[0], e.created_at) for e in all_of(shop, PointsEntry)]
    tiers = [customer.tier_code for customer in all_of(shop, Customer)]
    assert {"earn", "reverse"} == {kind for kind, *_ in first} and "gold" in tiers
    with shop.write() as session:
        for each in session.execute(select(Order).order_by(Order.id)).scalars():
            settle_order(session, each, now + HOUR)
        settle_many(session, list(session.execute(select(Order.id)).scalars()), now + HOUR)
    assert len(all_of(shop, PointsEntry)) == len(first)
    assert [customer.tier_code for customer in all_of(shop, Customer)] == tiers


def test_bulk_and_single_settling_give_the_same_entries(shop: Store, now: datetime) -> None:
    with shop.write() as session:
        for n in range(8):
            at = now - timedelta(days=400 - 50 * n)
            for customer in (1, 2):
                session.add(Order(number=f"O{customer}{n}", customer_id=customer, status="completed", phone="1",
                                  address="-", total_fen=90_050, placed_at=at, paid_at=at, completed_at=at + HOUR))
        session.flush()
        orders = list(session.execute(select(Order).order_by(Order.id)).scalars())
        settle_many(session, [each.id for each in orders if each.customer_id == 1], now)
        for each in orders:
            if each.customer_id == 2:
                settle_order(session, each, now)
    entries = all_of(shop, PointsEntry)
    sides = [sorted((e.kind, e.points, e.created_at, e.expires_at or now) for e in entries if e.customer_id == each)
             for each in (1, 2)]
    assert sides[0] == sides[1] and len({points for _, points, *_ in sides[0]}) > 1
    assert len({customer.tier_code for customer in all_of(shop, Customer)[:2]}) == 1


def test_points_go_through_the_ledger_once(shop: Store, bring: Bring, now: datetime) -> None:
    file = "key,customer_number,points,reason,at\nk1,C1,500,期初,2026-01-01\nk2,C1,-200,,\nk3,C2,10,,2020-01-01\n"
    for counts in ({"created": 3}, {"unchanged": 3}):
        assert bring("points", file).counts == counts
        assert (balance(shop, "C1", now), balance(shop, "C2", now)) == (300, 0)
    assert sorted(e.kind for e in all_of(shop, PointsEntry)) == ["expire", "grant", "grant", "spend"]
    report = bring("points", "key,customer_number,points,at\nk1,C1,501,\nk4,C1,-301,\nk5,C9,1,\nk6,C1,1,2030-01-01\n"
                             "k7,C1,0,\nk8,C1,1.5,\n")
    assert sorted(codes(report)) == [(2, "key", "key_reused"), (3, "points", "not_enough"),
                                     (4, "customer_number", "unknown_customer"), (5, "at", "in_the_future"),
                                     (6, "points", "points"), (7, "points", "points")]
    assert balance(shop, "C1", now) == 300


def test_a_debt_is_filled_by_points_that_come_in(shop: Store, bring: Bring, now: datetime) -> None:
    bring("orders", ORDER + order("O1"))
    bring("points", "key,customer_number,points\nk1,C1,-100\n")
    bring("orders", "number,status,returned_at\nO1,returned,2026-11-01\n")
    assert balance(shop, "C1", now) == -100
    bring("points", "key,customer_number,points\nk2,C1,150\n")
    assert balance(shop, "C1", now) == 50


def test_who_was_erased_is_not_brought_back(shop: Store, bring: Bring, now: datetime) -> None:
    with shop.write() as session:
        bury(session, lock_person(session, customer_id=1), KEY, now)
        gone = session.get(Customer, 1)
        gone.number, gone.erased_at = "X1", now
    assert codes(bring("customers", "number,name\nC1,Back\n")) == [(2, "number", "erased")]
    assert codes(bring("orders", ORDER + order("O1", "C1"))) == [(2, "customer_number", "erased")]
    assert codes(bring("points", "key,customer_number,points\nk,C1,5\n")) == [(2, "customer_number", "erased")]
    assert "X1" not in "".join(exported(shop, "customers", "csv"))


def test_pages_of_an_export_begin_where_the_one_before_ended(shop: Store, bring: Bring, now: datetime) -> None:
    bring("orders", ORDER + "".join(order(f"O{n}", f"C{1 + n % 2}") for n in range(6)))
    with shop.write() as session:
        session.get(Customer, 1).erased_at = now
    for kind in ("orders", "points"):
        with shop.read() as session:
            assert cursor_after(session, kind, 0, 2) == records(session, kind, 0, 2)[-1][0]


def test_an_import_that_was_cut_off_goes_on_where_it_ended(shop: Store, bring: Bring, now: datetime,
                                                           monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchange, "ROWS_AT_ONCE", 2)
    file = ORDER + "".join(order(f"O{n}") for n in range(7))
    stopped = RuntimeError("stopped")

    def progress(what: str, done: int, _rows: int) -> None:
        if (what, done) == ("store", 4):
            raise stopped

    with pytest.raises(RuntimeError):
        import_file(shop, io.BytesIO(file.encode()), Wanted("orders", "f", ZONE), KEY, lambda: now, progress)
    (cut,) = all_of(shop, Import)
    assert (cut.state, cut.rows_done, cut.worker) == ("running", 4, None)
    assert len(all_of(shop, Order)) == len(all_of(shop, PointsEntry)) == 4
    report = bring("orders", file)
    assert report.resumed_at == 4 and report.import_id == cut.id and report.counts == {"created": 7}
    assert len(all_of(shop, PointsEntry)) == 7 and balance(shop, "C1", now) == 700


def test_a_killed_import_leaves_nothing_half(sqlite_store: Store, now: datetime, tmp_path: Path) -> None:
    """A real process is killed as soon as rows are in the store; the lease ends, the same file goes on."""
    with sqlite_store.write() as session:
        session.add(Tier(code="silver", rank=0, name_zh="-", name_en="-", minimum_spend_fen=0, multiplier=1,
                         benefits_zh="-", benefits_en="-", anger_route=0.8, anger_watch=0.5))
    file = tmp_path / "c.csv"
    file.write_text("number,name\n" + "".join(f"C{n},N\n" for n in range(3000)))
    code = ("import sys\nfrom datetime import datetime\nfrom zoneinfo import ZoneInfo\n"
            "from crm_store.database import Store\nfrom crm_store.services.exchange import Wanted, import_file\n"
            "def told(what, done, rows):\n    if what == 'store' and done >= 1000:\n"
            "        print('stored', flush=True); sys.stdin.read()\n"
            "now = datetime.fromisoformat(sys.argv[3])\n"
            "wanted = Wanted('customers', 'f', ZoneInfo('Asia/Shanghai'))\n"
            "import_file(Store(sys.argv[1]), open(sys.argv[2], 'rb'), wanted,"
            " b'tombstones', lambda: now, told)\n")
    with subprocess.Popen([sys.executable, "-W", "ignore", "-c", code, sqlite_store.url, str(file), now.isoformat()],
                          stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "stored\n"
        os.kill(process.pid, signal.SIGKILL)
    done = all_of(sqlite_store, Import)[0].rows_done
    assert 0 < done == len(all_of(sqlite_store, Customer)) < 3000
    wanted = Wanted("customers", "f", ZONE)
    with file.open("rb") as stream:
        with pytest.raises(ImportUnderWay):
            import_file(sqlite_store, stream, wanted, KEY, lambda: now)
        report = import_file(sqlite_store, stream, wanted, KEY, lambda: now + HOUR)
    assert report.resumed_at == done and report.counts == {"created": 3000}
    assert len(all_of(sqlite_store, Customer)) == 3000


def test_the_same_file_at_once_is_stored_once(shop: Store, now: datetime) -> None:
    file = (ORDER + "".join(order(f"O{n}", total="10") for n in range(30))).encode()

    def once() -> Any:
        try:
            return import_file(shop, io.BytesIO(file), Wanted("orders", "f", ZONE), KEY, lambda: now).state
        except CrmError as error:
            return type(error)

    outcomes = Desk(shop, now, None).at_once([once] * 4)
    assert set(outcomes) <= {"done", ImportUnderWay} and "done" in outcomes, outcomes
    assert len(all_of(shop, Order)) == len(all_of(shop, PointsEntry)) == 30 and balance(shop, "C1", now) == 300


def test_who_finds_a_running_import_that_is_just_ending_begins_anew(shop: Store, now: datetime) -> None:
    file, wanted, reports = (ORDER + order("O1", total="10")).encode(), Wanted("orders", "f", ZONE), list[Any]()
    import_file(shop, io.BytesIO(file), wanted, KEY, lambda: now)

    def set_state(session: Any, state: str) -> None:
        session.execute(sa.update(Import).values(state=state))

    with shop.write() as session:
        set_state(session, "running")
    second = threading.Thread(target=lambda: reports.append(
        import_file(shop, io.BytesIO(file), wanted, KEY, lambda: now)))
    with shop.write() as session:
        set_state(session, "done")
        second.start()
        second.join(0.5)
        assert second.is_alive()
    second.join(30)
    assert [(each.state, each.counts, each.resumed_at) for each in reports] == [("done", {"unchanged": 1}, 0)]
    assert len(all_of(shop, Import)) == 2


def test_conversations_go_on_beside_an_import(shop: Store, now: datetime) -> None:
    file = (ORDER + "".join(order(f"O{n}", f"C{1 + n % 4}") for n in range(300))).encode()

    def write() -> int:
        for number in range(20):
            with shop.write() as session:
                receive_message(session, channel="web", external_id="v", text="在吗", now=now,
                                channel_message_id=f"m{number}")
        return 20

    done, written = Desk(shop, now, None).at_once([
        lambda: import_file(shop, io.BytesIO(file), Wanted("orders", "f", ZONE), KEY, lambda: now), write])
    assert (done.counts, written) == ({"created": 300}, 20)


def test_events_are_written_with_what_happened_and_only_where_somebody_wants_them(shop: Store, bring: Bring,
                                                                                  now: datetime) -> None:
    bring("customers", "number,city\nC1,武汉\n")
    assert not all_of(shop, ShopEvent)
    hook(shop, now, "customer.updated", "points.earned", "order.returned")
    bring("customers", "number,name,city\nC1,N1,北京\nC9,New,\n")
    bring("orders", ORDER + order("O1"))
    bring("orders", "number,status,returned_at\nO1,returned,2026-11-01\n")
    assert [event.kind for event in all_of(shop, ShopEvent)] == ["customer.updated", "points.earned", "order.returned"]
    with shop.write() as session:
        sent = [claim_delivery(session, "webhook:1", now, HOUR)]
        note_sent(session, sent[0].id, now, 200)
        sent.append(claim_delivery(session, "webhook:1", now, HOUR))
    assert [(each.kind, dict(each.data)) for each in sent] == [
        ("customer.updated", {"source": "import", "fields": ["city"], "customer": "C1"}),
        ("points.earned", {"points": 100, "reason": "earn", "customer": "C1", "order": "O1"})]
    assert sent[0].event_id == "event-1" and sent[0].public_id != sent[1].public_id
    text = "".join(str(event.data) for event in all_of(shop, ShopEvent))
    assert "N1" not in text and "北京" not in text and "C1" not in text


def test_a_customers_events_wait_for_the_one_before_and_others_do_not(shop: Store, bring: Bring, now: datetime) -> None:
    hook(shop, now, "points.earned")
    bring("points", "key,customer_number,points\na,C1,1\nb,C1,2\nc,C2,3\n")
    with shop.write() as session:
        first = claim_delivery(session, "webhook:1", now, HOUR)
        assert first is not None and first.data["points"] == 1
        note_failure(session, first.id, first.attempt, "refused", now, jitter=0.5, status=500)
        other = claim_delivery(session, "webhook:1", now, HOUR)
        assert other is not None and other.data["points"] == 3
        note_sent(session, other.id, now, 200)
        assert claim_delivery(session, "webhook:1", now, HOUR) is None
        again = claim_delivery(session, "webhook:1", now + HOUR, HOUR)
        assert again is not None and (again.public_id, again.event_id) == (first.public_id, first.event_id)
        note_sent(session, again.id, now + HOUR, 200)
        second = claim_delivery(session, "webhook:1", now + HOUR, HOUR)
        assert second is not None and second.data["points"] == 2


def test_an_event_of_what_was_rolled_back_is_never_sent(shop: Store, now: datetime) -> None:
    hook(shop, now)
    with pytest.raises(RuntimeError), shop.write() as session:
        receive_message(session, channel="web", external_id="v", text="在吗", now=now, channel_message_id="m1")
        assert session.execute(select(func.count()).select_from(ShopEvent)).scalar_one() == 1
        raise RuntimeError("undone")
    assert not all_of(shop, ShopEvent) and not all_of(shop, NotificationDelivery)

"""Erasure: nothing of the person is left, the books stay, nothing comes back, whoever writes at the same time."""
from __future__ import annotations

import io
import json
import zipfile
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from crm_store.errors import NotFound, WrongState
from crm_store.models import (
    Attachment,
    AuditEntry,
    Base,
    ChannelIdentity,
    Consent,
    Conversation,
    Customer,
    DataCopy,
    DialogueTracker,
    Erasure,
    Fact,
    Feedback,
    Message,
    Order,
    PointsEntry,
    Recommendation,
    SlaClock,
    Ticket,
    Tombstone,
    WechatPost,
)
from crm_store.services import erasure, retention
from crm_store.services.cases import CaseDraft, store_cases
from crm_store.services.complaints import file_complaint
from crm_store.services.customers import link_identity, unlink_identity
from crm_store.services.data_copies import VALID, offer_copy, take_copy, write_copy
from crm_store.services.dispatch import Reply, Understood, complete_turn
from crm_store.services.eraser import TOMBSTONES, Eraser, erasure_key
from crm_store.services.erasure import (
    AGREED,
    COOL_OFF,
    KEPT,
    ask_erasure,
    cancel_erasure,
    carry_out,
    conditions_of,
    signature_of,
    was_erased,
)
from crm_store.services.handoff import reply_to_customer
from crm_store.services.locking import lock_conversation
from crm_store.services.points import grant_points
from crm_store.services.privacy import consent_history, consented, set_consent
from crm_store.services.traces import find_traces, needles
from tests.crm.conftest import HOUR, Desk

KEY = erasure_key("a secret of the tests")
PHONE, EMAIL, ADDRESS = "13912345678", "ruoxi.quillfeather@example.com", "杭州市文三路 4711 号"
SAID = "我的毛毯破了个洞，电话 13912345678，我叫欧阳若曦"
WORDS = ("欧阳若曦", PHONE, EMAIL, ADDRESS, "zephyr-visitor", SAID)
DAY = timedelta(days=1)


@pytest.fixture
def eraser(desk: Desk, tmp_path: Path) -> Eraser:
    return Eraser(desk.store, tmp_path / "data", KEY)


def live(desk: Desk) -> int:
    """A customer with a complaint, an order, points and something in every table that takes a row by hand."""
    customer = desk.customer("zephyr-visitor", name="欧阳若曦")
    talk = int(desk.write(SAID, sender="zephyr-visitor").conversation.id)
    desk.answer(desk.turn(talk), "欧阳若曦您好", intent="file_complaint", entities=[{"value": PHONE}])
    message = desk.all(Message, Message.direction == "incoming")[0].id
    desk.do(file_complaint, conversation_id=talk, message_id=message, what=SAID, wish=None, now=desk.now)
    desk.do(grant_points, customer_id=customer, points=300, reason="给欧阳若曦", idempotency_key="x", now=desk.now)
    desk.do(set_consent, customer, "marketing", True, "web", desk.now)

    def more(session: Any) -> None:
        person = session.get(Customer, customer)
        person.phone, person.email, person.address = PHONE, EMAIL, ADDRESS
        session.add(Order(number="WL20261101001", customer_id=customer, status="completed", phone=PHONE,
                          address=ADDRESS, total_fen=9900, placed_at=desk.now, note=f"call {PHONE}"))
        session.add(Feedback(customer_id=customer, conversation_id=talk, text=SAID, created_at=desk.now,
                             idempotency_key="f"))
        session.add(Fact(customer_id=customer, kind="allergy", what="坚果", conversation_id=talk, message_id=message,
                         channel="web", said_at=desk.now, confirmed_at=desk.now))
        session.add(Recommendation(customer_id=customer, conversation_id=talk, asked_at=desk.now, score=9))
        session.add(DialogueTracker(sender_id=str(talk), events=json.dumps([{"text": SAID}]), updated_at=desk.now))
        session.add(Attachment(message_id=message, identity_id=session.get(Message, message).identity_id,
                               token="ab" * 24, kind="photo", name="欧阳若曦.jpg", state="kept", created_at=desk.now))
        session.add(AuditEntry(actor_kind="agent", actor_id=1, action="export_log", object_kind="log", object_id="csv",
                               data={"filter": {"words": PHONE}}, created_at=desk.now))

    desk.do(more)
    return customer


def erase(desk: Desk, eraser: Eraser, customer: int) -> Erasure:
    asked = desk.do(ask_erasure, customer, asked_by="customer", now=desk.now)
    assert eraser.look(desk.now + COOL_OFF) == [asked.id]
    (done,) = desk.all(Erasure, Erasure.id == asked.id)
    return done


def left(desk: Desk) -> list[Any]:
    return desk.ask(find_traces, needles(WORDS))


def test_nothing_of_the_person_is_left_and_the_books_stay(desk: Desk, eraser: Eraser) -> None:
    customer = live(desk)
    file = eraser.folder / "attachments" / "ab" / ("ab" * 24)
    file.parent.mkdir(parents=True)
    file.write_bytes(b"photo")
    assert {"messages", "customers", "dialogue_trackers", "audit_log", "orders", "tickets", "points_entries"} <= {
        trace.table for trace in left(desk)}
    done = erase(desk, eraser, customer)
    assert left(desk) == [] and not file.exists()
    assert not desk.all(Message) and not desk.all(Consent) and not desk.all(Fact)
    (order,), (ticket,), (talk,) = desk.all(Order), desk.all(Ticket), desk.all(Conversation)
    assert (order.total_fen, order.customer_id, order.phone) == (9900, customer, "")
    assert (ticket.summary, ticket.customer_id, ticket.status) == ("", None, "resolved")
    assert talk.erased_at is not None and talk.customer_id is None
    assert desk.all(SlaClock) and {clock.state for clock in desk.all(SlaClock)} == {"cancelled"}
    assert [entry.points for entry in desk.all(PointsEntry)] == [300, -300]
    assert desk.all(Customer)[0].erased_at is not None
    assert done.state == "proven" and done.signature == signature_of(done.report, KEY)
    assert done.report["searched"]["found"] == {} and done.report["deleted_rows"]["messages"] > 0
    assert not [word for word in needles(WORDS) if word in json.dumps(done.report)]
    assert PHONE not in (eraser.folder / TOMBSTONES).read_text()


def test_other_people_keep_what_is_theirs(desk: Desk, eraser: Eraser) -> None:
    other = desk.customer("somebody-else", name="韩梅梅")
    talk = int(desk.write("我的包裹呢", sender="somebody-else").conversation.id)
    guest = int(desk.write("你们几点开门", sender="a-guest").conversation.id)
    erase(desk, eraser, live(desk))
    assert {message.conversation_id for message in desk.all(Message)} == {talk, guest}
    assert desk.all(Customer, Customer.id == other)[0].name == "韩梅梅"
    assert desk.conversation(guest).erased_at is None


def test_whoever_was_unlinked_before_begins_anew_beside_what_was_erased(desk: Desk, eraser: Eraser) -> None:
    customer = live(desk)
    talk = desk.all(Conversation)[0]

    def resolve(session: Any) -> None:
        found = session.get(Conversation, talk.id)
        found.status, found.resolved_at = "resolved", desk.now + COOL_OFF
        unlink_identity(session, talk.identity_id, desk.now)

    desk.do(resolve)
    erase(desk, eraser, customer)
    received = desk.write("你们几点开门", sender="zephyr-visitor", at=desk.now + COOL_OFF + HOUR)
    assert received.conversation.id != talk.id and received.conversation.status == "pending"
    assert desk.turn(received.conversation.id, desk.now + 2 * COOL_OFF).text == "你们几点开门"


def test_what_was_merged_into_the_person_goes_with_them(desk: Desk, eraser: Eraser) -> None:
    customer, other = live(desk), desk.customer("second-visitor", name="若曦 欧阳")

    def merge(session: Any) -> None:
        gone = session.get(Customer, other)
        gone.phone, gone.merged_into_id = "13700000001", customer
        session.add(ChannelIdentity(channel="wechat", external_id="wx0123456789:o6_bmjrPTlm", customer_id=other,
                                    created_at=desk.now))
        for sender in ("o6_bmjrPTlm", "o6xbmjrPTlm"):
            session.add(WechatPost(app_id="wx0123456789", post_key=f"{sender}:1:subscribe", kind="followed",
                                   received_at=desk.now))

    desk.do(merge)
    asked = desk.do(ask_erasure, other, asked_by="agent", now=desk.now, due_at=desk.now)
    assert asked.customer_id == customer
    assert eraser.look(desk.now) == [asked.id]
    told = needles(["13700000001", "若曦 欧阳", "second-visitor", "o6_bmjrPTlm"])
    assert left(desk) == [] == desk.ask(find_traces, told)
    posts = desk.ask(lambda session: session.execute(select(WechatPost.post_key)).scalars().all())
    assert posts == ["o6xbmjrPTlm:1:subscribe"], "another's stays"
    assert len(desk.all(Tombstone, Tombstone.kind == "customer")) == 2


def test_a_request_waits_can_be_called_off_and_is_written_down_once(desk: Desk, eraser: Eraser) -> None:
    customer = live(desk)
    asked = desk.do(ask_erasure, customer, asked_by="customer", now=desk.now)
    assert desk.do(ask_erasure, customer, asked_by="customer", now=desk.now + HOUR).id == asked.id
    assert eraser.look(desk.now + COOL_OFF - timedelta(seconds=1)) == []
    desk.do(cancel_erasure, asked.id, now=desk.now)
    assert eraser.look(desk.now + 2 * COOL_OFF) == [] and left(desk)
    with pytest.raises(WrongState):
        desk.do(cancel_erasure, asked.id, now=desk.now)


def test_erasing_twice_changes_nothing_more(desk: Desk, eraser: Eraser) -> None:
    customer = live(desk)
    done = erase(desk, eraser, customer)
    assert eraser.erase(done.id, desk.now + DAY) is None and eraser.look(desk.now + DAY) == []
    with pytest.raises(NotFound):
        desk.do(ask_erasure, customer, asked_by="customer", now=desk.now)


def test_a_crash_before_the_files_are_gone_is_made_up_for(desk: Desk, eraser: Eraser) -> None:
    customer = live(desk)
    file = eraser.folder / "attachments" / "ab" / ("ab" * 24)
    file.parent.mkdir(parents=True)
    file.write_bytes(b"photo")
    asked = desk.do(ask_erasure, customer, asked_by="customer", now=desk.now, due_at=desk.now)
    desk.do(carry_out, asked.id, key=KEY, now=desk.now)
    assert file.exists() and desk.all(Erasure)[0].state == "erased"
    assert eraser.look(desk.now) == [], "somebody may still be at it"
    assert eraser.look(desk.now + HOUR) == [asked.id]
    assert not file.exists() and desk.all(Erasure)[0].state == "proven"


def test_whom_a_backup_brings_back_is_erased_again(desk: Desk, eraser: Eraser) -> None:
    erase(desk, eraser, live(desk))

    def restore(session: Any) -> None:  # as it stood before, without the tombstone that came after it
        session.query(Tombstone).delete()
        session.add(Customer(number="WLC00001", name="欧阳若曦", phone=PHONE, tier_code="silver",
                             created_at=desk.now - DAY))
        session.add(ChannelIdentity(channel="web", external_id="zephyr-visitor", created_at=desk.now - DAY))

    number = desk.all(Customer)[0].number
    assert number != "WLC00001"
    desk.do(restore)
    assert left(desk)
    assert len(eraser.replay(desk.now + 2 * DAY)) == 2
    assert left(desk) == []
    assert eraser.replay(desk.now + 2 * DAY) == []
    assert desk.ask(was_erased, "WLC00001", KEY) and not desk.ask(was_erased, "WLC99999", KEY)


def test_a_guest_who_comes_back_afterwards_is_a_new_one(desk: Desk, eraser: Eraser) -> None:
    erase(desk, eraser, live(desk))
    desk.now += 2 * DAY
    talk = desk.write("我又来了", sender="zephyr-visitor").conversation
    assert talk.customer_id is None and talk.erased_at is None
    assert eraser.replay(desk.now) == [] and desk.conversation(talk.id).erased_at is None


def test_what_was_under_way_writes_nothing_back(desk: Desk, eraser: Eraser) -> None:
    customer = live(desk)
    talk = int(desk.write("还在吗", sender="zephyr-visitor").conversation.id)
    turn = desk.turn(talk)
    draft = CaseDraft(talk, "zh", SAID, None, None, desk.now, None)
    person = desk.all(Customer, Customer.id == customer)[0]
    newcomer = desk.write("hi", sender="new").conversation.identity_id
    (identity,) = desk.all(ChannelIdentity, ChannelIdentity.id == newcomer)
    erase(desk, eraser, customer)
    for late in (
        lambda: desk.do(complete_turn, turn, replies=[Reply(SAID)], now=desk.now,
                        understood=Understood(intent="greet", confidence=1, language="zh", anger=0)),
        lambda: desk.do(reply_to_customer, talk, desk.agent("wang"), SAID, desk.now),
        lambda: desk.do(lock_conversation, talk),
        lambda: desk.do(set_consent, customer, "marketing", True, "web", desk.now),
        lambda: desk.do(grant_points, customer_id=customer, points=5, reason=SAID, idempotency_key="late",
                        now=desk.now),
        lambda: desk.do(link_identity, identity, person, desk.now),
    ):
        with pytest.raises(NotFound):
            late()
    desk.do(store_cases, [draft], [[1.0]], "encoder")
    assert left(desk) == []


def test_messages_that_come_in_during_an_erasure_are_erased_or_a_strangers(desk: Desk, eraser: Eraser) -> None:
    customer = live(desk)
    asked = desk.do(ask_erasure, customer, asked_by="customer", now=desk.now, due_at=desk.now)

    def write(number: int) -> Any:
        return lambda: desk.write(f"第 {number} 条，欧阳若曦", sender="zephyr-visitor", message_id=f"late-{number}")

    results = desk.at_once([write(1), lambda: eraser.erase(asked.id, desk.now), write(2), write(3)])
    assert not [result for result in results if isinstance(result, Exception)]
    (erased,) = [talk for talk in desk.all(Conversation) if talk.erased_at is not None]
    assert not desk.all(Message, Message.conversation_id == erased.id)
    for message in desk.all(Message):
        assert desk.conversation(message.conversation_id).customer_id is None
    assert not desk.all(ChannelIdentity, ChannelIdentity.customer_id == customer)


def test_what_is_linked_while_the_locks_are_taken_is_locked_too(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    customer = live(desk)
    seen, whole = iter([True, False, False, False]), erasure._ids_of

    def ids_of(*arguments: Any) -> Any:  # the first look comes before something was linked
        found = whole(*arguments)
        return ([], [], found[2]) if next(seen) else found

    monkeypatch.setattr(erasure, "_ids_of", ids_of)
    person = desk.do(erasure.lock_person, customer_id=customer)
    assert len(person.identities) == len(person.conversations) == 1


def test_every_table_of_a_person_is_either_erased_or_known_to_be_kept() -> None:
    ids = {name: [1] for name in ("customers", "channel_identities", "conversations", "tickets")}
    reached = set(conditions_of(ids)) | KEPT
    for table in Base.metadata.sorted_tables:
        about = {key.column.table.name for key in table.foreign_keys} & {*ids, "messages"}
        assert not about or table.name in reached, table.name
    for name in KEPT | AGREED:  # a row that stays may not hold on to one that goes
        for key in Base.metadata.tables[name].foreign_keys:
            assert key.column.table.name in KEPT or key.parent.nullable or key.column.table.name not in reached


# ---------------------------------------------------------------------- copies


def test_a_copy_holds_everything_and_works_once(desk: Desk, tmp_path: Path) -> None:
    customer = live(desk)
    (identity,) = desk.all(ChannelIdentity)
    token = desk.do(offer_copy, customer, identity.id, desk.now)
    assert desk.do(take_copy, token, identity.id, desk.now) == customer
    assert desk.do(take_copy, token, identity.id, desk.now) is None
    photo = tmp_path / "photo"
    photo.write_bytes(b"pixels")
    file = io.BytesIO()
    desk.ask(write_copy, customer, file, lambda token: photo, desk.now)
    with zipfile.ZipFile(file) as archive:
        data = json.loads(archive.read("data.json"))
        page = archive.read("index.html").decode()
        (name,) = [each for each in archive.namelist() if each.startswith("attachments/")]
        assert archive.read(name) == b"pixels" and ".." not in name
    assert data["schema"] == "warmline.customer-data/1"
    assert data["customer"]["phone"] == PHONE and data["points"]["balance"] == 300
    assert SAID in [message["text"] for talk in data["conversations"] for message in talk["messages"]]
    assert SAID in page and "欧阳若曦" in page


def test_a_page_of_a_copy_runs_nothing(desk: Desk) -> None:
    customer = desk.customer("x", name="<script>alert(1)</script>")
    desk.write("<img src=x onerror=alert(1)>", sender="x")
    file = io.BytesIO()
    desk.ask(write_copy, customer, file, lambda token: None, desk.now)
    with zipfile.ZipFile(file) as archive:
        page = archive.read("index.html").decode()
    assert "<script" not in page and "<img" not in page and "&lt;script&gt;" in page


def test_guests_others_replays_and_guesses_get_no_copy(desk: Desk, eraser: Eraser) -> None:
    customer, other = live(desk), desk.customer("other")
    mine, theirs = desk.all(ChannelIdentity)
    guest = desk.write("hi", sender="guest").conversation.identity_id
    for identity in (theirs.id, guest):
        with pytest.raises(NotFound):
            desk.do(offer_copy, customer, identity, desk.now)
    token = desk.do(offer_copy, customer, mine.id, desk.now)
    for visitor in (None, theirs.id, guest):
        assert desk.do(take_copy, token, visitor, desk.now) is None
    assert desk.do(take_copy, token, mine.id, desk.now + VALID) is None
    for guess in ("", "x" * 43, "\x00", "\ud800", token[:-1]):
        assert desk.do(take_copy, guess, mine.id, desk.now) is None
    refused = desk.all(AuditEntry, AuditEntry.action == "refuse_export")
    assert [entry.data["problem"] for entry in refused] == ["foreign", "foreign", "foreign", "expired"]
    newer = desk.do(offer_copy, customer, mine.id, desk.now)
    assert desk.do(take_copy, token, mine.id, desk.now) is None, "an older link ends"
    assert token not in json.dumps([copy.token_hash for copy in desk.all(DataCopy)])
    erase(desk, eraser, customer)
    assert desk.do(take_copy, newer, mine.id, desk.now) is None
    with pytest.raises(NotFound):
        desk.ask(write_copy, customer, io.BytesIO(), lambda token: None, desk.now)
    assert other


# ---------------------------------------------------------------------- consents and periods


def test_a_consent_is_what_was_decided_last(desk: Desk) -> None:
    customer = desk.customer("x")
    assert not desk.ask(consented, customer, "marketing")
    for granted in (True, True, False):
        desk.do(set_consent, customer, "marketing", granted, "web", desk.now)
        assert desk.ask(consented, customer, "marketing") is granted
    assert [each.granted for each in desk.ask(consent_history, customer)] == [False, True]
    assert not desk.ask(consented, 10**6, "marketing")


def test_what_was_kept_long_enough_goes_and_the_preview_says_so(desk: Desk, tmp_path: Path) -> None:
    live(desk)
    desk.write("你们几点开门", sender="a-guest")

    def settle(session: Any) -> None:
        for talk in session.execute(select(Conversation).where(Conversation.customer_id.is_not(None))).scalars():
            talk.status, talk.resolved_at = "resolved", desk.now

    desk.do(settle)
    for later, expected in ((179, []), (181, ["guests"]), (366, ["guests", "attachments"]),
                            (1096, ["guests", "conversations", "attachments"])):
        found = desk.ask(retention.preview, desk.now + later * DAY)
        assert [name for name in ("guests", "conversations", "attachments") if found[name]] == expected
    now = desk.now + 1096 * DAY
    file = tmp_path / "attachments" / "ab" / ("ab" * 24)
    file.parent.mkdir(parents=True)
    file.write_bytes(b"photo")
    gone = retention.keep_periods(desk.store, tmp_path, now)
    assert gone["guests"] == gone["conversations"] == 1 and not desk.all(Message) and not file.exists()
    assert not any(retention.keep_periods(desk.store, tmp_path, now).values())
    assert [(fact.what, fact.message_id) for fact in desk.all(Fact)] == [("坚果", None)], "agreed to, not only said"
    assert [each.score for each in desk.all(Recommendation)] == [9], "a figure"
    assert desk.all(Customer)[0].phone == PHONE, "who buys stays known"
    assert not any(desk.ask(retention.preview, now).values())


def test_periods_are_changed_by_admins_and_within_reason(desk: Desk) -> None:
    boss = desk.agent("boss")
    desk.do(retention.set_period, "guests", None, boss, desk.now)
    desk.do(retention.set_period, "conversations", 400, boss, desk.now)
    assert desk.ask(retention.periods)["guests"] is None and desk.ask(retention.periods)["conversations"] == 400
    for name, days in (("guests", 1), ("guests", 10**6), ("orders", 30), ("guests", -1)):
        with pytest.raises(ValueError):
            desk.do(retention.set_period, name, days, boss, desk.now)
    assert len(desk.all(AuditEntry, AuditEntry.action == "set_period")) == 2

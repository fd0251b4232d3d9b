"""Linking by a one-time code, the customer's card, what is open, consents and the export."""
from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from crm_store.errors import NotFound, TooManyAttempts
from crm_store.models import (
    AuditEntry,
    ChannelIdentity,
    Consent,
    Conversation,
    Customer,
    LinkCode,
    Message,
    Ticket,
)
from crm_store.queries.customers import customer_card, open_matters
from crm_store.services.complaints import file_complaint
from crm_store.services.customers import (
    LinkResult,
    confirm_link,
    link_identity,
    normalise_phone,
    start_linking,
    unlink_with_notice,
)
from crm_store.services.privacy import current_consents, export_customer, set_consent
from tests.crm.conftest import Desk
from tests.crm.loyalty import Loyalty, outcomes

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
PHONE = "13800138000"
UNKNOWN = "13700137000"


@pytest.fixture
def loyalty(desk: Desk) -> Loyalty:
    return Loyalty(desk)


def guest(shop: Loyalty, sender: str = "visitor") -> int:
    """A guest who has written, and their identity."""
    return int(shop.desk.write("你好", sender=sender).conversation.identity_id)


def begin(shop: Loyalty, identity: int, phone: str = PHONE, at: Any = None) -> Any:
    return shop.do(start_linking, identity_id=identity, phone=phone, now=at or shop.now)


def confirm(shop: Loyalty, identity: int, code: str, at: Any = None) -> LinkResult:
    result: LinkResult = shop.do(confirm_link, identity_id=identity, code=code, now=at or shop.now)
    return result


def wrong(code: str) -> str:
    return f"{(int(code) + 1) % 10**6:06}"


def test_the_right_code_links_the_identity_its_conversations_and_tickets(loyalty: Loyalty) -> None:
    customer, identity = loyalty.customer(phone=PHONE), guest(loyalty)
    received = loyalty.desk.write("东西坏了")
    loyalty.do(file_complaint, conversation_id=received.conversation.id, message_id=received.message.id, what="坏了",
               wish="换", now=loyalty.now)
    started = begin(loyalty, identity, " +86 138-0013-8000 ")
    assert started.customer_id == customer and len(started.code) == 6 and started.code.isdecimal()
    result = confirm(loyalty, identity, f" {started.code[:3]} {started.code[3:]} ", loyalty.now + 9 * MINUTE)
    assert result.customer.id == customer and result.problem is None
    (linked,) = loyalty.all(ChannelIdentity)
    assert (linked.customer_id, linked.linked_at) == (customer, loyalty.now + 9 * MINUTE)
    assert [each.customer_id for each in loyalty.all(Conversation)] == [customer]
    assert [each.customer_id for each in loyalty.all(Ticket)] == [customer]
    (entry,) = loyalty.all(AuditEntry, AuditEntry.action == "link")
    assert (entry.actor_kind, entry.actor_id, entry.object_id) == ("customer", customer, str(identity))


def test_the_code_is_stored_only_as_a_salted_hash(loyalty: Loyalty) -> None:
    loyalty.customer(phone=PHONE)
    codes = [begin(loyalty, guest(loyalty, name)).code for name in ("a", "b")]
    stored = [row.code_hash for row in loyalty.all(LinkCode)]
    assert not any(code in text for code in codes for text in stored)
    assert len({text.split("$")[0] for text in stored}) == 2


def test_an_email_address_links_too(loyalty: Loyalty) -> None:
    customer = loyalty.customer(phone=PHONE, email="Ann@Example.com")
    assert begin(loyalty, guest(loyalty), " ann@example.COM ").customer_id == customer


def test_an_unknown_phone_gets_no_code_and_every_answer_is_the_same(loyalty: Loyalty) -> None:
    loyalty.customer(phone=PHONE)
    known, unknown = guest(loyalty, "known"), guest(loyalty, "unknown")
    code = begin(loyalty, known).code
    started = begin(loyalty, unknown, UNKNOWN)
    assert (started.code, started.customer_id) == (None, None)
    for attempt in range(7):
        answers = [confirm(loyalty, identity, wrong(code)) for identity in (known, unknown)]
        assert answers[0] == answers[1], f"answer {attempt} tells them apart"


def test_an_unknown_phone_takes_the_same_steps(loyalty: Loyalty) -> None:
    loyalty.customer(phone=PHONE)
    statements: list[str] = []
    sa.event.listen(loyalty.store.engine, "before_cursor_execute", lambda *call: statements.append(call[2]))
    seen: dict[str, list[str]] = {}
    for attempt in range(4):
        for phone in (PHONE, UNKNOWN):
            identity, at = guest(loyalty, f"{phone}{attempt}"), loyalty.now + attempt * HOUR * 2
            statements.clear()
            begin(loyalty, identity, phone, at)
            assert seen.setdefault(phone, list(statements)) == statements
    assert len(seen[PHONE]) > 4
    assert seen[PHONE] == seen[UNKNOWN]


@pytest.mark.parametrize("bad", ["", "abc", "12345", "1234567", "１２", "' OR 1=1", "9" * 5000, "\ud800"])
def test_no_odd_text_passes_for_a_code(loyalty: Loyalty, bad: str) -> None:
    loyalty.customer(phone=PHONE)
    identity = guest(loyalty)
    begin(loyalty, identity)
    assert confirm(loyalty, identity, bad).problem == "invalid_code"


def test_a_code_bears_five_tries(loyalty: Loyalty) -> None:
    loyalty.customer(phone=PHONE)
    identity = guest(loyalty)
    code = begin(loyalty, identity).code
    results = [confirm(loyalty, identity, wrong(code)) for _ in range(5)]
    assert [(each.problem, each.tries_left) for each in results] == [
        ("invalid_code", 4), ("invalid_code", 3), ("invalid_code", 2), ("invalid_code", 1), ("too_many_attempts", 0)]
    assert confirm(loyalty, identity, code).problem == "too_many_attempts", "the right one comes too late"
    assert loyalty.all(ChannelIdentity)[0].customer_id is None


def test_many_guesses_at_once_still_have_five_tries(loyalty: Loyalty) -> None:
    loyalty.customer(phone=PHONE)
    identity = guest(loyalty)
    code = begin(loyalty, identity).code
    guesses = [f"{(int(code) + 1 + number) % 10**6:06}" for number in range(16)]
    results = loyalty.desk.at_once([lambda guess=guess: confirm(loyalty, identity, guess) for guess in guesses])
    assert outcomes(results, lambda each: isinstance(each, Exception)) == 0, results
    assert outcomes(results, lambda each: each.problem == "invalid_code") == 4
    assert loyalty.all(LinkCode)[0].attempts == 5


def test_a_code_lives_ten_minutes_and_ends_with_the_next(loyalty: Loyalty) -> None:
    loyalty.customer(phone=PHONE)
    identity, late = guest(loyalty), guest(loyalty, "late")
    first = begin(loyalty, identity).code
    second = begin(loyalty, identity, at=loyalty.now + MINUTE).code
    if first != second:
        assert confirm(loyalty, identity, first, loyalty.now + MINUTE).problem == "invalid_code"
    assert confirm(loyalty, identity, second, loyalty.now + 2 * MINUTE).customer is not None
    code = begin(loyalty, late).code
    assert confirm(loyalty, late, code, loyalty.now + 10 * MINUTE).problem == "invalid_code"
    assert confirm(loyalty, guest(loyalty, "never asked"), code).problem == "invalid_code"


def test_a_code_is_of_no_use_to_another_identity_nor_a_second_time(loyalty: Loyalty) -> None:
    customer, mine, theirs = loyalty.customer(phone=PHONE), guest(loyalty, "mine"), guest(loyalty, "theirs")
    code = begin(loyalty, mine).code
    begin(loyalty, theirs, UNKNOWN)
    assert confirm(loyalty, theirs, code).customer is None
    assert confirm(loyalty, mine, code).customer.id == customer
    assert confirm(loyalty, mine, code).customer.id == customer, "the same message handled twice"
    assert len(loyalty.all(AuditEntry, AuditEntry.action == "link")) == 1

    def unlink(session: Any) -> None:
        session.get(ChannelIdentity, mine).customer_id = None

    loyalty.do(unlink)
    assert confirm(loyalty, mine, code).problem == "invalid_code", "a used code does not link again"


def test_an_identity_gets_three_codes_an_hour(loyalty: Loyalty) -> None:
    loyalty.customer(phone=PHONE)
    identity = guest(loyalty)
    for minutes in (0, 10, 20):
        begin(loyalty, identity, at=loyalty.now + minutes * MINUTE)
    for phone in (PHONE, UNKNOWN):
        with pytest.raises(TooManyAttempts):
            begin(loyalty, identity, phone, at=loyalty.now + 59 * MINUTE)
    assert begin(loyalty, identity, at=loyalty.now + 61 * MINUTE).code is not None


def test_a_phone_gets_five_codes_an_hour_and_the_sixth_is_not_sent_without_a_word(loyalty: Loyalty) -> None:
    loyalty.customer(phone=PHONE)
    identities = [guest(loyalty, f"visitor {number}") for number in range(7)]
    codes = loyalty.desk.at_once([lambda identity=identity: begin(loyalty, identity).code for identity in identities])
    assert outcomes(codes, lambda code: code is None) == 2
    assert len(loyalty.all(LinkCode)) == 7, "the others look as if a code had been sent"


def test_an_erased_customer_cannot_be_linked(loyalty: Loyalty) -> None:
    identity, customer = guest(loyalty), loyalty.customer(phone=PHONE)
    code = begin(loyalty, identity).code

    def erase(session: Any) -> None:
        session.get(Customer, customer).erased_at = loyalty.now

    loyalty.do(erase)
    assert confirm(loyalty, identity, code).problem == "invalid_code"
    assert begin(loyalty, identity, at=loyalty.now + MINUTE).code is None


def test_linking_somebody_else_leaves_finished_conversations_with_their_customer(loyalty: Loyalty) -> None:
    before, after = loyalty.customer(), loyalty.customer()
    identity = guest(loyalty)

    def link(customer: int) -> None:
        loyalty.do(lambda session: link_identity(
            session, session.get(ChannelIdentity, identity), session.get(Customer, customer), loyalty.now))

    def resolve(session: Any) -> None:
        session.execute(sa.update(Conversation).values(status="resolved", resolved_at=loyalty.now - 10 * DAY))

    link(before)
    loyalty.do(resolve)
    loyalty.desk.write("又来了")
    link(after)
    assert [talk.customer_id for talk in loyalty.all(Conversation)] == [before, after]


@pytest.mark.parametrize(("typed", "kept"), [
    ("13800138000", "13800138000"), ("+86 138 0013 8000", "13800138000"), ("0086-13800138000", "13800138000"),
    ("１３８００１３８０００", "13800138000"), ("8613800138000", "13800138000"), ("86138", "86138"), ("no", ""),
    ("+44 7911 123456", "447911123456"),
])
def test_phones_are_kept_as_digits(typed: str, kept: str) -> None:
    assert normalise_phone(typed) == kept


def test_the_card_shows_a_customer_masked(loyalty: Loyalty) -> None:
    customer = loyalty.customer(phone=PHONE, email="li.lei@example.com", tier="gold",
                                address="浙江省杭州市西湖区文三路8号2栋301室")
    identity = guest(loyalty)
    loyalty.do(lambda session: link_identity(
        session, session.get(ChannelIdentity, identity), session.get(Customer, customer), loyalty.now))
    loyalty.earn(customer, 230_000)
    received = loyalty.desk.write("太差了")
    loyalty.do(file_complaint, conversation_id=received.conversation.id, message_id=received.message.id, what="太差了",
               wish=None, now=loyalty.now)
    for days, angers in ((0, (0.2, 0.9)), (3, (0.4,)), (40, (1.0,))):
        for anger in angers:
            said = loyalty.desk.write("哼", at=loyalty.now - days * DAY).message.id
            loyalty.do(lambda session, said=said, anger=anger: session.execute(
                sa.update(Message).where(Message.id == said).values(anger=anger)))
    card = loyalty.ask(customer_card, customer, loyalty.now)
    assert (card.tier.code, card.spend_365_fen, card.points) == ("gold", 230_000, 2760)
    assert (card.next_tier.code, card.gap_fen) == ("platinum", 570_000)
    assert (card.phone, card.email, card.address) == ("138****8000", "l***@example.com", "浙江省杭州市西湖区***")
    assert [line.total_fen for line in card.orders] == [230_000]
    assert [(line.summary, line.status) for line in card.complaints] == [("太差了", "open")]
    assert card.open_complaints == 1
    assert [(day.isoformat(), anger) for day, anger in card.mood] == [("2026-11-15", 0.4), ("2026-11-18", 0.9)]
    assert [(line.channel, line.external_id) for line in card.identities] == [("web", "visitor")]
    assert card.consents == {"service": None, "marketing": None, "memory": None}
    with pytest.raises(NotFound):
        loyalty.ask(customer_card, 10**6, loyalty.now)


def test_what_is_open_for_a_customer_and_for_a_guest(loyalty: Loyalty) -> None:
    customer = loyalty.customer()
    visitor, stranger = guest(loyalty), guest(loyalty, "stranger")
    received = loyalty.desk.write("坏了")
    ticket = loyalty.do(file_complaint, conversation_id=received.conversation.id, message_id=received.message.id,
                        what="坏了", wish=None, now=loyalty.now)
    loyalty.order(customer, status="shipped")
    loyalty.order(customer, status="delivered")
    loyalty.earn(customer, 10_000, at=loyalty.now - 360 * DAY)
    own = loyalty.ask(open_matters, None, visitor, loyalty.now)
    assert [each.id for each in own.open_complaints] == [ticket.id]
    assert (own.parcels_under_way, own.expiring_points) == ([], [])
    assert loyalty.ask(open_matters, None, stranger, loyalty.now).open_complaints == []
    known = loyalty.ask(open_matters, customer, stranger, loyalty.now)
    assert known.open_complaints == [], "the visitor's complaint is not the customer's before linking"
    assert [order.status for order in known.parcels_under_way] == ["shipped"]
    assert [points for _, points in known.expiring_points] == [100]
    loyalty.do(lambda session: link_identity(
        session, session.get(ChannelIdentity, visitor), session.get(Customer, customer), loyalty.now))
    linked = loyalty.ask(open_matters, customer, stranger, loyalty.now)
    assert [each.id for each in linked.open_complaints] == [ticket.id]


def test_the_newest_decision_about_a_purpose_counts(loyalty: Loyalty) -> None:
    customer = loyalty.customer()
    for granted, days in ((True, 0), (True, 1), (False, 2)):
        loyalty.do(set_consent, customer, "marketing", granted, "web", loyalty.now + days * DAY)
    assert loyalty.ask(current_consents, customer) == {"service": None, "marketing": False, "memory": None}
    assert [(each.granted, each.decided_at) for each in loyalty.all(Consent)] == [
        (True, loyalty.now), (False, loyalty.now + 2 * DAY)], "deciding the same again adds nothing"
    assert [entry["granted"] for entry in loyalty.audit("set_consent")] == [True, False]
    with pytest.raises(ValueError, match="purpose"):
        loyalty.do(set_consent, customer, "spying", True, "web", loyalty.now)
    with pytest.raises(NotFound):
        loyalty.do(set_consent, 10**6, "memory", True, "web", loyalty.now)


def test_the_export_holds_what_is_known_of_one_customer_and_nothing_of_another(loyalty: Loyalty) -> None:
    customer, other = loyalty.customer(phone=PHONE, name="李雷"), loyalty.customer(name="韩梅梅", phone=UNKNOWN)
    identity = guest(loyalty)
    loyalty.do(lambda session: link_identity(
        session, session.get(ChannelIdentity, identity), session.get(Customer, customer), loyalty.now))
    loyalty.earn(customer, 69_900)
    loyalty.earn(other, 55_500)
    loyalty.redeem(customer, loyalty.reward(cost=99))
    exported = loyalty.do(export_customer, customer, loyalty.now)
    text = json.dumps(exported, ensure_ascii=False)
    assert exported["customer"]["phone"] == PHONE and "韩梅梅" not in text and UNKNOWN not in text
    assert [order["total_fen"] for order in exported["orders"]] == [69_900]
    assert exported["points"]["balance"] == 600 and len(exported["points"]["redemptions"]) == 1
    assert [message["text"] for talk in exported["conversations"] for message in talk["messages"]] == ["你好"]
    assert [entry.object_id for entry in loyalty.all(AuditEntry, AuditEntry.action == "export")] == [str(customer)]
    with pytest.raises(NotFound):
        loyalty.do(export_customer, 10**6, loyalty.now)


def test_who_unlinks_a_chat_is_told_once_and_it_is_a_guests(desk: Desk) -> None:
    desk.customer("lei")
    talk = desk.write("解除绑定", sender="lei").conversation.id
    wish = {"conversation_id": talk, "language": "zh", "now": desk.now}
    assert [desk.do(unlink_with_notice, **wish) for _ in range(2)] == [True, False]
    (notice,) = desk.all(Message, Message.author == "system")
    assert "已解除绑定" in notice.text and desk.conversation(talk).customer_id is None
    assert [each.customer_id for each in desk.all(ChannelIdentity)] == [None]
    with pytest.raises(NotFound):
        desk.do(unlink_with_notice, **{**wish, "conversation_id": 10**6})

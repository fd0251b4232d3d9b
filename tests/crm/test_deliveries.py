"""Notices go out beside the desk once a target, are claimed by one sender, and end sent, skipped or given up."""
from __future__ import annotations

import re
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crm_store.errors import InvalidMessage, NotFound, WrongState
from crm_store.models import AuditEntry, Notification, NotificationDelivery, NotificationPreference, Webhook
from crm_store.models.deliveries import NOTICE_KINDS
from crm_store.queries.notifications import delivery_log, mark_seen, webhooks_with_state
from crm_store.services import deliveries, notice_settings
from crm_store.services.deliveries import LEASE, MOST_ATTEMPTS, PUT_OFF, Outgoing, delay_after
from crm_store.services.notices import notify
from tests.crm.conftest import Desk

MINUTE = timedelta(minutes=1)
SERVICES = Path(notice_settings.__file__).parent


def hook(desk: Desk, url: str = "https://example.com/in", kinds: tuple[str, ...] = ()) -> int:
    made = desk.do(notice_settings.create_webhook, desk.agent("boss"), name="ops", url=url, kinds=kinds, now=desk.now)
    return int(made.id)


def mailbox(desk: Desk, login: str = "wang", *kinds: str, email: str | None = None) -> int:
    agent = desk.agent(login)
    desk.do(notice_settings.save_preferences, agent, email=email or f"{login}@example.com",
            kinds=kinds or NOTICE_KINDS, now=desk.now)
    return int(agent.id)


def tell(desk: Desk, *logins: str, kind: str = "assigned", key: str = "k1", at: datetime | None = None,
         **data: Any) -> int:
    told = [desk.agent(login).id for login in logins]
    return int(desk.do(notify, told, kind=kind, key=key, now=at or desk.now, data=data))


def queued(desk: Desk) -> list[tuple[str, int]]:
    return [(each.adapter, each.target_id) for each in desk.all(NotificationDelivery)]


def claim(desk: Desk, lane: str, at: datetime | None = None, delay: timedelta = MINUTE) -> Outgoing | None:
    return desk.do(deliveries.claim_delivery, lane, at or desk.now, delay)  # type: ignore[no-any-return]


def only(desk: Desk) -> NotificationDelivery:
    (found,) = desk.all(NotificationDelivery)
    return found


def test_without_webhooks_and_addresses_nothing_is_queued(desk: Desk) -> None:
    assert tell(desk, "wang", "li") == 2 and queued(desk) == []


def test_an_event_goes_to_each_webhook_once_and_to_each_agent_who_wants_it(desk: Desk) -> None:
    first, second = hook(desk), hook(desk, "https://example.com/other", ("sla_breached",))
    wang, lead = mailbox(desk, "wang", "assigned"), mailbox(desk, "lead", "sla_breached")
    tell(desk, "wang", "lead")
    assert queued(desk) == [("webhook", first), ("email", wang)]
    tell(desk, "wang", "lead", "li", kind="sla_breached", key="k2")
    assert queued(desk)[2:] == [("webhook", first), ("webhook", second), ("email", lead)]


def test_the_same_event_again_is_queued_for_nobody(desk: Desk) -> None:
    first, wang = hook(desk), mailbox(desk)
    tell(desk, "wang")
    late = hook(desk, "https://example.com/late")
    li = mailbox(desk, "li")
    tell(desk, "wang", at=desk.now + MINUTE)
    assert queued(desk) == [("webhook", first), ("email", wang)]
    tell(desk, "wang", "li", at=desk.now + MINUTE)  # who is told of it for the first time hears of it
    assert queued(desk) == [("webhook", first), ("email", wang), ("webhook", late), ("email", li)]


def test_what_is_rolled_back_is_not_sent(desk: Desk) -> None:
    hook(desk)
    with pytest.raises(RuntimeError), desk.store.write() as session:
        notify(session, [desk.agent("wang").id], kind="assigned", key="k1", now=desk.now)
        raise RuntimeError
    assert desk.all(Notification) == desk.all(NotificationDelivery) == []


@pytest.mark.parametrize(("percent", "mailed"), [(50, False), (74, False), (75, True), (90, True)])
def test_warnings_are_mailed_from_75_percent(sqlite_desk: Desk, percent: int, mailed: bool) -> None:
    mailbox(sqlite_desk)
    tell(sqlite_desk, "wang", kind="sla_warned", percent=percent)
    assert bool(queued(sqlite_desk)) is mailed


def test_the_ways_an_agent_begins_with() -> None:
    assert notice_settings.default_email_kinds("agent") == ("assigned", "complaint", "transferred", "sla_breached")
    assert "sla_warned" in notice_settings.default_email_kinds("lead")
    assert set(notice_settings.default_email_kinds("manager")) <= set(NOTICE_KINDS)


def test_every_kind_of_notice_can_be_chosen() -> None:
    sources = "\n".join(path.read_text(encoding="utf8") for path in SERVICES.glob("*.py"))
    told = set(re.findall(r"\bnotify\([^()]*(?:\([^()]*\)[^()]*)*?\bkind=\"(\w+)\"", sources))
    assert len(told) >= 6 and told <= set(NOTICE_KINDS)


def test_a_delivery_is_claimed_by_one_and_again_after_its_lease(desk: Desk) -> None:
    hook(desk)
    tell(desk, "wang", ticket="C1001", reason="asked", by="call 13800138000")
    lane, = desk.ask(deliveries.lanes_waiting, desk.now, MINUTE)
    first = claim(desk, lane)
    assert first is not None and first.attempt == 1 and first.address == "https://example.com/in"
    assert (first.kind, first.ticket, first.data["by"]) == ("assigned", "C1001", "call 138********")
    assert claim(desk, lane) is None and desk.ask(deliveries.lanes_waiting, desk.now, MINUTE) == []
    again = claim(desk, lane, desk.now + LEASE)
    assert again is not None and (again.attempt, again.public_id) == (2, first.public_id)
    assert first.secret not in repr(first) and first.address not in repr(first)


def test_of_many_who_claim_at_once_each_delivery_goes_to_one(desk: Desk) -> None:
    hook(desk)
    for number in range(3):
        tell(desk, "wang", key=f"k{number}")
    lane, = desk.ask(deliveries.lanes_waiting, desk.now, MINUTE)
    claimed = desk.at_once([lambda: claim(desk, lane)] * 8)
    ids = [each.id for each in claimed if each is not None]
    assert all(each is None or isinstance(each, Outgoing) for each in claimed)
    assert len(ids) == len(set(ids)) >= 1


def test_who_was_slow_changes_nothing_but_what_was_sent_stays_sent(desk: Desk) -> None:
    hook(desk)
    tell(desk, "wang")
    slow = claim(desk, only(desk).lane)
    quick = claim(desk, only(desk).lane, desk.now + LEASE)
    assert slow and quick
    desk.do(deliveries.note_failure, slow.id, slow.attempt, "late", desk.now + LEASE, jitter=0.5, permanent=True)
    assert only(desk).state == "queued"
    desk.do(deliveries.note_sent, slow.id, desk.now + LEASE, 204)
    desk.do(deliveries.note_failure, quick.id, quick.attempt, "no", desk.now + LEASE, jitter=0.5)
    assert (only(desk).state, only(desk).response_status, only(desk).next_attempt_at) == ("sent", 204, None)


def test_six_attempts_within_about_an_hour_and_then_it_is_given_up_visibly(desk: Desk) -> None:
    hook(desk)
    tell(desk, "wang")
    now = desk.now
    for attempt in range(1, MOST_ATTEMPTS + 1):
        taken = claim(desk, only(desk).lane, now)
        assert taken is not None and taken.attempt == attempt
        desk.do(deliveries.note_failure, taken.id, attempt, "refused", now, jitter=0.5, status=500)
        now = only(desk).next_attempt_at or now
    assert only(desk).state == "given_up" and timedelta(minutes=55) < now - desk.now < timedelta(minutes=65)
    assert (only(desk).last_error, only(desk).response_status) == ("refused", 500)
    assert claim(desk, only(desk).lane, now + timedelta(days=2)) is None
    (row,) = desk.ask(webhooks_with_state)
    assert (row.waiting, row.given_up, row.last_sent_at) == (0, 1, None)
    assert [row.target for row in desk.ask(delivery_log, state="given_up").rows] == ["ops"]


@given(attempt=st.integers(1, MOST_ATTEMPTS), jitter=st.floats(0, 1))
def test_delays_grow_and_are_spread_by_a_fifth(attempt: int, jitter: float) -> None:
    middle = delay_after(attempt, 0.5)
    assert middle * 0.79 <= delay_after(attempt, jitter) <= middle * 1.21
    assert delay_after(attempt + 1, 0) > delay_after(attempt, 1)


def test_who_dies_at_every_attempt_does_not_go_on_for_ever(desk: Desk) -> None:
    hook(desk)
    tell(desk, "wang")
    taken = [claim(desk, only(desk).lane, desk.now + LEASE * number) for number in range(MOST_ATTEMPTS + 1)]
    assert [each is None for each in taken] == [False] * MOST_ATTEMPTS + [True]
    assert only(desk).state == "given_up"


def test_what_fails_for_ever_or_after_a_day_is_not_tried_again(desk: Desk) -> None:
    hook(desk)
    for number, (later, permanent) in enumerate(((timedelta(0), True), (timedelta(hours=25), False))):
        tell(desk, "wang", key=f"k{number}")
        taken = claim(desk, "webhook:1", desk.now + later)
        assert taken is not None
        state = desk.do(deliveries.note_failure, taken.id, 1, "x", desk.now + later, jitter=0, permanent=permanent)
        assert state == "given_up"


def test_a_server_that_is_down_puts_off_its_own_lane_alone(desk: Desk) -> None:
    hook(desk)
    hook(desk, "https://example.com/other")
    tell(desk, "wang")
    tell(desk, "wang", key="k2")
    taken = claim(desk, "webhook:1")
    assert taken is not None
    desk.do(deliveries.note_failure, taken.id, 1, "no_answer", desk.now, jitter=0.5, target_down=True)
    assert claim(desk, "webhook:1") is None
    assert claim(desk, "webhook:2") and claim(desk, "webhook:2")
    later = claim(desk, "webhook:1", desk.now + PUT_OFF)
    assert later is not None and later.attempt == 2
    following = claim(desk, "webhook:1", desk.now + PUT_OFF)
    assert following is not None and following.attempt == 1


def test_mail_waits_for_the_desk_except_what_is_late(desk: Desk) -> None:
    mailbox(desk)
    tell(desk, "wang")
    assert desk.ask(deliveries.lanes_waiting, desk.now, MINUTE) == [] and claim(desk, "email") is None
    tell(desk, "wang", kind="sla_breached", key="k2")
    at_once = claim(desk, "email")
    assert at_once is not None and at_once.kind == "sla_breached" and at_once.address == "wang@example.com"
    later = claim(desk, "email", desk.now + MINUTE)
    assert later is not None and later.kind == "assigned"


def test_what_was_seen_at_the_desk_is_not_mailed_except_what_is_late(desk: Desk) -> None:
    wang = mailbox(desk)
    tell(desk, "wang")
    tell(desk, "wang", kind="sla_breached", key="k2")
    desk.do(mark_seen, wang, [each.id for each in desk.all(Notification)], desk.now)
    sent = claim(desk, "email", desk.now + MINUTE)
    assert sent is not None and sent.kind == "sla_breached" and claim(desk, "email", desk.now + MINUTE) is None
    assert [(each.kind, each.state) for each in desk.all(NotificationDelivery)] == [
        ("assigned", "skipped"), ("sla_breached", "queued")]


def test_who_is_not_there_any_more_gets_nothing(desk: Desk) -> None:
    wang, first = mailbox(desk), hook(desk)
    mailbox(desk, "li")
    tell(desk, "wang", "li", kind="sla_breached")
    with desk.store.write() as session:
        session.get(NotificationPreference, wang).email = None
        session.get(type(desk.agent("li")), desk.agent("li").id).active = False
        session.get(Webhook, first).active = False
    assert claim(desk, "email") is None and claim(desk, "webhook:1") is None
    assert {(each.state, each.last_error) for each in desk.all(NotificationDelivery)} == {
        ("skipped", "no_address"), ("skipped", "switched_off")}


def test_what_has_come_to_its_end_can_be_sent_again_under_the_same_id(desk: Desk) -> None:
    hook(desk)
    tell(desk, "wang")
    before = only(desk)
    boss = desk.agent("boss")
    with pytest.raises(WrongState):
        desk.do(deliveries.send_again, before.id, boss, desk.now)
    taken = claim(desk, before.lane)
    assert taken is not None
    desk.do(deliveries.note_failure, taken.id, 1, "no", desk.now, jitter=0, permanent=True)
    later = desk.now + timedelta(days=3)
    desk.do(deliveries.send_again, before.id, boss, later)
    again = claim(desk, before.lane, later)
    assert again is not None and (again.attempt, again.public_id, again.at) == (1, before.public_id, desk.now)
    with pytest.raises(NotFound):
        desk.do(deliveries.send_again, 2**62, boss, later)
    assert [each.object_id for each in desk.all(AuditEntry, AuditEntry.action == "send_again")] == [str(before.id)]


def test_a_test_reaches_its_target_and_no_other(desk: Desk) -> None:
    first, wang = hook(desk), mailbox(desk)
    hook(desk, "https://example.com/other")
    for adapter, target in (("webhook", first), ("webhook", first), ("email", wang)):
        desk.do(deliveries.queue_test, adapter, target, desk.now)
    taken = [claim(desk, lane) for lane in ("webhook:1", "webhook:1", "email")]
    assert [each.kind if each else None for each in taken] == ["test", None, "test"]
    desk.do(deliveries.queue_test, "webhook", first, desk.now + MINUTE)
    assert claim(desk, "webhook:1", desk.now + MINUTE) is not None
    assert claim(desk, "webhook:2") is None


def test_the_log_is_kept_for_a_month_and_what_waits_for_ever(desk: Desk) -> None:
    hook(desk)
    for key in ("k1", "k2", "k3"):
        tell(desk, "wang", key=key, at=desk.now - timedelta(days=30 if key == "k3" else 31))
    first = claim(desk, "webhook:1")
    assert first is not None
    for each in desk.all(NotificationDelivery)[::2]:
        desk.do(deliveries.note_sent, each.id, desk.now)
    assert desk.do(deliveries.forget_deliveries, desk.now) == 1
    assert [each.event_key for each in desk.all(NotificationDelivery)] == ["k2", "k3"]
    tell(desk, "wang", key="k1")
    assert [each.event_key for each in desk.all(NotificationDelivery)] == ["k2", "k3"]


@pytest.mark.parametrize("email", [
    "wang", "wang@", "@example.com", "a b@example.com", "wang@example.com\nBcc: all@example.com", "wang@localhost",
    "a@b..com", "a@-b.com", ".a@b.com", "wang@example.com, li@example.com", "名@example.com", "a" * 65 + "@b.com",
    "a@" + "b." * 130 + "com", "\x00@b.com", "\ud800@b.com"])
def test_addresses_that_are_none_are_refused(sqlite_desk: Desk, email: str) -> None:
    with pytest.raises(InvalidMessage) as refused:
        sqlite_desk.do(notice_settings.save_preferences, sqlite_desk.agent("wang"), email=email, kinds=[],
                       now=sqlite_desk.now)
    assert refused.value.data["field"] == "email"
    assert not sqlite_desk.all(AuditEntry, AuditEntry.action == "set_notifications")


def test_choices_are_kept_in_order_and_an_empty_address_means_none(desk: Desk) -> None:
    wang = mailbox(desk, "wang", "woken", "assigned")
    kept = desk.ask(lambda session: session.get(NotificationPreference, wang))
    assert (kept.email, kept.email_kinds) == ("wang@example.com", ["assigned", "woken"])
    desk.do(notice_settings.save_preferences, desk.agent("wang"), email=" ", kinds=[], now=desk.now)
    assert desk.ask(lambda session: session.get(NotificationPreference, wang)).email is None
    written = desk.all(AuditEntry, AuditEntry.action == "set_notifications")
    assert len(written) == 2 and "wang@" not in str([each.data for each in written])
    with pytest.raises(InvalidMessage):
        desk.do(notice_settings.save_preferences, desk.agent("wang"), email="", kinds=["<b>"], now=desk.now)


@pytest.mark.parametrize("url", [
    "", "example.com", "ftp://example.com", "javascript:alert(1)", "file:///etc/passwd", "http://", "https:///x",
    "http://user:secret@example.com/", "http://user@example.com", "http://example.com/\r\nX: y", "http://exa mple.com",
    "http://例子.com", "http://example.com:99999", "http://example.com:0/", "http://example.com:x/", "http://[::1/",
    "http://example.com\\@10.0.0.1/", "http://example.com/#part", "http://a%0d.com/", "gopher://example.com:25/",
    "http://example.com/" + "a" * 500, "http://exa\x00mple.com/"])
def test_urls_that_are_none_are_refused(sqlite_desk: Desk, url: str) -> None:
    with pytest.raises(InvalidMessage) as refused:
        hook(sqlite_desk, url)
    assert refused.value.data["field"] == "url" and not sqlite_desk.all(Webhook)


def test_a_webhook_is_made_changed_and_gets_a_new_secret_and_the_audit_log_knows_no_secret(desk: Desk) -> None:
    boss, first = desk.agent("boss"), hook(desk, "https://hooks.example.com/T0KEN?key=hidden")
    (made,) = desk.all(Webhook)
    assert made.secret.startswith("whsec_") and len(made.secret) > 40
    rotated = desk.do(notice_settings.rotate_secret, first, boss, desk.now)
    assert rotated.secret != made.secret
    desk.do(notice_settings.edit_webhook, first, boss, name="  new\nname ", url="http://other.example.com:8080/x",
            kinds=["woken"], active=False, now=desk.now)
    (kept,) = desk.all(Webhook)
    assert (kept.name, kept.url, kept.kinds, kept.active, kept.secret) == (
        "new name", "http://other.example.com:8080/x", ["woken"], False, rotated.secret)
    written = desk.all(AuditEntry, AuditEntry.object_kind == "webhook")
    assert [each.action for each in written] == ["create_webhook", "rotate_webhook_secret", "edit_webhook"]
    told = str([each.data for each in written])
    assert "hooks.example.com" in told
    assert not [hidden for hidden in (made.secret, rotated.secret, "T0KEN", "hidden") if hidden in told]
    with pytest.raises(NotFound):
        desk.do(notice_settings.rotate_secret, 2**62, boss, desk.now)


def test_a_url_is_taken_once_and_there_are_at_most_twenty(sqlite_desk: Desk) -> None:
    hook(sqlite_desk)
    with pytest.raises(InvalidMessage) as refused:
        hook(sqlite_desk)
    assert refused.value.data["reason"] == "taken"
    for number in range(notice_settings.MOST_WEBHOOKS - 1):
        hook(sqlite_desk, f"https://example.com/{number}")
    with pytest.raises(InvalidMessage) as refused:
        hook(sqlite_desk, "https://example.com/one-more")
    assert refused.value.data["reason"] == "too_many"

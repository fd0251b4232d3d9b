"""The queue's views and filters, snoozing in and out of sight, and a long thread page by page."""
from __future__ import annotations

from typing import Any

import pytest

from crm_store.errors import NotOwner, WrongState
from crm_store.models import AuditEntry, SlaClock
from crm_store.queries.queue import QueueFilter, queue_counts, queue_for
from crm_store.queries.thread import thread, thread_page
from crm_store.services.complaints import file_complaint
from crm_store.services.handoff import claim_conversation, escalate_conversation, snooze_conversation
from crm_store.services.waking import wake_conversation
from tests.crm.conftest import HOUR, MINUTE, Desk


def handed_over(desk: Desk, sender: str, text: str = "转人工", reason: str = "asked") -> int:
    received = desk.write(text, sender=sender)
    desk.do(escalate_conversation, conversation_id=received.conversation.id, reason=reason, now=desk.now,
            message_id=received.message.id, language="en" if text.isascii() else "zh")
    return int(received.conversation.id)


def shown(desk: Desk, view: str, after: Any = 0 * MINUTE, **only: Any) -> list[int]:
    rows = desk.ask(queue_for, desk.agent("boss"), now=desk.now + after, view=view, only=QueueFilter(**only))
    return [row.conversation_id for row in rows]


def test_what_is_snoozed_is_out_of_the_way_until_it_is_due_or_wakes(desk: Desk) -> None:
    awake, later, waiting, sooner = (handed_over(desk, sender) for sender in "abcd")
    wang = desk.agent("wang")
    for conversation, until in ((later, desk.now + 3 * HOUR), (waiting, None), (sooner, desk.now + HOUR)):
        desk.do(claim_conversation, conversation, wang, desk.now)
        desk.do(snooze_conversation, conversation, wang, desk.now, until)
    assert shown(desk, "all") == [awake]
    assert shown(desk, "snoozed") == [sooner, later, waiting]
    assert set(shown(desk, "due", 1 * MINUTE)) == {awake, later, waiting, sooner}, "no promise is out of sight"
    counts = desk.ask(queue_counts, wang, desk.now)
    assert counts.mine == (desk.conversation(awake).assignee_id == wang.id)
    assert (counts.all, counts.due, counts.snoozed) == (1, 4, 3)
    desk.do(wake_conversation, later, wang, desk.now + MINUTE)
    assert shown(desk, "snoozed") == [sooner, waiting]
    assert later in shown(desk, "all")
    assert {clock.state for clock in desk.all(SlaClock, SlaClock.promise == "resolution")} == {"running", "paused"}
    assert len(desk.all(AuditEntry, AuditEntry.action == "wake")) == 1


def test_only_the_owner_wakes_what_is_snoozed(sqlite_desk: Desk) -> None:
    conversation = handed_over(sqlite_desk, "a")
    wang, li = sqlite_desk.agent("wang"), sqlite_desk.agent("li")
    sqlite_desk.do(claim_conversation, conversation, wang, sqlite_desk.now)
    with pytest.raises(WrongState):
        sqlite_desk.do(wake_conversation, conversation, wang, sqlite_desk.now)
    sqlite_desk.do(snooze_conversation, conversation, wang, sqlite_desk.now)
    with pytest.raises(NotOwner):
        sqlite_desk.do(wake_conversation, conversation, li, sqlite_desk.now)
    assert sqlite_desk.conversation(conversation).status == "snoozed"


def test_a_filter_narrows_a_view(desk: Desk) -> None:
    asked, english = handed_over(desk, "a"), handed_over(desk, "b", "a person please")
    stuck = handed_over(desk, "c", reason="stuck")
    received = desk.write("有人受伤了", sender="d")
    desk.do(file_complaint, conversation_id=received.conversation.id, message_id=None, what="杯子太慢了", wish=None,
            now=desk.now)
    complaint = int(received.conversation.id)
    assert set(shown(desk, "all")) == {asked, english, stuck, complaint}
    assert shown(desk, "all", language="en") == [english]
    assert shown(desk, "all", reason="stuck") == [stuck]
    assert shown(desk, "all", grade="ordinary") == [complaint]
    assert shown(desk, "all", grade="ordinary", reason="stuck") == []
    team = desk.conversation(asked).team_id
    assert asked in shown(desk, "all", team_id=team) and shown(desk, "all", team_id=team + 100) == []
    unassigned = {row for row in (asked, english, stuck, complaint) if desk.conversation(row).assignee_id is None}
    assert set(shown(desk, "all", unassigned=True)) == unassigned


def test_a_thread_read_page_by_page_is_the_whole_thread(desk: Desk) -> None:
    first = desk.write("第 0 句")
    conversation = first.conversation.id
    for count in range(1, 10):
        desk.write(f"第 {count} 句", at=desk.now + count * MINUTE)
    desk.do(escalate_conversation, conversation_id=conversation, reason="asked", now=desk.now + 10 * MINUTE,
            message_id=first.message.id)
    whole = [(row.kind, row.id) for row in desk.ask(thread, conversation)]
    pages, before = [], None
    while True:
        page = desk.ask(thread_page, conversation, before=before, limit=4)
        pages = [(row.kind, row.id) for row in page.rows] + pages
        before = page.earlier
        if before is None:
            break
    assert pages == whole and len(whole) > 12
    assert desk.ask(thread_page, conversation, limit=100).earlier is None

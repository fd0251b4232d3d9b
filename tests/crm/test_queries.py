"""The queue, the thread, the log and notifications show what is there, in order, to those who may see it."""
from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from crm_store.queries.log import LogPage, escape_like, search_log
from crm_store.queries.notifications import mark_seen, notifications_for
from crm_store.queries.queue import QueueRow, queue_counts, queue_for
from crm_store.queries.thread import thread
from crm_store.services.complaints import file_complaint
from crm_store.services.handoff import (
    add_note,
    escalate_conversation,
    hand_back_conversation,
    reply_to_customer,
    resolve_conversation,
    take_over_conversation,
)
from crm_store.services.requests import record_request
from crm_store.services.sla import tick
from tests.crm.conftest import HOUR, MINUTE, Desk


def handed_over(desk: Desk, sender: str = "visitor", text: str = "转人工", *, minutes: int = 0, reason: str = "asked",
                anger: float | None = None) -> int:
    at = desk.now + minutes * MINUTE
    received = desk.write(text, sender=sender, at=at)
    desk.do(escalate_conversation, conversation_id=received.conversation.id, reason=reason, now=at, anger=anger,
            message_id=received.message.id)
    return int(received.conversation.id)


def complained(desk: Desk, sender: str, text: str = "太慢了", minutes: int = 0) -> int:
    received = desk.write(text, sender=sender, at=desk.now + minutes * MINUTE)
    desk.do(file_complaint, conversation_id=received.conversation.id, message_id=received.message.id, what=text,
            wish=None, now=desk.now + minutes * MINUTE)
    return int(received.conversation.id)


def queue(desk: Desk, login: str, after: timedelta = timedelta(0), **more: Any) -> list[QueueRow]:
    rows: list[QueueRow] = desk.ask(queue_for, desk.agent(login), now=desk.now + after, **more)
    return rows


def test_the_queue_is_ordered_by_the_next_due_time(desk: Desk) -> None:
    late = handed_over(desk, "a", minutes=20)
    complaint = complained(desk, "b")
    early = handed_over(desk, "c")
    received = desk.write("退货", sender="d")
    desk.do(record_request, conversation_id=received.conversation.id, message_id=received.message.id,
            request_type="return", order_id=None, detail="退货", now=desk.now)
    desk.write("just talking to the bot", sender="e")
    rows = queue(desk, "boss")
    assert [r.conversation_id for r in rows] == [early, late, complaint, received.conversation.id]
    assert [r.due_at and (r.due_at - desk.now) / MINUTE for r in rows] == [15, 35, 120, None]
    assert [r.kind for r in rows] == ["handoff", "handoff", "complaint", "request"]
    assert [r.conversation_id for r in queue(desk, "boss", limit=2)] == [early, late]


def test_a_row_tells_what_an_agent_wants_to_know(desk: Desk) -> None:
    desk.customer("lilei", tier="gold", name="李雷")
    conversation_id = handed_over(desk, "lilei", "退款\n拖了三周", reason="anger", anger=0.9)
    desk.answer(desk.turn(conversation_id), anger=0.9, valence="negative")
    (row,) = queue(desk, "wang", view="mine")
    assert (row.customer_name, row.tier, row.channel, row.language) == ("李雷", "gold", "web", "zh")
    assert (row.anger, row.valence, row.last_text, row.last_at) == (0.9, "negative", "退款 拖了三周", desk.now)
    assert (row.reason, row.promise, row.breached, row.assignee_name, row.status, row.version) == (
        "anger", "first_response", False, "Wang", "open", 2)
    assert row.ticket_number and row.ticket_number.startswith("C")
    assert queue(desk, "wang", 16 * MINUTE)[0].breached  # nobody has looked at the clock yet
    desk.do(tick, desk.now + 16 * MINUTE)
    assert queue(desk, "wang", 16 * MINUTE)[0].breached


def test_an_answered_conversation_is_ordered_by_what_is_due_next(desk: Desk) -> None:
    conversation_id = handed_over(desk)
    desk.do(reply_to_customer, conversation_id, desk.agent("wang"), "您好", desk.now)
    assert queue(desk, "wang")[0].promise == "resolution"
    desk.write("?", at=desk.now + MINUTE)
    assert queue(desk, "wang")[0].promise == "next_response"
    desk.do(resolve_conversation, conversation_id, desk.agent("wang"), desk.now + MINUTE)
    assert queue(desk, "wang") == []


def test_views_and_their_counts(desk: Desk) -> None:
    mine = handed_over(desk, "a")
    other = handed_over(desk, "b")
    complained(desk, "c")
    desk.do(take_over_conversation, other, desk.agent("chen"), desk.now)
    assert mine in [r.conversation_id for r in queue(desk, "wang", view="mine")]
    counts = desk.ask(queue_counts, desk.agent("boss"), desk.now)
    assert (counts.all, counts.mine, counts.due) == (3, 0, 2)
    assert len(queue(desk, "boss", view="due")) == 2
    chen = desk.agent("chen")
    assert [r.conversation_id for r in queue(desk, "chen", view="mine")] == [other]
    assert desk.ask(queue_counts, chen, desk.now).mine == 1


def test_the_queue_of_an_agent_hides_what_colleagues_have(desk: Desk) -> None:
    conversation_id = handed_over(desk)
    desk.do(take_over_conversation, conversation_id, desk.agent("chen"), desk.now)
    assert queue(desk, "li") == []
    assert desk.ask(queue_counts, desk.agent("li"), desk.now).all == 0
    assert len(queue(desk, "expert_lead")) == 1


def test_a_handed_back_conversation_leaves_the_queue(desk: Desk) -> None:
    conversation_id = handed_over(desk)
    desk.do(hand_back_conversation, conversation_id, desk.agent("wang"), desk.now)
    assert queue(desk, "boss") == []


def test_a_thread_has_messages_notes_and_sla_events_in_order(desk: Desk) -> None:
    received = desk.write("转人工")
    conversation_id = received.conversation.id
    turn = desk.turn(conversation_id)
    desk.do(escalate_conversation, conversation_id=conversation_id, reason="anger", now=desk.now,
            message_id=received.message.id, anger=0.9)
    desk.answer(turn, "too late", intent="request_human", anger=0.9)
    desk.do(add_note, conversation_id, desk.agent("wang"), "查过了", desk.now + 5 * MINUTE)
    desk.do(tick, desk.now + 9 * MINUTE)
    desk.do(reply_to_customer, conversation_id, desk.agent("wang"), "您好", desk.now + 10 * MINUTE)
    handed_over(desk, "another")
    rows = desk.ask(thread, conversation_id)
    assert [row.at for row in rows] == sorted(row.at for row in rows)
    told = [(row.kind, row.author or (row.data or {}).get("event") or (row.data or {}).get("reason")) for row in rows]
    assert told == [("message", "customer"), ("escalation", "anger"), ("note", "system"), ("message", "system"),
                    ("message", "bot"), ("note", "agent"), ("sla", "warned"), ("message", "agent"), ("sla", "met")]
    assert rows[0].intent == "request_human" and rows[0].anger == 0.9
    assert (rows[4].delivery_state, rows[4].dropped_reason) == ("dropped", "lost_ownership")
    assert rows[6].data and rows[6].data["percent"] == 50 and rows[7].agent_name == "Wang"


def log(desk: Desk, **filters: Any) -> list[int]:
    page: LogPage = desk.ask(search_log, **filters)
    assert page.total == len(page.rows)
    return [row.conversation_id for row in page.rows]


def test_the_log_is_filtered_by_everything_that_happened(desk: Desk) -> None:
    desk.customer("lilei", name="李雷")
    angry = handed_over(desk, "lilei", "退款拖了三周", reason="anger", anger=0.9)
    desk.answer(desk.turn(angry), intent="ask_refund_status", anger=0.9)
    complaint = complained(desk, "ann", "Parcel lost, I lost 600 yuan", minutes=1)
    quiet = int(desk.write("hello", sender="quiet", at=desk.now + 2 * MINUTE).conversation.id)
    desk.do(reply_to_customer, angry, desk.agent("wang"), "您好", desk.now + 20 * MINUTE)
    desk.do(resolve_conversation, angry, desk.agent("wang"), desk.now + 21 * MINUTE)
    desk.write("5", sender="lilei", payload='/rate{"score": 5}', at=desk.now + 22 * MINUTE)

    assert log(desk) == [angry, quiet, complaint]
    for filters, expected in (
        ({"words": "退款"}, [angry]), ({"words": "PARCEL 600"}, [complaint]), ({"words": "parcel 三周"}, []),
        ({"words": "李雷"}, [angry]), ({"words": "wlc00001"}, [angry]), ({"channel": "web"}, [angry, quiet, complaint]),
        ({"channel": "http"}, []), ({"intent": "ask_refund_status"}, [angry]), ({"anger_at_least": 0.9}, [angry]),
        ({"anger_at_least": 0.91}, []), ({"reason": "anger"}, [angry]), ({"reason": "stuck"}, []),
        ({"agent_id": desk.agent("wang").id}, [angry]), ({"agent_id": desk.agent("chen").id}, [complaint]),
        ({"grade": "complex"}, [complaint]), ({"breached": True}, [angry]), ({"breached": False}, [quiet, complaint]),
        ({"rating": 5}, [angry]), ({"rating": 1}, []), ({"since": desk.now + 2 * MINUTE}, [angry, quiet]),
        ({"until": desk.now + 2 * MINUTE}, [angry, complaint]),
        ({"words": "退款", "rating": 5, "breached": True}, [angry]),
    ):
        assert log(desk, **filters) == expected, filters

    (row,) = desk.ask(search_log, words="三周").rows
    assert (row.customer_name, row.assignee_name, row.reasons, row.breached, row.rating) == (
        "李雷", "Wang", ("anger",), True, 5)
    assert "退款拖了三周" in row.excerpt  # of the note, the newest that holds the word
    assert desk.ask(search_log, words="李雷").rows[0].excerpt.startswith("最后一个问题")
    assert row.messages > 3 and len(row.tickets) == 1


@pytest.mark.parametrize(("words", "finds"), [
    ("100%", ["100% sure", "100_ sure", "100\\ sure", "1000 sure"]), ("1000%", ["1000 sure"]), ("10_0", []), ("%", []),
    ("_", []), ("\\", []), ("' OR '1'='1", []), ("SURE", ["100% sure", "100_ sure", "100\\ sure", "1000 sure"]),
    ("\x00", ["100% sure", "100_ sure", "100\\ sure", "1000 sure"]), ("\ud800", []), (")", []),
])
def test_words_mean_themselves(desk: Desk, words: str, finds: list[str]) -> None:
    texts = ["100% sure", "100_ sure", "100\\ sure", "1000 sure"]
    ids = {desk.write(text, sender=str(n)).conversation.id: text for n, text in enumerate(texts)}
    assert {ids[found] for found in log(desk, words=words)} == set(finds)


def test_escaping() -> None:
    assert escape_like("50%_\\") == "50\\%\\_\\\\"


def test_pages(desk: Desk) -> None:
    for number in range(5):
        desk.write(sender=f"visitor {number}")
    pages = [desk.ask(search_log, page=page, per_page=2) for page in (1, 2, 3, 4)]
    assert [len(page.rows) for page in pages] == [2, 2, 1, 0]
    assert len({row.conversation_id for page in pages for row in page.rows}) == 5
    assert {(page.total, page.pages) for page in pages} == {(5, 3)}
    odd = desk.ask(search_log, page=-1, per_page=10**9)
    assert (odd.page, odd.per_page, len(odd.rows)) == (1, 200, 5)
    nothing = desk.ask(search_log, words="nothing of the kind")
    assert (nothing.rows, nothing.total, nothing.pages) == ((), 0, 1)


def test_notifications_are_shown_until_seen_by_their_own_agent(desk: Desk) -> None:
    handed_over(desk, "a")
    handed_over(desk, "b", minutes=1)
    wang, li = desk.agent("wang").id, desk.agent("li").id
    (for_wang,) = desk.ask(notifications_for, wang)
    assert for_wang.kind == "assigned"
    desk.do(mark_seen, li, [for_wang.id], desk.now)
    assert len(desk.ask(notifications_for, wang)) == 1
    desk.do(mark_seen, wang, [for_wang.id], desk.now)
    desk.do(mark_seen, wang, [for_wang.id], desk.now + HOUR)
    assert desk.ask(notifications_for, wang) == []
    (seen,) = desk.ask(notifications_for, wang, unseen_only=False)
    assert seen.seen_at == desk.now
    assert desk.ask(notifications_for, wang, unseen_only=False, after_id=seen.id) == []


def test_the_queue_costs_the_same_few_statements_however_long_it_is(sqlite_desk: Desk) -> None:
    for number in range(12):
        handed_over(sqlite_desk, f"visitor {number}")
    seen: list[str] = []

    @sa.event.listens_for(sqlite_desk.store.engine, "before_cursor_execute")
    def note(_connection: object, _cursor: object, statement: str, *_rest: object) -> None:
        seen.append(statement)

    boss = sqlite_desk.agent("boss")
    seen.clear()
    assert len(queue(sqlite_desk, "boss")) == 12
    assert len([s for s in seen if s.startswith("SELECT")]) <= 2  # one of them reads the agent
    seen.clear()
    sqlite_desk.ask(queue_counts, boss, sqlite_desk.now)
    assert len([s for s in seen if s.startswith("SELECT")]) == 1
    seen.clear()
    assert len(sqlite_desk.ask(search_log).rows) == 12
    assert len([s for s in seen if s.startswith("SELECT")]) <= 7

"""Cases: drawn from conversations as they move on, without personal data, and found by those who may see them."""
from __future__ import annotations

from datetime import datetime
from typing import Any

import numpy as np
import pytest

from crm_store.models import Case, Customer
from crm_store.queries.cases import CASES_TO_CENTRE, likeness, similar_solved_cases
from crm_store.rules.text import weight
from crm_store.services.cases import (
    CaseDraft,
    conversations_to_draw,
    draw_case,
    forget_cases,
    latest_change,
    store_cases,
)
from crm_store.services.complaints import file_complaint
from crm_store.services.handoff import (
    add_note,
    claim_conversation,
    escalate_conversation,
    hand_back_conversation,
    reply_to_customer,
    resolve_conversation,
)
from tests.crm.conftest import MINUTE, Desk

ENCODER = "0123456789abcdef"
SOLUTION = "已和仓库核实，是我们发错了尺寸，今天下午补发顺丰，运费我们承担。"


def says(desk: Desk, sender: str, text: str, intent: str = "ask_refund_status", **more: Any) -> int:
    """A customer writes and it is read; while the bot has the conversation it answers."""
    desk.now += MINUTE
    conversation_id = int(desk.write(text, sender=sender, **more).conversation.id)
    desk.answer(desk.turn(conversation_id), "好的。", intent=intent)
    return conversation_id


def with_human(desk: Desk, sender: str, *texts: str, login: str = "wang", **more: Any) -> int:
    """A conversation that an agent has."""
    for text in texts:
        conversation_id = says(desk, sender, text, **more)
    desk.do(escalate_conversation, conversation_id=conversation_id, reason="asked", now=desk.now)
    desk.do(claim_conversation, conversation_id, desk.agent(login), desk.now)
    return conversation_id


def reply(desk: Desk, conversation_id: int, *texts: str, login: str = "wang") -> None:
    for text in texts:
        desk.now += MINUTE
        desk.do(reply_to_customer, conversation_id, desk.agent(login), text, desk.now)


def resolve(desk: Desk, conversation_id: int, login: str = "wang", cause: str = "solved") -> None:
    desk.now += MINUTE
    desk.do(resolve_conversation, conversation_id, desk.agent(login), desk.now, cause)


def solved(desk: Desk, sender: str, *texts: str, login: str = "wang", cause: str = "solved", **more: Any) -> int:
    conversation_id = with_human(desk, sender, *texts, login=login, **more)
    reply(desk, conversation_id, SOLUTION, login=login)
    resolve(desk, conversation_id, login, cause)
    return conversation_id


def waiting(desk: Desk, encoder: str = ENCODER, limit: int = 100, since: datetime | None = None) -> list[int]:
    found: list[int] = desk.ask(conversations_to_draw, encoder, limit, since)
    return found


def drawn(desk: Desk, conversation_id: int) -> CaseDraft:
    draft: CaseDraft = desk.ask(draw_case, conversation_id)
    return draft


def read(desk: Desk, encoder: str = ENCODER, **vectors: list[float]) -> None:
    """A pretended encoder reads what waits: a vector for each matter that begins with a word, else another one."""
    drafts = [drawn(desk, each) for each in waiting(desk, encoder)]
    found = [next((np.array(vector) for word, vector in vectors.items() if draft.matter.startswith(word)),
                  np.array([0.0, 0.0, 1.0])) for draft in drafts]
    desk.do(store_cases, drafts, found, encoder)


def alike(desk: Desk, conversation_id: int, login: str = "boss", **more: Any) -> list[int]:
    found = desk.ask(similar_solved_cases, desk.agent(login), conversation_id, **more)
    return [case.conversation_id for case in found]


def test_a_case_tells_what_the_customer_wanted_and_how_it_was_solved(desk: Desk) -> None:
    conversation_id = with_human(desk, "a", "被套尺寸发错了")
    says(desk, "a", "等了一周了", "file_complaint")
    says(desk, "a", "谢谢", "thank")
    assert drawn(desk, conversation_id) == CaseDraft(
        conversation_id, "zh", "被套尺寸发错了 等了一周了", None, None, desk.now, None)
    reply(desk, conversation_id, "您好，我是王敏，我先看一下您的订单和之前的记录，请稍等。", SOLUTION, "不客气！")
    desk.do(add_note, conversation_id, desk.agent("wang"), "仓库拣货错误", desk.now)
    heard = desk.conversation(conversation_id).last_customer_message_at
    resolve(desk, conversation_id, cause="compensated")
    told = drawn(desk, conversation_id)
    assert told.solution == f"{SOLUTION}\n仓库拣货错误"
    assert (told.cause, told.heard_at, told.solved_at) == ("compensated", heard, desk.now)


def test_a_short_solution_is_better_than_none(desk: Desk) -> None:
    conversation_id = with_human(desk, "a", "发票呢")
    reply(desk, conversation_id, "您好", "已开好发您邮箱")
    resolve(desk, conversation_id)
    assert drawn(desk, conversation_id).solution == "已开好发您邮箱"


@pytest.mark.parametrize("cause", ["spam", "no_answer", "not_ours"])
def test_what_was_closed_without_help_is_no_solution(sqlite_desk: Desk, cause: str) -> None:
    conversation_id = solved(sqlite_desk, "a", "加微信领红包", cause=cause)
    assert drawn(sqlite_desk, conversation_id).solution is None


def test_a_complaint_is_told_in_its_own_words(desk: Desk) -> None:
    conversation_id = says(desk, "a", "你们管不管")
    message = desk.write("水壶漏电", sender="a").message
    desk.answer(desk.turn(conversation_id), "好的。", intent="file_complaint")
    desk.do(file_complaint, conversation_id=conversation_id, message_id=message.id, what="水壶漏电，手麻了半天",
            wish="退款", order_number=None, loss_fen=None, now=desk.now)
    desk.do(escalate_conversation, conversation_id=conversation_id, reason="asked", now=desk.now)
    assert drawn(desk, conversation_id).matter == "水壶漏电，手麻了半天"
    reply(desk, conversation_id, SOLUTION)
    resolve(desk, conversation_id)
    assert drawn(desk, conversation_id).matter == "水壶漏电，手麻了半天"


def test_where_all_was_small_talk_the_last_of_it_is_told(sqlite_desk: Desk) -> None:
    conversation_id = with_human(sqlite_desk, "a", "你好", "转人工", intent="request_human")
    assert drawn(sqlite_desk, conversation_id).matter == "转人工"


def test_personal_data_is_masked_in_both_texts(desk: Desk) -> None:
    conversation_id = with_human(desk, "a", "我电话 13812345678，寄到文三路 18 号 3 单元")
    reply(desk, conversation_id, f"已改寄，会联系 13812345678 或 lilei@example.com。{SOLUTION}")
    resolve(desk, conversation_id)
    read(desk)
    (case,) = desk.all(Case)
    for text in (case.matter, case.solution):
        assert "12345678" not in text and "lilei" not in text and "文三路 18 号" not in text


def test_what_moved_on_is_drawn_again_and_nothing_else(desk: Desk) -> None:
    assert waiting(desk) == [] and desk.ask(latest_change) is None
    with_bot = says(desk, "b", "几点开门")
    conversation_id = with_human(desk, "a", "退款没到")
    assert waiting(desk) == [conversation_id]
    read(desk)
    assert waiting(desk) == [] and waiting(desk, "another") == [conversation_id]
    desk.now += MINUTE
    desk.write("还没到", sender="a")
    assert waiting(desk) == []  # what it means is not known yet
    desk.answer(desk.turn(conversation_id), intent="ask_refund_status")
    assert waiting(desk) == [conversation_id]
    read(desk)
    reply(desk, conversation_id, SOLUTION)
    assert waiting(desk) == []
    resolve(desk, conversation_id)
    assert waiting(desk) == [conversation_id]
    read(desk)
    reply(desk, with_human(desk, "b", "还是没开"), SOLUTION)
    assert waiting(desk) == [with_bot]
    (case,) = desk.all(Case)
    assert case.matter == "退款没到 还没到" and case.solution == SOLUTION


def test_one_that_is_open_again_is_no_longer_solved(desk: Desk) -> None:
    conversation_id = solved(desk, "a", "退款没到")
    read(desk)
    assert with_human(desk, "a", "退款又没到") == conversation_id
    read(desk)
    (case,) = desk.all(Case)
    assert (case.solution, case.solved_at) == (None, None)
    assert case.matter == "退款没到 退款又没到"


def test_given_back_to_the_bot_it_stays_as_it_was(desk: Desk) -> None:
    conversation_id = with_human(desk, "a", "退款没到")
    desk.do(hand_back_conversation, conversation_id, desk.agent("wang"), desk.now)
    assert waiting(desk) == []


def test_the_newest_come_first_and_old_ones_can_be_left_out(desk: Desk) -> None:
    first, second = (with_human(desk, sender, "退款没到") for sender in ("a", "b"))
    assert waiting(desk) == [second, first] and waiting(desk, limit=1) == [second]
    assert desk.ask(latest_change) == desk.now
    assert waiting(desk, since=desk.now) == [second] and waiting(desk, since=desk.now + MINUTE) == []


def test_a_later_case_is_not_replaced_by_an_earlier_one(desk: Desk) -> None:
    conversation_id = with_human(desk, "a", "退款没到")
    early = drawn(desk, conversation_id)
    says(desk, "a", "等了三周")
    late = drawn(desk, conversation_id)
    vector = np.array([1.0, 0.0, 0.0])
    for draft in (late, early):
        desk.do(store_cases, [draft], [vector], ENCODER)
    (case,) = desk.all(Case)
    assert case.matter == "退款没到 等了三周"


def test_two_who_draw_at_once_make_one_case(desk: Desk) -> None:
    conversations = [with_human(desk, f"a{number}", "退款没到") for number in range(3)]
    drafts = [drawn(desk, each) for each in conversations]
    vectors = [np.array([1.0, 0.0, 0.0])] * 3
    done = desk.at_once([lambda: desk.do(store_cases, drafts, vectors, ENCODER),
                         lambda: desk.do(store_cases, drafts[::-1], vectors, ENCODER)] * 3)
    assert [each for each in done if each is not None] == []
    assert len(desk.all(Case)) == 3


def test_the_nearest_solved_ones_are_found(desk: Desk) -> None:
    near, nearer, far = (solved(desk, sender, text) for sender, text in (
        ("a", "near 退款没到"), ("b", "nearer 退款没到"), ("c", "far 怎么退货")))
    unsolved = with_human(desk, "d", "nearer 退款")
    here = with_human(desk, "e", "here 退款到哪了")
    vectors = {"nearer": [0.9, 0.1, 0.0], "near": [0.7, 0.7, 0.0], "here": [1.0, 0.0, 0.0], "far": [0.0, 1.0, 0.0]}
    assert alike(desk, here) == []
    read(desk, **vectors)
    assert alike(desk, here) == [nearer, near]
    assert alike(desk, here, limit=1) == [nearer]
    assert far not in alike(desk, here) and unsolved not in alike(desk, here)
    found = desk.ask(similar_solved_cases, desk.agent("boss"), here)[0]
    assert (found.matter, found.solution, found.cause) == ("nearer 退款没到", SOLUTION, "solved")
    assert found.solved_at == desk.conversation(nearer).resolved_at


def test_only_cases_of_the_same_encoder_are_compared(desk: Desk) -> None:
    solved(desk, "a", "退款没到")
    read(desk, "an older one")
    here = with_human(desk, "b", "退款")
    desk.do(store_cases, [drawn(desk, here)], [np.array([1.0, 0.0, 0.0])], ENCODER)
    assert alike(desk, here) == []


def test_nobody_finds_what_they_may_not_see(desk: Desk) -> None:
    wangs = solved(desk, "a", "same 退款没到", login="wang")
    chens = solved(desk, "b", "same 退款没到", login="chen")
    here = with_human(desk, "c", "same 退款", login="wang")
    read(desk, same=[1.0, 0.0, 0.0])
    assert alike(desk, here, "wang") == [wangs]
    assert set(alike(desk, here, "boss")) == {wangs, chens}


def test_an_erased_customer_leaves_no_case(desk: Desk) -> None:
    customer = desk.customer("a")
    theirs, others = solved(desk, "a", "same 退款没到"), solved(desk, "b", "same 退款没到")
    here = with_human(desk, "c", "same 退款")
    read(desk, same=[1.0, 0.0, 0.0])
    assert set(alike(desk, here)) == {theirs, others}

    def erase(session: Any) -> None:
        session.get(Customer, customer).erased_at = desk.now

    desk.do(erase)
    assert alike(desk, here) == [others]
    desk.do(forget_cases, customer)
    assert {case.conversation_id for case in desk.all(Case)} == {others, here}
    assert waiting(desk) == []


def test_texts_are_compared_from_the_middle_of_their_language() -> None:
    rng = np.random.default_rng(1)
    many = CASES_TO_CENTRE * 4
    meanings = rng.normal(size=(many, 8)).astype(np.float32)
    tongues = np.zeros((2, 8), np.float32)
    tongues[0, 0] = tongues[1, 1] = 20
    languages = ["zh", "en"] * (many // 2)
    vectors = meanings + tongues[[0, 1] * (many // 2)]
    vectors[1] = vectors[0] - tongues[0] + tongues[1]  # the same in the other language
    assert int(np.argmax(likeness(vectors, languages))) == 0
    assert likeness(vectors[:2], ["zh", "en"])[0] < 0.2  # too few to know the middle


def test_a_text_of_zeros_is_like_nothing() -> None:
    assert likeness(np.array([[0, 0], [1, 0]], np.float32), ["zh", "zh"]).tolist() == [0.0]


def test_a_chinese_sign_weighs_two() -> None:
    assert (weight("ok"), weight("好的ok"), weight("")) == (2, 6, 0)

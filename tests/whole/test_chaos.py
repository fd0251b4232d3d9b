"""Nothing is lost, repeated or out of order while Telegram and the processes fail; and the proof would notice.

The same with 2,000 messages, every process killed and PostgreSQL restarted: ``python -m bench.chaos``.
"""
from __future__ import annotations

import random
import threading
import time
from collections.abc import Sequence
from dataclasses import replace

import pytest

from bench.chaos.customers import Customers
from bench.chaos.faults import QUICK_KINDS, Chance
from bench.chaos.telegram import ServedDouble
from bench.chaos.verdict import Chat, Incoming, Outgoing, Taken, Witness, judge, read_chats, unsettled
from tests.whole.conftest import TELEGRAM_BOT, Whole

SETTLED_WITHIN = 240.0


@pytest.mark.processes
def test_customers_on_telegram_are_answered_once_and_in_order_while_things_break(whole: Whole,
                                                                                  telegram: ServedDouble) -> None:
    whole.wait_ready()
    chance = Chance(0.2, random.Random(56), QUICK_KINDS)
    customers = Customers(telegram.double, TELEGRAM_BOT, 8, 4, random.Random(57), first_chat=560_001)
    broken: list[tuple[str, float]] = []

    def chats() -> list[Chat]:
        taken = telegram.taken(TELEGRAM_BOT)
        return list(read_chats(whole.store, TELEGRAM_BOT, list(customers.said_at), taken).values())

    telegram.double.chance = chance
    writing = threading.Thread(target=customers.run, daemon=True)
    writing.start()
    try:
        wait_for(lambda: len(customers.said_at) >= 8)
        whole.kill("actions")
        wait_for(lambda: len(customers.said_at) >= 16)
        broken.append(("telegram", time.time()))
        telegram.stop()
        telegram.start()
        writing.join(SETTLED_WITHIN)
        assert len(customers.said_at) == customers.total
        wait_for(lambda: not unsettled(chats()))
    finally:
        customers.stopping.set()
        telegram.double.chance = lambda method: None
    verdict = judge(chats(), Witness(chance.taken_unsaid(), broken), customers.said_at)
    assert verdict.violations == []
    assert verdict.counts["messages said"] == 32 and verdict.counts["delivered"] >= 24
    assert sum(chance.counts.values()) > 0


def wait_for(condition: object) -> None:
    """Wait until something is so."""
    assert callable(condition)
    deadline = time.monotonic() + SETTLED_WITHIN
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.2)


def chat(*, taken: Sequence[int] = (2, 4), outgoing: Sequence[Outgoing] = (), stored: Sequence[int] = (1, 3)) -> Chat:
    """Two questions with an answer each; Telegram's ids of what it took are the numbers in its texts."""
    said = outgoing or (Outgoing(11, 10, "answer 2", "delivered", None, (2,)),
                        Outgoing(13, 12, "answer 4", "delivered", None, (4,)))
    incoming = [Incoming(10 + 2 * index, message_id, True) for index, message_id in enumerate(stored)]
    return Chat(7, [1, 3], incoming, list(said), [Taken(each, f"answer {each}", 100.0 + each) for each in taken])


FIRST, SECOND = chat().outgoing
DOUBT = Witness({(7, 1): "reset after"})
TWICE = [Taken(1, "answer 2", 101.0), Taken(2, "answer 2", 109.0), Taken(4, "answer 4", 110.0)]


def test_the_proof_accepts_what_is_right() -> None:
    verdict = judge([chat()], Witness(), {(7, 1): 101.0, (7, 3): 103.5})
    assert verdict.violations == [] and verdict.waits == [1.0, 0.5] and not verdict.doubled
    assert verdict.counts["answered once by the bot"] == verdict.counts["delivered"] == 2


@pytest.mark.parametrize(("wrong", "words"), [
    (chat(taken=(4,)), "Telegram never took it"), (chat(taken=(4, 2)), "out of order"),
    (chat(stored=(1,)), "stored"), (chat(stored=(3, 1)), "stored"), (chat(stored=(1, 1, 3)), "stored"),
    (chat(outgoing=(FIRST, SECOND, replace(SECOND, id=14, taken=(4,)))), "twice"),
    (chat(outgoing=(FIRST,)), "no answer"),
    (chat(outgoing=(FIRST, replace(SECOND, state="queued", taken=()))), "stuck"),
    (chat(outgoing=(FIRST, replace(SECOND, state="failed", reason="refused", taken=()))), "given up: refused"),
    (replace(chat(), taken=TWICE), "nobody knows why"),
    (replace(chat(), incoming=[Incoming(10, 1, False), Incoming(12, 3, True)]), "stuck before the bot"),
])
def test_the_proof_finds_what_is_wrong(wrong: Chat, words: str) -> None:
    assert any(words in each for each in judge([wrong], Witness(), {}).violations)


def test_the_proof_counts_what_is_doubled_for_a_reason() -> None:
    verdict = judge([replace(chat(), taken=TWICE)], DOUBT, {})
    assert verdict.violations == [] and dict(verdict.doubled) == {"reset after": 1}
    killed = judge([replace(chat(), taken=TWICE)], Witness(broken=[("service", 101.5)]), {})
    assert killed.violations == [] and dict(killed.doubled) == {"service killed": 1}
    assert judge([replace(chat(), taken=TWICE)], Witness(broken=[("service", 108.0), ("bot", 101.5)]), {}).violations


def test_the_proof_tells_what_was_given_up() -> None:
    lost = replace(FIRST, state="failed", reason="unknown", taken=())
    arrived = replace(chat(outgoing=(lost, SECOND)), taken=[TWICE[0], TWICE[2]])
    verdict = judge([arrived], DOUBT, {})
    assert verdict.violations == [] and verdict.never_arrived == [] and not verdict.doubled
    assert verdict.counts["given up visibly though it had arrived"] == 1
    assert judge([chat(outgoing=(lost, SECOND), taken=(4,))], DOUBT, {}).never_arrived == [11]
    assert unsettled([replace(arrived, outgoing=[replace(lost, state="queued"), SECOND])]) == 1

"""Any process may be killed at any time: every message is answered exactly once in the end."""
from __future__ import annotations

import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import psutil
import pytest
from sqlalchemy import func, select

from crm_store.models import ChannelIdentity, Message
from tests.whole.conftest import HTTP_TOKEN, Whole
from warmline.processes import NICE

pytestmark = pytest.mark.processes
CUSTOMERS, EACH = 20, 10
TEXTS = ("你好", "怎么退货", "what are your opening hours", "羊毛毯可以机洗吗", "积分怎么算的", "谢谢",
         "how long is the warranty", "可以用花呗付款吗", "what can you do", "送到西藏要几天")


@pytest.mark.parametrize("victim", ["bot", "actions", "service"])
def test_every_message_is_answered_once_though_a_process_is_killed(whole: Whole, victim: str) -> None:
    whole.wait_ready()
    run = f"kill-{victim}-{time.monotonic_ns()}"
    sent = threading.Semaphore(0)
    answers: dict[tuple[int, int], dict[str, Any]] = {}

    def customer(number: int) -> None:
        with httpx.Client(timeout=30, headers={"Authorization": f"Bearer {HTTP_TOKEN}"}) as client:
            for turn in range(EACH):
                body = {"sender": f"{run}-{number}", "message_id": f"{run}-{number}-{turn}",
                        "text": TEXTS[(number + turn) % len(TEXTS)]}
                sent.release()
                deadline = time.monotonic() + 240
                while True:  # what an app does: the same message again until it is answered
                    try:
                        answer = client.post(f"{whole.base}/api/channels/http/messages", json=body)
                        if answer.status_code == 200:
                            answers[number, turn] = answer.json()
                            break
                        assert answer.status_code == 202, answer.text
                    except httpx.TransportError:
                        pass
                    assert time.monotonic() < deadline, f"{body} was never answered"
                    time.sleep(0.5)

    with ThreadPoolExecutor(CUSTOMERS) as pool:
        futures = [pool.submit(customer, number) for number in range(CUSTOMERS)]
        for _ in range(60):  # in the middle of it
            sent.acquire()
        whole.kill(victim)
        for future in futures:
            future.result()

    assert len(answers) == CUSTOMERS * EACH
    assert all(answer["replies"] for answer in answers.values())
    with whole.store.read() as session:
        incoming = session.execute(
            select(Message).join(ChannelIdentity, Message.identity_id == ChannelIdentity.id)
            .where(ChannelIdentity.external_id.like(f"{run}-%"), Message.direction == "incoming")).scalars().all()
        assert len(incoming) == CUSTOMERS * EACH
        assert all(message.handled_at is not None for message in incoming)
        for message in incoming:
            said = session.execute(
                select(Message.text).where(Message.in_reply_to_id == message.id,
                                           Message.delivery_state != "dropped")).scalars().all()
            number, turn = (int(part) for part in message.channel_message_id.rsplit("-", 2)[1:])
            assert sorted(said) == sorted(reply["text"] for reply in answers[number, turn]["replies"])
            assert len(set(said)) == len(said)  # the answer a second time would repeat its words
        by_sender: dict[int, list[str]] = {}
        for message in sorted(incoming, key=lambda m: m.id):
            by_sender.setdefault(message.identity_id, []).append(message.channel_message_id)
        assert all(ids == sorted(ids, key=lambda i: int(i.rsplit("-", 1)[1])) for ids in by_sender.values())
        failed = session.execute(
            select(func.count()).select_from(Message)
            .where(Message.conversation_id.in_({m.conversation_id for m in incoming}),
                   Message.delivery_state == "failed")).scalar_one()
        assert failed == 0
    whole.wait_ready()


def test_who_acknowledges_goes_before_who_thinks(whole: Whole) -> None:
    whole.wait_ready()
    pids = {name: whole.pid_of(name) for name in ("service", "bot", "actions")}
    ours = psutil.Process().nice()
    assert {name: psutil.Process(pid).nice() - ours for name, pid in pids.items()} == {
        "service": 0, "bot": NICE, "actions": NICE}
    sessions = {os.getsid(pid) for pid in (whole.process.pid, *pids.values())}
    assert len(sessions) == 1, "their niceness must count among them, and not against other programs"

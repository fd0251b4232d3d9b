"""Grown by settings alone: PostgreSQL, Redis, and two workers of the dialogue engine."""
from __future__ import annotations

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import psutil
import pytest

from tests.conftest import create_database
from tests.whole.conftest import Whole, running

pytestmark = pytest.mark.processes
CUSTOMERS, EACH = 8, 6
TEXTS = ("你好", "怎么退货", "what are your opening hours", "羊毛毯可以机洗吗", "积分怎么算的", "can i pay with paypal")


@pytest.fixture(scope="module")
def grown(tmp_path_factory: pytest.TempPathFactory, postgres_url: str, redis_url: str) -> Iterator[Whole]:
    """Warmline with everything a larger shop sets."""
    with running(tmp_path_factory.mktemp("grown"), create_database(postgres_url, "grown"),
                 WARMLINE_REDIS_URL=redis_url, WARMLINE_BOT_WORKERS="2") as started:
        yield started


def test_two_workers_answer_many_customers_each_in_order(grown: Whole) -> None:
    bot = psutil.Process(grown.pid_of("bot"))
    assert len(bot.children()) >= 2

    def customer(number: int) -> list[int]:
        ids: list[int] = []
        for turn in range(EACH):
            answer = grown.say(f"many-{number}", TEXTS[(number + turn) % len(TEXTS)])
            assert answer["owner"] == "bot" and answer["replies"]
            ids += [reply["id"] for reply in answer["replies"]]
        return ids

    with ThreadPoolExecutor(CUSTOMERS) as pool:
        for ids in pool.map(customer, range(CUSTOMERS)):
            assert ids == sorted(set(ids))


def test_a_form_goes_on_whichever_worker_answers_and_anger_reaches_a_human(grown: Whole, sender: str) -> None:
    grown.link(sender, "WLC00001")
    grown.say(sender, "我要投诉")
    grown.say(sender, "加湿器用了两天就不出雾了")
    grown.say(sender, "第一个")
    filed = grown.told(sender, "换货")
    assert re.search(r"C\d{4,}", filed), filed
    angry = grown.say(sender, "你们就是骗子！今天不解决我就去12315举报你们！")
    assert angry["owner"] == "human"
    with grown.desk("manager") as manager:
        rows = manager.get("/api/queue").json()["conversations"]
        assert any(row["conversation_id"] == angry["conversation_id"] and row["reason"] == "anger" for row in rows)

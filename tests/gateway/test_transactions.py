"""Whose unit of work goes first."""
from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy.orm import Session

from crm_store.database import Store
from gateway.transactions import Transactions

pytestmark = pytest.mark.anyio


@pytest.fixture
def transactions(tmp_path: Path) -> Iterator[Transactions]:
    store = Store(f"sqlite:///{tmp_path}/transactions.db")
    opened = Transactions(store)
    yield opened
    opened.close()
    store.close()


async def hold(transactions: Transactions) -> tuple[asyncio.Task[None], threading.Event]:
    """A unit of work that is under way until the event is set."""
    begun, held = threading.Event(), threading.Event()

    def work(_: Session) -> None:
        begun.set()
        held.wait(10)

    task = asyncio.create_task(transactions.write(work))
    await asyncio.to_thread(begun.wait, 10)
    return task, held


async def test_who_waits_for_an_acknowledgement_goes_first_and_the_others_keep_their_order(
        transactions: Transactions) -> None:
    done = list[str]()
    first, held = await hold(transactions)
    rest = [asyncio.create_task(transactions.write(lambda _, name=name: done.append(name), urgent="ack" in name))
            for name in ("turn 1", "turn 2", "ack 1", "turn 3", "ack 2")]
    await asyncio.sleep(0)
    held.set()
    await asyncio.gather(first, *rest)
    assert done == ["ack 1", "ack 2", "turn 1", "turn 2", "turn 3"]


async def test_what_fails_is_told_to_whoever_waits_and_to_nobody_else(transactions: Transactions) -> None:
    def fail(_: Session) -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        await transactions.write(fail, urgent=True)
    assert await transactions.write(lambda _: 7) == 7


async def test_work_whose_caller_left_before_it_began_is_not_done(transactions: Transactions) -> None:
    done = list[int]()
    first, held = await hold(transactions)
    left = asyncio.create_task(transactions.write(lambda _: done.append(1)))
    await asyncio.sleep(0)
    left.cancel()
    await asyncio.gather(left, return_exceptions=True)
    held.set()
    await first
    await transactions.write(lambda _: done.append(2))
    assert done == [2]

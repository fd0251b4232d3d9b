"""Many at once, and processes that are killed: nothing is spent twice, nothing is lost, no ledger goes wrong."""
from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from crm_store.errors import CrmError, InsufficientPoints, OutOfStock
from crm_store.models import PointsEntry, Redemption, Reward
from crm_store.services.nightly import run_nightly
from crm_store.services.redemptions import cancel_redemption, use_code
from tests.crm.conftest import Desk
from tests.crm.loyalty import Loyalty, outcomes

ROOT = Path(__file__).resolve().parents[2]
SPENDERS = 32
WISHES, KILLS = 24, 3
CHILD = """
import sys
from datetime import datetime
from crm_store.database import Store
from crm_store.services.points import redeem_reward

url, customer, reward, wishes, now = sys.argv[1:]
store = Store(url)
for wish in range(int(wishes)):
    with store.write() as session:
        redemption = redeem_reward(session, customer_id=int(customer), reward_id=int(reward),
                                   idempotency_key=f"wish-{wish}", now=datetime.fromisoformat(now))
        print(f"spending {wish}", flush=True)
    print(f"spent {wish} {redemption.code}", flush=True)
"""


@pytest.fixture
def shop(desk: Desk) -> Loyalty:
    return Loyalty(desk)


def test_spending_cancelling_using_and_the_nightly_job_all_at_once(shop: Loyalty) -> None:
    customer = shop.customer()
    rewards = [shop.reward(cost=100, stock=6) for _ in range(3)]
    for _ in range(3):
        shop.grant(customer, 300)
    held = [shop.redeem(customer, rewards[0]).code for _ in range(2)]
    works: list[Callable[[], Any]] = []
    for number in range(SPENDERS // 4):
        works += [
            partial(shop.redeem, customer, rewards[number % 3], f"wish-{number % 12}"),
            partial(shop.redeem, customer, rewards[number % 3], f"other-{number}"),
            partial(shop.do, (cancel_redemption, use_code)[number % 2], customer_id=customer,
                    code=held[number // 2 % 2], now=shop.now),
            lambda: run_nightly(shop.store, lambda: shop.now, again=True)]
    results = shop.desk.at_once(works)
    wrong = [result for result in results if isinstance(result, Exception) and not isinstance(
        result, (InsufficientPoints, OutOfStock))]
    assert wrong == []
    shop.check_ledger(customer)
    redemptions = shop.all(Redemption)
    kept = [redemption for redemption in redemptions if redemption.cancelled_at is None]
    assert not [each for each in redemptions if each.cancelled_at and each.used_at], "a code was cancelled and used"
    assert shop.balance(customer) == 900 - 100 * len(kept) >= 0
    assert sum(reward.stock for reward in shop.all(Reward)) == 18 - len(kept)


def test_one_code_is_used_once_however_many_try(shop: Loyalty) -> None:
    customer, reward = shop.customer(), shop.reward(cost=100)
    shop.grant(customer, 100)
    code = shop.redeem(customer, reward).code
    results = shop.desk.at_once(
        [lambda: shop.do(use_code, customer_id=customer, code=code, now=shop.now)] * SPENDERS)
    assert outcomes(results, lambda result: result.problem is None) == 1
    assert outcomes(results, lambda result: result.problem == "used") == SPENDERS - 1
    assert shop.audit("refuse_code") == [{"problem": "used"}] * (SPENDERS - 1)


def test_a_code_cancelled_by_many_gives_its_points_back_once(shop: Loyalty) -> None:
    customer, reward = shop.customer(), shop.reward(cost=100, stock=1)
    shop.grant(customer, 130)
    code = shop.redeem(customer, reward).code
    results = shop.desk.at_once(
        [lambda: shop.do(cancel_redemption, customer_id=customer, code=code, now=shop.now)] * SPENDERS)
    assert outcomes(results, lambda result: isinstance(result, Exception) or result.problem is not None) == 0
    assert (shop.balance(customer), shop.all(Reward)[0].stock) == (130, 1)
    shop.check_ledger(customer)


def test_a_spender_that_is_killed_at_any_moment_has_spent_each_wish_once(shop: Loyalty) -> None:
    customer, reward = shop.customer(), shop.reward(cost=50, stock=WISHES + 1)
    for _ in range(4):
        shop.grant(customer, WISHES * 50 // 4)
    rng, told = random.Random(20261118), dict[str, str]()
    command = [sys.executable, "-W", "ignore", "-c", CHILD, shop.store.url, str(customer), str(reward), str(WISHES),
               shop.now.isoformat()]
    for kill in range(KILLS):
        last = f"{rng.choice(('spending', 'spent'))} {(kill + 1) * WISHES // (KILLS + 1) + rng.randrange(4)}"
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as child:
            assert child.stdout is not None
            for line in child.stdout:
                if line.startswith("spent"):
                    _, wish, code = line.split()
                    assert told.setdefault(wish, code) == code, "a wish was granted twice"
                if line.startswith(last):
                    break
            child.kill()
        shop.check_ledger(customer)
        assert shop.balance(customer) == 50 * (WISHES - len(shop.all(Redemption)))
    for number in range(WISHES):
        redemption = shop.redeem(customer, reward, f"wish-{number}")
        assert told.setdefault(str(number), redemption.code) == redemption.code, "what was told was lost"
    assert len(shop.all(Redemption)) == len(shop.all(PointsEntry, PointsEntry.kind == "spend")) == WISHES
    assert (shop.balance(customer), shop.all(Reward)[0].stock) == (0, 1)
    with pytest.raises(CrmError):
        shop.redeem(customer, reward, "one more")
    shop.check_ledger(customer)

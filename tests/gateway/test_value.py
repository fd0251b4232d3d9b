"""The service counts between two nights who bought."""
from __future__ import annotations

from datetime import timedelta

import pytest

from crm_store.models import Customer, CustomerValue, Order
from gateway.nightly import count_who_bought
from tests.gateway.conftest import Records, make_deps

pytestmark = pytest.mark.anyio


async def test_who_bought_is_counted_before_the_night(records: Records) -> None:
    deps, customer = make_deps(records, "http://127.0.0.1:9"), records.all(Customer)[0].id
    at = records.clock() - timedelta(days=3)
    records.do(lambda session: session.add(Order(
        number="WL1", customer_id=customer, status="paid", phone="-", address="-", total_fen=900, placed_at=at)))
    assert await count_who_bought(deps) == 1
    assert records.do(lambda session: session.get(CustomerValue, customer).spent_fen) == 900
    assert await count_who_bought(deps) == 0
    deps.transactions.close()

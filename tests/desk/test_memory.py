"""What is remembered, beside the conversation: shown with its source, forgotten, the tone set; escaped."""
from __future__ import annotations

from sqlalchemy import select

from crm_store.models import Customer, Fact
from crm_store.services.memory import keep_fact
from tests.desk.conftest import Desk

HOSTILE = '<img src=x onerror="a()">'


def test_an_agent_sees_where_it_was_said_and_forgets_it(desk: Desk) -> None:
    customer = desk.customer("李雷")
    talk = desk.escalated("a", assignee="wang", customer_id=customer)
    _, message = desk.says("a", f"我对{HOSTILE}过敏", customer_id=customer, reply=None)
    with desk.store.write() as session:
        fact = keep_fact(session, customer_id=customer, kind="allergy", what=HOSTILE, message_id=message,
                         now=desk.clock()).id
    client, address = desk.client("wang"), f"/desk/conversations/{talk}/memory"
    for page in (address, f"/desk?conversation={talk}"):
        text = client.get(page).text
        assert "&lt;img src=x" in text and HOSTILE not in text and "过敏" in text
    assert 'aria-label="忘掉: &lt;img' in client.get(address).text, "which one is forgotten is heard"
    assert desk.client("lee").post(f"{address}/{fact}/forget").status_code == 404
    assert [client.post(f"{address}/{fact}/forget").status_code for _ in range(2)] == [303, 404]
    assert client.post(f"{address}/tone", data={"tone": "brisk"}).status_code == 303
    assert client.post(f"{address}/tone", data={"tone": "<b>"}).status_code == 422
    with desk.store.read() as session:
        assert session.execute(select(Fact)).first() is None
        assert session.get(Customer, customer).tone == "brisk"
    assert 'value="brisk" selected' in client.get(address).text


def test_a_guest_has_no_memory(lite: Desk) -> None:
    talk = lite.escalated("a", assignee="wang")
    assert lite.client("wang").get(f"/desk/conversations/{talk}/memory").status_code == 404

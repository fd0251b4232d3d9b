"""A message that its channel did not take can be sent again, by a button in the thread or by a script."""
from __future__ import annotations

from sqlalchemy import select

from crm_store.models import AuditEntry, Message
from tests.desk.conftest import Desk


def given_up(desk: Desk, conversation: int) -> int:
    with desk.store.write() as session:
        message = session.execute(select(Message).where(
            Message.conversation_id == conversation, Message.direction == "outgoing").order_by(Message.id)
        ).scalars().first()
        message.delivery_state, message.dropped_reason = "failed", "server_error"
        return int(message.id)


def state(desk: Desk, message_id: int) -> tuple[str, str | None]:
    with desk.store.read() as session:
        message = session.get(Message, message_id)
        return message.delivery_state, message.dropped_reason


def test_the_thread_offers_to_send_it_again_and_twice_is_once(lite: Desk) -> None:
    conversation = lite.escalated("1:1", assignee="wang", channel="telegram")
    message_id, client = given_up(lite, conversation), lite.client("wang")
    address = f"/desk/messages/{message_id}/again"
    assert f'action="{address}"' in client.get(f"/desk?conversation={conversation}").text
    for _ in range(2):
        answer = client.post(address)
        assert (answer.status_code, answer.headers["location"]) == (303, f"/desk?conversation={conversation}")
    assert state(lite, message_id) == ("queued", None)
    assert address not in client.get(f"/desk?conversation={conversation}").text
    with lite.store.read() as session:
        assert len(session.execute(select(AuditEntry).where(AuditEntry.action == "send_again")).scalars().all()) == 1


def test_a_script_sends_it_again_once_and_others_never(desk: Desk) -> None:
    conversation = desk.escalated("1:1", assignee="wang", channel="telegram")
    message_id = given_up(desk, conversation)
    address = f"/api/messages/{message_id}/again"
    assert desk.client("lee").post(address).status_code == 404
    assert state(desk, message_id) == ("failed", "server_error")
    client = desk.client("wang")
    assert [client.post(address).status_code for _ in range(2)] == [204, 409]
    assert [client.post(f"/api/messages/{other}/again").status_code for other in (0, -1, 2**63, 10**6)] == [404] * 4

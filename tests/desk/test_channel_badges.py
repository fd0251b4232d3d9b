"""The desk shows that a customer changed a message, and that they cannot be reached."""
from __future__ import annotations

from datetime import timedelta

from crm_store.models import ChannelIdentity, Conversation
from crm_store.services.delivery import note_reachable, note_unreachable
from crm_store.services.edits import edit_message
from tests.desk.conftest import Desk


def test_edits_and_unreachable_customers_are_marked(lite: Desk) -> None:
    conversation = lite.escalated("7:<b>1</b>", assignee="wang", channel="telegram")
    agent = lite.client("wang")
    unreachable = ">无法送达<"
    address = f"/desk?conversation={conversation}"
    page = agent.get(address).text
    assert "chip edited" not in page and unreachable not in page
    now = lite.clock()
    with lite.store.write() as session:
        identity_id = session.get(Conversation, conversation).identity_id
        edit_message(session, channel="telegram", external_id="7:<b>1</b>", channel_message_id="m1",
                     text="<script>changed</script>", edited_at=now + timedelta(minutes=1), now=now)
        note_unreachable(session, identity_id, now)
    page = agent.get(address).text
    assert page.count("chip edited") == 1 and ">已修改<" in page and unreachable in page
    assert "&lt;script&gt;changed" in page and "<script>changed" not in page
    with lite.store.write() as session:
        note_reachable(session, identity_id)
        assert session.get(ChannelIdentity, identity_id).unreachable_since is None
    assert unreachable not in agent.get(address).text

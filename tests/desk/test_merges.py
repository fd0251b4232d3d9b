"""Merging at the console: seen before it is done, undone; unlinking at the desk."""
from __future__ import annotations

from sqlalchemy import select

from crm_store.models import AuditEntry, ChannelIdentity, Conversation, Customer, Merge
from tests.desk.conftest import Desk

PAGE = "/manage/merges"


def records(desk: Desk) -> tuple[int, int]:
    kept = desk.customer("李雷", phone="13800138000")
    gone = desk.customer('<img src=x onerror="alert(1)">', phone="13900139000", email="ll@example.com")
    desk.says("a", "你好", customer_id=gone)
    return kept, gone


def test_a_manager_looks_merges_and_undoes(desk: Desk) -> None:
    kept, gone = records(desk)
    client = desk.client("ling")
    text = client.get(f"{PAGE}?kept=WLC00001&gone=139%200013%209000").text
    assert "13900139000" in text and "ll@example.com" in text and "<img src=x" not in text
    assert f'name="gone_id" value="{gone}"' in text
    for _ in range(2):
        client.post(PAGE, data={"kept_id": kept, "gone_id": gone})
    with desk.store.read() as session:
        (merge,) = session.execute(select(Merge.id)).scalars().all()
        assert session.execute(select(ChannelIdentity.customer_id)).scalar_one() == kept
        looked = session.execute(select(AuditEntry.object_id).where(AuditEntry.action == "look")).scalars().all()
    assert {int(each) for each in looked} == {kept, gone}
    assert f"{PAGE}/{merge}/undo" in client.get(PAGE).text
    assert "没有这样的客户" in client.get(f"{PAGE}?kept=WLC00001&gone=WLC00002").text
    assert client.post(f"{PAGE}/{merge}/undo").status_code == 303
    assert "已撤销" in client.get(PAGE).text
    with desk.store.read() as session:
        assert session.execute(select(ChannelIdentity.customer_id)).scalar_one() == gone


def test_a_number_counts_before_the_phone_of_somebody_else(desk: Desk) -> None:
    records(desk)
    third = desk.customer("韩梅")
    with desk.store.write() as session:
        session.get(Customer, third).number = "13800138000"
    text = desk.client("ling").get(f"{PAGE}?kept=13800138000&gone=13900139000").text
    assert f'name="kept_id" value="{third}"' in text


def test_hostile_numbers_find_nobody(desk: Desk) -> None:
    records(desk)
    client = desk.client("ling")
    for written in ("%00", "%27%20OR%201=1--", "x" * 500, "%F0%9F%92%A9", "0", "-"):
        answer = client.get(f"{PAGE}?kept=WLC00001&gone={written}")
        assert answer.status_code == 200 and 'id="seen"' not in answer.text
    for kept, gone, status in ((0, 1, 404), (1, -1, 404), (2**63, 1, 404), (1, 1, 409), (1, 99, 404)):
        assert client.post(PAGE, data={"kept_id": kept, "gone_id": gone}).status_code == status


def test_the_owner_unlinks_a_channel_of_their_customer_only(lite: Desk) -> None:
    talk = lite.escalated("a", assignee="wang", customer_id=lite.customer("李雷"))
    elsewhere = lite.escalated("b", customer_id=lite.customer("韩梅"))
    with lite.store.read() as session:
        mine, other = (session.get(Conversation, each).identity_id for each in (talk, elsewhere))
    client, address = lite.client("wang"), f"/api/conversations/{talk}/identities"
    assert f'data-unlink="{mine}"' in client.get(f"/desk?conversation={talk}").text
    assert [client.post(f"{address}/{each}/unlink").status_code for each in (other, 0, 10**6, 2**63)] == [404] * 4
    assert lite.client("lee").post(f"{address}/{mine}/unlink").status_code == 409
    assert [client.post(f"{address}/{mine}/unlink").status_code for _ in range(2)] == [204, 404]
    with lite.store.read() as session:
        assert session.get(Conversation, talk).customer_id is None
        assert session.get(Conversation, elsewhere).customer_id is not None

"""Making good, returns and codes at the desk: within limits, once, by the owner, and told to the customer in words."""
from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import select

from crm_store.models import AuditEntry, Conversation, Message, Order, PointsEntry, Redemption, Reward, Ticket
from crm_store.queries.points import points_balance
from crm_store.services.points import earn_points_for_order, redeem_reward
from tests.desk.conftest import Desk

KEY = "grant-of-the-case"
NUMBER = "WL20261101001"


class Counter:
    """Wang's conversation with a customer who has a complaint, a completed order of ¥1,000 and its points."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.customer = desk.customer("李雷", "silver", phone="13800138000")
        self.talk = desk.escalated("a", "退款拖了三周", assignee="wang", customer_id=self.customer)
        self.order(NUMBER, self.customer)
        with desk.store.write() as session:
            self.ticket = session.execute(select(Ticket.id).where(Ticket.conversation_id == self.talk)).scalar_one()
            earn_points_for_order(session, session.execute(select(Order)).scalar_one(), desk.clock())
        self.before = 0
        self.before = len(self.told())

    def order(self, number: str, customer: int, status: str = "completed") -> None:
        now = self.desk.clock()
        with self.desk.store.write() as session:
            session.add(Order(number=number, customer_id=customer, status=status, phone="13800138000", address="-",
                              total_fen=100_000, placed_at=now, paid_at=now, completed_at=now))

    def code(self, customer: int) -> str:
        with self.desk.store.write() as session:
            reward = Reward(code=f"r{customer}", name_zh="十元券", name_en="¥10 coupon", cost_points=300, stock=1,
                            minimum_tier="silver", kind="coupon")
            session.add(reward)
            session.flush()
            return str(redeem_reward(session, customer_id=customer, reward_id=reward.id, idempotency_key="k",
                                     now=self.desk.clock()).code)

    def post(self, path: str, body: dict[str, Any], login: str = "wang") -> Any:
        return self.desk.client(login).post(f"/api/conversations/{self.talk}/{path}", json=body)

    def grant(self, points: Any, key: str = KEY, *, login: str = "wang", reason: str = "快递迟了") -> Any:
        return self.post(f"tickets/{self.ticket}/grant",
                         {"points": points, "reason": reason, "idempotency_key": key}, login)

    @property
    def balance(self) -> int:
        with self.desk.store.read() as session:
            return points_balance(session, self.customer, self.desk.clock())

    def told(self) -> list[str]:
        with self.desk.store.read() as session:
            said = session.execute(select(Message.text).where(
                Message.conversation_id == self.talk, Message.author == "system").order_by(Message.id)).scalars().all()
        return list(said[self.before:])

    def audited(self, action: str) -> list[tuple[str, int | None, dict[str, Any]]]:
        with self.desk.store.read() as session:
            return [(each.actor_kind, each.actor_id, each.data) for each in session.execute(
                select(AuditEntry).where(AuditEntry.action == action)).scalars()]


@pytest.fixture
def shop(desk: Desk) -> Counter:
    return Counter(desk)


@pytest.fixture
def lite_shop(lite: Desk) -> Counter:
    return Counter(lite)


def test_points_are_given_once_and_the_customer_reads_how_many(shop: Counter) -> None:
    assert [shop.grant(200).status_code for _ in range(2)] == [201, 201]
    assert shop.balance == 1200
    (told,) = shop.told()
    assert "200 积分" in told and "1,200" in told and "快递" not in told, "the reason is for the ledger"
    (entry,) = shop.audited("grant_points")
    assert entry[:2] == ("agent", shop.desk.agent("wang").id)


def test_all_grants_for_a_case_stay_within_the_limit_of_the_role(lite_shop: Counter) -> None:
    shop = lite_shop
    limit = next(n for n in range(1, 10**6) if shop.grant(n * 1000, f"try-{n:06}").status_code != 201)
    refused = shop.grant(limit * 1000, "another-try")
    assert (refused.status_code, refused.json()["error"]) == (403, "above_limit")
    assert "主管" in refused.json()["message"]
    assert shop.grant(200, login="lee").status_code == 409, "a colleague's conversation"


@pytest.mark.parametrize("points", [0, -5, 2**63, "20", 1.5, True, None])
def test_points_are_a_number_above_zero(lite_shop: Counter, points: Any) -> None:
    assert lite_shop.grant(points).status_code == 422
    assert lite_shop.balance == 1000


def test_a_blank_reason_another_grant_under_the_key_and_another_case_are_refused(lite_shop: Counter) -> None:
    shop = lite_shop
    assert shop.grant(10, reason="  ").status_code == 422
    assert shop.grant(10).status_code == 201
    assert shop.grant(20).status_code == 422
    body = {"points": 10, "reason": "-", "idempotency_key": "another-key"}
    assert [shop.post(f"tickets/{other}/grant", body).status_code for other in (0, 10**6, 2**63)] == [404] * 3
    elsewhere = shop.desk.escalated("b", "叫你们经理", assignee="wang", customer_id=shop.desk.customer("韩梅"))
    with shop.desk.store.read() as session:
        ticket = session.execute(select(Ticket.id).where(Ticket.conversation_id == elsewhere)).scalar_one()
    assert shop.post(f"tickets/{ticket}/grant", body).status_code == 404
    assert shop.balance == 1010


def test_a_guest_is_granted_nothing(lite: Desk) -> None:
    talk = lite.escalated("a", "叫你们经理", assignee="wang")
    client = lite.client("wang")
    with lite.store.read() as session:
        ticket = session.execute(select(Ticket.id)).scalar_one()
    body = {"points": 10, "reason": "-", "idempotency_key": "another-key"}
    assert client.post(f"/api/conversations/{talk}/tickets/{ticket}/grant", json=body).status_code == 404
    assert client.post(f"/api/conversations/{talk}/codes", json={"code": "X", "act": "use"}).status_code == 404
    assert client.post(f"/api/conversations/{talk}/returns", json={"number": NUMBER}).status_code == 404


def test_an_order_that_came_back_takes_its_points_back_once_and_the_customer_is_told(shop: Counter) -> None:
    assert shop.post("returns", {"number": NUMBER.lower()}).json() == {
        "number": NUMBER, "status": "returned", "refunded_fen": 100_000, "points": -1000}
    assert shop.post("returns", {"number": NUMBER}).json()["points"] == 0
    assert shop.balance == 0
    (told,) = shop.told()
    assert NUMBER in told and "1,000.00 元" in told and "1,000 积分" in told
    assert [data["points"] for _, _, data in shop.audited("take_order_back")] == [-1000]


def test_a_part_that_was_refunded_takes_its_part_back(lite_shop: Counter) -> None:
    shop = lite_shop
    refunds = [shop.post("returns", {"number": NUMBER, "refunded_fen": fen}).status_code
               for fen in (25_000, 25_000, 60_000, 30_000)]
    assert refunds == [200, 200, 200, 422], "a refund is told in all, and only grows"
    assert shop.balance == 400
    assert shop.post("returns", {"number": NUMBER, "refunded_fen": 100_001}).status_code == 422
    assert shop.post("returns", {"number": NUMBER, "refunded_fen": 100_000}).json()["status"] == "returned"
    assert shop.balance == 0
    assert len(shop.told()) == 3


def test_what_has_not_arrived_and_what_is_anothers_does_not_come_back(lite_shop: Counter) -> None:
    shop = lite_shop
    shop.order("WL20261101002", shop.customer, "shipped")
    shop.order("WL20261101003", shop.desk.customer("韩梅"))
    assert shop.post("returns", {"number": "WL20261101002"}).status_code == 409
    foreign = ("WL20261101003", "WL20991231001", "' OR 1=1 --", "\ud800")
    answers = [shop.post("returns", {"number": each}).status_code for each in foreign[:3]]
    assert answers == [404] * 3
    assert shop.told() == [] and shop.balance == 1000


def test_a_code_is_used_once(shop: Counter) -> None:
    code = shop.code(shop.customer)
    assert shop.post("codes", {"code": code.lower(), "act": "use"}).json() == {"code": code, "reward": "十元券"}
    again = shop.post("codes", {"code": code, "act": "use"})
    assert (again.status_code, again.json()["error"]) == (409, "code_used")
    assert shop.post("codes", {"code": code, "act": "cancel"}).json()["error"] == "code_used"
    (told,) = shop.told()
    assert code in told
    assert shop.audited("use_code") == [("agent", shop.desk.agent("wang").id, {})]
    assert len(shop.audited("refuse_code")) == 2, "a refusal is kept"


def test_a_cancelled_code_gives_its_points_back_and_is_told_once(lite_shop: Counter) -> None:
    shop = lite_shop
    code = shop.code(shop.customer)
    assert shop.balance == 700
    assert [shop.post("codes", {"code": code, "act": "cancel"}).status_code for _ in range(2)] == [200, 200]
    assert shop.balance == 1000
    assert len(shop.told()) == 1
    assert shop.post("codes", {"code": code, "act": "use"}).json()["error"] == "code_cancelled"


def test_anothers_code_is_as_unknown_as_none(lite_shop: Counter) -> None:
    shop = lite_shop
    other = shop.desk.customer("韩梅", "silver")
    with shop.desk.store.write() as session:
        session.add(PointsEntry(customer_id=other, kind="grant", points=500, created_at=shop.desk.clock(),
                                idempotency_key="x", expires_at=shop.desk.clock().replace(year=2099)))
    code = shop.code(other)
    answers = [shop.post("codes", {"code": each, "act": act}) for each in (code, "WRAAAAAAAAAA", "\x00") for act in
               ("use", "cancel")]
    assert {(each.status_code, each.json()["error"]) for each in answers} == {(409, "code_unknown")}
    with shop.desk.store.read() as session:
        assert session.execute(select(Redemption.used_at, Redemption.cancelled_at)).one() == (None, None)


def test_the_pane_offers_the_counter_to_the_owner_only(lite_shop: Counter) -> None:
    shop = lite_shop
    address = f"/desk?conversation={shop.talk}"
    owner, manager = shop.desk.client("wang").get(address).text, shop.desk.client("ling").get(address).text
    for button in (f'data-grant="{shop.ticket}"', f'data-came-back="{NUMBER}"', "data-serve="):
        assert button in owner and button not in manager
    assert 'max="' in owner and "最多可补偿" in owner


def test_a_case_of_somebody_else_or_of_another_conversation_is_not_made_good_here(lite_shop: Counter) -> None:
    other = lite_shop.desk.escalated("b", "又来了", assignee="wang", customer_id=lite_shop.customer)
    with lite_shop.desk.store.read() as session:
        elsewhere = session.execute(select(Ticket.id).where(Ticket.conversation_id == other)).scalar_one()
    shown = lite_shop.desk.client("wang").get(f"/desk?conversation={lite_shop.talk}").text
    assert f'data-grant="{lite_shop.ticket}"' in shown and f'data-grant="{elsewhere}"' not in shown
    with lite_shop.desk.store.write() as session:  # unlinked: the case is still the customer's, the chat is a guest's
        session.get(Conversation, lite_shop.talk).customer_id = None
    assert lite_shop.grant(100).status_code == 404 and lite_shop.told() == []

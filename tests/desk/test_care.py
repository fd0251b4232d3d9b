"""The page of care: a manager changes what is written and to how many nothing is; hostile words stay words."""
from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import select

from crm_store.models import CareCampaign, CareMessage
from tests.desk.conftest import Desk

PAGE = "/manage/care"
HOSTILE = "<script>alert(1)</script>"
GOOD = {"enabled": "yes", "control_percent": "20", "a_zh": f"{{name}} {HOSTILE}", "a_en": "Hi {name}"}


def test_a_manager_turns_a_campaign_on(desk: Desk) -> None:
    client = desk.client("ling")
    assert client.post(f"{PAGE}/birthday", data=GOOD).headers["location"] == f"{PAGE}#birthday"
    text = client.get(PAGE).text
    assert "&lt;script&gt;" in text and HOSTILE not in text
    with desk.store.read() as session:
        (campaign,) = session.execute(select(CareCampaign)).scalars()
        assert (campaign.kind, campaign.enabled, campaign.control_percent, campaign.a_zh) == (
            "birthday", True, 20, GOOD["a_zh"])


@pytest.mark.parametrize(("kind", "body", "status"), [
    ("birthday", {}, 422), ("birthday", {**GOOD, "control_percent": "51"}, 422),
    ("birthday", {**GOOD, "a_zh": "{points}"}, 422), ("win_back", {**GOOD, "a_zh": "好", "days": "0"}, 422),
    ("spam", GOOD, 404), ("%00", GOOD, 404), ("birthday", {**GOOD, "a_zh": "x" * 601}, 422)])
def test_what_cannot_be_is_refused(lite: Desk, kind: str, body: dict[str, str], status: int) -> None:
    assert lite.client("ling").post(f"{PAGE}/{kind}", data=body).status_code == status


def test_results_show_the_difference_to_control(lite: Desk) -> None:
    now = lite.clock()
    with lite.store.write() as session:
        session.add_all([CareMessage(kind="birthday", customer_id=lite_customer, occasion="2026", arm=arm,
                                     decided_at=now - timedelta(days=20))
                         for arm, lite_customer in (("a", lite.customer("李雷")), ("control", lite.customer("韩梅")))])
    text = lite.client("ling").get(PAGE).text
    assert "对照组" in text and "+0.0 (" in text

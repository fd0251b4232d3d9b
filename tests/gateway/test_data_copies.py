"""The copy of one's data by link: once, for whom it was made, and for nobody else."""
from __future__ import annotations

import asyncio
import io
import json
import zipfile
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy import select

from crm_store.attachment_files import AttachmentFiles
from crm_store.database import Store
from crm_store.live import Broadcast
from crm_store.models import AuditEntry, ChannelIdentity, Customer, Tier
from crm_store.services.data_copies import offer_copy
from gateway.app import GatewayDeps
from gateway.bot_client import BotClient
from gateway.data_copies import TRIES_A_MINUTE, DataCopies
from gateway.visitors import COOKIE

MINE, THEIRS = "m" * 43, "t" * 43
SAME_SITE = {"Sec-Fetch-Site": "same-origin"}


class Shop:
    """A page of copies, two customers in the web chat, and the first one on Telegram."""

    def __init__(self, store: Store, now: datetime, folder: Path) -> None:
        self.store, self.now = store, now
        app = FastAPI()
        DataCopies(GatewayDeps(
            store=store, broadcast=Broadcast(), nudge=asyncio.Event(), clock=lambda: self.now,
            bot=BotClient("http://127.0.0.1:9", "", 1), secret="s", http_token="t",
            files=AttachmentFiles(folder))).mount(app)
        self.app = app
        with store.write() as session:
            session.add(Tier(code="silver", rank=0, name_zh="-", name_en="-", minimum_spend_fen=0, multiplier=1,
                             benefits_zh="-", benefits_en="-", anger_route=1, anger_watch=1))
            people = [Customer(number=f"WLC0000{at}", name=name, tier_code="silver", created_at=now)
                      for at, name in enumerate(("李雷", "Ann"))]
            session.add_all(people)
            session.flush()
            self.identities = {}
            for channel, sender, person in (("web", MINE, people[0]), ("web", THEIRS, people[1]),
                                            ("telegram", "5", people[0])):
                identity = ChannelIdentity(channel=channel, external_id=sender, customer_id=person.id, created_at=now)
                session.add(identity)
                session.flush()
                self.identities[channel, sender] = identity.id
            self.customer = int(people[0].id)

    def offer(self, channel: str = "web", sender: str = MINE) -> str:
        with self.store.write() as session:
            token = offer_copy(session, self.customer, self.identities[channel, sender], self.now)
        return f"/my-data/{token}"

    def browser(self, visitor: str | None = None) -> TestClient:
        client = TestClient(self.app, headers=SAME_SITE)
        if visitor:
            client.cookies.set(COOKIE, visitor)
        return client

    def refusals(self) -> list[str]:
        with self.store.read() as session:
            return [entry.data["problem"] for entry in session.execute(
                select(AuditEntry).where(AuditEntry.action == "refuse_export").order_by(AuditEntry.id)).scalars()]


@pytest.fixture
def shop(sqlite_store: Store, now: datetime, tmp_path: Path) -> Shop:
    return Shop(sqlite_store, now, tmp_path)


def test_looking_uses_nothing_up_and_pressing_sends_the_file_once(shop: Shop) -> None:
    link, browser = shop.offer(), shop.browser(MINE)
    for _ in range(2):
        looked = browser.get(link)
        assert looked.status_code == 200 and '<form method="post">' in looked.text
        assert looked.headers["cache-control"] == "no-store" and "李雷" not in looked.text
    sent = browser.post(link)
    assert sent.status_code == 200 and sent.headers["content-type"] == "application/zip"
    assert sent.headers["content-disposition"].startswith("attachment")
    with zipfile.ZipFile(io.BytesIO(sent.content)) as archive:
        assert json.loads(archive.read("data.json"))["customer"]["name"] == "李雷"
    assert browser.post(link).status_code == 404
    assert shop.refusals() == ["used"]


def test_somebody_elses_browser_gets_nothing_and_that_is_written_down(shop: Shop) -> None:
    link = shop.offer()
    for visitor in (None, THEIRS, "g" * 43):
        refused = shop.browser(visitor).post(link)
        assert refused.status_code == 404 and refused.headers["content-type"].startswith("text/html")
    assert shop.refusals() == ["foreign"] * 3
    assert shop.browser(MINE).post(link).status_code == 200, "a stranger's try uses nothing up"


def test_a_link_on_telegram_needs_no_cookie_and_ends_after_an_hour(shop: Shop) -> None:
    link = shop.offer("telegram", "5")
    shop.now += timedelta(hours=1)
    assert shop.browser().post(link).status_code == 404
    assert shop.browser().post(shop.offer("telegram", "5")).status_code == 200


def test_other_sites_and_guesses_are_refused(shop: Shop) -> None:
    link = shop.offer()
    assert shop.browser(MINE).post(link, headers={"Sec-Fetch-Site": "cross-site"}).status_code == 403
    browser = shop.browser(MINE)
    codes = [browser.post(f"/my-data/{guess}").status_code for guess in ("x", "%00", "x" * 5000, "..", "%F0%9F%98%80")]
    assert set(codes) <= {404, 405}
    assert [browser.post("/my-data/guess").status_code for _ in range(TRIES_A_MINUTE)][-1] == 429

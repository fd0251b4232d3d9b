"""The service as it is wired serves a WeChat account from post to answer."""
from __future__ import annotations

import time
from datetime import datetime, timezone
from pathlib import Path

import httpx

from bench.wechat_double import WechatDouble, make_app
from crm_store.models import Message
from tests.gateway.conftest import BOT_TOKEN, BotDouble, Records, Threaded
from warmline.service import make_app as make_service
from warmline.settings import load_settings

APP, SECRET, TOKEN, KEY = "wx0123456789abcdef", "an-app-secret-of-32-characters--", "TheToken", "k" * 43


def test_the_service_serves_an_account(tmp_path: Path, sqlite_records: Records, bot: BotDouble) -> None:
    """By its own loops and its own clock, over HTTP, encrypted."""
    double = WechatDouble()
    double.account(APP, SECRET, TOKEN, KEY)
    wechat = Threaded(make_app(double))
    settings = load_settings({
        "WARMLINE_WECHAT_APP_ID": APP, "WARMLINE_WECHAT_SECRET": SECRET, "WARMLINE_WECHAT_TOKEN": TOKEN,
        "WARMLINE_WECHAT_AES_KEY": KEY, "WARMLINE_WECHAT_API": wechat.base, "WARMLINE_BOT_TOKEN": BOT_TOKEN,
        "WARMLINE_BOT_PORT": bot.url.rpartition(":")[2]}, root=tmp_path)
    service = Threaded(make_service(settings, sqlite_records.store))
    try:
        query, body = double.posted(APP, "oPerson", datetime.now(timezone.utc), Content="你好")
        for _ in range(2):
            answer = httpx.post(f"{service.base}/api/channels/wechat/{APP}", params=query, content=body, timeout=30,
                                trust_env=False)
            assert (answer.status_code, answer.text) == (200, "success")
        patience = time.monotonic() + 60
        while not sqlite_records.all(Message, Message.delivery_state == "delivered"):
            assert time.monotonic() < patience
            time.sleep(0.02)
    finally:
        service.stop()
        wechat.stop()
    assert double.texts(APP, "oPerson") == ["re: 你好"]
    assert [each.delivery_state for each in sqlite_records.all(Message)] == [None, "delivered"]

"""The product as people use it, in a real browser: chat, anger, queue, claim, reply, resolve, and the bot again."""
from __future__ import annotations

import re
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.whole.conftest import Whole, log_in, signed_in, write

pytestmark = [pytest.mark.processes, pytest.mark.browser]


def test_from_the_first_question_through_anger_to_the_bot_again(whole: Whole, open_page: Any) -> None:
    chat = open_page(signed_in(whole, "WLC00001"))
    log = chat.get_by_role("log")
    write(chat, "我的快递到哪了")
    expect(log).to_contain_text(re.compile(r"WL\d{11}"), timeout=15_000)

    desk = open_page("/desk")
    log_in(desk, "wangmin")
    expect(desk.locator(".item", has_text="李雷")).to_have_count(0, timeout=5_000)

    write(chat, "都第三次了还没人管！垃圾服务，再不处理我就去12315投诉你们！")
    expect(desk.locator(".item", has_text="李雷").first).to_be_visible(timeout=10_000)
    expect(log).to_contain_text(re.compile(r"C\d{4,}"), timeout=10_000)

    desk.locator(".item", has_text="李雷").first.click()
    expect(desk.get_by_text("垃圾服务", exact=False).first).to_be_visible()
    desk.locator("[data-action=claim]").click()
    expect(desk.locator("[data-action=claim]")).to_have_count(0, timeout=5_000)
    write_reply(desk, "李先生您好，我是王敏，已经为您加急处理。")
    expect(log).to_contain_text("我是王敏", timeout=5_000)

    write(chat, "好的，谢谢")
    expect(desk.get_by_text("好的，谢谢").first).to_be_visible(timeout=5_000)
    desk.locator("[data-ask=resolve]").click()
    desk.locator("dialog[open] .primary").click()
    expect(chat.get_by_role("button", name=re.compile("5"))).to_be_visible(timeout=5_000)

    before = log.locator("> *").count()
    write(chat, "我有多少积分")
    expect(log).to_contain_text(re.compile(r"\d+\s*分|\d+ ?积分|积分.*\d"), timeout=15_000)
    assert log.locator("> *").count() > before


def write_reply(desk: Page, text: str) -> None:
    box = desk.locator("textarea[name=text]").first
    box.fill(text)
    box.press("Control+Enter")


def test_redeeming_points_in_english(whole: Whole, open_page: Any) -> None:
    chat = open_page(signed_in(whole, "WLC00002"), locale="en-GB")
    log = chat.get_by_role("log")
    write(chat, "I'd like to redeem my points")
    choice = chat.get_by_role("button", name=re.compile("coupon", re.IGNORECASE)).first
    expect(choice).to_be_visible(timeout=15_000)
    choice.click()
    yes = chat.get_by_role("button", name=re.compile(r"^(yes|confirm|redeem)", re.IGNORECASE)).last
    expect(yes).to_be_visible(timeout=15_000)
    yes.click()
    expect(log).to_contain_text(re.compile(r"code", re.IGNORECASE), timeout=15_000)


def test_a_reload_loses_nothing(whole: Whole, open_page: Any) -> None:
    chat = open_page("/")
    write(chat, "你们几点营业")
    log = chat.get_by_role("log")
    expect(log).to_contain_text(re.compile("9|九"), timeout=15_000)
    said = log.inner_text()
    chat.reload()
    expect(chat.get_by_role("log")).to_contain_text("你们几点营业", timeout=5_000)
    assert len(chat.get_by_role("log").inner_text()) >= len(said) - 20


def test_what_a_customer_types_stays_text_for_everybody(whole: Whole, open_page: Any) -> None:
    hostile = "<img src=x onerror=alert(1)><script>alert(2)</script>"
    chat = open_page("/")
    dialogs: list[str] = []
    chat.on("dialog", lambda dialog: (dialogs.append(dialog.message), dialog.dismiss()))
    write(chat, hostile)
    expect(chat.get_by_role("log")).to_contain_text("<script>alert(2)</script>")
    write(chat, "转人工")
    expect(chat.get_by_role("log")).to_contain_text(re.compile(r"C\d{4,}"), timeout=15_000)
    desk = open_page("/desk")
    desk.on("dialog", lambda dialog: (dialogs.append(dialog.message), dialog.dismiss()))
    log_in(desk, "manager")
    desk.goto("/manage/logs?words=onerror")
    expect(desk.locator("body")).to_contain_text("onerror", timeout=10_000)
    assert desk.locator("img[src=x]").count() == 0
    assert not dialogs

"""The chat page in a real browser, with the bot's double behind it."""
from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Page, Route, expect, sync_playwright

from crm_store.models import Conversation, Message
from crm_store.services.handoff import escalate_conversation, reply_to_customer, resolve_conversation
from gateway.web_chat import sign_customer
from tests.conftest import find_program, require
from tests.gateway.conftest import SECRET, BotDouble, Gateway

pytestmark = pytest.mark.browser
BUTTONS = [{"title": "看看退款", "payload": "/ask_refund_status"},
           {"title": "我的积分", "payload": "/ask_points_balance"}]
POST = "**/api/chat/messages"


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    program = find_program("chromium")
    require(program, "Chromium is not installed (apt-get install chromium)")
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-gpu"])
        yield opened
        opened.close()


@pytest.fixture
def open_page(chromium: Any, gateway: Gateway) -> Iterator[Any]:
    """Opens pages whose clock is the test's; fails on any script error and on anything the policy refused."""
    contexts: list[Any] = []
    errors: list[str] = []

    def opened(path: str = "/", *, locale: str = "zh-CN", zone: str = "Asia/Shanghai", **options: Any) -> Page:
        context = chromium.new_context(locale=locale, base_url=gateway.base, timezone_id=zone, **options)
        contexts.append(context)
        page: Page = context.new_page()
        page.clock.install(time=gateway.records.clock())
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("console", lambda message: errors.append(message.text) if "Policy" in message.text else None)
        page.goto(path)
        return page

    yield opened
    for context in contexts:
        context.close()
    assert not errors


def write(page: Page, text: str) -> None:
    box = page.get_by_role("textbox")
    box.fill(text)
    box.press("Enter")


def test_a_question_its_answer_and_a_button(gateway: Gateway, bot: BotDouble, open_page: Any) -> None:
    bot.answer = lambda body: [{"text": f"re: {body['text']}\nhttps://shop.example/a?b=1，<b>x</b> javascript:alert(1)",
                                "buttons": BUTTONS}]
    page = open_page()
    log = page.get_by_role("log")
    expect(page.get_by_text("我的订单到哪了？")).to_be_visible()
    write(page, "快递到哪了")
    button = page.get_by_role("button", name="看看退款")
    expect(button).to_be_enabled()
    expect(page.get_by_text("我的订单到哪了？")).to_be_hidden()
    assert [link.get_attribute("href") for link in log.get_by_role("link").all()] == ["https://shop.example/a?b=1"]
    assert "noopener" in (log.get_by_role("link").get_attribute("rel") or "")
    expect(log).to_contain_text("<b>x</b> javascript:alert(1)")
    expect(log.get_by_text(re.compile("已发送"))).to_have_count(1)
    button.click()
    expect(log).to_contain_text("re: 看看退款")
    assert bot.knocks[-1]["payload"] == "/ask_refund_status"
    first, second = page.get_by_role("button", name="看看退款").all()
    expect(first).to_be_disabled()
    expect(second).to_be_enabled()


def test_lines_break_with_shift_and_what_is_typed_stays_text(gateway: Gateway, bot: BotDouble, open_page: Any) -> None:
    page = open_page()
    dialogs: list[str] = []
    page.on("dialog", lambda dialog: (dialogs.append(dialog.message), dialog.dismiss()))
    box = page.get_by_role("textbox")
    box.fill("<img src=x onerror=alert(1)>")
    box.press("Shift+Enter")
    box.press_sequentially("second")
    box.press("Enter")
    expect(page.get_by_role("log")).to_contain_text("re: <img src=x onerror=alert(1)> second", use_inner_text=True)
    assert bot.knocks[0]["text"] == "<img src=x onerror=alert(1)>\nsecond"
    assert page.get_by_role("log").locator("img").count() == 0 and not dialogs
    expect(box).to_have_value("")
    box.press("Enter")  # nothing to send
    assert len(gateway.records.all(Message, Message.direction == "incoming")) == 1


def test_both_languages_and_the_choice_is_remembered(open_page: Any) -> None:
    page = open_page(locale="en-GB")
    expect(page.get_by_role("button", name="Send")).to_be_visible()
    assert page.title() == "Nuanjia Home" and page.locator("html").get_attribute("lang") == "en"
    write(page, "hello")
    expect(page.get_by_role("log")).to_contain_text("Sent")
    page.get_by_role("button", name="中文").click()
    expect(page.get_by_role("log")).to_contain_text("已发送")
    page.reload()
    expect(page.get_by_role("button", name="发送")).to_be_visible()
    assert page.locator("html").get_attribute("lang") == "zh-CN"


def test_a_message_that_does_not_get_through_is_tried_again_with_its_id(
        gateway: Gateway, bot: BotDouble, open_page: Any) -> None:
    page = open_page()
    sent: list[str] = []

    def refuse(route: Route) -> None:
        if route.request.method == "POST":
            sent.append(json.loads(route.request.post_data or "{}")["message_id"])
            route.abort()
        else:
            route.continue_()

    page.route(POST, refuse)
    write(page, "在吗")
    log = page.get_by_role("log")
    expect(log).to_contain_text("发送中")
    retry = page.get_by_role("button", name="重试")
    for _ in range(30):
        page.clock.run_for(1000)
        if retry.count():
            break
    expect(log).to_contain_text("发送失败")
    page.unroute(POST)
    retry.click()
    expect(log).to_contain_text("re: 在吗")
    assert len(sent) == 4 and len(set(sent)) == 1
    assert gateway.records.one(Message, Message.direction == "incoming").channel_message_id == sent[0]


def test_a_reload_loses_nothing_not_even_what_was_not_sent(gateway: Gateway, open_page: Any) -> None:
    page = open_page()
    write(page, "first")
    log = page.get_by_role("log")
    expect(log).to_contain_text("re: first")
    page.route(POST, lambda route: route.abort() if route.request.method == "POST" else route.continue_())
    write(page, "second")
    expect(log).to_contain_text("发送中")
    page.unroute(POST)
    page.reload()
    expect(page.get_by_role("log")).to_contain_text("re: second")
    expect(page.get_by_role("log")).to_contain_text("re: first")
    assert len(gateway.records.all(Message, Message.direction == "incoming")) == 2


def test_offline_is_said_and_what_was_written_is_sent_afterwards(bot: BotDouble, open_page: Any) -> None:
    page = open_page()
    write(page, "first")
    expect(page.get_by_role("log")).to_contain_text("re: first")
    page.context.set_offline(True)
    expect(page.get_by_role("alert")).to_be_visible()
    write(page, "second")
    expect(page.get_by_role("log")).to_contain_text("发送中")
    page.context.set_offline(False)
    expect(page.get_by_role("alert")).to_be_hidden()
    expect(page.get_by_role("log")).to_contain_text("re: second")
    assert [knock["text"] for knock in bot.knocks] == ["first", "second"]


def test_after_a_restart_of_the_service_the_page_catches_up(gateway: Gateway, open_page: Any) -> None:
    records, page = gateway.records, open_page()
    write(page, "你好")
    log = page.get_by_role("log")
    expect(log).to_contain_text("re: 你好")
    conversation = records.one(Conversation)
    gateway.stop()
    handoff = records.do(escalate_conversation, conversation_id=conversation.id, reason="asked", now=records.clock())
    agent = records.agent("wangmin" if handoff.conversation.assignee_id == records.agent().id else "lina")
    records.do(reply_to_customer, conversation.id, agent, "我来帮您", records.clock())
    gateway.start()
    for _ in range(60):
        page.clock.run_for(1000)
        page.wait_for_timeout(100)
        if "我来帮您" in log.inner_text():
            break
    expect(log).to_contain_text("我来帮您")
    assert log.inner_text().count("re: 你好") == 1


def test_from_the_handover_to_the_rating(gateway: Gateway, bot: BotDouble, open_page: Any) -> None:
    records = gateway.records
    page = open_page(f"/?customer={sign_customer(SECRET, 'WLC00001', records.clock())}")
    expect(page).to_have_url(gateway.base + "/")
    expect(page.get_by_text("李雷，您好")).to_be_visible()
    write(page, "你好")
    log = page.get_by_role("log")
    expect(log).to_contain_text("re: 你好")
    conversation = records.one(Conversation)
    records.do(escalate_conversation, conversation_id=conversation.id, reason="asked", now=records.clock())
    gateway.deps.nudge.set()
    waiting = page.locator("#waiting")
    expect(waiting).to_contain_text("客服将在 10:15 前答复您")
    expect(page.get_by_role("timer")).to_have_text(re.compile(r"^1[45]:\d\d$"))
    page.clock.run_for(5 * 60_000)
    expect(page.get_by_role("timer")).to_have_text(re.compile(r"^(9|09):\d\d$"))
    agent = records.one(Conversation).assignee_id
    agent = next(each for each in (records.agent("wangmin"), records.agent("lina")) if each.id == agent)
    records.do(reply_to_customer, conversation.id, agent, "您好，我来处理。", records.clock())
    expect(log).to_contain_text(f"{agent.name} 加入了会话")
    expect(waiting).to_be_hidden()
    expect(page.get_by_text(f"{agent.name} 正在为您服务")).to_be_visible()
    records.do(resolve_conversation, conversation.id, agent, records.clock())
    five = page.get_by_role("button", name=re.compile("^5 ·"))
    expect(five).to_be_enabled()
    five.click()
    expect(log).to_contain_text("感谢您的评价")
    expect(five).to_be_disabled()
    assert len(bot.knocks) == 1


def test_abroad_the_promised_time_is_the_one_the_sentence_says_with_its_zone(gateway: Gateway, bot: BotDouble,
                                                                             open_page: Any) -> None:
    records = gateway.records
    page = open_page(locale="en-GB", zone="Europe/London")
    write(page, "hello")
    expect(page.get_by_role("log")).to_contain_text("re: hello")
    records.do(escalate_conversation, conversation_id=records.one(Conversation).id, reason="asked", language="en",
               now=records.clock())
    gateway.deps.nudge.set()
    expect(page.get_by_role("log")).to_contain_text("by 10:15")
    expect(page.locator("#waiting")).to_contain_text("by 10:15 GMT+8")


def test_an_old_link_is_said(open_page: Any) -> None:
    page = open_page("/?customer=forged.token.here", locale="en-GB")
    expect(page.get_by_role("log")).to_contain_text("no longer valid")
    assert "link" not in page.url


def test_it_fits_a_phone_and_the_length_is_limited(open_page: Any) -> None:
    page = open_page(viewport={"width": 320, "height": 568})
    write(page, "W" * 300)
    expect(page.get_by_role("log")).to_contain_text("re: ")
    assert page.evaluate("document.documentElement.scrollWidth") <= 320
    box = page.get_by_role("textbox")
    box.fill("a" * 3950)
    expect(page.locator("#hint")).to_have_text("还可输入 50 字")
    box.press_sequentially("b" * 3)
    assert page.evaluate("document.getElementById('text').maxLength") == 4000
    expect(page.get_by_role("button", name="发送")).to_be_visible()

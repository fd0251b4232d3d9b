"""The desk in a real browser: live, by keyboard, in order, and deaf to what customers write."""
from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
import uvicorn
from fastapi import FastAPI
from playwright.sync_api import expect, sync_playwright

from crm_store.database import Store
from crm_store.live import watch_store
from crm_store.models import Message, Notification, Ticket
from crm_store.services.complaints import file_complaint
from crm_store.services.sla import tick
from tests.conftest import find_program, free_port, require
from tests.desk.conftest import PASSWORD, Clock, Desk, make_desk, open_shop
from tests.desk.test_loyalty import NUMBER, Counter
from tests.desk.test_suggestions import read_cases, save, solved

pytestmark = pytest.mark.browser
HOSTILE = "<img src=x onerror='window.owned=1'><script>window.owned=1</script>"


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """Debian's Chromium; closed with this module, because its loop keeps others from running."""
    program = find_program("chromium")
    require(program, "Chromium is not installed (apt-get install chromium)")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=[
            "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"])
        yield browser
        browser.close()


@dataclass
class Served:
    """The desk on a port of its own."""

    desk: Desk
    base: str
    browser: Any
    complaints: list[str] = field(default_factory=list)

    def page(self, login: str, path: str = "/desk", **options: Any) -> Any:
        """A page of a browser of its own, logged in; whatever its console complains of is kept."""
        page = self.browser.new_context(**{"viewport": {"width": 1280, "height": 720}, **options}).new_page()
        page.set_default_timeout(20_000)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("console", lambda said: said.type == "error" and self.complaints.append(said.text))
        page.goto(f"{self.base}/desk/login")
        page.fill("#login", login)
        page.fill("#password", PASSWORD)
        page.press("#password", "Enter")
        page.wait_for_url("**/desk")
        page.goto(self.base + path)
        if path.startswith("/desk"):
            page.wait_for_selector("#live.on")
        return page


@pytest.fixture
def served(sqlite_store: Store, now: Any, chromium: Any) -> Iterator[Served]:
    """The desk served by uvicorn, with the watching loop beside it."""
    open_shop(sqlite_store, now)
    desk = make_desk(sqlite_store, Clock(now))

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        watching = asyncio.create_task(watch_store(sqlite_store, desk.broadcast, asyncio.Event(), interval=0.1))
        yield
        watching.cancel()

    desk.app.router.lifespan_context = lifespan
    port = free_port()
    server = uvicorn.Server(uvicorn.Config(desk.app, host="127.0.0.1", port=port, log_level="error", ws="none",
                                           timeout_graceful_shutdown=1))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        yield Served(desk, f"http://127.0.0.1:{port}", chromium)
    finally:
        for context in list(chromium.contexts):
            context.close()
        server.should_exit = True
        thread.join(20)


def test_a_new_arrival_appears_by_itself_and_is_worked_by_keyboard(served: Served) -> None:
    desk = served.desk
    desk.escalated("a", "第一位", customer_id=desk.customer("李雷"))
    page = served.page("lee")
    assert page.title() == "Desk · Warmline"
    desk.clock.move(minutes=1)
    second = desk.escalated("b", "I want a person", customer_id=desk.customer("Ann"), reason="asked")
    arrival = page.wait_for_selector(f"#item-{second}", timeout=5_000)
    assert "I want a person" in arrival.inner_text()
    expect(page).to_have_title("(1) Desk · Warmline")
    assert "Ann" in page.inner_text("#announce")

    page.keyboard.press("j")
    page.keyboard.press("j")
    assert page.evaluate("document.activeElement.id") == f"item-{second}"
    page.keyboard.press("Enter")
    page.wait_for_selector(f'#conversation-head[data-conversation="{second}"]')
    expect(page).to_have_title("Desk · Warmline")
    page.keyboard.press("c")
    page.wait_for_selector('#conversation-head[data-standing="mine"]')
    expect(page.locator("#text")).to_be_focused()
    page.keyboard.type("Hello Ann, this is Lee.")
    page.keyboard.press("Control+Enter")
    page.wait_for_selector(".m.out.agent >> text=Hello Ann, this is Lee.")
    assert page.input_value("#text") == ""
    page.keyboard.press("Escape")
    page.keyboard.press("n")
    page.keyboard.type("call her back")
    page.keyboard.press("Control+Enter")
    page.wait_for_selector(".m.note >> text=call her back")
    page.keyboard.press("Escape")
    page.keyboard.press("?")
    assert page.is_visible("#help")
    page.keyboard.press("Escape")
    page.keyboard.press("e")
    page.check('input[value="explained"]')
    page.click("#ask-resolve .primary")
    page.wait_for_selector('#conversation-head[data-standing="resolved"]')
    assert not served.complaints


def test_what_the_customer_writes_appears_while_a_draft_is_kept(served: Served) -> None:
    desk = served.desk
    conversation = desk.escalated("a", "你好", assignee="lee")
    page = served.page("lee", f"/desk?conversation={conversation}")
    page.fill("#text", "a draft in the making")
    page.click(".understood summary")
    desk.clock.move(seconds=30)
    desk.says("a", "还在吗？", reply=None)
    page.wait_for_selector(".m.in >> text=还在吗？", timeout=5_000)
    assert page.input_value("#text") == "a draft in the making"
    assert page.evaluate("document.querySelector('.understood').open")
    other = desk.escalated("b", "另一位")
    page.click(f"#item-{other}")
    page.wait_for_selector(f'#conversation-head[data-conversation="{other}"]')
    assert page.input_value("#text") == ""
    page.click(f"#item-{conversation}")
    page.wait_for_selector(f'#conversation-head[data-conversation="{conversation}"]')
    assert page.input_value("#text") == "a draft in the making"
    page.reload()
    expect(page.locator("#text")).to_have_value("a draft in the making")
    page.keyboard.press("r")
    page.keyboard.press("Control+Enter")
    page.wait_for_selector(".m.out.agent >> text=a draft in the making")
    page.reload()
    expect(page.locator("#text")).to_have_value("")
    assert not served.complaints


def test_an_agent_makes_good_takes_an_order_back_and_cancels_a_code(served: Served) -> None:
    shop = Counter(served.desk)
    code = shop.code(shop.customer)
    page = served.page("wang", f"/desk?conversation={shop.talk}")

    def lose_the_answer(route: Any) -> None:
        route.fetch()
        route.abort()

    page.route("**/grant", lose_the_answer, times=1)
    for told in ("连不上服务器", "已补偿 200 积分"):  # the agent tries again, and it is given once
        page.click(f"#grant-{shop.ticket}")
        page.fill('#ask-grant [name="points"]', "200")
        page.fill('#ask-grant [name="reason"]', "迟了三周")
        page.keyboard.press("Tab")
        page.click("#ask-grant .primary")
        page.wait_for_selector(f".toast >> text={told}")
        page.wait_for_selector(".m.out >> text=补偿 200 积分")
    page.click("#serve-code")
    page.fill('#ask-code [name="code"]', code)
    page.click('#ask-code button[value="cancel"]')
    page.wait_for_selector(".m.out >> text=积分已退回")
    page.click(f"#came-back-{NUMBER}")
    page.check('#ask-return input[value="part"]')
    page.fill('#ask-return [name="part"]', "250.50")
    page.click("#ask-return .primary")
    page.wait_for_selector(".m.out >> text=250.50 元")
    assert shop.balance == 1200 - 251
    page.click("#serve-code")
    page.fill('#ask-code [name="code"]', code)
    page.keyboard.press("Enter")
    page.wait_for_selector(".toast.problem >> text=已经取消")
    assert [said for said in served.complaints if "409" not in said and "ERR_FAILED" not in said] == []


def test_three_agents_see_each_other_and_one_of_two_who_claim_at_once_gets_it(served: Served) -> None:
    conversation = served.desk.escalated("a", "你好")
    path = f"/desk?conversation={conversation}"
    lee, wang, zhang = (served.page(login, path) for login in ("lee", "wang", "zhang"))
    expect(zhang.locator("#presence")).to_contain_text("王敏")
    expect(zhang.locator("#presence")).to_contain_text("Lee Park")
    lee.fill("#text", "Hello")
    expect(wang.locator("#presence")).to_contain_text("Lee Park 正在输入…")
    for page in (lee, wang):
        page.evaluate("setTimeout(() => document.querySelector('[data-action=claim]').click(), 400)")
    zhang.wait_for_selector('#conversation-head[data-standing="other"]')
    owner = zhang.inner_text("#conversation-head .chip.status")
    winner, loser = (lee, wang) if owner == "Lee Park" else (wang, lee)
    expect(winner.locator('#conversation-head[data-standing="mine"]')).to_be_visible()
    expect(loser.locator("#conversation .nothing")).to_contain_text(owner)
    expect(loser.locator(".toast.problem")).to_contain_text(owner)
    expect(loser.locator(f"#item-{conversation}")).to_have_count(0)
    assert "conversation=" not in loser.url
    winner.goto(served.base + "/desk")
    expect(zhang.locator("#presence")).to_be_hidden()
    assert [said for said in served.complaints if "409" not in said and "404" not in said] == []


def test_who_has_it_is_told_even_when_a_later_look_overtakes_the_one_that_knew(served: Served) -> None:
    conversation = served.desk.escalated("a", "你好")
    page = served.page("lee", f"/desk?conversation={conversation}")
    page.evaluate(
        """async () => {
            const { refreshConversation } = await import("/desk/static/conversation.js");
            const gone = new Response("", { status: 404 });
            window.fetch = async () => gone.clone();
            refreshConversation("own", "王敏");
            refreshConversation("live");
        }"""
    )
    expect(page.locator("#conversation .nothing")).to_contain_text("王敏")


def test_what_is_passed_on_arrives_at_the_colleague_and_is_graded_there(served: Served) -> None:
    desk = served.desk
    conversation = desk.escalated("a", "杯子碎了", customer_id=desk.customer("李雷"), assignee="lee")
    with desk.store.write() as session:
        file_complaint(session, conversation_id=conversation, message_id=None, what="杯子碎了", wish=None,
                       now=desk.clock())
    wang, lee = served.page("wang"), served.page("lee", f"/desk?conversation={conversation}")
    desk.clock.move(minutes=1)
    lee.keyboard.press("t")
    expect(lee.locator("#transfer-find")).to_be_focused()
    lee.keyboard.type("王")
    expect(lee.locator(".target:visible")).to_have_count(1)
    lee.check(".target:visible input")
    lee.fill('#ask-transfer [name="note"]', "he wants a new cup")
    lee.click("#ask-transfer .primary")
    expect(lee.locator('#conversation-head[data-standing="other"]')).to_be_visible()  # the keeper still sees it
    wang.wait_for_selector(f"#item-{conversation}")
    expect(wang.locator(".toast.notice")).not_to_have_count(0)
    wang.click(f"#item-{conversation}")
    expect(wang.locator(".m.note").last).to_contain_text("he wants a new cup")
    desk.clock.move(minutes=1)
    wang.keyboard.press("g")
    wang.check('#ask-grade [value="complex"]')
    wang.click("#ask-grade .primary")
    expect(wang.locator("#ask-grade")).to_be_visible()  # it asks why
    wang.fill('#ask-grade [name="reason"]', "第二次了")
    wang.click("#ask-grade .primary")
    expect(wang.locator("#conversation-head .chip.complex")).to_be_visible()
    expect(lee.locator("#conversation-head .chip.complex")).to_be_visible()
    assert not served.complaints


def test_a_breach_moves_the_ticket_up_and_what_was_snoozed_wakes(served: Served) -> None:
    desk = served.desk
    late = desk.escalated("a", "你好", assignee="lee")
    lee, zhang = served.page("lee"), served.page("zhang")
    desk.clock.move(minutes=16)
    with desk.store.write() as session:
        assert tick(session, desk.clock())
    for page in (lee, zhang):
        expect(page.locator('.toast.notice[data-kind="sla_breached"]')).to_be_visible()
    with desk.store.read() as session:
        assert {ticket.level for ticket in session.query(Ticket)} == {"experts"}
    lee.click(f"#item-{late}")
    expect(lee.locator("#thread .event.breached")).to_be_visible()
    expect(lee.locator('.toast.notice[data-kind="sla_breached"]')).to_have_count(0)
    desk.clock.move(minutes=1)
    assert desk.client("lee").post(f"/api/conversations/{late}/reply", json={"text": "Sorry!"}).status_code == 201
    lee.reload()  # its clock is the server's again
    lee.keyboard.press("s")
    lee.check('#ask-snooze [value="at"]')
    lee.fill("#snooze-time", "2020-01-01T09:00")
    lee.click("#ask-snooze .primary")
    expect(lee.locator("#snooze-wrong")).not_to_be_empty()
    lee.check('#ask-snooze [value="tomorrow"]')
    lee.click("#ask-snooze .primary")
    expect(lee.locator("#conversation-head .wakes")).to_have_text("Snoozed until 19 Nov 09:00")
    expect(lee.locator(f"#item-{late}")).to_have_count(0)
    lee.keyboard.press("4")
    expect(lee.locator(f"#item-{late} .wakes")).to_be_visible()
    desk.clock.move(seconds=5)
    lee.keyboard.press("w")
    expect(lee.locator("#conversation-head .wakes")).to_have_count(0)
    lee.keyboard.press("s")
    lee.check('#ask-snooze [value="hour"]')
    lee.click("#ask-snooze .primary")
    expect(lee.locator("#conversation-head .wakes")).to_be_visible()
    lee.keyboard.press("2")
    expect(lee.locator(f"#item-{late}")).to_have_count(0)
    desk.clock.move(minutes=62)
    with desk.store.write() as session:
        assert tick(session, desk.clock())
    expect(lee.locator("#conversation-head .wakes")).to_have_count(0)
    expect(lee.locator(f"#item-{late}")).to_be_visible()
    assert not served.complaints


def test_a_reply_is_sent_once_however_often_it_is_tried(served: Served) -> None:
    desk = served.desk
    conversation = desk.escalated("a", "你好", assignee="lee")
    page = served.page("lee", f"/desk?conversation={conversation}")
    path = f"**/api/conversations/{conversation}/reply"

    def lose_the_answer(route: Any) -> None:
        route.fetch()
        route.abort()

    page.route(path, lose_the_answer)
    page.fill("#text", "once")
    page.click("#send")
    expect(page.locator(".toast.problem")).to_be_visible()
    expect(page.locator("#text")).to_have_value("once")
    page.unroute(path)
    page.dblclick("#send")
    expect(page.locator("#text")).to_have_value("")
    expect(page.locator(".m.out.agent")).to_have_count(1)
    with desk.store.read() as session:
        assert [message.text for message in session.query(Message).filter(Message.author == "agent")] == ["once"]


def test_earlier_messages_load_while_what_is_read_stays(served: Served) -> None:
    desk = served.desk
    conversation, _ = desk.says("a", "第 0 句", reply=None)
    with desk.store.write() as session:
        first = session.query(Message).filter(Message.direction == "incoming").one()
        session.bulk_save_objects([
            Message(conversation_id=conversation, identity_id=first.identity_id, direction="incoming",
                    author="customer", text=f"第 {count} 句", buttons=[], created_at=desk.clock(),
                    handled_at=desk.clock()) for count in range(1, 200)])
    desk.clock.move(minutes=2)  # or it would be one of a flood
    desk.escalated("a", "最后一句", assignee="lee")
    page = served.page("lee", f"/desk?conversation={conversation}")
    assert page.locator("#thread > li.in").count() < 100
    page.keyboard.press("h")
    expect(page.locator("#thread > li.in")).to_have_count(160)
    page.evaluate("document.getElementById('scroll').scrollTop = 0")  # there is more above: it loads by itself
    expect(page.locator("#thread > li.in").first).to_contain_text("第 0 句")
    expect(page.locator("#earlier")).to_have_count(0)
    assert page.evaluate("document.getElementById('scroll').scrollTop") > 500
    desk.clock.move(seconds=5)
    desk.says("a", "还有一句", reply=None)
    expect(page.locator("#new-below")).to_be_visible()
    expect(page.locator("#thread > li.in")).to_have_count(202)
    expect(page.locator("#announce")).to_contain_text("New message")
    assert page.evaluate("[...document.querySelectorAll('[id]')].length == "
                         "new Set([...document.querySelectorAll('[id]')].map((e) => e.id)).size"), "ids are unique"
    assert not served.complaints


def test_the_filter_stays_in_the_address_and_the_theme_in_the_browser(served: Served) -> None:
    desk = served.desk
    angry, asked = desk.escalated("a", "气死了"), desk.escalated("b", "转人工", reason="asked")
    page = served.page("lee")
    page.keyboard.press("f")
    page.select_option("#filter-form [name=reason]", "asked")
    expect(page.locator(f"#item-{angry}")).to_have_count(0)
    page.keyboard.press("Escape")
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    page.wait_for_selector("#conversation-head")
    assert page.url.endswith(f"/desk?view=all&reason=asked&conversation={asked}")
    page.reload()
    expect(page.locator("#queue-list a.item")).to_have_count(1)
    page.click("[data-clear]")
    expect(page.locator("#queue-list a.item")).to_have_count(2)
    assert page.url.endswith(f"/desk?view=all&conversation={asked}")
    dark = "getComputedStyle(document.body).backgroundColor == 'rgb(22, 24, 23)'"
    assert not page.evaluate(dark)
    page.click(".menu summary")
    page.click("[name=theme][value=dark]")
    page.wait_for_selector("#live.on")
    assert page.evaluate(dark) and page.url.endswith(f"conversation={asked}")
    page.keyboard.press("?")
    page.uncheck("#single-keys")
    page.keyboard.press("Escape")
    page.keyboard.press("n")
    expect(page.locator("#text")).not_to_be_focused()
    assert not served.complaints


def test_who_comes_too_late_reads_who_has_it(served: Served) -> None:
    conversation = served.desk.escalated("a", "你好")
    page = served.page("zhang", f"/desk?conversation={conversation}")
    page.route("**/desk/stream*", lambda route: route.abort())
    page.reload()
    assert served.desk.client("wang").post(f"/api/conversations/{conversation}/claim").status_code == 200
    page.click('[data-action="claim"]')
    page.wait_for_selector(".toast.problem >> text=王敏 已经认领")
    page.wait_for_selector('#conversation-head[data-standing="other"]')
    page.click('[data-ask="takeover"]')
    page.click("#ask-takeover .primary")
    page.wait_for_selector('#conversation-head[data-standing="mine"]')


def test_a_phrase_is_inserted_and_never_sent_by_itself(served: Served) -> None:
    desk = served.desk
    conversation = desk.escalated("a", "你好", customer_id=desk.customer("李雷"), assignee="wang")
    page = served.page("wang", f"/desk?conversation={conversation}")
    page.click(".suggest button")
    page.click("#phrases summary")
    page.click(".phrase-list button")
    assert page.input_value("#text") == "换谁都会生气，这是我们的责任。\n李雷您好，我是王敏，工单 C1001。"
    assert page.locator(".m.out.agent").count() == 0


def test_the_bots_reading_is_corrected_by_keyboard_and_a_colleague_sees_it(served: Served) -> None:
    desk = served.desk
    conversation = desk.escalated("a", "你们真行", intent="thank", anger=0.4)
    colleague = served.page("zhang", f"/desk?conversation={conversation}")
    page = served.page("lee", f"/desk?conversation={conversation}")
    page.focus(".understood summary")
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.locator("#ask-correct")).to_be_visible()
    page.focus('#ask-correct [name="angry"]:checked')
    page.keyboard.press("ArrowDown")
    page.select_option('#ask-correct [name="intent"]', label="Make a complaint")
    desk.clock.move(seconds=30)
    page.click("#ask-correct .primary")
    page.wait_for_selector(".understood dd >> text=→ Make a complaint")
    assert "→ Angry" in page.inner_text(".understood dl")
    expect(page.locator("[data-correct]")).to_be_focused()
    colleague.wait_for_selector(".understood summary >> text=已更正", timeout=5_000)
    page.click("[data-correct]")
    page.select_option('#ask-correct [name="intent"]', "")
    page.click("#ask-correct .primary")
    expect(page.locator(".understood dl")).not_to_contain_text("Make a complaint")
    assert "→ Angry" in page.inner_text(".understood dl")
    assert not served.complaints


def test_nothing_hostile_runs(served: Served) -> None:
    desk = served.desk
    conversation = desk.escalated("a", HOSTILE, customer_id=desk.customer(HOSTILE), reply=HOSTILE, assignee="zhang",
                                  buttons=({"title": HOSTILE, "payload": "/affirm"},))
    page = served.page("zhang", f"/desk?conversation={conversation}")
    desk.clock.move(seconds=30)
    desk.says("a", HOSTILE + "2", reply=None)
    expect(page.locator(".m.in")).to_have_count(2, timeout=10_000)
    assert page.evaluate("window.owned") is None
    page.goto(f"{served.base}/manage/logs?words=%3Cscript%3E")
    assert page.locator("mark").count() >= 1 and page.evaluate("window.owned") is None
    page.goto(f"{served.base}/manage/logs/{conversation}")
    assert "onerror" in page.inner_text(".thread") and page.evaluate("window.owned") is None
    assert not served.complaints


@pytest.mark.parametrize("width, height", [(1280, 720), (390, 844)])
def test_nothing_is_wider_than_the_window(served: Served, width: int, height: int) -> None:
    desk = served.desk
    conversation = desk.escalated("a", "长" * 300 + "w" * 300, customer_id=desk.customer("名" * 60), assignee="zhang")
    page = served.page("zhang", "/desk", viewport={"width": width, "height": height})
    for path in ("/desk", f"/desk?conversation={conversation}", "/manage/logs", f"/manage/logs/{conversation}"):
        page.goto(served.base + path)
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), path
        if width < 900 and "conversation=" in path:
            assert page.is_visible("#text") and not page.is_visible("#queue-list")
            page.click(".panes [data-pane=queue]")
            assert page.is_visible("#queue-list") and not page.is_visible("#text")
            page.click(".panes [data-pane=customer]")
            assert page.is_visible(".person") and not page.is_visible("#queue-list")


def test_on_a_phone_a_conversation_opens_at_its_end(served: Served) -> None:
    for _ in range(12):
        served.desk.clock.move(minutes=1)
        served.desk.says("a", "还没到", reply="还在路上。")
    conversation = served.desk.escalated("a", "最后一句")
    page = served.page("wang", viewport={"width": 390, "height": 844})
    page.click(f"#item-{conversation}")
    expect(page.locator("#thread > li").last).to_be_in_viewport()


@pytest.mark.parametrize("width", [1280, 390])
def test_a_suggested_article_is_inserted_and_a_solved_case_opened(served: Served, width: int) -> None:
    desk = served.desk
    save(desk, body_zh="三个工作日内到账。")
    before = solved(desk, "a", "退款拖了三周" + "w" * 200)
    conversation = desk.escalated("b", "退款怎么还没到", assignee="wang")
    read_cases(desk)
    page = served.page("wang", f"/desk?conversation={conversation}", viewport={"width": width, "height": 800})
    if width < 900:
        page.click(".panes [data-pane=customer]")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.click("#near-articles [data-insert]")
    expect(page.locator("#text")).to_have_value("三个工作日内到账。")
    expect(page.locator("#text")).to_be_focused()
    if width < 900:
        page.click(".panes [data-pane=customer]")
    page.click("#solved-cases a")
    expect(page.locator("#conversation-head")).to_have_attribute("data-conversation", str(before))
    expect(page.locator("#text")).to_be_visible()
    assert page.url.endswith(f"conversation={before}") and not served.complaints


def test_a_proposal_is_written_by_key_kept_when_cancelled_and_sent(served: Served) -> None:
    desk = served.desk
    conversation = desk.escalated("a", "杯子碎了", customer_id=desk.customer("李雷"), assignee="wang")
    with desk.store.write() as session:
        file_complaint(session, conversation_id=conversation, message_id=None, what="杯子碎了", wish=None,
                       now=desk.clock())
    wang = served.page("wang", f"/desk?conversation={conversation}")
    wang.fill("#text", "稍等")
    wang.locator("#scroll").focus()
    wang.keyboard.press("a")
    wang.fill('#ask-propose [name="text"]', HOSTILE)
    wang.keyboard.press("Escape")
    expect(wang.locator("#ask-propose")).to_be_hidden()
    expect(wang.locator("#scroll")).to_be_focused()
    wang.keyboard.press("a")
    expect(wang.locator('#ask-propose [name="text"]')).to_have_value(HOSTILE)
    desk.clock.move(seconds=1)
    wang.click("#ask-propose .primary")
    expect(wang.locator(".m.out.agent .text").last).to_have_text(HOSTILE)
    expect(wang.locator("[data-propose]")).to_have_count(0)
    expect(wang.locator("#conversation-head .chip.ticket").last).to_contain_text("已出方案")
    expect(wang.locator("#open-tickets")).to_contain_text("已出方案")
    expect(wang.locator("#text")).to_have_value("稍等")
    assert not served.complaints and wang.evaluate("window.owned") is None


def test_a_notice_and_ones_load_show_without_a_look_at_the_page(served: Served) -> None:
    desk = served.desk
    conversation = desk.escalated("a")
    wang = served.page("wang")
    expect(wang.locator("#available")).to_contain_text("0/6")
    with desk.store.write() as session:
        session.add(Notification(agent_id=desk.agent("wang").id, kind="nobody_free", conversation_id=conversation,
                                 created_at=desk.clock(), idempotency_key="told once"))
    expect(wang.locator(".toast.notice")).to_have_count(1)
    desk.clock.move(seconds=1)
    wang.evaluate(f"fetch('/api/conversations/{conversation}/claim', {{method: 'POST'}})")
    expect(wang.locator("#available")).to_contain_text("1/6")
    assert not served.complaints

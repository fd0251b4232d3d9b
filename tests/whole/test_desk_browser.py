"""The human side in a real browser: agents, a lead, a manager and a customer at once, on the real clock."""
from __future__ import annotations

import csv
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from playwright.sync_api import Page, expect

from tests.whole.conftest import ROOT, Whole, log_in, signed_in, write

pytestmark = [pytest.mark.processes, pytest.mark.browser]
NAMES = {"wangmin": "王敏", "chenwei": "陈伟", "lina": "李娜", "zhaolei": "赵蕾", "manager": "周宁"}
NUMBER = re.compile(r"C\d{4,}")
UNREAD = re.compile(r'data-notice="(\d+)" data-kind="(?!sla_breached)')
BOT_MS = 20_000  # until the bot has answered, on machines that may be busy with other tests
CLOCK_MS = 30_000  # until the SLA clocks were looked at, and a page has shown it
PROMISE_MS = 90_000  # until the shortest promise is broken, and a page has shown it
POLICY_OF_PLATINUM = "铂金 · 转人工"
PACKAGES = ("warmline", "bot", "crm_store")


@pytest.fixture
def at_desk(whole: Whole, open_page: Any) -> Callable[..., Page]:
    """Opens the desk or a page of the console as an agent who has nothing left unread."""

    def opened(login: str, path: str = "/desk") -> Page:
        read_everything(whole, login)
        page: Page = open_page("/desk")
        log_in(page, login)
        if path != "/desk":
            page.goto(path)
        else:
            page.wait_for_selector("#live.on")
        return page

    return opened


def read_everything(whole: Whole, login: str) -> None:
    """Put away what an agent was told before, by which other tests would fill their page; breaches stay."""
    with whole.desk(login) as desk:
        while unread := UNREAD.findall(desk.get("/desk/parts/notices").text):
            for notice in unread:
                assert desk.post(f"/desk/notices/{notice}/seen").status_code == 204


def handed_over(page: Page, name: str) -> str:
    """The conversation of a customer that arrives in the queue of an open desk."""
    item = page.locator("#queue-list .item", has_text=name)
    expect(item).to_be_visible(timeout=BOT_MS)
    return str(item.get_attribute("data-conversation"))


def notice_of(page: Page, kind: str, conversation: str) -> Any:
    return page.locator(f'.toast.notice[data-kind="{kind}"]').filter(
        has=page.locator(f'a[data-conversation="{conversation}"]'))


def open_conversation(page: Page, conversation: str) -> None:
    page.click(f"#item-{conversation}")
    expect(page.locator(f'#conversation-head[data-conversation="{conversation}"]')).to_be_visible()


def reply(page: Page, text: str) -> None:
    page.fill("#text", text)
    page.press("#text", "Control+Enter")


def confirm(page: Page, question: str) -> None:
    page.click(f"[data-ask={question}]")
    page.click("dialog[open] .primary")


def complain(chat: Page) -> str:
    """File a complaint with the bot; its number."""
    log = chat.get_by_role("log")
    write(chat, "i want to make a complaint")
    expect(log).to_contain_text(re.compile("what (went|is) wrong|what happened|tell me", re.IGNORECASE), timeout=BOT_MS)
    write(chat, "the humidifier stopped making mist after two days")
    which = log.locator("button:enabled").first
    expect(which).to_be_enabled(timeout=BOT_MS)
    which.click()
    wish = log.locator("button:enabled", has_text=re.compile("replace|exchange", re.IGNORECASE))
    expect(wish).to_be_enabled(timeout=BOT_MS)
    wish.click()
    expect(log).to_contain_text(NUMBER, timeout=BOT_MS)
    found = NUMBER.search(log.inner_text())
    assert found
    return found.group()


def claim_at_once(pages: tuple[Page, Page]) -> tuple[Page, Page]:
    """Both have asked for the conversation before either is answered; who gets it, and who does not."""
    one, other = pages
    held: list[Any] = []
    for page in pages:
        page.route("**/claim", lambda route: held.append(route))
        page.click("[data-action=claim]")
    until(one, lambda: len(held) == 2)
    with one.expect_response("**/claim") as first, other.expect_response("**/claim") as second:
        for route in held:
            route.continue_()
    assert sorted((first.value.status, second.value.status)) == [200, 409]
    return (one, other) if first.value.status == 200 else (other, one)


def until(page: Page, holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < deadline
        page.evaluate("new Promise(requestAnimationFrame)")  # lets what the browser has to tell arrive


@dataclass
class Promised:
    """A conversation whose customer was promised an answer within a minute, and what the audit log has of it."""

    conversation: str
    who: str
    became: str


@pytest.fixture(scope="module")
def promised(whole: Whole, browser: Any) -> Iterator[Promised]:
    """A manager makes a promise as short as can be made, and takes it back once a customer has been given it.

    It runs out while the other tests of this file run.
    """
    for login in NAMES:
        read_everything(whole, login)
    context = browser.new_context(locale="zh-CN", base_url=whole.base)
    manager, chat = context.new_page(), context.new_page()
    manager.goto("/desk")
    log_in(manager, "manager")
    manager.goto("/manage/settings/policies")
    manager.get_by_role("link", name=POLICY_OF_PLATINUM).click()
    address, was = manager.url, manager.input_value("#first_response_seconds")
    save_promise(manager, address, "1 分钟", always=True)
    try:
        manager.goto("/manage/settings/audit?kind=sla_policy")
        newest = manager.locator("table.audit tbody tr").first
        who, became = newest.inner_text(), newest.locator("ins").first.inner_text()
        chat.goto(signed_in(whole, "WLC00013"))
        write(chat, "转人工")
        manager.goto("/desk")
        conversation = handed_over(manager, "夏荷")
    finally:
        save_promise(manager, address, was, always=False)
    yield Promised(conversation, who, became)
    context.close()


def save_promise(manager: Page, address: str, length: str, *, always: bool) -> None:
    manager.goto(address)
    manager.fill("#first_response_seconds", length)
    manager.set_checked("#around_the_clock", always)
    manager.click("form.fields .primary")
    manager.wait_for_url("**said=saved")


def test_a_changed_promise_is_in_the_audit_log(promised: Promised) -> None:
    assert NAMES["manager"] in promised.who
    assert promised.became == "1 分钟"


def test_an_angry_customer_goes_from_hand_to_hand_and_back_to_the_bot(whole: Whole, open_page: Any,
                                                                      at_desk: Callable[..., Page]) -> None:
    chat = open_page(signed_in(whole, "WLC00014"), locale="en-GB")
    log = chat.get_by_role("log")
    number = complain(chat)
    wang, chen, li, zhao = (at_desk(login) for login in ("wangmin", "chenwei", "lina", "zhaolei"))
    write(chat, "this is the third time i ask! you are useless liars, fix this today or i will sue you!")
    conversation = handed_over(wang, "Ben Carter")
    for page in (wang, chen, li):
        expect(page.locator(f"#item-{conversation}")).to_be_visible()
        open_conversation(page, conversation)

    wang.fill("#text", "I am looking into it, ")
    expect(chen.locator("#presence")).to_contain_text("王敏 typing…")
    expect(li.locator("#presence")).to_contain_text("王敏 正在输入…")
    write(chat, "is anybody there?")
    for page in (wang, chen, li):
        expect(page.locator("#thread .m.in").last).to_contain_text("is anybody there?")
    expect(wang.locator("#text")).to_have_value("I am looking into it, ")

    winner, loser = claim_at_once((wang, chen))
    owner = NAMES["wangmin" if winner is wang else "chenwei"]
    expect(winner.locator('#conversation-head[data-standing="mine"]')).to_be_visible()
    expect(loser.locator(".toast.problem")).to_contain_text(owner)
    for page in (loser, li):
        expect(page.locator("[data-action=claim]")).to_have_count(0)
    reply(winner, "hello Mr Carter, I have your complaint here")
    expect(log).to_contain_text("I have your complaint here")

    winner.click("[data-ask=transfer]")
    winner.fill("#transfer-find", "李娜")
    winner.check(".target:visible input")
    winner.fill('#ask-transfer [name="note"]', "he wants a new humidifier")
    winner.click("#ask-transfer .primary")
    expect(notice_of(li, "transferred", conversation)).to_be_visible()
    open_conversation(li, conversation)
    expect(li.locator("#thread")).to_contain_text("he wants a new humidifier")

    with whole.desk("lina") as desk:
        wakes_at = datetime.now(timezone.utc) + timedelta(seconds=5)
        put_away = desk.post(f"/api/conversations/{conversation}/snooze", json={"until": wakes_at.isoformat()})
        assert put_away.status_code == 200, put_away.text
    expect(li.locator("#conversation-head .wakes")).to_be_visible()
    expect(li.locator("#conversation-head .wakes")).to_have_count(0, timeout=CLOCK_MS)
    assert datetime.now(timezone.utc) >= wakes_at
    expect(li.locator(f"#item-{conversation}")).to_be_visible()

    confirm(li, "resolve")
    bad = log.get_by_role("button", name=re.compile("^1"))
    expect(bad).to_be_enabled()
    bad.click()
    expect(notice_of(zhao, "low_rating", conversation)).to_contain_text(number)
    expect(log.locator("> *").last).to_contain_text(number)

    open_conversation(zhao, conversation)
    zhao.click("[data-action=claim]")
    confirm(zhao, "handback")
    expect(log).to_contain_text("Our assistant is here for you again")
    before = log.locator("> *").count()
    write(chat, "what about my complaint?")
    expect(log.locator("> *").nth(before + 1)).to_be_visible(timeout=BOT_MS)
    expect(log.locator("> *").last).to_contain_text(number)


def test_a_manager_finds_what_was_said_by_a_word_in_a_sentence(open_page: Any, at_desk: Callable[..., Page]) -> None:
    chat = open_page("/")
    write(chat, "我买的那条缂丝围巾洗一次就掉色了吗")
    expect(chat.get_by_role("log").locator("> *").nth(1)).to_be_visible(timeout=BOT_MS)
    manager = at_desk("manager", "/manage/logs")
    for asked in ("缂丝", "緙絲"):  # as it was written, and in Traditional characters
        manager.fill("#words", asked)
        manager.press("#words", "Enter")
        manager.wait_for_url(f"**words={quote(asked)}*")
        expect(manager.locator("td.said mark")).to_have_text("缂丝")
    manager.click("td.who a")
    expect(manager.locator("#hit-1")).to_have_text("缂丝")
    read = re.search(r"/manage/logs/(\d+)", manager.url)
    assert read
    manager.goto("/manage/settings/audit?action=look&kind=conversation")
    newest = manager.locator("table.audit tbody tr").first
    expect(newest).to_contain_text(NAMES["manager"])
    expect(newest.locator(".what")).to_contain_text(read[1])


def test_the_point_of_a_chart_leads_to_as_many_conversations_and_their_export(whole: Whole, sender: str,
                                                                              at_desk: Callable[..., Page],
                                                                              tmp_path: Path) -> None:
    whole.say(sender, "羊毛毯可以机洗吗")
    manager = at_desk("manager", "/manage/figures")
    point = manager.locator("#volume .bars a", has=manager.locator("rect")).last
    said = re.search(r": (\d+)$", point.locator("title").text_content() or "")
    assert said
    count = int(said[1])
    point.locator("rect").click()
    manager.wait_for_url("**/manage/logs?**")
    expect(manager.locator(".count b")).to_contain_text(re.compile(rf"(?<!\d){count}(?!\d)"))
    manager.click(".export summary")
    with manager.expect_download() as downloading:
        manager.click('.export a[href*="export.csv"] >> nth=0')
    path = tmp_path / "found.csv"
    downloading.value.save_as(path)
    rows = list(csv.DictReader(path.read_text(encoding="utf-8-sig").splitlines()))
    assert len(rows) == count
    manager.goto("/manage/settings/audit?kind=log")
    expect(manager.locator("table.audit tbody tr").first).to_contain_text(NAMES["manager"])


def test_what_the_bot_misread_becomes_a_training_example(whole: Whole, sender: str, at_desk: Callable[..., Page],
                                                         tmp_path: Path) -> None:
    text = "隔壁老王家的猫会不会开宇宙飞船"
    assert whole.say(sender, text)["understood"]["intent"] == "out_of_scope"
    manager = at_desk("manager", "/manage/learning")
    look = manager.locator(".look", has_text=text)
    look.locator("input[name=intent]").fill("商品咨询")
    look.locator("button[value=learn]").click()
    expect(look).to_have_count(0)
    for package in PACKAGES:  # the command writes beside its own code, which is to stay as it is
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    done = subprocess.run([sys.executable, "-W", "ignore", "-m", "warmline", "corrections"], cwd=tmp_path, check=False,
                          capture_output=True, text=True, timeout=60,
                          env={**os.environ, "PYTHONPATH": "", "WARMLINE_DATA_FOLDER": str(whole.folder),
                               "WARMLINE_DATABASE_URL": str(whole.store.engine.url)})
    assert done.returncode == 0, done.stderr
    written = (tmp_path / "data" / "corrections" / "nlu" / "zh" / "corrections.yml").read_text(encoding="utf8")
    assert text in written.split("- intent: ask_product\n")[1].split("- intent:")[0]
    manager.goto("/manage/learning?show=done")
    expect(manager.locator("tr", has_text=text)).to_contain_text("商品咨询")


def test_a_broken_promise_moves_the_ticket_up_and_is_told_to_its_agent_and_their_lead(whole: Whole, open_page: Any,
                                                                                     promised: Promised) -> None:
    def at_work(login: str) -> Page:
        page: Page = open_page("/desk")
        log_in(page, login)
        return page

    lead = at_work("zhaolei")
    expect(notice_of(lead, "sla_breached", promised.conversation)).to_be_visible(timeout=PROMISE_MS)
    with whole.desk("manager") as desk:
        rows = desk.get("/api/queue").json()["conversations"]
    row = next(row for row in rows if row["conversation_id"] == int(promised.conversation))
    assert row["breached"] and row["promise"] == "first_response"
    agent = at_work(next(login for login, name in NAMES.items() if name == row["assignee_name"]))
    expect(notice_of(agent, "sla_breached", promised.conversation)).to_be_visible()
    open_conversation(agent, promised.conversation)
    expect(agent.locator("#thread .event.breached")).to_be_visible()
    agent.click("#filter-button")
    agent.select_option("#filter-form [name=team]", label="专家组 · Experts")
    expect(agent.locator(f"#item-{promised.conversation}")).to_be_visible()
    expect(agent.locator(f"#item-{promised.conversation} .due.late")).to_be_visible()

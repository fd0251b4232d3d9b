"""The browser's own notifications: asked for by the button, of what is new, while nobody looks at the page."""
from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import expect

from crm_store.services.deliveries import queue_test
from crm_store.services.notice_settings import create_webhook
from crm_store.services.notices import notify
from tests.desk.test_browser import Served, chromium, served

__all__ = ["chromium", "served"]
pytestmark = pytest.mark.browser

# Stands in for what the system shows, which no test can look at.
RECORDER = """
window.shown = []; window.away = false; window.answer = "granted";
class Recorder extends EventTarget {
  static permission = "default";
  static async requestPermission() { return Recorder.permission = window.answer; }
  constructor(title, options) {
    super();
    shown.push({ title, ...options });
    Recorder.last = this;
    document.documentElement.dataset.shown = shown.length;
  }
  close() {}
}
window.Notification = Recorder;
Object.defineProperty(document, "hidden", { get: () => window.away });
"""


def told(served: Served, key: str, conversation: int) -> None:
    """Something an agent must be told, with the message that makes their page look again."""
    served.desk.clock.move(seconds=30)
    with served.desk.store.write() as session:
        notify(session, [served.desk.agent("lee").id], kind="assigned", key=key, now=served.desk.clock(),
               conversation_id=conversation, data={"ticket": "C1001", "reason": "asked"})
    served.desk.says("a", f"还在吗？{key}", reply=None)


def page_of(served: Served, **options: Any) -> Any:
    """A page with the recorder in it; its script runs before the page's own."""
    page = served.page("lee", **options)
    page.add_init_script(RECORDER)
    page.reload()
    page.wait_for_selector("#live.on")
    return page


def test_what_is_new_is_shown_while_the_page_is_hidden(served: Served) -> None:
    conversation = served.desk.escalated("a", "你好", customer_id=served.desk.customer("李雷"))
    told(served, "before", conversation)
    page = page_of(served)
    page.wait_for_selector(".toast.notice")
    button = page.locator("#browser-notice")
    expect(button).to_have_attribute("aria-pressed", "false")
    button.click()
    expect(button).to_have_attribute("aria-pressed", "true")
    told(served, "looking", conversation)
    expect(page.locator(".toast.notice")).to_have_count(2)
    page.evaluate("window.away = true")
    for number in range(3):  # the page itself shows no more than three at once
        told(served, f"away {number}", conversation)
    expect(page.locator("html")).to_have_attribute("data-shown", "3", timeout=20_000)
    shown = page.evaluate("window.shown")
    assert [each["body"] for each in shown] == ["Assigned to you: C1001, Asked"] * 3
    assert len({each["tag"] for each in shown}) == 3 and shown[0]["title"] == "Warmline"
    assert "李雷" not in str(shown)
    page.evaluate("Notification.last.dispatchEvent(new Event('click'))")
    page.wait_for_selector(f'#conversation-head[data-conversation="{conversation}"]')
    assert not served.complaints


def test_nothing_is_shown_until_it_is_asked_for_nor_after_it_is_turned_off(served: Served) -> None:
    conversation = served.desk.escalated("a", "你好")
    page = page_of(served)
    page.evaluate("window.away = true")
    told(served, "k1", conversation)
    page.wait_for_selector(".toast.notice")
    assert page.evaluate("[Notification.permission, shown.length]") == ["default", 0]
    page.click("#browser-notice")
    page.click("#browser-notice")
    expect(page.locator("#browser-notice")).to_have_attribute("aria-pressed", "false")
    told(served, "k2", conversation)
    expect(page.locator(".toast.notice")).to_have_count(2)
    assert page.evaluate("shown.length") == 0 and not served.complaints


def test_a_browser_that_says_no_is_believed(served: Served) -> None:
    page = page_of(served)
    page.evaluate("window.answer = 'denied'")
    page.click("#browser-notice")
    expect(page.locator("#browser-notice")).to_have_attribute("aria-disabled", "true")
    assert "The browser blocks notifications" in page.get_attribute("#browser-notice", "title")
    page.evaluate("window.answer = 'granted'")
    page.click("#browser-notice", force=True)
    expect(page.locator("#browser-notice")).to_have_attribute("aria-pressed", "false")
    assert not served.complaints


@pytest.mark.parametrize(("width", "height"), [(1280, 720), (390, 844)])
def test_no_page_of_notices_is_wider_than_the_window(served: Served, width: int, height: int) -> None:
    with served.desk.store.write() as session:
        hook = create_webhook(session, served.desk.agent("root"), name="名" * 80, kinds=["woken", "assigned"],
                              url="https://example.com/" + "w" * 470, now=served.desk.clock())
        queue_test(session, "webhook", hook.id, served.desk.clock())
    page = served.page("root", "/manage/webhooks", viewport={"width": width, "height": height})
    for path in ("/manage/webhooks", f"/manage/webhooks/{hook.id}", "/desk/notifications"):
        page.goto(served.base + path)
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), path
    page.goto(f"{served.base}/manage/webhooks/{hook.id}")
    page.click("details.danger summary")
    page.click("details.danger button")
    expect(page.locator("#secret")).to_contain_text("whsec_")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth") and not served.complaints

"""The chat as a widget on a shop's page of another site, in a real browser that keeps no cookies for a frame."""
from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import FrameLocator, Locator, Page, expect, sync_playwright
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse
from starlette.routing import Route

from crm_store.models import ChannelIdentity, Conversation, Message, SupportAgent
from crm_store.services.handoff import escalate_conversation, reply_to_customer, resolve_conversation
from gateway.visitors import COOKIE, HEADER, vouched_customer
from tests.conftest import find_program, require
from tests.gateway.conftest import BotDouble, Gateway, Records, Threaded

DOCS = Path(__file__).resolve().parents[2] / "docs" / "how-to"
KEY = "the shop's servers sign with this key"
PHONE = {"width": 390, "height": 844}
PIXEL = base64.b64decode("iVBORw0KGgoAAAANSUhEUgAAAAoAAAAKCAYAAACNMs+9AAAAFUlEQVR42mNk+M9Qz0AEYBxVSF+FABJADveWkH6oAAAA"
                         "AElFTkSuQmCC")
HOSTILE = ("* { color: red !important; font-size: 40px !important } "
           "div, button, dialog, iframe { display: none !important }")
RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"], "resultTypes": ["violations"]}


def token_of(records: Records, number: str = "WLC00001", key: str = KEY, **other: Any) -> str:
    """What a shop's server puts into its page."""
    at = int(records.clock().timestamp())
    claims = {"aud": "warmline-chat", "sub": number, "iat": at, "exp": at + 300, **other}
    return jwt.encode({name: value for name, value in claims.items() if value is not None}, key, algorithm="HS256")


# What the service says


@pytest.fixture
def framed(sqlite_records: Records, bot: BotDouble) -> Iterator[Gateway]:
    running = Gateway(sqlite_records, bot, widget_origins=["https://shop.example", "https://a.example:8443"],
                      widget_secret=KEY)
    yield running
    running.close()


def come_in(gateway: Gateway, customer: Any = None, visitor: str | None = None, **headers: str) -> httpx.Response:
    held = {} if visitor is None else {HEADER: visitor}
    return gateway.client(**held, **headers).post("/api/chat/visitor", json={"customer": customer})


def say(gateway: Gateway, visitor: str, text: str, **headers: str) -> httpx.Response:
    return gateway.client(**{HEADER: visitor}, **headers).post(
        "/api/chat/messages", json={"message_id": text, "text": text})


def told(gateway: Gateway, visitor: str) -> dict[str, Any]:
    answer: dict[str, Any] = gateway.client(**{HEADER: visitor}).get("/api/chat/messages").json()
    return answer


def test_only_the_named_sites_may_frame_the_chat_and_it_sets_no_cookie(framed: Gateway) -> None:
    answer = framed.client().get("/widget")
    policy = answer.headers["content-security-policy"]
    assert policy.endswith("frame-ancestors 'self' https://shop.example https://a.example:8443")
    assert "x-frame-options" not in answer.headers and "set-cookie" not in answer.headers
    assert 'data-origins="https://shop.example https://a.example:8443"' in answer.text
    page = framed.client().get("/")
    assert page.headers["content-security-policy"].endswith("frame-ancestors 'self'")
    assert page.headers["x-frame-options"] == "SAMEORIGIN"


def test_without_the_setting_no_other_site_may(gateway: Gateway) -> None:
    assert gateway.client().get("/widget").headers["content-security-policy"].endswith("frame-ancestors 'self'")


def test_any_page_may_load_the_script_and_nothing_else(framed: Gateway) -> None:
    client = framed.client(Origin="https://shop.example")
    assert client.get("/widget.js").headers["cross-origin-resource-policy"] == "cross-origin"
    for path in ("/widget.js", "/widget", "/api/chat/messages", "/api/chat/stream"):
        answer = client.get(path)
        assert not [name for name in answer.headers if name.startswith("access-control")], path
    for path in ("/api/chat/visitor", "/api/chat/messages"):
        asked = client.options(path, headers={"Access-Control-Request-Method": "POST",
                                              "Access-Control-Request-Headers": HEADER})
        assert asked.status_code == 405 and not [n for n in asked.headers if n.startswith("access-control")]


@pytest.mark.parametrize("headers", [{"Sec-Fetch-Site": "cross-site"}, {"Origin": "https://shop.example"}])
def test_not_even_an_allowed_site_writes_for_a_visitor(framed: Gateway, headers: dict[str, str]) -> None:
    visitor = come_in(framed).json()["visitor"]
    assert come_in(framed, **headers).status_code == 403
    assert say(framed, visitor, "hi", **headers).status_code == 403
    assert framed.records.all(Message) == []


def test_a_visitor_in_a_header_is_remembered_without_cookies(framed: Gateway) -> None:
    answer = come_in(framed)
    visitor = answer.json()["visitor"]
    assert len(visitor) >= 32 and "set-cookie" not in answer.headers and framed.records.all(ChannelIdentity) == []
    assert come_in(framed, visitor=visitor).json() == {"visitor": visitor}
    sent = say(framed, visitor, "hi")
    assert sent.status_code == 202 and "set-cookie" not in sent.headers
    assert told(framed, visitor)["messages"][0]["text"] == "hi"
    assert told(framed, come_in(framed).json()["visitor"])["messages"] == []


@pytest.mark.parametrize("value", ["", "short", "x" * 500, "' OR 1=1 --" + "x" * 30, "../" * 12])
def test_a_header_that_names_nobody_is_refused_whatever_the_cookie_says(framed: Gateway, value: str) -> None:
    visitor = come_in(framed).json()["visitor"]
    say(framed, visitor, "hi")
    headers = {"Cookie": f"{COOKIE}={visitor}", HEADER: value}
    for path in ("/api/chat/messages", "/api/chat/stream"):
        assert httpx.get(framed.base + path, headers=headers).status_code == 401


def test_a_shops_token_signs_in_and_keeps_what_the_guest_said(framed: Gateway) -> None:
    records = framed.records
    guest = come_in(framed).json()["visitor"]
    say(framed, guest, "asked as a guest")
    visitor = come_in(framed, token_of(records), guest).json()["visitor"]
    chat = told(framed, visitor)
    assert chat["customer"] == "李雷" and chat["messages"][0]["text"] == "asked as a guest"
    assert visitor != guest and told(framed, guest)["known"] is False
    assert come_in(framed, token_of(records), visitor).json()["visitor"] == visitor


def test_the_next_customer_sees_nothing_and_the_first_finds_all_again(framed: Gateway) -> None:
    records = framed.records
    first = come_in(framed, token_of(records)).json()["visitor"]
    say(framed, first, "secret")
    second = come_in(framed, token_of(records, "WLC00002"), first).json()["visitor"]
    assert told(framed, second)["messages"] == [] and told(framed, second)["customer"] == "Ann <b>Miller</b>"
    elsewhere = come_in(framed, token_of(records)).json()["visitor"]
    assert told(framed, elsewhere)["messages"][0]["text"] == "secret"


def test_a_token_that_ran_out_lets_nobody_in_but_whom_it_let_in_before(framed: Gateway) -> None:
    records = framed.records
    token = token_of(records)
    visitor = come_in(framed, token).json()["visitor"]
    records.clock.advance(minutes=11)
    assert come_in(framed, token).status_code == 401
    assert come_in(framed, token, come_in(framed).json()["visitor"]).status_code == 401
    assert come_in(framed, token, visitor).json()["visitor"] == visitor


def test_a_forged_token_is_refused(framed: Gateway) -> None:
    records = framed.records
    good = token_of(records)
    head, body, signature = good.split(".")
    naked = base64.urlsafe_b64encode(b'{"alg":"none"}').rstrip(b"=").decode()
    at = int(records.clock().timestamp())
    forged = ["", "x", "a.b.c", "." * 50, "x" * 5000, f"{head}.{body}.", f"{naked}.{body}.",
              f"{head}.{body}.{signature[:-4]}AAAA",
              token_of(records, key="another key that is not the shop's own"), token_of(records, aud="desk"),
              token_of(records, aud=["warmline-chat", "x"]), token_of(records, aud=None), token_of(records, sub=None),
              token_of(records, iat=None), token_of(records, exp=None), token_of(records, exp=at + 3700),
              token_of(records, exp=at - 1), token_of(records, iat=at + 600, exp=at + 700),
              token_of(records, exp=10**30), token_of(records, iat="x"), token_of(records, "NOBODY"),
              token_of(records, "\u0000"), token_of(records, "x" * 500)]
    assert [token[:40] for token in forged if come_in(framed, token).status_code != 401] == []
    assert [value for value in (7, [], {}) if come_in(framed, value).status_code != 422] == []
    assert framed.records.all(ChannelIdentity) == []
    assert vouched_customer("", good, records.clock()) is None


def test_the_recipe_for_shops_makes_tokens_that_are_taken() -> None:
    page = (DOCS / "put-the-chat-on-your-site.md").read_text(encoding="utf8")
    (recipe,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    made: dict[str, Any] = {}
    exec(recipe, made)
    vouched = vouched_customer(KEY, made["chat_token"]("WLC00001", KEY), datetime.now(timezone.utc))
    assert vouched is not None and vouched.number == "WLC00001" and vouched.fresh


# In the browser


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    program = find_program("chromium")
    require(program, "Chromium is not installed (apt-get install chromium)")
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=program, args=[
            "--no-sandbox", "--disable-gpu", "--test-third-party-cookie-phaseout"])
        yield opened
        opened.close()


class Shop:
    """A shop's page on another site than the desk: ``localhost`` where the desk is 127.0.0.1."""

    def __init__(self, records: Records, bot: BotDouble, chromium: Any) -> None:
        self.server = Threaded(Starlette(routes=[Route("/{path:path}", self._page)]))
        self.origin = f"http://localhost:{self.server.port}"
        self.gateway = Gateway(records, bot, widget_origins=[self.origin], widget_secret=KEY,
                               max_attachment=2**20)
        self.records, self._chromium = records, chromium
        self.attributes = 'data-language="en"'
        self.pages: dict[str, str] = {}
        self.contexts: list[Any] = []
        self.errors: list[str] = []
        self.addresses: list[str] = []

    async def _page(self, request: Request) -> HTMLResponse:
        if request.url.path in self.pages:
            return HTMLResponse("<!doctype html><title>Shop</title>" + self.pages[request.url.path])
        style = HOSTILE if "hostile" in request.url.path else ""
        return HTMLResponse(
            f"<!doctype html><html lang=en><title>Shop</title>"
            f'<meta name=viewport content="width=device-width"><style>{style}</style><main><h1>Shop</h1>'
            f"<a href=#1>First</a> <span>Text</span></main>"
            f'<script src="{self.gateway.base}/widget.js" {self.attributes} async></script></html>')

    def open(self, path: str = "/", **options: Any) -> Page:
        """A new browser with the shop's page; script errors and what a policy refused are kept."""
        context = self._chromium.new_context(**{"viewport": {"width": 1280, "height": 720}, **options})
        context.set_default_timeout(20_000)
        self.contexts.append(context)
        page: Page = context.new_page()
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("console", lambda said: self.errors.append(said.text) if "Policy" in said.text else None)
        page.on("request", lambda request: self.addresses.append(request.url))
        page.goto(self.origin + path)
        return page

    def close(self) -> None:
        for context in self.contexts:
            context.close()
        self.gateway.close()
        self.server.stop()


@pytest.fixture
def shop(sqlite_records: Records, bot: BotDouble, chromium: Any) -> Iterator[Shop]:
    opened = Shop(sqlite_records, bot, chromium)
    yield opened
    opened.close()
    assert not opened.errors


browser = pytest.mark.browser
SLOW = 20_000


def chat_in(page: Page) -> FrameLocator:
    return page.frame_locator("warmline-chat iframe")


def button_on(page: Page) -> Locator:
    return page.locator("warmline-chat > button")


def press_button(page: Page) -> FrameLocator:
    button_on(page).click()
    return chat_in(page)


def write(chat: FrameLocator, text: str) -> None:
    box = chat.get_by_role("textbox")
    box.fill(text)
    box.press("Enter")


def has(chat: FrameLocator, text: str) -> None:
    expect(chat.get_by_role("log")).to_contain_text(text, timeout=SLOW)


def keeper(records: Records) -> Any:
    """The agent who got the conversation."""
    return records.one(SupportAgent, SupportAgent.id == records.one(Conversation).assignee_id)


def incoming(records: Records) -> list[str]:
    return [message.text for message in records.all(Message, Message.direction == "incoming")]


@browser
def test_a_chat_on_another_site_goes_on_after_a_reload_without_cookies(shop: Shop) -> None:
    page = shop.open()
    chat = press_button(page)
    write(chat, "first")
    has(chat, "re: first")
    frame = next(each for each in page.frames if each.url.endswith("/widget"))
    set_cookie = "document.cookie = 'probe=1; SameSite=None; Secure'; document.cookie"
    assert frame.evaluate(set_cookie) == "", "cookies are blocked"
    assert not [each for each in page.context.cookies() if each["name"] == COOKIE]
    page.reload()
    chat = press_button(page)
    has(chat, "re: first")
    write(chat, "second")
    has(chat, "re: second")
    assert incoming(shop.records) == ["first", "second"] and len(shop.records.all(ChannelIdentity)) == 1
    visitor = shop.records.one(ChannelIdentity).external_id
    assert len(shop.addresses) > 10 and not [address for address in shop.addresses if visitor in address]


@browser
def test_the_shops_style_stays_out_and_ours_stays_in(shop: Shop) -> None:
    page = shop.open("/hostile")
    button = button_on(page)
    expect(button).to_be_visible()
    plain = shop.open()
    looks = """name => {
        const style = getComputedStyle(document.querySelector("warmline-chat").shadowRoot.querySelector(name));
        return ["display", "color", "fontSize", "position", "width"].map((each) => style[each]);
    }"""
    for name in ("button", "b", "dialog"):
        assert page.evaluate(looks, name) == plain.evaluate(looks, name), name
    button.click()
    has_text = chat_in(page).get_by_text("I am the assistant of")
    expect(has_text).to_be_visible(timeout=SLOW)
    assert has_text.evaluate("each => getComputedStyle(each).color") != "rgb(255, 0, 0)"
    color = "getComputedStyle(document.querySelector('h1')).color + getComputedStyle(document.body).font"
    before = plain.evaluate("document.querySelector('warmline-chat').remove(), " + color)
    plain.reload()
    expect(button_on(plain)).to_be_visible()
    assert plain.evaluate(color) == before


@browser
def test_what_comes_while_it_is_closed_is_counted_and_told(shop: Shop) -> None:
    page, records = shop.open(), shop.records
    page.evaluate("""window.counts = []; addEventListener("warmline:unread", (event) => counts.push(event.detail))""")
    chat = press_button(page)
    write(chat, "hi")
    has(chat, "re: hi")
    chat.get_by_role("textbox").press("Escape")
    button = button_on(page)
    expect(button).to_have_accessible_name("Chat with us")
    expect(button).to_be_focused()
    conversation = records.one(Conversation)
    records.do(escalate_conversation, conversation_id=conversation.id, reason="asked", language="en",
               now=records.clock())
    agent = keeper(records)
    records.do(reply_to_customer, conversation.id, agent, "I can help", records.clock())
    expect(button).to_have_accessible_name("Chat with us · 2 new messages", timeout=SLOW)
    expect(page.locator("warmline-chat b")).to_have_text("2")
    expect(page.locator("warmline-chat [role=status]")).to_have_text("2 new messages")
    page.reload()
    expect(button).to_have_accessible_name("Chat with us · 2 new messages", timeout=SLOW)
    assert page.evaluate("Warmline.unread") == 2
    page.evaluate("Warmline.open()")
    has(chat, f"{agent.name} has joined")
    expect(button).to_have_accessible_name("Close the chat")
    expect(page.locator("warmline-chat b")).to_be_hidden()
    page.evaluate("Warmline.close()")
    expect(button).to_have_accessible_name("Chat with us")
    records.do(resolve_conversation, conversation.id, agent, records.clock())
    expect(button).to_have_accessible_name(re.compile("1 new"), timeout=SLOW)
    chat = press_button(page)
    chat.get_by_role("button", name=re.compile("^5 ·")).click()
    has(chat, "Thank you")


@browser
def test_the_countdown_and_the_language_are_right_in_the_frame(shop: Shop) -> None:
    page, records = shop.open(locale="zh-CN", timezone_id="Asia/Shanghai"), shop.records
    page.clock.install(time=records.clock())
    page.reload()
    chat = press_button(page)
    write(chat, "hello")
    has(chat, "re: hello")
    records.do(escalate_conversation, conversation_id=records.one(Conversation).id, reason="asked", language="en",
               now=records.clock())
    expect(chat.locator("#waiting")).to_contain_text("by 10:15", timeout=SLOW)
    expect(chat.get_by_role("timer")).to_have_text(re.compile(r"^1[45]:\d\d$"))
    chat.get_by_role("button", name="中文").click()
    expect(chat.locator("#waiting")).to_contain_text("客服将在 10:15 前答复您")
    expect(button_on(page)).to_have_accessible_name("关闭客服窗口")
    page.reload()
    expect(button_on(page)).to_have_accessible_name("联系客服")


@browser
def test_a_site_that_is_not_allowed_shows_no_chat(shop: Shop) -> None:
    shop.gateway.close()
    shop.gateway = Gateway(shop.records, shop.gateway.bot, widget_origins=["https://shop.example"], widget_secret=KEY)
    page = shop.open()
    press_button(page)
    page.wait_for_function("() => document.querySelector('warmline-chat').shadowRoot.querySelector('iframe')")
    expect(page.locator("warmline-chat dialog")).to_be_visible()
    for _ in range(100):
        if shop.errors:
            break
        page.wait_for_timeout(100)
    assert shop.errors and all("frame-ancestors" in error for error in shop.errors)
    assert not [frame for frame in page.frames if frame.url.startswith(shop.gateway.base)]
    assert not [address for address in shop.addresses if "/api/chat" in address]
    shop.errors.clear()


@browser
def test_only_the_page_around_the_frame_is_listened_to(shop: Shop) -> None:
    """A frame beside it in the same page, and a page of a site that is not allowed, say hello in vain."""
    shop.pages["/alone"] = f'<iframe src="{shop.gateway.base}/widget"></iframe><iframe src="/other"></iframe>'
    shop.pages["/other"] = "<p>other</p>"
    page = shop.open("/alone")
    hello = """target => { window.got = []; const channel = new MessageChannel();
        channel.port1.onmessage = (event) => got.push(event.data);
        target.postMessage({ warmline: 1, language: "en" }, "*", [channel.port2]) }"""
    other = next(frame for frame in page.frames if frame.url.endswith("/other"))
    other.evaluate(f"({hello})(parent.frames[0])")
    page.evaluate(f"({hello})(frames[0])")
    page.wait_for_function("() => got.some((each) => each.ready)")
    assert other.evaluate("got") == []


@browser
def test_the_shop_signs_a_customer_in_and_the_next_one_sees_nothing(shop: Shop) -> None:
    records = shop.records
    shop.attributes = f'data-language="en" data-customer="{token_of(records)}"'
    page = shop.open()
    chat = press_button(page)
    expect(chat.get_by_text("Hello 李雷!")).to_be_visible(timeout=SLOW)
    write(chat, "the secret of the first")
    has(chat, "re: the secret of the first")
    shop.attributes = f'data-language="en" data-customer="{token_of(records, "WLC00002")}"'
    page.reload()
    chat = press_button(page)
    expect(chat.get_by_text("Hello Ann <b>Miller</b>!")).to_be_visible(timeout=SLOW)
    expect(chat.get_by_role("log")).not_to_contain_text("secret")
    write(chat, "the secret of the second")
    has(chat, "re: the secret of the second")
    shop.attributes = 'data-language="en"'
    page.reload()  # signed out: a stranger
    chat = press_button(page)
    expect(chat.get_by_text("Hello!")).to_be_visible(timeout=SLOW)
    expect(chat.get_by_role("log")).not_to_contain_text("secret")
    secrets = [identity.external_id for identity in records.all(ChannelIdentity)]
    assert len(secrets) == 2
    kept = page.evaluate("JSON.stringify([localStorage, sessionStorage])")
    assert "visitor" in kept and not [secret for secret in secrets if secret in kept]
    page.evaluate("token => Warmline.customer(token)", token_of(records))  # in again, without a new page
    has(chat, "re: the secret of the first")
    expect(chat.get_by_role("log")).not_to_contain_text("second")
    page.evaluate("Warmline.customer(null)")
    expect(chat.get_by_text("Hello!")).to_be_visible(timeout=SLOW)
    expect(chat.get_by_role("log")).not_to_contain_text("secret")
    assert not [address for address in shop.addresses if "eyJ" in address]


@browser
def test_a_token_that_ran_out_leaves_a_guest_who_is_told(shop: Shop) -> None:
    shop.attributes = f'data-language="en" data-customer="{token_of(shop.records)}"'
    shop.records.clock.advance(hours=1)
    page = shop.open()
    chat = press_button(page)
    has(chat, "no longer valid")
    write(chat, "hi")
    has(chat, "re: hi")
    assert shop.records.one(ChannelIdentity).customer_id is None


@browser
def test_offline_restart_and_reload_lose_nothing_and_send_nothing_twice(shop: Shop) -> None:
    page, records = shop.open(), shop.records
    chat = press_button(page)
    write(chat, "one")
    has(chat, "re: one")
    page.context.set_offline(True)
    expect(chat.get_by_role("alert")).to_have_text("You are offline. Messages are sent when you are back.")
    write(chat, "two")
    has(chat, "Sending…")
    conversation = records.one(Conversation)
    records.do(escalate_conversation, conversation_id=conversation.id, reason="asked", now=records.clock())
    agent = keeper(records)
    for number in range(3):
        records.do(reply_to_customer, conversation.id, agent, f"while away {number}", records.clock())
    page.context.set_offline(False)
    has(chat, "while away 2")
    expect(chat.get_by_role("log").get_by_text(re.compile("Sent"))).to_have_count(2, timeout=SLOW)
    shop.gateway.stop()
    write(chat, "three")
    has(chat, "Sending…")
    records.do(reply_to_customer, conversation.id, agent, "while down", records.clock())
    shop.gateway.start()
    has(chat, "while down")
    expect(chat.get_by_role("log").get_by_text(re.compile("Sent"))).to_have_count(3, timeout=SLOW)
    page.route("**/api/chat/messages", lambda route: route.abort())
    write(chat, "four")
    has(chat, "Sending…")
    page.unroute("**/api/chat/messages")
    page.reload()  # what was not sent comes from the page around the frame
    chat = press_button(page)
    expect(chat.get_by_role("log").get_by_text(re.compile("Sent"))).to_have_count(4, timeout=SLOW)
    assert incoming(records) == ["one", "two", "three", "four"]
    said = chat.get_by_role("log").inner_text()
    once = ("re: one", "while away 0", "while away 1", "while away 2", "while down")
    assert [said.count(text) for text in once] == [1] * len(once)


@browser
def test_files_are_chosen_dropped_and_pasted_and_what_is_refused_is_said(shop: Shop) -> None:
    page = shop.open()
    chat = press_button(page)
    write(chat, "hi")
    has(chat, "re: hi")
    paste = """(box, [name, type, bytes, kind]) => { const data = new DataTransfer();
        data.items.add(new File([new Uint8Array(bytes)], name, { type }));
        const how = { clipboardData: data, dataTransfer: data, bubbles: true, cancelable: true };
        box.dispatchEvent(kind === "paste" ? new ClipboardEvent(kind, how) : new DragEvent(kind, how)) }"""
    box = chat.get_by_role("textbox")
    box.evaluate(paste, ["pasted.png", "image/png", list(PIXEL), "paste"])
    box.evaluate(paste, ["dropped.png", "image/png", list(PIXEL), "dragover"])
    expect(chat.get_by_text("Drop to add")).to_be_visible()
    box.evaluate(paste, ["dropped.png", "image/png", list(PIXEL), "drop"])
    expect(chat.get_by_text("Drop to add")).to_be_hidden()
    with page.expect_file_chooser() as chooser:
        chat.get_by_role("button", name="Add a picture or a file").click()
    chooser.value.set_files([
        {"name": "big.png", "mimeType": "image/png", "buffer": b"x" * (2**20 + 1)},
        {"name": "empty.txt", "mimeType": "text/plain", "buffer": b""},
        {"name": "notes.txt", "mimeType": "text/plain", "buffer": b"buy milk"}])
    expect(chat.get_by_role("alert")).to_have_text(
        re.compile(r"^big.png is too big: 1 MB at most empty.txt is empty$"))
    chat.get_by_role("button", name="Remove dropped.png").click()
    box.fill("look at this")
    box.press("Enter")
    log = chat.get_by_role("log")
    expect(log.get_by_role("img", name="pasted.png")).to_be_visible(timeout=SLOW)
    has(chat, "look at this")
    with page.expect_download() as saved:
        log.get_by_role("button", name="Download notes.txt").click(timeout=SLOW)
    assert saved.value.path().read_bytes() == b"buy milk" and saved.value.suggested_filename == "notes.txt"
    with page.expect_file_chooser() as chooser:
        chat.get_by_role("button", name="Add a picture or a file").click()
    chooser.value.set_files([{"name": "evil.svg", "mimeType": "image/png", "buffer": b"<svg onload=alert(1)></svg>"}])
    chat.get_by_role("button", name="Send").click()
    has(chat, "This kind of file is not accepted")
    page.reload()
    chat = press_button(page)
    expect(chat.get_by_role("log").get_by_role("img", name="pasted.png")).to_be_visible(timeout=SLOW)
    expect(chat.get_by_role("log").get_by_text("dropped.png")).to_have_count(0)
    assert len([text for text in incoming(shop.records) if text == "look at this"]) == 1


@browser
def test_by_keyboard_on_a_large_screen(shop: Shop) -> None:
    page = shop.open()
    page.get_by_role("link", name="First").focus()
    page.keyboard.press("Tab")
    button = button_on(page)
    expect(button).to_be_focused()
    page.keyboard.press("Enter")
    chat = chat_in(page)
    box = chat.get_by_role("textbox")
    expect(box).to_be_focused(timeout=SLOW)
    page.keyboard.press("Tab")
    expect(box).not_to_be_focused()
    page.keyboard.press("Escape")
    expect(button).to_be_focused()
    expect(button).to_have_attribute("aria-expanded", "false")
    page.keyboard.press("Shift+Tab")
    expect(page.get_by_role("link", name="First")).to_be_focused()


@browser
@pytest.mark.parametrize("size", [PHONE, {"width": 320, "height": 640}], ids=["phone", "narrow"])
def test_on_a_phone_it_covers_the_page_and_keeps_the_focus(shop: Shop, size: dict[str, int]) -> None:
    page = shop.open(viewport=size, has_touch=True, is_mobile=True)
    chat = press_button(page)
    expect(chat.get_by_text("I am the assistant of")).to_be_visible(timeout=SLOW)
    box = page.locator("warmline-chat iframe").bounding_box()
    assert box == {"x": 0, "y": 0, **size}
    expect(chat.get_by_role("button", name="Close the chat")).to_be_focused()
    assert page.evaluate("document.querySelector('warmline-chat').shadowRoot.querySelector('dialog').matches(':modal')")
    write(chat, "W" * 300)
    chat.locator("#files").set_input_files(
        [{"name": "long" * 20 + ".txt", "mimeType": "text/plain", "buffer": b"x"}])
    expect(chat.locator(".staged button")).to_be_visible()
    frame = next(each for each in page.frames if each.url.endswith("/widget"))
    assert frame.evaluate("""() => [...document.querySelectorAll("button, textarea, .bubble, .file")]
        .filter((each) => each.getBoundingClientRect().right > innerWidth).map((each) => each.outerHTML)""") == []
    chat.get_by_role("button", name="Close the chat").click()
    expect(button_on(page)).to_be_focused()


@browser
@pytest.mark.parametrize(("language", "theme"), [("zh", "light"), ("en", "dark")])
def test_nothing_serious_is_found_by_axe(shop: Shop, language: str, theme: str) -> None:
    shop.attributes = f'data-language="{language}" data-theme="{theme}" data-position="left" data-accent="#ffd400"'
    page = shop.open(color_scheme="light" if theme == "dark" else "dark")  # the page's wish goes before the system's
    chat = press_button(page)
    chat.locator("#starters button").first.click(timeout=SLOW)
    expect(chat.locator(".bot .bubble")).to_be_visible(timeout=SLOW)
    chat.locator("#files").set_input_files([{"name": "a.txt", "mimeType": "text/plain", "buffer": b"x"},
                                            {"name": "b.txt", "mimeType": "text/plain", "buffer": b""}])
    expect(chat.get_by_role("alert")).to_be_visible()
    frame = next(each for each in page.frames if each.url.endswith("/widget"))
    background = frame.evaluate("getComputedStyle(document.querySelector('.chat')).backgroundColor")
    assert background == ("rgb(30, 33, 32)" if theme == "dark" else "rgb(255, 255, 255)")
    assert button_on(page).bounding_box()["x"] < 100  # type: ignore[index]
    found = [f"{each['id']}: {node['target']}" for where in (page, frame)
             for each in Axe().run(where, options=RULES).response["violations"] for node in each["nodes"]]
    assert not found


@browser
def test_the_demo_page_shows_it(shop: Shop) -> None:
    shop.pages["/widget-demo.html"] = (DOCS / "widget-demo.html").read_text(encoding="utf8")
    page = shop.open(f"/widget-demo.html?desk={shop.gateway.base}&language=zh&theme=dark")
    page.locator("#token").fill(token_of(shop.records))
    page.get_by_role("button", name="Sign in").click()
    chat = press_button(page)
    expect(chat.get_by_text("李雷，您好！")).to_be_visible(timeout=SLOW)
    page.get_by_role("button", name="Sign out").click()
    expect(chat.get_by_text("李雷，您好！")).to_be_hidden(timeout=SLOW)

"""Every page in both languages, light and dark, by axe-core: nothing serious; and the learning queue by keys."""
from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect
from sqlalchemy import select

from crm_store.models import KnowledgeArticle, Label, Reward
from crm_store.services.corrections import label_message
from desk.settings_areas import AREAS
from tests.desk.conftest import Desk
from tests.desk.test_access import World, furnish
from tests.desk.test_browser import Served, chromium, served

__all__ = ["chromium", "served"]

pytestmark = pytest.mark.browser
RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"],
         "resultTypes": ["violations"]}
SERIOUS = ("serious", "critical")
PHONE = {"width": 390, "height": 844}
UNSEEN = """(at => !!at && (at.left < 0 || at.right > innerWidth))(
    document.querySelector(".top nav [aria-current]")?.getBoundingClientRect())"""  # where one is, of all the pages


def lived_in(desk: Desk, folder: Path) -> World:
    """A desk on which every page has something to show."""
    world = World(desk, furnish(desk, folder))
    now = desk.clock()
    desk.says("b", "我那个东西怎么还没影儿啊", intent="out_of_scope")
    desk.says("c", "you call this service", intent="ask_product", anger=0.75)
    talk, message = desk.says("d", "哈哈", intent="out_of_scope")
    client = desk.client("wang")
    conversation = world.ids["conversation_id"]
    for action, text in (("note", "退款已批准"), ("reply", "您好，我来处理。")):
        assert client.post(f"/api/conversations/{conversation}/{action}", json={"text": text}).status_code == 201
    with desk.store.write() as session:
        label_message(session, talk, message, desk.agent("ling"), intent="greet", anger=None, now=now)
        session.add(KnowledgeArticle(slug="a", intent="ask_refund_status", title_zh="退款", title_en="Refunds",
                                     body_zh="三天", body_en="Three days", updated_at=now))
        session.add(Reward(code="r", name_zh="券", name_en="Coupon", cost_points=1, stock=1, minimum_tier="silver",
                           kind="coupon"))
    return world


def pages(world: World, login: str) -> list[str]:
    """The addresses of the pages, as a manager reaches them; an admin reaches more."""
    talk = world.ids["conversation_id"]
    found = ["/desk", f"/desk?conversation={talk}", "/desk/notifications", "/desk/password", "/manage/logs",
             "/manage/logs?words=退款", "/manage/logs?words=nothing-like-it", f"/manage/logs/{talk}", "/manage/figures",
             "/manage/learning", "/manage/learning?kind=stuck", "/manage/learning?show=done", "/manage/settings",
             "/manage/settings/audit", "/manage/webhooks", "/manage/webhooks/new",
             f"/manage/webhooks/{world.ids['webhook_id']}", "/manage/logs/999999", "/manage/feedback",
             "/manage/feedback?status=", "/manage/care", "/manage/merges", "/manage/blocks", "/manage/value",
             "/manage/exchange", f"/desk/conversations/{talk}/memory", f"/desk/conversations/{talk}/block"]
    with world.desk.store.read() as session:
        for path, area in AREAS.items():
            row = session.execute(select(area.model)).scalars().first()
            found += [f"/manage/settings/{path}", f"/manage/settings/{path}/{area.key_of(row)}"]
            found += [f"/manage/settings/{path}/new"] if area.new and area.creators == "manager" else []
    return found + (["/manage/privacy"] if login == "root" else [])


def faults(page: Any) -> list[str]:
    """What axe finds serious on the page as it stands: the rule and where."""
    found = Axe().run(page, options=RULES).response["violations"]
    return [f"{each['id']}: {node['target']} {node['html'][:120]}" for each in found if each["impact"] in SERIOUS
            for node in each["nodes"]]


@pytest.mark.parametrize(("login", "scheme"), [("ling", "light"), ("root", "dark")], ids=["zh-light", "en-dark"])
def test_no_page_has_a_serious_fault(served: Served, tmp_path: Path, login: str, scheme: str) -> None:
    world = lived_in(served.desk, tmp_path)
    page = served.page(login, "/desk", color_scheme=scheme)
    language = "zh-Hans" if login == "ling" else "en"
    found = {}
    for path in pages(world, login):
        answer = page.goto(served.base + path)
        assert answer.status == (404 if path.endswith("/999999") else 200), path
        assert page.evaluate("document.documentElement.lang") == language
        if faulty := faults(page):
            found[path] = faulty
    page.goto(f"{served.base}/desk")
    page.keyboard.press("?")
    page.wait_for_selector("dialog[open]")
    found |= {"the keys": faulty} if (faulty := faults(page)) else {}
    page.goto(f"{served.base}/manage/learning")
    page.click("#learning-files summary")
    found |= {"the downloads": faulty} if (faulty := faults(page)) else {}
    page.context.clear_cookies()
    for path in ("/desk/login", "/desk/login?next=/manage/logs"):
        page.goto(served.base + path)
        found |= {path: faulty} if (faulty := faults(page)) else {}
    assert not found, "\n".join(f"{path} {fault}" for path, each in found.items() for fault in each)


def test_axe_would_tell(served: Served) -> None:
    """Otherwise the test above could not fail."""
    page = served.page("root", "/manage/learning")
    page.evaluate("""document.querySelector("main").insertAdjacentHTML("beforeend",
        '<img src="/desk/static/icon.svg"><button></button><input>')""")
    assert {fault.split(":")[0] for fault in faults(page)} >= {"image-alt", "button-name", "label"}


@pytest.mark.parametrize("login", ["ling", "root"], ids=["zh", "en"])
def test_no_page_is_wider_than_a_phone(served: Served, tmp_path: Path, login: str) -> None:
    world = lived_in(served.desk, tmp_path)
    page = served.page(login, "/manage/logs", viewport=PHONE)
    wide, unseen = {}, []
    for path in pages(world, login):
        page.goto(served.base + path)
        width = page.evaluate("document.documentElement.scrollWidth")
        if width > PHONE["width"]:
            wide[path] = width
        if page.evaluate(UNSEEN):
            unseen.append(path)
    assert not wide and not unseen


def test_all_the_pages_of_the_console_fit_beside_the_desks_tools(served: Served) -> None:
    assert served.page("root").evaluate("document.documentElement.scrollWidth") == 1280


def labels(desk: Desk) -> list[tuple[str | None, str | None]]:
    with desk.store.read() as session:
        return [(each.intent, each.anger) for each in session.execute(select(Label).order_by(Label.id)).scalars()]


def test_the_learning_queue_is_worked_by_keyboard_and_stays_on_the_page(served: Served) -> None:
    desk = served.desk
    for sender, text in enumerate(("一号东西飞了", "二号东西飞了", "三号东西飞了", "<img src=x onerror=alert(1)>")):
        desk.says(str(sender), text, intent="out_of_scope")
    page = served.page("root", "/manage/learning?kind=out_of_scope")
    page.evaluate("window.here = true")
    looks = page.locator(".look")
    expect(looks).to_have_count(4)
    looks.first.locator("button").first.focus()
    page.keyboard.press("x")
    expect(looks).to_have_count(3)
    expect(page.locator("#learning-said")).to_contain_text("3 texts to label")
    expect(looks.first.locator("button").first).to_be_focused()
    page.keyboard.press("j")
    page.keyboard.press("k")
    page.keyboard.press("a")
    page.keyboard.press("1")
    expect(looks).to_have_count(2)
    page.keyboard.press("/")
    page.keyboard.type("where an order is")
    page.keyboard.press("Escape")
    page.keyboard.press("Enter")
    expect(looks).to_have_count(1)
    assert labels(desk) == [(None, None), ("out_of_scope", "angry"), ("ask_order_status", None)]
    page.keyboard.press("/")
    page.keyboard.type("no such thing")
    page.keyboard.press("Escape")
    page.keyboard.press("Enter")
    expect(page.locator("#learning-status")).to_have_text("One of the fields cannot be accepted.")
    expect(looks).to_have_count(1)
    assert page.evaluate("window.here"), "the page was never left"
    page.click("#learning-said button")
    expect(looks).to_have_count(2)
    assert labels(desk) == [(None, None), ("out_of_scope", "angry")]
    assert not [said for said in served.complaints if "422" not in said]


def test_the_learning_queue_works_without_script(served: Served) -> None:
    desk = served.desk
    desk.says("a", "飞了", intent="out_of_scope")
    desk.says("b", "飘了", intent="out_of_scope")
    page = served.page("root", "/manage/learning", java_script_enabled=False)
    page.locator(".look").first.get_by_label("Another intent").fill("查订单")
    page.locator(".look").first.get_by_label("Another intent").press("Enter")
    expect(page.locator(".look")).to_have_count(1)
    page.locator(".look").first.get_by_role("button", name="Not worth learning").click()
    expect(page.locator(".look")).to_have_count(0)
    assert labels(desk) == [("ask_order_status", None), (None, None)]
    page.get_by_role("button", name="Undo").click()
    expect(page.locator(".look")).to_have_count(1)

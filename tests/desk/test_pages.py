"""The pages: what they show, in whose words, and that nothing a customer writes ever runs."""
from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest

from crm_store.models import Conversation, Message
from crm_store.services.sla import tick
from desk.app import STATIC
from tests.desk.conftest import Desk
from tests.desk.test_api import complaint

HOSTILE = (
    "<script>alert(1)</script>", "<img src=x onerror=alert(1)>", "\"><svg onload=alert(1)>", "' onmouseover='alert(1)",
    "</textarea><script>alert(1)</script>", "</title><script>alert(1)</script>", "javascript:alert(1)",
    "<a href=\"javascript:alert(1)\">x</a>", "{{ 7*7 }}{% raw %}", "${7*7}", "<iframe srcdoc='<script>1</script>'>",
    "<!--<script>-->", "&lt;script&gt;", "<math><mi//xlink:href=\"data:x,<script>alert(4)</script>\">",
    "<style>@import'//evil.test'</style>", "<base href=//evil.test>", "<form action=//evil.test><button>", "\u2028<b>",
)
ALLOWED_SCRIPTS = {"/desk/static/desk.js", "/desk/static/browser_notice.js", "/desk/static/loyalty.js"}


class Seen(HTMLParser):
    """What a browser would make of a page: its tags, its scripts, its event handlers and its targets."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: dict[str, int] = {}
        self.text: list[str] = []
        self.values: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags[tag] = self.tags.get(tag, 0) + 1
        given = dict(attributes)
        assert not [name for name in given if name.startswith("on") or name in ("style", "srcdoc")], (tag, given)
        if tag == "script":
            assert given.get("src") in ALLOWED_SCRIPTS
        for name in ("href", "src", "action", "formaction"):
            if given.get(name) is not None:
                assert re.match(r"(/(desk|manage)([/?]|$)|#)", str(given[name])), given
        self.values += [value or "" for value in given.values()]

    handle_startendtag = handle_starttag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def flat(text: str) -> str:
    """A text as it is compared: stored texts lose what no text needs, pages their line breaks."""
    return re.sub(r"\s+", " ", text.replace("\u2028", " ")).strip()


def full_of(desk: Desk, sender: str, text: str) -> int:
    """A conversation in which everything that comes from outside is ``text``."""
    customer = desk.customer(text, email=f"{sender}@example.com", address=text)
    conversation = desk.escalated(sender, text, customer_id=customer, reply=text, assignee="zhang",
                                  buttons=({"title": text, "payload": text[:100]},))
    with desk.store.write() as session:
        for message in session.query(Message).filter(Message.conversation_id == conversation):
            message.valence = text[:10]
            if message.understood:
                message.intent = text[:60]
                message.understood = {"intent": text, "language": text, "confidence": text, "entities": text,
                                      "articles": [{"slug": text, "score": text}, text]}
    client = desk.client("zhang")
    for action in ("note", "reply"):
        answer = client.post(f"/api/conversations/{conversation}/{action}", json={"text": text})
        assert answer.status_code == 201
    return conversation


@pytest.mark.parametrize("hostile", HOSTILE, ids=range(len(HOSTILE)))
def test_nothing_a_customer_can_send_becomes_markup(lite: Desk, hostile: str) -> None:
    conversation, harmless = full_of(lite, "a", hostile), full_of(lite, "b", "plain words")
    client = lite.client("zhang")
    for path in ("/desk?conversation={}", "/desk/parts/conversations/{}", "/manage/logs/{}"):
        page, plain = client.get(path.format(conversation)), client.get(path.format(harmless))
        assert page.status_code == 200
        seen = Seen(page.text)
        assert seen.tags == Seen(plain.text).tags, "the page has the same elements, whatever the customer writes"
        assert flat(hostile) in flat("".join(seen.text))
    for path in ("/desk", "/desk/parts/queue", "/manage/logs", "/manage/logs?words=", "/desk/parts/notices"):
        assert Seen(client.get(path).text)
    searched = client.get("/manage/logs", params={"words": hostile, "intent": hostile, "since": hostile})
    assert searched.status_code == 200 and Seen(searched.text)
    answer = client.get(f"/api/conversations/{conversation}")
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert flat(answer.json()["customer"]["name"]) == flat(hostile)


def test_every_answer_of_the_desk_carries_its_headers(lite: Desk) -> None:
    conversation = lite.escalated("a")
    client = lite.client("zhang")
    for path in ("/desk/login", "/desk", f"/desk?conversation={conversation}", "/desk/parts/queue", "/manage/logs",
                 "/api/queue", "/desk/static/desk.js", "/desk/static/desk.css", "/desk?conversation=999999"):
        headers = client.get(path).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy and "frame-ancestors 'none'" in policy, path
        assert "unsafe" not in policy and "*" not in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cache-control"] == ("no-cache" if "static" in path else "no-store"), path


def test_the_pages_ask_nobody_else_for_anything() -> None:
    for file in [*STATIC.iterdir(), *(STATIC.parent / "templates").rglob("*.html")]:
        source = file.read_text(encoding="utf8")
        for name in ("http://www.w3.org/2000/svg", 'placeholder="https://example.com/',
                     'href="https://www.openstreetmap.org/'):  # nothing is fetched
            source = source.replace(name, "")
        assert not re.search(r"https?://|innerHTML|outerHTML\s*=|insertAdjacentHTML|document\.write|eval\(|\|safe",
                             source), file.name


def test_both_languages_by_the_agents_choice_and_by_the_switch(lite: Desk) -> None:
    conversation = lite.escalated("a", customer_id=lite.customer("李雷"))
    chinese, english = lite.client("wang"), lite.client("lee")
    page = chinese.get(f"/desk?conversation={conversation}").text
    assert 'lang="zh-Hans"' in page and "情绪激动" in page and "认领" in page and "金卡" in page
    page = english.get(f"/desk?conversation={conversation}").text
    assert 'lang="en"' in page and "Claim" in page and "Gold" in page and "Handed over" in page
    switched = chinese.post("/desk/language", data={"language": "en", "back": f"/desk?conversation={conversation}"})
    assert switched.headers["location"] == f"/desk?conversation={conversation}"
    assert "Claim" in chinese.get(f"/desk?conversation={conversation}").text
    chinese.post("/desk/language", data={"language": "klingon", "back": "//evil.test"})
    assert "Claim" in chinese.get(f"/desk?conversation={conversation}").text
    stranger = lite.client()
    assert "Log in" in stranger.get("/desk/login").text
    assert "登录" in stranger.get("/desk/login", headers={"Accept-Language": "zh-TW,zh;q=0.9"}).text


@pytest.mark.parametrize("login, standing, offered, kept_back", [
    ("wang", "mine", ("handback", "snooze", "resolve", "reply"), ("claim", "takeover")),
    ("zhang", "other", ("takeover",), ("claim", "handback", "snooze", "resolve", "reply"))])
def test_the_page_offers_what_one_may_do(lite: Desk, login: str, standing: str, offered: tuple[str, ...],
                                         kept_back: tuple[str, ...]) -> None:
    conversation = lite.escalated("a", assignee="wang")
    page = lite.client(login).get(f"/desk/parts/conversations/{conversation}").text
    assert f'data-standing="{standing}"' in page
    for action in offered:
        assert re.search(rf'data-(action|ask|kind)="{action}"', page), action
    for action in kept_back:
        assert not re.search(rf'data-(action|ask|kind)="{action}"', page), action
    assert ("王敏 正在处理" in page) is (standing == "other")


def test_the_thread_tells_it_as_it_happened(lite: Desk) -> None:
    conversation = lite.escalated("a", "马上叫你们经理来！", customer_id=lite.customer("李雷"), assignee="wang",
                                  reply="好的。")
    with lite.store.write() as session:
        dropped = session.query(Message).filter(Message.author == "bot").one()
        dropped.delivery_state, dropped.dropped_reason = "dropped", "lost_ownership"
    page = lite.client("lee").get(f"/desk/parts/conversations/{conversation}")
    assert page.status_code == 404
    page = lite.client("wang").get(f"/desk/parts/conversations/{conversation}").text
    told = ("马上叫你们经理来！", "未发送", "承诺 10:15 前答复", "正在为您转接", "客户情绪激动")
    order = [page.index(text) for text in told]
    assert order == sorted(order)
    assert "0.94" in page and "意图" in page and "置信度" in page and "refund-times" in page


def test_unknown_anger_is_never_shown_as_calm(lite: Desk) -> None:
    conversation = lite.escalated("a")
    with lite.store.write() as session:
        session.query(Conversation).update({"anger": None})
        session.query(Message).update({"anger": None})
    page = lite.client("wang").get(f"/desk?conversation={conversation}").text
    assert "情绪未知" in page and "mood unknown" in page and "mood calm" not in page


def test_the_thresholds_of_a_tier_decide_what_counts_as_angry(lite: Desk) -> None:
    for name, tier, band in (("Gold", "gold", "route"), ("Silver", "silver", "watch")):
        conversation = lite.escalated(name, customer_id=lite.customer(name, tier), anger=0.77)
        assert f'class="mood {band}"' in lite.client("wang").get(f"/desk/parts/conversations/{conversation}").text


def test_phrases_are_filled_in_once_and_are_insertions(lite: Desk) -> None:
    conversation = lite.escalated("a", customer_id=lite.customer("{agent_name}<b>"), assignee="wang")
    page = lite.client("wang").get(f"/desk/parts/conversations/{conversation}").text
    assert 'data-insert="{agent_name}&lt;b&gt;您好，我是王敏，工单 C1001。"' in page
    assert 'class="suggest"' in page and "换谁都会生气" in page
    assert not re.search(r'<button(?![^>]*type="button")[^>]*data-insert', page)


def test_a_due_time_reads_as_what_is_left(lite: Desk) -> None:
    lite.escalated("a", reason="asked")
    client = lite.client("lee")
    assert ">15:00</time>" in client.get("/desk").text
    lite.clock.move(minutes=16, seconds=30)
    late = client.get("/desk").text
    assert "\N{MINUS SIGN}01:30" in late and 'class="due late"' in late
    assert 'data-view="due" aria-current' in client.get("/desk?view=due").text
    assert client.get("/desk?view=%27%3B--").status_code == 200


def test_a_missing_page_is_said_in_words(lite: Desk) -> None:
    client = lite.client("lee")
    missing = client.get("/desk?conversation=424242")
    assert missing.status_code == 404 and "you may not see it" in missing.text
    forbidden = client.get("/manage/logs")
    assert forbidden.status_code == 403 and "Your role does not allow this" in forbidden.text


def test_the_customers_other_conversations_are_shown_to_those_who_may_see_them(lite: Desk) -> None:
    customer = lite.customer("李雷")
    here, lees = (lite.escalated(sender, "你好", customer_id=customer, assignee=assignee, channel=channel)
                  for sender, assignee, channel in (("a", "wang", "web"), ("b", "lee", "telegram")))
    link = f'data-conversation="{lees}"'
    assert link not in lite.client("wang").get(f"/desk?conversation={here}&view=mine").text
    assert link in lite.client("zhang").get(f"/desk/parts/conversations/{here}").text


def test_switching_availability_leaves_what_is_open(lite: Desk) -> None:
    client = lite.client("wang")
    answer = client.post("/desk/availability", data={"available": "true", "back": "/desk?view=mine&conversation=3"})
    assert answer.headers["location"] == "/desk?view=mine&conversation=3"
    assert 'aria-pressed="true" title="' in client.get("/desk").text
    assert client.post("/desk/availability", data={"back": "//evil.test"}).headers["location"] == "/desk"


def test_the_theme_is_remembered_and_leads_nowhere_else(lite: Desk) -> None:
    client = lite.client("wang")
    assert '<html lang="zh-Hans" data-theme="system">' in client.get("/desk").text
    answer = client.post("/desk/theme", data={"theme": "dark", "back": "/desk?view=mine"})
    assert answer.headers["location"] == "/desk?view=mine"
    assert 'data-theme="dark"' in client.get("/desk").text
    client.post("/desk/theme", data={"theme": "\"><script>", "back": "//evil.test"})
    assert 'data-theme="dark"' in client.get("/desk").text
    assert client.post("/desk/theme", data={"back": "//evil.test"}).headers["location"] == "/desk"


@pytest.mark.parametrize("query", [
    "view=mine'--", "language=klingon", "reason=%00", "team=0", "team=-1", "team=99999999999999999999", "team=x",
    "grade=%3Cscript%3E", "unassigned=2"])
def test_a_filter_that_is_none_filters_nothing(lite: Desk, query: str) -> None:
    conversation = lite.escalated("a")
    for path in ("/desk", "/desk/parts/queue"):
        page = lite.client("wang").get(f"{path}?{query}")
        assert page.status_code == 200 and f'id="item-{conversation}"' in page.text
        assert "clear-filter" not in page.text
    filtered = lite.client("wang").get("/desk/parts/queue?grade=major&unassigned=1&view=mine").text
    assert "没有符合条件的会话" in filtered and "view=due&amp;grade=major&amp;unassigned=1" in filtered


def test_earlier_messages_are_for_those_who_may_see_the_conversation(lite: Desk) -> None:
    conversation = lite.escalated("a", assignee="wang")
    path = f"/desk/parts/conversations/{conversation}/earlier"
    assert lite.client("lee").get(path).status_code == 404
    assert lite.client("wang").get(f"{path}?before={2**63}").status_code == 404
    page = lite.client("wang").get(f"{path}?before=2").text
    assert "马上叫你们经理来！" in page and "好的。" not in page


def test_a_guest_is_shown_with_their_channel_tickets_and_other_conversations(lite: Desk) -> None:
    conversation = lite.escalated("0123456789", assignee="wang")
    page = lite.client("wang").get(f"/desk/parts/conversations/{conversation}").text
    assert "访客" in page and "0123…" in page and "0123456789" not in page
    assert 'id="open-tickets"' in page and "首次响应" in page and "积分" not in page
    assert "0123456789" in lite.client("ling").get(f"/desk/parts/conversations/{conversation}").text


def test_the_snoozed_says_until_when_and_is_woken_by_its_owner(lite: Desk) -> None:
    conversation = lite.escalated("a", assignee="wang")
    wang, path = lite.client("wang"), f"/api/conversations/{conversation}"
    assert wang.post(f"{path}/wake").status_code == 409
    assert wang.post(f"{path}/snooze", json={"until": "2026-11-19T01:00:00+00:00"}).status_code == 200
    assert "稍后处理，11月19日 09:00 提醒" in wang.get(f"/desk/parts/conversations/{conversation}").text
    rows = wang.get("/api/queue?view=snoozed").json()
    assert [row["conversation_id"] for row in rows["conversations"]] == [conversation]
    assert rows["counts"]["snoozed"] == 1 and rows["conversations"][0]["snoozed_until"].startswith("2026-11-19T01:00")
    assert lite.client("lee").post(f"{path}/wake").json()["owner"] == "王敏"
    assert wang.post("/api/conversations/999/wake").status_code == 404
    assert wang.post(f"{path}/wake").json()["conversation"]["status"] == "open"


def test_a_follow_up_may_be_written_also_when_it_is_late_and_once_it_is_done_no_more(lite: Desk) -> None:
    conversation, _ = complaint(lite, "a")
    wang = lite.client("wang")
    wang.post(f"/api/conversations/{conversation}/takeover")
    wang.post(f"/api/conversations/{conversation}/resolve")
    lite.clock.move(days=9)
    with lite.store.write() as session:
        tick(session, lite.clock())
    wang, path = lite.client("wang"), f"/desk/parts/conversations/{conversation}"
    page = wang.get(path).text
    assert 'data-kind="reply"' in page and 'class="promise breached"' in page
    assert wang.post(f"/api/conversations/{conversation}/reply", json={"text": "还满意吗？"}).status_code == 201
    assert 'data-kind="reply"' not in wang.get(path).text


def test_the_queue_brings_how_much_one_has_on_ones_hands(lite: Desk) -> None:
    conversation = lite.escalated("a")
    wang = lite.client("wang")
    assert "· 0/6</button>" in wang.get("/desk/parts/queue").text
    wang.post(f"/api/conversations/{conversation}/claim")
    for path in ("/desk", "/desk/parts/queue?view=due&grade=major"):
        assert wang.get(path).text.count("· 1/6</button>") == 1, path


def test_a_proposal_is_offered_until_it_is_made_and_the_stage_is_shown(lite: Desk) -> None:
    conversation, ticket = complaint(lite, "a")
    lee, path = lite.client("lee"), f"/desk/parts/conversations/{conversation}"
    assert "data-propose" not in lite.client("ling").get(path).text
    lee.post(f"/api/conversations/{conversation}/takeover")
    page = lee.get(path).text
    assert f'data-propose="{ticket}"' in page and page.count("taken up") == 2  # above and beside the thread
    lee.post(f"/api/conversations/{conversation}/tickets/{ticket}/proposal", json={"text": "退您 30 元 <b>"})
    page = lee.get(path).text
    assert "data-propose" not in page and "proposal made" in page and "退您 30 元 &lt;b&gt;" in page

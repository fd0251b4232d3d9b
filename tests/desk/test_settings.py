"""The settings: what managers change takes hold, is recorded and shown, and nothing hostile gets anywhere."""
from __future__ import annotations

import csv
import html
import io
import re
from collections.abc import Callable
from typing import Any

import pytest
from fastapi.testclient import TestClient
from httpx import Response
from sqlalchemy import func, select

from crm_store.models import (
    AuditEntry,
    BusinessCalendar,
    KnowledgeArticle,
    Macro,
    Reward,
    SlaClock,
    SlaPolicy,
    SupportAgent,
    Team,
    Ticket,
    Tier,
)
from crm_store.services import audit
from crm_store.services.handoff import reply_to_customer
from desk.rendering import Reader
from desk.settings_areas import AREAS
from desk.settings_forms import Unreadable, read_days, read_hours, read_length, read_yuan, show_hours, show_length
from tests.desk.conftest import HOST, PASSWORD, Desk

HOME = "/manage/settings"
HOSTILE = "<img src=x onerror='window.owned=1'><script>window.owned=1</script>\"{{7*7}}"
INPUT = re.compile(r"<input(?P<about>[^>]*)>")
AREA = re.compile(r'<textarea id="(\w+)"([^>]*)>\n([^<]*)</textarea>')
SELECT = re.compile(r'<select id="(\w+)"([^>]*)>(.*?)</select>', re.DOTALL)
FORM = re.compile(r'<form class="panel fields".*?</form>', re.DOTALL)
PAGES = ("", "/audit", "/audit.csv", *(f"/{path}" for path in AREAS), "/policies/1", "/policies/new", "/calendars/1",
         "/calendars/new", "/tiers/gold", "/rewards/new", "/macros/1", "/macros/new", "/articles/new", "/teams/1",
         "/teams/new", "/agents/1")
POSTS = ("/policies/1", "/policies/new", "/policies/1/move", "/calendars/1", "/calendars/new", "/tiers/gold",
         "/rewards/new", "/macros/1", "/macros/new", "/macros/1/delete", "/articles/new", "/teams/1", "/teams/new",
         "/agents/1")


def form_of(page: str) -> dict[str, Any]:
    """What a browser would send of the page's form."""
    found = FORM.search(page)
    assert found, page[:2000]
    data: dict[str, Any] = {}
    for match in INPUT.finditer(found.group()):
        about = dict(re.findall(r'(\w+)="([^"]*)"', match["about"]))
        if "disabled" in match["about"] or (about.get("type") == "checkbox" and "checked" not in match["about"]):
            continue
        data.setdefault(about["name"], []).append(html.unescape(about["value"]))
    for name, about, text in AREA.findall(found.group()):
        if "disabled" not in about:
            data[name] = [html.unescape(text)]
    for name, about, options in SELECT.findall(found.group()):
        if "disabled" not in about:
            chosen = re.search(r'value="([^"]*)" selected', options) or re.search(r'value="([^"]*)"', options)
            assert chosen
            data[name] = [html.unescape(chosen[1])]
    return {name: values if len(values) > 1 else values[0] for name, values in data.items()}


def submit(client: TestClient, path: str, **changed: Any) -> Response:
    """Open a form, change something and send it; None leaves a field out, as an unticked box is."""
    data = {**form_of(client.get(HOME + path).text), **changed}
    return client.post(HOME + path, data={name: value for name, value in data.items() if value is not None})


def problems(answer: Response) -> dict[str, str]:
    assert answer.status_code == 422, answer.text[:500]
    return dict(re.findall(r'class="why" id="(\w+)-problem">([^<]*)<', answer.text))


def stored(desk: Desk, model: Any, *conditions: Any) -> list[Any]:
    with desk.store.read() as session:
        return list(session.execute(select(model).where(*conditions)).scalars())


def count(desk: Desk, model: Any) -> int:
    with desk.store.read() as session:
        return int(session.execute(select(func.count()).select_from(model)).scalar_one())


def first_response(desk: Desk, conversation: int) -> SlaClock:
    with desk.store.read() as session:
        clock: SlaClock = session.execute(
            select(SlaClock).join(Ticket).where(Ticket.conversation_id == conversation,
                                                SlaClock.promise == "first_response")).scalar_one()
        session.expunge_all()
        return clock


def test_a_manager_changes_an_sla_policy_and_the_audit_log_shows_it(desk: Desk) -> None:
    late = desk.escalated("a", assignee="wang")
    running = desk.escalated("b", "第二位")
    desk.clock.move(minutes=20)
    with desk.store.write() as session:
        reply_to_customer(session, late, desk.agent("wang"), "来了", desk.clock())
    verdict = first_response(desk, late)
    assert (verdict.state, verdict.target_seconds) == ("breached", 900)
    promised = first_response(desk, running).due_at

    ling = desk.client("ling")
    answer = submit(ling, "/policies/1", first_response_seconds="1 h 30 min", name="转人工 <b>")
    assert answer.headers["location"] == f"{HOME}/policies/1?said=saved"

    page = ling.get(answer.headers["location"]).text
    assert 'role="status">Saved.' in page or 'role="status">已保存。' in page
    history = page.split('id="history-title"')[1]
    assert "赵玲" in history and "<time" in history
    assert re.search(r"<del>.*15 分钟.*</del>.*<ins>.*1 小时 30 分钟.*</ins>", history)
    log = ling.get(f"{HOME}/audit", params={"kind": "sla_policy", "id": "1"}).text
    assert "1 小时 30 分钟" in log and "转人工 &lt;b&gt;" in log and "<b>" not in log.split("<tbody>")[1]

    later = desk.escalated("c", "第三位")
    assert first_response(desk, later).due_at == desk.clock().replace(hour=3, minute=50)
    again = first_response(desk, late)
    assert (again.state, again.target_seconds, again.due_at, again.breached_at) == (
        "breached", 900, verdict.due_at, verdict.breached_at)
    assert first_response(desk, running).due_at == promised


@pytest.mark.parametrize(("path", "model", "changed", "reads"), [
    ("/calendars/1", BusinessCalendar, {
        "weekly_6": "10:00-12:00，14:00 至 18:00", "closing_days": "2026-12-31, 2027-01-01", "holidays": "CN",
        "time_zone": "Asia/Urumqi"},
     lambda c: (c.weekly["6"], c.closing_days, c.holidays, c.time_zone) == (
         [["10:00", "12:00"], ["14:00", "18:00"]], ["2026-12-31", "2027-01-01"], "CN", "Asia/Urumqi")),
    ("/tiers/gold", Tier, {"anger_route": "0,6", "anger_watch": "0.3", "minimum_spend_fen": "¥1,999.50",
                           "multiplier": "1.25", "name_zh": "黄金"}, lambda t: t.code != "gold" or (
        t.anger_route, t.anger_watch, t.minimum_spend_fen, t.multiplier, t.name_zh) == (
            0.6, 0.3, 199_950, 1.25, "黄金")),
    ("/macros/1", Macro, {"text_en": "Hi {customer_name}\r\nbye", "emotion": "sad"},
     lambda m: m.id != 1 or (m.text_en, m.emotion) == ("Hi {customer_name}\nbye", "sad")),
    ("/teams/1", Team, {"name": "一线客服", "level": "experts"},
     lambda t: t.id != 1 or (t.name, t.level) == ("一线客服", "experts")),
    ("/agents/1", SupportAgent, {"capacity": "9", "languages": ["en"], "available": "yes", "team_id": "2"},
     lambda a: a.id != 1 or (a.capacity, a.languages, a.available, a.team_id, a.role) == (9, ["en"], True, 2, "agent")),
])
def test_every_area_stores_what_was_typed_with_its_history(desk: Desk, path: str, model: Any, changed: dict[str, Any],
                                                           reads: Callable[[Any], bool]) -> None:
    ling = desk.client("ling")
    answer = submit(ling, path, **changed)
    assert answer.status_code == 303, problems(answer)
    assert all(reads(row) for row in stored(desk, model))
    (entry,) = [e for e in stored(desk, AuditEntry) if e.action == "change"]
    assert set(entry.data["changes"]) == set(changed) and entry.actor_id == desk.agent("ling").id
    assert '<dl class="changes">' in ling.get(answer.headers["location"]).text
    assert submit(ling, path).status_code == 303
    assert len([e for e in stored(desk, AuditEntry) if e.action == "change"]) == 1


def test_new_things_are_made_and_found_in_their_lists(desk: Desk) -> None:
    ling = desk.client("ling")
    for path, values in (
            ("policies", {"name": "Gold handoff", "ticket_kind": "handoff", "tier_code": "gold",
                          "first_response_seconds": "5 分钟"}),
            ("calendars", {"name": "Nights", "time_zone": "UTC", "weekly_0": "20:00-24:00"}),
            ("rewards", {"code": "CUP", "name_zh": "杯子", "name_en": "Cup", "cost_points": "300", "stock": "5"}),
            ("macros", {"title_zh": "再见", "title_en": "Bye", "text_zh": "再见", "text_en": "Bye"}),
            ("articles", {"slug": "gift-wrap", "title_zh": "包装", "title_en": "Wrapping", "body_zh": "免费包装。",
                          "body_en": "It is free.", "questions_zh": "能包装吗\r\n\r\n送礼怎么包"}),
            ("teams", {"name": "Night shift"})):
        answer = submit(ling, f"/{path}/new", **values)
        assert answer.status_code == 303, (path, problems(answer))
        assert re.fullmatch(rf"{HOME}/{path}/\d+\?said=created", answer.headers["location"])
        page = ling.get(answer.headers["location"]).text
        assert all(html.escape(str(value)) in page for name, value in values.items() if name.startswith("name"))
        assert answer.headers["location"].split("?")[0] in ling.get(f"{HOME}/{path}").text
    assert [e.action for e in stored(desk, AuditEntry)].count("create") == 6
    assert [p.name for p in sorted(stored(desk, SlaPolicy), key=lambda p: p.position)] == [
        "Gold handoff", "handoff", "rest"]
    assert count(desk, KnowledgeArticle) == 1 and count(desk, Reward) == 1
    assert ling.get(HOME).text.count('class="card"') == len(AREAS) + 4, "and audit, notices, imports, merges"


def test_what_cannot_be_accepted_is_said_beside_the_field_and_what_was_typed_stays(lite: Desk) -> None:
    ling = lite.client("ling")
    answer = submit(ling, "/calendars/1", weekly_0="9 to 5", weekly_1="12:00-09:00", time_zone="Mars/Olympus",
                    name="新", closing_days="2026-02-30")
    assert set(problems(answer)) == {"weekly_0", "weekly_1", "time_zone", "closing_days"}
    assert all(f'value="{typed}"' in answer.text for typed in ("9 to 5", "12:00-09:00", "Mars/Olympus", "新"))
    assert ">\n2026-02-30</textarea>" in answer.text and 'aria-invalid="true"' in answer.text
    assert 'aria-describedby="weekly_0-problem weekly_0-hint"' in answer.text
    assert 'href="#weekly_0"' in answer.text.split('role="alert"')[1]
    assert stored(lite, BusinessCalendar)[0].name == "shop"
    nothing = {f"weekly_{day}": "" for day in range(7)}
    assert problems(submit(ling, "/calendars/1", **nothing))["weekly_0"].startswith("这样永远不营业")
    assert not [e for e in stored(lite, AuditEntry) if e.action == "change"]


@pytest.mark.parametrize(("path", "changed"), [
    ("/policies/1", {"first_response_seconds": "-5 min"}), ("/policies/1", {"first_response_seconds": "15"}),
    ("/policies/1", {"first_response_seconds": "999999 d"}), ("/policies/1", {"first_response_seconds": "1e9 h"}),
    ("/policies/1", {"first_response_seconds": "NaN"}), ("/policies/1", {"name": "rest"}),
    ("/policies/1", {"name": "x" * 10_000}), ("/policies/1", {"calendar_id": "999"}),
    ("/policies/1", {"calendar_id": "1' OR 1=1"}), ("/policies/1", {"tier_code": "\x00"}),
    ("/policies/1", {"ticket_kind": "<script>"}), ("/policies/1", {"name": "\x00\u200b"}),
    ("/tiers/gold", {"anger_route": "nan"}), ("/tiers/gold", {"anger_route": "inf"}),
    ("/tiers/gold", {"anger_watch": "0.75"}), ("/tiers/gold", {"anger_watch": "1.5"}),
    ("/tiers/gold", {"minimum_spend_fen": "-1"}), ("/tiers/gold", {"minimum_spend_fen": "9" * 12}),
    ("/tiers/gold", {"minimum_spend_fen": "9" * 400}), ("/tiers/gold", {"multiplier": "-2"}),
    ("/tiers/gold", {"name_en": "Silver"}), ("/macros/1", {"text_zh": "{secret}"}),
    ("/macros/1", {"text_zh": "字" * 2001}), ("/macros/1", {"emotion": "joy"}), ("/teams/1", {"name": "Experts"}),
    ("/teams/1", {"level": "sky"}), ("/agents/1", {"capacity": "1.5"}), ("/agents/1", {"capacity": "-1"}),
    ("/agents/1", {"languages": "fr"}), ("/agents/1", {"languages": None}), ("/agents/1", {"team_id": "0"}),
    ("/calendars/1", {"closing_days": "2026-13-01"}), ("/calendars/1", {"closing_days": "31.12.2026"}),
    ("/calendars/1", {"holidays": "XX"}), ("/calendars/1", {"weekly_0": "25:00-26:00"}),
    ("/calendars/1", {"time_zone": "../../etc/passwd"})])
def test_hostile_values_end_in_a_field_error_and_nothing_is_stored(lite: Desk, path: str,
                                                                   changed: dict[str, Any]) -> None:
    assert set(problems(submit(lite.client("ling"), path, **changed))) == set(changed)
    assert not [e for e in stored(lite, AuditEntry) if e.action == "change"]


def test_markup_in_every_field_is_only_ever_text(lite: Desk) -> None:
    ling, root = lite.client("ling"), lite.client("root")
    long = {"benefits_zh": HOSTILE, "benefits_en": HOSTILE}
    for client, path, changed in (
            (ling, "/policies/1", {"name": HOSTILE[:80]}), (ling, "/calendars/1", {"name": HOSTILE[:80]}),
            (ling, "/tiers/gold", {"name_zh": HOSTILE[:40], "name_en": HOSTILE[:40], **long}),
            (ling, "/macros/1", {"title_zh": HOSTILE[:60], "title_en": HOSTILE[:60], "text_zh": HOSTILE[:60]}),
            (ling, "/teams/1", {"name": HOSTILE[:80]}), (root, "/agents/1", {"name": HOSTILE[:100]})):
        answer = submit(client, path, **changed)
        assert answer.status_code == 303, problems(answer)
    for page in PAGES:
        answer = root.get(HOME + page)
        assert answer.status_code == 200, page
        if page != "/audit.csv":
            assert "<img" not in answer.text and "<script" not in answer.text and "style=" not in answer.text, page
    refused = submit(ling, "/policies/1", first_response_seconds=HOSTILE[:40], name=HOSTILE * 2)
    assert "<img" not in refused.text and set(problems(refused)) == {"first_response_seconds", "name"}


@pytest.mark.parametrize("login", ["wang", "zhang", None])
def test_who_is_no_manager_reaches_nothing(lite: Desk, login: str | None) -> None:
    client, before = lite.client(login), count(lite, AuditEntry)
    status = 403 if login else 303
    for page in PAGES:
        answer = client.get(HOME + page)
        assert answer.status_code == status, page
        assert login or answer.headers["location"].startswith("/desk/login?")
    for page in (*POSTS, "/agents/new", "/agents/1/password"):
        assert client.post(HOME + page, data={"name": "x"}).status_code == (403 if login else 401), page
    assert count(lite, AuditEntry) == before
    assert HOME not in client.get("/desk").text


@pytest.mark.parametrize("key", ["0", "-1", str(2**63), "9" * 400, "999", "x", "%00", "1%20OR%201=1", "１"])
def test_a_forged_key_is_not_found(lite: Desk, key: str) -> None:
    root = lite.client("root")
    for area in AREAS:
        assert root.get(f"{HOME}/{area}/{key}").status_code == 404, area
        assert root.post(f"{HOME}/{area}/{key}", data={"name": "x"}).status_code == 404, area
    for path in (f"/policies/{key}/move", f"/macros/{key}/delete", f"/agents/{key}/password"):
        assert root.post(HOME + path).status_code == 404, path
    assert root.get(f"{HOME}/nothing").status_code == root.get(f"{HOME}/nothing/1").status_code == 404
    assert root.get(f"{HOME}/tiers/new").status_code == root.post(f"{HOME}/tiers/new").status_code == 404


def test_another_site_sends_nothing_and_a_large_body_is_refused(lite: Desk) -> None:
    ling = lite.client("ling")
    data = form_of(ling.get(f"{HOME}/policies/1").text)
    for headers in ({"Origin": "https://evil.test"}, {"Sec-Fetch-Site": "cross-site"}):
        assert ling.post(f"{HOME}/policies/1", data=data, headers=headers).status_code == 403
    assert ling.post(f"{HOME}/policies/1", data={**data, "name": "x" * 1_000_000}).status_code == 413
    assert ling.post(f"{HOME}/policies/1", content=b"\xff\xfe", headers={
        "Content-Type": "multipart/form-data; boundary=x"}).status_code in (400, 409, 422)
    files = {"name": ("x.txt", b"from a file")}
    assert ling.post(f"{HOME}/policies/1", data={k: v for k, v in data.items() if k != "name"},
                     files=files).status_code == 422
    assert stored(lite, SlaPolicy, SlaPolicy.id == 1)[0].name == "handoff"


def test_the_second_of_two_managers_is_told_what_the_first_changed(desk: Desk) -> None:
    first, second = desk.client("ling"), desk.client("root")
    theirs = form_of(second.get(f"{HOME}/policies/1").text)
    assert submit(first, "/policies/1", first_response_seconds="10 min").status_code == 303
    answer = second.post(f"{HOME}/policies/1", data={**theirs, "first_response_seconds": "2 h", "name": "mine"})
    assert answer.status_code == 409
    told = answer.text.split('class="alert conflict"')[1].split("</div>")[0]
    assert "赵玲" in told and "10 min" in told and "2 h" in told and "mine" in told and "handoff" in told
    assert 'value="2 h"' in answer.text
    assert stored(desk, SlaPolicy, SlaPolicy.id == 1)[0].first_response_seconds == 600
    again = form_of(answer.text)
    assert again["first_response_seconds"] == "2 h"
    assert second.post(f"{HOME}/policies/1", data=again).status_code == 303
    assert stored(desk, SlaPolicy, SlaPolicy.id == 1)[0].first_response_seconds == 7200
    without = {name: value for name, value in again.items() if name != "version"}
    assert second.post(f"{HOME}/policies/1", data=without).status_code == 409


def test_policies_move_and_say_which_never_apply(lite: Desk) -> None:
    ling = lite.client("ling")
    page = ling.get(f"{HOME}/policies").text
    order = re.findall(r'name="version" value="(\w+)"', page)[0]
    moved = ling.post(f"{HOME}/policies/2/move", data={"to": "up", "version": order})
    assert moved.headers["location"].endswith("said=moved")
    late = ling.post(f"{HOME}/policies/2/move", data={"to": "down", "version": order})
    assert late.headers["location"].endswith("said=order_changed")
    page = ling.get(f"{HOME}/policies").text
    assert page.index("/policies/2") < page.index("/policies/1") and "永远轮不到：「rest」先生效" in page


def test_a_trial_says_which_policy_would_match_and_by_when(lite: Desk) -> None:
    ling = lite.client("root")
    page = ling.get(f"{HOME}/policies", params={"kind": "handoff", "tier": "gold"}).text.split('class="answer"')[1]
    assert ">handoff<" in page and "15 min" in page and "due 10:15" in page
    page = ling.get(f"{HOME}/policies", params={"kind": "complaint", "grade": "major"}).text.split('class="answer"')[1]
    assert ">rest<" in page and "48 h" in page
    with lite.store.write() as session:
        session.query(SlaPolicy).update({"active": False})
    page = ling.get(f"{HOME}/policies", params={"kind": "'", "grade": "x", "tier": "\x00"}).text
    assert "gets no promise at all" in page


def test_a_calendar_that_cannot_be_used_can_still_be_put_right(lite: Desk) -> None:
    with lite.store.write() as session:
        session.query(BusinessCalendar).update({"weekly": {}, "holidays": "XX"})
    root = lite.client("root")
    assert "Cannot be used" in root.get(f"{HOME}/calendars").text
    assert ">handoff<" in root.get(f"{HOME}/policies", params={"kind": "handoff"}).text
    assert submit(root, "/calendars/1", weekly_0="09:00-17:00", holidays="").status_code == 303
    assert "Cannot be used" not in root.get(f"{HOME}/calendars").text


def test_a_calendar_and_an_article_are_previewed_without_being_stored(lite: Desk) -> None:
    root = lite.client("root")
    answer = submit(root, "/calendars/1", holidays="CN", weekly_3="", closing_days="2026-11-20", do="preview")
    rows = re.findall(r"<tr.*?</tr>", answer.text.split('class="days"')[1], re.DOTALL)
    assert answer.status_code == 200 and len(rows) == 14
    assert "Wednesday" in rows[0] and "Today" in rows[0] and "09:00–21:00" in rows[0]
    assert "Closed" in rows[1] and "Closing day" in rows[2]
    assert stored(lite, BusinessCalendar)[0].closing_days == []
    bad = submit(root, "/calendars/1", weekly_3="10:00-09:00", do="preview")
    assert "weekly_3-problem" in bad.text and 'class="days"' not in bad.text
    answer = root.post(f"{HOME}/articles/new", data={
        "title_en": "<b>Wrap", "body_en": "One.\r\n\r\nTwo.", "title_zh": "包装", "body_zh": "一。", "do": "preview"})
    assert "<h3>&lt;b&gt;Wrap</h3><p>One.</p><p>Two.</p>" in answer.text and count(lite, KnowledgeArticle) == 0


def test_a_phrase_is_deleted_once_and_only_as_it_was_read(lite: Desk) -> None:
    ling = lite.client("ling")
    version = form_of(ling.get(f"{HOME}/macros/1").text)["version"]
    assert submit(ling, "/macros/1", title_zh="新的").status_code == 303
    assert ling.post(f"{HOME}/macros/1/delete", data={"version": version}).status_code == 409
    version = form_of(ling.get(f"{HOME}/macros/1").text)["version"]
    assert ling.post(f"{HOME}/macros/1/delete", data={"version": version}).status_code == 303
    assert ling.post(f"{HOME}/macros/1/delete", data={"version": version}).status_code == 404
    assert "新的" in ling.get(f"{HOME}/audit", params={"action": "delete"}).text


NEW_AGENT = {"login": "mei", "name": "林美", "role": "agent", "team_id": "1", "languages": ["zh", "en"],
             "capacity": "4", "interface_language": "zh", "active": "yes"}


def test_an_admin_makes_an_agent_and_their_password_is_shown_once(desk: Desk) -> None:
    root = desk.client("root")
    answer = root.post(f"{HOME}/agents/new", data=NEW_AGENT)
    assert answer.status_code == 200 and answer.headers["cache-control"] == "no-store"
    password = re.findall(r'class="password">([^<]+)<', answer.text)[0]
    mei = desk.client()
    assert mei.post("/api/login", json={"login": "mei", "password": password}).status_code == 200
    (person,) = stored(desk, SupportAgent, SupportAgent.login == "mei")
    for page in (f"/agents/{person.id}", "/agents", "/audit", "/audit.csv"):
        text = root.get(HOME + page).text
        assert password not in text and "argon2" not in text
    assert set(problems(root.post(f"{HOME}/agents/new", data={**NEW_AGENT, "capacity": "x", "name": ""}))) == {
        "login", "capacity", "name"}
    reset = root.post(f"{HOME}/agents/{person.id}/password")
    assert mei.get("/desk").status_code == 303  # logged out
    assert mei.post("/api/login", json={"login": "mei", "password": password}).status_code == 401
    newer = re.findall(r'class="password">([^<]+)<', reset.text)[0]
    assert mei.post("/api/login", json={"login": "mei", "password": newer}).status_code == 200
    assert [e.action for e in stored(desk, AuditEntry) if e.object_id == str(person.id)] == [
        "create", "log_in", "reset_password", "log_in"]


def test_a_manager_sees_people_but_lifts_nobody(lite: Desk) -> None:
    ling = lite.client("ling")
    page = ling.get(f"{HOME}/agents/1").text
    assert re.search(r'<select id="role"[^>]* disabled', page) and "agents/1/password" not in page
    assert f"{HOME}/agents/new" not in ling.get(f"{HOME}/agents").text
    assert ling.get(f"{HOME}/agents/new").status_code == 403
    assert ling.post(f"{HOME}/agents/new", data=NEW_AGENT).status_code == 403
    assert ling.post(f"{HOME}/agents/1/password").status_code == 403
    own = lite.agent("ling").id
    for path, forged in ((f"/agents/{own}", {"role": "admin"}), ("/agents/1", {"role": "manager"}),
                         ("/agents/1", {"active": ""}), ("/agents/1", {"name": "Other"})):
        assert submit(ling, path, **forged).status_code == 403, forged
    assert lite.agent("ling").role == "manager" and lite.agent("wang").active


def test_an_admin_cannot_lock_everybody_out(lite: Desk) -> None:
    root, own = lite.client("root"), lite.agent("root").id
    assert problems(submit(root, f"/agents/{own}", active=None)) == {"active": "Nobody deactivates themselves."}
    assert problems(submit(root, f"/agents/{own}", role="agent")) == {
        "role": "This is the last active administrator."}


def test_who_is_deactivated_is_out_at_once_and_leaves_nothing_behind(desk: Desk) -> None:
    conversation = desk.escalated("a", assignee="wang")
    wang, root = desk.client("wang"), desk.client("root")
    answer = submit(root, f"/agents/{desk.agent('wang').id}", active=None)
    assert answer.headers["location"].endswith("said=released")
    assert wang.get("/desk").status_code == 303
    assert wang.post("/api/login", json={"login": "wang", "password": PASSWORD}).status_code == 401
    lee = desk.client("lee")
    assert lee.post(f"/api/conversations/{conversation}/claim").status_code == 200
    assert "released" in answer.headers["location"] and "put back into the queue" in root.get(f"{HOME}/audit").text


def test_a_persons_history_is_what_was_changed_not_when_they_came(lite: Desk) -> None:
    root, own = lite.client("root"), lite.agent("root").id
    lite.client("root").post("/desk/availability", data={"available": "true"})
    assert submit(root, f"/agents/{own}", capacity="7").status_code == 303
    page = root.get(f"{HOME}/agents/{own}").text.split('id="history-title"')[1]
    assert page.count("<time") == 1 and "logged in" not in page
    everything = html.unescape(re.findall(r'href="(/manage/settings/audit[^"]*)"', page)[0])
    text = root.get(everything).text
    assert len(lines(text)) == 4 and "logged in" in text


def note(desk: Desk, **entry: Any) -> None:
    with desk.store.write() as session:
        audit.record(session, **{"actor_kind": "agent", "actor_id": desk.agent("wang").id, "action": "look",
                                 "object_kind": "conversation", "object_id": 7, "now": desk.clock(), **entry})


def lines(page: str) -> list[str]:
    return re.findall(r"<tr>.*?</tr>", page.split("<tbody>")[1], re.DOTALL) if "<tbody>" in page else []


def test_the_audit_log_is_filtered_by_everything(desk: Desk) -> None:
    note(desk)
    note(desk, object_id=8, actor_kind="customer", actor_id=3, action="rate", data={"score": 2})
    desk.clock.move(days=2)
    note(desk, object_kind="ticket", action="future_action", actor_kind="bot", actor_id=None)
    root = desk.client("root")
    wang = desk.agent("wang").id
    for query, wanted in (
            ({}, 4), ({"who": str(wang)}, 1), ({"who": "customer"}, 1), ({"who": "bot"}, 1), ({"action": "look"}, 1),
            ({"kind": "ticket"}, 1), ({"id": "8"}, 1), ({"since": "2026-11-20"}, 2), ({"until": "2026-11-18"}, 2),
            ({"until": "2026-11-17"}, 0), ({"id": "8", "action": "look"}, 0)):
        answer = root.get(f"{HOME}/audit", params=query)
        assert (answer.status_code, len(lines(answer.text))) == (200, wanted), query
    page = root.get(f"{HOME}/audit").text
    assert "Customer #3" in page and "future_action" in page and 'href="/manage/logs/7"' in page


@pytest.mark.parametrize("name", ["who", "action", "kind", "id", "since", "until", "before", "after"])
@pytest.mark.parametrize("value", ["' OR 1=1 --", "<script>", "\x00", "-1", "9" * 400, "2026-02-30", "nan", "\ufffd"],
                         ids=range(8))
def test_a_filter_that_cannot_be_read_is_named_and_breaks_nothing(desk: Desk, name: str, value: str) -> None:
    answer = desk.client("ling").get(f"{HOME}/audit", params={name: value})
    assert answer.status_code == 200 and "<script>" not in answer.text
    if (name, value) not in (("id", "-1"), ("id", "nan"), ("id", "2026-02-30"), ("id", "9" * 400)):
        assert name in answer.text.split('role="alert"')[1].split("</p>")[0] or value == "9" * 400


def test_personal_data_in_the_log_is_masked_on_the_page_and_in_the_export(desk: Desk) -> None:
    note(desk, data={"phone": "13800138000", "nested": {"mail": ["lilei@example.com"]}, "n": 1})
    root = desk.client("root")
    for page in ("/audit", "/audit.csv"):
        text = root.get(HOME + page).text
        assert "nested" in text and "13800138000" not in text and "lilei@example.com" not in text


def test_pages_go_on_where_the_last_ended(desk: Desk) -> None:
    for number in range(120):
        note(desk, object_id=number)
    root = desk.client("root")
    first = root.get(f"{HOME}/audit", params={"action": "look"}).text
    assert len(lines(first)) == 50 and 'rel="prev"' not in first
    older = html.unescape(re.findall(r'rel="next" href="([^"]+)"', first)[0])
    second = root.get(older).text
    assert "action=look" in older and len(lines(second)) == 50 and not set(lines(first)) & set(lines(second))
    third = root.get(html.unescape(re.findall(r'rel="next" href="([^"]+)"', second)[0])).text
    assert len(lines(third)) == 20 and 'rel="next"' not in third
    back = root.get(html.unescape(re.findall(r'rel="prev" href="([^"]+)"', third)[0])).text
    assert lines(back) == lines(second)


def test_the_export_holds_what_was_found_harmless_and_is_recorded(desk: Desk) -> None:
    with desk.store.write() as session:
        session.execute(select(SupportAgent).where(SupportAgent.login == "wang")).scalar_one().name = "=1+1"
    for number in range(520):
        note(desk, object_id=f"@{number}", data={"said": "一,\"二\"\n=cmd"})
    answer = desk.client("root").get(f"{HOME}/audit.csv", params={"action": "look"})
    assert answer.headers["content-type"].startswith("text/csv")
    assert answer.headers["content-disposition"] == 'attachment; filename="audit-20261118-0200.csv"'
    rows = list(csv.DictReader(io.StringIO(answer.text.removeprefix("\ufeff"))))
    assert len(rows) == 520 and {row["actor"] for row in rows} == {"'=1+1"}
    assert rows[0]["object_id"] == "'@519" and rows[-1]["object_id"] == "'@0"
    (entry,) = [e for e in stored(desk, AuditEntry) if e.action == "export"]
    assert (entry.object_kind, entry.data, entry.actor_id) == ("audit_log", {"action": "look"}, desk.agent("root").id)


def test_both_languages_say_every_page(lite: Desk) -> None:
    root = lite.client("root")
    for language, word in (("zh", "设置"), ("en", "Settings")):
        root.post("/desk/language", data={"language": language, "back": HOME}, headers={"Origin": HOST})
        for page in PAGES:
            answer = root.get(HOME + page)
            assert answer.status_code == 200 and (page == "/audit.csv" or word in answer.text), page


@pytest.mark.parametrize(("typed", "seconds"), [
    ("15 min", 900), ("15min", 900), ("2 h", 7200), ("1 d", 86_400), ("1 h 30 min", 5400), ("1h30m", 5400),
    ("7.5 min", 450), ("15 分钟", 900), ("2小时", 7200), ("1 小时 30 分", 5400), ("１５分钟", 900), ("90 s", 90),
    ("1 天", 86_400), ("2 Hours", 7200), ("", None), ("  ", None)])
def test_lengths_of_time_are_read_as_people_write_them(typed: str, seconds: int | None, now: Any) -> None:
    assert read_length(typed) == seconds
    for language in ("zh", "en"):
        assert read_length(show_length(seconds, Reader(language, now))) == seconds


@pytest.mark.parametrize("typed", ["15", "min", "soon", "-1 h", "1 h -3 min", "1 parsec", "1,5 h x", "h 1", "1 hh"])
def test_other_lengths_of_time_are_not_guessed_at(typed: str) -> None:
    with pytest.raises(Unreadable):
        read_length(typed)


def test_hours_days_and_amounts_are_read_as_people_write_them(now: Any) -> None:
    two = [["09:00", "12:00"], ["13:30", "24:00"]]
    for typed in ("09:00-12:00, 13:30-24:00", "9:00–12:00；13:30 ～ 24:00", "9：00至12：00、13：30到24：00"):
        assert read_hours(typed) == two
    assert read_hours(show_hours(two, Reader("en", now))) == two and read_hours(" ") == []
    assert read_days("2026-12-31\r\n2027-01-01，2027-01-02") == ["2026-12-31", "2027-01-01", "2027-01-02"]
    assert [read_yuan(typed) for typed in ("2000", "¥2,000.5", "0.29", "")] == [200_000, 200_050, 29, None]
    for read, typed in ((read_hours, "9-12"), (read_days, "tomorrow"), (read_yuan, "1.234"), (read_yuan, "1e5")):
        with pytest.raises(Unreadable):
            read(typed)

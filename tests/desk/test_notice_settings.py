"""Agents choose how they are told, managers keep webhooks and read what was sent, and nobody else does either."""
from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from crm_store.models import AuditEntry, NotificationDelivery, NotificationPreference, Webhook
from crm_store.models.deliveries import DELIVERY_ERRORS, DELIVERY_OUTCOMES, NOTICE_KINDS
from crm_store.services import deliveries
from crm_store.services.notices import notify
from desk.wording import LANGUAGES, WORDS, say
from tests.desk.conftest import Desk

HOSTILE = "<img src=x onerror=alert(1)>\"'"
OWN, HOOKS = "/desk/notifications", "/manage/webhooks"
WAYS_IN = (  # method, path; the first webhook and delivery are 1
    ("get", HOOKS), ("get", f"{HOOKS}/new"), ("post", f"{HOOKS}/new"), ("get", f"{HOOKS}/1"), ("post", f"{HOOKS}/1"),
    ("post", f"{HOOKS}/1/secret"), ("post", f"{HOOKS}/1/test"), ("post", f"{HOOKS}/deliveries/1/again"))


def rows(desk: Desk, model: Any) -> list[Any]:
    with desk.store.read() as session:
        return list(session.execute(select(model)).scalars())


def made(desk: Desk, login: str = "ling", **form: Any) -> str:
    """A new webhook by the page; its secret as it was shown."""
    answer = desk.client(login).post(f"{HOOKS}/new", data={"name": "ops", "url": "https://example.com/in", **form})
    assert answer.status_code == 200, answer.text
    found = re.search(r'id="secret">(whsec_[\w-]+)<', answer.text)
    assert found
    return found.group(1)


def told(desk: Desk, key: str = "k1", **data: Any) -> None:
    with desk.store.write() as session:
        notify(session, [desk.agent("wang").id], kind="sla_breached", key=key, now=desk.clock(), data=data)


def failed(desk: Desk, reason: str = "refused", status: int | None = 500) -> int:
    """A delivery to the first webhook that was given up."""
    told(desk, f"k{len(rows(desk, NotificationDelivery))}")
    with desk.store.write() as session:
        taken = deliveries.claim_delivery(session, "webhook:1", desk.clock(), timedelta(0))
        assert taken is not None
        deliveries.note_failure(session, taken.id, taken.attempt, reason, desk.clock(), jitter=0, status=status,
                                permanent=True)
        return taken.id


def test_an_agent_chooses_their_own_ways(desk: Desk) -> None:
    client = desk.client("lee")
    page = client.get(OWN).text
    picked = re.findall(r'value="(\w+)" checked', page)
    assert picked == ["assigned", "complaint", "transferred", "sla_breached"] and "not set up on this server" in page
    answer = client.post(OWN, data={"email": "lee@example.com", "kinds": ["woken", "sla_breached"]})
    assert (answer.status_code, answer.headers["location"]) == (303, f"{OWN}?done=saved")
    page = client.get(f"{OWN}?done=saved").text
    assert re.findall(r'value="(\w+)" checked', page) == ["sla_breached", "woken"] and "lee@example.com" in page
    assert "Saved." in page and f'formaction="{OWN}/test"' in page
    (kept,) = rows(desk, NotificationPreference)
    assert (kept.agent_id, kept.email) == (desk.agent("lee").id, "lee@example.com")
    assert "lee@example.com" not in desk.client("eva").get(OWN).text
    client.post(OWN, data={"email": ""})
    (kept,) = rows(desk, NotificationPreference)
    assert (kept.email, kept.email_kinds) == (None, [])
    written = [each for each in rows(desk, AuditEntry) if each.action == "set_notifications"]
    assert len(written) == 2 and written[0].actor_id == desk.agent("lee").id


def test_the_menu_leads_there_and_leads_begin_with_warnings(lite: Desk) -> None:
    assert f'href="{OWN}"' in lite.client("wang").get("/desk").text
    assert 'value="sla_warned" checked' in lite.client("zhang").get(OWN).text


def test_where_mail_is_set_up_the_page_says_nothing_else(lite: Desk) -> None:
    object.__setattr__(lite.app.state.desk, "mail", True)
    assert "not set up" not in lite.client("wang").get(OWN).text


@pytest.mark.parametrize("form", [
    {"email": HOSTILE}, {"email": "a@b.com\r\nBcc: c@d.com"}, {"email": "\x00@b.com"}, {"email": "a" * 5000 + "@b.com"},
    {"email": "a@b.com", "kinds": HOSTILE}, {"email": "a@b.com", "kinds": ["woken", "1' OR '1'='1"]}])
def test_what_cannot_be_kept_is_said_and_nothing_is_kept(lite: Desk, form: dict[str, Any]) -> None:
    answer = lite.client("wang").post(OWN, data=form)
    assert answer.status_code == 422 and 'role="alert"' in answer.text
    assert "<img" not in answer.text and not rows(lite, NotificationPreference)


def test_a_broken_byte_is_refused_and_a_megabyte_too(lite: Desk) -> None:
    client = lite.client("ling")
    plain = {"Content-Type": "application/x-www-form-urlencoded"}
    assert client.post(OWN, content=b"email=%ED%A0%80@b.com", headers=plain).status_code == 422
    assert client.post(OWN, content=b"email=" + b"a" * 1_000_000, headers=plain).status_code == 413
    name = client.post(f"{HOOKS}/new", content=b"name=%ED%A0%80%00&url=https://example.com/", headers=plain)
    assert name.status_code in (200, 422) and client.get(HOOKS).status_code == 200


def test_a_test_mail_is_queued_for_the_agent_alone(desk: Desk) -> None:
    client = desk.client("lee")
    client.post(OWN, data={"email": "lee@example.com", "kinds": []})
    assert client.post(f"{OWN}/test", data={"email": "other@example.com"}).headers["location"] == f"{OWN}?done=test"
    (queued,) = rows(desk, NotificationDelivery)
    assert (queued.adapter, queued.target_id, queued.kind) == ("email", desk.agent("lee").id, "test")
    with desk.store.write() as session:
        taken = deliveries.claim_delivery(session, "email", desk.clock(), timedelta(minutes=1))
        assert taken is not None and taken.address == "lee@example.com"


@pytest.mark.parametrize(("method", "path"), WAYS_IN)
def test_only_managers_reach_webhooks(lite: Desk, method: str, path: str) -> None:
    made(lite)
    failed(lite)
    before = len(rows(lite, AuditEntry))
    for login in ("wang", "zhang"):
        client = lite.client(login)
        before += 1  # their login
        answer = getattr(client, method)(path, **({"data": {"name": "x", "url": "http://x.com"}} if method == "post"
                                                  else {}))
        assert answer.status_code == 403 and "example.com" not in answer.text
    nobody = getattr(lite.client(), method)(path)
    assert (nobody.status_code, method) in ((303, "get"), (401, "post"))
    assert len(rows(lite, AuditEntry)) == before and len(rows(lite, Webhook)) == 1
    assert [each.state for each in rows(lite, NotificationDelivery)] == ["given_up"]
    for login in ("ling", "root"):
        assert lite.client(login).get(HOOKS).status_code == 200


def test_nobody_reaches_their_own_page_without_a_login_or_from_another_site(lite: Desk) -> None:
    assert lite.client().get(OWN).status_code == 303 and lite.client().post(OWN, data={}).status_code == 401
    forged = {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"}
    assert lite.client("ling").post(f"{HOOKS}/new", data={"name": "x", "url": "http://x.com"},
                                    headers=forged).status_code == 403
    assert not rows(lite, Webhook)


@pytest.mark.parametrize("key", ["0", "-1", str(2**63), "9" * 40, "99", "x", "1'--", "%00"])
@pytest.mark.parametrize(("method", "path"), [
    ("get", f"{HOOKS}/{{}}"), ("post", f"{HOOKS}/{{}}"), ("post", f"{HOOKS}/{{}}/secret"),
    ("post", f"{HOOKS}/{{}}/test"), ("post", f"{HOOKS}/deliveries/{{}}/again")])
def test_what_is_not_there_is_missing(lite: Desk, method: str, path: str, key: str) -> None:
    form = {"data": {"name": "x", "url": "http://x.com"}} if method == "post" else {}
    assert getattr(lite.client("ling"), method)(path.format(key), **form).status_code == 404


def test_a_secret_is_shown_once_and_replaced_once(desk: Desk) -> None:
    secret, client = made(desk, kinds=["woken", "assigned"]), desk.client("ling")
    (hook,) = rows(desk, Webhook)
    assert (hook.secret, hook.kinds, hook.active) == (secret, ["assigned", "woken"], True)
    answer = client.post(f"{HOOKS}/1/secret")
    (hook,) = rows(desk, Webhook)
    assert hook.secret in answer.text and hook.secret != secret and answer.headers["cache-control"] == "no-store"
    for path in (HOOKS, f"{HOOKS}/1", "/manage/settings/audit"):
        text = client.get(path).text
        assert hook.secret not in text and secret not in text and "whsec_" not in text
    told = str([(each.action, each.data) for each in rows(desk, AuditEntry)])
    assert "create_webhook" in told and "rotate_webhook_secret" in told and "whsec_" not in told


def test_a_webhook_is_changed_and_switched_off(desk: Desk) -> None:
    made(desk)
    client = desk.client("root")
    page = client.get(f"{HOOKS}/1").text
    assert 'value="https://example.com/in"' in page and 'name="active" value="yes" checked' in page
    answer = client.post(f"{HOOKS}/1", data={"name": HOSTILE, "url": f"http://example.com/?{HOSTILE}".replace(" ", "+"),
                                             "kinds": ["woken"]})
    assert answer.headers["location"] == f"{HOOKS}?done=saved"
    page = client.get(HOOKS).text
    assert "<img" not in page and "&lt;img" in page and ">Off<" in page and "A wait is over" in page
    told(desk)
    assert not rows(desk, NotificationDelivery)


@pytest.mark.parametrize(("form", "said"), [
    ({"url": "javascript:alert(1)"}, "whole http or https"), ({"url": "http://u:p@example.com/"}, "without a login"),
    ({"url": "https://example.com/" + "x" * 600}, "whole http"), ({"url": "https://taken.example/"}, "already"),
    ({"name": ""}, "Enter a name"), ({"name": "\x00\u200b"}, "Enter a name"), ({"name": "x" * 81}, "at most 80"),
    ({"kinds": "nothing"}, "does not exist")])
def test_what_is_wrong_with_a_webhook_is_said_and_what_was_typed_stays(
        lite: Desk, form: dict[str, str], said: str) -> None:
    made(lite, url="https://taken.example/")
    made(lite)
    client = lite.client("root")
    typed = {"name": HOSTILE, "url": "https://other.example/", **form}
    for path in (f"{HOOKS}/new", f"{HOOKS}/2"):
        answer = client.post(path, data=typed)
        assert answer.status_code == 422 and said in answer.text and "<img" not in answer.text
    assert [each.url for each in rows(lite, Webhook)] == ["https://taken.example/", "https://example.com/in"]


def test_the_log_says_what_came_of_each_and_a_manager_sends_again(desk: Desk) -> None:
    made(desk, name=HOSTILE)
    client, lost = desk.client("root"), failed(desk)
    told(desk, "k9")
    page = client.get(HOOKS).text
    assert page.count('<form method="post" action="/manage/webhooks/deliveries/') == 1 and "<img" not in page
    assert "The answer was not 2xx (answer 500)" in page and "1 given up" in page and "1 waiting" in page
    assert client.get(f"{HOOKS}?state=given_up").text.count("<td class=\"target\">") == 1
    assert client.get(f"{HOOKS}?state=sent").text.count("<td class=\"target\">") == 0
    answer = client.post(f"{HOOKS}/deliveries/{lost}/again", data={"state": "given_up"})
    assert answer.headers["location"] == f"{HOOKS}?done=again&state=given_up"
    assert client.post(f"{HOOKS}/deliveries/{lost}/again").headers["location"] == f"{HOOKS}?done=waiting"
    assert [each.state for each in rows(desk, NotificationDelivery)] == ["queued", "queued"]
    assert [each.actor_id for each in rows(desk, AuditEntry) if each.action == "send_again"] == [desk.agent("root").id]


def test_a_test_event_is_queued(lite: Desk) -> None:
    made(lite)
    assert lite.client("ling").post(f"{HOOKS}/1/test").headers["location"] == f"{HOOKS}?done=test"
    assert [(each.adapter, each.kind) for each in rows(lite, NotificationDelivery)] == [("webhook", "test")]


@pytest.mark.parametrize("query", ["state=<b>", "state=sent&page=0", "page=-1", "page=99999999999", "page=x",
                                   "done=<b>", "state=", "page=999999999&state=failed"])
def test_any_query_gives_a_page(lite: Desk, query: str) -> None:
    made(lite)
    assert lite.client("ling").get(f"{HOOKS}?{query}").status_code == 200
    assert lite.client("ling").get(f"{OWN}?{query}").status_code == 200


def test_the_log_has_pages(lite: Desk) -> None:
    made(lite)
    for number in range(51):
        told(lite, f"k{number}")
    client = lite.client("ling")
    first, second = client.get(HOOKS).text, client.get(f"{HOOKS}?page=2").text
    assert first.count('class="target"') == 50 and second.count('class="target"') == 1
    assert 'rel="next"' in first and 'rel="prev"' not in first and 'rel="prev"' in second


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_error_kind_and_state_has_words(lite: Desk, language: str) -> None:
    assert not [each for each in (*(f"notice_error_{code}" for code in DELIVERY_ERRORS),
                                  *(f"notice_kind_{kind}" for kind in NOTICE_KINDS), "notice_kind_test",
                                  *(f"notice_{kind}" for kind in NOTICE_KINDS),
                                  *(f"notice_state_{state}" for state in DELIVERY_OUTCOMES)) if each not in WORDS]
    made(lite)
    for code in DELIVERY_ERRORS:
        failed(lite, f"{code}: Detail", None)
    client = lite.client("ling")
    client.cookies.set("warmline_language", language)
    page = client.get(HOOKS).text
    assert not [code for code in DELIVERY_ERRORS if say(f"notice_error_{code}", language) not in page]


def test_errors_that_senders_name_are_known() -> None:
    gateway = Path(deliveries.__file__).parents[2] / "gateway"
    text = "".join(path.read_text(encoding="utf8") for path in gateway.glob("notif*.py"))
    named = set(re.findall(r'NotDelivered\(\s*f?"(\w+)', text))
    assert len(named) > 6 and named <= set(DELIVERY_ERRORS)

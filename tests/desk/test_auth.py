"""Who may come in: login, sessions, cookies, throttling, other sites."""
from __future__ import annotations

import json

import pytest

from tests.desk.conftest import HOST, PASSWORD, Desk, make_desk


def test_a_right_password_gives_a_token_and_a_cookie_out_of_reach_of_scripts(desk: Desk) -> None:
    client = desk.client()
    answer = client.post("/api/login", json={"login": "WANG ", "password": PASSWORD})
    assert answer.status_code == 200
    body = answer.json()
    assert body["agent"]["name"] == "王敏" and body["agent"]["role"] == "agent"
    cookie = answer.headers["set-cookie"]
    assert f"warmline_session={body['token']}" in cookie
    assert {"HttpOnly", "SameSite=lax", "Path=/"} <= set(cookie.split("; "))
    assert "Secure" not in cookie
    assert client.get("/api/me").json()["agent"]["login"] == "wang"
    assert answer.headers["cache-control"] == "no-store"


def test_the_cookie_is_kept_to_https_where_the_operator_says_so(lite: Desk) -> None:
    secure = make_desk(lite.store, lite.clock, secure_cookies=True)
    answer = secure.client().post("/api/login", json={"login": "wang", "password": PASSWORD})
    assert "Secure" in answer.headers["set-cookie"]


def test_a_bearer_token_does_as_well_as_the_cookie(lite: Desk) -> None:
    token = lite.client().post("/api/login", json={"login": "wang", "password": PASSWORD}).json()["token"]
    stranger = lite.client()
    assert stranger.get("/api/me", headers={"Authorization": f"Bearer {token}"}).status_code == 200
    assert stranger.get("/api/me", headers={"Authorization": "Bearer wrong"}).status_code == 401
    assert stranger.get("/api/me", headers={"Authorization": f"Basic {token}"}).status_code == 401


@pytest.mark.parametrize("login, password", [
    ("wang", "wrong"), ("nobody", PASSWORD), ("wang\x00", "x"), ("\ud800", "x"), ("' OR 1=1 --", "x"), ("%", "x")])
def test_a_wrong_login_tells_nothing(desk: Desk, login: str, password: str) -> None:
    answer = desk.client().post("/api/login", content=json.dumps({"login": login, "password": password}),
                                headers={"Content-Type": "application/json"})
    assert answer.status_code == 401
    assert answer.json()["error"] == "wrong_login"
    assert "set-cookie" not in answer.headers


def test_ten_failures_are_the_most_for_one_login(desk: Desk) -> None:
    client = desk.client()
    wrong = {"login": "wang", "password": "wrong"}
    assert [client.post("/api/login", json=wrong).status_code for _ in range(10)] == [401] * 10
    throttled = client.post("/api/login", json={"login": "wang", "password": PASSWORD})
    assert throttled.status_code == 429
    assert int(throttled.headers["retry-after"]) > 0
    assert throttled.json()["error"] == "throttled"
    page = client.post("/desk/login", data={"login": "wang", "password": PASSWORD})
    assert page.status_code == 429 and "retry-after" in page.headers and "Too many attempts" in page.text
    assert desk.client("lee").get("/api/me").status_code == 200
    desk.clock.move(minutes=16)
    assert client.post("/api/login", json={"login": "wang", "password": PASSWORD}).status_code == 200


def test_behind_a_trusted_proxy_the_address_it_names_is_throttled_and_nobody_elses(lite: Desk) -> None:
    proxied = make_desk(lite.store, lite.clock, trusted_proxy="testclient")
    client = proxied.client()
    for number in range(30):
        client.post("/api/login", json={"login": f"guess{number}", "password": "x"},
                    headers={"X-Forwarded-For": "6.6.6.6, 203.0.113.9"})
    right = {"login": "wang", "password": PASSWORD}
    assert client.post("/api/login", json=right, headers={"X-Forwarded-For": "203.0.113.9"}).status_code == 429
    assert client.post("/api/login", json=right, headers={"X-Forwarded-For": "203.0.113.10"}).status_code == 200
    direct = lite.client()
    for number in range(30):
        direct.post("/api/login", json={"login": f"other{number}", "password": "x"},
                    headers={"X-Forwarded-For": f"198.51.100.{number}"})
    assert direct.post("/api/login", json=right, headers={"X-Forwarded-For": "198.51.100.99"}).status_code == 429


def test_every_login_begins_a_new_session_and_ends_the_one_the_browser_had(lite: Desk) -> None:
    client = lite.client()
    client.cookies.set("warmline_session", "planted-by-somebody", domain="desk.test")
    first = client.post("/api/login", json={"login": "wang", "password": PASSWORD}).json()["token"]
    client.cookies.clear()
    client.cookies.set("warmline_session", first, domain="desk.test")
    second = client.post("/api/login", json={"login": "wang", "password": PASSWORD}).json()["token"]
    assert len({"planted-by-somebody", first, second}) == 3
    stranger = lite.client()
    assert stranger.get("/api/me", headers={"Authorization": f"Bearer {first}"}).status_code == 401
    assert stranger.get("/api/me", headers={"Authorization": f"Bearer {second}"}).status_code == 200


def test_logging_out_ends_the_session_everywhere(lite: Desk) -> None:
    client = lite.client("wang")
    token = client.cookies["warmline_session"]
    assert client.post("/api/logout").status_code == 204
    assert "warmline_session" not in client.cookies
    assert lite.client().get("/api/me", headers={"Authorization": f"Bearer {token}"}).status_code == 401
    page = lite.client("wang")
    assert page.post("/desk/logout").headers["location"] == "/desk/login"
    assert page.get("/desk").headers["location"] == "/desk/login?next=%2Fdesk"


def test_a_session_ends_by_silence_and_a_page_left_open_does_not_keep_it(lite: Desk) -> None:
    busy, left = lite.client("wang"), lite.client("lee")
    for _ in range(5):
        lite.clock.move(minutes=30)
        assert busy.get("/desk").status_code == 200
        left.get("/desk/parts/queue", headers={"X-Part": "live"})
    assert left.get("/desk/parts/queue", headers={"X-Part": "live"}).status_code == 401
    assert left.get("/api/me").status_code == 401
    lite.clock.move(hours=11)
    assert busy.get("/api/me").status_code == 401


@pytest.mark.parametrize("headers, allowed", [
    ({}, True),
    ({"Sec-Fetch-Site": "same-origin"}, True),
    ({"Sec-Fetch-Site": "none"}, True),
    ({"Sec-Fetch-Site": "same-origin", "Origin": HOST}, True),
    ({"Origin": HOST}, True),
    ({"Sec-Fetch-Site": "cross-site"}, False),
    ({"Sec-Fetch-Site": "same-site"}, False),
    ({"Sec-Fetch-Site": "nonsense"}, False),
    ({"Origin": "https://evil.test"}, False),
    ({"Origin": "null"}, False),
    ({"Origin": "http://desk.test.evil.test"}, False),
    ({"Origin": "http://desk.test:8080"}, False),
    ({"Sec-Fetch-Site": "same-origin", "Origin": "https://evil.test"}, False),
    ({"Origin": "https://evil.test", "X-Forwarded-Host": "evil.test"}, False),
])
def test_another_site_cannot_act_through_the_cookie(lite: Desk, headers: dict[str, str], allowed: bool) -> None:
    conversation = lite.escalated("somebody")
    client = lite.client("wang")
    answer = client.post(f"/api/conversations/{conversation}/claim", headers=headers)
    assert answer.status_code == (200 if allowed else 403), answer.text
    if not allowed:
        assert answer.json()["error"] == "cross_site"
        assert client.get(f"/api/conversations/{conversation}").json()["conversation"]["assignee"] is None
    for path in ("/desk/login", "/desk/logout", "/desk/language", "/desk/availability", "/api/login"):
        status = client.post(path, headers=headers).status_code
        assert (status == 403) is not allowed, path


def test_a_bearer_token_needs_no_such_check(lite: Desk) -> None:
    token = lite.client("wang").cookies["warmline_session"]
    answer = lite.client().post("/api/logout", headers={
        "Authorization": f"Bearer {token}", "Sec-Fetch-Site": "cross-site", "Origin": "https://elsewhere.test"})
    assert answer.status_code == 204


def test_the_host_a_trusted_proxy_names_counts_as_ones_own(lite: Desk) -> None:
    proxied = make_desk(lite.store, lite.clock, trusted_proxy="testclient")
    answer = proxied.client("wang").post("/api/logout", headers={
        "Origin": "https://desk.example", "X-Forwarded-Host": "desk.example"})
    assert answer.status_code == 204


@pytest.mark.parametrize("wanted, target", [
    ("/desk?view=mine&conversation=3", "/desk?view=mine&conversation=3"), ("/manage/logs?words=%E9%80%80", None),
    ("//evil.test", "/desk"), ("https://evil.test", "/desk"), ("/\\evil.test", "/desk"), ("/desk/../../x", "/desk"),
    ("/desk\r\nSet-Cookie: a=b", "/desk"), ("/deskevil", "/desk"), ("javascript:alert(1)", "/desk"), ("", "/desk")])
def test_after_the_login_one_stays_at_the_desk(lite: Desk, wanted: str, target: str | None) -> None:
    answer = lite.client().post("/desk/login", data={"login": "zhang", "password": PASSWORD, "next": wanted})
    assert answer.status_code == 303
    assert answer.headers["location"] == (wanted if target is None else target)


def test_a_wrong_password_on_the_page_keeps_the_login_and_never_the_password(lite: Desk) -> None:
    answer = lite.client().post("/desk/login", data={"login": "<i>wang", "password": "secret-typo"})
    assert answer.status_code == 401
    assert "&lt;i&gt;wang" in answer.text and "secret-typo" not in answer.text and 'role="alert"' in answer.text


def test_a_body_above_the_limit_is_refused_announced_or_not(lite: Desk) -> None:
    client = lite.client()
    big = b'{"login": "' + b"a" * 70_000 + b'"}'
    for content in (big, (big[i:i + 1000] for i in range(0, len(big), 1000))):
        answer = client.post("/api/login", content=content, headers={"Content-Type": "application/json"})
        assert answer.status_code == 413 and answer.json()["error"] == "too_large"

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from starlette.requests import Request

from gateway.bell import Bell
from gateway.callers import address_of, refuse_cross_site
from gateway.problems import Problem


def asked_by(peer: str, **headers: str) -> Request:
    named = [(name.replace("_", "-").lower().encode(), value.encode("latin-1")) for name, value in headers.items()]
    return Request({"type": "http", "method": "POST", "headers": named, "client": (peer, 1), "path": "/"})


@pytest.mark.parametrize(("peer", "forwarded", "proxy", "address"), [
    ("203.0.113.9", None, "", "203.0.113.9"),
    ("203.0.113.9", "10.1.1.1", "", "203.0.113.9"),
    ("203.0.113.9", "10.1.1.1", "127.0.0.1", "203.0.113.9"),
    ("127.0.0.1", "6.6.6.6, 198.51.100.7", "127.0.0.1", "198.51.100.7"),
    ("127.0.0.1", None, "127.0.0.1", "127.0.0.1"),
    ("127.0.0.1", "nonsense", "127.0.0.1", "nonsense"),
    ("2001:db8:1:2:3:4:5:6", None, "", "2001:db8:1:2::/64"),
    ("2001:db8:1:2:ffff::1", None, "", "2001:db8:1:2::/64"),
    ("::ffff:203.0.113.9", None, "", "203.0.113.9"),
])
def test_whose_address_it_is(peer: str, forwarded: str | None, proxy: str, address: str) -> None:
    headers = {"x_forwarded_for": forwarded} if forwarded else {}
    assert address_of(asked_by(peer, **headers), proxy) == address


@pytest.mark.parametrize(("headers", "proxy"), [
    ({"host": "shop.example"}, ""), ({"host": "shop.example", "origin": "https://shop.example"}, ""),
    ({"host": "Shop.example", "origin": "https://shop.Example"}, ""),
    ({"host": "x", "origin": "https://y", "sec_fetch_site": "same-origin"}, ""), ({"sec_fetch_site": "none"}, ""),
    ({"host": "10.0.0.1", "origin": "https://shop.example", "x_forwarded_host": "shop.example"}, "127.0.0.1"),
])
def test_what_our_own_page_sends_is_let_in(headers: dict[str, Any], proxy: str) -> None:
    refuse_cross_site(asked_by("127.0.0.1", **headers), proxy)


@pytest.mark.parametrize(("headers", "proxy"), [
    ({"sec_fetch_site": "cross-site"}, ""), ({"sec_fetch_site": "same-site"}, ""), ({"sec_fetch_site": "odd"}, ""),
    ({"host": "shop.example", "origin": "https://shop.example.evil"}, ""),
    ({"host": "shop.example", "origin": "https://shop.example:444"}, ""),
    ({"host": "shop.example", "origin": "null"}, ""),
    ({"host": "", "origin": ""}, ""),
    ({"host": "10.0.0.1", "origin": "https://shop.example", "x_forwarded_host": "shop.example"}, ""),
    ({"host": "10.0.0.1", "origin": "https://shop.example", "x_forwarded_host": "shop.example"}, "10.9.9.9"),
])
def test_what_another_site_sends_is_refused(headers: dict[str, Any], proxy: str) -> None:
    with pytest.raises(Problem) as refused:
        refuse_cross_site(asked_by("127.0.0.1", **headers), proxy)
    assert refused.value.status == 403


@pytest.mark.anyio
async def test_a_bell_rings_at_once_and_once_more_for_all_that_came_in_the_pause(
        monkeypatch: pytest.MonkeyPatch) -> None:
    ends: list[Any] = []
    monkeypatch.setattr(asyncio.get_running_loop(), "call_later", lambda _, end: ends.append(end))
    nudge = asyncio.Event()
    bell = Bell(nudge)
    bell.ring()
    assert nudge.is_set()
    nudge.clear()
    for _ in range(5):
        bell.ring()
    assert not nudge.is_set() and len(ends) == 1
    ends[0]()
    assert nudge.is_set() and len(ends) == 2
    nudge.clear()
    ends[1]()
    assert not nudge.is_set() and len(ends) == 2
    bell.ring()
    assert nudge.is_set()

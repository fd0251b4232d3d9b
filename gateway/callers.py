"""Where a request comes from: the caller's address, and whether another site made the browser send it."""
from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

from fastapi import Request

from gateway.problems import cross_site

MANY_ADDRESSES = 64  # bits of an IPv6 address that name a household


def address_of(request: Request, trusted_proxy: str) -> str:
    """The caller's address; of an IPv6 address the network, since a household has a whole one.

    What the trusted proxy appended to X-Forwarded-For is believed, nothing else in it.
    """
    peer = request.client.host if request.client else ""
    if trusted_proxy and peer == trusted_proxy:
        peer = request.headers.get("x-forwarded-for", "").split(",")[-1].strip() or peer
    try:
        address = ipaddress.ip_address(peer)
    except ValueError:
        return peer[:64]
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped:
            return str(address.ipv4_mapped)
        return str(ipaddress.ip_network((address, MANY_ADDRESSES), strict=False))
    return str(address)


def refuse_cross_site(request: Request, trusted_proxy: str) -> None:
    """Refuse what another site made the browser send with our cookie.

    Browsers say by themselves where an unsafe request comes from, and no page can forge it; what says neither is no
    browser, and carries no cookie by accident.

    Raises:
        Problem: 403.
    """
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        if site not in ("same-origin", "none"):
            raise cross_site()
        return
    origin = request.headers.get("origin")
    if origin is None:
        return
    hosts = {request.headers.get("host", "").lower()}
    if trusted_proxy and request.client and request.client.host == trusted_proxy:
        hosts.add(request.headers.get("x-forwarded-host", "").split(",")[-1].strip().lower())
    if not urlsplit(origin).netloc or urlsplit(origin).netloc.lower() not in hosts:
        raise cross_site()

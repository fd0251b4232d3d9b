"""Tells other programs by signed HTTP requests, and never lets a URL reach into the server's own network.

The name is looked up once, every address it has is judged, and the connection goes to one of these addresses with the
name only in the Host header and the TLS handshake: a name that resolves differently a moment later changes nothing.
"""
from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
import ipaddress
import json
import socket
import ssl
from datetime import datetime
from urllib.parse import urlsplit

import httpx

from crm_store.services.deliveries import Outgoing
from gateway.notifier import NotDelivered

TIMEOUT_SECONDS = 10.0
CONNECT_SECONDS = 4.0
MOST_ADDRESSES = 4
Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_COMPATIBLE = ipaddress.ip_network("::/96")
_PRIVATE = tuple(ipaddress.ip_network(each) for each in (
    "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "127.0.0.0/8", "100.64.0.0/10", "::1/128", "fc00::/7"))
_CREDENTIALS = frozenset(ipaddress.ip_address(each) for each in (  # where clouds keep them besides link-local
    "100.100.100.200", "168.63.129.16", "192.0.0.192", "fd00:ec2::254", "fd20:ce::254"))


class WebhookAdapter:
    """Posts a notice to a URL; what counts is an answer of 2xx from that very address, without redirects."""

    def __init__(self, *, allow_private: bool = False, timeout: float = TIMEOUT_SECONDS) -> None:
        """``allow_private`` lets requests into private networks and to this machine; ``timeout`` is in seconds."""
        self._allow_private = allow_private
        self._timeout = timeout
        self._tls = httpx.create_ssl_context()

    async def send(self, delivery: Outgoing, now: datetime) -> int | None:
        """Post a delivery.

        Raises:
            NotDelivered: the address may not be reached, or the answer is late or not 2xx.
        """
        try:
            status = await asyncio.wait_for(self._post(delivery, now), self._timeout)
        except asyncio.TimeoutError as error:
            raise NotDelivered("timed_out", target_down=True) from error
        except (httpx.HTTPError, httpx.InvalidURL, ssl.SSLError, ValueError) as error:
            raise NotDelivered(f"no_answer: {type(error).__name__}", target_down=True) from error
        if not 200 <= status < 300:
            raise NotDelivered("refused", status=status, target_down=status >= 500 or status == 429)
        return status

    async def _post(self, delivery: Outgoing, now: datetime) -> int:
        parts = urlsplit(delivery.address)
        host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
        body = payload(delivery)
        timestamp = int(now.timestamp())
        headers = {
            "Host": parts.netloc, "Content-Type": "application/json", "User-Agent": "Warmline",
            "Accept-Encoding": "identity", "X-Warmline-Timestamp": str(timestamp),
            "X-Warmline-Signature": f"v1={sign(delivery.secret, timestamp, body)}",
            "X-Warmline-Delivery": delivery.public_id}
        addresses = await self._addresses(host, port)
        for address in addresses[:-1]:
            with contextlib.suppress(httpx.ConnectError, httpx.ConnectTimeout):
                return await self._post_to(address, port, host, delivery.address, headers, body)
        return await self._post_to(addresses[-1], port, host, delivery.address, headers, body)

    async def _post_to(self, address: Address, port: int, host: str, url: str, headers: dict[str, str],
                       body: bytes) -> int:
        """The status of the answer; its body is not read."""
        numeric = f"[{address}]" if address.version == 6 else str(address)
        parts = urlsplit(url)
        target = f"{parts.scheme}://{numeric}:{port}{parts.path or '/'}" + (f"?{parts.query}" if parts.query else "")
        timeout = httpx.Timeout(self._timeout, connect=min(CONNECT_SECONDS, self._timeout))
        async with httpx.AsyncClient(verify=self._tls, timeout=timeout, trust_env=False,
                                     follow_redirects=False) as client:
            async with client.stream("POST", target, content=body, headers=headers,
                                     extensions={"sni_hostname": host}) as response:
                return response.status_code

    async def _addresses(self, host: str, port: int) -> list[Address]:
        """The addresses of a name; none of them may lead where requests must not go."""
        try:
            found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            raise NotDelivered("not_resolved", target_down=True) from error
        addresses = list(dict.fromkeys(ipaddress.ip_address(str(each[4][0]).partition("%")[0]) for each in found))
        if not addresses or not all(may_reach(address, self._allow_private) for address in addresses):
            raise NotDelivered("not_public", permanent=True)
        return addresses[:MOST_ADDRESSES]


def may_reach(address: Address, allow_private: bool = False) -> bool:
    """Whether requests may go to an address: a public one, or a private one or this machine where that is allowed.

    Never where clouds keep credentials (link-local and some more), multicast, unspecified or reserved. What holds an
    IPv4 address inside is judged by that.
    """
    if isinstance(address, ipaddress.IPv6Address):
        inside = address.ipv4_mapped or address.sixtofour or _embedded(address)
        if inside is not None:
            return may_reach(inside, allow_private)
        if address.teredo is not None or address.is_site_local:
            return False
    if address.is_link_local or address.is_multicast or address.is_unspecified or address in _CREDENTIALS:
        return False
    if any(address in network for network in _PRIVATE):
        return allow_private
    return address.is_global and not address.is_reserved


def _embedded(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    """The IPv4 address that NAT64 or the old compatible form carries."""
    if address in _NAT64 or (address in _COMPATIBLE and int(address) > 1):
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return None


def payload(delivery: Outgoing) -> bytes:
    """The body of a request; the same at every attempt."""
    told = {"id": delivery.event_id, "kind": delivery.kind, "at": delivery.at.isoformat(),
            "conversation_id": delivery.conversation_id, "ticket": delivery.ticket, "data": dict(delivery.data)}
    return json.dumps(told, ensure_ascii=False, separators=(",", ":"), sort_keys=True).encode("utf8", "replace")


def sign(secret: str, timestamp: int, body: bytes) -> str:
    """The signature of a request in hexadecimal: HMAC-SHA256 of the time, a dot and the body."""
    return hmac.new(secret.encode(), f"{timestamp}.".encode() + body, hashlib.sha256).hexdigest()

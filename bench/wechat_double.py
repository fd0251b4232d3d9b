"""WeChat without WeChat: the API of Official Accounts on loopback, and the posts of its servers.

It refuses what WeChat refuses: a token it has not given or has taken back, a text of more than 2,048 bytes, a person
who does not follow the account. It can be told to fail.
"""
from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from itertools import count
from typing import Any
from xml.sax.saxutils import escape

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from wechatpy.crypto import WeChatCrypto
from wechatpy.utils import WeChatSigner

TEXT_LIMIT = 2048


@dataclass
class Account:
    """One account as WeChat knows it."""

    app_id: str
    secret: str
    token: str
    aes_key: str = ""
    access_tokens: list[str] = field(default_factory=list)  # those that are valid, the newest last
    sent: list[dict[str, Any]] = field(default_factory=list)
    typed: list[str] = field(default_factory=list)
    media: dict[str, tuple[str, bytes]] = field(default_factory=dict)  # content type and content, by id
    strangers: set[str] = field(default_factory=set)  # who does not follow it


@dataclass
class Fault:
    """What becomes of the next call of a method: it fails so, or is late."""

    method: str
    errcode: int = 0
    status: int = 200
    raw: bytes | None = None
    delay: float = 0.0


@dataclass
class WechatDouble:
    """The state behind the API."""

    accounts: dict[str, Account] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    calls: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    expires_in: int = 7200
    numbers: Any = field(default_factory=lambda: count(1))

    def account(self, app_id: str, secret: str, token: str, aes_key: str = "") -> Account:
        """An account, made the first time it is asked for."""
        return self.accounts.setdefault(app_id, Account(app_id, secret, token, aes_key))

    def sent(self, app_id: str, person: str) -> list[dict[str, Any]]:
        """What a person has got, in order."""
        return [each for each in self.accounts[app_id].sent if each["touser"] == person]

    def texts(self, app_id: str, person: str) -> list[str]:
        """What a person has read, in order."""
        return [each["text"]["content"] if each["msgtype"] == "text" else each["msgmenu"]["head_content"]
                for each in self.sent(app_id, person)]

    def posted(self, app_id: str, person: str, now: datetime, kind: str = "text", **fields: str
               ) -> tuple[dict[str, str], bytes]:
        """What WeChat's servers post when a person does something: the address's fields and the body."""
        account, at = self.accounts[app_id], str(int(now.timestamp()))
        said = {"ToUserName": "gh_shop", "FromUserName": person, "CreateTime": at, "MsgType": kind, **fields}
        if kind != "event":
            said.setdefault("MsgId", str(10**16 + next(self.numbers)))
        return self.signed(account, f"<xml>{as_xml(said)}</xml>", at, f"nonce{next(self.numbers)}")

    def signed(self, account: Account, xml: str, timestamp: str, nonce: str) -> tuple[dict[str, str], bytes]:
        """An XML document as it is posted to an account's address."""
        signer = WeChatSigner()
        signer.add_data(account.token, timestamp, nonce)
        query = {"signature": signer.signature, "timestamp": timestamp, "nonce": nonce}
        if not account.aes_key:
            return query, xml.encode()
        crypto = WeChatCrypto(account.token, account.aes_key, account.app_id)
        envelope = crypto.encrypt_message(xml, nonce, timestamp)
        signature = envelope.partition("<MsgSignature><![CDATA[")[2].partition("]]>")[0]
        return {**query, "encrypt_type": "aes", "msg_signature": signature}, envelope.encode()


def as_xml(fields: Mapping[str, str]) -> str:
    """Fields as elements."""
    return "".join(f"<{name}>{escape(value)}</{name}>" for name, value in fields.items())


def make_app(double: WechatDouble) -> Starlette:
    """The API as an ASGI app."""
    def route(path: str, answer: Callable[[dict[str, Any], Account], dict[str, Any]], *, open_to_all: bool) -> Route:
        async def called(request: Request) -> Response:
            raw = await request.body()
            body = json.loads(raw)
            double.calls.append((path, body))
            account = _account(double, request, body, open_to_all)
            done = None if account is None else answer(body, account)
            fault = next((each for each in double.faults if each.method == path.rpartition("/")[2]), None)
            if fault is not None:
                double.faults.remove(fault)
                await asyncio.sleep(fault.delay)
                if fault.errcode or fault.status != 200 or fault.raw is not None:
                    _undo(account, body)
                    content = fault.raw if fault.raw is not None else json.dumps(_error(fault.errcode)).encode()
                    return Response(content, fault.status, media_type="application/json")
            if b"\\u" in raw:
                return JSONResponse(_error(40033))
            return JSONResponse(_error(40001) if done is None else done)

        return Route(path, called, methods=["POST"])

    def stable_token(body: dict[str, Any], account: Account) -> dict[str, Any]:
        if body.get("secret") != account.secret:
            return _error(40125)
        if body.get("force_refresh"):
            account.access_tokens.clear()
        if not account.access_tokens:
            account.access_tokens.append(f"{account.app_id}-access-token-{next(double.numbers)}")
        return {"access_token": account.access_tokens[-1], "expires_in": double.expires_in}

    def send(body: dict[str, Any], account: Account) -> dict[str, Any]:
        if body["touser"] in account.strangers:
            return _error(43004)
        kind = body["msgtype"]
        text = body[kind]["content"] if kind == "text" else body[kind]["head_content"]
        if len(text.encode()) > TEXT_LIMIT:
            return _error(45002)
        account.sent.append(body)
        return _error(0)

    def typing(body: dict[str, Any], account: Account) -> dict[str, Any]:
        account.typed.append(body["touser"])
        return _error(0)

    async def media(request: Request) -> Response:
        double.calls.append((request.url.path, dict(request.query_params)))
        account = _account(double, request, {}, False)
        fault = next((each for each in double.faults if each.method == "get"), None)
        if fault is not None:
            double.faults.remove(fault)
            return JSONResponse(_error(fault.errcode), fault.status)
        if account is None:
            return JSONResponse(_error(40001))
        kind, content = account.media.get(request.query_params["media_id"], ("", b""))
        return Response(content, media_type=kind) if kind else JSONResponse(_error(40007))

    return Starlette(routes=[
        Route("/cgi-bin/media/get", media),
        route("/cgi-bin/stable_token", stable_token, open_to_all=True),
        route("/cgi-bin/message/custom/send", send, open_to_all=False),
        route("/cgi-bin/message/custom/typing", typing, open_to_all=False)])


def _account(double: WechatDouble, request: Request, body: dict[str, Any], open_to_all: bool) -> Account | None:
    if open_to_all:
        return double.accounts.get(str(body.get("appid")))
    shown = request.query_params.get("access_token", "")
    return next((each for each in double.accounts.values() if shown in each.access_tokens), None)


def _undo(account: Account | None, body: dict[str, Any]) -> None:
    """What failed was not sent."""
    if account is not None and account.sent and account.sent[-1] is body:
        account.sent.pop()


def _error(code: int) -> dict[str, Any]:
    return {"errcode": code, "errmsg": "ok" if code == 0 else "as told"}

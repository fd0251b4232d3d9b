"""Sends the payloads and notes what should not have happened."""
from __future__ import annotations

import inspect
import json
import random
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import httpx
import schemathesis
from fastapi import params
from fastapi.routing import APIRoute
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from sqlalchemy import select

from bench.hostile import payloads
from bench.hostile.pages import formulas, intruders
from bench.hostile.served import BOT, TOKEN, Shop
from crm_store.models import Message
from gateway.telegram import SECRET_HEADER, webhook_path, webhook_secret

WITHOUT_END = ("/desk/stream", "/api/chat/stream")
LEFT_OUT = ("/api/logout", "/desk/logout", "/desk/password", "/metrics")  # which would end the other rounds
KINDS = ("application/json", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "text/plain",
         "application/json; charset=utf-7", "")
FIELDS = ("sender", "message_id", "text", "payload")


@dataclass
class Report:
    """What was sent and what came of it. ``wrong``: what, and how often; ``example``: the first of each."""

    sent: Counter[str] = field(default_factory=Counter)
    status: Counter[int] = field(default_factory=Counter)
    wrong: Counter[str] = field(default_factory=Counter)
    example: dict[str, str] = field(default_factory=dict)
    pages: int = 0
    shown: int = 0

    def note(self, what: str, example: object) -> None:
        """Something that should not have happened."""
        self.wrong[what] += 1
        self.example.setdefault(what, repr(example)[:600])


def many(count: int, strategy: Any, send: Callable[[Any], None], number: int) -> None:
    """Draw ``count`` payloads, always the same, and send each."""
    @seed(number)
    @settings(max_examples=count, database=None, deadline=None, phases=[Phase.generate],
              suppress_health_check=list(HealthCheck))
    @given(strategy)
    def throw(payload: Any) -> None:
        send(payload)

    throw()


def escaped(value: Any) -> str:
    """A part of an address, whatever it is."""
    return quote(value if isinstance(value, str) else json.dumps(value, default=str), safe="", errors="surrogatepass")


class Rounds:
    """The rounds over one shop."""

    def __init__(self, shop: Shop, report: Report, number: int = 0) -> None:
        """Begin; another ``number`` gives other payloads."""
        self.shop, self.report, self._number = shop, report, number * 1000
        self._guest, self._app = shop.client(), shop.client(Authorization=f"Bearer {TOKEN}")
        self._ids = [str(number) for number in range(1, 9)]

    def throw(self, count: int) -> None:
        """Throw about ``count`` payloads: a third at Telegram, the others over every route of ours."""
        operations = list(self._operations())
        pages = [(route, method) for route in self._pages() for method in route.methods]
        each = max(1, count // 3 // len(operations))
        for number, operation in enumerate(operations):
            many(each, operation, self._send_case, self._number + number)
        many(count // 3, payloads.UPDATES, self._send_update, self._number + 1)
        many(max(1, count // 12), payloads.RAW, self._send_raw, self._number + 2)
        many(max(1, count // 12), payloads.message_like(FIELDS), self._send_message, self._number + 3)
        left = max(1, (count - sum(self.report.sent.values())) // len(pages))
        for number, (route, method) in enumerate(pages):
            many(left, self._page_payload(route), lambda asked, m=method: self._send_page(m, asked),
                 self._number + number)

    def look(self) -> None:
        """Fetch every page that shows what was stored, with the highest role, and read it as a browser does."""
        manager, guest = self.shop.log_in("admin"), self._guest
        queue = manager.get("/desk")
        ids = sorted({int(each) for each in _between(queue.text, "conversation=")} | set(self._stored()))
        addresses = ["/desk", "/desk/parts/queue", "/manage/logs", "/manage/learning", "/manage/figures",
                     "/manage/blocks", "/manage/settings", "/manage/settings/audit", "/manage/webhooks",
                     "/manage/logs?words=" + payloads.MARK, "/desk/parts/notices"]
        addresses += [f"/manage/settings/{area}" for area in (
            "agents", "teams", "macros", "rewards", "tiers", "policies", "calendars", "articles")]
        for key in ids:
            addresses += [f"/desk?conversation={key}", f"/manage/logs/{key}", f"/desk/parts/conversations/{key}",
                          f"/desk/conversations/{key}/block"]
        for address in addresses:
            self._read_page(manager, address)
        for address in ("/", "/?customer=" + escaped(f"\"><{payloads.MARK}>"), "/widget"):
            self._read_page(guest, address)
        for kind, rows in (("csv", "conversations"), ("csv", "messages"), ("jsonl", "messages")):
            self._read_export(manager, f"/manage/logs/export.{kind}?rows={rows}", kind)
        self._read_export(manager, "/manage/settings/audit.csv", "csv")
        for address in ("/api/chat/messages?after=0",):
            answer = guest.get(address)
            if not answer.headers["content-type"].startswith("application/json"):
                self.report.note("the chat's messages are no JSON", answer.headers)

    def _read_page(self, client: httpx.Client, address: str) -> None:
        answer = client.get(address)
        if answer.status_code in (303, 404):
            return
        self.report.pages += 1
        if answer.status_code != 200:
            self.report.note(f"page {answer.status_code} {address.split('?')[0].rstrip('0123456789')}", answer.text)
        found, seen = intruders(answer.text)
        self.report.shown += seen
        for each in found:
            self.report.note(f"{each} on {address.split('?')[0].rstrip('0123456789')}", address)

    def _read_export(self, client: httpx.Client, address: str, kind: str) -> None:
        answer = client.get(address)
        self.report.pages += 1
        if answer.status_code != 200:
            self.report.note(f"export {answer.status_code} {address}", answer.text)
        elif kind == "csv":
            for cell in formulas(answer.text):
                self.report.note(f"a formula in {address}", cell)
        else:
            for line in answer.text.splitlines():
                json.loads(line)
        if not answer.headers.get("content-disposition", "").startswith("attachment"):
            self.report.note(f"{address} is no attachment", answer.headers)

    def _stored(self) -> list[int]:
        with self.shop.store.read() as session:
            return list(session.execute(
                select(Message.conversation_id).where(Message.text.contains(payloads.MARK)).distinct()
                .order_by(Message.conversation_id).limit(60)).scalars())

    def _operations(self) -> Iterator[Any]:
        """A strategy of requests for every operation that the API describes, each in both modes."""
        schema = schemathesis.openapi.from_dict(self.shop.app.openapi())
        for found in schema.get_all_operations():
            operation = found.ok()
            if operation.path in LEFT_OUT or operation.path in WITHOUT_END:
                continue
            modes = []
            for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
                modes.append(operation.as_strategy(generation_mode=mode))
            yield st.tuples(st.one_of(*modes), st.sampled_from([*self.shop.agents, "nobody"]), payloads.NASTY,
                            st.integers(0, 9))

    def _send_case(self, drawn: tuple[Any, str, Any, int]) -> None:
        case, role, nasty, spoil = drawn
        body = case.body if isinstance(case.body, (dict, list, str, int, float, bool, type(None))) else None
        if isinstance(body, dict) and body and spoil < 5:
            body = {**body, random.Random(spoil).choice(sorted(body, key=str)): nasty}
        path = case.operation.path
        for name, value in (case.path_parameters or {}).items():
            real = spoil % 2 == 0
            path = path.replace("{" + name + "}", self._ids[spoil % 8] if real else escaped(value))
        query = "&".join(f"{escaped(name)}={escaped(nasty if spoil == 9 else value)}"
                         for name, value in (case.query or {}).items())
        client = self._app if path.startswith("/api/channels") else self._guest if role == "nobody" \
            else self.shop.agents[role]
        self._request(client, case.method, path + (f"?{query}" if query else ""), "api",
                      content=payloads.as_json(body) if case.method in ("POST", "PUT", "PATCH") else None,
                      kind="application/json")

    def _send_update(self, update: Any) -> None:
        bot_id = int(BOT.partition(":")[0])
        self._request(self._guest, "POST", webhook_path(bot_id), "telegram", content=payloads.as_json(update),
                      kind="application/json", headers={SECRET_HEADER: webhook_secret(TOKEN, bot_id)})

    def _send_raw(self, body: bytes) -> None:
        chosen = random.Random(body)
        kind = chosen.choice(KINDS)
        bot_id = int(BOT.partition(":")[0])
        client, path, headers = chosen.choice((
            (self._guest, "/api/chat/messages", {}), (self._app, "/api/channels/http/messages", {}),
            (self._guest, webhook_path(bot_id), {SECRET_HEADER: webhook_secret(TOKEN, bot_id)}),
            (self._guest, webhook_path(bot_id), {SECRET_HEADER: "forged"}),
            (self._guest, "/api/chat/visitor", {}), (self._guest, "/api/chat/attachments", {}),
            (self.shop.agents["admin"], "/api/conversations/1/reply", {}), (self._guest, "/api/login", {}),
            (self.shop.agents["admin"], "/manage/settings/macros/new", {})))
        self._request(client, "POST", path, "raw", content=body, kind=kind, headers=headers)

    def _send_message(self, message: Any) -> None:
        for client, path in ((self._app, "/api/channels/http/messages"), (self._guest, "/api/chat/messages")):
            self._request(client, "POST", path, "message", content=payloads.as_json(message), kind="application/json")

    def _pages(self) -> list[APIRoute]:
        return [route for route in self.shop.app.routes
                if isinstance(route, APIRoute) and not route.include_in_schema
                and route.path not in (*LEFT_OUT, *WITHOUT_END) and "/agents/" not in route.path]

    def _page_payload(self, route: APIRoute) -> Any:
        """Values for everything that a page's route takes, by their names, and a role."""
        signature = inspect.signature(route.endpoint).parameters.values()
        fields = [each.name for each in signature if isinstance(each.default, params.Form)]
        asked = [each.name for each in signature if each.default == "" or isinstance(each.default, params.Query)]
        areas = st.sampled_from(("macros", "rewards", "tiers", "policies", "calendars", "teams", "articles"))
        parts = {name: st.one_of(st.sampled_from(self._ids), payloads.TEXTS) for name in _between(route.path, "{", "}")}
        parts.update({"area": areas} if "area" in parts else {})
        more = {"page", "words", "since", "until", "anger", "done", "state", "view"} - set(asked)
        filled = {"name_zh", "title_zh", "text_zh", "version"} - set(fields)
        return st.tuples(
            st.just(route.path), st.fixed_dictionaries(parts),
            st.fixed_dictionaries(dict.fromkeys(asked, payloads.TEXTS),
                                  optional=dict.fromkeys(sorted(more), payloads.TEXTS)),
            st.fixed_dictionaries(dict.fromkeys(fields, payloads.TEXTS),
                                  optional=dict.fromkeys(sorted(filled), payloads.TEXTS)),
            st.sampled_from([*self.shop.agents, "nobody"]))

    def _send_page(self, method: str, asked: tuple[str, dict[str, str], dict[str, str], dict[str, str], str]) -> None:
        path, parts, query, form, role = asked
        if path.startswith("/manage/settings/{area}") and parts.get("area") == "agents":
            return
        for name, value in parts.items():
            path = path.replace("{" + name + "}", escaped(value))
        words = "&".join(f"{name}={escaped(value)}" for name, value in query.items())
        body = "&".join(f"{name}={escaped(value)}" for name, value in form.items()).encode()
        client = self._guest if role == "nobody" else self.shop.agents[role]
        self._request(client, method, path + (f"?{words}" if words else ""), "pages",
                      content=body if method == "POST" else None, kind="application/x-www-form-urlencoded")

    def _request(self, client: httpx.Client, method: str, address: str, group: str, *, content: bytes | None,
                 kind: str, headers: dict[str, str] | None = None) -> None:
        told = {**({"Content-Type": kind} if kind and content is not None else {}), **(headers or {})}
        self.report.sent[group] += 1
        errors = sum(self.shop.errors.found.values())
        try:
            answer = client.request(method, self.shop.base + address, content=content, headers=told)
        except httpx.InvalidURL:
            return  # no client sends it
        except httpx.HTTPError as error:
            self.report.note(f"{type(error).__name__} at {method} {address.split('?')[0][:60]}", (address, content))
            return
        self.report.status[answer.status_code] += 1
        if answer.status_code >= 500 or sum(self.shop.errors.found.values()) > errors:
            newest = next(reversed(self.shop.errors.found), "")
            self.report.note(f"{answer.status_code} at {method} {address.split('?')[0][:60]}: {newest}",
                             (address, content))
        if answer.headers.get("content-type", "").startswith("text/html"):
            found, _ = intruders(answer.text)
            for each in found:
                self.report.note(f"{each} answered at {method} {address.split('?')[0][:60]}", (address, content))


def _between(text: str, begin: str, end: str = "") -> list[str]:
    """What stands after each ``begin``, to ``end`` or as far as it is a number."""
    found = []
    for part in text.split(begin)[1:]:
        value = part.split(end)[0] if end else "".join(c for c in part[:12] if c.isdigit())
        if value:
            found.append(value)
    return found

"""Who may do what, for every route there is: a route that is not in the table below fails the test."""
from __future__ import annotations

import html
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timezone
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from fastapi.routing import APIRoute
from fastapi.testclient import TestClient
from sqlalchemy import select
from starlette.routing import Mount, Route

from crm_store.attachment_files import AttachmentFiles, new_token
from crm_store.database import Store
from crm_store.models import (
    Base,
    BusinessCalendar,
    ChannelIdentity,
    Customer,
    Erasure,
    ExchangeToken,
    Fact,
    Feedback,
    Import,
    KnowledgeArticle,
    Macro,
    Merge,
    Message,
    Notification,
    Order,
    PointsEntry,
    Redemption,
    Reward,
    SavedSearch,
    SlaPolicy,
    SupportAgent,
    Team,
    Ticket,
    Tier,
    Webhook,
)
from crm_store.models.staff import ROLES
from crm_store.rules.attachments import content_of
from crm_store.services.access import access_conversation
from crm_store.services.attachments import KeptFile, keep_file
from crm_store.services.blocks import block_sender
from crm_store.services.deliveries import WEBHOOK, queue_test
from desk.auth import SAFE_METHODS
from desk.figures_view import FIGURES
from desk.learning import EXAMPLES
from desk.settings_areas import AREAS
from tests.desk.conftest import PASSWORD, Clock, Desk, make_desk, open_shop

LOGINS = {"agent": "wang", "lead": "zhang", "manager": "ling", "admin": "root"}
FORGED = ("0", "-1", str(2**63), "9" * 40, "abc", "1.5", "%00", "' OR 1=1")
CROSS_SITE = ({"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"}, {"Origin": "https://evil.test"},
              {"Origin": "null"})
PNG = b"\x89PNG\r\n\x1a\n" + bytes(100)
MEGABYTE = b"text=" + b"x" * 1_000_000
MEMORY = "/desk/conversations/{conversation_id}/memory"
KNOWN = {"what": "customers", "form": "csv", "kind": "csv", "area": "macros", "feedback_id": "1"}
NOW = datetime(2026, 11, 18, 2, 0, tzinfo=timezone.utc)
Shop = tuple[Path, dict[str, str]]


@dataclass(frozen=True)
class Guard:
    """What a route asks of whoever calls it.

    Attributes:
        role: the lowest role that may, None where nobody need be logged in.
        about: what it is about: "conversation" is hidden from who may not see it (404), "owner" only refuses them, by
            the owner's name (409), "search" belongs to one person, None is nobody's in particular.
        body: what is sent, as JSON where it is a mapping of the API, else as a form.
        query: where the object is in the query.
    """

    role: str | None
    about: str | None = None
    body: dict[str, Any] = field(default_factory=dict)
    query: str = ""


TALK = "/api/conversations/{conversation_id}"
GUARDS: dict[tuple[str, str], Guard] = {
    ("POST", "/api/login"): Guard(None, body={"login": "wang", "password": PASSWORD}),
    ("POST", "/api/logout"): Guard("agent"),
    ("GET", "/api/me"): Guard("agent"),
    ("POST", "/api/me/availability"): Guard("agent", body={"available": True}),
    ("GET", "/api/queue"): Guard("agent"),
    ("GET", TALK): Guard("agent", "conversation"),
    ("POST", f"{TALK}/claim"): Guard("agent", "owner"),
    ("POST", f"{TALK}/takeover"): Guard("agent", "conversation"),
    ("POST", f"{TALK}/reply"): Guard("agent", "owner", {"text": "您好"}),
    ("POST", f"{TALK}/note"): Guard("agent", "conversation", {"text": "您好"}),
    ("POST", f"{TALK}/resolve"): Guard("agent", "owner", {"cause": "solved"}),
    ("POST", f"{TALK}/handback"): Guard("agent", "owner"),
    ("POST", f"{TALK}/snooze"): Guard("agent", "owner"),
    ("POST", f"{TALK}/wake"): Guard("agent", "owner"),
    ("GET", f"{TALK}/transfer"): Guard("agent", "conversation"),
    ("POST", f"{TALK}/transfer"): Guard("agent", "owner", {"to_team_id": 1}),
    ("POST", f"{TALK}/tickets/{{ticket_id}}/grade"): Guard(
        "agent", "conversation", {"grade": "complex", "reason": "600 元"}),
    ("POST", f"{TALK}/tickets/{{ticket_id}}/proposal"): Guard("agent", "owner", {"text": "退您 30 元"}),
    ("POST", f"{TALK}/tickets/{{ticket_id}}/grant"): Guard(
        "agent", "owner", {"points": 5, "reason": "迟了", "idempotency_key": "grant-0001"}),
    ("POST", f"{TALK}/returns"): Guard("agent", "owner", {"number": "WL20261101001"}),
    ("POST", f"{TALK}/codes"): Guard("agent", "owner", {"code": "WRAAAAAAAAAA", "act": "use"}),
    ("POST", f"{TALK}/messages/{{message_id}}/correction"): Guard("agent", "conversation", {"angry": True}),
    ("POST", "/api/messages/{given_up_id}/again"): Guard("agent", "conversation"),
    ("POST", "/desk/messages/{given_up_id}/again"): Guard("agent", "conversation"),
    ("POST", f"{TALK}/presence"): Guard("agent", "conversation", {"typing": True}),
    ("GET", f"{TALK}/presence"): Guard("agent", "conversation"),
    ("DELETE", f"{TALK}/presence"): Guard("agent"),  # one's own presence only
    ("GET", "/desk/conversations/{conversation_id}/block"): Guard("agent", "conversation"),
    ("POST", "/desk/conversations/{conversation_id}/block"): Guard("agent", "conversation", {"reason": "广告"}),
    ("POST", "/desk/blocks/{block_id}/end"): Guard("agent", "conversation"),
    ("GET", "/manage/blocks"): Guard("lead"),
    ("GET", "/manage/care"): Guard("manager"),
    ("POST", "/manage/care/{kind}"): Guard("manager", body={
        "enabled": "yes", "days": "7", "control_percent": "10", "a_zh": "好", "a_en": "Hi"}),
    ("GET", MEMORY): Guard("agent", "conversation"),
    ("POST", f"{MEMORY}/{{fact_id}}/forget"): Guard("agent", "conversation"),
    ("POST", f"{MEMORY}/tone"): Guard("agent", "conversation", {"tone": "brisk"}),
    ("GET", "/manage/merges"): Guard("manager"),
    ("POST", "/manage/merges"): Guard("manager", body={"kept_id": "1", "gone_id": "2"}),
    ("POST", "/manage/merges/{merge_id}/undo"): Guard("manager"),
    ("POST", f"{TALK}/identities/{{identity_id}}/unlink"): Guard("agent", "owner"),
    ("GET", "/manage/feedback"): Guard("lead"),
    ("POST", "/manage/feedback"): Guard("lead", body={"feedback": "1", "status": "planned", "text": ""}),
    ("POST", "/manage/feedback/{feedback_id}"): Guard("lead", body={"topic": "app"}),
    ("GET", "/desk/login"): Guard(None),
    ("POST", "/desk/login"): Guard(None, body={"login": "wang", "password": PASSWORD}),
    ("POST", "/desk/logout"): Guard(None),
    ("POST", "/desk/language"): Guard(None, body={"language": "en"}),
    ("POST", "/desk/theme"): Guard(None, body={"theme": "dark"}),
    ("POST", "/desk/availability"): Guard("agent", body={"available": "true"}),
    ("GET", "/desk"): Guard("agent", "conversation", query="conversation"),
    ("GET", "/desk/parts/queue"): Guard("agent"),
    ("GET", "/desk/parts/conversations/{conversation_id}"): Guard("agent", "conversation"),
    ("GET", "/desk/parts/conversations/{conversation_id}/earlier"): Guard("agent", "conversation"),
    ("GET", "/desk/parts/notices"): Guard("agent"),
    ("GET", "/desk/attachments/{token}"): Guard("agent", "conversation"),
    ("POST", "/desk/notices/{notice_id}/seen"): Guard("agent"),
    ("GET", "/desk/stream"): Guard("agent", "conversation", query="conversation"),
    ("GET", "/desk/notifications"): Guard("agent"),
    ("POST", "/desk/notifications"): Guard("agent", body={"email": "wang@example.com"}),
    ("POST", "/desk/notifications/test"): Guard("agent"),
    ("GET", "/desk/password"): Guard("agent"),
    ("POST", "/desk/password"): Guard(
        "agent", body={"current": PASSWORD, "new": "another horse", "again": "another horse"}),
    ("GET", "/manage"): Guard("lead"),
    ("GET", "/manage/logs"): Guard("lead"),
    ("GET", "/manage/logs/export.{kind}"): Guard("lead"),
    ("POST", "/manage/logs/saved"): Guard("lead", body={"name": "mine", "query": "words=x"}),
    ("POST", "/manage/logs/saved/{saved_id}"): Guard("lead", "search", {"name": "renamed"}),
    ("GET", "/manage/logs/{conversation_id}"): Guard("lead", "conversation"),
    ("GET", "/manage/figures"): Guard("lead"),
    ("GET", "/manage/figures/{name}.csv"): Guard("lead"),
    ("GET", "/manage/learning"): Guard("lead"),
    ("POST", "/manage/learning/{message_id}"): Guard("lead", "conversation", {"pick": "greet"}),
    ("POST", "/manage/learning/{message_id}/undo"): Guard("lead", "conversation"),
    ("GET", "/manage/learning/examples/{name}"): Guard("manager"),
    ("GET", "/manage/privacy"): Guard("admin"),
    ("POST", "/manage/privacy/copy"): Guard("admin", body={"number": "WLC00001"}),
    ("POST", "/manage/privacy/erase"): Guard("admin", body={"number": "WLC00001", "typed": "WLC00001"}),
    ("POST", "/manage/privacy/cancel"): Guard("admin", body={"erasure": "1"}),
    ("GET", "/manage/privacy/{erasure_id}/report"): Guard("admin"),
    ("POST", "/manage/privacy/periods"): Guard("admin", body={"guests": "100"}),
    ("GET", "/manage/value"): Guard("manager"),
    ("GET", "/manage/value/customers"): Guard("manager"),
    ("GET", "/manage/value/customers.csv"): Guard("manager"),
    ("GET", "/manage/settings"): Guard("manager"),
    ("GET", "/manage/settings/audit"): Guard("manager"),
    ("GET", "/manage/settings/audit.csv"): Guard("manager"),
    ("GET", "/manage/settings/{area}"): Guard("manager"),
    ("GET", "/manage/settings/{area}/{key}"): Guard("manager"),
    ("POST", "/manage/settings/{area}/{key}"): Guard("manager"),
    ("POST", "/manage/settings/policies/{key}/move"): Guard("manager", body={"to": "up"}),
    ("POST", "/manage/settings/macros/{key}/delete"): Guard("manager"),
    ("POST", "/manage/settings/agents/new"): Guard("admin"),
    ("POST", "/manage/settings/agents/{key}/password"): Guard("admin"),
    ("GET", "/manage/exchange"): Guard("manager"),
    ("POST", "/manage/exchange"): Guard("manager", body={"kind": "customers"}),
    ("GET", "/manage/exchange/export/{what}.{form}"): Guard("manager"),
    ("GET", "/manage/exchange/tokens"): Guard("admin"),
    ("POST", "/manage/exchange/tokens"): Guard("admin", body={"name": "shop", "scope": "read"}),
    ("POST", "/manage/exchange/tokens/{token_id}/revoke"): Guard("admin"),
    ("GET", "/manage/exchange/{import_id}"): Guard("manager"),
    ("POST", "/manage/exchange/{import_id}/store"): Guard("manager"),
    ("GET", "/manage/webhooks"): Guard("manager"),
    ("GET", "/manage/webhooks/new"): Guard("manager"),
    ("POST", "/manage/webhooks/new"): Guard("manager", body={"name": "hook", "url": "https://hook.example/x"}),
    ("GET", "/manage/webhooks/{webhook_id}"): Guard("manager"),
    ("POST", "/manage/webhooks/{webhook_id}"): Guard("manager", body={"name": "hook", "url": "https://hook.example/y"}),
    ("POST", "/manage/webhooks/{webhook_id}/secret"): Guard("manager"),
    ("POST", "/manage/webhooks/{webhook_id}/test"): Guard("manager"),
    ("POST", "/manage/webhooks/deliveries/{delivery_id}/again"): Guard("manager"),
}
BY_TOKEN = {("GET", "/api/exchange/{kind}"), ("POST", "/api/exchange/{kind}")}
"""For programs, which have tokens of their own: see test_exchange."""
NOT_OF_THE_DESK = {"/api/openapi.json", "/docs", "/docs/oauth2-redirect", "/redoc", "/desk/static"}
"""What FastAPI and the static files answer; the service switches the documents off."""

WANTED = sorted(GUARDS.items())
NAMES = [f"{method} {path}" for (method, path), _ in WANTED]
guarded = pytest.mark.parametrize(("route", "guard"), WANTED, ids=NAMES)
changing = pytest.mark.parametrize(
    ("route", "guard"), [each for each in WANTED if each[0][0] not in SAFE_METHODS],
    ids=[name for name in NAMES if not name.startswith("GET ")])


@dataclass
class World:
    """A shop in which Wang has an angry customer, with something of every kind that an address can name."""

    desk: Desk
    ids: dict[str, str]
    clients: dict[str, TestClient] = field(default_factory=dict)

    def client(self, login: str) -> TestClient:
        """A browser that stays logged in from test to test."""
        if login not in self.clients:
            self.clients[login] = self.desk.client(login)
        return self.clients[login]

    def path(self, route: tuple[str, str], guard: Guard, **more: str) -> str:
        """The address of a route with the ids of this world in it."""
        path = route[1]
        known = {**KNOWN, **self.ids, **more, "name": next(iter(EXAMPLES if "learning" in path else FIGURES))}
        if "care" in path:
            known["kind"] = "birthday"
        if "policies" in path or "agents" in path:
            known["key"] = self.ids["policy" if "policies" in path else "agent"]
        known.update(more)
        filled = re.sub(r"{(\w+)}", lambda found: known[found[1]], path)
        return f"{filled}?{guard.query}={known['conversation_id']}" if guard.query else filled

    def send(self, client: TestClient, route: tuple[str, str], guard: Guard, path: str | None = None,
             headers: dict[str, str] | None = None) -> Any:
        """Call a route, its body in the form it takes. A stream is not read: it has no end."""
        address = path or self.path(route, guard)
        more: dict[str, Any] = {}
        if route[0] == "POST":
            more = {"json": guard.body} if route[1].startswith("/api/") else {"data": guard.body}
        return client.request(route[0], address, headers=headers or {}, **more)

    def everything(self) -> dict[str, list[Any]]:
        """All that is stored, without the sessions, which live by being used."""
        with self.desk.store.read() as session:
            return {table.name: [tuple(row) for row in session.execute(select(table))]
                    for table in Base.metadata.sorted_tables if table.name != "desk_sessions"}


@pytest.fixture(scope="module")
def shop(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Shop:
    """The file of a furnished store, for each world to copy, and the ids of what is in it."""
    path = tmp_path_factory.mktemp("shop") / "warmline.db"
    shutil.copy(sqlite_template, path)
    store = Store(f"sqlite:///{path}")
    open_shop(store, NOW)
    ids = furnish(make_desk(store, Clock(NOW)), path.parent)
    store.close()
    return path, ids


@pytest.fixture
def world(shop: Shop, tmp_path: Path) -> Iterator[World]:
    """A world of its own, for what changes it."""
    yield from opened(shop, tmp_path)


@pytest.fixture(scope="module")
def quiet(shop: Shop, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A world that all share who only try what is refused: each shows that it is as it was."""
    yield from opened(shop, tmp_path_factory.mktemp("quiet"))


def opened(shop: Shop, folder: Path) -> Iterator[World]:
    path, ids = shop
    shutil.copy(path, folder / "warmline.db")
    store = Store(f"sqlite:///{folder / 'warmline.db'}")
    yield World(make_desk(store, Clock(NOW), files=AttachmentFiles(path.parent)), ids)
    store.close()


def furnish(desk: Desk, folder: Path) -> dict[str, str]:
    customer = desk.customer("李雷", phone="13800138000")
    conversation = desk.escalated("a", "退款拖了三周", assignee="wang", customer_id=customer, reason="major_complaint")
    now = desk.clock()
    with desk.store.write() as session:
        ticket = session.execute(select(Ticket).where(Ticket.conversation_id == conversation)).scalar_one()
        ticket.kind, ticket.grade = "complaint", "ordinary"
        message = session.execute(select(Message.id).where(
            Message.conversation_id == conversation, Message.author == "customer")).scalar_one()
        agents = {each.login: each.id for each in session.execute(select(SupportAgent)).scalars()}
        notice = Notification(agent_id=agents["wang"], kind="assigned", conversation_id=conversation, created_at=now,
                              idempotency_key="n")
        search = SavedSearch(owner_id=agents["zhang"], name="zhang's", query="words=x", created_at=now, changed_at=now)
        hook = Webhook(name="hook", url="https://hook.example/", secret="s" * 40, created_at=now, updated_at=now)
        given_up = Message(conversation_id=conversation, identity_id=session.get(Message, message).identity_id,
                           direction="outgoing", author="system", text="-", buttons=[], position=0, created_at=now,
                           delivery_state="failed", dropped_reason="server_error")
        order = Order(number="WL20261101001", customer_id=customer, status="delivered", phone="13800138000",
                      address="-", total_fen=9_900, placed_at=now, paid_at=now)
        reward = Reward(code="ten", name_zh="-", name_en="-", cost_points=1, stock=9, minimum_tier="silver",
                        kind="coupon")
        spent = PointsEntry(customer_id=customer, kind="spend", points=-1, created_at=now, idempotency_key="spent")
        session.add(Feedback(conversation_id=conversation, text="-", created_at=now, idempotency_key="f"))
        brought = Import(kind="customers", name="file", sha256="0" * 64, time_zone="UTC", skip_wrong=False,
                         state="ready", rows=1, rows_done=0, counts={}, errors=[], errors_total=0, ignored=[],
                         created_at=now)
        key = ExchangeToken(name="shop", prefix="0" * 12, token_hash="0" * 64, may_read=True, may_write=True,
                            created_by_id=agents["root"], created_at=now)
        session.add_all([notice, search, hook, given_up, order, reward, spent, brought, key])
        session.flush()
        session.add(Redemption(customer_id=customer, reward_id=reward.id, entry_id=spent.id, code="WRAAAAAAAAAA",
                               created_at=now))
        session.flush()
        queue_test(session, WEBHOOK, hook.id, now)
        token, content = new_token(), content_of(PNG)
        assert content is not None
        with AttachmentFiles(folder).writing(token, len(PNG)) as writing:
            writing.write(PNG)
            writing.keep()
        keep_file(session, session.get(Message, message), token=token, name="lamp.png", now=now,
                  file=KeptFile(content, writing.size, writing.sha256))
        (block,) = block_sender(session, conversation, session.get(SupportAgent, agents["wang"]), reason="-",
                                until=None, everywhere=False, now=now)
        session.flush()
        fact = Fact(customer_id=customer, kind="other", what="-", conversation_id=conversation, message_id=message,
                    channel="web", said_at=now, confirmed_at=now)
        session.add(fact)
        session.flush()
        twin, third = (Customer(number=name, name=name, tier_code="silver", language="zh", created_at=now)
                       for name in ("twin", "third"))
        session.add_all([twin, third])
        session.flush()
        third.merged_into_id = customer
        merge = Merge(kept_id=customer, gone_id=third.id, agent_id=agents["ling"], merged_at=now, moved={})
        session.add(merge)
        erasure = Erasure(customer_id=session.execute(select(Customer.id)).scalars().first(), state="asked",
                          asked_by="customer", asked_at=now, due_at=now, files=[], report={"schema": "x"})
        session.add(erasure)
        session.flush()
        ids = {"erasure_id": erasure.id, "fact_id": fact.id, "merge_id": merge.id,
               "identity_id": given_up.identity_id, "token": token,
               "conversation_id": conversation, "message_id": message, "ticket_id": ticket.id,
               "given_up_id": given_up.id, "notice_id": notice.id, "block_id": block.id,
               "saved_id": search.id, "webhook_id": hook.id, "import_id": brought.id, "token_id": key.id,
               "delivery_id": 1, "agent": agents["lee"],
               "key": session.execute(select(Macro.id).order_by(Macro.id)).scalars().first(),
               "policy": session.execute(select(SlaPolicy.id).order_by(SlaPolicy.id)).scalars().first()}
    return {name: str(value) for name, value in ids.items()}


def test_every_route_is_in_the_table(quiet: World) -> None:
    found = set()
    for route in quiet.desk.app.routes:
        if isinstance(route, APIRoute):
            found |= {(method, route.path) for method in route.methods}
        else:
            assert isinstance(route, (Route, Mount)) and route.path in NOT_OF_THE_DESK, route
    assert found == set(GUARDS) | BY_TOKEN


@guarded
def test_nobody_and_no_lower_role_gets_through_and_nothing_changes(quiet: World, route: tuple[str, str],
                                                                   guard: Guard) -> None:
    if guard.role is None:
        assert quiet.send(quiet.desk.client(), route, guard).status_code not in (401, 403, 404)
        return
    lower = ROLES[:ROLES.index(guard.role)]
    clients = {role: quiet.client(LOGINS[role]) for role in lower}
    before = quiet.everything()
    for headers in ({}, {"Cookie": "warmline_session=forged"}, {"Authorization": "Bearer forged"}):
        answer = quiet.send(quiet.desk.client(), route, guard, headers=headers)
        if route[0] == "GET" and not route[1].startswith("/api/") and route[1] != "/desk/stream":
            assert answer.status_code == 303 and answer.headers["location"].startswith("/desk/login?next=%2F")
        else:
            assert answer.status_code == 401, answer.text
        assert "李雷" not in answer.text
    for role, client in clients.items():
        answer = quiet.send(client, route, guard)
        assert answer.status_code == 403, (role, answer.text)
        assert "李雷" not in answer.text
    assert quiet.everything() == before


@pytest.mark.parametrize(("route", "guard"), [each for each in WANTED if each[0][1] != "/desk/stream"],
                         ids=[name for name in NAMES if name != "GET /desk/stream"])  # without end: see test_live
def test_the_lowest_role_that_may_is_let_in(world: World, route: tuple[str, str], guard: Guard) -> None:
    answer = world.send(world.desk.client(LOGINS[guard.role or "agent"]), route, guard)
    assert answer.status_code < 400 or answer.status_code in (409, 422), answer.text
    assert answer.headers["X-Content-Type-Options"] == "nosniff" and "no-" in answer.headers["Cache-Control"]
    assert "frame-ancestors 'none'" in answer.headers["Content-Security-Policy"]


@pytest.mark.parametrize(("route", "guard"), [each for each in WANTED if each[1].about],
                         ids=[f"{route[0]} {route[1]}" for route, guard in WANTED if guard.about])
def test_what_one_may_not_see_is_not_there(quiet: World, route: tuple[str, str], guard: Guard) -> None:
    """Lee is a colleague of Wang's, Eva leads another team, Zhang leads Wang's and sees it."""
    lead = quiet.desk.agent("zhang")
    with quiet.desk.store.read() as session:
        access_conversation(session, lead, int(quiet.ids["conversation_id"]))
    others = [login for login in ("lee", "eva") if guard.role == "agent" or login == "eva"]
    clients = [quiet.client(login) for login in others]
    before = quiet.everything()
    for client in clients:
        answer = quiet.send(client, route, guard)
        assert answer.status_code == (409 if guard.about == "owner" else 404), answer.text
        assert "李雷" not in answer.text and "退款拖了三周" not in answer.text
    assert quiet.everything() == before


@changing
def test_another_site_changes_nothing(quiet: World, route: tuple[str, str], guard: Guard) -> None:
    client = quiet.client(LOGINS[guard.role or "agent"])
    before = quiet.everything()
    for headers in CROSS_SITE:
        answer = quiet.send(client, route, guard, headers=headers)
        assert answer.status_code == 403, (headers, answer.text)
        assert "set-cookie" not in answer.headers
    assert quiet.everything() == before


@changing
def test_a_megabyte_is_refused_announced_or_not(quiet: World, route: tuple[str, str], guard: Guard) -> None:
    client = quiet.client(LOGINS[guard.role or "agent"])
    before = quiet.everything()
    kind = "application/json" if route[1].startswith("/api/") else "application/x-www-form-urlencoded"
    body = b'{"text": "' + MEGABYTE + b'"}' if kind == "application/json" else MEGABYTE
    pieces = [body[at:at + 10_000] for at in range(0, len(body), 10_000)]
    reads = bool(guard.body) or (route[1].startswith("/manage/settings") and "password" not in route[1])
    for content in (body, iter(pieces)) if reads else (body,):  # what reads no body cannot be filled by one
        answer = client.request(route[0], quiet.path(route, guard), content=content, headers={"Content-Type": kind})
        assert answer.status_code == 413, answer.text
    assert quiet.everything() == before


def forged_paths() -> Iterator[tuple[tuple[str, str], Guard, str]]:
    for route, guard in WANTED:
        for name in re.findall(r"{(\w+)}", route[1]) + ([guard.query] if guard.query else []):
            yield route, guard, name


@pytest.mark.parametrize(("route", "guard", "name"), forged_paths(),
                         ids=[f"{route[0]} {route[1]} {name}" for route, _, name in forged_paths()])
def test_a_forged_id_names_nothing(quiet: World, route: tuple[str, str], guard: Guard, name: str) -> None:
    client = quiet.client(LOGINS[guard.role or "agent"])
    before = quiet.everything()
    for forged in FORGED:
        if name == guard.query:
            if not forged.isdigit():
                continue  # what is no number is as if nothing was asked for
            path = f"{route[1]}?{name}={forged}"
        else:
            path = quiet.path(route, guard, **{name: forged})
        answer = quiet.send(client, route, guard, path=path)
        assert answer.status_code == 404 or (answer.status_code == 204 and name in ("conversation_id", "notice_id")
                                             and route[1].endswith(("/presence", "/seen"))), (forged, answer.text)
    assert quiet.everything() == before


@pytest.mark.parametrize("path", ["../app.py", "..%2fapp.py", "%2e%2e/auth.py", "..\\app.py", "/etc/passwd",
                                  "%2fetc%2fpasswd", "desk.css%00.html", "", "no-such.js"])
def test_the_static_folder_gives_nothing_else(quiet: World, path: str) -> None:
    answer = quiet.client("root").get(f"/desk/static/{path}")
    assert answer.status_code in (404, 405, 400), answer.text[:200]
    assert "import" not in answer.text and "root:" not in answer.text


def test_what_agents_see_of_each_other_stays_with_the_owner(world: World) -> None:
    """A notice is marked as seen by whom it is for only, a session is ended by itself only."""
    lee = world.desk.client("lee")
    assert lee.post(f"/desk/notices/{world.ids['notice_id']}/seen").status_code in (204, 404)
    with world.desk.store.read() as session:
        assert session.get(Notification, int(world.ids["notice_id"])).seen_at is None
    wang = world.desk.client("wang")
    assert lee.post("/api/logout").status_code == 204
    assert wang.get("/api/me").status_code == 200 and lee.get("/api/me").status_code == 401


CORPUS = (
    "<script>pwn0()</script>", "</script><script>pwn0()</script>", "<svg/onload=pwn0()>", "<img src=x onerror=pwn0()>",
    "</textarea><img src=x onerror=pwn0()>", "</title><img src=x onerror=pwn0()>", "<!--><img src=x onerror=pwn0()>",
    "\" autofocus onfocus=pwn0() x=\"", "' onmouseover='pwn0()", "` onclick=pwn0() `", "javascript:pwn0()",
    "<a href=javascript:pwn0()>x</a>", "<iframe srcdoc='<script>pwn0()</script>'>", "<base href=//evil.test>",
    "<math><mi//xlink:href='data:x,pwn0'>", "<form action=//evil.test><button>", "{{ pwn0 }}", "{% raw %}",
    "&lt;img src=x onerror=pwn0()&gt;", "<details open ontoggle=pwn0()>",
    "<meta http-equiv=refresh content=0;//evil.test>", "\u2028</style><style>*{color:red}",
)
FOREIGN_TAGS = frozenset("img iframe object embed base math marquee video audio frame style".split())
ADDRESSES = ("href", "src", "action", "formaction", "xlink:href", "data", "poster", "srcset")
PICTURE = re.compile(r"/desk/attachments/[0-9a-f]{20,}")
OWN_ADDRESS = re.compile(r"/(?!/)|#|\?|https?://(?:desk\.test|hook\.example)/|$")


class Page(HTMLParser):
    """What a browser would make of a page: what of it lives that should not, and which payloads it shows as text."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.alive: list[str] = []
        self.shown: set[str] = set()
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        ours = tag == "img" and PICTURE.fullmatch(given.get("src", ""))
        foreign = (tag in FOREIGN_TAGS and not ours) or (tag == "script" and "src" not in given)
        at_fault = [tag] if foreign else []
        at_fault += [name for name in given if name.startswith("on") or name in ("style", "srcdoc", "http-equiv")]
        at_fault += [f"{name}={given[name]}" for name in ADDRESSES
                     if name in given and not OWN_ADDRESS.match(given[name])]
        self.alive += [f"<{tag} {given}>: {fault}" for fault in at_fault]
        for value in given.values():
            self.shown |= set(re.findall(r"pwn(\d+)", value))

    def handle_data(self, data: str) -> None:
        self.shown |= set(re.findall(r"pwn(\d+)", data))


def payload(number: int) -> str:
    """Short enough for any field; it leaves an attribute and a tag, whichever it stands in."""
    return f"'\"><img src=x onerror=pwn{number}()>"


FIELDS: tuple[tuple[Any, str], ...] = (
    (Customer, "name"), (Customer, "address"), (Macro, "title_zh"), (Macro, "title_en"), (Macro, "text_zh"),
    (Macro, "text_en"), (Team, "name"), (SupportAgent, "name"), (Ticket, "summary"), (SavedSearch, "name"),
    (KnowledgeArticle, "title_zh"), (KnowledgeArticle, "title_en"), (KnowledgeArticle, "body_zh"),
    (KnowledgeArticle, "body_en"), (Reward, "name_zh"), (Reward, "name_en"), (Tier, "name_zh"), (Tier, "name_en"),
    (Tier, "benefits_zh"), (SlaPolicy, "name"), (BusinessCalendar, "name"), (Webhook, "name"), (Import, "name"),
    (ExchangeToken, "name"),
    (ChannelIdentity, "external_id"), (Message, "text"),
)


def poison(world: World) -> None:
    """Put a payload into every text that somebody can give, each with its own number."""
    now = world.desk.clock()
    talk = int(world.ids["conversation_id"])
    corpus = " ".join(CORPUS)
    guest, _ = world.desk.says("guest", corpus, intent="out_of_scope", reply=corpus,
                               buttons=({"title": payload(900), "payload": "/greet"},))
    assert guest != talk
    client = world.desk.client("wang")
    assert client.post(f"/api/conversations/{talk}/note", json={"text": payload(901)}).status_code == 201
    assert client.post(f"/api/conversations/{talk}/reply", json={"text": payload(902)}).status_code == 201
    correction = {"angry": False, "intent": "request_human"}
    assert client.post(f"/api/conversations/{talk}/messages/{world.ids['message_id']}/correction",
                       json=correction).status_code == 200
    with world.desk.store.write() as session:
        session.add(KnowledgeArticle(slug="a", intent="ask_refund_status", title_zh="-", title_en="-", body_zh="-",
                                     body_en="-", updated_at=now))
        session.add(Reward(code="r", name_zh="-", name_en="-", cost_points=1, stock=1, minimum_tier="silver",
                           kind="coupon"))
        session.get(SavedSearch, int(world.ids["saved_id"])).shared = True
        session.flush()
        for number, (model, column) in enumerate(FIELDS, 1):
            for row in session.execute(select(model).order_by(*model.__table__.primary_key)).scalars():
                if model is Message and row.id != int(world.ids["message_id"]):
                    continue
                key = row.code if model is Tier else row.id
                unique = "" if model in (Message, Macro, KnowledgeArticle) else f"{key}"[:3]
                setattr(row, column, payload(number) + unique)


def addresses(world: World) -> list[str]:
    """Every page there is, each kind of setting with its list and its forms, and what is reflected from the address."""
    pages = [world.path(route, guard) for route, guard in WANTED
             if route[0] == "GET" and not route[1].startswith("/api/") and route[1] != "/desk/stream"
             and not re.search(r"\.csv|export|examples", route[1])]
    with world.desk.store.read() as session:
        for path, area in AREAS.items():
            row = session.execute(select(area.model)).scalars().first()
            pages += [f"/manage/settings/{path}", f"/manage/settings/{path}/{area.key_of(row)}"]
            pages += [f"/manage/settings/{path}/new"] if area.new else []
    talk = world.ids["conversation_id"]
    pages += [f"/desk?conversation={talk}", f"/desk/parts/conversations/{talk}", f"/manage/logs/{talk}",
              f"/manage/logs/{int(talk) + 1}", "/manage/learning?show=done", "/no/such/page"]
    for name in ("words", "kind", "intent", "since", "next", "done", "said", "who", "view", "saved", "team", "state"):
        for path in ("/manage/logs", "/manage/figures", "/manage/learning", "/manage/settings/audit", "/desk/login",
                     "/manage/settings", "/manage/webhooks", "/desk"):
            pages.append(f"{path}?{urlencode({name: payload(0)})}")
    return pages


def test_nothing_that_anybody_writes_lives_on_any_page(world: World) -> None:
    poison(world)
    label = world.desk.client("ling").post(f"/manage/learning/{world.ids['message_id']}", data={"pick": "greet"})
    assert label.status_code == 303
    shown: set[str] = set()
    for login in ("ling", "root"):
        client = world.desk.client(login)
        for path in addresses(world):
            answer = client.get(path)
            assert answer.status_code in (200, 303, 403, 404, 422), (path, answer.status_code)
            seen = Page(answer.text)
            assert not seen.alive, (path, seen.alive)
            shown |= seen.shown
    missing = [f"{model.__name__}.{column}" for number, (model, column) in enumerate(FIELDS, 1)
               if str(number) not in shown]
    assert not missing and {"900", "901", "902", "0"} <= shown, missing


def test_the_parser_sees_what_lives() -> None:
    """Otherwise the test above could not fail."""
    assert not Page(f"<p title=\"{html.escape(payload(1))}\">{html.escape(payload(2))}</p>").alive
    for text in CORPUS:
        raw = Page(f'<p title="{text}">{text}</p><textarea>{text}</textarea><title>{text}</title>')
        assert raw.alive or text.startswith(("{", "&lt;", "'", "`", "javascript:", "\u2028")), text

"""What is queued reaches real mail servers and HTTP receivers, or is tried again, and goes nowhere it must not."""
from __future__ import annotations

import asyncio
import contextlib
import datetime as dates
import hashlib
import hmac
import ipaddress
import json
import re
import socket
import ssl
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import datetime, timedelta, timezone
from email import message_from_bytes, policy
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, LoginPassword
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from sqlalchemy.exc import OperationalError

from crm_store.models import Notification, NotificationDelivery, Ticket
from crm_store.models.deliveries import NOTICE_KINDS
from crm_store.queries.notifications import mark_seen
from crm_store.services import deliveries, notice_settings
from crm_store.services.deliveries import LEASE, Outgoing
from crm_store.services.notices import notify
from crm_store.services.tickets import open_ticket
from gateway import mail_words
from gateway.notifier import Adapter, NotDelivered, Notifier
from gateway.notify_email import EmailAdapter, MailServer, write_mail
from gateway.notify_webhook import WebhookAdapter, may_reach, payload, sign
from tests.gateway.conftest import Records, make_deps
from tests.gateway.test_dispatch import store_message

pytestmark = pytest.mark.anyio
GUIDE = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "be-notified.md"
MAIL_DELAY = timedelta(seconds=60)


class Receiver:
    """An HTTP server that keeps what it is sent and answers as it is told: a status, or a function of the handler."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.answers: list[int | Callable[[BaseHTTPRequestHandler], None]] = []
        self.got: list[tuple[dict[str, str], bytes]] = []
        self.released = threading.Event()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                receiver.got.append((dict(self.headers), self.rfile.read(int(self.headers["Content-Length"]))))
                answer = receiver.answers.pop(0) if receiver.answers else 204
                if callable(answer):
                    answer(self)
                else:
                    self.send_response(answer)
                    self.end_headers()

            def do_GET(self) -> None:
                receiver.got.append((dict(self.headers), b"GET"))

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        if tls:
            self.server.socket = tls.wrap_socket(self.server.socket, server_side=True)
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02})
        self.thread.start()

    @property
    def port(self) -> int:
        return int(self.server.server_address[1])

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/in?room=1"

    def hang(self, handler: BaseHTTPRequestHandler) -> None:
        self.released.wait(20)

    def stop(self) -> None:
        self.released.set()
        self.server.shutdown()
        self.thread.join(10)
        self.server.server_close()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    running = Receiver()
    yield running
    running.stop()


class Mailbox:
    """What a mail server does with mail; ``says`` are its next answers to each step instead of taking it."""

    def __init__(self) -> None:
        self.mails: list[Any] = []
        self.says: dict[str, list[str]] = {}
        self.drop_after_data = False

    async def handle_RCPT(self, server: Any, session: Any, envelope: Any, address: str, options: Any) -> str:
        if self.says.get("RCPT"):
            return self.says["RCPT"].pop(0)
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        if self.says.get("DATA"):
            return self.says["DATA"].pop(0)
        self.mails.append(message_from_bytes(envelope.content, policy=policy.default))
        if self.drop_after_data:
            self.drop_after_data = False
            server.transport.close()
        return "250 OK"

    async def handle_QUIT(self, server: Any, session: Any, envelope: Any) -> str:
        return self.says["QUIT"].pop(0) if self.says.get("QUIT") else "221 Bye"


@contextlib.contextmanager
def serving_mail(mailbox: Mailbox, **options: Any) -> Iterator[MailServer]:
    controller = Controller(mailbox, hostname="127.0.0.1", port=0, **options)
    with contextlib.ExitStack() as stack:
        probe = stack.enter_context(socket.socket())
        probe.bind(("127.0.0.1", 0))
        controller.port = probe.getsockname()[1]
    controller.start()
    try:
        yield mail_server(controller.port)
    finally:
        controller.stop()


def mail_server(port: int, **more: Any) -> MailServer:
    return MailServer(**{"host": "127.0.0.1", "port": port, "user": "", "password": "", "starttls": False,
                         "sender": "Desk <desk@example.com>", "public_url": "https://desk.example.com/", **more})


@pytest.fixture
def mailbox() -> Mailbox:
    return Mailbox()


@contextlib.asynccontextmanager
async def notifying(records: Records, email: Adapter | None = None, *, timeout: float = 5.0,
                    private: bool = True) -> AsyncIterator[Notifier]:
    """A notifier in this event loop, without its own look."""
    deps = make_deps(records, "http://127.0.0.1:9")
    adapters: dict[str, Adapter] = {"webhook": WebhookAdapter(allow_private=private, timeout=timeout)}
    if email:
        adapters["email"] = email
    try:
        yield Notifier(deps, adapters, MAIL_DELAY, jitter=lambda: 0.5)
    finally:
        deps.transactions.close()


async def look(notifier: Notifier) -> None:
    await notifier.look()
    await notifier.idle()


def hook(records: Records, url: str, *kinds: str) -> Any:
    return records.do(notice_settings.create_webhook, records.agent(), name="ops", url=url, kinds=list(kinds),
                      now=records.clock())


def mail_to(records: Records, login: str = "wangmin", email: str = "wang@example.com") -> None:
    records.do(notice_settings.save_preferences, records.agent(login), email=email, kinds=NOTICE_KINDS,
               now=records.clock())


def tell(records: Records, kind: str = "sla_breached", key: str = "k1", login: str = "wangmin", **data: Any) -> None:
    records.do(notify, [records.agent(login).id], kind=kind, key=key, now=records.clock(), data=data)


def states(records: Records) -> list[tuple[str, int]]:
    return [(each.state, each.attempts) for each in records.all(NotificationDelivery)]


def outgoing(now: datetime, **more: Any) -> Outgoing:
    return Outgoing(**{"id": 1, "public_id": "ab" * 16, "attempt": 1, "adapter": "webhook", "target_id": 1,
                       "kind": "sla_breached", "at": now, "address": "http://example.com/", "secret": "s", **more})


async def test_a_webhook_is_signed_and_says_what_happened(records: Records, receiver: Receiver) -> None:
    made = hook(records, receiver.url, "sla_breached")
    message = store_message(records)
    ticket = records.do(open_ticket, records.conversation(), kind="handoff", summary="x", idempotency_key="t",
                        now=records.clock())
    records.do(notify, [records.agent().id, records.agent("lina").id], kind="sla_breached", key="k1",
               now=records.clock(), conversation_id=message.conversation_id,
               data={"ticket_id": ticket.id, "promise": "first_response", "due_at": records.clock().isoformat()})
    async with notifying(records) as notifier:
        await look(notifier)
    ((headers, body),) = receiver.got
    (delivery,) = records.all(NotificationDelivery)
    assert (delivery.state, delivery.response_status, delivery.sent_at) == ("sent", 204, records.clock())
    assert json.loads(body) == {
        "id": records.all(Notification)[0].id, "kind": "sla_breached", "at": "2026-11-18T02:00:00+00:00",
        "conversation_id": message.conversation_id, "ticket": records.one(Ticket).number,
        "data": {"ticket_id": ticket.id, "promise": "first_response", "due_at": "2026-11-18T02:00:00+00:00"}}
    at = headers["X-Warmline-Timestamp"]
    assert int(at) == records.clock().timestamp()
    wanted = hmac.new(made.secret.encode(), f"{at}.".encode() + body, hashlib.sha256).hexdigest()
    assert headers["X-Warmline-Signature"] == f"v1={wanted}"
    assert headers["X-Warmline-Delivery"] == delivery.public_id and headers["Host"] == f"127.0.0.1:{receiver.port}"
    assert headers["Content-Type"] == "application/json"


async def test_the_receiver_of_the_guide_takes_what_is_genuine_and_nothing_else(
        sqlite_records: Records, monkeypatch: pytest.MonkeyPatch) -> None:
    found = re.search(r"```python\n(.*?)```", GUIDE.read_text(encoding="utf8"), re.DOTALL)
    assert found
    code, serve = found.group(1).rstrip().rsplit("\n", 1)
    assert "serve_forever" in serve
    guide: dict[str, Any] = {}
    exec(compile(code, str(GUIDE), "exec"), guide)
    guide["Receiver"].log_message = lambda *_: None
    server = ThreadingHTTPServer(("127.0.0.1", 0), guide["Receiver"])
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        made = hook(sqlite_records, f"http://127.0.0.1:{server.server_address[1]}/")
        monkeypatch.setenv("WEBHOOK_SECRET", made.secret)
        adapter, now = WebhookAdapter(allow_private=True), datetime.fromtimestamp(time.time(), timezone.utc)
        good = outgoing(now, address=made.url, secret=made.secret, data={"by": "王敏"})
        assert await adapter.send(good, now) == 204
        for wrong, at in ((outgoing(now, address=made.url, secret="another"), now), (good, now - timedelta(hours=1))):
            with pytest.raises(NotDelivered) as refused:
                await adapter.send(wrong, at)
            assert refused.value.status == 401
    finally:
        server.shutdown()
        thread.join(10)
        server.server_close()


async def test_what_fails_twice_arrives_at_the_third_attempt_under_the_same_id(
        records: Records, receiver: Receiver) -> None:
    hook(records, receiver.url)
    tell(records)
    receiver.answers = [500, 503]
    async with notifying(records) as notifier:
        await look(notifier)
        assert states(records) == [("failed", 1)] and len(receiver.got) == 1
        await look(notifier)
        assert len(receiver.got) == 1
        records.clock.advance(seconds=30)
        await look(notifier)
        assert states(records) == [("failed", 2)] and records.one(NotificationDelivery).response_status == 503
        records.clock.advance(seconds=90)
        await look(notifier)
    assert states(records) == [("sent", 3)] and records.one(NotificationDelivery).last_error is None
    assert len({headers["X-Warmline-Delivery"] for headers, _ in receiver.got}) == 1
    assert len({body for _, body in receiver.got}) == 1
    assert len({headers["X-Warmline-Timestamp"] for headers, _ in receiver.got}) == 3


@pytest.mark.parametrize("answer", [301, 302, 307, 308, 304, 400, 401, 404, 410, 429, 500])
async def test_only_2xx_counts(sqlite_records: Records, receiver: Receiver, answer: int) -> None:
    def redirect(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(answer)
        handler.send_header("Location", f"http://127.0.0.1:{receiver.port}/elsewhere")
        handler.end_headers()

    hook(sqlite_records, receiver.url)
    tell(sqlite_records)
    receiver.answers = [redirect]
    async with notifying(sqlite_records) as notifier:
        await look(notifier)
    assert states(sqlite_records) == [("failed", 1)] and len(receiver.got) == 1
    assert sqlite_records.one(NotificationDelivery).response_status == answer


def endless_body(handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(200)
    handler.end_headers()
    with contextlib.suppress(OSError):
        while True:
            handler.wfile.write(b"x" * 65_536)


def garbage(handler: BaseHTTPRequestHandler) -> None:
    handler.wfile.write(b"\x00\x01 no HTTP at all\r\n\r\n")


def too_many_headers(handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(200)
    with contextlib.suppress(OSError):
        for number in range(20_000):
            handler.send_header(f"X-{number}", "y" * 50)
        handler.end_headers()


async def test_an_endless_answer_is_not_read(sqlite_records: Records, receiver: Receiver) -> None:
    hook(sqlite_records, receiver.url)
    tell(sqlite_records)
    receiver.answers = [endless_body]
    async with notifying(sqlite_records) as notifier:
        await look(notifier)
    assert states(sqlite_records) == [("sent", 1)]


@pytest.mark.parametrize("answer", [garbage, too_many_headers])
async def test_an_answer_that_is_none_fails(sqlite_records: Records, receiver: Receiver, answer: Any) -> None:
    hook(sqlite_records, receiver.url)
    tell(sqlite_records)
    receiver.answers = [answer]
    async with notifying(sqlite_records) as notifier:
        await look(notifier)
    assert states(sqlite_records) == [("failed", 1)]


async def test_a_target_that_hangs_or_is_gone_delays_no_other(records: Records, receiver: Receiver) -> None:
    other, gone = Receiver(), Receiver()
    gone.stop()
    try:
        for url in (receiver.url, gone.url, other.url):
            hook(records, url)
        for number in range(3):
            tell(records, key=f"k{number}")
        receiver.answers = [receiver.hang] * 3
        async with notifying(records, timeout=0.3) as notifier:
            await notifier.look()
            await notifier.idle()
        by_target = {(each.target_id, each.state, each.attempts) for each in records.all(NotificationDelivery)}
        assert by_target == {(1, "failed", 1), (1, "queued", 0), (2, "failed", 1), (2, "queued", 0), (3, "sent", 1)}
        assert len(receiver.got) == 1 and len(other.got) == 3
        errors = {each.target_id: each.last_error for each in records.all(
            NotificationDelivery, NotificationDelivery.state == "failed")}
        assert errors == {1: "timed_out", 2: "no_answer: ConnectError"}
    finally:
        other.stop()


async def test_two_notifiers_at_once_send_nothing_twice(records: Records, receiver: Receiver) -> None:
    hook(records, receiver.url)
    for number in range(30):
        tell(records, key=f"k{number}")
    async with notifying(records) as first, notifying(records) as second:
        await asyncio.gather(first.look(), second.look())
        await asyncio.gather(first.idle(), second.idle())
    ids = [headers["X-Warmline-Delivery"] for headers, _ in receiver.got]
    assert len(ids) == len(set(ids)) == 30 and set(states(records)) == {("sent", 1)}


async def test_what_was_sent_but_not_noted_is_sent_again_under_the_same_id(
        records: Records, receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    hook(records, receiver.url)
    tell(records)

    def dies(*_: object) -> None:
        raise OperationalError("the process", {}, Exception("is killed"))

    with monkeypatch.context() as patch:
        patch.setattr(deliveries, "note_sent", dies)
        async with notifying(records) as notifier:
            await look(notifier)
            await look(notifier)
    assert states(records) == [("queued", 1)] and len(receiver.got) == 1
    async with notifying(records) as another:
        records.clock.advance(seconds=LEASE.total_seconds() - 1)
        await look(another)
        assert len(receiver.got) == 1
        records.clock.advance(seconds=1)
        await look(another)
    assert states(records) == [("sent", 2)]
    assert len(receiver.got) == 2 and len({headers["X-Warmline-Delivery"] for headers, _ in receiver.got}) == 1


async def test_an_adapter_that_breaks_ends_neither_the_loop_nor_its_lane(sqlite_records: Records) -> None:
    class Broken:
        async def send(self, delivery: Outgoing, now: datetime) -> int | None:
            if delivery.attempt == 1:
                raise RuntimeError("unforeseen, with a secret inside")
            return None

    mail_to(sqlite_records)
    tell(sqlite_records)
    async with notifying(sqlite_records, Broken()) as notifier:
        await look(notifier)
        assert sqlite_records.one(NotificationDelivery).last_error == "unforeseen: RuntimeError"
        sqlite_records.clock.advance(minutes=1)
        await look(notifier)
    assert states(sqlite_records) == [("sent", 2)]


async def test_the_loop_looks_by_itself_and_lets_go_when_stopped(sqlite_records: Records, receiver: Receiver) -> None:
    hook(sqlite_records, receiver.url)
    tell(sqlite_records)
    receiver.answers = [receiver.hang]
    async with notifying(sqlite_records, timeout=20) as notifier:
        running = asyncio.create_task(notifier.run())
        while not receiver.got:
            await asyncio.sleep(0)
        running.cancel()
        receiver.released.set()  # it ends within the time a stop leaves it
        with pytest.raises(asyncio.CancelledError):
            await running
    assert states(sqlite_records)[0][1] == 1


# --- where requests may go


REFUSED = (
    "0.0.0.0", "0.1.2.3", "10.0.0.1", "100.64.0.1", "127.0.0.1", "127.255.255.254", "169.254.169.254", "172.16.0.1",
    "192.0.0.1", "192.0.2.1", "192.168.1.1", "198.18.0.1", "198.51.100.1", "203.0.113.1", "224.0.0.1", "240.0.0.1",
    "255.255.255.255", "::", "::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "::127.0.0.1",
    "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::1", "2002:7f00:1::", "2002:a00:1::", "2001:0:4136:e378::1",
    "2001:db8::1", "fc00::1", "fd12:3456::1", "fe80::1", "fec0::1", "ff02::1", "100::1", "192.0.0.192", "168.63.129.16")
PUBLIC = ("1.1.1.1", "8.8.8.8", "93.184.216.34", "2606:4700::1111", "2001:4860:4860::8888", "::ffff:8.8.8.8",
          "64:ff9b::808:808")
NEVER = ("169.254.169.254", "0.0.0.0", "224.0.0.1", "255.255.255.255", "::", "fe80::1", "ff02::1",
         "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe", "203.0.113.1", "100.100.100.200", "fd00:ec2::254",
         "fd20:ce::254", "192.0.0.192", "168.63.129.16", "::ffff:100.100.100.200", "64:ff9b::a83f:8110")
PRIVATE = ("127.0.0.1", "10.1.2.3", "192.168.0.9", "172.20.0.1", "::1", "fd00::1", "::ffff:127.0.0.1", "100.64.0.1")


def test_addresses_are_judged() -> None:
    judged = {each: may_reach(ipaddress.ip_address(each)) for each in (*REFUSED, *PUBLIC)}
    assert judged == {**dict.fromkeys(REFUSED, False), **dict.fromkeys(PUBLIC, True)}
    private = {each: may_reach(ipaddress.ip_address(each), True) for each in (*NEVER, *PRIVATE, *PUBLIC)}
    assert private == {**dict.fromkeys(NEVER, False), **dict.fromkeys((*PRIVATE, *PUBLIC), True)}


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "0x7f.1", "2130706433", "0177.0.0.1", "127.1", "[::1]",
                                  "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "0", "0.0.0.0"])
async def test_nothing_reaches_this_machine_however_it_is_written(
        sqlite_records: Records, receiver: Receiver, host: str) -> None:
    hook(sqlite_records, f"http://{host}:{receiver.port}/")
    tell(sqlite_records)
    async with notifying(sqlite_records, private=False) as notifier:
        await look(notifier)
    (delivery,) = sqlite_records.all(NotificationDelivery)
    assert delivery.state in ("given_up", "failed") and receiver.got == []
    assert delivery.last_error in ("not_public", "not_resolved")


class Names:
    """Answers of a name server, one after the other; the last for ever."""

    def __init__(self, *answers: list[str]) -> None:
        self.answers, self.asked = list(answers), 0

    async def __call__(self, host: str, port: int, **_: Any) -> list[Any]:
        self.asked += 1
        found = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return [(socket.AF_INET6 if ":" in each else socket.AF_INET, socket.SOCK_STREAM, 6, "", (each, port))
                for each in found]


async def test_a_name_with_one_private_address_is_refused(receiver: Receiver, now: datetime,
                                                          monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", Names(["93.184.216.34", "127.0.0.1"]))
    with pytest.raises(NotDelivered) as refused:
        await WebhookAdapter().send(outgoing(now, address=f"http://hooks.example:{receiver.port}/"), now)
    assert refused.value.permanent and not receiver.got


async def test_a_name_that_changes_after_the_look_changes_nothing(receiver: Receiver, now: datetime,
                                                                  monkeypatch: pytest.MonkeyPatch) -> None:
    names = Names(["127.0.0.1"], ["169.254.169.254"])
    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", names)
    address = f"http://hooks.example:{receiver.port}/a%20b;c?d=%C3%A9"
    assert await WebhookAdapter(allow_private=True).send(outgoing(now, address=address), now) == 204
    assert names.asked == 1 and receiver.got[0][0]["Host"] == f"hooks.example:{receiver.port}"


async def test_of_several_addresses_the_next_is_tried(receiver: Receiver, now: datetime,
                                                      monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", Names(["::1", "127.0.0.1"]))
    address = f"http://hooks.example:{receiver.port}/"
    assert await WebhookAdapter(allow_private=True).send(outgoing(now, address=address), now) == 204


def certificate(folder: Path, name: str) -> tuple[ssl.SSLContext, Path]:
    """A server's TLS with a certificate of its own for a name, and where the certificate lies."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    today = datetime.fromtimestamp(time.time(), timezone.utc)
    made = (x509.CertificateBuilder().subject_name(subject).issuer_name(subject).public_key(key.public_key())
            .serial_number(1).not_valid_before(today - dates.timedelta(days=1))
            .not_valid_after(today + dates.timedelta(days=1))
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), False).sign(key, hashes.SHA256()))
    path = folder / f"{name}.pem"
    path.write_bytes(made.public_bytes(serialization.Encoding.PEM) + key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    return context, path


async def test_over_tls_the_certificate_must_be_of_the_name(now: datetime, tmp_path: Path,
                                                            monkeypatch: pytest.MonkeyPatch) -> None:
    context, path = certificate(tmp_path, "hooks.example")
    secure = Receiver(context)
    try:
        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", Names(["127.0.0.1"]))
        monkeypatch.setenv("SSL_CERT_FILE", str(path))
        adapter = WebhookAdapter(allow_private=True)
        address = f"https://{{}}:{secure.port}/"
        assert await adapter.send(outgoing(now, address=address.format("hooks.example")), now) == 204
        with pytest.raises(NotDelivered, match="ConnectError"):
            await adapter.send(outgoing(now, address=address.format("other.example")), now)
        monkeypatch.delenv("SSL_CERT_FILE")
        with pytest.raises(NotDelivered, match="ConnectError"):
            await WebhookAdapter(allow_private=True).send(outgoing(now, address=address.format("hooks.example")), now)
        assert len(secure.got) == 1
    finally:
        secure.stop()


async def test_no_proxy_of_the_environment_is_used(receiver: Receiver, now: datetime,
                                                   monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert await WebhookAdapter(allow_private=True).send(outgoing(now, address=receiver.url), now) == 204


def test_a_payload_is_masked_and_always_the_same(now: datetime) -> None:
    body = payload(outgoing(now, data={"b": "王敏\n<b>", "a": 1}))
    assert body == payload(outgoing(now, data={"a": 1, "b": "王敏\n<b>"}))
    assert json.loads(body)["data"] == {"a": 1, "b": "王敏\n<b>"}
    assert sign("s", 1, b"x") == hmac.new(b"s", b"1.x", hashlib.sha256).hexdigest()


# --- e-mail


async def test_a_mail_says_what_happened_in_the_agents_language(records: Records, mailbox: Mailbox) -> None:
    mail_to(records)
    message = store_message(records)
    with serving_mail(mailbox) as server:
        records.do(notify, [records.agent().id], kind="sla_breached", key="k1", now=records.clock(),
                   conversation_id=message.conversation_id, data={"promise": "first_response", "ticket": "C1001"})
        async with notifying(records, EmailAdapter(server)) as notifier:
            await look(notifier)
    assert states(records) == [("sent", 1)]
    (mail,) = mailbox.mails
    text = mail.get_content().replace("\r\n", "\n")
    assert mail["Subject"] == "[暖线] 首次响应超时（工单 C1001）"
    assert mail["To"].addresses[0].addr_spec == "wang@example.com"
    assert mail["From"] == "Desk <desk@example.com>" and mail["Auto-Submitted"] == "auto-generated"
    assert mail["Message-ID"] == f"<{records.one(NotificationDelivery).public_id}@example.com>"
    assert mail["Date"].datetime == records.clock()
    assert f"https://desk.example.com/desk?conversation={message.conversation_id}\n" in text
    assert "王敏，您好" in text and message.text not in text and mail.get_content_type() == "text/plain"


@pytest.mark.parametrize("language", ["zh", "en"])
@pytest.mark.parametrize("kind", [*NOTICE_KINDS, "test", "something_new"])
def test_every_kind_has_words_in_both_languages(now: datetime, kind: str, language: str) -> None:
    mail = write_mail(outgoing(now, adapter="email", kind=kind, address="a@example.com", name="Ann", ticket="C1001",
                               language=language, data={"promise": "resolution", "percent": 75, "by": "Lee"}),
                      mail_server(25), now)
    assert set(NOTICE_KINDS) < set(mail_words.NOTICES)
    assert "{" not in mail["Subject"] and bool(re.search("[\u4e00-\u9fff]", mail["Subject"])) is (language == "zh")
    assert ("C1001" in mail["Subject"]) is (kind != "test")


@pytest.mark.parametrize("hostile", [
    "王敏\r\nBcc: all@example.com", "a\nSubject: x", "x\x00y", "\u2028Bcc: b@c.d", "\ud800", "<img src=x onerror=1>",
    '"quoted" <b@c.d>', "名" * 500, "a,b;c:d@e", "=?utf-8?q?x?="], ids=range(10))
async def test_no_name_begins_a_header_of_its_own(
        sqlite_records: Records, mailbox: Mailbox, hostile: str) -> None:
    with serving_mail(mailbox) as server:
        delivery = outgoing(sqlite_records.clock(), adapter="email", kind="taken_over", address="wang@example.com",
                            name=hostile, data={"by": f"{hostile} 13800138000", "promise": hostile}, ticket=hostile)
        assert await EmailAdapter(server).send(delivery, sqlite_records.clock()) == 250
    (mail,) = mailbox.mails
    assert not {"Bcc", "bcc"} & set(mail.keys())
    assert len(mail.get_all("Subject")) == len(mail.get_all("To")) == 1 and mail["To"].addresses[0].addr_spec == (
        "wang@example.com")
    assert "13800138000" not in mail.as_string() and "13800138000" not in mail.get_content()


@pytest.mark.parametrize(("step", "says", "state", "status"), [
    ("RCPT", "450 busy", "failed", 450), ("RCPT", "550 no such user", "given_up", 550),
    ("DATA", "451 later", "failed", 451), ("DATA", "554 spam", "given_up", 554)])
async def test_a_refusal_is_tried_again_only_where_it_may_pass(
        sqlite_records: Records, mailbox: Mailbox, step: str, says: str, state: str, status: int) -> None:
    mail_to(sqlite_records)
    tell(sqlite_records)
    mailbox.says = {step: [says]}
    with serving_mail(mailbox) as server:
        async with notifying(sqlite_records, EmailAdapter(server)) as notifier:
            await look(notifier)
            delivery = sqlite_records.one(NotificationDelivery)
            assert (delivery.state, delivery.response_status) == (state, status)
            assert "wang@example.com" not in delivery.last_error
            sqlite_records.clock.advance(minutes=1)
            await look(notifier)
    assert len(mailbox.mails) == (state == "failed")


async def test_a_connection_dropped_after_the_data_is_recognised_by_its_message_id(
        sqlite_records: Records, mailbox: Mailbox) -> None:
    mail_to(sqlite_records)
    tell(sqlite_records)
    mailbox.drop_after_data = True
    with serving_mail(mailbox) as server:
        async with notifying(sqlite_records, EmailAdapter(server)) as notifier:
            await look(notifier)
            assert states(sqlite_records) == [("failed", 1)]
            sqlite_records.clock.advance(minutes=1)
            await look(notifier)
    assert states(sqlite_records) == [("sent", 2)]
    assert len(mailbox.mails) == 2 and len({mail["Message-ID"] for mail in mailbox.mails}) == 1


async def test_what_was_taken_is_not_sent_again_because_the_goodbye_fails(
        sqlite_records: Records, mailbox: Mailbox) -> None:
    mail_to(sqlite_records)
    tell(sqlite_records)
    mailbox.says = {"QUIT": ["421 closing"]}
    with serving_mail(mailbox) as server:
        async with notifying(sqlite_records, EmailAdapter(server)) as notifier:
            await look(notifier)
    assert states(sqlite_records) == [("sent", 1)] and len(mailbox.mails) == 1


async def test_a_mail_server_that_is_away_keeps_all_mail_waiting_and_no_webhook(
        sqlite_records: Records, receiver: Receiver) -> None:
    mail_to(sqlite_records)
    mail_to(sqlite_records, "lina", "lina@example.com")
    hook(sqlite_records, receiver.url)
    for login in ("wangmin", "lina"):
        tell(sqlite_records, login=login, key=login)
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        async with notifying(sqlite_records, EmailAdapter(mail_server(closed.getsockname()[1]))) as notifier:
            await look(notifier)
    mails = sqlite_records.all(NotificationDelivery, NotificationDelivery.adapter == "email")
    assert [(each.state, each.attempts) for each in mails] == [("failed", 1), ("queued", 0)]
    assert len({each.next_attempt_at for each in mails}) == 1 and len(receiver.got) == 2


async def test_a_mail_server_that_is_silent_is_left(sqlite_records: Records) -> None:
    mail_to(sqlite_records)
    tell(sqlite_records)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        adapter = EmailAdapter(mail_server(silent.getsockname()[1]), timeout=0.2)
        async with notifying(sqlite_records, adapter) as notifier:
            await look(notifier)
    assert states(sqlite_records) == [("failed", 1)]


async def test_a_login_goes_over_tls_or_not_at_all(sqlite_records: Records, mailbox: Mailbox, tmp_path: Path,
                                                   monkeypatch: pytest.MonkeyPatch) -> None:
    context, path = certificate(tmp_path, "localhost")
    seen: list[Any] = []

    def check(server: Any, session: Any, envelope: Any, mechanism: str, given: Any) -> AuthResult:
        seen.append((session.ssl is not None, given))
        return AuthResult(success=given == LoginPassword(b"desk", b"right"), handled=False)

    delivery = outgoing(sqlite_records.clock(), adapter="email", address="wang@example.com", name="Wang")
    secure = {"host": "localhost", "user": "desk", "password": "right", "starttls": True}
    with serving_mail(mailbox, tls_context=context, authenticator=check, auth_required=True) as server:
        with pytest.raises(NotDelivered):  # nobody vouches for the certificate
            await EmailAdapter(mail_server(server.port, **secure)).send(delivery, sqlite_records.clock())
        monkeypatch.setenv("SSL_CERT_FILE", str(path))
        assert await EmailAdapter(mail_server(server.port, **secure)).send(delivery, sqlite_records.clock()) == 250
        with pytest.raises(NotDelivered) as refused:
            await EmailAdapter(mail_server(server.port, **{**secure, "password": "wrong"})).send(
                delivery, sqlite_records.clock())
        assert refused.value.target_down and not refused.value.permanent and "wrong" not in refused.value.reason
    with serving_mail(mailbox) as plain, pytest.raises(NotDelivered):
        await EmailAdapter(mail_server(plain.port, **secure)).send(delivery, sqlite_records.clock())
    assert len(seen) > 1 and all(over_tls for over_tls, _ in seen) and len(mailbox.mails) == 1


async def test_what_is_seen_at_the_desk_in_time_is_not_mailed(records: Records, mailbox: Mailbox) -> None:
    mail_to(records)
    mail_to(records, "lina", "lina@example.com")
    for login in ("wangmin", "lina"):
        tell(records, "assigned", login, login)
    with serving_mail(mailbox) as server:
        async with notifying(records, EmailAdapter(server)) as notifier:
            await look(notifier)
            assert not mailbox.mails
            seen = records.one(Notification, Notification.agent_id == records.agent("lina").id)
            records.do(mark_seen, seen.agent_id, [seen.id], records.clock())
            records.clock.advance(seconds=60)
            await look(notifier)
    assert [mail["To"].addresses[0].addr_spec for mail in mailbox.mails] == ["wang@example.com"]
    assert [each.state for each in records.all(NotificationDelivery)] == ["sent", "skipped"]


async def test_without_a_mail_server_mail_is_skipped(sqlite_records: Records) -> None:
    mail_to(sqlite_records)
    tell(sqlite_records)
    async with notifying(sqlite_records) as notifier:
        await look(notifier)
    assert [(each.state, each.last_error) for each in sqlite_records.all(NotificationDelivery)] == [
        ("skipped", "not_set_up")]


async def test_no_secret_address_or_text_is_logged(
        sqlite_records: Records, receiver: Receiver, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG", logger="gateway")
    made = hook(sqlite_records, receiver.url + "&token=T0KEN")
    mail_to(sqlite_records)
    tell(sqlite_records, by="王敏")
    receiver.answers = [500]
    async with notifying(sqlite_records, EmailAdapter(mail_server(9))) as notifier:
        await look(notifier)
    kept = str([(each.last_error, each.event_key) for each in sqlite_records.all(NotificationDelivery)])
    ours = "\n".join(record.getMessage() for record in caplog.records if record.name.startswith("gateway"))
    assert "refused" in ours and "no_answer" in kept
    assert not [each for each in (made.secret, "T0KEN", "wang@example.com", "王敏") if each in ours + kept]

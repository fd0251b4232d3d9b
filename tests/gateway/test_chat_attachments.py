"""Files in the web chat: what is taken in, under what name and type it comes back, and to whom."""
from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from crm_store.attachment_files import AttachmentFiles
from crm_store.models import Attachment, Message
from crm_store.services.attachments import sweep_files
from crm_store.services.blocks import block_sender
from crm_store.services.handoff import escalate_conversation
from gateway.attachment_words import WORDS
from gateway.attachments import A_MINUTE
from gateway.visitors import COOKIE, HEADER
from tests.gateway.conftest import BotDouble, Gateway, Records

ADDRESS, MESSAGES = "/api/chat/attachments", "/api/chat/messages"
PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 40
PDF = b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n%%EOF\n"
LIMIT = 200_000


@pytest.fixture
def gateway(sqlite_records: Records, bot: BotDouble, tmp_path: Path) -> Iterator[Gateway]:
    running = Gateway(sqlite_records, bot, files=AttachmentFiles(tmp_path / "attachments"), max_attachment=LIMIT)
    yield running
    running.close()


def send(client: httpx.Client, content: Any = PNG, name: str = "lamp.png", *, claimed: str = "image/png",
         message_id: str = "w1", headers: dict[str, str] | None = None, **fields: str) -> httpx.Response:
    return client.post(ADDRESS, data={"message_id": message_id, **fields}, files={"file": (name, content, claimed)},
                       headers=headers)


def shown(client: httpx.Client) -> list[dict[str, Any]]:
    """The attachments in the chat."""
    return [each for message in client.get(MESSAGES).json()["messages"] for each in message["attachments"]]


def wait_for(found: Callable[[], Any]) -> Any:
    """What is there at last."""
    until = time.monotonic() + 30
    while not (there := found()):
        assert time.monotonic() < until
    return there


def on_disk(tmp_path: Path) -> list[Path]:
    return [path for path in (tmp_path / "attachments").glob("*/*") if path.is_file()]


def test_a_photo_comes_back_to_its_sender(gateway: Gateway, tmp_path: Path) -> None:
    client = gateway.client()
    stored = send(client, language="en")
    assert stored.status_code == 202 and stored.json()["duplicate"] is False
    (photo,) = shown(client)
    assert {key: photo[key] for key in ("name", "kind", "size", "image")} == {
        "name": "lamp.png", "kind": "photo", "size": len(PNG), "image": True}
    got = client.get(photo["url"])
    assert got.content == PNG and got.headers["content-type"] == "image/png"
    assert got.headers["content-disposition"].startswith("attachment;")
    assert got.headers["x-content-type-options"] == "nosniff"
    assert got.headers["content-security-policy"] == "sandbox; default-src 'none'; frame-ancestors 'none'"
    assert got.headers["cache-control"] == "private, no-store"
    assert [path.read_bytes() for path in on_disk(tmp_path)] == [PNG]
    said = client.get(MESSAGES).json()["messages"]
    assert [each["text"] for each in said] == ["[photo]", WORDS["kept_unread"]["en"].format(kind="photo")]
    assert gateway.bot.knocks == []


def test_words_with_a_file_are_answered_by_the_bot(gateway: Gateway) -> None:
    client = gateway.client()
    assert send(client, text="灯坏了").status_code == 202
    wait_for(lambda: "re: 灯坏了" in [each["text"] for each in client.get(MESSAGES).json()["messages"]])
    assert [each["text"] for each in client.get(MESSAGES).json()["messages"] if each["author"] == "system"] == [
        WORDS["kept_unread"]["zh"].format(kind="图片")]


def test_a_person_who_has_the_conversation_is_not_interrupted(gateway: Gateway) -> None:
    client = gateway.client()
    send(client)
    gateway.records.do(escalate_conversation, conversation_id=gateway.records.conversation().id, reason="asked",
                       now=gateway.records.clock())
    said = len(gateway.records.said())
    send(client, message_id="w2")
    assert len(gateway.records.said()) == said and len(shown(client)) == 2


def test_several_files_are_one_answer(gateway: Gateway) -> None:
    client = gateway.client()
    for number in range(3):
        send(client, message_id=f"w{number}")
    assert len(shown(client)) == 3 and len(gateway.records.said()) == 1


def test_the_same_message_again_keeps_nothing_more(gateway: Gateway, tmp_path: Path) -> None:
    client = gateway.client()
    first, second = send(client), send(client, PDF, "other.pdf")
    assert second.json() == {**first.json(), "duplicate": True}
    assert len(shown(client)) == 1 and len(on_disk(tmp_path)) == 1


def test_nobody_else_gets_a_file_and_no_token_can_be_guessed(gateway: Gateway) -> None:
    client, stranger = gateway.client(), gateway.client()
    send(client)
    send(stranger, message_id="s1")
    (photo,) = shown(client)
    for other in (stranger, gateway.client(), gateway.client(**{HEADER: "x" * 43})):
        assert other.get(photo["url"]).status_code == 404
    assert gateway.client(**{HEADER: "nobody"}).get(photo["url"]).status_code == 401
    tokens = [each.token for each in gateway.records.all(Attachment)]
    assert len(set(tokens)) == 2 and all(len(token) == 48 for token in tokens)
    for forged in ("0", "-1", str(2**63), "a" * 48, "A" * 48, "%00", "..%2f..%2fwarmline.db", "%2e%2e", tokens[0][:-1],
                   tokens[0].upper(), tokens[0] + "%0a", "%ED%A0%80"):
        assert client.get(f"{ADDRESS}/{forged}").status_code == 404, forged


def test_it_comes_back_to_the_frame_that_sent_it(gateway: Gateway) -> None:
    frame = gateway.client()
    visitor = frame.post("/api/chat/visitor", json={}).json()["visitor"]
    assert send(frame, headers={HEADER: visitor}).status_code == 202
    token = gateway.records.one(Attachment).token
    assert frame.get(f"{ADDRESS}/{token}").status_code == 404
    assert frame.get(f"{ADDRESS}/{token}", headers={HEADER: visitor}).content == PNG


def test_a_hostile_name_does_no_harm_on_the_way(gateway: Gateway, tmp_path: Path) -> None:
    client = gateway.client()
    names = ("../../../../tmp/evil.txt", 'a"; filename="b.exe', "<script>alert(1)</script>.html", "\u202egpj.exe",
             "a" * 3000)
    for number, name in enumerate(names):
        assert send(client, b"plain words", name, message_id=f"w{number}").status_code == 202, name
    for each in shown(client):
        got = client.get(each["url"])
        disposition = got.headers["content-disposition"]
        assert got.status_code == 200 and disposition.startswith("attachment;") and "\n" not in disposition
        assert disposition.count('"') in (0, 2) and "/" not in each["name"] and each["name"].endswith(".txt")
    assert {path.name for path in on_disk(tmp_path)} == {each.token for each in gateway.records.all(Attachment)}
    assert all(path.parent.name == path.name[:2] for path in on_disk(tmp_path))


def test_what_is_refused_leaves_nothing(gateway: Gateway, tmp_path: Path) -> None:
    client = gateway.client()
    refused = send(client, b'<svg onload="alert(1)"/>', "lamp.png", claimed="image/png")
    assert refused.status_code == 415 and refused.json()["error"] == "kind_not_allowed"
    empty = send(client, b"", "empty.png", message_id="w2")
    assert empty.status_code == 422 and empty.json() == {
        "error": "empty", "message": "file must not be empty", "field": "file"}
    assert on_disk(tmp_path) == [] and gateway.records.all(Message) == []


@pytest.mark.parametrize(("content", "claimed", "media_type", "image"), [
    (b"GIF89a/*" + b"<script>alert(1)</script>*/=1;", "text/html", "image/gif", True),
    (PDF + b"<html><script>alert(1)</script>", "text/html", "application/pdf", False),
    (b"\xff\xd8\xff\xe0" + b"<?php echo 1;" * 9, "application/x-php", "image/jpeg", True),
    (b"PK\x03\x04" + bytes(60), "image/svg+xml", "application/zip", False),
    ("你好，世界".encode("gb18030"), "text/javascript", "text/plain; charset=utf-8", False)],
    ids=("gif", "pdf", "jpeg", "zip", "text"))
def test_a_file_that_is_two_things_is_what_it_begins_as(
        gateway: Gateway, content: bytes, claimed: str, media_type: str, image: bool) -> None:
    client = gateway.client()
    assert send(client, content, "x.html", claimed=claimed).status_code == 202
    (kept,) = shown(client)
    got = client.get(kept["url"])
    assert (got.headers["content-type"], kept["image"]) == (media_type, image) and got.content == content
    assert not kept["name"].endswith(".html")


def raw(gateway: Gateway, head: str, *parts: bytes) -> bytes:
    """What is answered to a request that no client library would send."""
    address = urlsplit(gateway.base)
    with socket.create_connection((address.hostname, address.port), timeout=20) as connection:
        connection.sendall(head.replace("\n", "\r\n").encode())
        try:
            for part in parts:
                connection.sendall(part)
            connection.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # it was told enough
        answer = b""
        try:
            while more := connection.recv(65_536):
                answer += more
        except ConnectionError:
            pass
    return answer


def multipart(content: bytes, boundary: str = "b") -> bytes:
    return (f'--{boundary}\r\nContent-Disposition: form-data; name="message_id"\r\n\r\nw1\r\n--{boundary}\r\n'
            'Content-Disposition: form-data; name="file"; filename="a.png"\r\n\r\n').encode() + content + (
                f"\r\n--{boundary}--\r\n").encode()


HEAD = f"POST {ADDRESS} HTTP/1.1\nHost: x\nConnection: close\nContent-Type: multipart/form-data; boundary=b\n"


def test_a_body_that_is_too_large_is_cut_off_announced_chunked_or_lied_about(gateway: Gateway, tmp_path: Path) -> None:
    large = send(gateway.client(), PNG[:8] + bytes(LIMIT))
    assert large.status_code == 413 and large.json()["error"] == "too_large" and large.json()["field"] == "file"
    body = multipart(PNG[:8] + bytes(3 * LIMIT))
    chunks = [f"{len(part):x}\r\n".encode() + part + b"\r\n" for part in (body[:LIMIT], body[LIMIT:])]
    assert b" 413 " in raw(gateway, HEAD + "Transfer-Encoding: chunked\n\n", *chunks, b"0\r\n\r\n")[:20]
    assert b" 413 " in raw(gateway, HEAD + f"Content-Length: {10**12}\n\n")[:20]
    short = raw(gateway, HEAD + f"Content-Length: {len(multipart(PNG)) + 500}\n\n", multipart(PNG))
    assert b" 202 " not in short[:20]
    cut = raw(gateway, HEAD + "Content-Length: 40\n\n", multipart(PNG))
    assert b" 422 " in cut[:20]
    assert gateway.records.all(Attachment) == [] and on_disk(tmp_path) == []


@pytest.mark.parametrize(("kind", "body"), [
    ("multipart/form-data", b"x"), ("multipart/form-data; boundary=b", b"x"), ("multipart/form-data; boundary=b", b""),
    ("multipart/form-data; boundary=b", multipart(PNG, "c")), ("multipart/form-data; boundary=" + "b" * 999, b"--b"),
    ("multipart/form-data; boundary=b; charset=klingon", multipart(PNG).replace(b"a.png", b"\xff\xfe.png")),
    ("multipart/form-data; boundary=b", multipart(PNG).replace(b'name="file"; filename="a.png"', b'name="file"')),
    ("multipart/form-data; boundary=b", multipart(PNG).replace(b'"message_id"', b'"message_id"; filename="x"')),
    ("multipart/form-data; boundary=b", multipart(PNG).replace(b"w1", b"w\x001")),
    ("multipart/form-data; boundary=b", multipart(PNG).replace(b"w1", b"\xed\xa0\x80")),
    ("multipart/form-data; boundary=b", multipart(PNG).replace(b"Content-Disposition", b"Content-Nothing"))],
    ids=range(11))
def test_a_broken_form_is_refused_in_words(gateway: Gateway, kind: str, body: bytes) -> None:
    answer = httpx.post(f"{gateway.base}{ADDRESS}", content=body, headers={"Content-Type": kind}, trust_env=False)
    assert answer.status_code in (202, 422), answer.text
    assert answer.status_code == 202 or answer.json()["error"] in ("invalid_form", "invalid", "missing")


def test_only_a_form_of_our_own_page_is_taken(gateway: Gateway) -> None:
    client = gateway.client()
    assert client.post(ADDRESS, json={"message_id": "w1"}).status_code == 415
    assert send(client, headers={"Sec-Fetch-Site": "cross-site"}).status_code == 403
    assert send(client, headers={"Origin": "https://evil.test"}).status_code == 403
    for missing in ("message_id", "file"):
        fields = {"data": {"message_id": "w1"} if missing == "file" else {"text": "x"},
                  "files": {"file" if missing == "message_id" else "other": ("a.png", PNG)}}
        answer = client.post(ADDRESS, **fields)  # type: ignore[arg-type]
        assert answer.status_code == 422 and answer.json()["field"] == missing
    assert send(client, text="x" * 4001).json() == {
        "error": "too_long", "message": "text may have at most 4000 characters", "field": "text"}
    assert gateway.records.all(Attachment) == []


def test_too_many_files_are_slowed_down(gateway: Gateway) -> None:
    client = gateway.client()
    answers = [send(client, message_id=f"w{number}").status_code for number in range(A_MINUTE + 3)]
    assert answers.count(202) == A_MINUTE + 1 and answers[-1] == 429  # the first came before there was a cookie
    assert client.cookies[COOKIE]


def test_a_full_disk_is_said_in_words_and_keeps_nothing(gateway: Gateway, tmp_path: Path,
                                                        monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(AttachmentFiles, "room", lambda self: 1000)
    answer = send(gateway.client())
    assert answer.status_code == 503 and answer.headers["retry-after"] == "600"
    assert on_disk(tmp_path) == [] and gateway.records.all(Message) == []


def test_what_a_blocked_sender_sends_is_not_kept(gateway: Gateway, tmp_path: Path) -> None:
    client = gateway.client()
    send(client)
    records = gateway.records
    records.do(block_sender, records.conversation().id, records.agent(), reason="-", until=None, everywhere=False,
               now=records.clock())
    said = len(records.said())
    assert send(client, message_id="w2").status_code == 202
    assert [each.reason for each in records.all(Attachment)] == [None, "blocked"]
    assert len(on_disk(tmp_path)) == 1
    assert WORDS["kept_unread"]["zh"].format(kind="图片") not in records.said()[said:]


def test_strays_of_a_crash_are_swept_and_nothing_else(gateway: Gateway, tmp_path: Path) -> None:
    client, files = gateway.client(), AttachmentFiles(tmp_path / "attachments")
    send(client)
    with files.writing("a" * 48, 10) as writing:
        writing.write(b"stray")
        writing.keep()
    unfinished = files.writing("b" * 48, 10)
    unfinished.__enter__().write(b"half")
    other = tmp_path / "attachments" / "ab" / "README"
    other.parent.mkdir()
    other.write_text("not ours")
    written = max(path.stat().st_mtime for path in on_disk(tmp_path))
    early, late = (datetime.fromtimestamp(written + after, timezone.utc) for after in (10, 7200))
    assert gateway.records.do(sweep_files, files, early) == 0
    assert gateway.records.do(sweep_files, files, late) == 2
    assert {path.name for path in on_disk(tmp_path)} == {gateway.records.one(Attachment).token, "README"}
    unfinished.__exit__(None, None, None)

"""What customers sent, at the desk: shown in the thread, saved by whoever may read the conversation, run nowhere."""
from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from crm_store.attachment_files import AttachmentFiles, new_token
from crm_store.models import Attachment, AuditEntry, Message
from crm_store.rules.attachments import content_of
from crm_store.services.attachments import KeptFile, await_file, keep_file, keep_words, refuse_file
from tests.desk.conftest import Clock, Desk, make_desk, open_shop

PNG = b"\x89PNG\r\n\x1a\n" + bytes(100)
EVIL = '"><img src=x onerror=alert(1)>.png'

WHY = {
    "zh": ("正在取回", "文件太大", "找不到", "不接受", "是空的", "取不到", "屏蔽"),
    "en": ("Being fetched", "too large", "no longer has it", "of this kind", "is empty", "many attempts", "blocked"),
}


@pytest.fixture
def desk(store: Any, now: Any, tmp_path: Path) -> Desk:
    """The desk over each database, with a folder for files."""
    open_shop(store, now)
    return make_desk(store, Clock(now), files=AttachmentFiles(tmp_path / "attachments"))


@pytest.fixture
def lite(sqlite_store: Any, now: Any, tmp_path: Path) -> Desk:
    """The same over SQLite only."""
    open_shop(sqlite_store, now)
    return make_desk(sqlite_store, Clock(now), files=AttachmentFiles(tmp_path / "attachments"))


def sent(desk: Desk, conversation: int, tmp_path: Path, content: bytes = PNG, name: str = "lamp.png") -> str:
    """A file of the customer's last message; its token."""
    token, kind = new_token(), content_of(content)
    assert kind is not None
    with AttachmentFiles(tmp_path / "attachments").writing(token, len(content)) as writing:
        writing.write(content)
        writing.keep()
    with desk.store.write() as session:
        keep_file(session, last(session, conversation), token=token, name=name, now=desk.clock(),
                  file=KeptFile(kind, writing.size, writing.sha256))
    return token


def last(session: Any, conversation: int) -> Any:
    return session.execute(select(Message).where(
        Message.conversation_id == conversation, Message.direction == "incoming").order_by(Message.id.desc())
    ).scalars().first()


def looks(desk: Desk) -> list[int]:
    with desk.store.read() as session:
        return list(session.execute(select(AuditEntry.actor_id).where(AuditEntry.action == "look")).scalars())


def test_who_may_read_the_conversation_may_save_its_files_and_the_look_is_recorded(desk: Desk, tmp_path: Path) -> None:
    conversation = desk.escalated("a", assignee="wang")
    token = sent(desk, conversation, tmp_path)
    for login in ("wang", "zhang", "ling", "root"):
        got = desk.client(login).get(f"/desk/attachments/{token}")
        assert got.status_code == 200 and got.content == PNG and got.headers["content-type"] == "image/png"
        assert got.headers["content-disposition"] == 'attachment; filename="lamp.png"'
        assert got.headers["content-security-policy"].startswith("sandbox; default-src 'none'")
        assert got.headers["x-content-type-options"] == "nosniff"
        assert got.headers["cache-control"] == "private, no-store"
    assert looks(desk) == [desk.agent(login).id for login in ("wang", "zhang", "ling", "root")]
    desk.client("wang").get(f"/desk/attachments/{token}")
    assert len(looks(desk)) == 4
    for login in ("lee", "eva"):
        assert desk.client(login).get(f"/desk/attachments/{token}").status_code == 404
    assert desk.client().get(f"/desk/attachments/{token}").status_code == 303
    assert len(looks(desk)) == 4


def test_no_forged_token_is_anything(desk: Desk, tmp_path: Path) -> None:
    conversation = desk.escalated("a", assignee="wang")
    token, client = sent(desk, conversation, tmp_path), desk.client("root")
    for forged in ("0", "-1", str(2**63), "%00", "%ED%A0%80", "..%2f..%2fwarmline.db", token.upper(), token[:-1],
                   token + "%0a", "' OR 1=1", "a" * 5000):
        assert client.get(f"/desk/attachments/{forged}").status_code == 404, forged


def test_a_row_whose_file_is_gone_is_not_found(lite: Desk, tmp_path: Path) -> None:
    token = sent(lite, lite.escalated("a", assignee="wang"), tmp_path)
    (tmp_path / "attachments" / token[:2] / token).unlink()
    assert lite.client("wang").get(f"/desk/attachments/{token}").status_code == 404


@pytest.mark.parametrize("language", ["zh", "en"])
def test_the_thread_shows_each_kind_and_why_something_is_missing(lite: Desk, tmp_path: Path, language: str) -> None:
    conversation, now = lite.escalated("a", assignee="wang"), lite.clock()
    photo = sent(lite, conversation, tmp_path, name=EVIL)
    paper = sent(lite, conversation, tmp_path, b"%PDF-1.4\n" + bytes(4000), "发票.pdf")
    with lite.store.write() as session:
        message = last(session, conversation)
        keep_words(session, message, kind="location", name="", place=(31.23, 121.47), now=now)
        keep_words(session, message, kind="contact", name="Ann +8613800138000", now=now)
        await_file(session, message, kind="voice", name="", source="f", size=7, limit=100, now=now)
        for reason in ("too_large", "gone", "kind", "empty", "failed", "blocked"):
            refuse_file(session, message, kind="document", name="<b>x</b>.exe", reason=reason, now=now)
    client = lite.client("wang")
    client.post("/desk/language", data={"language": language})
    for address in (f"/desk?conversation={conversation}", f"/desk/parts/conversations/{conversation}"):
        page = client.get(address).text
        assert f'<img src="/desk/attachments/{photo}"' in page and page.count("<img ") == 1
        assert f'href="/desk/attachments/{paper}"' in page and "发票.pdf" in page
        assert "31.23000, 121.47000" in page and "Ann +8613800138000" in page
        assert re.search(r'href="https://www.openstreetmap.org/[^"]*" target="_blank" rel="noopener noreferrer"', page)
        assert "onerror=alert(1)>" not in page and "<b>x</b>" not in page and "style=" not in page
        assert all(words in page for words in WHY[language])


def test_the_console_reads_them_too_and_masks_a_contact_by_role(lite: Desk, tmp_path: Path) -> None:
    conversation = lite.escalated("a", assignee="wang")
    token = sent(lite, conversation, tmp_path)
    with lite.store.write() as session:
        keep_words(session, last(session, conversation), kind="contact", name="Ann 13800138000", now=lite.clock())
    lead, manager = (lite.client(login).get(f"/manage/logs/{conversation}").text for login in ("zhang", "ling"))
    assert token in lead and token in manager
    assert "13800138000" in manager and "13800138000" not in lead


def test_the_api_names_them(lite: Desk, tmp_path: Path) -> None:
    conversation = lite.escalated("a", assignee="wang")
    token = sent(lite, conversation, tmp_path)
    (message,) = [each for each in lite.client("wang").get(f"/api/conversations/{conversation}").json()["messages"]
                  if each["author"] == "customer"]
    assert message["attachments"] == [{
        "kind": "photo", "name": "lamp.png", "size": len(PNG), "state": "kept", "reason": None, "image": True,
        "url": f"/desk/attachments/{token}", "latitude": None, "longitude": None}]
    with lite.store.read() as session:
        assert session.execute(select(Attachment.token)).scalar_one() == token

"""Telegram's files: each is fetched once and kept whole, or the desk reads why not."""
from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from telegram import Bot
from telegram.error import BadRequest
from telegram.request import HTTPXRequest

from bench.telegram_double import Double, Fault, make_app
from crm_store.attachment_files import AttachmentFiles
from crm_store.models import Attachment, ChannelIdentity, Message
from crm_store.services.attachments import GONE_AFTER, LEASE, MOST_ATTEMPTS, claim_file, forget_attachments
from gateway import channel_files
from gateway.telegram_words import words
from tests.gateway.conftest import BotDouble, Records, Threaded
from tests.gateway.telegram_bench import BOT, CHAT, TOKEN, Bench, telegram_bench

pytestmark = pytest.mark.anyio

PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 40
PDF = b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n%%EOF\n"


@pytest.fixture
def double() -> Double:
    return Double()


@pytest.fixture
def served(double: Double) -> Iterator[Threaded]:
    server = Threaded(make_app(double))
    yield server
    server.stop()


@pytest.fixture
def files(tmp_path: Path) -> AttachmentFiles:
    return AttachmentFiles(tmp_path / "attachments")


async def fetch_files(bench: Bench) -> None:
    await bench.telegram.files.look()
    await bench.telegram.files.idle()


def on_disk(tmp_path: Path) -> list[bytes]:
    return [path.read_bytes() for path in sorted((tmp_path / "attachments").glob("*/*"))]


async def test_a_photo_is_stored_with_its_message_and_fetched_after(
        records: Records, bot: BotDouble, served: Threaded, double: Double, files: AttachmentFiles,
        tmp_path: Path) -> None:
    async with telegram_bench(records, bot, served, double, files=files) as bench:
        small, large = double.file(b"small", width=90, height=90), double.file(PNG, width=800, height=800)
        double.say(BOT, CHAT, None, photo=[small, large], caption="灯坏了")
        await bench.fetch()
        waiting = records.one(Attachment)
        assert (waiting.state, waiting.kind, waiting.sha256) == ("waiting", "photo", None)
        assert waiting.message_id == records.one(Message, Message.direction == "incoming").id
        assert waiting.identity_id == records.one(ChannelIdentity).id
        await fetch_files(bench)
    kept = records.one(Attachment)
    assert (kept.state, kept.media_type, kept.size, kept.name) == ("kept", "image/png", len(PNG), "photo.png")
    assert on_disk(tmp_path) == [PNG]
    assert files.path_of(kept.token).read_bytes() == PNG  # type: ignore[union-attr]


async def only(bench: Bench, **content: Any) -> None:
    """One message comes, and its file is fetched if it can be."""
    bench.double.say(BOT, CHAT, None, **content)
    await bench.fetch()
    await fetch_files(bench)


def of(kind: str, double: Double) -> dict[str, Any]:
    """What a message of a kind holds."""
    contents = {"document": PDF, "voice": b"OggS" + bytes(60), "audio": b"ID3\x04" + bytes(60),
                "video": bytes(4) + b"ftypmp42" + bytes(60), "sticker": b"RIFF\x1a\x00\x00\x00WEBPVP8 " + bytes(60)}
    contents["video_note"] = contents["animation"] = contents["video"]
    more = {"document": {"file_name": "发票 2026.pdf", "mime_type": "text/html"}, "sticker": {"emoji": "👍"}}
    return {kind: double.file(contents[kind], **more.get(kind, {}))}


async def test_each_kind_is_kept_under_its_checked_type(
        sqlite_records: Records, bot: BotDouble, served: Threaded, double: Double, files: AttachmentFiles) -> None:
    kinds = ("document", "voice", "audio", "video", "video_note", "animation", "sticker")
    async with telegram_bench(sqlite_records, bot, served, double, files=files) as bench:
        for kind in kinds:
            double.say(BOT, CHAT, None, **of(kind, double))
        await bench.fetch()
        while any(each.state == "waiting" for each in sqlite_records.all(Attachment)):
            await fetch_files(bench)
    kept = sqlite_records.all(Attachment)
    assert [(each.state, each.kind, each.media_type, each.name) for each in kept] == [
        ("kept", "document", "application/pdf", "发票 2026.pdf"), ("kept", "voice", "audio/ogg", "voice.ogg"),
        ("kept", "audio", "audio/mpeg", "audio.mp3"), ("kept", "video", "video/mp4", "video.mp4"),
        ("kept", "video", "video/mp4", "video.mp4"), ("kept", "animation", "video/mp4", "animation.mp4"),
        ("kept", "sticker", "image/webp", "👍.webp")]


async def test_places_contacts_and_moving_stickers_need_no_file(
        sqlite_records: Records, bot: BotDouble, served: Threaded, double: Double) -> None:
    async with telegram_bench(sqlite_records, bot, served, double) as bench:
        await only(bench, location={"latitude": 31.23, "longitude": 121.47})
        await only(bench, venue={"location": {"latitude": -1, "longitude": 2}, "title": "Shop"}, location={"x": 1})
        await only(bench, contact={"first_name": "Ann", "phone_number": "+8613800138000"})
        await only(bench, sticker={"file_id": "a", "is_animated": True, "emoji": "👍"})
        await only(bench, location={"latitude": 91, "longitude": "x"})
    assert [(each.state, each.kind, each.name, each.latitude, each.longitude)
            for each in sqlite_records.all(Attachment)] == [
        ("kept", "location", "location", 31.23, 121.47), ("kept", "location", "Shop", -1.0, 2.0),
        ("kept", "contact", "Ann +8613800138000", None, None), ("kept", "sticker", "👍", None, None),
        ("kept", "location", "location", None, None)]
    assert "getFile" not in {call[1] for call in double.calls}


async def test_an_album_and_a_repeated_update_keep_each_file_once(
        sqlite_records: Records, bot: BotDouble, served: Threaded, double: Double, files: AttachmentFiles,
        tmp_path: Path) -> None:
    async with telegram_bench(sqlite_records, bot, served, double, files=files) as bench:
        first = double.say(BOT, CHAT, None, photo=[double.file(PNG)], media_group_id="7")
        double.say(BOT, CHAT, None, photo=[double.file(PNG)], media_group_id="7")
        await bench.fetch()
        double.again(BOT, first)
        await bench.fetch()
        await fetch_files(bench)
        await fetch_files(bench)
        await bench.deliver()
    assert len(sqlite_records.all(Attachment, Attachment.state == "kept")) == 2 == len(on_disk(tmp_path))
    assert bench.texts() == [words("not_readable", "zh", kind="图片")]


async def test_what_cannot_be_kept_is_refused_with_the_reason(
        sqlite_records: Records, bot: BotDouble, served: Threaded, double: Double, files: AttachmentFiles,
        tmp_path: Path) -> None:
    lying = {**double.file(bytes(70_000)), "file_size": 10}
    async with telegram_bench(sqlite_records, bot, served, double, files=files, max_attachment=65_536) as bench:
        await only(bench, document=double.file(bytes(70_000)))
        await only(bench, document=lying)
        await only(bench, document=double.file(b""))
        await only(bench, document=double.file(b"<svg onload=alert(1)>", file_name="a.svg"))
        await only(bench, document=double.file(b"MZ" + bytes(100), file_name="a.exe"))
        await only(bench, document={"file_id": "x" * 300})
        await only(bench, document={"file_id": 7})
        await bench.deliver()
    assert [each.reason for each in sqlite_records.all(Attachment, Attachment.state == "refused")] == [
        "too_large", "too_large", "empty", "kind", "kind", "gone", "gone"]
    assert on_disk(tmp_path) == []
    too_large, not_kept = words("too_large", "zh", kind="文件", limit=0), words("not_kept", "zh", kind="文件")
    told = bench.texts()
    assert told[0] == too_large and told.count(too_large) == 2, "what was only found out later is said too"
    assert told.count(not_kept) == 3 and told[-1] == words("not_readable", "zh", kind="文件")


async def test_telegrams_own_limit_is_a_reason_too(
        sqlite_records: Records, bot: BotDouble, served: Threaded, double: Double, files: AttachmentFiles) -> None:
    big = {**double.file(bytes(20 * 1024 * 1024 + 1)), "file_size": None}
    async with telegram_bench(sqlite_records, bot, served, double, files=files, max_attachment=2**30) as bench:
        await only(bench, document=big)
    assert sqlite_records.one(Attachment).reason == "too_large"


@pytest.mark.parametrize("fault", [
    Fault("getFile", status=500), Fault("getFile", status=502, raw=b"<html>"), Fault("getFile", cut=True),
    Fault("getFile", raw=b"no json"), Fault("file", status=500), Fault("file", status=404), Fault("file", cut=True),
    Fault("getFile", status=400), Fault("file", delay=1.5)], ids=repr)
async def test_a_fault_is_made_good_for_later(
        sqlite_records: Records, bot: BotDouble, served: Threaded, double: Double, files: AttachmentFiles,
        tmp_path: Path, fault: Fault) -> None:
    async with telegram_bench(sqlite_records, bot, served, double, files=files, timeout=0.5) as bench:
        double.faults.append(Fault(**{**vars(fault), "result": None}))
        await only(bench, document=double.file(PDF))
        waiting = sqlite_records.one(Attachment)
        assert (waiting.state, waiting.attempts) == ("waiting", 1) and on_disk(tmp_path) == []
        await fetch_files(bench)
        assert sqlite_records.one(Attachment).attempts == 1  # not before its time
        sqlite_records.clock.advance(seconds=5)
        await fetch_files(bench)
    assert sqlite_records.one(Attachment).state == "kept" and on_disk(tmp_path) == [PDF]


@pytest.mark.parametrize("method", ["getFile", "file"])
async def test_a_wait_that_telegram_asks_for_is_kept_and_costs_no_attempt(
        sqlite_records: Records, bot: BotDouble, served: Threaded, double: Double, files: AttachmentFiles,
        method: str) -> None:
    async with telegram_bench(sqlite_records, bot, served, double, files=files) as bench:
        double.faults.append(Fault(method, status=429, retry_after=40))
        await only(bench, document=double.file(PDF))
        waiting = sqlite_records.one(Attachment)
        assert waiting.attempts == 0
        assert (waiting.next_attempt_at - sqlite_records.clock()).total_seconds() == 40
        sqlite_records.clock.advance(seconds=40)
        await fetch_files(bench)
    assert sqlite_records.one(Attachment).state == "kept"


@pytest.mark.parametrize(("fault", "attempts", "reason"), [
    ({"method": "file", "status": 404}, GONE_AFTER, "gone"), ({"method": "getFile", "status": 400}, GONE_AFTER, "gone"),
    ({"method": "file", "status": 500}, MOST_ATTEMPTS, "failed")])
async def test_it_is_given_up_in_the_end(
        sqlite_records: Records, bot: BotDouble, served: Threaded, double: Double, files: AttachmentFiles,
        fault: dict[str, Any], attempts: int, reason: str) -> None:
    double.chance = lambda method: Fault(**fault) if method == fault["method"] else None
    async with telegram_bench(sqlite_records, bot, served, double, files=files) as bench:
        await only(bench, document=double.file(PDF))
        for _ in range(attempts - 1):
            assert sqlite_records.one(Attachment).state == "waiting"
            sqlite_records.clock.advance(minutes=15)
            await fetch_files(bench)
    assert (sqlite_records.one(Attachment).state, sqlite_records.one(Attachment).reason) == ("refused", reason)
    assert len([call for call in double.calls if call[1] == fault["method"]]) == attempts


async def test_a_process_that_dies_between_the_download_and_the_commit_loses_nothing(
        sqlite_records: Records, bot: BotDouble, served: Threaded, double: Double, files: AttachmentFiles,
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Killed(BaseException):
        pass

    def dying(*_: Any, **__: Any) -> bool:
        raise Killed

    async with telegram_bench(sqlite_records, bot, served, double, files=files) as bench:
        double.say(BOT, CHAT, None, document=double.file(PDF))
        await bench.fetch()
        with monkeypatch.context() as patched:
            patched.setattr(channel_files.attachments, "note_file", dying)
            await bench.telegram.files.look()
            (task,) = bench.telegram.files._fetching._tasks.values()
            with pytest.raises(Killed):
                await task
        assert sqlite_records.one(Attachment).state == "waiting" and on_disk(tmp_path) == [PDF]
    async with telegram_bench(sqlite_records, bot, served, double, files=files) as bench:
        await fetch_files(bench)
        assert sqlite_records.one(Attachment).state == "waiting"  # as long as the lease runs
        sqlite_records.clock.advance(seconds=LEASE.total_seconds())
        await fetch_files(bench)
    assert sqlite_records.one(Attachment).state == "kept" and on_disk(tmp_path) == [PDF]


async def test_two_processes_fetch_a_file_once(
        records: Records, bot: BotDouble, served: Threaded, double: Double, files: AttachmentFiles) -> None:
    async with telegram_bench(records, bot, served, double, files=files) as one, \
            telegram_bench(records, bot, served, double, files=files) as other:
        for _ in range(3):
            double.say(BOT, CHAT, None, document=double.file(PDF))
        await one.fetch()
        await asyncio.gather(fetch_files(one), fetch_files(other))
        await asyncio.gather(fetch_files(one), fetch_files(other))
    assert [each.state for each in records.all(Attachment)] == ["kept"] * 3
    assert len([call for call in double.calls if call[1] == "file"]) == 3


async def test_a_customer_who_is_forgotten_meanwhile_leaves_no_file(
        sqlite_records: Records, bot: BotDouble, served: Threaded, double: Double, files: AttachmentFiles,
        tmp_path: Path) -> None:
    async with telegram_bench(sqlite_records, bot, served, double, files=files) as bench:
        await only(bench, document=double.file(PDF))
        double.say(BOT, CHAT, None, document=double.file(PDF))
        await bench.fetch()
        second = sqlite_records.one(Attachment, Attachment.state == "waiting")
        claimed = sqlite_records.do(claim_file, second.id, sqlite_records.clock())
        theirs = Attachment.identity_id == sqlite_records.one(ChannelIdentity).id
        _, places = sqlite_records.do(forget_attachments, theirs)
        files.delete(places)
        await bench.telegram.files._get(claimed)
    assert len(places) == 2 and sqlite_records.all(Attachment) == [] and on_disk(tmp_path) == []


async def test_a_bot_that_is_set_up_no_more_holds_up_nobody(
        sqlite_records: Records, bot: BotDouble, served: Threaded, double: Double, files: AttachmentFiles) -> None:
    async with telegram_bench(sqlite_records, bot, served, double, files=files) as bench:
        double.say(BOT, CHAT, None, document=double.file(PDF))
        await bench.fetch()
        bench.telegram.files._source_of = lambda address: None
        await fetch_files(bench)
    assert (sqlite_records.one(Attachment).attempts, sqlite_records.one(Attachment).state) == (1, "waiting")


async def test_a_full_disk_is_waited_for(
        sqlite_records: Records, bot: BotDouble, served: Threaded, double: Double, files: AttachmentFiles,
        monkeypatch: pytest.MonkeyPatch) -> None:
    async with telegram_bench(sqlite_records, bot, served, double, files=files) as bench:
        with monkeypatch.context() as patched:
            patched.setattr(AttachmentFiles, "room", lambda self: 1000)
            await only(bench, document=double.file(PDF))
        waiting = sqlite_records.one(Attachment)
        assert (waiting.state, waiting.attempts) == ("waiting", 0)
        assert not [call for call in double.calls if call[1] == "file"]
        sqlite_records.clock.advance(seconds=channel_files.FULL_SECONDS)
        await fetch_files(bench)
    assert sqlite_records.one(Attachment).state == "kept"


async def test_the_token_reaches_no_log(
        sqlite_records: Records, bot: BotDouble, served: Threaded, double: Double, files: AttachmentFiles,
        caplog: pytest.LogCaptureFixture) -> None:
    for name in ("httpx", "httpcore", "telegram"):
        logging.getLogger(name).setLevel(logging.WARNING)  # as warmline.logs does
    caplog.set_level(logging.DEBUG, logger="gateway")
    async with telegram_bench(sqlite_records, bot, served, double, files=files) as bench:
        for fault in (Fault("file", status=500), Fault("file", cut=True), Fault("getFile", status=500)):
            double.faults.append(fault)
            await only(bench, document=double.file(PDF))
            sqlite_records.clock.advance(minutes=20)
        served.stop()
        await fetch_files(bench)
    told = "\n".join([*(record.getMessage() for record in caplog.records), caplog.text])
    assert "not fetched" in told and TOKEN.partition(":")[2] not in told


async def test_the_double_hands_files_to_telegrams_own_client(served: Threaded, double: Double) -> None:
    requests = [HTTPXRequest(read_timeout=5.0, httpx_kwargs={"trust_env": False}) for _ in range(2)]
    async with Bot(TOKEN, base_url=f"{served.base}/bot", base_file_url=f"{served.base}/file/bot", request=requests[0],
                   get_updates_request=requests[1]) as client:
        found = await client.get_file(double.file(PDF)["file_id"])
        assert found.file_size == len(PDF) and await found.download_as_bytearray() == PDF
        with pytest.raises(BadRequest, match="file_id"):
            await client.get_file("nothing")
        double.files["big"] = bytes(20 * 1024 * 1024 + 1)
        with pytest.raises(BadRequest, match="too big"):
            await client.get_file("big")


async def test_a_file_from_the_phone_of_the_double_comes_to_the_desk(
        sqlite_records: Records, bot: BotDouble, served: Threaded, double: Double, files: AttachmentFiles) -> None:
    async with telegram_bench(sqlite_records, bot, served, double, files=files) as bench:
        asked = {"bot": str(BOT), "chat": str(CHAT), "name": "账单.pdf", "caption": "这是账单"}
        async with httpx.AsyncClient(base_url=served.base, trust_env=False) as phone:
            refused = await phone.post("/phone/upload", params=asked, data={"file": "x"})  # as a page elsewhere could
            assert refused.status_code == 415
            for content in (PDF, PNG):
                sent = await phone.post("/phone/upload", params=asked, content=content,
                                        headers={"Content-Type": "application/octet-stream"})
                assert sent.status_code == 200
            for kind in ("photo", "voice", "document", "sticker", "location"):
                await phone.post("/phone/do", json={"bot": BOT, "chat": CHAT, "do": "send", "kind": kind})
            shown = (await phone.get("/phone/chat", params={"bot": BOT, "chat": CHAT})).json()["messages"]
            photo = shown[1]["photo"][0]["file_id"]
            assert (await phone.get("/phone/file", params={"id": photo})).content == PNG
        await bench.fetch()
        while any(each.state == "waiting" for each in sqlite_records.all(Attachment)):
            await fetch_files(bench)
    assert [(each.state, each.name) for each in sqlite_records.all(Attachment)] == [
        ("kept", "账单.pdf"), ("kept", "photo.png"), ("kept", "photo.png"), ("kept", "voice.ogg"),
        ("kept", "invoice.pdf"), ("kept", "👍.webp"), ("kept", "location")]

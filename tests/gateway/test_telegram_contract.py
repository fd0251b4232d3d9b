"""What we ask Telegram for, and what the double answers and sends, has the shapes that the Bot API publishes."""
from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from typing import Any

import httpx
import pytest
from telegram import InlineKeyboardButton, InlineKeyboardMarkup, Update

from bench.telegram_double import Double, Fault, make_app
from crm_store.services.delivery import Parcel
from gateway.channel import Sent
from gateway.telegram_client import TelegramAdapter, TelegramBotClient, address_of
from tests.gateway.bot_api import METHODS, OBJECTS, wrong_call, wrong_error, wrong_result, wrong_value
from tests.gateway.conftest import Threaded
from tests.gateway.test_telegram_double import client

pytestmark = pytest.mark.anyio
TOKEN, BOT, CHAT, GROUP = "700000001:the-token-of-the-double", 700000001, 1001, -2002
Message = MutableMapping[str, Any]


class Recorder:
    """Passes everything on to the double and keeps what it answered."""

    def __init__(self, double: Double) -> None:
        self._app = make_app(double)
        self.answers: list[tuple[str, int, Any]] = []

    async def __call__(self, scope: Message, receive: Callable[[], Awaitable[Message]],
                       send: Callable[[Message], Awaitable[None]]) -> None:
        status, body = 0, b""

        async def kept(message: Message) -> None:
            nonlocal status, body
            status = message.get("status", status)
            body += message.get("body", b"")
            await send(message)

        await self._app(scope, receive, kept)
        if scope["type"] == "http" and scope["path"].startswith("/bot"):
            self.answers.append((scope["path"].rpartition("/")[2], status, json.loads(body)))


@pytest.fixture
def double() -> Double:
    return Double()


@pytest.fixture
def recorder(double: Double) -> Recorder:
    return Recorder(double)


@pytest.fixture
def served(recorder: Recorder) -> Iterator[Threaded]:
    server = Threaded(recorder)
    yield server
    server.stop()


def everything_that_is_wrong(double: Double, recorder: Recorder) -> list[str]:
    """In every call that came and every answer that went."""
    found = [each for _, method, asked in double.calls if method != "file" for each in wrong_call(method, asked)]
    for method, status, answer in recorder.answers:
        found += wrong_result(method, answer["result"]) if status == 200 else wrong_error(answer, status)
    return found


class Bytes:
    """Where a download goes."""

    def __init__(self) -> None:
        self.content = b""

    def write(self, part: bytes) -> None:
        self.content += part


async def test_our_client_asks_and_is_answered_in_the_published_shapes(double: Double, recorder: Recorder,
                                                                        served: Threaded) -> None:
    ours = TelegramBotClient(TOKEN, served.base)
    await ours.delete_webhook()
    await ours.set_commands()
    double.say(BOT, CHAT, "hi")
    double.say(BOT, GROUP, "hi", chat_type="group")
    photo = double.file(b"a photo", width=9, height=9)
    double.say(BOT, CHAT, None, photo=[photo])
    updates = await ours.updates(0, timeout=0)
    assert len(updates) == 3
    parcel = Parcel(message_id=1, attempt=1, conversation_id=1, identity_id=1, channel="telegram",
                    address=address_of(BOT, CHAT), text="Shall I?", buttons=[{"title": "Yes", "payload": "/y"}],
                    agent_name="Ann", language="en", pieces_sent=0, doubtful=True)
    sent = await TelegramAdapter({BOT: ours}).send(parcel, "Shall I?", last=True)
    assert isinstance(sent, Sent)
    double.press(BOT, CHAT, int(sent.channel_id or 0), "b:1:0")
    (pressed,) = await ours.updates(updates[-1]["update_id"] + 1, timeout=0)
    await ours.answer(pressed["callback_query"]["id"], "done")
    await ours.drop_buttons(CHAT, int(sent.channel_id or 0))
    await ours.typing(CHAT)
    await ours.leave(GROUP)
    kept = Bytes()
    await ours.download(photo["file_id"], kept)  # type: ignore[arg-type]
    assert kept.content == b"a photo"
    await ours.set_webhook("https://desk.example.com/hook", "a-secret")
    assert await ours.webhook_url() == "https://desk.example.com/hook"
    await ours.close()
    assert everything_that_is_wrong(double, recorder) == []
    asked = {method for _, method, _ in double.calls}
    assert asked - {"file"} == set(METHODS) - {"getMe"}  # which the library asks when it is initialised


async def test_the_library_asks_and_is_answered_in_the_published_shapes(double: Double, recorder: Recorder,
                                                                         served: Threaded) -> None:
    async with client(served, TOKEN) as bot:
        double.say(BOT, CHAT, "hi")
        keyboard = InlineKeyboardMarkup([[InlineKeyboardButton("Yes", callback_data="b:1:0")]])
        sent = await bot.send_message(CHAT, "Shall I?", reply_markup=keyboard)
        double.press(BOT, CHAT, sent.message_id, "b:1:0")
        query = (await bot.get_updates())[-1].callback_query
        assert await query.answer("done") and await bot.send_chat_action(CHAT, "typing")
        assert (await sent.edit_reply_markup()).reply_markup is None  # type: ignore[union-attr]
        assert (await bot.get_file(double.file(b"a file")["file_id"])).file_size == 6
        assert await bot.set_my_commands([("start", "Start")], language_code="zh") and await bot.leave_chat(CHAT)
        assert await bot.set_webhook("https://desk.example.com/hook", max_connections=1, secret_token="a-secret")
        assert (await bot.get_webhook_info()).url and await bot.delete_webhook()
    assert everything_that_is_wrong(double, recorder) == []
    assert {method for method, _, _ in recorder.answers} == set(METHODS)


async def test_every_update_of_the_double_has_the_published_shape(double: Double) -> None:
    double.bot(TOKEN)
    file = {"file_id": "a", "file_unique_id": "a"}
    said = [
        double.say(BOT, CHAT, "hi"), double.say(BOT, GROUP, "/start", chat_type="supergroup"),
        double.say(BOT, CHAT, None, photo=[double.file(b"x", width=1, height=1)], caption="look"),
        double.say(BOT, CHAT, None, document=double.file(b"x", file_name="a.pdf", mime_type="application/pdf")),
        double.say(BOT, CHAT, None, voice={**file, "duration": 3}),
        double.say(BOT, CHAT, None, location={"latitude": 31.23, "longitude": 121.47}),
        double.block(BOT, CHAT), double.block(BOT, CHAT, blocked=False),
        double.press(BOT, CHAT, 1, "b:1:0"), double.press(BOT, CHAT, 999, "b:1:0"),
    ]
    said.append(double.edit(BOT, CHAT, said[0]["message"]["message_id"], "hello"))
    for update in said:
        assert wrong_value("update", update, "Update") == []
        assert Update.de_json(update, None).to_dict()["update_id"] == update["update_id"]


async def test_what_the_phone_sends_has_the_published_shape(double: Double, recorder: Recorder,
                                                            served: Threaded) -> None:
    double.bot(TOKEN)
    async with httpx.AsyncClient(base_url=served.base, trust_env=False) as phone:
        for kind in ("photo", "voice", "document", "sticker", "location"):
            done = await phone.post("/phone/do", json={"bot": BOT, "chat": CHAT, "do": "send", "kind": kind})
            assert done.status_code == 200
    assert len(double.bots[BOT].updates) == 5
    for update in double.bots[BOT].updates:
        assert wrong_value("update", update, "Update") == []


@pytest.mark.parametrize("fault", [
    Fault("sendMessage", 429, retry_after=7), Fault("sendMessage", 500), Fault("sendMessage", 504),
    Fault("sendMessage", 403)])
async def test_every_refusal_has_the_published_shape(double: Double, recorder: Recorder, served: Threaded,
                                                     fault: Fault) -> None:
    double.faults = [fault]
    async with httpx.AsyncClient(base_url=served.base, trust_env=False) as caller:
        for method, asked in (("sendMessage", {"chat_id": CHAT, "text": "hi"}),
                              ("sendMessage", {"chat_id": CHAT, "text": "hi"}), ("getFile", {"file_id": "none"}),
                              ("answerCallbackQuery", {"callback_query_id": "none"}), ("nothing", {})):
            await caller.post(f"/bot{TOKEN}/{method}", json=asked)
        await caller.post("/botnothing/getMe")
    refused = [(status, answer) for _, status, answer in recorder.answers]
    assert [status for status, _ in refused] == [fault.status, 400, 400, 400, 404, 404]
    assert [wrong_error(answer, status) for status, answer in refused] == [[]] * 6


def test_the_check_finds_what_is_wrong() -> None:
    message = {"message_id": 1, "date": 1, "chat": {"id": 1, "type": "private"}, "text": "hi"}
    assert wrong_value("m", message, "Message") == []
    assert wrong_value("m", {**message, "message_id": "1"}, "Message") == ["m.message_id: '1' is no Integer"]
    assert wrong_value("m", {**message, "sender": {}}, "Message") == ["m: there is no sender"]
    assert wrong_value("m", {"message_id": 1, "date": 1}, "Message") == ["m: chat is missing"]
    assert wrong_value("m", {**message, "photo": [{"file_id": "a"}]}, "Message")[0].startswith("m.photo[0]: ")
    assert wrong_call("sendMessage", {"chat_id": "5", "text": "5"}) == []
    assert wrong_call("sendMessage", {"text": "x", "buttons": "[]"}) == [
        "sendMessage: chat_id is missing", "sendMessage: there is no buttons"]
    assert wrong_result("sendChatAction", {"ok": 1}) and wrong_error({"ok": True}, 400)
    assert all(name in OBJECTS for name in ("Update", "Message", "CallbackQuery", "ChatMemberUpdated"))

"""The double answers python-telegram-bot's own client as Telegram does."""
from __future__ import annotations

from collections.abc import Iterator

import anyio
import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from telegram import Bot, InlineKeyboardButton, InlineKeyboardMarkup
from telegram.error import BadRequest, Conflict, Forbidden, InvalidToken, NetworkError, RetryAfter, TimedOut
from telegram.request import HTTPXRequest

from bench.telegram_double import Double, Fault, make_app
from tests.gateway.conftest import Threaded

pytestmark = pytest.mark.anyio
TOKEN, BOT, CHAT = "700000001:the-token-of-the-double", 700000001, 1001


@pytest.fixture
def double() -> Double:
    return Double()


@pytest.fixture
def served(double: Double) -> Iterator[Threaded]:
    server = Threaded(make_app(double))
    yield server
    server.stop()


def client(served: Threaded, token: str = TOKEN, timeout: float = 5.0) -> Bot:
    requests = [HTTPXRequest(read_timeout=timeout, httpx_kwargs={"trust_env": False}) for _ in range(2)]
    return Bot(token, base_url=f"{served.base}/bot", request=requests[0], get_updates_request=requests[1])


async def test_updates_wait_until_they_are_acknowledged(served: Threaded, double: Double) -> None:
    async with client(served) as bot:
        assert bot.username == f"double_{BOT}_bot"
        double.say(BOT, CHAT, "你好")
        double.say(BOT, CHAT, None, photo=[{"file_id": "a", "file_unique_id": "a", "width": 1, "height": 1}])
        first = await bot.get_updates()
        assert [each.message.text for each in first] == ["你好", None] and first[1].message.photo[0].file_id == "a"
        assert [each.update_id for each in await bot.get_updates()] == [each.update_id for each in first]
        assert [each.update_id for each in await bot.get_updates(offset=first[1].update_id)] == [first[1].update_id]
        assert await bot.get_updates(offset=first[1].update_id + 1) == ()
        double.again(BOT, first[0].to_dict())
        assert [each.update_id for each in await bot.get_updates()] == [first[0].update_id]


async def test_a_bot_writes_with_buttons_that_are_pressed(served: Threaded, double: Double) -> None:
    async with client(served) as bot:
        double.say(BOT, CHAT, "hi")
        keyboard = InlineKeyboardMarkup([[InlineKeyboardButton("Yes", callback_data="b:1:0")]])
        sent = await bot.send_message(CHAT, "Shall I?", reply_markup=keyboard)
        assert sent.chat.id == CHAT and sent.reply_markup == keyboard
        double.press(BOT, CHAT, sent.message_id, "b:1:0")
        query = (await bot.get_updates())[-1].callback_query
        assert query.data == "b:1:0" and query.message.message_id == sent.message_id
        assert await bot.answer_callback_query(query.id, "done")
        assert double.answers == {query.id: "done"}
        with pytest.raises(BadRequest, match="Query is too old"):
            await bot.answer_callback_query(query.id)
        await bot.edit_message_reply_markup(CHAT, sent.message_id)
        with pytest.raises(BadRequest, match=r"(?i)not modified"):
            await bot.edit_message_reply_markup(CHAT, sent.message_id)
        assert await bot.send_chat_action(CHAT, "typing")


async def test_it_refuses_as_telegram_does(served: Threaded, double: Double) -> None:
    async with client(served) as bot:
        with pytest.raises(BadRequest, match=r"(?i)chat not found"):
            await bot.send_message(9, "hi")
        double.say(BOT, CHAT, "hi")
        with pytest.raises(BadRequest, match=r"(?i)too long"):
            await bot.send_message(CHAT, "😀" * 2049)
        with pytest.raises(BadRequest, match=r"(?i)text is empty"):
            await bot.send_message(CHAT, " ")
        with pytest.raises(BadRequest, match=r"(?i)BUTTON_DATA_INVALID"):
            await bot.send_message(CHAT, "hi", reply_markup=InlineKeyboardMarkup(
                [[InlineKeyboardButton("x", callback_data="好" * 22)]]))
        double.block(BOT, CHAT)
        with pytest.raises(Forbidden):
            await bot.send_message(CHAT, "hi")
        double.block(BOT, CHAT, blocked=False)
        assert double.texts(BOT, CHAT) == []
    with pytest.raises(InvalidToken):
        await client(served, "700000001:another-token-of-the-same-bot").initialize()


async def test_it_goes_wrong_as_it_is_told(served: Threaded, double: Double) -> None:
    async with client(served, timeout=0.3) as bot:
        double.say(BOT, CHAT, "hi")
        double.faults = [Fault("sendMessage", 429, retry_after=7), Fault("sendMessage", 500),
                         Fault("sendMessage", 502, raw=b"<html>"), Fault("sendMessage", delay=1.0)]
        with pytest.raises(RetryAfter):
            await bot.send_message(CHAT, "one")
        for _ in range(2):
            with pytest.raises(NetworkError):
                await bot.send_message(CHAT, "two")
        with pytest.raises(TimedOut):
            await bot.send_message(CHAT, "three")
        assert double.texts(BOT, CHAT) == ["three"]


async def test_a_webhook_is_posted_to_with_its_secret_until_it_answers(served: Threaded, double: Double) -> None:
    got: list[tuple[str | None, int]] = []

    async def hook(request: Request) -> Response:
        got.append((request.headers.get("x-telegram-bot-api-secret-token"), (await request.json())["update_id"]))
        return Response(status_code=500 if len(got) == 1 else 200)

    receiver = Threaded(Starlette(routes=[Route("/hook", hook, methods=["POST"])]))
    try:
        async with client(served) as bot:
            await bot.set_webhook(f"{receiver.base}/hook", secret_token="s3cret")
            with pytest.raises(Conflict):
                await bot.get_updates()
            updates = [double.say(BOT, CHAT, "one"), double.say(BOT, CHAT, "two")]
            with anyio.fail_after(20):
                while double.bots[BOT].updates:
                    await anyio.sleep(0.02)
            first, second = (each["update_id"] for each in updates)
            assert got == [("s3cret", first), ("s3cret", first), ("s3cret", second)]
            await bot.delete_webhook()
            assert (await bot.get_webhook_info()).url == "" and await bot.get_updates() == ()
    finally:
        receiver.stop()


def test_the_phone_shows_and_does(served: Threaded, double: Double) -> None:
    with httpx.Client(base_url=served.base, trust_env=False, follow_redirects=True) as phone:
        page = phone.get("/")
        assert page.status_code == 200 and "script-src 'self'" in page.headers["content-security-policy"]
        assert phone.get("/phone/static/phone.js").status_code == 200
        assert phone.post("/phone/do", json={"bot": BOT, "chat": CHAT, "do": "say", "text": "hi"}).status_code == 409
        double.bot(TOKEN)
        phone.post("/phone/do", json={"bot": BOT, "chat": CHAT, "do": "say", "text": "<b>hi</b>"})
        phone.post("/phone/do", json={"bot": BOT, "chat": CHAT, "do": "send", "kind": "sticker"})
        shown = phone.get("/phone/chat", params={"chat": CHAT}).json()
        assert shown["messages"][0]["text"] == "<b>hi</b>" and "sticker" in shown["messages"][1]
        assert phone.post("/phone/do", content="{}").status_code == 415

"""Telegram: what comes in is stored once and in order, whatever the network and strangers do."""
from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import select
from sqlalchemy.exc import DataError, NoResultFound

from bench.telegram_double import Double, Fault, make_app
from crm_store.models import ChannelIdentity, Conversation, Escalation, Message, TelegramBot, TelegramUpdate
from gateway.app import run_channels
from gateway.telegram import SECRET_HEADER, webhook_path, webhook_secret
from gateway.telegram_client import split_text
from gateway.telegram_updates import read_update
from gateway.telegram_words import WORDS, words
from tests.gateway.conftest import BotDouble, Records, Threaded
from tests.gateway.telegram_bench import BOT, CHAT, OTHER, OTHER_TOKEN, SECRET, TOKEN, Bench, telegram_bench

pytestmark = pytest.mark.anyio


@pytest.fixture
def double() -> Double:
    return Double()


@pytest.fixture
def served(double: Double) -> Iterator[Threaded]:
    server = Threaded(make_app(double))
    yield server
    server.stop()


def incoming(records: Records) -> list[str]:
    return [each.text for each in records.all(Message, Message.direction == "incoming")]


def notes(records: Records) -> list[str]:
    return [each.text for each in records.all(Message, Message.direction == "note")]


def updates_of(records: Records) -> list[str]:
    with records.store.read() as session:
        return list(session.execute(select(TelegramUpdate.kind).order_by(TelegramUpdate.update_id)).scalars())


def polled(records: Records) -> list[int]:
    with records.store.read() as session:
        return list(session.execute(select(TelegramBot.bot_id)).scalars())


async def test_a_message_is_answered(records: Records, bot: BotDouble, served: Threaded, double: Double) -> None:
    async with telegram_bench(records, bot, served, double) as bench:
        double.say(BOT, CHAT, "你好")
        await bench.turn()
    assert bench.texts() == ["re: 你好"]
    assert records.one(ChannelIdentity).external_id == f"{BOT}:{CHAT}"
    reply = records.one(Message, Message.direction == "outgoing")
    assert reply.delivery_state == "delivered" and reply.delivered_at == records.clock()
    assert (BOT, "sendChatAction") in [call[:2] for call in double.calls]


async def test_an_update_is_stored_before_it_is_acknowledged_and_never_twice(
        sqlite_records: Records, bot: BotDouble, served: Threaded, double: Double) -> None:
    records = sqlite_records
    async with telegram_bench(records, bot, served, double) as bench:
        first = double.say(BOT, CHAT, "one")
        await bench.fetch()
        assert double.bots[BOT].updates == [first]  # not acknowledged until the next is asked for
        double.again(BOT, first)
        double.say(BOT, CHAT, "two")
        await bench.turn()
        double.again(BOT, first)
        await bench.turn()
        await bench.turn()
    assert double.bots[BOT].updates == []
    assert incoming(records) == ["one", "two"] and bench.texts() == ["re: one", "re: two"]


async def test_a_restart_goes_on_where_it_stopped(sqlite_records: Records, bot: BotDouble, served: Threaded,
                                                  double: Double) -> None:
    async with telegram_bench(sqlite_records, bot, served, double) as bench:
        update = double.say(BOT, CHAT, "one")
        await bench.fetch()
    sqlite_records.clock.advance(minutes=5)
    double.say(BOT, CHAT, "two")
    async with telegram_bench(sqlite_records, bot, served, double) as bench:
        await bench.fetch()
        asked = [int(call[2]["offset"]) for call in double.calls if call[1] == "getUpdates"]
        assert asked == [0, update["update_id"] + 1]
        await bench.dispatcher.scan()
        await bench.dispatcher.idle()
        await bench.deliver()
    assert incoming(sqlite_records) == ["one", "two"] and bench.texts() == ["re: one", "re: two"]


async def test_after_a_quiet_week_lower_update_ids_are_not_lost(sqlite_records: Records, bot: BotDouble,
                                                                served: Threaded, double: Double) -> None:
    async with telegram_bench(sqlite_records, bot, served, double) as bench:
        double.say(BOT, CHAT, "one")
        await bench.turn()
        await bench.fetch()
        sqlite_records.clock.advance(days=8)
        double.bots[BOT].update_ids = iter([5, 6])
        double.say(BOT, CHAT, "two")
        await bench.turn()
        double.say(BOT, CHAT, "three")
        await bench.turn()
    assert incoming(sqlite_records) == ["one", "two", "three"]


async def test_only_one_process_polls_a_bot(sqlite_records: Records, bot: BotDouble, served: Threaded,
                                            double: Double) -> None:
    async with telegram_bench(sqlite_records, bot, served, double) as one, \
            telegram_bench(sqlite_records, bot, served, double) as other:
        await one.fetch()
        double.say(BOT, CHAT, "hi")
        await other.fetch()
        assert other.slept and incoming(sqlite_records) == []
        sqlite_records.clock.advance(minutes=2)  # the first one died
        await other.fetch()
        assert incoming(sqlite_records) == ["hi"]


async def test_two_bots_never_mix_their_customers(records: Records, bot: BotDouble, served: Threaded,
                                                  double: Double) -> None:
    async with telegram_bench(records, bot, served, double, tokens=(TOKEN, OTHER_TOKEN)) as bench:
        double.bots[OTHER].update_ids = iter(range(1000, 2000))  # the very same update and message ids
        double.say(BOT, CHAT, "to the first")
        double.say(OTHER, CHAT, "to the second")
        await bench.turn()
    assert bench.texts() == ["re: to the first"] and bench.texts(bot_id=OTHER) == ["re: to the second"]
    assert len(records.all(ChannelIdentity)) == len(records.all(Conversation)) == 2


async def test_a_button_of_another_bots_message_is_no_button(sqlite_records: Records, bot: BotDouble, served: Threaded,
                                                             double: Double) -> None:
    bot.answer = lambda body: [{"text": "which?", "buttons": [{"title": "Mine", "payload": "/mine"}]}]
    async with telegram_bench(sqlite_records, bot, served, double, tokens=(TOKEN, OTHER_TOKEN)) as bench:
        double.say(BOT, CHAT, "hi")
        double.say(OTHER, CHAT, "hi")
        await bench.turn()
        of_the_first = double.sent(BOT, CHAT)[0]["reply_markup"]["inline_keyboard"][0][0]["callback_data"]
        double.press(OTHER, CHAT, 2, of_the_first)
        await bench.turn()
    assert incoming(sqlite_records) == ["hi", "hi"]
    assert words("button_gone", "zh") in double.answers.values()


async def test_a_pressed_button_is_its_payload_and_rests(records: Records, bot: BotDouble, served: Threaded,
                                                         double: Double) -> None:
    payload = '/order_status{"order": "' + "N" * 200 + '"}'  # longer than Telegram's 64 bytes
    bot.answer = lambda body: [{"text": "which?", "buttons": [{"title": "第一单", "payload": payload}]}] \
        if body["text"] == "订单" else ["on its way"]
    async with telegram_bench(records, bot, served, double) as bench:
        double.say(BOT, CHAT, "订单")
        await bench.turn()
        question = double.sent(BOT, CHAT)[0]
        data = question["reply_markup"]["inline_keyboard"][0][0]["callback_data"]
        double.press(BOT, CHAT, question["message_id"], data)
        await bench.turn()
    pressed = records.all(Message, Message.direction == "incoming")[-1]
    assert (pressed.text, pressed.payload) == ("第一单", payload)
    assert bench.texts() == ["which?", "on its way"]
    assert "reply_markup" not in double.sent(BOT, CHAT)[0] and list(double.answers.values()) == [""]


async def test_what_was_never_offered_cannot_be_pressed(sqlite_records: Records, bot: BotDouble, served: Threaded,
                                                        double: Double) -> None:
    made_up = ["b:1:0", "b:999999:0", "b:1:99", "/mine", "b:-1:0", "x" * 64, "b:2:0"]
    async with telegram_bench(sqlite_records, bot, served, double) as bench:
        double.say(BOT, CHAT, "你好")
        await bench.turn()
        for data in made_up:
            double.press(BOT, CHAT, 2, data)
        await bench.turn()
    assert incoming(sqlite_records) == ["你好"]
    assert list(double.answers.values()) == [words("button_gone", "zh")] * len(made_up)


async def test_an_edit_changes_what_is_not_answered_yet(sqlite_records: Records, bot: BotDouble, served: Threaded,
                                                        double: Double) -> None:
    async with telegram_bench(sqlite_records, bot, served, double) as bench:
        bot.status = 503
        said = double.say(BOT, CHAT, "退货 1")
        await bench.fetch()
        await bench.dispatcher.idle()
        double.edit(BOT, CHAT, said["message"]["message_id"], "退货 2")
        await bench.fetch()
        await bench.dispatcher.idle()
        bot.status = 200
        sqlite_records.clock.advance(seconds=30)
        await bench.dispatcher.scan()
        await bench.dispatcher.idle()
        await bench.deliver()
    assert bench.texts() == ["re: 退货 2"]
    message = sqlite_records.one(Message, Message.direction == "incoming")
    assert message.text == "退货 2" and message.edited_at is not None
    assert notes(sqlite_records) == ["客户修改了消息，原文：「退货 1」"]


async def test_an_edit_of_what_was_answered_is_marked_and_not_answered_anew(
        records: Records, bot: BotDouble, served: Threaded, double: Double) -> None:
    async with telegram_bench(records, bot, served, double) as bench:
        said = double.say(BOT, CHAT, "one")
        await bench.turn()
        edit = double.edit(BOT, CHAT, said["message"]["message_id"], "uno")
        await bench.turn()
        double.again(BOT, edit)
        await bench.turn()
    assert bench.texts() == ["re: one"] and incoming(records) == ["uno"] and len(notes(records)) == 1


async def test_an_edit_that_overtakes_its_message_is_the_message(sqlite_records: Records, bot: BotDouble,
                                                                 served: Threaded, double: Double) -> None:
    async with telegram_bench(sqlite_records, bot, served, double) as bench:
        said = double.say(BOT, CHAT, "one")
        double.edit(BOT, CHAT, said["message"]["message_id"], "uno")
        first, edit = double.bots[BOT].updates
        assert await bench.telegram.take(BOT, edit, polled=False) == "edit"
        assert await bench.telegram.take(BOT, first, polled=False) == "text"
        await bench.dispatcher.idle()
        await bench.deliver()
    assert incoming(sqlite_records) == ["uno"] and bench.texts() == ["re: uno"]


@pytest.mark.parametrize(("command", "said"), [("/start", "welcome"), ("/help@double_bot", "help")])
@pytest.mark.parametrize(("code", "language"), [("zh-hans", "zh"), ("en", "en"), ("de", "en")])
async def test_commands_are_answered_by_the_channel(sqlite_records: Records, bot: BotDouble, served: Threaded,
                                                    double: Double, command: str, said: str, code: str,
                                                    language: str) -> None:
    async with telegram_bench(sqlite_records, bot, served, double) as bench:
        double.say(BOT, CHAT, command, language=code)
        await bench.turn()
    assert bench.texts() == [words(said, language, shop=bench.deps.shop_names[language])] and bot.knocks == []


async def test_human_hands_over_at_once(records: Records, bot: BotDouble, served: Threaded, double: Double) -> None:
    async with telegram_bench(records, bot, served, double) as bench:
        double.say(BOT, CHAT, "/human")
        await bench.turn()
        double.say(BOT, CHAT, "/human")
        await bench.turn()
    assert records.conversation().status == "open" and records.one(Escalation).reason == "asked"
    assert "工单号" in bench.texts()[0] and bench.texts()[-1] == words("with_a_person", "zh")


async def test_the_language_is_chosen_by_button(sqlite_records: Records, bot: BotDouble, served: Threaded,
                                                double: Double) -> None:
    async with telegram_bench(sqlite_records, bot, served, double) as bench:
        double.say(BOT, CHAT, "/language")
        await bench.turn()
        question = double.sent(BOT, CHAT)[-1]
        english = question["reply_markup"]["inline_keyboard"][1][0]
        assert english["text"] == "English"
        double.press(BOT, CHAT, question["message_id"], english["callback_data"])
        await bench.turn()
        double.say(BOT, CHAT, "/help")
        await bench.turn()
    assert bench.texts()[1:] == [words("language_chosen", "en"), words("help", "en")]
    assert sqlite_records.one(ChannelIdentity).language == "en" and bot.knocks == []


CONTENT: dict[str, Any] = {
    "photo": [{"file_id": "x"}], "document": {"file_id": "x"}, "voice": {"file_id": "x"},
    "video_note": {"file_id": "x"}, "sticker": {"file_id": "x"},
    "location": {"latitude": 1, "longitude": 2}, "contact": {"phone_number": "1"},
    "dice": {"value": 3}}


@pytest.mark.parametrize("language", ["zh", "en"])
async def test_what_cannot_be_read_is_said_politely_and_seen_at_the_desk(
        sqlite_records: Records, bot: BotDouble, served: Threaded, double: Double, language: str) -> None:
    async with telegram_bench(sqlite_records, bot, served, double) as bench:
        for kind, content in CONTENT.items():
            double.say(BOT, CHAT, None, language=language, **{kind: content})
        await bench.turn()
    names = [words({"video_note": "kind_video", "dice": "kind_other"}.get(kind, f"kind_{kind}"), language)
             for kind in CONTENT]
    assert bench.texts() == [words("not_readable", language, kind=name) for name in names]
    assert incoming(sqlite_records) == [f"[{name}]" for name in names] and bot.knocks == []


async def test_the_words_with_a_photo_are_answered_and_an_album_is_excused_once(
        sqlite_records: Records, bot: BotDouble, served: Threaded, double: Double) -> None:
    async with telegram_bench(sqlite_records, bot, served, double) as bench:
        double.say(BOT, CHAT, None, photo=[{"file_id": "x"}], caption="灯坏了", media_group_id="7")
        double.say(BOT, CHAT, None, photo=[{"file_id": "y"}], media_group_id="7")
        await bench.turn()
    assert incoming(sqlite_records) == ["灯坏了", "[图片]"]
    assert sorted(bench.texts()) == sorted([words("not_readable", "zh", kind="图片"), "re: 灯坏了"])
    assert notes(sqlite_records) == []


@pytest.mark.parametrize("kind", ["group", "supergroup"])
async def test_groups_are_declined_and_left(sqlite_records: Records, bot: BotDouble, served: Threaded, double: Double,
                                            kind: str) -> None:
    async with telegram_bench(sqlite_records, bot, served, double) as bench:
        double.say(BOT, -CHAT, "chatter", chat_type=kind)
        await bench.turn()
        assert bench.texts(-CHAT) == []
        double.say(BOT, -CHAT, "/start", chat_type=kind)
        await bench.turn()
    assert bench.texts(-CHAT) == [words("no_groups", "zh")] and (BOT, -CHAT) in double.left
    assert sqlite_records.all(Message) == [] and sqlite_records.all(ChannelIdentity) == []


async def test_a_long_text_is_cut_and_said_so(sqlite_records: Records, bot: BotDouble, served: Threaded,
                                              double: Double) -> None:
    async with telegram_bench(sqlite_records, bot, served, double) as bench:
        double.say(BOT, CHAT, "长" * 10_000)
        await bench.turn()
    assert incoming(sqlite_records) == ["长" * 4000]
    assert words("cut", "zh", limit="4,000") in bench.texts()


@pytest.mark.parametrize("text", ["a\x00b", "a\ud800b", "a\u202eb"])
async def test_what_cannot_be_stored_is_left_out(sqlite_records: Records, bot: BotDouble, served: Threaded,
                                                 double: Double, text: str) -> None:
    async with telegram_bench(sqlite_records, bot, served, double) as bench:
        double.bot(TOKEN)
        update = double.say(BOT, CHAT, text)
        double.bots[BOT].updates.clear()
        assert await bench.telegram.take(BOT, update, polled=False) == "text"
    assert incoming(sqlite_records) == ["ab"]


HOSTILE: list[Any] = [
    None, [], 7, "update", {}, {"update_id": "1"}, {"update_id": True}, {"update_id": -1}, {"update_id": 2**63},
    {"update_id": 1, "message": None}, {"update_id": 2, "message": {}},
    {"update_id": 3, "message": {"chat": {"id": 1}}},
    {"update_id": 4, "message": {"message_id": 1, "chat": {"id": "1001", "type": "private"}, "text": "x"}},
    {"update_id": 5, "message": {"message_id": 1, "chat": {"id": 1001, "type": "private"}, "text": {"a": 1}}},
    {"update_id": 6, "poll": {"id": "1"}}, {"update_id": 7, "inline_query": {"id": "1", "query": "x"}},
    {"update_id": 8, "channel_post": {"message_id": 1, "chat": {"id": -1, "type": "channel"}, "text": "/start"}},
    {"update_id": 9, "callback_query": {"id": "1", "data": "b:1:0"}},
    {"update_id": 10, "callback_query": {"id": 1, "data": 2, "message": 3}},
    {"update_id": 11, "edited_message": {"message_id": 1, "chat": {"id": 1001, "type": "private"}, "text": "x"}},
    {"update_id": 12, "edited_message": {"message_id": 1, "chat": {"id": 1001, "type": "private"}, "text": "x",
                                         "edit_date": 10**30}},
    {"update_id": 13, "my_chat_member": {"chat": {"id": 1001, "type": "private"}, "new_chat_member": []}},
    {"update_id": 14, "message": {"message_id": 2**70, "chat": {"id": 1001, "type": "private"}, "text": "x"}},
    {"update_id": 15, "message": {"message_id": 1, "chat": {"id": 1001, "type": "private"}, "text": "\u200b \u2060"}},
    {"update_id": 16, "a kind of tomorrow": {"x": 1}},
]


async def test_what_makes_no_sense_changes_nothing(sqlite_records: Records, bot: BotDouble, served: Threaded,
                                                   double: Double) -> None:
    async with telegram_bench(sqlite_records, bot, served, double) as bench:
        for update in HOSTILE:
            assert await bench.telegram.take(BOT, update, polled=True) in ("ignored", "attachment"), update
        await bench.telegram.idle()
    assert incoming(sqlite_records) == ["[内容]"]  # a message without anything that is known


@pytest.mark.parametrize("mistake", [RuntimeError("a mistake"), NoResultFound(), DataError("x", {}, Exception())],
                         ids=lambda mistake: type(mistake).__name__)
async def test_an_update_that_a_mistake_of_ours_cannot_store_keeps_nobody_waiting(
        sqlite_records: Records, bot: BotDouble, served: Threaded, double: Double, monkeypatch: pytest.MonkeyPatch,
        mistake: Exception) -> None:
    real = read_update

    def broken(update: Any) -> Any:
        if update["message"]["text"] == "break":
            raise mistake
        return real(update)

    monkeypatch.setattr("gateway.telegram_inbox.read_update", broken)
    async with telegram_bench(sqlite_records, bot, served, double) as bench:
        double.say(BOT, CHAT, "break")
        double.say(BOT, CHAT, "hi")
        await bench.turn()
    assert incoming(sqlite_records) == ["hi"]
    assert updates_of(sqlite_records) == ["failed", "text"]


async def test_whoever_blocks_the_bot_is_unreachable_until_they_write(records: Records, bot: BotDouble,
                                                                      served: Threaded, double: Double) -> None:
    async with telegram_bench(records, bot, served, double) as bench:
        double.say(BOT, CHAT, "你好")
        await bench.turn()
        double.block(BOT, CHAT)
        await bench.turn()
        assert records.one(ChannelIdentity).unreachable_since is not None and len(notes(records)) == 1
        double.block(BOT, CHAT, blocked=False)
        await bench.turn()
        assert records.one(ChannelIdentity).unreachable_since is None


async def hooked(bench: Bench, path: str, update: Any, **headers: str) -> int:
    app = FastAPI()
    app.include_router(bench.telegram.router())
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://desk.example") as client:
        answer = await client.post(path, json=update, headers=headers)
    return answer.status_code


@pytest.mark.parametrize("shown", [{}, {SECRET_HEADER: ""}, {SECRET_HEADER: SECRET}, {SECRET_HEADER: "x" * 300},
                                   {SECRET_HEADER: webhook_secret(SECRET, OTHER)}])
async def test_a_forged_update_is_refused(sqlite_records: Records, bot: BotDouble, served: Threaded, double: Double,
                                          shown: dict[str, str]) -> None:
    async with telegram_bench(sqlite_records, bot, served, double, tokens=(TOKEN, OTHER_TOKEN)) as bench:
        update = double.say(BOT, CHAT, "forged")
        assert await hooked(bench, webhook_path(BOT), update, **shown) == 403
    assert sqlite_records.all(Message) == [] and polled(sqlite_records) == []


@pytest.mark.parametrize("path", ["9", "0", "-1", "x", "700000001x", str(2**70)])
async def test_no_other_bot_has_a_webhook(sqlite_records: Records, bot: BotDouble, served: Threaded, double: Double,
                                          path: str) -> None:
    async with telegram_bench(sqlite_records, bot, served, double) as bench:
        secret = {SECRET_HEADER: webhook_secret(SECRET, path)}
        assert await hooked(bench, f"/api/channels/telegram/{path}", {"update_id": 1}, **secret) == 403


async def test_a_webhook_stores_before_it_answers_and_a_replay_changes_nothing(
        records: Records, bot: BotDouble, served: Threaded, double: Double) -> None:
    async with telegram_bench(records, bot, served, double) as bench:
        update = double.say(BOT, CHAT, "hi")
        secret = {SECRET_HEADER: webhook_secret(SECRET, BOT)}
        answers = await asyncio.gather(*(hooked(bench, webhook_path(BOT), update, **secret) for _ in range(4)))
        assert answers == [204] * 4 and incoming(records) == ["hi"]
        await bench.dispatcher.idle()
        await bench.deliver()
    assert bench.texts() == ["re: hi"]


async def test_the_token_never_reaches_a_log(sqlite_records: Records, bot: BotDouble, served: Threaded, double: Double,
                                             caplog: pytest.LogCaptureFixture,
                                             capsys: pytest.CaptureFixture[str]) -> None:
    from warmline.logs import MaskingFormatter

    caplog.set_level(logging.DEBUG)
    secret_part = TOKEN.partition(":")[2]
    caplog.handler.setFormatter(MaskingFormatter("%(levelname)s %(name)s %(message)s"))
    double.faults = [Fault("sendMessage", 500), Fault("sendChatAction", 500), Fault("getUpdates", 500)]
    async with telegram_bench(sqlite_records, bot, served, double) as bench:
        double.say(BOT, CHAT, "hi")
        polling = asyncio.create_task(run_channels(bench.delivery, [bench.telegram]))
        while not double.sent(BOT, CHAT) and not polling.done():
            await asyncio.sleep(0.01)
            sqlite_records.clock.advance(seconds=1)
        polling.cancel()
        await asyncio.gather(polling, return_exceptions=True)
    assert "/sendMessage" in caplog.text and secret_part not in caplog.text
    assert secret_part not in repr(vars(bench.telegram)) and secret_part not in capsys.readouterr().out


@pytest.mark.parametrize(("text", "pieces"), [
    ("", [""]), ("a" * 4096, ["a" * 4096]), ("a" * 4097, ["a" * 4096, "a"]),
    ("😀" * 2049, ["😀" * 2048, "😀"]), ("a" * 4000 + "\n" + "b" * 200, ["a" * 4000, "b" * 200]),
    ("长" * 4000 + " " + "短" * 4000, ["长" * 4000, "短" * 4000]),
])
def test_a_long_reply_is_split(text: str, pieces: list[str]) -> None:
    assert split_text(text) == pieces


def test_every_word_is_there_in_both_languages() -> None:
    assert all(set(sentence) == {"zh", "en"} and all(sentence.values()) for sentence in WORDS.values())

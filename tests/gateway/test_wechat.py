"""WeChat: what comes in is genuine and stored once; what goes out arrives, or the desk sees why not."""
from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select
from wechatpy.utils import WeChatSigner

from bench.wechat_double import Fault, WechatDouble, make_app
from crm_store.models import Attachment, ChannelIdentity, Message, WechatPost
from crm_store.services.blocks import block_sender
from crm_store.services.handoff import escalate_conversation
from crm_store.wording import say
from gateway.channel import Sent
from gateway.wechat import PATH
from gateway.wechat_client import WechatClient
from gateway.wechat_envelope import Account
from gateway.wechat_posts import read_post
from gateway.wechat_words import WORDS, words
from tests.gateway.conftest import CALM, BotDouble, Records, Threaded
from tests.gateway.wechat_bench import (
    ACCOUNT,
    APP,
    OTHER_ACCOUNT,
    OTHER_APP,
    PERSON,
    PLAIN_ACCOUNT,
    Bench,
    wechat_bench,
)
from warmline.logs import MaskingFormatter

pytestmark = pytest.mark.anyio

PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 40
MP4 = b"\x00\x00\x00\x18ftypmp42\x00\x00\x00\x00mp42isom" + bytes(64)


@pytest.fixture
def double() -> WechatDouble:
    return WechatDouble()


@pytest.fixture
def served(double: WechatDouble) -> Iterator[Threaded]:
    server = Threaded(make_app(double))
    yield server
    server.stop()


def incoming(records: Records) -> list[str]:
    return [each.text for each in records.all(Message, Message.direction == "incoming")]


def notes(records: Records) -> list[str]:
    return [each.text for each in records.all(Message, Message.direction == "note")]


def outgoing(records: Records) -> list[tuple[str, str | None]]:
    return [(each.delivery_state, each.dropped_reason)
            for each in records.all(Message, Message.direction == "outgoing")]


def posts(records: Records) -> list[str]:
    with records.store.read() as session:
        return list(session.execute(select(WechatPost.post_key)).scalars())


def bought(double: WechatDouble) -> list[dict[str, Any]]:
    return [body for path, body in double.calls if path == "/cgi-bin/stable_token"]


async def test_a_message_is_answered(records: Records, bot: BotDouble, served: Threaded, double: WechatDouble) -> None:
    async with wechat_bench(records, bot, served, double) as bench:
        await bench.say("你好")
        assert incoming(records) == ["你好"]
        await bench.turn()
    assert bench.texts() == ["re: 你好"] and double.accounts[APP].typed == [PERSON]
    assert records.one(ChannelIdentity).external_id == f"{APP}:{PERSON}"
    reply = records.one(Message, Message.direction == "outgoing")
    assert reply.delivery_state == "delivered" and reply.delivered_at == records.clock()


async def test_the_same_post_again_is_one_message(records: Records, bot: BotDouble, served: Threaded,
                                                  double: WechatDouble) -> None:
    """WeChat posts again, sealed anew, when it gets no answer within five seconds."""
    async with wechat_bench(records, bot, served, double) as bench:
        posts = [double.posted(APP, PERSON, records.clock(), Content="你好", MsgId="77") for _ in range(3)]
        answers = await asyncio.gather(*(bench.post(*post) for post in posts))
        await bench.turn()
    assert [answer.text for answer in answers] == ["success"] * 3
    assert incoming(records) == ["你好"] and bench.texts() == ["re: 你好"]


async def test_it_is_acknowledged_while_the_bot_is_still_thinking(sqlite_records: Records, bot: BotDouble,
                                                                  served: Threaded, double: WechatDouble) -> None:
    thinking = threading.Event()
    bot.before = lambda body: thinking.wait(30) and None
    async with wechat_bench(sqlite_records, bot, served, double) as bench:
        await bench.say("你好")
        assert not thinking.is_set() and bench.texts() == []
        thinking.set()
        await bench.turn()
    assert bench.texts() == ["re: 你好"]


@pytest.mark.parametrize("account", [ACCOUNT, PLAIN_ACCOUNT])
async def test_the_address_is_proven_to_wechat_and_to_nobody_else(
        sqlite_records: Records, bot: BotDouble, served: Threaded, double: WechatDouble, account: Account) -> None:
    async with wechat_bench(sqlite_records, bot, served, double, accounts=(account,)) as bench:
        query, _ = double.signed(double.accounts[APP], "", str(int(sqlite_records.clock().timestamp())), "n")
        query = {name: query[name] for name in ("signature", "timestamp", "nonce")}
        answer = await bench.http.get(f"{PATH}/{APP}", params={**query, "echostr": "<b>5"})
        assert (answer.status_code, answer.text) == (200, "<b>5")
        assert answer.headers["content-type"].startswith("text/plain")
        assert answer.headers["x-content-type-options"] == "nosniff"
        for wrong in ({"signature": "0" * 40}, {"signature": ""}, {"signature": "é"}, {"nonce": "other"},
                      {"timestamp": "0"}, {"timestamp": "-1"}, {"timestamp": "9" * 30}, {"timestamp": "x"}):
            answer = await bench.http.get(f"{PATH}/{APP}", params={**query, **wrong, "echostr": "the echo"})
            assert answer.status_code == 403 and "the echo" not in answer.text
        assert (await bench.http.get(f"{PATH}/{OTHER_APP}", params=query)).status_code == 404


def forged(double: WechatDouble, records: Records) -> dict[str, tuple[dict[str, str], bytes]]:
    """Posts that are not what they claim, and why."""
    now, account = records.clock(), double.accounts[APP]
    query, body = double.posted(APP, PERSON, now, Content="forged")
    _, other = double.posted(APP, PERSON, now, Content="other")
    plain = double.signed(replace(account, aes_key=""), "<xml><MsgType>text</MsgType></xml>", query["timestamp"], "n")
    stranger = replace(account, app_id=OTHER_APP)
    wrong_key = replace(account, aes_key="c" * 43)
    return {
        "nothing at all": ({}, b""),
        "no signature": ({**query, "msg_signature": ""}, body),
        "a wrong signature": ({**query, "msg_signature": "0" * 40}, body),
        "the signature of another post": (query, other),
        "another nonce": ({**query, "nonce": "x"}, body),
        "not encrypted": plain,
        "of an hour ago": double.posted(APP, PERSON, now - timedelta(hours=1), Content="forged"),
        "of tomorrow": double.posted(APP, PERSON, now + timedelta(days=1), Content="forged"),
        "for another account": double.signed(stranger, "<xml/>", query["timestamp"], "n"),
        "with another key": double.signed(wrong_key, "<xml/>", query["timestamp"], "n"),
        "no base64": seal(account, "%%%", query["timestamp"]),
        "too short": seal(account, "AAAA", query["timestamp"]),
        "empty": seal(account, "", query["timestamp"]),
    }


def seal(account: Any, encrypted: str, timestamp: str) -> tuple[dict[str, str], bytes]:
    """Something that is no cipher text, signed as if it was."""
    signer = WeChatSigner()
    signer.add_data(account.token, timestamp, "n", encrypted)
    return ({"timestamp": timestamp, "nonce": "n", "msg_signature": signer.signature},
            f"<xml><Encrypt>{encrypted}</Encrypt></xml>".encode())


async def test_what_is_not_genuine_is_refused_and_stored_nowhere(
        sqlite_records: Records, bot: BotDouble, served: Threaded, double: WechatDouble) -> None:
    async with wechat_bench(sqlite_records, bot, served, double) as bench:
        answers = {why: (await bench.post(*post)).status_code for why, post in forged(double, sqlite_records).items()}
    assert answers == dict.fromkeys(answers, 403)
    assert incoming(sqlite_records) == [] and posts(sqlite_records) == []


async def test_without_encryption_a_signature_serves_for_one_text_only(
        sqlite_records: Records, bot: BotDouble, served: Threaded, double: WechatDouble) -> None:
    async with wechat_bench(sqlite_records, bot, served, double, accounts=(PLAIN_ACCOUNT,)) as bench:
        query, body = double.posted(APP, PERSON, sqlite_records.clock(), Content="你好")
        _, other = double.posted(APP, PERSON, sqlite_records.clock(), Content="forged")
        assert [(await bench.post(query, each)).status_code for each in (body, body, other, body)] == [
            200, 200, 403, 200]
        await bench.turn()
    assert incoming(sqlite_records) == ["你好"] and bench.texts() == ["re: 你好"]


STRANGE_XML = ["", "x", "<a/>", "<xml/>", "<xml>" + "<a>" * 5000, "<xml><MsgType>text</MsgType></xml>",
               "<xml>{0}<MsgType>text</MsgType><MsgType>text</MsgType><MsgId>1</MsgId></xml>",
               "<xml>{0}<MsgType>text</MsgType><Content>x</Content><MsgId>-1</MsgId></xml>",
               "<xml>{0}<MsgType>text</MsgType><Content>x</Content><MsgId>1&#10;2</MsgId></xml>",
               "<xml>{0}<MsgType>text</MsgType><Content><b>x</b></Content><MsgId>2</MsgId></xml>",
               "<xml>{0}<MsgType>text</MsgType><Content> &#9;&#8203; </Content><MsgId>3</MsgId></xml>",
               "<xml>{0}<MsgType>event</MsgType><Event>VIEW</Event><CreateTime>1</CreateTime></xml>",
               "<xml>{0}<MsgType>event</MsgType><Event>subscribe</Event><CreateTime>x</CreateTime></xml>",
               "<xml>{0}<MsgType>event</MsgType><Event>CLICK</Event><CreateTime>1</CreateTime></xml>",
               "<xml><FromUserName>o:o</FromUserName><MsgType>text</MsgType><Content>x</Content><MsgId>1</MsgId></xml>",
               "<!DOCTYPE x [<!ENTITY a 'b'>]><xml>{0}<MsgType>text</MsgType><Content>&a;</Content>"
               "<MsgId>4</MsgId></xml>",
               "<!DOCTYPE x [<!ENTITY a SYSTEM 'file:///etc/passwd'>]><xml>{0}<MsgType>text</MsgType>"
               "<Content>&a;</Content><MsgId>5</MsgId></xml>"]


async def test_what_makes_no_sense_is_taken_and_forgotten(sqlite_records: Records, bot: BotDouble, served: Threaded,
                                                          double: WechatDouble) -> None:
    """It would make no more sense the next time."""
    sender = f"<FromUserName>{PERSON}</FromUserName>"
    async with wechat_bench(sqlite_records, bot, served, double) as bench:
        at = str(int(sqlite_records.clock().timestamp()))
        for number, xml in enumerate(STRANGE_XML):
            post = double.signed(double.accounts[APP], xml.replace("{0}", sender), at, f"n{number}")
            assert (await bench.post(*post)).text == "success", xml
        too_large = await bench.post({}, b"<xml>" + b"x" * 200_000)
        assert too_large.status_code == 413
        await bench.turn()
    assert sqlite_records.all(ChannelIdentity) == [] and double.accounts[APP].sent == []


@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.dictionaries(st.sampled_from(["FromUserName", "MsgType", "MsgId", "Content", "Event", "EventKey",
                                        "CreateTime", "bizmsgmenuid", "MediaId", "Recognition", "Label", "Title"]),
                       st.none() | st.text(max_size=30) | st.sampled_from(["text", "event", "voice", "CLICK", "1"])
                       | st.lists(st.text(max_size=3), max_size=2) | st.dictionaries(st.text(max_size=3), st.none())))
def test_reading_trusts_no_field(content: dict[str, Any]) -> None:
    post = read_post({"FromUserName": PERSON, "CreateTime": "1", **content})
    assert post.kind in ("ignored", "text", "press", "attachment", "menu", "followed", "scanned", "left")
    assert post.kind == "ignored" or (post.key and all(ord(each) > 32 for each in post.key + post.sender))


@pytest.mark.parametrize("language", ["zh", "en"])
async def test_what_cannot_be_read_is_said_politely_and_seen_at_the_desk(
        sqlite_records: Records, bot: BotDouble, served: Threaded, double: WechatDouble, language: str) -> None:
    kinds = {"image": "photo", "video": "video", "shortvideo": "video", "file": "document", "hologram": "other"}
    bot.answer = lambda body: {"replies": [{"text": "hello", "buttons": []}], "understood": {
        "intent": "greet", "confidence": 0.9, "language": language, "sentiment": CALM, "entities": [], "articles": []}}
    async with wechat_bench(sqlite_records, bot, served, double) as bench:
        await bench.say("hi")
        await bench.turn()
        for kind in kinds:
            await bench.happen(kind, MediaId="media-1")
        await bench.happen("voice", MediaId="media-2")
        await bench.happen("location", Location_X="23.1", Location_Y="113.3", Label="广州塔 <b>")
        await bench.happen("link", Title="看看", Description="d", Url="https://example.com/?a=1&b=2")
        await bench.turn()
    names = [words(f"kind_{kind}", language) for kind in (*kinds.values(), "voice", "location", "link")]
    said = [f"[{name}]" for name in names[:-2]]
    assert incoming(sqlite_records)[1:] == [*said, f"[{names[-2]}] 广州塔 <b>",
                                            f"[{names[-1]}] 看看 https://example.com/?a=1&b=2"]
    excuses = [words("kept_unread", language, kind=name) for name in names]
    assert bench.texts()[1:] == [text for text, before in zip(excuses, ["", *excuses], strict=False) if text != before]
    assert len(bot.knocks) == 1 and notes(sqlite_records) == [words("note_unknown", language)]


async def test_what_was_said_by_voice_is_read_where_wechat_recognised_it(
        sqlite_records: Records, bot: BotDouble, served: Threaded, double: WechatDouble) -> None:
    async with wechat_bench(sqlite_records, bot, served, double) as bench:
        await bench.happen("voice", MediaId="m", Format="amr", Recognition="我的订单到哪了")
        await bench.turn()
    assert bench.texts() == ["re: 我的订单到哪了"] and notes(sqlite_records) == [words("note_voice", "zh")]


async def test_following_is_welcomed_once_and_leaving_is_seen(records: Records, bot: BotDouble, served: Threaded,
                                                              double: WechatDouble) -> None:
    async with wechat_bench(records, bot, served, double) as bench:
        for _ in range(2):
            await bench.happen("event", Event="subscribe", EventKey="qrscene_7")
        await bench.turn()
        assert bench.texts() == [words("welcome", "zh", shop=bench.deps.shop_names["zh"])] and bot.knocks == []
        records.clock.advance(seconds=1)
        left = double.posted(APP, PERSON, records.clock(), "event", Event="unsubscribe")
        assert (await bench.post(*left)).text == "success"
        await bench.happen("event", Event="unsubscribe", person="stranger")
        assert records.one(ChannelIdentity).unreachable_since == records.clock()
        assert len(notes(records)) == 1
        records.clock.advance(seconds=1)
        await bench.happen("event", Event="SCAN", EventKey="7")
        assert (await bench.post(*left)).text == "success"  # once more, overtaken
        assert records.one(ChannelIdentity).unreachable_since is None


async def test_a_key_of_the_accounts_menu_is_read_as_if_typed(sqlite_records: Records, bot: BotDouble,
                                                              served: Threaded, double: WechatDouble) -> None:
    async with wechat_bench(sqlite_records, bot, served, double) as bench:
        for _ in range(2):
            await bench.happen("event", Event="CLICK", EventKey="查订单")
        await bench.happen("event", Event="CLICK", EventKey="/request_human")
        await bench.turn()
    assert bench.texts() == ["re: 查订单", "re: /request_human"]
    assert {each["payload"] for each in bot.knocks} == {None}


async def test_a_long_text_is_cut_and_said_so(sqlite_records: Records, bot: BotDouble, served: Threaded,
                                              double: WechatDouble) -> None:
    async with wechat_bench(sqlite_records, bot, served, double) as bench:
        await bench.say("长" * 10_000)
        await bench.turn()
    assert incoming(sqlite_records) == ["长" * 4000] and words("cut", "zh", limit="4,000") in bench.texts()


async def test_while_a_human_has_the_conversation_nothing_is_excused_or_typed(
        sqlite_records: Records, bot: BotDouble, served: Threaded, double: WechatDouble) -> None:
    async with wechat_bench(sqlite_records, bot, served, double) as bench:
        await bench.say("你好")
        await bench.turn()
        sqlite_records.do(escalate_conversation, conversation_id=1, reason="asked", now=sqlite_records.clock())
        await bench.turn()
        said, typed = len(bench.texts()), len(double.accounts[APP].typed)
        await bench.happen("image", MediaId="m")
        await bench.say("在吗")
        await bench.turn()
    assert len(bench.texts()) == said and len(double.accounts[APP].typed) == typed


async def test_the_menu_makes_room_for_itself(sqlite_records: Records, bot: BotDouble, served: Threaded,
                                              double: WechatDouble) -> None:
    bot.answer = lambda body: [{"text": "长" * 680, "buttons": [{"title": "选" * 20, "payload": "/affirm"}]}]
    async with wechat_bench(sqlite_records, bot, served, double) as bench:
        await bench.say("你好")
        await bench.turn()
    assert bench.texts() == ["长" * 680, words("choose_one", "zh")]
    assert [each["msgtype"] for each in double.sent(APP, PERSON)] == ["text", "msgmenu"]


# What is sent besides words


async def fetch_files(bench: Bench) -> None:
    await bench.wechat.files.look()
    await bench.wechat.files.idle()


async def test_a_picture_is_stored_with_its_message_and_fetched_after(records: Records, bot: BotDouble,
                                                                      served: Threaded, double: WechatDouble) -> None:
    async with wechat_bench(records, bot, served, double) as bench:
        account = double.accounts[APP]
        account.media["m1"] = ("image/jpeg", PNG)  # whatever WeChat calls it, it is what it is
        account.media["m2"] = ("application/json", f'{{"video_url": "{served.base}/cgi-bin/media/get?access_token='
                               f'{await bench.clients[0].token()}&media_id=m3"}}'.encode())
        account.media["m3"] = ("video/mp4", MP4)
        await bench.happen("image", MediaId="m1", PicUrl="http://169.254.169.254/")
        await bench.happen("video", MediaId="m2")
        await bench.happen("location", Location_X="23.13", Location_Y="-113.3", Label="广州塔")
        assert [each.state for each in records.all(Attachment)] == ["waiting", "waiting", "kept"]
        await fetch_files(bench)
        kept = records.all(Attachment)
        assert [(each.state, each.kind, each.media_type, each.size) for each in kept[:2]] == [
            ("kept", "photo", "image/png", len(PNG)), ("kept", "video", "video/mp4", len(MP4))]
        assert (kept[2].kind, kept[2].latitude, kept[2].longitude) == ("location", 23.13, -113.3)
        path = bench.deps.files.path_of(kept[0].token)
        assert path is not None and path.read_bytes() == PNG


WAITING = ("waiting", None)
NO_PICTURES = {
    "elsewhere": (("application/json", b'{"video_url": "http://127.0.0.2/x"}'), WAITING),
    "local": (("application/json", b'{"video_url": "file:///etc/passwd"}'), WAITING),
    "nowhere": (("application/json", b'{"video_url": ""}'), WAITING),
    "list": (("application/json", b"[]"), WAITING), "words": (("text/plain", b"<html>"), WAITING),
    "markup": (("image/png", b"<svg onload=alert(1)>"), ("refused", "kind")),
    "empty": (("image/png", b""), ("refused", "empty")),
    "large": (("image/png", PNG * 1000), ("refused", "too_large")),
}


async def test_a_file_that_does_not_come_is_tried_again_or_refused(sqlite_records: Records, bot: BotDouble,
                                                                   served: Threaded, double: WechatDouble) -> None:
    async with wechat_bench(sqlite_records, bot, served, double, max_attachment=1_000_000) as bench:
        for media_id, (answer, _) in NO_PICTURES.items():
            double.accounts[APP].media[media_id] = answer
            await bench.happen("image", MediaId=media_id)
        for _ in range(3):
            await fetch_files(bench)
    became = {each.source: (each.state, each.reason) for each in sqlite_records.all(Attachment)}
    assert became == {media_id: state for media_id, (_, state) in NO_PICTURES.items()}


async def test_a_file_is_fetched_with_a_token_that_counts(sqlite_records: Records, bot: BotDouble, served: Threaded,
                                                          double: WechatDouble) -> None:
    async with wechat_bench(sqlite_records, bot, served, double) as bench:
        double.accounts[APP].media["m"] = ("image/png", PNG)
        for code, state in ((40001, "kept"), (40007, "waiting"), (45009, "waiting")):
            await bench.happen("image", MediaId="m")
            double.faults = [Fault("get", errcode=code)]
            await fetch_files(bench)
            assert sqlite_records.all(Attachment)[-1].state == state
            sqlite_records.clock.advance(hours=1)
            await fetch_files(bench)
    assert [each.state for each in sqlite_records.all(Attachment)] == ["kept"] * 3


async def test_who_is_blocked_is_kept_waiting_without_a_word(sqlite_records: Records, bot: BotDouble, served: Threaded,
                                                             double: WechatDouble) -> None:
    async with wechat_bench(sqlite_records, bot, served, double) as bench:
        await bench.say("你好")
        await bench.turn()
        sqlite_records.do(block_sender, 1, sqlite_records.agent(), reason="spam", until=None, everywhere=False,
                          now=sqlite_records.clock())
        await bench.say("在吗")
        await bench.turn()
        said = bench.texts()
        await bench.say("在吗？")
        await bench.happen("image", MediaId="m")
        await bench.happen("voice", MediaId="m", Recognition="在吗")
        await bench.happen("event", Event="SCAN", EventKey="7")
        await bench.turn()
    assert bench.texts() == said and len(bot.knocks) == 1
    assert {(each.state, each.reason) for each in sqlite_records.all(Attachment)} == {("refused", "blocked")}


# The access token


async def test_one_access_token_is_bought_however_many_need_it(sqlite_records: Records, bot: BotDouble,
                                                               served: Threaded, double: WechatDouble) -> None:
    async with wechat_bench(sqlite_records, bot, served, double) as one, \
            wechat_bench(sqlite_records, bot, served, double) as other:  # two processes
        tokens = await asyncio.gather(*(bench.clients[0].token() for bench in (one, other) for _ in range(10)))
        assert len(set(tokens)) == 1 and len(bought(double)) == 2
    assert all("secret" not in str(body) for path, body in double.calls if path != "/cgi-bin/stable_token")


async def test_an_access_token_is_renewed_before_it_ends(served: Threaded, double: WechatDouble) -> None:
    at = 0.0
    double.account(APP, ACCOUNT.secret, ACCOUNT.token, ACCOUNT.aes_key)
    client = WechatClient(ACCOUNT, served.base, monotonic=lambda: at)
    await client.token()
    at = 6800.0
    await client.token()
    assert len(bought(double)) == 1
    at = 6901.0
    await asyncio.gather(*(client.token() for _ in range(5)))
    assert len(bought(double)) == 2
    await client.close()


@pytest.mark.parametrize("code", [40001, 40014, 42001])
async def test_a_spent_access_token_is_renewed_once_and_the_messages_sent_again(
        served: Threaded, double: WechatDouble, code: int) -> None:
    double.account(APP, ACCOUNT.secret, ACCOUNT.token, ACCOUNT.aes_key)
    client = WechatClient(ACCOUNT, served.base)
    await client.token()
    double.accounts[APP].access_tokens[:] = ["what WeChat gives from now on"]
    double.faults = [Fault("send", errcode=code) for _ in range(3)]
    message = {"touser": PERSON, "msgtype": "text", "text": {"content": "hi"}}
    assert await asyncio.gather(*(client.send(message) for _ in range(3))) == [Sent()] * 3
    assert double.texts(APP, PERSON) == ["hi"] * 3 and [body["force_refresh"] for body in bought(double)] == [False] * 2
    await client.close()


async def test_the_very_token_that_is_refused_is_made_anew(sqlite_records: Records, bot: BotDouble, served: Threaded,
                                                           double: WechatDouble) -> None:
    async with wechat_bench(sqlite_records, bot, served, double) as bench:
        double.faults = [Fault("typing", errcode=45009), Fault("send", errcode=40001)]
        await bench.say("你好")
        await bench.turn()
    assert bench.texts() == ["re: 你好"]
    assert [body["force_refresh"] for body in bought(double)] == [False, False, True]


# What becomes of a message


async def answered(bench: Bench, person: str) -> None:
    """Somebody writes and the bot answers; nothing is delivered yet."""
    await bench.say("你好", person)
    await bench.wechat.idle()
    await bench.dispatcher.idle()


def became(records: Records, person: str) -> tuple[str, str | None]:
    """What became of the answer to a person."""
    identity = records.one(ChannelIdentity, ChannelIdentity.external_id == f"{APP}:{person}")
    answer = records.one(Message, Message.direction == "outgoing", Message.identity_id == identity.id)
    return answer.delivery_state, answer.dropped_reason


async def test_what_wechat_will_never_take_is_given_up_and_agents_read_why(
        sqlite_records: Records, bot: BotDouble, served: Threaded, double: WechatDouble) -> None:
    expected = {45015: "window_over", 45047: "too_many", 43004: "unreachable", 40003: "refused", 45002: "refused",
                99999: "refused"}
    async with wechat_bench(sqlite_records, bot, served, double) as bench:
        for code in expected:
            await answered(bench, f"o{code}")
            double.faults = [Fault("send", errcode=code)]
            await bench.deliver()
            sqlite_records.clock.advance(minutes=11)
            await bench.deliver()
            assert bench.texts(f"o{code}") == []
    assert {code: became(sqlite_records, f"o{code}") for code in expected} == {
        code: ("failed", reason) for code, reason in expected.items()}
    assert [each.external_id for each in sqlite_records.all(ChannelIdentity) if each.unreachable_since] == [
        f"{APP}:o43004"]
    for note, reason in zip(notes(sqlite_records), expected.values(), strict=True):
        assert say("note_unreachable" if reason == "unreachable" else f"undelivered_{reason}", "zh") in note


async def test_what_may_pass_is_tried_again(sqlite_records: Records, bot: BotDouble, served: Threaded,
                                            double: WechatDouble) -> None:
    faults = [Fault("send", errcode=-1), Fault("send", errcode=45009), Fault("send", errcode=45011),
              Fault("send", errcode=48001), Fault("send", status=500, raw=b"<html>"),
              Fault("send", status=502, raw=b""), Fault("stable_token", errcode=-1),
              Fault("stable_token", errcode=40164), Fault("stable_token", status=500, raw=b""),
              Fault("stable_token", raw=b"<html>")]
    async with wechat_bench(sqlite_records, bot, served, double) as bench:
        for number, fault in enumerate(faults):
            await answered(bench, f"o{number}")
            bench.clients[0]._token = ""
            double.faults = [fault]
            await bench.deliver()
            assert bench.texts(f"o{number}") == [] and became(sqlite_records, f"o{number}") == ("queued", None), fault
            sqlite_records.clock.advance(minutes=11)
            await bench.deliver()
            assert bench.texts(f"o{number}") == ["re: 你好"] and double.faults == []


async def test_an_answer_that_does_not_come_is_sent_once_more_and_no_third_time(
        sqlite_records: Records, bot: BotDouble, served: Threaded, double: WechatDouble) -> None:
    faults: list[dict[str, Any]] = [{"delay": 1.0}, {"raw": b"<html>"}, {"raw": b"[]"}, {"status": 504, "raw": b""}]
    async with wechat_bench(sqlite_records, bot, served, double, timeout=0.3) as bench:
        for number, fault in enumerate(faults):
            await answered(bench, f"o{number}")
            double.faults = [Fault("send", **fault) for _ in range(3)]
            for _ in range(3):
                await bench.deliver()
                sqlite_records.clock.advance(minutes=11)
            assert became(sqlite_records, f"o{number}") == ("failed", "unknown") and len(double.faults) == 1


async def test_an_account_that_is_no_longer_set_up_is_said_so(sqlite_records: Records, bot: BotDouble,
                                                              served: Threaded, double: WechatDouble) -> None:
    async with wechat_bench(sqlite_records, bot, served, double, accounts=(ACCOUNT,)) as bench:
        await bench.say("你好")
        await bench.dispatcher.idle()
    async with wechat_bench(sqlite_records, bot, served, double, accounts=(OTHER_ACCOUNT,)) as bench:
        await bench.deliver()
    assert outgoing(sqlite_records) == [("failed", "not_set_up")]


async def test_no_secret_and_no_token_reaches_a_log(sqlite_records: Records, bot: BotDouble, served: Threaded,
                                                    double: WechatDouble, caplog: pytest.LogCaptureFixture,
                                                    capsys: pytest.CaptureFixture[str]) -> None:
    caplog.set_level(logging.DEBUG)
    caplog.set_level(logging.DEBUG, logger="httpx")  # the service keeps it silent
    caplog.handler.setFormatter(MaskingFormatter("%(levelname)s %(name)s %(message)s"))
    async with wechat_bench(sqlite_records, bot, served, double) as bench:
        await answered(bench, PERSON)
        double.faults = [Fault("send", status=500, raw=b""), Fault("send", errcode=40001), Fault("send", raw=b"<html>"),
                         Fault("send", errcode=45047)]
        for _ in range(4):
            await bench.deliver()
            sqlite_records.clock.advance(minutes=11)
        await bench.happen("image", MediaId="m")
        await fetch_files(bench)
    access_token = double.accounts[APP].access_tokens[-1]
    written = caplog.text + capsys.readouterr().out + repr(vars(bench.wechat)) + repr(bench.clients[0].account)
    assert "custom/send" in caplog.text and "token_refused" not in caplog.text
    for secret in (access_token, ACCOUNT.secret, ACCOUNT.token, ACCOUNT.aes_key):
        assert secret not in written


def test_every_word_is_there_in_both_languages() -> None:
    assert all(set(sentence) == {"zh", "en"} and all(sentence.values()) for sentence in WORDS.values())

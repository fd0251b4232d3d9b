"""The contract of gateway/channel.py, held by every channel: see docs/how-to/add-a-channel.md."""
from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from sqlalchemy.exc import OperationalError

from crm_store.models import ChannelIdentity, Conversation, Message
from crm_store.models.customers import CHANNELS
from crm_store.services.handoff import claim_conversation, escalate_conversation, reply_to_customer
from tests.gateway.channel_doors import BEN, DOORS, Door, PushedDoor, door_of
from tests.gateway.conftest import BotDouble, Records

pytestmark = pytest.mark.anyio

HOSTILE = '<script>alert(1)</script> <A href="weixin://bizmsgmenu?msgmenuid=1">*_`[x](javascript:1)</A> &lt; {{7*7}}'
PAYLOAD = '/order_status{"order": "' + "N" * 200 + '"}'
WORKS = "✅ 👩‍👩‍👧‍👦 好的，"


@pytest.fixture(params=sorted(DOORS))
async def door(request: pytest.FixtureRequest, sqlite_records: Records, bot: BotDouble) -> AsyncIterator[Door]:
    async with door_of(request.param, sqlite_records, bot) as opened:
        yield opened


def incoming(door: Door) -> list[str]:
    return [each.text for each in door.records.all(Message, Message.direction == "incoming")]


def outgoing(door: Door) -> list[tuple[str, str | None]]:
    return [(each.delivery_state, each.dropped_reason)
            for each in door.records.all(Message, Message.direction == "outgoing")]


def test_every_channel_is_held_to_the_contract() -> None:
    assert set(DOORS) == set(CHANNELS)


async def test_what_is_acknowledged_is_stored_and_what_is_not_stored_is_not_acknowledged(
        door: Door, bot: BotDouble, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(work: Any) -> Any:
        raise OperationalError("INSERT", None, Exception("the store is away"))

    with monkeypatch.context() as patched:
        patched.setattr(door.deps.transactions, "_write", away)
        assert not await door.say("你好", number=1)
    assert incoming(door) == []
    bot.status = 503  # so that nothing but the channel itself can have stored it
    assert await door.say("你好", number=1)
    assert incoming(door) == ["你好"]


async def test_the_same_message_again_is_one_message_and_one_answer(door: Door) -> None:
    answers = await asyncio.gather(*(door.say("你好", number=1) for _ in range(3)))
    await door.turn()
    assert all(answers) and await door.say("你好", number=1)
    await door.turn()
    assert incoming(door) == ["你好"] and await door.read() == ["re: 你好"]


async def test_what_one_person_says_is_answered_in_order(door: Door, bot: BotDouble) -> None:
    bot.answer = lambda body: [f"{body['text']}a", f"{body['text']}b"]
    for number in range(1, 5):
        assert await door.say(f"m{number}", number=number)
    await door.turn()
    assert await door.read() == [f"m{number}{part}" for number in range(1, 5) for part in "ab"]
    assert not bot.overlapped


async def test_two_people_two_bots_and_two_accounts_never_mix(door: Door) -> None:
    everybody = [(person, at) for person in ("ada", BEN) for at in (0, 1)]
    for person, at in everybody:  # the very same message id at each
        assert await door.say(f"I am {person} at {at}", person, at, number=1 + (person == BEN))
    await door.turn()
    for person, at in everybody:
        assert await door.read(person, at) == [f"re: I am {person} at {at}"]
    assert len(door.records.all(ChannelIdentity)) == len(door.records.all(Conversation)) == 4


async def test_what_an_agent_writes_reaches_the_person_it_is_for_in_order(door: Door) -> None:
    await door.say("你好")
    await door.say("你好", BEN)
    await door.turn()
    first, _ = door.records.all(Conversation)
    agent, now = door.records.agent(), door.records.clock()
    door.records.do(escalate_conversation, conversation_id=first.id, reason="asked", now=now)
    door.records.do(claim_conversation, first.id, agent, now)
    for text in ("one moment", "it is on its way"):
        door.records.do(reply_to_customer, first.id, agent, text, now)
    await door.turn()
    said = await door.read()
    assert said[-2].endswith("one moment") and said[-1].endswith("it is on its way")
    assert await door.read(BEN) == ["re: 你好"]


async def test_buttons_come_in_some_form_and_come_back_as_what_was_offered(door: Door, bot: BotDouble) -> None:
    bot.answer = lambda body: [{"text": "which?", "buttons": [
        {"title": "第一单", "payload": PAYLOAD}, {"title": "Neither", "payload": "/deny"}]}] \
        if body["text"] == "订单" else ["thank you"]
    await door.say("订单")
    await door.turn()
    buttons = await door.offered()
    assert [title for title, _ in buttons] == ["第一单", "Neither"]
    await door.press(buttons[0][1])
    await door.turn()
    pressed = door.records.all(Message, Message.direction == "incoming")[-1]
    assert pressed.payload == PAYLOAD and await door.read() == ["which?", "thank you"]
    assert (bot.knocks[-1]["text"], bot.knocks[-1].get("payload")) == (pressed.text, PAYLOAD)


async def test_what_was_not_offered_to_this_person_is_no_button(door: Door, bot: BotDouble) -> None:
    bot.answer = lambda body: [{"text": "which?", "buttons": [{"title": "Mine", "payload": "/mine"}]}]
    await door.say("订单")
    await door.say("订单", at=1)
    await door.turn()
    (_, of_ada), *_ = await door.offered()
    made_up = ["/request_human", "b:1:0", "b:999999:0", "100", "-100", "9" * 40, "x\x7f"]
    if isinstance(door, PushedDoor):  # where a button names its message, another's names nothing
        made_up.append(of_ada)
    for sends in made_up:
        await door.press(sends, at=1)
    await door.turn()
    assert {each.payload for each in door.records.all(Message, Message.direction == "incoming")} == {None}
    assert {each["payload"] for each in bot.knocks} == {None}


async def test_a_long_reply_comes_whole_in_pieces_that_the_channel_takes(door: Door, bot: BotDouble) -> None:
    long = (WORKS * 1200).strip()
    bot.answer = lambda body: [{"text": long, "buttons": [{"title": "好", "payload": "/affirm"}]}]
    await door.say("你好")
    await door.turn()
    pieces = await door.read()
    assert max(map(door.measure, pieces)) <= door.limit
    assert "".join("".join(pieces).split()).removesuffix("请选择：") == "".join(long.split())
    assert not any(piece[0] in "\u200d\ufe0f" or piece[-1] == "\u200d" for piece in pieces)
    assert [title for title, _ in await door.offered()] == ["好"]
    assert ("delivered", None) in outgoing(door)


async def test_hostile_text_is_plain_text_both_ways(door: Door, bot: BotDouble) -> None:
    await door.say(HOSTILE)
    await door.turn()
    (answer,) = await door.read()
    assert answer.replace("＜", "<") == f"re: {HOSTILE}" and not door.marks_up(answer)
    assert incoming(door) == [HOSTILE] and bot.knocks[0]["text"] == HOSTILE
    assert await door.say("a\u202eb\u200bc", number=7)
    assert incoming(door)[1:] == ["abc"]


async def test_what_nobody_knows_is_answered_politely(door: Door, bot: BotDouble) -> None:
    (told,) = await door.send_strange()
    assert len(told) > 10 and bot.knocks == []


async def test_what_does_not_arrive_is_not_called_delivered_and_agents_see_why(door: Door) -> None:
    await door.say("你好")
    if isinstance(door, PushedDoor):
        door.leave()
    await door.turn()
    if isinstance(door, PushedDoor):
        assert outgoing(door) == [("failed", "unreachable")]
        assert door.records.one(ChannelIdentity).unreachable_since is not None
        assert len(door.records.all(Message, Message.direction == "note")) == 1
    else:  # it waits until it is fetched
        assert door.name == "http" or outgoing(door) == [("queued", None)]
        await door.read()
        assert outgoing(door) == [("delivered", None)]

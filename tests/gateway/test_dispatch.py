from __future__ import annotations

import asyncio
import threading
from itertools import count
from typing import Any

import pytest

from crm_store.models import Conversation, Escalation, Message
from crm_store.services import dispatch
from crm_store.services.handoff import take_over_conversation
from crm_store.services.messages import receive_message
from gateway.dispatch import Dispatcher
from tests.gateway.conftest import BotDouble, Records, dispatching, make_deps

pytestmark = pytest.mark.anyio
_numbers = count(1)


def store_message(records: Records, text: str = "你好", sender: str = "ada") -> Message:
    def receive(session: Any) -> Message:
        return receive_message(session, channel="http", external_id=sender, text=text, now=records.clock(),
                               channel_message_id=f"d{next(_numbers)}").message

    message: Message = records.do(receive)
    return message


async def serve(dispatcher: Dispatcher) -> None:
    await dispatcher.scan()
    await dispatcher.idle()


async def handled(dispatcher: Dispatcher, message: Message, seconds: float) -> bool:
    """Whether the message is handled within some seconds."""
    return bool(await dispatcher.outcome(message.id, seconds, lambda message_id, session: message_id))


async def test_a_message_is_answered_and_its_lease_given_back(records: Records, bot: BotDouble) -> None:
    message = store_message(records, "几点营业")
    async with dispatching(records, bot) as dispatcher:
        await serve(dispatcher)
    assert records.said() == ["re: 几点营业"]
    stored = records.one(Message, Message.id == message.id)
    assert stored.handled_at == records.clock() and stored.intent == "greet" and stored.anger == 0.1
    assert records.conversation().dispatch_lease is None
    (knock,) = bot.knocks
    assert knock["mode"] == "turn" and knock["payload"] is None and knock["context"]["version"] == 1


async def test_order_holds_within_a_conversation_and_many_run_at_once(records: Records, bot: BotDouble) -> None:
    meeting = threading.Barrier(4, timeout=10)  # each first turn waits until four conversations are with the bot
    first = {sender: store_message(records, "0", sender).id for sender in "abcd"}
    bot.before = lambda body: meeting.wait() if body["message_id"] in first.values() else None  # type: ignore[return-value]
    for number in range(1, 6):
        for sender in "abcd":
            store_message(records, str(number), sender)
    async with dispatching(records, bot, dispatch_workers=4) as dispatcher:
        await serve(dispatcher)
    assert bot.most_together == 4 and not bot.overlapped
    for conversation in records.all(Conversation):
        heard = [knock["text"] for knock in bot.knocks if knock["conversation_id"] == conversation.id]
        assert heard == ["0", "1", "2", "3", "4", "5"]
        assert records.said(Message.conversation_id == conversation.id) == [f"re: {n}" for n in range(6)]


async def test_no_more_conversations_are_with_the_bot_than_there_are_workers(
        sqlite_records: Records, bot: BotDouble) -> None:
    for sender in range(9):
        store_message(sqlite_records, sender=str(sender))
    async with dispatching(sqlite_records, bot, dispatch_workers=2) as dispatcher:
        await serve(dispatcher)
    assert bot.most_together <= 2 and len(bot.knocks) == 9


async def test_two_dispatchers_never_hand_over_the_same_message(records: Records, bot: BotDouble) -> None:
    for number in range(4):
        for sender in "abcdef":
            store_message(records, str(number), sender)
    async with dispatching(records, bot) as one, dispatching(records, bot) as other:
        await asyncio.gather(serve(one), serve(other))
        await serve(one)  # what one of them left because the other had the lease
    assert len(bot.knocks) == 24 and set(bot.ran.values()) == {1} and not bot.overlapped
    assert len(records.said()) == 24


async def test_a_message_that_comes_during_a_turn_is_taken_up_at_its_end(records: Records, bot: BotDouble) -> None:
    store_message(records, "first")
    late: list[Message] = []

    def during(body: dict[str, Any]) -> None:
        if body["text"] == "first":
            late.append(store_message(records, "second"))

    bot.before = during
    async with dispatching(records, bot) as dispatcher:
        await serve(dispatcher)  # one scan only
    assert records.said() == ["re: first", "re: second"] and late


async def test_a_message_that_is_woken_while_the_lease_goes_back_is_not_left(records: Records, bot: BotDouble) -> None:
    conversation_id = store_message(records, "first").conversation_id
    async with dispatching(records, bot) as dispatcher:
        dispatcher.wake(conversation_id)
        settle = dispatcher._settle

        def settle_and_receive(message_id: int, *, handled: bool) -> None:
            settle(message_id, handled=handled)
            dispatcher._settle = settle  # type: ignore[method-assign]
            store_message(records, "second")  # after the transaction that found no next message
            dispatcher.wake(conversation_id)

        dispatcher._settle = settle_and_receive  # type: ignore[method-assign]
        await dispatcher.idle()
    assert records.said() == ["re: first", "re: second"]


async def test_a_bot_that_is_down_delays_the_answer_and_gives_it_once(records: Records, bot: BotDouble) -> None:
    message = store_message(records)
    bot.stop()
    async with dispatching(records, bot) as dispatcher:
        await serve(dispatcher)
        assert records.said() == [] and records.one(Message, Message.id == message.id).attempts == 1
        assert records.conversation().dispatch_lease is None
        await serve(dispatcher)  # not due yet
        assert records.one(Message, Message.id == message.id).attempts == 1
        bot.start()
        records.clock.advance(seconds=1)
        await serve(dispatcher)
        await serve(dispatcher)
    assert records.said() == ["re: 你好"] and len(bot.knocks) == 1


async def test_connections_that_the_bot_closed_meanwhile_delay_nothing(
        sqlite_records: Records, bot: BotDouble) -> None:
    async with dispatching(sqlite_records, bot) as dispatcher:
        store_message(sqlite_records, "first")
        await serve(dispatcher)
        bot.stop()
        bot.start()
        store_message(sqlite_records, "second")
        await serve(dispatcher)
    assert sqlite_records.said() == ["re: first", "re: second"]
    assert {message.attempts for message in sqlite_records.all(Message, Message.direction == "incoming")} == {0}


@pytest.mark.parametrize("status", [401, 429, 500, 503])
async def test_a_bot_that_cannot_answer_now_is_asked_again(
        sqlite_records: Records, bot: BotDouble, status: int) -> None:
    store_message(sqlite_records)
    bot.status = status
    async with dispatching(sqlite_records, bot) as dispatcher:
        await serve(dispatcher)
        bot.status = 200
        sqlite_records.clock.advance(seconds=1)
        await serve(dispatcher)
    assert sqlite_records.said() == ["re: 你好"] and len(bot.knocks) == 2


async def test_a_postponed_message_is_tried_again_without_a_scan(sqlite_records: Records, bot: BotDouble) -> None:
    message = store_message(sqlite_records)
    bot.status = 503
    async with dispatching(sqlite_records, bot) as dispatcher:
        await serve(dispatcher)
        bot.status = 200
        sqlite_records.clock.advance(seconds=1)
        assert await handled(dispatcher, message, 10)
    assert sqlite_records.said() == ["re: 你好"]


async def test_a_slow_bot_counts_as_unreachable_and_its_answer_is_not_lost(
        sqlite_records: Records, bot: BotDouble) -> None:
    message = store_message(sqlite_records)
    go_on = threading.Event()
    bot.before = lambda body: go_on.wait(10) and None  # type: ignore[func-returns-value]
    async with dispatching(sqlite_records, bot, bot_timeout=0.2) as dispatcher:
        await serve(dispatcher)
        assert sqlite_records.one(Message, Message.id == message.id).handled_at is None
        go_on.set()
        sqlite_records.clock.advance(seconds=1)
        await serve(dispatcher)
    assert sqlite_records.said() == ["re: 你好"] and bot.ran[message.id] == 1


async def test_after_two_minutes_a_human_gets_the_message(records: Records, bot: BotDouble) -> None:
    message = store_message(records)
    bot.status = 503
    async with dispatching(records, bot) as dispatcher:
        for _ in range(20):
            await serve(dispatcher)
            records.clock.advance(seconds=10)
    assert records.conversation().status == "open"
    assert records.one(Escalation).reason == "system"
    (notice,) = records.all(Message, Message.in_reply_to_id == message.id)
    assert notice.author == "system"


@pytest.mark.parametrize("answer", [
    {"replies": [{"text": 5}]}, {"replies": "hello"}, {"no": "replies"}, {"replies": [{"text": "a", "buttons": [{}]}]},
])
async def test_an_answer_nobody_can_read_is_asked_for_again(
        sqlite_records: Records, bot: BotDouble, answer: dict[str, Any]) -> None:
    message = store_message(sqlite_records)
    bot.answer = lambda body: answer
    async with dispatching(sqlite_records, bot) as dispatcher:
        await serve(dispatcher)
    stored = sqlite_records.one(Message, Message.id == message.id)
    assert stored.handled_at is None and stored.attempts == 1


async def test_a_message_the_bot_refuses_goes_to_a_human_at_once(sqlite_records: Records, bot: BotDouble) -> None:
    store_message(sqlite_records)
    bot.status = 422
    async with dispatching(sqlite_records, bot) as dispatcher:
        await serve(dispatcher)
    assert sqlite_records.conversation().status == "open" and len(bot.knocks) == 1
    assert sqlite_records.one(Escalation).reason == "system"


async def test_killed_between_the_bots_answer_and_its_storing(records: Records, bot: BotDouble) -> None:
    message = store_message(records)
    conversation_id = message.conversation_id
    deps = make_deps(records, bot.url)
    assert records.do(dispatch.lease_conversation, conversation_id, "the one that died", records.clock(), 30)
    with records.store.read() as session:
        turn = dispatch.next_turn(session, conversation_id, records.clock())
    assert turn is not None
    assert (await deps.bot.take_turn(turn)).replies[0].text == "re: 你好"  # and here the process ends
    await deps.bot.close()
    deps.transactions.close()

    async with dispatching(records, bot) as dispatcher:
        await serve(dispatcher)
        assert records.said() == []  # the lease still runs
        records.clock.advance(seconds=31)
        await serve(dispatcher)
    assert records.said() == ["re: 你好"]
    assert len(bot.knocks) == 2 and bot.ran[message.id] == 1


async def test_a_process_that_woke_up_late_changes_nothing(records: Records, bot: BotDouble) -> None:
    message = store_message(records)
    async with dispatching(records, bot) as slow, dispatching(records, bot) as other:
        turn = await slow._deps.transactions.write(lambda s: slow._begin(message.conversation_id, s))
        assert turn is not None
        answer = await slow._deps.bot.take_turn(turn)
        records.clock.advance(minutes=5)  # its lease has run out meanwhile
        await serve(other)
        store_message(records, "next")
        following, _ = await slow._deps.transactions.write(lambda s: slow._complete(turn, answer, s))
        assert following is None  # the lease is not its own any more
        await serve(other)
    assert records.said() == ["re: 你好", "re: next"]


async def test_a_reply_after_a_takeover_is_dropped(records: Records, bot: BotDouble) -> None:
    message = store_message(records)
    bot.before = lambda body: records.do(
        take_over_conversation, message.conversation_id, records.agent(), records.clock()) and None
    async with dispatching(records, bot) as dispatcher:
        await serve(dispatcher)
    (reply,) = records.all(Message, Message.author == "bot")
    assert reply.delivery_state == "dropped" and reply.dropped_reason == "lost_ownership" and reply.delivered_at is None
    assert records.said(Message.author == "bot") == []
    assert records.one(Message, Message.id == message.id).handled_at is not None


async def test_what_a_human_owns_is_read_and_not_answered(sqlite_records: Records, bot: BotDouble) -> None:
    message = store_message(sqlite_records)
    sqlite_records.do(take_over_conversation, message.conversation_id, sqlite_records.agent(), sqlite_records.clock())
    async with dispatching(sqlite_records, bot) as dispatcher:
        await serve(dispatcher)
    assert [knock["mode"] for knock in bot.knocks] == ["read"]
    assert sqlite_records.said(Message.author == "bot") == []
    assert sqlite_records.one(Message, Message.id == message.id).intent == "greet"


async def test_who_waits_learns_it_at_once_or_gives_up(sqlite_records: Records, bot: BotDouble) -> None:
    message = store_message(sqlite_records)
    async with dispatching(sqlite_records, bot) as dispatcher:
        assert not await handled(dispatcher, message, 0)
        dispatcher.wake(message.conversation_id)
        assert await handled(dispatcher, message, 10)
        assert await handled(dispatcher, message, 0)  # too late to be told, but it is known
        assert dispatcher._waiting == {}


async def test_who_waits_learns_that_another_process_handled_it(sqlite_records: Records, bot: BotDouble) -> None:
    message = store_message(sqlite_records)
    async with dispatching(sqlite_records, bot) as waiting, dispatching(sqlite_records, bot) as other:
        told, _ = await asyncio.gather(handled(waiting, message, 10), serve(other))
    assert told


async def test_a_stop_gives_the_leases_back(sqlite_records: Records, bot: BotDouble,
                                            monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.lanes.STOP_SECONDS", 0)
    message = store_message(sqlite_records)
    reached, go_on = threading.Event(), threading.Event()

    def wait(body: dict[str, Any]) -> None:
        reached.set()
        go_on.wait(10)

    bot.before = wait
    async with dispatching(sqlite_records, bot) as dispatcher:
        running = asyncio.create_task(dispatcher.run())
        assert await asyncio.to_thread(reached.wait, 10)
        assert sqlite_records.conversation().dispatch_lease is not None
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        go_on.set()
        assert sqlite_records.conversation().dispatch_lease is None
        dispatcher.wake(message.conversation_id)
        assert not dispatcher._serving  # nothing new begins
    async with dispatching(sqlite_records, bot) as next_process:
        await serve(next_process)
    assert sqlite_records.said() == ["re: 你好"] and bot.ran[message.id] == 1


async def test_a_fault_in_one_conversation_leaves_the_others(sqlite_records: Records, bot: BotDouble,
                                                             monkeypatch: pytest.MonkeyPatch) -> None:
    bad, good = store_message(sqlite_records, sender="bad"), store_message(sqlite_records, sender="good")
    complete = dispatch.complete_turn

    def failing(session: Any, turn: Any, **named: Any) -> None:
        if turn.message_id == bad.id:
            raise ZeroDivisionError
        complete(session, turn, **named)

    monkeypatch.setattr(dispatch, "complete_turn", failing)
    async with dispatching(sqlite_records, bot) as dispatcher:
        await serve(dispatcher)
    assert sqlite_records.one(Message, Message.id == good.id).handled_at is not None
    stored = sqlite_records.one(Message, Message.id == bad.id)
    assert stored.handled_at is None and stored.attempts == 1


async def test_typing_is_told_while_the_bot_works(sqlite_records: Records, bot: BotDouble) -> None:
    message = store_message(sqlite_records)
    async with dispatching(sqlite_records, bot) as dispatcher:
        async with dispatcher._deps.broadcast.subscribe(f"identity:{message.identity_id}") as bell:
            await serve(dispatcher)
            assert (await bell.__anext__()).data == {"kind": "typing", "author": "bot"}


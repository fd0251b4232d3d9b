"""Hands unhandled messages to the bot, in order within a conversation, many conversations at once.

A conversation is leased, its oldest unhandled message goes to the bot, and one transaction stores what came of it and
takes the next message or gives the lease back. Every step can be the last one before the process is killed:

- before the lease is committed: nothing has happened, the message still waits;
- with the lease, before or during the bot's turn: the lease runs out, the scan of any process finds the message and
  hands it over again; the bot knows the message's id, gives the same replies and runs nothing twice;
- after the bot answered, before the answer is stored: the same;
- after the answer is stored: the message is handled, nobody takes it again.

A process that was only slow, and lost its lease to another, stores an answer for a message that is handled already: the
store leaves that as it is. So every message is answered exactly once, and never by two processes out of order.
"""
from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any, TypeVar

from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from crm_store.errors import NotFound
from crm_store.models import Message
from crm_store.services import dispatch
from crm_store.services.dispatch import Turn
from gateway.bot_client import BotAnswer, BotRefused, BotUnreachable
from gateway.deps import GatewayDeps
from gateway.lanes import Lanes, keep_looking
from gateway.metrics import TURN_SECONDS, TURNS

log = logging.getLogger(__name__)

SCAN_SECONDS = 1.0
LEASE_SPARE_SECONDS = 20.0  # of a lease, beyond the bot's time
SETTLED_KEPT = 2000

Result = TypeVar("Result")
Read = Callable[[int, Session], Result]


@dataclass(eq=False)
class _Waiter:
    """Somebody who waits for a message, and what they will read when it is handled.

    ``told`` becomes True with ``outcome`` set, True without one (then they read it themselves), or False.
    """

    read: Read[Any]
    told: asyncio.Future[bool]
    outcome: Any = None


class Dispatcher:
    """The loop that hands messages to the bot, and those who wait for its answers."""

    def __init__(self, deps: GatewayDeps) -> None:
        """Start idle; :meth:`run` looks for work, :meth:`wake` brings it."""
        self._deps = deps
        self._holder = secrets.token_hex(16)
        self._lease_seconds = deps.bot_timeout + LEASE_SPARE_SECONDS
        self._slots = asyncio.Semaphore(deps.dispatch_workers)
        self._serving = Lanes(self._serve, "conversation", self._served)
        self._woken_again: set[int] = set()
        self._waiting: dict[int, set[_Waiter]] = {}
        self._settled: OrderedDict[int, None] = OrderedDict()

    async def run(self) -> None:
        """Look every second for messages that nobody serves, until cancelled; then end what is under way, or leave it.

        What was with the bot and did not end in time stays unhandled and is dispatched again.
        """
        try:
            await keep_looking(self.scan, SCAN_SECONDS, "waiting messages")
        finally:
            await self._serving.stop()
            await self._deps.bot.close()

    async def scan(self) -> None:
        """Serve every conversation that waits: new ones, postponed ones that are due, those a dead process left.

        And tell those who wait for a message that another process has handled.
        """
        now, waited_for = self._deps.clock(), set(self._waiting)

        def look(session: Session) -> tuple[list[int], set[int]]:
            return dispatch.conversations_waiting(session, now), _handled(waited_for, session)

        waiting, handled = await self._deps.transactions.read(look)
        for conversation_id in waiting:
            self.wake(conversation_id)
        for message_id in handled:
            self._tell(message_id, True)

    def wake(self, conversation_id: int) -> None:
        """Serve a conversation now: something was committed for it. Never waits."""
        if not self._serving.begin(conversation_id):
            self._woken_again.add(conversation_id)

    async def outcome(self, message_id: int, timeout: float, read: Read[Result]) -> Result | None:
        """Wait until a message is handled, by whatever process, and read what came of it.

        Args:
            message_id: which message.
            timeout: seconds to wait.
            read: gets the message's id and a session, and may write; it runs in the very transaction that stores the
                answer, or in one of its own where that has ended.

        Returns:
            What ``read`` gave; None as soon as the message was put off because the bot cannot be reached, or when the
            time is over.
        """
        if message_id not in self._settled:
            waiter = _Waiter(read, asyncio.get_running_loop().create_future())
            if not await self._told(message_id, timeout, waiter):
                return None
            if waiter.outcome is not None:
                found: Result = waiter.outcome
                return found
        return await self._deps.transactions.write(partial(read, message_id))

    async def _told(self, message_id: int, timeout: float, waiter: _Waiter) -> bool:
        self._waiting.setdefault(message_id, set()).add(waiter)
        try:
            done, _ = await asyncio.wait({waiter.told}, timeout=timeout)
            return waiter.told.result() if done else bool(
                await self._deps.transactions.read(partial(_handled, {message_id})))
        finally:
            waiters = self._waiting.get(message_id, set())
            waiters.discard(waiter)
            if not waiters:
                self._waiting.pop(message_id, None)

    async def idle(self) -> None:
        """Wait until nothing is being served."""
        await self._serving.idle()

    async def _serve(self, conversation_id: int) -> None:
        async with self._slots:
            turn = None
            try:
                turn = await self._deps.transactions.write(partial(self._begin, conversation_id))
                while turn is not None:
                    turn = await self._take(turn)
            except asyncio.CancelledError:
                await asyncio.shield(self._leave(conversation_id))
                raise
            except NotFound:
                log.info("erased during its turn", extra={"conversation_id": conversation_id})
                if turn is not None:
                    self._settle(turn.message_id, handled=False)
            except SQLAlchemyError:  # the lease runs out, and the scan finds the message again
                log.exception("the store failed during a dispatch", extra={"conversation_id": conversation_id})
            except Exception:  # the edge of the loop: one conversation must not end the others
                log.exception("a dispatch failed", extra={"conversation_id": conversation_id})
                if turn is not None:
                    await self._put_off(turn)

    async def _take(self, turn: Turn) -> Turn | None:
        """Take one turn; gives the next one of the conversation."""
        marks = {"conversation_id": turn.conversation_id, "message_id": turn.message_id}
        if turn.mode == "turn":
            self._deps.broadcast.publish(f"identity:{turn.context['identity_id']}", {"kind": "typing", "author": "bot"})
        began = time.perf_counter()
        try:
            answer = await self._deps.bot.take_turn(turn)
        except BotUnreachable as error:
            log.warning("message put off: %s", error, extra=marks)
            TURNS.labels("put_off").inc()
            await self._put_off(turn)
            return None
        except BotRefused as error:
            log.error("message given up: %s", error, extra=marks)
            TURNS.labels("refused").inc()
            answer = BotAnswer()
        else:
            TURNS.labels(turn.mode).inc()
        seconds = time.perf_counter() - began
        TURN_SECONDS.observe(seconds)
        log.debug("turn taken", extra={**marks, "duration_ms": round(seconds * 1000)})
        self._woken_again.discard(turn.conversation_id)  # what was committed so far is seen by the next transaction
        following, outcomes = await self._deps.transactions.write(partial(self._complete, turn, answer))
        for waiter, outcome in outcomes.items():
            waiter.outcome = outcome
        self._settle(turn.message_id, handled=True)
        self._deps.bell.queued(turn.context["channel"], turn.context["identity_id"])
        return following

    def _begin(self, conversation_id: int, session: Session) -> Turn | None:
        now = self._deps.clock()
        if not dispatch.lease_conversation(session, conversation_id, self._holder, now, self._lease_seconds):
            return None
        return self._next(session, conversation_id, now)

    def _complete(self, turn: Turn, answer: BotAnswer, session: Session) -> tuple[Turn | None, dict[_Waiter, Any]]:
        """Store an answer, read it for those who wait, and take the next message or give the lease back."""
        now = self._deps.clock()
        at_hand = dispatch.complete_turn(session, turn, replies=answer.replies, understood=answer.understood, now=now)
        outcomes = {waiter: waiter.read(turn.message_id, session)
                    for waiter in tuple(self._waiting.get(turn.message_id, ()))}
        del at_hand
        following = self._next(session, turn.conversation_id, now)
        if following is not None and not dispatch.renew_lease(session, turn.conversation_id, self._holder, now,
                                                              self._lease_seconds):
            following = None
        return following, outcomes

    def _next(self, session: Session, conversation_id: int, now: datetime) -> Turn | None:
        turn = dispatch.next_turn(session, conversation_id, now)
        if turn is None:
            dispatch.release_conversation(session, conversation_id, self._holder)
        return turn

    async def _put_off(self, turn: Turn) -> None:
        """Try a message again later, or hand the conversation to a human when it has waited too long."""
        def put_off(session: Session) -> tuple[datetime | None, datetime | None]:
            now = self._deps.clock()
            dispatch.postpone_turn(session, turn.message_id, now)
            dispatch.release_conversation(session, turn.conversation_id, self._holder)
            row = session.execute(select(Message.handled_at, Message.next_attempt_at)
                                  .where(Message.id == turn.message_id)).one()
            return row.handled_at, row.next_attempt_at

        try:
            handled_at, again_at = await self._deps.transactions.write(put_off)
        except NotFound:  # erased during its turn: there is nothing to answer any more
            self._settle(turn.message_id, handled=False)
            return
        except SQLAlchemyError:
            log.exception("a message could not be put off; its lease will run out",
                          extra={"conversation_id": turn.conversation_id, "message_id": turn.message_id})
            return
        self._settle(turn.message_id, handled=handled_at is not None)
        self._deps.bell.queued(turn.context["channel"], turn.context["identity_id"])
        if handled_at is not None:
            TURNS.labels("given_up").inc()
            self._woken_again.add(turn.conversation_id)
        elif again_at is not None:
            delay = max(0.0, (again_at - self._deps.clock()).total_seconds())
            asyncio.get_running_loop().call_later(delay, self.wake, turn.conversation_id)

    async def _leave(self, conversation_id: int) -> None:
        """Give the lease back, so that the next process need not wait until it runs out."""
        try:
            await self._deps.transactions.write(
                lambda session: dispatch.release_conversation(session, conversation_id, self._holder))
        except SQLAlchemyError:
            log.warning("a lease could not be given back; it will run out", extra={"conversation_id": conversation_id})

    def _settle(self, message_id: int, *, handled: bool) -> None:
        """Tell those who wait for a message; the last handled ones are kept for those who come to wait too late."""
        if handled:
            self._settled[message_id] = None
            if len(self._settled) > SETTLED_KEPT:
                self._settled.popitem(last=False)
        self._tell(message_id, handled)

    def _tell(self, message_id: int, handled: bool) -> None:
        for waiter in self._waiting.pop(message_id, ()):
            if not waiter.told.done():
                waiter.told.set_result(handled)

    def _served(self, conversation_id: int) -> None:
        if conversation_id in self._woken_again:
            self._woken_again.discard(conversation_id)
            self.wake(conversation_id)


def _handled(message_ids: set[int], session: Session) -> set[int]:
    return set() if not message_ids else set(session.execute(
        select(Message.id).where(Message.id.in_(message_ids), Message.handled_at.is_not(None))).scalars())

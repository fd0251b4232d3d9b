"""A random walk over everything that can happen to a conversation, beside a plain model that says what must come of it.

Customers write (also twice), the bot's turns begin, end late, twice or never, processes die in the middle, agents
claim, take over, write (also twice), snooze, transfer, regrade, resolve and hand back, customers rate, the SLA clock
ticks, hours and days pass, messages are delivered or not. The model knows who owns a conversation, at which version,
and what may have been said; after every step the store has to agree. The same seed walks the same way.
"""
from __future__ import annotations

import random
import shutil
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import bindparam, select

from crm_store.database import Store
from crm_store.errors import AlreadyClaimed, CrmError, InvalidMessage, NotOwner, StaleVersion, WrongState
from crm_store.models import Conversation, Message, SlaClock, SupportAgent, Team, Ticket
from crm_store.services.complaints import change_grade, file_complaint
from crm_store.services.dispatch import (
    Reply,
    Turn,
    Understood,
    complete_turn,
    lease_conversation,
    next_turn,
    postpone_turn,
    release_conversation,
)
from crm_store.services.handoff import (
    REOPEN_WITHIN,
    add_note,
    claim_conversation,
    escalate_conversation,
    hand_back_conversation,
    reply_to_customer,
    resolve_conversation,
    snooze_conversation,
    take_over_conversation,
)
from crm_store.services.messages import mark_delivered, outgoing_after, receive_message
from crm_store.services.sla import tick
from crm_store.services.transfer import transfer_conversation
from crm_store.services.waking import wake_conversation

SENDERS = 4
WHOLE_EVERY = 50  # steps after which not only what was touched is compared
LEASE = timedelta(seconds=30)
PAUSES = ((timedelta(0), 30), (timedelta(seconds=7), 30), (timedelta(minutes=4), 20), (timedelta(hours=1), 10),
          (timedelta(hours=19), 3), (timedelta(hours=80), 2))
HUMANS = ("open", "snoozed")
_C, _M, _T, _K = (model.__table__.c for model in (Conversation, Message, Ticket, SlaClock))
_TALK = bindparam("talk")
_CONVERSATION = select(_C.id, _C.status, _C.version, _C.assignee_id, _C.claimed_at, _C.snoozed_until,
                       _C.resolved_at).where(_C.id == _TALK)
_MESSAGES = select(_M.id, _M.direction, _M.author, _M.agent_id, _M.text, _M.handled_at, _M.delivery_state,
                   _M.delivered_at, _M.dropped_reason).where(_M.conversation_id == _TALK).order_by(_M.id)
_TICKETS = select(_T.id, _T.status, _T.assignee_id, _T.cycle).where(_T.conversation_id == _TALK)
_CLOCKS = (select(_K.ticket_id, _K.promise, _K.cycle, _K.state).join(Ticket.__table__, _T.id == _K.ticket_id)
           .where(_T.conversation_id == _TALK))
_FOLLOW_UP = _CLOCKS.where(_K.promise == "follow_up", _K.met_at.is_(None),
                           _K.state.in_(("running", "breached"))).limit(1)


class ModelBroken(AssertionError):
    """The store and the model disagree."""


class Crash(Exception):
    """The process died inside its unit of work."""


@dataclass(frozen=True)
class Person:
    """An agent, as the model knows them."""

    id: int
    role: str
    team_id: int

    def directs(self, talk: Talk, people: dict[int, Person]) -> bool:
        """Whether they may move a conversation that they do not own."""
        if self.role in ("manager", "admin"):
            return True
        owners_team = people[talk.assignee].team_id if talk.assignee else None
        return self.role == "lead" and self.team_id in (talk.team_id, owners_team)


@dataclass
class Talk:
    """A conversation, as the model knows it."""

    id: int
    sender: str
    status: str = "pending"
    version: int = 1
    assignee: int | None = None
    claimed: bool = False
    team_id: int | None = None
    gave_away: tuple[int, frozenset[int | None]] = (0, frozenset())  # at which version, who had or moved it
    resolved_at: datetime | None = None
    snoozed_until: datetime | None = None
    rated: set[datetime] = field(default_factory=set)
    lease: tuple[str, datetime] | None = None
    escalated: set[int] = field(default_factory=set)  # the messages that made a human necessary
    filed: set[int] = field(default_factory=set)  # the messages that completed a complaint
    waiting: list[int] = field(default_factory=list)  # customers' messages that nobody has handled, in order
    handled: dict[int, str] = field(default_factory=dict)  # those handled, and how
    said: list[str] = field(default_factory=list)  # by the bot, in order
    dropped: list[str] = field(default_factory=list)
    written: list[tuple[int, str]] = field(default_factory=list)  # by agents, in order
    keys: list[tuple[int, str, str, int]] = field(default_factory=list)  # agent, key, text and message of some of them
    notes: list[str] = field(default_factory=list)
    delivered: dict[int, datetime] = field(default_factory=dict)

    @property
    def owner(self) -> tuple[str, int | None]:
        """Who owns it: the bot, a person, whoever claims it, or nobody any more."""
        return ("human", self.assignee if self.claimed else None) if self.status in HUMANS else (self.status, None)


@dataclass
class UnderWay:
    """A turn with the bot."""

    turn: Turn
    holder: str


class Walk:
    """The store, the model, and a random step after another."""

    def __init__(self, store: Store, now: datetime, seed: int) -> None:
        """Walk over ``store``, which has a desk in it; ``now`` is where time begins."""
        self.store, self.now = store, now
        self.random = random.Random(seed)
        self.seed = seed
        self.steps = 0
        self.done: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()
        self.history: deque[str] = deque(maxlen=40)
        self.talks: dict[int, Talk] = {}
        self.touched: set[int] = set()
        self.latest: dict[str, Talk] = {}
        self.sent: dict[str, list[tuple[str, str, int]]] = {}
        self.under_way: list[UnderWay] = []
        self.counter = 0
        with store.read() as session:
            agents = session.execute(select(SupportAgent).order_by(SupportAgent.id)).scalars().all()
            self.people = {a.id: Person(a.id, a.role, a.team_id) for a in agents}
            self.agents = {a.id: a for a in agents}
            self.teams = session.execute(select(Team.id).order_by(Team.id)).scalars().all()
            session.expunge_all()
        self.actions: list[tuple[Callable[[], str | None], int]] = [
            (self.customer_writes, 16), (self.message_comes_again, 3), (self.turn_begins, 16), (self.turn_ends, 14),
            (self.turn_ends_again, 2), (self.turn_ends_and_is_rolled_back, 2), (self.turn_is_put_off, 3),
            (self.process_dies, 2), (self.bot_calls_a_person, 5), (self.bot_files_a_complaint, 3), (self.claims, 6),
            (self.takes_over, 5), (self.replies, 12), (self.reply_comes_again, 2), (self.notes, 2), (self.snoozes, 4),
            (self.wakes, 2),
            (self.transfers, 6), (self.resolves, 5), (self.hands_back, 3), (self.regrades, 3), (self.rates, 4),
            (self.clock_ticks, 4), (self.time_passes, 10), (self.is_delivered, 5), (self.delivery_fails, 2),
            (self.availability_changes, 1),
        ]
        self._chances = [chance for _, chance in self.actions]

    # the walk

    def walk(self, steps: int) -> None:
        """Take some steps, checking after each, and settle everything at the end."""
        for _ in range(steps):
            self.step()
        self.settle()

    def step(self) -> None:
        """One random step that can be taken, and what must hold after it."""
        self.steps += 1
        before = {key: (talk.version, talk.owner) for key, talk in self.talks.items()}
        self.touched.clear()
        try:
            what = None
            while what is None:
                action, _ = self.random.choices(self.actions, self._chances)[0]
                what = action()
            self.done[action.__name__] += 1
            self.history.append(f"{self.steps} {self.now:%d %H:%M:%S} {action.__name__}: {what}")
            self.check(self.talks if self.steps % WHOLE_EVERY == 0 else self.touched, before)
        except AssertionError as error:
            raise ModelBroken("\n".join((f"seed {self.seed}, step {self.steps}: {error}", *self.history))) from error

    def settle(self) -> None:
        """Let every turn come to its end: then every message of every customer was handled exactly once."""
        self.under_way.clear()
        self.now += LEASE * 10
        for talk in self.talks.values():
            talk.lease = None
            while talk.waiting:
                with self.store.write() as session:
                    turn = next_turn(session, talk.id, self.now)
                    assert turn is not None, f"{talk.id}: {talk.waiting} wait for nothing"
                self._end(UnderWay(turn, "settling"), [f"b{self._next()}"])
        self.check(self.talks, {})
        with self.store.read() as session:
            left = session.execute(select(Message.id).where(
                Message.direction == "incoming", Message.handled_at.is_(None))).scalars().all()
        assert not left, f"never handled: {left}"

    # customers

    def customer_writes(self) -> str | None:
        sender = f"visitor {self.random.randrange(SENDERS)}"
        key, text = f"m{self._next()}", self.random.choice(("你好", "hello", "太慢了", "转人工", "在吗"))
        with self.store.write() as session:
            received = receive_message(session, channel="web", external_id=sender, text=text, channel_message_id=key,
                                       now=self.now)
            conversation_id, message_id = int(received.conversation.id), int(received.message.id)
            assert not received.duplicate
        self.sent.setdefault(sender, []).append((key, text, message_id))
        talk = self.latest.get(sender)
        if talk is None or (talk.status == "resolved" and self.now - talk.resolved_at > REOPEN_WITHIN):
            assert conversation_id not in self.talks, "no new conversation"
            talk = self.talks[conversation_id] = self.latest[sender] = Talk(conversation_id, sender)
        elif talk.status == "resolved":
            talk.status, talk.resolved_at = "pending", None
            talk.version += 1
        elif talk.status == "snoozed":
            self._wake(talk)
        assert talk.id == conversation_id, f"{message_id} went to {conversation_id} instead of {talk.id}"
        self._touched(talk).waiting.append(message_id)
        return f"{sender} in {talk.id}: message {message_id}"

    def message_comes_again(self) -> str | None:
        sender = f"visitor {self.random.randrange(SENDERS)}"
        if not self.sent.get(sender):
            return None
        key, text, message_id = self.random.choice(self.sent[sender][-4:])
        with self.store.write() as session:
            received = receive_message(session, channel="web", external_id=sender, text=text, channel_message_id=key,
                                       now=self.now)
            assert received.duplicate and received.message.id == message_id
        return f"{message_id}"

    def rates(self) -> str | None:
        talk = self._talk(lambda t: t.status == "resolved" and self.latest[t.sender] is t)
        if talk is None:
            return None
        score = self.random.choice((1, 1, 2, 3, 5))
        with self.store.write() as session:
            received = receive_message(session, channel="web", external_id=talk.sender, text=str(score),
                                       channel_message_id=f"m{self._next()}", now=self.now,
                                       payload=f'/rate{{"score": {score}}}')
            message = received.message
            rated = message.payload is not None
            message_id = int(message.id)
            self.sent.setdefault(talk.sender, []).append((message.channel_message_id, str(score), message_id))
        assert rated, "the rating buttons are not offered any more"
        talk.handled[message_id] = "rating"
        if talk.resolved_at not in talk.rated:
            assert talk.resolved_at is not None
            talk.rated.add(talk.resolved_at)
            if score <= 2:
                self._handed_over(talk)
                assert talk.assignee is None or self.people[talk.assignee].role != "agent", "not with a lead"
        return f"{talk.id}: {score}"

    # the bot

    def turn_begins(self) -> str | None:
        talk = self._talk(lambda t: bool(t.waiting) and self.latest[t.sender] is t)
        if talk is None:
            return None
        holder = f"process {self._next()}"
        with self.store.write() as session:
            leased = lease_conversation(session, talk.id, holder, self.now, LEASE.total_seconds())
            free = talk.lease is None or talk.lease[1] <= self.now
            assert leased == free, f"lease of {talk.id}: {leased}"
            turn = next_turn(session, talk.id, self.now) if leased else None
            if turn is None and leased:
                release_conversation(session, talk.id, holder)
        if leased:
            talk.lease = (holder, self.now + LEASE) if turn else None
        if turn is None:
            return f"{talk.id}: nothing" if leased else f"{talk.id}: leased"
        assert turn.message_id == talk.waiting[0], "out of order"
        assert (turn.mode == "turn") == (talk.status == "pending") and turn.version == talk.version
        self.under_way.append(UnderWay(turn, holder))
        return f"{talk.id}: {turn.mode} {turn.message_id} at version {turn.version} by {holder}"

    def turn_ends(self) -> str | None:
        if not self.under_way:
            return None
        going = self.under_way.pop(self.random.randrange(len(self.under_way)))
        says = [f"b{self._next()}" for _ in range(self.random.choice((0, 1, 1, 1, 2)))]
        if going.turn.mode == "read":
            says = []
        return self._end(going, says)

    def turn_ends_again(self) -> str | None:
        """A process that lost its lease ends a turn that another has ended, or will."""
        if not self.under_way:
            return None
        return self._end(self.random.choice(self.under_way), [f"b{self._next()}"])

    def turn_ends_and_is_rolled_back(self) -> str | None:
        if not self.under_way:
            return None
        turn = self.random.choice(self.under_way).turn
        try:
            with self.store.write() as session:
                complete_turn(session, turn, replies=[Reply("never said")], understood=_read(), now=self.now)
                raise Crash
        except Crash:
            return f"{turn.conversation_id}: {turn.message_id}"

    def turn_is_put_off(self) -> str | None:
        """The bot cannot be reached."""
        if not self.under_way:
            return None
        going = self.under_way.pop(self.random.randrange(len(self.under_way)))
        talk, message_id = self._touched(self.talks[going.turn.conversation_id]), going.turn.message_id
        with self.store.write() as session:
            postpone_turn(session, message_id, self.now)
            release_conversation(session, talk.id, going.holder)
            handled = session.get(Message, message_id).handled_at is not None
        self._released(talk, going)
        if message_id in talk.waiting and handled:
            talk.waiting.remove(message_id)
            talk.handled[message_id] = "given up"
            if talk.status == "pending":
                talk.escalated.add(message_id)
                self._handed_over(talk)
        return f"{talk.id}: {message_id}"

    def process_dies(self) -> str | None:
        """Everything that a process had under way is lost; its leases run out by themselves."""
        lost = len(self.under_way)
        self.under_way.clear()
        return f"{lost} turns lost" if lost else None

    def bot_calls_a_person(self) -> str | None:
        if not self.under_way:
            return None
        turn, reason = self.random.choice(self.under_way).turn, self.random.choice(("asked", "anger", "system"))
        talk = self._touched(self.talks[turn.conversation_id])
        with self.store.write() as session:
            self._call(session, talk, turn, reason, None)
        return f"{talk.id}: {turn.message_id}, {reason}"

    def bot_files_a_complaint(self) -> str | None:
        if not self.under_way:
            return None
        turn, what = self.random.choice(self.under_way).turn, self.random.choice(("太慢了", "损失 600 元", "我受伤了"))
        if turn.mode == "read":
            return None
        talk = self._touched(self.talks[turn.conversation_id])
        with self.store.write() as session:
            ticket = file_complaint(session, conversation_id=talk.id, message_id=turn.message_id, what=what, wish=None,
                                    now=self.now)
            if turn.message_id not in talk.filed and talk.status == "resolved":
                talk.status, talk.resolved_at = "pending", None
                talk.version += 1
            talk.filed.add(turn.message_id)
            if talk.status == "pending":
                session.flush()
                talk.assignee = session.get(Conversation, talk.id).assignee_id
            if ticket.grade == "major":
                self._call(session, talk, turn, "major_complaint", ticket)
        return f"{talk.id}: {turn.message_id}, {what}"

    # agents

    def claims(self) -> str | None:
        talk, agent = self._talk(), self._agent()
        if talk is None:
            return None
        refusal = (WrongState if talk.status == "resolved"
                   else AlreadyClaimed if talk.claimed and talk.assignee != agent.id else None)
        if self._tries(refusal, lambda session: claim_conversation(session, talk.id, self.agents[agent.id],
                                                                   self.now)):
            self._owns(talk, agent)
        return f"{talk.id} by {agent.id}, {refusal}"

    def takes_over(self) -> str | None:
        talk, agent = self._talk(), self._agent()
        if talk is None:
            return None
        refusal = WrongState if talk.status == "resolved" else None
        if self._tries(refusal, lambda session: take_over_conversation(session, talk.id, self.agents[agent.id],
                                                                       self.now)):
            self._owns(talk, agent)
        return f"{talk.id} by {agent.id}, {refusal}"

    def replies(self) -> str | None:
        talk = self._talk()
        if talk is None:
            return None
        agent, text = self._agent(talk), f"a{self._next()}"
        key = f"key {text}" if self.random.random() < 0.7 else None
        refusal = self._refusal(talk, agent)
        if talk.status == "resolved":
            refusal = (NotOwner if talk.assignee not in (None, agent.id)
                       else None if self._follow_up_is_due(talk) else WrongState)
        written: list[Message] = []
        if self._tries(refusal, lambda session: written.append(reply_to_customer(
                session, talk.id, self.agents[agent.id], text, self.now, key))):
            if talk.status != "resolved":
                self._owns(talk, agent)
            talk.written.append((agent.id, text))
            if key is not None:
                talk.keys.append((agent.id, key, text, int(written[0].id)))
        return f"{text} in {talk.id} by {agent.id}, {refusal}"

    def reply_comes_again(self) -> str | None:
        """The answer to a reply was lost on its way, and the desk sends the reply again."""
        talk = self._talk(lambda t: bool(t.keys))
        if talk is None:
            return None
        agent_id, key, text, message_id = self.random.choice(talk.keys[-4:])
        agent = self.people[agent_id]
        if self.random.random() < 0.2:
            self._tries(InvalidMessage, lambda session: reply_to_customer(
                session, talk.id, self.agents[agent.id], "another text", self.now, key))
            return f"{key} in {talk.id} by {agent_id}, with another text"
        with self.store.write() as session:
            again = reply_to_customer(session, talk.id, self.agents[agent.id], text, self.now, key)
            assert again.id == message_id, f"{text} was stored twice"
        return f"{text} in {talk.id} by {agent_id}"

    def notes(self) -> str | None:
        talk, agent, text = self._talk(), self._agent(), f"n{self._next()}"
        if talk is None:
            return None
        self._tries(None, lambda session: add_note(session, talk.id, self.agents[agent.id], text, self.now))
        talk.notes.append(text)
        return f"{text} in {talk.id} by {agent.id}"

    def snoozes(self) -> str | None:
        talk = self._talk()
        if talk is None:
            return None
        agent = self._agent(talk)
        until = self.random.choice((None, self.now + timedelta(minutes=5), self.now + timedelta(hours=20), self.now))
        refusal = self._refusal(talk, agent) or (WrongState if until == self.now else None)
        if self._tries(refusal, lambda session: snooze_conversation(session, talk.id, self.agents[agent.id],
                                                                    self.now, until)):
            self._owns(talk, agent)
            talk.status, talk.snoozed_until = "snoozed", until
        return f"{talk.id} by {agent.id} until {until}, {refusal}"

    def wakes(self) -> str | None:
        talk = self._talk(lambda t: t.status == "snoozed") or self._talk()
        if talk is None:
            return None
        agent = self._agent(talk)
        refusal = self._refusal(talk, agent, resolved=NotOwner if talk.assignee != agent.id else WrongState)
        refusal = refusal or (None if talk.status == "snoozed" else WrongState)
        if self._tries(refusal, lambda session: wake_conversation(session, talk.id, self.agents[agent.id], self.now)):
            self._owns(talk, agent)
            self._wake(talk)
        return f"{talk.id} by {agent.id}, {refusal}"

    def transfers(self) -> str | None:
        talk = self._talk(lambda t: t.status in HUMANS) or self._talk()
        if talk is None:
            return None
        agent = self._agent(talk)
        person = self.random.choice((*self.people, 999)) if self.random.random() < 0.6 else None
        team = self.random.choice((*self.teams, 999)) if person is None or self.random.random() < 0.05 else None
        self._adopt_team(talk)
        refusal = InvalidMessage if person is not None and team is not None else self._refusal(talk, agent)
        claims = False
        if talk.status in HUMANS and refusal is not InvalidMessage:
            directs = agent.directs(talk, self.people)
            refusal, claims = (None, False) if directs else (refusal, refusal is None)
        owner = agent.id if claims else talk.assignee if talk.claimed else None
        if refusal is None:
            refusal = (InvalidMessage if 999 in (person, team) else WrongState if person and person == owner else None)
        if self._tries(refusal, lambda session: transfer_conversation(
                session, talk.id, self.agents[agent.id], self.now, to_agent_id=person, to_team_id=team, note="请看")):
            if claims:
                self._owns(talk, agent)
            former = talk.assignee
            talk.version += 1
            talk.claimed = person is not None
            talk.gave_away = talk.version, frozenset((former, agent.id))
            if person is not None:
                talk.assignee = person
            else:
                self._adopt(talk)
                assert talk.assignee is None or (
                    talk.assignee != former and self.people[talk.assignee].team_id == team
                    and self.agents[talk.assignee].available), f"given to {talk.assignee}"
        return f"{talk.id} by {agent.id} to {person} or team {team}, {refusal}"

    def resolves(self) -> str | None:
        talk = self._talk()
        if talk is None:
            return None
        agent = self._agent(talk)
        refusal = self._refusal(talk, agent)
        if self._tries(refusal, lambda session: resolve_conversation(session, talk.id, self.agents[agent.id],
                                                                     self.now)):
            self._owns(talk, agent)
            talk.status, talk.resolved_at, talk.snoozed_until = "resolved", self.now, None
            talk.version += 1
        return f"{talk.id} by {agent.id}, {refusal}"

    def hands_back(self) -> str | None:
        talk = self._talk()
        if talk is None:
            return None
        agent = self._agent(talk)
        refusal = self._refusal(talk, agent)
        if self._tries(refusal, lambda session: hand_back_conversation(session, talk.id, self.agents[agent.id],
                                                                       self.now)):
            self._owns(talk, agent)
            talk.status, talk.assignee, talk.claimed, talk.snoozed_until = "pending", None, False, None
            talk.version += 1
        return f"{talk.id} by {agent.id}, {refusal}"

    def regrades(self) -> str | None:
        with self.store.read() as session:
            found = session.execute(
                select(Ticket.id, Ticket.conversation_id, Ticket.assignee_id, Ticket.status, Ticket.grade)
                .where(Ticket.kind == "complaint", Ticket.conversation_id.in_(list(self.talks)))).all()
        if not found:
            return None
        ticket, grade = self.random.choice(found), self.random.choice(("ordinary", "complex", "major"))
        talk = self._touched(self.talks[ticket.conversation_id])
        agent = self._agent(talk)
        self._adopt_team(talk)
        allowed = agent.id in (talk.assignee, ticket.assignee_id) or agent.directs(talk, self.people)
        refusal = None if allowed else self._refusal(talk, agent, resolved=NotOwner)
        refusal = refusal or (WrongState if ticket.status == "resolved" else None)
        if self._tries(refusal, lambda session: change_grade(session, talk.id, ticket.id, self.agents[agent.id],
                                                             grade, "看过了", self.now)):
            if not allowed:
                self._owns(talk, agent)
            if grade == "major" and ticket.grade != "major" and talk.status == "pending":
                self._handed_over(talk)
        return f"{ticket.id} in {talk.id} by {agent.id}: {grade}, {refusal}"

    # the world

    def clock_ticks(self) -> str | None:
        happened = 0
        while True:
            with self.store.write() as session:
                found = tick(session, self.now)
            if not found:
                break
            happened += len(found)
        self.touched.update(self.talks)
        for talk in self.talks.values():
            if talk.status == "snoozed" and talk.snoozed_until is not None and talk.snoozed_until <= self.now:
                talk.status, talk.snoozed_until = "open", None
        return f"{happened} things"

    def time_passes(self) -> str | None:
        (pause,) = self.random.choices([p for p, _ in PAUSES], [chance for _, chance in PAUSES])
        self.now += pause
        return str(pause)

    def is_delivered(self) -> str | None:
        talk = self._talk()
        if talk is None:
            return None
        with self.store.write() as session:
            identity = session.get(Conversation, talk.id).identity_id
            queued = [message for message in outgoing_after(session, identity, 0) if message.delivery_state == "queued"]
            taken = queued[:self.random.randrange(4)]
            mark_delivered(session, [message.id for message in taken], self.now)
        for message in taken:
            self._touched(self.talks[message.conversation_id]).delivered[message.id] = self.now
        return f"{[message.id for message in taken]}"

    def delivery_fails(self) -> str | None:
        """The channel took messages, and the process died before it was noted: they come again, and count once."""
        talk = self._talk(lambda t: bool(t.delivered))
        if talk is None:
            return None
        try:
            with self.store.write() as session:
                identity = session.get(Conversation, talk.id).identity_id
                mark_delivered(session, [m.id for m in outgoing_after(session, identity, 0)], self.now)
                raise Crash
        except Crash:
            pass
        again = self.random.choice(list(talk.delivered))
        with self.store.write() as session:
            mark_delivered(session, [again], self.now)
        return f"{talk.id}: {again}"

    def availability_changes(self) -> str | None:
        agent = self.random.choice(list(self.agents.values()))
        with self.store.write() as session:
            found = session.get(SupportAgent, agent.id)
            found.available = agent.available = not agent.available
        return f"{agent.id}: {agent.available}"

    # what must hold

    def check(self, talks: Iterable[int], before: dict[int, tuple[int, Any]]) -> None:
        """Compare conversations with the model; with ``before``, what changed since the last step."""
        with self.store.read() as session:
            for talk_id in talks:
                talk, wanted = self.talks[talk_id], {"talk": talk_id}
                self._check_owner(talk, session.execute(_CONVERSATION, wanted).one(), before)
                self._check_messages(talk, session.execute(_MESSAGES, wanted).all())
                tickets = session.execute(_TICKETS, wanted).all()
                self._check_tickets(talk, tickets)
                self._check_clocks(session.execute(_CLOCKS, wanted).all(), {row.id: row.cycle for row in tickets})
            if talks is self.talks:
                every = set(session.execute(select(Conversation.id)).scalars())
                assert every == set(self.talks), f"conversations that nobody began: {every - set(self.talks)}"

    def _check_owner(self, talk: Talk, row: Any, before: dict[int, tuple[int, Any]]) -> None:
        slept_out = talk.status == "snoozed" and talk.snoozed_until is not None and talk.snoozed_until <= self.now
        if slept_out and row.status == "open":  # whatever touches it next wakes it, or the clock does
            self._wake(talk)
        stored = (row.status, row.version, row.assignee_id, row.claimed_at is not None, row.snoozed_until,
                  row.resolved_at)
        expected = (talk.status, talk.version, talk.assignee, talk.claimed, talk.snoozed_until, talk.resolved_at)
        assert stored == expected, f"{talk.id} is {stored} and not {expected}"
        if talk.id in before:
            version, owner = before[talk.id]
            assert row.version >= version, f"{talk.id}: the version fell"
            passed = owner != talk.owner and not (owner == ("human", None) and talk.owner[0] == "human")
            assert not passed or row.version > version, f"{talk.id}: {owner} became {talk.owner} in one version"

    def _check_messages(self, talk: Talk, rows: list[Any]) -> None:
        bot = [row for row in rows if row.author == "bot"]
        assert [row.text for row in bot if row.delivery_state != "dropped"] == talk.said, f"{talk.id}: bot said more"
        dropped = [row for row in bot if row.delivery_state == "dropped"]
        assert [row.text for row in dropped] == talk.dropped, f"{talk.id}: dropped {[r.text for r in dropped]}"
        assert all(row.dropped_reason == "lost_ownership" and row.delivered_at is None for row in dropped)
        agents = [(row.agent_id, row.text) for row in rows if row.author == "agent" and row.direction == "outgoing"]
        assert agents == talk.written, f"{talk.id}: agents said {agents} and not {talk.written}"
        notes = [row.text for row in rows if row.direction == "note" and row.text.startswith("n")]
        assert notes == talk.notes and not any(row.delivery_state for row in rows if row.direction == "note")
        waiting = [row.id for row in rows if row.direction == "incoming" and row.handled_at is None]
        assert waiting == talk.waiting, f"{talk.id}: {waiting} wait and not {talk.waiting}"
        handled = {row.id for row in rows if row.direction == "incoming" and row.handled_at is not None}
        assert handled == set(talk.handled), f"{talk.id}: handled {handled} and not {set(talk.handled)}"
        delivered = {row.id: row.delivered_at for row in rows if row.delivery_state == "delivered"}
        assert delivered == talk.delivered, f"{talk.id}: delivered {delivered} and not {talk.delivered}"

    def _check_tickets(self, talk: Talk, rows: list[Any]) -> None:
        unsolved = [row for row in rows if row.status != "resolved"]
        assert unsolved or talk.status not in HUMANS, f"{talk.id} is {talk.status} without a ticket"
        assert not unsolved or talk.status != "resolved", f"{talk.id} is resolved with an unsolved ticket"
        assert talk.status == "snoozed" or all(row.status == "open" for row in unsolved), f"{talk.id} waits for nobody"
        if talk.status in HUMANS and talk.claimed:
            assert {row.assignee_id for row in unsolved} == {talk.assignee}, f"{talk.id}: a ticket of somebody else"

    def _check_clocks(self, rows: list[Any], cycles: dict[int, int]) -> None:
        made = Counter((row.ticket_id, row.promise, row.cycle) for row in rows)
        running = Counter((row.ticket_id, row.promise) for row in rows if row.state in ("running", "paused"))
        assert not [key for key, count in made.items() if count > 1], "a promise was made twice"
        assert not [key for key, count in running.items() if count > 1], "two clocks of one promise run"
        first = {row.ticket_id: row.cycle for row in sorted(rows, key=lambda r: r.cycle)
                 if row.promise == "first_response"}
        assert first == cycles, "a ticket without its first response"

    # how the model moves

    def _end(self, going: UnderWay, says: list[str]) -> str:
        turn, talk = going.turn, self._touched(self.talks[going.turn.conversation_id])
        with self.store.write() as session:
            complete_turn(session, turn, replies=[Reply(text) for text in says], understood=_read(), now=self.now)
            release_conversation(session, talk.id, going.holder)
        self._released(talk, going)
        outcome = "handled before"
        if turn.message_id in talk.waiting:
            outcome = self._ended(talk, turn, says)
        return f"{talk.id}: {turn.mode} {turn.message_id} of version {turn.version}, {says}: {outcome}"

    def _ended(self, talk: Talk, turn: Turn, says: list[str]) -> str:
        if turn.mode == "read" and talk.status == "pending":
            return "left for a turn"
        talk.waiting.remove(turn.message_id)
        if turn.mode == "read":
            talk.handled[turn.message_id] = "read"
        elif (talk.status, talk.version) == ("pending", turn.version):
            talk.handled[turn.message_id] = "answered"
            talk.said += says
            if not says:
                talk.escalated.add(turn.message_id)
                self._handed_over(talk)
        else:
            talk.handled[turn.message_id] = "dropped"
            talk.dropped += says
        return talk.handled[turn.message_id]

    def _call(self, session: Any, talk: Talk, turn: Turn, reason: str, ticket: Ticket | None) -> None:
        """What an action of the bot does in its own unit of work: decided on the version that the turn began with."""
        version = None if reason == "system" else turn.version
        as_it_is = turn.message_id in talk.escalated or talk.status in HUMANS
        stale = not as_it_is and version is not None and version != talk.version
        try:
            escalate_conversation(session, conversation_id=talk.id, reason=reason, now=self.now, anger=0.9,
                                  message_id=turn.message_id, expected_version=version, ticket=ticket)
            assert not stale, "a decision on an old version was taken"
        except StaleVersion:
            assert stale, "a decision on this version was refused"
            return
        if not as_it_is and talk.status == "pending":
            talk.escalated.add(turn.message_id)
            self._handed_over(talk, session)

    def _handed_over(self, talk: Talk, session: Any = None) -> None:
        """It is open now and offered to somebody, or to nobody."""
        talk.status, talk.claimed, talk.resolved_at, talk.snoozed_until = "open", False, None, None
        talk.version += 1
        self._adopt(talk, session)

    def _owns(self, talk: Talk, agent: Person) -> None:
        if talk.status == "pending":
            talk.status = "open"
            talk.version += 1
        elif talk.assignee != agent.id:
            talk.version += 1
        talk.assignee, talk.claimed = agent.id, True

    def _refusal(self, talk: Talk, agent: Person, resolved: type[CrmError] = WrongState) -> type[CrmError] | None:
        """What acting as the owner is refused with."""
        if talk.status == "resolved":
            return resolved
        if talk.status == "pending":
            return NotOwner
        if talk.claimed:
            return None if talk.assignee == agent.id else NotOwner
        version, former = talk.gave_away
        return NotOwner if version == talk.version and agent.id in former and agent.id != talk.assignee else None

    def _tries(self, refusal: type[CrmError] | None, act: Callable[[Any], Any]) -> bool:
        """Do it in a unit of work; True where it was done, as expected."""
        try:
            with self.store.write() as session:
                act(session)
        except CrmError as error:
            assert refusal is not None and type(error) is refusal, f"refused with {error!r} and not {refusal}"
            self.refused[type(error).__name__] += 1
            return False
        assert refusal is None, f"not refused with {refusal}"
        return True

    def _adopt(self, talk: Talk, session: Any = None) -> None:
        """Whom it was offered to is for the rules of assignment to say; here it only has to be somebody."""
        if session is None:
            with self.store.read() as reading:
                self._adopt(talk, reading)
            return
        session.flush()
        talk.assignee = session.execute(
            select(Conversation.assignee_id).where(Conversation.id == talk.id)).scalar_one()

    def _adopt_team(self, talk: Talk) -> None:
        with self.store.read() as session:
            talk.team_id = session.execute(select(Conversation.team_id).where(Conversation.id == talk.id)).scalar_one()

    def _wake(self, talk: Talk) -> None:
        talk.status, talk.snoozed_until = "open", None

    def _released(self, talk: Talk, going: UnderWay) -> None:
        if talk.lease is not None and talk.lease[0] == going.holder:
            talk.lease = None

    def _follow_up_is_due(self, talk: Talk) -> bool:
        with self.store.read() as session:
            return session.execute(_FOLLOW_UP, {"talk": talk.id}).first() is not None

    def _talk(self, wanted: Callable[[Talk], bool] = lambda talk: True) -> Talk | None:
        """A conversation, most often one of those under way."""
        latest = [talk for talk in self.latest.values() if wanted(talk)]
        if not latest or self.random.random() > 0.97:
            latest = [talk for talk in self.talks.values() if wanted(talk)]
        return self._touched(self.random.choice(latest)) if latest else None

    def _touched(self, talk: Talk) -> Talk:
        self.touched.add(talk.id)
        return talk

    def _agent(self, talk: Talk | None = None) -> Person:
        """Somebody at the desk; more often than not the owner, where one is asked for."""
        if talk is not None and talk.assignee is not None and self.random.random() < 0.6:
            return self.people[talk.assignee]
        return self.random.choice(list(self.people.values()))

    def _next(self) -> int:
        self.counter += 1
        return self.counter


def _read() -> Understood:
    return Understood("greet", 0.9, None, 0.1)


def walks(template: Path, folder: Path, now: datetime, seeds: Iterable[int], steps: int) -> Iterator[Walk]:
    """Walk once for each seed, each time in a fresh copy of ``template``, an SQLite file with a desk in it.

    The copies lie one after the other under one name, so that one engine serves all and compiles no statement twice.

    Raises:
        ModelBroken: the store did something that the model does not allow.
    """
    path = folder / "walk.db"
    store = Store(f"sqlite:///{path}")
    try:
        for seed in seeds:
            store.close()
            for file in folder.glob("walk.db*"):
                file.unlink()
            shutil.copy(template, path)
            walk = Walk(store, now, seed)
            walk.walk(steps)
            yield walk
    finally:
        store.close()

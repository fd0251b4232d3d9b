"""A small desk to test services on: tiers, teams, agents, a calendar and the policies of the service rules."""
from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import count
from threading import Barrier
from typing import Any

import pytest
from hypothesis import settings
from sqlalchemy import select

from crm_store.database import Store
from crm_store.models import (
    BusinessCalendar,
    ChannelIdentity,
    Conversation,
    Customer,
    SlaPolicy,
    SupportAgent,
    Team,
    Tier,
)
from crm_store.services.dispatch import Reply, Turn, Understood, complete_turn, next_turn
from crm_store.services.messages import Received, receive_message

# The same examples on every run, and no time limit: a machine may be busy, a test may not be flaky.
settings.register_profile("warmline", deadline=None, derandomize=True)
settings.load_profile("warmline")

MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
TIERS = (("silver", 0, 0, 0.80, 0.50), ("gold", 1, 200_000, 0.75, 0.45), ("platinum", 2, 800_000, 0.70, 0.40))
AGENTS = (  # login, role, team, languages, capacity
    ("wang", "agent", "front_line", ["zh", "en"], 2), ("li", "agent", "front_line", ["zh"], 2),
    ("chen", "agent", "experts", ["en"], 2), ("lead", "lead", "front_line", ["zh", "en"], 1),
    ("expert_lead", "lead", "experts", ["zh", "en"], 1), ("boss", "manager", "management", ["zh", "en"], 1),
)
POLICIES: tuple[tuple[Any, ...], ...] = (  # name, kind, grade, tier, first, next, resolution, follow-up (minutes)
    ("major platinum", "complaint", "major", "platinum", 7.5, 30, 1440, 2880),
    ("major", "complaint", "major", None, 15, 30, 1440, 2880),
    ("complex platinum", "complaint", "complex", "platinum", 30, 60, 1440, 2880),
    ("complex", "complaint", "complex", None, 60, 60, 1440, 2880),
    ("ordinary", "complaint", None, None, 120, 120, 1440, 2880),
    ("handoff platinum", "handoff", None, "platinum", 7.5, 15, 1440, None),
    ("handoff", "handoff", None, None, 15, 15, 1440, None),
)


@dataclass
class Desk:
    """The store with a desk in it, and short ways to let customers write and the bot answer."""

    store: Store
    now: datetime
    _ids: Any

    def write(self, text: str = "你好", *, sender: str = "visitor", at: datetime | None = None,
              message_id: str | None = None, **more: Any) -> Received:
        with self.store.write() as session:
            return receive_message(session, channel="web", external_id=sender, text=text, now=at or self.now,
                                   channel_message_id=message_id or f"m{next(self._ids)}", **more)

    def turn(self, conversation_id: int, at: datetime | None = None) -> Turn:
        turn = self.ask(next_turn, conversation_id, at or self.now)
        assert turn is not None
        return turn

    def answer(self, turn: Turn, *replies: str | Reply, at: datetime | None = None, **understood: Any) -> None:
        read = {"intent": "greet", "confidence": 0.9, "language": None, "anger": 0.1, **understood}
        with self.store.write() as session:
            complete_turn(session, turn, replies=[r if isinstance(r, Reply) else Reply(r) for r in replies],
                          understood=Understood(**read), now=at or self.now)

    def agent(self, login: str) -> SupportAgent:
        (found,) = self.all(SupportAgent, SupportAgent.login == login)
        return found

    def do(self, service: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        """One service in a unit of work of its own."""
        with self.store.write() as session:
            return service(session, *arguments, **named)

    def ask(self, query: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        with self.store.read() as session:
            answer = query(session, *arguments, **named)
            session.expunge_all()  # what was read stays readable when the session has ended
            return answer

    def all(self, model: Any, *conditions: Any) -> list[Any]:
        return self.ask(lambda session: list(
            session.execute(select(model).where(*conditions).order_by(model.id)).scalars()))

    def conversation(self, conversation_id: int) -> Conversation:
        (found,) = self.all(Conversation, Conversation.id == conversation_id)
        return found

    def customer(self, sender: str, *, tier: str = "silver", name: str = "李雷", language: str = "zh") -> int:
        """A customer linked to a sender of the web chat."""
        with self.store.write() as session:
            number = f"WLC{next(self._ids):05}"
            customer = Customer(number=number, name=name, language=language, tier_code=tier, created_at=self.now)
            session.add(customer)
            session.flush()
            session.add(ChannelIdentity(channel="web", external_id=sender, customer_id=customer.id, linked_at=self.now,
                                        created_at=self.now))
            return int(customer.id)

    def away(self, *logins: str) -> None:
        with self.store.write() as session:
            for agent in session.execute(select(SupportAgent).where(SupportAgent.login.in_(logins))).scalars():
                agent.available = False

    def at_once(self, works: list[Callable[[], Any]]) -> list[Any]:
        """What each work returned or raised, all started at the same moment in threads of their own."""
        barrier = Barrier(len(works))

        def run(work: Callable[[], Any]) -> Any:
            barrier.wait()
            try:
                return work()
            except Exception as error:
                return error

        with ThreadPoolExecutor(len(works)) as pool:
            return list(pool.map(run, works))


def furnish(store: Store, now: datetime) -> None:
    """Put the desk into an empty store."""
    with store.write() as session:
        for code, rank, spend, route, watch in TIERS:
            session.add(Tier(code=code, rank=rank, name_zh=code, name_en=code, minimum_spend_fen=spend, multiplier=1,
                             benefits_zh="-", benefits_en="-", anger_route=route, anger_watch=watch))
        teams = {level: Team(name=level, level=level) for level in ("front_line", "experts", "management")}
        session.add_all(teams.values())
        calendar = BusinessCalendar(name="desk", time_zone="Asia/Shanghai", holidays="CN", closing_days=[],
                                    weekly={str(day): [["09:00", "21:00"]] for day in range(7)})
        session.add(calendar)
        session.flush()
        for login, role, team, languages, capacity in AGENTS:
            session.add(SupportAgent(login=login, name=login.title(), password_hash="-", role=role,
                                     team_id=teams[team].id, languages=languages, capacity=capacity, created_at=now))
        for position, (name, kind, grade, tier, first, following, resolution, follow_up) in enumerate(POLICIES):
            session.add(SlaPolicy(
                name=name, position=position, ticket_kind=kind, grade=grade, tier_code=tier, calendar_id=calendar.id,
                first_response_seconds=int(first * 60), next_response_seconds=following * 60,
                resolution_seconds=resolution * 60, follow_up_seconds=follow_up and follow_up * 60))


@pytest.fixture
def desk(store: Store, now: datetime) -> Desk:
    """A desk on each database."""
    furnish(store, now)
    return Desk(store, now, count(1))


@pytest.fixture
def sqlite_desk(sqlite_store: Store, now: datetime) -> Desk:
    """A desk on SQLite only, for what does not depend on the database."""
    furnish(sqlite_store, now)
    return Desk(sqlite_store, now, count(1))

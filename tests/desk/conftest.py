"""A small shop with its desk: two teams, six agents, customers who write, and the desk in an application."""
from __future__ import annotations

import asyncio
import functools
import secrets
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from argon2 import PasswordHasher
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy import select

from crm_store.attachment_files import AttachmentFiles
from crm_store.database import Store
from crm_store.live import Broadcast
from crm_store.models import BusinessCalendar, Customer, Macro, SlaPolicy, SupportAgent, Team, Tier
from crm_store.services.dispatch import Reply, Understood, complete_turn, next_turn
from crm_store.services.handoff import escalate_conversation
from crm_store.services.messages import receive_message
from desk.app import DeskDeps, mount_desk

PASSWORD = "correct horse"
HOST = "http://desk.test"
AGENTS = (  # login, name, role, team, interface language
    ("wang", "王敏", "agent", "一线", "zh"), ("lee", "Lee Park", "agent", "一线", "en"),
    ("zhang", "张伟", "lead", "一线", "zh"), ("eva", "Eva Stone", "lead", "Experts", "en"),
    ("ling", "赵玲", "manager", "Experts", "zh"), ("root", "Root", "admin", "Experts", "en"),
)


@functools.cache
def password_hash() -> str:
    return PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash(PASSWORD)  # quick to check


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self, now: datetime) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now

    def move(self, **time: float) -> None:
        self.now += timedelta(**time)


def open_shop(store: Store, now: datetime) -> None:
    """Tiers, teams, agents, calendar, policies and a phrase."""
    with store.write() as session:
        for rank, (code, zh, en, route, watch) in enumerate((
                ("silver", "银卡", "Silver", 0.8, 0.5), ("gold", "金卡", "Gold", 0.75, 0.45),
                ("platinum", "铂金", "Platinum", 0.7, 0.4))):
            session.add(Tier(code=code, rank=rank, name_zh=zh, name_en=en, minimum_spend_fen=rank * 200_000,
                             multiplier=1, benefits_zh="–", benefits_en="–", anger_route=route, anger_watch=watch))
        teams = {"一线": Team(name="一线", level="front_line"), "Experts": Team(name="Experts", level="experts")}
        session.add_all(teams.values())
        session.flush()
        for login, name, role, team, language in AGENTS:
            session.add(SupportAgent(
                login=login, name=name, role=role, team_id=teams[team].id, languages=["zh", "en"], capacity=6,
                available=False, interface_language=language, password_hash=password_hash(), created_at=now))
        calendar = BusinessCalendar(name="shop", time_zone="Asia/Shanghai", holidays=None, closing_days=[],
                                    weekly={str(day): [["09:00", "21:00"]] for day in range(7)})
        session.add(calendar)
        session.flush()
        session.add(SlaPolicy(name="handoff", position=1, ticket_kind="handoff", first_response_seconds=900,
                              next_response_seconds=900, resolution_seconds=86_400, calendar_id=calendar.id))
        session.add(SlaPolicy(name="rest", position=2, first_response_seconds=7200, next_response_seconds=7200,
                              resolution_seconds=86_400, follow_up_seconds=172_800, calendar_id=calendar.id))
        session.add(Macro(code="opening", title_zh="接手问候", title_en="Taking over",
                          text_zh="{customer_name}您好，我是{agent_name}，工单 {ticket_number}。",
                          text_en="Hello {customer_name}, this is {agent_name}; your ticket is {ticket_number}."))
        session.add(Macro(code="calm", emotion="angry", title_zh="安抚", title_en="Calming",
                          text_zh="换谁都会生气，这是我们的责任。", text_en="Anyone would be angry; it is our fault."))


@dataclass
class Desk:
    """The desk in an application, and what happens around it."""

    store: Store
    clock: Clock
    app: FastAPI
    broadcast: Broadcast
    nudges: list[datetime] = field(default_factory=list)
    count: int = 0

    def client(self, login: str | None = None) -> TestClient:
        """A browser; logged in when ``login`` is given."""
        client = TestClient(self.app, base_url=HOST, follow_redirects=False, headers={"Accept-Language": "en"})
        if login:
            answer = client.post("/api/login", json={"login": login, "password": PASSWORD})
            assert answer.status_code == 200, answer.text
        return client

    def agent(self, login: str) -> SupportAgent:
        with self.store.read() as session:
            return session.execute(select(SupportAgent).where(SupportAgent.login == login)).scalar_one()

    def customer(self, name: str, tier: str = "gold", **more: Any) -> int:
        self.count += 1
        with self.store.write() as session:
            customer = Customer(number=f"WLC{self.count:05}", name=name, tier_code=tier, language="zh",
                                created_at=self.clock(), **more)
            session.add(customer)
            session.flush()
            return int(customer.id)

    def says(self, sender: str, text: str, *, customer_id: int | None = None, intent: str = "ask_refund_status",
             anger: float | None = 0.2, reply: str | None = "好的。", buttons: tuple[dict[str, str], ...] = (),
             channel: str = "web") -> tuple[int, int]:
        """A customer writes and the bot answers. Gives the conversation and the message."""
        self.count += 1
        with self.store.write() as session:
            received = receive_message(session, channel=channel, external_id=sender, text=text,
                                       channel_message_id=f"m{self.count}", now=self.clock())
            if customer_id is not None:
                received.conversation.customer_id = customer_id
                received.conversation.identity.customer_id = customer_id
            ids = int(received.conversation.id), int(received.message.id)
        with self.store.write() as session:
            turn = next_turn(session, ids[0], self.clock())
            assert turn is not None
            complete_turn(session, turn, now=self.clock(), replies=[Reply(reply, list(buttons))] if reply else [],
                          understood=Understood(intent, 0.97, "zh", anger, "negative", [],
                                                [{"slug": "refund-times", "score": 0.83}]))
        return ids

    def escalated(self, sender: str, text: str = "马上叫你们经理来！", *, assignee: str | None = None,
                  reason: str = "anger", anger: float = 0.94, **more: Any) -> int:
        """A conversation that waits for a human, or that one has."""
        conversation, message = self.says(sender, text, anger=anger, **more)
        with self.store.write() as session:
            escalate_conversation(session, conversation_id=conversation, message_id=message, reason=reason,
                                  anger=anger, now=self.clock())
        if assignee:
            answer = self.client(assignee).post(f"/api/conversations/{conversation}/claim")
            assert answer.status_code == 200, answer.text
        return conversation


def make_desk(store: Store, clock: Callable[[], datetime], *, trusted_proxy: str = "",
              secure_cookies: bool = False, files: AttachmentFiles | None = None) -> Desk:
    app, broadcast, nudges = FastAPI(openapi_url="/api/openapi.json"), Broadcast(), []  # type: ignore[var-annotated]

    def nudge() -> None:
        asyncio.get_running_loop()  # the event of the watching loop may be set on the loop only
        nudges.append(clock())

    folder = Path(tempfile.gettempdir(), f"warmline-{secrets.token_hex(8)}")  # made by whoever writes to it
    mount_desk(app, DeskDeps(store=store, broadcast=broadcast, nudge=nudge, clock=clock,
                             files=files or AttachmentFiles(folder), secure_cookies=secure_cookies,
                             trusted_proxy=trusted_proxy))
    return Desk(store, clock, app, broadcast, nudges)  # type: ignore[arg-type]


@pytest.fixture
def desk(store: Store, now: datetime) -> Desk:
    """The desk over each database."""
    open_shop(store, now)
    return make_desk(store, Clock(now))


@pytest.fixture
def lite(sqlite_store: Store, now: datetime) -> Desk:
    """The desk over SQLite only, for what does not depend on the database."""
    open_shop(sqlite_store, now)
    return make_desk(sqlite_store, Clock(now))

"""Runs whole turns in this process, as the gateway would and without servers: door, Rasa, actions, store."""
from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from rasa.core.agent import Agent
from rasa_sdk.executor import ActionExecutor

import actions.store
from bot.action_endpoint import ActionEndpoint
from bot.channel import Doorkeeper, Knock
from bot.nlg import BilingualResponses
from bot.tracker_store import CrmTrackerStore
from crm_store.database import Store
from crm_store.models import Conversation, Message
from crm_store.services.dispatch import Reply, Understood, complete_turn, next_turn
from crm_store.services.messages import receive_message


class ActionsHere(ActionEndpoint):
    """The actions server without the network; what goes over the wire is JSON here too."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.executor = ActionExecutor()
        self.executor.register_package("actions")
        self.calls: list[str] = []
        self.broken: Exception | None = None

    async def _ask(self, method: str, body: Any) -> Any:
        if self.broken is not None:
            raise self.broken
        self.calls.append(body["next_action"])
        return json.loads(json.dumps(await self.executor.run(json.loads(json.dumps(body)))))


class OutboxHere:
    """Keeps the codes that would be sent."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, str, str]] = []

    def send(self, phone: str, code: str, language: str) -> None:
        self.sent.append((phone, code, language))


class ScriptedDoorkeeper(Doorkeeper):
    """Reads a message as the test says it reads, where the test says so."""

    script: dict[str, Any] | None = None

    async def _read(self, knock: Knock) -> dict[str, Any]:
        if self.script is None or knock.payload is not None:
            return await super()._read(knock)
        if "intent" not in self.script:
            return {**await super()._read(knock), **self.script}
        return {"text": knock.text, "intent": {"name": None, "confidence": 0.9}, "entities": [], "intent_ranking": [],
                "language": knock.context.get("language") or "zh", "sentiment": {"anger": 0.05, "valence": "neutral"},
                "articles": [], **self.script}


@dataclass
class Heard:
    """What came back for one message."""

    replies: list[dict[str, Any]]
    understood: dict[str, Any]
    status: str
    actions: list[str]

    @property
    def text(self) -> str:
        return "\n".join(reply["text"] for reply in self.replies)

    @property
    def payloads(self) -> list[str]:
        return [button["payload"] for reply in self.replies for button in reply["buttons"]]


@dataclass
class Talk:
    """The product's turn path with a clock that the test moves."""

    store: Store
    now: datetime
    keeper: ScriptedDoorkeeper
    actions_here: ActionsHere
    outbox: OutboxHere
    count: int = 0
    said: list[str] = field(default_factory=list)

    def say(self, text: str, intent: str | None = None, *, sender: str = "lei", payload: str | None = None,
            anger: float | None = None, language: str | None = None, confidence: float = 0.9, **more: Any) -> Heard:
        """One message of a customer and what they get; the NLU reads it unless ``intent`` says how it reads."""
        if intent is not None:
            self.keeper.script = {"intent": {"name": intent, "confidence": confidence}, **more,
                                  "sentiment": {"anger": 0.05 if anger is None else anger, "valence": "neutral"},
                                  **({"language": language} if language else {})}
        else:
            self.keeper.script = {"sentiment": {"anger": anger, "valence": "neutral"}} if anger is not None else None
        self.count += 1
        self.now += timedelta(seconds=10)
        with self.store.write() as session:
            received = receive_message(session, channel="web", external_id=sender, text=text, now=self.now,
                                       channel_message_id=f"m{self.count}", payload=payload, language_hint=language)
            conversation_id, message_id = received.conversation.id, received.message.id
        with self.store.read() as session:
            turn = next_turn(session, conversation_id, self.now)
        assert turn is not None
        self.actions_here.calls.clear()
        answer = asyncio.run(self.keeper.answer(Knock.read({
            "conversation_id": turn.conversation_id, "message_id": turn.message_id, "text": turn.text,
            "payload": turn.payload, "mode": turn.mode, "context": turn.context})))
        read = answer["understood"]
        sentiment = read["sentiment"] or {}
        with self.store.write() as session:
            complete_turn(session, turn, now=self.now,
                          replies=[Reply(reply["text"], reply["buttons"]) for reply in answer["replies"]],
                          understood=Understood(read["intent"], read["confidence"], read["language"],
                                                sentiment.get("anger"), sentiment.get("valence"), read["entities"],
                                                read["articles"]))
        with self.store.read() as session:
            said = session.scalars(sa.select(Message).where(
                Message.in_reply_to_id == message_id, Message.direction == "outgoing",
                sa.or_(Message.delivery_state.is_(None), Message.delivery_state != "dropped"))
                .order_by(Message.position)).all()
            status = session.scalar(sa.select(Conversation.status).where(Conversation.id == conversation_id))
            return Heard([{"text": message.text, "buttons": message.buttons} for message in said], read, status,
                         list(self.actions_here.calls))


def load_agent(model: Path) -> Agent:
    """The dialogue engine with a trained model; it may serve many talks, one after the other."""
    agent = Agent(generator=BilingualResponses())
    agent.load_model(str(model))
    return agent


def talk_with(agent: Agent, store: Store, now: datetime) -> Talk:
    """Everything put together: the agent with this store, and the actions here."""
    assert agent.processor is not None
    endpoint = ActionsHere("http://actions.invalid/webhook", enable_selective_domain=True)
    agent.processor.action_endpoint = endpoint
    agent.tracker_store = CrmTrackerStore(agent.domain, store=store)
    talk = Talk(store, now, ScriptedDoorkeeper(agent), endpoint, OutboxHere())
    actions.store.use(store, lambda: talk.now, code_sender=talk.outbox)
    return talk

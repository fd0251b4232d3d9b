"""Customers who write to a bot in their own time: one message or two or three at once, then they wait for an answer."""
from __future__ import annotations

import random
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from bench.telegram_double import Double

QUESTIONS = (
    "你好", "怎么退货", "what are your opening hours", "羊毛毯可以机洗吗", "积分怎么算的", "谢谢",
    "how long is the warranty", "可以用花呗付款吗", "what can you do", "送到西藏要几天",
)
PATIENCE = 45.0  # seconds a customer waits for an answer before writing on
PAUSE = (0.2, 2.0)  # seconds between an answer and the next message
LOOK_SECONDS = 0.05
TWICE = 0.1  # the part of the updates that come twice


@dataclass
class Person:
    """One customer: how much they still want to say, and how much was said in their chat."""

    chat_id: int
    left: int
    asked: int = 0
    answered: int = 0
    next_at: float = 0.0
    gives_up_at: float = 0.0


@dataclass
class Customers:
    """Many of them at once, in one thread.

    Attributes:
        double: the Telegram they use.
        bot_id: whom they write to.
        people: how many.
        each: messages of each.
        random: decides on pauses, bursts and repeated updates.
        said_at: when each message was said, by chat and message id.
    """

    double: Double
    bot_id: int
    people: int
    each: int
    random: random.Random
    first_chat: int = 1
    patience: float = PATIENCE
    questions: Sequence[str] = QUESTIONS
    said_at: dict[tuple[int, int], float] = field(default_factory=dict)
    repeated: int = 0
    stopping: threading.Event = field(default_factory=threading.Event)

    @property
    def total(self) -> int:
        """How many messages there will be."""
        return self.people * self.each

    @property
    def chats(self) -> range:
        """Where they write."""
        return range(self.first_chat, self.first_chat + self.people)

    def run(self) -> None:
        """Say everything."""
        now = time.monotonic()
        people = [Person(chat_id, self.each, next_at=now + self.random.uniform(0, 5)) for chat_id in self.chats]
        while people and not self.stopping.wait(LOOK_SECONDS):
            for person in people:
                self._look(person, time.monotonic())
            people = [person for person in people if person.left]

    def _look(self, person: Person, now: float) -> None:
        with self.double.lock:
            chat = self.double.messages.get((self.bot_id, person.chat_id), ())
            answered = len(chat) - person.asked
        if answered > person.answered:
            person.answered, person.gives_up_at = answered, 0.0
            person.next_at = now + self.random.uniform(*PAUSE)
        if now < person.next_at or now < person.gives_up_at:
            return
        for _ in range(min(person.left, self.random.choice((1, 1, 1, 2, 3)))):
            self._say(person)
        person.gives_up_at = now + self.patience

    def _say(self, person: Person) -> None:
        text = self.questions[(person.chat_id + person.asked) % len(self.questions)]
        person.asked, person.left = person.asked + 1, person.left - 1
        twice = self.random.random() < TWICE
        with self.double.lock:
            update = self.double.say(self.bot_id, person.chat_id, text)
            if twice:
                self.double.bots[self.bot_id].updates.append(update)
                self.repeated += 1
        self.said_at[person.chat_id, update["message"]["message_id"]] = time.time()

"""Replays the demo shop's past conversations through the services, each step at its own time and all in order."""
from __future__ import annotations

import heapq
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from crm_store.demo import sentences as said
from crm_store.demo.files import ArticleFile, ShopFiles
from crm_store.demo.shopping import Person
from crm_store.models import (
    BusinessCalendar,
    ChannelIdentity,
    Conversation,
    Message,
    Notification,
    SlaClock,
    SupportAgent,
    Ticket,
)
from crm_store.rules.calendar import BusinessHours
from crm_store.rules.complaints import GRADES, grade_complaint
from crm_store.services import complaints as complaint_services
from crm_store.services import handoff, sla
from crm_store.services.dispatch import Reply, Understood, complete_turn, next_turn
from crm_store.services.messages import receive_message

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
QUESTIONS, HANDOFFS = 25, 6
CHANNELS = ("web", "web", "telegram", "http")
LATE = 0.2  # the share of complaints whose first answer came too late
TOUR_COMPLAINTS = (  # customer, words of the complaint, days ago
    ("WLC00001", "699 的羊毛毯", 74), ("WLC00002", "charged twice for the winter quilt", 150),
)
OPEN_NOW = (("zh", "refund"), ("en", "quality"), ("zh", "quality"), ("zh", "delivery"))  # language, category
Steps = Iterator[datetime]


@dataclass
class Story:
    """One conversation to replay. ``stage`` tells how far it got: "all", "unanswered" or "answered_once"."""

    person: Person
    start: datetime
    channel: str
    complaint: dict[str, Any] | None = None
    calls: str | None = None  # the reason for which it is handed over, besides major complaints
    topic: tuple[said.Said, said.Said, said.Said] | None = None  # of a call that is no complaint
    article: ArticleFile | None = None
    stage: str = "all"
    delay: float = 0.5  # of the promised time, until the first answer
    score: int | None = None


def replay_talks(session: Session, rng: random.Random, people: Sequence[Person], files: ShopFiles,
                 now: datetime) -> int:
    """Replay the past conversations; four of them are still open at ``now``.

    Returns:
        How many complaints were made.
    """
    stage = _Stage(session, rng, now)
    stories = [*_complaints(rng, people, files, stage.hours, now), *_handoffs(rng, people, stage.hours, now),
               *_questions(rng, people, files.articles, now)]
    stage.play(stories)
    stage.tidy_up()
    return int(session.execute(
        sa.select(sa.func.count()).select_from(Ticket).where(Ticket.kind == "complaint")).scalar_one())


class _Stage:
    """Plays the stories: who says what, at which time."""

    def __init__(self, session: Session, rng: random.Random, now: datetime) -> None:
        self.session, self.rng, self.now = session, rng, now
        self.hours = BusinessHours.of(session.execute(sa.select(BusinessCalendar)).scalars().first())
        self._count = 0

    def play(self, stories: Sequence[Story]) -> None:
        """Take the step that comes first, again and again, until ``now``; the SLA clock runs beside."""
        waiting = [(story.start, number, self._story(story)) for number, story in enumerate(stories)]
        heapq.heapify(waiting)
        looked_at = min(at for at, *_ in waiting)
        while waiting:
            at, number, steps = heapq.heappop(waiting)
            if at > self.now:
                continue
            if at - looked_at > 30 * MINUTE:
                self._run_clock(at)
                looked_at = at
            following = next(steps, None)
            if following is not None:
                heapq.heappush(waiting, (following, number, steps))
        self._run_clock(self.now)

    def tidy_up(self) -> None:
        """What was said long ago has arrived, and what was told about finished business has been seen."""
        open_talks = sa.select(Conversation.id).where(Conversation.status.in_(("open", "snoozed")))
        self.session.execute(
            sa.update(Message).where(Message.delivery_state == "queued")
            .values(delivery_state="delivered", delivered_at=Message.created_at)
            .execution_options(synchronize_session=False))
        self.session.execute(
            sa.update(Notification)
            .where(sa.or_(Notification.created_at < self.now - DAY, Notification.conversation_id.not_in(open_talks)))
            .values(seen_at=Notification.created_at).execution_options(synchronize_session=False))
        self.session.expire_all()

    def _run_clock(self, at: datetime) -> None:
        while sla.tick(self.session, at):
            pass

    def _story(self, story: Story) -> Steps:
        self._know(story)
        if story.article is not None:
            return self._question(story, story.article)
        return self._complaint(story)

    def _know(self, story: Story) -> None:
        where = {"channel": story.channel, "external_id": f"demo-{story.person.number.lower()}"}
        if self.session.execute(sa.select(ChannelIdentity.id).filter_by(**where)).first() is None:
            self.session.add(ChannelIdentity(
                **where, customer_id=story.person.id, linked_at=story.start, language=story.person.language,
                created_at=story.start))
            self.session.flush()

    def _question(self, story: Story, article: ArticleFile) -> Steps:
        """A question that the bot answered alone."""
        language, at = story.person.language, story.start
        questions, answer = ((article.questions_zh, article.body_zh) if language == "zh"
                             else (article.questions_en, article.body_en))
        self._hear(story, self.rng.choice(questions), at, article.intent, self._calm(), article=article,
                   replies=[Reply(answer), Reply(said.BOT_MORE[language])])
        yield at + self.rng.uniform(0.5, 4) * MINUTE
        at += 4 * MINUTE
        self._hear(story, said.BYE[language], at, "thank", self._calm(), replies=[Reply(said.BOT_BYE[language])])

    def _complaint(self, story: Story) -> Steps:
        """A complaint or a call for a person, from the first word to the rating, as far as it got."""
        language, at, rng = story.person.language, story.start, self.rng
        self._hear(story, said.GREETING[language], at, "greet", self._calm(),
                   replies=[Reply(said.BOT_GREETING[language].format(name=story.person.name))])
        at += rng.uniform(0.5, 1) * MINUTE
        yield at
        talk, ticket = 0, None
        if story.topic is not None:
            self._hear(story, story.topic[0][language], at, "out_of_scope", self._calm(),
                       replies=[Reply(story.topic[1][language])])
            at += rng.uniform(0.7, 1.5) * MINUTE
            yield at
        if story.complaint is not None:
            self._hear(story, story.complaint["text"], at, "file_complaint", round(rng.uniform(0.35, 0.68), 2),
                       replies=[Reply(said.BOT_ASKS_WISH[language])])
            at += rng.uniform(0.7, 1.5) * MINUTE
            yield at
            talk, ticket = self._file(story, at)
            at += MINUTE
            yield at
        if story.calls is not None and (ticket is None or ticket.grade != "major"):
            talk, ticket = self._call_for_person(story, ticket, at)
        if story.stage == "unanswered":
            return
        at = self._first_answer_at(story, talk, at)
        yield at
        agent = self._take(talk, at)
        handoff.reply_to_customer(self.session, talk, agent, self._words(said.AGENT_FIRST, story, agent), at)
        at += (self.now - at) * 0.6 if story.stage == "answered_once" else rng.uniform(1, 5) * MINUTE
        yield at
        if story.stage == "answered_once":
            self._hear(story, said.STILL_WAITING[language], at, "ask_complaint_status", 0.58)
            return
        self._hear(story, rng.choice(said.CUSTOMER_ANSWERS)[language], at, "affirm", round(rng.uniform(0.1, 0.5), 2))
        at = self.hours.add(at, rng.uniform(8, 24) * MINUTE)
        yield at
        yield from self._settle(story, talk, agent, ticket, at)

    def _settle(self, story: Story, talk: int, agent: SupportAgent, ticket: Ticket | None, at: datetime) -> Steps:
        """Proposal, resolution, rating, follow-up."""
        language, rng = story.person.language, self.rng
        solution = story.topic[2] if story.topic else said.PROPOSALS[story.complaint["category"] if story.complaint
                                                                     else "service"]
        if ticket is not None and ticket.kind == "complaint":
            complaint_services.propose_solution(self.session, ticket.id, agent, at)
        handoff.reply_to_customer(self.session, talk, agent, solution[language], at)
        at += rng.uniform(1, 4) * MINUTE
        yield at
        self._hear(story, rng.choice(said.THANKS)[language], at, "thank", self._calm())
        at = self.hours.add(at, rng.uniform(2, 10) * MINUTE)
        yield at
        handoff.reply_to_customer(self.session, talk, agent, said.BOT_BYE[language], at)
        handoff.resolve_conversation(self.session, talk, agent, at)
        if story.score is not None:
            at += rng.uniform(1, 90) * MINUTE
            yield at
            self._rate(story, story.score, at)
            if story.score <= 2:
                at = self.hours.add(at, 8 * MINUTE)
                yield at
                lead = self._take(talk, at)
                handoff.reply_to_customer(self.session, talk, lead, self._words((said.LEAD_AGAIN,), story, lead), at)
                at = self.hours.add(at, 5 * HOUR)
                yield at
                handoff.resolve_conversation(self.session, talk, lead, at)
        if story.complaint is not None and rng.random() < 0.85:
            at = self.hours.add(at, rng.uniform(6, 20) * HOUR)
            yield at
            owner = self._owner(talk)
            handoff.reply_to_customer(self.session, talk, owner, self._words((said.FOLLOW_UP,), story, owner), at)

    def _hear(self, story: Story, text: str, at: datetime, intent: str, anger: float, *,
              replies: Sequence[Reply] = (), payload: str | None = None, article: ArticleFile | None = None) -> Message:
        """A customer's message, understood and, while the bot owns the conversation, answered."""
        message = self._receive(story, text, at, payload)
        self._understand(message, at, intent, anger, replies, story.person.language, article)
        return message

    def _receive(self, story: Story, text: str, at: datetime, payload: str | None = None) -> Message:
        self._count += 1
        return receive_message(
            self.session, channel=story.channel, external_id=f"demo-{story.person.number.lower()}", text=text,
            channel_message_id=f"demo-{self._count}", now=at, payload=payload, language_hint=story.person.language,
        ).message

    def _understand(self, message: Message, at: datetime, intent: str, anger: float, replies: Sequence[Reply],
                    language: str, article: ArticleFile | None = None) -> None:
        turn = next_turn(self.session, message.conversation_id, at)
        if turn is None:
            return
        read = Understood(
            intent=intent, confidence=round(self.rng.uniform(0.78, 0.99), 2), language=language, anger=anger,
            valence="negative" if anger > 0.4 else "neutral",
            articles=[{"slug": article.slug, "score": round(self.rng.uniform(0.7, 0.95), 2)}] if article else ())
        complete_turn(self.session, turn, replies=replies, understood=read, now=at + timedelta(seconds=2))

    def _file(self, story: Story, at: datetime) -> tuple[int, Ticket]:
        """The customer says what they wish, and the complaint is filed; a major one goes to a human."""
        language, complaint = story.person.language, story.complaint
        assert complaint is not None
        wish = self.rng.choice(said.WISHES["refund" if complaint["category"] == "refund" else "other"])[language]
        message = self._receive(story, wish, at)
        talk = int(message.conversation_id)
        ticket = complaint_services.file_complaint(
            self.session, conversation_id=talk, message_id=message.id, what=complaint["text"], wish=wish,
            order_number=self._order_number(story), loss_fen=complaint["loss_fen"], now=at)
        if GRADES.index(complaint["grade"]) > GRADES.index(ticket.grade):
            lead = self.session.execute(sa.select(SupportAgent).where(SupportAgent.role == "lead")).scalars().first()
            complaint_services.change_grade(self.session, talk, ticket.id, lead, complaint["grade"], said.RAISED, at)
        if ticket.grade == "major":
            handoff.escalate_conversation(self.session, conversation_id=talk, reason="major_complaint", now=at,
                                          message_id=message.id, anger=0.7, ticket=ticket, language=language)
        replies = [] if ticket.grade == "major" else [Reply(said.BOT_FILED[language].format(number=ticket.number))]
        self._understand(message, at, "inform", round(self.rng.uniform(0.3, 0.66), 2), replies, language)
        return talk, ticket

    def _call_for_person(self, story: Story, ticket: Ticket | None, at: datetime) -> tuple[int, Ticket | None]:
        language, angry = story.person.language, story.calls == "anger"
        anger = round(self.rng.uniform(0.84, 0.97) if angry else self.rng.uniform(0.3, 0.6), 2)
        message = self._receive(story, self.rng.choice(said.ANGRY if angry else said.ASKS_PERSON)[language], at)
        handed = handoff.escalate_conversation(
            self.session, conversation_id=message.conversation_id, reason=story.calls or "asked", now=at,
            message_id=message.id, anger=anger, ticket=ticket, language=language)
        self._understand(message, at, "file_complaint" if angry else "request_human", anger, (), language)
        return int(message.conversation_id), handed.ticket

    def _first_answer_at(self, story: Story, talk: int, at: datetime) -> datetime:
        clock = self.session.execute(
            sa.select(SlaClock).join(Ticket, Ticket.id == SlaClock.ticket_id)
            .where(Ticket.conversation_id == talk, SlaClock.promise == "first_response")
            .order_by(SlaClock.id.desc()).limit(1)).scalar_one()
        return max(self.hours.add(clock.started_at, timedelta(seconds=clock.target_seconds) * story.delay), at + MINUTE)

    def _take(self, talk: int, at: datetime) -> SupportAgent:
        agent = self._owner(talk)
        handoff.claim_conversation(self.session, talk, agent, at)
        return agent

    def _owner(self, talk: int) -> SupportAgent:
        owner: SupportAgent | None = self.session.execute(
            sa.select(SupportAgent).join(Conversation, Conversation.assignee_id == SupportAgent.id)
            .where(Conversation.id == talk)).scalar_one_or_none()
        if owner is None:
            owner = self.session.execute(sa.select(SupportAgent).where(SupportAgent.role == "lead")).scalars().one()
        return owner

    def _rate(self, story: Story, score: int, at: datetime) -> None:
        payload = f'/rate{{"score": {score}}}'
        self._receive(story, payload, at, payload=payload)

    def _order_number(self, story: Story) -> str | None:
        there = [order.number for order in story.person.orders if order.timeline.when("delivered", story.start)]
        return there[-1] if there else None

    def _words(self, choices: Sequence[said.Said], story: Story, agent: SupportAgent) -> str:
        return self.rng.choice(choices)[story.person.language].format(name=story.person.name, agent=agent.name)

    def _calm(self) -> float:
        return round(self.rng.uniform(0.01, 0.18), 2)


def _complaints(rng: random.Random, people: Sequence[Person], files: ShopFiles, hours: BusinessHours,
                now: datetime) -> list[Story]:
    """A story for each complaint: the last ones are open now, two are of the customers of the tour."""
    by_number = {person.number: person for person in people}
    tour = {words: (by_number[number], days) for number, words, days in TOUR_COMPLAINTS}
    others = [person for person in people if person.number not in {number for number, *_ in TOUR_COMPLAINTS}]
    rng.shuffle(others)
    left = {language: [p for p in others if p.language == language and p.wanted_tier != "platinum"]
            for language in ("zh", "en")}
    noble = [person for person in others if person.wanted_tier == "platinum" and person.language == "zh"]
    open_now = iter(((9 * MINUTE, "anger", "unanswered"), (75 * MINUTE, "asked", "answered_once"),
                     (40 * MINUTE, None, "unanswered"), (136 * MINUTE, "asked", "unanswered")))
    wanted_open = _one_each(files.complaints, OPEN_NOW)
    stories: list[Story] = []
    for complaint in files.complaints:
        language, text = complaint["language"], complaint["text"]
        of_tour = next((who for words, who in tour.items() if words in text), None)
        if of_tour is not None:
            person, start = of_tour[0], hours.next_opening(now - of_tour[1] * DAY) + HOUR
        elif complaint in wanted_open and (case := next(open_now, None)):
            stories.append(Story(left[language].pop(), now - case[0], "web", complaint, case[1], stage=case[2],
                                 delay=0.1))
            continue
        else:
            person = noble.pop() if "铂金" in text and noble else left[language].pop()
            start = hours.next_opening(now - rng.uniform(8, 340) * DAY) + rng.uniform(0.1, 3) * HOUR
            if _needs_earlier(complaint) and (earlier := _earlier(stories, language, now)):
                person, start = earlier.person, earlier.start + rng.uniform(8, 14) * DAY
        story = Story(person, start, rng.choice(CHANNELS), complaint, rng.choice((None, None, "asked", "anger")),
                      delay=rng.uniform(1.2, 2.2) if rng.random() < LATE else rng.uniform(0.1, 0.75),
                      score=rng.choice((None, None, 5, 5, 5, 4, 4, 3, 2)))
        if of_tour is not None:
            story.score, story.delay = 5, 0.4
        stories.append(story)
    return stories


def _needs_earlier(complaint: dict[str, Any]) -> bool:
    """Whether its grade comes from a complaint shortly before."""
    alone = grade_complaint(text=complaint["text"], loss_fen=complaint["loss_fen"]).grade
    return alone != complaint["grade"] and any(words in complaint["text"] for words in ("投诉过", "already complained"))


def _earlier(stories: Sequence[Story], language: str, now: datetime) -> Story | None:
    """A finished ordinary story that leaves time for another before now."""
    for story in stories:
        fits = story.stage == "all" and story.complaint is not None and story.complaint["grade"] == "ordinary"
        if fits and story.person.language == language and story.start < now - 21 * DAY:
            return story
    return None


def _one_each(complaints: Sequence[dict[str, Any]], wanted: Sequence[tuple[str, str]]) -> list[dict[str, Any]]:
    chosen: list[dict[str, Any]] = []
    for language, category in wanted:
        chosen += [each for each in complaints if each not in chosen and each["language"] == language
                   and each["category"] == category and each["grade"] == "ordinary"][:1]
    return chosen


def _handoffs(rng: random.Random, people: Sequence[Person], hours: BusinessHours, now: datetime) -> list[Story]:
    """Calls for a person without a complaint, all settled."""
    starts = [hours.next_opening(now - rng.uniform(6, 300) * DAY) + rng.uniform(0.1, 3) * HOUR for _ in range(HANDOFFS)]
    return [Story(rng.choice(people[2:]), start, rng.choice(CHANNELS), calls=rng.choice(("asked", "asked", "stuck")),
                  topic=said.TOPICS[number % len(said.TOPICS)], delay=rng.uniform(0.1, 0.8),
                  score=rng.choice((None, 5, 4))) for number, start in enumerate(starts)]


def _questions(rng: random.Random, people: Sequence[Person], articles: Sequence[ArticleFile],
               now: datetime) -> list[Story]:
    """Questions that the bot answered alone."""
    return [Story(rng.choice(people[2:]), now - rng.uniform(0.2, 120) * DAY, rng.choice(CHANNELS),
                  article=rng.choice(articles)) for _ in range(QUESTIONS)] if articles else []

"""Suggestions are kept, sorted and answered; customers are asked at most once a quarter whether they recommend us."""
from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crm_store.errors import InvalidMessage, NotAllowed, NotFound
from crm_store.models import Feedback, Message, Rating, Recommendation
from crm_store.queries import figures, listening
from crm_store.queries.figures import Scope
from crm_store.rules.figures import Period
from crm_store.rules.suggestions import TOPICS, net_promoter, survey_due, topic_of
from crm_store.services.customers import unlink_identity
from crm_store.services.handoff import claim_conversation, escalate_conversation, resolve_conversation
from crm_store.services.listening import answer_feedback, keep_feedback, recommendation_in, sort_feedback
from tests.crm.conftest import Desk

DAY = timedelta(days=1)


@pytest.mark.parametrize(("text", "topic"), [
    ("建议包装换成纸盒，少用泡沫", "packaging"), ("希望快递可以放门口", "delivery"), ("积分能不能换现金券", "points"),
    ("小程序搜索太难用了", "app"), ("运费太贵", "price"), ("客服态度要改进", "service"),
    ("这款茶能出小包装就好了", "packaging"),
    ("口味可以再多几种", "product"), ("包装很用心，点赞", "praise"), ("Please add a dark mode to the site", "app"),
    ("Great service, love you all", "praise"), ("more flavours would be nice", "product"), ("哈哈", "other"),
    ("", "other"),
])
def test_a_suggestion_has_the_topic_of_its_words(text: str, topic: str) -> None:
    assert topic_of(text) == topic


@given(st.text())
def test_every_text_has_a_topic(text: str) -> None:
    assert topic_of(text) in TOPICS


@given(st.dictionaries(st.integers(0, 10), st.integers(0, 50)))
def test_the_net_promoter_score_lies_in_its_interval(counts: dict[int, int]) -> None:
    found = net_promoter(counts)
    if not found.answers:
        assert found.score is None and found.interval is None
        return
    assert found.score is not None and found.interval is not None
    low, high = found.interval
    assert -100 <= low <= found.score + 1e-9 and found.score <= high + 1e-9 <= 100 + 1e-6


def test_a_score_by_hand() -> None:
    found = net_promoter({10: 5, 9: 1, 8: 2, 6: 1, 0: 1})
    assert (found.answers, found.promoters, found.detractors, found.score) == (10, 6, 2, 40)
    assert found.interval == pytest.approx((-9.6, 89.6), abs=0.1)  # 1.96 · sqrt((0.8 - 0.16) / 10)


def test_a_quarter_lies_between_two_askings() -> None:
    now = datetime(2026, 11, 1, tzinfo=timezone.utc)
    assert survey_due(None, now) and survey_due(now - 91 * DAY, now) and not survey_due(now - 90 * DAY, now)


class Talk:
    """A customer whose conversation is resolved and rated again and again."""

    def __init__(self, desk: Desk) -> None:
        self.desk, self.at = desk, desk.now
        self.customer = desk.customer("visitor")

    def says(self, text: str, payload: str | None = None) -> Any:
        self.at += timedelta(seconds=1)
        return self.desk.write(text, payload=payload, at=self.at)

    def resolved(self) -> Any:
        received = self.says("你好")
        conversation, wang = received.conversation.id, self.desk.agent("wang")
        self.desk.do(escalate_conversation, conversation_id=conversation, message_id=received.message.id,
                     reason="asked", now=self.at)
        self.desk.do(claim_conversation, conversation, wang, self.at)
        self.desk.do(resolve_conversation, conversation, wang, self.at)
        return conversation

    def rate(self, score: int) -> Any:
        return self.says(str(score), f'/rate{{"score": {score}}}')

    def recommend(self, score: int) -> Any:
        return self.says(str(score), f'/recommend{{"score": {score}}}')

    def asked(self) -> list[tuple[int | None, int | None]]:
        return [(each.score, each.agent_id) for each in self.desk.all(Recommendation)]

    def told(self) -> list[str]:
        return [each.text for each in self.desk.all(Message, Message.author == "system")]


@pytest.fixture
def talk(desk: Desk) -> Talk:
    return Talk(desk)


@pytest.fixture
def lite_talk(sqlite_desk: Desk) -> Talk:
    return Talk(sqlite_desk)


def test_a_good_rating_is_followed_by_the_survey_and_its_answer_counts_once(talk: Talk) -> None:
    wang = talk.desk.agent("wang").id
    conversation = talk.resolved()
    talk.rate(5)
    question = talk.desk.all(Message, Message.author == "system")[-1]
    assert "推荐" in question.text and [each["title"] for each in question.buttons] == [str(n) for n in range(11)]
    pressed = talk.recommend(9)
    talk.recommend(0)
    assert talk.asked() == [(9, wang)]
    assert pressed.message.handled_at is not None, "no turn of the bot"
    assert talk.desk.conversation(conversation).status == "resolved", "an answer reopens nothing"
    period = Period(talk.at.date(), talk.at.date(), ZoneInfo("Asia/Shanghai"))
    found = talk.desk.ask(listening.recommended_by_agent, Scope(period))
    assert {name: (each.answers, each.score) for name, each in found.items()} == {wang: (1, 100)}
    (policy,) = talk.desk.ask(listening.recommended_by_policy, Scope(period))
    scored = talk.desk.ask(figures.scores_of_policies, Scope(period))
    assert policy is not None and [(each.name, each.score) for each in scored] == [(policy, 5)]


def test_nobody_is_asked_twice_in_a_quarter(lite_talk: Talk) -> None:
    for later, times in ((0, 1), (30, 1), (92, 2)):
        lite_talk.at = lite_talk.desk.now + later * DAY
        lite_talk.resolved()
        lite_talk.rate(4)
        assert len(lite_talk.asked()) == times


def test_the_unhappy_and_guests_are_not_asked(lite_talk: Talk) -> None:
    lite_talk.resolved()
    lite_talk.rate(2)
    guest = lite_talk.desk.write("你好", sender="guest")
    wang = lite_talk.desk.agent("wang")
    lite_talk.desk.do(escalate_conversation, conversation_id=guest.conversation.id, message_id=guest.message.id,
                      reason="asked", now=lite_talk.at)
    lite_talk.desk.do(claim_conversation, guest.conversation.id, wang, lite_talk.at)
    lite_talk.desk.do(resolve_conversation, guest.conversation.id, wang, lite_talk.at)
    lite_talk.desk.write("5", sender="guest", payload='/rate{"score": 5}')
    assert len(lite_talk.desk.all(Rating)) == 2 and lite_talk.asked() == []


@pytest.mark.parametrize("score", [11, -1, 100])
def test_only_a_button_that_was_offered_answers_the_survey(lite_talk: Talk, score: int) -> None:
    lite_talk.resolved()
    lite_talk.rate(5)
    lite_talk.recommend(score)
    assert [each[0] for each in lite_talk.asked()] == [None]
    assert recommendation_in(f'/recommend{{"score": {score}}}') is None


def test_the_answer_still_counts_when_the_conversation_goes_on(lite_talk: Talk) -> None:
    lite_talk.resolved()
    lite_talk.rate(5)
    lite_talk.says("还有一个问题")
    lite_talk.recommend(7)
    assert [each[0] for each in lite_talk.asked()] == [7]


def suggested(desk: Desk, text: str, sender: str = "visitor") -> tuple[int, int]:
    received = desk.write(text, sender=sender)
    kept = [desk.do(keep_feedback, conversation_id=received.conversation.id, message_id=received.message.id, text=text,
                    customer_id=received.conversation.customer_id, now=desk.now).id for _ in range(2)]
    assert kept[0] == kept[1], "once for each message"
    return kept[0], received.conversation.id


def test_authors_are_told_once_what_becomes_of_their_suggestion(desk: Desk) -> None:
    first, talk = suggested(desk, "建议包装换成纸盒")
    second, other = suggested(desk, "Please add a dark mode to the site", sender="ann")
    lead = desk.agent("lead")
    for _ in range(2):
        desk.do(answer_feedback, lead, [first, second], status="done", answer="从 12 月起。", now=desk.now)
    told = {each.conversation_id: each.text for each in desk.all(Message, Message.author == "system")}
    assert set(told) == {talk, other}
    assert told[talk].splitlines() == ["您之前的建议「建议包装换成纸盒」已经实现了，谢谢您！", "从 12 月起。"]
    assert told[other].startswith("You suggested: “Please add a dark mode to the site” It is done.")
    desk.do(answer_feedback, lead, [first], status="new", answer="", now=desk.now)
    assert len(desk.all(Message, Message.author == "system")) == 2, "taking a decision back tells nobody"


def test_suggestions_are_counted_by_topic_and_status(sqlite_desk: Desk) -> None:
    desk, lead = sqlite_desk, sqlite_desk.agent("lead")
    ids = [suggested(desk, text)[0] for text in ("希望快递快点", "快递可以放门口吗", "积分太少，希望多送")]
    desk.do(sort_feedback, lead, ids[1], "service", desk.now)
    desk.do(answer_feedback, lead, [ids[0]], status="planned", answer="", now=desk.now)
    found = desk.ask(listening.suggestions, lead, status="new")
    assert (found.total, found.by_topic, found.by_status) == (
        2, {"service": 1, "points": 1}, {"new": 2, "planned": 1})
    shown = desk.ask(listening.suggestions, lead, topic="delivery", page=9).rows
    assert [each.text for each in shown] == ["希望快递快点"]


def test_what_cannot_be_is_refused(sqlite_desk: Desk) -> None:
    desk, lead = sqlite_desk, sqlite_desk.agent("lead")
    one, _ = suggested(desk, "希望快递快点")
    for bad in ({"status": "hacked", "answer": ""}, {"status": "done", "answer": "x" * 1001}):
        with pytest.raises(InvalidMessage):
            desk.do(answer_feedback, lead, [one], now=desk.now, **bad)
    with pytest.raises(InvalidMessage):
        desk.do(sort_feedback, lead, one, "x", desk.now)
    with pytest.raises(NotFound):
        desk.do(answer_feedback, lead, [one, 10**6], status="done", answer="", now=desk.now)
    with pytest.raises(NotAllowed):
        desk.do(answer_feedback, desk.agent("wang"), [one], status="done", answer="", now=desk.now)
    assert [each.status for each in desk.all(Feedback)] == ["new"]


def test_an_answer_is_not_read_by_whoever_has_the_channel_now(sqlite_desk: Desk) -> None:
    sqlite_desk.customer("visitor")
    one, _ = suggested(sqlite_desk, "建议包装换成纸盒")
    (message,) = sqlite_desk.all(Message)
    sqlite_desk.do(unlink_identity, message.identity_id, sqlite_desk.now)
    told = sqlite_desk.do(answer_feedback, sqlite_desk.agent("lead"), [one], status="done", answer="",
                          now=sqlite_desk.now)
    assert told == 0 and sqlite_desk.all(Message, Message.author == "system") == []
    assert [each.status for each in sqlite_desk.all(Feedback)] == ["done"]

"""General questions whose intent looks into the customer's own data: the article first, their own at a button."""
from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from rasa_sdk import Tracker
from rasa_sdk.executor import CollectingDispatcher

from actions.base import LISTEN, ShopAction
from actions.complaints import ActionComplaintStatus
from actions.orders import ActionRefundStatus
from actions.points import ActionPointsBalance, ActionPointsExpiry, ActionPointsHistory, ActionTier
from actions.privacy import ActionManagePrivacy
from actions.turn import Turn
from bench.evaluation.knowledge_store import NOW, KnowledgeStore, knowledge_store

SURE, UNSURE = 0.8, 0.6


@pytest.fixture(scope="module")
def knowledge() -> Iterator[KnowledgeStore]:
    with knowledge_store(None) as opened:
        yield opened


def said(knowledge: KnowledgeStore, action: ShopAction, text: str, intent: str, slug: str,
         score: float = SURE) -> tuple[list[dict[str, Any]], list[str]]:
    """What a guest hears, and what runs next."""
    message = {"text": text, "intent": {"name": intent, "confidence": 0.9}, "entities": [], "language": "en",
               "sentiment": {"anger": 0.05, "valence": "neutral"}, "articles": [{"slug": slug, "score": score}]}
    dispatcher = CollectingDispatcher()
    with knowledge.store.read() as session:
        turn = Turn(session, Tracker(str(knowledge.conversation_id), {}, message, [], False, None, {}, LISTEN),
                    dispatcher, NOW)
        action.act(turn)
    return dispatcher.messages, [event["name"] for event in turn.events if event["event"] == "followup"]


@pytest.mark.parametrize(("action", "text", "intent", "slug"), [
    (ActionRefundStatus(), "how long does a refund take", "ask_refund_status", "refund-times"),
    (ActionPointsExpiry(), "do points expire", "ask_points_expiry", "points-expiry"),
    (ActionTier(), "what does gold need", "ask_tier", "tiers"),
    (ActionComplaintStatus(), "what happens after a complaint", "ask_complaint_status", "complaint-process"),
])
def test_a_general_question_gets_the_article_and_a_way_to_ones_own(
        knowledge: KnowledgeStore, action: ShopAction, text: str, intent: str, slug: str) -> None:
    title = next(article.title_en for article in knowledge.articles if article.slug == slug)
    heard, follows = said(knowledge, action, text, intent, slug)
    assert [one["response"] for one in heard] == ["utter_answer", "utter_look_into_own"]
    assert heard[0]["title"] == title
    assert heard[1]["buttons"] == [{"title": "Look into mine", "payload": f"/{intent}"}]
    assert follows == []


def test_ones_own_refund_is_looked_into_and_so_is_what_is_near_to_no_article(knowledge: KnowledgeStore) -> None:
    for text, score in (("where is my refund", SURE), ("how long does a refund take", UNSURE)):
        assert said(knowledge, ActionRefundStatus(), text, "ask_refund_status", "refund-times", score) == (
            [], ["order_status_form"])


@pytest.mark.parametrize(("action", "text", "intent", "slug"), [
    (ActionPointsExpiry(), "我的积分什么时候过期", "ask_points_expiry", "points-expiry"),
    (ActionTier(), "查会员等级", "ask_tier", "tiers"), (ActionTier(), "等级看一下", "ask_tier", "tiers"),
    (ActionTier(), "member level check", "ask_tier", "tiers"),
    (ActionPointsBalance(), "查积分", "ask_points_balance", "link-by-code"),
    (ActionPointsBalance(), "积分余额", "ask_points_balance", "points-rules"),
    (ActionPointsBalance(), "current points", "ask_points_balance", "points-rules"),
    (ActionPointsHistory(), "积分明细", "ask_points_history", "points-rules"),
    (ActionPointsHistory(), "200 points disappeared", "ask_points_history", "points-rules"),
])
def test_ones_own_points_need_a_link_however_like_an_article_it_sounds(
        knowledge: KnowledgeStore, action: ShopAction, text: str, intent: str, slug: str) -> None:
    heard, follows = said(knowledge, action, text, intent, slug)
    assert [one["response"] for one in heard] == ["utter_link_first"] and follows == ["link_form"]


def test_a_question_about_data_is_no_wish_for_them(knowledge: KnowledgeStore) -> None:
    heard, _ = said(knowledge, ActionManagePrivacy(), "who sees the records", "manage_privacy", "privacy-rights")
    assert [one["response"] for one in heard] == ["utter_answer"]
    heard, follows = said(knowledge, ActionManagePrivacy(), "delete the chats", "manage_privacy", "privacy-rights")
    assert [one["response"] for one in heard] == ["utter_link_first"] and follows == ["link_form"]

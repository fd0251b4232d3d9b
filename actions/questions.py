"""Answers questions from the knowledge articles, and says so honestly where there is none."""
from __future__ import annotations

import sqlalchemy as sa

from actions.articles import LEAST_SURE, SURE_ENOUGH, nearest_article, tell_article
from actions.base import ShopAction, hand_over_stuck, is_stuck
from actions.complaints import complaint_number_in
from actions.linking import offer_unlinking, wants_unlinking
from actions.order_choice import number_in_message
from actions.orders import tell_other_order
from actions.reading import likeness, wants_other_one
from actions.requests import correct_request
from actions.turn import Turn
from actions.wording import tier_name
from crm_store.models import ArticlePassage, KnowledgeArticle
from crm_store.queries.knowledge import article, articles_about
from crm_store.services.points import tier_standing

NOT_UNDERSTOOD = "not_understood"


class ActionAnswerQuestion(ShopAction):
    """Answers with the nearest article, and names it."""

    called = "action_answer_question"

    def act(self, turn: Turn) -> None:
        """Where no article is likelier to answer than not, say that there is no answer."""
        if turn.intent == "account_help" and wants_unlinking(turn.text):
            offer_unlinking(turn)
            return
        found = best_article(turn)
        if found is None:
            not_answered(turn, "utter_no_answer")
            return
        tell_article(turn, found)
        if turn.intent == "ask_points_rules" and turn.customer is not None:
            standing = tier_standing(turn.session, turn.customer.id, turn.now)
            turn.say("utter_answer_tier_multiplier", tier=tier_name(standing.tier, turn.language),
                     multiplier=f"{standing.tier.multiplier:g}")
        if turn.intent == "ask_return_policy":
            turn.offer("request_return", "utter_offer_return")


class ActionNotUnderstood(ShopAction):
    """Says that the message was not understood; three in a row bring a person (the escalation policy sees to it)."""

    called = "action_not_understood"

    def act(self, turn: Turn) -> None:
        """A message that is very near to an article is answered after all."""
        found = nearest_article(turn, SURE_ENOUGH)
        if found is not None:
            tell_article(turn, found)
            return
        not_answered(turn, "utter_not_understood" if lost_before(turn) == 0 else "utter_not_understood_again")


class ActionDefaultFallback(ActionNotUnderstood):
    """What Rasa runs where no rule fits."""

    called = "action_default_fallback"


class ActionTakeDetail(ShopAction):
    """A detail that nobody asked for: an order's number means its status, a complaint's number how it stands."""

    called = "action_take_detail"

    def act(self, turn: Turn) -> None:
        """Otherwise ask what it is for."""
        if wants_other_one(turn.text) and (correct_request(turn) or tell_other_order(turn)):
            return
        if number_in_message(turn) is not None:
            turn.then("order_status_form")
        elif complaint_number_in(turn) is not None:
            turn.then("action_complaint_status")
        else:
            turn.say("utter_detail_for_what")


def best_article(turn: Turn) -> KnowledgeArticle | None:
    """The article that answers, or None."""
    named = turn.entity("article")
    if named is not None:
        return article(turn.session, named)
    if not turn.message.get("articles"):  # the encoder is not there
        return most_alike(turn, articles_about(turn.session, turn.intent or ""))
    return nearest_article(turn, LEAST_SURE)


def most_alike(turn: Turn, own: list[KnowledgeArticle]) -> KnowledgeArticle | None:
    """Of the intent's own articles the one whose title or questions share most signs with the message."""
    if len(own) < 2:
        return own[0] if own else None
    texts = turn.session.execute(
        sa.select(ArticlePassage.article_id, ArticlePassage.text).where(
            ArticlePassage.article_id.in_([each.id for each in own]), ArticlePassage.language == turn.language))
    best = max(texts, key=lambda row: likeness(turn.text, row.text), default=None)
    return own[0] if best is None else next(each for each in own if each.id == best.article_id)


def not_answered(turn: Turn, response: str) -> None:
    """Say that there is no answer and remember it; the third time in a row brings a person instead."""
    lost = lost_before(turn) + 1
    turn.remember(not_understood=str(turn.message_id))
    if is_stuck(misunderstood_in_a_row=lost):
        hand_over_stuck(turn)
        return
    turn.say(response)
    turn.remember(offer="request_human")


def lost_before(turn: Turn) -> int:
    """How many messages in a row before this one the bot could not answer, since the last handoff."""
    turns: list[bool] = []
    for event in turn.tracker.events:
        if event["event"] == "user":
            turns.append(False)
        elif event["event"] == "slot" and event["value"] and turns:
            if event["name"] == NOT_UNDERSTOOD:
                turns[-1] = True
            elif event["name"] == "handover_reason":
                turns = []
    lost = 0
    for not_understood in reversed(turns[:-1]):
        if not not_understood:
            break
        lost += 1
    return lost

"""Telling a knowledge article, also where a message was taken for a wish to look into the customer's own data."""
from __future__ import annotations

from actions.reading import any_of
from actions.turn import Turn
from crm_store.models import KnowledgeArticle
from crm_store.queries.knowledge import article

# The score of an article is the probability that it answers the message (bot.articles).
LEAST_SURE = 0.5
SURE_ENOUGH = 0.7  # where the NLU took the message for something that articles do not answer
OWN = any_of(
    "我的", "我(那|这|這|还|還|有|是|能|上|昨|现在|現在|积|積|等级|等級|算)", "俺", "给我(查|看)", "帮我", "幫我",
    "^查", "(查|看)(一下|下|一哈)$", r"\bmy\b", r"\bmine\b", r"\bi (have|had|got)\b", r"\b(am|was|did|have|do) i\b",
    r"\bi'(m|ve)\b", r"^check\b", r"\bcheck( (pls|plz|please))?$",
)


def tell_article(turn: Turn, found: KnowledgeArticle) -> None:
    """Say the article's text and its title."""
    chinese = turn.language == "zh"
    turn.say("utter_answer", body=found.body_zh if chinese else found.body_en,
             title=found.title_zh if chinese else found.title_en)


def nearest_article(turn: Turn, least: float) -> KnowledgeArticle | None:
    """The likeliest article, where it is at least so sure to answer the message."""
    near = max(turn.message.get("articles") or [], key=lambda row: float(row["score"]), default=None)
    return article(turn.session, near["slug"]) if near is not None and near["score"] >= least else None


def general_article(turn: Turn) -> KnowledgeArticle | None:
    """The article that surely answers a message which speaks of nothing of the customer's own."""
    return None if OWN.search(turn.text) else nearest_article(turn, SURE_ENOUGH)


def answered_in_general(turn: Turn) -> bool:
    """Answer a guest's general question, and let a button look into their own data; whether it was one."""
    found = general_article(turn)
    if found is None:
        return False
    tell_article(turn, found)
    turn.say("utter_look_into_own", buttons=[
        {"title": turn.by("查我自己的", "Look into mine"), "payload": f"/{turn.intent}"}])
    return True

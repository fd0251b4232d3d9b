"""The section of knowledge: which article the bot's own actions tell in answer to held-out questions."""
from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from rasa_sdk import Tracker
from rasa_sdk.executor import CollectingDispatcher

from actions.base import LISTEN, ShopAction
from actions.complaints import ActionComplaintStatus
from actions.orders import ActionRefundStatus
from actions.points import ActionPointsBalance, ActionPointsExpiry, ActionPointsHistory, ActionTier
from actions.privacy import ActionManagePrivacy
from actions.questions import ActionAnswerQuestion, ActionNotUnderstood
from actions.turn import Turn
from bench.evaluation.held_out import LANGUAGES, ROOT, by_language, read_records
from bench.evaluation.knowledge_store import NOW, KnowledgeStore, knowledge_store
from bench.evaluation.reader import Reader
from bot.articles import ArticleFinder

RIGHT, OTHER, REFUSED, ELSEWHERE = "right article", "another article", "refused", "another action"
OUTCOMES = (RIGHT, OTHER, REFUSED, ELSEWHERE)
FROM_ARTICLES_ALONE = (ActionAnswerQuestion, ActionNotUnderstood)
ALSO_FROM_ARTICLES = (ActionRefundStatus, ActionComplaintStatus, ActionManagePrivacy, ActionPointsBalance,
                      ActionPointsExpiry, ActionPointsHistory, ActionTier)


class Question(NamedTuple):
    """A question and the article that answers it; None where none does."""

    text: str
    language: str
    article: str | None


class Answer(NamedTuple):
    """What became of a question.

    Attributes:
        intent: What it was taken for.
        searched: Whether the action that the intent runs answers from articles alone.
        told: The article that was told.
        nearest: The nearest article, whether told or not.
    """

    intent: str
    searched: bool
    told: str | None
    nearest: str | None


def held_out_questions(root: Path = ROOT) -> Iterator[Question]:
    """The lines of ``tests/nlu/questions_zh.jsonl`` and ``questions_en.jsonl``."""
    for language in LANGUAGES:
        for record in read_records(root / f"tests/nlu/questions_{language}.jsonl"):
            yield Question(record["text"], language, record["article"])


def measure_knowledge(reader: Reader) -> dict[str, Any]:
    """The figures by language, and every question that got another answer than it should."""
    questions = list(held_out_questions(reader.root))
    with knowledge_store(reader.encoder, reader.root) as knowledge:
        answers = dict(zip(questions, answered(questions, reader, knowledge), strict=True))
    languages = {language: summary([(question, answers[question]) for question in chosen])
                 for language, chosen in by_language(questions)}
    wrong = [{"language": question.language, "text": question.text, "article": question.article, **answer._asdict()}
             for question, answer in answers.items()
             if outcome(question, answer) != (REFUSED if question.article is None else RIGHT)]
    return {"languages": languages, "wrong": wrong}


def answered(questions: Sequence[Question], reader: Reader, knowledge: KnowledgeStore) -> list[Answer]:
    """Asks each question as a guest's first message."""
    finder = ArticleFinder(knowledge.store, reader.encoder)
    actions = actions_of_intents(reader.root)
    slugs = {title: article.slug for article in knowledge.articles for title in (article.title_zh, article.title_en)}
    answers = []
    for question, intent in zip(questions, reader.intents([question.text for question in questions]), strict=True):
        near = finder.find(question.text, intent)
        message = {"text": question.text, "intent": {"name": intent, "confidence": 0.9}, "entities": [],
                   "language": question.language, "articles": near}
        action = actions.get(intent)
        title = told_title(action, message, knowledge)
        answers.append(Answer(intent, isinstance(action, FROM_ARTICLES_ALONE), slugs.get(title or ""),
                              near[0]["slug"] if near else None))
    return answers


def told_title(action: ShopAction | None, message: dict[str, Any], knowledge: KnowledgeStore) -> str | None:
    """The title of the article that ``action`` tells in answer to a message as the bot's door passes it on."""
    if action is None:
        return None
    tracker = Tracker(str(knowledge.conversation_id), {}, message, [], False, None, {}, LISTEN)
    dispatcher = CollectingDispatcher()
    with knowledge.store.read() as session:
        action.act(Turn(session, tracker, dispatcher, NOW))
    return next((str(said["title"]) for said in dispatcher.messages if said.get("response") == "utter_answer"), None)


def actions_of_intents(root: Path = ROOT) -> dict[str, ShopAction]:
    """By intent the action that the rules run for it, where that action may tell an article."""
    tellers = {action.called: action() for action in (*FROM_ARTICLES_ALONE, *ALSO_FROM_ARTICLES)}
    found = {}
    for path in sorted((root / "data/rules").glob("*.yml")):
        for rule in yaml.safe_load(path.read_text(encoding="utf8"))["rules"]:
            first, *later = rule["steps"]
            if "condition" not in rule and "intent" in first and later and later[0].get("action") in tellers:
                found[str(first["intent"])] = tellers[later[0]["action"]]
    return found


def outcome(question: Question, answer: Answer) -> str:
    """One of ``OUTCOMES``; a question that no article answers has no right one."""
    if answer.told is not None:
        return RIGHT if answer.told == question.article else OTHER
    return REFUSED if answer.searched else ELSEWHERE


def summary(answers: Sequence[tuple[Question, Answer]]) -> dict[str, Any]:
    """Of the answerable questions and of the others their number and the share of each outcome.

    Of the answerable ones also the share whose nearest article, told or not, is the right one.
    """
    answerable = [pair for pair in answers if pair[0].article is not None]
    beyond = [pair for pair in answers if pair[0].article is None]
    nearest = sum(question.article == answer.nearest for question, answer in answerable)
    return {"answerable": {**_shares(answerable), "nearest is right": nearest / max(1, len(answerable))},
            "unanswerable": _shares(beyond)}


def _shares(answers: Sequence[tuple[Question, Answer]]) -> dict[str, float]:
    got = Counter(outcome(question, answer) for question, answer in answers)
    return {"questions": len(answers), **{name: got[name] / max(1, len(answers)) for name in OUTCOMES}}

"""Finds on the articles' own questions, and on some that none answers, how sure the bot may be of an article."""
from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import yaml
from sklearn.linear_model import LogisticRegression

from actions.articles import LEAST_SURE
from bench.evaluation.anger_figures import calibration_error
from bench.evaluation.held_out import LANGUAGES
from bench.evaluation.reader import Reader
from bot.articles import Centred, Found, Sureness
from bot.nlu.encoder import TextEncoder
from bot.nlu.intent_model import OUT_OF_SCOPE, Floats
from bot.nlu.script import detect_language
from crm_store.demo.files import ArticleFile, read_article
from crm_store.queries.knowledge import PassageIndex
from crm_store.services.knowledge import sentences

FOLDS = 4


# The articles' questions are as short as titles; people say more. Each is searched with other words around it.
AS_SAID = {
    "zh": ("{}", "您好，{}", "请问一下{}，谢谢", "我想问问，{}", "前几天在你们家买了东西，{}", "亲，{}，麻烦说一下",
           "{}？第一次在这买，不太懂"),
    "en": ("{}", "hi, {}", "Could you tell me: {} Thanks!", "just wondering, {}",
           "I bought something from you last week. {}", "Hello, quick question, {}",
           "{} It's my first time shopping here, so I'm not sure."),
}


class Passage(NamedTuple):
    """A text by which an article is found; ``fold`` is that in which a question is hidden, None where it never is."""

    text: str
    slug: str
    intent: str
    language: str
    fold: int | None


class Messages(NamedTuple):
    """Messages, their vectors, and what they are taken for."""

    texts: Sequence[str]
    vectors: Floats
    intents: Sequence[str]

    @classmethod
    def read(cls, texts: Sequence[str], reader: Reader, encoder: TextEncoder) -> Messages:
        """Reads them as the bot does."""
        return cls(texts, encoder.encode(texts), reader.intents(texts))

    def at(self, place: int) -> tuple[str, npt.NDArray[np.float32], str]:
        """One of them."""
        return self.texts[place], self.vectors[place], self.intents[place]


class Search(NamedTuple):
    """A message's article and language, what it is taken for, and the articles that were found likely."""

    slug: str | None
    language: str
    intent: str
    found: list[Found]


def passages_of(articles: Sequence[ArticleFile]) -> Iterator[Passage]:
    """What the store makes of the articles: title, questions and sentences in both languages."""
    for article in articles:
        for language, title, questions, body in (
                ("zh", article.title_zh, article.questions_zh, article.body_zh),
                ("en", article.title_en, article.questions_en, article.body_en)):
            for text in (title, *sentences(body)):
                yield Passage(text, article.slug, article.intent, language, None)
            for at, text in enumerate(questions):
                yield Passage(text, article.slug, article.intent, language, at % FOLDS)


def as_said(texts: Sequence[str], languages: Sequence[str]) -> list[str]:
    """The texts as messages, each in the next of the ways of its language."""
    return [AS_SAID[language][at % len(AS_SAID[language])].format(text)
            for at, (text, language) in enumerate(zip(texts, languages, strict=True))]


def searches(passages: Sequence[Passage], vectors: Floats, asked: Messages, others: Messages) -> Iterator[Search]:
    """Hides a quarter of the questions at a time and searches for them, and for a quarter of the other messages.

    Args:
        passages: of all articles.
        vectors: one a passage.
        asked: the passages as messages.
        others: messages that no article answers.
    """
    folds = np.array([-1 if passage.fold is None else passage.fold for passage in passages])
    for fold in range(FOLDS):
        kept = [passage for passage, of in zip(passages, folds, strict=True) if of != fold]
        centred = Centred.of(PassageIndex([row.slug for row in kept], [row.language for row in kept],
                                          [row.intent for row in kept], [row.text for row in kept],
                                          vectors[folds != fold]))
        for at in np.flatnonzero(folds == fold):
            found = centred.likely(*asked.at(int(at)))
            yield Search(passages[at].slug, passages[at].language, asked.intents[at], found)
        for at in range(fold, len(others.texts), FOLDS):
            yield Search(None, detect_language(others.texts[at]), others.intents[at], centred.likely(*others.at(at)))


def fit(searched: Sequence[Search]) -> Sureness:
    """The probabilities, of one language, under which what was right of the likely articles is likeliest."""
    pairs = [([row.score, row.lead, float(row.intent == search.intent), row.words], row.slug == search.slug)
             for search in searched for row in search.found]
    model = LogisticRegression(C=100, max_iter=1000).fit([pair[0] for pair in pairs], [pair[1] for pair in pairs])
    return Sureness(*(round(float(each), 2) for each in (model.intercept_[0], *model.coef_[0])))


def best_of(search: Search, sureness: Sureness) -> tuple[float, str]:
    """The likeliest article and its probability."""
    return max((sureness.of(row, search.intent), row.slug) for row in search.found)


def described(searched: Sequence[Search], sureness: Sureness) -> str:
    """What to set, and what it comes to: read with care, since the numbers were found on the same searches."""
    best = [best_of(search, sureness) for search in searched]
    right = [slug == search.slug for (_, slug), search in zip(best, searched, strict=True)]
    told = [probability >= LEAST_SURE for probability, _ in best]
    answerable = [search.slug is not None for search in searched]
    return (f"{sureness}\n"
            f"calibration error {calibration_error([probability for probability, _ in best], right):.3f}; "
            f"nearest is right {share(right, answerable):.3f}, told {share(told, answerable):.3f}, "
            f"told and right {share([a and b for a, b in zip(told, right, strict=True)], answerable):.3f}; "
            f"of {len(answerable) - sum(answerable)} that none answers refused "
            f"{1 - share(told, [not each for each in answerable]):.3f}")


def evenly(texts: Sequence[tuple[str, str]], most: int) -> list[tuple[str, str]]:
    """At most so many of them, from beginning to end: messages far from the shop are easy, and must not outweigh."""
    return list(texts[::-(-len(texts) // most)])


def share(of: Sequence[bool], among: Sequence[bool]) -> float:
    """How many of those among which are so."""
    return float(np.mean([each for each, counts in zip(of, among, strict=True) if counts]))


def fitted_articles(reader: Reader, encoder: TextEncoder) -> str:
    """Reads ``data/kb``, and the training examples that are out of scope, and says what to set in ``bot.articles``."""
    folder = reader.root / "data/kb"
    passages = list(passages_of([read_article(path) for path in sorted(folder.glob("*.md"))]))
    unanswered: dict[str, list[str]] = yaml.safe_load((folder / "unanswered.yml").read_text(encoding="utf8"))
    beyond = [example for example in reader.examples if example.intent == OUT_OF_SCOPE]
    none = [(text, language) for language, texts in unanswered.items() for text in texts]
    none += evenly([(example.text, example.language) for example in beyond], len(none))
    others = as_said([text for text, _ in none], [language for _, language in none])
    texts = [passage.text for passage in passages]
    asked = as_said(texts, [passage.language for passage in passages])
    searched = list(searches(passages, encoder.encode(texts), Messages.read(asked, reader, encoder),
                             Messages.read(others, reader, encoder)))
    found = {language: [search for search in searched if search.language == language] for language in LANGUAGES}
    return "\n".join(f"{language}: {described(of, fit(of))}" for language, of in found.items())

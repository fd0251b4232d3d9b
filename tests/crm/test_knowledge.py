"""Articles, their passages, and the index that the encoder fills later."""
from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa

from crm_store.models import ArticlePassage, KnowledgeArticle
from crm_store.queries.knowledge import article, articles, articles_about, passage_vectors, passages_mark
from crm_store.services.knowledge import passages_without_vector, questions_of, save_article, sentences, store_vectors
from tests.crm.conftest import Desk

ENCODER = "0123456789abcdef"
ARTICLE: dict[str, Any] = {
    "slug": "returns", "intent": "ask_return_policy", "title_zh": "退货", "title_en": "Returns",
    "body_zh": "七天内可退。包装要完好！", "body_en": "Seven days. Keep the box.",
    "questions_zh": ["怎么退货", "能退吗"], "questions_en": ["How do I return it?"],
}


def save(desk: Desk, **changes: Any) -> KnowledgeArticle:
    saved: KnowledgeArticle = desk.do(save_article, **{**ARTICLE, **changes}, now=desk.now)
    return saved


def texts(desk: Desk, language: str) -> list[str]:
    return [passage.text for passage in desk.all(ArticlePassage, ArticlePassage.language == language)]


def read_all(desk: Desk, encoder: str = ENCODER) -> dict[int, Any]:
    """Let a pretended encoder read everything."""
    vectors = {}
    for passage in desk.ask(passages_without_vector, encoder):
        vector = np.zeros(384, dtype=np.float32)
        vector[passage.id % 384] = 1
        vectors[passage.id] = vector
    desk.do(store_vectors, vectors, encoder)
    return vectors


def test_an_article_is_found_by_its_title_its_questions_and_its_sentences(desk: Desk) -> None:
    save(desk)
    assert texts(desk, "zh") == ["退货", "怎么退货", "能退吗", "七天内可退。", "包装要完好！"]
    assert texts(desk, "en") == ["Returns", "How do I return it?", "Seven days.", "Keep the box."]
    assert all(passage.vector is None for passage in desk.all(ArticlePassage))


def test_saving_again_writes_the_passages_anew_and_keeps_questions_that_are_not_given(desk: Desk) -> None:
    save(desk)
    read_all(desk)
    save(desk, body_zh="十五天内可退。", questions_zh=None, questions_en=["May I?"])
    assert texts(desk, "zh") == ["退货", "怎么退货", "能退吗", "十五天内可退。"]
    assert texts(desk, "en") == ["Returns", "May I?", "Seven days.", "Keep the box."]
    assert len(desk.all(KnowledgeArticle)) == 1
    assert all(passage.vector is None for passage in desk.all(ArticlePassage))
    (saved,) = desk.all(KnowledgeArticle)
    assert desk.ask(questions_of, saved, "zh") == ["怎么退货", "能退吗"]


def test_no_id_of_a_passage_is_given_twice_so_late_vectors_cannot_land_on_other_texts(desk: Desk) -> None:
    save(desk)
    vectors = {passage.id: np.ones(384) for passage in desk.ask(passages_without_vector, ENCODER)}
    save(desk, title_zh="换货")
    desk.do(store_vectors, vectors, ENCODER)
    assert all(passage.vector is None for passage in desk.all(ArticlePassage))


def test_the_index_gives_back_exactly_what_the_encoder_stored(desk: Desk) -> None:
    save(desk)
    save(desk, slug="hidden", published=False)
    vectors = read_all(desk)
    index = desk.ask(passage_vectors, ENCODER)
    assert index.matrix.shape == (9, 384) and index.matrix.dtype == np.float32
    passages = desk.all(ArticlePassage, ArticlePassage.article_id == desk.all(KnowledgeArticle)[0].id)
    assert np.array_equal(index.matrix, np.stack([vectors[passage.id] for passage in passages]))
    assert index.languages == [passage.language for passage in passages]
    assert set(index.slugs) == {"returns"} and set(index.intents) == {"ask_return_policy"}
    assert len(index.slugs) == len(index.intents) == 9


def test_another_encoder_reads_everything_again_and_sees_nothing_of_the_first(desk: Desk) -> None:
    save(desk)
    read_all(desk)
    assert desk.ask(passages_without_vector, ENCODER) == []
    assert len(desk.ask(passages_without_vector, "another")) == 9
    empty = desk.ask(passage_vectors, "another")
    assert empty.matrix.shape == (0, 384) and empty.slugs == []


def test_only_published_articles_are_given(desk: Desk) -> None:
    save(desk)
    save(desk, slug="hidden", published=False)
    save(desk, slug="exchange")
    assert desk.ask(article, "returns").title_en == "Returns"
    assert desk.ask(article, "hidden") is None and desk.ask(article, "' OR 1=1") is None
    assert set(desk.ask(articles, ["returns", "hidden", "none"])) == {"returns"}
    assert [each.slug for each in desk.ask(articles_about, "ask_return_policy")] == ["exchange", "returns"]


@pytest.mark.parametrize(("body", "parts"), [
    ("第一句。第二句！第三句没完", ["第一句。", "第二句！", "第三句没完"]), ("", []), ("好。", []),
    ("It costs ¥1.50 a day. That is all.", ["It costs ¥1.50 a day.", "That is all."]),
    ("One line\n\nanother line", ["One line", "another line"]),
])
def test_sentences_end_where_people_end_them(body: str, parts: list[str]) -> None:
    assert sentences(body) == parts


def test_a_question_equal_to_the_title_stands_once(desk: Desk) -> None:
    save(desk, questions_zh=["退货", " 退货 ", ""])
    assert texts(desk, "zh").count("退货") == 1
    with desk.store.read() as session:
        assert session.execute(sa.select(sa.func.count()).where(ArticlePassage.text == "")).scalar_one() == 0


def test_the_mark_changes_with_what_is_found(desk: Desk) -> None:
    marks = [desk.ask(passages_mark, ENCODER)]
    save(desk)
    assert desk.ask(passages_mark, ENCODER) == marks[0]  # nothing was read yet
    for change in (None, {"published": False}, {"published": True}, {"body_zh": "十五天内可退。"}):
        if change is not None:
            save(desk, **change)
        read_all(desk)
        marks.append(desk.ask(passages_mark, ENCODER))
    assert len(set(marks)) == len(marks) - 1  # unpublished is as if it had never been
    assert marks[2] == marks[0]

"""What the evaluation measures on: that it can be read, and that none of it was learnt."""
from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from bench.evaluation.anger_sources import service_sources
from bench.evaluation.entities import labelled_messages
from bench.evaluation.held_out import ROOT, held_out_examples, read_examples, read_records, training_examples
from bench.evaluation.knowledge import held_out_questions
from bot.nlu.finder import PRIORITY
from bot.nlu.script import letters_and_digits
from crm_store.demo.files import read_article


def test_the_held_out_service_turns_are_told_by_language_and_together() -> None:
    sources = service_sources()
    sizes = [len(rows) for rows in sources.values()]
    assert list(sources) == ["service turns, zh", "service turns, en", "service turns"]
    assert sizes[0] + sizes[1] == sizes[2] and min(sizes) > 100


def test_the_labelled_messages_name_entities_that_are_found_at_all() -> None:
    messages = list(labelled_messages())
    assert {message.language for message in messages} == {"zh", "en"}
    assert {detail.entity for message in messages for detail in message.details} <= set(PRIORITY)


def test_the_questions_name_articles_that_are_there_and_some_name_none() -> None:
    articles = {question.article for question in held_out_questions()}
    assert None in articles
    assert articles - {None} <= {path.stem for path in (ROOT / "data/kb").glob("*.md")}


@pytest.mark.parametrize(("one", "other"), [
    ("我要退货！", "我要退貨"), ("Where's  my order?", "wheres my ORDER"), ("ＷＬ２０", "wl20"),
])
def test_texts_are_compared_by_their_letters_and_digits(one: str, other: str) -> None:
    assert letters_and_digits(one) == letters_and_digits(other)
    assert letters_and_digits("👍") == "👍" != letters_and_digits("？")


def learnt_texts() -> set[str]:
    """Everything in ``data/nlu`` and ``data/sentiment`` that is learnt from and by which articles are found, folded."""
    turns = [record["text"] for path in sorted((ROOT / "data/sentiment").glob("*.jsonl"))
             if not path.stem.endswith("_heldout") for record in read_records(path)]
    examples = [example.text for example in training_examples()]
    articles = [read_article(path) for path in sorted((ROOT / "data/kb").glob("*.md"))]
    asked = [text for article in articles for text in (article.title_zh, article.title_en, *article.questions_zh,
                                                       *article.questions_en)]
    lists = yaml.safe_load((ROOT / "data/kb/unanswered.yml").read_text(encoding="utf8"))
    unanswered = [text for texts in lists.values() for text in texts]
    assert min(len(turns), len(examples), len(asked), len(unanswered)) > 100
    return {letters_and_digits(text) for text in (*turns, *examples, *asked, *unanswered)}


def held_out_files() -> list[Path]:
    """The files of lines that are only measured on."""
    return [*sorted((ROOT / "tests/nlu").iterdir()), *sorted((ROOT / "data/sentiment").glob("*_heldout.jsonl"))]


def test_no_held_out_line_is_in_the_training_data() -> None:
    learnt = learnt_texts()
    files = {path.relative_to(ROOT).as_posix(): texts_of(path) for path in held_out_files()}
    assert all(files.values()) and sum(map(len, files.values())) > len(held_out_examples())
    assert {name: found for name, texts in files.items()
            if (found := [text for text in texts if letters_and_digits(text) in learnt])} == {}


def texts_of(path: Path) -> list[str]:
    """The messages of a file of examples or of JSON lines."""
    if path.suffix == ".yml":
        return [example.text for example in read_examples([path], path.stem)]
    return [record["text"] for record in read_records(path)]

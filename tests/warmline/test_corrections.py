"""What people correct and label becomes training data: masked, in one piece, never what is measured."""
from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bot.training.encoder_data import UNKNOWN, Shares, _intent_examples, gather
from crm_store.database import Store
from crm_store.models import Customer, Message
from crm_store.queries.corrections import Lesson
from crm_store.queries.learning import Tally, tally
from crm_store.services.corrections import correct_message, label_message
from tests.crm.conftest import Desk, furnish
from warmline import commands, training
from warmline.corrections import Written, as_intents, training_examples, write_corrections
from warmline.settings import load_settings

HOSTILE = ("${HOME}", "\\u000a- intent: evil", "[物品](product) {\"entity\": \"x\"}", "- - # x: y", "'\"`%@!&*?|>",
           "/restart", "say: |\n  nothing\n- intent: evil\n  examples: |\n    - evil", "😡😡 {{ x }}", "---",
           "&a *a <<: !!python")


@pytest.fixture
def desk(sqlite_store: Store, now: Any) -> Desk:
    furnish(sqlite_store, now)
    return Desk(sqlite_store, now, iter(range(1000)))


def corrected(desk: Desk, text: str, sender: str = "visitor", **said: str) -> int:
    """A message with what an agent says of it."""
    received = desk.write(text, sender=sender)
    desk.answer(desk.turn(received.conversation.id), valence="positive")
    for field, value in said.items():
        desk.do(correct_message, received.conversation.id, received.message.id, desk.agent("wang"), field, value,
                desk.now)
    return int(received.message.id)


def records(root: Path, language: str) -> list[dict[str, Any]]:
    path = root / f"data/corrections/{language}.jsonl"
    return [json.loads(line) for line in path.read_text(encoding="utf8").splitlines()]


def examples(root: Path) -> list[tuple[str, str]]:
    """The examples as Rasa itself reads them."""
    from rasa.shared.nlu.training_data.loading import load_data

    folders = [folder for folder in training.training_folders(root) if "nlu" in folder]
    return [(str(each.get("text")), str(each.get("intent"))) for folder in folders
            for each in load_data(str(root / folder)).intent_examples]


def test_what_was_said_is_written_by_language_and_masked(desk: Desk, tmp_path: Path) -> None:
    first = corrected(desk, "打13800138000，三周了！", anger="angry", intent="ask_refund_status")
    second = corrected(desk, "write to ann@example.com", "ann", anger="calm", intent="account_help")
    assert write_corrections(desk.store, tmp_path, desk.now) == Written(intents=2, moods=2, held_out=0)
    assert records(tmp_path, "zh") == [{"text": "打138********，三周了！", "angry": 1, "valence": "negative",
                                        "kind": "correction", "group": f"m{first}"}]
    assert records(tmp_path, "en") == [{"text": "write to ****", "angry": 0, "valence": "positive",
                                        "kind": "correction", "group": f"m{second}"}]
    assert sorted(examples(tmp_path)) == [("write to ****", "account_help"),
                                          ("打138********，三周了！", "ask_refund_status")]
    assert stat.S_IMODE((tmp_path / "data/corrections").stat().st_mode) == 0o700


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_a_text_stays_one_example_whatever_is_in_it(desk: Desk, tmp_path: Path, text: str) -> None:
    corrected(desk, text, intent="out_of_scope", anger="calm")
    corrected(desk, "plain", "b", intent="out_of_scope")
    write_corrections(desk.store, tmp_path, desk.now)
    found = examples(tmp_path)
    assert len(found) == 2 and {intent for _, intent in found} == {"out_of_scope"}
    written = next(example for example, _ in found if example != "plain")
    assert written.split() == text.replace("\\", " ").replace("[", " ").replace("]", " ").split()
    assert sum(len(records(tmp_path, language)) for language in ("zh", "en")
               if (tmp_path / f"data/corrections/{language}.jsonl").exists()) == 1


def test_the_newest_word_on_the_same_text_counts(desk: Desk, tmp_path: Path) -> None:
    corrected(desk, "不行", intent="deny", anger="calm")
    desk.now = desk.now.replace(minute=5)
    corrected(desk, "不行！！", "b", intent="cancel_order", anger="angry")
    assert write_corrections(desk.store, tmp_path, desk.now) == Written(intents=1, moods=1, held_out=0)
    assert examples(tmp_path) == [("不行！！", "cancel_order")]
    assert [record["angry"] for record in records(tmp_path, "zh")] == [1]


def test_what_is_measured_on_is_left_out(desk: Desk, tmp_path: Path) -> None:
    (tmp_path / "tests/nlu").mkdir(parents=True)
    (tmp_path / "data/sentiment").mkdir(parents=True)
    (tmp_path / "tests/nlu/zh.yml").write_text("nlu:\n- intent: x\n  examples: |\n    - 先量這個\n", encoding="utf8")
    (tmp_path / "tests/nlu/questions_en.jsonl").write_text('{"asked": "Measure this?", "n": 1}\n', encoding="utf8")
    (tmp_path / "data/sentiment/service_en_heldout.jsonl").write_text('{"text": "measure THAT"}\n', encoding="utf8")
    for sender, text in enumerate(("先量这个！", "measure this", "Measure that.", "learn this")):
        corrected(desk, text, str(sender), intent="ask_product")
    assert write_corrections(desk.store, tmp_path, desk.now) == Written(intents=1, moods=0, held_out=3)
    assert examples(tmp_path) == [("learn this", "ask_product")]


def test_what_is_gone_from_the_store_is_gone_from_the_files(desk: Desk, tmp_path: Path) -> None:
    customer = desk.customer("known")
    corrected(desk, "我的秘密", "known", intent="file_complaint", anger="angry")
    blanked = corrected(desk, "another secret", "guest", intent="file_complaint", anger="angry")
    write_corrections(desk.store, tmp_path, desk.now)
    assert len(examples(tmp_path)) == 2
    with desk.store.write() as session:
        session.get(Customer, customer).erased_at = desk.now
        session.get(Message, blanked).text = ""
    assert write_corrections(desk.store, tmp_path, desk.now) == Written(intents=0, moods=0, held_out=0)
    assert not (tmp_path / "data/corrections").exists() and training.training_folders(tmp_path) == []


def test_the_dialogue_is_trained_again_with_them(desk: Desk, tmp_path: Path) -> None:
    (tmp_path / "data/nlu").mkdir(parents=True)
    before = training.fingerprint(tmp_path)
    corrected(desk, "不行", intent="deny")
    write_corrections(desk.store, tmp_path, desk.now)
    assert training.training_folders(tmp_path) == ["data/nlu", "data/corrections/nlu"]
    assert training.fingerprint(tmp_path) != before


def test_the_encoder_learns_them_whatever_their_mood(desk: Desk, tmp_path: Path) -> None:
    corpora = tmp_path / "corpora"
    a_small_world(corpora, tmp_path)
    corrected(desk, "退款三周了，骗子", intent="ask_refund_status", anger="angry")
    corrected(desk, "what a joke", "b", anger="angry")
    corrected(desk, "量过的", "c", intent="thank", anger="calm")
    shares = Shares(public=0, calm=0, requests=0, beyond=0, repeat=1, examples=1, kept_back=0)
    without = gather(corpora, tmp_path, shares, 1)
    write_corrections(desk.store, tmp_path, desk.now)
    (tmp_path / "tests/nlu/zh.yml").write_text("- intent: thank\n  examples: |\n    - 量过的\n", encoding="utf8")
    learnt = gather(corpora, tmp_path, shares, 1)
    assert learnt.intents == without.intents
    new = {(row.text, row.angry, row.intent) for row in learnt.train} - {
        (row.text, row.angry, row.intent) for row in without.train}
    refund = learnt.intents.index("ask_refund_status")
    assert new == {("退款三周了，骗子", 1, UNKNOWN), ("退款三周了，骗子", UNKNOWN, refund), ("what a joke", 1, UNKNOWN)}


def a_small_world(corpora: Path, project: Path) -> None:
    """The public sets and the project's own data, with next to nothing in them."""
    turn = '{"text": "%s", "angry": 0, "valence": "neutral", "kind": "x", "group": "%s"}\n'
    files = {
        corpora / "emotion_train.jsonl": "".join(
            json.dumps({"text": name, "lang": "en", "emotion": "others", "angry": 0, "source": source}) + "\n"
            for name, source in (("one", "smp2020_usual_eval_labeled"), ("two", "goemotions_dev"))),
        corpora / "multidogo_customer_turns.txt": "hello\n", corpora / "clinc150_out_of_scope.txt": "the weather\n",
        corpora / "bitext_8k.csv": "utterance,intent\n",
        **{corpora / f"zh_{name}_reviews.csv": "label,review\n" for name in ("online_shopping", "waimai")},
        **{project / f"data/sentiment/service_{language}{part}.jsonl": turn % (f"{language}{part}", language)
           for language in ("zh", "en") for part in ("", "_heldout")},
        **{project / f"data/sentiment/beyond_{language}.jsonl": '{"text": "beyond"}\n' for language in ("zh", "en")},
        project / "data/nlu/zh/all.yml": "\n".join(
            f"- intent: {intent}\n  examples: |\n    - {intent}"
            for intent in ("ask_refund_status", "out_of_scope", "thank")),
        project / "tests/nlu/zh.yml": "",
    }
    for path, text in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf8")


def test_the_command_says_what_it_wrote(desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                        capsys: pytest.CaptureFixture[str]) -> None:
    corrected(desk, "不行", intent="deny")
    monkeypatch.setattr(commands, "ROOT", tmp_path)
    configured = load_settings({"WARMLINE_DATABASE_URL": str(desk.store.engine.url)}, root=tmp_path)
    assert commands.COMMANDS["corrections"](configured, None) == 0
    assert capsys.readouterr().out.startswith("1 intents and 0 moods are in data/corrections; 0 were left out")
    assert examples(tmp_path) == [("不行", "deny")]


def label(desk: Desk, message: int, intent: str | None = None, anger: str | None = None) -> None:
    with desk.store.read() as session:
        conversation = session.get(Message, message).conversation_id
    desk.do(label_message, conversation, message, desk.agent("boss"), intent=intent, anger=anger, now=desk.now)


def test_a_label_has_the_last_word_on_its_text_and_is_written_once(desk: Desk, tmp_path: Path) -> None:
    first = corrected(desk, "不行", intent="deny", anger="calm")
    label(desk, first, intent="cancel_order")
    desk.now = desk.now.replace(minute=30)
    corrected(desk, "不行！", "b", intent="thank", anger="angry")
    assert write_corrections(desk.store, tmp_path, desk.now) == Written(intents=1, moods=0, held_out=0)
    assert examples(tmp_path) == [("不行", "cancel_order")]
    assert not (tmp_path / "data/corrections/zh.jsonl").exists(), "the label says nothing of the mood"


def test_what_is_not_worth_learning_is_not_written_whoever_corrected_it(desk: Desk, tmp_path: Path) -> None:
    label(desk, corrected(desk, "哈哈", intent="greet", anger="angry"))
    corrected(desk, "嘻嘻", "b", intent="thank")
    assert write_corrections(desk.store, tmp_path, desk.now) == Written(intents=1, moods=0, held_out=0)
    assert examples(tmp_path) == [("嘻嘻", "thank")]


def test_texts_in_either_script_are_one(desk: Desk, tmp_path: Path) -> None:
    label(desk, corrected(desk, "我要退貨"), intent="ask_return_policy")
    desk.now = desk.now.replace(minute=30)
    label(desk, corrected(desk, "我要退货。", "b"), intent="request_return")
    write_corrections(desk.store, tmp_path, desk.now)
    assert examples(tmp_path) == [("我要退货。", "request_return")]


def test_each_label_knows_that_it_was_written(desk: Desk, tmp_path: Path) -> None:
    message = corrected(desk, "飞了")
    label(desk, message, intent="ask_order_status")
    assert training_examples(desk.store, tmp_path).files.keys() == {"nlu/zh/corrections.yml"}
    assert desk.ask(tally) == Tally(1, 0, 0), "looking writes nothing"
    write_corrections(desk.store, tmp_path, desk.now)
    assert desk.ask(tally) == Tally(0, 1, 0)
    write_corrections(desk.store, tmp_path, desk.now)
    assert examples(tmp_path) == [("飞了", "ask_order_status")], "in whole each time"


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(texts=st.lists(st.text(st.characters() | st.sampled_from("[]{}()\\-#:|>&*!%@`'\"\n\u2028\x85$"), min_size=1),
                      min_size=1, max_size=25))
def test_whatever_is_written_stays_one_example_each(texts: list[str], tmp_path: Path, now: Any) -> None:
    said = [Lesson(number, f"a{number} {text}", "en", "intent", "greet", None, now)
            for number, text in enumerate(texts)]
    path = tmp_path / "nlu.yml"
    path.write_text(as_intents(said), encoding="utf8")
    from rasa.shared.nlu.training_data.loading import load_data

    found = load_data(str(path)).intent_examples
    assert [each.get("intent") for each in found] == ["greet"] * len(texts)
    assert {str(each.get("text")).split()[0] for each in found} == {f"a{number}" for number in range(len(texts))}
    assert [intent for _, intent in _intent_examples(path)] == ["greet"] * len(texts)

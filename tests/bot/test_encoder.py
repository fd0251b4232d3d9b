"""The text encoder as it is committed: what it reads, what it refuses, and how well it tells anger."""
from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rasa.shared.nlu.constants import TEXT
from rasa.shared.nlu.training_data.message import Message
from rasa.shared.nlu.training_data.training_data import TrainingData

from bench.evaluation.hostile import hostile_texts
from bot.nlu import encoder as encoder_module
from bot.nlu.encoder import EncoderDamaged, EncoderFailed, EncoderMissing, TextEncoder, load_encoder, prepared
from bot.nlu.encoder_featurizer import EncoderFeaturizer

ROOT = Path(__file__).resolve().parents[2]
MODEL = ROOT / "models" / "encoder"
LEAST = {"zh": 0.95, "en": 0.945}  # average precision measured on the held-out turns, less three points


@pytest.fixture(scope="module")
def encoder() -> TextEncoder:
    return load_encoder(MODEL)


def held_out(language: str) -> list[dict[str, Any]]:
    path = ROOT / "data" / "sentiment" / f"service_{language}_heldout.jsonl"
    return [json.loads(line) for line in path.read_text(encoding="utf8").splitlines()]


@pytest.mark.parametrize("language", ["zh", "en"])
def test_anger_is_told_from_calm_on_turns_never_learnt_from(encoder: TextEncoder, language: str) -> None:
    rows = held_out(language)
    anger = np.array([reading.anger for reading in encoder.read([row["text"] for row in rows])])
    angry = np.array([row["angry"] for row in rows])
    ranked = angry[np.argsort(-anger, kind="stable")]
    precision = np.cumsum(ranked) / np.arange(1, len(ranked) + 1)
    assert (precision * ranked).sum() / ranked.sum() >= LEAST[language]
    routed = anger >= 0.80
    assert angry[routed].mean() >= 0.92
    assert routed[angry == 1].mean() >= 0.75
    assert anger[angry == 1].mean() - anger[angry == 0].mean() > 0.5


def test_a_reading_has_a_unit_vector_a_probability_and_a_valence(encoder: TextEncoder) -> None:
    reading = encoder.read(["我的快递到哪了"])[0]
    assert reading.vector.shape == (384,) and reading.vector.dtype == np.float32
    assert np.linalg.norm(reading.vector) == pytest.approx(1, abs=1e-3)
    assert 0 <= reading.anger <= 1
    assert reading.valence in ("negative", "neutral", "positive")
    with pytest.raises(ValueError):
        reading.vector[0] = 0


@pytest.mark.parametrize("text", [*hostile_texts().values(), "😡", "a\0b", "\u200d\ufe0f", "0", "<s></s><pad>",
                                  "é" * 500])
def test_any_string_is_read(encoder: TextEncoder, text: str) -> None:
    reading = encoder.read([text])[0]
    assert np.isfinite(reading.vector).all()
    assert 0 <= reading.anger <= 1


@pytest.mark.parametrize("text", ["", " ", "\0", "\n\t　"])
def test_nothing_to_read_is_neutral(encoder: TextEncoder, text: str) -> None:
    reading = encoder.read([text])[0]
    assert (reading.anger, reading.valence) == (0.0, "neutral")
    assert not reading.vector.any()


def test_what_is_prepared_is_valid_short_and_keeps_both_ends() -> None:
    text = prepared("\ud83d\ude00\ud800" + "开" + " " * 3_000 + "中" * 100_000 + "尾聲")
    assert text.encode("utf8")
    assert len(text) <= 1_201
    assert text.startswith("😀\ufffd开 中") and text.endswith("中尾声")


def test_the_end_of_a_long_message_is_read(encoder: TextEncoder) -> None:
    story = "I ordered a blue kettle on Monday and the courier left it with the neighbour on the second floor. " * 12
    calm, angry = encoder.read([story + "Thank you, all is well now.",
                                story + "You liars, this is a bloody disgrace, I will report you!"])
    assert angry.anger > calm.anger


def test_a_text_reads_the_same_whatever_is_beside_it() -> None:
    texts = ["订单到哪了", "how do points expire, and can I still use the old ones after the first of May?", "？"]
    together = TextEncoder.load(MODEL).read(texts)
    alone = [TextEncoder.load(MODEL).read([text])[0] for text in texts]
    assert [reading.anger for reading in together] == [reading.anger for reading in alone]


def test_traditional_reads_as_simplified(encoder: TextEncoder) -> None:
    traditional, simplified = encoder.encode(["積分什麼時候過期", "积分什么时候过期"])
    assert traditional @ simplified == pytest.approx(1, abs=1e-5)


def test_like_meanings_are_nearer_across_languages(encoder: TextEncoder) -> None:
    parcel, same, other = encoder.encode(["where is my parcel", "我的包裹到哪了", "积分怎么换礼品"])
    assert parcel @ same > parcel @ other


def test_one_message_takes_one_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = TextEncoder.load(MODEL)
    passes = []
    run = encoder._run
    monkeypatch.setattr(encoder, "_run", lambda text: passes.append(text) or run(text))
    encoder.read(["在吗", "在吗"])
    encoder.encode(["在吗 "])
    assert passes == ["在吗"]


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoder_module, "REMEMBERED", 2)
    encoder = TextEncoder.load(MODEL)
    encoder.read(["一", "二", "三"])
    assert list(encoder._remembered) == ["二", "三"]


def test_no_texts_give_no_vectors(encoder: TextEncoder) -> None:
    assert encoder.encode([]).shape == (0, 384)


def test_it_is_loaded_once(encoder: TextEncoder) -> None:
    assert load_encoder(MODEL) is encoder
    assert len(encoder.name) == 16
    assert json.loads((MODEL / "config.json").read_text())["encoder"] == encoder.name


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    folder = tmp_path / "encoder"
    shutil.copytree(MODEL, folder)
    return folder


@pytest.mark.parametrize("name", ["model.onnx", "tokenizer.json", "config.json"])
def test_a_damaged_file_is_named(copy: Path, name: str) -> None:
    with (copy / name).open("ab") as file:
        file.write(b" ")
    with pytest.raises(EncoderDamaged, match=name):
        TextEncoder.load(copy)


@pytest.mark.parametrize("name", ["model.onnx", "tokenizer.json", "config.json", "SHA256SUMS"])
def test_a_missing_file_is_named(copy: Path, name: str) -> None:
    (copy / name).unlink()
    with pytest.raises(EncoderMissing, match=name):
        TextEncoder.load(copy)


def test_the_component_adds_a_vector_and_the_sentiment() -> None:
    component = EncoderFeaturizer(EncoderFeaturizer.get_default_config(), load_encoder(MODEL))
    message = component.process([Message({TEXT: "都第几遍了，再不退款我就打12315！"})])[0]
    assert message.get_dense_features(TEXT)[1].features.shape == (1, 384)
    assert message.as_dict(only_output_properties=True)["sentiment"]["valence"] == "negative"
    assert message.get("sentiment")["anger"] > 0.5


def test_the_component_gives_every_training_example_its_vector() -> None:
    component = EncoderFeaturizer(EncoderFeaturizer.get_default_config(), load_encoder(MODEL))
    data = TrainingData([Message({TEXT: "你好"}), Message({TEXT: "hello"}), Message({"action_name": "action_listen"})])
    component.process_training_data(data)
    assert [len(example.features) for example in data.training_examples] == [1, 1, 0]


def test_where_the_model_does_not_run_anger_is_unknown(monkeypatch: pytest.MonkeyPatch,
                                                      caplog: pytest.LogCaptureFixture) -> None:
    encoder = TextEncoder.load(MODEL)

    class Broken:
        def run(self, *_: object) -> list[Any]:
            raise RuntimeError("我的秘密")

    monkeypatch.setattr(encoder, "_session", Broken())
    with pytest.raises(EncoderFailed):
        encoder.read(["我的秘密"])
    component = EncoderFeaturizer(EncoderFeaturizer.get_default_config(), encoder)
    message = component.process([Message({TEXT: "我的秘密"})])[0]
    assert "sentiment" in message.output_properties and message.get("sentiment") is None
    assert not message.get_dense_features(TEXT)[1].features.any()
    assert [record.levelname for record in caplog.records if "anger is unknown" in record.message] == ["ERROR"]
    assert "秘密" not in caplog.text


def test_values_that_are_no_numbers_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = TextEncoder.load(MODEL)

    class Broken:
        def run(self, *_: object) -> list[Any]:
            return [np.full((1, 384), np.nan, np.float32), np.zeros(1, np.float32), np.zeros((1, 3), np.float32)]

    monkeypatch.setattr(encoder, "_session", Broken())
    with pytest.raises(EncoderFailed):
        encoder.read(["你好"])


def test_another_encoder_is_another_component(copy: Path) -> None:
    before = EncoderFeaturizer.fingerprint_addon({"model_dir": str(copy)})
    assert before == EncoderFeaturizer.fingerprint_addon({})
    sums = (copy / "SHA256SUMS").read_text()
    with (copy / "model.onnx").open("ab") as file:
        file.write(b" ")
    with pytest.raises(EncoderDamaged):
        EncoderFeaturizer.fingerprint_addon({"model_dir": str(copy)})
    (copy / "SHA256SUMS").write_text(sums.replace(
        str(before), hashlib.sha256((copy / "model.onnx").read_bytes()).hexdigest()))
    assert EncoderFeaturizer.fingerprint_addon({"model_dir": str(copy)}) != before


def test_reading_needs_neither_torch_nor_rasa() -> None:
    code = ("import sys; from pathlib import Path; from bot.nlu.encoder import load_encoder; "
            "load_encoder(Path('models/encoder')).read(['你好']); "
            "sys.exit(any(name in sys.modules for name in ('torch', 'rasa', 'tensorflow')))")
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)

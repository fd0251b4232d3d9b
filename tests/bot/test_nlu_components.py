"""The Rasa components around the plain parts: what they put into a message, and that a stored model serves the same."""
from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from rasa.engine.graph import ExecutionContext, GraphComponent, GraphSchema
from rasa.engine.recipes.default_recipe import DefaultV1Recipe
from rasa.engine.storage.local_model_storage import LocalModelStorage
from rasa.engine.storage.resource import Resource
from rasa.engine.storage.storage import ModelStorage
from rasa.engine.validation import validate
from rasa.shared.nlu.constants import FEATURE_TYPE_SENTENCE, TEXT
from rasa.shared.nlu.training_data.features import Features
from rasa.shared.nlu.training_data.message import Message
from rasa.shared.nlu.training_data.training_data import TrainingData

from bot.nlu.entities import ShopEntityExtractor, reference_day
from bot.nlu.intents import IntentClassifier
from bot.nlu.language import LanguageIdentifier

SHANGHAI = ZoneInfo("Asia/Shanghai")
EXAMPLES = [("where is my parcel", "ask_order_status"), ("我的快递到哪了", "ask_order_status"), ("hello", "greet"),
            ("你好", "greet"), ("my kettle", "inform"), ("水壶", "inform")]


@pytest.fixture
def storage(tmp_path: Path) -> Iterator[ModelStorage]:
    (tmp_path / "model").mkdir()
    yield LocalModelStorage.create(tmp_path / "model")


def context() -> ExecutionContext:
    return ExecutionContext(GraphSchema({}), "test")


def made(component: type[GraphComponent], storage: ModelStorage, *, load: bool = False, **config: Any) -> Any:
    build = component.load if load else component.create
    return build({**component.get_default_config(), **config}, storage, Resource(component.__name__), context())


def read(component: Any, text: str, **metadata: Any) -> dict[str, Any]:
    """What /model/parse would show."""
    (message,) = component.process([Message({TEXT: text, "metadata": metadata}, output_properties={TEXT})])
    return message.as_dict(only_output_properties=True)


def test_the_recipe_takes_our_components_by_their_paths() -> None:
    pipeline = [{"name": f"bot.nlu.{path}"} for path in ("language.LanguageIdentifier", "entities.ShopEntityExtractor",
                                                         "intents.IntentClassifier")]
    recipe = DefaultV1Recipe()
    model = recipe.graph_config_for_recipe({"language": "zh", "pipeline": pipeline}, {})
    used = {node.uses for node in model.predict_schema.nodes.values()}
    assert {LanguageIdentifier, ShopEntityExtractor, IntentClassifier} <= used
    validate(model)


def test_the_language_is_part_of_the_output(storage: ModelStorage) -> None:
    component = made(LanguageIdentifier, storage)
    assert read(component, "我的快递到哪了")["language"] == "zh"
    assert read(component, "WL20261018004", language="en")["language"] == "en"
    assert component.process([Message({TEXT: "hi"})])[0].get("language") == "en"


def test_entities_are_read_alike_before_and_after_storing(storage: ModelStorage, tmp_path: Path) -> None:
    products = tmp_path / "products.json"
    products.write_text(json.dumps([{"sku": "KE-1", "name_zh": "水壶", "name_en": "Kettle", "aliases_zh": [],
                                     "aliases_en": ["tea pot"]}]), encoding="utf8")
    trained = made(ShopEntityExtractor, storage, products=str(products))
    trained.train(TrainingData([]))
    products.unlink()
    loaded = made(ShopEntityExtractor, storage, load=True, products=str(products))
    for component in (trained, loaded):
        seen = read(component, "昨天的水壶ＷＬ20261018004", now="2026-11-17T16:30:00+00:00")
        assert {entity.pop("extractor") for entity in seen["entities"]} == {"ShopEntityExtractor"}
        assert seen["entities"] == [
            {"entity": "date", "start": 0, "end": 2, "value": "2026-11-17", "text": "昨天"},
            {"entity": "product", "start": 3, "end": 5, "value": "KE-1", "text": "水壶"},
            {"entity": "order_number", "start": 5, "end": 18, "value": "WL20261018004", "text": "ＷＬ20261018004"}]
        assert seen["text"] == "昨天的水壶ＷＬ20261018004"
        json.dumps(seen["entities"])


def test_without_products_the_rest_is_found(storage: ModelStorage, tmp_path: Path) -> None:
    component = made(ShopEntityExtractor, storage, products=str(tmp_path / "nothing.json"))
    component.train(TrainingData([]))
    assert [entity["entity"] for entity in read(component, "水壶 两百块")["entities"]] == ["amount"]


@pytest.mark.parametrize(("now", "day"), [
    ("2026-11-17T16:30:00+00:00", "2026-11-18"),
    ("2026-11-17T16:30:00Z", "2026-11-18"),
    ("2026-11-17T15:59:59+00:00", "2026-11-17"),
    ("2026-11-17T16:30:00", "2026-11-17"),
    (datetime(2026, 11, 17, 16, 30, tzinfo=timezone.utc), "2026-11-18"),
    ("soon", None),
    (None, None),
    (5, None),
])
def test_the_reference_day_is_the_shops(now: object, day: str | None) -> None:
    found = reference_day({"now": now}, SHANGHAI)
    assert (found.isoformat() if found else None) == day


def training_data(vectors: bool) -> TrainingData:
    messages = [Message({TEXT: text, "intent": intent}) for text, intent in EXAMPLES]
    for index, message in enumerate(messages):
        if vectors:
            message.add_features(Features(np.eye(6, dtype=np.float32)[[index]], FEATURE_TYPE_SENTENCE, TEXT, "test"))
    return TrainingData(messages)


@pytest.mark.parametrize("vectors", [False, True])
def test_an_intent_is_read_alike_before_and_after_storing(storage: ModelStorage, vectors: bool) -> None:
    trained = made(IntentClassifier, storage, threshold=0.0, ranking_length=2)
    trained.train(training_data(vectors))
    loaded = made(IntentClassifier, storage, load=True, threshold=0.0, ranking_length=2)
    for component in (trained, loaded):
        seen = read(component, "where is my parcel?")
        assert seen["intent"]["name"] == "ask_order_status"
        assert seen["intent"] == seen["intent_ranking"][0]
        assert len(seen["intent_ranking"]) == 2
        assert type(seen["intent"]["confidence"]) is float
    assert read(trained, "你好啊") == read(loaded, "你好啊")


def test_the_configured_threshold_counts(storage: ModelStorage) -> None:
    component = made(IntentClassifier, storage, threshold=1.0)
    component.train(training_data(False))
    assert read(component, "hello")["intent"]["name"] == "out_of_scope"


def test_a_message_of_nothing_but_details_informs(storage: ModelStorage) -> None:
    extractor, classifier = made(ShopEntityExtractor, storage), made(IntentClassifier, storage)
    classifier.train(training_data(False))
    (message,) = classifier.process(extractor.process([Message({TEXT: "我的订单号是WL20261018004"})]))
    assert message.get("intent") == {"name": "inform", "confidence": pytest.approx(0.99)}


def test_half_a_set_of_vectors_is_refused(storage: ModelStorage) -> None:
    data = training_data(True)
    data.training_examples.append(Message({TEXT: "bye", "intent": "goodbye"}))
    with pytest.raises(ValueError, match="1 of 7 training examples have no sentence vector"):
        made(IntentClassifier, storage).train(data)

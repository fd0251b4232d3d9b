"""The component that writes the details of a message into the output of the NLU."""
from __future__ import annotations

import dataclasses
import json
import logging
from datetime import date, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from rasa.engine.graph import ExecutionContext, GraphComponent
from rasa.engine.recipes.default_recipe import DefaultV1Recipe
from rasa.engine.storage.resource import Resource
from rasa.engine.storage.storage import ModelStorage
from rasa.nlu.extractors.extractor import EntityExtractorMixin
from rasa.shared.nlu.constants import ENTITIES, TEXT
from rasa.shared.nlu.training_data.message import Message
from rasa.shared.nlu.training_data.training_data import TrainingData

from bot.nlu.finder import EntityFinder, Product, read_products

logger = logging.getLogger(__name__)

_PRODUCTS_FILE = "products.json"


# Rasa keeps components by class name and has a SpacyEntityExtractor of its own, hence another name.
@DefaultV1Recipe.register(DefaultV1Recipe.ComponentType.ENTITY_EXTRACTOR, is_trainable=True)
class ShopEntityExtractor(GraphComponent, EntityExtractorMixin):
    """Adds what ``EntityFinder`` finds to the entities of a message.

    Each entity has ``text``, as typed, beside Rasa's keys. ``now`` in the message's metadata (ISO time or datetime)
    turns named days into ISO dates, on the calendar of the configured ``timezone``. The products are those of the
    ``products`` file at training time; the model carries them.
    """

    @staticmethod
    def get_default_config() -> dict[str, Any]:
        """The component's default config (see parent class for full docstring)."""
        return {"products": "data/demo/products.json", "timezone": "Asia/Shanghai"}

    def __init__(self, config: dict[str, Any], model_storage: ModelStorage, resource: Resource,
                 products: tuple[Product, ...] = ()) -> None:
        self._config = config
        self._model_storage = model_storage
        self._resource = resource
        self._timezone = ZoneInfo(config["timezone"])
        self._finder = EntityFinder(products)

    @classmethod
    def create(cls, config: dict[str, Any], model_storage: ModelStorage, resource: Resource,
               execution_context: ExecutionContext) -> ShopEntityExtractor:
        """Creates a component that knows no product yet (see parent class for full docstring)."""
        return cls(config, model_storage, resource)

    @classmethod
    def load(cls, config: dict[str, Any], model_storage: ModelStorage, resource: Resource,
             execution_context: ExecutionContext, **kwargs: Any) -> ShopEntityExtractor:
        """Loads the component with the products of its training (see parent class for full docstring)."""
        with model_storage.read_from(resource) as folder:
            stored = json.loads((folder / _PRODUCTS_FILE).read_text(encoding="utf8"))
        products = tuple(Product(item["sku"], tuple(item["names"])) for item in stored)
        return cls(config, model_storage, resource, products)

    def train(self, training_data: TrainingData) -> Resource:
        """Stores the products in the model, so that serving needs no file beside it."""
        path = Path(self._config["products"])
        if path.is_file():
            self._finder = EntityFinder(read_products(path))
        else:
            logger.warning("There is no %s: products will not be recognised.", path)
        with self._model_storage.write_to(self._resource) as folder:
            products = [dataclasses.asdict(product) for product in self._finder.products]
            (folder / _PRODUCTS_FILE).write_text(json.dumps(products, ensure_ascii=False), encoding="utf8")
        return self._resource

    def process(self, messages: list[Message]) -> list[Message]:
        """Adds the details of each message to its entities."""
        for message in messages:
            today = reference_day(message.get("metadata") or {}, self._timezone)
            found: list[dict[str, Any]] = [dataclasses.asdict(entity)
                                           for entity in self._finder.find(message.get(TEXT) or "", today)]
            message.set(ENTITIES, message.get(ENTITIES, []) + self.add_extractor_name(found), add_to_output=True)
        return messages


def reference_day(metadata: dict[str, Any], timezone: ZoneInfo) -> date | None:
    """The day that ``now`` of ``metadata`` falls on in ``timezone``; None where it is missing or unreadable.

    Args:
        metadata: ``now`` is a datetime or an ISO time ("2026-11-18T02:00:00+00:00"); without an offset it is local.
        timezone: Of the shop.
    """
    now = metadata.get("now")
    if isinstance(now, str):
        try:
            now = datetime.fromisoformat(now.replace("Z", "+00:00"))
        except ValueError:
            return None
    if not isinstance(now, datetime):
        return None
    return (now.astimezone(timezone) if now.tzinfo else now).date()


SpacyEntityExtractor = ShopEntityExtractor

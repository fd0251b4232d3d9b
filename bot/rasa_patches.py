"""What is changed in Rasa itself: what it works out anew at every message, half of a turn, and what it leaves out."""
from __future__ import annotations

import functools
from collections.abc import Iterable
from typing import Any

from jsonschema.exceptions import ValidationError  # type: ignore[import-untyped]
from rasa.core.actions.action import RemoteAction
from rasa.core.processor import MessageProcessor
from rasa.engine.graph import SchemaNode
from rasa.engine.runner.dask import DaskGraphRunner
from rasa.shared.core.events import Event
from rasa.shared.core.slots import Slot

PARSED = ("language", "sentiment")


def patch_rasa() -> None:
    """Make all changes; doing it twice is harmless.

    At every message ``RemoteAction`` checks its schema against the schema of schemas, 20 ms each time, and then every
    event of what our own actions server answered against that; ``Event`` looks through all its subclasses for every
    event of a tracker it reads; the graph of components is built and put in order for every reading and every
    prediction, for which every slot is copied the slow way; intents are looked up in the domain they were trained
    with. What a component sets to None, an unknown anger, is left out of what was parsed.
    """
    RemoteAction._validate_action_result = _validate_action_result
    if not hasattr(Event.resolve_by_type, "cache_info"):
        Event.resolve_by_type = staticmethod(functools.lru_cache(maxsize=256)(Event.resolve_by_type))
    Slot.__copy__ = _copy_slot
    DaskGraphRunner.run = _run_graph
    MessageProcessor._check_for_unseen_features = lambda *_: None
    if not hasattr(MessageProcessor._parse_message_with_graph, "__wrapped__"):
        MessageProcessor._parse_message_with_graph = _with_unknowns(MessageProcessor._parse_message_with_graph)


def _validate_action_result(_self: RemoteAction, result: dict[str, Any]) -> bool:
    if not (isinstance(result.get("events"), list) and isinstance(result.get("responses"), list)):
        raise ValidationError("the actions server answered without events or responses")
    return True


def _copy_slot(slot: Slot) -> Slot:
    copied = object.__new__(type(slot))
    copied.__dict__.update(slot.__dict__)
    return copied


def _run_graph(self: DaskGraphRunner, inputs: dict[str, Any] | None = None,
               targets: list[str] | None = None) -> dict[str, Any]:
    """The graph's nodes one after the other, in an order worked out once for each set of targets."""
    wanted = tuple(targets or self._graph_schema.target_names)
    plans = self.__dict__.setdefault("_plans", {})
    if wanted not in plans:
        plans[wanted] = _plan(self._graph_schema.minimal_graph_schema(list(wanted)).nodes, wanted)
    outputs = {name: (name, value) for name, value in (inputs or {}).items()}
    for name, needs in plans[wanted]:
        if name not in outputs:
            outputs[name] = self._instantiated_nodes[name](*(outputs.get(need, need) for need in needs))
    return dict(outputs[name] for name in wanted)


def _plan(nodes: dict[str, SchemaNode], targets: Iterable[str]) -> list[tuple[str, tuple[str, ...]]]:
    """The nodes that the targets need, each behind those it needs itself."""
    planned: dict[str, tuple[str, ...]] = {}

    def add(name: str) -> None:
        if name in planned or name not in nodes:  # what is no node is an input
            return
        needs = tuple(nodes[name].needs.values())
        for need in needs:
            add(need)
        planned[name] = needs

    for target in targets:
        add(target)
    return list(planned.items())


def _with_unknowns(parse: Any) -> Any:
    @functools.wraps(parse)
    def parsed(*arguments: Any, **named: Any) -> dict[str, Any]:
        return {**dict.fromkeys(PARSED), **parse(*arguments, **named)}

    return parsed

"""What is changed in Rasa itself: two things worked out once instead of at every message, and one not left out.

The first two together were half of a turn.
"""
from __future__ import annotations

import functools
from typing import Any

from jsonschema.validators import validator_for  # type: ignore[import-untyped]
from rasa.core.actions.action import RemoteAction
from rasa.core.processor import MessageProcessor
from rasa.shared.core.events import Event

PARSED = ("language", "sentiment")


def patch_rasa() -> None:
    """Make all three changes; doing it twice is harmless.

    ``RemoteAction`` checks its schema against the schema of schemas before it checks an answer of the actions server,
    20 ms each time, and ``Event`` looks through all its subclasses for every event of a tracker it reads. What a
    component sets to None, an unknown anger, Rasa leaves out of what it parsed.
    """
    RemoteAction._validate_action_result = _validate_action_result
    if not hasattr(Event.resolve_by_type, "cache_info"):
        Event.resolve_by_type = staticmethod(functools.lru_cache(maxsize=256)(Event.resolve_by_type))
    if not hasattr(MessageProcessor._parse_message_with_graph, "__wrapped__"):
        MessageProcessor._parse_message_with_graph = _with_unknowns(MessageProcessor._parse_message_with_graph)


@functools.cache
def _validator() -> Any:
    schema = RemoteAction.action_response_format_spec()
    return validator_for(schema)(schema)


def _validate_action_result(_self: RemoteAction, result: dict[str, Any]) -> bool:
    _validator().validate(result)
    return True


def _with_unknowns(parse: Any) -> Any:
    @functools.wraps(parse)
    def parsed(*arguments: Any, **named: Any) -> dict[str, Any]:
        return {**dict.fromkeys(PARSED), **parse(*arguments, **named)}

    return parsed

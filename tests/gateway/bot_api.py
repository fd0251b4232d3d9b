"""Holds calls and answers against the published shapes of the Telegram Bot API, as ``bot_api.json`` has them."""
from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

KNOWN: Mapping[str, Any] = json.loads(Path(__file__).with_suffix(".json").read_text())
METHODS, OBJECTS, ONE_OF = KNOWN["methods"], KNOWN["objects"], KNOWN["one_of"]
LIST = "Array of "


def wrong_call(method: str, asked: Mapping[str, Any]) -> list[str]:
    """What is wrong with the parameters of a call; forms carry everything but texts as JSON."""
    return _wrong_fields(method, {name: value for name, value in asked.items()}, METHODS[method], form=True)


def wrong_result(method: str, result: Any) -> list[str]:
    """What is wrong with what a method gave."""
    return wrong_value(method, result, METHODS[method]["returns"])


def wrong_error(answer: Mapping[str, Any], status: int) -> list[str]:
    """What is wrong with a refusal."""
    found = [] if answer.get("ok") is False and answer.get("error_code") == status else [f"no refusal: {answer}"]
    found += wrong_value("description", answer.get("description"), "String")
    if "parameters" in answer:
        found += wrong_value("parameters", answer["parameters"], "ResponseParameters")
    return found


def wrong_value(where: str, value: Any, kinds: str) -> list[str]:
    """What is wrong with a value that must be of one of some kinds, written ``Integer | Array of User``."""
    tried = [_wrong(where, value, kind) for kind in ONE_OF.get(kinds, kinds).split(" | ")]
    return min(tried, key=len)


def _wrong(where: str, value: Any, kind: str) -> list[str]:
    if kind in ONE_OF:
        return wrong_value(where, value, kind)
    if kind.startswith(LIST):
        if not isinstance(value, list):
            return [f"{where}: no list"]
        return [each for index, one in enumerate(value) for each in _wrong(f"{where}[{index}]", one, kind[len(LIST):])]
    if kind in OBJECTS:
        return _wrong_fields(where, value, OBJECTS[kind]) if isinstance(value, dict) else [f"{where}: no {kind}"]
    plain = {"String": str, "Integer": int, "Boolean": bool, "True": bool, "Float": (int, float)}.get(kind, dict)
    right = isinstance(value, plain) and (kind in ("Boolean", "True") or not isinstance(value, bool))
    return [] if right else [f"{where}: {value!r} is no {kind}"]


def _wrong_fields(where: str, given: Mapping[str, Any], known: Mapping[str, Any], *, form: bool = False) -> list[str]:
    kinds = {**known["required"], **known["optional"]}
    found = [f"{where}: {name} is missing" for name in known["required"] if name not in given]
    found += [f"{where}: there is no {name}" for name in given if name not in kinds]
    for name, value in given.items():
        if name in kinds:
            read = _read(value, kinds[name]) if form else value
            found += wrong_value(f"{where}.{name}", read, kinds[name])
    return found


def _read(value: Any, kinds: str) -> Any:
    """A value of a form: JSON unless a text is wanted."""
    if not isinstance(value, str) or kinds == "String":
        return value
    try:
        return json.loads(value)
    except ValueError:
        return value

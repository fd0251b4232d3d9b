"""The YAML that Rasa reads: everything it names exists, and everything the bot says exists in both languages."""
from __future__ import annotations

import importlib
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from rasa_sdk.executor import ActionExecutor

from actions.forms import Form
from actions.slots import FORM_SLOTS, SLOTS_OF

ROOT = Path(__file__).resolve().parents[2]
DOMAIN: dict[str, Any] = yaml.safe_load((ROOT / "domain.yml").read_text(encoding="utf-8"))
INTENTS_OF_RECORD = set(re.findall(r"^- intent: (\w+)", "\n".join(
    path.read_text(encoding="utf-8") for path in (ROOT / "data" / "nlu").rglob("*.yml")), re.MULTILINE))


def steps(folder: str) -> list[dict[str, Any]]:
    found = []
    for path in sorted((ROOT / folder).rglob("*.yml")):
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
        found += [step for one in (*data.get("rules", ()), *data.get("stories", ())) for step in one["steps"]]
    return found


def test_every_path_named_in_yaml_can_be_imported() -> None:
    """Rasa only warns about a wrong one and goes on with something else."""
    config = yaml.safe_load((ROOT / "config.yml").read_text())
    endpoints = yaml.safe_load((ROOT / "endpoints.yml").read_text())
    credentials = yaml.safe_load((ROOT / "credentials.yml").read_text())
    named = [row["name"] for row in (*config["pipeline"], *config["policies"])]
    named += [endpoints["tracker_store"]["type"], endpoints["nlg"]["type"], *credentials]
    ours = [name for name in named if "." in name]
    assert len(ours) >= 7
    for name in ours:
        module, _, attribute = name.rpartition(".")
        assert hasattr(importlib.import_module(module), attribute), name


@pytest.mark.parametrize("response", sorted(DOMAIN["responses"]))
def test_every_response_exists_in_both_languages_with_the_same_placeholders(response: str) -> None:
    by_language: dict[str, list[dict[str, Any]]] = {"zh": [], "en": []}
    for variation in DOMAIN["responses"][response]:
        (language,) = [one["value"] for one in variation["condition"] if one["name"] == "language"]
        by_language[language].append(variation)
    assert len(by_language["zh"]) == len(by_language["en"]) >= 1
    for zh, en in zip(by_language["zh"], by_language["en"], strict=True):
        words = re.sub(r"{\w+}", "", zh["text"])
        assert re.search("[\u4e00-\u9fff]", words) or not re.search(r"\w", words)
        assert not re.search("[\u4e00-\u9fff]", en["text"])
        assert set(re.findall(r"{(\w+)}", zh["text"])) == set(re.findall(r"{(\w+)}", en["text"]))
        assert [one["payload"] for one in zh.get("buttons", ())] == [one["payload"] for one in en.get("buttons", ())]


def test_the_domain_has_the_intents_of_the_training_data() -> None:
    assert set(DOMAIN["intents"]) == INTENTS_OF_RECORD


def test_actions_of_the_domain_and_of_the_code_are_the_same() -> None:
    executor = ActionExecutor()
    executor.register_package("actions")
    assert set(DOMAIN["actions"]) == set(executor.actions)


def test_every_intent_has_a_rule() -> None:
    ruled = {step["intent"] for step in steps("data/rules") if "intent" in step}
    assert ruled == set(DOMAIN["intents"])


def test_what_actions_say_is_in_the_domain_and_the_domain_says_nothing_else() -> None:
    code = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "actions").glob("*.py"))
    said = set(re.findall(r'"(utter_\w+)"', code))
    ruled = {step["action"] for folder in ("data/rules", "data/stories") for step in steps(folder)
             if str(step.get("action", "")).startswith("utter_")}
    built = {name for name in DOMAIN["responses"] if name.startswith(("utter_order_", "utter_privacy_"))}
    asked = {f"utter_ask_{form}_{slot}" for form, slots in SLOTS_OF.items() for slot in slots}
    assert said | ruled <= set(DOMAIN["responses"])
    assert set(DOMAIN["responses"]) <= said | ruled | built | asked


def test_form_slots_are_in_the_domain_and_never_filled_by_rasa_itself() -> None:
    for slot in FORM_SLOTS:
        assert [mapping["type"] for mapping in DOMAIN["slots"][slot]["mappings"]] == ["custom"]
    for name, form in DOMAIN["forms"].items():
        assert set(form["required_slots"]) <= set(SLOTS_OF[name])
    assert {one.form: list(one.questions) for one in Form.__subclasses__()} == {
        name: form["required_slots"] for name, form in DOMAIN["forms"].items()}


def test_every_question_of_a_form_is_asked_by_a_response_or_an_action() -> None:
    for name, form in DOMAIN["forms"].items():
        for slot in form["required_slots"]:
            assert f"utter_ask_{name}_{slot}" in DOMAIN["responses"] or f"action_ask_{name}_{slot}" in DOMAIN["actions"]


@pytest.mark.parametrize("payload", sorted({button["payload"] for variations in DOMAIN["responses"].values()
                                            for variation in variations for button in variation.get("buttons", ())}))
def test_buttons_name_intents_of_the_domain(payload: str) -> None:
    assert payload[1:].split("{")[0] in DOMAIN["intents"]

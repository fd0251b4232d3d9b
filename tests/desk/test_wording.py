"""The words of the interface: all there, in both languages, and every one that is asked for."""
from __future__ import annotations

import re
from string import Formatter

import pytest

from crm_store.models.conversations import DELIVERY_STATES, STATUSES
from crm_store.models.customers import CHANNELS, CONSENT_PURPOSES, LANGUAGES
from crm_store.models.shop import ORDER_STATUSES
from crm_store.models.staff import ROLES
from crm_store.models.tickets import CLOCK_STATES, GRADES, PROMISES, REASONS, TICKET_KINDS, TICKET_STATUSES
from crm_store.queries.queue import VIEWS
from crm_store.queries.thread import SHOWN_EVENTS
from crm_store.rules.intents import INTENTS
from crm_store.services.complaints import STAGES
from desk import problems
from desk.app import STATIC
from desk.shapes import CAUSES
from desk.wording import FOR_SCRIPTS, WORDS, say, words_for_scripts

HAN = re.compile(r"[\u4e00-\u9fff]")
SAME_IN_BOTH = {"other_language", "switch_language", "channel_telegram"}


@pytest.mark.parametrize("key", WORDS)
def test_every_word_is_there_in_both_languages_with_the_same_values(key: str) -> None:
    chinese, english = WORDS[key]
    assert chinese and english
    names = [{name for _, name, _, _ in Formatter().parse(text) if name} for text in (chinese, english)]
    assert names[0] == names[1]
    if key not in SAME_IN_BOTH:
        assert not HAN.search(english)
        assert HAN.search(chinese) or not re.search(r"[A-Za-z]{3}", re.sub(r"\{\w+\}", "", chinese))


@pytest.mark.parametrize("prefix, values", [
    ("status", (*STATUSES, *TICKET_STATUSES)), ("delivery", DELIVERY_STATES), ("channel", CHANNELS),
    ("consent", CONSENT_PURPOSES), ("language", LANGUAGES), ("short", LANGUAGES), ("order", ORDER_STATUSES),
    ("role", ROLES), ("grade", GRADES), ("stage", STAGES), ("promise", PROMISES), ("reason", REASONS),
    ("kind", TICKET_KINDS),
    ("state", CLOCK_STATES), ("view", VIEWS), ("queue_empty", VIEWS), ("sla", SHOWN_EVENTS), ("cause", CAUSES),
    ("intent", INTENTS)])
def test_there_is_a_word_for_every_stored_value(prefix: str, values: tuple[str, ...]) -> None:
    assert not [value for value in values if f"{prefix}_{value}" not in WORDS]


def test_there_is_a_word_for_everything_in_the_audit_log() -> None:
    sources = "\n".join(file.read_text(encoding="utf8") for package in ("crm_store", "desk", "gateway", "actions")
                        for file in (STATIC.parent.parent / package).rglob("*.py"))
    named = re.findall(r'\b(?:action|object_kind)="(\w+)"', sources)
    for found in re.findall(r'(?:_audit|_record|record_change|_own|keep)\([\w, ]*?"(\w+)"(?:, "(\w+)")?', sources):
        named += [name for name in found if name]
    assert {"claim", "export_log", "sla_policy", "ticket"} <= set(named)
    assert not {name for name in named if f"audit_{name}" not in WORDS}


def test_there_is_a_word_for_every_refusal() -> None:
    codes = {each.code for each in vars(problems).values()
             if isinstance(each, type) and issubclass(each, problems.Problem)}
    assert {f"error_{code}" for code in codes} <= set(WORDS)


def test_scripts_and_templates_ask_for_words_that_exist_and_no_word_is_left_over() -> None:
    scripts = "\n".join(file.read_text(encoding="utf8") for file in STATIC.glob("*.js"))
    templates = "\n".join(file.read_text(encoding="utf8") for file in (STATIC.parent / "templates").rglob("*.html"))
    asked = set(re.findall(r"""\bt\(\s*['"](\w+)['"]\s*[,)]""", templates))
    assert asked <= set(WORDS)
    assert set(re.findall(r'\bsay\("(\w+)"', scripts)) <= set(FOR_SCRIPTS)
    built = re.compile(r"(status|delivery|channel|consent|language|short|order|role|grade|promise|reason|kind|state|"
                       r"view|queue_empty|sla|cause|mood|valence|author|error|notice|key|hand_back|take_over|intent|audit|"
                       r"stage|topic|decision|care|fact|tone|merged|privacy|attachment|not_kept|period|exchange_kind|exchange_state|exchange_outcome)_")
    everywhere = scripts + templates + "".join(
        file.read_text(encoding="utf8") for file in STATIC.parent.glob("*.py") if file.name != "wording.py")
    assert not [key for key in WORDS if key not in everywhere and not built.match(key)]


def test_scripts_get_their_words_unfilled() -> None:
    assert words_for_scripts("en")["new_arrival"] == "New: {name}, {reason}"
    assert say("new_arrival", "zh", name="{reason}", reason="x") == "新会话：{reason}，x"

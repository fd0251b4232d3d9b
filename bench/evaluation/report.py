"""Turns what was measured into one page of Markdown: what is printed is what stands in the documentation."""
from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from bench.evaluation.knowledge import ELSEWHERE, OTHER, OUTCOMES, REFUSED
from bench.evaluation.speed import HOSTILE_TIMES
from bench.evaluation.tables import number, percent, table

Figures = dict[str, Any]
NAMES = {"zh": "Chinese", "en": "English", "all": "both"}
CONFUSIONS_SHOWN = 8

HEAD = """# How well messages are understood

`make eval A=--write-report` writes this page; `make eval` prints it. Everything is measured on what nothing was learnt
from: `tests/nlu` and `data/sentiment/*_heldout.jsonl`, and the tests hold that none of it is among the training data.
All are a little too good all the same: between several encoders, and for how readily a message is out of scope or
asked back, the choice fell by these lines; some patterns of entities were mended after they had shown them wrong; how
sure to be of articles was fitted elsewhere, but after looking at their totals. A language model wrote the lines for
this project, not customers: real messages will differ."""


ABOUT_ANGER = """SnowNLP (Chinese) and VADER (English) tell good from bad, and bad is taken for angry: 1 - sentiment
of SnowNLP, (1 - compound) / 2 of VADER; a neutral text is 0.50. Only their average precision and best F1 compare
fairly, since our thresholds are not theirs. The best F1 is that of the threshold chosen with the labels known. The
calibration error is over ten bins. Of public sets, where there are any, only what training does not read is counted."""

ABOUT_ENTITIES = """An entity is right where its type, its start and its end are; the last column is the share of the
right ones whose value is right too."""

ABOUT_KNOWLEDGE = """What the bot's own actions tell a guest, with the articles of `data/kb`: intent, search and
thresholds together. Refused: the bot says that it has no answer. Another action: the message was taken for something
else than a question that articles answer. The nearest article is what the search alone finds."""


def page(figures: Figures) -> str:
    """The report of the sections that were measured."""
    made_by = f"Encoder {figures['encoder']}, {figures['cores']} cores, Python {figures['python']}."
    sections = [write(figures[name]) for name, write in SECTIONS.items() if name in figures]
    return "\n\n".join([HEAD, made_by, *sections]) + "\n"


def intents_section(found: Figures) -> str:
    """Accuracy and what is mistaken, by system and language."""
    rows = [[system, NAMES[language], str(one["examples"]), percent(one["accuracy"]), number(one["macro_f1"]),
             percent(one["out_of_scope_recall"]), percent(one["out_of_scope_precision"])]
            for system, languages in found["systems"].items() for language, one in languages.items()]
    parts = ["## Intents", table(["", "language", "phrasings", "accuracy", "macro-F1", "out of scope: recall",
                                  "precision"], rows)]
    if found["stock_epochs"] is not None:
        parts.append(f"Stock Rasa: its default pipeline (DIET), trained for {found['stock_epochs']} epochs on the same "
                     "examples; what its fallback takes counts as out of scope.")
    if not found["with_encoder"]:
        parts.append("Without the encoder.")
    parts.append(asked_back(found["asked_back"]))
    parts.append(f"The form of the message alone settled {found['settled_by_form']} of them. What Warmline mistakes:")
    parts.append(table(["is", "taken for", "times"], [
        [f"`{is_}`", f"`{said}`", str(times)]
        for is_, said, times in found["systems"]["Warmline"]["all"]["confusions"][:CONFUSIONS_SHOWN]]))
    return "\n\n".join(parts)


def asked_back(found: Figures) -> str:
    """How often the bot asks which of two intents is meant."""
    times = ", ".join(f"{one['asked']} {NAMES[language]}" for language, one in found.items() if language != "all")
    both = found["all"]
    return (f"Asked back which of two is meant: {both['asked']} times ({times}; "
            f"{percent(both['asked'] / both['examples'])}). The right one was among the two {both['among_the_two']} "
            f"times, and the best guess {both['best_guess_right']} times. Accuracy counts the best guess all the same.")


def anger_section(found: Figures) -> str:
    """What tells angry from calm, and how often a calm message is taken for an angry one."""
    rows, calm = [], []
    for source, about in found.items():
        for system, one in about["systems"].items():
            if "false_alarm_rate" in one:
                rates = one["false_alarm_rate"]
                calm.append([source, str(about["rows"]), system, *(percent(rates[at], 2) for at in ("watch", "route"))])
            else:
                rows.append([source, f"{about['rows']} ({about['angry']})", system, number(one["average_precision"]),
                             *_three(one["route"]), *_three(one["watch"]),
                             f"{one['best']['f1']:.2f} at {one['best']['threshold']:.2f}",
                             number(one["calibration_error"])])
    parts = ["## Anger", table(["", "rows (angry)", "", "average precision", "route 0.80: precision", "recall", "F1",
                                "watch 0.50: precision", "recall", "F1", "best F1", "calibration error"], rows)]
    if calm:
        parts += ["False alarms among turns that are calm as a rule:",
                  table(["", "turns", "", "at 0.50", "at 0.80"], calm)]
    parts.append(ABOUT_ANGER)
    return "\n\n".join(parts)


def entities_section(found: Figures) -> str:
    """What is found of each type, in each language."""
    languages = found["languages"]
    types = [*sorted({entity for about in languages.values() for entity in about["types"]} - {"all"}), "all"]
    rows = [[f"`{entity}`" if entity != "all" else "all", NAMES[language], str(one["labelled"]),
             percent(one["precision"]), percent(one["recall"]), number(one["f1"]), percent(one["value_accuracy"])]
            for entity in types for language, about in languages.items() if language != "all" or entity == "all"
            if (one := about["types"].get(entity)) is not None]
    messages = ", ".join(f"{about['messages']} {NAMES[name]}" for name, about in languages.items() if name != "all")
    return "\n\n".join(["## Entities", f"{ABOUT_ENTITIES}\nMessages: {messages}.",
                        table(["", "language", "labelled", "precision", "recall", "F1", "value"], rows)])


def knowledge_section(found: Figures) -> str:
    """What became of the questions that an article answers, and of the others."""
    rows = [[NAMES[language], str(one["questions"]), *(percent(one[name]) for name in (*OUTCOMES, "nearest is right"))]
            for language, about in found["languages"].items() for one in (about["answerable"],)]
    beyond = [[NAMES[language], str(one["questions"]), *(percent(one[name]) for name in (REFUSED, OTHER, ELSEWHERE))]
              for language, about in found["languages"].items() for one in (about["unanswerable"],)]
    return "\n\n".join(["## Knowledge", ABOUT_KNOWLEDGE,
                        table(["an article answers", "questions", *OUTCOMES, "nearest is right"], rows),
                        table(["no article answers", "questions", "rightly refused", OTHER.replace("another", "an"),
                               ELSEWHERE], beyond)])


def speed_section(found: Figures) -> str:
    """What the encoder costs."""
    rows = [[name, number(found[key]["median"], 1), number(found[key]["p95"], 1)]
            for name, key in (("16 tokens", "short_ms"), ("the longest message (4,000 characters)", "longest_ms"))]
    memory = (f"Loading the encoder adds {found['encoder_mb']:.0f} MB of resident memory to a process, and the "
              f"libraries it needs {found['libraries_mb']:.0f} MB.")
    return "\n\n".join(["## Time and memory",
                        table(["one message, one thread", "median ms", "95th percentile ms"], rows), memory,
                        hostile(found["hostile"])])


def hostile(found: Figures) -> str:
    """What the worst of the texts costs that nobody means well with."""
    return (f"Of {found['texts']} hostile texts (`bench/evaluation/hostile.py`: up to 100,000 characters, emoji, "
            f"base64, invalid Unicode) the slowest, {found['slowest']}, takes {number(found['milliseconds'], 1)} ms of "
            f"encoder, entity finder and features together. Reading all of them {HOSTILE_TIMES} times more leaves "
            f"{found['left_mb']:.0f} MB behind.")


def _three(at: Figures) -> Iterator[str]:
    return (f"{at[name]:.2f}" for name in ("precision", "recall", "f1"))


SECTIONS = {"intents": intents_section, "anger": anger_section, "entities": entities_section,
            "knowledge": knowledge_section, "speed": speed_section}

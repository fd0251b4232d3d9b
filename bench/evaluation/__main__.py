"""`make eval`: one report of how well messages are understood, printed and written to results/eval.json."""
from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from bench.evaluation.anger import installed_rivals, measure_anger
from bench.evaluation.anger_sources import public_sources, service_sources
from bench.evaluation.article_fit import fitted_articles
from bench.evaluation.cross_validation import cross_validated
from bench.evaluation.entities import measure_entities
from bench.evaluation.held_out import ROOT
from bench.evaluation.intents import measure_intents
from bench.evaluation.knowledge import measure_knowledge
from bench.evaluation.reader import Reader
from bench.evaluation.report import SECTIONS, page
from bench.evaluation.speed import measure_speed
from bot.nlu.encoder import TextEncoder, load_encoder
from bot.nlu.intent_model import IntentSettings

RESULTS = ROOT / "results" / "eval.json"
REPORT = ROOT / "docs" / "reference" / "evaluation.md"


def read_options(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line; ends the program where it makes no sense."""
    parser = argparse.ArgumentParser(prog="python -m bench.evaluation", description=__doc__)
    parser.add_argument("--only", nargs="+", choices=list(SECTIONS), metavar="SECTION",
                        help=f"measure only some of: {', '.join(SECTIONS)}")
    parser.add_argument("--write-report", action="store_true", help=f"also write {REPORT.relative_to(ROOT)}")
    parser.add_argument("--no-stock", action="store_true", help="leave stock Rasa out, whose training takes long")
    parser.add_argument("--stock-epochs", type=int, default=100, help="epochs stock Rasa is trained for (its own: 100)")
    parser.add_argument("--corpora", type=Path, help="the folder of public data, to measure anger on it too")
    parser.add_argument("--encoder", type=Path, default=ROOT / "models" / "encoder", help="the folder of the encoder")
    parser.add_argument("--fit-articles", action="store_true", help="only print how sure to be of articles, to set")
    intents = parser.add_argument_group("the intent model")
    intents.add_argument("--wrong", action="store_true", help="also print every held-out phrasing that is misread")
    intents.add_argument("--surface-only", action="store_true", help="leave the encoder out, here and in the knowledge")
    intents.add_argument("--cross-validate", action="store_true", help="also print temperature and threshold to set")
    intents.add_argument("--c", type=float, default=IntentSettings().c)
    intents.add_argument("--vector-weight", type=float, default=IntentSettings().vector_weight)
    options = parser.parse_args(arguments)
    if options.write_report and options.only:
        parser.error("--write-report needs every section")
    return options


def measure(options: argparse.Namespace, encoder: TextEncoder, reader: Reader) -> dict[str, Any]:
    """The figures of every section that is wanted, each as soon as the one before is done."""
    def anger() -> dict[str, Any]:
        public = public_sources(options.corpora) if options.corpora else {}
        return measure_anger(encoder, {**service_sources(), **public}, installed_rivals())

    sections: dict[str, Callable[[], dict[str, Any]]] = {
        "speed": lambda: measure_speed(options.encoder),
        "entities": lambda: measure_entities(reader.finder),
        "intents": lambda: measure_intents(reader, None if options.no_stock else options.stock_epochs),
        "knowledge": lambda: measure_knowledge(reader),
        "anger": anger,
    }
    found: dict[str, Any] = {"encoder": encoder.name, "cores": os.cpu_count(), "python": platform.python_version()}
    for name, section in sections.items():
        if not options.only or name in options.only:
            print(f"measuring {name} …", file=sys.stderr, flush=True)
            found[name] = section()
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures, prints the report and writes the figures."""
    options = read_options(arguments)
    encoder = load_encoder(options.encoder)
    reader = Reader(None if options.surface_only else encoder,
                    replace(IntentSettings(), c=options.c, vector_weight=options.vector_weight))
    if options.fit_articles:
        print(fitted_articles(reader, encoder))
        return 0
    if options.cross_validate:
        print(cross_validated(reader.examples, reader.vectors, reader.settings))
    figures = measure(options, encoder, reader)
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(figures, ensure_ascii=False, indent=1) + "\n", encoding="utf8")
    print(page(figures))
    if options.write_report:
        REPORT.write_text(page(figures), encoding="utf8")
    if options.wrong and "intents" in figures:
        for one in figures["intents"]["wrong"]:
            print(f"{one['language']}  {one['intent']} taken for {one['taken_for']}: {one['text']}")
    print(f"written: {RESULTS.relative_to(ROOT)}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())

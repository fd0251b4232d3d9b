"""The section of time: a process of its own loads the encoder and reads, ``python -m bench.evaluation.speed``."""
from __future__ import annotations

import argparse
import itertools
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from bench.evaluation.hostile import hostile_texts

if TYPE_CHECKING:
    from bot.nlu.encoder import TextEncoder

SHORT_TOKENS = 16
SHORT_TEXTS, LONG_TEXTS = 205, 65
UNTIMED = 5
HOSTILE_TIMES = 15
LONGEST_TEXT = 4000
"""Characters: no message is longer (see ``crm_store.rules.text``), and the encoder reads its start and its end."""


def measure_speed(encoder: Path) -> dict[str, Any]:
    """What such a process prints of the encoder in a folder."""
    done = subprocess.run([sys.executable, "-W", "ignore", "-m", "bench.evaluation.speed", str(encoder.resolve())],
                          cwd=Path(__file__).resolve().parents[2], check=True, stdout=subprocess.PIPE, text=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def long_texts(pieces: Sequence[str], characters: int) -> Iterator[str]:
    """Different texts of so many characters: pieces in a row, from each piece on."""
    for first in range(len(pieces)):
        row = itertools.islice(itertools.cycle(pieces), first, first + characters)
        yield " ".join(row)[:characters]


def short_texts(pieces: Sequence[str], tokens: int, count: Callable[[str], int]) -> Iterator[str]:
    """Different texts of so many tokens: the starts of long ones; one that has no such start is left out."""
    for row in long_texts(pieces, 12 * tokens):
        end = next((end for end in range(1, len(row)) if count(row[:end]) == tokens), None)
        if end is not None:
            yield row[:end]


def milliseconds(read: Callable[[str], object], texts: Sequence[str]) -> dict[str, float]:
    """Median and 95th percentile of reading a text; the first few are read and left out."""
    times = []
    for text in texts:
        began = time.perf_counter()
        read(text)
        times.append((time.perf_counter() - began) * 1e3)
    return {"median": statistics.median(times[UNTIMED:]), "p95": statistics.quantiles(times[UNTIMED:], n=20)[-1]}


def resident_mb() -> float:
    """Megabytes of memory that this process holds."""
    return float(psutil.Process().memory_info().rss) / 1e6


def measure_hostile(encoder: TextEncoder) -> dict[str, Any]:
    """Of the texts that nobody means well with: the slowest by its median, and the megabytes that reading them leaves.

    What a message goes through is timed, up to where its length no longer matters: the encoder, the entity finder, and
    the signs that the intent model looks at.
    """
    from bench.evaluation.held_out import ROOT
    from bot.nlu.finder import EntityFinder, read_products
    from bot.nlu.intent_model import settled_by_form, surface_features

    finder = EntityFinder(read_products(ROOT / "data/demo/products.json"))

    def read(text: str) -> None:
        encoder.read([text])
        settled_by_form(text, [(entity.start, entity.end) for entity in finder.find(text)])
        surface_features(text)

    for text in hostile_texts().values():
        read(text)
    before = resident_mb()
    # Another end makes another text of it: what was read before would cost nothing.
    medians = {name: milliseconds(read, [f"{text}{time}" for time in range(HOSTILE_TIMES)])["median"]
               for name, text in hostile_texts().items()}
    slowest = max(medians, key=lambda name: medians[name])
    return {"hostile": {"texts": len(medians), "slowest": slowest, "milliseconds": medians[slowest],
                        "left_mb": resident_mb() - before}}


def main() -> None:
    """Measures and prints JSON."""
    arguments = argparse.ArgumentParser(prog="python -m bench.evaluation.speed", description=__doc__)
    arguments.add_argument("encoder", type=Path, help="the folder of the encoder")
    folder = arguments.parse_args().encoder
    empty = resident_mb()
    from tokenizers import Tokenizer

    from bot.nlu.encoder import TextEncoder, prepared

    libraries = resident_mb()
    encoder = TextEncoder.load(folder, threads=1)
    encoder.read(["?"])
    loaded = resident_mb()

    from bench.evaluation.held_out import held_out_examples

    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    pieces = [example.text for example in held_out_examples()]
    short = itertools.islice(short_texts(pieces, SHORT_TOKENS, lambda text: len(tokenizer.encode(prepared(text)).ids)),
                             SHORT_TEXTS)
    long = itertools.islice(long_texts(pieces, LONGEST_TEXT), LONG_TEXTS)
    read = {"short_ms": milliseconds(lambda text: encoder.read([text]), list(short)),
            "longest_ms": milliseconds(lambda text: encoder.read([text]), list(long))}
    print(json.dumps({**read, **measure_hostile(encoder), "libraries_mb": libraries - empty,
                      "encoder_mb": loaded - libraries}))


if __name__ == "__main__":
    main()

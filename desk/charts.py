"""The geometry of charts that pages draw as SVG: stacked bars with an axis, each piece a way to what is behind it."""
from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

WIDTH, HEIGHT = 560, 220
LEFT, RIGHT, TOP, BOTTOM = 40, 6, 18, 26
GAP = 0.25  # of a bar's place
WIDEST_BAR = 44.0
LABELS_FIT = 7
NUMBERS_FIT = 16
LEAST_HEIGHT = 1.5
NICE = (1, 2, 2.5, 5, 10)


@dataclass(frozen=True)
class Series:
    """What is stacked in each bar: ``name`` chooses its colour and pattern, ``label`` its word."""

    name: str
    label: str
    values: Sequence[float]
    links: Sequence[str | None]


@dataclass(frozen=True)
class Piece:
    """A piece of a bar, its place in the drawing, and what it says and leads to."""

    series: str
    x: float
    y: float
    width: float
    height: float
    title: str
    link: str | None


@dataclass(frozen=True)
class Tick:
    """A line of the axis, or a word below it."""

    at: float
    text: str


@dataclass(frozen=True)
class Chart:
    """A drawing of ``WIDTH`` by ``HEIGHT``. ``totals`` are written above bars where they fit."""

    pieces: Sequence[Piece]
    lines: Sequence[Tick]
    labels: Sequence[Tick]
    totals: Sequence[tuple[float, float, str]]
    series: Sequence[Series]
    empty: bool
    width: int = WIDTH
    height: int = HEIGHT
    left: int = LEFT
    right: int = WIDTH - RIGHT
    base: int = HEIGHT - BOTTOM


def stacked_bars(names: Sequence[str], titles: Sequence[str], series: Sequence[Series], *,
                 say: Callable[[float], str], whole: bool = True) -> Chart:
    """Bars beside each other, one for each name, with the series stacked from below.

    Args:
        names: the words below the axis; some are left out where there are too many.
        titles: what each bar is, for its titles.
        series: those without any value are left out.
        say: how a value reads.
        whole: values are counts, so that the axis has no fractions.
    """
    used = [each for each in series if any(each.values)]
    totals = [sum(each.values[place] for each in used) for place in range(len(names))]
    step = nice_step(max(totals, default=0), whole=whole)
    top = max(step * math.ceil(max(totals, default=0) / step - 1e-9), step)
    base, room = HEIGHT - BOTTOM, HEIGHT - BOTTOM - TOP
    place_width = (WIDTH - LEFT - RIGHT) / max(len(names), 1)
    bar = min(place_width * (1 - GAP), WIDEST_BAR)
    pieces: list[Piece] = []
    written: list[tuple[float, float, str]] = []
    for place, title in enumerate(titles):
        middle, y = LEFT + place_width * (place + 0.5), float(base)
        for each in used:
            value = each.values[place]
            if not value:
                continue
            height = max(value / top * room, LEAST_HEIGHT)
            y -= height
            pieces.append(Piece(each.name, round(middle - bar / 2, 2), round(y, 2), round(bar, 2), round(height, 2),
                                f"{title} · {each.label}: {say(value)}", each.links[place]))
        if totals[place] and len(names) <= NUMBERS_FIT:
            written.append((round(middle, 2), round(y - 5, 2), say(totals[place])))
    lines = [Tick(round(base - step * number / top * room, 2), say(step * number))
             for number in range(round(top / step) + 1)]
    every = max(1, math.ceil(len(names) / LABELS_FIT))
    labels = [Tick(round(LEFT + place_width * (place + 0.5), 2), name)
              for place, name in enumerate(names) if place % every == 0]
    return Chart(pieces, lines, labels, written, used, not used)


def nice_step(highest: float, *, whole: bool = True, lines: int = 4) -> float:
    """The distance of an axis's lines: 1, 2, 2.5 or 5 times a power of ten, at most ``lines`` of them."""
    if highest <= 0:
        return 1.0 if whole else 0.25
    size = 10.0 ** math.floor(math.log10(highest / lines))
    step = next(each * size for each in NICE if each * size * lines >= highest * (1 - 1e-9))
    return float(max(1, math.ceil(step))) if whole else step

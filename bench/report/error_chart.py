"""Draws the time of a call against the error of its answers: a point for each cell of one model and workload."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

from bench.judge.margins import main_rate
from bench.records import Outcome, Parity
from bench.report import drawing, escaping, numbers
from bench.report import text as words
from bench.report.drawing import Scale

LEFT, PLOT, LABELS = 50, 178, 206
"""Pixels of the labels of the vertical axis, of the plot, and of the names of the points."""
GUTTER = 18
"""Room in the plot for points without a time, at its right, and without an error, at its bottom."""
LINE = 16
"""Pixels between two names."""
FLOOR = 1e-7
"""Smaller errors are those of rounding in FP32: they share the gutter below the axis, so that the rest has the room."""
LEAST_HEIGHT = 150
TOP = 22
SHAPES = {"ok": "circle", "partial": "square", "approximate": "triangle", "inaccurate": "cross"}
COLOURS = {
    "ok": "var(--chart)",
    "partial": "var(--chart-partial)",
    "approximate": "var(--chart-near)",
    "inaccurate": "var(--wrong)",
}


class Figure(NamedTuple):
    """A figure of the distance from FP32: 0 is identical."""

    title: str
    read: Callable[[Parity], float | None]


FIGURES = (
    Figure("KL divergence", lambda parity: parity.kl_divergence),
    Figure("relative error", lambda parity: parity.relative_error),
    Figure("unequal values", lambda parity: None if parity.agreement is None else 1 - parity.agreement),
)
"""The first that a cell of the chart has is the one that is drawn."""


class Point(NamedTuple):
    """One cell: milliseconds of a call or of a token, None where the speed is withheld, and its error."""

    name: str
    status: str
    milliseconds: float | None
    error: float
    description: str


class Drawing(NamedTuple):
    """What is inside the image, its size, and its text alternative."""

    inner: str
    width: float
    height: float
    description: str


def draw(outcomes: Sequence[Outcome]) -> Drawing | None:
    """The chart; None with fewer than two cells, or with none that has a time and an error."""
    figure = next((f for f in FIGURES if any(o.parity and f.read(o.parity) for o in outcomes)), None)
    points = [point for outcome in outcomes if figure and (point := _point(outcome, figure)) is not None]
    if figure is None or len(points) < 2 or not any(point.milliseconds for point in points):
        return None
    decodes = any(o.speed and o.speed.generation and o.speed.generation.decode_tok_s for o in outcomes)
    bottom = TOP + max(LEAST_HEIGHT, len(points) * LINE)
    x, y = _across(points), _down(points, bottom)
    inner = [
        drawing.axis_below(x, drawing.log_ticks(x.low, x.high), TOP, bottom, _time_title(decodes)),
        drawing.axis_left(y, _error_ticks(y), LEFT, LEFT + PLOT),
        drawing.text(4, 8, f"{figure.title} against FP32 (log scale)", fill="var(--ink-soft)"),
    ]
    if any(point.error <= FLOOR for point in points):
        inner.append(drawing.text(LEFT - 6, _place(0, y), f"< {drawing.short(FLOOR)}", "end"))
    places = [(_time_place(point, x), _place(point.error, y)) for point in points]
    for point, place, label in zip(points, places, _label_places([y for _, y in places], bottom), strict=True):
        inner.append(_marked(point, place, label))
    description = "; ".join(f"{point.name}: {point.description}" for point in points)
    return Drawing("".join(inner), LEFT + PLOT + LABELS, bottom + 40, description)


def _point(outcome: Outcome, figure: Figure) -> Point | None:
    error = figure.read(outcome.parity) if outcome.parity else None
    # Answers that are not finite have no place on any scale.
    if error is None or not math.isfinite(error) or outcome.status not in SHAPES:
        return None
    rate = main_rate(outcome.speed).value if outcome.speed else 0.0
    milliseconds = 1000 / rate if 0 < rate < math.inf else None
    mark = "" if outcome.status == "ok" else f" ({outcome.status})"
    cell = outcome.cell
    name = escaping.line(f"{cell.target} · {words.precision(cell, outcome.file_format)}{mark}")
    shown = "identical to FP32" if error <= 0 else f"{figure.title} {numbers.significant(error)}"
    timed = "speed withheld" if milliseconds is None else numbers.duration(milliseconds)
    return Point(name, outcome.status, milliseconds, max(error, 0.0), f"{timed}, {shown}")


def _across(points: Sequence[Point]) -> Scale:
    times = [point.milliseconds for point in points if point.milliseconds]
    # A scale of one value has no length.
    return Scale(min(times) / 1.15, max(times) * 1.15, LEFT, LEFT + PLOT - GUTTER, log=True)


def _down(points: Sequence[Point], bottom: float) -> Scale:
    """From the largest error at the top to the smallest that is more than rounding."""
    errors = [point.error for point in points if point.error > FLOOR] or [FLOOR, 10 * FLOOR]
    return Scale(min(errors) / 1.5, max(errors) * 1.5, bottom - GUTTER, TOP, log=True)


def _place(error: float, y: Scale) -> float:
    return y.at(error) if error > FLOOR else y.start + GUTTER / 2


def _time_place(point: Point, x: Scale) -> float:
    return x.at(point.milliseconds) if point.milliseconds else x.end + GUTTER / 2


def _error_ticks(y: Scale) -> list[float]:
    decades = [tick for tick in drawing.DECADES if y.low <= tick <= y.high]
    if len(decades) < 2:
        return drawing.log_ticks(y.low, y.high)
    return decades[:: math.ceil(len(decades) / 5)]


def _time_title(decodes: bool) -> str:
    return f"ms of {'a token' if decodes else 'a call'} (log scale)"


def _label_places(heights: Sequence[float], bottom: float) -> list[float]:
    """Places for the names, each as near to its point as the names above and below it allow."""
    order = sorted(range(len(heights)), key=lambda number: heights[number])
    places = [0.0] * len(heights)
    above = -math.inf
    for number in order:
        above = places[number] = max(heights[number], above + LINE)
    below = bottom - LINE / 2 + LINE
    for number in reversed(order):
        below = places[number] = min(places[number], below - LINE)
    return places


def _marked(point: Point, place: tuple[float, float], label: float) -> str:
    """The mark, its name at the right, and a thin line between the two."""
    x, y = place
    colour, right = COLOURS[point.status], LEFT + PLOT
    lead = drawing.path([(x + 6, y), (right, y), (right + 8, label)], "var(--track)", 1.2)
    name = drawing.text(right + 11, label, drawing.cut(point.name, LABELS - 11))
    mark = drawing.shape(SHAPES[point.status], x, y, colour)
    return drawing.named(f"{point.name}: {point.description}", lead + mark + name)

"""Draws the charts of a model and of a sustained run as inline SVG in the light or dark colours of the page."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

from bench.records import Interval, Outcome, SustainedMinute
from bench.report import drawing, error_chart, escaping, generation, numbers, sustained
from bench.report import text as words
from bench.report.drawing import Scale
from bench.report.model_tables import ModelPart, WorkloadPart

PLOT_WIDTH = 215
LABEL_WIDTH = 206
"""Plot, labels and ticks together take about 430 px, so that a phone shrinks the text by no more than a fifth."""
MARGIN = 12
"""Room at the right end, where half of the last tick's label stands."""
STEP = 26
AXIS = 40
FINE_TICKS = [tick / 20 for tick in range(1, 61)]
TONES = {"good": "var(--chart)", "warn": "var(--chart-partial)", "near": "var(--chart-near)"}
"""CSS variables of the page."""
SUSTAINED_WIDTH, SUSTAINED_HEIGHT, SUSTAINED_LABELS = 215, 74, 56
SUSTAINED_TICKS = 6
LEAST_MINUTES = 2
"""A chart of fewer minutes shows no trend."""


@dataclass(frozen=True, slots=True)
class Chart:
    """An SVG for one model and workload."""

    place: int
    """The index of the workload among those of the model."""
    title: str
    svg: str


class Point(NamedTuple):
    """The values that are drawn for one cell; a missing end of the interval takes the value itself."""

    name: str
    value: float
    low: float
    high: float
    colour: str
    description: str


class Drawn(NamedTuple):
    """What is inside an image, with its title and its text alternative."""

    title: str
    inner: str
    width: float
    height: float
    description: str


def model_charts(part: ModelPart, prefix: str, *, approximate: bool = False) -> list[Chart]:
    """All charts of a model: for each workload the ratios to the control, a rate, and speed against error.

    Cells that are `approximate` are drawn only where they are asked for. `prefix` begins the ids in each SVG, so that
    they are unique on a page with several models.
    """
    drawn_charts = []
    for number, workload in enumerate(part.workloads):
        name = f"{part.name}, {workload.name}"
        weights = " (random weights)" if part.weights == "random" else ""
        for kind, drawn in _of_workload(workload if approximate else _ranked(workload)):
            if drawn is not None:
                title = escaping.line(f"{drawn.title}, {name}{weights}")
                image = drawing.image(
                    drawn.inner, drawn.width, drawn.height, title, drawn.description, f"{prefix}-{number}-{kind}"
                )
                drawn_charts.append(Chart(number, title, image))
    return drawn_charts


def _ranked(workload: WorkloadPart) -> WorkloadPart:
    """The workload without its approximate cells."""
    return replace(workload, outcomes=tuple(o for o in workload.outcomes if o.status != "approximate"))


def _of_workload(workload: WorkloadPart) -> Iterator[tuple[str, Drawn | None]]:
    """Each chart with a word for its id: the ratios to the control for each part of a call, one rate, the errors."""
    speeds = [outcome.speed for outcome in workload.outcomes if outcome.speed]
    for part in dict.fromkeys(part for speed in speeds for part in generation.compared(speed)):
        yield f"{part} ratio".strip().replace(" ", "-"), _ratios(workload, part)
    if any(speed.generation for speed in speeds):
        yield "decode", _bars("Decode", "tokens", _decoding(workload))
    elif workload.rates:
        unit = workload.rates[0]
        yield (
            "rate",
            _bars("Throughput", unit, [(o, o.speed.throughput.get(unit)) for o in workload.outcomes if o.speed]),
        )
    yield "error", _errors(workload)


def _decoding(workload: WorkloadPart) -> list[tuple[Outcome, Interval | None]]:
    timed = [(outcome, outcome.speed.generation) for outcome in workload.outcomes if outcome.speed]
    return [(outcome, generated.decode_tok_s) for outcome, generated in timed if generated]


def _ratios(workload: WorkloadPart, part: str) -> Drawn | None:
    """Points with intervals on a log scale, where 0.5 is as far from 1 as 2 is."""
    points = [
        _point(outcome, interval, numbers.ratio(interval))
        for outcome in workload.outcomes
        if (speed := outcome.speed) and (interval := generation.compared(speed).get(part)) and _can_be_drawn(interval)
        if speed.control != outcome.cell.id
    ]
    if not points:
        return None
    # A tenth more at both ends, so that no mark touches the border.
    low, high = min(1, *(p.low for p in points)) / 1.1, max(1, *(p.high for p in points)) * 1.1
    scale = Scale(low, high, LABEL_WIDTH, LABEL_WIDTH + PLOT_WIDTH, log=True)
    height = len(points) * STEP
    # The line of "as fast as the control", so that a reader sees which intervals cross it.
    parity = drawing.line(scale.at(1), 0, scale.at(1), height, "var(--ink-soft)", dash="4 3")

    def mark(point: Point, y: float) -> str:
        whisker = drawing.whisker(scale, point.low, point.high, y, point.colour)
        return whisker + drawing.circle(scale.at(point.value), y, 4, point.colour)

    axis = drawing.axis_below(scale, _ticks(low, high), 0, height, "times the control's speed (log scale)")
    title = f"{part} speedup over the control".strip().capitalize()
    return _rows(title, points, axis + parity, mark)


def _bars(title: str, unit: str, rates: Iterable[tuple[Outcome, Interval | None]]) -> Drawn | None:
    """Bars that begin at zero, because readers compare their lengths."""
    points = [
        _point(outcome, rate, numbers.plus_minus(rate, f" {unit}/s"))
        for outcome, rate in rates
        if rate and _can_be_drawn(rate)
    ]
    if not points:
        return None
    scale = Scale(0, max(point.high for point in points), LABEL_WIDTH, LABEL_WIDTH + PLOT_WIDTH)

    def mark(point: Point, y: float) -> str:
        length = drawing.bar(scale.start, y, scale.at(point.value) - scale.start, 14, point.colour)
        return length + drawing.whisker(scale, point.low, point.high, y, "var(--ink)")

    ticks = drawing.linear_ticks(0, scale.high, 4)
    return _rows(
        title, points, drawing.axis_below(scale, ticks, 0, len(points) * STEP, f"{escaping.line(unit)} a second"), mark
    )


def _rows(title: str, points: list[Point], below: str, mark: Callable[[Point, float], str]) -> Drawn:
    """A row for each point: its name, then its mark, over the axis."""
    parts = [below]
    for number, point in enumerate(points):
        y = (number + 0.5) * STEP
        parts += [drawing.text(LABEL_WIDTH - 8, y, drawing.cut(point.name, LABEL_WIDTH - 8), "end"), mark(point, y)]
    description = "; ".join(f"{point.name}: {point.description}" for point in points)
    return Drawn(title, "".join(parts), LABEL_WIDTH + PLOT_WIDTH + MARGIN, len(points) * STEP + AXIS, description)


def _errors(workload: WorkloadPart) -> Drawn | None:
    """The time of a call against the error of its answers."""
    drawn = error_chart.draw(workload.outcomes)
    return None if drawn is None else Drawn("Speed against error", *drawn)


def _can_be_drawn(interval: Interval) -> bool:
    """Whether all ends are finite and positive.

    A log scale has no place for zero, and one interval without an end would make all others too small to read.
    """
    ends = (interval.value, interval.low, interval.high)
    return numbers.is_usable(interval) and all(end is None or (math.isfinite(end) and end > 0) for end in ends)


def _point(outcome: Outcome, interval: Interval, description: str) -> Point:
    cell = outcome.cell
    mark = f" ({outcome.status})" if outcome.status in ("partial", "approximate") else ""
    low, high = (interval.value if end is None else end for end in (interval.low, interval.high))
    name = escaping.line(f"{cell.target} · {words.precision(cell, outcome.file_format)}{mark}")
    colour = TONES.get(words.STATUSES[outcome.status].tone, "var(--chart)")
    return Point(name, interval.value, low, high, colour, description)


def _ticks(low: float, high: float) -> list[float]:
    """Round numbers between the ends: enough to read the axis, and few enough not to overlap."""
    coarse = [tick for tick in drawing.COARSE_TICKS if low <= tick <= high]
    # Fewer than three of 1, 2 and 5 occur where the ratios are close to 1: steps of a twentieth then label the axis.
    if len(coarse) >= 3:
        return drawing.log_ticks(low, high)
    fine = [tick for tick in FINE_TICKS if low <= tick <= high]
    return [tick for tick in fine if tick == 1 or fine.index(tick) % math.ceil(len(fine) / 5) == 0]


# --- sustained runs ---------------------------------------------------------------------------------------------------


def sustained_chart(outcome: Outcome, name: str) -> str:
    """A small chart of a cell's sustained run, minute by minute, with the figure of its rounds.

    The inline SVG is empty if there are too few minutes. Its ids begin with `name`, which is unique on the page.
    """
    speed = outcome.sustained
    if speed is None or len(speed.minutes) < LEAST_MINUTES or outcome.speed is None:
        return ""
    burst, unit = generation.figure(outcome.speed)
    values = [_minute_value(minute) for minute in speed.minutes]
    described = (f"minute {n}: {sustained.figure(minute)}" for n, minute in enumerate(speed.minutes, start=1))
    title = escaping.line(f"Minute by minute, {outcome.cell.id}")
    width, height = SUSTAINED_LABELS + SUSTAINED_WIDTH + MARGIN, SUSTAINED_HEIGHT + AXIS + MARGIN
    return drawing.image(_minutes(values, burst.value, unit), width, height, title, "; ".join(described), name)


def _minute_value(minute: SustainedMinute) -> float:
    return minute.latency_ms if minute.decode_tok_s is None else minute.decode_tok_s


def _minutes(values: list[float], burst: float, unit: str) -> str:
    """A line for the minutes and a dashed line for the rounds.

    The axis begins at zero, so that a change of one percent looks as small as it is.
    """
    left, bottom = SUSTAINED_LABELS, SUSTAINED_HEIGHT + MARGIN
    x = Scale(1, len(values), left, left + SUSTAINED_WIDTH)
    y = Scale(0, max(*values, burst) * 1.05, bottom, MARGIN)
    # Whole minutes: ticks between the minutes of a short run would write one minute twice.
    ticks = list(range(1, len(values) + 1, math.ceil(len(values) / SUSTAINED_TICKS)))
    points = [(x.at(number), y.at(value)) for number, value in enumerate(values, start=1)]
    return "".join(
        [
            drawing.axis_below(x, ticks, bottom, bottom, "minute"),
            drawing.axis_left(y, drawing.linear_ticks(0, y.high, 3), left, left + SUSTAINED_WIDTH),
            drawing.text(left - 6, 4, unit, "end", "var(--ink-soft)"),
            drawing.line(x.start, y.at(burst), x.end, y.at(burst), "var(--ink-soft)", dash="4 3"),
            drawing.path(points, "var(--chart)"),
            *(drawing.circle(*point, 2.6, "var(--chart)") for point in points),
        ]
    )

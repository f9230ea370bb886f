"""Draws the charts of a model and of a sustained run as inline SVG in the light or dark colours of the page."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any
from xml.sax.saxutils import escape

import altair as alt
import vl_convert

from bench.records import Interval, Outcome, SustainedMinute
from bench.report import escaping, generation, numbers, sustained
from bench.report import text as words
from bench.report.model_tables import ModelPart, WorkloadPart

PLOT_WIDTH = 215
LABEL_WIDTH = 170
LABEL_ROOM = 205
"""The width that is reserved for labels, in pixels. It is larger than `LABEL_WIDTH`, because the reader's font may be a
fifth wider than the one that labels are measured in.

Plot, labels and ticks together take about 430 px, so that a phone shrinks the text by no more than a fifth.
"""
STEP = 26
DECADES = [10.0**power for power in range(-6, 7)]
COARSE_TICKS = [mantissa * decade for decade in DECADES for mantissa in (1, 2, 5)]
FINE_TICKS = [tick / 20 for tick in range(1, 61)]
# vl_convert contains several versions of Vega-Lite; the version must be the one that altair writes.
VEGA_LITE = "_".join(alt.SCHEMA_VERSION.removeprefix("v").split(".")[:2])
TONES = {"good": "var(--chart)", "warn": "var(--chart-partial)", "near": "var(--chart-near)"}
"""CSS variables of the page. Vega copies colours that it does not know into the SVG unchanged."""
SUSTAINED_HEIGHT = 74
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


def model_charts(part: ModelPart, prefix: str, *, approximate: bool = False) -> list[Chart]:
    """All charts of a model: for each workload the ratios to the control, and a rate.

    Cells that are `approximate` are drawn only where they are asked for. `prefix` begins the ids in each SVG, so that
    they are unique on a page with several models.
    """
    drawn_charts = []
    for number, workload in enumerate(part.workloads):
        name = f"{part.name}, {workload.name}"
        weights = " (random weights)" if part.weights == "random" else ""
        for kind, drawn in _of_workload(workload if approximate else _ranked(workload)):
            if drawn is not None:
                title, spec, points = drawn
                described = escaping.line(f"{title}, {name}{weights}")
                drawn_charts.append(Chart(number, described, svg(spec, described, points, f"{prefix}-{number}-{kind}")))
    return drawn_charts


def _ranked(workload: WorkloadPart) -> WorkloadPart:
    """The workload without its approximate cells."""
    return replace(workload, outcomes=tuple(o for o in workload.outcomes if o.status != "approximate"))


Drawn = tuple[str, alt.LayerChart, list[dict[str, Any]]]


def _of_workload(workload: WorkloadPart) -> Iterator[tuple[str, Drawn | None]]:
    """Each chart with a word for its id: the ratios to the control for each part of a call, then one rate."""
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
    low, high = min(1, *(p["low"] for p in points)) / 1.1, max(1, *(p["high"] for p in points)) * 1.1
    # `nice` would extend a log axis to whole decades.
    scale = alt.Scale(type="log", domain=[low, high], nice=False)
    axis = alt.Axis(values=_ticks(low, high), format="~g")
    along = {"scale": scale, "title": "times the control's speed (log scale)", "axis": axis}
    x = alt.X("value:Q", **along)
    base = alt.Chart(alt.InlineData(points)).encode(y=_names())
    # The line of "as fast as the control", so that a reader sees which intervals cross it.
    parity = (
        alt.Chart(alt.InlineData([{"value": 1}])).mark_rule(stroke="var(--ink-soft)", strokeDash=[4, 3]).encode(x=x)
    )
    # Vega-Lite draws circles and ticks with an opacity of 0.7 by default, which lowers their contrast.
    marks = base.mark_circle(size=50, opacity=1).encode(x=x, color=_tone())
    title = f"{part} speedup over the control".strip().capitalize()
    return title, alt.layer(parity, *_whiskers(base, along, _tone()), marks), points


def _bars(title: str, unit: str, rates: Iterable[tuple[Outcome, Interval | None]]) -> Drawn | None:
    """Bars that begin at zero, because readers compare their lengths."""
    points = [
        _point(outcome, rate, numbers.plus_minus(rate, f" {unit}/s"))
        for outcome, rate in rates
        if rate and _can_be_drawn(rate)
    ]
    if not points:
        return None
    # `~s` writes 12,000 as 12k: long figures would run into one another on so narrow a plot.
    axis = alt.Axis(tickCount=4, format="~s")
    along = {"scale": alt.Scale(zero=True), "title": f"{escaping.line(unit)} a second", "axis": axis}
    base = alt.Chart(alt.InlineData(points)).encode(y=_names())
    bars = base.mark_bar(height=14, opacity=0.55, cornerRadiusEnd=2).encode(x=alt.X("value:Q", **along), color=_tone())
    return title, alt.layer(bars, *_whiskers(base, along, alt.value("var(--ink)"))), points


def _can_be_drawn(interval: Interval) -> bool:
    """Whether all ends are finite and positive.

    A log scale has no place for zero, and one interval without an end would make all others too small to read.
    """
    ends = (interval.value, interval.low, interval.high)
    return numbers.is_usable(interval) and all(end is None or (math.isfinite(end) and end > 0) for end in ends)


def _point(outcome: Outcome, interval: Interval, description: str) -> dict[str, Any]:
    """The values that are drawn for one cell; a missing end of the interval takes the value itself."""
    cell = outcome.cell
    mark = f" ({outcome.status})" if outcome.status in ("partial", "approximate") else ""
    low, high = (interval.value if end is None else end for end in (interval.low, interval.high))
    return {
        "name": escaping.line(f"{cell.target} · {words.precision(cell, outcome.file_format)}{mark}"),
        "value": interval.value,
        "low": low,
        "high": high,
        "tone": words.STATUSES[outcome.status].tone,
        "description": description,
    }


def _names() -> alt.Y:
    axis = alt.Axis(labelLimit=LABEL_WIDTH, ticks=False, domain=False, labelPadding=8, minExtent=LABEL_ROOM)
    # Without sorting, the rows stay in the order of the table beside the chart.
    return alt.Y("name:N", sort=None, title=None, axis=axis)


def _ticks(low: float, high: float) -> list[float]:
    """Round numbers between the ends: enough to read the axis, and few enough not to overlap."""
    coarse = [tick for tick in COARSE_TICKS if low <= tick <= high]
    if len(coarse) > 6:
        return [tick for tick in DECADES if low <= tick <= high]
    # Fewer than three of 1, 2 and 5 occur where the ratios are close to 1: steps of a twentieth then label the axis.
    if len(coarse) >= 3:
        return coarse
    fine = [tick for tick in FINE_TICKS if low <= tick <= high]
    return [tick for tick in fine if tick == 1 or fine.index(tick) % math.ceil(len(fine) / 5) == 0]


def _tone() -> alt.Color:
    # Every tone is named: otherwise a colour would depend on which tones this chart happens to have.
    return alt.Color("tone:N", legend=None, scale=alt.Scale(domain=list(TONES), range=list(TONES.values())))


def _whiskers(base: alt.Chart, along: dict[str, Any], color: alt.Color) -> list[alt.Chart]:
    """The marks of the intervals and of their ends."""
    # Every layer repeats the same axis; otherwise Vega-Lite joins the default titles of all layers into one.
    low, high = alt.X("low:Q", **along), alt.X("high:Q", **along)
    line = base.mark_rule(strokeWidth=1.5).encode(x=low, x2="high:Q", color=color)
    ends = base.mark_tick(thickness=1.5, size=9, opacity=1)
    return [line, ends.encode(x=low, color=color), ends.encode(x=high, color=color)]


# --- sustained runs ---------------------------------------------------------------------------------------------------


def sustained_chart(outcome: Outcome, name: str) -> str:
    """A small chart of a cell's sustained run, minute by minute, with the figure of its rounds.

    The inline SVG is empty if there are too few minutes. Its ids begin with `name`, which is unique on the page.
    """
    speed = outcome.sustained
    if speed is None or len(speed.minutes) < LEAST_MINUTES or outcome.speed is None:
        return ""
    points = [_minute(number, minute) for number, minute in enumerate(speed.minutes, start=1)]
    burst, unit = generation.figure(outcome.speed)
    title = escaping.line(f"Minute by minute, {outcome.cell.id}")
    return svg(_minutes(points, burst, unit), title, points, name, SUSTAINED_HEIGHT)


def _minute(number: int, minute: SustainedMinute) -> dict[str, Any]:
    value = minute.latency_ms if minute.decode_tok_s is None else minute.decode_tok_s
    return {"minute": number, "name": f"minute {number}", "value": value, "description": sustained.figure(minute)}


def _minutes(points: list[dict[str, Any]], burst: Interval, unit: str) -> alt.LayerChart:
    """A line for the minutes and a dashed line for the rounds.

    The axis begins at zero, so that a change of one percent looks as small as it is.
    """
    # Chosen here: Vega would put ticks between the minutes of a short run, and write one minute twice.
    ticks = list(range(1, len(points) + 1, math.ceil(len(points) / SUSTAINED_TICKS)))
    axis = alt.Axis(values=ticks, format="d")
    x = alt.X("minute:Q", title="minute", axis=axis, scale=alt.Scale(domain=[1, len(points)], nice=False))
    y = alt.Y("value:Q", title=unit, axis=alt.Axis(tickCount=3, format=".3~g"), scale=alt.Scale(zero=True))
    base = alt.Chart(alt.InlineData(points)).encode(x=x, y=y)
    rounds = alt.Chart(alt.InlineData([{"value": burst.value}])).encode(y=y)
    dashed = rounds.mark_rule(stroke="var(--ink-soft)", strokeDash=[4, 3])
    line = base.mark_line(stroke="var(--chart)", strokeWidth=1.5)
    return alt.layer(dashed, line, base.mark_circle(size=22, opacity=1, color="var(--chart)"))


# --- the image --------------------------------------------------------------------------------------------------------


def svg(
    chart: alt.LayerChart,
    title: str,
    points: list[dict[str, Any]],
    name: str,
    height: int | alt.Step | None = None,
    width: int = PLOT_WIDTH,
) -> str:
    """The chart as one image, with a text alternative that lists the `name` and the `description` of each point.

    Without a height, each name on the vertical axis has a row of `STEP` pixels. The ids in the SVG begin with `name`.
    """
    height = alt.Step(STEP) if height is None else height
    spec = chart.properties(width=width, height=height).configure(**_config()).to_dict()
    # All data is inline, so no URL is allowed.
    drawn = vl_convert.vegalite_to_svg(spec, vl_version=VEGA_LITE, allowed_base_urls=[])
    description = "; ".join(f"{point['name']}: {point['description']}" for point in points)
    return _described(drawn, title, description, name)


def _config() -> dict[str, Any]:
    return {
        "background": "transparent",
        "font": "system-ui, sans-serif",
        "view": {"stroke": None},
        "axis": {
            "labelColor": "var(--ink)",
            "labelFontSize": 12,
            "titleColor": "var(--ink-soft)",
            "titleFontSize": 12,
            "titleFontWeight": "normal",
            "gridColor": "var(--line)",
            "tickColor": "var(--line)",
            "domainColor": "var(--line)",
        },
        "axisY": {"grid": False},
    }


def _described(svg: str, title: str, description: str, name: str) -> str:
    """The SVG with a title and a description for the whole image, and with ids that begin with `name`."""
    # Vega labels every mark for screen readers; one description of the whole chart is easier to follow.
    inner = re.sub(r' (?:aria-[a-z]+|role)="[^"]*"', "", svg[svg.index(">") + 1 :])
    # Vega uses the same ids in every chart, and ids must be unique on a page.
    inner = re.sub(r'(id="|url\(#)', rf"\g<1>{name}-", inner)
    # The renderer writes both sizes into every image, so the search finds them.
    width, height = (math.ceil(float(re.search(rf' {side}="([\d.]+)"', svg)[1])) for side in ("width", "height"))  # type: ignore[index]
    opening = (
        f'<svg class="chart" role="img" aria-labelledby="{name}-title {name}-desc" viewBox="0 0 {width} {height}" '
        f'width="{width}" height="{height}">'
    )
    named = f'<title id="{name}-title">{escape(title)}</title><desc id="{name}-desc">{escape(description)}</desc>'
    return opening + named + inner

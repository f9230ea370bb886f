"""Draws a small chart of a cell's sustained run, minute by minute, with the figure of its rounds."""

from __future__ import annotations

import math
from typing import Any

import altair as alt

from bench.records import Interval, Outcome, SustainedMinute
from bench.report import charts, escaping, generation, sustained

HEIGHT = 74
MOST_TICKS = 6
LEAST_MINUTES = 2
"""A single point shows no trend."""


def chart(outcome: Outcome, name: str) -> str:
    """The inline SVG; empty if there are too few minutes. Its ids begin with `name`, which is unique on the page."""
    speed = outcome.sustained
    if speed is None or len(speed.minutes) < LEAST_MINUTES or outcome.speed is None:
        return ""
    points = [_point(number, minute) for number, minute in enumerate(speed.minutes, start=1)]
    burst, unit = generation.figure(outcome.speed)
    title = escaping.line(f"Minute by minute, {outcome.cell.id}")
    return charts.svg(_layers(points, burst, unit), title, points, name, HEIGHT)


def _point(number: int, minute: SustainedMinute) -> dict[str, Any]:
    value = minute.latency_ms if minute.decode_tok_s is None else minute.decode_tok_s
    return {"minute": number, "name": f"minute {number}", "value": value, "description": sustained.figure(minute)}


def _layers(points: list[dict[str, Any]], burst: Interval, unit: str) -> alt.LayerChart:
    """A line for the minutes and a dashed line for the rounds.

    The axis begins at zero, so that a change of one percent looks as small as it is.
    """
    # Chosen here: Vega would put ticks between the minutes of a short run, and write one minute twice.
    ticks = list(range(1, len(points) + 1, math.ceil(len(points) / MOST_TICKS)))
    axis = alt.Axis(values=ticks, format="d")
    x = alt.X("minute:Q", title="minute", axis=axis, scale=alt.Scale(domain=[1, len(points)], nice=False))
    y = alt.Y("value:Q", title=unit, axis=alt.Axis(tickCount=3, format=".3~g"), scale=alt.Scale(zero=True))
    base = alt.Chart(alt.InlineData(points)).encode(x=x, y=y)
    rounds = alt.Chart(alt.InlineData([{"value": burst.value}])).encode(y=y)
    dashed = rounds.mark_rule(stroke="var(--ink-soft)", strokeDash=[4, 3])
    line = base.mark_line(stroke="var(--chart)", strokeWidth=1.5)
    return alt.layer(dashed, line, base.mark_circle(size=22, opacity=1, color="var(--chart)"))

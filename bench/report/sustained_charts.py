"""A small chart of a cell's sustained run, minute by minute beside its rounds, as inline SVG."""

from __future__ import annotations

import math
from typing import Any

import altair as alt

from bench.records import Interval, Outcome, SustainedMinute
from bench.report import charts, escaping, generation, sustained

HEIGHT = 74
MOST_TICKS = 6
LEAST_MINUTES = 2
"""One point is no course."""


def chart(outcome: Outcome, name: str) -> str:
    """The SVG; empty where there are too few minutes. `name` keeps its ids apart from those of the page's others."""
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
    """The minutes as a line, and the rounds as a dashed one; from zero, so that a percent looks like one."""
    ticks = list(range(1, len(points) + 1, math.ceil(len(points) / MOST_TICKS)))
    axis = alt.Axis(values=ticks, format="d")
    x = alt.X("minute:Q", title="minute", axis=axis, scale=alt.Scale(domain=[1, len(points)], nice=False))
    y = alt.Y("value:Q", title=unit, axis=alt.Axis(tickCount=3, format=".3~g"), scale=alt.Scale(zero=True))
    base = alt.Chart(alt.InlineData(points)).encode(x=x, y=y)
    rounds = alt.Chart(alt.InlineData([{"value": burst.value}])).encode(y=y)
    dashed = rounds.mark_rule(stroke="var(--ink-soft)", strokeDash=[4, 3])
    line = base.mark_line(stroke="var(--chart)", strokeWidth=1.5)
    return alt.layer(dashed, line, base.mark_circle(size=22, opacity=1, color="var(--chart)"))

"""Write `history.html`: one self-contained page with a table and charts. It loads nothing and runs no script."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import altair as alt
from markupsafe import Markup
from msgspec import Struct

from bench.comparison import history_rows
from bench.comparison.history import History, Point, Series
from bench.judge.outcome import ANSWERED
from bench.records import Interval
from bench.report import drawing, escaping, numbers, pages, vega

FILE = "history.html"
TEMPLATES = Path(__file__).parent / "templates"
WIDTH, HEIGHT = 330, 120
# Variables of the style sheet, so that charts follow the reader's light or dark theme.
MACHINES = ("var(--chart)", "var(--chart-partial)", "var(--brass)", "var(--wrong)", "var(--refused)")
"""The colours of the machines in the order of their first run; they repeat after the last."""
MAX_DESCRIBED = 20
"""The number of last runs in the text description of a chart; `history.csv` has all."""
LABELS = 4
"""Dates on the axis of a chart."""
ROOM = 1.06
"""Margin above and below the points on a log scale, as a factor."""
Data = list[dict[str, Any]]


class Picture(Struct, frozen=True):
    """A chart on the page."""

    title: str
    svg: Markup


class SeriesView(Struct, frozen=True):
    """One series with its charts and its table row."""

    series: Series
    pictures: tuple[Picture, ...]
    row: history_rows.HistoryRow
    place: str
    """The id of its figure on the page."""


def render(history: History) -> str:
    """The whole page."""
    shown = [series for series in history.series if not history_rows.is_quiet(series)]
    parts = [_part(history, series, number) for number, series in enumerate(shown)]
    models: dict[str, list[SeriesView]] = {}
    for part in parts:
        models.setdefault(part.series.cell.partition("/")[0], []).append(part)
    environment = pages.environment(TEMPLATES)
    environment.filters["step"] = lambda step: history_rows.step(history, step)
    environment.filters["stale"] = lambda series: history_rows.stale(history, series)
    return environment.get_template("history.html").render(
        history=history,
        rows=history_rows,
        parts=parts,
        models=models,
        marks=marks(history),
        machines=[(key, processor, tone(history, key)) for key, processor in history_rows.machines(history)],
        failed=any(point.status not in ANSWERED for series in shown for point in series.points),
        stepped=any(series.change_points for series in shown),
        busy=any(point.busy and point.ms for series in shown for point in series.points),
    )


def _part(history: History, series: Series, number: int) -> SeriesView:
    pictures = tuple(series_charts(history, series, f"h{number}")) if series.figure else ()
    (row,) = history_rows.rows(History(history.runs, (series,)))
    return SeriesView(series, pictures, row, f"cell-{number}")


# --- charts -----------------------------------------------------------------------------------------------------------


def series_charts(history: History, series: Series, name: str) -> list[Picture]:
    """The chart of the times, and that of the ratios if there is a control; ids in the SVG begin with `name`."""
    unit = "ms a token" if series.figure == "decode" else "ms"
    label = series.cell if series.figure == "call" else f"{series.cell} {series.figure}"
    kinds = [
        (f"Time, {unit}", [(point, point.ms) for point in series.points]),
        ("Times the control's speed", [(point, point.ratio) for point in series.points]),
    ]
    pictures = []
    for number, (title, values) in enumerate(kinds):
        points = [_point(history, point, value) for point, value in values if value and _can_be_drawn(value)]
        if points:
            chart = _chart(history, series, points, is_ratio=number == 1)
            description = escaping.line(f"{title} of {label} over {len(points)} runs")
            svg = vega.svg(chart, description, points[-MAX_DESCRIBED:], f"{name}-{number}", HEIGHT, WIDTH)
            # Vega escapes what it draws, and `vega` what it adds.
            pictures.append(Picture(f"{title} (log scale)", Markup(svg)))  # noqa: S704
    return pictures


def tone(history: History, machine: str) -> str:
    """The colour of a machine, the same in every chart of the page."""
    keys = [key for key, _ in history_rows.machines(history)]
    return MACHINES[keys.index(machine) % len(MACHINES)]


def marks(history: History) -> dict[int, int]:
    """The number that marks each run with changes from the previous one on its machine, by the run's index."""
    changed = [place for place, run in enumerate(history.runs) if run.changes]
    return {place: number for number, place in enumerate(changed, start=1)}


def _chart(history: History, series: Series, points: Data, is_ratio: bool) -> alt.LayerChart:
    # The chart of ratios shows the control's line at 1, even if all points are on one side of it.
    low = min([point["low"] for point in points] + [1.0] * is_ratio) / ROOM
    high = max([point["high"] for point in points] + [1.0] * is_ratio) * ROOM
    # Space for the marks at the top, and for the crosses of failed runs at the bottom.
    span = (high / low) ** 0.1
    low, high = low / span, high * span
    x = alt.X("run:Q", scale=alt.Scale(domain=[-0.7, len(history.runs) - 0.3], nice=False), axis=_dates(history))
    axis = alt.Axis(values=ticks(low, high), format="~g", title=None, minExtent=34)
    y = {"scale": alt.Scale(type="log", domain=[low, high], nice=False), "axis": axis}
    base = alt.Chart(alt.InlineData(points)).encode(x=x, color=_colours(history, points))
    # Smaller dots for many runs, so that they do not overlap.
    size = max(10, min(45, 2400 / len(history.runs)))
    layers: list[Any] = [
        *_rules(history, series, x, y, high),
        base.mark_line(strokeWidth=1, opacity=0.5).encode(y=alt.Y("value:Q", **y), detail="machine:N"),
        base.mark_rule(strokeWidth=1.2).encode(y=alt.Y("low:Q", **y), y2="high:Q"),
        *_dots(points, x, y, _colours(history, points), size),
        *_failures(series, x, y, low),
    ]
    if is_ratio:
        reference = alt.Chart(alt.InlineData([{"one": 1}]))
        layers.insert(0, reference.mark_rule(stroke="var(--ink-soft)", strokeDash=[4, 3]).encode(y=alt.Y("one:Q", **y)))
    return alt.layer(*layers)


def _rules(history: History, series: Series, x: alt.X, y: dict[str, Any], high: float) -> list[Any]:
    """Vertical lines: another machine (dashed), a run with changes (numbered), a change point (triangle)."""
    layers: list[Any] = []
    # Between two runs, because the machine is another from the later one on.
    switched: Data = [{"run": place - 0.5} for place, run in enumerate(history.runs) if run.other_machine]
    if switched:
        rules = alt.Chart(alt.InlineData(switched))
        layers.append(rules.mark_rule(stroke="var(--ink-soft)", strokeDash=[3, 3], strokeWidth=1).encode(x=x))
    changed: Data = [{"run": place, "top": high, "number": str(number)} for place, number in marks(history).items()]
    if changed:
        base = alt.Chart(alt.InlineData(changed)).encode(x=x)
        layers.append(base.mark_rule(stroke="var(--brass)", strokeWidth=0.8, opacity=0.6).encode())
        numbered = base.mark_text(baseline="bottom", dy=-2, fontSize=10, color="var(--brass)")
        layers.append(numbered.encode(y=alt.Y("top:Q", **y), text="number:N"))
    steps: Data = [{"run": step.run - 0.5, "top": high} for step in series.change_points]
    if steps:
        base = alt.Chart(alt.InlineData(steps)).encode(x=x)
        layers.append(base.mark_rule(stroke="var(--wrong)", strokeWidth=1.5))
        triangle = base.mark_point(
            shape="triangle-down", size=55, filled=True, opacity=1, color="var(--wrong)", yOffset=5
        )
        layers.append(triangle.encode(y=alt.Y("top:Q", **y)))
    return layers


def _dots(points: Data, x: alt.X, y: dict[str, Any], color: alt.Color, size: float) -> list[Any]:
    """A dot for each run; a ring where it was measured on a busy machine."""
    layers: list[Any] = []
    for busy in (False, True):
        own = [point for point in points if point["busy"] == busy]
        if own:
            base = alt.Chart(alt.InlineData(own)).encode(x=x, y=alt.Y("value:Q", **y), color=color)
            ring = base.mark_point(shape="circle", size=size, opacity=1, strokeWidth=1.4, fill="var(--paper)")
            layers.append(ring if busy else base.mark_circle(size=size, opacity=1))
    return layers


def _failures(series: Series, x: alt.X, y: dict[str, Any], low: float) -> list[Any]:
    """A cross at the bottom for each run without correct output of the cell."""
    failed: Data = [{"run": point.run, "foot": low} for point in series.points if point.status not in ANSWERED]
    if not failed:
        return []
    crosses = alt.Chart(alt.InlineData(failed)).mark_text(text="×", fontSize=15, color="var(--bad)", dy=-5)
    return [crosses.encode(x=x, y=alt.Y("foot:Q", **y))]


def _dates(history: History) -> alt.Axis:
    """An axis with the dates of a few runs. Its unit is a run, not a day, since a day may have several runs."""
    last = len(history.runs) - 1
    # A set, because several labels fall on one run where there are few.
    places = sorted({round(last * part / (LABELS - 1)) for part in range(LABELS)}) if last else [0]
    labels = "".join(f"datum.value == {place} ? '{_month_day(history, place)}' : " for place in places) + "''"
    return alt.Axis(values=places, labelExpr=labels, title=None, grid=False)


def _month_day(history: History, place: int) -> str:
    """`11-05`. Only digits and dashes are kept, since Vega would evaluate other text of a file as an expression."""
    return "".join(c for c in history_rows.day(history.runs[place]) if c.isdigit() or c == "-")[-5:]


def _colours(history: History, points: Data) -> alt.Color:
    machines = list(dict.fromkeys(point["machine"] for point in points))
    scale = alt.Scale(domain=machines, range=[tone(history, machine) for machine in machines])
    return alt.Color("machine:N", legend=None, scale=scale)


def _point(history: History, point: Point, value: Interval) -> dict[str, Any]:
    run = history.runs[point.run]
    # A single round has no interval, so its bar has no length.
    low, high = (value.value if end is None else end for end in (value.low, value.high))
    return {
        "run": point.run,
        "machine": run.machine,
        "value": value.value,
        "low": low,
        "high": high,
        "name": escaping.line(f"{history_rows.day(run)} {run.name}"),
        "description": numbers.plus_minus(value) + (", busy machine" if point.busy else ""),
        "busy": point.busy,
    }


def _can_be_drawn(interval: Interval) -> bool:
    ends = (interval.value, interval.low, interval.high)
    return numbers.is_usable(interval) and all(end is None or (math.isfinite(end) and end > 0) for end in ends)


def ticks(low: float, high: float) -> Sequence[float]:
    """Three to six round numbers between the ends of a log scale."""
    coarse = [tick for tick in drawing.COARSE_TICKS if low <= tick <= high]
    if len(coarse) > 6:
        return [tick for tick in drawing.DECADES if low <= tick <= high]
    if len(coarse) >= 3:
        return coarse
    # The range is so short that linear steps divide it better than those of a log scale.
    rough = (high - low) / 4
    decade = 10 ** math.floor(math.log10(rough))
    step = next(size * decade for size in (1, 2, 2.5, 5, 10) if size * decade >= rough)
    return [round(number * step, 12) for number in range(math.ceil(low / step), math.floor(high / step) + 1)]

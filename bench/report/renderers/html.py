"""The format `html`: report.html, a self-contained page that loads nothing and is whole without its one script."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from jinja2 import Environment
from markupsafe import Markup

from bench.records import NOT_TRIED, Interval, Outcome
from bench.report import (
    cell_pages,
    charts,
    cold_start,
    columns,
    comparison_table,
    generation,
    metrics,
    model,
    numbers,
    pages,
    sustained,
    task,
    text,
    text_answers,
    text_flags,
    text_outputs,
)
from bench.report.columns import Column
from bench.report.comparison_table import ComparisonRow, WorkloadComparisons
from bench.report.metric import CellResult
from bench.report.model import Report
from bench.report.model_tables import ModelPart, WorkloadPart

NAME = "html"
FILE = "report.html"
SCRIPT = "report.js"


def render(report: Report) -> str:
    """The whole page."""
    return (
        _environment()
        .get_template("report.html")
        .render(
            report=report,
            several=len(report.sheets) > 1,
            explained=metrics.present(_results(report)),
            script=pages.script(SCRIPT),
        )
    )


def _results(report: Report) -> Iterator[CellResult]:
    """The cells whose details show figures: those with timed calls."""
    return (sheet.result(outcome) for sheet in report.sheets for outcome in sheet.outcomes if outcome.calls)


@cache
def _environment() -> Environment:
    """The templates; they are compiled once, because a run writes its report again and again."""
    environment = pages.environment()
    environment.globals.update(numbers=numbers, LIMITS=columns.LIMITS, ONE_START=cold_start.ONE_START)
    environment.globals.update(SUSTAINED_HOW_TO_READ=sustained.HOW_TO_READ, ONE_PROCESS=sustained.ONE_PROCESS)
    environment.globals.update(TASK_HOW_TO_READ=task.HOW_TO_READ, ANSWERS_HOW_TO_READ=text_answers.HOW_TO_READ)
    environment.globals.update(COMPARISONS_HOW_TO_READ=comparison_table.HOW_TO_READ, FINDINGS=comparison_table.FINDINGS)
    environment.filters.update(FILTERS)
    return environment


def _charts(part: ModelPart, prefix: str) -> list[dict[str, Any]]:
    """The charts of a model, marked as safe: `drawing` escapes all text."""
    drawn = [("rank-strict" if part.approximate else "", chart) for chart in charts.model_charts(part, prefix)]
    if part.approximate:
        # The page holds both, and its checkbox shows one of them without a script.
        drawn += [("rank-all", chart) for chart in charts.model_charts(part, f"{prefix}-all", approximate=True)]
    return [
        {"place": chart.place, "title": chart.title, "shown": shown, "svg": Markup(chart.svg)}  # noqa: S704
        for shown, chart in drawn
    ]


def _sustained_chart(outcome: Outcome, name: str) -> Markup:
    return Markup(charts.sustained_chart(outcome, name))  # noqa: S704


def _top(workload: WorkloadPart) -> float:
    """The right end of the latency bars of one workload: the latency of its slowest cell, with its interval."""
    latencies = [outcome.speed.latency_ms for outcome in workload.outcomes if outcome.speed]
    # One interval without a usable end would make the bars of all other cells too short to compare.
    ends = [(latency.high if numbers.is_usable(latency) else None) or latency.value for latency in latencies]
    # Never zero, since bars are shares of it.
    return max(filter(math.isfinite, ends), default=1.0) or 1.0


def _bar(interval: Interval, top: float) -> str:
    """The CSS properties of a bar: value, low and high as shares of `top`."""
    ends = {"v": interval.value, "lo": interval.low, "hi": interval.high}
    # An end beyond `top`, of an interval that is not usable, is cut at the border of the bar below.
    shares = {name: interval.value if end is None else end for name, end in ends.items()}
    return ";".join(f"--{name}:{min(max(share / top, 0), 1):.2%}" for name, share in shares.items())


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def _sort_value(column: Column, outcome: Outcome) -> float | None:
    """The number that a column is sorted by; None for text."""
    value = column.read(outcome)
    return value.value if isinstance(value, Interval) else None


def _search_words(outcome: Outcome) -> str:
    """What the filter of the page looks for: the id of the cell, its status, and the names of its warnings."""
    return " ".join((outcome.cell.id, outcome.status, *text_flags.names(outcome.flags)))


def _comparison_words(row: ComparisonRow) -> str:
    """What the filter of the page looks for in a comparison: the ids of both cells, and the finding."""
    return f"{row.first.cell.id} {row.second.cell.id} {row.finding}"


def _comparison_order(row: ComparisonRow, workload: WorkloadComparisons) -> int:
    """The place of the second cell among those of its workload by name, which its column is sorted by."""
    return sorted({other.names[1] for other in workload.rows}).index(row.names[1])


def _is_tried(outcome: Outcome) -> bool:
    """Whether a worker was started for the cell, so that it has a log and can be repeated."""
    return outcome.status not in NOT_TRIED


def _model_weights(outcomes: Mapping[str, Outcome], name: str) -> str | None:
    own = {outcome.weights for outcome in outcomes.values() if outcome.cell.model == name}
    return "random" if "random" in own else None


FILTERS = {
    "address": cell_pages.address,
    "agreed": text_outputs.agreement,
    "agreement": columns.agreement,
    "asked_and_computed": text.asked_and_computed,
    "bar": _bar,
    "build_notes": text.build_notes,
    "cell_name": text_answers.name,
    "certainty": text_answers.certainty,
    "charts": _charts,
    "compared": generation.compared,
    "comparison_order": _comparison_order,
    "comparison_tally": comparison_table.tally,
    "comparison_words": _comparison_words,
    "control": text.control,
    "count": numbers.count,
    "differences": columns.differences,
    "duration": numbers.duration,
    "effort": text.effort_lines,
    "ending": text.ending,
    "executed": text.executed,
    "fastest_figure": text_answers.figure,
    "figure": generation.figure,
    "figures": metrics.figures,
    "flag": text.flag,
    "flag_detail": text_flags.detail,
    "flag_name": text_flags.name,
    "headline": generation.headline,
    "in_energy": numbers.in_energy,
    "in_time": numbers.in_time,
    "input_mark": text.input_mark,
    "is_tried": _is_tried,
    "log": cell_pages.log,
    "model_weights": _model_weights,
    "moment": text.moment,
    "notes": text.notes,
    "outputs": text_outputs.rows,
    "percent": numbers.percent,
    "precision_name": text.precision,
    "reason": text.reason,
    "recipe": text.recipe,
    "remedy": text.remedy,
    "repeat_command": cell_pages.repeat_command,
    "row_notes": text.row_notes,
    "search_words": _search_words,
    "setback_cells": text_answers.setback_cells,
    "setback_reason": text_answers.setback_reason,
    "shown": numbers.shown,
    "size": numbers.size,
    "slug": _slug,
    "sort_value": _sort_value,
    "speeds": columns.speeds,
    "start": cold_start.times,
    "start_note": text.start_note,
    "summary": model.summary,
    "sustained": sustained.outcomes_of,
    "sustained_chart": _sustained_chart,
    "sustained_row": sustained.row,
    "sustained_table": sustained.table,
    "task_row": task.row,
    "time": numbers.time,
    "top": _top,
}

"""Write `history.csv`: one row for each cell, figure and run."""

from __future__ import annotations

from typing import Any

from bench.comparison import history_rows
from bench.comparison.history import History, Point, Series
from bench.records import Interval
from bench.report import escaping

FILE = "history.csv"
COLUMNS: dict[str, str] = {
    "cell": "The cell: model, precision, target and workload.",
    "figure": "`call`, or of models that generate `first token` or `decode`; empty for a cell without any speed.",
    "run": "Name of the run, also its folder's.",
    "created": "When the run was started, UTC.",
    "machine": "Key of the machine; times of different keys are not comparable.",
    "bench_version": "Version of touchstone-bench that measured.",
    "status": "The verdict of that run.",
    "latency_ms": "Geometric mean over blocks; of `decode` milliseconds a token. Empty where no speed may be shown.",
    "latency_ms_low": "Lower end of its 95 % confidence interval; empty after one block or two.",
    "latency_ms_high": "Upper end of that interval.",
    "ratio_to_control": "Speed over the control's, from bursts that alternate with its own: 2.0 is twice as fast.",
    "ratio_low": "Lower end of its 95 % confidence interval.",
    "ratio_high": "Upper end of that interval.",
    "control": "The cell that the ratio is against.",
    "rounds": "Rounds behind the numbers.",
    "flags": "What a reader must know before using the number.",
    "emulated": "true where the device is imitated: such cells have no times here.",
    "changes": "What differs between this run and the one before on the same machine.",
    "change_point": "Advisory: relative change of the level from this run on, of what `change_point_of` names.",
    "change_point_of": "`ratio` or `time`; a ratio that rises is faster, a time that rises is slower.",
    "busy": "true where the cell or its control was measured beside other load: it counts for no change point.",
}
"""The columns in their order, and what each means."""


def render(history: History) -> str:
    """The header and the rows, with line feeds."""
    return escaping.csv_table(
        COLUMNS, (_row(history, series, point) for series in history.series for point in series.points)
    )


def _row(history: History, series: Series, point: Point) -> dict[str, Any]:
    run = history.runs[point.run]
    step = next((change_point for change_point in series.change_points if change_point.run == point.run), None)
    return {
        "cell": series.cell,
        "figure": series.figure,
        "run": run.name,
        "created": run.created,
        "machine": run.machine,
        "bench_version": run.bench_version,
        "status": point.status,
        **_interval("latency_ms", "latency_ms", point.ms),
        **_interval("ratio_to_control", "ratio", point.ratio),
        "control": point.control,
        "rounds": point.rounds,
        "flags": "; ".join(point.flags),
        "emulated": series.emulated,
        "changes": "; ".join(history_rows.changes(run)),
        "change_point": step.change if step else None,
        "change_point_of": step.of if step else None,
        "busy": point.busy,
    }


def _interval(name: str, ends: str, interval: Interval | None) -> dict[str, float | None]:
    if interval is None:
        return {name: None, f"{ends}_low": None, f"{ends}_high": None}
    return {name: interval.value, f"{ends}_low": interval.low, f"{ends}_high": interval.high}

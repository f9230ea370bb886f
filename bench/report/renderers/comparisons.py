"""The format `comparisons`: comparisons.csv, with one row for each pair of cells that people compare."""

from __future__ import annotations

from typing import Any

from bench.report import escaping
from bench.report.comparison_table import ComparisonRow
from bench.report.model import Report

NAME = "comparisons"
FILE = "comparisons.csv"
COLUMNS: dict[str, str] = {
    "run": "Name of the run, also its folder's.",
    "model": "The model.",
    "workload": "The workload.",
    "faster": "The cell whose estimate is the faster one.",
    "slower": "The other cell.",
    "ratio": "How many times as fast the first is as the second, from bursts that alternate in the same blocks.",
    "ratio_low": "Lower end of its 95 % confidence interval; empty after a single block.",
    "ratio_high": "Upper end of that interval.",
    "finding": "`difference`, `no difference shown`, or `open` where more blocks would decide.",
    "approximate": "true where the answers of a cell are visibly others than the reference's.",
    "sentence": "The same in words.",
}
"""The columns in their order, and what each means."""


def render(report: Report) -> str:
    """The header and a row for every comparison of every run; lines end with a line feed."""
    rows = (_row(row) for sheet in report.sheets for workload in sheet.compared for row in workload.rows)
    return escaping.csv_table(COLUMNS, rows)


def _row(row: ComparisonRow) -> dict[str, Any]:
    return {
        "run": row.run,
        "model": row.first.cell.model,
        "workload": row.first.cell.workload,
        "faster": row.first.cell.id,
        "slower": row.second.cell.id,
        "ratio": row.ratio.value,
        "ratio_low": row.ratio.low,
        "ratio_high": row.ratio.high,
        "finding": row.finding,
        "approximate": row.is_approximate,
        "sentence": row.sentence,
    }

"""Writes the comparisons of a run in Markdown: a folded table for each model."""

from __future__ import annotations

from collections.abc import Iterator

from bench.report import comparison_table
from bench.report.comparison_table import ComparisonRow
from bench.report.escaping import code, folded, table
from bench.report.escaping import markdown as plain
from bench.report.model import RunReport


def parts(sheet: RunReport) -> Iterator[str]:
    """A heading, and for each model a folded table of its comparisons."""
    models: dict[str, list[ComparisonRow]] = {}
    for workload in sheet.compared:
        models.setdefault(workload.model, []).extend(row for row in workload.rows if sheet.is_compared(row))
    if not any(models.values()):
        return
    yield "### All comparisons"
    yield plain(comparison_table.HOW_TO_READ)
    for model, rows in models.items():
        if rows:
            header = ["workload", "cell", "is … times as fast", "as", "finding"]
            yield folded(plain(comparison_table.tally(rows, model)), table(header, map(_row, rows)))


def _row(row: ComparisonRow) -> list[str]:
    first, second = row.names
    return [
        plain(row.first.cell.workload),
        code(first),
        row.factor,
        code(second),
        row.finding,
    ]

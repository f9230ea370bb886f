"""Writes the folded part of summary.md with every figure of every cell: one table for each model."""

from __future__ import annotations

from collections.abc import Iterator

from bench.report import metrics, numbers
from bench.report.escaping import code, table
from bench.report.escaping import markdown as plain
from bench.report.metric import CellResult
from bench.report.model import RunReport


def tables(sheet: RunReport) -> Iterator[str]:
    """A folded section; each model has a row for each metric and a column for each cell that gave an answer."""
    models = [model for model in sheet.models if model.ran]
    if not models:
        return
    yield "<details><summary>All figures</summary>"
    for model in models:
        yield f"**{plain(model.name)}**"
        yield _table([sheet.result(outcome) for outcome in model.ran])
    yield "</details>"


def _table(results: list[CellResult]) -> str:
    """The table of one model; metrics without a value in any of the cells have no row."""
    shown = [{metric.name: value for metric, value in metrics.figures(result)} for result in results]
    names = [metric.name for metric in metrics.present(results)]
    # Without the model's name, which stands above the table.
    header = ["figure", *(code(result.cell.id.partition("/")[2]) for result in results)]
    return table(header, ([code(name), *(values.get(name, numbers.DASH) for values in shown)] for name in names))

"""Writes the table in docs/metrics.md: run `python -m bench.report.metric_docs` in a checkout."""

from __future__ import annotations

from pathlib import Path

from bench.files import write_atomically
from bench.report import metrics
from bench.report.escaping import code
from bench.report.metric import Metric

PAGE = Path(__file__).parents[2] / "docs" / "metrics.md"
BEGIN = "<!-- table: begin -->"
END = "<!-- table: end -->"
TYPES = {"interval": "number, with interval", "integer": "whole number", "boolean": "`true` or empty"}


def table() -> str:
    """A Markdown table with a line for each metric, in the order of the columns of results.csv."""
    lines = ["| name | kind | type | unit | since | meaning |", "| --- | --- | --- | --- | --- | --- |"]
    return "\n".join([*lines, *map(_line, metrics.METRICS)])


def with_table(page: str) -> str:
    """The text of the page with the current table between its two marks; `ValueError` if a mark is missing."""
    before, rest = page.split(BEGIN)
    _, after = rest.split(END)
    return f"{before}{BEGIN}\n\n{table()}\n\n{END}{after}"


def _line(metric: Metric) -> str:
    columns = [column.name for column in metric.columns()][1:]
    beside = f" With {' and '.join(map(code, columns))}." if metric.ends else ""
    kind = f"{metric.kind}, time" if metric.is_time else metric.kind
    type_ = TYPES.get(metric.type, metric.type)
    return f"| {code(metric.name)} | {kind} | {type_} | {metric.unit} | {metric.since} | {metric.meaning}{beside} |"


if __name__ == "__main__":
    write_atomically(PAGE, with_table(PAGE.read_text(encoding="utf-8")).encode())

"""The format `csv`: results.csv, with one flat row for each cell, for any program that reads tables."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator

from bench.report import escaping, metrics
from bench.report.metric import Scalar
from bench.report.model import Report

NAME = "csv"
FILE = "results.csv"


def render(report: Report) -> str:
    """The header and a row for every outcome of every run; lines end with a line feed."""
    # Line feeds on every system: the same run must give the same bytes.
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(column.name for column in metrics.columns())
    for sheet in report.sheets:
        rows = (metrics.row(sheet.result(outcome)) for outcome in sheet.outcomes)
        writer.writerows(_texts(row.values()) for row in rows)
    return text.getvalue()


def _texts(values: Iterable[Scalar | None]) -> Iterator[str]:
    """The values as text: empty for a missing one, and no text that reads as a formula or as a number."""
    for value in values:
        if isinstance(value, str):
            yield escaping.csv_cell(value)
        elif isinstance(value, bool):
            yield str(value).lower()
        else:
            # Not rounded: programs that read the file round by themselves.
            yield "" if value is None else str(value)

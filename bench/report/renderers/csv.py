"""A report in, results.csv out: one flat row a cell, read back by any table reader without fix-ups."""

from __future__ import annotations

import csv
import io

from bench.report import csv_row
from bench.report.csv_schema import COLUMNS
from bench.report.model import Report

NAME = "csv"
FILE = "results.csv"


def render(report: Report) -> str:
    """The header and a row for every outcome of every run, with line feeds."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for sheet in report.sheets:
        rows = (csv_row.of(sheet.run, one, sheet.emulator_times.get(one.cell.id)) for one in sheet.outcomes)
        writer.writerows(map(csv_row.values, rows))
    return text.getvalue()

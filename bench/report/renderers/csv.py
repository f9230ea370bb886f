"""The format `csv`: results.csv, with one flat row for each cell, for any program that reads tables."""

from __future__ import annotations

from bench.report import escaping, metrics
from bench.report.model import Report

NAME = "csv"
FILE = "results.csv"


def render(report: Report) -> str:
    """The header and a row for every outcome of every run; lines end with a line feed."""
    rows = (metrics.row(sheet.result(outcome)) for sheet in report.sheets for outcome in sheet.outcomes)
    return escaping.csv_table((column.name for column in metrics.columns()), rows)

"""The report format `lines`: one line a cell, with its verdict."""

from __future__ import annotations

from typing import Any

NAME = "lines"
FILE = "lines.txt"


def render(report: Any) -> str:
    """The lines of every run of the report."""
    outcomes = (outcome for sheet in report.sheets for outcome in sheet.outcomes)
    return "".join(f"{outcome.cell.id}: {outcome.status}\n" for outcome in outcomes)

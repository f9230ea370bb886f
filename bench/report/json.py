"""A report in, results.json out: the whole outcomes beside the runs that they came from."""

from __future__ import annotations

import msgspec

from bench.records import SCHEMA, Outcome, Record, Run
from bench.report.grid import Report

NAME = "json"
FILE = "results.json"


class Sheet(Record, frozen=True):
    """One run with its outcomes."""

    run: Run
    outcomes: tuple[Outcome, ...]


class Results(Record, frozen=True):
    """The whole file; `msgspec.json.decode(data, type=Results)` reads it back strictly."""

    schema: int
    runs: tuple[Sheet, ...]


def render(report: Report) -> str:
    """Indented JSON with a final line feed."""
    results = Results(SCHEMA, tuple(Sheet(sheet.run, sheet.outcomes) for sheet in report.sheets))
    return msgspec.json.format(msgspec.json.encode(results), indent=2).decode() + "\n"

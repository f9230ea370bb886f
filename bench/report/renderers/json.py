"""The format `json`: results.json, the whole outcomes and their flat metrics beside the runs that they came from."""

from __future__ import annotations

import msgspec

from bench.records import SCHEMA, Outcome, Record, Run
from bench.report import metrics
from bench.report.emulation import EmulatorTimes
from bench.report.metric import Scalar
from bench.report.model import Report, RunReport

NAME = "json"
FILE = "results.json"


class RunResults(Record, frozen=True):
    """One run with its outcomes; those of emulated cells have no time, so that no program can rank it."""

    run: Run
    outcomes: tuple[Outcome, ...]
    metrics: dict[str, dict[str, Scalar | None]]
    """By cell: every metric by the name of its column in results.csv, where units and meanings are the same."""
    emulator_times: dict[str, EmulatorTimes] = {}  # noqa: RUF012 - msgspec copies an empty default
    """By emulated cell: what it took in its emulator, which says nothing of a device."""


class Results(Record, frozen=True):
    """The whole file; `msgspec.json.decode(data, type=Results)` reads it back strictly."""

    schema: int
    runs: tuple[RunResults, ...]


def render(report: Report) -> str:
    """Indented JSON with a final line feed."""
    results = Results(SCHEMA, tuple(map(_sheet, report.sheets)))
    return msgspec.json.format(msgspec.json.encode(results), indent=2).decode() + "\n"


def _sheet(sheet: RunReport) -> RunResults:
    measured = {outcome.cell.id: metrics.measured(sheet.result(outcome)) for outcome in sheet.outcomes}
    return RunResults(sheet.run, sheet.outcomes, measured, sheet.emulator_times)

"""A report in, results.json out: the whole outcomes beside the runs that they came from."""

from __future__ import annotations

import msgspec

from bench.records import SCHEMA, Outcome, Record, Run
from bench.report.emulation import EmulatorTimes
from bench.report.model import Report

NAME = "json"
FILE = "results.json"


class Sheet(Record, frozen=True):
    """One run with its outcomes; those of emulated cells have no time, so that no program can rank it."""

    run: Run
    outcomes: tuple[Outcome, ...]
    emulator_times: dict[str, EmulatorTimes] = {}  # noqa: RUF012 - msgspec copies an empty default
    """By emulated cell: what it took in its emulator, which says nothing of a device."""


class Results(Record, frozen=True):
    """The whole file; `msgspec.json.decode(data, type=Results)` reads it back strictly."""

    schema: int
    runs: tuple[Sheet, ...]


def render(report: Report) -> str:
    """Indented JSON with a final line feed."""
    results = Results(SCHEMA, tuple(Sheet(sheet.run, sheet.outcomes, sheet.emulator_times) for sheet in report.sheets))
    return msgspec.json.format(msgspec.json.encode(results), indent=2).decode() + "\n"

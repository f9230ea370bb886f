"""The format `json`: results.json, with all outcomes of each run as words and as facts, and with their metrics."""

from __future__ import annotations

import msgspec
from msgspec.structs import replace

from bench.foreign_text import json_text
from bench.records import SCHEMA, Comparison, Failure, Note, Outcome, Record, Run, SustainedSpeed
from bench.report import metrics, text, text_flags
from bench.report.answers import ModelAnswer
from bench.report.emulation import EmulatorTimes
from bench.report.metric import Scalar
from bench.report.model import Report, RunReport

NAME = "json"
FILE = "results.json"


class Facts(Record, frozen=True):
    """The notes behind the words of an outcome or of its sustained run, as kinds and parameters."""

    reason: Note | None
    """Why the cell has its status, or why the sustained run ended early."""
    remedy: Note | None = None
    flags: tuple[Note, ...] = ()
    notes: tuple[Note, ...] = ()
    build_notes: tuple[Note, ...] = ()


# A subclass, so that a new field of the record is in the file too; the types of some fields differ on purpose.
class WordedSustained(SustainedSpeed, frozen=True, kw_only=True):
    """A sustained run with words in place of its notes."""

    flags: tuple[str, ...]  # type: ignore[assignment]
    flag_details: dict[str, str]
    """What raised each flag, by its name; flags without such details are left out."""
    ended: str  # type: ignore[assignment]
    facts: Facts


class WordedOutcome(Outcome, frozen=True, kw_only=True):
    """An outcome with words in place of its notes, for programs that show them; `facts` has the notes."""

    reason: str  # type: ignore[assignment]
    remedy: str  # type: ignore[assignment]
    flags: tuple[str, ...]  # type: ignore[assignment]
    flag_details: dict[str, str]
    """What raised each flag, by its name; flags without such details are left out."""
    notes: tuple[str, ...]  # type: ignore[assignment]
    build_notes: tuple[str, ...]  # type: ignore[assignment]
    sustained: WordedSustained | None
    facts: Facts


class RunResults(Record, frozen=True):
    """One run with its outcomes; those of emulated cells have no times, so that no program can rank them."""

    run: Run
    outcomes: tuple[WordedOutcome, ...]
    metrics: dict[str, dict[str, Scalar | None]]
    """By cell id: every metric, by the name of its column in results.csv, with the same unit and meaning."""
    emulator_times: dict[str, EmulatorTimes] = {}  # noqa: RUF012 - msgspec copies an empty default
    """By the id of each emulated cell: its times in the emulator, which say nothing about a device."""
    answers: tuple[ModelAnswer, ...] = ()
    """For each model the fastest right cell, the smallest, and what did not work; cells are named by their ids."""
    comparisons: tuple[Comparison, ...] = ()
    """How the cells that people compare differ in speed, each pair of cells with right answers once."""


class Results(Record, frozen=True):
    """The whole file; `msgspec.json.decode(data, type=Results)` reads it strictly."""

    schema: int
    runs: tuple[RunResults, ...]


def render(report: Report) -> str:
    """Indented JSON with a final line feed."""
    results = Results(SCHEMA, tuple(map(_run_results, report.sheets)))
    return json_text(msgspec.json.format(msgspec.json.encode(results), indent=2).decode()) + "\n"


def _run_results(sheet: RunReport) -> RunResults:
    measured = {outcome.cell.id: metrics.measured(sheet.result(outcome)) for outcome in sheet.outcomes}
    worded_outcomes = tuple(map(worded, sheet.outcomes))
    return RunResults(sheet.run, worded_outcomes, measured, sheet.emulator_times, sheet.answers, sheet.comparisons)


def worded(outcome: Outcome) -> WordedOutcome:
    """The outcome with words in place of its notes."""
    words = {
        "reason": text.reason(outcome),
        "remedy": text.remedy(outcome),
        "flags": text_flags.names(outcome.flags),
        "flag_details": text_flags.details(outcome.flags),
        "notes": tuple(map(text.say, outcome.notes)),
        "build_notes": text.build_notes(outcome),
        "sustained": _sustained(outcome.sustained) if outcome.sustained else None,
        "failure": _failure(outcome),
        "facts": Facts(outcome.reason, outcome.remedy, outcome.flags, outcome.notes, outcome.build_notes),
    }
    return WordedOutcome(**(msgspec.structs.asdict(outcome) | words))


def _failure(outcome: Outcome) -> Failure | None:
    """The failure; if it has no error message, because the judge found it, the reason is its message."""
    failure = outcome.failure
    if failure is None or failure.message:
        return failure
    return replace(failure, message=text.reason(outcome), remedy=text.remedy(outcome))


def _sustained(speed: SustainedSpeed) -> WordedSustained:
    words = {
        "flags": text_flags.names(speed.flags),
        "flag_details": text_flags.details(speed.flags),
        "ended": text.say(speed.ended),
        "facts": Facts(speed.ended, flags=speed.flags),
    }
    return WordedSustained(**(msgspec.structs.asdict(speed) | words))

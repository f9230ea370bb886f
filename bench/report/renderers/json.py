"""`results.json`: the whole outcomes beside the runs that they came from, with the words of their facts."""

from __future__ import annotations

import msgspec

from bench.records import SCHEMA, Outcome, Record, Run
from bench.report import text, text_flags
from bench.report.emulation import EmulatorTimes
from bench.report.model import Report

NAME = "json"
FILE = "results.json"


class Texts(Record, frozen=True):
    """What the report says of one cell, for programs that show it and need no kinds."""

    reason: str
    remedy: str
    warnings: dict[str, str]
    """By name of each flag: what raised it, in words and figures; empty where no more is known."""
    notes: tuple[str, ...]


class Judged(Outcome, frozen=True, kw_only=True):
    """An outcome with its words."""

    texts: Texts


class Sheet(Record, frozen=True):
    """One run with its outcomes; those of emulated cells have no time, so that no program can rank it."""

    run: Run
    outcomes: tuple[Judged, ...]
    emulator_times: dict[str, EmulatorTimes] = {}  # noqa: RUF012 - msgspec copies an empty default
    """By emulated cell: what it took in its emulator, which says nothing of a device."""


class Results(Record, frozen=True):
    """The whole file; `msgspec.json.decode(data, type=Results)` reads it back strictly."""

    schema: int
    runs: tuple[Sheet, ...]


def render(report: Report) -> str:
    """Indented JSON with a final line feed."""
    sheets = (Sheet(one.run, tuple(map(_judged, one.outcomes)), one.emulator_times) for one in report.sheets)
    return msgspec.json.format(msgspec.json.encode(Results(SCHEMA, tuple(sheets))), indent=2).decode() + "\n"


def _judged(outcome: Outcome) -> Judged:
    texts = Texts(
        reason=text.reason(outcome),
        remedy=text.remedy(outcome),
        warnings={text_flags.name(flag.kind): text_flags.detail(flag) for flag in outcome.flags},
        notes=tuple(map(text.say, outcome.notes)),
    )
    return Judged(**{name: getattr(outcome, name) for name in Outcome.__struct_fields__}, texts=texts)

"""Separates the times of emulators from the outcomes of their cells.

Every table, chart and file shows the outcomes without these times, so that no ranking contains a time that says nothing
about a device. The rows of `metrics` decide which fields are times.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from bench.records import Interval, Outcome, Record, Speed, Start
from bench.report import metrics


class EmulatorTimes(Record, frozen=True):
    """The times of an emulated cell in its emulator. They say nothing about a device."""

    speed: Speed
    load_ms: Interval | None
    first_call_ms: Interval | None
    cold: Start | None
    cached: Start | None


def without_times(outcome: Outcome) -> Outcome:
    """The outcome of an emulated cell with its times set to None; any other outcome unchanged."""
    if not outcome.cell.emulated:
        return outcome
    # The fields come from the rows of metrics, so that a new time cannot be forgotten here.
    return replace(outcome, **dict.fromkeys(metrics.time_fields()))


def times(outcomes: Sequence[Outcome]) -> dict[str, EmulatorTimes]:
    """The times in the emulator, by cell id, of each emulated cell that has a speed."""
    return {
        outcome.cell.id: EmulatorTimes(
            outcome.speed, outcome.load_ms, outcome.first_call_ms, outcome.cold, outcome.cached
        )
        for outcome in outcomes
        # Wrong answers have no time in an emulator either.
        if outcome.cell.emulated and outcome.speed is not None
    }

"""Outcomes in; the same without the times of emulators, and those times apart, out (pure).

Every table, chart and file is made of the former, so that no ranking can hold a time that says nothing of a device.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from bench.records import Interval, Outcome, Record, Speed, Start

TIMES = (
    *("speed", "cold", "cached", "load_ms", "first_call_ms", "first_answer_ms", "first_token_from_nothing_ms"),
    *("energy_j", "energy_source", "energy_per_token_j", "sustained"),
)
"""What an emulated outcome does without."""


class EmulatorTimes(Record, frozen=True):
    """What an emulated cell took in its emulator."""

    speed: Speed
    load_ms: Interval | None
    first_call_ms: Interval | None
    cold: Start | None
    cached: Start | None


def without_times(outcome: Outcome) -> Outcome:
    """The verdict and the answers of an emulated cell; another outcome as it is."""
    if not outcome.cell.emulated:
        return outcome
    return replace(outcome, **dict.fromkeys(TIMES))


def times(outcomes: Sequence[Outcome]) -> dict[str, EmulatorTimes]:
    """By the id of each emulated cell that gave right answers."""
    return {
        outcome.cell.id: EmulatorTimes(
            outcome.speed, outcome.load_ms, outcome.first_call_ms, outcome.cold, outcome.cached
        )
        for outcome in outcomes
        if outcome.cell.emulated and outcome.speed is not None
    }

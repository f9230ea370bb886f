"""Compares several runs by the ratio of each cell to the same control."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from bench.records import Interval, Outcome, Run, Weights
from bench.report import generation, text


class Judged(Protocol):
    """A run with its outcomes."""

    @property
    def run(self) -> Run:
        """The run."""

    @property
    def outcomes(self) -> tuple[Outcome, ...]:
        """Its outcomes; those of emulated cells have no times."""


@dataclass(frozen=True, slots=True)
class AcrossRow:
    """The ratios of one cell to one control, with one value for each run."""

    cell: str
    control: str
    part: str
    """The part of a call that the ratio compares, such as `decode`; empty for the whole call."""
    weights: tuple[Weights | None, ...]
    ratios: tuple[Interval | None, ...]
    resolvable: tuple[float | None, ...]


def rows(sheets: Sequence[Judged]) -> tuple[AcrossRow, ...]:
    """A row for each cell, control and part of a call; None where a run has no such ratio.

    Milliseconds of different machines are not comparable, so only ratios to the same control are compared.
    """
    # By the number of the run: two runs may have one name.
    by_place: dict[tuple[str, str, str], dict[int, Outcome]] = {}
    for number, sheet in enumerate(sheets):
        for outcome in sheet.outcomes:
            speed = outcome.speed
            # The control itself has no row: its ratio is 1 on every machine.
            if speed and speed.control and speed.control != outcome.cell.id:
                for part in generation.compared(speed):
                    by_place.setdefault((outcome.cell.id, speed.control, part), {})[number] = outcome
    return tuple(_row(*place, by_sheet, sheets) for place, by_sheet in by_place.items())


def _row(cell: str, control: str, part: str, by_sheet: dict[int, Outcome], sheets: Sequence[Judged]) -> AcrossRow:
    outcomes = [by_sheet.get(number) for number in range(len(sheets))]
    speeds = [outcome.speed if outcome else None for outcome in outcomes]
    return AcrossRow(
        cell=cell,
        control=control,
        part=part,
        weights=tuple(text.weights_of(s.run, o) if o else None for s, o in zip(sheets, outcomes, strict=True)),
        ratios=tuple(generation.compared(speed).get(part) if speed else None for speed in speeds),
        # The rounds resolve differences of whole calls; no such figure is known for a part of a call.
        resolvable=tuple(speed.resolvable if speed and not part else None for speed in speeds),
    )

"""Compares cells side by side: a cell of several runs by its ratios, and targets of one provider by their versions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from bench.records import Interval, Outcome, Run, Weights
from bench.report import generation, text
from bench.report.targets import TargetPart

# --- several runs -----------------------------------------------------------------------------------------------------


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


def across_runs(sheets: Sequence[Judged]) -> tuple[AcrossRow, ...]:
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
    )


# --- several versions -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class VersionRow:
    """The outcomes of one model, precision and workload under each version; None if a target has no such cell."""

    model: str
    precision: str
    workload: str
    outcomes: tuple[Outcome | None, ...]

    @property
    def name(self) -> str:
        """`minilm/int8/b1-s128`: the id of a cell without its target."""
        return f"{self.model}/{self.precision}/{self.workload}"


@dataclass(frozen=True, slots=True)
class VersionGroup:
    """The targets of one provider, or of one baseline's engine, under different versions."""

    library: str
    targets: tuple[TargetPart, ...]
    rows: tuple[VersionRow, ...]


def across_versions(targets: Sequence[TargetPart], outcomes: Sequence[Outcome]) -> tuple[VersionGroup, ...]:
    """A group for each provider that runs in more than one runtime, with different versions."""
    version_groups = []
    present = [target for target in targets if not target.absent]
    for library in dict.fromkeys(target.library for target in present):
        alike = tuple(target for target in present if target.library == library)
        # Two runtimes with equal versions are two options of one library: nothing about versions to compare.
        if len({target.cell.runtime for target in alike}) > 1 and len({str(target.versions) for target in alike}) > 1:
            rows = _version_rows([target.name for target in alike], outcomes)
            version_groups.append(VersionGroup(library, alike, rows))
    return tuple(version_groups)


def _version_rows(names: Sequence[str], outcomes: Sequence[Outcome]) -> tuple[VersionRow, ...]:
    own = {(o.cell.model, o.cell.precision, o.cell.workload, o.cell.target): o for o in outcomes}
    # Without the target: the cells of one row differ in nothing else.
    places = dict.fromkeys(place[:3] for place in own if place[3] in names)
    rows = (VersionRow(*place, tuple(own.get((*place, name)) for name in names)) for place in places)
    # A row that rules exclude under every version has nothing to compare.
    return tuple(row for row in rows if any(outcome and outcome.status != "excluded" for outcome in row.outcomes))
